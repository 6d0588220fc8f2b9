"""Lanes: whose turn it is to answer, when, and what silence does; on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from house import BOTH, POLICY, REFUND, House, ManualClock, agent
from interlock.gate import Answer, HumanDecision, ReasonCode, Report, Scope
from interlock.home.evidence import write_inputs, write_policies
from interlock.identity import Role
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import (
    AlreadyDecided,
    ClockJumped,
    Expired,
    NotClaimable,
)
from interlock.replay import replay
from interlock.verify import verify_export

DATABASES = BOTH
Open = Callable[..., House]
MINUTE = 60

CHAIN = POLICY.replace("name: shop", "name: shop\nowners: [finance, leads, directors]").replace(
    "{window: 15m, on_timeout: deny}",
    "{window: 15m, on_timeout: escalate, escalate_to: [leads, {owner: directors, window: 5m}]}",
)
STOPPING = POLICY.replace("on_timeout: deny", "on_timeout: kill_switch")
QUIET = (
    POLICY
    + """
  - id: looked-at
    match: {topics: [pay.charge, notes.add]}
    decision: require_approval
    owner: desk
    lane: {window: 10m, on_timeout: allow, valid: 5m}
"""
)
CHARGE = {"order_id": "A-12", "amount_usd": "5.00"}


def of_kind(house: House, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in map(json.loads, house.entries()) if entry["kind"] == kind]


def swept(house: House, clock: ManualClock, minutes: float) -> None:
    """The time passes, with a sweep each minute and one at its end."""
    house.gate.sweep()
    for _ in range(int(minutes)):
        clock.forward(MINUTE)
        house.gate.sweep()
    clock.forward((minutes - int(minutes)) * MINUTE)
    house.gate.sweep()


def missed(house: House, clock: ManualClock, minutes: float) -> None:
    """The time passes and a sweep comes only at its end."""
    clock.forward(minutes * MINUTE)
    house.gate.sweep()


def asked(house: House, action: str) -> dict[str, Any]:
    """The request about an action as the inbox shows it."""
    items = house.home.views.approvals("held")["items"]
    found: dict[str, Any] = next(item for item in items if item["action_id"] == action)
    return found


def other(number: int) -> dict[str, Any]:
    return {**REFUND, "order_id": f"N-{number}"}


def quiet(house: House, **rest: Any) -> str:
    action = house.propose("pay.charge", {**CHARGE, **rest}).action
    assert action is not None
    assert action.state == "held"
    return action.id


def proved(house: House, folder: Path) -> None:
    """The whole ledger verifies, and every verdict and silence replays."""
    house.home.publisher.publish()
    export = folder / "export"
    house.home.publisher.export(export)
    write_policies(house.home.journal, export)
    write_inputs(house.home.journal, export)
    report = verify_export(export, vkey=house.home.publisher.vkey)
    assert report.ok, report.problems
    replayed = replay(export)
    assert not replayed.problems, replayed.problems


# --- chains of owners -------------------------------------------------------------------------------------


def test_one_owner_after_the_other_is_asked_and_the_default_owner_once_and_then_it_is_denied(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    approval, shown = house.request(action)
    seen = []
    for minutes in (15, 15, 5, 15):
        item = asked(house, action)
        seen.append((item["owner"], item["escalates_to"][:1], item["then"].split(";")[0]))
        swept(house, clock, minutes)
    assert seen == [
        ("finance", ["leads"], "expires, not run"),
        ("leads", ["directors"], "expires, not run"),
        ("directors", ["ops-approvers"], "expires, not run"),
        ("ops-approvers", [], "expires, not run"),
    ]
    view = house.view(action)
    assert (view["state"], view["approval"]["id"], view["approval"]["review_hash"]) == (
        "expired",
        approval,
        shown,
    )
    escalated = of_kind(house, "approval.escalated")
    assert [(e["owner"], e["turn"]) for e in escalated] == [
        ("leads", 1),
        ("directors", 2),
        ("ops-approvers", 3),
    ]
    assert not any("passed_over" in e for e in escalated)
    (ended,) = of_kind(house, "action.expired")
    assert (ended["was"], ended["on_timeout"], "kill" in ended) == ("held", "escalate", False)
    assert of_kind(house, "approval.decided") == []
    proved(house, tmp_path)


def test_each_turn_begins_where_the_one_before_it_ends(open_house: Open, clock: ManualClock) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    start = clock.micros
    for minutes in (15, 15, 5):
        swept(house, clock, minutes)
    untils = [entry["until"] - start for entry in of_kind(house, "approval.escalated")]
    assert [until // (MINUTE * 1_000_000) for until in untils] == [30, 35, 50]
    assert house.state(action) == "held"


def test_whoever_was_asked_before_may_still_answer(open_house: Open, clock: ManualClock) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    for minutes in (15, 15, 5):
        swept(house, clock, minutes)
    assert house.answer(action, house.person("Ann")).action is not None
    assert house.state(action) == "approved"


@pytest.mark.parametrize(
    ("owner", "chain", "order"),
    [
        ("finance", "[leads, finance]", ["finance", "leads", "ops-approvers"]),
        ("finance", "[ops-approvers, leads]", ["finance", "ops-approvers", "leads"]),
        ("ops-approvers", "[leads]", ["ops-approvers", "leads"]),
        ("ops-approvers", "[ops-approvers]", ["ops-approvers"]),
    ],
)
def test_nobody_is_asked_twice(
    open_house: Open, clock: ManualClock, owner: str, chain: str, order: list[str]
) -> None:
    text = CHAIN.replace("owner: finance", f"owner: {owner}").replace(
        "[leads, {owner: directors, window: 5m}]", chain
    )
    house = open_house(text, clock=clock)
    action = house.held()
    seen = []
    while house.state(action) == "held":
        seen.append(asked(house, action)["owner"])
        swept(house, clock, 15)
    assert seen == order


def test_without_a_lane_tier_3_waits_a_week_then_the_default_owner_once_and_tier_4_a_day(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(
        POLICY.replace("    lane: {window: 15m, on_timeout: deny}\n", ""),
        clock=clock,
    )
    third = house.held()
    fourth = house.propose("account.delete", {"account_id": "7"}).action
    assert fourth is not None
    missed(house, clock, 24 * 60 - 1)
    assert [house.state(third), house.state(fourth.id)] == ["held", "held"]
    missed(house, clock, 1)
    assert [house.state(third), house.state(fourth.id)] == ["held", "expired"]
    missed(house, clock, 6 * 24 * 60)
    assert (house.state(third), asked(house, third)["owner"]) == ("held", "ops-approvers")
    missed(house, clock, 7 * 24 * 60)
    assert house.state(third) == "expired"
    assert len(of_kind(house, "approval.escalated")) == 1


# --- nobody swept -----------------------------------------------------------------------------------------


def test_a_turn_that_passed_while_nobody_swept_is_passed_over_and_told(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    missed(house, clock, 32)
    (entry,) = of_kind(house, "approval.escalated")
    assert (entry["owner"], entry["turn"], entry["passed_over"]) == ("directors", 2, ["leads"])
    swept(house, clock, 2)
    assert len(of_kind(house, "approval.escalated")) == 1, "its time is what is left of the turn"
    swept(house, clock, 1)
    assert asked(house, action)["owner"] == "ops-approvers"
    proved(house, tmp_path)


def test_what_ended_while_nobody_swept_ends_as_its_lane_says_without_asking_for_the_record(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    house.home.journal.close()
    clock.forward(3 * 24 * 3600)
    house = open_house(None, clock=clock)
    assert [house.gate.sweep(), house.gate.sweep()] == [1, 0]
    assert house.state(action) == "expired"
    assert of_kind(house, "approval.escalated") == []
    proved(house, tmp_path)


def test_nobody_else_is_asked_about_what_is_frozen(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    clock.forward(16 * MINUTE)
    kill = house.home.kill_switches.engage(Scope.AGENT, "support", "smoke", by="test").switch.id
    for _ in range(3):
        swept(house, clock, 20)
    assert (asked(house, action)["owner"], of_kind(house, "approval.escalated")) == ("finance", [])
    house.home.kill_switches.rearm_alone(kill, "over", by="test")
    swept(house, clock, 1)
    (entry,) = of_kind(house, "approval.escalated")
    assert (entry["owner"], entry["until"]) == ("leads", clock.micros + 13 * MINUTE * 1_000_000)
    proved(house, tmp_path)


def test_an_answer_after_the_time_is_refused_although_nobody_swept(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(CHAIN, clock=clock)
    action, ann = house.held(), house.person("Ann")
    clock.forward(50 * MINUTE)
    with pytest.raises(Expired):
        house.answer(action, ann)
    assert house.state(action) == "expired"
    assert of_kind(house, "approval.decided") == []


# --- the kill switch --------------------------------------------------------------------------------------


def test_a_lane_that_ends_in_the_kill_switch_stops_the_agent_that_asked_and_only_that(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(STOPPING, clock=clock)
    action = house.held()
    assert asked(house, action)["then"] == "expires, not run, and its agent is stopped"
    swept(house, clock, 14.9)
    assert house.home.kill_switches.standing().on == ()
    swept(house, clock, 0.1)
    assert house.state(action) == "expired"
    ((switch, _),) = house.home.kill_switches.standing().on
    approval = house.view(action)["approval"]["id"]
    assert (switch.scope, switch.target, switch.by) == ("agent", "support", "lane:large")
    assert approval in switch.reason
    assert "large" in switch.reason
    (engaged,) = of_kind(house, "kill.engaged")
    (ended,) = of_kind(house, "action.expired")
    assert (engaged["approval"], engaged["kill"]) == (approval, ended["kill"])
    assert ended["on_timeout"] == "kill_switch"
    denied = house.propose("orders.get", {"order_id": "1"}).action
    allowed = house.propose("orders.get", {"order_id": "1"}, caller=agent("sales")).action
    assert denied is not None
    assert allowed is not None
    assert (denied.state, allowed.state) == ("denied", "allowed")
    proved(house, tmp_path)


def test_two_requests_of_one_agent_that_are_over_stop_it_once_and_not_again_when_people_lift_that(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(STOPPING, clock=clock)
    over = [house.held(args=other(number)) for number in range(3)]
    clock.forward(MINUTE)
    waiting = house.held(args=other(9))
    swept(house, clock, 14)
    assert {house.state(action) for action in over} == {"expired"}
    assert house.state(waiting) == "held"
    (engaged,) = of_kind(house, "kill.engaged")
    assert {entry["kill"] for entry in of_kind(house, "action.expired")} == {engaged["kill"]}
    clock.forward(3600)
    people = [house.person(name, Role.OPERATOR) for name in ("Ann", "Bob")]
    for person in people:
        house.home.kill_switches.rearm(engaged["kill"], "looked at", person.caller)
    house.gate.sweep()
    assert (house.state(waiting), len(of_kind(house, "kill.engaged"))) == ("held", 1)
    swept(house, clock, 1)
    assert (house.state(waiting), len(of_kind(house, "kill.engaged"))) == ("expired", 2)
    proved(house, tmp_path)


def test_whoever_answers_too_late_finds_the_agent_stopped(open_house: Open, clock: ManualClock) -> None:
    house = open_house(STOPPING, clock=clock)
    action, ann = house.held(), house.person("Ann")
    approval, shown = house.request(action)
    clock.forward(15 * MINUTE)
    late = HumanDecision(Answer.REJECT, shown, ReasonCode.OTHER)
    with pytest.raises(Expired):
        house.gate.decide(approval, ann.caller, late)
    assert len(of_kind(house, "kill.engaged")) == 1
    with pytest.raises(Expired):
        house.gate.decide(approval, ann.caller, late)
    assert (house.gate.sweep(), len(of_kind(house, "kill.engaged"))) == (0, 1)


def test_an_answer_in_time_stops_nobody(open_house: Open, clock: ManualClock) -> None:
    house = open_house(STOPPING, clock=clock)
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.REJECT)
    swept(house, clock, 60)
    assert house.home.kill_switches.standing().on == ()


def test_a_kill_switch_that_is_on_for_the_agent_already_is_the_one_that_is_named(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(STOPPING, clock=clock)
    house.held()
    clock.forward(15 * MINUTE)
    on = house.home.kill_switches.engage(Scope.AGENT, "support", "smoke", by="test").switch.id
    house.gate.sweep()
    assert [entry["kill"] for entry in of_kind(house, "action.expired")] == [on]
    assert len(of_kind(house, "kill.engaged")) == 1


def test_processes_that_sweep_at_once_end_each_request_once(open_house: Open, clock: ManualClock) -> None:
    houses = [open_house(STOPPING, clock=clock), open_house(None, clock=clock)]
    actions = [houses[0].held(args=other(number), caller=agent(f"a{number % 4}")) for number in range(40)]
    clock.forward(15 * MINUTE)
    start = threading.Barrier(4)

    def sweep(house: House) -> None:
        start.wait()
        house.gate.sweep()

    threads = [threading.Thread(target=sweep, args=(house,)) for house in houses * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [entry["action"] for entry in of_kind(houses[0], "action.expired")]
    assert sorted(ended) == sorted(actions)
    assert sorted(entry["target"] for entry in of_kind(houses[0], "kill.engaged")) == [
        "a0",
        "a1",
        "a2",
        "a3",
    ]


# --- silence that allows ----------------------------------------------------------------------------------


def test_silence_lets_tier_2_run_and_says_that_nobody_answered(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    assert asked(house, action)["then"] == "runs, unanswered"
    swept(house, clock, 9.9)
    assert house.state(action) == "held"
    swept(house, clock, 0.1)
    view = house.view(action)
    assert (view["state"], view["approval"]["state"]) == ("allowed", "unanswered")
    (entry,) = of_kind(house, "approval.unanswered")
    assert (entry["action"], entry["approval"]) == (action, view["approval"]["id"])
    assert entry["expires_at"] == clock.micros + 5 * MINUTE * 1_000_000
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "done"))
    assert of_kind(house, "approval.decided") == []
    assert of_kind(house, "action.claimed")[0]["approval"] == entry["approval"]
    proved(house, tmp_path)


def test_what_silence_allowed_is_taken_back_or_runs_out_like_any_allow(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(QUIET, clock=clock)
    withdrawn, revoked, over = (quiet(house, order_id=name) for name in ("w", "r", "o"))
    swept(house, clock, 10)
    house.gate.withdraw(withdrawn, agent())
    house.gate.revoke(revoked, house.person("Ann").caller)
    swept(house, clock, 5)
    assert [house.state(each) for each in (withdrawn, revoked, over)] == ["withdrawn", "revoked", "expired"]
    for each in (withdrawn, revoked, over):
        with pytest.raises(NotClaimable):
            house.gate.claim(each, ExecutorKind.CALLER)
    proved(house, tmp_path)


def test_a_rejection_in_time_is_not_silence(open_house: Open, clock: ManualClock) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    house.answer(action, house.person("Ann"), Answer.REJECT)
    swept(house, clock, 10)
    assert house.state(action) == "rejected"


def test_an_answer_after_silence_allowed_is_told_that_it_comes_too_late(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(QUIET, clock=clock)
    action, ann = quiet(house), house.person("Ann")
    approval, shown = house.request(action)
    swept(house, clock, 10)
    with pytest.raises(Expired, match=r"let act_[0-9a-f]+ run"):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))


@pytest.mark.parametrize(
    ("first", "last", "late", "state"),
    [
        (0.0, 9.9, 1.3, "allowed"),
        (0.0, 9.9, 1.45, "expired"),
        (1.4, 9.9, 0.1, "allowed"),
        (1.6, 9.9, 0.1, "expired"),
        (0.0, 8.0, 0.1, "expired"),
    ],
    ids=["prompt", "late", "down at first", "down too long at first", "down meanwhile"],
)
def test_silence_counts_only_where_somebody_was_there_to_hear_it(
    open_house: Open, clock: ManualClock, first: float, last: float, late: float, state: str, tmp_path: Path
) -> None:
    """Sweeps come from minute `first` until minute `last`, and one when the ten are `late` minutes over."""
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    clock.forward(first * MINUTE)
    swept(house, clock, last - first)
    missed(house, clock, 10 - last + late)
    assert house.state(action) == state
    proved(house, tmp_path)


@pytest.mark.parametrize(
    "forge",
    [
        "UPDATE attended SET since = 0",
        "UPDATE attended SET until = until + 600000000",
        "DELETE FROM attended",
    ],
)
def test_nobody_makes_silence_count_by_saying_that_the_home_was_swept(
    open_house: Open, clock: ManualClock, forge: str
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    swept(house, clock, 2)
    clock.forward(7 * MINUTE)
    house.sql(forge)
    swept(house, clock, 1)
    assert house.state(action) == "expired"


def test_an_earlier_record_of_sweeps_put_back_makes_silence_count_for_less(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    swept(house, clock, 1)
    ((since, until, mac),) = house.sql("SELECT since, until, mac FROM attended")
    swept(house, clock, 8)
    house.sql("UPDATE attended SET since = ?, until = ?, mac = ?", since, until, mac)
    swept(house, clock, 1)
    assert house.state(action) == "expired"


def test_silence_allows_nothing_that_a_kill_switch_covers(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(QUIET, clock=clock)
    early, late = quiet(house, order_id="1"), quiet(house, order_id="2")
    swept(house, clock, 9)
    third = quiet(house, order_id="3")
    clock.forward(1 * MINUTE)
    kill = house.home.kill_switches.engage(Scope.AGENT, "support", "smoke", by="test").switch.id
    for _ in range(3):
        swept(house, clock, 5)
    assert {house.state(action) for action in (early, late, third)} == {"held"}
    house.home.kill_switches.rearm_alone(kill, "over", by="test")
    swept(house, clock, 1)
    assert [house.state(action) for action in (early, late, third)] == ["allowed", "allowed", "held"]
    swept(house, clock, 8)
    assert house.state(third) == "allowed"
    proved(house, tmp_path)


DENYING = QUIET.replace("on_timeout: allow", "on_timeout: deny")


def test_a_policy_that_no_longer_lets_silence_allow_counts_for_what_waits(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    clock.forward(9 * MINUTE)
    house.activate(DENYING)
    swept(house, clock, 5)
    assert house.state(action) == "held", "it is asked about anew"
    swept(house, clock, 5)
    assert house.state(action) == "expired"
    assert of_kind(house, "approval.unanswered") == []
    proved(house, tmp_path)


def test_a_policy_that_no_longer_lets_silence_allow_takes_back_what_silence_allowed(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    swept(house, clock, 10)
    house.activate(DENYING)
    assert house.state(action) == "held"
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)
    proved(house, tmp_path)


def test_silence_waits_for_the_verdict_of_the_policy_in_force(open_house: Open, clock: ManualClock) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    house.gate.redecide_open = lambda: 0  # type: ignore[method-assign]  # as a process that died here
    house.activate(DENYING)
    swept(house, clock, 10)
    assert (house.state(action), of_kind(house, "approval.unanswered")) == ("held", [])


@pytest.mark.parametrize("amount", ["20.00", "8.00"])
def test_an_edit_of_what_silence_would_allow_is_not_allowed_by_silence(
    open_house: Open, clock: ManualClock, tmp_path: Path, amount: str
) -> None:
    """Whether the policy alone would let the new arguments pass, or would ask and take silence for a yes."""
    house = open_house(
        QUIET.replace("[pay.charge, notes.add]}", "[pay.charge]}\n    when: args.amount_usd < 9"), clock=clock
    )
    action, ann = quiet(house), house.person("Ann")
    house.answer(action, ann, Answer.EDIT, args={**CHARGE, "amount_usd": amount})
    swept(house, clock, 10)
    assert asked(house, action)["on_timeout"] == "escalate"
    swept(house, clock, 10)
    assert house.state(action) == "expired"
    assert of_kind(house, "approval.unanswered") == []
    proved(house, tmp_path)


def test_what_became_stale_is_not_allowed_by_silence_though_the_new_policy_would_take_it_for_a_yes(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    house.activate(QUIET.replace("valid: 5m}", "valid: 5m}\n    constraints: {max_runtime_sec: 50}"))
    (again,) = (each for each in of_kind(house, "action.redecided") if each["was"] == "stale")
    assert again["approval"] is not None
    assert asked(house, action)["on_timeout"] == "escalate"
    for _ in range(200):
        swept(house, clock, 10)
    assert house.state(action) == "expired"
    assert of_kind(house, "approval.unanswered") == []
    proved(house, tmp_path)


# --- clocks -----------------------------------------------------------------------------------------------


def test_on_a_clock_that_jumped_nothing_ends_escalates_or_runs(open_house: Open, clock: ManualClock) -> None:
    house = open_house(QUIET, clock=clock)
    actions = [house.held(), quiet(house)]
    clock.forward(3600)
    clock.jumped = True
    with pytest.raises(ClockJumped):
        house.gate.sweep()
    assert [house.state(action) for action in actions] == ["held", "held"]


def test_a_clock_that_steps_back_an_hour_ends_nothing_twice_and_nothing_early(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(CHAIN, clock=clock)
    action = house.held()
    swept(house, clock, 15)
    entries = len(house.entries())
    clock.forward(-3600)
    clock.jumped = True
    with pytest.raises(ClockJumped):
        house.gate.sweep()
    assert len(house.entries()) == entries
    clock.jumped = False
    clock.forward(3600)
    assert house.gate.sweep() == 0
    assert asked(house, action)["owner"] == "leads"


def test_a_process_that_starts_on_a_clock_an_hour_ahead_denies_rather_than_allows(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(QUIET, clock=clock)
    actions = [house.held(), quiet(house)]
    house.home.journal.close()
    clock.forward(3600)
    house = open_house(None, clock=clock)
    house.gate.sweep()
    assert [house.state(action) for action in actions] == ["expired", "expired"]


# --- order and cost ---------------------------------------------------------------------------------------


def test_what_is_due_is_ended_in_order_in_bounded_transactions(
    open_house: Open, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.gate.gatekeeper.SWEEP", 7)
    house = open_house(clock=clock)
    actions = []
    for number in range(25):
        actions.append(house.held(args=other(number)))
        clock.forward(1)
    swept(house, clock, 15)
    assert [entry["action"] for entry in of_kind(house, "action.expired")] == actions
    assert house.gate.sweep() == 0


def test_requests_that_were_changed_from_outside_do_not_keep_others_from_ending(
    open_house: Open, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.gate.gatekeeper.SWEEP", 3)
    house = open_house(clock=clock)
    for number in range(8):
        house.held(args=other(number))
    house.sql("UPDATE approvals SET expires_at = expires_at + 1")
    clock.forward(1)
    good = house.held(args=other(99))
    swept(house, clock, 15)
    assert house.state(good) == "expired"
    assert len(of_kind(house, "action.expired")) == 1


def test_a_request_whose_row_was_put_into_silence_by_hand_does_not_run(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(QUIET, clock=clock)
    action = quiet(house)
    house.sql("UPDATE approvals SET state = 'unanswered'")
    house.sql("UPDATE actions SET state = 'allowed', expires_at = changed_at + 3600000000")
    from interlock.model.errors import Tampered

    with pytest.raises(Tampered):
        house.gate.claim(action, ExecutorKind.CALLER)


def test_an_answered_request_stays_answered_whatever_its_deadline(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(STOPPING, clock=clock)
    action, ann = house.held(), house.person("Ann")
    house.answer(action, ann)
    swept(house, clock, 20)
    assert (house.state(action), of_kind(house, "kill.engaged")) == ("approved", [])
    approval, shown = house.request(action)
    with pytest.raises(AlreadyDecided):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))
