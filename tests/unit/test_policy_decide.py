"""Deciding: layers, ties, what adds up, and what an explanation says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from interlock.model.actions import Signals
from interlock.model.errors import BadTopic
from interlock.model.verdicts import Constraints, Decision, Lane, OnTimeout, Tier, Trigger, Verdict
from interlock.policy import Policy, Question, parse

CATALOGUE = """
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 500}]
    risk_tags: [money, write]
    args:
      amount_usd: {type: decimal, scale: 2, currency: USD, optional: true}
      kind: {type: string, optional: true}
    roles: {amount: amount_usd}
    execute: {http: {method: POST, url: "https://x.example/r"}}
  pay.euro:
    tier: 2
    undo: a.undo
    undo_within: 5m
    args: {sum: {type: decimal, scale: 2, currency: EUR}}
    roles: {amount: sum}
  mail.send:
    tier: 2
    undo: a.undo
    undo_within: 5m
    args: {to: array}
    roles: {people: to}
  a.read: {tier: 1}
  a.write: {tier: 2, undo: a.undo, undo_within: 5m}
  a.publish: {tier: 3}
  a.wipe: {tier: 4}
"""


def load(rules: str = "", more: str = "") -> Policy:
    return parse(
        {
            "p.yaml": f"interlock: 1\n{more}\n{CATALOGUE}\nrules:\n{rules}"
            if rules
            else f"interlock: 1\n{more}\n{CATALOGUE}"
        }
    )


def decide(policy: Policy, topic: str, args: dict[str, Any] | None = None, **more: Any) -> Verdict:
    return policy.decide(Question(topic, args or {}, **more))


# --- defaults and the floor -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "decision", "tier", "lane", "triggers"),
    [
        ("a.read", Decision.ALLOW, 1, None, ()),
        ("a.write", Decision.ALLOW, 2, None, ()),
        (
            "a.publish",
            Decision.REQUIRE_APPROVAL,
            3,
            Lane(7 * 86_400, OnTimeout.ESCALATE),
            (Trigger.RISK_TIER,),
        ),
        ("a.wipe", Decision.REQUIRE_APPROVAL, 4, Lane(86_400, OnTimeout.DENY), (Trigger.RISK_TIER,)),
    ],
)
def test_without_a_rule_the_tier_decides(
    topic: str, decision: Decision, tier: int, lane: Lane | None, triggers: tuple[Trigger, ...]
) -> None:
    policy = load()
    verdict = decide(policy, topic)
    assert (verdict.decision, verdict.tier, verdict.lane) == (decision, tier, lane)
    assert (verdict.rule, verdict.triggers) == (f"default:tier-{tier}", triggers)
    assert (verdict.owner, verdict.snapshot, verdict.matched) == ("ops-approvers", policy.snapshot, ())


def test_a_topic_nobody_catalogued_is_held_for_a_day_or_denied() -> None:
    held = decide(load(), "x.y")
    assert (held.decision, held.rule, held.tier) == (Decision.REQUIRE_APPROVAL, "default:uncatalogued", None)
    assert held.lane == Lane(86_400, OnTimeout.DENY)
    denied = decide(load(more="default_decision: deny"), "x.y")
    assert (denied.decision, denied.rule, denied.lane) == (Decision.DENY, "default:uncatalogued", None)


def test_no_rule_lets_tier_four_run() -> None:
    policy = load(
        "  - {id: all, match: {topics: ['*']}, decision: allow}\n"
        "  - {id: named, match: {topics: [a.wipe]}, decision: allow_with_constraints, owner: friends}\n"
    )
    verdict = decide(policy, "a.wipe")
    assert (verdict.decision, verdict.rule) == (Decision.REQUIRE_APPROVAL, "floor:tier-4")
    assert verdict.lane == Lane(86_400, OnTimeout.DENY)
    assert verdict.matched == ("named", "all")
    assert verdict.triggers == (Trigger.RISK_TIER,)


def test_a_raised_tier_meets_the_floor() -> None:
    policy = load(
        "  - {id: all, match: {topics: ['*']}, decision: allow}", "invariants: {money_above_usd: 1000}"
    )
    assert decide(policy, "pay.refund", {"amount_usd": "499.99"}).decision is Decision.ALLOW
    assert decide(policy, "pay.refund", {"amount_usd": "500.00"}).rule == "floor:tier-4"


def test_a_missing_amount_raises_the_tier() -> None:
    verdict = decide(load("  - {id: all, match: {topics: ['*']}, decision: allow}"), "pay.refund")
    assert (verdict.rule, verdict.tier) == ("floor:tier-4", 4)
    assert verdict.missing == ("args.amount_usd",)


def test_a_tier_that_is_not_certain_refutes_no_restriction() -> None:
    policy = load("  - {id: exactly-three, match: {topics: [pay.*]}, when: tier == 3, decision: deny}")
    assert decide(policy, "pay.refund").decision is Decision.DENY
    assert decide(policy, "pay.refund", {"amount_usd": "1.00"}).decision is Decision.DENY
    assert decide(policy, "pay.refund", {"amount_usd": "900.00"}).rule == "default:tier-4"


def test_a_tier_raised_by_reported_doubt_escapes_no_restriction() -> None:
    policy = parse(
        {
            "p": """
interlock: 1
actions: {a.b: {tier: 3, raise_to: [{tier: 4, when: signals.confidence < 0.5}]}}
rules: [{id: exactly-three, match: {topics: [a.b]}, when: tier == 3, decision: deny}]
"""
        }
    )
    for said in (None, Decimal("0.1"), Decimal(1)):
        assert decide(policy, "a.b", signals=Signals(confidence=said)).decision is Decision.DENY
    assert decide(policy, "a.b", signals=Signals(confidence=Decimal("0.1"))).tier == 4


# --- rules ------------------------------------------------------------------------------------------------


def test_the_strictest_match_wins_whatever_the_order() -> None:
    rules = [f"  - {{id: {d}, match: {{topics: [a.read]}}, decision: {d}}}\n" for d in Decision]
    for order in (rules, rules[::-1]):
        verdict = decide(load("".join(order)), "a.read")
        assert verdict.rule == "deny"
        assert verdict.matched == ("deny", "require_approval", "allow_with_constraints", "allow")


def test_a_proved_match_outranks_an_unproved_one_then_the_file_order_counts() -> None:
    policy = load(
        "  - {id: unproved, match: {topics: [a.read]}, when: args.x > 1, decision: deny}\n"
        "  - {id: first, match: {topics: [a.read]}, decision: deny}\n"
        "  - {id: second, match: {topics: [a.read]}, decision: deny}\n"
    )
    verdict = decide(policy, "a.read")
    assert verdict.matched == ("first", "second", "unproved")
    assert verdict.missing == ("args.x",)


def test_outside_the_catalogue_a_rule_that_permits_must_name_the_topic() -> None:
    for pattern, decision in [
        ("*", Decision.REQUIRE_APPROVAL),
        ("x.**", Decision.REQUIRE_APPROVAL),
        ("x.y.**", Decision.REQUIRE_APPROVAL),
        ("x.*", Decision.ALLOW),
        ("x.y", Decision.ALLOW),
    ]:
        policy = load(f"  - {{match: {{topics: ['{pattern}', q.q]}}, decision: allow}}")
        assert decide(policy, "x.y").decision is decision, pattern
    restricting = load("  - {match: {topics: ['*']}, decision: deny}")
    assert decide(restricting, "x.y").decision is Decision.DENY


def test_a_topicless_rule_lets_nothing_run_outside_the_catalogue() -> None:
    policy = load("  - {match: {risk_tags: [read]}, decision: allow}")
    assert decide(policy, "x.y", tags=frozenset({"read"})).decision is Decision.REQUIRE_APPROVAL


def test_tags_come_from_the_catalogue_and_only_outside_it_from_the_registration() -> None:
    policy = load("  - {id: money, match: {risk_tags: [money]}, decision: deny}")
    assert decide(policy, "pay.refund", tags=frozenset()).decision is Decision.DENY
    assert decide(policy, "a.read", tags=frozenset({"money"})).decision is Decision.ALLOW
    assert decide(policy, "x.y", tags=frozenset({"money"})).tags == ("money",)
    unknown = decide(policy, "x.y", tags=None)
    assert (unknown.decision, unknown.missing) == (Decision.DENY, ("tags",))


def test_all_risk_tags_means_all_and_risk_tags_means_any() -> None:
    policy = load(
        "  - {id: any, match: {risk_tags: [money, prod]}, decision: require_approval}\n"
        "  - {id: all, match: {all_risk_tags: [money, prod]}, decision: deny}\n"
    )
    assert decide(policy, "x.y", tags=frozenset({"prod"})).matched == ("any",)
    both = decide(policy, "x.y", tags=frozenset({"money", "prod"}))
    assert both.matched == ("all", "any", "invariant:money")


# --- thresholds -------------------------------------------------------------------------------------------


def test_a_negative_number_of_people_is_no_small_number() -> None:
    actions = "actions: {a.mail: {tier: 1, args: {count: integer}, roles: {people: count}}}"
    rules = "rules: [{id: t, match: {affected_users_above: 2}, decision: deny}]"
    policy = parse({"p": f"interlock: 1\n{actions}\n{rules}"})
    assert decide(policy, "a.mail", {"count": -5}).decision is Decision.DENY
    assert decide(policy, "a.mail", {"count": 2}).decision is Decision.ALLOW


def threshold(match: str) -> Policy:
    return load(f"  - {{id: t, match: {{{match}}}, decision: deny}}")


@pytest.mark.parametrize(
    ("topic", "args", "matches", "missing"),
    [
        ("pay.refund", {"amount_usd": "100.00"}, False, ()),
        ("pay.refund", {"amount_usd": "100.01"}, True, ()),
        ("pay.refund", {"amount_usd": "-1.00"}, True, ("args.amount_usd",)),
        ("pay.refund", {"amount_usd": "lots"}, True, ("args.amount_usd",)),
        ("pay.refund", {"amount_usd": None}, True, ("args.amount_usd",)),
        ("pay.refund", {}, True, ("args.amount_usd",)),
        ("pay.euro", {"sum": "1.00"}, True, ("args.sum",)),
        ("mail.send", {"to": []}, False, ()),
        ("a.read", {}, False, ()),
        ("a.read", {"amount_usd": 500}, True, ()),
        ("x.y", {}, True, ("amount_usd",)),
        ("x.y", {"amount_usd": 99.5}, False, ()),
        ("x.y", {"amount_usd": "99.50"}, False, ()),
        ("x.y", {"amount_usd": "100.50"}, True, ()),
        ("x.y", {"amount_usd": -500}, True, ("amount_usd",)),
        ("x.y", {"amount_usd": True}, True, ("amount_usd",)),
        ("x.y", {"amount_usd": "1e1"}, True, ("amount_usd",)),
    ],
)
def test_a_missing_amount_never_skips_a_restriction(
    topic: str, args: dict[str, Any], matches: bool, missing: tuple[str, ...]
) -> None:
    verdict = decide(threshold("amount_usd_above: 100"), topic, args)
    assert (verdict.rule == "t") is matches
    assert verdict.missing == missing


@pytest.mark.parametrize(
    ("topic", "args", "observed", "matches"),
    [
        ("mail.send", {"to": ["a", "b"]}, None, False),
        ("mail.send", {"to": ["a", "b", "c"]}, None, True),
        ("mail.send", {"to": ["a"]}, 500, True),
        ("mail.send", {}, None, True),
        ("mail.send", {}, 1, True),
        ("mail.send", {"to": ["a"]}, 2, False),
        ("a.read", {}, None, False),
        ("a.read", {}, 500, True),
        ("x.y", {}, None, True),
        ("x.y", {}, 2, False),
    ],
)
def test_the_people_affected_are_the_larger_of_stated_and_observed(
    topic: str, args: dict[str, Any], observed: int | None, matches: bool
) -> None:
    verdict = decide(
        threshold("affected_users_above: 2"), topic, args, signals=Signals(affected_users=observed)
    )
    assert (verdict.rule == "t") is matches


@pytest.mark.parametrize(
    ("match", "signals", "matches"),
    [
        ("retry_count_above: 2", Signals(retry_count=2), False),
        ("retry_count_above: 2", Signals(retry_count=3), True),
        ("retry_count_above: 2", Signals(retry_count=-1), True),
        ("retry_count_above: 2", Signals(retry_count=True), True),
        ("anomaly_score_above: 0.7", Signals(anomaly_score=Decimal("0.7")), False),
        ("anomaly_score_above: 0.7", Signals(anomaly_score=0.7), False),  # type: ignore[arg-type]
        ("anomaly_score_above: 0.7", Signals(anomaly_score=Decimal("0.71")), True),
        ("anomaly_score_above: 0.7", Signals(anomaly_score=Decimal("NaN")), True),
        ("anomaly_score_above: 0.7", Signals(anomaly_score=float("nan")), True),  # type: ignore[arg-type]
        ("anomaly_score_above: 0.7", Signals(anomaly_score=Decimal(-1)), True),
        ("confidence_below: 0.7", Signals(confidence=Decimal("0.7")), False),
        ("confidence_below: 0.7", Signals(confidence=Decimal("0.69")), True),
        ("confidence_below: 0.7", Signals(confidence=None), True),
        ("confidence_below: 0.7", Signals(confidence=Decimal("NaN")), True),
        ("confidence_below: 0.7", Signals(confidence=Decimal("1.01")), True),
        ("confidence_below: 0.7", Signals(confidence=Decimal("Infinity")), True),
        ("confidence_below: 0.7", Signals(confidence="0.99"), True),  # type: ignore[arg-type]
        ("first_time_action: true", Signals(), False),
        ("first_time_action: true", Signals(first_time_action=True), True),
        ("first_time_action: true", Signals(first_time_action="no"), True),  # type: ignore[arg-type]
        ("first_time_action: false", Signals(), True),
    ],
)
def test_a_signal_that_is_missing_or_no_number_restricts(match: str, signals: Signals, matches: bool) -> None:
    assert (decide(threshold(match), "a.read", signals=signals).rule == "t") is matches


@pytest.mark.parametrize(
    ("when", "args", "permits"),
    [
        ("args.kind == 'gift'", {"kind": "gift"}, True),
        ("args.kind == 'gift'", {"kind": "Gift"}, False),
        ("args.kind != 'gift'", {"kind": "other"}, True),
        ("args.kind != 'gift'", {}, False),
        ("args.kind != 'gift'", {"kind": None}, False),
        ("args.kind != 'gift'", {"kind": 5}, False),
        ("args.amount_usd < 100", {"amount_usd": "99.99"}, True),
        ("args.amount_usd < 100", {"amount_usd": "100.00"}, False),
        ("args.amount_usd == 100", {"amount_usd": "100.00"}, True),
        ("args.amount_usd < 100", {}, False),
        ("args.amount_usd < 100", {"amount_usd": "x"}, False),
        ("args.amount_usd < 100", {"amount_usd": True}, False),
        ("args.amount_usd >= 0 && args.kind == 'gift'", {"amount_usd": "1.00"}, False),
    ],
)
def test_a_rule_permits_only_what_is_proved(when: str, args: dict[str, Any], permits: bool) -> None:
    policy = load(f'  - {{id: r, match: {{topics: [pay.refund]}}, when: "{when}", decision: allow}}')
    assert ("r" in decide(policy, "pay.refund", args).matched) is permits


def test_undeclared_arguments_are_compared_by_what_they_are() -> None:
    policy = load('  - {match: {topics: [x.y]}, when: "args.n < 100", decision: allow}')
    for value, permits in [
        (99, True),
        (99.5, True),
        ("99", False),
        (True, False),
        (None, False),
        ([], False),
    ]:
        assert decide(policy, "x.y", {"n": value}).allowed is permits, value


# --- what adds up -----------------------------------------------------------------------------------------


def test_windows_are_the_shortest_and_denial_wins_a_tie() -> None:
    policy = load("""
  - {match: {topics: [a.*]}, decision: require_approval, lane: {window: 1h, on_timeout: escalate, valid: 10m}}
  - {match: {topics: [a.read]}, decision: require_approval, lane: {window: 60m, on_timeout: deny, valid: 2h}}
  - match: {topics: [a.write]}
    decision: require_approval
    lane: {window: 15m, on_timeout: escalate, valid: 2h}
  - {match: {topics: [a.publish]}, decision: require_approval}
""")
    assert decide(policy, "a.read").lane == Lane(3_600, OnTimeout.DENY, 600)
    assert decide(policy, "a.write").lane == Lane(900, OnTimeout.ESCALATE, 600)
    assert decide(policy, "a.publish").lane == Lane(3_600, OnTimeout.ESCALATE, 600)


def test_the_owner_is_the_highest_ranked_of_those_who_ask() -> None:
    rules = """
  - {match: {topics: [a.*]}, decision: require_approval}
  - {match: {topics: [a.*]}, decision: require_approval, owner: unlisted}
  - {match: {topics: [a.write, a.publish]}, decision: require_approval, owner: finance-approvers}
  - {match: {topics: [a.publish]}, decision: require_approval, owner: security-approvers}
  - {match: {topics: [a.wipe]}, decision: deny, owner: wardens}
"""
    policy = load(rules)
    assert decide(policy, "a.read").owner == "unlisted"
    assert decide(policy, "a.write").owner == "finance-approvers"
    assert decide(policy, "a.publish").owner == "security-approvers"
    turned = load(rules, "owners: [unlisted, finance-approvers]")
    assert decide(turned, "a.publish").owner == "unlisted"
    only_denied = load("  - {match: {topics: [a.wipe]}, decision: deny, owner: wardens}")
    assert decide(only_denied, "a.wipe").owner == "wardens"


def test_constraints_conjoin_over_the_entry_and_every_match() -> None:
    policy = parse(
        {
            "p": """
interlock: 1
actions:
  a.call:
    tier: 2
    undo: a.undo
    undo_within: 5m
    constraints: {max_runtime_sec: 90, network_allowlist: [b.example, c.example]}
    execute: {http: {method: POST, url: "https://b.example/"}}
rules:
  - match: {topics: [a.call]}
    decision: allow
    constraints: {max_runtime_sec: 60, network_allowlist: [a.example, b.example]}
  - {match: {topics: [a.*]}, decision: allow_with_constraints, constraints: {max_runtime_sec: 75}}
"""
        }
    )
    assert decide(policy, "a.call").constraints == Constraints(60, ("b.example",), None)


def test_triggers_unite() -> None:
    policy = load("""
  - {match: {confidence_below: 0.5}, decision: require_approval}
  - {match: {retry_count_above: 2}, decision: require_approval}
  - {match: {topics: ['*']}, when: signals.anomaly_score > 0.8, decision: require_approval}
""")
    signals = Signals(Decimal("0.1"), 3, Decimal("0.9"))
    verdict = decide(policy, "a.wipe", signals=signals)
    assert verdict.triggers == (Trigger.CONFIDENCE, Trigger.RISK_TIER, Trigger.FRUSTRATION, Trigger.ANOMALY)
    calm = decide(policy, "a.read", signals=Signals(Decimal("0.9")))
    assert (calm.triggers, calm.decision) == ((), Decision.ALLOW)


# --- doubt comes on top -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        "match: {confidence_below: 0.7}",
        "match: {topics: [x.*]}, when: args.amount > 5",
        "match: {risk_tags: [x]}",
    ],
)
def test_doubt_does_not_turn_a_denial_into_a_request(rule: str) -> None:
    policy = load(f"  - {{id: doubt, {rule}, decision: require_approval}}", "default_decision: deny")
    verdict = decide(policy, "x.y", tags=None, signals=Signals(confidence=Decimal("0.1")))
    assert (verdict.decision, verdict.rule) == (Decision.DENY, "default:uncatalogued")
    assert verdict.matched == ("doubt",)


def test_only_a_rule_that_permits_lifts_what_the_default_denies() -> None:
    ask = "  - {id: ask, match: {topics: [x.y]}, decision: require_approval}\n"
    assert decide(load(ask, "default_decision: deny"), "x.y").rule == "default:uncatalogued"
    lifted = ask + "  - {id: known, match: {topics: [x.y]}, decision: allow}"
    assert decide(load(lifted, "default_decision: deny"), "x.y").rule == "ask"


def test_reporting_doubt_does_not_buy_a_longer_window() -> None:
    policy = load(
        "  - {match: {confidence_below: 0.7}, decision: require_approval,"
        " lane: {window: 30d, on_timeout: escalate, valid: 7d}}"
    )
    assert decide(policy, "a.wipe").lane == Lane(86_400, OnTimeout.DENY, 3_600)
    assert decide(policy, "a.read").lane == Lane(7 * 86_400, OnTimeout.ESCALATE, 3_600)


def test_limits_hold_unless_refuted_where_the_action_would_run_anyway() -> None:
    policy = parse(
        {
            "p": """
interlock: 1
actions:
  a.call: {tier: 2, undo: a.undo, undo_within: 5m, execute: {http: {method: POST, url: "https://x.example/"}}}
  a.send: {tier: 3, execute: {http: {method: POST, url: "https://x.example/"}}}
rules:
  - id: capped
    match: {topics: [a.*]}
    when: args.kind != 'internal'
    decision: allow_with_constraints
    constraints: {max_runtime_sec: 60}
"""
        }
    )
    unknown = decide(policy, "a.call")
    assert (unknown.decision, unknown.rule) == (Decision.ALLOW_WITH_CONSTRAINTS, "capped")
    assert unknown.constraints == Constraints(max_runtime_sec=60)
    matches = policy.explain(Question("a.call", {})).matches
    assert [(m.rule, m.found) for m in matches] == [("capped", "not refuted")]
    assert decide(policy, "a.call", {"kind": "internal"}).decision is Decision.ALLOW
    held = decide(policy, "a.send")
    assert (held.rule, held.matched) == ("default:tier-3", ("capped",)), "its limits hold once approved"


# --- explaining -------------------------------------------------------------------------------------------


def test_an_explanation_says_why_each_rule_did_or_did_not_count() -> None:
    policy = load("""
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - {id: odd, match: {topics: [pay.refund]}, when: args.kind == 'odd', decision: require_approval}
  - {id: gift, match: {topics: [pay.refund]}, when: args.kind == 'gift', decision: allow}
  - {id: elsewhere, match: {topics: [a.read]}, decision: deny}
""")
    question = Question("pay.refund", {"amount_usd": "150.00"})
    explanation = policy.explain(question)
    assert explanation.verdict == policy.decide(question)
    matches = [(m.rule, m.found) for m in explanation.matches]
    assert matches == [("odd", "not refuted"), ("invariant:money", "proved")]
    assert explanation.matches[0].why == 'args.kind == "odd", where args.kind is unknown'
    assert [(m.rule, m.found, m.why) for m in explanation.passed_over] == [
        ("small", "refuted", "args.amount_usd < 100 (it is 150.00)"),
        ("gift", "not proved", "args.kind is unknown"),
    ]
    assert [(raised.tier, raised.found) for raised in explanation.raised] == [(4, "refuted")]
    assert explanation.values == {
        "args.amount_usd": "150.00", "args.kind": None, "amount_usd": "150.00 USD",
    }  # fmt: skip
    assert explanation.missing == ("args.kind",)


def test_an_explanation_names_what_the_level_said_and_what_was_set_aside() -> None:
    policy = load(
        """
  - {id: strict, match: {topics: [a.publish]}, decision: deny}
  - id: except
    match: {topics: [a.publish]}
    when: args.kind == 'note'
    decision: allow
    overrides: [strict]
""",
        "autonomy_levels: {level_1: {rules: [{match: {topics: ['*']}, decision: require_approval}]}}",
    )
    explanation = policy.explain(Question("a.publish", {"kind": "note"}))
    assert (explanation.verdict.rule, explanation.verdict.level) == ("level:1", 1)
    assert [(m.rule, m.found) for m in explanation.level] == [("level:1", "proved")]
    assert [(m.rule, m.found) for m in explanation.passed_over] == [("strict", "set aside")]
    assert explanation.verdict.overridden == ("strict",)


def test_an_assumed_tier_stands_for_a_catalogue_entry_and_never_for_a_real_one() -> None:
    policy = load("  - {id: sweep, match: {topics: ['*']}, decision: allow}")
    assert policy.explain(Question("x.y", {}, tier=Tier(3))).verdict.rule == "sweep"
    assert policy.explain(Question("x.y", {}, tier=Tier(4))).verdict.rule == "floor:tier-4"
    assert load().explain(Question("x.y", {}, tier=Tier(1))).verdict.rule == "default:tier-1"
    assert decide(load(), "a.wipe", tier=Tier(1)).held


def test_values_in_an_explanation_are_safe_to_look_at() -> None:
    policy = load("  - {match: {topics: [pay.refund]}, when: args.kind == 'x', decision: deny}")
    assert policy.explain(Question("pay.refund", {"kind": "\u202ea"})).values["args.kind"] == "⟨U+202E⟩a"


# --- at the edges -----------------------------------------------------------------------------------------


def test_a_question_about_no_topic_is_refused() -> None:
    with pytest.raises(BadTopic):
        decide(load("  - {match: {topics: [job.*.read]}, decision: allow}"), "job.pаyments.read")


def test_many_topics_do_not_grow_the_memory_without_bound() -> None:
    policy = load()
    for number in range(9_000):
        decide(policy, f"x.t{number}")
    assert policy._plans.remembered <= 2 * 4_096
    assert decide(policy, "a.wipe").rule == "default:tier-4"
