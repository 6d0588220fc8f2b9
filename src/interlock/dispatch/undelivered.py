"""Undelivered webhooks: what was given up is a row that people see, and can have sent again.

A row keeps the segment's ids with their mark, and a clause about why; nothing of an answer, and no URL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, select

from interlock.engine import Delivery, enqueue
from interlock.engine.outbox import check_ids, written
from interlock.gate.telling import WEBHOOK
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.canonical import parse_json
from interlock.model.errors import NotFound
from interlock.model.text import visible

_u = t.undelivered.c
_ADD = insert_into(t.undelivered)
_ALL = Prepared(
    select(t.undelivered)
    .where(_u.namespace == bindparam("ns"))
    .order_by(_u.failed_at, _u.id)
    .limit(bindparam("limit_"))
)
_ONE = Prepared(select(t.undelivered).where(_u.namespace == bindparam("ns"), _u.id == bindparam("id_")))
_DROP = Prepared(delete(t.undelivered).where(_u.namespace == bindparam("ns"), _u.id == bindparam("id_")))


class Undelivered(NamedTuple):
    """A delivery that was given up. `ids` is JSON, as the segment carried it."""

    namespace: str
    id: str
    webhook: str
    ids: str
    reason: str
    failed_at: int

    @property
    def carried(self) -> dict[str, Any]:
        """The segment's ids."""
        return dict(parse_json(self.ids))


def give_up(tx: Tx, delivery: Delivery, reason: str) -> None:
    """Write a delivery down as undelivered; a second time changes nothing."""
    if tx.one(_ONE, id_=delivery.id) is None:
        name = str(delivery.ids.get("webhook"))
        tx.insert(
            _ADD,
            Undelivered(tx.namespace, delivery.id, name, written(delivery.ids), visible(reason, 300), tx.now),
        )


def undelivered(tx: Tx, limit: int) -> list[Undelivered]:
    """What was given up, the oldest first."""
    return [Undelivered(*row) for row in tx.all(_ALL, limit_=limit)]


def again(tx: Tx, id: str) -> str:
    """Enqueue a delivery that was given up once more; the new segment's id.

    Raises:
        NotFound: there is none of that id. InvalidInput: its row was changed from outside.
    """
    found = _found(tx, id)
    segment = enqueue(tx, WEBHOOK, check_ids(found.carried))
    tx.write(_DROP, id_=id)
    return segment


def forget(tx: Tx, id: str) -> None:
    """Let a delivery that was given up go. Raises `NotFound`."""
    _found(tx, id)
    tx.write(_DROP, id_=id)


def _found(tx: Tx, id: str) -> Undelivered:
    row = tx.one(_ONE, id_=id)
    if row is None:
        raise NotFound(f"There is no undelivered webhook {visible(id, 64)}.")
    return Undelivered(*row)
