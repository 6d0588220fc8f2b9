"""Recoveries that people called a false alarm, and what stands against calling one so.

1. A dismissal counts only where its row carries this home's mark and the entry it names is the
   ``ledger.recovery_dismissed`` of that epoch. Other rows are passed over: they end nothing.
2. Of two dismissals, the later one is of the later epoch, or further on in the tree.
3. An alarm is left by a process that found entries missing which it knows itself. Whoever was only told
   cannot know better, unless they have those entries: `seen` says how many.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select

from interlock.journal import tables
from interlock.journal.prepared import Prepared, insert_into
from interlock.journal.tx import Tx
from interlock.journal.vault import Vault
from interlock.ledger import Kind
from interlock.model.errors import Tampered

_d, _a = tables.dismissals.c, tables.alarms.c
_ALL = Prepared(
    select(_d.epoch, _d.entry, _d.seen, _d.mac)
    .where(_d.namespace == bindparam("ns"))
    .order_by(_d.epoch.desc(), _d.entry.desc())
)
_ADD = insert_into(tables.dismissals)
_ALARM = Prepared(
    select(_a.seen, _a.mac).where(_a.namespace == bindparam("ns"), _a.epoch == bindparam("epoch_"))
)
DROP_ALARM = Prepared(
    delete(tables.alarms).where(_a.namespace == bindparam("ns"), _a.epoch == bindparam("epoch_"))
)
ADD_ALARM = insert_into(tables.alarms)

Place = tuple[int, int]
"""Where a dismissal stands: the epoch's number and the entry's."""
NEVER: Place = (0, -1)


class Dismissal(NamedTuple):
    """One dismissal.

    Attributes:
        epoch: the ledger's, which goes on. entry: number of the entry that says so.
        seen: how many entries somebody claimed to have had.
    """

    epoch: int
    entry: int
    seen: int

    @property
    def place(self) -> Place:
        return self.epoch, self.entry


def dismissals(tx: Tx) -> list[Dismissal]:
    """Every dismissal that counts, newest first (rule 1)."""
    return [found for *columns, mac in tx.all(_ALL) if _counts(tx, found := Dismissal(*columns), mac)]


def _counts(tx: Tx, found: Dismissal, mac: bytes) -> bool:
    try:
        tx.vault.check(mac, "dismissal", tx.namespace, *found)
    except Tampered:
        return False
    body = tx.entry(found.entry)
    said = {} if body is None else json.loads(body)
    names = (said.get("kind"), said.get("epoch"), said.get("seen"))
    return names == (Kind.LEDGER_RECOVERY_DISMISSED.value, found.epoch, found.seen)


def last_dismissed(tx: Tx) -> Place:
    """Where the newest dismissal stands; `NEVER` where there is none."""
    found = dismissals(tx)
    return found[0].place if found else NEVER


def add_dismissal(tx: Tx, dismissal: Dismissal) -> None:
    """Write the row of a dismissal; the caller has appended its entry."""
    mac = tx.vault.mac("dismissal", tx.namespace, *dismissal)
    tx.insert(_ADD, (tx.namespace, *dismissal, mac))


def alarm(tx: Tx, epoch: int) -> int:
    """How many entries a process of this home knows to have been there; 0 where none says so.

    Args:
        epoch: the ledger's epoch in force.
    """
    row = tx.one(_ALARM, epoch_=epoch)
    if row is None:
        return 0
    seen, mac = row
    try:
        tx.vault.check(mac, "alarm", tx.namespace, epoch, seen)
    except Tampered:
        return 0
    return int(seen)


def alarm_row(vault: Vault, namespace: str, epoch: int, seen: int) -> tuple[str, int, int, bytes]:
    """A whole row of `alarms`."""
    return namespace, epoch, seen, vault.mac("alarm", namespace, epoch, seen)
