"""What follows a decision: the segments that are enqueued in the transaction which made an action runnable.

1. Whatever lets a dispatched action run enqueues its dispatch: an allow that nobody claimed at once, an
   approval, a silence that allows. State and follow-up work commit together (P6).
2. A segment says that an action may run; it never says that it must. The claim decides, so a segment that is
   delivered twice, late, or for what was withdrawn meanwhile does no harm.
3. Lifting a kill switch enqueues one segment, however much waited in its scope: that one enqueues the
   dispatches page by page, so that lifting is short.
"""

from __future__ import annotations

from interlock.engine import enqueue
from interlock.gate.records import ActionRow
from interlock.journal import Tx
from interlock.model.actions import ActionState, ExecutorKind

DISPATCH = "dispatch"
"""The kind of segment that carries out one dispatched action: `action`, and its `topic`, which says where it
goes."""
RELEASE = "release"
"""The kind that enqueues what waited for a kill switch: `kill`."""
PROBE = "probe"
"""The kind that reads what a held request rests on: `approval`."""
RUNNABLE = (ActionState.ALLOWED, ActionState.APPROVED)


def follow(tx: Tx, row: ActionRow) -> None:
    """Enqueue what an action's new state asks for: the dispatch of a dispatched one that may run."""
    if row.status in RUNNABLE and ExecutorKind(row.executor).dispatched:
        dispatch(tx, row.id, row.topic)


def dispatch(tx: Tx, action_id: str, topic: str) -> None:
    """Enqueue the dispatch of an action."""
    enqueue(tx, DISPATCH, {"action": action_id, "topic": topic})


def probe(tx: Tx, approval_id: str) -> None:
    """Enqueue the reading of what a held request rests on, in the transaction that opens it."""
    enqueue(tx, PROBE, {"approval": approval_id})


def release(tx: Tx, kill_id: str) -> None:
    """Enqueue the segment that enqueues what waited for a kill switch, in the transaction that lifts it."""
    enqueue(tx, RELEASE, {"kill": kill_id})
