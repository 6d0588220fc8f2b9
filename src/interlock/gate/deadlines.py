"""Deadlines: whose turn it is to answer a held request, and what happens when nobody does (P7).

1. A request is put to its owner, then to whom its lane escalates in turn, then once to the default owner
   (`Lane.turns`); each has a window, and one begins where the one before ends. These times stand on the clock
   from the moment when the request was made: reviewers saw them, and a sweep that comes late moves none. Who
   was asked may still answer.
2. A turn that passed while nobody swept is not made up for: a person who has no time left is not asked. The
   request goes to whoever has the turn now, and the entry names those that were passed over. If every turn
   has passed, it ends at once, as its lane says. Escalations are never run through for the record.
3. In the end nobody answered. With `deny` and `escalate` the action expires. With `kill_switch` it expires
   and its agent is stopped (`ending.py`). With `allow` it may run, which is no approval: only at tiers 1 and
   2, with a catalogue entry, under the policy in force, with a reading where it has a probe, as it was first
   requested, and if the home was swept from then on without a gap (`attended.py`) and the sweep comes within
   `PROMPT_US`. Otherwise nobody knows whether anybody could have answered: it expires.
4. A kill switch stops these clocks while it covers what is held: nothing escalates, ends or runs. What had
   run out before it was covered ends all the same: of two requests whose lanes stop the agent, the second
   does not wait to stop it anew when people have just lifted the first one's kill switch.
5. A sweep takes what is due in order, a bounded page in each transaction, through an index on what is held:
   it costs what is due, not what waits. Transactions of a namespace come one after the other, so that of
   several processes that sweep each request is ended by one.
6. On a clock that disagrees with elapsed time nothing is swept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, text

from interlock.gate import stops
from interlock.gate.active import active_snapshot
from interlock.gate.attended import attend, attended
from interlock.gate.ending import expire
from interlock.gate.following import follow
from interlock.gate.permit_rows import GRACE_US, load_permit, outstanding
from interlock.gate.records import (
    UNANSWERED,
    ActionRow,
    ApprovalRow,
    load_action,
    move,
    save_approval,
    skipping_tampered,
)
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json
from interlock.model.verdicts import OnTimeout, Tier

FROZEN_US = 60_000_000
"""How often the sweep looks at a frozen request whose deadline would have passed."""
PROMPT_US = FROZEN_US + 30_000_000
"""How late a sweep may be for silence to count as an answer."""
UNSURE_US = 1_000_000
"""How soon the sweep looks again at what waits to be decided under the policy in force."""
_MAY_RUN_UNANSWERED = (Tier.READ_ONLY, Tier.REVERSIBLE)

_a = t.approvals.c
_DUE = Prepared(
    select(t.approvals)
    .where(
        _a.namespace == bindparam("ns"),
        _a.state == "held",
        _a.due_at <= bindparam("now_"),
        _a.due_at >= bindparam("after_"),
        or_(_a.due_at > bindparam("after_"), _a.id > bindparam("id_")),
    )
    .order_by(_a.due_at, _a.id)
    .limit(bindparam("limit_"))
)
_x = t.actions.c
_OVERDUE = Prepared(
    select(_x.id, _x.revision, _x.expires_at)
    .where(
        _x.namespace == bindparam("ns"),
        text(t.READY),
        _x.expires_at <= bindparam("now_"),
        _x.expires_at >= bindparam("after_"),
        or_(_x.expires_at > bindparam("after_"), _x.id > bindparam("id_")),
        or_(_x.holder.is_(None), _x.lease_until <= bindparam("assumed_")),
    )
    .order_by(_x.expires_at, _x.id)
    .limit(bindparam("limit_"))
)


class Asked(NamedTuple):
    """One owner's turn, from when until when: microseconds UTC."""

    owner: str
    since: int
    until: int


def turns(row: ActionRow, approval: ApprovalRow) -> tuple[Asked, ...]:
    """Everybody's turn, in order, without the time for which it was frozen."""
    lane, found, since = row.decided.lane, [], approval.requested_at
    for turn in lane.turns(row.decided.owner) if lane is not None else ():
        until = min(since + turn.window_sec * 1_000_000, approval.expires_at)
        found.append(Asked(turn.owner, since, until))
        since = until
    return tuple(found) or (Asked(approval.owner, since, approval.expires_at),)


def ends(tx: Tx, approval: ApprovalRow, row: ActionRow) -> int:
    """When a request ends unanswered, with the time that it was frozen: microseconds UTC."""
    return approval.expires_at + _paused(tx, approval, row)


def timed(tx: Tx, approval: ApprovalRow, row: ActionRow) -> ApprovalRow:
    """The request as it is shown: while it is held, with its deadlines as they stand now. Never written."""
    if approval.state != "held":
        return approval
    late = _paused(tx, approval, row)
    due_at = _turn(turns(row, approval), approval.escalated).until + late
    return approval._replace(due_at=due_at, expires_at=approval.expires_at + late)


def coming(row: ActionRow, approval: ApprovalRow) -> tuple[str, ...]:
    """Who is asked after the one that is asked now, in order; nobody once a request is answered."""
    if approval.state != "held":
        return ()
    return tuple(turn.owner for turn in turns(row, approval)[approval.escalated + 1 :])


def due(tx: Tx, limit: int) -> int:
    """Let the deadlines that have passed do what their lanes say; returns how many did something."""
    tx.clock.check()
    attend(tx)
    return _due_requests(tx, limit) + _overdue_actions(tx, limit)


# --- requests that nobody answered -----------------------------------------------------------------------


def _due_requests(tx: Tx, limit: int) -> int:
    """While everything is stopped, only what was due before is looked at (rule 4)."""
    stopped = [switch.engaged_at for switch in stops.engaged(tx) if switch.scope == stops.Scope.ALL]
    done = 0
    for found in _pages(tx, min([tx.now, *stopped]), limit):
        with skipping_tampered(found.id):
            approval = found.check(tx)
            _pass(tx, approval, load_action(tx, approval.action_id, approval.revision))
            done += 1
            if done == limit:
                break
    return done


def _pages(tx: Tx, now: int, limit: int) -> Iterator[ApprovalRow]:
    """What is due, in order. Rows that were changed from outside may stand first, in any number."""
    after, last = 0, ""
    while True:
        page = [ApprovalRow(*row) for row in tx.all(_DUE, now_=now, after_=after, id_=last, limit_=limit)]
        yield from page
        if len(page) < limit:
            return
        after, last = page[-1].due_at, page[-1].id


def _pass(tx: Tx, approval: ApprovalRow, row: ActionRow) -> None:
    """Do what is due about one request."""
    late = _paused(tx, approval, row)
    now = tx.now - late  # its own time, which a kill switch stops
    if now >= approval.expires_at:
        _unanswered(tx, approval, row, late=now - approval.expires_at)
        return
    queue = turns(row, approval)
    place = next(place for place, turn in enumerate(queue) if now < turn.until)
    until = queue[max(place, approval.escalated)].until + late
    frozen = stops.covering(tx, row.agent, row.topic) is not None
    if place > approval.escalated and not frozen:
        _escalate(tx, approval, queue, place, until)
        return
    again = tx.now + FROZEN_US
    waits = until if not frozen else again if place > approval.escalated else max(until, again)
    save_approval(tx, approval, due_at=waits)


def _escalate(tx: Tx, approval: ApprovalRow, queue: tuple[Asked, ...], place: int, until: int) -> None:
    """Put the request to the owner whose turn it is (rule 2)."""
    passed_over = [turn.owner for turn in queue[approval.escalated + 1 : place]]
    fields: dict[str, Json] = {"passed_over": passed_over} if passed_over else {}
    owner = queue[place].owner
    save_approval(tx, approval, owner=owner, due_at=until, escalated=place)
    tx.append(
        Kind.APPROVAL_ESCALATED,
        approval=approval.id,
        action=approval.action_id,
        revision=approval.revision,
        owner=owner,
        turn=place,
        until=until,
        **fields,
    )


def _unanswered(tx: Tx, approval: ApprovalRow, row: ActionRow, *, late: int) -> None:
    """End a request (rule 3). `late`: for how long it has been over."""
    lane = row.decided.lane
    allows = lane is not None and lane.on_timeout is OnTimeout.ALLOW
    heard = late <= PROMPT_US and attended(tx, approval.requested_at)
    unread = row.probe is not None and approval.reading is None
    again = approval.editor is not None or approval.supersedes is not None
    possible = allows and row.decided.tier in _MAY_RUN_UNANSWERED
    if lane is None or not possible or unread or again or not heard:
        expire(tx, row)
    elif stops.covering(tx, row.agent, row.topic) is not None:
        save_approval(tx, approval, due_at=tx.now + FROZEN_US)
    elif active_snapshot(tx) != row.snapshot:
        save_approval(tx, approval, due_at=tx.now + UNSURE_US)
    else:
        until = tx.now + lane.valid_sec * 1_000_000
        save_approval(tx, approval, state=UNANSWERED)
        tx.append(
            Kind.APPROVAL_UNANSWERED,
            approval=approval.id,
            action=row.id,
            revision=row.revision,
            action_hash=row.action_hash,
            review_hash=approval.review_hash,
            expires_at=until,
        )
        follow(tx, move(tx, row, ActionState.ALLOWED, expires_at=until))


def _paused(tx: Tx, approval: ApprovalRow, row: ActionRow) -> int:
    return stops.paused(tx, row.agent, row.topic, approval.requested_at)


def _turn(queue: tuple[Asked, ...], place: int) -> Asked:
    return queue[min(place, len(queue) - 1)]


# --- what was allowed or approved, and did not run in time -----------------------------------------------


def _overdue_actions(tx: Tx, limit: int) -> int:
    done, after, last = 0, 0, ""
    while done < limit:
        page = tx.all(_OVERDUE, now_=tx.now, assumed_=tx.now - GRACE_US, after_=after, id_=last, limit_=limit)
        for action_id, revision, _ in page:
            with skipping_tampered(action_id):
                row = load_action(tx, action_id, revision)
                permit = outstanding(row)
                if permit is not None:
                    load_permit(tx, permit)  # it says what becomes of the action, unless somebody deleted it
                    continue
                expire(tx, row)
                done += 1
        if len(page) < limit:
            break
        last, _, after = page[-1]
    return done
