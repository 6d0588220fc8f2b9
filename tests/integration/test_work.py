"""What a decision leaves behind for whoever serves, in the same transaction; and what the sweeps add."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from house import House, ManualClock, agent
from interlock.dispatch import Dispatcher
from interlock.engine import Delivery
from interlock.gate import Answer, Report, gatekeeper
from interlock.gate.claim import LEASE_US, MOST_CLAIMS
from interlock.gate.stops import KillSwitchOn, Scope
from interlock.model.actions import DISPATCHED, ActionState, Proposal
from interlock.model.errors import ClockJumped, Conflict, InDoubt, NotClaimable

DATABASES = ("sqlite", "postgres")
POLICY = """
interlock: 1
name: calls
actions:
  call.free: {tier: 1, args: {n: string}, execute: {http: {method: GET, url: "http://127.0.0.1:9/{args.n}"}}}
  call.held: {tier: 3, args: {n: string}, execute: {http: {method: POST, url: "http://127.0.0.1:9/{args.n}"}}}
  call.again:
    tier: 3
    args: {n: string}
    execute: {http: {method: POST, url: "http://127.0.0.1:9/{args.n}", idempotent: {retention: 1h}}}
  own.free: {tier: 1, args: {n: string}}
rules:
  - {id: free, match: {topics: [call.free, own.free]}, decision: allow}
  - id: ask
    match: {topics: [call.held, call.again]}
    decision: require_approval
    lane: {window: 2h, on_timeout: deny}
"""


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    return open_house(POLICY, clock=clock)


def proposed(house: House, topic: str, n: str = "1") -> str:
    action = house.propose(topic, {"n": n}).action
    assert action is not None
    return action.id


def approved(house: House, topic: str = "call.held", n: str = "1") -> str:
    action = proposed(house, topic, n)
    person = next(iter(house.home.roster.all()), None) or house.person("Ann")
    house.answer(action, person)
    return action


def added(house: House, before: list[str]) -> list[str]:
    """The actions of the segments that were not there before; those of one moment stand in no order."""
    return sorted((Counter(house.segments()) - Counter(before)).elements())


def dispatcher(house: House) -> Dispatcher:
    return Dispatcher(house.gate, house.home.connectors(), house.home.leases)


# --- enqueued with the decision ----------------------------------------------------------------------------


def test_what_may_run_leaves_one_segment_and_what_may_not_leaves_none(house: House) -> None:
    free = proposed(house, "call.free")
    assert house.segments() == [free]
    asked = proposed(house, "call.held")
    assert house.segments() == [free]
    house.answer(asked, house.person("Ann"))
    assert sorted(house.segments()) == sorted([free, asked])
    refused = proposed(house, "call.held", "2")
    house.answer(refused, house.person("Ben"), Answer.REJECT)
    proposed(house, "own.free")
    assert sorted(house.segments()) == sorted([free, asked])


def test_the_same_request_again_leaves_no_second_segment(house: House) -> None:
    assert proposed(house, "call.free") == proposed(house, "call.free")
    assert len(house.segments()) == 1


def test_what_is_claimed_with_its_proposal_leaves_no_segment(house: House) -> None:
    found = house.gate.propose(Proposal("call.free", {"n": "1"}), agent(), dispatching=True)
    assert found.claim is not None
    assert house.segments() == []
    with pytest.raises(NotClaimable):
        house.gate.claim(found.claim.action_id, *DISPATCHED)
    assert house.gate.propose(Proposal("own.free", {"n": "1"}), agent(), dispatching=True).claim is None


def test_while_the_clock_is_doubted_an_allowed_action_is_recorded_and_waits(
    house: House, clock: ManualClock
) -> None:
    clock.jumped = True
    found = house.gate.propose(Proposal("call.free", {"n": "1"}), agent(), dispatching=True)
    assert found.claim is None
    assert found.action is not None
    assert house.segments() == [found.action.id]
    with pytest.raises(ClockJumped):
        house.gate.claim(found.action.id, *DISPATCHED)


def test_a_decision_that_is_refused_leaves_nothing(house: House) -> None:
    ann = house.person("Ann")
    action = proposed(house, "call.held")
    house.answer(action, ann)
    before = house.segments()
    with pytest.raises(Conflict):
        house.answer(action, ann)
    assert house.segments() == before


def test_lifting_a_kill_switch_releases_what_it_covered_and_no_more(house: House) -> None:
    caught, free, stopped_twice = (
        approved(house),
        approved(house, "call.again"),
        approved(house, "call.held", "2"),
    )
    two = house.home.kill_switches.engage(Scope.TOPIC, "call.held", "why", by="test").switch
    release(
        house, house.home.kill_switches.drill(Scope.ALL, None, "drill", by="test").switch.id, expect=[free]
    )
    with pytest.raises(KillSwitchOn):
        house.gate.claim(caught, *DISPATCHED)
    lift(house, two.id)
    release(house, two.id, expect=[caught, stopped_twice])


def lift(house: House, kill: str) -> None:
    people = [*house.home.roster.all(), house.person("Zoe")]
    for person in people[-2:]:
        house.home.kill_switches.rearm(kill, "over", person.caller)


def release(house: House, kill: str, *, expect: list[str]) -> None:
    """The lifting left one segment, and delivering it enqueues what `expect` says."""
    assert house.segments("release").count(kill) == 1
    before = house.segments()
    delivery = Delivery("seg_1", "release", {"kill": kill}, 1, last=False, executor="exe_1", epoch=1)
    asyncio.run(dispatcher(house).release(delivery))
    assert added(house, before) == sorted(expect)


# --- what the sweeps add -----------------------------------------------------------------------------------


def test_a_lapsed_claim_that_may_be_repeated_is_enqueued_once(house: House, clock: ManualClock) -> None:
    once, again = approved(house), approved(house, "call.again")
    for action in (once, again):
        house.gate.claim(action, *DISPATCHED)
    before = house.segments()
    here = dispatcher(house)
    assert here.repeat_lapsed() == 0
    clock.forward(LEASE_US / 1e6 + 1)
    assert (here.repeat_lapsed(), here.repeat_lapsed()) == (1, 0)
    assert added(house, before) == [again]
    house.gate.sweep()
    assert (house.state(once), house.state(again)) == ("in_doubt", "executing")
    house.gate.claim(again, *DISPATCHED)
    clock.forward(LEASE_US / 1e6 + 1)
    assert here.repeat_lapsed() == 1  # another claim, which lapsed too


def test_what_a_kill_switch_covers_is_not_repeated_until_it_is_lifted(
    house: House, clock: ManualClock
) -> None:
    again = approved(house, "call.again")
    house.gate.claim(again, *DISPATCHED)
    kill = house.home.kill_switches.engage(Scope.ALL, None, "why", by="test").switch
    clock.forward(LEASE_US / 1e6 + 1)
    here = dispatcher(house)
    assert here.repeat_lapsed() == 0
    lift(house, kill.id)
    assert here.repeat_lapsed() == 1


def test_an_action_that_ends_every_process_is_claimed_so_often_and_then_in_doubt(
    house: House, clock: ManualClock
) -> None:
    action = approved(house, "call.again")
    for _ in range(MOST_CLAIMS):
        house.gate.claim(action, *DISPATCHED)
        clock.forward(LEASE_US / 1e6 + 1)
    with pytest.raises(NotClaimable):
        house.gate.claim(action, *DISPATCHED)
    assert dispatcher(house).repeat_lapsed() == 0
    house.gate.sweep()
    assert house.state(action) == "in_doubt"
    with pytest.raises(InDoubt):
        house.gate.claim(action, *DISPATCHED)


def test_what_waited_for_a_minute_is_enqueued_once_more_whatever_became_of_its_segment(
    house: House, clock: ManualClock
) -> None:
    old = [approved(house, "call.held", str(n)) for n in range(3)]
    house.sql("DELETE FROM segments")  # as an earlier version left it, or a segment that was given up
    clock.forward(61)
    approved(house, "call.again")
    fresh = house.segments()
    here = dispatcher(house)
    here.take_up()
    assert added(house, fresh) == sorted(old)
    house.gate.settle(house.gate.claim(old[0], *DISPATCHED), Report(ActionState.SUCCEEDED, "done"))
    house.home.kill_switches.engage(Scope.ALL, None, "why", by="test")
    house.sql("DELETE FROM segments")
    here.take_up()
    assert house.segments() == []


def test_every_page_of_what_waits_is_walked(house: House, clock: ManualClock, monkeypatch: Any) -> None:
    monkeypatch.setattr(gatekeeper, "SWEEP", 3)
    waiting = {proposed(house, "call.free", str(n)) for n in range(8)}
    house.sql("DELETE FROM segments")
    clock.forward(61)
    dispatcher(house).take_up()
    assert sorted(house.segments()) == sorted(waiting)
