"""Proofs about policies: what is proved holds, what is refuted is shown, and nothing else is claimed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.authoring.encode import Encoder
from interlock.authoring.encode_inputs import ELEMENT, READABLE, WORTH, Inputs
from interlock.authoring.encode_logic import Term, compared, no, same
from interlock.authoring.encode_patterns import pattern_language
from interlock.authoring.encode_values import Variable, holds
from interlock.authoring.languages import UNKNOWN, Language, Languages
from interlock.authoring.prove import Disagreement, Outcome, Report, Result, broken, prove, runs
from interlock.authoring.question import SignalsSpec, read_question
from interlock.authoring.solver import Answer, Solver
from interlock.authoring.topic_classes import Topics
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Decision
from interlock.policy import Policy, Question, parse
from interlock.policy.closures import compile_expression
from interlock.policy.fields import inside
from interlock.policy.patterns import pattern_of, search
from policies_at_random import Case, cases, condition

few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

SHARES = ("confidence", "anomaly_score", "sentiment", "injection_score")

# --- the encoding is the kernel ---------------------------------------------------------------------------


def pinned(inputs: Inputs, policy: Policy, question: Question) -> Iterator[Term]:
    """What the solver must believe of an action, if the action is this one."""
    read = policy.inputs(question)
    fields = {path: variable for path, variable in inputs.fields.items() if path[0] != ELEMENT}
    for variable in fields.values():
        yield from _pinned(variable, _raw(variable, question), read.decimals)
    texts = {variable.text: _raw(variable, question) for variable in fields.values()}
    if inputs.topic is not None:
        texts[inputs.topic] = question.topic
    for text, value in texts.items():
        if isinstance(value, str):
            code = text.literals.get(value, 0)
            yield compared("==", text.code, code)
            if text.size is not None:
                yield compared("==", text.size, len(value))
    for (function, text, other), answer in inputs.asked.items():
        one, two = texts.get(text), other if isinstance(other, str) else texts.get(other)
        if isinstance(one, str) and isinstance(two, str):
            yield same(answer, holds(function, one, two))
    for each in inputs.elements.values():
        truth = compile_expression(each.expr)(read)
        yield same(each.truth.yes, truth is True)
        yield same(each.truth.no, truth is False)
    if inputs.tags is not None:
        tags = question.tags
        yield same(inputs.tags.given, tags is not None)
        known = tags or frozenset()
        yield from (same(has, tag in known) for tag, has in inputs.tags.has.items())
        yield compared("==", inputs.tags.others, len(known - set(inputs.tags.has)))
    if inputs.level is not None:
        declared = [level.number for level in policy.levels]
        level = question.level if question.level in declared else declared[0]
        yield compared("==", inputs.level, level)


def _raw(variable: Variable, question: Question) -> Any:
    root, *steps = variable.path
    if root == "signals":
        return getattr(question.signals, steps[0])
    return inside(getattr(question, root), tuple(steps))


def _pinned(variable: Variable, value: Any, decimals: frozenset[str]) -> Iterator[Term]:
    if variable.path[0] == "args" and variable.path[-1] in decimals and isinstance(value, str):
        value = Decimal(value)
    shapes = {str: "string", bool: "boolean", list: "list", dict: "object", type(None): "missing"}
    shape: Any = shapes.get(type(value), "number")
    if shape == "missing":
        yield no(variable.there)
        return
    yield variable.is_(shape)
    if shape == "number":
        exact = Decimal(str(value)).scaleb(variable.grid.scale)
        assert exact == int(exact)
        yield compared("==", variable.units, int(exact))
    elif shape == "boolean":
        yield same(variable.flag, value)
    elif shape == "list":
        yield compared("==", variable.length, len(value))
    elif shape == "string" and variable.name == "args.amount_usd":
        try:
            units = int(Decimal(value).scaleb(variable.grid.scale))
        except (ArithmeticError, ValueError):
            yield no(READABLE)
        else:
            yield READABLE
            yield compared("==", WORTH, units)


def believes(solver: Solver, term: Term) -> bool:
    """Whether the solver is forced to believe it."""
    return solver.ask(60, no(term)) is Answer.NEVER


def earnest(question: Question, policy: Policy) -> Question | None:
    """The question as it can reach the kernel from outside; None where it is garbled or only assumed."""
    signals = question.signals.to_json() | {"deadline_sec": None}
    try:
        SignalsSpec.model_validate(signals | {name: getattr(question.signals, name) for name in SHARES})
        args = policy.check_args(question.topic, question.args)
    except (InvalidInput, ValidationError):
        return None
    if type(question.signals.deadline_sec) not in (int, type(None)):
        return None
    return replace(question, args=args, tier=None)


def check_encoding(policy: Policy, question: Question) -> None:
    """The solver, told of one action, is forced to believe exactly what the kernel decides."""
    encoder = Encoder(policy)
    inputs = encoder.inputs(encoder.topics.of(question.topic))
    decided = encoder.decided(inputs)
    pins = list(pinned(inputs, policy, question))
    solver = Solver()
    solver.add(*inputs.bounds(), *pins)
    assert solver.ask(60) is Answer.SOMETIMES
    verdict = policy.decide(question)
    severity = verdict.decision.severity
    assert believes(solver, same(decided.denies, severity >= 3))
    assert believes(solver, same(decided.asks, severity >= 2))
    assert believes(solver, same(decided.within, severity >= 1))
    silent = verdict.lane is not None and verdict.lane.on_timeout.value == "allow"
    assert believes(solver, same(decided.silent, silent))
    tiers = policy.inputs(question).tiers
    for tier in range(1, 5):
        assert believes(solver, same(decided.tiers.get(tier, False), tier in tiers))


@few
@given(cases(asked=6))
def test_the_encoding_decides_every_action_as_the_kernel_does(case: Case) -> None:
    for question in case.questions:
        asked = earnest(question, case.policy)
        if asked is not None:
            check_encoding(case.policy, asked)


# --- claims -----------------------------------------------------------------------------------------------


def policy_of(text: str) -> Policy:
    return parse({"p.yaml": f"interlock: 1\n{text}"})


def result(report: Report, name: str) -> Result:
    return next(each for each in report.results if each.claim.name == name)


def only(report: Report, name: str) -> Result:
    """The result of one claim, where all others are proved."""
    assert {each.claim.name for each in report.results if each.outcome is not Outcome.PROVED} <= {name}
    return result(report, name)


REFUNDS = """
facts: {prior: integer}
actions:
  shop.refund:
    tier: 3
    risk_tags: [money]
    args:
      order: string
      amount_usd: {type: decimal, scale: 2, currency: USD}
      note: {type: string, optional: true, max_length: 8}
      items: {type: array, optional: true}
    roles: {amount: amount_usd}
  shop.read: {tier: 1, args: {}}
  shop.wipe: {tier: 4, risk_tags: [delete]}
"""


def allows(when: str, more: str = "invariants: {disabled: [money]}") -> Policy:
    """Refunds run without a person where a condition holds."""
    rule = {"id": "some", "match": {"topics": ["shop.refund"]}, "decision": "allow", "when": when}
    return policy_of(f"{REFUNDS}\n{more}\nrules: [{json.dumps(rule)}]")


def shown(result: Result, policy: Policy) -> dict[str, Any]:
    """The first counterexample, once the kernel has decided about it again, as `explain` would."""
    found = result.counterexamples[0]
    question, _ = read_question(json.dumps(found.action).encode(), policy)
    assert policy.decide(question) == found.verdict
    assert broken(result.claim, policy, question, found.verdict)
    return found.action


def test_the_defaults_keep_every_promise() -> None:
    report = prove(policy_of(REFUNDS))
    assert report.outcome is Outcome.PROVED
    assert [each.claim.name for each in report.results] == [
        "tier-4",
        "uncatalogued",
        "invariant:deploy",
        "invariant:external-comms",
        "invariant:money",
        "invariant:delete",
        "invariant:privilege",
        "confidence",
        "kill-switch",
        "locked",
    ]


def test_money_above_the_threshold_runs_where_the_invariant_is_off_and_a_rule_allows_it() -> None:
    policy = allows("args.amount_usd <= 250")
    found = only(prove(policy), "invariant:money")
    assert found.outcome is Outcome.REFUTED
    amount = Decimal(shown(found, policy)["args"]["amount_usd"])
    assert 100 < amount <= 250


def test_an_author_s_rule_proves_what_the_invariant_was_switched_off_for() -> None:
    assert prove(allows("args.amount_usd <= 100")).outcome is Outcome.PROVED
    assert prove(allows("args.amount_usd < 100.01")).outcome is Outcome.PROVED
    assert prove(allows("args.amount_usd < 100.02")).outcome is Outcome.REFUTED
    assert prove(allows("args.amount_usd <= 250", "")).outcome is Outcome.PROVED


def test_the_threshold_is_the_policy_s_own() -> None:
    policy = allows("args.amount_usd <= 250", "invariants: {disabled: [money], money_above_usd: 250}")
    assert prove(policy).outcome is Outcome.PROVED


def test_an_amount_that_is_not_known_counts_as_money_above_the_threshold() -> None:
    policy = policy_of("actions: {pay.out: {tier: 1, risk_tags: [money]}}\ninvariants: {disabled: [money]}")
    assert shown(only(prove(policy), "invariant:money"), policy)["topic"] == "pay.out"


def test_an_undeclared_amount_may_be_a_text() -> None:
    rule = "{id: a, match: {topics: [pay.out]}, decision: allow, when: 'args.amount_usd.startsWith(\"7\")'}"
    policy = policy_of(f"invariants: {{disabled: [money]}}\nrules: [{rule}]")
    found = result(prove(policy), "invariant:money")
    assert found.outcome is Outcome.REFUTED
    assert str(shown(found, policy)["args"]["amount_usd"]).startswith("7")


@pytest.mark.parametrize("kind", ["deploy", "external-comms", "delete", "privilege"])
def test_each_invariant_fails_where_it_is_off_and_nothing_else_holds(kind: str) -> None:
    tags = "deploy, prod" if kind == "deploy" else kind
    text = f"actions: {{a.b: {{tier: 1, risk_tags: [{tags}]}}}}\ninvariants: {{disabled: [{kind}]}}"
    policy = policy_of(text)
    assert shown(only(prove(policy), f"invariant:{kind}"), policy) == {"topic": "a.b", "args": {}}
    asks = "\nrules: [{id: a, match: {topics: [a.b]}, decision: require_approval}]"
    assert prove(policy_of(text + asks)).outcome is Outcome.PROVED


def test_tags_that_trusted_code_registers_count_outside_the_catalogue() -> None:
    rule = "{id: a, match: {topics: [mail.send]}, decision: allow}"
    policy = policy_of(f"invariants: {{disabled: [external-comms]}}\nrules: [{rule}]")
    action = shown(only(prove(policy), "invariant:external-comms"), policy)
    assert action["risk_tags"] == ["external-comms"]


def test_a_rule_that_is_set_aside_holds_nothing_and_limits_nothing() -> None:
    text = """
actions: {a.b: {tier: 1, risk_tags: [delete]}}
invariants: {disabled: [delete]}
rules:
  - {id: asks, match: {topics: [a.b]}, decision: require_approval}
  - {id: lets, match: {topics: [a.b]}, decision: allow, when: "args.n > 3", overrides: [asks]}
"""
    policy = policy_of(text)
    assert shown(only(prove(policy), "invariant:delete"), policy)["args"]["n"] > 3
    assert never(policy, "args.n <= 3").outcome is Outcome.PROVED
    assert prove(policy_of(text.replace(", overrides: [asks]", ""))).outcome is Outcome.PROVED


def test_a_threshold_between_two_values_lies_between_them() -> None:
    policy = policy_of("""
actions: {a.b: {tier: 3, args: {n: integer}}}
rules: [{id: few, match: {topics: [a.b]}, decision: allow, when: "args.n < 2.5 && args.n != 0.5"}]
""")
    assert shown(never(policy, "args.n == 2"), policy)["args"] == {"n": 2}
    assert never(policy, "args.n >= 2.25").outcome is Outcome.PROVED
    assert never(policy, "args.n > 1.75 && args.n <= 2.25").outcome is Outcome.REFUTED


def test_no_action_moves_less_money_than_none() -> None:
    policy = allows("args.amount_usd < 0.01")
    assert never(policy, "args.amount_usd < 0").outcome is Outcome.PROVED
    assert shown(never(policy, "args.amount_usd == 0"), policy)["args"]["amount_usd"] == "0.00"


def test_a_limit_on_an_amount_that_nobody_declared_holds_what_says_one() -> None:
    policy = policy_of("""
actions: {a.b: {tier: 1}}
rules: [{id: much, match: {topics: [a.b], amount_usd_above: 50}, decision: deny}]
""")
    assert never(policy, "has(args.amount_usd) && args.amount_usd > 50").outcome is Outcome.PROVED
    assert shown(never(policy, "!has(args.amount_usd)"), policy)["args"] == {}
    assert shown(never(policy, "args.amount_usd > 49.99"), policy)["args"] == {"amount_usd": 50}


def test_what_is_asked_about_unknown_tags_is_answered_by_tags_that_can_be_registered() -> None:
    rule = {"id": "a", "match": {"topics": ["mail.send"]}, "decision": "allow"}
    for when, tags in (
        ("args.kind in tags && size(tags) == 2", 2),
        ("args.kind in tags && args.kind == 'bulk'", 2),
        ("!('bulk' in tags) && size(tags) > 2", 3),
        ("tags.exists(t, t == 'bulk')", None),  # known elements of unknown tags: tried, not worked out
        ("size(tags) < 0", 0),
    ):
        rules = json.dumps([{**rule, "when": when}])
        policy = policy_of(f"invariants: {{disabled: [delete]}}\nrules: {rules}")
        found = only(prove(policy), "invariant:delete")
        if tags:
            assert len(shown(found, policy)["risk_tags"]) == tags
        else:
            assert found.outcome is (Outcome.PROVED if tags == 0 else Outcome.UNDECIDED)


def test_a_request_that_silence_approves_runs_without_a_person() -> None:
    text = """
actions: {a.b: {tier: 1, risk_tags: [delete]}}
invariants: {disabled: [delete]}
rules: [{id: a, match: {topics: [a.b]}, decision: require_approval, lane: {window: 1h, on_timeout: END}}]
"""
    policy = policy_of(text.replace("END", "allow"))
    found = only(prove(policy), "invariant:delete")
    assert shown(found, policy)["topic"] == "a.b"
    assert found.counterexamples[0].verdict.decision is Decision.REQUIRE_APPROVAL
    assert runs(found.counterexamples[0].verdict)
    assert prove(policy_of(text.replace("END", "deny"))).outcome is Outcome.PROVED


def test_a_level_that_lets_agents_do_more_is_found_and_named() -> None:
    policy = policy_of("""
actions: {a.b: {tier: 3, risk_tags: [privilege]}}
invariants: {disabled: [privilege]}
autonomy_levels:
  level_0: {rules: [{match: {topics: ["*"]}, decision: require_approval}]}
  level_2: {rules: [{when: "args.n > 3", decision: deny}, {match: {topics: ["*"]}, decision: allow}]}
""")
    action = shown(only(prove(policy), "invariant:privilege"), policy)
    assert action["level"] == 2
    assert action["args"]["n"] <= 3


def test_in_observe_mode_nothing_holds_but_a_kill_switch() -> None:
    policy = policy_of(f"mode: observe\n{REFUNDS}")
    report = prove(policy)
    outcomes = {each.claim.name: each.outcome for each in report.results}
    assert outcomes.pop("kill-switch") is Outcome.PROVED
    assert set(outcomes.values()) == {Outcome.REFUTED}
    assert shown(result(report, "tier-4"), policy)["topic"] == "shop.wipe"
    assert result(report, "invariant:deploy").reasons == ()
    assert result(report, "confidence").reasons == ("observe mode: nothing is enforced",)


def test_the_kernel_has_the_last_word_about_a_counterexample() -> None:
    strict = allows("args.amount_usd <= 250", "")
    loose = allows("args.amount_usd <= 250", "invariants: {money_above_usd: 1000}")
    torn = replace(strict, document=loose.document)
    with pytest.raises(
        Disagreement, match=r"'never:args.amount_usd > 150', .* require_approval: \{"
    ) as raised:
        prove(torn, ["args.amount_usd > 150"])
    assert raised.value.exit_code == 70
    assert raised.value.extra["action"]["topic"] == "shop.refund"


def test_a_rule_that_lets_go_of_the_confident_would_be_found() -> None:
    """No such policy loads; so the prover is given the text of one, and the kernel of another."""
    text = """
actions: {a.b: {tier: 1}}
rules: [{id: a, match: {topics: [a.b]}, decision: require_approval, when: "signals.confidence < 0.5"}]
"""
    policy = policy_of(text)
    assert prove(policy).outcome is Outcome.PROVED
    rule = policy.document.rules[0].model_copy(update={"when": "signals.confidence > 0.5"})
    torn = replace(policy, document=policy.document.model_copy(update={"rules": (rule,)}))
    with pytest.raises(Disagreement, match="'confidence'"):
        prove(torn)


def test_without_time_nothing_is_claimed() -> None:
    report = prove(allows("args.amount_usd <= 250"), left=lambda: 0.0)
    assert report.outcome is Outcome.UNDECIDED
    assert {each.outcome for each in report.results} == {Outcome.UNDECIDED}
    assert "time ran out after 0 of" in report.results[0].reasons[0]


def test_the_same_policy_is_proved_alike_twice() -> None:
    policy = allows("args.note.contains('q') && args.amount_usd < 900 && 'x' in args.items")
    assert prove(policy, ["args.amount_usd > 5"]) == prove(policy, ["args.amount_usd > 5"])


# --- conditions of the caller's own -----------------------------------------------------------------------


def never(policy: Policy, condition: str) -> Result:
    return prove(policy, [condition]).results[-1]


def test_what_the_caller_forbids_is_proved_or_shown() -> None:
    policy = allows("args.amount_usd <= 250 && facts.prior < 3")
    assert never(policy, "args.amount_usd > 250").outcome is Outcome.PROVED
    assert never(policy, "args.amount_usd <= 250 && facts.prior >= 3").outcome is Outcome.PROVED
    found = never(policy, "facts.prior == 2 && topic == 'shop.refund'")
    assert shown(found, policy)["facts"] == {"prior": 2}
    assert never(policy, "tier == 3 && args.amount_usd > 17.5").outcome is Outcome.REFUTED
    assert never(policy, "'delete' in tags").outcome is Outcome.PROVED
    assert never(policy, "has(args.note) && args.note == 'x'").outcome is Outcome.REFUTED


def test_what_no_action_can_be_is_said_to_be_proved_for_that_reason() -> None:
    policy = allows("args.amount_usd <= 250")
    assert never(policy, "args.amount_usd > 300 && args.amount_usd < 200").vacuous
    assert never(policy, "args.note == 'too long for it'").vacuous is False  # of a topic nobody catalogued
    assert never(policy, "args.amount_usd > 250").vacuous is False


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("args.amout_usd > 3", "did you mean args.amount_usd"),
        ("facts.priors > 3", "did you mean facts.prior"),
        ("amount > 3", "unknown field"),
        ("args.amount_usd = 3", "=="),
        ("signals.confidence > 7", "between 0 and 1"),
        ("", "empty"),
    ],
)
def test_a_condition_that_nothing_can_meet_is_refused(condition: str, said: str) -> None:
    policy = policy_of(REFUNDS.replace("shop.wipe: {", "shop.wipe: {args: {}, "))
    with pytest.raises(InvalidInput, match=r"--never: .*") as raised:
        prove(policy, [condition])
    assert said in str(raised.value)


# --- texts, lists, topics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ("args.note.startsWith('ab') && args.note.endsWith('ba')", True),
        ("args.note.startsWith('abcde') && args.note.endsWith('vwxyz')", False),  # longer than it may be
        ("args.note.startsWith('a') && args.note.startsWith('b')", False),
        ("args.note.startsWith('a') && args.note == 'b'", False),
        ("args.note.contains('q') && size(args.note) < 2", True),
        ("args.note.contains('qq') && size(args.note) < 2", False),
        ("args.note.matches('^[a-c]{2,3}$') && !args.note.contains('a')", True),
        ("args.note.matches('^a+$') && args.note.contains('b')", False),
        ("args.note.matches('(?i)^HIT$') && args.note == 'hit'", True),
        ("args.note > 'b' && args.note < 'c'", True),
        ("args.note > 'b' && args.note <= 'b'", False),
        ("args.note >= 'b' && args.note <= 'b'", True),
        ("args.order == 'm' && args.order < args.note && args.note < 'n'", True),
        ("args.order == 'm' && args.order < args.note && args.note < 'b'", False),
        ("args.note != args.order && args.note == 'a' && args.order == 'a'", False),
        ("args.note != args.order && args.note in ['a', 'b'] && args.order.matches('^[ab]$')", True),
        ("args.note != args.note || args.note < args.note", False),
        ("args.note == args.order && args.order == 'x1' && args.note != 'x1'", False),
        ("args.note == args.order && args.order.endsWith('7')", True),
        ("args.note in ['a', 'b'] && !(args.note in ['a', 'b', 'c'])", False),
        ("args.note != 'a' && args.note in ['a', 'b']", True),
        ("args.note.startsWith('ü') && args.note.endsWith('\\\\')", True),
        ("!has(args.note) && args.note == 'x'", False),
        ("provenance.order == 'known' && !(provenance.order in ['user', 'known'])", False),
        ("provenance.order != provenance.note && provenance.order > 'unseen'", True),
        ("signals.duplicate_of.startsWith('act_') && !has(signals.duplicate_of)", False),
    ],
)
def test_texts_are_found_where_there_are_any_and_ruled_out_where_there_are_none(
    when: str, runs: bool
) -> None:
    policy = allows(when)
    found = only(prove(policy), "invariant:money")
    assert found.outcome is (Outcome.REFUTED if runs else Outcome.PROVED)
    if runs:
        shown(found, policy)


def test_what_contradicts_itself_is_ruled_out_and_nothing_more() -> None:
    """A plain action has no retries, so first the texts are supposed equal, which they cannot be."""
    policy = allows(
        "(args.note == args.order || signals.retry_count > 1)"
        " && args.note.startsWith('a') && args.order.startsWith('b')"
    )
    report = prove(policy, ["args.amount_usd > 5", "args.amount_usd > 6"])
    for name in ("invariant:money", "never:args.amount_usd > 5", "never:args.amount_usd > 6"):
        assert shown(result(report, name), policy)["signals"]["retry_count"] > 1
    assert never(policy, "signals.retry_count < 2 && topic == 'shop.refund'").outcome is Outcome.PROVED


@pytest.mark.parametrize(
    "when",
    [
        "args.order.matches('^[ab]*a[ab]{15}$') && args.order.matches('^[ab]*b[ab]{15}$')",  # too many ways
        "args.order.matches('(?i)^hit$') && args.order.startsWith('h')",  # a flag that is not translated
    ],
)
def test_where_nobody_knows_whether_there_is_a_text_nothing_is_claimed(when: str) -> None:
    found = only(prove(allows(when)), "invariant:money")
    assert found.outcome is Outcome.UNDECIDED
    assert found.reasons == (
        "shop.refund: whether there is a text that answers as it would have to is not known",
    )


@pytest.mark.parametrize(
    ("when", "outcome"),
    [
        ("'x' in args.items && !('y' in args.items) && size(args.items) == 7", Outcome.REFUTED),
        ("'x' in args.items && size(args.items) == 0", Outcome.PROVED),
        ("args.items.all(i, i.price < 5 && i.name == args.order) && size(args.items) > 1", Outcome.REFUTED),
        ("args.items.exists(i, i > 3 && i < 2)", Outcome.PROVED),
        ("args.items.exists(i, i == args.order) && !has(args.items)", Outcome.PROVED),
        ("args.items.exists(i, i.deep.er in [1, 2]) && args.order in args.items", Outcome.REFUTED),
        ("!args.items.all(i, i != 'x' || args.order == 'free')", Outcome.REFUTED),
        ("!args.items.all(i, i != 'x' || args.amount_usd > 0) && args.amount_usd > 5", Outcome.PROVED),
        ("size(args.items) > 1000 && 'x' in args.items", Outcome.PROVED),
        ("'x' in args.items && args.items.all(i, i == 'y')", Outcome.UNDECIDED),
    ],
)
def test_lists_are_built_where_there_are_any_and_never_claimed_where_nobody_knows(
    when: str, outcome: Outcome
) -> None:
    policy = allows(when)
    found = only(prove(policy), "invariant:money")
    assert found.outcome is outcome
    if outcome is Outcome.REFUTED:
        shown(found, policy)
    if outcome is Outcome.UNDECIDED:
        assert "no list was found" in found.reasons[0]


def test_a_condition_about_the_topic_picks_a_topic_of_the_pattern() -> None:
    text = """
actions: {files.*: {tier: 2, risk_tags: [delete], undo: files.put, undo_within: 1m}, files.keep: {tier: 3}}
invariants: {disabled: [delete]}
rules: [{id: a, match: {topics: ["files.**"]}, decision: deny, when: "!topic.endsWith('END')"}]
"""
    policy = policy_of(text.replace("END", "-old"))
    topic = shown(only(prove(policy), "invariant:delete"), policy)["topic"]
    assert topic.startswith("files.")
    assert topic.endswith("-old")
    assert prove(policy_of(text.replace("END", "p.q"))).outcome is Outcome.PROVED  # three segments
    assert prove(policy_of(text.replace("END", "UP"))).outcome is Outcome.PROVED  # no topic has capitals


def test_every_pattern_of_a_rule_is_looked_at_where_the_topic_matters() -> None:
    policy = policy_of("""
rules:
  - match: {topics: [a.b, "*.c", "d.*"]}
    when: topic.contains('q') && args.n > 3
    decision: allow
""")
    assert Topics(policy).of("a.b").topics == ("a.b",)
    classes = [one for one in Topics(policy).classes() if one.named]
    assert [set(one.topics) for one in classes] == [{"a.b", "other.c", "d.c", "d.other"}]
    assert "q" in shown(never(policy, "topic.endsWith('.c')"), policy)["topic"]
    assert "q" in shown(never(policy, "topic.startsWith('d.') && !topic.endsWith('.c')"), policy)["topic"]
    assert never(policy, "topic.startsWith('a.') && !topic.endsWith('.c')").outcome is Outcome.PROVED


def test_a_topic_of_another_class_is_no_topic_of_this_one() -> None:
    policy = policy_of("""
actions: {files.*: {tier: 2, undo: files.put, undo_within: 1m}, files.a: {tier: 3}, files.b: {tier: 3}}
""")
    assert never(policy, "topic.matches('^files[.][ab]$')").outcome is Outcome.PROVED
    assert never(policy, "topic.matches('^files[.][a-c]$')").outcome is Outcome.REFUTED


def test_the_tags_of_the_catalogue_are_what_conditions_read() -> None:
    text = """
actions: {a.b: {tier: 1, risk_tags: [delete, bulk]}}
invariants: {disabled: [delete]}
rules: [{id: a, decision: deny, match: {topics: [a.b]}, when: "WHEN"}]
"""
    for when, outcome in (
        ("'bulk' in tags", Outcome.PROVED),
        ("size(tags) == 3", Outcome.REFUTED),
        ("tags.exists(t, t == args.kind)", Outcome.REFUTED),
        ("tags.exists(t, t.startsWith('bu') || args.kind == 'x')", Outcome.PROVED),
        ("!(args.kind in tags)", Outcome.REFUTED),
        ("tags.all(t, size(t) >= 4)", Outcome.PROVED),
        ("tags.all(t, t == 'bulk' || args.kind == 'x')", Outcome.REFUTED),
    ):
        assert prove(policy_of(text.replace("WHEN", when))).outcome is outcome, when


# --- at random --------------------------------------------------------------------------------------------


@settings(few, max_examples=25)
@given(cases(asked=40, modes=("enforce",)))
def test_no_action_breaks_what_is_proved_and_what_is_refuted_is_shown(case: Case) -> None:
    policy = case.policy
    report = prove(policy, ["args.amount_usd > 50", own_condition(case.random)])
    for each in report.results:
        assert each.outcome is not Outcome.REFUTED or shown(each, policy)
        assert each.outcome is not Outcome.UNDECIDED or each.reasons
    proved = [each.claim for each in report.results if each.outcome is Outcome.PROVED]
    for question in case.questions:
        asked = earnest(question, policy)
        if asked is not None:
            verdict = policy.decide(asked)
            assert not any(broken(claim, policy, asked, verdict) for claim in proved)


def own_condition(r: Random) -> str:
    found = condition(r, tier=True)
    return found if "args.items." not in found else "'x' in args.items"


SEGMENTS = ["a", "b", "one", "two", "deep", "z9"]


@few
@given(cases(asked=1), st.lists(st.lists(st.sampled_from(SEGMENTS), min_size=2, max_size=4), max_size=20))
def test_every_topic_is_of_exactly_one_class(case: Case, paths: list[list[str]]) -> None:
    topics = Topics(case.policy)
    classes = list(topics.classes())
    for topic in map(".".join, paths):
        found = [one for one in classes if topics.alike(one, topic)]
        assert len(found) == 1
        assert not found[0].only or found[0].topic == topic


def test_topics_at_the_edge_of_what_a_topic_can_be_have_a_class() -> None:
    deep, long, wide = ".".join(["a"] * 16), "a." + "b" * 253, "c" * 252
    policy = policy_of(f"""
actions:
  {deep}: {{tier: 1}}
  {long}: {{tier: 2}}
  a.**: {{tier: 4}}
  {wide}.**: {{tier: 3}}
  "*.y": {{tier: 1}}
""")
    classes = {one.topic: one for one in Topics(policy).classes()}
    assert classes[deep].only
    assert classes[long].only
    found = sorted(one.entry.pattern for one in classes.values() if one.entry is not None)
    assert found == sorted([deep, long, "a.**", f"{wide}.**", "*.y"])
    assert {"other.y", f"{wide}.x", "other.other"} < classes.keys()


# --- patterns ---------------------------------------------------------------------------------------------

PATTERNS = [
    *("abc", "^a", "a$", "^abc$", "a|b", "^a|b$", "[a-c]+", "[^a]", "^[^a]*$", "a.c", ".", "(ab)+c?"),
    *("(?:a|bc)*d", "^a{2,3}$", "^a{2,}$", "^a{2}$", "a{0}b", r"\d+", r"^\w+@\w+\.com$", r"\s", r"\S"),
    *(r"[\d-]", "[]a]", "[a-]", r"\.", "^a*?b+?$", "", "^$", "a||b", "()", "^(a|)b$", r"[^\n]", r"^\D$"),
    *(r"\\", "é+", "[à-ü]", "^.$"),
]
UNTOLD = [
    "(?i)a",
    r"\bword",
    r"\pL",
    "(a$)b",
    "a^b",
    "(?P<n>a)",
    "[[:alpha:]]",
    r"\x41",
    "a{2,3}{2}",
    "a{,2}",
]


@few
@given(st.sampled_from(PATTERNS), st.text("abcd.@\\\n 0é-com{", max_size=6))
@example("^a$", "a\n")
@example("^a{2}$", "aa")
@example("^a{2,3}$", "aaa")
@example("^a{2,}$", "aa")
@example("^a*?b+?$", "aab")
@example(".", "\n")
def test_a_translated_pattern_matches_what_re2_matches(pattern: str, text: str) -> None:
    languages = Languages()
    language = pattern_language(pattern, languages)
    assert language is not None
    assert languages.holds(language, text) is search(pattern_of(pattern), text)


@pytest.mark.parametrize("pattern", UNTOLD)
def test_what_is_not_translated_is_not_guessed(pattern: str) -> None:
    assert pattern_language(pattern, Languages()) is None


# --- languages --------------------------------------------------------------------------------------------


@st.composite
def drawn(draw: st.DrawFn, languages: Languages, depth: int = 3) -> tuple[Language, Callable[[str], bool]]:
    """A language, and the same as a function."""
    text = draw(st.text("abü", max_size=3))
    anything = languages.anything
    leaf: list[tuple[Language, Callable[[str], bool]]] = [
        (languages.literal(text), lambda x: x == text),
        (languages.sequence(languages.literal(text), anything), lambda x: x.startswith(text)),
        (languages.sequence(anything, languages.literal(text)), lambda x: x.endswith(text)),
        (languages.sequence(anything, languages.literal(text), anything), lambda x: text in x),
        (languages.below(text), lambda x: x < text),
        (languages.times(languages.literal("a"), 1, 2), lambda x: x in ("a", "aa")),
    ]
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(leaf))
    one, holds_one = draw(drawn(languages, depth - 1))
    other, holds_other = draw(drawn(languages, depth - 1))
    joined: list[tuple[Language, Callable[[str], bool]]] = [
        (languages.choice(one, other), lambda x: holds_one(x) or holds_other(x)),
        (languages.all_of(one, other), lambda x: holds_one(x) and holds_other(x)),
        (languages.besides(one), lambda x: not holds_one(x)),
    ]
    return draw(st.sampled_from(joined))


@few
@given(st.data(), st.lists(st.text("abüz", max_size=5), max_size=12), st.integers(0, 3), st.integers(0, 4))
def test_a_language_holds_what_it_is_made_of_and_its_shortest_text_is_one(
    data: st.DataObject, texts: list[str], least: int, more: int
) -> None:
    languages = Languages()
    language, holds_of = data.draw(drawn(languages))
    assert all(languages.holds(language, text) is holds_of(text) for text in texts)
    found = languages.shortest(language, least, least + more)
    fitting = [text for text in texts if holds_of(text) and least <= len(text) <= least + more]
    assert found is not UNKNOWN
    if isinstance(found, str):
        assert holds_of(found)
        assert least <= len(found) <= least + more
        assert all(len(found) <= len(text) for text in fitting)
    else:
        assert not fitting


def test_a_language_too_large_to_walk_is_not_called_empty() -> None:
    languages = Languages()
    letter = languages.characters(((0x61, 0x62),))
    far = languages.sequence(languages.anything, languages.literal("a"), languages.times(letter, 60, 60))
    both = languages.all_of(
        far, languages.besides(languages.sequence(languages.anything, languages.literal("b")))
    )
    assert languages.shortest(languages.all_of(both, languages.literal("a"))) is None
    assert languages.shortest(both, 100_000) is UNKNOWN


def test_a_field_behind_a_text_is_neither_there_nor_absent() -> None:
    policy = parse(
        {
            "p.yaml": """
interlock: 1
actions: {a.send: {tier: 3, args: {body: {type: object}}}}
rules:
  - id: ok
    match: {topics: [a.send]}
    when: '!has(args.body.opts.force) || args.body.opts == "x"'
    decision: allow
"""
        }
    )
    found = prove(policy, ["args.body.opts != 'x'"]).results[-1]
    assert found.outcome is not Outcome.REFUTED, "opts is a text, so has(args.body.opts.force) is unknown"
    assert prove(policy, ["!has(args.body.opts)"]).results[-1].outcome is Outcome.REFUTED
