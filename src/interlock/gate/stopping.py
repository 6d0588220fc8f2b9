"""Stopping and rearming: who engages a kill switch, who lifts it, and what the ledger says about either.

1. An operator or policy-admin engages one, or whoever has the home's files; a drill too; or a lane whose
   request nobody answered (`ending.py`), for its agent only. One person suffices, a reason is needed, and it
   counts from its own transaction on: when `engage` has returned, no claim in its scope succeeds, in any
   process. The entry names what was running then.
2. The same scope once more is the same kill switch while that is on; only a drill does not count as one.
3. Two different enrolled people with the role operator or policy-admin lift it. Under `people: solo` one
   does, while nobody else is enrolled; where nobody is enrolled, whoever has the home's files does. Both are
   marked solo in the entry. A drill is no incident: one of these people ends it.
4. An agreement is a row with a mark, for one kill switch. It counts while its person is enrolled and has the
   role; an agent's key agrees to nothing.
5. A drill stops its scope for real, for as long as it takes to measure, and is lifted in the next
   transaction, unless a person ended it in between: then nothing was measured. Its time runs from the call
   until the commit after which every claim is refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, text

from interlock.gate import stops
from interlock.gate.active import MAX_REASON, require_snapshot
from interlock.gate.following import release
from interlock.gate.records import skipping_tampered
from interlock.gate.stops import Scope, Switch
from interlock.identity import Caller, Role
from interlock.identity.keyring import check_person
from interlock.identity.people import Person, people
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, Forbidden, InvalidInput, Tampered
from interlock.model.ids import iso, new_id
from interlock.model.topics import TopicPattern
from interlock.policy import Policy

if TYPE_CHECKING:
    from interlock.gate.gatekeeper import Gatekeeper

MAY_STOP = (Role.OPERATOR, Role.POLICY_ADMIN)
MAX_NAME = 200
LISTED = 500
"""How many of the actions that were running an entry names."""
_PEOPLE = 2
_ENTRY = b'"kind":"kill.'

_a = t.actions.c
_RUNNING = Prepared(
    select(_a.id, _a.agent, _a.topic)
    .where(_a.namespace == bindparam("ns"), text(t.EXECUTING))
    .order_by(_a.id)
)
_v = t.kill_votes.c
_VOTES = Prepared(
    select(t.kill_votes)
    .where(_v.namespace == bindparam("ns"), _v.kill == bindparam("kill_"))
    .order_by(_v.at, _v.person)
)
_DROP_VOTE = Prepared(
    delete(t.kill_votes).where(
        _v.namespace == bindparam("ns"), _v.kill == bindparam("kill_"), _v.person == bindparam("person_")
    )
)
_DROP_VOTES = Prepared(
    delete(t.kill_votes).where(_v.namespace == bindparam("ns"), _v.kill == bindparam("kill_"))
)
_ADD_VOTE = insert_into(t.kill_votes)


@dataclass(frozen=True, slots=True)
class Engaged:
    """A kill switch that is on, whether this call engaged it, and the ids of what ran in its scope."""

    switch: Switch
    created: bool
    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rearming:
    """Who agreed to lift a kill switch so far, in order; how many have to; and whether it is off now."""

    switch: Switch
    agreed: tuple[Person, ...]
    needed: int
    lifted: bool


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill that is over: `stop_us` microseconds passed until every claim in its scope was refused."""

    switch: Switch
    stop_us: int
    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """The kill switches that are on with who agreed to lift each; those that are off; who may lift them.

    Attributes:
        needed: how many people lift a real one; 0 where nobody is enrolled.
    """

    on: tuple[tuple[Switch, tuple[Person, ...]], ...]
    off: tuple[Switch, ...]
    may: tuple[Person, ...]
    needed: int


class KillSwitches:
    """The kill switches of one namespace. Thread-safe."""

    def __init__(self, gate: Gatekeeper) -> None:
        self._gate = gate
        self._journal = gate.journal

    def begin(self, first: int = 0) -> None:
        """Make the register of a home that has none yet.

        Args:
            first: the ledger's first entry that is in the database.

        Raises:
            Tampered: the ledger tells of kill switches, so somebody deleted the register.
        """
        if self._journal.look(stops.begun):
            return
        if any(_ENTRY in body for body in self._journal.entries(first)):
            raise Tampered("The ledger tells of kill switches that are missing from the journal.")
        self._journal.commit(stops.begin)

    def again(self, first: int = 0) -> None:
        """After a recovery: what this process remembers may be in the part that was lost."""
        stops.forget(self._journal.verified)
        self.begin(first)

    # --- engaging ----------------------------------------------------------------------------------------

    def engage(
        self, scope: Scope, target: str | None, reason: str, *, caller: Caller | None = None, by: str = ""
    ) -> Engaged:
        """Stop a scope. When this has returned, nothing in it is claimed any more.

        Args:
            target: the agent's name or the pattern of topics; None for everything.
            reason: why, for everybody who reads the ledger.
            caller: the person who does it; without one `by` says who has the home's files.

        Raises:
            Forbidden, Unauthenticated: the caller is no operator or policy-admin. InvalidInput, BadTopic.
        """
        check_reason(reason)
        aim = check_scope(scope, target)
        return self._journal.commit(
            partial(_engage, scope=scope, target=aim, reason=reason, caller=caller, by=by, drill=False)
        )

    def drill(
        self, scope: Scope, target: str | None, reason: str, *, caller: Caller | None = None, by: str = ""
    ) -> Drill:
        """Stop a scope, measure how long that took, and lift it at once; raises as `engage`, and `Conflict`
        where a person lifted it in between."""
        check_reason(reason)
        aim = check_scope(scope, target)
        began = time.monotonic_ns()
        on = self._journal.commit(
            partial(_engage, scope=scope, target=aim, reason=reason, caller=caller, by=by, drill=True)
        )
        taken = (time.monotonic_ns() - began) // 1000
        return self._journal.commit(partial(_end_drill, on=on, taken=taken))

    # --- rearming ----------------------------------------------------------------------------------------

    def rearm(self, kill_id: str, reason: str, caller: Caller) -> Rearming:
        """A person agrees to lift a kill switch; the last one who has to lifts it.

        Raises:
            NotFound, Conflict: there is none, or it is off. Forbidden, Unauthenticated, InvalidInput.
        """
        check_reason(reason)
        return self._gate.under_policy(
            lambda policy: partial(_rearm, kill_id=kill_id, reason=reason, caller=caller, policy=policy)
        )

    def rearm_alone(self, kill_id: str, reason: str, *, by: str) -> Rearming:
        """Lift a kill switch where nobody is enrolled who could agree; raises as `rearm`."""
        check_reason(reason)
        return self._journal.commit(partial(_rearm_alone, kill_id=kill_id, reason=reason, by=by))

    # --- reading -----------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """What is stopped now, and what was. Raises `Tampered`."""
        policy = self._gate.in_force() if self._gate.active() is not None else None

        def look(tx: Tx) -> Standing:
            enrolled = people(tx)
            on = stops.engaged(tx)
            return Standing(
                tuple(
                    (switch, tuple(person for person, _ in _agreed(tx, enrolled, switch))) for switch in on
                ),
                tuple(switch for switch in stops.history(tx) if switch.rearmed_at is not None),
                entitled(enrolled),
                _needed(enrolled, policy),
            )

        return self._journal.look(look)


def check_reason(reason: str) -> None:
    """Raises `InvalidInput` where it is no line that the ledger can carry."""
    if not (1 <= len(reason) <= MAX_REASON and reason.isprintable() and reason.strip()):
        raise InvalidInput(f"one line of 1 to {MAX_REASON} printable characters", path="$.reason")


def check_scope(scope: Scope, target: str | None) -> str | None:
    """The target, as it is compared. Raises `InvalidInput` where it names nothing, and `BadTopic`."""
    match scope:
        case Scope.ALL:
            if target is not None:
                raise InvalidInput("everything has no further name", path="$.target")
            return None
        case Scope.AGENT:
            if target is None or not (1 <= len(target) <= MAX_NAME and target.isprintable()):
                raise InvalidInput("the name of an agent", path="$.target")
            return target
        case Scope.TOPIC:
            return TopicPattern.parse(target or "").text


def entitled(enrolled: Sequence[Person]) -> tuple[Person, ...]:
    """Who may lift a kill switch."""
    return tuple(person for person in enrolled if person.roles.intersection(MAY_STOP))


def engage(
    tx: Tx,
    scope: Scope,
    target: str | None,
    *,
    reason: str,
    by: str,
    key: str | None = None,
    drill: bool = False,
    approval: str | None = None,
) -> Engaged:
    """Engage a kill switch inside a transaction, for a caller that was checked.

    Args:
        approval: the request that nobody answered, where its lane engages it.
    """
    for switch in stops.engaged(tx):
        if (switch.scope, switch.target, switch.drill) == (scope.value, target, 0) and not drill:
            return Engaged(switch, created=False, running=_running(tx, switch))
    switch = stops.put_on(
        tx,
        Switch(tx.namespace, new_id("kil"), scope.value, target, reason, by, int(drill), tx.now, None),
    )
    running = _running(tx, switch)
    fields: dict[str, Json] = {"drill": True} if drill else {}
    if approval is not None:
        fields["approval"] = approval
    tx.append(
        Kind.KILL_ENGAGED,
        kill=switch.id,
        scope=scope.value,
        target=target,
        reason=reason,
        by=by,
        key=key,
        running=len(running),
        actions=list(running[:LISTED]),
        **fields,
    )
    return Engaged(switch, created=True, running=running)


def _engage(
    tx: Tx, scope: Scope, target: str | None, reason: str, caller: Caller | None, by: str, drill: bool
) -> Engaged:
    key = None
    if caller is not None:
        by, key = check_person(tx, caller, *MAY_STOP), caller.key_id
    return engage(tx, scope, target, reason=reason, by=by, key=key, drill=drill)


def _running(tx: Tx, switch: Switch) -> tuple[str, ...]:
    return tuple(action for action, agent, topic in tx.all(_RUNNING) if switch.covers(agent, topic))


def _end_drill(tx: Tx, on: Engaged, taken: int) -> Drill:
    lifted = stops.lift(tx, _on(tx, on.switch.id))
    release(tx, lifted.id)
    tx.append(Kind.KILL_DRILL, kill=lifted.id, by=lifted.by, stop_us=taken, running=len(on.running))
    return Drill(lifted, taken, on.running)


def _rearm(tx: Tx, kill_id: str, reason: str, caller: Caller, policy: Policy) -> Rearming:
    person = check_person(tx, caller, *MAY_STOP)
    require_snapshot(tx, policy.snapshot)
    switch = _on(tx, kill_id)
    enrolled = people(tx)
    tx.write(_DROP_VOTE, kill_=switch.id, person_=person)
    columns = (tx.namespace, switch.id, person, reason, tx.now)
    tx.insert(_ADD_VOTE, (*columns, tx.vault.mac("kill_vote", *columns)))
    agreed = _agreed(tx, enrolled, switch)
    counted = tuple(each for each, _ in agreed)
    solo = not switch.drill and _needed(enrolled, policy) == 1
    needed = 1 if switch.drill else _needed(enrolled, policy)
    if len(counted) < needed:
        return Rearming(switch, counted, needed, lifted=False)
    said = "; ".join(dict.fromkeys(line for _, line in agreed))
    return _lifted(tx, switch, counted, needed, solo=solo, reason=said, by=person, key=caller.key_id)


def _rearm_alone(tx: Tx, kill_id: str, reason: str, by: str) -> Rearming:
    enrolled = people(tx)
    if enrolled:
        names = ", ".join(person.name for person in enrolled)
        raise Forbidden(f"People are enrolled here ({names}): they lift it, each with their own key.")
    return _lifted(tx, _on(tx, kill_id), (), 0, solo=True, reason=reason, by=by, key=None)


def _on(tx: Tx, kill_id: str) -> Switch:
    switch = stops.load_switch(tx, kill_id)
    if switch.rearmed_at is not None:
        raise Conflict(f"{switch.id} was lifted at {iso(switch.rearmed_at)}.")
    return switch


def _lifted(
    tx: Tx,
    switch: Switch,
    agreed: tuple[Person, ...],
    needed: int,
    *,
    solo: bool,
    reason: str,
    by: str,
    key: str | None,
) -> Rearming:
    lifted = stops.lift(tx, switch)
    release(tx, lifted.id)
    tx.write(_DROP_VOTES, kill_=switch.id)
    tx.append(
        Kind.KILL_REARMED,
        kill=switch.id,
        people=[person.id for person in agreed],
        solo=solo,
        reason=reason,
        by=by,
        key=key,
    )
    return Rearming(lifted, agreed, needed, lifted=True)


def _needed(enrolled: Sequence[Person], policy: Policy | None) -> int:
    if not enrolled:
        return 0
    solo = policy is not None and policy.people == "solo" and len(enrolled) == 1
    return 1 if solo else _PEOPLE


def _agreed(tx: Tx, enrolled: Sequence[Person], switch: Switch) -> list[tuple[Person, str]]:
    """Who agreed to lift it and still may, oldest first, each with their reason (rule 4)."""
    may = {person.id: person for person in entitled(enrolled)}
    found = []
    for *columns, mac in tx.all(_VOTES, kill_=switch.id):
        with skipping_tampered(f"the agreement of {columns[2]}"):
            tx.vault.check(mac, "kill_vote", *columns)
            _, _, person, reason, _ = columns
            if person in may:
                found.append((may[person], reason))
    return found
