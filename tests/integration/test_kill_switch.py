"""The kill switch: what it covers does not run, from its transaction on, until two people lift it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from house import POLICY, REFUND, House, ManualClock, agent
from interlock.dispatch import Dispatcher
from interlock.gate import Answer, HumanDecision, KillSwitchOn, Report, Scope, stopping
from interlock.home.evidence import write_inputs, write_policies
from interlock.identity import Caller, KeyKind, Role
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import (
    BadTopic,
    Conflict,
    Expired,
    Forbidden,
    InvalidInput,
    NotFound,
    Tampered,
)
from interlock.model.topics import TopicPattern
from interlock.replay import replay
from interlock.verify import verify_export

DATABASES = ("sqlite", "postgres")
SCOPES = [(Scope.ALL, None), (Scope.AGENT, "support"), (Scope.TOPIC, "pay.*"), (Scope.TOPIC, "pay.**")]
OTHERS = [(Scope.AGENT, "sales"), (Scope.TOPIC, "orders.**"), (Scope.TOPIC, "pay.refund.later")]
Open = Callable[..., House]


def stop(house: House, scope: Scope = Scope.ALL, target: str | None = None) -> str:
    return house.home.kill_switches.engage(scope, target, "smoke", by="test").switch.id


def lift(house: House, kill: str, *names: str) -> None:
    enrolled = {person.name: person for person in house.home.roster.all()}
    for name in names or ("Ann", "Bob"):
        person = enrolled.get(name) or house.person(name)
        done = house.home.kill_switches.rearm(kill, "it was the toaster", person.caller)
    assert done.lifted


def of_kind(house: House, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in map(json.loads, house.entries()) if entry["kind"] == kind]


def approved(house: House, **rest: Any) -> str:
    action = house.held(**rest)
    people = [p for p in house.home.roster.all() if p.name == "Rita"]
    house.answer(action, people[0] if people else house.person("Rita", Role.REVIEWER))
    return action


def sound(house: House, folder: Path) -> None:
    house.home.publisher.publish()
    house.home.publisher.export(folder / "export")
    report = verify_export(folder / "export")
    assert report.ok, report.problems


# --- what is stopped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "target"), SCOPES)
def test_what_is_stopped_is_neither_proposed_nor_approved_nor_claimed(
    scope: Scope, target: str | None, house: House, tmp_path: Path
) -> None:
    ready, waiting = approved(house), house.held(args={**REFUND, "order_id": "B"})
    rita = house.home.roster.named("Rita")
    kill = stop(house, scope, target)
    with pytest.raises(KillSwitchOn) as refused:
        house.gate.claim(ready, ExecutorKind.CALLER)
    assert refused.value.extra["kill"] == kill
    with pytest.raises(KillSwitchOn):
        house.answer(waiting, rita)
    with pytest.raises(KillSwitchOn):
        house.answer(waiting, rita, Answer.EDIT, args={**REFUND, "amount_usd": "200.00"})
    small = house.propose(args={**REFUND, "amount_usd": "5.00"}, inline=True)
    assert small.claim is None
    assert small.action is not None
    assert (small.action.state, small.action.decided.rule) == ("denied", f"kill-switch:{kill}")
    assert (house.state(ready), house.state(waiting)) == ("approved", "held")
    lift(house, kill)
    assert house.gate.claim(ready, ExecutorKind.CALLER).action_id == ready
    house.answer(waiting, rita)
    assert house.state(waiting) == "approved"
    assert house.propose(args={**REFUND, "amount_usd": "6.00"}, inline=True).claim is not None
    assert house.state(small.action.id) == "denied"
    sound(house, tmp_path)


@pytest.mark.parametrize(("scope", "target"), OTHERS)
def test_what_is_not_covered_goes_on(scope: Scope, target: str, house: House) -> None:
    ready = approved(house)
    stop(house, scope, target)
    assert house.gate.claim(ready, ExecutorKind.CALLER).action_id == ready
    assert house.propose(args={**REFUND, "amount_usd": "5.00"}, inline=True).claim is not None


def test_what_is_frozen_is_still_rejected_withdrawn_and_revoked(house: House) -> None:
    one, two = house.held(), house.held(args={**REFUND, "order_id": "B"})
    three = approved(house, args={**REFUND, "order_id": "C"})
    rita = house.home.roster.named("Rita")
    stop(house)
    house.answer(one, rita, Answer.REJECT)
    house.gate.withdraw(two, agent())
    house.gate.revoke(three, rita.caller)
    assert [house.state(action) for action in (one, two, three)] == ["rejected", "withdrawn", "revoked"]


def test_observe_mode_does_not_weaken_a_kill_switch(open_house: Open) -> None:
    house = open_house(POLICY.replace("name: shop", "name: shop\nmode: observe"))
    stop(house, Scope.AGENT, "support")
    action = house.propose(args={**REFUND, "amount_usd": "5.00"}).action
    assert action is not None
    assert action.state == "denied"


# --- everywhere, at once ----------------------------------------------------------------------------------


def test_another_process_sees_it_in_its_next_transaction(house: House, open_house: Open) -> None:
    ready = approved(house)
    other = open_house(None, clock=house.home.journal.clock)
    assert other.ready() == []
    other.propose(args={**REFUND, "amount_usd": "5.00"})  # it has read the register, and remembers it
    kill = stop(other)
    with pytest.raises(KillSwitchOn):
        house.gate.claim(ready, ExecutorKind.CALLER)
    lift(house, kill)
    assert other.gate.claim(ready, ExecutorKind.CALLER).action_id == ready


def test_after_it_has_returned_no_claim_succeeds(open_house: Open) -> None:
    """Threads of two processes' worth of gates claim as fast as they can while a third one stops them."""
    houses = [open_house(), open_house(None)]
    ready = [houses[0].propose("notes.add", {"n": n}).action for n in range(60)]
    returned = threading.Event()
    late: list[str] = []
    won: list[str] = []

    def claim(house: House, mine: list[Any]) -> None:
        for action in mine:
            after = returned.is_set()
            try:
                house.gate.claim(action.id, ExecutorKind.CALLER)
            except KillSwitchOn:
                continue
            won.append(action.id)
            if after:
                late.append(action.id)

    threads = [threading.Thread(target=claim, args=(houses[n % 2], ready[n::4])) for n in range(4)]
    for thread in threads:
        thread.start()
    while not won:
        pass
    kill = houses[1].home.kill_switches.engage(Scope.ALL, None, "now", by="test").switch
    returned.set()
    for thread in threads:
        thread.join(30)
    assert late == []
    kinds = [entry["kind"] for entry in map(json.loads, houses[0].entries())]
    assert "action.claimed" not in kinds[kinds.index("kill.engaged") :]
    running = of_kind(houses[0], "kill.engaged")[0]
    assert (running["kill"], running["running"]) == (kill.id, len(won))
    assert set(running["actions"]) == set(won)


# --- what runs --------------------------------------------------------------------------------------------


def test_what_runs_is_recorded_and_its_lease_is_not_renewed(house: House, clock: ManualClock) -> None:
    ready = approved(house)
    claim = house.gate.claim(ready, ExecutorKind.CALLER)
    assert house.gate.halted([claim]) == []
    stop(house, Scope.AGENT, "support")
    assert of_kind(house, "kill.engaged")[0]["actions"] == [ready]
    assert house.gate.halted([claim]) == [(claim, "a kill switch is on for the agent support")]
    assert not house.gate.renew([claim])
    clock.forward(16)
    house.gate.sweep()
    assert house.state(ready) == "in_doubt"
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "It had gone through."))
    assert house.state(ready) == "succeeded"


def test_a_lapsed_run_that_could_be_repeated_is_not_taken_over(house: House, clock: ManualClock) -> None:
    action = house.propose("pay.charge", {"order_id": "A", "amount_usd": "50.00"}).action
    assert action is not None
    house.gate.claim(action.id, ExecutorKind.CALLER)
    stop(house)
    clock.forward(16)
    with pytest.raises(KillSwitchOn):
        house.gate.claim(action.id, ExecutorKind.CALLER)


def test_what_is_stopped_does_not_stand_before_what_may_run(house: House, clock: ManualClock) -> None:
    text = POLICY.replace(
        "rules:",
        '  calls.one: {tier: 1, execute: {http: {method: GET, url: "http://127.0.0.1:9/one"}}}\n'
        '  calls.two: {tier: 1, execute: {http: {method: GET, url: "http://127.0.0.1:9/two"}}}\nrules:',
    )
    house.activate(text)
    for n in range(7):
        house.propose("calls.one", {"n": n})
    last = house.propose("calls.two", {}).action
    assert last is not None
    stop(house, Scope.TOPIC, "calls.one")
    assert house.ready() == [last.id]
    stop(house)
    assert house.ready() == []


# --- deadlines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "target"), SCOPES[:3])
def test_the_deadlines_of_what_is_frozen_pause(
    scope: Scope, target: str | None, house: House, clock: ManualClock
) -> None:
    action, other = house.held(), house.held(args={**REFUND, "order_id": "B"})  # fifteen minutes
    rita = house.person("Rita", Role.REVIEWER)
    first = house.view(action)["approval"]
    clock.forward(10 * 60)
    kill = stop(house, scope, target)
    for _ in range(5):
        clock.forward(3600)
        house.gate.sweep()
        assert house.state(action) == "held"
    assert house.view(action)["approval"]["frozen"]["kill"] == kill
    lift(house, kill)
    house.gate.sweep()
    clock.forward(4 * 60)
    house.gate.sweep()
    assert house.state(action) == "held"
    shown = house.view(action)["approval"]
    assert (shown["frozen"], shown["review_hash"]) == (None, first["review_hash"])
    later = datetime.fromisoformat(shown["due_at"]) - datetime.fromisoformat(first["due_at"])
    assert later.total_seconds() == 5 * 3600
    house.answer(other, rita)
    assert house.gate.claim(other, ExecutorKind.CALLER).action_id == other
    clock.forward(2 * 60)
    approval, seen = house.request(action)
    with pytest.raises(Expired):
        house.gate.decide(approval, rita.caller, HumanDecision(Answer.APPROVE, seen))
    assert house.state(action) == "expired"


def test_what_is_frozen_and_due_in_great_number_keeps_no_other_request_waiting(
    house: House, clock: ManualClock
) -> None:
    frozen = [house.held(args={**REFUND, "order_id": f"F{n}"}) for n in range(5)]
    other = house.propose(caller=agent("sales")).action
    assert other is not None
    kill = stop(house, Scope.AGENT, "support")
    clock.forward(15 * 60 + 1)
    house.gate.sweep()
    assert {house.state(action) for action in frozen} == {"held"}
    assert house.view(other.id, agent("sales"))["state"] == "expired"
    assert house.gate.sweep() == 0  # and they are not looked at again at once
    lift(house, kill)
    clock.forward(61)
    house.gate.sweep()
    assert {house.state(action) for action in frozen} == {"held"}
    clock.forward(15 * 60)
    house.gate.sweep()
    assert {house.state(action) for action in frozen} == {"expired"}


@pytest.mark.parametrize("scope", [(Scope.AGENT, "support"), (Scope.ALL, None)])
def test_what_ran_out_before_it_froze_ends_all_the_same(
    house: House, clock: ManualClock, scope: tuple[Scope, str | None]
) -> None:
    action = house.held()
    clock.forward(15 * 60 - 1)
    other = house.held(args={**REFUND, "order_id": "other"})
    clock.forward(1)
    stop(house, *scope)
    clock.forward(3600)
    house.gate.sweep()
    assert [house.gate.sweep(), house.state(action), house.state(other)] == [0, "expired", "held"]


def test_overlapping_kill_switches_pause_a_deadline_once(house: House, clock: ManualClock) -> None:
    action = house.held()
    first = stop(house)
    clock.forward(600)
    second = stop(house, Scope.AGENT, "support")
    clock.forward(600)
    lift(house, first)
    clock.forward(600)
    lift(house, second)
    clock.forward(14 * 60)
    house.gate.sweep()
    assert house.state(action) == "held"
    clock.forward(2 * 60)
    house.gate.sweep()
    assert house.state(action) == "expired"


def test_an_escalation_that_was_due_while_frozen_comes_later(house: House, clock: ManualClock) -> None:
    house.activate(POLICY.replace("on_timeout: deny", "on_timeout: escalate"))
    action = house.held()
    kill = stop(house)
    clock.forward(20 * 60)
    house.gate.sweep()
    lift(house, kill)
    clock.forward(14 * 60)
    house.gate.sweep()
    assert of_kind(house, "approval.escalated") == []
    clock.forward(2 * 60)
    house.gate.sweep()
    assert len(of_kind(house, "approval.escalated")) == 1
    assert house.state(action) == "held"


def test_what_was_approved_expires_although_it_is_stopped(house: House, clock: ManualClock) -> None:
    ready = approved(house)
    stop(house)
    clock.forward(3601)
    house.gate.sweep()
    assert house.state(ready) == "expired"


# --- who --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_operators_and_policy_admins_engage_it_and_nobody_else(role: Role, house: House) -> None:
    person = house.person("Pat", role)
    may = role in (Role.OPERATOR, Role.POLICY_ADMIN)
    try:
        engaged = house.home.kill_switches.engage(Scope.ALL, None, "smoke", caller=person.caller)
    except Forbidden:
        assert not may
        assert of_kind(house, "kill.engaged") == []
    else:
        assert may
        assert engaged.switch.by == person.id


def test_an_agents_key_neither_stops_nor_lifts_anything(house: House) -> None:
    _, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["*"], by="test")
    caller = house.home.keyring.authenticate(token)
    with pytest.raises(Forbidden):
        house.home.kill_switches.engage(Scope.ALL, None, "smoke", caller=caller)
    kill = stop(house)
    with pytest.raises(Forbidden):
        house.home.kill_switches.rearm(kill, "please", caller)


def test_two_different_people_lift_it(house: House, clock: ManualClock) -> None:
    ann, bob = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN)
    rita, kill = house.person("Rita", Role.REVIEWER), stop(house)
    switches = house.home.kill_switches
    for _ in range(3):
        once = switches.rearm(kill, "it was the toaster", ann.caller)
        assert ([p.id for p in once.agreed], once.needed, once.lifted) == ([ann.id], 2, False)
    with pytest.raises(Forbidden):
        switches.rearm(kill, "me too", rita.caller)
    assert switches.standing().on[0][1] == (ann,)
    clock.forward(1)
    done = switches.rearm(kill, "the toaster is out", bob.caller)
    assert done.lifted
    (entry,) = of_kind(house, "kill.rearmed")
    assert entry["people"] == [ann.id, bob.id]
    assert (entry["solo"], entry["reason"]) == (False, "it was the toaster; the toaster is out")
    with pytest.raises(Conflict):
        switches.rearm(kill, "again", ann.caller)
    assert switches.standing().on == ()
    assert [switch.id for switch in switches.standing().off] == [kill]


def test_an_agreement_counts_only_for_its_own_kill_switch_and_while_its_person_may(house: House) -> None:
    ann, bob = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.OPERATOR)
    cleo = house.person("Cleo", Role.OPERATOR)
    one, two = stop(house), stop(house, Scope.AGENT, "support")
    switches = house.home.kill_switches
    switches.rearm(one, "fine", ann.caller)
    assert not switches.rearm(two, "fine", bob.caller).lifted
    house.home.roster.remove("Ann", by="test")
    assert not switches.rearm(one, "fine", bob.caller).lifted
    assert switches.rearm(one, "fine", cleo.caller).lifted


@pytest.mark.parametrize("column", ["person", "kill", "reason", "at", "mac"])
def test_an_agreement_that_nobody_gave_does_not_count(column: str, house: House) -> None:
    ann, bob = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.OPERATOR)
    cleo, kill = house.person("Cleo", Role.OPERATOR), stop(house)
    switches = house.home.kill_switches
    switches.rearm(kill, "fine", ann.caller)
    ((value,),) = house.sql(f'SELECT "{column}" FROM kill_votes')
    changed = {
        "person": cleo.id,
        "kill": stop(house, Scope.AGENT, "support"),
        "reason": "forged",
        "at": 1,
        "mac": b"x" * 32,
    }[column]
    assert changed != value
    house.sql(f'UPDATE kill_votes SET "{column}" = ?', changed)
    asked = changed if column == "kill" else kill
    assert not switches.rearm(str(asked), "fine", bob.caller).lifted


def test_a_team_of_one_does_not_lift_it_and_solo_does_and_says_so(open_house: Open, tmp_path: Path) -> None:
    house = open_house(name="team")
    ann = house.person("Ann")
    assert not house.home.kill_switches.rearm(stop(house), "fine", ann.caller).lifted
    house = open_house(POLICY.replace("name: shop", "name: shop\npeople: solo"), name="solo")
    ann = house.person("Ann")
    assert house.home.kill_switches.rearm(stop(house), "fine", ann.caller).lifted
    assert of_kind(house, "kill.rearmed")[0]["solo"] is True
    house.person("Bob")
    assert not house.home.kill_switches.rearm(stop(house), "fine", ann.caller).lifted
    sound(house, tmp_path)


def test_where_nobody_is_enrolled_whoever_has_the_files_lifts_it(house: House, tmp_path: Path) -> None:
    kill = stop(house)
    assert house.home.kill_switches.rearm_alone(kill, "mine", by="test").lifted
    assert (
        of_kind(house, "kill.rearmed")[0] | {"people": [], "solo": True} == of_kind(house, "kill.rearmed")[0]
    )
    kill = stop(house)
    house.person("Ann")
    with pytest.raises(Forbidden):
        house.home.kill_switches.rearm_alone(kill, "mine", by="test")
    sound(house, tmp_path)


def test_the_same_scope_twice_is_one_kill_switch(house: House) -> None:
    engage = house.home.kill_switches.engage
    first = engage(Scope.AGENT, "support", "one", by="test")
    again = engage(Scope.AGENT, "support", "two", by="test")
    assert (first.created, again.created, again.switch.id) == (True, False, first.switch.id)
    assert engage(Scope.AGENT, "sales", "one", by="test").created
    assert engage(Scope.ALL, None, "one", by="test").created
    assert len(of_kind(house, "kill.engaged")) == 3


@pytest.mark.parametrize(
    ("scope", "target", "reason"),
    [
        (Scope.ALL, "support", "r"),
        (Scope.AGENT, None, "r"),
        (Scope.AGENT, "", "r"),
        (Scope.AGENT, "a\nb", "r"),
        (Scope.TOPIC, None, "r"),
        (Scope.TOPIC, "Pay.**", "r"),
        (Scope.ALL, None, ""),
        (Scope.ALL, None, "a\nb"),
        (Scope.ALL, None, "x" * 501),
    ],
)
def test_a_scope_or_reason_that_says_nothing_is_refused(
    scope: Scope, target: str | None, reason: str, house: House
) -> None:
    with pytest.raises((InvalidInput, BadTopic)):
        house.home.kill_switches.engage(scope, target, reason, by="test")
    assert of_kind(house, "kill.engaged") == []


def test_a_kill_switch_that_is_none_is_not_found(house: House) -> None:
    ann = house.person("Ann")
    with pytest.raises(NotFound):
        house.home.kill_switches.rearm("kil_" + "0" * 32, "fine", ann.caller)


def test_it_is_engaged_although_the_clock_jumped(house: House, clock: ManualClock) -> None:
    ready = approved(house)
    clock.jumped = True
    stop(house)
    with pytest.raises(KillSwitchOn):
        house.gate.claim(ready, ExecutorKind.CALLER)


# --- drills -----------------------------------------------------------------------------------------------


def test_a_drill_is_measured_recorded_and_over(house: House, tmp_path: Path) -> None:
    ready = approved(house)
    ann = house.person("Ann", Role.OPERATOR)
    drill = house.home.kill_switches.drill(Scope.ALL, None, "every month", caller=ann.caller)
    assert drill.stop_us > 0
    assert house.gate.claim(ready, ExecutorKind.CALLER).action_id == ready
    engaged, ended = of_kind(house, "kill.engaged")[0], of_kind(house, "kill.drill")[0]
    assert engaged["drill"] is True
    assert (ended["kill"], ended["stop_us"]) == (engaged["kill"], drill.stop_us)
    sound(house, tmp_path)


def test_a_drill_never_lifts_a_real_one(house: House) -> None:
    ready = approved(house)
    real = stop(house)
    house.home.kill_switches.drill(Scope.ALL, None, "bad moment", by="test")
    with pytest.raises(KillSwitchOn) as refused:
        house.gate.claim(ready, ExecutorKind.CALLER)
    assert refused.value.extra["kill"] == real


def test_a_drill_that_was_interrupted_stays_on_and_one_person_ends_it(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def died(*_: Any, **__: Any) -> Any:
        raise Conflict("the process died here")

    monkeypatch.setattr(stopping, "_end_drill", died)
    with pytest.raises(Conflict):
        house.home.kill_switches.drill(Scope.ALL, None, "every month", by="test")
    monkeypatch.undo()
    ready = house.propose(args={**REFUND, "amount_usd": "5.00"}).action
    assert ready is not None
    assert ready.state == "denied"
    house.person("Bob")
    kill = of_kind(house, "kill.engaged")[0]["kill"]
    assert house.home.kill_switches.rearm(kill, "over", house.person("Ann").caller).lifted
    sound(house, tmp_path)


# --- attacks ----------------------------------------------------------------------------------------------


def reopened(house: House, open_house: Open) -> House:
    house.home.close()
    return open_house(None, clock=house.home.journal.clock)


ATTACKS = {
    "the switch is deleted": "DELETE FROM kill_switches",
    "the switch is lifted": "UPDATE kill_switches SET rearmed_at = engaged_at",
    "the switch is for another": "UPDATE kill_switches SET target = 'sales'",
    "the switch is for one agent": "UPDATE kill_switches SET scope = 'topic'",
    "the switch is a drill": "UPDATE kill_switches SET drill = 1",
    "the register is emptied": "UPDATE kill_register SET engaged = ''",
    "the register is younger": "UPDATE kill_register SET generation = generation + 1",
    "the register is deleted": "DELETE FROM kill_register",
}


@pytest.mark.parametrize("again", [False, True], ids=["same process", "new process"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_kill_switch_that_was_tampered_with_stops_all_the_more(
    attack: str, again: bool, house: House, open_house: Open
) -> None:
    ready = approved(house)
    stop(house, Scope.AGENT, "support")
    with pytest.raises(KillSwitchOn):
        house.gate.claim(ready, ExecutorKind.CALLER)
    house.sql(ATTACKS[attack])

    def claim() -> None:
        host = reopened(house, open_house) if again else house
        host.gate.claim(ready, ExecutorKind.CALLER)

    with pytest.raises(Tampered if again else (Tampered, KillSwitchOn)):
        claim()


@pytest.mark.parametrize("again", [False, True], ids=["same process", "another"])
def test_a_lifted_kill_switch_that_was_deleted_brings_no_deadline_forward(
    house: House, open_house: Open, clock: ManualClock, again: bool
) -> None:
    """What it froze has time left; without its row the request would have ended."""
    waiting = house.held()
    kill = stop(house, Scope.AGENT, "support")
    clock.forward(20 * 60)
    lift(house, kill)
    house.sql("DELETE FROM kill_switches")
    if again:
        house = reopened(house, open_house)
    else:  # one more change, so that this process reads it anew
        with pytest.raises(Tampered, match="were lifted"):
            lift(house, stop(house, Scope.AGENT, "somebody"))
    house.gate.sweep()
    assert house.sql("SELECT state FROM actions WHERE id = ?", waiting) == [("held",)]
    assert of_kind(house, "action.expired") == []


def test_a_drill_that_a_person_ended_before_it_was_measured_is_no_alarm(house: House, tmp_path: Path) -> None:
    bob = house.person("Bob", Role.OPERATOR)
    engaged = partial(
        stopping._engage, scope=Scope.ALL, target=None, reason="x", caller=None, by="test", drill=True
    )
    on = house.home.journal.commit(engaged)
    assert house.home.kill_switches.rearm(on.switch.id, "over", bob.caller).lifted
    with pytest.raises(Conflict, match="was lifted"):
        house.home.journal.commit(partial(stopping._end_drill, on=on, taken=1))
    sound(house, tmp_path)


def test_deleting_every_trace_in_the_tables_is_found_when_the_home_is_opened(
    house: House, open_house: Open
) -> None:
    approved(house)
    stop(house)
    house.home.close()
    house.sql("DELETE FROM kill_switches")
    house.sql("DELETE FROM kill_register")
    with pytest.raises(Tampered, match="ledger tells of kill switches"):
        open_house(None, clock=house.home.journal.clock)


def test_an_earlier_register_that_was_put_back_is_noticed_by_whoever_saw_the_later(house: House) -> None:
    ready = approved(house)
    before = house.sql("SELECT generation, engaged, mac FROM kill_register")[0]
    stop(house)
    with pytest.raises(KillSwitchOn):
        house.gate.claim(ready, ExecutorKind.CALLER)
    house.sql("DELETE FROM kill_switches")
    house.sql("UPDATE kill_register SET generation = ?, engaged = ?, mac = ?", *before)
    with pytest.raises(Tampered, match="put back"):
        house.gate.claim(ready, ExecutorKind.CALLER)


def test_a_home_of_an_earlier_version_gets_its_register(house: House, open_house: Open) -> None:
    ready = approved(house)
    house.home.close()
    house.sql("DELETE FROM kill_register")
    house = open_house(None, clock=house.home.journal.clock)
    assert house.gate.claim(ready, ExecutorKind.CALLER).action_id == ready


def test_a_transaction_that_failed_after_it_engaged_leaves_nothing_behind(house: House) -> None:
    ready = approved(house)

    def fails(tx: Any) -> None:
        stopping.engage(tx, Scope.ALL, None, reason="r", by="test")
        raise Conflict("after it wrote")

    with pytest.raises(Conflict):
        house.home.journal.commit(fails)
    assert house.gate.claim(ready, ExecutorKind.CALLER).action_id == ready
    stop(house)
    assert house.home.kill_switches.standing().on[0][0].scope == "all"


# --- permits, replay, dispatch ----------------------------------------------------------------------------

PERMITTED = """
interlock: 1
name: shop
actions:
  bank.pay:
    tier: 2
    args: {n: integer}
    execute: {permitted: {executor: bank}}
    undo: bank.back
    undo_within: 1m
  bank.note:
    tier: 2
    args: {n: integer}
    execute: {permitted: {executor: bank, offline: true}}
    undo: bank.back
    undo_within: 1m
  bank.back: {tier: 2, undo: bank.pay, undo_within: 1m}
"""
BANK = Caller(KeyKind.EXECUTOR, executor="bank", topics=(TopicPattern.parse("*"),))
DONE = Report(ActionState.SUCCEEDED, "The bank took it.")


def proposed(house: House, topic: str, number: int) -> str:
    action = house.propose(topic, {"n": number}).action
    assert action is not None
    assert action.state == "allowed"
    return action.id


def test_permits_are_neither_minted_redeemed_nor_renewed_while_it_is_on(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(PERMITTED, clock=clock)
    permits = house.home.permits
    fresh, minted, running = (proposed(house, "bank.pay", n) for n in range(3))
    permit, redeemed = permits.mint(minted, BANK).token, permits.mint(running, BANK).token
    permits.redeem(redeemed, BANK)
    kill = stop(house, Scope.TOPIC, "bank.**")
    with pytest.raises(KillSwitchOn):
        permits.mint(fresh, BANK)
    with pytest.raises(KillSwitchOn):
        permits.redeem(permit, BANK)
    with pytest.raises(KillSwitchOn):
        permits.renew(running, redeemed, BANK)
    assert permits.report(running, redeemed, BANK, DONE).state == "succeeded"
    lift(house, kill)
    permits.redeem(permit, BANK)
    sound(house, tmp_path)


def test_an_offline_permit_is_neither_minted_nor_handed_out_again_and_its_run_is_reported(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(PERMITTED, clock=clock)
    permits = house.home.permits
    ran, silent, fresh = (proposed(house, "bank.note", n) for n in range(3))
    token = permits.mint(ran, BANK, offline=True).token
    permits.mint(silent, BANK, offline=True)
    stop(house)
    for action in (ran, fresh):
        with pytest.raises(KillSwitchOn):
            permits.mint(action, BANK, offline=True)
    assert permits.report(ran, token, BANK, DONE).state == "succeeded"
    clock.forward(181)
    house.gate.sweep()
    assert house.state(silent) == "in_doubt"
    sound(house, tmp_path)


def test_what_a_kill_switch_denied_replays_from_its_recorded_inputs(house: House, tmp_path: Path) -> None:
    stop(house, Scope.AGENT, "support")
    house.propose(args={**REFUND, "amount_usd": "5.00"}, confidence=None, reasoning="because")
    house.propose("account.delete", {"account_id": "1"})
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "export")
    write_policies(house.home.journal, tmp_path / "export")
    write_inputs(house.home.journal, tmp_path / "export")
    report = replay(tmp_path / "export")
    assert (report.replayed, report.failed) == (2, False), (report.problems, report.notes)
    lines = [json.loads(line) for line in (tmp_path / "export" / "inputs.jsonl").read_text().splitlines()]
    kill = of_kind(house, "kill.engaged")[0]["kill"]
    assert [line["inputs"]["stopped"] for line in lines] == [kill, kill]


CALLS = """
interlock: 1
name: calls
actions:
  calls.one:
    tier: 2
    args: {n: integer}
    execute: {http: {method: POST, url: "http://127.0.0.1:PORT/one"}}
    undo: calls.back
    undo_within: 1m
  calls.back: {tier: 2, undo: calls.one, undo_within: 1m}
"""


def test_what_was_claimed_before_is_aborted_before_the_first_byte(open_house: Open) -> None:
    seen: list[bytes] = []
    connected = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        connection, _ = listener.accept()
        connected.set()
        with connection:
            seen.append(connection.recv(100))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    house = open_house(CALLS.replace("PORT", str(listener.getsockname()[1])))
    action = proposed(house, "calls.one", 1)
    claim = house.gate.claim(action, ExecutorKind.HTTP)
    stop(house, Scope.TOPIC, "calls.one")

    async def run() -> None:
        connectors = house.home.connectors()
        await Dispatcher(house.gate, connectors, house.home.leases).carry_out(claim)
        await connectors.aclose()

    asyncio.run(run())
    thread.join(10)
    listener.close()
    assert connected.is_set()
    assert seen == [b""]
    outcome = house.view(action)["outcome"]["note"]
    assert house.state(action) == "failed", outcome
    assert outcome.startswith("Nothing was sent")
    assert "a kill switch is on for the topics calls.one" in outcome


def test_whoever_runs_something_is_told_within_moments(open_house: Open) -> None:
    house = open_house()
    claim = house.gate.claim(approved(house), ExecutorKind.CALLER)
    told: list[tuple[str, str]] = []
    heard = threading.Event()

    def listen(running: Any, why: str) -> None:
        told.append((running.action_id, why))
        heard.set()

    house.home.leases.on_stop(listen)
    with house.home.leases.keep(claim):
        stop(house)
        assert heard.wait(10)
        heard.clear()
        assert not heard.wait(1.2)
    assert told == [(claim.action_id, "a kill switch is on for everything")]
