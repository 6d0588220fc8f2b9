"""What a process with the agent's own functions may run: allowed or approved, and left by whoever proposed;
and what a person asked for to take back what the agent did.

Only ids, topics and times leave here; the claim decides, and checks every seal.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, text

from interlock.gate import stops
from interlock.gate.claim import retryable
from interlock.gate.records import ActionRow
from interlock.gate.undoing import agent_of
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.model.actions import ExecutorKind

PAGE = 200
_CALLER = ExecutorKind.CALLER.value
_a = t.actions.c
_OURS = or_(_a.agent == bindparam("agent_"), _a.undoes.is_not(None))
"""And what takes back, of which `_is_ours` tells whose it is."""
_READY = Prepared(
    select(_a.id, _a.revision, _a.topic, _a.agent, _a.undoes, _a.expires_at)
    .where(
        _a.namespace == bindparam("ns"),
        text(t.READY),
        _a.expires_at >= bindparam("after_"),
        or_(_a.expires_at > bindparam("after_"), _a.id > bindparam("id_")),
        _a.executor == _CALLER,
        _OURS,
    )
    .order_by(_a.expires_at, _a.id)
    .limit(bindparam("limit_"))
)
_LAPSED = Prepared(
    select(t.actions)
    .where(
        _a.namespace == bindparam("ns"),
        text(t.EXECUTING),
        _a.lease_until <= bindparam("now_"),
        _a.executor == _CALLER,
        _OURS,
        _a.retention_sec.is_not(None),
    )
    .order_by(_a.lease_until)
    .limit(bindparam("limit_"))
)


class Resumable(NamedTuple):
    """A revision that may be claimed now, as far as its row says."""

    id: str
    revision: int
    topic: str


def resumable(
    tx: Tx, agent: str, topics: Collection[str], limit: int
) -> tuple[list[Resumable], dict[str, str]]:
    """An agent's actions, and those that take them back, that run where their function is registered: what
    ends soonest first, then claims whose lease lapsed and that may be repeated. None that is stopped.

    Returns:
        At most `limit` of these topics; and of each other topic that was met on the way, one action's id.
    """
    others: dict[str, str] = {}
    if stops.everything(tx):
        return [], others
    found: list[Resumable] = []
    after, last = tx.now, "~"  # later than every id
    while len(found) < limit:  # what is others' or stopped may stand before the rest, and in any number
        page = tx.all(_READY, agent_=agent, after_=after, id_=last, limit_=PAGE)
        for id, revision, topic, by, undoes, _ in page:
            if not _is_ours(tx, agent, by, undoes):
                continue
            if topic not in topics:
                others.setdefault(topic, id)
            elif stops.covering(tx, by, topic) is None:
                found.append(Resumable(id, revision, topic))
        if len(page) < PAGE:
            break
        last, *_, after = page[-1]
    for columns in tx.all(_LAPSED, now_=tx.now, agent_=agent, limit_=PAGE):
        row = ActionRow(*columns)
        ours = row.topic in topics and _is_ours(tx, agent, row.agent, row.undoes)
        if ours and retryable(row, tx.now) and stops.covering(tx, row.agent, row.topic) is None:
            found.append(Resumable(row.id, row.revision, row.topic))
    return found[:limit], others


def _is_ours(tx: Tx, agent: str, by: str, undoes: str | None) -> bool:
    """Whether the agent proposed an action, or did what it takes back."""
    return by == agent or (undoes is not None and agent_of(tx, undoes) == agent)
