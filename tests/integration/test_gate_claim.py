"""Claim and settle: no claim, no run; one claim, one run; an unknown outcome is a person's to settle."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from house import BOTH, POLICY, REFUND, House, ManualClock, agent
from interlock.gate import Answer, Claim, Report
from interlock.gate.claim import downstream_key
from interlock.gate.records import load_action, move, save
from interlock.journal import ClockBehind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import (
    ClockJumped,
    Conflict,
    ConstraintUnenforceable,
    Expired,
    Forbidden,
    InDoubt,
    InterlockError,
    InvalidInput,
    NotClaimable,
    NotFound,
    StaleClaim,
)

DATABASES = BOTH

CHARGE = {"order_id": "A-12", "amount_usd": "5.00"}
DONE = Report(ActionState.SUCCEEDED, "It returned.", {"id": 7})
FAILED = Report(ActionState.FAILED, "Nothing was sent.")
UNKNOWN = Report(ActionState.IN_DOUBT, "It raised.")
LEASE = 15


def claim(house: House, action_id: str) -> Claim:
    return house.gate.claim(action_id, ExecutorKind.CALLER)


def allowed(house: House, topic: str = "notes.add", args: Any = None) -> str:
    action = house.propose(topic, args or {}).action
    assert action is not None
    assert action.state == "allowed"
    return action.id


def in_doubt(house: House) -> tuple[str, Claim]:
    action = allowed(house)
    claimed = claim(house, action)
    house.gate.settle(claimed, UNKNOWN)
    return action, claimed


def kinds(house: House) -> list[str]:
    return [json.loads(entry)["kind"] for entry in house.entries()]


# --- the machine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", list(ActionState))
def test_no_step_that_the_machine_does_not_have_can_be_written(house: House, before: ActionState) -> None:
    action = house.held()

    def steps(tx: Any) -> list[ActionState]:
        row = load_action(tx, action)._replace(state=before.value)
        refused = []
        for after in ActionState:
            if after in before.successors:
                continue
            with pytest.raises(Conflict):
                move(tx, row, after)
            refused.append(after)
        return refused

    refused = house.home.journal.commit(steps)
    assert set(refused) == set(ActionState) - before.successors
    assert house.state(action) == "held"


# --- what may run -----------------------------------------------------------------------------------------


def test_a_held_action_does_not_run(house: House) -> None:
    with pytest.raises(NotClaimable):
        claim(house, house.held())
    assert "action.claimed" not in kinds(house)


@pytest.mark.parametrize("end", ["rejected", "withdrawn", "expired", "revoked", "superseded"])
def test_what_ended_otherwise_does_not_run(house: House, clock: ManualClock, end: str) -> None:
    action, ann = house.held(), house.person("Ann")
    if end == "rejected":
        house.answer(action, ann, Answer.REJECT)
    elif end == "withdrawn":
        house.gate.withdraw(action, agent())
    elif end == "revoked":
        house.answer(action, ann)
        house.gate.revoke(action, ann.caller)
    elif end == "superseded":
        house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "b"})
    else:
        clock.forward(15 * 60)
        house.gate.sweep()
    with pytest.raises(NotClaimable):
        claim(house, action)
    assert "action.claimed" not in kinds(house)


def test_an_action_that_does_not_exist_does_not_run(house: House) -> None:
    with pytest.raises(NotFound):
        claim(house, "act_0")


def test_a_claim_hands_over_the_bytes_that_were_hashed(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"))
    claimed = claim(house, action)
    hashed = house.view(action)["action_hash"]
    entry = next(e for e in map(json.loads, house.entries()) if e["kind"] == "action.claimed")
    assert entry["action_hash"] == hashed
    assert json.loads(claimed.binding.canonical())["args"] == {**REFUND}


def test_who_executes_was_fixed_when_it_was_proposed(house: House) -> None:
    action = allowed(house)
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.HTTP)
    http = house.propose("account.delete", {"account_id": "7"}).action
    assert http is not None
    house.answer(http.id, house.person("Ann"))
    with pytest.raises(NotClaimable):
        claim(house, http.id)
    assert house.state(http.id) == "approved"


def test_a_second_claim_is_refused_while_the_first_runs_and_after_it(house: House) -> None:
    action = allowed(house)
    claimed = claim(house, action)
    with pytest.raises(NotClaimable):
        claim(house, action)
    house.gate.settle(claimed, DONE)
    with pytest.raises(NotClaimable):
        claim(house, action)
    assert house.view(action)["result"] == {"id": 7}


def test_of_thirty_two_threads_one_gets_the_claim(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"))

    def attempt(_: int) -> bool:
        try:
            claim(house, action)
        except NotClaimable:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(attempt, range(32))) == 1
    assert kinds(house).count("action.claimed") == 1


def test_an_approval_that_was_not_used_in_time_is_worth_nothing(house: House, clock: ManualClock) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"))
    clock.forward(3600)
    with pytest.raises(Expired):
        claim(house, action)
    assert house.state(action) == "expired"


def test_the_lane_says_how_long_an_approval_is_valid(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(POLICY.replace("on_timeout: deny}", "on_timeout: deny, valid: 60s}"), clock=clock)
    action = house.held()
    house.answer(action, house.person("Ann"))
    clock.forward(59)
    assert house.state(action) == "approved"
    clock.forward(1)
    with pytest.raises(Expired):
        claim(house, action)


def test_an_allow_expires_too(house: House, clock: ManualClock) -> None:
    action = allowed(house)
    clock.forward(3600)
    assert house.gate.sweep() == 1
    assert house.state(action) == "expired"


def test_a_constraint_this_executor_cannot_enforce_refuses_the_claim(house: House) -> None:
    action = allowed(house)
    row = house.home.journal.look(lambda tx: load_action(tx, action))
    verdict = json.loads(row.verdict)
    verdict["constraints"] = {"network_allowlist": ["api.example.com"]}

    def constrain(tx: Any) -> None:
        save(tx, row, row._replace(verdict=json.dumps(verdict)))

    house.home.journal.commit(constrain)
    with pytest.raises(ConstraintUnenforceable):
        claim(house, action)
    assert house.state(action) == "allowed"


# --- clocks -----------------------------------------------------------------------------------------------


def test_nothing_is_claimed_swept_or_activated_on_a_clock_that_jumped(
    house: House, clock: ManualClock
) -> None:
    action, held = allowed(house), house.held()
    clock.forward(365 * 24 * 3600)
    clock.jumped = True
    for act in (
        lambda: claim(house, action),
        lambda: house.gate.sweep(),
        lambda: house.activate(POLICY.replace("< 100", "< 90")),
        lambda: house.propose("notes.add", {"n": 1}, inline=True).claim and None,
    ):
        with pytest.raises(ClockJumped):
            act()
    assert (house.state(action), house.state(held)) == ("allowed", "held")


def test_a_clock_that_steps_back_does_not_turn_time_back(house: House, clock: ManualClock) -> None:
    first = json.loads(house.entries()[-1])["at"]
    clock.forward(-59)
    action = allowed(house)
    assert json.loads(house.entries()[-1])["at"] >= first
    assert claim(house, action).epoch == 1, "an hour's allow is an hour's, whatever the wall clock says"
    clock.forward(-2)
    with pytest.raises(ClockBehind):
        house.gate.sweep()


def test_a_clock_that_jumped_ahead_for_a_moment_does_not_spoil_time_for_good(
    house: House, clock: ManualClock
) -> None:
    held = house.held()
    clock.forward(30 * 24 * 3600)
    clock.jumped = True
    house.propose("notes.add", {"n": 1})
    clock.forward(-30 * 24 * 3600)
    clock.jumped = False
    house.gate.sweep()
    assert house.state(held) == "held", "fifteen minutes have not passed"


# --- leases -----------------------------------------------------------------------------------------------


def test_a_lapsed_claim_is_in_doubt_and_not_run_again(house: House, clock: ManualClock) -> None:
    action = allowed(house)
    claim(house, action)
    clock.forward(LEASE)
    with pytest.raises(NotClaimable):
        claim(house, action)
    assert house.gate.sweep() == 1
    assert house.state(action) == "in_doubt"
    with pytest.raises(InDoubt):
        claim(house, action)


@pytest.mark.parametrize(("asked", "given"), [(120, 120), (7_200, 3_600)])
def test_a_claim_for_another_process_lapses_when_its_time_is_over_and_within_the_hour(
    house: House, clock: ManualClock, asked: int, given: int
) -> None:
    action = allowed(house)
    house.gate.claim(action, ExecutorKind.CALLER, lease_sec=asked)
    clock.forward(given - 1)
    house.gate.sweep()
    assert house.state(action) == "executing"
    clock.forward(1)
    house.gate.sweep()
    assert house.state(action) == "in_doubt"


def test_a_renewed_claim_does_not_lapse(house: House, clock: ManualClock) -> None:
    action = allowed(house)
    claimed = claim(house, action)
    for _ in range(4):
        clock.forward(LEASE - 1)
        assert house.gate.renew([claimed])
        house.gate.sweep()
    assert house.state(action) == "executing"
    house.gate.settle(claimed, DONE)
    assert not house.gate.renew([claimed])


def test_an_idempotent_claim_that_lapsed_is_taken_over_with_the_same_key(
    house: House, clock: ManualClock
) -> None:
    action = allowed(house, "pay.charge", CHARGE)
    first = claim(house, action)
    with pytest.raises(NotClaimable):
        claim(house, action)
    clock.forward(LEASE)
    house.gate.sweep()
    second = claim(house, action)
    assert (second.key, second.epoch) == (first.key, first.epoch + 1)
    assert second.binding.canonical() == first.binding.canonical()
    with pytest.raises(StaleClaim):
        house.gate.settle(first, DONE)
    assert not house.gate.renew([first])
    house.gate.settle(second, DONE)
    assert house.state(action) == "succeeded"


def test_once_the_service_may_have_forgotten_the_key_a_lapsed_claim_is_in_doubt(
    house: House, clock: ManualClock
) -> None:
    action = allowed(house, "pay.charge", CHARGE)
    claim(house, action)
    clock.forward(3600)
    with pytest.raises(NotClaimable):
        claim(house, action)
    house.gate.sweep()
    assert house.state(action) == "in_doubt"


LONG = POLICY.replace("retention: 1h", "retention: 24h")
STRICTER = LONG + "  - {id: no-charges, match: {topics: [pay.charge]}, decision: deny}\n"
FORGETFUL = POLICY.replace("retention: 1h", "retention: 30m")
MILDER = LONG + "  - {id: notes-again, match: {topics: [notes.add]}, decision: allow}\n"


def test_a_lapsed_claim_is_in_doubt_once_the_time_has_passed_that_it_was_allowed_for(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(LONG, clock=clock)
    actions = [allowed(house, "pay.charge", {**CHARGE, "order_id": f"A-{n}"}) for n in range(2)]
    for action in actions:
        claim(house, action)
    clock.forward(3600)
    with pytest.raises(NotClaimable):
        claim(house, actions[0])
    house.gate.sweep()
    assert [house.state(action) for action in actions] == ["in_doubt", "in_doubt"]


@pytest.mark.parametrize("policy", [STRICTER, FORGETFUL], ids=["stricter", "promises less"])
def test_a_lapsed_claim_is_in_doubt_where_the_policy_in_force_would_not_begin_it(
    open_house: Callable[..., House], clock: ManualClock, policy: str
) -> None:
    house = open_house(LONG, clock=clock)
    action = allowed(house, "pay.charge", CHARGE)
    held = claim(house, action)
    house.activate(policy)
    assert house.gate.renew([held]), "what runs goes on"
    clock.forward(LEASE)
    with pytest.raises(InDoubt):
        claim(house, action)
    assert house.state(action) == "in_doubt"
    assert kinds(house)[-1] == "action.in_doubt"
    assert house.gate.settle(held, DONE).state == "succeeded"


def test_a_lapsed_claim_is_taken_over_under_another_policy_that_says_the_same(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(LONG, clock=clock)
    action = allowed(house, "pay.charge", CHARGE)
    claim(house, action)
    house.activate(MILDER)
    clock.forward(LEASE)
    assert claim(house, action).epoch == 2


def test_lapsed_claims_that_may_be_repeated_do_not_hide_those_that_may_not(
    house: House, clock: ManualClock
) -> None:
    for n in range(210):
        claim(house, allowed(house, "pay.charge", {**CHARGE, "order_id": str(n)}))
    clock.forward(1)
    action = allowed(house)
    claim(house, action)
    clock.forward(LEASE)
    house.gate.sweep()
    assert house.state(action) == "in_doubt"


def test_two_actions_never_share_a_downstream_key_and_a_revision_has_its_own(house: House) -> None:
    keys = {claim(house, allowed(house, args={"n": n})).key for n in range(3)}
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "amount_usd": "200.00"})
    house.answer(action, house.person("Bob"))
    edited = claim(house, action)
    assert len(keys) == 3
    assert edited.key == downstream_key("default", action, 2)
    assert edited.key != downstream_key("default", action, 1)


# --- outcomes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [DONE, FAILED, UNKNOWN])
def test_an_outcome_is_recorded_once(house: House, report: Report) -> None:
    action = allowed(house)
    claimed = claim(house, action)
    house.gate.settle(claimed, report)
    before = house.entries()
    house.gate.settle(claimed, report)
    assert house.state(action) == report.state.value
    assert house.entries() == before


def test_an_outcome_is_one_of_three() -> None:
    with pytest.raises(InvalidInput):
        Report(ActionState.APPROVED, "no")


def test_only_the_holder_of_the_claim_reports(house: House) -> None:
    action = allowed(house)
    claimed = claim(house, action)
    for forged in (replace(claimed, holder="somebody"), replace(claimed, epoch=2)):
        with pytest.raises(StaleClaim):
            house.gate.settle(forged, DONE)
    assert house.state(action) == "executing"


@pytest.mark.parametrize("report", [DONE, FAILED])
def test_a_late_report_settles_what_is_in_doubt(house: House, clock: ManualClock, report: Report) -> None:
    action = allowed(house)
    claimed = claim(house, action)
    clock.forward(LEASE)
    house.gate.sweep()
    house.gate.settle(claimed, report)
    assert house.state(action) == report.state.value
    assert json.loads(house.entries()[-1])["kind"] == "action.late_report"


def test_a_person_settles_what_is_in_doubt_and_a_conflicting_report_is_recorded(house: House) -> None:
    action, claimed = in_doubt(house)
    house.gate.reconcile(action, house.person("Ann").caller, ActionState.FAILED, "I looked at the bank")
    with pytest.raises(StaleClaim):
        house.gate.settle(claimed, DONE)
    assert house.state(action) == "failed"
    last = json.loads(house.entries()[-1])
    assert (last["kind"], last["applied"], last["settled"]) == ("action.late_report", False, "failed")


@pytest.mark.parametrize(
    ("outcome", "note", "error"),
    [
        (ActionState.SUCCEEDED, " ", InvalidInput),
        (ActionState.SUCCEEDED, "x" * 4001, InvalidInput),
        (ActionState.IN_DOUBT, "I looked", InvalidInput),
        (ActionState.APPROVED, "I looked", InvalidInput),
    ],
)
def test_a_reconciliation_names_an_outcome_and_how_it_was_found(
    house: House, outcome: ActionState, note: str, error: type[InterlockError]
) -> None:
    action, _ = in_doubt(house)
    with pytest.raises(error):
        house.gate.reconcile(action, house.person("Ann").caller, outcome, note)
    assert house.state(action) == "in_doubt"


def test_no_agent_reconciles(house: House) -> None:
    action, _ = in_doubt(house)
    with pytest.raises(Forbidden):
        house.gate.reconcile(action, agent(), ActionState.SUCCEEDED, "trust me")
    assert house.state(action) == "in_doubt"


def test_only_what_is_in_doubt_is_reconciled(house: House) -> None:
    ann = house.person("Ann").caller
    for action in (allowed(house), house.held()):
        with pytest.raises(Conflict):
            house.gate.reconcile(action, ann, ActionState.SUCCEEDED, "I looked")
    action, _ = in_doubt(house)
    house.gate.reconcile(action, ann, ActionState.SUCCEEDED, "I looked")
    with pytest.raises(Conflict):
        house.gate.reconcile(action, ann, ActionState.FAILED, "No, it did not")
    assert house.state(action) == "succeeded"


# --- deadlines --------------------------------------------------------------------------------------------


def test_a_request_nobody_answers_expires_and_is_not_rejected(house: House, clock: ManualClock) -> None:
    action = house.held()
    clock.forward(15 * 60 - 1)
    assert house.gate.sweep() == 0
    clock.forward(1)
    assert house.gate.sweep() == 1
    view = house.view(action)
    assert (view["state"], view["approval"]["state"]) == ("expired", "expired")
    assert house.gate.sweep() == 0


def test_a_lane_that_escalates_asks_the_default_owner_once_and_then_expires(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(POLICY.replace("on_timeout: deny", "on_timeout: escalate"), clock=clock)
    action = house.held()
    assert house.view(action)["approval"]["owner"] == "finance"
    clock.forward(15 * 60)
    assert house.gate.sweep() == 1
    view = house.view(action)
    assert (view["state"], view["approval"]["owner"]) == ("held", "ops-approvers")
    assert house.gate.sweep() == 0
    approval, shown = house.request(action)
    clock.forward(15 * 60 - 1)
    assert house.gate.sweep() == 0
    assert house.request(action) == (approval, shown), "escalation changes who is asked, not what is shown"
    clock.forward(1)
    assert house.gate.sweep() == 1
    assert house.state(action) == "expired"
    assert kinds(house).count("approval.escalated") == 1


def test_an_escalated_request_can_still_be_approved(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(POLICY.replace("on_timeout: deny", "on_timeout: escalate"), clock=clock)
    action = house.held()
    clock.forward(15 * 60)
    house.gate.sweep()
    house.answer(action, house.person("Ann"))
    assert claim(house, action).epoch == 1


def test_a_lane_that_escalates_to_its_own_owner_expires(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(
        POLICY.replace("on_timeout: deny", "on_timeout: escalate").replace(
            "owner: finance", "owner: ops-approvers"
        ),
        clock=clock,
    )
    action = house.held()
    clock.forward(15 * 60)
    house.gate.sweep()
    assert house.state(action) == "expired"


def test_silence_never_lets_tier_4_run(house: House, clock: ManualClock) -> None:
    action = house.propose("account.delete", {"account_id": "7"}).action
    assert action is not None
    for _ in range(20):
        clock.forward(24 * 3600)
        house.gate.sweep()
    assert house.state(action.id) == "expired"
