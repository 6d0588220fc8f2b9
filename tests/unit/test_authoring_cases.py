"""Tests of a policy: what a test file may say, what is compared, and what a mistake in it costs."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.authoring import Result, read_cases, run_cases
from interlock.model.errors import InvalidInput
from interlock.policy import parse

POLICY = parse(
    {
        "policy.yaml": """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 500}]
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    constraints: {max_amount_usd: 400}
facts: {prior: integer}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 50, decision: allow}
  - {id: doubt, match: {topics: [pay.refund], confidence_below: 0.5}, decision: require_approval,
     owner: finance-approvers, lane: {window: 15m, on_timeout: deny}}
  - {id: repeat, match: {topics: [pay.refund]}, when: facts.prior > 3, decision: deny}
  - {id: known, match: {topics: [pay.refund]}, when: provenance.recipient == "known" && facts.prior == 9,
     decision: allow, overrides: [repeat]}
autonomy_levels:
  level_0: {rules: [{match: {topics: [notes.*]}, decision: require_approval}]}
  level_1: {rules: [{match: {topics: [notes.*]}, decision: deny, reason: not yet}]}
"""
    }
)
REFUND = "topic: pay.refund, args: {order_id: A-1, amount_usd: 20}, facts: {prior: 0}"


def run(action: str, expect: str) -> Result:
    text = f"tests:\n  - name: one\n    action: {{{action}}}\n    expect: {{{expect}}}\n"
    return run_cases(read_cases({"p.test.yaml": text}), POLICY)[0]


def differences(action: str, expect: str) -> dict[str, tuple[Any, Any]]:
    return {d.what: (d.expected, d.found) for d in run(action, expect).differences}


def refused(text: str) -> list[dict[str, Any]]:
    with pytest.raises(InvalidInput) as caught:
        read_cases({"p.test.yaml": text})
    found: list[dict[str, Any]] = caught.value.extra["findings"]
    assert all(str(finding["message"]) in caught.value.detail for finding in found)
    return found


SURE = "signals: {confidence: 0.9}"


def test_what_a_test_expects_is_compared_with_the_verdict() -> None:
    assert run(
        f"{REFUND}, {SURE}", "decision: allow, rule: small, tier: 3, owner: ops-approvers, triggers: []"
    ).ok
    assert differences(REFUND, "decision: allow, rule: small") == {
        "decision": ("allow", "require_approval"),
        "rule": ("small", "doubt"),
    }


def test_only_what_is_stated_is_compared() -> None:
    assert run(REFUND, "owner: finance-approvers").ok
    assert run(REFUND, "lane: {window: 15m}").ok
    assert run(REFUND, "lane: {on_timeout: deny, window: 900s}").ok
    assert differences(REFUND, "lane: {on_timeout: escalate}") == {
        "lane": ({"on_timeout": "escalate"}, {"on_timeout": "deny"})
    }


def test_a_lane_is_expected_in_vain_where_nothing_waits() -> None:
    assert differences(f"{REFUND}, {SURE}", "lane: {window: 15m}") == {"lane": ({"window_sec": 900}, None)}


def test_lists_are_compared_as_sets_and_constraints_as_a_whole() -> None:
    assert run(REFUND, "missing: [signals.confidence]").ok
    assert differences(REFUND, "missing: []") == {"missing": ([], ["signals.confidence"])}
    assert run(REFUND, "constraints: {max_amount_usd: 400}").ok
    assert differences(REFUND, "constraints: {}")["constraints"][1] == {"max_amount_usd": "400"}


def test_level_facts_provenance_and_kill_switches_can_be_assumed() -> None:
    assert run("topic: notes.add, level: 1", "decision: deny, rule: 'level:1'").ok
    assert run("topic: notes.add, level: 0", "decision: require_approval, rule: 'level:0'").ok
    assert run(f"{REFUND}, stopped: ks_1", "decision: deny, rule: 'kill-switch:ks_1'").ok
    nine = "topic: pay.refund, args: {order_id: A-1, amount_usd: 20}, facts: {prior: 9}"
    assert run(nine, "decision: deny, rule: repeat").ok
    known = f"{nine}, {SURE}, provenance: {{recipient: known}}"
    assert run(known, "decision: allow, overridden: [repeat]").ok


def test_no_tier_and_no_handoff_are_expected_as_none() -> None:
    assert run("topic: never.seen", "tier: none, handoff: none, decision: require_approval").ok
    assert differences(REFUND, "tier: none")["tier"] == (None, 3)
    assert run(REFUND, "handoff: async_review, triggers: [confidence, risk_tier]").ok is False


def test_a_missing_fact_is_unknown_and_restricts() -> None:
    action = f"topic: pay.refund, args: {{order_id: A-1, amount_usd: 20}}, {SURE}"
    assert run(action, "decision: deny, rule: repeat, missing: [facts.prior]").ok


def test_arguments_that_are_refused_can_be_expected() -> None:
    action = "topic: pay.refund, args: {order_id: A-1, amount_usd: 20.005}"
    assert run(action, "invalid: excess-digits").ok
    assert differences(action, "decision: allow") == {"invalid": ("an acceptable action", "excess-digits")}
    assert differences(action, "invalid: wrong-type") == {"invalid": ("wrong-type", "excess-digits")}
    assert differences(REFUND, "invalid: excess-digits") == {"invalid": ("excess-digits", None)}


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "suggestion"),
    [
        ("{}", 1, 1, "'tests' was not given", None),
        ("[]", 1, 1, "a test file is a mapping with `tests`", None),
        ("tests: []", 1, 8, "'tests': an empty list; name at least one", None),
        ("tests: {}", 1, 8, "'tests': expected an array", None),
        ("test: []", 1, 1, "'test' is not known here", "tests"),
        ("tests:\n- action: {topic: a.b}\n  expect: {decision: deny}", 2, 3, "'name' was not given", None),
        (
            "tests:\n- name: a\n  action: {topic: a.b}\n  expect: {}",
            4,
            11,
            "'expect': it expects nothing; say at least `decision`",
            None,
        ),
        (
            "tests:\n- name: a\n  action: {topic: a.b, signals: {retrycount: 2}}\n  expect: {tier: 1}",
            3,
            34,
            "'retrycount' is not known here",
            "retry_count",
        ),
        (
            "tests:\n- name: a\n  action: {topic: a.b}\n  expect: {decision: alow}",
            4,
            22,
            "'decision': expected one of 'allow', 'allow_with_constraints', 'require_approval' or 'deny'",
            None,
        ),
        (
            "tests:\n- name: a\n  action: {topic: a.b}\n  expect: {tier: 5}",
            4,
            18,
            "'tier': expected 1, 2, 3, 4 or none",
            None,
        ),
        (
            "tests:\n- name: a\n  action: {topic: a.b}\n  expect: {triggers: [retries]}",
            4,
            23,
            "'triggers': expected one of confidence, risk_tier, frustration, sla, irreversibility, anomaly",
            None,
        ),
        (
            "tests:\n- name: a\n  action: {topic: a.b}\n  expect: {invalid: exces-digits}",
            4,
            21,
            "'invalid': not the name of an error that refuses; did you mean 'excess-digits'?",
            None,
        ),
        (
            "tests:\n- name: a\n  action: {topic: a.b}\n  expect: {invalid: wrong-type, tier: 1}",
            4,
            11,
            "'expect': what is refused as invalid has no verdict to compare",
            None,
        ),
        (
            "tests: [{name: a, action: *x, expect: {}}]",
            1,
            27,
            "aliases (*x) are not read; write the value out",
            None,
        ),
    ],
)
def test_a_mistake_in_a_test_file_is_said_at_its_line(
    text: str, line: int, column: int, message: str, suggestion: str | None
) -> None:
    found = refused(text)
    said = [(f["line"], f["column"], f["message"], f["suggestion"]) for f in found]
    assert (line, column, message, suggestion) in said


def test_every_mistake_is_said_at_once_and_no_test_runs() -> None:
    text = "tests:\n- {name: a, action: {topc: a.b}, expect: {decision: deny}}\n- {name: b, expect: {}}\n"
    assert len(refused(text)) >= 4


def test_two_tests_of_one_name_are_refused_across_files() -> None:
    text = "tests: [{name: same, action: {topic: a.b}, expect: {decision: deny}}]"
    with pytest.raises(InvalidInput) as caught:
        read_cases({"a.test.yaml": text, "b.test.yaml": text})
    assert "the test 'same' stands twice, first in a.test.yaml:1" in caught.value.detail
    assert caught.value.exit_code == 2


def test_a_test_with_an_impossible_topic_fails_and_says_why() -> None:
    assert differences("topic: nonsense", "decision: deny")["invalid"][1] == "bad-topic"


def test_an_unseen_character_may_be_tested_as_an_escape_and_never_stands_raw() -> None:
    action = '{topic: a.b, args: {p: ".g\\u200Cit"}}'
    case = read_cases({"t": f"tests: [{{name: x, action: {action}, expect: {{decision: deny}}}}]"})[0]
    assert case.asked.args == {"p": ".g\u200cit"}
    raw = f"tests: [{{name: x, action: {action}, expect: {{decision: deny}}}}]".replace("\\u200C", "\u200c")
    assert refused(raw)


def test_a_test_gives_the_arguments_that_an_agent_has_to_give() -> None:
    found = differences("topic: pay.refund", "decision: require_approval")
    assert found == {"invalid": ("an acceptable action", "missing-field")}
    assert differences("topic: pay.refund, amount_usd: 20", "decision: allow").keys() == {"invalid"}
    assert run("topic: pay.refund", "invalid: missing-field").ok
    assert run(
        "topic: pay.refund",
        "{decision: deny, missing: [args.amount_usd, signals.confidence, facts.prior]}"[1:-1],
    ).ok
    assert run("topic: notes.add", "decision: require_approval").ok


def test_what_a_test_gives_without_effect_is_said() -> None:
    found = run(f"{REFUND}, {SURE}, tier: 4, risk_tags: [delete], level: 7", "rule: small")
    assert found.ok
    assert found.unused == (
        "tier 4 was given and is not used: the catalogue's tier counts",
        "risk_tags were given and are not used: the catalogue's count (none)",
        "level 7 was given and is not one of the policy's: the lowest counts",
    )
    assert run("topic: notes.add, level: 1, tier: 2, risk_tags: [x]", "decision: deny").unused == ()
    said = run("topic: notes.add, facts: {piror: 3}", "decision: require_approval").unused
    assert said == ("facts.piror was given and is not used: the policy declares no such fact",)
