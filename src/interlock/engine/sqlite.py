"""The engine's connections to the journal's own database file, behind the journal's turnstile.

1. Same file, same durability: WAL and `synchronous=FULL` are set on each connection, whatever the engine that
   uses it would choose.
2. A connection passes the turnstile before its first statement that may write, and leaves it when its
   transaction has ended. Reading passes freely. So neither the journal nor the engine starves the other, in
   this process or another one.
3. `flock` does not tell threads of one process apart; a lock of this process does, before it.

The driver begins a transaction by itself, IMMEDIATE, before the first statement that changes rows.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from interlock.journal.sqlite import read_text
from interlock.journal.turnstile import Turnstile

WAIT_SEC = 30.0
CONNECTIONS = 40
"""More than there are threads that use one at the same time: DBOS waits for seconds where none is free."""


class Turn:
    """The place of one process's engine at the turnstile; one of its connections at a time."""

    def __init__(self, path: Path) -> None:
        self._turnstile = Turnstile(path)
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Raises `sqlite3.OperationalError` where another connection of this process keeps it too long."""
        if not self._lock.acquire(timeout=WAIT_SEC):
            raise sqlite3.OperationalError("database is locked")
        try:
            self._turnstile.__enter__()
        except BaseException:
            self._lock.release()
            raise

    def leave(self) -> None:
        self._turnstile.__exit__(None, None, None)
        self._lock.release()

    def close(self) -> None:
        self._turnstile.close()


class _Cursor(sqlite3.Cursor):
    def execute(self, statement: str, parameters: Any = (), /) -> _Cursor:
        connection = self.connection
        assert isinstance(connection, _Connection)
        connection.approach(statement)
        try:
            super().execute(statement, parameters)
        finally:
            connection.settle()
        return self

    def executemany(self, statement: str, parameters: Any, /) -> _Cursor:
        connection = self.connection
        assert isinstance(connection, _Connection)
        connection.approach(statement)
        try:
            super().executemany(statement, parameters)
        finally:
            connection.settle()
        return self


class _Connection(sqlite3.Connection):
    """Inside the turnstile from its first write to the end of its transaction."""

    turn: Turn
    inside = False

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def approach(self, statement: str) -> None:
        """Enter the turnstile before a statement that may write."""
        word = statement.lstrip()[:6].upper()
        if not self.inside and word not in ("SELECT", "PRAGMA"):
            self.turn.enter()
            self.inside = True

    def settle(self) -> None:
        """Leave it where no transaction is open any more."""
        if self.inside and not self.in_transaction:
            self.inside = False
            self.turn.leave()

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            self.settle()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self.settle()

    def close(self) -> None:
        super().close()
        if self.inside:
            self.inside = False
            self.turn.leave()


def open_engine(path: Path) -> tuple[Engine, Turn]:
    """An engine on a database file that exists, and its place at the turnstile, which the caller closes."""
    turn = Turn(path)

    def connect(*args: Any, **kwargs: Any) -> _Connection:
        connection = _Connection(*args, **kwargs)
        connection.turn = turn
        return connection

    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={
            "factory": connect,
            "check_same_thread": False,
            "timeout": WAIT_SEC,
            "isolation_level": "IMMEDIATE",
        },
        pool_size=CONNECTIONS,
        max_overflow=0,
    )
    event.listen(engine, "connect", _configure)
    return engine, turn


def _configure(connection: Any, _record: Any) -> None:
    connection.text_factory = read_text
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "wal_autocheckpoint=8000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
