"""Sections beside actions and rules: what is refused, what is warned about, and in which words."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.errors import PolicyError
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Tier
from interlock.policy import Policy, Question, parse
from interlock.policy.catalogue import ArgKind, ArgType, CatalogueEntry, overlap, specificity
from interlock.policy.check_tags import INVARIANTS, ROUTED
from interlock.policy.checking import cycles
from interlock.policy.reach import Reach

HELD = "match: {topics: [a.b]}, decision: require_approval"


def load(text: str) -> Policy:
    return parse({"policy.yaml": "interlock: 1\n" + text})


def findings(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(text)
    return [line.split(": ", 1)[1] for line in caught.value.detail.splitlines()]


def finding(text: str) -> str:
    found = findings(text)
    assert len(found) == 1, found
    return found[0]


def rules(*bodies: str) -> str:
    return "rules:\n" + "".join(f"  - {{{body}}}\n" for body in bodies)


def rule(body: str) -> str:
    return rules(f"id: x, {body}")


# --- overrides --------------------------------------------------------------------------------------------


def test_an_override_is_named_in_a_warning() -> None:
    policy = load(rules(f"id: a, {HELD}, overrides: [b]", f"id: b, {HELD}"))
    assert policy.warnings == ("rule a overrides rule b where both match",)


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        (
            [f"id: a, {HELD}, overrides: [larg]", f"id: large, {HELD}"],
            "there is no rule 'larg' to override; did you mean 'large'?",
        ),
        ([f"id: a, {HELD}, overrides: [a]"], "rule 'a' overrides itself"),
        (
            [f"id: a, {HELD}, overrides: [b]", f"id: b, {HELD}, locked: true"],
            "rule 'b' is locked; nothing overrides it",
        ),
        (
            [f"id: a, {HELD}, overrides: [b]", f"id: b, {HELD}, overrides: [c]", f"id: c, {HELD}"],
            "rule 'b' overrides others itself, so rule 'a' cannot override it",
        ),
        (
            [
                "id: a, match: {topics: [a.b], confidence_below: 0.5}, decision: deny, overrides: [b]",
                f"id: b, {HELD}",
            ],
            "confidence is reported by the agent; a rule that sets others aside cannot read it",
        ),
        (
            [f"id: a, {HELD}, when: signals.confidence < 0.5 || tier == 3, overrides: [b]", f"id: b, {HELD}"],
            "confidence is reported by the agent; a rule that sets others aside cannot read it",
        ),
    ],
)
def test_an_override_that_does_not_load(bodies: list[str], message: str) -> None:
    assert finding(rules(*bodies)) == message


def test_rules_never_override_each_other_in_a_circle() -> None:
    assert findings(rules(f"id: a, {HELD}, overrides: [b]", f"id: b, {HELD}, overrides: [a]")) == [
        "rule 'b' overrides others itself, so rule 'a' cannot override it",
        "rule 'a' overrides others itself, so rule 'b' cannot override it",
    ]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=16))
@settings(max_examples=150, deadline=None)
def test_a_circle_is_found_where_there_is_one_and_only_there(pairs: list[tuple[int, int]]) -> None:
    edges: dict[str, list[str]] = {str(node): [] for node in range(8)}
    for one, other in pairs:
        edges[str(one)].append(str(other))
    found = cycles(edges)
    for cycle in found:
        assert all(after in edges[before] for before, after in itertools.pairwise([*cycle, cycle[0]]))
    reached = {node: set(others) for node, others in edges.items()}
    for middle, one in itertools.product(edges, edges):
        if middle in reached[one]:
            reached[one] |= reached[middle]
    assert bool(found) == any(node in reached[node] for node in edges)


def test_a_very_long_chain_is_walked_without_recursion() -> None:
    chain = {str(n): [str(n + 1)] for n in range(100_000)}
    assert cycles(chain) == []
    assert len(cycles({**chain, "100000": ["0"]})) == 1


# --- lanes and owners -------------------------------------------------------------------------------------


def test_a_lane_is_found_by_its_name() -> None:
    named = load("lanes: {fast: {window: 5m, on_timeout: deny}}\n" + rule(f"{HELD}, lane: fast"))
    assert named.rules[0].lane == load(rule(f"{HELD}, lane: {{window: 5m, on_timeout: deny}}")).rules[0].lane
    assert (
        finding("lanes: {fast: {window: 5m, on_timeout: deny}}\n" + rule(f"{HELD}, lane: fats"))
        == "there is no lane 'fats' in lanes; did you mean 'fast'?"
    )


CHAIN = "owners: [leads, cfo]\n"


@pytest.mark.parametrize(
    "lane",
    [
        "on_timeout: kill_switch",
        "on_timeout: escalate, escalate_to: [leads]",
        "on_timeout: escalate, escalate_to: [leads, {owner: cfo, window: 2m}, ops-approvers]",
    ],
)
def test_every_end_of_a_lane_is_enforced_so_nothing_is_warned_about(lane: str) -> None:
    assert load(CHAIN + rule(f"{HELD}, lane: {{window: 5m, {lane}}}")).warnings == ()
    assert load(CHAIN + f"lanes: {{fast: {{window: 5m, {lane}}}}}").warnings == ()


@pytest.mark.parametrize(
    ("lane", "message"),
    [
        ("on_timeout: escalate, escalate_to: [leds]", "nothing else names 'leds'; list it in owners, if"),
        ("on_timeout: escalate, escalate_to: [{owner: boss, window: 2m}]", "nothing else names 'boss'"),
        ("on_timeout: escalate, escalate_to: [leads, cfo, leads]", "'leads' has been asked by then"),
        ("on_timeout: deny, escalate_to: [leads]", "nobody is asked after on_timeout deny"),
        ("on_timeout: kill_switch, escalate_to: [leads]", "nobody is asked after on_timeout kill_switch"),
        ("on_timeout: escalate, escalate_to: []", "escalate_to"),
        ("on_timeout: escalate, escalate_to: [{owner: leads, window: 0m}]", "window"),
        ("on_timeout: escalate, escalate_to: [{owner: leads}]", "window"),
        (f"on_timeout: escalate, escalate_to: [{', '.join(f'o{n}' for n in range(11))}]", "escalate_to"),
    ],
)
def test_a_chain_of_owners_leads_to_nobody_unknown_and_to_nobody_twice(lane: str, message: str) -> None:
    assert message in finding(CHAIN + rule(f"{HELD}, lane: {{window: 5m, {lane}}}"))
    assert message in finding(CHAIN + f"lanes: {{fast: {{window: 5m, {lane}}}}}")


def test_an_owner_is_known_whom_a_rule_a_trigger_or_the_routing_names() -> None:
    lane = "lanes: {fast: {window: 5m, on_timeout: escalate, escalate_to: [desk, leads, night]}}\n"
    named = (
        rule(f"{HELD}, owner: leads") + "triggers: {sla: {owner: desk}}\nrouting: {default: night}\n" + lane
    )
    assert load(named).rules


def test_a_misspelt_owner_is_not_blamed_where_what_names_owners_does_not_read() -> None:
    lane = "lanes: {fast: {window: 5m, on_timeout: escalate, escalate_to: [leads]}}\n"
    assert "leads" not in finding("owners: 3\n" + lane)


SILENT = "decision: require_approval, lane: {window: 5m, on_timeout: allow}"


@pytest.mark.parametrize(
    "text",
    [
        "actions: {a.b: {tier: 3}}\n" + rule(f"match: {{topics: [a.b]}}, {SILENT}"),
        "actions: {a.b: {tier: 4}}\n" + rule(f"match: {{topics: ['a.*']}}, {SILENT}"),
        "actions: {a.b: {tier: 1, args: {n: integer}, raise_to: [{tier: 4, when: args.n > 1}]}}\n"
        + rule(f"match: {{topics: [a.b]}}, {SILENT}"),
        "actions: {'a.**': {tier: 3}}\n" + rule(f"match: {{topics: [a.b]}}, {SILENT}"),
        "actions: {a.b: {tier: 3, risk_tags: [t]}}\n" + rule(f"match: {{risk_tags: [t]}}, {SILENT}"),
        "lanes: {quiet: {window: 5m, on_timeout: allow}}\nactions: {a.b: {tier: 3}}\n"
        + rule("match: {topics: [a.b]}, decision: require_approval, lane: quiet"),
    ],
)
def test_silence_never_approves_tier_3_or_4(text: str) -> None:
    assert finding(text).startswith("silence never approves tier 3 or 4")


@pytest.mark.parametrize(
    "text",
    [
        rule(f"match: {{topics: [a.b]}}, {SILENT}"),
        rule(f"match: {{amount_usd_above: 5}}, {SILENT}"),
        "actions: {a.b: {tier: 1}}\n" + rule(f"match: {{topics: [a.b, a.c]}}, {SILENT}"),
        "actions: {a.b: {tier: 1}}\n" + rule(f"match: {{topics: ['a.*']}}, {SILENT}"),
        "actions: {'a.*': {tier: 1}}\n" + rule(f"match: {{topics: ['a.**']}}, {SILENT}"),
        "actions: {a.b: {tier: 1, risk_tags: [t]}}\n" + rule(f"match: {{risk_tags: [t]}}, {SILENT}"),
    ],
)
def test_silence_never_approves_what_nobody_catalogued(text: str) -> None:
    assert finding(text).startswith("silence never approves what nobody catalogued")


@pytest.mark.parametrize(
    "text",
    [
        "actions: {a.b: {tier: 1}, a.c: {tier: 3}}\n" + rule(f"match: {{topics: [a.b]}}, {SILENT}"),
        "actions: {a.b: {tier: 1}, 'a.*': {tier: 3}}\n" + rule(f"match: {{topics: [a.b]}}, {SILENT}"),
        "actions: {'a.**': {tier: 1}}\n" + rule(f"match: {{topics: ['a.*.c', a.b]}}, {SILENT}"),
        "actions: {'a.*': {tier: 1, risk_tags: [t]}, a.c: {tier: 3}}\n"
        + rule(f"match: {{topics: ['a.*'], risk_tags: [t]}}, {SILENT}"),
    ],
)
def test_silence_may_approve_what_is_catalogued_and_harmless_and_that_is_said(text: str) -> None:
    assert "rule x: what nobody answers in time runs (on_timeout allow)" in load(text).warnings


def test_an_owner_outside_a_ranking_of_ones_own_is_warned_about() -> None:
    owned = rule(f"{HELD}, owner: finance") + "triggers: {sla: {owner: desk}}\n"
    assert load(owned).warnings == ()
    assert load("owners: [bosses, finance, desk]\n" + owned).warnings == ()
    assert load("owners: [bosses]\n" + owned).warnings == (
        "trigger sla: desk is not among the owners, so it is ranked last",
        "rule x: finance is not among the owners, so it is ranked last",
    )


# --- autonomy levels --------------------------------------------------------------------------------------


def level(body: str, name: str = "level_1") -> str:
    return f"autonomy_levels: {{{name}: {{rules: [{{{body}}}]}}}}\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "match: {confidence_below: 0.5}, decision: deny",
            "confidence_below of match of rule 1 of level_1: confidence is reported by the agent; a level,"
            " which can also permit, cannot read it",
        ),
        (
            "match: {topics: [a.b]}, when: signals.confidence < 0.5, decision: deny",
            "when of rule 1 of level_1: confidence is reported by the agent; a level, which can also permit,"
            " cannot read it",
        ),
        (
            "match: {topics: [a.b]}, when: args.y == 1, decision: deny",
            "when of rule 1 of level_1: a.b declares no argument 'y'",
        ),
        (
            "decision: deny",
            "rule 1 of level_1: the rule matches everything; if that is meant, say topics: ['*']",
        ),
        (
            "match: {topics: [a.b]}, decision: deny, owner: x",
            "unknown key 'owner' in rule 1 of level_1",
        ),
        (
            "match: {topics: [a.b]}, decision: allow, constraints: {max_amount_usd: 5}",
            "max_amount_usd of constraints of rule 1 of level_1: nothing enforces max_amount_usd for a.b:"
            " it has no amount in USD",
        ),
    ],
)
def test_a_level_that_does_not_load(body: str, message: str) -> None:
    assert finding("actions: {a.b: {tier: 3, args: {x: integer}}}\n" + level(body)) == message


def test_levels_say_where_everybody_starts_and_which_limits_are_missing() -> None:
    text = """
autonomy_levels:
  level_3: {rules: [{match: {topics: ['*']}, decision: allow_with_constraints}]}
  level_2: {rules: [{match: {topics: ['*']}, when: facts.n > 1, decision: allow}]}
facts: {n: integer}
"""
    assert load(text).warnings == (
        "rule 1 of level_2: facts.n is accepted, not yet supplied: it counts as unknown",
        "rule 1 of level_3: allow_with_constraints ends up without constraints",
        "every agent is at level_2 until one is promoted; promotion is not available yet",
    )


def test_a_lowest_level_that_permits_by_sweeping_is_named_for_every_agent_has_it() -> None:
    catalogue = "actions: {a.b: {tier: 3}, a.c: {tier: 3, risk_tags: [t]}, a.d: {tier: 2, undo: a.b}}\n"

    def warned(*rules: str, name: str = "level_0") -> list[str]:
        below = "level_1: {rules: [{match: {topics: [a.b]}, decision: deny}]}" if name == "level_2" else ""
        text = f"autonomy_levels: {{{name}: {{rules: [{', '.join(rules)}]}}, {below}}}\n"
        return [said for said in load(catalogue + text).warnings if "permits" in said]

    sweeping = "{match: {topics: ['a.*']}, decision: allow}"
    both = "rule 1 of level_0: every agent has this level, and it permits a.b (and 1 more), which is tier 3"
    assert warned(sweeping) == [both]
    assert warned(sweeping, name="level_2") == []
    assert warned(
        "{match: {topics: [a.b]}, decision: deny}", "{match: {risk_tags: [t]}, decision: allow}"
    ) == ["rule 2 of level_0: every agent has this level, and it permits a.c, which is tier 3"]
    assert warned("{match: {topics: ['**']}, decision: require_approval}", sweeping) == []
    assert warned("{match: {topics: [a.b, a.c]}, decision: allow}") == []
    assert warned("{match: {topics: ['a.*']}, when: topic != 'a.b', decision: allow}") == []
    assert warned("{match: {topics: ['a.*'], affected_users_above: 1}, decision: allow}") == []
    assert warned("{match: {topics: ['a.*']}, decision: deny}") == []


# --- triggers and invariants ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "warnings"),
    [
        ("{}", []),
        ("{sla: {}, anomaly: {above: 0.8}, frustration: {retry_count_above: 2}}", []),
        (
            "{confidence: {floor: 0.7}}",
            ["trigger confidence: holds every action of an agent that reports no confidence"],
        ),
        ("{confidence: {floor: 0.7, match: {topics: [a.b]}}}", []),
        ("{confidence: {floor: 0.7, enabled: false}}", []),
        ("{confidence: {discount: 0.1}}", ["trigger confidence: a discount changes nothing without a floor"]),
        ("{risk_tier: {tiers: [3, 4]}}", []),
        (
            "{sla: {within: 30m, context: [deadline], metric: on time}}",
            [
                "trigger sla: context is accepted, not yet enforced",
                "trigger sla: metric is accepted, not yet enforced",
                "trigger sla: deadline_sec is accepted, not yet observed: it stays at its baseline",
            ],
        ),
        ("{sla: {within: 30m, enabled: false}}", ["trigger sla is off: it escalates nothing"]),
        (
            "{anomaly: {above: 0.9, injection_above: 0.9}, frustration: {sentiment_below: -0.9}}",
            [
                "trigger frustration: sentiment is accepted, not yet observed: it stays at its baseline",
                "trigger anomaly: anomaly_score is accepted, not yet observed: it stays at its baseline",
                "trigger anomaly: injection_score is accepted, not yet observed: it stays at its baseline",
            ],
        ),
    ],
)
def test_triggers_warn_about_what_an_author_sets_and_nothing_feeds(section: str, warnings: list[str]) -> None:
    assert list(load(f"triggers: {section}\n").warnings) == warnings


@pytest.mark.parametrize(
    ("section", "warnings"),
    [
        (
            "{anomaly: {match: {topics: [no.such]}}}",
            ["trigger anomaly looks at some actions only: topics no.such"],
        ),
        (
            "{sla: {match: {risk_tags: [a, b, c, d, e, f, g], all_risk_tags: [h]}}}",
            ["trigger sla looks at some actions only: risk_tags a, b, c, d, e and 2 more; all_risk_tags h"],
        ),
        (
            "{irreversibility: {match: {topics: [a.b]}}}",
            ["trigger irreversibility looks at some actions only: topics a.b"],
        ),
        ("{frustration: {match: {}}, risk_tier: {tiers: [3, 4], match: {topics: [a.b]}}}", []),
        (
            "{anomaly: {match: {topics: [a.b]}, enabled: false}}",
            ["trigger anomaly is off: it escalates nothing"],
        ),
        (
            "{anomaly: {above: 1, injection_above: 1.0}, frustration: {sentiment_below: -1}}",
            [
                "trigger frustration: sentiment is never below -1",
                "trigger anomaly: anomaly_score is never above 1",
                "trigger anomaly: injection_score is never above 1",
            ],
        ),
        (
            "{anomaly: {handoff: human_takeover}, risk_tier: {handoff: async_review},"
            " sla: {handoff: approval}}",
            [
                "trigger risk_tier hands over by async_review, which is milder than approval",
                "trigger sla hands over by approval, which is milder than priority_escalation",
                "trigger anomaly hands over by human_takeover, which is milder than session_block",
            ],
        ),
        ("{confidence: {floor: 0.7, match: {topics: [a.b]}, handoff: approval}}", []),
        ("{sla: {handoff: session_block}, frustration: {handoff: human_takeover}}", []),
    ],
)
def test_a_trigger_that_is_narrowed_weakened_or_can_never_fire_is_named(
    section: str, warnings: list[str]
) -> None:
    said = load(f"triggers: {section}\n").warnings
    assert [text for text in said if "not yet observed" not in text] == warnings


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{risk_tier: {enabled: false}}",
            "enabled of trigger 'risk_tier': tier 4 always needs a person; this trigger cannot be switched"
            " off",
        ),
        (
            "{risk_tier: {tiers: [3]}}",
            "tiers of trigger 'risk_tier': tier 4 always needs a person; name 4 as well",
        ),
        ("{anomly: {}}", "unknown key 'anomly' in triggers; did you mean 'anomaly'?"),
        ("{sla: {floor: 0.5}}", "unknown key 'floor' in trigger 'sla'"),
    ],
)
def test_a_trigger_that_does_not_load(section: str, message: str) -> None:
    assert finding(f"triggers: {section}\n") == message


def test_irreversibility_is_warned_about_where_it_will_ask_each_time() -> None:
    catalogue = """
actions:
  a.plain: {tier: 2}
  a.slow: {tier: 2, undo: a.plain, undo_within: 6m}
  a.quick: {tier: 2, undo: a.plain, undo_within: 5m}
  a.rises: {tier: 1, args: {n: integer}, raise_to: [{tier: 2, when: args.n > 1}]}
  a.read: {tier: 1}
  b.plain: {tier: 2}
"""

    def warned(triggers: str) -> list[str]:
        said = load(catalogue + triggers).warnings
        return [text.split(":")[0] for text in said if "irreversibility asks" in text]

    assert warned("") == ["action a.plain", "action a.rises", "action a.slow", "action b.plain"]
    assert warned("triggers: {irreversibility: {match: {topics: ['b.*']}}}\n") == ["action b.plain"]
    assert warned("triggers: {irreversibility: {enabled: false}}\n") == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deploy", "deploys to production"),
        ("external-comms", "what is said to the outside"),
        ("money", "money above a threshold"),
        ("delete", "deleting"),
        ("privilege", "changing privileges"),
    ],
)
def test_an_invariant_that_is_off_is_named(name: str, words: str) -> None:
    assert load(f"invariants: {{disabled: [{name}]}}\n").warnings == (
        f"invariant {name} is off: {words} no longer always needs a person"
        if name != "deploy"
        else "invariant deploy is off: deploys to production no longer always need a person",
    )


def test_money_without_an_amount_is_held_each_time_and_said_to_be() -> None:
    catalogue = "actions: {a.b: {tier: 3, risk_tags: [money]}, a.c: {tier: 4, risk_tags: [money]}}\n"
    assert [text.split(":")[0] for text in load(catalogue).warnings] == ["action a.b"]
    assert not any(
        "money holds" in text for text in load(catalogue + "invariants: {disabled: [money]}\n").warnings
    )


def test_other_currencies_have_thresholds_of_their_own() -> None:
    catalogue = """
actions:
  a.b: {tier: 3, args: {x: {type: decimal, scale: 2, currency: EUR}}, roles: {amount: x}}
"""
    assert load(catalogue + "invariants: {money_above: {EUR: 90}}\n").warnings == ()
    assert len(load(catalogue + "invariants: {money_above: {GBP: 80}}\n").warnings) == 1
    assert finding("invariants: {money_above: {USD: 5}}\n") == (
        "USD of money_above of invariants: the threshold in US dollars is money_above_usd;"
        " did you mean 'money_above_usd'?"
    )


def test_a_threshold_that_lets_more_money_run_than_the_default_is_named() -> None:
    assert load("invariants: {money_above_usd: 100, money_above: {EUR: 1000}}\n").warnings == ()
    assert load("invariants: {money_above_usd: 0, money_above: {EUR: 0}}\n").warnings == ()
    assert load(
        "invariants: {money_above_usd: 1000000000, money_above: {SEK: 1000.5, EUR: 5}}\n"
    ).warnings == (
        "invariant money starts above $1000000000; by default above $100",
        "invariant money starts above 1000.5 SEK",
    )
    off = "invariants: {disabled: [money], money_above_usd: 500}\n"
    assert load(off).warnings == (
        "invariant money is off: money above a threshold no longer always needs a person",
    )


def test_money_that_nobody_calls_an_amount_is_named() -> None:
    def warned(entry: str) -> bool:
        return any("no threshold and no invariant" in text for text in load(f"actions: {entry}\n").warnings)

    money = "args: {x: {type: decimal, scale: 2, currency: EUR}, y: {type: decimal, scale: 2}}"
    assert load(f"actions: {{a.b: {{tier: 3, {money}}}}}\n").warnings == (
        "action a.b: x is money and no argument has the role amount, so no threshold and no invariant reads"
        " it",
    )
    assert warned(f"{{a.b: {{tier: 1, {money}, raise_to: [{{tier: 2, when: args.x > 5}}]}}}}")
    assert not warned(f"{{a.b: {{tier: 3, {money}, roles: {{amount: x}}}}}}")
    assert not warned(f"{{a.b: {{tier: 3, {money}, risk_tags: [money]}}}}")
    assert not warned(f"{{a.b: {{tier: 4, {money}}}}}")
    assert not warned(f"{{a.b: {{tier: 1, {money}}}}}")
    assert not warned("{a.b: {tier: 3, args: {y: {type: decimal, scale: 2}}}}")


# --- tags -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        ("external_comms", "external-comms"),
        ("external-communications", "external-comms"),
        ("deletes", "delete"),
        ("deletion", "delete"),
        ("priviledge", "privilege"),
        ("mony", "money"),
        ("production", "prod"),
        ("deployment", "deploy"),
    ],
)
def test_a_tag_that_is_nearly_one_that_an_invariant_reads_is_named(tag: str, word: str) -> None:
    reader = "deploy" if word == "prod" else word
    catalogue = (
        f"actions: {{a.b: {{tier: 3, risk_tags: [{tag}]}}, a.c: {{tier: 3, risk_tags: [{tag}, x]}}}}\n"
    )
    named = f"action a.b (and 1 more): the tag {tag} is not {word}, which invariant:{reader} reads"
    assert load(catalogue).warnings == (named,)
    assert load(catalogue + f"invariants: {{disabled: [{reader}]}}\n").warnings[1:] == ()
    both = f"actions: {{a.b: {{tier: 4, risk_tags: [{tag}, {word}]}}}}\n"
    assert load(both).warnings == ()
    asked = rule(f"match: {{risk_tags: [{tag}]}}, decision: deny")
    assert load(asked).warnings == (f"rule x: nothing catalogued is tagged {tag}; did you mean {word!r}?",)


@pytest.mark.parametrize(
    "tag",
    ["read", "write", "prod-eu", "public", "private", "monthly", "secret", "staging", "product", "deep"],
)
def test_a_tag_that_is_a_word_of_its_own_is_not_suspected(tag: str) -> None:
    asked = rule(f"match: {{risk_tags: [{tag}]}}, decision: deny")
    assert load(f"actions: {{a.b: {{tier: 3, risk_tags: [{tag}]}}}}\n").warnings == ()
    assert load(asked).warnings == ()


def test_words_of_routing_count_where_a_policy_routes() -> None:
    catalogue = "actions: {a.b: {tier: 3, risk_tags: [secret]}}\n"
    assert load(catalogue).warnings == ()
    assert load(catalogue + "routing: {default: desk}\n").warnings == (
        "action a.b: the tag secret is not secrets, which routing reads",
    )


@pytest.mark.parametrize(
    "asking",
    [
        rule("match: {all_risk_tags: [pii_datum]}, decision: deny"),
        rule(
            "match: {topics: ['*']}, when: \"tier == 3 && 'pii_datum' in tags\", decision: require_approval"
        ),
        "triggers: {confidence: {floor: 0.5, match: {risk_tags: [pii_datum]}}}\n",
        "autonomy_levels: {level_1: {rules: [{match: {risk_tags: [pii_datum]}, decision: deny}]}}\n",
    ],
)
def test_a_restriction_on_a_tag_that_is_written_differently_elsewhere_is_named(asking: str) -> None:
    catalogue = "actions: {a.b: {tier: 3, risk_tags: [pii-datum]}}\n"
    first = load(catalogue + asking).warnings[0]
    assert first.endswith(": nothing catalogued is tagged pii_datum; did you mean 'pii-datum'?")
    spelt = load(catalogue + asking.replace("pii_datum", "pii-datum")).warnings
    assert not any("did you mean" in text for text in spelt)


def test_a_permission_on_a_misspelt_tag_loosens_nothing() -> None:
    assert load(rule("match: {risk_tags: [mony]}, decision: allow")).warnings == ()


@pytest.mark.parametrize("name", INVARIANTS)
def test_the_words_of_each_invariant_are_the_ones_that_it_reads(name: str) -> None:
    tags = ", ".join(INVARIANTS[name])
    policy = load(f"actions: {{a.b: {{tier: 1, risk_tags: [{tags}]}}}}\n")
    assert policy.decide(Question("a.b", {})).rule == f"invariant:{name}"


@pytest.mark.parametrize("tag", ROUTED)
def test_the_words_of_routing_are_the_ones_that_it_reads(tag: str) -> None:
    policy = load(
        f"actions: {{a.b: {{tier: 4, risk_tags: [{tag}]}}}}\n"
        "routing: {security_actions: guards, financial_actions: books, default: desk}\n"
    )
    assert policy.decide(Question("a.b", {})).owner in ("guards", "books")


# --- entries in the place of others -----------------------------------------------------------------------

WIDE = "job.*: {tier: 4, risk_tags: [delete]}"


@pytest.mark.parametrize(
    ("wide", "narrow", "lost"),
    [
        (WIDE, "job.wipe: {tier: 1}", "tier 4, tag delete"),
        (WIDE, "job.wipe: {tier: 3, risk_tags: [delete]}", "tier 4"),
        (WIDE, "job.wipe: {tier: 4}", "tag delete"),
        ("job.**: {tier: 4, risk_tags: [delete]}", "'job.*': {tier: 1}", "tier 4, tag delete"),
        ("'*.wipe': {tier: 4, risk_tags: [delete]}", "'job.*': {tier: 3}", "tier 4, tag delete"),
        (
            "job.*: {tier: 1, args: {n: integer}, raise_to: [{tier: 4, when: args.n > 1}]}",
            "job.wipe: {tier: 1}",
            "raise to tier 4",
        ),
        (
            "job.*: {tier: 1, args: {n: integer, x: {type: decimal, scale: 2, currency: USD}},"
            " roles: {amount: x, people: n}, constraints: {max_amount_usd: 5}}",
            "job.wipe: {tier: 1}",
            "role amount, role people, limit max_amount_usd",
        ),
    ],
)
def test_an_entry_that_takes_a_guard_of_a_wider_one_away_is_named(wide: str, narrow: str, lost: str) -> None:
    said = load(f"actions: {{{wide}, {narrow}}}\n").warnings
    wider, narrower = wide.partition(": ")[0].strip("'"), narrow.partition(": ")[0].strip("'")
    assert said[0] == f"action {narrower}: speaks in the place of {wider}, without its {lost}"
    assert not any("in the place of" in text for text in said[1:])


@pytest.mark.parametrize(
    "narrow",
    [
        "job.wipe: {tier: 4, risk_tags: [delete, x]}",
        "job.deep.wipe: {tier: 1}",
        "jobs.wipe: {tier: 1}",
        "job.**: {tier: 1}",
    ],
)
def test_an_entry_that_keeps_every_guard_or_stands_elsewhere_is_not(narrow: str) -> None:
    said = load(f"actions: {{{WIDE}, {narrow}}}\n").warnings
    assert not any("in the place of" in text for text in said)


def test_only_tags_that_something_reads_are_missed() -> None:
    catalogue = "actions: {job.*: {tier: 4, risk_tags: [pii]}, job.wipe: {tier: 4}}\n"
    named = "action job.wipe: speaks in the place of job.*, without its tag pii"
    asking = "match: {risk_tags: [pii]}, decision: deny"
    assert load(catalogue + rule(asking)).warnings == ()
    assert load(catalogue + rule(f"{asking}, locked: true")).warnings == (named,)
    in_when = "match: {topics: ['*']}, when: \"'pii' in tags\", decision: deny, locked: true"
    assert load(catalogue + rule(in_when)).warnings == (named,)
    assert load(catalogue + "triggers: {anomaly: {match: {risk_tags: [pii]}}}\n").warnings[1:] == (named,)


def test_a_wider_entry_is_named_once_however_many_speak_in_its_place() -> None:
    narrow = ", ".join(f"job.wipe{n}: {{tier: {1 if n % 2 else 4}}}" for n in range(50))
    assert load(f"actions: {{job.*: {{tier: 4}}, {narrow}}}\n").warnings == (
        "action job.wipe1 (and 24 more): speaks in the place of job.*, without its tier 4",
    )


# --- facts, observe mode, what comes later ----------------------------------------------------------------


def test_facts_and_provenance_are_read_and_not_yet_supplied() -> None:
    text = "facts: {n: integer, unread: string}\n" + rule(
        f"{HELD}, when: facts.n > 1 && provenance.recipient == 'user' && signals.deadline_sec < 60"
    )
    assert load(text).warnings == (
        "rule x: facts.n is accepted, not yet supplied: it counts as unknown",
        "rule x: provenance.recipient is accepted, not yet supplied: it counts as unknown",
        "rule x: deadline_sec is accepted, not yet observed: it stays at its baseline",
        "fact unread: no condition reads it",
    )


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("facts.m > 1", "no fact 'm' is declared"),
        ("facts.number > 1", "no fact 'number' is declared; did you mean 'facts.numbers'?"),
        ("facts.n == 'x'", "facts.n is a number, compared with a string"),
        ("facts.on == 1", "facts.on is true or false, compared with a number"),
    ],
)
def test_a_fact_is_declared_and_of_its_type(when: str, message: str) -> None:
    facts = "facts: {n: {type: integer, source: counter}, numbers: number, 'on': boolean}\n"
    assert finding(facts + rule(f'{HELD}, when: "{when}"')) == message


def test_observe_mode_is_loud() -> None:
    assert load("mode: observe\n").warnings == (
        "OBSERVE MODE: nothing is held or denied; this policy is outside every promise",
    )


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("promotion_criteria", "{min_successful_actions: 5}"),
        ("demotion_triggers", "[policy_violation, {error_rate_above: 0.1}]"),
        ("audit", "{sampling: {rate: 0.1}, mandatory: [{match: {amount_usd_above: 5}}]}"),
        ("output", "{rules: [{detect: [pii], decision: redact}]}"),
        ("approval_queue_policy", "{target_median_wait_sec: 5}"),
        ("fatigue_controls", "{auto_rebalance: true}"),
        ("evidence_contract", "{reject_if_incomplete: true}"),
        ("workflows", "{w: {steps: {a: {type: action, topic: a.b}}}}"),
    ],
)
def test_a_section_of_a_later_capability_is_accepted_not_yet_enforced(section: str, value: str) -> None:
    policy = load(f"{section}: {value}\n")
    assert policy.warnings == (f"{section}: accepted, not yet enforced",)
    assert Policy.from_canonical(policy.canonical()).warnings == policy.warnings


def test_routing_is_enforced_and_needs_no_warning() -> None:
    assert load("routing: {default: desk}\n").warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "audit: {mandatory: [{match: {}}]}\n",
            "match of item 1 of mandatory of audit: it matches everything; if that is meant, say"
            " topics: ['*']",
        ),
        (
            "output: {rules: [{id: a, decision: redact}, {id: a, decision: allow}]}\n",
            "id of rule 2 of output: the rule id 'a' is taken",
        ),
        ("audit: {samplng: {rate: 1}}\n", "unknown key 'samplng' in audit; did you mean 'sampling'?"),
        (
            "audit: {mandatory: [{match: {amount_above: 1}}]}\n",
            "unknown key 'amount_above' in match of item 1 of mandatory of audit;"
            " did you mean 'amount_usd_above'?",
        ),
    ],
)
def test_a_later_section_that_does_not_load(text: str, message: str) -> None:
    assert finding(text) == message


# --- workflows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("{a: {type: action}}", "step 'a' of workflow 'w': an action step says its topic"),
        ("{a: {type: condition}}", "step 'a' of workflow 'w': a condition step says its branches"),
        (
            "{look: {type: action, topic: a.b, depends_on: [lok]}}",
            "item 1 of depends_on of step 'look' of workflow 'w': there is no step 'lok';"
            " did you mean 'look'?",
        ),
        (
            "{a: {type: condition, branches: {x: {when: result.n > 1, next: b}}}}",
            "next of branch 'x' of step 'a' of workflow 'w': there is no step 'b'",
        ),
        (
            "{a: {type: condition, branches: {x: {when: args.n > 1, next: a}}}}",
            "when of branch 'x' of step 'a' of workflow 'w': unknown field 'args.n'",
        ),
        (
            "{a: {type: condition, branches: {x: {when: result.n >, next: a}}}}",
            "when of branch 'x' of step 'a' of workflow 'w': expected a field such as args.amount_usd or a"
            " value, not the end of the condition (at character 11 of the condition)",
        ),
        (
            "{a: {type: action, topic: a.b, depends_on: [b]},"
            " b: {type: action, topic: a.b, depends_on: [a]}}",
            "depends_on of step 'a' of workflow 'w': steps wait for each other in a circle: a → b → a",
        ),
        (
            "{a: {type: approval, timeout_sec: 5, on_timeout: allow}}",
            "on_timeout of step 'a' of workflow 'w': silence approves nothing; use escalate or deny",
        ),
        (
            "{a: {type: approval, timeout_sec: 5, on_timeout: deny, topic: a.b}}",
            "topic of step 'a' of workflow 'w': it belongs to an action step",
        ),
        (
            "{a: {type: action, topic: a.b, on_timeout: deny}}",
            "on_timeout of step 'a' of workflow 'w': it belongs to an approval step",
        ),
    ],
)
def test_a_workflow_that_does_not_load(steps: str, message: str) -> None:
    assert finding(f"workflows: {{w: {{steps: {steps}}}}}\n") == message


def test_an_approval_that_can_wait_for_ever_is_warned_about() -> None:
    assert load("workflows: {w: {steps: {a: {type: approval}}}}\n").warnings == (
        "step a of workflow w: an approval without timeout_sec and on_timeout can wait for ever",
        "workflows: accepted, not yet enforced",
    )


# --- which entries a pattern meets ------------------------------------------------------------------------

SEGMENTS = st.sampled_from(["a", "b", "*"])
PATTERNS = st.one_of(
    st.just("*"),
    st.tuples(st.lists(SEGMENTS, min_size=2, max_size=4)).map(lambda parts: ".".join(parts[0])),
    st.lists(SEGMENTS, min_size=0, max_size=3).map(lambda parts: ".".join([*parts, "**"])),
)
TOPICS = [".".join(parts) for size in (2, 3, 4, 5) for parts in itertools.product("abc", repeat=size)]


@given(st.lists(PATTERNS, min_size=1, max_size=6, unique=True), PATTERNS)
@settings(max_examples=150, deadline=None)
def test_a_pattern_meets_the_entries_it_shares_a_topic_with(keys: list[str], text: str) -> None:
    reach = Reach(CatalogueEntry(key, tier=1) for key in keys)  # type: ignore[arg-type]
    pattern = TopicPattern.parse(text)
    met: list[Any] = [entry.pattern for entry in reach.meeting([pattern])]
    if pattern.exact:
        matching = [key for key in keys if TopicPattern.parse(key).matches(text)]
        most = max(matching, key=lambda key: specificity(TopicPattern.parse(key)), default=None)
        assert met == ([] if most is None else [most])
    else:
        assert met == [key for key in keys if overlap(TopicPattern.parse(key), pattern)]
    assert {entry.pattern for entry in reach.met([text])} == set(met)
    for entry in reach.entries:
        own = TopicPattern.parse(entry.pattern)
        under = {
            key
            for key in keys
            if overlap(TopicPattern.parse(key), own)
            and specificity(TopicPattern.parse(key)) > specificity(own)
        }
        assert {narrower.pattern for narrower in reach.under(entry)} >= under
        assert all(overlap(TopicPattern.parse(one.pattern), own) for one in reach.under(entry))
    matched = [topic for topic in TOPICS if pattern.matches(topic)]
    if reach.inside(pattern):
        assert all(reach.entry(topic) is not None for topic in matched)
    if any(key == text for key in keys):
        assert reach.inside(pattern)


NAMES = ["x", "y"]
KINDS: list[ArgKind] = ["string", "integer"]
ARGS = st.none() | st.dictionaries(st.sampled_from(NAMES), st.sampled_from(KINDS).map(ArgType))
TAGGED = st.lists(st.sampled_from(["p", "q", "r"]), unique=True)


@given(
    st.dictionaries(PATTERNS, st.tuples(ARGS, TAGGED), min_size=1, max_size=6),
    st.none() | TAGGED.filter(bool),
    TAGGED,
)
@settings(max_examples=150, deadline=None)
def test_entries_are_told_apart_by_tags_and_by_how_they_declare_arguments(
    keys: dict[str, Any], some: list[str] | None, every: list[str]
) -> None:
    entries = [
        CatalogueEntry(key, Tier.READ_ONLY, args=args, risk_tags=tuple(tags))
        for key, (args, tags) in keys.items()
    ]
    met = Reach(entries).met(None, some, every)
    wanted = [
        entry for entry in entries if (some is None or entry.tags & set(some)) and set(every) <= entry.tags
    ]
    assert (list(met.in_order), len(met), bool(met)) == (wanted, len(wanted), bool(wanted))
    rank = [specificity(TopicPattern.parse(entry.pattern)) for entry in met]
    assert rank == sorted(rank, reverse=True)
    for names in ([], ["x"], ["y", "x"]):
        kinds = [
            {tuple((entry.args or {}).get(name) for name in names) for entry in way}
            for way in met.ways(names)
        ]
        assert all(len(one) == 1 for one in kinds)
        assert len({next(iter(one)) for one in kinds}) == len(kinds)
        told_apart = [entry.pattern for way in met.ways(names) for entry in way]
        assert sorted(told_apart) == sorted(entry.pattern for entry in wanted if entry.args is not None)
