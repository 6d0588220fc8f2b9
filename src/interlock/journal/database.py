"""What the journal asks of a database: the port that SQLite and PostgreSQL stand behind.

1. `begin` gives a cursor inside a write transaction that owns the namespace's head row: nobody else writes in
   that namespace until it ends, and what it reads is everything that was committed before.
2. `commit` returns only when the change is durable. Where the connection was lost while the commit was under
   way, it finds out whether it happened. It returns if it did, raises if it did not, and raises
   `OutcomeUnknown` where nobody can tell: that is never reported as a failure, and never as a success.
3. A `snapshot` only reads, and all its statements see one state.
4. Names and messages carry no password.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Dialect, Engine, Table

from interlock.journal.clock import Clock
from interlock.journal.hearing import Hearing
from interlock.journal.prepared import Prepared, Row
from interlock.model.errors import HomeUnusable


class Head(NamedTuple):
    """The row of a namespace that each transaction reads first and writes last; `at` in microseconds UTC.

    `stopped` is not 0 while the ledger is being recovered; `epoch` is the ledger's. Only what opens an epoch
    changes them.
    """

    size: int
    frontier: bytes
    sealed: int
    at: int
    stopped: int = 0
    epoch: int = 1


class ConnectionLost(HomeUnusable):
    """The database went away before the commit was asked for: nothing of the transaction is there."""

    slug = "connection-lost"
    title = "The connection to the database was lost; nothing was recorded"
    advice = "Ask again; the next request connects anew."


class OutcomeUnknown(HomeUnusable):
    """The connection was lost while the commit was under way, and nobody can say yet whether it happened."""

    slug = "outcome-unknown"
    title = "It is not known whether this was recorded"
    advice = "Look before you repeat it; what was proposed under an idempotency key may be asked again."


class Database(Protocol):
    """One database, open.

    Attributes:
        name: for messages.
        url: of a server, with the secrets it carries: for connecting, never for messages. None for a file.
        dialect: what statements are compiled for, with positional parameters.
        clock: the clock that counts where nobody hands another in.
        errors: what the driver raises.
        away: those of them that say the server cannot be reached, or is no longer.
        reader: an engine whose connections are used for reading.
        searchable: whether `holds` can look through its files.
    """

    name: str
    url: str | None
    dialect: Dialect
    errors: tuple[type[Exception], ...]
    away: tuple[type[Exception], ...]
    reader: Engine
    searchable: bool

    @property
    def clock(self) -> Clock: ...

    def exists(self) -> bool:
        """Whether a journal was begun here."""
        ...

    def alone(self) -> AbstractContextManager[Connection]:
        """A write transaction for schema and head rows; one process at a time."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Entered around each write transaction and what follows it."""
        ...

    def identity(self) -> str | None:
        """What tells this database from another one under the same name.

        On a server: the cluster, its timeline and the database's own number. None where there is nothing of
        the kind, or the database does not tell.
        """
        ...

    def free(self) -> bool:
        """Whether a write would neither wait for another process nor for a network."""
        ...

    def begin(self, namespace: str) -> tuple[Any, Head]:
        """Begin the write transaction; its cursor and the head row, which it owns until the end.

        Raises:
            HomeUnusable: the database cannot be reached, or is not durable.
        """
        ...

    def write(self, statements: Sequence[tuple[Prepared, list[Row]]]) -> list[int]:
        """Run inserts and updates in the transaction, in their order, each with all of its rows; how many
        rows each has written. No two of them write the same table, and no two rows of one the same row."""
        ...

    def commit(self, grown: Head) -> None:
        """Make the transaction durable; `grown` is the head it leaves.

        Raises:
            OutcomeUnknown: as rule 2 says. Anything else: nothing of it is there.
        """
        ...

    def rollback(self) -> None:
        """End the transaction without its changes; never raises for a connection that is gone."""
        ...

    def lost(self) -> bool:
        """Whether the write connection is gone: a statement's error then says nothing about it."""
        ...

    def snapshot(self, namespace: str) -> AbstractContextManager[tuple[Any, int]]:
        """A cursor that only reads, on one state, and that state's time."""
        ...

    def purge(self, table: Table, *, rebuild: bool, wait: bool = True) -> None:
        """Overwrite what deleted rows of a small table left in the database's files. The caller is inside
        `turn`, and in no transaction.

        Args:
            rebuild: write the table anew, for copies that moving rows around left behind.
            wait: for whoever reads an old state, a few seconds.
        """
        ...

    def holds(self, content: bytes) -> bool:
        """Whether the database's files hold these bytes, or cannot be looked through."""
        ...

    def listen(self, namespace: str, heard: Callable[[], None]) -> Hearing | None:
        """Call `heard()`, from a thread, when another process has committed news; it must be quick.

        None where nobody tells: then whoever wants to know looks from time to time.
        """
        ...

    def close(self) -> None: ...
