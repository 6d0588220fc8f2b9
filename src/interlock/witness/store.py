"""What a witness remembers: one SQLite file, one row for each log.

1. A turn is one write transaction (``BEGIN IMMEDIATE``), so turns of all processes follow one another.
2. ``synchronous=FULL``: when a turn has ended, its row survives a power cut.
3. The file put back from a backup makes the witness forget what it cosigned since. Nothing on this machine
   could tell; a quorum of several witnesses is what covers for it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from interlock.model.errors import HomeUnusable
from interlock.witness.rules import Seen

WAIT_SEC = 10.0
"""How long a turn waits for others."""


class Store:
    """The memory of one witness; may be used by several threads and processes.

    Raises:
        HomeUnusable: the file cannot be opened, or is no such store.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(FileExistsError):  # closing a file that is there would drop this process's locks on it
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with self._open() as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, "
                    "root BLOB NOT NULL, note TEXT NOT NULL) WITHOUT ROWID"
                )
        except sqlite3.Error as error:
            raise HomeUnusable(f"{path} cannot be used: {error}.") from error

    @contextmanager
    def turn(self, origin: str) -> Iterator[_Turn]:
        """Sole access to what was seen of a log, durable at the end; nothing changes where it raises."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _Turn(connection, origin)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def seen(self, origin: str) -> Seen | None:
        """What was cosigned last for a log."""
        with self._open() as connection:
            return _Turn(connection, origin).seen

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=WAIT_SEC, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            yield connection


class _Turn:
    def __init__(self, connection: sqlite3.Connection, origin: str) -> None:
        self._connection = connection
        self._origin = origin

    @property
    def seen(self) -> Seen | None:
        found = self._connection.execute(
            "SELECT size, root, note FROM seen WHERE origin = ?", (self._origin,)
        ).fetchone()
        return None if found is None else Seen(*found)

    def replace(self, seen: Seen) -> None:
        self._connection.execute(
            "INSERT INTO seen (origin, size, root, note) VALUES (?, ?, ?, ?) ON CONFLICT (origin) "
            "DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
            (self._origin, seen.size, seen.root, seen.note),
        )
