"""Decide: a person answers one approval request, and the answer names what was shown.

1. `expected_hash` is the review hash of what the person saw. Anything else is refused with the difference
   (P4); nothing is decided twice, and nothing after its deadline. What a kill switch froze is rejected or
   waits; its deadline waits with it. What rests on something that was not read yet is not approved.
2. Nobody approves what they requested: not the agent's operator, not the principal, not the editor, unless
   `people: solo` is in force, exactly one person is enrolled, and the entry says so; nor does who asked for a
   rollback, which nobody edits. An editor may approve
   an edit that is provably tighter: only amounts changed, and each came down without crossing zero.
3. Reject needs a reason code. Edit supersedes: the new arguments become the next revision, decided by the
   policy anew and held for a person even where the policy would let it pass; denied where it denies.
4. A question takes `respond` or a rejection, from any reviewer (`questions.py`).
5. Decisions made with an agent's key do not exist: the caller is a person (P1).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from interlock.gate import stops
from interlock.gate.active import require_snapshot
from interlock.gate.claim import Enforces, NeedsRedeciding, shown
from interlock.gate.deadlines import ends
from interlock.gate.ending import expire
from interlock.gate.following import follow
from interlock.gate.kept import keep
from interlock.gate.opening import new_row, record
from interlock.gate.package import Sealed
from interlock.gate.questions import check_response
from interlock.gate.reading import check_shown
from interlock.gate.records import (
    UNANSWERED,
    ActionRow,
    ApprovalRow,
    DecisionRow,
    add_decision,
    approval_of,
    load_action,
    load_approval,
    load_request,
    move,
    save_approval,
)
from interlock.gate.undoing import asked_by, bounded, refuse_edit
from interlock.identity import Caller, Role
from interlock.identity.keyring import check_person, operator_of
from interlock.identity.people import alone, people
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.binding import NONCE_BYTES
from interlock.model.canonical import Json, canonical
from interlock.model.errors import (
    AlreadyDecided,
    Changed,
    Expired,
    InterlockError,
    InvalidInput,
    MissingField,
    SeparationOfDuties,
)
from interlock.model.ids import new_id
from interlock.model.text import visible
from interlock.policy import Policy, held_after_edit

MAX_NOTE = 4_000


class Answer(StrEnum):
    """What a person can answer to an approval request."""

    APPROVE = "approve"
    REJECT = "reject"
    EDIT = "edit"
    RESPOND = "respond"


class ReasonCode(StrEnum):
    """Why a request was rejected; structured, because the agent receives it."""

    WRONG_TARGET = "wrong_target"
    WRONG_AMOUNT = "wrong_amount"
    NOT_AUTHORISED = "not_authorised"
    INSUFFICIENT_CONTEXT = "insufficient_context"
    SUSPICIOUS = "suspicious"
    POLICY = "policy"
    DUPLICATE = "duplicate"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class HumanDecision:
    """One answer, as it came through the boundary.

    Attributes:
        expected_hash: the review hash of what the person was shown.
        args: for an edit, all effective arguments as parsed JSON.
        response: to a question: the option, or the words.
    """

    answer: Answer
    expected_hash: str
    reason_code: ReasonCode | None = None
    note: str = ""
    args: Mapping[str, Any] | None = field(default=None)
    response: str | None = None

    def __post_init__(self) -> None:
        if self.answer is Answer.REJECT and self.reason_code is None:
            raise MissingField("a rejection names its reason", path="$.reason_code", fix=_REASONS)
        if (self.answer is Answer.EDIT) != (self.args is not None):
            raise InvalidInput("an edit, and only an edit, carries the new arguments", path="$.args")
        if (self.answer is Answer.RESPOND) != (self.response is not None):
            raise InvalidInput("`respond`, and only that, carries a response", path="$.response")
        if len(self.note) > MAX_NOTE:
            raise InvalidInput(f"a note has at most {MAX_NOTE} characters", path="$.note")


_REASONS = "One of " + ", ".join(code.value for code in ReasonCode) + "."


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to a decision: the action's revision it led to, or a refusal that was recorded."""

    approval: str
    action: ActionRow | None
    next_approval: str | None = None
    refusal: InterlockError | None = None


@dataclass(frozen=True, slots=True)
class Deciding:
    """The transition that records one answer under `policy`."""

    approval_id: str
    caller: Caller
    decision: HumanDecision
    policy: Policy
    enforces: Enforces

    def __call__(self, tx: Tx) -> Decided:
        person = check_person(tx, self.caller, Role.REVIEWER)
        coming = (each.approval_id for each in tx.coming(Deciding))
        approval, row = load_request(tx, self.approval_id, coming)
        self._check_open(tx, approval, row)
        tx.clock.check()
        if self.decision.answer is not Answer.REJECT:
            stops.refuse_stopped(tx, row.id, row.agent, row.topic)
        if tx.now >= ends(tx, approval, row):
            return Decided(approval.id, None, refusal=expire(tx, row))
        require_snapshot(tx, self.policy.snapshot)
        if row.snapshot != self.policy.snapshot:
            raise NeedsRedeciding(row.id)
        if not hmac.compare_digest(self.decision.expected_hash.encode(), approval.review_hash.encode()):
            raise changed(tx, approval, approval)
        sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
        package = shown(tx, row, approval)
        if package.review_hash != approval.review_hash:
            raise Changed("What is stored about this request is not what was shown; nobody can decide on it.")
        solo = self.policy.people == "solo" and alone(tx)
        if self.decision.answer is not Answer.REJECT:
            check_response(row.executor, self.decision.response, sealed.binding.args)
        match self.decision.answer:
            case Answer.RESPOND:
                return self._respond(tx, approval, row, person, solo)
            case Answer.APPROVE:
                check_shown(row, approval, package.context)
                edited = False
                if not solo:
                    binding = sealed.binding
                    edited = check_duties(
                        tx, self.policy, approval, row, binding.principal, binding.args, person
                    )
                return self._approve(tx, approval, row, sealed, person, solo, edited)
            case Answer.REJECT:
                return self._reject(tx, approval, row, person, solo)
            case Answer.EDIT:
                refuse_edit(row)
                return self._edit(tx, approval, row, sealed, person, solo)

    def _check_open(self, tx: Tx, approval: ApprovalRow, row: ActionRow) -> None:
        if approval.state == "held":
            return
        if approval.state == "expired":
            raise Expired(f"{approval.id} expired unanswered; nothing ran.")
        if approval.state == UNANSWERED:
            raise Expired(f"Nobody answered {approval.id} in time, and its lane let {row.id} run.")
        if approval.superseded_by is not None:
            current = approval
            while current.superseded_by is not None:
                current = load_approval(tx, current.superseded_by)
            raise changed(tx, approval, current)
        raise AlreadyDecided(
            f"{approval.id} is {approval.state}.", extra={"state": approval.state, "action": row.id}
        )

    def _record(
        self,
        tx: Tx,
        approval: ApprovalRow,
        row: ActionRow,
        person: str,
        solo: bool,
        *,
        tightened: bool = False,
    ) -> None:
        answer = self.decision
        note = None
        if answer.note or answer.response is not None:
            said = {} if answer.response is None else {"response": answer.response}
            note = keep(tx, canonical({"note": visible(answer.note, MAX_NOTE), **said}), row)
        decision = add_decision(
            tx,
            DecisionRow(
                tx.namespace,
                new_id("dec"),
                approval.id,
                person,
                answer.answer.value,
                approval.review_hash,
                None if answer.reason_code is None else answer.reason_code.value,
                None if note is None else note.number,
                int(solo),
                tx.now,
                None if note is None else note.commitment,
            ),
        )
        tx.append(
            Kind.APPROVAL_DECIDED,
            approval=approval.id,
            action=row.id,
            revision=row.revision,
            decision=answer.answer.value,
            action_hash=row.action_hash,
            review_hash=approval.review_hash,
            person=person,
            key=self.caller.key_id,
            reason_code=decision.reason_code,
            solo=solo,
            **({"tightened": True} if tightened else {}),
            **({"response": note.commitment} if answer.response is not None and note is not None else {}),
        )

    def _approve(
        self,
        tx: Tx,
        approval: ApprovalRow,
        row: ActionRow,
        sealed: Sealed,
        person: str,
        solo: bool,
        edited: bool,
    ) -> Decided:
        self._record(tx, approval, row, person, solo, tightened=edited)
        save_approval(tx, approval, state="approved")
        lane = row.decided.lane
        valid = 3600 if lane is None else lane.valid_sec
        until = bounded(sealed, tx.now + valid * 1_000_000)
        moved = move(tx, row, ActionState.APPROVED, expires_at=until)
        follow(tx, moved)
        return Decided(approval.id, moved)

    def _respond(self, tx: Tx, approval: ApprovalRow, row: ActionRow, person: str, solo: bool) -> Decided:
        self._record(tx, approval, row, person, solo)
        save_approval(tx, approval, state="answered")
        return Decided(approval.id, move(tx, row, ActionState.ANSWERED))

    def _reject(self, tx: Tx, approval: ApprovalRow, row: ActionRow, person: str, solo: bool) -> Decided:
        self._record(tx, approval, row, person, solo)
        save_approval(tx, approval, state="rejected")
        return Decided(approval.id, move(tx, row, ActionState.REJECTED))

    def _edit(
        self, tx: Tx, approval: ApprovalRow, row: ActionRow, sealed: Sealed, person: str, solo: bool
    ) -> Decided:
        args = self.policy.check_args(row.topic, self.decision.args or {})
        if canonical(args) == canonical(sealed.binding.args):
            raise InvalidInput("the edit changes nothing", path="$.args")
        revised = replace(
            sealed,
            binding=replace(sealed.binding, args=args, revision=row.revision + 1),
            nonce=os.urandom(NONCE_BYTES),
        )
        decided = self.policy.decide(revised.question)
        verdict = held_after_edit(decided, row.decided)
        successor = new_row(
            self.policy,
            revised,
            verdict,
            action_id=row.id,
            key_id=row.key_id,
            fingerprint=row.fingerprint,
            predecessor=row.predecessor,
        )
        self._record(tx, approval, row, person, solo)
        move(tx, row, ActionState.SUPERSEDED)
        edited = record(
            tx,
            successor,
            revised,
            verdict,
            self.policy,
            enforces=self.enforces,
            kind=Kind.ACTION_EDITED,
            before=row,
            supersedes=approval,
            editor=person,
            held_by_gate=verdict.held and not decided.held,
        )
        following = approval_of(tx, successor)
        superseded_by = None if following is None else following.id
        save_approval(tx, approval, state="superseded", superseded_by=superseded_by)
        return Decided(approval.id, edited.action, None if following is None else following.id)


def check_duties(
    tx: Tx,
    policy: Policy,
    approval: ApprovalRow,
    row: ActionRow,
    principal: Json,
    args: Mapping[str, Json],
    person: str,
) -> bool:
    """Rule 2, for somebody who wants to approve a request about `args`. True where they edited it themselves,
    and may approve it only because they made it tighter.

    Raises:
        SeparationOfDuties: this person requested what they approve.
    """
    names = [someone.name for someone in people(tx) if someone.id == person]
    asked = person in (operator_of(tx, row.key_id), asked_by(tx, row))
    if asked or principal in (person, *names):
        raise SeparationOfDuties("You requested this action, or operate the agent that did.")
    tightened = _only_tightened(tx, policy, approval, row, args, person)
    if tightened is False:
        raise SeparationOfDuties("You edited this action, so another person approves it.")
    return tightened is True


def _only_tightened(
    tx: Tx, policy: Policy, approval: ApprovalRow, row: ActionRow, args: Mapping[str, Json], person: str
) -> bool | None:
    """Whether all this person's edits, with whatever others did since, left the action provably tighter than
    it was before the first of them; None for somebody who never edited it."""
    before, request = None, approval
    while True:
        if request.editor == person:
            before = request.revision - 1
        if request.supersedes is None:
            break
        request = load_approval(tx, request.supersedes)
    if before is None:
        return None
    original = load_action(tx, row.id, before)
    was = Sealed.read(tx.unseal(original.payload), original.action_hash)
    return provably_tighter(policy, row.topic, was.binding.args, args)


def provably_tighter(
    policy: Policy, topic: str, before: Mapping[str, Json], after: Mapping[str, Json]
) -> bool:
    """Whether the only changes are amounts that came down without crossing zero."""
    entry = policy.entry(topic)
    amount = None if entry is None else entry.roles.get("amount")
    changed_fields = {n for n in {*before, *after} if before.get(n) != after.get(n)}
    if amount is None or changed_fields != {amount}:
        return False
    was, now = Decimal(str(before.get(amount))), Decimal(str(after.get(amount)))
    return Decimal(0) <= now <= was


def difference(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[Json]:
    """Field by field, what changed between two sets of arguments; absent values are left out."""
    rows: list[Json] = []
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            row: dict[str, Json] = {"field": name}
            if name in before:
                row["before"] = before[name]
            if name in after:
                row["after"] = after[name]
            rows.append(row)
    return rows


def changed(tx: Tx, seen: ApprovalRow, current: ApprovalRow) -> Changed:
    """The refusal of rule 1, with the difference between what was asked about then and now."""
    current_row = load_action(tx, current.action_id, current.revision)
    now = Sealed.read(tx.unseal(current_row.payload), current_row.action_hash)
    if seen.id == current.id:
        rows: list[Json] = []
        if seen.supersedes is not None:
            rows = _since(tx, load_approval(tx, seen.supersedes), now)
    else:
        rows = _since(tx, seen, now)
    return Changed(
        "The hash you decided on is not the hash of what is pending."
        if seen.id == current.id
        else f"This became revision {current.revision}.",
        extra={
            "current": {
                "approval": current.id,
                "state": current.state,
                "review_hash": current.review_hash,
                "revision": current.revision,
            },
            "difference": rows,
        },
    )


def _since(tx: Tx, earlier: ApprovalRow, now: Sealed) -> list[Json]:
    row = load_action(tx, earlier.action_id, earlier.revision)
    before = Sealed.read(tx.unseal(row.payload), row.action_hash)
    return difference(before.binding.args, now.binding.args)
