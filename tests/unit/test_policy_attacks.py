"""Attacks on the policy kernel and its tools, each as the claim that it fails.

1. The attackers: an agent with a key of its own, who chooses arguments, confidence and topics; a hurried
   author; somebody who may edit one policy file of several; a server whose tool list is imported.
2. An attack is here because it was tried. What it must not reach stands in its name.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

import policies_at_random as at_random
from interlock.authoring import diff, read_cases, simulate
from interlock.authoring.draft import write_policy
from interlock.authoring.fmt import format_policy
from interlock.authoring.import_escalate import draft_from_escalate
from interlock.authoring.import_mcp import draft_from_mcp
from interlock.authoring.import_openapi import draft_from_openapi
from interlock.authoring.prove import Outcome, prove
from interlock.client.registry import Guarded
from interlock.home import read_policy
from interlock.model.actions import Signals
from interlock.model.canonical import canonical, parse_json
from interlock.model.errors import BadTopic, InvalidInput, PolicyError
from interlock.model.verdicts import Decision, OnTimeout, Tier, Verdict
from interlock.policy import Policy, Question, decide, parse, plans

SURE, UNSURE = Signals(confidence=Decimal(1)), Signals(confidence=Decimal("0.1"))
DOUBTS = (UNSURE, Signals())


def load(*files: str) -> Policy:
    """The policy of some files, without the line that all of them begin with."""
    return parse({f"{number}.yaml": f"interlock: 1\n{text}" for number, text in enumerate(files)})


def refusals(*files: str) -> str:
    with pytest.raises(PolicyError) as refused:
        load(*files)
    return refused.value.detail


def says(policy: Policy, topic: str, args: Mapping[str, Any] | None = None, **more: Any) -> str:
    return policy.decide(Question(topic, policy.check_args(topic, args or {}), **more)).decision.value


def one_rule(when: str, decision: str = "allow", args: str = "") -> Policy:
    declared = f", args: {args}" if args else ""
    return load(
        f"actions: {{a.send: {{tier: 3{declared}}}}}\n"
        f"rules: [{{id: it, match: {{topics: [a.send]}}, when: {json.dumps(when)}, decision: {decision}}}]\n"
    )


# --- an agent's arguments ---------------------------------------------------------------------------------

IN_THE_WAY: list[Any] = ['{"force": true}', [{"force": True}], ["force"], 1, True]


@pytest.mark.parametrize("opts", IN_THE_WAY)
def test_a_field_hidden_in_something_that_is_no_object_is_not_absent(opts: Any) -> None:
    body = {"body": {"opts": opts}}
    assert says(one_rule("has(args.body.opts.force)", "deny", "{body: object}"), "a.send", body) == "deny"
    permits = one_rule("!has(args.body.opts.force)", "allow", "{body: object}")
    assert says(permits, "a.send", body) == "require_approval"
    assert says(permits, "a.send", {"body": {"opts": {}}}) == "allow"


@pytest.mark.parametrize("element", ['{"force": true}', ["force"], 7])
def test_nor_is_it_absent_from_an_element_that_is_no_object(element: Any) -> None:
    policy = one_rule("args.calls.exists(c, has(c.opts.force))", "deny")
    assert says(policy, "a.send", {"calls": [{"opts": element}]}) == "deny"
    assert says(policy, "a.send", {"calls": [{"opts": {}}, {}]}) == "require_approval"


@pytest.mark.parametrize("value", [True, False, "1", "", None, [], [1], {}, {"n": 1}, "NaN", "1e3"])
def test_nothing_but_a_number_is_below_a_limit(value: Any) -> None:
    assert says(one_rule("args.n < 50"), "a.send", {"n": value}) == "require_approval"
    assert says(one_rule("args.n >= 50", "deny"), "a.send", {"n": value}) == "deny"


@pytest.mark.parametrize(
    "text",
    ["1e2", "+1", " 1", "1 ", "1_000", "0x10", "１", "٣", "1,00", "01", "1.", ".5", "-0.01", "9" * 19, "1\n"],
)
def test_an_amount_has_one_spelling_and_is_never_negative(text: str) -> None:
    policy = one_rule("args.amount < 50", args="{amount: {type: decimal, scale: 2, currency: USD}}")
    with pytest.raises(InvalidInput):
        policy.check_args("a.send", {"amount": text})


def test_an_amount_nobody_declared_talks_no_invariant_away() -> None:
    policy = load("actions: {a.pay: {tier: 1, risk_tags: [money]}}\n")
    for amount in ("1.00", 1, 0, "x"):
        assert says(policy, "a.pay", {"amount_usd": amount}) == "require_approval"


ODD: list[Any] = [
    *(
        True,
        "5",
        [],
        ["x"],
        [True],
        [["x"]],
        [{"level": 2}],
        {},
        {"level": "x"},
        {"level": [2]},
        {"level": None},
    ),
    *('{"level": 2}', None),
]


def test_no_argument_of_an_odd_type_is_worth_more_than_all_proper_ones() -> None:
    random = Random(3)
    for _ in range(40):
        document = at_random.document(random, modes=("enforce",))
        for entry in document["actions"].values():
            if random.random() < 0.7:
                entry.pop("args", None)
                entry.pop("roles", None)
        policy = at_random.build(document)
        for _ in range(10):
            question = at_random.question(random, full=True)
            name = random.choice(list(at_random.ARGUMENTS))
            proper = [*at_random.ARGUMENTS[name], *({"level": n, "kind": k} for n in (0, 9) for k in "xy")]
            rest = {other: value for other, value in question.args.items() if other != name}
            loosest = min(
                policy.decide(replace(question, args=args)).decision.severity
                for args in (rest, *({**rest, name: value} for value in proper))
            )
            odd = replace(question, args={**rest, name: random.choice(ODD)})
            verdict = policy.decide(odd)
            assert verdict.decision.severity >= loosest, (document, odd)
            assert policy.decision(odd) is verdict.decision


@pytest.mark.parametrize("listed", [["x", 5], [None], [["x"]], [{"a": "x"}], [True], ["y", False]])
def test_a_list_of_mixed_things_proves_no_absence(listed: list[Any]) -> None:
    assert says(one_rule("!('z' in args.l)"), "a.send", {"l": listed}) == "require_approval"
    assert says(one_rule("'z' in args.l", "deny"), "a.send", {"l": listed}) == "deny"


def test_one_and_true_are_different_members() -> None:
    policy = one_rule("args.n in args.l")
    assert says(policy, "a.send", {"n": 1, "l": [True]}) == "require_approval"
    assert says(policy, "a.send", {"n": True, "l": [1]}) == "require_approval"
    assert says(policy, "a.send", {"n": 1, "l": [1.0]}) == "allow"


def test_a_list_too_long_to_look_through_proves_nothing() -> None:
    clean = {"l": ["a"] * 1_001}
    for when in ("args.l.all(x, x == 'a')", "!args.l.exists(x, x == 'b')", "!('b' in args.l)"):
        assert says(one_rule(when), "a.send", clean) == "require_approval"
    assert says(one_rule("args.l.exists(x, x == 'b')", "deny"), "a.send", clean) == "deny"


def test_a_text_too_long_to_search_proves_nothing_and_takes_no_time() -> None:
    long = {"s": "ab" * 250_000}
    started = time.perf_counter()
    assert says(one_rule(r"!args.s.matches('(a|b)*a(a|b){200}x')"), "a.send", long) == "require_approval"
    assert says(one_rule(r"args.s.matches('(a|b)*a(a|b){200}x')", "deny"), "a.send", long) == "deny"
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("tail", ["\n", "\nrm -rf /", " ; x", "\u2028x"])
def test_an_anchored_pattern_means_the_whole_text(tail: str) -> None:
    policy = one_rule("args.command.matches('^git status$')")
    assert says(policy, "a.send", {"command": "git status"}) == "allow"
    assert says(policy, "a.send", {"command": f"git status{tail}"}) == "require_approval"


def test_sizes_count_code_points_and_half_a_pair_is_refused() -> None:
    policy = one_rule("size(args.s) == 1")
    assert says(policy, "a.send", {"s": "😀"}) == "allow"
    with pytest.raises(InvalidInput):
        policy.check_args("a.send", {"s": "\ud83d"})


@pytest.mark.parametrize(
    "topic", ["a.sеnd", "A.send", "a.send ", "a..send", "a.send\n", "a.ｓend", "a", "*", "a.*", "a.**"]
)
def test_a_topic_is_written_as_it_is_or_refused(topic: str) -> None:
    policy = load(
        "actions: {a.send: {tier: 3}}\nrules: [{id: it, match: {topics: [a.*]}, decision: allow}]\n"
    )
    with pytest.raises(BadTopic):
        policy.decide(Question(topic, {}))


def test_texts_of_an_agent_stay_in_nobodys_memory() -> None:
    policy = load("rules: [{id: it, match: {topics: [a.b], amount_usd_above: 5}, decision: deny}]\n")
    tracemalloc.start()
    try:
        for number in range(40):
            assert says(policy, "a.b", {"amount_usd": f"{number}{'9' * 500_000}"}) == "deny"
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()


def test_topics_and_arguments_of_an_agent_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "REMEMBERED_VERDICTS", 20)
    monkeypatch.setattr(plans, "REMEMBERED_TOPICS", 10)
    rules = "".join(
        f"- {{id: r{n}, match: {{topics: [job.**]}}, when: args.a{n} > 1, decision: require_approval}}\n"
        for n in range(5)
    )
    policy = load(f"actions: {{job.**: {{tier: 3}}}}\nrules:\n{rules}")
    for topic, given in product(range(25), product((False, True), repeat=5)):
        args = {f"a{n}": 0 for n, there in enumerate(given) if there}
        policy.decide(Question(f"job.t{topic}", args))
        policy.decide(Question(f"other.t{topic}", args, tags=frozenset({f"t{topic}"})))
    assert policy._plans.remembered <= 20
    assert len(policy._plans.verdicts) <= 20


# --- an agent's confidence --------------------------------------------------------------------------------


def test_doubt_does_not_make_silence_come_sooner() -> None:
    policy = load(
        "actions: {a.read: {tier: 1}}\n"
        "rules:\n"
        "- {id: slow, match: {topics: [a.read]}, decision: require_approval,"
        " lane: {window: 1h, on_timeout: allow}}\n"
        "- {id: doubt, match: {topics: [a.read], confidence_below: 0.5}, decision: require_approval,"
        " lane: {window: 1s, on_timeout: allow}}\n"
        "- {id: unknown, match: {topics: [a.read]}, when: args.n > 5, decision: require_approval,"
        " lane: {window: 2s, on_timeout: allow}}\n"
    )
    for signals in (SURE, *DOUBTS):
        for args in ({}, {"n": 1}, {"n": 9}):
            lane = policy.decide(Question("a.read", args, signals)).lane
            assert lane is not None
            assert lane.on_timeout is OnTimeout.ALLOW
            assert lane.window_sec >= 3_600


def test_doubt_does_not_swap_a_denial_or_a_kill_switch_for_an_escalation() -> None:
    for end in ("deny", "kill_switch"):
        policy = load(
            "actions: {a.read: {tier: 1}}\n"
            "rules:\n"
            f"- {{id: first, match: {{topics: [a.read]}}, decision: require_approval,"
            f" lane: {{window: 1h, on_timeout: {end}}}}}\n"
            "- {id: doubt, match: {topics: [a.read], confidence_below: 0.5}, decision: require_approval,"
            " lane: {window: 1s, on_timeout: escalate}}\n"
        )
        for signals in (SURE, *DOUBTS):
            lane = policy.decide(Question("a.read", {}, signals)).lane
            assert lane is not None
            assert lane.on_timeout.value == end


@pytest.mark.parametrize("tier_asked", ["tier == 3", "tier < 4", "tier in [3]", "tier != 4", "!(tier == 4)"])
def test_a_tier_that_doubt_may_raise_proves_nothing(tier_asked: str) -> None:
    policy = load(
        "actions: {a.send: {tier: 3, raise_to: [{tier: 4, when: signals.confidence < 0.5}]}}\n"
        f"rules: [{{id: it, match: {{topics: [a.send]}}, when: {tier_asked!r}, decision: allow}}]\n"
    )
    assert says(policy, "a.send", signals=SURE) == "allow"
    for signals in DOUBTS:
        assert says(policy, "a.send", signals=signals) == "require_approval"


def test_doubt_proves_no_higher_tier_either() -> None:
    policy = load(
        "actions: {a.send: {tier: 2, undo: a.back, undo_within: 5m,"
        " raise_to: [{tier: 3, when: signals.confidence < 0.5}]}}\n"
        "rules:\n"
        "- {id: shut, match: {topics: [a.send]}, when: tier == 2, decision: deny}\n"
        "- {id: run, match: {topics: [a.send]}, when: tier == 3, decision: allow}\n"
    )
    for signals in (SURE, *DOUBTS):
        assert says(policy, "a.send", signals=signals) == "deny"


@pytest.mark.parametrize("tier_asked", ["tier == 3", "tier < 4", "tier in [3, 4]"])
def test_a_tier_that_doubt_may_raise_sets_no_rule_aside(tier_asked: str) -> None:
    policy = load(
        "actions: {a.send: {tier: 3, raise_to: [{tier: 4, when: signals.confidence < 0.5}]}}\n"
        "rules:\n"
        "- {id: shut, match: {topics: [a.send]}, decision: deny}\n"
        f"- {{id: but, match: {{topics: [a.send]}}, when: {tier_asked!r}, decision: require_approval,"
        " overrides: [shut]}\n"
    )
    loosest = min(Decision(says(policy, "a.send", signals=s)).severity for s in DOUBTS)
    assert loosest >= Decision(says(policy, "a.send", signals=SURE)).severity


GARBLED: list[Any] = [
    None, True, False, "x", "0.5", b"1", [], {}, (1,), object(), float("nan"), float("inf"), -1.5,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal(-7), -3, 2**90, Decimal("1e999999"),
]  # fmt: skip


def test_no_garbled_signal_breaks_or_loosens_a_decision() -> None:
    policy = load(
        "actions: {a.read: {tier: 1}}\n"
        "triggers: {confidence: {floor: 0.5}}\n"
        "rules:\n"
        "- {id: users, match: {topics: [a.read], affected_users_above: 5}, decision: require_approval}\n"
        "- {id: first, match: {topics: [a.read], first_time_action: true}, decision: require_approval}\n"
    )
    for field_, value in product(fields(Signals), GARBLED):
        question = Question("a.read", {}, replace(SURE, **{field_.name: value}))
        verdict = policy.decide(question)
        assert policy.decision(question) is verdict.decision
        if field_.name in ("confidence", "retry_count", "anomaly_score", "sentiment", "injection_score"):
            assert verdict.held, (field_.name, value)
    assert says(policy, "a.read", signals=SURE) == "allow"


# --- a hurried author -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{id: it, match: {topics: a.b}, decision: deny}]",
        "rules: [{id: it, match: {topics: []}, decision: deny}]",
        "rules: [{id: it, match: {topics: }, decision: deny}]",
        "rules: [{id: it, match: {topics: ~}, decision: deny}]",
        "rules: [{id: it, match: {topics: [a.b], risk_tags: prod}, decision: deny}]",
        "rules: [{id: it, match: {topics: [a.b], risk_tags: [Prod]}, decision: deny}]",
        "rules: [{id: it, match: {topic: [a.b]}, decision: deny}]",
        "rules: [{id: it, match: {topics: [a.b], confidence_below: '0.7'}, decision: deny}]",
        "rules: [{id: it, match: {topics: [a.b], amount_usd_above: 1e400}, decision: deny}]",
        "rules: [{id: it, match: {topics: [a.b]}, decision: Deny}]",
        "rules: [{id: it, match: {topics: [a.b]}, decision: deny, locked: yes}]",
        "rules: [{id: it, match: {topics: [a.b]}, decision: deny, when: true}]",
        "rules: [{id: it, match: {topics: [a.b]}, decision: deny, when: ''}]",
        "rules: [{id: it, match: {topics: [a.b]}, decision: deny, overrides: other}]",
        "rules: [{id: it, decision: allow}]",
        "rules: [{id: it, match: {}, decision: allow}]",
        "rules: [{id: it, match: {topics: [job]}, decision: deny}]",
        "rules: [{id: it, match: {topics: [job.**.x]}, decision: deny}]",
        "rules: {it: {match: {topics: [a.b]}, decision: deny}}",
        "actions: {a.b: {tier: '4'}}",
        "actions: {a.b: {tier: 4.0}}",
        "actions: {a.b: {tier: 4, tier: 1}}",
        "actions: {a.b: &x {tier: 4}, a.c: *x}",
        "actions: {a.b: {tier: 4, <<: {tier: 1}}}",
        "actions: {'**': {tier: 1}}",
        "actions: {'*': {tier: 1}}",
        "triggers: {anomaly: {enabled: no}}",
        "invariants: {disabled: []}",
        "lanes: {quick: {window: 15, on_timeout: deny}}",
        "lanes: {quick: {window: 15m, on_timeout: approve}}",
        "mode: dry-run",
        "default_decision: allow",
        "---\nrules: []\n---\nrules: []",
        "a: !!python/object/apply:os.system [id]",
    ],
)
def test_a_slip_of_the_pen_does_not_load(text: str) -> None:
    assert refusals(text)


@pytest.mark.parametrize(
    "when",
    [
        "!args.f == true",
        "! args.n < 3",
        "!args.s in ['x']",
        "args.n == 1 == true",
        "0 < args.n < 5",
        "args.n = 1",
        "args.a and args.b",
        "args.a & args.b",
        "args.s == null",
        "args.s == 'a' 'b'",
        "args['n'] == 1",
        "'a' in 'abc'",
        "tags == ['prod']",
        "args.n + 1 > 2",
        "args.n > 1e3",
        "args.n > 01",
        "args.s == '\\u0041'",
        "args.s.matches('(')",
        "args.s.matches(args.t)",
        "args.l.exists(args, args > 1)",
        "args.l.exists(x, x.l.exists(y, y > 1))",
        "args.l.exists(signals, signals.confidence > 1)",
        "signals.confidenc < 0.5",
        "amount > 3",
    ],
)
def test_a_condition_with_two_readings_or_none_does_not_load(when: str) -> None:
    rule = f"{{id: it, match: {{topics: [a.b]}}, when: {json.dumps(when)}, decision: deny}}"
    told = refusals(f"rules: [{rule}]")
    assert "at character" in told or "unknown field" in told


@pytest.mark.parametrize(
    ("decision", "when"),
    [
        ("allow", "signals.confidence > 0.9"),
        ("allow_with_constraints", "signals.confidence < 2"),
        ("allow", "args.n < 5 || !(signals.confidence < 0.5)"),
        ("deny", "signals.confidence > 0.5"),
        ("deny", "signals.confidence == 0.5"),
        ("deny", "!(signals.confidence < 0.5)"),
        ("deny", "signals.confidence in [0.1]"),
        ("deny", "has(signals.confidence)"),
        ("deny", "!has(signals.confidence)"),
        ("deny", "signals.confidence < args.n"),
        ("deny", "args.l.exists(x, signals.confidence > x)"),
        ("require_approval", "0.5 < signals.confidence"),
    ],
)
def test_no_way_of_reading_confidence_rewards_reporting_it(decision: str, when: str) -> None:
    assert "confidence" in refusals(
        f"rules: [{{id: it, match: {{topics: [a.b]}}, when: {json.dumps(when)}, decision: {decision}}}]"
    )


@pytest.mark.parametrize(
    "name",
    ["deny.YAML", "deny.Yml", "deny.test.json", "deny.json5", "below/deny.yaml", "deny.yaml/x", "pipe.yaml"],
)
def test_no_file_of_a_policy_is_silently_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "policy.yaml").write_text("interlock: 1\nactions: {a.b: {tier: 1}}\n")
    assert read_policy(tmp_path).name == "policy"
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    if name == "pipe.yaml":
        os.mkfifo(file)
    else:
        file.write_text("interlock: 1\nrules: [{id: shut, match: {topics: [a.b]}, decision: deny}]\n")
    with pytest.raises(PolicyError):
        read_policy(tmp_path)


@pytest.mark.parametrize("tags", ["delete", ("Delete",), ("delete ",), ("",), (1,), ("external comms",)])
def test_a_registration_with_tags_that_are_none_is_refused(tags: Any) -> None:
    with pytest.raises(InvalidInput):
        Guarded.bind("x.wipe", lambda: None, tags)
    for given in (["delete"], iter(["delete"]), {"delete": 1}.keys()):
        assert Guarded.bind("x.wipe", lambda: None, given).tags == ("delete",)


# --- one file of several ----------------------------------------------------------------------------------

GUARDED = (
    "actions: {job.wipe: {tier: 3, risk_tags: [delete]}}\n"
    "rules: [{id: shut, match: {topics: [job.wipe]}, decision: deny, locked: true}]\n"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rules: [{id: in, match: {topics: ['*']}, decision: allow, overrides: [shut]}]", "locked"),
        ("rules: [{id: shut, match: {topics: [x.y]}, decision: allow}]", "taken"),
        ("actions: {job.wipe: {tier: 1}}", "already"),
        ("rules: [{id: 'rules[0]', match: {topics: [x.y]}, decision: allow}]", "does not have the form"),
        (
            "rules: [{id: 'invariant:delete', match: {topics: [x.y]}, decision: allow}]",
            "does not have the form",
        ),
        ("rules: [{id: 'kill-switch:k', match: {topics: [x.y]}, decision: deny}]", "does not have the form"),
        ("triggers: {risk_tier: {enabled: false}}", "tier 4"),
        ("triggers: {risk_tier: {tiers: [3]}}", "tier 4"),
        ("default_decision: allow", "refused"),
        ("name: x\nsteps: {}\nrules: [{id: in, match: {topics: ['*']}, decision: allow}]", "does not belong"),
    ],
)
def test_a_second_file_takes_no_lock_off(text: str, why: str) -> None:
    assert why in refusals(GUARDED, text)
    assert why in refusals(text, GUARDED)


@pytest.mark.parametrize(
    ("stated", "other"),
    [
        ("mode: enforce", "mode: observe"),
        ("people: team", "people: solo"),
        ("default_decision: deny", "default_decision: require_approval"),
        ("invariants: {money_above_usd: 100}", "invariants: {money_above_usd: 9000}"),
        ("triggers: {anomaly: {above: 0.8}}", "triggers: {anomaly: {above: 1}}"),
        ("owners: [security]", "owners: [interns]"),
        ("routing: {default: desk}", "routing: {default: interns}"),
        (
            "lanes: {quick: {window: 2m, on_timeout: deny}}",
            "lanes: {quick: {window: 9d, on_timeout: escalate}}",
        ),
    ],
)
def test_what_one_file_states_no_other_file_changes(stated: str, other: str) -> None:
    for files in ((stated, other), (other, stated)):
        refused = refusals(*files)
        assert "has another value in" in refused or "is already defined in" in refused


def test_every_guard_that_a_second_file_takes_away_is_named() -> None:
    warnings = "\n".join(
        load(
            GUARDED,
            "mode: observe\n"
            "invariants: {disabled: [deploy, external-comms, money, delete, privilege]}\n"
            "triggers: {frustration: {enabled: false}, sla: {enabled: false}, anomaly: {enabled: false},"
            " irreversibility: {enabled: false}}\n"
            "rules: [{id: open, match: {topics: [x.y]}, decision: deny},"
            " {id: but, match: {topics: [x.y]}, decision: require_approval, overrides: [open]}]\n",
        ).warnings
    )
    for said in ("OBSERVE MODE", "rule but overrides rule open"):
        assert said in warnings
    for name in ("deploy", "external-comms", "money", "delete", "privilege"):
        assert f"invariant {name} is off" in warnings
    for name in ("frustration", "sla", "anomaly", "irreversibility"):
        assert f"trigger {name} is off" in warnings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("actions: {job.*: {tier: 4, risk_tags: [delete]}, job.wipe: {tier: 1}}", "in the place of job.*"),
        ("actions: {a.b: {tier: 3, risk_tags: [external_comms]}}", "not external-comms"),
        ("actions: {a.b: {tier: 3, risk_tags: [deletes]}}", "not delete"),
        ("rules: [{id: it, match: {topics: ['*.*']}, decision: allow}]", "names every topic"),
        ("invariants: {money_above_usd: 100000}", "money starts above"),
        ("triggers: {anomaly: {match: {topics: [no.such]}}}", "looks at some actions only"),
        ("triggers: {anomaly: {above: 1}}", "never above 1"),
        ("triggers: {frustration: {sentiment_below: -1}}", "never below -1"),
        (
            "actions: {a.b: {tier: 3}}\n"
            "autonomy_levels: {level_0: {rules: [{match: {topics: ['*']}, decision: allow}]}}",
            "tier 3",
        ),
    ],
)
def test_a_guard_that_is_only_gone_around_is_named_too(text: str, said: str) -> None:
    assert said in "\n".join(load("mode: enforce", text).warnings)


def test_no_flood_of_warnings_hides_the_mode_or_fills_the_memory() -> None:
    actions = "".join(f"  a.b{n}: {{tier: 1, execute: {{caller: {{}}}}}}\n" for n in range(300))
    rules = "".join(
        f"- {{id: r{n}, match: {{topics: [a.*]}}, decision: allow_with_constraints,"
        " constraints: {max_runtime_sec: 5}}\n"
        for n in range(300)
    )
    warnings = load(f"actions:\n{actions}rules:\n{rules}", "mode: observe").warnings
    assert len(warnings) < 1_000
    assert any("OBSERVE MODE" in warning for warning in warnings[:3])


def test_no_chain_of_overrides_brings_a_permission_back() -> None:
    assert "overrides others itself" in refusals(
        "rules:\n"
        "- {id: a, match: {topics: [x.y]}, when: args.n > 1, decision: require_approval, overrides: [b]}\n"
        "- {id: b, match: {topics: [x.y]}, decision: allow, overrides: [c]}\n"
        "- {id: c, match: {topics: [x.y]}, decision: deny}\n"
    )


@pytest.mark.parametrize("decision", ["allow", "require_approval"])
def test_leaving_an_argument_out_sets_no_rule_aside(decision: str) -> None:
    policy = load(
        "rules:\n"
        "- {id: shut, match: {topics: [x.y]}, decision: deny}\n"
        f"- {{id: but, match: {{topics: [x.y]}}, when: args.dry == true, decision: {decision},"
        " overrides: [shut]}\n"
    )
    assert says(policy, "x.y", {"dry": True}) == decision
    for args in ({}, {"dry": None}, {"dry": "true"}, {"dry": 1}, {"dry": [True]}, {"dry": False}):
        assert says(policy, "x.y", args) == "deny"


def test_everything_switched_off_at_once_lets_no_tier_four_run() -> None:
    policy = load(
        "actions: {a.wipe: {tier: 4}, a.maybe: {tier: 1, raise_to: [{tier: 4, when: args.all == true}]}}\n"
        "invariants: {disabled: [deploy, external-comms, money, delete, privilege]}\n"
        "triggers: {frustration: {enabled: false}, sla: {enabled: false}, anomaly: {enabled: false},"
        " irreversibility: {enabled: false}, risk_tier: {match: {topics: [no.such]}}}\n"
        "autonomy_levels: {level_3: {rules: [{match: {topics: ['*']}, decision: allow}]}}\n"
        "rules:\n"
        "- {id: ask, match: {topics: ['*']}, decision: require_approval}\n"
        "- {id: run, match: {topics: [a.wipe, a.maybe, '*']}, decision: allow, overrides: [ask]}\n"
    )
    for topic, args in (
        ("a.wipe", {}),
        ("a.maybe", {}),
        ("a.maybe", {"all": True}),
        ("a.maybe", {"all": "no"}),
    ):
        for level, tags in product((None, 0, 3, 9), (None, frozenset[str]())):
            question = Question(topic, args, SURE, tags, tier=Tier.READ_ONLY, level=level)
            assert policy.decision(question) is Decision.REQUIRE_APPROVAL
            lane = policy.decide(question).lane
            assert lane is not None
            assert lane.on_timeout is not OnTimeout.ALLOW
    assert says(policy, "a.maybe", {"all": False}, signals=SURE) == "allow"


@pytest.mark.parametrize(
    "asks",
    [
        "invariants: {money_above_usd: 1}",
        "triggers: {confidence: {floor: 0.5}}",
        "rules: [{id: other, match: {topics: [a.pay]}, decision: require_approval}]",
        "autonomy_levels: {level_0: {rules: [{match: {topics: [a.pay]}, decision: require_approval}]}}",
    ],
)
def test_silence_allows_nothing_where_anybody_else_asks(asks: str) -> None:
    base = (
        "actions: {a.pay: {tier: 1, args: {amount: {type: decimal, scale: 2, currency: USD}},"
        " roles: {amount: amount}}}\n"
        "rules: [{id: quiet, match: {topics: [a.pay]}, decision: require_approval,"
        " lane: {window: 1s, on_timeout: allow}}]\n"
    )
    question = Question("a.pay", {"amount": "50.00"})
    alone, together = load(base).decide(question).lane, load(base, asks).decide(question).lane
    assert alone is not None
    assert together is not None
    assert (alone.on_timeout, together.on_timeout) == (OnTimeout.ALLOW, OnTimeout.ESCALATE)


@pytest.mark.parametrize(
    "entry", ["{tier: 3}", "{tier: 4}", "{tier: 1, raise_to: [{tier: 3, when: args.n > 1}]}"]
)
def test_no_lane_promises_silence_for_tier_three(entry: str) -> None:
    rule = "{match: {topics: [a.send]}, decision: require_approval, lane: {window: 1s, on_timeout: allow}}"
    assert "silence never approves tier 3" in refusals(f"actions: {{a.send: {entry}}}\nrules: [{rule}]\n")
    assert "silence never approves what nobody" in refusals(f"rules: [{rule}]\n")


# --- observe mode, kill switches --------------------------------------------------------------------------


def test_nothing_but_the_mode_of_the_document_observes() -> None:
    random = Random(7)
    for _ in range(60):
        document = at_random.document(random)
        policy = at_random.build(document)
        verdict = policy.decide(at_random.question(random))
        assert (verdict.observed is not None) == (document["mode"] == "observe" and verdict.allowed)
        if verdict.observed is not None:
            assert verdict.reason.startswith("Observe mode, not enforced: ")
            assert any(warning.startswith("OBSERVE MODE") for warning in policy.warnings)


def test_a_kill_switch_stops_in_observe_mode_at_every_level_and_over_every_override() -> None:
    policy = load(
        "mode: observe\nactions: {a.read: {tier: 1}}\n"
        "autonomy_levels: {level_3: {rules: [{match: {topics: ['*']}, decision: allow}]}}\n"
        "rules: [{id: shut, match: {topics: [a.read]}, decision: deny},"
        " {id: run, match: {topics: [a.read]}, decision: allow, overrides: [shut]}]\n"
    )
    for stopped in ("ks_1", ""):
        question = Question("a.read", {}, SURE, level=3, stopped=stopped)
        assert policy.decision(question) is Decision.DENY
        assert policy.decide(question).rule == f"kill-switch:{stopped}"


# --- snapshots and stored forms ---------------------------------------------------------------------------

SMALL = (
    "actions: {a.read: {tier: 1}, a.send: {tier: 3}}\n"
    "rules: [{id: it, match: {topics: [a.send]}, decision: deny}]\n"
)


@pytest.mark.parametrize(
    "forged",
    [
        lambda data: b" " + data,
        lambda data: data + b"\n",
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data.replace(b'"interlock":1', b'"interlock":1.0'),
        lambda data: data.replace(b'"interlock":1', b'"interlock":1,"mode":"enforce"'),
        lambda data: data.replace(b'"interlock":1', b'"interlock":1,"mode":"observe","mode":"enforce"'),
        lambda data: data.replace(b'"decision":"deny"', b'"decision":"deny","decision":"allow"'),
        lambda data: data.replace(b'"decision":"deny"', b'"decision":"\\u0064eny"'),
        lambda data: data.replace(b'"it"', b'"it","locked":false'),
        lambda data: data.replace(b'"tier":1', b'"tier":1,"unknown":2'),
        lambda data: data[:-1],
        lambda _data: b"[" * 100_000,
        lambda _data: b"null",
        lambda _data: b"",
    ],
)
def test_only_the_very_bytes_of_a_policy_are_read_back(forged: Any) -> None:
    policy = load(SMALL)
    data = policy.canonical()
    assert Policy.from_canonical(data).snapshot == policy.snapshot
    assert forged(data) != data
    with pytest.raises(PolicyError):
        Policy.from_canonical(forged(data))


def test_a_policy_too_long_to_be_read_back_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "MAX_CANONICAL", len(load(SMALL).canonical()))
    assert Policy.from_canonical(load(SMALL).canonical()).snapshot == load(SMALL).snapshot
    with pytest.raises(PolicyError):
        load(SMALL, "name: longer")


def test_policies_that_decide_differently_have_different_snapshots() -> None:
    random = Random(11)
    seen: dict[str, tuple[Policy, bytes]] = {}
    questions = [at_random.question(random) for _ in range(12)]
    for _ in range(15):
        document = at_random.document(random)
        for changed in (document, {**document, "mode": "enforce"}, {**document, "invariants": {}}):
            policy = at_random.build(changed)
            first, normal = seen.setdefault(policy.snapshot, (policy, canonical(policy.document.normal())))
            assert policy.canonical() == normal
            again = Policy.from_canonical(policy.canonical())
            for question in questions:
                assert first.decide(question) == policy.decide(question) == again.decide(question)


def test_a_snapshot_is_of_what_is_said_not_of_where() -> None:
    apart = ("rules: [{id: it, match: {topics: [a.b]}, decision: deny}]", "actions: {a.b: {tier: 3}}")
    assert load(*apart).snapshot != load(apart[0]).snapshot
    assert load(*apart).snapshot == load(*reversed(apart)).snapshot
    assert load("invariants: {money_above_usd: 100.00}").snapshot == load("mode: enforce").snapshot


# --- the fast path ----------------------------------------------------------------------------------------


def test_many_threads_and_a_tiny_memory_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "REMEMBERED_VERDICTS", 2)
    monkeypatch.setattr(plans, "REMEMBERED_TOPICS", 3)
    monkeypatch.setattr(plans, "REMEMBERED_TAGS", 1)
    random = Random(5)
    wrong: list[object] = []

    def ask(policy: Policy, asked: list[tuple[Question, Verdict]], seed: int) -> None:
        own = Random(seed)
        for _ in range(100):
            question, expected = own.choice(asked)
            try:
                if policy.decide(question) != expected or policy.decision(question) is not expected.decision:
                    wrong.append(question)
            except Exception as error:  # noqa: BLE001 (a thread's error would be lost)
                wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            document = at_random.document(random)
            alone, shared = at_random.build(document), at_random.build({**document, "name": "shared"})
            questions = [at_random.question(random) for _ in range(30)]
            asked = [(q, replace(alone.decide(q), snapshot=shared.snapshot)) for q in questions]
            threads = [threading.Thread(target=ask, args=(shared, asked, seed)) for seed in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


# --- false comfort ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tests",
    [
        "[]",
        "[{name: a, action: {topic: a.b}, expect: {}}]",
        "[{name: a, action: {topic: a.b}, expect: {decison: deny}}]",
        "[{name: a, action: {topic: a.b}, expect: {decision: denied}}]",
        "[{name: a, action: {topic: a.b}, expect: {invalid: no-such-error}}]",
        "[{name: a, action: {topic: a.b}, expect: {invalid: bad-topic, decision: deny}}]",
        "[{name: a, action: {topic: a.b}}]",
        "[{name: a, action: {topic: a.b, confidnce: 1}, expect: {decision: deny}}]",
        "[{name: a, action: {topic: a.b}, expect: {decision: deny}},"
        " {name: a, action: {topic: a.c}, expect: {decision: deny}}]",
        "{a: {action: {topic: a.b}, expect: {decision: deny}}}",
    ],
)
def test_a_test_that_could_not_fail_is_refused(tests: str) -> None:
    with pytest.raises(InvalidInput):
        read_cases({"p.test.yaml": f"tests: {tests}\n"})


RUNS = "execute: {http: {method: POST, url: 'https://x.example/y'}}"
QUIET = (
    "actions: {a.pay: {tier: 1}}\n"
    "rules: [{id: it, match: {topics: [a.pay]}, decision: require_approval, lane: %s}]"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            f"actions: {{a.pay: {{tier: 1, {RUNS}, constraints: {{max_runtime_sec: 5}}}}}}",
            f"actions: {{a.pay: {{tier: 1, {RUNS}}}}}",
        ),
        (
            "actions: {a.pay: {tier: 3}}\nrules: [{id: it, match: {topics: [a.pay]}, decision: allow}]",
            "actions: {a.pay: {tier: 1}}\nrules: [{id: it, match: {topics: [a.pay]}, decision: allow}]",
        ),
        (QUIET % "{window: 7d, on_timeout: deny}", QUIET % "{window: 1s, on_timeout: allow}"),
        ("actions: {a.pay: {tier: 4}}", "mode: observe\nactions: {a.pay: {tier: 4}}"),
        ("actions: {a.pay: {tier: 4}}", "actions: {a.*: {tier: 4}, a.pay: {tier: 1}}"),
    ],
)
def test_whatever_becomes_looser_is_seen_by_simulate_and_by_diff(old: str, new: str) -> None:
    before, after, question = load(old), load(new), Question("a.pay", {})
    for replayed in (
        simulate([(question, None)], after, against=before),
        simulate([(question, before.decide(question))], after),
    ):
        assert (replayed.loosened, replayed.tightened) == (1, 0)
    assert diff(before, after).loosens
    assert not diff(before, after).vouches


@pytest.mark.parametrize(
    "rule",
    [
        "match: {topics: [a.b]}\n  when: args.m.matches('^[a-f0-9]{32}$')\n  decision: allow\n",
        "match: {topics: [a.b]}\n  when: size(args.m) > 300\n  decision: allow\n",
        "match: {topics: [a.b]}\n  when: args.m > args.n && args.n > 50\n  decision: allow\n",
        "match: {topics: [a.b]}\n  when: args.m.o.exists(x, x.q == 3 && x.z > 7)\n  decision: allow\n",
        "match: {topics: [a.b.*]}\n  decision: require_approval\n  overrides: [shut]\n",
    ],
)
def test_diff_vouches_for_no_change_that_it_did_not_see_at_work(rule: str) -> None:
    old = "actions: {a.**: {tier: 3}}\nrules:\n- {id: shut, match: {topics: [a.*.c]}, decision: deny}\n"
    assert not diff(load(old), load(f"{old}- id: in\n  {rule}")).vouches


@pytest.mark.parametrize("hides", ["l" * 200 + ".q", "l" * 240 + ".**", "*." + "l" * 240])
def test_no_long_pattern_hides_a_topic_from_the_prover(hides: str) -> None:
    policy = load(
        "invariants: {disabled: [delete]}\n"
        "rules:\n"
        f"- {{id: long, match: {{topics: ['{hides}']}}, decision: require_approval}}\n"
        f"- {{id: hole, match: {{topics: ['*.*.{'x' * 60}']}}, decision: allow}}\n"
    )
    assert says(policy, f"a.b.{'x' * 60}") == "allow"
    outcomes = {
        result.claim.name: result.outcome for result in prove(policy, ["topic.endsWith('x')"]).results
    }
    assert outcomes["invariant:delete"] is Outcome.REFUTED
    assert outcomes['never:topic.endsWith("x")'] is Outcome.REFUTED


@pytest.mark.parametrize(
    "condition",
    [
        "args.s == 'a AND b' AND args.t == 'NOT x'",
        "args.s == 'x # y' AND args.n == 1",
        "args.s == 'a: b' OR NOT args.n == 1",
        "args.s.matches('^\\\\d+ [{,}]$') AND args.n == 1",
        "args.s == '  two  blanks ' AND args.t == \"it's\"",
        "(args.n > 1 OR args.n < 0) AND (args.s == 'é' OR args.t in ['OR', '&&'])",
        "args.s == '\\t' AND args.t == '\\\\n'",
    ],
)
@pytest.mark.parametrize("style", ["'{}'", '"{}"', ">-\n      {}", "|\n      {}\n", "{}  # keep me"])
def test_formatting_changes_no_meaning_however_a_condition_is_quoted(condition: str, style: str) -> None:
    quoted = {"'": condition.replace("'", "''"), '"': json.dumps(condition)[1:-1]}.get(style[0], condition)
    text = (
        "interlock: 1\n# when: a AND b\nactions:\n  a.b:\n    tier: 3\n    worst_case: when x AND y\n"
        f"rules:\n  - id: it\n    match: {{topics: [a.b]}}\n    when: {style.format(quoted)}\n"
        "    decision: deny\n    reason: when a AND b\n"
    )
    if style.startswith("{") and any(sign in condition for sign in (": ", " #")):
        assert refusals(text.partition("\n")[2])  # in plain style YAML reads something else
        return
    before = parse({"p.yaml": text})
    formatted = format_policy("p.yaml", text).text
    after = parse({"p.yaml": formatted})
    assert formatted.count("# keep me") == text.count("# keep me")
    assert "worst_case: when x AND y" in formatted
    assert format_policy("p.yaml", formatted).text == formatted
    values = [
        "a AND b",
        "NOT x",
        "x # y",
        "a: b",
        "1 {",
        "  two  blanks ",
        "it's",
        "é",
        "OR",
        "&&",
        "\t",
        "\\n",
    ]
    for s, t, n in product(values, values, (0, 1)):
        question = Question("a.b", {"s": s, "t": t, "n": n})
        assert before.decision(question) is after.decision(question)


# --- what is imported -------------------------------------------------------------------------------------

HOSTILE = [
    "x\nactions:\n  evil.topic: {tier: 1}\n",
    "x\r  evil.topic: {tier: 1}",
    "x\u2028evil.topic: {tier: 1}",
    "x\x85rules: [{decision: allow}]",
    "# x\n---\ninterlock: 1",
    "\x1b[2J\x1b[1;32mtier 1, reviewed\x1b[0m",
    "x\u202egnihton",
    '"}, evil.topic: {tier: 1}, x: {',
    "'\\\"&a *a !!python/object:os.system %YAML",
    "x\ud800\x00",
    "review me: tier 1 is right " * 20,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_word_of_a_tool_list_becomes_a_part_of_the_draft(text: str) -> None:
    tool = {
        "name": "delete_account",
        "description": text,
        "title": text,
        "annotations": {"title": text, "readOnlyHint": True, "destructiveHint": False},
        "inputSchema": {"properties": {"id": {"type": "string", "enum": [text], "description": text}}},
    }
    draft = write_policy(draft_from_mcp(json.dumps({"tools": [tool, {"name": text or "x"}]}), server="srv"))
    assert draft.isprintable() or not {letter for letter in draft if not letter.isprintable()} - {"\n"}
    policy = parse({"draft.yaml": draft})
    assert policy.rules == ()
    assert policy.mode == "enforce"
    tiers = {entry.pattern: int(entry.tier) for entry in policy.catalogue.entries}
    assert tiers.pop("srv.delete_account") == 4
    assert all(topic.startswith("srv.") and tier >= 3 for topic, tier in tiers.items())
    for line in draft.splitlines():
        assert "evil" not in line.partition("#")[0] or line.strip().startswith(("srv.", "summary:"))


def test_tools_that_become_one_topic_are_catalogued_neither_way() -> None:
    tools = [{"name": "get-user"}, {"name": "get_user"}, {"name": "getUser"}, {"name": "delete_user"}]
    policy = parse({"d.yaml": write_policy(draft_from_mcp(json.dumps(tools), server="srv"))})
    assert "srv.delete_user" in policy.catalogue.topics
    for topic in ("srv.get_user", "srv.get-user"):
        entry = policy.entry(topic)
        assert entry is None or topic == "srv.get-user"
    assert says(policy, "srv.get_user") == "require_approval"


TOOLS_THAT_DO = [
    *("delete_all", "get_or_delete", "sendMail", "run_query_and_drop", "frobnicate", "исполнить"),
    *("search_replace", "validate_apply_patch", "read_transfer_funds", "view_deploy_now", "export_push"),
    *("download_install", "list_update_user", "scan_fix", "get_pay"),
]


@pytest.mark.parametrize(
    "hints", [{"readOnlyHint": True}, {"destructiveHint": False, "idempotentHint": True}, {}]
)
@pytest.mark.parametrize("name", TOOLS_THAT_DO)
def test_no_annotation_and_no_first_word_lowers_what_a_name_suggests(
    name: str, hints: dict[str, bool]
) -> None:
    tools = [{"name": name, "annotations": hints, "inputSchema": {"type": "object"}}]
    policy = parse({"d.yaml": write_policy(draft_from_mcp(json.dumps(tools), server="srv"))})
    assert all(entry.tier >= 3 for entry in policy.catalogue.entries)


@pytest.mark.parametrize(
    "server",
    [
        {"url": "https://{host}", "variables": {"host": {"default": "{args.to}"}}},
        {"url": "https://{args.to}"},
        {"url": "https://user:pw@api.example"},
        {"url": "https://api.example@evil.example"},
        {"url": "https://api.example\\@evil.example"},
        {"url": "javascript:alert(1)"},
        {"url": "//api.example"},
        {"url": "https://api.example/{args.to}/.."},
        {"url": "https://api.example/#"},
        {"url": "https://api.example\n.evil.example"},
    ],
)
def test_no_address_of_an_api_is_the_agents_to_choose(server: dict[str, Any]) -> None:
    api = {
        "openapi": "3.1.0",
        "info": {"title": "shop"},
        "servers": [server],
        "paths": {"/x/{to}": {"get": {"operationId": "look", "parameters": [{"name": "to", "in": "path"}]}}},
    }
    policy = parse({"d.yaml": write_policy(draft_from_openapi(json.dumps(api)))})
    for entry in policy.catalogue.entries:
        assert entry.execute is None


@pytest.mark.parametrize("end", ["approve", "proceed", "allow", "auto_approve", "[allow]", "yes"])
def test_no_protocol_file_makes_silence_approve(end: str) -> None:
    text = (
        "# ESCALATE\n## TRIGGERS\nalways_escalate:\n  - delete_data\n  - cost_exceeds_usd: 100.00\n"
        "auto_approve:\n  - delete_data\n  - everything\n"
        f"## APPROVAL\napproval_timeout_minutes: 30\non_timeout: {end}\n"
    )
    policy = parse({"d.yaml": write_policy(draft_from_escalate("ESCALATE.md", text))})
    assert {rule.decision for rule in policy.rules} == {Decision.REQUIRE_APPROVAL}
    assert all(rule.lane is not None and rule.lane.on_timeout is OnTimeout.DENY for rule in policy.rules)
    assert says(policy, "x.y", tags=frozenset({"delete"})) == "require_approval"


# --- bombs ------------------------------------------------------------------------------------------------

MANY = 400_000


@pytest.mark.parametrize("name", ["p.yaml", "p.json"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * MANY,
        "{" * MANY,
        "- " * MANY,
        "? " * MANY,
        "&a " * MANY,
        "['" * MANY,
        '"' + "a" * MANY,
        "\n".join(" " * depth + "a:" for depth in range(800)),
        "interlock: 1\nrules: [{id: it, decision: deny, when: '" + "(" * MANY + "'}]",
        "interlock: 1\nrules: [{id: it, decision: deny, when: '" + "!" * MANY + "'}]",
        "interlock: 1\n" + "a: 1\n" * 50_000,
        "interlock: 1\nrules:\n" + "- x\n" * 3_000,
    ],
    ids=lambda text: repr(text[:12]) + repr(text[-4:]),
)
def test_a_bomb_is_a_clear_error_at_once(name: str, text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(PolicyError) as refused:
        parse({name: text})
    assert time.perf_counter() - started < 3
    assert len(refused.value.extra["findings"]) <= 100
    assert len(refused.value.detail) < 60_000


def test_numbers_of_a_policy_and_of_an_action_are_read_alike() -> None:
    policy = one_rule("args.n < 0.7")
    for text, permits in (("0.7", False), ("0.69999999999999", True), ("7e-1", False), ("0.70", False)):
        args = policy.check_args("a.send", parse_json(f'{{"n": {text}}}'))
        assert (policy.decision(Question("a.send", args)) is Decision.ALLOW) is permits
