"""Executors: the rows by which processes know which of them are alive, and fence off those that are not.

1. A row has an id that is never used again, a holder, an epoch and the end of a lease, in the journal's time.
   The executor itself holds it first and renews it. All of this is compared and set inside the journal's
   transactions, in which nobody else writes.
2. When the lease has lapsed, or the machine knows that the process is dead, another executor takes the row:
   it becomes the holder under the next epoch, with a lease of its own, so that one takes over at a time, and
   a third goes on where it dies too. It deletes the row when nothing of the dead one's work remains.
3. A lease that lapsed and was not taken may still be renewed. One that was taken never: whoever was only
   paused finds its epoch spent, and joins anew under another id.
4. What an executor does in the journal may carry its fence: the transaction then refuses where the epoch is
   spent.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from interlock.journal import Prepared, Tx, insert_into, tables
from interlock.model.errors import Conflict

LEASE_US = 5_000_000

_E = tables.executors.c
_COLUMNS = (_E.id, _E.holder, _E.epoch, _E.until)
_JOIN = insert_into(tables.executors)
_READ = Prepared(select(*_COLUMNS).where(_E.namespace == bindparam("ns"), _E.id == bindparam("id_")))
_ALL = Prepared(select(*_COLUMNS).where(_E.namespace == bindparam("ns")))
_HELD = (
    _E.namespace == bindparam("ns"),
    _E.id == bindparam("id_"),
    _E.holder == bindparam("by_"),
    _E.epoch == bindparam("epoch_"),
)
_RENEW = Prepared(update(tables.executors).where(*_HELD).values(until=bindparam("until_")))
_TAKE = Prepared(
    update(tables.executors)
    .where(*_HELD)
    .values(holder=bindparam("holder_"), epoch=bindparam("next_"), until=bindparam("until_"))
)
_DROP = Prepared(delete(tables.executors).where(*_HELD))


class Spent(Conflict):
    """The lease of this process was taken by another one while it was paused or cut off."""

    slug = "executor-spent"
    title = "Another process took over the work of this one"
    advice = "Nothing was done. What was begun is delivered again, to a process that is alive."


class Executor(NamedTuple):
    """A row; `until` in microseconds UTC."""

    id: str
    holder: str
    epoch: int
    until: int


def fresh_id() -> str:
    return f"exe_{os.urandom(16).hex()}"


def join(tx: Tx, id: str) -> int:
    """Enter as a live executor; the epoch."""
    tx.insert(_JOIN, (tx.namespace, id, id, 1, tx.now + LEASE_US, tx.now))
    return 1


def renew(tx: Tx, id: str, by: str, epoch: int) -> bool:
    """Let the holder's lease last from now on; False where it is spent."""
    return tx.write(_RENEW, id_=id, by_=by, epoch_=epoch, until_=tx.now + LEASE_US) == 1


def drop(tx: Tx, id: str, by: str, epoch: int) -> None:
    """Delete the row, if it is still held like that."""
    tx.write(_DROP, id_=id, by_=by, epoch_=epoch)


def fence(tx: Tx, id: str, epoch: int) -> None:
    """Raises `Spent` unless this executor still holds its own row under that epoch."""
    row = tx.one(_READ, id_=id)
    if row is None or Executor(*row)[1:3] != (id, epoch):
        raise Spent("This process was paused or cut off for longer than its lease.")


def everybody(tx: Tx) -> tuple[dict[str, Executor], int]:
    """All rows by id, and the time to compare them with."""
    return {row[0]: Executor(*row) for row in tx.all(_ALL)}, tx.now


def take(tx: Tx, id: str, by: str, seen: Executor | None, *, dead: bool) -> int | None:
    """Take a row over; the new epoch, or None where somebody else was faster or its holder lives.

    Args:
        seen: the row as the caller judged it; None where work was found under an id that has none.
        dead: its holder is known to be dead, whatever the lease says.
    """
    row = tx.one(_READ, id_=id)
    if row is None:
        if seen is None:
            tx.insert(_JOIN, (tx.namespace, id, by, 1, tx.now + LEASE_US, tx.now))
            return 1
        return None
    now = Executor(*row)
    if seen is None or (now.holder, now.epoch) != (seen.holder, seen.epoch):
        return None
    if now.until > tx.now and not dead:
        return None
    tx.write(
        _TAKE,
        id_=id,
        by_=now.holder,
        epoch_=now.epoch,
        holder_=by,
        next_=now.epoch + 1,
        until_=tx.now + LEASE_US,
    )
    return now.epoch + 1
