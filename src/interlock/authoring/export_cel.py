"""A policy's rules as CEL, so that nobody is kept here by a language of ours.

1. Every rule of the author's, every `raise_to` and every rule of a level is one CEL expression that never
   ends in an error (`interlock.authoring.cel` says which variables it reads and what they mean).
2. `expression` says whether the rule counts: of a rule that restricts, whether it is not refuted; of one
   that permits, whether it is proved. `proved` is what overriding asks for, `possible` what limits ask for.
3. What stands beside the rules in every policy (triggers, invariants, defaults) is listed in words, and how
   all of it is combined is said in sentences: CEL has no such notions.
"""

from __future__ import annotations

from typing import Any

from interlock.authoring.cel import Both, of_expression, of_match, of_topics, together
from interlock.model.canonical import Json, plain
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Decision
from interlock.policy import Policy
from interlock.policy.compiling import compile_constraints
from interlock.policy.document import LevelRuleSpec, RuleSpec
from interlock.policy.expressions import parse_expression

FORMAT = "interlock-policy-cel/1"
_VARIABLES = {
    "topic": "string",
    "catalogued": "bool: whether the catalogue has an entry for the topic",
    "tiers": "list(int): the tier, or the higher one that raise_to proves, and those it makes possible; "
    "empty outside the catalogue",
    "args": "map(string, dyn): as proposed; arguments declared decimal as double",
    "facts": "map(string, dyn)",
    "provenance": "map(string, dyn): from role to user, known, record, untrusted or unseen",
    "signals": "map(string, dyn): observed signals at their baseline where nobody observed anything",
    "known": "map(string, dyn): tags (list(string)), amount_usd, people (double), where they are known",
    "no_money": "bool: whether the catalogue proves that no money moves",
    "names_people": "bool: whether the catalogue says which argument names people",
}
_COMBINING = (
    "A kill switch that covers the action denies.",
    "Of the rules whose expression is true the strictest decides: deny, require_approval, "
    "allow_with_constraints, allow.",
    "Unless a rule that permits is among them, the default of the highest tier counts as well: 1 and 2 "
    "allow, 3 and 4 require_approval; outside the catalogue default_decision.",
    "A rule whose expression and proved are true then sets aside the rules it overrides.",
    "With an autonomy level in force, on tiers 1 to 3 the first of its rules that is proved counts in place "
    "of that default, or a stricter one before it that is possible; where none is proved, both count.",
    "The triggers and invariants listed here require approval unless they are refuted.",
    "Tier 4 always requires approval.",
    "Constraints of everything that counts hold together: the smaller number, what both lists name. Those of "
    "a rule that permits hold where it is possible; what would run then runs with constraints.",
)
_DEVIATIONS = (
    "Numbers are doubles; the policy itself computes with exact decimals.",
    "Owners, lanes, levels' promotion and everything after the decision are not expressed.",
)


def export_cel(policy: Policy) -> dict[str, Json]:
    """The policy as a JSON document (rules above)."""
    document = policy.document
    return {
        "format": FORMAT,
        "policy": policy.name,
        "snapshot": policy.snapshot,
        "default_decision": policy.default_decision.value,
        "variables": dict(_VARIABLES),
        "combining": list(_COMBINING),
        "deviations": list(_DEVIATIONS),
        "actions": [
            {
                "pattern": pattern,
                "tier": spec.tier,
                "risk_tags": list(spec.risk_tags or ()),
                "raise_to": [
                    {"tier": raised.tier, "proved": texts.proved, "possible": texts.possible}
                    for raised in spec.raise_to or ()
                    for texts in (of_expression(parse_expression(raised.when)),)
                ],
            }
            for pattern, spec in document.actions.items()
        ],
        "rules": [_rule(document.rule_id(index), spec) for index, spec in enumerate(document.rules)],
        "levels": {
            name: [_level_rule(spec) for spec in level.rules]
            for name, level in document.autonomy_levels.items()
        },
        "built_in": [
            {"id": rule.id, "decision": rule.decision.value, "when": " and ".join(t.text for t in rule.tests)}
            for rule in (*policy.triggers, *policy.invariants)
        ],
    }


def _rule(rule_id: str, spec: RuleSpec) -> dict[str, Json]:
    speaks, permits, texts = _parts(spec)
    restricts = Decision(spec.decision).restrictive
    counts = f"{speaks} && {texts.possible}" if restricts else f"{permits} && {texts.proved}"
    return {
        "id": rule_id,
        "decision": spec.decision,
        "expression": counts,
        "proved": f"{speaks if restricts else permits} && {texts.proved}",
        "possible": f"{speaks if restricts else permits} && {texts.possible}",
        "constraints": _constraints(spec),
        "overrides": list(spec.overrides or ()),
        "reason": spec.reason,
    }


def _level_rule(spec: LevelRuleSpec) -> dict[str, Json]:
    speaks, _, texts = _parts(spec)
    return {
        "decision": spec.decision,
        "proved": f"{speaks} && {texts.proved}",
        "possible": f"{speaks} && {texts.possible}",
        "constraints": _constraints(spec),
        "reason": spec.reason,
    }


def _constraints(spec: RuleSpec | LevelRuleSpec) -> Any:
    return plain(compile_constraints(spec.constraints).to_json())


def _parts(spec: RuleSpec | LevelRuleSpec) -> tuple[str, str, Both]:
    """Whether it speaks about the topic, whether it may permit it, and the rest of its conditions."""
    listed = None if spec.match is None else spec.match.topics
    patterns = [TopicPattern.parse(pattern) for pattern in (("*",) if listed is None else listed)]
    speaks, named = of_topics(patterns), of_topics(p for p in patterns if p.names)
    permits = "catalogued" if named == "false" and speaks == "true" else f"(catalogued ? {speaks} : {named})"
    texts = of_match(spec.match)
    if spec.when is not None:
        texts.append(of_expression(parse_expression(spec.when)))
    return speaks, permits, together(texts)
