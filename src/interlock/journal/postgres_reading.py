"""Reading from PostgreSQL: connections that are kept, and transactions that are one snapshot each.

1. A transaction is begun together with its first question, in one way to the server and back, and ended when
   its answer is ready: nothing stays open, and nothing holds up whoever cleans the tables.
2. A kept connection may have been cut while nobody used it. That shows when a transaction is begun: nothing
   was asked yet, so it is begun on another one.
3. At most `AT_ONCE` are open; who asks beyond waits for one of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from interlock.journal.prepared import Row

AT_ONCE = 15
KEPT = 5
_BEGIN = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ")


class Readers:
    """The connections of one process that only read. Thread-safe.

    Args:
        connect: makes one, in autocommit mode.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Row]]) -> None:
        self._connect = connect
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._kept: deque[psycopg.Connection[Row]] = deque()

    @contextmanager
    def begin(self, question: sql.Composed) -> Iterator[tuple[psycopg.Cursor[Row], Row | None]]:
        """A cursor on one state of the database, and the first row of the answer to `question`.

        Raises:
            psycopg.Error: the database cannot be asked.
        """
        with self._places:
            connection, row = self._begun(question)
            try:
                yield connection.cursor(binary=True), row
            finally:
                self._end(connection)

    def _begun(self, question: sql.Composed) -> tuple[psycopg.Connection[Row], Row | None]:
        while True:
            try:
                connection, kept = self._kept.pop(), True
            except IndexError:
                connection, kept = self._connect(), False
            try:
                answers = connection.execute(_BEGIN + question)
                answers.nextset()
                return connection, answers.fetchone()
            except BaseException as error:
                connection.close()
                if not kept or not isinstance(error, psycopg.OperationalError):
                    raise

    def _end(self, connection: psycopg.Connection[Row]) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()
        if not connection.closed:
            if len(self._kept) < KEPT:
                self._kept.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close what is kept; whoever reads now closes its own."""
        while self._kept:
            self._kept.pop().close()
