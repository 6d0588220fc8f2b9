"""The backlog: what may run and waits, found from the journal alone.

1. `walk` enqueues the dispatch of what waits, page by page: after a kill switch was lifted, and now and then
   for what has waited long. That finds what an earlier version left, and what a segment was given up for.
2. `lapsed` finds the claims whose holder is gone and that may be repeated.
3. What a kill switch covers is passed over: lifting it comes back here.
4. Only ids leave here, and nothing is trusted: the claim checks everything. A row whose cells are not of
   their columns' kinds, as SQLite lets them be written, is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, text

from interlock.gate import stops
from interlock.gate.claim import retryable
from interlock.gate.following import dispatch
from interlock.gate.records import ActionRow, checked, skipping_tampered
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.model.actions import DISPATCHED

_a = t.actions.c
_WAITING = Prepared(
    select(_a.id, _a.agent, _a.topic, _a.expires_at, _a.changed_at)
    .where(
        _a.namespace == bindparam("ns"),
        _a.executor == bindparam("executor_"),
        text(t.READY),
        _a.expires_at >= bindparam("after_"),
        or_(_a.expires_at > bindparam("after_"), _a.id > bindparam("id_")),
    )
    .order_by(_a.expires_at, _a.id)
    .limit(bindparam("limit_"))
)
_LAPSED = Prepared(
    select(t.actions)
    .where(
        _a.namespace == bindparam("ns"),
        or_(*(_a.executor == kind.value for kind in sorted(DISPATCHED))),
        text(t.EXECUTING),
        _a.lease_until <= bindparam("now_"),
        or_(
            _a.lease_until > bindparam("after_"),
            (_a.lease_until == bindparam("after_")) & (_a.id > bindparam("id_")),
        ),
    )
    .order_by(_a.lease_until, _a.id)
    .limit(bindparam("limit_"))
)


class Place(NamedTuple):
    """How far a walk through what waits has come: kinds of executor in order, each by the end of validity."""

    executor: int = 0
    after: int = 0
    id: str = ""


class Lapsed(NamedTuple):
    """A claim whose holder is gone."""

    action: str
    epoch: int
    topic: str


def waiting(
    tx: Tx, place: Place, limit: int, *, kill: str | None = None, before: int | None = None
) -> tuple[list[tuple[str, str]], Place | None]:
    """A page of what may run: ids and topics, and where the next page begins, None at the end.

    Args:
        kill: only what this kill switch covered.
        before: only what has waited since then, in microseconds UTC.
    """
    kinds = sorted(DISPATCHED)
    switch = None if kill is None else stops.load_switch(tx, kill)
    page = tx.all(
        _WAITING,
        executor_=kinds[place.executor].value,
        after_=max(place.after, tx.now),
        id_=place.id if place.after >= tx.now else "~",  # later than every id: what ends now is over
        limit_=limit,
    )
    found = [
        (action_id, topic)
        for action_id, agent, topic, _, changed_at in page
        if (type(action_id), type(agent), type(topic), type(changed_at)) == (str, str, str, int)
        and (switch is None or switch.covers(agent, topic))
        and (before is None or changed_at <= before)
        and stops.covering(tx, agent, topic) is None
    ]
    if len(page) == limit:
        return found, Place(place.executor, page[-1][3], page[-1][0])
    return found, None if place.executor + 1 == len(kinds) else Place(place.executor + 1)


def walk(
    tx: Tx,
    place: Place,
    limit: int,
    *,
    kill: str | None = None,
    before: int | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> Place | None:
    """Enqueue the dispatch of a page of what may run; where the next one begins. Arguments as `waiting`.

    Args:
        wanted: says of a topic whether its actions are; all are by default.
    """
    found, following = waiting(tx, place, limit, kill=kill, before=before)
    for action_id, topic in found:
        if wanted is None or wanted(topic):
            dispatch(tx, action_id, topic)
    return following


def lapsed(tx: Tx, limit: int) -> list[Lapsed]:
    """Lapsed claims that may be repeated, the oldest first; none that is stopped."""
    found: list[Lapsed] = []
    after, last = 0, ""
    while len(found) < limit:
        page = [ActionRow(*row) for row in tx.all(_LAPSED, now_=tx.now, after_=after, id_=last, limit_=limit)]
        for row in page:
            with skipping_tampered(row.id):
                checked(tx, row)  # its cells may hold what nothing can be calculated with
                if retryable(row, tx.now) and stops.covering(tx, row.agent, row.topic) is None:
                    found.append(Lapsed(row.id, row.epoch, row.topic))
        if len(page) < limit:
            break
        after, last = page[-1].lease_until or 0, page[-1].id
    return found[:limit]
