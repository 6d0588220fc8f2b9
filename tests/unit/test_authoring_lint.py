"""Lint: each piece of advice where it applies, and nowhere else; and what it calls idle is idle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

import policies_at_random as at_random
from interlock.authoring import Advice, lint, places_of, read_cases, run_cases
from interlock.authoring.claims import Claims
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import parse

ACTIONS = """
  pay.refund:
    tier: 3
    risk_tags: [money, write]
    args: {n: integer, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    summary: Refund {args.n}
    worst_case: Gone
    execute: {http: {method: POST, url: "https://pay.example/refunds"}}
  pay.read: {tier: 1, args: {n: integer}, summary: Read}
  ops.wipe: {tier: 4, args: {n: integer}, summary: Wipe, worst_case: Gone}
"""
ASKS = """\
  - id: ask
    match: {topics: ['*.*']}
    when: tier >= 3
    decision: require_approval
    owner: ops
    lane: {window: 1h, on_timeout: deny}
"""


def policy_text(rules: str, *, actions: str = ACTIONS, rest: str = "") -> str:
    catalogue = f"actions:{actions}" if actions else ""
    return f"interlock: 1\n{rest}\n{catalogue}\nrules:\n{rules}"


def found(rules: str, **how: Any) -> list[Advice]:
    text = policy_text(rules, **how)
    return [
        advice
        for advice in lint(parse({"p.yaml": text}), places=places_of({"p.yaml": text}))
        if advice.id != "no-tests"
    ]


def said(rules: str, *ids: str, **how: Any) -> list[tuple[str, str, str | None]]:
    """Severity, sentence and rule of the advice with these ids."""
    return [(a.severity, a.sentence, a.rule) for a in found(rules, **how) if a.id in ids]


def refunds(id: str, when: str, decision: str = "allow", more: str = "") -> str:
    return f"  - {{id: {id}, match: {{topics: [pay.refund]}}, when: {when!r}, decision: {decision}{more}}}\n"


def test_a_sound_policy_gets_no_warning() -> None:
    assert [a for a in found(refunds("small", "args.n < 50") + ASKS) if a.severity == "warning"] == []


# --- rules that can never count ---------------------------------------------------------------------------


def test_a_rule_that_contradicts_itself_never_counts_and_a_restrictive_one_only_on_the_unknown() -> None:
    rules = refunds("a", "args.n < 1 && args.n > 2") + refunds("b", "args.n < 1 && args.n > 2", "deny")
    assert said(rules, "impossible") == [
        ("warning", "No value of args.n satisfies all conditions of rule a: it never counts.", "a"),
        (
            "warning",
            "No value of args.n satisfies all conditions of rule b: it counts only where args.n is unknown.",
            "b",
        ),
    ]


def test_a_contradiction_under_limits_permits_nothing_but_limits_what_is_unknown() -> None:
    limits = ", constraints: {max_runtime_sec: 5}"
    rule = refunds("a", "args.n < 1 && args.n > 2", "allow_with_constraints", limits)
    (_, sentence, _) = said(rule, "impossible")[0]
    assert sentence.endswith("it permits nothing, and its limits hold where args.n is unknown.")


def test_a_rule_that_asks_for_tags_its_topics_do_not_carry_never_counts() -> None:
    rule = "  - {id: a, match: {topics: [pay.read], risk_tags: [money]}, decision: deny}\n"
    assert [rule_id for _, _, rule_id in said(rule, "impossible")] == ["a"]


def test_a_rule_that_permits_by_sweeping_over_nothing_catalogued_never_counts() -> None:
    rule = "  - {id: a, match: {topics: [notes.**]}, when: args.n < 3, decision: allow}\n"
    assert [rule_id for _, _, rule_id in said(rule, "impossible")] == ["a"]
    assert said(rule.replace("allow", "deny"), "impossible") == []
    assert said(rule.replace("notes.**", "notes.add"), "impossible") == []


def test_an_allow_that_a_stricter_rule_always_overrules() -> None:
    rules = refunds("a", "args.n < 5") + refunds("b", "args.n < 10", "deny")
    assert said(rules, "overruled") == [
        ("warning", "Rule a never decides: whenever it counts, rule b says deny.", "a")
    ]
    assert said(refunds("a", "args.n < 10") + refunds("b", "args.n < 5", "deny"), "overruled") == []


def test_what_overrides_or_is_set_aside_is_never_called_overruled() -> None:
    rules = refunds("a", "args.n < 5", more=", overrides: [b]") + refunds("b", "args.n < 10", "deny")
    assert said(rules, "overruled", "redundant", "duplicate") == []


def test_limits_hold_for_what_is_approved_so_a_rule_with_limits_is_not_overruled_by_one_that_asks() -> None:
    limits = ", constraints: {max_runtime_sec: 5}"
    for decision, idle in (("require_approval", []), ("deny", ["a"])):
        rules = refunds("a", "args.n < 5", "allow_with_constraints", limits)
        rules += refunds("b", "args.n < 10", decision)
        assert [rule for _, _, rule in said(rules, "overruled")] == idle


def test_a_rule_that_permits_stands_in_for_a_default_that_denies() -> None:
    rules = (
        "  - {id: a, match: {topics: [notes.add]}, decision: allow}\n"
        "  - {id: b, match: {topics: [notes.*]}, decision: require_approval}\n"
    )
    assert [rule for _, _, rule in said(rules, "overruled")] == ["a"]
    assert said(rules, "overruled", rest="default_decision: deny") == []


def test_the_same_rule_twice_is_a_warning_and_a_narrower_one_a_note() -> None:
    twice = refunds("a", "args.n < 5") + refunds("b", "!(args.n >= 5)")
    assert said(twice, "duplicate", "redundant") == [
        ("warning", "Rule b says nothing that rule a does not say.", "b")
    ]
    narrower = refunds("a", "args.n < 5") + refunds("b", "args.n < 10")
    assert said(narrower, "duplicate", "redundant") == [
        ("note", "Rule a says nothing that rule b does not say.", "a")
    ]


def test_a_narrower_rule_with_an_owner_of_its_own_says_something() -> None:
    rules = refunds("a", "args.n < 5", "require_approval", ", owner: cfo") + refunds(
        "b", "args.n < 10", "require_approval"
    )
    assert said(rules, "duplicate", "redundant", "overruled") == []


def test_an_unreachable_rule_of_a_level() -> None:
    levels = (
        "autonomy_levels: {level_1: {rules: ["
        "{match: {topics: ['pay.*']}, when: args.n < 10, decision: allow}, "
        "{match: {topics: [pay.refund]}, when: args.n < 5, decision: deny}, "
        "{match: {topics: [pay.refund]}, when: args.n < 5 && args.n > 6, decision: deny}]}}"
    )
    assert [s for _, s, _ in said(ASKS, "unreachable", "impossible", rest=levels)] == [
        "Rule 2 of level_1 is never reached: rule 1 matches whatever it matches.",
        "No value of args.n satisfies all conditions of rule 3 of level_1.",
        "Rule 3 of level_1 is never reached: rule 1 matches whatever it matches.",
    ]


@settings(max_examples=100, deadline=None)
@given(at_random.cases(asked=15, modes=("enforce",)))
def test_removing_what_lint_calls_idle_changes_no_answer(case: at_random.Case) -> None:
    idle = [a for a in lint(case.policy) if a.id in ("overruled", "redundant", "duplicate") and a.rule]
    idle += [a for a in lint(case.policy) if a.id == "impossible" and a.rule and "never counts" in a.sentence]
    for advice in idle:
        without = at_random.build(_without(case.document, str(advice.rule)))
        for question in (replace(asked, tier=None) for asked in case.questions):
            assert _felt(without.decide(question)) == _felt(case.policy.decide(question)), advice


def _without(document: at_random.Json, rule: str) -> at_random.Json:
    kept = []
    for each in document["rules"]:
        overrides = [other for other in each.get("overrides", ()) if other != rule]
        left = {key: value for key, value in each.items() if key != "overrides"}
        if each["id"] != rule:
            kept.append({**left, "overrides": overrides} if overrides else left)
    return {**document, "rules": kept}


def _felt(verdict: Verdict) -> tuple[Any, ...]:
    if verdict.decision is Decision.DENY:
        return verdict.decision, verdict.tier
    return verdict.decision, verdict.tier, verdict.constraints, verdict.owner, verdict.informed, verdict.lane


# --- patterns and neighbours ------------------------------------------------------------------------------


def test_a_bare_sweep_that_permits_is_a_warning() -> None:
    rule = "  - {id: a, match: {topics: [pay.**]}, decision: allow}\n"
    assert [severity for severity, _, _ in said(rule, "bare-sweep")] == ["warning"]
    assert said(rule.replace("allow", "deny"), "bare-sweep") == []
    assert said(rule.replace("pay.**", "pay.*"), "bare-sweep") == []
    narrowed = "  - {id: a, match: {topics: [pay.**]}, when: args.n < 3, decision: allow}\n"
    assert said(narrowed, "bare-sweep") == []


def test_a_pattern_that_matches_nothing_catalogued_is_said_with_what_was_probably_meant() -> None:
    rules = "  - {id: a, match: {topics: [pay.refnd, warehouse.ship]}, decision: deny}\n"
    assert said(rules, "unmatched") == [
        ("warning", "Nothing catalogued matches pay.refnd of rule a; did you mean pay.refund?", "a"),
        ("note", "Nothing catalogued matches warehouse.ship of rule a.", "a"),
    ]
    assert said(rules, "unmatched", actions="") == []


def test_rules_that_are_asked_about_every_action_are_counted() -> None:
    rules = (
        "  - {id: a, match: {retry_count_above: 2}, decision: deny}\n"
        "  - {id: b, match: {topics: ['*']}, when: args.n > 5, decision: deny}\n"
        "  - {id: c, match: {topics: [pay.*]}, decision: require_approval}\n"
    )
    assert said(rules, "unindexed") == [("note", "2 rules are evaluated for every action: a, b.", None)]


def test_rules_that_meet_with_different_owners_are_counted_by_owners() -> None:
    ask = "require_approval"
    rules = (
        refunds("a", "args.n < 5", ask, ", owner: legal")
        + refunds("b", "args.n > 3", ask, ", owner: security-approvers")
        + refunds("c", "args.n < 9", ask, ", owner: security-approvers")
        + refunds("d", "args.n > 10", ask, ", owner: finance-approvers")
    )
    assert [sentence for _, sentence, _ in said(rules, "two-owners")] == [
        "Rules that ask security-approvers and rules that ask legal can meet, as a and b do: "
        "security-approvers is asked, legal is informed.",
        "Rules that ask security-approvers and rules that ask finance-approvers can meet, as b and d do: "
        "security-approvers is asked, finance-approvers is informed.",
    ]


def test_an_override_of_a_rule_that_is_never_met() -> None:
    rules = refunds("a", "args.n < 5", more=", overrides: [b]")
    rules += "  - {id: b, match: {topics: [pay.read]}, decision: deny}\n"
    assert [rule for _, _, rule in said(rules, "override-idle")] == ["a"]


def test_limits_that_nothing_enforces() -> None:
    rules = (
        "  - {id: a, match: {topics: [ops.wipe]}, decision: require_approval, "
        "constraints: {max_runtime_sec: 5}}\n"
        "  - {id: b, match: {topics: [pay.refund]}, decision: require_approval, "
        "constraints: {max_runtime_sec: 5, max_amount_usd: 5}}\n"
    )
    assert [rule for _, _, rule in said(rules, "unenforced")] == ["a"]


def test_conditions_that_let_pass_what_the_rule_s_own_limit_refuses() -> None:
    def limited(when: str, limit: str, decision: str = "allow_with_constraints") -> str:
        return refunds("a", when, decision, f", constraints: {{max_amount_usd: {limit}}}")

    assert [r for _, _, r in said(limited("args.amount_usd <= 40", "25"), "limit-below-condition")] == ["a"]
    assert [r for _, _, r in said(limited("args.amount_usd > 25", "25"), "limit-below-condition")] == ["a"]
    assert said(limited("args.amount_usd <= 25", "25"), "limit-below-condition") == []
    assert said(limited("args.n < 3", "25"), "limit-below-condition") == []  # the limit is what limits


def test_limits_of_a_rule_on_facts_spread_to_whatever_else_runs() -> None:
    limits = ", constraints: {max_runtime_sec: 5}"
    facts = "facts: {prior: integer}"
    rule = refunds("a", "facts.prior < 3", "allow_with_constraints", limits)
    assert [r for _, _, r in said(rule, "spread-limits", rest=facts)] == ["a"]
    assert said(rule.replace("allow_with_constraints", "require_approval"), "spread-limits", rest=facts) == []


def test_an_undo_that_waits_for_a_person_itself() -> None:
    actions = """
  a.move: {tier: 2, undo: a.back, undo_within: 5m}
  a.back: {tier: 3}
"""
    permit = "  - {id: p, match: {topics: [a.back]}, when: args.n > 1, decision: allow}\n"
    asks = "  - {id: q, match: {topics: [a.*]}, decision: require_approval}\n"
    assert [a.topic for a in found(ASKS, actions=actions) if a.id == "slow-undo"] == ["a.move"]
    assert [a.topic for a in found(permit, actions=actions) if a.id == "slow-undo"] == []
    assert [a.topic for a in found(permit + asks, actions=actions) if a.id == "slow-undo"] == ["a.move"]


# --- the catalogue ----------------------------------------------------------------------------------------


def test_topics_of_tier_3_and_4_need_an_owner_and_a_time() -> None:
    topics = [
        (a.id, a.topic) for a in found(refunds("small", "args.n < 50")) if a.id in ("no-owner", "no-lane")
    ]
    assert topics == [
        ("no-owner", "pay.refund"),
        ("no-owner", "ops.wipe"),
        ("no-lane", "pay.refund"),
        ("no-lane", "ops.wipe"),
    ]
    routed = found(refunds("small", "args.n < 50"), rest="routing: {default: desk}")
    assert [a for a in routed if a.id == "no-owner"] == []


def test_a_rule_about_other_tags_names_nobody_for_a_topic() -> None:
    rule = "  - {id: a, match: {risk_tags: [money]}, decision: require_approval, owner: cfo}\n"
    assert [a.topic for a in found(rule) if a.id == "no-owner"] == ["ops.wipe"]


def test_what_a_reviewer_will_miss() -> None:
    actions = """
  a.send: {tier: 3}
  a.move: {tier: 2, undo: a.back, undo_within: 10m}
  a.back: {tier: 2, undo: a.move, undo_within: 5m}
"""
    advice = [(a.id, a.topic, a.severity) for a in found(ASKS, actions=actions)]
    assert ("no-summary", "a.send", "warning") in advice
    assert ("no-summary", "a.back", "note") in advice
    assert ("no-worst-case", "a.send", "warning") in advice
    assert ("no-args", "a.send", "note") in advice
    assert ("no-undo", "a.move", "warning") in advice
    assert ("no-undo", "a.back", "warning") not in advice


def test_a_lane_that_no_rule_uses() -> None:
    lanes = "lanes: {quick: {window: 1h, on_timeout: deny}}"
    assert said(ASKS, "unused-lane", rest=lanes) == [("note", "No rule uses the lane quick.", None)]


# --- tests, places and speed ------------------------------------------------------------------------------


def test_a_policy_without_tests_is_a_warning_and_untested_rules_are_a_note() -> None:
    policy = parse({"p.yaml": policy_text(refunds("small", "args.n < 50") + ASKS)})
    assert "no-tests" in [advice.id for advice in lint(policy)]
    tests = (
        "tests: [{name: a, action: {topic: ops.wipe, args: {n: 1}}, expect: {decision: require_approval}}]"
    )
    results = run_cases(read_cases({"t": tests}), policy)
    with_tests = {advice.id: advice.sentence for advice in lint(policy, results=results)}
    assert "no-tests" not in with_tests
    assert "failing-tests" not in with_tests
    assert with_tests["untested"] == "1 of 2 rules counts in no test: small."
    failing = run_cases(read_cases({"t": tests.replace("require_approval", "allow")}), policy)
    said = {advice.id: advice.sentence for advice in lint(policy, results=failing)}
    assert said["failing-tests"] == "1 of 1 tests fails: a."


def test_advice_says_where_its_rule_or_topic_stands_and_warnings_come_first() -> None:
    advice = found(refunds("a", "args.n < 1 && args.n > 2") + refunds("b", "args.n < 3"))
    place = next(a.place for a in advice if a.rule == "a")
    assert place is not None
    assert (place.file, place.line) == ("p.yaml", 16)
    assert [a.severity for a in advice] == sorted((a.severity for a in advice), reverse=True)


def test_places_follow_rules_without_ids_over_several_files() -> None:
    sources = {
        "b.yaml": "interlock: 1\nrules:\n- {match: {topics: [a.b]}, decision: deny}\n",
        "a.yaml": "interlock: 1\nrules:\n- {match: {topics: [a.c]}, decision: deny}\n",
    }
    places = places_of(sources)
    assert [rule.id for rule in parse(sources).rules] == ["rules[0]", "rules[1]"]
    assert (places["rule", "rules[0]"].file, places["rule", "rules[1]"].file) == ("a.yaml", "b.yaml")


def test_of_a_thousand_rules_only_those_that_meet_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []
    for index in range(1_000):
        topic = f"area{index % 40}.tool{index % 160}.*"  # six or seven rules share one
        decision = ("require_approval", "deny", "allow")[index % 3]
        owner = f", owner: team{index % 7}" if index % 3 == 0 else ""
        lines.append(
            f"  - {{id: r{index}, match: {{topics: [{topic}], retry_count_above: {index % 50}}}, "
            f"when: args.n > {index} && args.n != 7, decision: {decision}{owner}}}\n"
        )
    policy = parse({"p.yaml": policy_text("".join(lines))})
    compared = 0
    imply = Claims.imply

    def counted(one: Claims, other: Claims, tags: frozenset[str] = frozenset()) -> bool:
        nonlocal compared
        compared += 1
        return imply(one, other, tags)

    monkeypatch.setattr(Claims, "imply", counted)
    lint(policy)
    assert 1_000 < compared < 10_000
