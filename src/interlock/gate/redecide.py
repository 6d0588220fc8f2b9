"""Drift: a changed policy, or a changed world, re-decides what is open, from recorded inputs.

1. The same verdict, or a looser one, disturbs nothing: the action keeps its verdict and only notes which
   policy confirmed it. Re-deciding never releases a hold.
2. A tighter verdict makes the action stale: what was decided about it is void, and it is denied or held anew,
   with a new request whose page says why. What an offline permit may run stays as it is until that ends.
3. So does a policy that asks for a reading which nobody made: a probe, where there was another one or none.
4. What is read just before a claim and is not what was shown makes the action stale as well; it is held anew,
   and the request shows what was read then and what is read now. Nothing is denied or released by that alone.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select, text

from interlock.gate.active import require_snapshot
from interlock.gate.claim import NeedsRedeciding, retention, shown
from interlock.gate.opening import asks, request, told
from interlock.gate.package import Sealed
from interlock.gate.permit_rows import outstanding
from interlock.gate.reading import asked_of, probe_of
from interlock.gate.records import (
    UNANSWERED,
    ActionRow,
    ApprovalRow,
    approval_of,
    load_action,
    move,
    save,
    save_approval,
)
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json
from interlock.model.readings import Reading
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy, held_as_drifted, held_as_stale

_a = t.actions.c
_OPEN = select(_a.id, _a.revision).where(_a.namespace == bindparam("ns"), text(t.WAITING))
_ANOTHER = (_a.snapshot < bindparam("snapshot_"), _a.snapshot > bindparam("snapshot_"))
# Two ranges of the index on what waits, beside all of it that the policy in force has confirmed. Their order
# is the index's: no planner that knows little is tempted to look through the table for them.
_DRIFTED = tuple(
    Prepared(_OPEN.where(another).order_by(_a.snapshot).limit(bindparam("limit_"))) for another in _ANOTHER
)


def _read(approval: ApprovalRow, reading: Reading | None) -> dict[str, Json]:
    """What an entry says about the reading that its request shows."""
    return {} if reading is None else {"reading": approval.reading, "read_at": reading.read_at}


def drifted(tx: Tx, snapshot: str, limit: int) -> list[tuple[str, int]]:
    """Id and revision of open actions that another policy than `snapshot` confirmed last."""
    found: list[tuple[str, int]] = []
    for another in _DRIFTED:
        if len(found) < limit:
            found += tx.all(another, snapshot_=snapshot, limit_=limit - len(found))
    return found


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
    asked = probe_of(policy, row.topic)
    because = "policy" if tighter or asked in (None, row.probe) else "probe"
    tighter = tighter or because == "probe"
    if tighter and outstanding(row) is not None:
        return row
    tx.append(
        Kind.ACTION_STALE if tighter else Kind.ACTION_REDECIDED,
        action=row.id,
        revision=row.revision,
        was=row.state,
        **told(now, sealed),
        **({"because": because} if because == "probe" else {}),
    )
    if not tighter:
        return save(tx, row, row._replace(snapshot=policy.snapshot))
    return _void(tx, row, sealed, now, held_as_stale(now, was), policy, because)


def drift(tx: Tx, action_id: str, policy: Policy, reading: Reading) -> ActionRow:
    """Apply rule 4 to one action; a no-op where it reads as it was shown, or runs, or has ended.

    Args:
        reading: what was read just now, by the probe that was decided on.
    """
    require_snapshot(tx, policy.snapshot)
    row = load_action(tx, action_id)
    if row.status not in (ActionState.ALLOWED, ActionState.APPROVED) or outstanding(row) is not None:
        return row
    if row.snapshot != policy.snapshot:
        raise NeedsRedeciding(row.id)
    sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
    mark, old = reading.mark(sealed.nonce), approval_of(tx, row)
    if row.probe is None or mark is None or reading.about != asked_of(row, sealed).digest:
        return row
    if not (reading.moved if old is None else mark != old.reading):
        return row
    now = policy.decide(sealed.question)
    tx.append(
        Kind.ACTION_STALE,
        action=row.id,
        revision=row.revision,
        was=row.state,
        **told(now, sealed),
        because="world",
        reading=mark,
        read_at=reading.read_at,
    )
    verdict = held_as_drifted(now, row.decided)
    return _void(tx, row, sealed, now, verdict, policy, "world", reading)


def _void(
    tx: Tx,
    row: ActionRow,
    sealed: Sealed,
    now: Verdict,
    verdict: Verdict,
    policy: Policy,
    because: str,
    reading: Reading | None = None,
) -> ActionRow:
    """What was decided about it is void; `verdict` is what holds now, `now` the policy's own."""
    stale = move(tx, row, ActionState.STALE)
    decided = stale._replace(
        verdict=verdict.canonical().decode(),
        snapshot=policy.snapshot,
        catalogue=policy.entry_digest(row.topic),
        probe=probe_of(policy, row.topic),
        retention_sec=retention(policy, row.topic),  # what runs is the entry that is decided on now
        expires_at=None,
    )
    if decided.probe != row.probe:
        reading = None  # another probe made it
    denied = verdict.decision is Decision.DENY
    state = ActionState.DENIED if denied else ActionState.HELD
    old = approval_of(tx, row)
    editor = None if old is None else old.editor
    new = None
    if not denied:
        earlier = None if old is None or old.reading is None else shown(tx, row, old).read
        new = request(
            tx,
            decided,
            sealed,
            verdict,
            policy,
            supersedes=old,
            editor=editor,
            again={"because": because, "was": row.state},
            reading=reading,
            earlier=earlier,
        )
    if old is not None and old.state in ("held", "approved", UNANSWERED):
        save_approval(tx, old, state="stale", superseded_by=None if new is None else new.id)
    tx.append(
        Kind.ACTION_REDECIDED,
        action=row.id,
        revision=row.revision,
        was=ActionState.STALE.value,
        action_hash=row.action_hash,
        **told(verdict, sealed, held_by_gate=verdict.held and not now.held),
        approval=None if new is None else new.id,
        review_hash=None if new is None else new.review_hash,
        **({} if new is None else {"expires_at": new.expires_at, **asks(decided), **_read(new, reading)}),
    )
    return save(tx, stale, decided._replace(state=state.value))
