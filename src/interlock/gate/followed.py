"""How far an agent's code was told what became of its actions, where processes come and go.

1. One row for each agent holds the next ledger index that is looked at. It is begun where the agent's code
   first asks to be told; from then on no event is passed over, whether a process is there or not. Only the
   first worker of all goes back for a day at most: what happened before was not left to any worker.
2. One process at a time tells: whoever has the row's lease (`LEASE_US`, renewed by telling). The position
   moves after an event was told, so that an event is told again where a process died in between: at least
   once, and rarely twice. Whoever is told compares the event's number.
3. Nothing runs because of this row: it carries no mark, and who moves it delays or repeats news.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from interlock.gate.undoing import agent_of
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t

LEASE_US = 15_000_000
BACK_US = 24 * 3600 * 1_000_000


class Taken(NamedTuple):
    """Where to go on telling, by this process alone for `LEASE_US`.

    Attributes:
        position: the next ledger index.
        since: nothing earlier is told, in microseconds UTC; None where a worker was there before.
    """

    position: int
    since: int | None


_f = t.followed.c
_ROW = Prepared(
    select(_f.position, _f.holder, _f.until).where(
        _f.namespace == bindparam("ns"), _f.agent == bindparam("agent_")
    )
)
_ADD = insert_into(t.followed)
_a = t.actions.c
_SET = Prepared(
    update(t.followed)
    .where(_f.namespace == bindparam("ns"), _f.agent == bindparam("agent_"))
    .values(position=bindparam("position_"), holder=bindparam("holder_"), until=bindparam("until_"))
)
_TOPIC = Prepared(select(_a.topic).where(_a.namespace == bindparam("ns"), _a.id == bindparam("id_")).limit(1))


def begin(tx: Tx, agent: str, position: int) -> None:
    """Follow an agent's actions from `position` on, unless somebody began before."""
    if tx.one(_ROW, agent_=agent) is None:
        tx.insert(_ADD, (tx.namespace, agent, position, "", 0))


def take(tx: Tx, agent: str, holder: str) -> Taken | None:
    """The place to go on telling from; None while another process tells, or nobody began."""
    found = tx.one(_ROW, agent_=agent)
    if found is None:
        return None
    position, by, until = found
    if by != holder and until > tx.now:
        return None
    tx.write(_SET, agent_=agent, position_=position, holder_=holder, until_=tx.now + LEASE_US)
    return Taken(int(position), tx.now - BACK_US if until == 0 else None)


def advance(tx: Tx, agent: str, holder: str, position: int, *, leave: bool = False) -> bool:
    """Record that everything before `position` was told; False where another process tells by now.

    Args:
        leave: give the lease back.
    """
    found = tx.one(_ROW, agent_=agent)
    if found is None or found[1] != holder:
        return False
    until = tx.now + (0 if leave else LEASE_US)
    tx.write(_SET, agent_=agent, position_=position, holder_="" if leave else holder, until_=until)
    return True


def proposed_by(
    tx: Tx, agent: str, actions: Collection[str], covers: Callable[[str], bool] = lambda _: True
) -> frozenset[str]:
    """Those of the actions that the agent proposed, and what takes one of its actions back, under topics that
    are covered."""
    ours = {id: tx.one(_TOPIC, id_=id) for id in actions if agent_of(tx, id) == agent}
    return frozenset(id for id, row in ours.items() if row and covers(row[0]))
