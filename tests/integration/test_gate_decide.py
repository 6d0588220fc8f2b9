"""Decide: the answer names what was shown, and nobody answers their own request."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from house import BOTH, POLICY, REFUND, House, ManualClock, agent
from interlock.gate import Answer, HumanDecision, ReasonCode, Report
from interlock.identity import Caller, KeyKind, Person, Role
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import (
    AlreadyDecided,
    Changed,
    ClockJumped,
    ConstraintUnenforceable,
    ExcessDigits,
    Expired,
    Forbidden,
    InterlockError,
    InvalidInput,
    MissingField,
    NotClaimable,
    NotFound,
    SeparationOfDuties,
    Unauthenticated,
)
from interlock.model.questions import TOPIC

DATABASES = BOTH

SOLO = POLICY.replace("name: shop", "name: shop\npeople: solo")


def decided(house: House) -> list[dict[str, Any]]:
    return [e for e in map(json.loads, house.entries()) if e["kind"] == "approval.decided"]


def operated(house: House, operator: Person) -> Caller:
    _, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["pay.**"], person=operator, by="test")
    return house.home.keyring.authenticate(token)


# --- what was seen (P4) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("seen", ["0" * 64, "", "ü", "a" * 100_000])
def test_an_answer_to_anything_but_the_shown_hash_is_refused_and_leaves_nothing(
    house: House, answer: Answer, seen: str
) -> None:
    action = house.held()
    approval, shown = house.request(action)
    decision = HumanDecision(
        answer,
        seen,
        reason_code=ReasonCode.OTHER if answer is Answer.REJECT else None,
        args={**REFUND, "amount_usd": "1.00"} if answer is Answer.EDIT else None,
        response="Yes." if answer is Answer.RESPOND else None,
    )
    ann = house.person("Ann")
    before = house.entries()
    with pytest.raises(Changed) as caught:
        house.gate.decide(approval, ann.caller, decision)
    assert caught.value.extra["current"]["review_hash"] == shown
    assert (house.entries(), house.state(action)) == (before, "held")


def test_a_hash_of_another_request_is_refused(house: House) -> None:
    one, two = house.held(), house.held(args={**REFUND, "order_id": "B"})
    _, shown = house.request(one)
    approval, _ = house.request(two)
    with pytest.raises(Changed):
        house.gate.decide(approval, house.person("Ann").caller, HumanDecision(Answer.APPROVE, shown))


def test_an_answer_to_what_was_edited_meanwhile_is_refused_with_the_difference(house: House) -> None:
    action = house.held()
    stale = house.request(action)
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "recipient": "other"})
    with pytest.raises(Changed) as caught:
        house.gate.decide(stale[0], house.person("Bob").caller, HumanDecision(Answer.APPROVE, stale[1]))
    assert caught.value.extra["difference"] == [{"field": "recipient", "before": "acme", "after": "other"}]
    assert caught.value.extra["current"]["review_hash"] == house.request(action)[1]
    assert house.state(action) == "held"


def test_after_several_edits_the_refusal_points_at_what_is_pending_now(house: House) -> None:
    action = house.held()
    stale = house.request(action)
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "recipient": "x"})
    house.answer(action, house.person("Bob"), Answer.EDIT, args={**REFUND, "recipient": "y"})
    with pytest.raises(Changed) as caught:
        house.gate.decide(stale[0], house.person("Cyd").caller, HumanDecision(Answer.APPROVE, stale[1]))
    assert caught.value.extra["current"]["state"] == "held"
    assert caught.value.extra["current"]["approval"] == house.request(action)[0]
    assert caught.value.extra["difference"] == [{"field": "recipient", "before": "acme", "after": "y"}]


def test_a_request_that_does_not_exist_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        house.gate.decide("apr_0", house.person("Ann").caller, HumanDecision(Answer.APPROVE, "0"))


# --- once, and in time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [Answer.APPROVE, Answer.REJECT])
@pytest.mark.parametrize("second", list(Answer))
def test_a_second_answer_is_refused(house: House, first: Answer, second: Answer) -> None:
    action = house.held()
    approval, shown = house.request(action)
    house.answer(action, house.person("Ann"), first)
    state = house.state(action)
    decision = HumanDecision(
        second,
        shown,
        reason_code=ReasonCode.OTHER if second is Answer.REJECT else None,
        args={**REFUND, "amount_usd": "1.00"} if second is Answer.EDIT else None,
        response="Yes." if second is Answer.RESPOND else None,
    )
    with pytest.raises(AlreadyDecided):
        house.gate.decide(approval, house.person("Bob").caller, decision)
    assert house.state(action) == state
    assert len(decided(house)) == 1


def test_of_sixteen_people_who_answer_at_once_one_is_heard(house: House) -> None:
    action = house.held()
    approval, shown = house.request(action)
    crowd = [house.person(f"P{n}") for n in range(16)]

    def press(who: int) -> str:
        answer = Answer.APPROVE if who % 2 else Answer.REJECT
        code = None if who % 2 else ReasonCode.OTHER
        try:
            house.gate.decide(approval, crowd[who].caller, HumanDecision(answer, shown, reason_code=code))
        except AlreadyDecided:
            return "late"
        return answer.value

    with ThreadPoolExecutor(16) as pool:
        heard = [h for h in pool.map(press, range(16)) if h != "late"]
    assert len(heard) == 1
    assert house.state(action) == {"approve": "approved", "reject": "rejected"}[heard[0]]


@pytest.mark.parametrize("answer", [Answer.APPROVE, Answer.REJECT])
def test_an_answer_after_the_deadline_expires_the_request_and_is_not_a_rejection(
    house: House, clock: ManualClock, answer: Answer
) -> None:
    action, ann = house.held(), house.person("Ann")
    clock.forward(15 * 60)
    with pytest.raises(Expired):
        house.answer(action, ann, answer)
    assert house.state(action) == "expired"
    with pytest.raises(Expired):
        house.answer(action, ann, answer)
    assert decided(house) == []


def test_an_answer_in_the_last_moment_counts(house: House, clock: ManualClock) -> None:
    action, ann = house.held(), house.person("Ann")
    clock.forward(15 * 60 - 0.001)
    house.answer(action, ann)
    assert house.state(action) == "approved"


def test_a_clock_that_jumped_expires_nothing_through_a_decision(house: House, clock: ManualClock) -> None:
    action, ann = house.held(), house.person("Ann")
    approval, shown = house.request(action)
    clock.forward(365 * 24 * 3600)
    clock.jumped = True
    with pytest.raises(ClockJumped):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))
    assert house.state(action) == "held"


# --- who --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyKind.AGENT, KeyKind.ADAPTER, KeyKind.EXECUTOR])
@pytest.mark.parametrize("answer", list(Answer))
def test_a_key_that_is_not_a_persons_decides_nothing(house: House, kind: KeyKind, answer: Answer) -> None:
    action = house.held()
    approval, shown = house.request(action)
    _, token = house.home.keyring.add(kind, "support", topics=["pay.**"], by="test")
    decision = HumanDecision(
        answer,
        shown,
        reason_code=ReasonCode.OTHER if answer is Answer.REJECT else None,
        args={**REFUND, "amount_usd": "1.00"} if answer is Answer.EDIT else None,
        response="Yes." if answer is Answer.RESPOND else None,
    )
    with pytest.raises(Forbidden):
        house.gate.decide(approval, house.home.keyring.authenticate(token), decision)
    assert house.state(action) == "held"


@pytest.mark.parametrize("role", [Role.POLICY_ADMIN, Role.AUDITOR])
def test_a_person_without_a_reviewing_role_decides_nothing(house: House, role: Role) -> None:
    action = house.held()
    with pytest.raises(Forbidden):
        house.answer(action, house.person("Ann", role))
    assert house.state(action) == "held"


def test_the_operator_of_the_agent_does_not_approve_what_it_asks(house: House) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held(caller=operated(house, ann))
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)
    house.answer(action, bob)
    assert house.state(action) == "approved"


def test_the_operator_may_still_reject(house: House) -> None:
    ann = house.person("Ann")
    action = house.held(caller=operated(house, ann))
    house.answer(action, ann, Answer.REJECT)
    assert house.state(action) == "rejected"


def test_the_operator_of_a_revoked_key_still_does_not_approve(house: House) -> None:
    ann = house.person("Ann")
    action = house.held(caller=operated(house, ann))
    (key,) = house.home.keyring.all()
    house.home.keyring.revoke(key.id, by="test")
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_the_principal_does_not_approve(house: House) -> None:
    ann = house.person("Ann")
    action = house.held(principal=ann.id)
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_the_requester_cannot_escape_separation_of_duties_by_editing(house: House) -> None:
    ann = house.person("Ann")
    action = house.held(caller=operated(house, ann))
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "400.00"})
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_an_editor_alone_does_not_approve_a_wider_edit(house: House) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "Ann"})
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)
    assert house.state(action) == "held"
    house.answer(action, bob)
    assert house.state(action) == "approved"


@pytest.mark.parametrize(
    "args",
    [
        {**REFUND, "amount_usd": "500.01"},
        {**REFUND, "amount_usd": "1.00", "recipient": "Ann"},
        {**REFUND, "order_id": "B-1"},
    ],
)
def test_only_an_amount_that_came_down_is_provably_tighter(house: House, args: dict[str, str]) -> None:
    ann = house.person("Ann")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args=args)
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_an_editor_may_approve_an_amount_that_only_came_down(house: House) -> None:
    ann, _ = house.person("Ann"), house.person("Bob")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "120.00"})
    house.answer(action, ann)
    assert house.state(action) == "approved"
    edited, approved = decided(house)
    assert "tightened" not in edited
    assert approved["tightened"] is True  # without it, a verifier takes it for a self-approval


def test_an_approval_by_somebody_who_edited_nothing_says_nothing_of_tightening(house: House) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "120.00"})
    house.answer(action, bob)
    assert "tightened" not in decided(house)[-1]


@pytest.mark.parametrize("what", ["decide", "revoke", "reconcile"])
def test_somebody_who_was_removed_since_they_signed_in_does_nothing_any_more(house: House, what: str) -> None:
    """Their caller was recognised a moment before they were removed, as in a request under way."""
    ann, _ = house.person("Ann"), house.person("Bob")
    action = house.held()
    if what != "decide":
        house.answer(action, ann)
    if what == "reconcile":
        claim = house.gate.claim(action, ExecutorKind.CALLER)
        house.gate.settle(claim, Report(ActionState.IN_DOUBT, "It went away."))
    before = house.state(action)
    house.home.roster.remove("Ann", by="test")
    attempts: dict[str, Callable[[], object]] = {
        "decide": lambda: house.answer(action, ann),
        "revoke": lambda: house.gate.revoke(action, ann.caller),
        "reconcile": lambda: house.gate.reconcile(action, ann.caller, ActionState.FAILED, "I looked."),
    }
    with pytest.raises(Unauthenticated):
        attempts[what]()
    assert house.state(action) == before


def test_two_edits_by_one_person_are_judged_by_what_the_agent_asked(house: House) -> None:
    ann = house.person("Ann")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "900.00"})
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "899.00"})
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_an_edit_in_between_does_not_launder_an_earlier_one(house: House) -> None:
    """Ann names the recipient, Bob trims a cent; Ann would approve her own recipient."""
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "Ann"})
    house.answer(action, bob, Answer.EDIT, args={**REFUND, "recipient": "Ann", "amount_usd": "499.99"})
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "Ann", "amount_usd": "499.98"})
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)
    assert house.state(action) == "held"


# --- solo -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", list(Answer))
def test_a_decision_by_the_only_person_says_solo(open_house: Callable[..., House], answer: Answer) -> None:
    house = open_house(SOLO)
    ann = house.person("Ann")
    asked = {"topic": TOPIC, "args": {"question": "Which one?"}} if answer is Answer.RESPOND else {}
    action = house.held(caller=operated(house, ann), **asked)
    args = {**REFUND, "recipient": "x"} if answer is Answer.EDIT else None
    response = "The first." if answer is Answer.RESPOND else None
    house.answer(action, ann, answer, args=args, response=response)
    assert decided(house)[-1]["solo"] is True


def test_a_second_person_ends_solo(open_house: Callable[..., House]) -> None:
    house = open_house(SOLO)
    ann = house.person("Ann")
    action = house.held(caller=operated(house, ann))
    house.person("Bob")
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_solo_needs_the_policy_to_say_so(house: House) -> None:
    ann = house.person("Ann")
    action = house.held(caller=operated(house, ann))
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ann)


def test_solo_is_never_an_agents(open_house: Callable[..., House]) -> None:
    house = open_house(SOLO)
    ann = house.person("Ann")
    action = house.held()
    approval, shown = house.request(action)
    with pytest.raises(Forbidden):
        house.gate.decide(approval, operated(house, ann), HumanDecision(Answer.APPROVE, shown))


# --- reject and edit --------------------------------------------------------------------------------------


def test_a_rejection_names_its_reason() -> None:
    with pytest.raises(MissingField):
        HumanDecision(Answer.REJECT, "0")


def test_an_edit_and_only_an_edit_carries_arguments() -> None:
    with pytest.raises(InvalidInput):
        HumanDecision(Answer.EDIT, "0")
    with pytest.raises(InvalidInput):
        HumanDecision(Answer.APPROVE, "0", args=REFUND)


def test_a_rejected_action_never_runs_even_if_the_policy_loosens_later(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.REJECT, note="not ours")
    house.activate(POLICY.replace("< 100", "< 10000"))
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)
    view = house.view(action)
    assert (view["state"], view["rejection"]) == ("rejected", {"reason_code": "other", "note": "not ours"})


def test_the_agent_reads_what_people_changed_since_it_proposed(house: House) -> None:
    ann = house.person("Ann")
    action = house.held()
    assert "edited" not in house.view(action), "nobody has"
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "900.00", "recipient": "other"})
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "400.00"})
    assert house.view(action)["edited"] == [{"field": "amount_usd", "before": "500.00", "after": "400.00"}]
    house.answer(action, ann, Answer.EDIT, args=REFUND)
    assert house.view(action)["edited"] == [], "back to what it was"


def test_an_edit_makes_a_new_revision_with_its_own_hashes_and_keeps_the_old(house: House) -> None:
    action = house.held()
    before = house.view(action)
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "amount_usd": "300"})
    after = house.view(action)
    assert (after["id"], after["revision"], after["state"]) == (action, 2, "held")
    assert after["args"]["amount_usd"] == "300.00"
    assert after["action_hash"] != before["action_hash"]
    assert after["approval"]["id"] != before["approval"]["id"]
    assert house.sql("SELECT state FROM actions WHERE revision = 1") == [("superseded",)]


def test_what_runs_after_an_edit_is_what_the_edit_says(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "recipient": "b"})
    house.answer(action, house.person("Bob"))
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    assert (claim.revision, claim.binding.args["recipient"]) == (2, "b")
    assert claim.binding.canonical().count(b'"recipient":"b"') == 1


def test_an_edit_never_runs_without_a_person_even_where_the_policy_would_allow_it(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "amount_usd": "5.00"})
    assert house.state(action) == "held"
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)


def test_an_edit_that_the_policy_denies_is_denied(open_house: Callable[..., House]) -> None:
    house = open_house(
        POLICY
        + "  - {id: cap, match: {topics: [pay.refund]}, when: args.amount_usd > 1000, decision: deny}\n"
    )
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "amount_usd": "2000"})
    assert house.state(action) == "denied"
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (REFUND, InvalidInput),
        ({**REFUND, "amount_usd": 500}, InvalidInput),
        ({**REFUND, "amount_usd": "1.001"}, ExcessDigits),
        ({**REFUND, "x": 1}, InvalidInput),
        ({}, MissingField),
    ],
)
def test_an_edit_that_changes_nothing_or_does_not_fit_is_refused_and_leaves_nothing(
    house: House, args: dict[str, Any], error: type[InterlockError]
) -> None:
    action, ann = house.held(), house.person("Ann")
    before = house.entries()
    with pytest.raises(error):
        house.answer(action, ann, Answer.EDIT, args=args)
    assert (house.entries(), house.state(action)) == (before, "held")
    assert house.sql("SELECT count(*) FROM decisions") == [(0,)]


def test_an_edit_into_what_cannot_be_enforced_is_refused_whole(open_house: Callable[..., House]) -> None:
    house = open_house(
        POLICY
        + "  - {id: slow, match: {topics: [pay.refund]}, when: args.amount_usd > 1000,"
        + " decision: require_approval, constraints: {network_allowlist: [api.example.com]}}\n"
    )
    action, ann = house.held(), house.person("Ann")
    before = house.entries()
    with pytest.raises(ConstraintUnenforceable):
        house.answer(action, ann, Answer.EDIT, args={**REFUND, "amount_usd": "2000"})
    assert (house.entries(), house.state(action)) == (before, "held")
    assert house.sql("SELECT count(*) FROM decisions") == [(0,)]
    assert house.sql("SELECT count(*) FROM actions") == [(1,)]


# --- withdraw and revoke ----------------------------------------------------------------------------------


def test_only_the_agent_that_proposed_withdraws(house: House) -> None:
    action = house.held()
    with pytest.raises(InterlockError):
        house.gate.withdraw(action, agent("other"))
    with pytest.raises(InterlockError):
        house.gate.withdraw(action, house.person("Ann").caller)
    assert house.state(action) == "held"
    house.gate.withdraw(action, agent())
    assert house.state(action) == "withdrawn"
    with pytest.raises(AlreadyDecided):
        house.answer(action, house.person("Bob"))


def test_what_was_revoked_does_not_run(house: House) -> None:
    action, ann = house.held(), house.person("Ann")
    house.answer(action, ann)
    with pytest.raises(Forbidden):
        house.gate.revoke(action, agent())
    house.gate.revoke(action, ann.caller)
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)
    assert house.state(action) == "revoked"


def test_what_runs_can_be_neither_withdrawn_nor_revoked(house: House) -> None:
    action, ann = house.held(), house.person("Ann")
    house.answer(action, ann)
    house.gate.claim(action, ExecutorKind.CALLER)
    for act in (
        lambda: house.gate.withdraw(action, agent()),
        lambda: house.gate.revoke(action, ann.caller),
    ):
        with pytest.raises(InterlockError):
            act()
    assert house.state(action) == "executing"
