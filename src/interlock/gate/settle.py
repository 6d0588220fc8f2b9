"""Settle: what became of a claim, said once, by its holder or by a person.

1. `failed` needs proof of no effect; whoever reports says which. Everything else that is not a success is
   `in_doubt`.
2. Only the holder of the current epoch settles. A late report, after the lease lapsed into `in_doubt`, still
   settles it, unless a person already has; a report that contradicts what is settled is recorded and refused.
3. A person settles what is in doubt, as succeeded or failed, with a note.
4. What takes another action back settles that one with it, as rolled back (`undoing.py`).
5. A lapsed lease becomes `in_doubt` unless the executor still answers a repeated key with its first answer,
   what lets the action run is still valid, and it was not claimed `MOST_CLAIMS` times already.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, or_, select, text

from interlock.gate import stops
from interlock.gate.claim import LEASE_US, MOST_CLAIMS, SENDING_SEC, Claim
from interlock.gate.kept import keep, kept
from interlock.gate.package import subject_of
from interlock.gate.records import ActionRow, append_in_doubt, load_action, move, save, skipping_tampered
from interlock.gate.undoing import taken_back
from interlock.identity import Caller, Role
from interlock.identity.keyring import check_person
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json, canonical
from interlock.model.errors import Conflict, InterlockError, InvalidInput, StaleClaim
from interlock.model.text import visible

_SAID_BEFORE_ROLLBACK = (ActionState.ROLLED_BACK, ActionState.SUCCEEDED)
"""What was taken back had succeeded: to report that once more contradicts nothing."""
OUTCOMES = (ActionState.SUCCEEDED, ActionState.FAILED, ActionState.IN_DOUBT)

_LAPSED = Prepared(
    select(t.actions.c.id, t.actions.c.revision)
    .where(
        t.actions.c.namespace == bindparam("ns"),
        text(t.EXECUTING),
        t.actions.c.lease_until <= bindparam("now_"),
        or_(
            t.actions.c.retention_sec.is_(None),
            t.actions.c.epoch >= MOST_CLAIMS,
            t.actions.c.expires_at.is_(None),
            t.actions.c.expires_at <= bindparam("now_"),
            t.actions.c.claimed_at + (t.actions.c.retention_sec - SENDING_SEC) * 1_000_000
            <= bindparam("now_"),
        ),
    )
    .order_by(t.actions.c.lease_until)
    .limit(bindparam("limit_"))
)


@dataclass(frozen=True, slots=True)
class Report:
    """What an executor says happened.

    Attributes:
        state: succeeded, failed (only with proof of no effect) or in_doubt.
        note: one sentence for a person.
        result: what came back, for a success.
        breach: the constraint that stopped it, if one did.
    """

    state: ActionState
    note: str
    result: Json = None
    breach: str | None = None

    def __post_init__(self) -> None:
        if self.state not in OUTCOMES:
            raise InvalidInput("an outcome is succeeded, failed or in_doubt", path="$.state")


@dataclass(frozen=True, slots=True)
class Settled:
    """The action after a report, or the refusal that was recorded."""

    action: ActionRow
    refusal: InterlockError | None = None


def renew(tx: Tx, claim: Claim) -> bool:
    """Extend the lease of a claim that is still being worked on; False when it holds nothing any more, or a
    kill switch covers it."""
    row = load_action(tx, claim.action_id, claim.revision)
    if stops.covering(tx, row.agent, row.topic) is not None:
        return False
    if not holds(row, claim):
        return False
    extend(tx, row)
    return True


def extend(tx: Tx, row: ActionRow) -> int:
    """Extend the lease of an action that is executing; until when. A longer one is not made shorter.

    Raises:
        StaleClaim: nobody is executing it any more.
    """
    if row.status is not ActionState.EXECUTING:
        raise StaleClaim(f"{row.id} is {row.state}; its lease is over.")
    until = max(row.lease_until or 0, tx.now + LEASE_US)
    save(tx, row, row._replace(lease_until=until))
    return until


def holds(row: ActionRow, claim: Claim) -> bool:
    """Whether a claim still holds its action: nobody took it over, or said what became of it."""
    return row.status is ActionState.EXECUTING and (row.holder, row.epoch) == (claim.holder, claim.epoch)


def settle(tx: Tx, claim: Claim, report: Report) -> Settled:
    """Record the outcome of a claim.

    Raises:
        StaleClaim: the claim never held this action, or another epoch holds it.
    """
    row = load_action(tx, claim.action_id, claim.revision)
    if (row.holder, row.epoch) != (claim.holder, claim.epoch):
        raise StaleClaim(f"Epoch {claim.epoch} of {row.id} was taken over; its report is not used.")
    return reported(tx, row, report, subject_of(claim.binding))


def reported(tx: Tx, row: ActionRow, report: Report, about: str | None = None) -> Settled:
    """Record what the holder of an action says about its latest claim.

    Args:
        about: the name of its subject. None takes it from what was sealed about the action; a subject that
            was erased, or content that was changed from outside, does not cost the report.
    """
    if row.status is ActionState.EXECUTING:
        return Settled(_write(tx, row, report, _kind(report.state), about))
    late = row.status is ActionState.IN_DOUBT and report.state is not ActionState.IN_DOUBT
    if late:
        return Settled(_write(tx, row, report, Kind.ACTION_LATE_REPORT, about))
    if row.state == report.state.value or (row.status, report.state) == _SAID_BEFORE_ROLLBACK:
        return Settled(row)
    tx.append(
        Kind.ACTION_LATE_REPORT,
        action=row.id,
        revision=row.revision,
        epoch=row.epoch,
        outcome=report.state.value,
        settled=row.state,
        applied=False,
    )
    return Settled(row, StaleClaim(f"{row.id} is settled as {row.state}; the report is kept as a conflict."))


def _content(report: Report) -> bytes:
    """What is sealed of a report. A result that has no canonical form must not cost the settlement."""
    note = visible(report.note)
    try:
        return canonical({"note": note, "result": report.result})
    except InvalidInput as error:
        return canonical({"note": f"{note} Its result was not kept: {error.detail}.", "result": None})


def _kind(state: ActionState) -> Kind:
    return Kind.ACTION_IN_DOUBT if state is ActionState.IN_DOUBT else Kind.ACTION_SETTLED


def _write(tx: Tx, row: ActionRow, report: Report, kind: Kind, about: str | None) -> ActionRow:
    said = keep(tx, _content(report), row, about)
    settled = move(tx, row, report.state, output=said.number, output_hash=said.commitment)
    if report.breach is not None:
        tx.append(
            Kind.CONSTRAINT_BREACHED,
            action=row.id,
            revision=row.revision,
            epoch=row.epoch,
            constraint=report.breach,
        )
    tx.append(
        kind,
        action=row.id,
        revision=row.revision,
        epoch=row.epoch,
        outcome=report.state.value,
        action_hash=row.action_hash,
        output=said.commitment,
        applied=True,
    )
    taken_back(tx, settled)
    return settled


def reconcile(tx: Tx, action_id: str, caller: Caller, outcome: ActionState, note: str) -> ActionRow:
    """A person settles what is in doubt.

    Raises:
        Forbidden: the caller is no reviewer or operator. Conflict: it is not in doubt.
        InvalidInput: an outcome that settles nothing, or no note saying how it was found out.
    """
    person = check_person(tx, caller, Role.REVIEWER, Role.OPERATOR)
    if outcome not in (ActionState.SUCCEEDED, ActionState.FAILED):
        raise InvalidInput("it either succeeded or failed", path="$.outcome")
    if not note.strip() or len(note) > 4_000:
        raise InvalidInput("say how you found out, in at most 4000 characters", path="$.note")
    row = load_action(tx, action_id)
    if row.status is not ActionState.IN_DOUBT:
        raise Conflict(f"{row.id} is {row.state}; only what is in doubt is reconciled.")
    said = keep(tx, canonical({"note": visible(note), "result": None, "person": person}), row)
    settled = move(tx, row, outcome, output=said.number, output_hash=said.commitment)
    tx.append(
        Kind.ACTION_RECONCILED,
        action=row.id,
        revision=row.revision,
        epoch=row.epoch,
        outcome=outcome.value,
        person=person,
        key=caller.key_id,
        note=said.commitment,
    )
    taken_back(tx, settled)
    return settled


def lapse(tx: Tx, limit: int) -> int:
    """Turn lapsed, unrepeatable claims into `in_doubt`; returns how many."""
    tx.clock.check()
    count = 0
    for action_id, revision in tx.all(_LAPSED, now_=tx.now, limit_=limit):
        with skipping_tampered(action_id):
            row = load_action(tx, action_id, revision)
            move(tx, row, ActionState.IN_DOUBT)
            append_in_doubt(tx, row)
            count += 1
    return count


def output(tx: Tx, row: ActionRow) -> tuple[str, Json] | None:
    """Note and result of the latest report, or None before there is one. Raises `Tampered`, `Erased`."""
    if row.output is None:
        return None
    value = kept(tx, row.output, row.output_hash)
    return value["note"], value["result"]
