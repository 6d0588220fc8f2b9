"""What became of an action, as its agent is told: events, made of the ledger's entries and of nothing else.

1. An event is a decision about an action, its end, or its outcome. It carries ids, a state and a time: no
   arguments, no result, nobody's name or words. Who is told asks for the rest with a key of its own.
2. The number of an event is the index of its ledger entry: the same event has the same number for whoever
   hears of it, in whichever way and however often.
3. For each webhook that wants an event one segment is enqueued in the transaction that wrote the entry: what
   was decided is told, whatever becomes of this process (P6). The segment carries a mark: a row that somebody
   else put into the outbox is not signed with a webhook's secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from interlock.engine import enqueue
from interlock.gate.undoing import agent_of
from interlock.journal import Tx, Vault
from interlock.ledger import Kind
from interlock.model.actions import ActionState

WEBHOOK = "webhook"
"""The kind of segment that delivers one event to one webhook."""
_LISTENERS = "listeners"


class Event(NamedTuple):
    """Something that became of an action.

    Attributes:
        number: of the ledger entry it is made of. at: when, microseconds UTC.
        state: what the action became. `superseded` is an edit: the next revision waits for a person.
    """

    number: int
    state: ActionState
    action_id: str
    revision: int
    at: int

    @property
    def type(self) -> str:
        """Its name for the outside, as in ``action.approved``."""
        return f"action.{self.state.value}"


STATES = (
    ActionState.APPROVED,
    ActionState.ALLOWED,
    ActionState.REJECTED,
    ActionState.ANSWERED,
    ActionState.SUPERSEDED,
    ActionState.DENIED,
    ActionState.EXPIRED,
    ActionState.WITHDRAWN,
    ActionState.REVOKED,
    ActionState.SUCCEEDED,
    ActionState.FAILED,
    ActionState.IN_DOUBT,
    ActionState.ROLLED_BACK,
)
"""The states that events tell. `allowed` is by silence, where a lane says so."""
TYPES = tuple(f"action.{state.value}" for state in STATES)

_ENDS = {
    Kind.ACTION_EXPIRED: ActionState.EXPIRED,
    Kind.ACTION_WITHDRAWN: ActionState.WITHDRAWN,
    Kind.ACTION_REVOKED: ActionState.REVOKED,
    Kind.ACTION_ROLLED_BACK: ActionState.ROLLED_BACK,
    Kind.APPROVAL_UNANSWERED: ActionState.ALLOWED,
}
_OUTCOMES = {Kind.ACTION_SETTLED, Kind.ACTION_IN_DOUBT, Kind.ACTION_RECONCILED, Kind.ACTION_LATE_REPORT}
_ANSWERS = {"approve": ActionState.APPROVED, "reject": ActionState.REJECTED, "respond": ActionState.ANSWERED}


def event_of(number: int, kind: str, at: int, entry: Mapping[str, Any]) -> Event | None:
    """The event that an entry tells; None where it tells none.

    Args:
        entry: the entry's own fields.
    """
    state: ActionState | None = None
    if kind in _ENDS:
        state = _ENDS[Kind(kind)]
    elif kind in _OUTCOMES:
        state = ActionState(entry["outcome"]) if entry.get("applied", True) else None
    elif kind == Kind.APPROVAL_DECIDED:
        state = _ANSWERS.get(entry["decision"])
    elif kind in (Kind.ACTION_EDITED, Kind.ACTION_REDECIDED):
        if entry["decision"] == "deny":
            state = ActionState.DENIED
        elif kind == Kind.ACTION_EDITED:
            state = ActionState.SUPERSEDED
    if state is None:
        return None
    return Event(number, state, str(entry["action"]), int(entry["revision"]), at)


class Listener(Protocol):
    """A webhook, as far as the gate knows one."""

    @property
    def name(self) -> str: ...

    def wants(self, agent: str, type: str) -> bool:
        """Whether it is told events of this type about this agent's actions."""
        ...


class Telling:
    """Enqueues a delivery for each webhook that wants an event; the journal calls it with each entry.

    Args:
        listeners: the webhooks there are now. It is asked once inside a transaction, so it must be quick.
    """

    def __init__(self, listeners: Callable[[], Sequence[Listener]]) -> None:
        self._listeners = listeners

    def __call__(self, tx: Tx, number: int, kind: Kind, entry: Mapping[str, Any]) -> None:
        event = event_of(number, kind, tx.now, entry)
        if event is None:
            return
        listeners: Sequence[Listener] | None = tx.memo.get(_LISTENERS)
        if listeners is None:
            listeners = tx.memo[_LISTENERS] = self._listeners()
        agent = agent_of(tx, event.action_id) if listeners else None
        if agent is None:
            return
        for listener in listeners:
            if listener.wants(agent, event.type):
                enqueue(tx, WEBHOOK, ids_of(tx.vault, tx.namespace, listener.name, event))


def ids_of(vault: Vault, namespace: str, webhook: str, event: Event) -> dict[str, str]:
    """What the segment of one delivery carries."""
    ids = {
        "webhook": webhook,
        "entry": str(event.number),
        "state": event.state.value,
        "action": event.action_id,
        "revision": str(event.revision),
        "at": str(event.at),
    }
    return {**ids, "mark": vault.mac(WEBHOOK, namespace, *ids.values()).hex()}


def told_by(vault: Vault, namespace: str, ids: Mapping[str, str]) -> tuple[str, Event] | None:
    """The webhook and the event of a delivery; None where no gate of this home enqueued it."""
    try:
        event = Event(
            int(ids["entry"]), ActionState(ids["state"]), ids["action"], int(ids["revision"]), int(ids["at"])
        )
        webhook = ids["webhook"]
    except (KeyError, ValueError):
        return None
    return (webhook, event) if dict(ids) == ids_of(vault, namespace, webhook, event) else None
