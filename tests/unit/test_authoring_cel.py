"""Exported CEL: it compiles, it never fails, and it says what the kernel says, whatever is missing."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from cel_expr_python import cel

from conditions_at_random import Maker, document
from interlock.authoring.cel import of_expression
from interlock.authoring.export_cel import _VARIABLES, export_cel
from interlock.model.actions import Signals
from interlock.policy import Policy, Question, parse
from interlock.policy.closures import compile_expression
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import Inputs, declared_decimal
from interlock.policy.rules import Rule, amount_usd, moves_no_money
from interlock.policy.syntax import show

_MAP = cel.Type("map<string,dyn>")
ENV = cel.NewEnv(
    variables={
        "topic": cel.Type("string"),
        "catalogued": cel.Type("bool"),
        "tiers": cel.Type("list<int>"),
        **dict.fromkeys(("args", "facts", "provenance", "signals", "known"), _MAP),
        "no_money": cel.Type("bool"),
        "names_people": cel.Type("bool"),
    }
)
SIGNALS = (
    "confidence", "retry_count", "anomaly_score", "affected_users", "first_time_action",
    "first_time_recipient", "sentiment", "injection_score", "deadline_sec", "duplicate_of",
)  # fmt: skip
SAMPLE = """
interlock: 1
name: sample
default_decision: deny
facts: {vip: boolean}
actions:
  pay.refunds.create:
    tier: 3
    raise_to: [{tier: 4, when: args.amount >= 500 || facts.vip}]
    risk_tags: [money, write]
    args: {amount: {type: decimal, scale: 2, currency: USD}, to: string, lines: {type: array, optional: true}}
    roles: {amount: amount, recipient: to}
  crm.notes.write: {tier: 2, risk_tags: [write], args: {text: string, users: array}, roles: {people: users}}
  crm.notes.read: {tier: 1, risk_tags: [read]}
rules:
  - {id: small, match: {topics: [pay.refunds.create]}, when: args.amount < 100, decision: allow}
  - id: within
    match: {topics: [pay.refunds.create]}
    when: has(args.lines) && args.lines.all(line, line.price <= 50)
    decision: allow_with_constraints
    constraints: {max_amount_usd: 200}
  - id: strangers
    match: {risk_tags: [money]}
    when: provenance.recipient != "known"
    decision: require_approval
  - {id: both, match: {all_risk_tags: [money, write], amount_usd_above: 50}, decision: require_approval}
  - {id: many, match: {affected_users_above: 3}, decision: require_approval}
  - {id: unsure, match: {confidence_below: 0.5, topics: [pay.**]}, decision: require_approval}
  - {id: circles, match: {retry_count_above: 2, first_time_action: true}, decision: deny}
  - {id: outside, match: {topics: [shop.*.read, crm.**]}, decision: allow, overrides: [many]}
  - {id: everything, match: {anomaly_score_above: 0.9, topics: ["*"]}, decision: deny}
  - {id: late, when: "!(signals.deadline_sec >= 60) && tier in [3, 4]", decision: require_approval}
autonomy_levels:
  level_0:
    rules:
      - {match: {topics: [crm.**]}, when: size(args.text) > 5, decision: require_approval}
      - {match: {risk_tags: [write]}, decision: require_approval}
"""
TOPICS = ("crm.notes.write", "crm.notes.read", "shop.a.read", "shop.a.b", "crm.x", "pay.y")
BUILT_IN_OFF = """
invariants: {disabled: [deploy, external-comms, money, delete, privilege]}
triggers:
  frustration: {enabled: false}
  sla: {enabled: false}
  irreversibility: {enabled: false}
  anomaly: {enabled: false}
"""


def _cel(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _cel(item) for key, item in value.items()}
    return [_cel(item) for item in value] if isinstance(value, list | tuple) else value


def _known(inputs: Inputs) -> dict[str, Any]:
    known: dict[str, Any] = {} if inputs.tags is None else {"tags": sorted(inputs.tags)}
    amount = amount_usd(inputs)
    if amount is not None:
        known["amount_usd"] = float(amount)
    users = None if inputs.entry is None else inputs.args.get(inputs.entry.roles.get("people", ""))
    if isinstance(users, list | int):
        known["people"] = float(users if isinstance(users, int) else len(users))
    return known


def variables(inputs: Inputs) -> dict[str, Any]:
    """What the export says each variable is, for one question."""
    amounts = {name: declared_decimal(inputs.args.get(name)) for name in inputs.decimals}
    args = {name: amounts.get(name) if name in amounts else value for name, value in inputs.args.items()}
    signals = {name: getattr(inputs.signals, name) for name in SIGNALS}
    return {
        "topic": inputs.topic,
        "catalogued": inputs.entry is not None,
        "tiers": list(inputs.tiers),
        "args": _cel(args),
        "facts": _cel(dict(inputs.facts)),
        "provenance": dict(inputs.provenance),
        "signals": {name: _cel(value) for name, value in signals.items() if value is not None},
        "known": _known(inputs),
        "no_money": moves_no_money(inputs),
        "names_people": inputs.entry is not None and "people" in inputs.entry.roles,
    }


def test_the_test_knows_every_variable_of_the_export() -> None:
    policy = parse({"p.yaml": SAMPLE})
    assert set(variables(Inputs("a.b", {}, Signals(), None, None))) == set(_VARIABLES)
    assert export_cel(policy)["variables"] == _VARIABLES


@pytest.mark.parametrize("mistyped", [False, True])
def test_both_texts_of_any_condition_agree_with_the_kernel_whatever_is_missing(mistyped: bool) -> None:
    random = Random(20_261_120)
    maker = Maker(random)
    pool = [made.inputs for made in (document(random, mistyped=mistyped) for _ in range(200))]
    ready = [(inputs, ENV.Activation(variables(inputs))) for inputs in pool]
    wrong, answers = [], dict.fromkeys((True, False, None), 0)
    for _ in range(250):
        tree = maker.expression(random.choice((1, 2, 3)))
        texts, ours = of_expression(tree), compile_expression(tree)
        proved, possible = ENV.compile(texts.proved), ENV.compile(texts.possible)
        for inputs, activation in random.sample(ready, 20):
            expected = ours(inputs)
            answers[expected] += 1
            found = (proved.eval(activation).value(), possible.eval(activation).value())
            if found != (expected is True, expected is not False):
                wrong.append((show(tree), texts.proved, found, expected))
    assert wrong == []
    assert min(answers.values()) > 300


@pytest.mark.parametrize(
    "condition",
    [
        "args.l.exists(one, one in args.l)",
        "args.l.exists(tag, tag == 'a') && 'a' in tags",
        "args.l.all(element, element in args.l || tier in args.l)",
        "tags.exists(x, x.startsWith('p')) || size(tags) > 1",
        "tier == args.n || args.n >= tier || tier != 3",
        "signals.deadline_sec > args.n || signals.deadline_sec == 5",
        "size(args.s) in [1, 2] || size(args.l) > size(args.s)",
        "args.o.p.n < 5 || has(args.o.p.n) || args.o.b",
        "provenance.recipient == args.s || topic == args.s",
    ],
)
def test_no_name_of_ours_captures_one_of_the_authors(condition: str) -> None:
    random = Random(7)
    tree = parse_expression(condition)
    texts, ours = of_expression(tree), compile_expression(tree)
    proved, possible = ENV.compile(texts.proved), ENV.compile(texts.possible)
    for mistyped in (False, True):
        for _ in range(60):
            inputs = document(random, mistyped=mistyped).inputs
            activation, expected = ENV.Activation(variables(inputs)), ours(inputs)
            found = (proved.eval(activation).value(), possible.eval(activation).value())
            assert found == (expected is True, expected is not False), texts


# --- whole policies ---------------------------------------------------------------------------------------


def questions(random: Random, count: int) -> list[Question]:
    def some(values: dict[str, list[Any]]) -> dict[str, Any]:
        return {name: random.choice(options) for name, options in values.items() if random.random() < 0.9}

    found = []
    for _ in range(count):
        topic = random.choice([*["pay.refunds.create"] * 4, *TOPICS])
        lines = [[], [{"price": 5}], [{"price": 500}, {"price": 1}], [{}], [7]]
        args = some(
            {
                "amount": ["5.00", "50.01", "100.00", "700.00"],
                "to": ["ada"],
                "lines": [*lines, lines[1], lines[1]],
                "text": ["", "something"],
                "users": [["a"], list("abcde"), 7],
                "amount_usd": [5, 500, "x"],
            }
        )
        signals = Signals(
            **some(
                {
                    "confidence": [Decimal("0.4"), Decimal(1), Decimal(1), Decimal(2)],
                    "retry_count": [0, 0, 3, -1],
                    "anomaly_score": [Decimal(0)] * 7 + [Decimal("0.95")],
                    "affected_users": [None, 2, 2, 9],
                    "first_time_action": [True, False],
                    "deadline_sec": [None, 500, 500, 5],
                }
            )
        )
        tags = random.choice([None, frozenset(), frozenset({"money"}), frozenset({"money", "write"})])
        facts = some({"vip": [*[False] * 5, True, "x"]})
        provenance = some({"recipient": ["known", "known", "untrusted", "nonsense"]})
        found.append(Question(topic, args, signals, tags, facts=facts, provenance=provenance))
    return found


def inputs_of(policy: Policy, question: Question, tiers: tuple[int, ...]) -> Inputs:
    entry = policy.entry(question.topic)
    return Inputs(
        question.topic,
        question.args,
        question.signals,
        entry,
        question.tags if entry is None else frozenset(entry.risk_tags),
        tiers,
        question.facts,
        question.provenance,
        decimals=frozenset() if entry is None else entry.decimals,
    )


def test_every_exported_rule_counts_exactly_where_the_kernel_counts_it() -> None:
    policy = parse({"p.yaml": SAMPLE})
    exported: Any = export_cel(policy)
    compiled = {
        rule["id"]: {name: ENV.compile(rule[name]) for name in ("expression", "proved", "possible")}
        for rule in exported["rules"]
    }
    counted = dict.fromkeys(compiled, 0)
    for question in questions(Random(3), 600):
        entry = policy.entry(question.topic)
        tiers = tiers_of(policy, question, exported)
        inputs = inputs_of(policy, question, tiers)
        activation = ENV.Activation(variables(inputs))
        for rule in policy.rules:
            found = {name: text.eval(activation).value() for name, text in compiled[rule.id].items()}
            assert all(isinstance(value, bool) for value in found.values()), (rule.id, found)
            truth = rule.truth(inputs)
            speaks = rule.speaks_about(question.topic)
            permits = speaks and (entry is not None or names(rule, question.topic))
            counts = (speaks and truth is not False) if rule.restrictive else (permits and truth is True)
            assert found["expression"] is counts, (rule.id, question)
            assert found["proved"] is ((speaks if rule.restrictive else permits) and truth is True), (
                rule.id,
                question,
                exported["rules"],
            )
            counted[rule.id] += counts
    assert min(counted.values()) > 5, counted


def names(rule: Rule, topic: str) -> bool:
    return any(pattern.names and pattern.matches(topic) for pattern in rule.patterns or ())


def tiers_of(policy: Policy, question: Question, exported: Any) -> tuple[int, ...]:
    """The tiers a host works out from the exported `raise_to`, as the export says."""
    entry = policy.entry(question.topic)
    if entry is None:
        return ()
    spec = next(action for action in exported["actions"] if action["pattern"] == entry.pattern)
    activation = ENV.Activation(variables(inputs_of(policy, question, ())))
    tiers = {spec["tier"]}
    for raised in spec["raise_to"]:
        if ENV.compile(raised["proved"]).eval(activation).value():
            tiers = {max(tier, raised["tier"]) for tier in tiers}
        elif ENV.compile(raised["possible"]).eval(activation).value():
            tiers |= {max(tier, raised["tier"]) for tier in tiers}
    return tuple(sorted(tiers))


def test_a_host_that_follows_the_sentences_reaches_the_policys_decision() -> None:
    """Without levels and built-in rules, which are in words: rules, tiers and defaults."""
    policy = parse({"p.yaml": SAMPLE.partition("autonomy_levels")[0] + BUILT_IN_OFF})
    exported: Any = export_cel(policy)
    rules = [
        {**rule, **{name: ENV.compile(rule[name]) for name in ("expression", "proved", "possible")}}
        for rule in exported["rules"]
    ]
    severity = {"allow": 0, "allow_with_constraints": 1, "require_approval": 2, "deny": 3}
    agreed = dict.fromkeys(severity, 0)
    for question in questions(Random(4), 800):
        tiers = tiers_of(policy, question, exported)
        activation = ENV.Activation(variables(inputs_of(policy, question, tiers)))
        counting = [rule for rule in rules if rule["expression"].eval(activation).value()]
        default = "allow" if tiers and tiers[-1] < 3 else "require_approval"
        default = default if tiers else exported["default_decision"]
        decisions = [] if any(severity[rule["decision"]] < 2 for rule in counting) else [default]
        proved = [rule for rule in counting if rule["proved"].eval(activation).value()]
        aside = {name for rule in proved for name in rule["overrides"]}
        decisions += [rule["decision"] for rule in counting if rule["id"] not in aside]
        decisions += ["require_approval"] if 4 in tiers else []
        limits = [rule for rule in rules if rule["constraints"] and severity[rule["decision"]] < 2]
        expected = max(decisions, key=severity.__getitem__)
        if expected == "allow" and any(rule["possible"].eval(activation).value() for rule in limits):
            expected = "allow_with_constraints"
        verdict = policy.decide(question)
        assert verdict.decision.value == expected, (question, verdict)
        agreed[expected] += 1
    assert min(agreed.values()) > 3, agreed


def test_what_cannot_be_expressed_is_said() -> None:
    exported: Any = export_cel(parse({"p.yaml": SAMPLE}))
    assert {rule["id"].partition(":")[0] for rule in exported["built_in"]} == {"trigger", "invariant"}
    assert [len(rules) for rules in exported["levels"].values()] == [2]
    for rule in exported["levels"]["level_0"]:
        assert ENV.compile(rule["proved"])
        assert ENV.compile(rule["possible"])
    assert exported["combining"]
    assert exported["deviations"]
