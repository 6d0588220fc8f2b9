"""The ways an action ends without having run: expired, withdrawn, revoked.

`expired` is never `rejected`: nobody answered. Whoever proposed may withdraw; a reviewer or operator may
revoke what was allowed or approved, until it is claimed, and not while an offline permit may run it.

What a kill switch froze does not end by itself: its deadlines are later by the time that it was frozen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import bindparam, or_, select, text

from interlock.gate import stops
from interlock.gate.permit_rows import GRACE_US, load_permit, outstanding, refuse_outstanding
from interlock.gate.records import (
    ActionRow,
    ApprovalRow,
    DecisionRow,
    add_decision,
    approval_of,
    close_approval,
    load_action,
    move,
    save_approval,
)
from interlock.identity import Caller, Role
from interlock.identity.keyring import check_live, check_person
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.errors import Conflict, Expired, Forbidden, NotFound, Tampered
from interlock.model.ids import new_id
from interlock.model.text import visible
from interlock.model.verdicts import DEFAULT_OWNER

FROZEN_US = 60_000_000
"""How often the sweep looks at a frozen request whose deadline would have passed."""
_log = logging.getLogger(__name__)

_DUE = Prepared(
    select(t.approvals)
    .where(
        t.approvals.c.namespace == bindparam("ns"),
        t.approvals.c.state == "held",
        t.approvals.c.due_at <= bindparam("now_"),
    )
    .order_by(t.approvals.c.due_at)
    .limit(bindparam("limit_"))
)
_OVERDUE = Prepared(
    select(t.actions.c.id, t.actions.c.revision)
    .where(
        t.actions.c.namespace == bindparam("ns"),
        text(t.READY),
        t.actions.c.expires_at <= bindparam("now_"),
        or_(t.actions.c.holder.is_(None), t.actions.c.lease_until <= bindparam("assumed_")),
    )
    .limit(bindparam("limit_"))
)


def expire(tx: Tx, row: ActionRow) -> Expired:
    """Record that a deadline or a validity has passed; returns the error to raise after the commit."""
    refuse_outstanding(row)
    approval = close_approval(tx, row, "expired")
    move(tx, row, ActionState.EXPIRED)
    tx.append(
        Kind.ACTION_EXPIRED,
        action=row.id,
        revision=row.revision,
        was=row.state,
        approval=None if approval is None else approval.id,
    )
    return Expired(f"{row.id} was {row.state} and its time has passed; it did not run.")


def due(tx: Tx, limit: int) -> int:
    """Let the deadlines that have passed do what their lanes say; returns how many did something."""
    tx.clock.check()
    waiting = [] if stops.everything(tx) else tx.all(_DUE, now_=tx.now, limit_=limit)
    done = 0
    for found in waiting:
        with skipping_tampered(found[1]):
            approval = ApprovalRow(*found).check(tx)
            row = load_action(tx, approval.action_id, approval.revision)
            frozen = stops.covering(tx, row.agent, row.topic) is not None
            later = _due_at(row, approval) + _paused(tx, approval, row)
            if frozen or tx.now < later:
                later = max(later, tx.now + FROZEN_US) if frozen else later
                save_approval(tx, approval._replace(due_at=later))
            elif tx.now >= ends(tx, approval, row):
                expire(tx, row)
            else:
                _escalate(tx, approval)
            done += 1
    for action_id, revision in tx.all(_OVERDUE, now_=tx.now, assumed_=tx.now - GRACE_US, limit_=limit):
        with skipping_tampered(action_id):
            row = load_action(tx, action_id, revision)
            permit = outstanding(row)
            if permit is not None:
                load_permit(tx, permit)  # it says what becomes of the action, unless somebody deleted it
                continue
            expire(tx, row)
            done += 1
    return done


def ends(tx: Tx, approval: ApprovalRow, row: ActionRow) -> int:
    """When a request ends unanswered, with the time that it was frozen: microseconds UTC."""
    return approval.expires_at + _paused(tx, approval, row)


def timed(tx: Tx, approval: ApprovalRow, row: ActionRow) -> ApprovalRow:
    """The request as it is shown: while it is held, with its deadlines as they stand now. Never written."""
    if approval.state != "held":
        return approval
    late = _paused(tx, approval, row)
    return approval._replace(due_at=_due_at(row, approval) + late, expires_at=approval.expires_at + late)


def _paused(tx: Tx, approval: ApprovalRow, row: ActionRow) -> int:
    return stops.paused(tx, row.agent, row.topic, approval.requested_at)


def _due_at(row: ActionRow, approval: ApprovalRow) -> int:
    """When the deadline next does something, not counting the time that it was frozen."""
    lane = row.decided.lane
    if approval.escalated or lane is None:
        return approval.expires_at
    return min(approval.expires_at, approval.requested_at + lane.window_sec * 1_000_000)


@contextmanager
def skipping_tampered(what: str) -> Iterator[None]:
    """One record changed or deleted from outside must not keep the others waiting: it is logged and left as
    it is, where no claim accepts it."""
    try:
        yield
    except (Tampered, NotFound) as error:
        _log.error("%s: %s", what, error)


def _escalate(tx: Tx, approval: ApprovalRow) -> None:
    """The lane's window ended and the lane escalates: once, to the default owner, until the request's end."""
    save_approval(tx, approval._replace(owner=DEFAULT_OWNER, due_at=approval.expires_at, escalated=1))
    tx.append(
        Kind.APPROVAL_ESCALATED,
        approval=approval.id,
        action=approval.action_id,
        revision=approval.revision,
        owner=DEFAULT_OWNER,
    )


def withdraw(tx: Tx, action_id: str, caller: Caller) -> ActionRow:
    """The proposer takes the action back.

    Raises:
        NotFound: there is none, or another agent proposed it. Conflict: it runs or has ended.
    """
    row = load_action(tx, action_id)
    if not caller.proposes:
        raise Forbidden("Only the agent that proposed an action withdraws it.")
    if not caller.owns(row.agent, row.topic):
        raise NotFound(f"There is no action {visible(action_id, 64)}.")
    check_live(tx, caller.key_id)
    return _end(tx, row, ActionState.WITHDRAWN, Kind.ACTION_WITHDRAWN, agent=row.agent, key=caller.key_id)


def revoke(tx: Tx, action_id: str, caller: Caller) -> ActionRow:
    """A reviewer or operator takes back what was allowed or approved.

    Raises:
        Forbidden: the caller is no reviewer or operator. Conflict: it runs, ended, or nobody approved it.
    """
    person = check_person(tx, caller, Role.REVIEWER, Role.OPERATOR)
    row = load_action(tx, action_id)
    if row.status is ActionState.HELD:
        raise Conflict(f"{row.id} is held; reject it instead.")
    ended = _end(tx, row, ActionState.REVOKED, Kind.ACTION_REVOKED, person=person, key=caller.key_id)
    approval = approval_of(tx, row)
    if approval is not None:
        add_decision(
            tx,
            DecisionRow(
                tx.namespace,
                new_id("dec"),
                approval.id,
                person,
                "revoke",
                approval.review_hash,
                None,
                None,
                0,
                tx.now,
            ),
        )
    return ended


def _end(tx: Tx, row: ActionRow, state: ActionState, kind: Kind, **who: str | None) -> ActionRow:
    if state not in row.status.successors:
        raise Conflict(f"{row.id} is {row.state}; it can no longer be {state.value}.")
    refuse_outstanding(row)
    close_approval(tx, row, state.value)
    ended = move(tx, row, state)
    tx.append(kind, action=row.id, revision=row.revision, was=row.state, **who)
    return ended
