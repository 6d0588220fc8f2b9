"""SQLite: one file, WAL with `synchronous=FULL`, several processes taking turns.

1. The file is private to its user; SQLite gives its side files the same mode. Nobody in this process opens it
   beside SQLite but `beside.py`, which says why.
2. Writers pass the turnstile, then BEGIN IMMEDIATE; a commit that returned survives power loss.
3. Deleted content is overwritten (`secure_delete`). Moving rows between pages leaves copies all the same, so
   whoever destroys a key looks for it afterwards (`holds`) and writes its table anew where it is still found.
4. A cell may hold what is not of its column's kind. Text that is not UTF-8 is read as bytes, which no mark
   covers, so that it harms its own row and not every statement that meets it.
5. A commit either raises and is undone or returns: there is no network to lose between the two.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Table, bindparam, create_engine, delete, event, select

from interlock.journal import beside, tables
from interlock.journal.clock import Clock, SystemClock
from interlock.journal.database import Head
from interlock.journal.hearing import Hearing
from interlock.journal.prepared import Prepared, Row, insert_into
from interlock.journal.turnstile import Turnstile

_HEAD = Prepared(
    select(
        tables.head.c.size,
        tables.head.c.frontier,
        tables.head.c.sealed,
        tables.head.c.at,
        tables.head.c.stopped,
        tables.head.c.epoch,
    ).where(tables.head.c.namespace == bindparam("ns"))
)


READERS = 15
"""Connections that are kept for looking; opening one costs more than most looks."""
PURGE_SEC = 5.0
"""How long a purge waits for whoever still reads an old state."""


class SqliteDatabase:
    """A database file; made where there is none."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    away: tuple[type[Exception], ...] = ()
    searchable = True
    url: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)
        self.clock: Clock = SystemClock()
        self.reader = create_engine(
            f"sqlite:///{path}",
            connect_args={"check_same_thread": False, "timeout": 30},
            pool_size=READERS,
            max_overflow=0,
        )
        event.listen(self.reader, "connect", _configure)
        event.listen(self.reader, "begin", _begin_read)
        self.dialect: Dialect = self.reader.dialect
        self._turnstile = Turnstile(path)
        self._writer: Any = None
        self._cursor: Any = None

    def exists(self) -> bool:
        return self._path.exists()

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        beside.make(self._path)
        with self._turnstile, self.reader.begin() as connection:
            yield connection

    def turn(self) -> Turnstile:
        return self._turnstile

    def identity(self) -> str | None:
        return None  # a file that was copied is the same journal

    def free(self) -> bool:
        return self._turnstile.free()

    def writer(self) -> Any:
        """The connection that writes."""
        if self._writer is None:
            self._writer = self.reader.raw_connection()
        return self._writer

    def begin(self, namespace: str) -> tuple[Any, Head]:
        cursor = self.writer().cursor()
        cursor.execute("BEGIN IMMEDIATE")
        self._cursor = cursor
        return cursor, self._head(cursor, namespace)

    def _head(self, cursor: Any, namespace: str) -> Head:
        _HEAD.form(self.dialect).run_row(cursor, (namespace,))
        return Head(*cursor.fetchone())

    def write(self, statements: Sequence[tuple[Prepared, list[Row]]]) -> list[int]:
        counts = []
        for statement, rows in statements:
            self._cursor.executemany(statement.form(self.dialect).sql, rows)
            counts.append(self._cursor.rowcount)
        return counts

    def commit(self, grown: Head) -> None:  # noqa: ARG002 (nothing can be lost on the way)
        self._cursor.execute("COMMIT")
        self._cursor.close()

    def rollback(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            self._cursor.execute("ROLLBACK")
        if self._cursor is not None:
            self._cursor.close()

    def lost(self) -> bool:
        return False

    @contextmanager
    def snapshot(self, namespace: str) -> Iterator[tuple[Any, int]]:
        connection: Any = self.reader.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            try:
                yield cursor, self._head(cursor, namespace).at
            finally:
                cursor.execute("ROLLBACK")
                cursor.close()
        finally:
            connection.close()

    def purge(self, table: Table, *, rebuild: bool, wait: bool = True) -> None:
        if rebuild:
            cursor = self.writer().cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                rows = cursor.execute(str(select(table).compile(dialect=self.dialect))).fetchall()
                # Deleting all rows overwrites every page.
                cursor.execute(str(delete(table).compile(dialect=self.dialect)))
                cursor.executemany(insert_into(table).form(self.dialect).sql, rows)
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()
        # On a connection of its own, which does not wait long for whoever reads an old state.
        connection = sqlite3.connect(self._path, timeout=PURGE_SEC if wait else 0, isolation_level=None)
        try:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()

    def holds(self, content: bytes) -> bool:
        wal = self._path.with_name(f"{self._path.name}-wal")
        return beside.contains(self._path, content) or beside.log_contains(wal, content)

    def listen(self, namespace: str, heard: Callable[[], None]) -> Hearing | None:  # noqa: ARG002
        return None  # a file tells nobody that it was written

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self.reader.dispose()
        self._turnstile.close()


def read_text(content: bytes) -> str | bytes:
    """Text as a connection reads it (rule 4)."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _configure(connection: Any, _record: Any) -> None:
    """Durability and concurrency of one SQLite connection; we begin our own transactions."""
    connection.isolation_level = None
    connection.text_factory = read_text
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA cache_size=-65536")
    cursor.execute("PRAGMA wal_autocheckpoint=8000")
    cursor.close()


def _begin_read(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
