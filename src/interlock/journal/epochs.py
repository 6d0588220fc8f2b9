"""The ledger's epochs: under which name the tree is signed, and from which entry on.

1. The tree never restarts. A new epoch continues the entries that a restored database holds, under a new
   name, so that whoever remembers the longer history is not told that this is its continuation.
2. An epoch counts only where its row carries this home's mark and the entry at `kept` is the
   ``ledger.epoch_opened`` that says the same: a row put back from a history that was lost opens nothing.
3. Numbers ascend and may have gaps: a number under which something was signed is not used again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, select

from interlock.journal import tables
from interlock.journal.prepared import Prepared, Row, insert_into
from interlock.journal.tx import Tx
from interlock.journal.vault import Vault
from interlock.ledger import Kind

FIRST = 1
"""The number of the epoch that has no row."""

_ALL = Prepared(
    select(tables.epochs).where(tables.epochs.c.namespace == bindparam("ns")).order_by(tables.epochs.c.number)
)
_ADD = insert_into(tables.epochs)


class Epoch(NamedTuple):
    """One epoch after the first.

    Attributes:
        number: from 2.
        origin: the log's name since.
        kept: how many entries came before it; its own entry has this number.
        opened_at: microseconds UTC.
    """

    number: int
    origin: str
    kept: int
    opened_at: int

    def mac(self, vault: Vault, namespace: str) -> bytes:
        """The mark of its row."""
        return vault.mac("epoch", namespace, self.number, self.origin, self.kept, self.opened_at)


def checked(vault: Vault, rows: Iterable[Row]) -> list[Epoch]:
    """Rows of `epochs` as values. Raises `Tampered` where one does not carry this home's mark."""
    found = []
    for namespace, number, origin, kept, opened_at, mac in rows:
        epoch = Epoch(number, origin, kept, opened_at)
        vault.check(mac, "epoch", namespace, *epoch)
        found.append(epoch)
    return found


def epochs(tx: Tx) -> list[Epoch]:
    """Every epoch after the first, oldest first. Raises `Tampered`."""
    return checked(tx.vault, tx.all(_ALL))


def newest(tx: Tx) -> int:
    """The number of the epoch in force. Raises `Tampered`."""
    return newest_since(tx)[0]


def newest_since(tx: Tx) -> tuple[int, int]:
    """The number of the epoch in force, and when it was opened, in microseconds UTC; 0 for the first.

    Raises:
        Tampered: a row does not carry this home's mark.
    """
    found = epochs(tx)
    return (found[-1].number, found[-1].opened_at) if found else (FIRST, 0)


def opened_after(tx: Tx, number: int) -> Epoch | None:
    """The epoch in force, if it is a later one than `number` and stands in the tree (rule 2).

    Raises:
        Tampered: a row does not carry this home's mark.
    """
    found = epochs(tx)
    if not found or found[-1].number <= number:
        return None
    epoch = found[-1]
    body = tx.entry(epoch.kept)
    if body is None:
        return None
    said = json.loads(body)
    names = (said.get("kind"), said.get("epoch"), said.get("origin"), said.get("kept"))
    return epoch if names == (Kind.LEDGER_EPOCH_OPENED.value, *epoch[:3]) else None


def add_epoch(tx: Tx, epoch: Epoch) -> None:
    """Write the row of a new epoch; the caller has appended its entry."""
    tx.insert(_ADD, (tx.namespace, *epoch, epoch.mac(tx.vault, tx.namespace)))
