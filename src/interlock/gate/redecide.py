"""Policy drift: a changed policy re-decides what is open, from recorded inputs.

1. The same verdict, or a looser one, disturbs nothing: the action keeps its verdict and only notes which
   policy confirmed it. Re-deciding never releases a hold.
2. A tighter verdict makes the action stale: what was decided about it is void, and it is denied or held anew,
   with a new request whose page says why. What an offline permit may run stays as it is until that ends.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select, text

from interlock.gate.active import require_snapshot
from interlock.gate.opening import request, told
from interlock.gate.package import Sealed
from interlock.gate.permit_rows import outstanding
from interlock.gate.records import ActionRow, approval_of, load_action, move, save, save_approval
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy, held_as_stale

_DRIFTED = Prepared(
    select(t.actions.c.id, t.actions.c.revision)
    .where(
        t.actions.c.namespace == bindparam("ns"),
        text(t.WAITING),
        t.actions.c.snapshot != bindparam("snapshot_"),
    )
    .limit(bindparam("limit_"))
)


def drifted(tx: Tx, snapshot: str, limit: int) -> list[str]:
    """Ids of open actions that another policy than `snapshot` confirmed last."""
    return [row[0] for row in tx.all(_DRIFTED, snapshot_=snapshot, limit_=limit)]


def redecide(tx: Tx, action_id: str, policy: Policy) -> ActionRow:
    """Apply the rules above to one action; a no-op where there is nothing to do."""
    require_snapshot(tx, policy.snapshot)
    row = load_action(tx, action_id)
    waiting = (ActionState.HELD, ActionState.ALLOWED, ActionState.APPROVED)
    if row.snapshot == policy.snapshot or row.status not in waiting:
        return row
    sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
    was = row.decided
    now = policy.decide(sealed.question)
    tighter = now.tighter_than(was)
    if tighter and outstanding(row) is not None:
        return row
    tx.append(
        Kind.ACTION_STALE if tighter else Kind.ACTION_REDECIDED,
        action=row.id,
        revision=row.revision,
        was=row.state,
        **told(now, sealed),
    )
    if not tighter:
        return save(tx, row, row._replace(snapshot=policy.snapshot))
    return _void(tx, row, sealed, was, now, policy)


def _void(tx: Tx, row: ActionRow, sealed: Sealed, was: Verdict, now: Verdict, policy: Policy) -> ActionRow:
    stale = move(tx, row, ActionState.STALE)
    verdict = held_as_stale(now, was)
    decided = stale._replace(
        verdict=verdict.canonical().decode(),
        snapshot=policy.snapshot,
        catalogue=policy.entry_digest(row.topic),
        expires_at=None,
    )
    denied = verdict.decision is Decision.DENY
    state = ActionState.DENIED if denied else ActionState.HELD
    old = approval_of(tx, row)
    editor = None if old is None else old.editor
    new = None
    if not denied:
        new = request(tx, decided, sealed, verdict, policy, supersedes=old, editor=editor)
    if old is not None and old.state in ("held", "approved"):
        save_approval(tx, old._replace(state="stale", superseded_by=None if new is None else new.id))
    tx.append(
        Kind.ACTION_REDECIDED,
        action=row.id,
        revision=row.revision,
        was=ActionState.STALE.value,
        action_hash=row.action_hash,
        **told(verdict, sealed, held_by_gate=verdict is not now),
        approval=None if new is None else new.id,
        review_hash=None if new is None else new.review_hash,
    )
    return save(tx, stale, decided._replace(state=state.value))
