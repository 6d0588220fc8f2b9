"""Taking back: one call, through the gate, once, and linked. On both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from house import BOTH, House, ManualClock, agent
from interlock.gate import Answer, Proposed, Report
from interlock.gate.records import load_action, sealed
from interlock.gate.rollback import NoUndo, RollbackExists
from interlock.gate.stops import Scope
from interlock.gate.undoing import UndoTooLate
from interlock.identity import Caller, Role
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.canonical import Json
from interlock.model.errors import (
    Conflict,
    Erased,
    Expired,
    Forbidden,
    InDoubt,
    InterlockError,
    NotFound,
    OutOfScope,
    SeparationOfDuties,
    StaleClaim,
    Tampered,
)
from interlock.model.topics import TopicPattern
from interlock.verify import verify_export

DATABASES = BOTH
POLICY = """
interlock: 1
name: shop
actions:
  pay.charge:
    tier: 2
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    summary: Charge ${args.amount_usd} for order {args.order_id}
    undo: {topic: pay.reverse, args: {charge: result.charge.id, amount_usd: args.amount_usd}}
    undo_within: 5m
  pay.reverse:
    tier: 3
    args: {charge: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    summary: Reverse charge {args.charge} of ${args.amount_usd}
    worst_case: The customer is paid twice
    execute: {caller: {}}
  notes.add: {tier: 2, args: {text: string}, undo: notes.drop, undo_within: 5m}
  notes.drop: {tier: 2, args: {text: string}, undo: notes.add, undo_within: 5m}
  orders.ship: {tier: 3, args: {order_id: string}}
  orders.note: {tier: 3, args: {order_id: string}, undo: notes.drop}
rules:
  - {id: charges, match: {topics: [pay.charge]}, when: args.amount_usd < 100, decision: allow}
  - {id: orders, match: {topics: [orders.*]}, decision: allow}
  - {id: reversals, match: {topics: [pay.reverse]}, when: args.amount_usd < 50, decision: allow}
"""
LATER = POLICY.replace("undo_within: 5m\n  pay.reverse", "undo_within: 15m\n  pay.reverse")
CHARGE = {"order_id": "A-12", "amount_usd": "40.00"}
LARGE = {"order_id": "A-12", "amount_usd": "80.00"}
DONE: Json = {"charge": {"id": "ch_1"}}


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    return open_house(POLICY, clock=clock)


def run(house: House, action: str, state: ActionState = ActionState.SUCCEEDED, result: Json = None) -> None:
    """Claim an action and report its outcome."""
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    house.gate.settle(claim, Report(state, "It was tried.", result))


def ran(house: House, topic: str = "pay.charge", args: Any = CHARGE, result: Json = DONE, **rest: Any) -> str:
    """The id of an action that succeeded."""
    action = house.propose(topic, args, **rest).action
    assert action is not None
    run(house, action.id, result=result)
    return action.id


def back(house: House, action: str, caller: Caller | None = None) -> str:
    """Ask for a rollback; the id of the undo."""
    undo = house.gate.rollback(action, caller or agent()).action
    assert undo is not None
    return undo.id


def entries(house: House, *kinds: str) -> list[dict[str, Any]]:
    found = [json.loads(entry) for entry in house.entries()]
    return [entry for entry in found if not kinds or entry["kind"] in kinds]


def check_ledger(house: House, folder: Path) -> None:
    """The whole ledger verifies."""
    house.home.publisher.publish()
    house.home.publisher.export(folder)
    report = verify_export(folder)
    assert report.ok, [str(problem) for problem in report.problems]


# --- one call ---------------------------------------------------------------------------------------------


def test_what_succeeded_is_taken_back_by_its_undo_and_both_are_linked(house: House, tmp_path: Path) -> None:
    action = ran(house)
    undo = back(house, action)
    seen = house.view(undo)
    assert (seen["topic"], seen["args"]) == ("pay.reverse", {"charge": "ch_1", "amount_usd": "40.00"})
    assert (seen["state"], seen["undoes"]) == ("allowed", action)
    assert house.view(action)["rollback"] == {"id": undo, "state": "allowed"}
    assert house.state(action) == "succeeded"
    run(house, undo)
    assert house.state(action) == "rolled_back"
    assert house.view(action)["rollback"] == {"id": undo, "state": "succeeded"}
    assert house.view(action)["result"] == DONE
    assert undo in house.view(action)["user_message"]
    (proposed,) = [e for e in entries(house, "action.proposed") if e["action"] == undo]
    assert proposed["undoes"] == action
    assert "asked_by" not in proposed
    settled, rolled = entries(house)[-2:]
    assert (settled["kind"], settled["action"]) == ("action.settled", undo)
    assert (rolled["kind"], rolled["action"], rolled["rollback"]) == ("action.rolled_back", action, undo)
    assert settled["at"] == rolled["at"]
    check_ledger(house, tmp_path / "export")


def test_the_plan_says_what_would_be_done_and_does_nothing(house: House, clock: ManualClock) -> None:
    action = ran(house, args=LARGE)
    before = house.entries()
    plan = house.gate.rollback_plan(action, agent()).to_json()
    assert plan["undo"]["topic"] == "pay.reverse"
    assert plan["undo"]["args"] == {"charge": "ch_1", "amount_usd": "80.00"}
    assert plan["undo"]["title"] == "Reverse charge ch_1 of $80.00"
    assert plan["undo"]["decision"] == "require_approval"
    assert plan["undo"]["owner"] is not None
    assert plan["title"] == "Charge $80.00 for order A-12"
    assert plan["until"] is not None
    assert house.entries() == before
    assert house.view(action)["rollback"] is None


def test_the_short_form_passes_the_arguments_of_the_same_names(house: House) -> None:
    action = ran(house, "notes.add", {"text": "hello"}, None)
    assert house.view(back(house, action))["args"] == {"text": "hello"}


def test_a_rollback_is_taken_back_like_any_other_action(house: House, tmp_path: Path) -> None:
    action = ran(house, "notes.add", {"text": "hello"}, None)
    undo = back(house, action)
    run(house, undo)
    again = back(house, undo)
    run(house, again)
    assert [house.state(one) for one in (action, undo, again)] == ["rolled_back", "rolled_back", "succeeded"]
    check_ledger(house, tmp_path / "export")


# --- through the gate -------------------------------------------------------------------------------------


def test_a_rollback_is_held_where_the_policy_asks_for_a_person(house: House, tmp_path: Path) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = ran(house, args=LARGE)
    undo = back(house, action, ann.caller)
    view = house.home.views.action(undo, bob.caller)
    assert view["state"] == "held"
    shown = house.home.views.approval(view["approval"]["id"], bob.caller, house.gate.policy)
    assert shown["takes_back"]["action"] == action
    assert shown["takes_back"]["title"] == "Charge $80.00 for order A-12"
    assert shown["takes_back"]["asked_by"] == "Ann"
    assert shown["takes_back"]["until"] is not None
    house.answer(undo, bob)
    run(house, undo)
    assert house.state(action) == "rolled_back"
    (proposed,) = [e for e in entries(house, "action.proposed") if e["action"] == undo]
    assert proposed["asked_by"] == ann.id
    check_ledger(house, tmp_path / "export")


def test_nobody_approves_the_rollback_they_asked_for(house: House) -> None:
    ann, _ = house.person("Ann"), house.person("Bob")
    undo = back(house, ran(house, args=LARGE), ann.caller)
    with pytest.raises(SeparationOfDuties):
        house.answer(undo, ann)
    approval = house.view(undo)["approval"]["id"]
    can = house.home.views.approval(approval, ann.caller, house.gate.policy)["can"]
    assert (can["approve"], can["reject"], can["edit"]) == (False, True, False)


def test_a_rollback_is_not_edited(house: House) -> None:
    bob = house.person("Bob")
    undo = back(house, ran(house, args=LARGE))
    with pytest.raises(Conflict, match="not edited"):
        house.answer(undo, bob, Answer.EDIT, args={"charge": "ch_1", "amount_usd": "1.00"})
    assert house.state(undo) == "held"


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.POLICY_ADMIN,)])
def test_a_person_without_the_role_asks_for_no_rollback(house: House, roles: tuple[Role, ...]) -> None:
    person = house.person("Eve", *roles)
    action = ran(house)
    for ask in (house.gate.rollback, house.gate.rollback_plan):
        with pytest.raises(Forbidden):
            ask(action, person.caller)


def test_an_agent_takes_back_only_what_it_did_and_only_by_topics_of_its_key(house: House) -> None:
    action = ran(house)
    with pytest.raises(NotFound):
        back(house, action, agent("another"))
    narrow = Caller(agent().kind, agent="support", topics=(TopicPattern.parse("pay.charge"),))
    with pytest.raises(OutOfScope):
        back(house, action, narrow)
    assert house.view(action)["rollback"] is None


def test_what_a_person_asked_for_the_agent_runs_but_does_not_withdraw(house: House) -> None:
    ann = house.person("Ann")
    undo = back(house, ran(house), ann.caller)
    assert house.view(undo)["state"] == "allowed"  # the agent's own process may have to run it
    with pytest.raises(NotFound):
        house.gate.withdraw(undo, agent())
    with pytest.raises(NotFound):
        house.view(undo, agent("another"))


def test_the_agents_webhooks_are_told_of_what_people_ask_for_and_another_agents_are_not(house: House) -> None:
    ann = house.person("Ann")
    for name in ("support", "billing"):
        house.home.webhooks.add(name, "http://localhost:9/", agents=(name,), events=(), networks=())
    action = ran(house, "notes.add", {"text": "a"})
    undo = back(house, action, ann.caller)
    run(house, undo)
    redo = back(house, undo, ann.caller)
    assert house.view(redo)["state"] == "allowed"
    run(house, redo)
    told = [json.loads(ids) for (ids,) in house.sql("SELECT ids FROM segments WHERE segment = 'webhook'")]
    told.sort(key=lambda ids: int(ids["entry"]))
    assert {ids["webhook"] for ids in told} == {"support"}
    assert [(ids["action"], ids["state"]) for ids in told] == [
        (action, "succeeded"),
        (undo, "succeeded"),
        (action, "rolled_back"),
        (redo, "succeeded"),
        (undo, "rolled_back"),
    ]


def test_a_kill_switch_for_the_agent_does_not_keep_people_from_cleaning_up(house: House) -> None:
    ann = house.person("Ann")
    first, second = ran(house), ran(house, args={**CHARGE, "order_id": "B"})
    house.home.kill_switches.engage(Scope.AGENT, "support", "it charges strangers", by="test")
    assert house.view(back(house, first))["state"] == "denied"
    undo = back(house, second, ann.caller)
    run(house, undo)
    assert house.state(second) == "rolled_back"


def test_a_kill_switch_for_the_topic_stops_rollbacks_too(house: House) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = ran(house)
    switch = house.home.kill_switches.engage(Scope.TOPIC, "pay.**", "a drill", by="test")
    undo = back(house, action, ann.caller)
    assert house.home.views.action(undo, ann.caller)["state"] == "denied"
    for person in (ann, bob):
        house.home.kill_switches.rearm(switch.switch.id, "over", person.caller)
    again = back(house, action, ann.caller)
    run(house, again)
    assert house.state(action) == "rolled_back"


# --- once -------------------------------------------------------------------------------------------------


def test_a_second_rollback_is_refused_while_one_is_open_and_when_it_is_done(house: House) -> None:
    action = ran(house)
    undo = back(house, action)
    for state in ("allowed", "executing"):
        with pytest.raises(RollbackExists) as refused:
            back(house, action)
        assert refused.value.extra == {"rollback": undo, "state": state}
        if state == "allowed":
            claim = house.gate.claim(undo, ExecutorKind.CALLER)
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "Done."))
    with pytest.raises(RollbackExists) as refused:
        back(house, action)
    assert refused.value.extra == {"rollback": undo, "state": "succeeded"}


def test_of_32_people_and_agents_who_ask_at_once_one_gets_a_rollback(house: House) -> None:
    ann = house.person("Ann")
    action = ran(house)
    start = threading.Barrier(32)

    def ask(number: int) -> Proposed | InterlockError:
        start.wait()
        try:
            return house.gate.rollback(action, ann.caller if number % 2 else agent())
        except InterlockError as error:
            return error

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(32)))
    made = [one for one in answers if isinstance(one, Proposed)]
    assert len(made) == 1
    assert all(isinstance(one, RollbackExists) for one in answers if not isinstance(one, Proposed))
    undoes = [e for e in entries(house, "action.proposed") if e.get("undoes") == action]
    assert len(undoes) == 1


@pytest.mark.parametrize("how", ["failed", "rejected", "expired", "withdrawn", "revoked", "denied"])
def test_a_rollback_that_ended_without_effect_may_be_asked_for_again(
    house: House, clock: ManualClock, tmp_path: Path, how: str
) -> None:
    ann = house.person("Ann")
    held = how in ("rejected", "expired", "withdrawn")
    action = ran(house, args=LARGE if held else CHARGE)
    if how == "denied":
        house.activate(POLICY + "  - {id: never, match: {topics: [pay.reverse]}, decision: deny}\n")
    undo = back(house, action)
    match how:
        case "failed":
            run(house, undo, ActionState.FAILED)
        case "rejected":
            house.answer(undo, ann, Answer.REJECT)
        case "expired":
            clock.forward(299)
            house.activate(LATER)
            clock.forward(1)
            house.gate.sweep()
        case "withdrawn":
            house.gate.withdraw(undo, agent())
        case "revoked":
            house.gate.revoke(undo, ann.caller)
        case "denied":
            house.activate(POLICY)
    assert house.state(undo) == how
    assert house.state(action) == "succeeded"
    again = back(house, action)
    assert again != undo
    if held:
        house.answer(again, ann)
    run(house, again)
    assert house.state(action) == "rolled_back"
    check_ledger(house, tmp_path / "export")


def test_a_rollback_in_doubt_leaves_the_action_until_somebody_knows(house: House, tmp_path: Path) -> None:
    ann = house.person("Ann")
    action = ran(house)
    undo = back(house, action)
    run(house, undo, ActionState.IN_DOUBT)
    assert house.state(action) == "succeeded"
    assert house.view(action)["rollback"] == {"id": undo, "state": "in_doubt"}
    with pytest.raises(RollbackExists):
        back(house, action)
    house.gate.reconcile(undo, ann.caller, ActionState.SUCCEEDED, "The charge is reversed.")
    assert house.state(action) == "rolled_back"
    check_ledger(house, tmp_path / "export")


def test_a_late_report_of_a_rollback_rolls_back(house: House, clock: ManualClock, tmp_path: Path) -> None:
    action = ran(house)
    undo = back(house, action)
    claim = house.gate.claim(undo, ExecutorKind.CALLER)
    clock.forward(60)
    house.gate.sweep()
    assert house.state(undo) == "in_doubt"
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "It did work."))
    assert house.state(action) == "rolled_back"
    check_ledger(house, tmp_path / "export")


def test_a_repeated_report_about_what_was_rolled_back_contradicts_nothing(house: House) -> None:
    action = house.propose("pay.charge", CHARGE).action
    assert action is not None
    claim = house.gate.claim(action.id, ExecutorKind.CALLER)
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "Done.", DONE))
    run(house, back(house, action.id))
    before = house.entries()
    assert house.gate.settle(claim, Report(ActionState.SUCCEEDED, "Done.", DONE)).state == "rolled_back"
    assert house.entries() == before
    with pytest.raises(StaleClaim):
        house.gate.settle(claim, Report(ActionState.FAILED, "It did not work after all."))
    assert entries(house)[-1]["settled"] == "rolled_back"
    assert house.state(action.id) == "rolled_back"


# --- what is not taken back -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ActionState.FAILED, ActionState.IN_DOUBT])
def test_only_what_succeeded_is_taken_back(house: House, state: ActionState) -> None:
    action = house.propose("pay.charge", CHARGE).action
    assert action is not None
    with pytest.raises(Conflict, match="only what succeeded"):
        back(house, action.id)
    run(house, action.id, state)
    with pytest.raises(InDoubt if state is ActionState.IN_DOUBT else Conflict):
        back(house, action.id)


def test_an_action_without_an_undo_is_not_taken_back(house: House) -> None:
    with pytest.raises(NoUndo, match="names nothing"):
        back(house, ran(house, "orders.ship", {"order_id": "A"}, None))


@pytest.mark.parametrize("result", [None, {}, {"charge": {}}, {"charge": "ch_1"}, {"charge": {"id": None}}])
def test_a_source_that_is_missing_refuses_the_rollback_and_nothing_is_guessed(
    house: House, result: Json
) -> None:
    action = ran(house, result=result)
    with pytest.raises(NoUndo, match="charge"):
        back(house, action)
    assert house.view(action)["rollback"] is None


@pytest.mark.parametrize("bad", [7, ["ch_1"], {"a": "b"}, True])
def test_a_source_of_another_type_refuses_the_rollback(house: House, bad: Json) -> None:
    with pytest.raises(NoUndo, match="expected a string"):
        back(house, ran(house, result={"charge": {"id": bad}}))


def test_the_short_form_without_the_arguments_it_needs_is_refused(house: House) -> None:
    with pytest.raises(NoUndo, match="text"):
        back(house, ran(house, "orders.note", {"order_id": "A"}, None))


def test_nobody_asks_after_the_time_and_it_counts_from_the_claim(house: House, clock: ManualClock) -> None:
    action = house.propose("pay.charge", CHARGE).action
    assert action is not None
    claim = house.gate.claim(action.id, ExecutorKind.CALLER)
    clock.forward(299)
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "Done.", DONE))
    house.gate.rollback_plan(action.id, agent())
    clock.forward(1)
    for ask in (house.gate.rollback, house.gate.rollback_plan):
        with pytest.raises(UndoTooLate, match="until"):
            ask(action.id, agent())


@pytest.mark.parametrize("how", ["allowed", "approved", "held"])
def test_a_rollback_that_waited_too_long_does_not_start(
    house: House, clock: ManualClock, tmp_path: Path, how: str
) -> None:
    ann = house.person("Ann")
    action = ran(house, args=CHARGE if how == "allowed" else LARGE)
    undo = back(house, action)
    clock.forward(299)
    if how == "approved":
        house.answer(undo, ann)
    clock.forward(1)
    if how == "held":
        with pytest.raises(Expired):
            house.answer(undo, ann)
    else:
        with pytest.raises(Expired):
            house.gate.claim(undo, ExecutorKind.CALLER)
    assert house.state(undo) == "expired"
    assert house.state(action) == "succeeded"
    check_ledger(house, tmp_path / "export")


def test_a_rollback_that_was_frozen_over_its_time_is_approved_in_vain(
    house: House, clock: ManualClock, tmp_path: Path
) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = ran(house, args=LARGE)
    undo = back(house, action)
    switch = house.home.kill_switches.engage(Scope.ALL, None, "a look around", by="test")
    clock.forward(301)
    for person in (ann, bob):
        house.home.kill_switches.rearm(switch.switch.id, "over", person.caller)
    house.answer(undo, ann)
    with pytest.raises(Expired):
        house.gate.claim(undo, ExecutorKind.CALLER)
    assert house.state(undo) == "expired"
    check_ledger(house, tmp_path / "export")


def test_without_a_time_an_action_is_taken_back_at_any_time(house: House, clock: ManualClock) -> None:
    house.activate(POLICY.replace("undo_within: 5m\n  pay.reverse", "\n  pay.reverse"))
    person = house.person("Ann")
    action = house.propose("pay.charge", CHARGE).action
    assert action is not None
    if action.state == "held":  # tier 2 without a time is asked about
        house.answer(action.id, person)
    run(house, action.id, result=DONE)
    clock.forward(90 * 24 * 3600)
    run(house, back(house, action.id))
    assert house.state(action.id) == "rolled_back"


def test_what_was_erased_is_not_taken_back(house: House) -> None:
    action = ran(house, principal="cust-7")
    house.home.eraser.erase("cust-7", by="test")
    with pytest.raises(Erased):
        back(house, action)


def test_erasing_a_subject_erases_what_took_its_actions_back(house: House) -> None:
    ann = house.person("Ann")
    for principal in ("cust-7", None):
        action = ran(house, principal=principal)
        undo = back(house, action, ann.caller)
        run(house, undo)
        house.home.eraser.erase(principal or "agent:support", by="test")
        view = house.home.views.action(undo, ann.caller)
        assert (view["erased"], view["args"], view["state"]) == (True, {}, "succeeded")


# --- against whoever reaches the database -----------------------------------------------------------------


def test_the_link_cannot_be_removed_from_outside_to_take_back_twice(house: House) -> None:
    action = ran(house)
    run(house, back(house, action))
    house.sql("UPDATE actions SET undone_by = NULL, state = 'succeeded' WHERE id = ?", action)
    with pytest.raises(Tampered):
        back(house, action)


def test_an_undo_that_was_deleted_from_outside_leaves_no_way_to_a_second_one(house: House) -> None:
    action = ran(house)
    undo = back(house, action)
    house.gate.claim(undo, ExecutorKind.CALLER)
    house.sql("DELETE FROM actions WHERE id = ?", undo)
    with pytest.raises((Tampered, NotFound)):
        back(house, action)
    with pytest.raises(Tampered):
        house.view(action)


def test_a_tampered_original_does_not_cost_the_settlement_of_its_rollback(house: House) -> None:
    action = ran(house)
    undo = back(house, action)
    claim = house.gate.claim(undo, ExecutorKind.CALLER)
    house.sql("UPDATE actions SET topic = 'pay.other' WHERE id = ?", action)
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "Done."))
    assert house.state(undo) == "succeeded"
    assert not entries(house, "action.rolled_back")


def test_what_an_undo_takes_back_cannot_be_changed_from_outside(house: House) -> None:
    first, second = ran(house), ran(house, args={**CHARGE, "order_id": "B"})
    undo = back(house, first)
    house.sql("UPDATE actions SET undoes = ? WHERE id = ?", second, undo)
    with pytest.raises(Tampered):
        house.gate.claim(undo, ExecutorKind.CALLER)


def test_a_link_that_carries_our_mark_still_has_to_be_the_one_that_was_sealed(house: House) -> None:
    first, second = ran(house), ran(house, args={**CHARGE, "order_id": "B"})
    undo = back(house, first)
    seal = house.home.journal.look(lambda tx: sealed(tx, load_action(tx, undo)._replace(undoes=second)).seal)
    house.sql("UPDATE actions SET undoes = ?, seal = ? WHERE id = ?", second, seal, undo)
    with pytest.raises(Tampered, match="not what was sealed"):
        house.gate.claim(undo, ExecutorKind.CALLER)
