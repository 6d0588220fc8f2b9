"""Opening a revision: its row, its sealed arguments, its entry and, where it is held, the request about it.

Both a proposal and an edit come here, so that an edited revision is recorded exactly as a proposed one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.gate.claim import Claim, Enforces, begin, check_constraints, retention
from interlock.gate.following import follow, probe
from interlock.gate.package import Package, Sealed, deadlines, subject_of
from interlock.gate.reading import probe_of
from interlock.gate.records import ActionRow, ApprovalRow, add_action, add_approval
from interlock.gate.undoing import bounded
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.binding import Binding, verdict_digest
from interlock.model.canonical import Json
from interlock.model.errors import InterlockError
from interlock.model.ids import new_id
from interlock.model.readings import Reading
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy

ALLOWED_SEC = 3600
UNREAD_US = 2_000_000
"""When the sweep looks at a request whose segment should have read its probe by then."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """The answer to a proposal.

    Attributes:
        action: the action; the first one where the request was a repetition.
        created: False for a repetition.
        claim: set where the action was allowed and claimed in the same transaction.
        binding: what was sealed about it; None for a repetition.
        refusal: an error that was recorded, to be raised after the commit.
    """

    action: ActionRow | None
    created: bool
    claim: Claim | None = None
    binding: Binding | None = None
    refusal: InterlockError | None = None


def _stamped(row: ActionRow, sealed: Sealed, now: int, payload: int) -> ActionRow:
    """The row with what only the transaction knows: its time, and the number of the sealed payload."""
    allowed = row.state == ActionState.ALLOWED.value
    until = bounded(sealed, now + ALLOWED_SEC * 1_000_000) if allowed else None
    return row._replace(proposed_at=now, changed_at=now, expires_at=until, payload=payload)


def new_row(
    policy: Policy,
    sealed: Sealed,
    verdict: Verdict,
    *,
    action_id: str,
    key_id: str | None,
    fingerprint: str,
    predecessor: str | None,
) -> ActionRow:
    """The row of one revision, in the state its verdict gives it; `record` adds payload and times."""
    binding = sealed.binding
    return ActionRow(
        namespace=binding.namespace,
        id=action_id,
        revision=binding.revision,
        state=state_under(verdict).value,
        topic=binding.topic,
        agent=binding.agent,
        key_id=key_id,
        executor=str(binding.executor["kind"]),
        verdict=verdict.canonical().decode(),
        snapshot=policy.snapshot,
        catalogue=policy.entry_digest(binding.topic),
        action_hash=binding.action_hash(sealed.nonce),
        payload=-1,
        output=None,
        fingerprint=fingerprint,
        predecessor=predecessor,
        retention_sec=retention(policy, binding.topic),
        proposed_at=0,
        changed_at=0,
        expires_at=None,
        epoch=0,
        holder=None,
        lease_until=None,
        claimed_at=None,
        probe=probe_of(policy, binding.topic),
    )


def state_under(verdict: Verdict) -> ActionState:
    """The state in which a revision begins."""
    if verdict.decision is Decision.DENY:
        return ActionState.DENIED
    return ActionState.HELD if verdict.held else ActionState.ALLOWED


def record(
    tx: Tx,
    row: ActionRow,
    sealed: Sealed,
    verdict: Verdict,
    policy: Policy,
    *,
    enforces: Enforces,
    holder: str | None = None,
    request_name: str | None = None,
    kind: Kind = Kind.ACTION_PROPOSED,
    before: ActionRow | None = None,
    supersedes: ApprovalRow | None = None,
    editor: str | None = None,
    held_by_gate: bool = False,
) -> Proposed:
    """Write a revision, its entry and, where it is held, the approval request about it.

    Args:
        request_name: keyed hash of the name its caller gave the request; the ledger shows it if that repeats.
        before, supersedes, editor: for an edit: the revision and request it replaces, and who edited.
        held_by_gate: the verdict is not the policy's, which would let it pass (`policy.holding`).
    """
    if verdict.decision is not Decision.DENY:
        check_constraints(row, verdict, enforces)
    row = _stamped(row, sealed, tx.now, tx.seal(sealed.content(), subject_of(sealed.binding)))
    approval = None
    if verdict.held:
        was = None
        if before is not None:
            was = Sealed.read(tx.unseal(before.payload), before.action_hash).binding.args
        approval = request(tx, row, sealed, verdict, policy, before=was, supersedes=supersedes, editor=editor)
    # What has a probe is read before it is claimed, and nothing is read inside a transaction.
    claims = holder is not None and row.state == ActionState.ALLOWED.value and row.probe is None
    tx.append(
        kind,
        action=row.id,
        revision=row.revision,
        topic=row.topic,
        agent=row.agent,
        key=row.key_id,
        executor=row.executor,
        action_hash=row.action_hash,
        **told(verdict, sealed, held_by_gate=held_by_gate),
        approval=None if approval is None else approval.id,
        review_hash=None if approval is None else approval.review_hash,
        expires_at=row.expires_at if approval is None else approval.expires_at,
        predecessor=row.predecessor,
        request=request_name,
        supersedes=None if supersedes is None else supersedes.id,
        person=editor,
        **_rollback(sealed),
        **asks(row),
    )
    if claims and holder is not None:
        started, claim = begin(tx, row, sealed, verdict, holder=holder, approval=None)
        return Proposed(add_action(tx, started), created=True, claim=claim, binding=sealed.binding)
    follow(tx, row)
    return Proposed(add_action(tx, row), created=True, binding=sealed.binding)


def _rollback(sealed: Sealed) -> dict[str, Json]:
    """What an entry says further about an action that takes another one back."""
    found = sealed.takes_back
    if found is None:
        return {}
    asked: dict[str, Json] = {} if found.asked_by is None else {"asked_by": found.asked_by}
    return {"undoes": found.action, **asked}


def asks(row: ActionRow) -> dict[str, Json]:
    """What an entry says about the probe that has to be read before a revision runs."""
    return {} if row.probe is None else {"probe": row.probe}


def told(verdict: Verdict, sealed: Sealed, *, held_by_gate: bool = False) -> dict[str, Json]:
    """What an entry says about a verdict, and about what it was decided from, so that it can be replayed."""
    fields: dict[str, Json] = {
        "decision": verdict.decision.value,
        "rule": verdict.rule,
        "tier": None if verdict.tier is None else int(verdict.tier),
        "policy": verdict.snapshot,
        "verdict": verdict_digest(verdict),
        "owner": verdict.owner,
        "inputs": sealed.inputs,
    }
    if verdict.observed is not None:
        fields["observed"] = verdict.observed.value
    if held_by_gate:
        fields["held_by"] = "gate"
    return fields


def request(
    tx: Tx,
    row: ActionRow,
    sealed: Sealed,
    verdict: Verdict,
    policy: Policy,
    *,
    before: Mapping[str, Json] | None = None,
    supersedes: ApprovalRow | None = None,
    editor: str | None = None,
    again: Mapping[str, Json] | None = None,
    reading: Reading | None = None,
    earlier: Json = None,
) -> ApprovalRow:
    """Open the approval request about a held revision.

    Args:
        again: why it is decided again, and where it stood, if it was decided before.
        reading: what was read of the world just now, and `earlier` what the request before showed. Without
            one, what has a probe is read next.
    """
    if verdict.lane is None:
        raise ValueError("a held verdict has a lane")
    due, end = (bounded(sealed, time) for time in deadlines(verdict.lane, verdict.owner, tx.now))
    package = Package.build(
        policy,
        sealed,
        row.action_hash,
        verdict,
        expires_at=end,
        before=before,
        again=again,
    )
    if reading is not None:
        package = package.with_reading(reading, earlier, sealed.nonce)
    unread = row.probe is not None and reading is None
    approval = ApprovalRow(
        namespace=tx.namespace,
        id=new_id("apr"),
        action_id=row.id,
        revision=row.revision,
        state="held",
        review_hash=package.review_hash,
        package=tx.seal(package.content(), subject_of(sealed.binding)),
        owner=verdict.owner,
        requested_at=tx.now,
        due_at=due,
        expires_at=end,
        escalated=0,
        editor=editor,
        supersedes=None if supersedes is None else supersedes.id,
        superseded_by=None,
        reading=package.reading,
        probe_at=tx.now + UNREAD_US if unread else None,
    )
    if unread:
        probe(tx, approval.id)
    return add_approval(tx, approval)
