"""Loading: findings in the author's words, several files, and what must not load."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.errors import PolicyError
from interlock.policy import Policy, Question, parse
from interlock.policy.checking import MAX_WARNINGS


def load(text: str) -> Policy:
    return parse({"policy.yaml": "interlock: 1\n" + text})


def findings(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(text)
    return caught.value.detail.splitlines()


def action(extra: str = "", tier: int = 3) -> str:
    return f"""
actions:
  job.pay.refund:
    tier: {tier}
    args: {{order_id: string, amount_usd: {{type: decimal, scale: 2, currency: USD}}, people: array,
           note: {{type: string, optional: true}}, price: {{type: decimal, scale: 2, currency: EUR}}}}
{extra}
"""


def rule(body: str) -> str:
    return f"rules:\n  - {{id: x, {body}}}\n"


def test_a_finding_has_its_line_and_what_was_probably_meant() -> None:
    with pytest.raises(PolicyError) as caught:
        load("rules:\n  - id: x\n    match: {topcs: [a.b]}\n    decision: deny\n")
    assert caught.value.detail == (
        "policy.yaml:4:13: unknown key 'topcs' in match of rule 'x'; did you mean 'topics'?"
    )
    assert caught.value.extra["findings"] == [
        {
            "file": "policy.yaml",
            "line": 4,
            "column": 13,
            "message": "unknown key 'topcs' in match of rule 'x'",
            "suggestion": "topics",
            "rule": "x",
        }
    ]


def test_every_finding_is_reported_at_once() -> None:
    found = findings("nmae: x\nrules:\n  - {id: a, decision: alow}\n  - {id: b, decison: deny}\n")
    assert [line.split(": ", 1)[0] for line in found] == [
        "policy.yaml:2:1",
        "policy.yaml:4:23",
        "policy.yaml:5:5",
        "policy.yaml:5:13",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rule("match: {topics: [a.b]}, decision: alow"), "did you mean 'allow'?"),
        (rule("match: {amount_usd_above: '100'}, decision: deny"), "expected a number"),
        (rule("match: {confidence_below: true}, decision: deny"), "expected a number"),
        (rule("match: {confidence_below: 70}, decision: deny"), "less than or equal to 1"),
        (rule("match: {amount_usd_above: 1e400}, decision: deny"), "more digits"),
        (rule("match: {retry_count_above: 2.0}, decision: deny"), "expected an integer"),
        (rule("match: {first_time_action: 1}, decision: deny"), "expected true or false"),
        (rule("match: {first_time_action: yes}, decision: deny"), "expected true or false; found 'yes'"),
        (rule("match: {topics: a.b}, decision: deny"), "expected a list"),
        (rule("match: {topics: []}, decision: deny"), "an empty list"),
        (rule("match: {risk_tags: []}, decision: deny"), "an empty list"),
        (rule("match: {topics: [job.**.read]}, decision: deny"), "not a topic pattern"),
        (rule("match: {topics: [job]}, decision: deny"), "never matches"),
        (rule("match: {topics: [job.pаyments.refund]}, decision: deny"), "not a topic pattern"),
        (rule("decision: deny"), "matches everything"),
        (rule("match: {}, decision: allow"), "matches everything"),
        (rule("match: {topics: [a.b]}, decision: deny, quorum: 2"), "not available in this version"),
        (rule("match: {velocity_above: 3}, decision: deny"), "not available in this version"),
        ("environments: {prod: {}}", "not available in this version"),
        ("default_decision: allow", "nobody reviewed"),
        (rule("if: tier == 3, decision: deny"), "unknown key 'if' in rule 'x'; did you mean 'when'?"),
        (rule("match: {topics: [a.b]}, effect: deny"), "did you mean 'decision'?"),
        ("levels: {}", "did you mean 'autonomy_levels'?"),
        (
            rule("match: {topics: [a.b]}, decision: require_approval, lane: {window: 15, on_timeout: deny}"),
            "expected a duration",
        ),
        (
            rule("match: {topics: [a.b]}, decision: require_approval, lane: {window: 0m, on_timeout: deny}"),
            "expected a duration",
        ),
        (
            rule("match: {topics: [a.b]}, decision: deny, lane: {window: 15m, on_timeout: deny}"),
            "a lane belongs to require_approval",
        ),
        (
            rule("match: {topics: [a.b]}, decision: deny")
            + "  - {id: x, match: {topics: [c.d]}, decision: deny}",
            "is taken",
        ),
        ("people: everyone", "expected one of team, solo"),
        ("actions: {'*': {tier: 1}}", "every topic unseen"),
        ("actions: {'**': {tier: 3}}", "every topic unseen"),
        ("actions: {'*.**': {tier: 1}}", "every topic unseen"),
        ("actions: {job.Pay.refund: {tier: 1}}", "not a topic pattern"),
        ("actions: {a.b: {tier: true}}", "expected an integer"),
        ("actions: {a.b: {tier: 5}}", "less than or equal to 4"),
        ("actions: {a.b: {}}", "does not say 'tier'"),
        ("actions: {a.b: {tier: 1, args: {x: strng}}}", "did you mean 'string'?"),
        ("actions: {a.b: {tier: 1, args: {x: decimal}}}", "does not say its scale"),
        ("actions: {a.b: {tier: 1, args: {x: {type: string, currency: USD}}}}", "belongs to a decimal"),
        ("actions: {a.b: {tier: 1, args: {x: {type: integer, max_length: 3}}}}", "belongs to a string"),
        (action("    roles: {amount: amount}"), "did you mean 'amount_usd'?"),
        (action("    roles: {amount: order_id}"), "a decimal with a currency"),
        (action("    roles: {people: order_id}"), "an integer, or an array"),
        (
            action("    roles: {boss: order_id}"),
            "'boss' in roles of action 'job.pay.refund': expected one of",
        ),
        (action("    summary: Refund {args.amont_usd}"), "did you mean 'amount_usd'?"),
        (action("    summary: Refund {amount_usd}"), "braces hold one argument"),
        (action("    summary: Refund {args.amount_usd!r}"), "braces hold one argument"),
        (action("    summary: Refund ${args.price}"), "which is in EUR"),
        (action("    raise_to: [{tier: 3, when: args.amount_usd > 1}]"), "not above"),
        (action("    raise_to: [{tier: 4, when: args.amont_usd > 1}]"), "did you mean 'args.amount_usd'?"),
        (action("    raise_to: [{tier: 4, when: tier == 3}]"), "decides the tier"),
        (action("    raise_to: [{tier: 4, when: signals.confidence > 0.5}]"), "compare it with < or <="),
        (action("    undo_within: 5m"), "does not say what"),
        (action("    execute: {}"), "one of http, sql, mcp, caller and permitted"),
        (action("    execute: {mcp: {tool: x}}"), "one of url and server"),
        (
            action("    execute: {http: {method: GET, url: 'https://x/'}, caller: {}}"),
            "one of http, sql, mcp, caller and permitted",
        ),
    ],
)
def test_what_does_not_load(text: str, words: str) -> None:
    assert any(words in line for line in findings(text)), findings(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://{args.order_id}/refunds",
        "https://{args.order_id}.payments.internal/",
        "{args.order_id}://payments.internal/",
        "https://payments.internal:{args.order_id}/",
        "https://user:secret@payments.internal/",
        "https://payments.internal@evil.example/",
        "ftp://payments.internal/",
        "//payments.internal/",
        "https://payments.internal/orders/x{args.order_id}",
        "https://payments.internal/orders/{args.order_id}.json",
        "https://payments.internal/orders/{args.order_id}{args.order_id}",
        "https://payments.internal/a/../b",
        "https://payments.internal/a/%2e%2E/b",
        "https://payments.internal/?q=x{args.order_id}",
        "https://payments.internal/?{args.order_id}=1",
        "https://payments.internal/?q",
        "https://payments.internal/#{args.order_id}",
        "https://payments.internal/a b",
        "https://payments.internal\\evil",
        "https://payments.internal:99999/",
        "https:///x",
        "https://payments.internal/orders/{args.note}",
        "https://payments.internal/orders/{args.people}",
        "https://payments.internal/orders/{args.nothing}",
    ],
)
def test_an_argument_chooses_a_resource_and_never_a_machine(url: str) -> None:
    findings(action(f"    execute: {{http: {{method: POST, url: {url!r}}}}}"))


@pytest.mark.parametrize(
    "url",
    [
        "https://payments.internal/refunds",
        "http://127.0.0.1:8421/orders/{args.order_id}",
        "http://[::1]:8421/orders/{args.order_id}/lines",
        "https://payments.internal/?order={args.order_id}&kind=full",
        "https://payments.internal",
    ],
)
def test_a_whole_segment_or_query_value_may_be_an_argument(url: str) -> None:
    load(action(f"    execute: {{http: {{method: POST, url: {url!r}}}}}"))


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("args.amont_usd < 100", "did you mean 'args.amount_usd'?"),
        ("args.amount_usd < '100'", "is a number, compared with a string"),
        ("args.order_id == 5", "is a string, compared with a number"),
        ("args.people == 3", "is a list"),
        ("args.people.x == 1", "nothing in it has a name"),
        ("signals.retries > 2", "did you mean 'signals.retry_count'?"),
        ("signals.anomaly_score > 80", "lies between 0 and 1"),
        ("tier > 5", "lies between 1 and 4"),
        ("result.amount > 5", "unknown field 'result.amount'"),
        ("facts.prior_refunds < 3", "no fact 'prior_refunds' is declared"),
        ("args.amount_usd < 100 &&", "at character 25 of the condition"),
        ("args.amount_usd", "compares it with something"),
        (" ", "the condition is empty"),
        ("tier == 1" + " && tier == 1" * 400, "of the condition"),
    ],
)
def test_a_condition_that_does_not_load(when: str, words: str) -> None:
    text = action() + rule(f"match: {{topics: [job.pay.*]}}, decision: deny, when: {json.dumps(when)}")
    assert any(words in line for line in findings(text)), findings(text)


@pytest.mark.parametrize(
    "body",
    [
        "match: {topics: [a.b], confidence_below: 0.7}, decision: allow",
        "match: {topics: [a.b]}, when: signals.confidence < 0.7, decision: allow_with_constraints",
        "match: {topics: [a.b]}, when: signals.confidence >= 0.9, decision: allow",
        "match: {topics: [a.b]}, when: signals.confidence >= 0.9, decision: deny",
        "match: {topics: [a.b]}, when: signals.confidence != 0.5, decision: deny",
        "match: {topics: [a.b]}, when: '!(signals.confidence < 0.5)', decision: deny",
        "match: {topics: [a.b]}, when: has(signals.confidence), decision: deny",
    ],
)
def test_confidence_cannot_stand_where_it_could_loosen(body: str) -> None:
    assert any("confidence is reported by the agent" in line for line in findings(rule(body)))


# --- constraints on paper ---------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["network_allowlist: [api.slack.com]", "network_allowlist: []"])
def test_a_constraint_that_a_function_cannot_be_held_to_is_an_error(constraint: str) -> None:
    caller = "actions: {a.b: {tier: 1, execute: {caller: {}}"
    assert "nothing enforces" in findings(f"{caller}, constraints: {{{constraint}}}}}}}")[0]
    of_rule = rule(f"match: {{topics: [a.b]}}, decision: allow, constraints: {{{constraint}}}")
    assert "nothing enforces" in findings(f"{caller}}}}}\n{of_rule}")[0]
    swept = load(f"{caller}}}}}\n{of_rule.replace('[a.b]', '[a.*]')}")
    assert "nothing enforces" in swept.warnings[0]
    elsewhere = load(f"{caller}}}}}\n{of_rule.replace('[a.b]', '[a.b], risk_tags: [t]')}")
    assert "no catalogued topic matches" in elsewhere.warnings[0]


def test_a_function_is_held_to_a_time_in_a_process_of_its_own() -> None:
    caller = "actions: {a.b: {tier: 1, execute: {caller: {}}"
    limit = "constraints: {max_runtime_sec: 60}"
    assert load(f"{caller}, {limit}}}}}").warnings == ()
    of_rule = rule(f"match: {{topics: [a.b]}}, decision: allow, {limit}")
    assert load(f"{caller}}}}}\n{of_rule}").warnings == ()


def test_a_limit_on_money_needs_an_amount_in_dollars() -> None:
    for extra in ("", "    roles: {amount: price}\n"):
        assert "no amount in USD" in findings(action(extra + "    constraints: {max_amount_usd: 5}"))[0]
        of_rule = rule("match: {topics: [job.pay.refund]}, decision: allow, constraints: {max_amount_usd: 5}")
        assert "no amount in USD" in findings(action(extra) + of_rule)[0]
    load(action("    roles: {amount: amount_usd}\n    constraints: {max_amount_usd: 5}"))


def test_what_deserves_a_look_is_a_warning() -> None:
    policy = load("""
actions:
  a.b: {tier: 2, probe: {mcp: {server: crm, tool: look, compare: [state]}}, undo: a.c}
  a.c: {tier: 2, undo: a.b, undo_within: 5m}
  a.d: {tier: 3, risk_tags: [money]}
  a.e: {tier: 4, risk_tags: [money]}
  deep.**: {tier: 1}
  "*.*.odd": {tier: 1}
  "*.*.*.*": {tier: 1}
  a.get: {tier: 1, args: {x: string}, execute: {http: {method: GET, url: 'https://x/'}}}
  a.eur: {tier: 3, args: {x: {type: decimal, scale: 2, currency: EUR}}, roles: {amount: x}}
rules:
  - {id: shaky, match: {confidence_below: 0.7}, decision: require_approval}
  - {id: shakier, match: {topics: [a.b]}, when: 0.5 > signals.confidence, decision: deny}
  - {id: hollow, match: {topics: [a.e]}, decision: allow_with_constraints}
  - {id: blind, match: {topics: [z.z]}, when: args.x == 1, decision: deny, constraints: {max_runtime_sec: 5}}
""")
    assert sorted(policy.warnings) == [
        "action *.*.*.*: tier 1 lets every topic of 4 segments run, also future ones",
        "action a.b: irreversibility asks a person each time it is tier 2, because no undo takes it back"
        " within 5m",
        "action a.b: nothing but its server keeps the probe's tool look from writing",
        "action a.d: it is tagged money and no argument has the role amount, so invariant:money holds every"
        " call",
        "action a.eur: its amount is in EUR, for which money_above has no threshold, so invariant:money holds"
        " every call",
        "action a.get: GET does not send x",
        "action deep.**: tier 1 lets every topic below it run, also future ones",
        "rule blind: max_runtime_sec has no executor yet; no catalogued topic matches",
        "rule blind: no catalogued topic declares args.x",
        "rule hollow: a.e is tier 4; a person is asked all the same",
        "rule hollow: allow_with_constraints ends up without constraints",
        "rule shakier: restricts everything it covers for an agent that reports no confidence",
        "rule shaky: restricts everything it covers for an agent that reports no confidence",
    ]


def warned(text: str) -> list[str]:
    return list(load(text).warnings)


def test_a_limit_that_nothing_enforces_is_said_once_for_all_that_it_is_about() -> None:
    http = "execute: {http: {method: POST, url: 'https://x/'}}"
    catalogue = (
        "actions: {"
        + ", ".join(f"a.b{n}: {{tier: 1}}" for n in range(50))
        + f", a.h: {{tier: 1, {http}}}}}\n"
    )
    limited = "decision: allow_with_constraints, constraints: {network_allowlist: [x], max_amount_usd: 5}"
    assert warned(catalogue + rule(f"match: {{topics: ['a.*']}}, {limited}")) == [
        "rule x: nothing enforces network_allowlist for a.b0 (and 49 more): it has no executor",
        "rule x: nothing enforces max_amount_usd for a.b0 (and 50 more): it has no amount in USD",
    ]
    functions = catalogue.replace("a.b0: {tier: 1}", "a.b0: {tier: 1, execute: {caller: {}}}")
    found = findings(functions + rule(f"match: {{topics: [a.b0, 'a.*']}}, {limited}"))
    assert [line.partition("nothing enforces ")[2] for line in found] == [
        "network_allowlist for a.b0: a function of the caller cannot be held to it",
        "max_amount_usd for a.b0: it has no amount in USD",
    ]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("match: {topics: ['*.*']}, decision: allow", ["'*.*' names every topic of 2 segments"]),
        (
            "match: {topics: [a.b, '*.*.*.*', '*.*']}, when: tier == 1, decision: allow_with_constraints,"
            " constraints: {max_runtime_sec: 5}",
            ["'*.*.*.*' names every topic of 4 segments", "'*.*' names every topic of 2 segments"],
        ),
        ("match: {topics: ['*.b']}, decision: allow", []),
        ("match: {topics: ['*', '**', '*.**']}, decision: allow", []),
        ("match: {topics: ['*.*']}, decision: deny", []),
    ],
)
def test_a_permission_on_nothing_but_stars_is_named_for_it_reviews_nothing(
    body: str, named: list[str]
) -> None:
    beginnings = [f"rule x: {words}, so it lets run what nobody catalogued" for words in named]
    assert [
        text for text in warned(rule(body)) if "catalogued" in text and "executor" not in text
    ] == beginnings
    of_level = f"autonomy_levels: {{level_1: {{rules: [{{{body}}}]}}}}\n"
    assert not any("names every topic" in text for text in warned(of_level))


def test_a_pattern_of_stars_takes_topics_away_from_the_default_decision() -> None:
    assert warned("default_decision: deny\nactions: {'*.*': {tier: 3}}\n") == [
        "action *.*: it catalogues every topic of 2 segments unseen, so default_decision speaks of none of"
        " them"
    ]
    assert warned("default_decision: deny\nactions: {'a.*': {tier: 3}, 'b.**': {tier: 3}}\n") == []


@pytest.mark.parametrize("decision", ["deny", "require_approval"])
def test_a_threshold_that_no_entry_feeds_is_named_for_it_restricts_nothing(decision: str) -> None:
    def said(match: str) -> list[str]:
        return warned(CATALOGUE + rule(f"match: {{{match}}}, decision: {decision}"))

    dear, many = "amount_usd_above never holds for", "affected_users_above never holds for"
    no_amount, no_people = "no argument has the role amount", "no argument has the role people"
    assert said("topics: [shop.note], amount_usd_above: 5") == [f"rule x: {dear} shop.note: {no_amount}"]
    assert said("topics: [shop.note, shop.pay], amount_usd_above: 5") == [
        f"rule x: {dear} shop.note: {no_amount}"
    ]
    assert said("topics: ['desk.*'], amount_usd_above: 5") == [
        f"rule x: {dear} desk.a (and 1 more): {no_amount}"
    ]
    assert said("topics: [shop.note], affected_users_above: 5") == [f"rule x: {many} shop.note: {no_people}"]
    assert said("topics: ['shop.*'], amount_usd_above: 5") == []
    assert said("topics: [shop.pay], amount_usd_above: 5, affected_users_above: 5") == []
    assert said("topics: [shop.any], amount_usd_above: 5") == []
    assert said("topics: [un.known], amount_usd_above: 5, affected_users_above: 5") == []
    assert (
        warned(CATALOGUE + rule("match: {topics: [shop.note], amount_usd_above: 5}, decision: allow")) == []
    )


CATALOGUE = """
actions:
  shop.pay:
    tier: 3
    args: {n: integer, x: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: x, people: n}
  shop.note: {tier: 3, args: {n: integer}}
  shop.any: {tier: 3}
  desk.a: {tier: 3, args: {}}
  desk.b: {tier: 3, args: {}}
"""


def test_a_threshold_that_is_named_as_idle_is_and_one_that_is_not_is_not() -> None:
    policy = load(CATALOGUE + rule("match: {amount_usd_above: 5}, decision: deny"))
    assert policy.decide(Question("shop.note", {"n": 1})).matched == ()
    assert policy.decide(Question("shop.any", {"amount_usd": "6.00"})).matched == ("x",)
    assert policy.decide(Question("shop.pay", {})).matched == ("invariant:money", "x")[::-1]


def test_of_very_many_warnings_the_first_are_kept_and_the_rest_are_counted() -> None:
    def many(count: int) -> Policy:
        rules = (
            f"  - {{id: n{n}, match: {{topics: [a.b]}}, when: facts.f{n} > 1, decision: deny}}\n"
            for n in range(count)
        )
        facts = ", ".join(f"f{n}: integer" for n in range(count))
        return load(f"facts: {{{facts}}}\nrules:\n{''.join(rules)}")

    policy = many(MAX_WARNINGS + 100)
    assert (len(policy.warnings), policy.warnings[-1]) == (MAX_WARNINGS + 1, "and 100 more warnings")
    assert Policy.from_canonical(policy.canonical()).warnings == policy.warnings
    assert many(MAX_WARNINGS).warnings == policy.warnings[:-1]


def test_no_flood_of_warnings_hides_what_loosens() -> None:
    flood = "".join(
        f"  - {{id: n{n}, match: {{topics: [a.b]}}, when: facts.f > {n}, decision: deny}}\n"
        for n in range(300)
    )
    policy = load(
        "mode: observe\ntriggers: {anomaly: {enabled: false}}\ninvariants: {disabled: [delete]}\n"
        "facts: {f: integer}\nactions: {job.*: {tier: 4, risk_tags: [mony]}, job.wipe: {tier: 1}}\n"
        "rules:\n" + flood + "  - {id: x, match: {topics: ['*.*']}, decision: allow, overrides: [n7]}\n"
    )
    loosening = policy.warnings[:7]
    words = (
        "OBSERVE",
        "anomaly is off",
        "delete is off",
        "in the place of job.*",
        "mony",
        "'*.*'",
        "overrides",
    )
    assert all(word in text for word, text in zip(words, loosening, strict=True)), loosening


def test_a_rule_is_checked_against_the_entry_that_speaks_for_its_topic() -> None:
    policy = load(
        "actions: {a.b: {tier: 1, args: {x: integer}}, 'a.*': {tier: 1, args: {y: integer}}}\n"
        + rule("match: {topics: [a.b]}, when: args.x > 1, decision: deny")
    )
    assert policy.warnings == ()
    assert (
        "a.* declares no argument 'x'"
        in findings(
            "actions: {a.b: {tier: 1, args: {x: integer}}, 'a.*': {tier: 1, args: {y: integer}}}\n"
            + rule("match: {topics: ['*.*']}, when: args.x > 1, decision: deny")
        )[0]
    )


# --- everything at once -----------------------------------------------------------------------------------


def test_a_misspelt_key_and_a_contradiction_are_reported_together() -> None:
    found = findings(
        "actions: {a.b: {tire: 3}, a.c: {tier: 3, args: {amount: string}}}\n"
        "rules:\n"
        "  - {id: a, match: {topics: [a.c]}, decison: deny}\n"
        "  - {id: a, match: {topics: [a.c]}, when: args.amont == 'x', decision: deny}\n"
        "  - {id: b, match: {topics: [a.c]}, decision: deny, overrides: [c]}\n"
    )
    assert [line.partition(": ")[2] for line in found] == [
        "action 'a.b' does not say 'tier'",
        "unknown key 'tire' in action 'a.b'; did you mean 'tier'?",
        "rule 'a' does not say 'decision'",
        "unknown key 'decison' in rule 'a'; did you mean 'decision'?",
        "the rule id 'a' is taken, in policy.yaml:4",
        "a.c declares no argument 'amont'; did you mean 'args.amount'?",
        "there is no rule 'c' to override",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "actions: {a.b: {tier: 9, args: {x: string}}}\n"
        + rule(
            "match: {topics: [a.*]}, when: args.y == 1, constraints: {max_amount_usd: 1}, decision: allow"
        ),
        "actions: {A.b: {tier: 1}}\n"
        + rule("match: {topics: [a.b]}, decision: require_approval, lane: {window: 5m, on_timeout: allow}"),
        "lanes: {fast: {window: 1}}\n"
        + rule("match: {topics: [a.b]}, decision: require_approval, lane: fast"),
        "facts: {n: numbr}\n" + rule("match: {topics: [a.b]}, when: facts.n == 1, decision: deny"),
        "facts: 3\n" + rule("match: {topics: [a.b]}, when: facts.n == 1, decision: deny"),
        "owners: [finance, 3]\n" + rule("match: {topics: [a.b]}, owner: fnance, decision: deny"),
        rule("match: {topics: [a.b]}, decison: deny")
        + "  - {id: y, match: {topics: [a.b]}, decision: deny, overrides: [x]}\n",
    ],
)
def test_nothing_is_blamed_for_what_could_not_be_read(text: str) -> None:
    lines = {line.split(":")[1] for line in findings(text)}
    assert len(lines) == 1, findings(text)


def test_of_very_many_findings_a_hundred_are_shown_and_the_rest_are_counted() -> None:
    with pytest.raises(PolicyError) as caught:
        load("".join(f"unknown_{n}: 1\n" for n in range(5_000)))
    lines = caught.value.detail.splitlines()
    assert (len(lines), lines[0], lines[-1]) == (
        101,
        "policy.yaml:2:1: unknown key 'unknown_0' in the policy",
        "and 4900 more",
    )
    assert (len(caught.value.extra["findings"]), caught.value.extra["more"]) == (100, 4_900)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{n}: {{}}\n" for n in range(60_000)),
        "rules:\n" + "  - {decison: deny}\n" * 20_000,
        "rules:\n" + "  - {id: x, match: {topics: [a.b]}, decision: deny, overrides: [y]}\n" * 5_000,
        "rules:\n"
        + "".join(
            f"  - {{id: r{n}, match: {{topics: [a.b]}}, decision: deny, overrides: [r{(n + 1) % 4_000}]}}\n"
            for n in range(4_000)
        ),
        "actions: {" + ", ".join(f"a.b{n}: {{tier: 1, args: {{x: string}}}}" for n in range(2_000)) + "}\n"
        "rules:\n" + "  - {match: {topics: ['*']}, when: args.y == 1, decision: deny}\n" * 500,
        rule(f"match: {{topics: [a.b]}}, decision: deny, when: {'!' * 60_000}x"),
        rule(f"match: {{topics: [a.b]}}, decision: deny, when: {'(' * 60_000}x"),
    ],
    ids=["keys", "rules", "ids", "circle", "entries", "nots", "parentheses"],
)
def test_a_big_mistake_is_found_soon(text: str) -> None:
    started = time.process_time()
    findings(text)
    assert time.process_time() - started < 8  # far above what it takes; what it guards against takes minutes


# --- several files ----------------------------------------------------------------------------------------

ONE = """interlock: 1
name: acme
actions: {a.b: {tier: 1}}
rules: [{id: x, match: {topics: [a.b]}, decision: deny}]
"""
TWO = """interlock: 1
actions: {a.c: {tier: 2}}
rules: [{id: y, match: {topics: [a.b]}, decision: deny}]
"""


def test_several_files_are_one_policy_in_the_order_of_their_names() -> None:
    policy = parse({"2.yaml": TWO, "1.yaml": ONE})
    assert policy.snapshot == parse({"1.yaml": ONE, "2.yaml": TWO}).snapshot
    assert policy.decide(Question("a.b", {})).matched == ("x", "y")
    assert policy.knows("a.c")
    assert policy.name == "acme"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (TWO.replace("id: y", "id: x"), "2.yaml:3:14: the rule id 'x' is taken, in 1.yaml:4"),
        (TWO.replace("a.c", "a.b"), "2.yaml:2:11: 'a.b' is already catalogued in 1.yaml:3"),
        (TWO + "name: other\n", "2.yaml:4:1: 'name' has another value in 1.yaml:2"),
        (TWO.replace("interlock: 1\n", ""), "2.yaml:1:1: the file does not say `interlock: 1`"),
        (TWO.replace("interlock: 1", "interlock: 2"), "2.yaml:1:12: interlock: 2 is not a version"),
        (TWO.replace("interlock: 1", "interlock: true"), "2.yaml:1:12: interlock: True is not a version"),
        (TWO.replace("interlock: 1", "version: v2"), "2.yaml:1:10: version: 'v2' is not a version"),
        (
            TWO.replace("id: y", "idd: y"),
            "2.yaml:3:10: unknown key 'idd' in rule 'rules[1]'; did you mean 'id'?",
        ),
        ("- 1\n", "2.yaml:1:1: a policy is a mapping"),
    ],
)
def test_a_conflict_between_files_names_both_places(second: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse({"1.yaml": ONE, "2.yaml": second})
    assert words in caught.value.detail


SPREAD = {
    "a.yaml": "interlock: 1\nname: acme\nrouting: {default: ops}\ntriggers: {sla: {within: 30m}}\n"
    "facts: {n: integer}\nactions: {a.b: {tier: 1}}\nlanes: {fast: {window: 5m, on_timeout: deny}}\n"
    "rules: [{id: x, match: {topics: [a.b]}, when: facts.n > 1, decision: require_approval, lane: fast}]\n",
    "b.yml": "version: v1\nname: acme\ntriggers: {sla: {owner: desk}, anomaly: {above: 0.9}}\n"
    "lanes: {fast: {window: 5m, on_timeout: deny}, slow: {window: 2h, on_timeout: escalate}}\n"
    "autonomy_levels: {level_0: {rules: [{match: {topics: ['*']}, decision: require_approval}]}}\n",
    "c.json": '{"routing": {"default": "ops", "financial_actions": "books"}}',
    "d.yaml": "name: refunds\nsteps: {look: {type: action, topic: a.b}}\n",
    "e.yaml": "interlock: 1\nrules: [{id: y, match: {topics: [a.c]}, decision: deny, overrides: [x]}]\n"
    "autonomy_levels: {level_1: {rules: [{match: {topics: [a.b]}, decision: allow}]}}\n",
}


@settings(max_examples=20, deadline=None)
@given(st.permutations(list(SPREAD)))
def test_the_order_of_files_does_not_matter(order: list[str]) -> None:
    policy = parse({name: SPREAD[name] for name in order})
    assert policy.snapshot == parse(SPREAD).snapshot
    document = policy.document
    assert [rule.id for rule in document.rules] == ["x", "y"]
    assert (document.triggers.sla.within, document.triggers.sla.owner) == (1_800, "desk")
    assert document.routing is not None
    assert (document.routing.default, document.routing.financial_actions) == ("ops", "books")
    assert (sorted(document.lanes), sorted(document.autonomy_levels)) == (
        ["fast", "slow"],
        ["level_0", "level_1"],
    )
    assert list(document.workflows) == ["refunds"]
    assert document.name == "acme"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            "interlock: 1\nlanes: {fast: {window: 6m, on_timeout: deny}}\n",
            "z.yaml:2:9: 'fast' is already defined in a.yaml:7",
        ),
        (
            "interlock: 1\ntriggers: {sla: {within: 31m}}\n",
            "z.yaml:2:18: 'within' has another value in a.yaml:4",
        ),
        ("routing: {default: others}\n", "z.yaml:1:11: 'default' has another value in a.yaml:3"),
        ("interlock: 1\nfacts: {n: string}\n", "z.yaml:2:9: 'n' is already declared in a.yaml:5"),
        ("interlock: 1\nowners: 3\nlanes: 4\n", "z.yaml:3:1: 'lanes' has another value in a.yaml:7"),
        (
            "name: refunds\nsteps: {look: {type: action, topic: a.c}}\n",
            "z.yaml:1:1: 'refunds' is already defined in d.yaml:1",
        ),
        ("steps: {look: {type: action, topic: a.c}}\n", "z.yaml:1:1: a file with steps is a workflow"),
        (
            "name: x\nrules: []\nsteps: {look: {type: action, topic: a.c}}\n",
            "z.yaml:2:1: 'rules' does not belong to a workflow",
        ),
        (
            "name: x\nsteps: {look: {type: action, topc: a.c}}\n",
            "z.yaml:2:30: unknown key 'topc' in step 'look' of workflow 'x'; did you mean 'topic'?",
        ),
        (
            "name: a b\nsteps: {look: {type: action, topic: a.c}}\n",
            "z.yaml:1:1: 'a b' in workflows: 'a b' does not",
        ),
        ("routing: {}\nname: x\n", "z.yaml:1:1: the file does not say `interlock: 1`"),
        ("{}\n", "z.yaml:1:1: the file does not say `interlock: 1`"),
    ],
)
def test_what_is_said_twice_differently_names_both_places(second: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse({**SPREAD, "z.yaml": second})
    assert any(line.startswith(words) for line in caught.value.detail.splitlines()), caught.value.detail


@pytest.mark.parametrize(("one", "other"), [("1", "true"), ("[1]", "[true]"), ("{a: 1}", "{a: 1.0}")])
def test_equal_means_the_same_value_of_the_same_type(one: str, other: str) -> None:
    found = {"a.yaml": f"interlock: 1\nname: {one}\n", "b.yaml": f"interlock: 1\nname: {other}\n"}
    with pytest.raises(PolicyError) as caught:
        parse(found)
    assert "has another value" in caught.value.detail


def test_no_file_is_no_policy() -> None:
    with pytest.raises(PolicyError):
        parse({})


# --- the canonical form -----------------------------------------------------------------------------------


def test_spelling_and_defaults_do_not_change_the_snapshot() -> None:
    plain = load(
        "actions: {a.b: {tier: 1, args: {x: string}}}\n"
        + rule("match: {amount_usd_above: 100}, decision: deny")
    )
    spelt = parse(
        {
            "elsewhere.yml": """# a comment
version: v1
people: team
rules:
  - {decision: deny, match: {amount_usd_above: 100.00}, id: x}
actions:
  a.b:
    args: {x: {optional: false, type: string}}
    tier: 1
"""
        }
    )
    assert plain.snapshot == spelt.snapshot
    assert plain.snapshot.startswith("v1:")
    assert len(plain.snapshot) == 67


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("100", "101"),
        ("deny", "require_approval"),
        ("id: x", "id: y"),
        ("tier: 1", "tier: 2"),
        ("x: string", "x: integer"),
    ],
)
def test_a_changed_meaning_changes_the_snapshot(before: str, after: str) -> None:
    text = "actions: {a.b: {tier: 1, args: {x: string}}}\n" + rule(
        "match: {amount_usd_above: 100}, decision: deny"
    )
    assert load(text).snapshot != load(text.replace(before, after)).snapshot


def test_the_canonical_form_is_itself_the_same_policy() -> None:
    policy = load(
        action("    summary: Refund ${args.amount_usd}") + rule("match: {topics: [job.**]}, decision: deny")
    )
    again = Policy.from_canonical(policy.canonical())
    as_yaml = parse({"x.yaml": policy.canonical().decode()})
    assert again.snapshot == policy.snapshot == as_yaml.snapshot
    assert (again.warnings, again.name, again.people) == (policy.warnings, policy.name, policy.people)


def test_equal_snapshots_have_equal_warnings() -> None:
    policy = load("""
lanes: {slow: {window: 5m, on_timeout: allow}, fast: {window: 5m, on_timeout: kill_switch}}
facts: {m: string, a: string}
actions: {z.z: {tier: 2}, a.a: {tier: 2}}
autonomy_levels:
  level_2: {rules: [{match: {topics: ['*']}, decision: allow_with_constraints}]}
  level_1: {rules: [{match: {topics: ['*']}, decision: allow_with_constraints}]}
workflows: {w: {steps: {b: {type: approval}, a: {type: approval}}}, v: {steps: {a: {type: approval}}}}
""")
    assert len(policy.warnings) == 11
    assert Policy.from_canonical(policy.canonical()).warnings == policy.warnings


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"interlock":2}',
        b'{"interlock":1 }',
        b'{"interlock":1,"people":"team"}',
        b'{"interlock":1,"rules":[{"decision":"allow"}]}',
        b'{"interlock":1,"interlock":1}',
        b'{"interlock":true}',
    ],
)
def test_bytes_that_are_no_canonical_policy_are_refused(data: bytes) -> None:
    with pytest.raises(PolicyError):
        Policy.from_canonical(data)


def test_a_policy_cannot_be_changed() -> None:
    policy: Any = load("")
    with pytest.raises(AttributeError):
        policy.snapshot = "v1:0"
