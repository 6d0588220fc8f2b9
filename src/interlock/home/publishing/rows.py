"""The rows of entries, where they are looked at or taken out as a whole; and policies, by their digest."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import bindparam, delete, func, select

from interlock.home.publishing.chain import MARKER
from interlock.journal import Journal, Prepared, Tx, tables
from interlock.journal.tables import SPAN
from interlock.ledger import Kind

BATCH = 4_096
"""Rows that one transaction takes out, so that no writer waits long."""

_ENTRIES = tables.entries.c
_SINCE = Prepared(
    select(_ENTRIES.body).where(
        _ENTRIES.namespace == bindparam("ns"),
        _ENTRIES.seq >= bindparam("from_"),
        _ENTRIES.seq < bindparam("to_"),
    )
)
_LEAST = Prepared(
    select(func.min(_ENTRIES.seq)).where(
        _ENTRIES.namespace == bindparam("ns"),
        _ENTRIES.seq >= bindparam("from_"),
        _ENTRIES.seq < bindparam("to_"),
    )
)
_DELETE = Prepared(
    delete(tables.entries).where(
        _ENTRIES.namespace == bindparam("ns"),
        _ENTRIES.seq >= bindparam("from_"),
        _ENTRIES.seq < bindparam("to_"),
    )
)

_POLICY = Prepared(
    select(tables.policies.c.document).where(
        tables.policies.c.namespace == bindparam("ns"), tables.policies.c.snapshot == bindparam("snapshot_")
    )
)


def said_since(tx: Tx, start: int, size: int, kind: Kind) -> bool:
    """Whether an entry from number `size` on is of that kind.

    Args:
        start: where the namespace's rows start.
        kind: one of those about the ledger itself.
    """
    rows = tx.all(_SINCE, from_=start + size, to_=start + SPAN)
    return any(MARKER in body and json.loads(body)["kind"] == kind for (body,) in rows)


def least(journal: Journal) -> int | None:
    """The number of the first entry that the database holds; None where it holds none."""

    def look(tx: Tx) -> int | None:
        row = tx.one(_LEAST, from_=journal.start, to_=journal.start + SPAN)
        return None if row is None or row[0] is None else row[0] - journal.start

    return journal.look(look)


def take_out(journal: Journal, before: int) -> int:
    """Take the entries before a number out of the database; returns how many there were."""
    taken, at = 0, least(journal)
    while at is not None and at < before:
        start, stop = journal.start + at, journal.start + min(at + BATCH, before)

        def some(tx: Tx, start: int = start, stop: int = stop) -> int:
            return tx.write(_DELETE, from_=start, to_=stop)

        taken += journal.commit(some)
        at = stop - journal.start
    return taken


def stored_policy(journal: Journal, digest: str) -> bytes | None:
    """The canonical document of a policy whose digest this is, in hexadecimal; None where there is none."""
    row = journal.look(lambda tx: tx.one(_POLICY, snapshot_=f"v1:{digest}"))
    document = None if row is None else bytes(row[0])
    return document if document and hashlib.sha256(document).hexdigest() == digest else None
