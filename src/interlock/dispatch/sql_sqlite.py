"""SQLite under the `sql` connector.

1. The path is absolute and the file is there: it is never made.
2. Read-only: opened with ``mode=ro``, `query_only` set, and while the statement is compiled SQLite asks here
   about each thing it would do; whatever is not reading is refused. Attaching a file would open it for
   writing whatever the first one was opened for.
3. Reviewed statements write, but attach nothing, set nothing, load nothing, and begin or end no transaction.
4. A value longer than the cap on answers is not built.
5. Whoever stops it interrupts the statement, or ends the wait for a writer's turn; both are rolled back.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from urllib.parse import quote, unquote

from interlock.dispatch.limits import NotSent
from interlock.dispatch.rows import MAX_BYTES, Answer, readable, too_long, too_many
from interlock.dispatch.sql import Bound, NotCommitted

_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_NEVER = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_PRAGMA,
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
    }
)
_LOADS = "load_extension"
_STEPS = 10_000
"""Virtual machine instructions between two looks at the clock."""
_LATER_SEC = 1.0
_TURN_SEC = 0.1


class Sqlite:
    """As `interlock.dispatch.sql.Database`."""

    def __init__(self, url: str, *, read_only: bool) -> None:
        path = unquote(url.partition("://")[2])
        # Three slashes are a relative path: the fourth begins the absolute one.
        if not path.startswith("//") or "\0" in path:
            raise NotSent("an SQLite URL is sqlite:////absolute/path")
        self._path = path[1:]
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None
        self._stopped = False
        self._until = 0.0

    def open(self, limit: float) -> None:
        # Whoever waits for this thread keeps the time, and says that it has passed; this only ends a wait.
        self._until = time.monotonic() + limit + _LATER_SEC
        mode = "ro" if self._read_only else "rw"
        connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode={mode}",
            uri=True,
            timeout=limit + _LATER_SEC if self._read_only else _TURN_SEC,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection = connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_progress_handler(self._over, _STEPS)
        if self._read_only:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
        else:
            connection.execute("PRAGMA foreign_keys = ON")
            self._begin(connection)
            connection.execute(f"PRAGMA busy_timeout = {int((limit + _LATER_SEC) * 1000)}")
        connection.set_authorizer(self._may)

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Wait for the turn to write; SQLite's own wait for it cannot be interrupted."""
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or self._over():
                    raise
            else:
                return

    def run(self, bound: Bound, max_rows: int) -> Answer:
        names = [f":p{index}" for index in range(len(bound.values))]
        text = bound.parts[0] + "".join(
            name + part for name, part in zip(names, bound.parts[1:], strict=True)
        )
        answer = Answer()
        try:
            cursor = self._open.execute(
                text, {name[1:]: v for name, v in zip(names, bound.values, strict=True)}
            )
            if cursor.description is not None:
                answer.fill((column[0] for column in cursor.description), cursor, max_rows)
        except (sqlite3.DataError, sqlite3.OperationalError) as error:
            if "too big" in str(error):
                raise too_long() from None
            raise
        if cursor.rowcount >= 0:
            answer.changed = cursor.rowcount
            if answer.changed > max_rows:
                raise too_many(max_rows)
        cursor.close()
        return answer

    def commit(self) -> None:
        self._open.set_authorizer(None)
        try:
            self._open.execute("COMMIT")
        except sqlite3.Error as error:
            if self._open.in_transaction:
                raise NotCommitted(readable(error)) from None
            raise

    def stop(self) -> None:
        self._stopped = True
        if self._connection is not None:
            # Closed meanwhile: then there is nothing to interrupt.
            with suppress(sqlite3.ProgrammingError):
                self._connection.interrupt()

    def close(self) -> None:
        if self._connection is not None:
            try:
                # Closing rolls back what is open.
                self._connection.close()
            except sqlite3.Error:
                return

    def words(self, error: Exception) -> str:
        return readable(error)

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _over(self) -> int:
        return int(self._stopped or time.monotonic() > self._until)

    def _may(self, action: int, _: str | None, name: str | None, *__: str | None) -> int:
        allowed = action in _READING if self._read_only else action not in _NEVER
        if action == sqlite3.SQLITE_FUNCTION and (name or "").lower() == _LOADS:
            allowed = False
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
