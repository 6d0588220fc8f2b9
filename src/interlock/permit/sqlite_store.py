"""A store of used permits in one SQLite file, for one process or several.

1. `first` is one transaction under SQLite's write lock: of any number of threads and processes that hold the
   same permit, one is told True.
2. An answer is on disk before it is given (``synchronous=FULL``), so a restart forgets nothing.
3. What is long over is deleted, and the file then refuses everything that ended before the deletion. No
   clock, wherever it is set, brings a used permit back.
4. Of several processes that open a new file at once, each gets it. SQLite refuses the one that comes second
   while the first turns write-ahead logging on, without waiting for it; so we ask again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

KEEP_SEC = 600
"""How long a permit is remembered after it ended, measured by the ends of the permits that follow."""

_WAIT_SEC = 30
"""How long a process waits for the others."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS used (permit TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_until ON used (until);
CREATE TABLE IF NOT EXISTS forgotten (one INTEGER PRIMARY KEY CHECK (one = 1), until INTEGER NOT NULL);
INSERT OR IGNORE INTO forgotten VALUES (1, 0);
"""


class SqliteStore:
    """Remembers which permits were used. Thread-safe; each process opens its own.

    All hosts and processes of one executor share one store: two stores would each let a permit count once.

    Args:
        path: the file; made where there is none. It holds ids of permits and nothing else.

    Raises:
        sqlite3.Error: the file cannot be used; then nothing may run.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=_WAIT_SEC, isolation_level=None, check_same_thread=False
        )
        self._log_ahead()
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)

    def _log_ahead(self) -> None:
        until = time.monotonic() + _WAIT_SEC
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def first(self, permit: str, until: int) -> bool:
        """Whether this permit is used for the first time; from now on it is not.

        Args:
            permit: its id (``jti``). until: its end (``exp``), seconds since 1970.
        """
        with self._lock:
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            try:
                (forgotten,) = run("SELECT until FROM forgotten").fetchone()
                fresh = until > forgotten and (
                    run("INSERT OR IGNORE INTO used VALUES (?, ?)", (permit, until)).rowcount == 1
                )
                if fresh and until - 2 * KEEP_SEC > forgotten:
                    run("DELETE FROM used WHERE until <= ?", (until - KEEP_SEC,))
                    run("UPDATE forgotten SET until = ?", (until - KEEP_SEC,))
                run("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise
            return bool(fresh)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
