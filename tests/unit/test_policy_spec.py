"""The implementation says what the specification says, on random policies and random questions.

`tests/spec` is the meaning of a policy in plain Python. Where the two differ, one of them is wrong.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields, replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

import policies_at_random as at_random
from interlock.model.actions import Signals
from interlock.model.verdicts import Constraints, Decision, Handoff, Lane, OnTimeout, Trigger, Verdict
from interlock.policy import Question
from policies_at_random import Case, Json, build, cases
from spec.decide import Said, decide

LONG = os.environ.get("INTERLOCK_LONG") == "1"
pytestmark = pytest.mark.timeout(3_600 if LONG else 300)
COMPARED = settings(max_examples=10_000 if LONG else 300, deadline=None)
UNORDERED = ("matched", "overridden")


def of_verdict(verdict: Verdict) -> dict[str, Any]:
    """The verdict in the shape of the specification's answer."""
    found = {field.name: getattr(verdict, field.name) for field in fields(Said)}
    return found | {name: frozenset(found[name]) for name in UNORDERED}


def of_said(said: Said) -> dict[str, Any]:
    return {field.name: getattr(said, field.name) for field in fields(Said)}


@COMPARED
@given(cases())
def test_a_policy_means_what_the_specification_says(case: Case) -> None:
    for question in case.questions:
        assert of_verdict(case.policy.decide(question)) == of_said(decide(case.document, question)), question


@COMPARED
@given(cases(asked=2))
def test_a_stopped_action_is_denied_as_the_specification_says(case: Case) -> None:
    for question in case.questions:
        stopped = replace(question, stopped="ks_1")
        verdict = case.policy.decide(stopped)
        assert of_verdict(verdict) == of_said(decide(case.document, stopped)), stopped
        assert verdict.rule == "kill-switch:ks_1"


# --- what the comparison is worth ---------------------------------------------------------------------------


def test_the_random_questions_reach_every_kind_of_answer() -> None:
    seen: Counter[object] = Counter()
    for seed in range(400):
        r = Random(seed)
        policy = build(at_random.document(r))
        for _ in range(5):
            verdict = policy.decide(at_random.question(r))
            names = [name for name in (verdict.rule, *verdict.matched) if ":" in name]
            seen.update([verdict.observed, *verdict.triggers, verdict.handoff, *names, verdict.level])
            seen.update([("overridden", bool(verdict.overridden)), ("informed", bool(verdict.informed))])
            seen.update(("limit", name) for name in verdict.constraints.named)
            if verdict.observed is None:
                seen[verdict.decision] += 1
            if verdict.lane is not None:
                seen[verdict.lane.on_timeout] += 1
    expected = [
        *Decision,
        *Trigger,
        *Handoff,
        *OnTimeout,
        *(f"trigger:{trigger}" for trigger in Trigger),
        *("invariant:deploy", "invariant:money", "invariant:delete"),
        *(f"default:tier-{tier}" for tier in (1, 2, 3, 4)),
        *("default:uncatalogued", "floor:tier-4", "level:0", "level:1", "level:2", "level:3"),
        *(("overridden", True), ("informed", True)),
        *(("limit", "max_runtime_sec"), ("limit", "network_allowlist")),
    ]
    assert [kind for kind in expected if not seen[kind]] == []


# --- corners ------------------------------------------------------------------------------------------------
# Each is a policy in which an obvious reading of the rules would loosen something.

QUIET: Json = {"invariants": {"disabled": at_random.INVARIANTS}}
DOUBTFUL = Signals(confidence=Decimal("0.1"))


def both(document: Json, question: Question) -> Verdict:
    """The implementation's verdict, which is the specification's."""
    document = {"interlock": 1, **document}
    verdict = build(document).decide(question)
    assert of_verdict(verdict) == of_said(decide(document, question))
    return verdict


def allowing(*topics: str, **more: Any) -> Json:
    return {"id": "let", "match": {"topics": list(topics)}, "decision": "allow", **more}


@pytest.mark.parametrize("said", [None, Decimal("0.1"), Decimal(1)])
def test_doubt_that_may_raise_tier_2_to_3_does_not_make_it_reversible(said: Decimal | None) -> None:
    raised = [{"tier": 3, "when": "signals.confidence < 0.5"}]
    document = {"actions": {"a.b": {"tier": 2, "raise_to": raised}}, "rules": [allowing("a.b")], **QUIET}
    verdict = both(document, Question("a.b", {}, Signals(confidence=said)))
    assert verdict.decision is Decision.REQUIRE_APPROVAL
    assert Trigger.IRREVERSIBILITY in verdict.triggers


def test_a_level_that_perhaps_says_nothing_leaves_the_default_in_force() -> None:
    level = {"level_1": {"rules": [{"when": "args.n < 5", "decision": "allow"}]}}
    document = {"actions": {"a.b": {"tier": 3}}, "autonomy_levels": level, **QUIET}
    assert both(document, Question("a.b", {"n": 1})).decision is Decision.ALLOW
    assert both(document, Question("a.b", {"n": 9})).rule == "default:tier-3"
    assert both(document, Question("a.b", {})).decision is Decision.REQUIRE_APPROVAL


def test_asking_about_everything_opens_nothing_that_is_denied_by_default() -> None:
    sweep = {"id": "r", "match": {"topics": ["*"], "retry_count_above": 1}, "decision": "require_approval"}
    document = {"default_decision": "deny", "rules": [sweep]}
    assert both(document, Question("a.b", {}, Signals(retry_count=9))).rule == "default:uncatalogued"


def test_a_rule_set_aside_still_says_that_the_topic_is_known() -> None:
    asks = {"id": "ask", "when": "args.n > 1", "decision": "require_approval", "overrides": ["let"]}
    document = {"default_decision": "deny", "rules": [asks, allowing("a.b")]}
    for args in ({"n": 2}, {}):
        assert both(document, Question("a.b", args)).decision is Decision.REQUIRE_APPROVAL


def test_what_was_answered_before_changes_no_answer() -> None:
    asks = {"id": "ask", "match": {"topics": ["a.b"]}, "decision": "require_approval", "overrides": ["let"]}
    within = allowing("a.b", when="args.n > 1", constraints={"max_runtime_sec": 60})
    document = {"default_decision": "deny", "rules": [asks, within]}
    known, unknown = Question("a.b", {"n": 2}), Question("a.b", {})
    for question in (known, unknown, known, unknown):  # one policy, which remembers
        expected = Decision.REQUIRE_APPROVAL if question is known else Decision.DENY
        assert both(document, question).decision is expected


def test_an_amount_nobody_declared_does_not_talk_the_money_invariant_away() -> None:
    document = {"actions": {"a.pay": {"tier": 1, "risk_tags": ["money"]}}}
    assert both(document, Question("a.pay", {"amount_usd": "1.00"})).rule == "invariant:money"


def test_people_that_are_not_stated_are_not_nobody() -> None:
    entry = {"tier": 1, "args": {"to": {"type": "array", "optional": True}}, "roles": {"people": "to"}}
    many = {"id": "many", "match": {"affected_users_above": 1}, "decision": "deny"}
    document = {"actions": {"a.mail": entry}, "rules": [many]}
    for args in ({}, {"to": "everyone"}, {"to": ["x", "y"]}):
        assert both(document, Question("a.mail", args, Signals(affected_users=0))).decision is Decision.DENY
    assert both(document, Question("a.mail", {"to": ["x"]}, Signals(affected_users=0))).allowed
    garbled: Any = "x"
    assert not both(document, Question("a.mail", {"to": ["x"]}, Signals(affected_users=garbled))).allowed


def test_a_limit_does_not_go_with_the_input_that_would_have_proved_its_rule() -> None:
    within = allowing("a.b", when="args.n < 3", constraints={"max_runtime_sec": 60})
    document = {"actions": {"a.b": {"tier": 1}}, "rules": [within], **QUIET}
    for args in ({"n": 1}, {}):
        for signals in (Signals(), Signals(retry_count=9)):
            assert both(document, Question("a.b", args, signals)).constraints == Constraints(
                max_runtime_sec=60
            )
    assert both(document, Question("a.b", {})).decision is Decision.ALLOW_WITH_CONSTRAINTS
    assert both(document, Question("a.b", {"n": 5})).constraints == Constraints()


def test_doubt_that_may_raise_to_tier_4_sheds_no_limit_of_the_level() -> None:
    entry = {"tier": 3, "raise_to": [{"tier": 4, "when": "signals.confidence < 0.5"}]}
    limits = {"max_runtime_sec": 60}
    rule = {"match": {"topics": ["*"]}, "decision": "allow_with_constraints", "constraints": limits}
    document = {"actions": {"a.b": entry}, "autonomy_levels": {"level_2": {"rules": [rule]}}, **QUIET}
    assert both(document, Question("a.b", {}, Signals(confidence=Decimal(1)))).allowed
    held = both(document, Question("a.b", {}, DOUBTFUL))
    assert (held.rule, held.constraints) == ("default:tier-4", Constraints(max_runtime_sec=60))


@pytest.mark.parametrize("signals", [Signals(), Signals(retry_count=9), Signals(confidence=Decimal(1))])
def test_silence_says_nothing_for_a_trigger(signals: Signals) -> None:
    entry = {"tier": 2, "undo": "a.back", "undo_within": "5m"}
    lane = {"window": "10m", "on_timeout": "allow"}
    asks = {"id": "ask", "match": {"topics": ["a.b"]}, "decision": "require_approval", "lane": lane}
    verdict = both({"actions": {"a.b": entry}, "rules": [asks], **QUIET}, Question("a.b", {}, signals))
    assert verdict.lane is not None
    expected = OnTimeout.ALLOW if signals.retry_count == 0 else OnTimeout.ESCALATE
    assert verdict.lane.on_timeout is expected


@pytest.mark.parametrize("said", [None, Decimal("0.1"), Decimal(1)])
def test_doubt_does_not_hasten_a_silence_that_allows(said: Decimal | None) -> None:
    asks = {"match": {"topics": ["a.b"]}, "decision": "require_approval"}
    slow = {"id": "slow", **asks, "lane": {"window": "1h", "on_timeout": "allow"}}
    soon = {"id": "soon", **asks, "lane": {"window": "1s", "on_timeout": "allow"}}
    soon["match"] = {"topics": ["a.b"], "confidence_below": 0.5}
    document = {"actions": {"a.b": {"tier": 1}}, "rules": [slow, soon], **QUIET}
    verdict = both(document, Question("a.b", {}, Signals(confidence=said)))
    assert verdict.lane == Lane(3_600, OnTimeout.ALLOW)


def test_silence_says_nothing_for_a_level() -> None:
    lane = {"window": "10m", "on_timeout": "allow"}
    asks = {"id": "ask", "match": {"topics": ["a.b"]}, "decision": "require_approval", "lane": lane}
    document = {"actions": {"a.b": {"tier": 1}}, "rules": [asks], **QUIET}
    for decision, end in (("allow", OnTimeout.ALLOW), ("require_approval", OnTimeout.ESCALATE)):
        level = {"level_0": {"rules": [{"match": {"topics": ["*"]}, "decision": decision}]}}
        held = both({**document, "autonomy_levels": level}, Question("a.b", {}))
        assert held.lane is not None
        assert held.lane.on_timeout is end


def test_who_is_asked_does_not_depend_on_the_order_of_the_files() -> None:
    asks = {"match": {"topics": ["a.b"]}, "decision": "require_approval"}
    rules = [{"id": "one", "owner": "zoe", **asks}, {"id": "two", "owner": "abe", **asks}]
    for order in (rules, rules[::-1]):
        verdict = both({"rules": order}, Question("a.b", {}))
        assert (verdict.owner, verdict.informed) == ("abe", ("zoe",))
