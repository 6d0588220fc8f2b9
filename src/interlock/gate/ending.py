"""The ways an action ends without having run: expired, withdrawn, revoked.

1. `expired` is never `rejected`: nobody answered. Whoever proposed may withdraw; a reviewer or operator may
   revoke what was allowed or approved, until it is claimed, and not while an offline permit may run it.
2. Whoever finds that a request's time is over ends it as its lane says (`deadlines.py`), in the transaction
   that finds it: the sweep, or somebody who answers too late.
3. A lane that ends in a kill switch engages one for the agent that asked, and for nothing else, in the
   transaction that lets the request expire. While that one is on, another such request adds none.
"""

from __future__ import annotations

from interlock.gate.permit_rows import refuse_outstanding
from interlock.gate.records import (
    ActionRow,
    ApprovalRow,
    DecisionRow,
    add_decision,
    approval_of,
    close_approval,
    load_action,
    move,
)
from interlock.gate.stopping import engage
from interlock.gate.stops import Scope
from interlock.identity import Caller, Role
from interlock.identity.keyring import check_live, check_person
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, Expired, Forbidden, NotFound
from interlock.model.ids import new_id
from interlock.model.text import visible
from interlock.model.verdicts import OnTimeout

LANE = "lane:"
"""What the name of a lane begins with where an entry says who engaged a kill switch."""


def expire(tx: Tx, row: ActionRow) -> Expired:
    """Record that a deadline or a validity has passed; returns the error to raise after the commit."""
    refuse_outstanding(row)
    fields: dict[str, Json] = {}
    lane = row.decided.lane
    if row.status is ActionState.HELD and lane is not None:
        fields["on_timeout"] = lane.on_timeout.value
        if lane.on_timeout is OnTimeout.KILL_SWITCH:
            fields["kill"] = _stop(tx, row, lane.name or row.decided.rule)
    approval = close_approval(tx, row, "expired")
    move(tx, row, ActionState.EXPIRED)
    tx.append(
        Kind.ACTION_EXPIRED,
        action=row.id,
        revision=row.revision,
        was=row.state,
        approval=None if approval is None else approval.id,
        **fields,
    )
    return Expired(f"{row.id} was {row.state} and its time has passed; it did not run.")


def _stop(tx: Tx, row: ActionRow, lane: str) -> str:
    """Stop the agent of a request that nobody answered; the id of the kill switch that is on then."""
    approval: ApprovalRow | None = approval_of(tx, row)
    asked = row.id if approval is None else approval.id
    reason = f"Nobody answered {asked} in time, and its lane {lane} stops the agent"
    by = f"{LANE}{lane}"
    return engage(tx, Scope.AGENT, row.agent, reason=reason, by=by, approval=asked).switch.id


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
