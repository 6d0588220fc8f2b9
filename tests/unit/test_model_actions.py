"""The state machine and the verdict: invalid states cannot be written down."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from interlock.model.actions import ActionState, Signals
from interlock.model.text import lookalikes, visible
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints, Decision, Lane, OnTimeout, Tier, Verdict

S = ActionState
FINAL = {
    S.DENIED,
    S.SUCCEEDED,
    S.FAILED,
    S.REJECTED,
    S.ANSWERED,
    S.SUPERSEDED,
    S.EXPIRED,
    S.WITHDRAWN,
    S.REVOKED,
    S.ROLLED_BACK,
}
VERDICT = Verdict(Decision.ALLOW, "r", Tier.REVERSIBLE, (), NO_CONSTRAINTS, "ops", None, "why", "v1:a")


def test_what_has_ended_stays_ended() -> None:
    assert {state for state in S if not state.open} == FINAL


def test_only_what_was_allowed_or_approved_executes() -> None:
    assert {state for state in S if S.EXECUTING in state.successors} == {S.ALLOWED, S.APPROVED}


def test_only_a_held_action_is_approved_rejected_or_edited() -> None:
    for decided in (S.APPROVED, S.REJECTED, S.SUPERSEDED):
        assert {state for state in S if decided in state.successors} == {S.HELD}


def test_an_outcome_follows_a_claim_or_a_doubt_and_nothing_else() -> None:
    for outcome in (S.SUCCEEDED, S.FAILED):
        assert {state for state in S if outcome in state.successors} == {S.EXECUTING, S.IN_DOUBT}
    assert {state for state in S if S.IN_DOUBT in state.successors} == {S.EXECUTING}


def test_what_executes_can_no_longer_be_taken_back() -> None:
    for taken_back in (S.EXPIRED, S.WITHDRAWN, S.REVOKED, S.STALE):
        assert taken_back not in S.EXECUTING.successors
        assert taken_back not in S.IN_DOUBT.successors


def test_only_what_succeeded_is_rolled_back_and_then_it_stays_so() -> None:
    assert {state for state in S if S.ROLLED_BACK in state.successors} == {S.SUCCEEDED}
    assert S.SUCCEEDED.successors == {S.ROLLED_BACK}
    assert S.ROLLED_BACK.successors == frozenset()


def test_what_is_stale_is_denied_or_held_and_never_released() -> None:
    assert S.STALE.successors == {S.DENIED, S.HELD}


@pytest.mark.parametrize("decision", [Decision.ALLOW, Decision.ALLOW_WITH_CONSTRAINTS])
def test_a_tier_4_verdict_that_permits_cannot_exist(decision: Decision) -> None:
    with pytest.raises(ValueError):
        replace(VERDICT, decision=decision, tier=Tier.IRREVERSIBLE)


def test_a_verdict_has_a_lane_if_and_only_if_it_holds() -> None:
    lane = Lane(60, OnTimeout.DENY)
    with pytest.raises(ValueError):
        replace(VERDICT, lane=lane)
    with pytest.raises(ValueError):
        replace(VERDICT, decision=Decision.REQUIRE_APPROVAL)
    assert replace(VERDICT, decision=Decision.REQUIRE_APPROVAL, lane=lane).held


def test_a_verdict_always_names_an_owner() -> None:
    with pytest.raises(ValueError):
        replace(VERDICT, owner="")


def test_tighter_means_stricter_decision_higher_tier_or_narrower_constraints() -> None:
    ten = replace(VERDICT, constraints=Constraints(max_amount_usd=Decimal(10)))
    five = replace(VERDICT, constraints=Constraints(max_amount_usd=Decimal(5)))
    assert ten.tighter_than(VERDICT)
    assert five.tighter_than(ten)
    assert not ten.tighter_than(five)
    assert replace(VERDICT, tier=Tier.EXTERNAL).tighter_than(VERDICT)
    assert replace(VERDICT, decision=Decision.DENY).tighter_than(VERDICT)
    assert not VERDICT.tighter_than(VERDICT)
    nowhere = replace(VERDICT, constraints=Constraints(network_allowlist=()))
    assert nowhere.tighter_than(replace(VERDICT, constraints=Constraints(network_allowlist=("a",))))


def test_signals_read_back_are_the_same_signals() -> None:
    signals = Signals(Decimal("0.70"), 3, Decimal("0.25"), None, True)
    assert Signals.from_json(signals.to_json()) == signals


@pytest.mark.parametrize(
    "hidden",
    ["\u202e", "\u200b", "\u2066", "\x00", "\x1b", "\u00ad", "\ufeff", "\U000e0041", "\ufe0f", "\U000e0161"],
)
def test_a_reviewer_sees_that_something_invisible_was_there(hidden: str) -> None:
    shown = visible(f"pay{hidden}pal")
    assert hidden not in shown
    assert f"⟨U+{ord(hidden):04X}⟩" in shown


def test_a_cut_says_that_it_cut() -> None:
    assert visible("x" * 11, 10) == "x" * 10 + "… (1 more characters)"


def test_letters_that_imitate_latin_inside_a_latin_word_are_reported() -> None:
    assert lookalikes("send to pаypal") == ["CYRILLIC SMALL LETTER A"]
    assert lookalikes("Привет Zoë") == []
