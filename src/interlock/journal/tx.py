"""One transition's view of the open transaction: read guards, write state, append entries, seal payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, insert, select

from interlock.journal import tables
from interlock.journal.prepared import Prepared, Row
from interlock.ledger import Kind, entry
from interlock.model.canonical import Json
from interlock.model.errors import Tampered

if TYPE_CHECKING:
    from interlock.journal.journal import Journal


def insert_into(table: Table) -> Prepared:
    """An insert of every column, each bound under its own name, in the order of the table."""
    return Prepared(insert(table).values({c.name: bindparam(c.name) for c in table.columns}))


_PAYLOAD = Prepared(
    select(tables.payloads.c.sealed).where(
        tables.payloads.c.namespace == bindparam("ns"), tables.payloads.c.seq == bindparam("seq_")
    )
)


class Tx:
    """One transition's view of the open transaction.

    Attributes:
        now: the transaction's time in microseconds UTC; the same for all members of a batch.
    """

    def __init__(self, journal: Journal, cursor: Any, size: int, sealed: int, now: int) -> None:
        self._journal = journal
        self._dialect = journal.database.dialect
        self._cursor = cursor
        self._first = size
        self._sealed = sealed
        self.namespace = journal.namespace
        self.verified = journal.verified
        self.vault = journal.vault
        self.clock = journal.clock
        self.now = now
        self.wrote = False
        self.memo: dict[str, Any] = {}
        """What members of this batch read once and share; a writer of it drops its own item."""
        self.bodies: list[bytes] = []
        self.payloads: list[tuple[bytes, str | None]] = []
        """Sealed content, and the subject it is about."""

    def one(self, statement: Prepared, **params: Any) -> Row | None:
        """The first row, or None."""
        self._run(statement, params)
        row: Row | None = self._cursor.fetchone()
        return row

    def all(self, statement: Prepared, **params: Any) -> list[Row]:
        self._run(statement, params)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def write(self, statement: Prepared, **params: Any) -> int:
        """Run an insert, update or delete; returns the number of rows it changed."""
        self._writing()
        self._run(statement, params)
        count: int = self._cursor.rowcount
        return count

    def _writing(self) -> None:
        if self._first < 0:
            raise TypeError("this transaction only reads")
        self.wrote = True

    def insert(self, statement: Prepared, row: Row) -> None:
        """Run an `insert_into` with a whole row, in the order of the table's columns."""
        self._writing()
        statement.form(self._dialect).run_row(self._cursor, row)

    def _run(self, statement: Prepared, params: dict[str, Any]) -> None:
        params["ns"] = params["namespace"] = self.namespace
        statement.form(self._dialect).run(self._cursor, params)

    def append(self, kind: Kind, **fields: Json) -> int:
        """Append a ledger entry; returns its index."""
        self._writing()
        self.bodies.append(entry(kind, at=self.now, namespace=self.namespace, **fields))
        return self._first + len(self.bodies) - 1

    def seal(self, content: bytes) -> int:
        """Store a payload; returns its number, which the row that owns it keeps."""
        self._writing()
        number = self._sealed + len(self.payloads)
        self.payloads.append((self.vault.seal(_payload(self.namespace, number), content), None))
        return number

    def unseal(self, number: int) -> bytes:
        """The payload of that number. Raises `Tampered` where it is missing or does not open."""
        if number >= self._sealed >= 0:
            sealed = self.payloads[number - self._sealed][0]
        else:
            found = self.one(_PAYLOAD, seq_=self._journal.start + number)
            if found is None:
                raise Tampered(f"Payload {number} is missing from the journal.")
            sealed = found[0]
        return self.vault.open(_payload(self.namespace, number), sealed)


def _payload(namespace: str, number: int) -> str:
    """What a payload is bound to, so that it opens in no other place."""
    return f"payload:{namespace}:{number}"
