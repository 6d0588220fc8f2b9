"""Claim: the one step that lets an action run. No claim, no run (P5).

1. Inside one transaction a claim checks: that no kill switch covers it; the clock; the row's seal; the
   validity of the allow or approval; that the policy in force still says so; that the sealed arguments hash
   to what was recorded; for an approval, that a person's authentic decision names the hash of exactly what
   was shown (P4); that this executor can enforce every constraint; that what it rests on was read just now,
   and is as it was shown (`reading.py`).
2. A claim has a holder, a lease and an epoch. Only the holder of the current epoch may settle. The lease is
   15 seconds and renewed, or longer where the process that claims is not the one that runs it.
3. A lapsed lease is claimed again only where the executor answers a repeated key with its first answer, that
   promise still lasts, and it was not claimed `MOST_CLAIMS` times. Nobody knows whether the holder before
   sent anything, so it has to be valid as for a first claim: in its time, and under a policy in force that is
   no stricter and promises no less. Everything else becomes `in_doubt`.
4. The key sent downstream is derived from namespace, action id and revision: the same for every epoch, never
   the agent's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from interlock.gate import stops
from interlock.gate.active import require_snapshot
from interlock.gate.before import keep_before
from interlock.gate.ending import expire
from interlock.gate.package import Package, Sealed
from interlock.gate.reading import check as check_reading
from interlock.gate.reading import probe_of
from interlock.gate.records import (
    UNANSWERED,
    ActionRow,
    ApprovalRow,
    append_in_doubt,
    approval_of,
    decisions_on,
    load_action,
    move,
    save,
)
from interlock.gate.undoing import refuse_late, too_late
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.model.actions import DISPATCHED, ActionState, ExecutorKind
from interlock.model.binding import Binding
from interlock.model.canonical import Json
from interlock.model.errors import (
    ConstraintUnenforceable,
    Expired,
    InDoubt,
    InterlockError,
    NotClaimable,
    Tampered,
)
from interlock.model.readings import Reading
from interlock.model.verdicts import NO_CONSTRAINTS, OnTimeout, Tier, Verdict
from interlock.policy import Policy

LEASE_US = 15_000_000
SENDING_SEC = 60
LONGEST_LEASE_SEC = 3600
MOST_CLAIMS = 10
"""So often one action is claimed: what ended as many processes as this is not begun once more."""

Enforces = Mapping[ExecutorKind, frozenset[str]]
"""The constraints each executor can enforce; the dispatch room knows, the home room hands it over."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one revision of one action once.

    Attributes:
        binding: what to run; `binding.canonical()` are the bytes that were hashed and approved.
        epoch: fences off older claims.
        key: idempotency key for the system downstream.
        catalogue: digest of the catalogue entry that was decided on.
        reading: what its probe read just before; None where it has none, or was claimed before.
    """

    action_id: str
    revision: int
    holder: str
    epoch: int
    binding: Binding
    verdict: Verdict
    key: str
    retention_sec: int | None
    claimed_at: int
    catalogue: str
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim, or the refusal that was recorded instead of it."""

    claim: Claim | None
    refusal: InterlockError | None = None


def downstream_key(namespace: str, action_id: str, revision: int) -> str:
    """The idempotency key sent with every attempt of this revision."""
    return hashlib.sha256(f"interlock/key/v1\0{namespace}\0{action_id}\0{revision}".encode()).hexdigest()


def check_constraints(row: ActionRow, verdict: Verdict, enforces: Enforces) -> None:
    """Raises `ConstraintUnenforceable` where this executor cannot enforce what the verdict demands."""
    if verdict.constraints == NO_CONSTRAINTS:
        return
    lacking = [
        n for n in verdict.constraints.named if n not in enforces.get(ExecutorKind(row.executor), frozenset())
    ]
    if lacking:
        raise ConstraintUnenforceable(
            f"{row.topic} was allowed under {', '.join(lacking)}, which a {row.executor} executor "
            "cannot enforce.",
            extra={"constraints": lacking},
        )


def begin(
    tx: Tx,
    row: ActionRow,
    sealed: Sealed,
    verdict: Verdict,
    *,
    holder: str,
    approval: ApprovalRow | None,
    lease_us: int = LEASE_US,
    **under: Json,
) -> tuple[ActionRow, Claim]:
    """The row after a claim, and the claim; appends the entry. The caller has checked, and writes the row."""
    started = start(tx, row, holder=holder, approval=approval, lease_us=lease_us, began=None, **under)
    return started, claim_of(started, sealed, verdict)


def start(
    tx: Tx,
    row: ActionRow,
    *,
    holder: str,
    approval: ApprovalRow | None,
    lease_us: int = LEASE_US,
    began: int | None = None,
    **under: Json,
) -> ActionRow:
    """The row after a claim, which the caller writes; appends the entry.

    Args:
        lease_us: after so long without renewal or report it is in doubt.
        began: when it can have begun, where that is earlier than now: microseconds UTC.
        under: what the entry says further: the `permit`, and whether the run is only `assumed`.
    """
    started = row._replace(
        state=ActionState.EXECUTING.value,
        epoch=row.epoch + 1,
        holder=holder,
        lease_until=tx.now + lease_us,
        claimed_at=row.claimed_at or began or tx.now,
        changed_at=tx.now,
    )
    tx.append(
        Kind.ACTION_CLAIMED,
        action=row.id,
        revision=row.revision,
        epoch=started.epoch,
        holder=holder,
        action_hash=row.action_hash,
        approval=None if approval is None else approval.id,
        review_hash=None if approval is None else approval.review_hash,
        policy=row.snapshot,
        **under,
    )
    return started


def claim_of(row: ActionRow, sealed: Sealed, verdict: Verdict) -> Claim:
    """The claim that a row records."""
    return Claim(
        row.id,
        row.revision,
        row.holder or "",
        row.epoch,
        sealed.binding,
        verdict,
        downstream_key(row.namespace, row.id, row.revision),
        row.retention_sec,
        row.claimed_at or 0,
        row.catalogue,
    )


@dataclass(frozen=True, slots=True)
class Claiming:
    """The transition that claims the latest revision of an action under the policy in force."""

    action_id: str
    holder: str
    executors: tuple[ExecutorKind, ...]
    policy: Policy
    enforces: Enforces
    reading: Reading | None = None
    lease_us: int = LEASE_US

    def __call__(self, tx: Tx) -> Claimed:
        row = load_action(tx, self.action_id)
        if ExecutorKind.PERMITTED in self.executors:
            raise TypeError("what a permitted executor runs is claimed by redeeming its permit")
        check_executor_kind(row, *self.executors)
        retry = row.status is ActionState.EXECUTING and retryable(row, tx.now)
        if not retry:
            check_state(row)
        stops.refuse_stopped(tx, row.id, row.agent, row.topic)
        tx.clock.check()
        over = self._unrepeatable(tx, row) if retry else passed(tx, row, self.policy.snapshot)
        if over is not None:
            return Claimed(None, over)
        sealed, approval = authorised(tx, row, self.enforces)
        read = {} if retry else check_reading(tx, row, sealed, approval, self.reading)
        started, claimed = begin(
            tx,
            row,
            sealed,
            row.decided,
            holder=self.holder,
            approval=approval,
            lease_us=self.lease_us,
            **read,
        )
        save(tx, row, started)
        if read and self.reading is not None:
            keep_before(tx, started, sealed, self.reading)
        return Claimed(replace(claimed, reading=self.reading if read else None))

    def _unrepeatable(self, tx: Tx, row: ActionRow) -> InDoubt | None:
        """What was recorded where nobody may take a lapsed claim over any more; None otherwise (rule 3)."""
        require_snapshot(tx, self.policy.snapshot)
        confirmed = row.snapshot == self.policy.snapshot or _confirms(tx, row, self.policy)
        if confirmed and too_late(tx, row) is None:
            return None
        append_in_doubt(tx, move(tx, row, ActionState.IN_DOUBT))
        return InDoubt(f"{row.id} was begun, and may not be begun any more; nobody knows whether it ran.")


def check_executor_kind(row: ActionRow, *kinds: ExecutorKind) -> None:
    """Raises `NotClaimable` where another kind of executor runs the action."""
    if row.executor not in kinds:
        raise NotClaimable(
            f"{row.topic} is executed by {row.executor}, fixed when it was proposed.",
            fix=_HOW[ExecutorKind(row.executor)],
        )


def check_state(row: ActionRow) -> None:
    """Raises `InDoubt` or `NotClaimable` unless the action is allowed or approved."""
    status = row.status
    if status is ActionState.IN_DOUBT:
        raise InDoubt(f"{row.id} started and did not report; it is not run again.")
    if status not in (ActionState.ALLOWED, ActionState.APPROVED):
        raise NotClaimable(f"{row.id} is {row.state}.", fix=_ADVICE.get(status, ""))


def passed(tx: Tx, row: ActionRow, snapshot: str) -> Expired | None:
    """What was recorded where the time of an allow or approval has passed; None where it may still run.

    Raises:
        PolicyMoved: another policy than `snapshot` is in force. NeedsRedeciding: the action was decided under
            an earlier one.
    """
    require_snapshot(tx, snapshot)
    if row.snapshot != snapshot:
        raise NeedsRedeciding(row.id)
    if row.expires_at is None or tx.now >= row.expires_at:
        return expire(tx, row)
    refuse_late(tx, row)
    return None


def authorised(tx: Tx, row: ActionRow, enforces: Enforces) -> tuple[Sealed, ApprovalRow | None]:
    """What may run, checked against everything it rests on, and the approval, where a person gave one.

    Raises:
        KillSwitchOn: a kill switch covers it. ConstraintUnenforceable: this executor cannot enforce a
            constraint. Tampered: a row or payload does not say what was recorded.
    """
    stops.refuse_stopped(tx, row.id, row.agent, row.topic)
    verdict = row.decided
    check_constraints(row, verdict, enforces)
    sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
    return sealed, _authority(tx, row, verdict)


_HOW = {
    **dict.fromkeys(DISPATCHED, "A serving process carries it out by itself."),
    ExecutorKind.CALLER: "A caller's function runs in the process that registered it; see `gate.resume`.",
    ExecutorKind.PERMITTED: "Its executor runs it: POST /v1/actions/{id}/permit at the server.",
    ExecutorKind.QUESTION: "A person answers it, and nothing is run.",
}
_ADVICE = {
    ActionState.HELD: "It waits for a person.",
    ActionState.EXECUTING: "Somebody is running it; ask again later.",
}


class NeedsRedeciding(NotClaimable):
    """The policy changed since the verdict; the caller re-decides from recorded inputs and asks again."""

    slug = "needs-redeciding"
    title = "The policy changed since this was decided"

    def __init__(self, action_id: str) -> None:
        super().__init__(f"{action_id} was decided under an earlier policy.")
        self.action_id = action_id


def retryable(row: ActionRow, now: int) -> bool:
    """Whether a lapsed claim may be taken over, as far as its row says: the executor still remembers our key,
    and what lets it run is still valid."""
    return (
        row.retention_sec is not None
        and row.claimed_at is not None
        and row.lease_until is not None
        and row.expires_at is not None
        and row.epoch < MOST_CLAIMS
        and row.lease_until <= now < min(row.expires_at, remembered_until(row.claimed_at, row.retention_sec))
    )


def _confirms(tx: Tx, row: ActionRow, policy: Policy) -> bool:
    """Whether another policy than the one that decided lets a begun action be repeated: nothing stricter, the
    same probe, and for as long as it was promised then, its key is remembered."""
    promised = retention(policy, row.topic) or 0
    if promised < (row.retention_sec or 0) or probe_of(policy, row.topic) != row.probe:
        return False
    sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
    return not policy.decide(sealed.question).tighter_than(row.decided)


def retention(policy: Policy, topic: str) -> int | None:
    """For how many seconds whoever runs a topic's actions remembers their key; None where it does not."""
    entry = policy.entry(topic)
    return None if entry is None or entry.execute is None else entry.execute.idempotent_retention_sec


def remembered_until(claimed_at: int, retention_sec: int) -> int:
    """Until when a repeated key may be sent: the promise less the time that sending it may take."""
    return claimed_at + (retention_sec - SENDING_SEC) * 1_000_000


def _authority(tx: Tx, row: ActionRow, verdict: Verdict) -> ApprovalRow | None:
    """What permits this run: an allow, an approval by a person over exactly what was shown, or a silence that
    the lane lets count.

    Raises:
        Tampered: the rows claim an authority that nobody gave.
    """
    if verdict.allowed:
        return None
    if not verdict.held:
        raise Tampered(f"{row.id} is {row.state} under a verdict that denies it.")
    approval = approval_of(tx, row)
    if approval is not None and approval.state == UNANSWERED:
        return _silence(tx, row, verdict, approval)
    if approval is None or approval.state != "approved":
        raise Tampered(f"{row.id} is {row.state} without an approved request.")
    decisions = decisions_on(tx, approval.id)
    if any(decision.decision == "revoke" for decision in decisions):
        raise Tampered(f"{row.id} is {row.state} although its approval was revoked.")
    answers = [decision for decision in decisions if decision.decision == "approve"]
    if len(answers) != 1 or answers[0].review_hash != approval.review_hash:
        raise Tampered(f"The approval of {row.id} does not rest on one decision about what was shown.")
    if shown(tx, row, approval).review_hash != approval.review_hash:
        raise Tampered(f"What was shown about {row.id} is not what its approval names.")
    return approval


def _silence(tx: Tx, row: ActionRow, verdict: Verdict, approval: ApprovalRow) -> ApprovalRow:
    """The request that nobody answered, whose lane lets the action run: at tiers 1 and 2 of the catalogue.

    Raises:
        Tampered: silence allows no such thing.
    """
    lane = verdict.lane
    if lane is None or lane.on_timeout is not OnTimeout.ALLOW or row.status is ActionState.APPROVED:
        raise Tampered(f"{row.id} is {row.state} by a silence that its lane gives no meaning.")
    if verdict.tier not in (Tier.READ_ONLY, Tier.REVERSIBLE):
        raise Tampered(f"{row.id} is {row.state} because nobody answered; that takes tier 1 or 2.")
    if decisions_on(tx, approval.id):
        raise Tampered(f"{row.id} is {row.state} by silence although somebody answered {approval.id}.")
    if shown(tx, row, approval).review_hash != approval.review_hash:
        raise Tampered(f"What was shown about {row.id} is not what its request names.")
    return approval


def shown(tx: Tx, row: ActionRow, approval: ApprovalRow) -> Package:
    """The package of a request, rebuilt from what was sealed. Raises `Tampered`."""
    value = json.loads(tx.unseal(approval.package))
    return Package(
        row.action_hash,
        row.decided,
        row.catalogue,
        value["summary"],
        value["context"],
        approval.expires_at,
        approval.reading,
    )
