"""The same policy in other engines, each in the fastest form that we found in its documentation.

1. `CedarOnce` (cedarpy): one `PolicySet` and one `Entities` handle, parsed once, and one `is_authorized` a
   decision. Cedar says allow or deny; the four decisions come from the policies that it names as reasons,
   strictest first. A rule about one topic names it in the policy's head. `in_batch` asks about all actions in
   one call.
2. `CelLinear` (cel-expr-python): one compiled expression a rule, strictest first, until one is true, over one
   prepared activation. `CelJoined` joins fifty rules of one decision into each expression, which spares most
   of the calls from Python.
3. `AgtEvaluator` (agent-os-kernel, `agent_os.policies.PolicyEvaluator`): a rule there is one comparison of
   one field, so each of ours is one `matches` over the action written as one line with numbers of a fixed
   width. `re` forgets patterns beyond 512; here it remembers all, or each would be compiled at every use.
   `AgtShared` (`agent_os.policies.shared.SharedPolicyEvaluator`) joins comparisons with *and*; an *or*
   becomes several rules, and a flag says which argument is missing.
4. None of them parses, encodes or looks anything up on the clock: requests, activations and contexts are
   prepared before, with tier, tags and the topic's segments already in them. Ours looks its catalogue up.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar, Generic, TypeVar

import cedarpy
from agent_os.policies import (
    PolicyAction,
    PolicyCondition,
    PolicyDefaults,
    PolicyDocument,
    PolicyEvaluator,
    PolicyOperator,
    PolicyRule,
)
from agent_os.policies.shared import Condition, SharedPolicyEvaluator, SharedPolicyRule
from cel_expr_python import cel

from benchmarks.policy_shape import (
    ALLOW,
    ASK,
    BELOW,
    DECISIONS,
    DENY,
    OPTIONAL,
    WITHIN,
    Action,
    Compare,
    Rule,
)

Request = TypeVar("Request")


class Peer(ABC, Generic[Request]):
    """An engine that holds one policy. `package` is what to install; `how` says in which form it is asked."""

    name: ClassVar[str]
    package: ClassVar[str]
    how: ClassVar[str]

    @abstractmethod
    def __init__(self, rules: Sequence[Rule]) -> None: ...

    @abstractmethod
    def prepared(self, action: Action) -> Request:
        """What `decide` takes; made before the clock starts."""

    @abstractmethod
    def decide(self, request: Request) -> str: ...


def strictest_first(rules: Sequence[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: DECISIONS.index(rule.decision))


def _and(parts: list[str]) -> str:
    return f"({' && '.join(parts)})"


def _or(parts: list[str]) -> str:
    return f"({' || '.join(parts)})"


# --- Cedar ------------------------------------------------------------------------------------------------


class CedarOnce(Peer[tuple[dict[str, Any], int]]):
    name = "cedarpy"
    package = "cedarpy"
    how = "is_authorized with PolicySet and Entities handles; the strictest of the reasons"

    def __init__(self, rules: Sequence[Rule]) -> None:
        ordered = strictest_first(rules)
        self._decisions = [rule.decision for rule in ordered]
        self._policies = cedarpy.PolicySet.from_str("\n".join(map(_cedar, ordered)))
        self._entities = cedarpy.Entities.from_json_str("[]")

    def prepared(self, action: Action) -> tuple[dict[str, Any], int]:
        context = {**action.args, "tags": action.tags}
        context |= {f"s{n}": segment for n, segment in enumerate(action.topic.split("."))}
        request = {
            "principal": 'Agent::"benchmark"',
            "action": 'Action::"call"',
            "resource": f'Topic::"{action.topic}"',
            "context": json.dumps(context),
        }
        return request, action.tier

    def decide(self, request: tuple[dict[str, Any], int]) -> str:
        return self._answer(cedarpy.is_authorized(request[0], self._policies, self._entities), request[1])

    def in_batch(self, requests: Sequence[tuple[dict[str, Any], int]]) -> list[str]:
        found = cedarpy.is_authorized_batch([r for r, _ in requests], self._policies, self._entities)
        return [self._answer(result, tier) for result, (_, tier) in zip(found, requests, strict=True)]

    def _answer(self, result: cedarpy.AuthzResult, tier: int) -> str:
        if result.diagnostics.errors:
            raise SystemExit(f"cedarpy: {result.diagnostics.errors}")
        reasons = result.diagnostics.reasons
        # Cedar numbers policies by their place in the text: policy0 is the strictest.
        decided = (
            self._decisions[min(int(name.removeprefix("policy")) for name in reasons)] if reasons else None
        )
        if decided != DENY and tier == 4:
            return ASK
        return decided or (ASK if tier == 3 else ALLOW)


def _cedar(rule: Rule) -> str:
    asked = [] if rule.exact else [f'context.s{n} == "{segment}"' for n, segment in rule.segments]
    if rule.all_tags:
        asked.append(f"context.tags.containsAll({json.dumps(rule.all_tags)})")
    if rule.any_tags:
        asked.append(f"context.tags.containsAny({json.dumps(rule.any_tags)})")
    asked.append(
        rule.counts(
            lambda c: f"context.{c.field} {c.op} {c.value}",
            lambda name: f"!(context has {name})",
            lambda name: f"context has {name}",
            _and,
            _or,
        )
    )
    resource = f'resource == Topic::"{rule.pattern}"' if rule.exact else "resource"
    return f"permit(principal, action, {resource}) when {{ {' && '.join(asked)} }};"


# --- CEL --------------------------------------------------------------------------------------------------


class CelLinear(Peer[tuple[Any, int]]):
    name = "cel_linear"
    package = "cel-expr-python"
    how = "one compiled expression a rule, strictest first"
    rules_in_one = 1

    def __init__(self, rules: Sequence[Rule]) -> None:
        text = cel.Type.STRING
        self._env = cel.NewEnv(
            variables={
                "topic": text,
                **{f"s{n}": text for n in range(4)},
                "tags": cel.Type.List(text),
                "args": cel.Type("map<string, int>"),
            }
        )
        self._denying = self._compiled(rules, DENY)
        self._others = [pair for decision in (ASK, WITHIN, ALLOW) for pair in self._compiled(rules, decision)]

    def _compiled(self, rules: Sequence[Rule], decision: str) -> list[tuple[Any, str]]:
        texts = [_cel(rule) for rule in rules if rule.decision == decision]
        size = self.rules_in_one
        chunks = (texts[start : start + size] for start in range(0, len(texts), size))
        return [(self._env.compile(" || ".join(chunk)), decision) for chunk in chunks]

    def prepared(self, action: Action) -> tuple[Any, int]:
        segments = {f"s{n}": segment for n, segment in enumerate(action.topic.split("."))}
        values = {"topic": action.topic, **segments, "tags": list(action.tags), "args": action.args}
        return self._env.Activation(values), action.tier

    def decide(self, request: tuple[Any, int]) -> str:
        activation, tier = request
        for expression, decision in self._denying:
            if expression.eval(activation).value() is True:
                return decision
        if tier == 4:
            return ASK
        for expression, decision in self._others:
            if expression.eval(activation).value() is True:
                return decision
        return ASK if tier == 3 else ALLOW


class CelJoined(CelLinear):
    name = "cel_joined"
    how = "fifty rules of one decision joined by || into each compiled expression"
    rules_in_one = 50


def _cel(rule: Rule) -> str:
    asked = (
        [f'topic == "{rule.pattern}"'] if rule.exact else [f's{n} == "{word}"' for n, word in rule.segments]
    )
    asked += [f'"{tag}" in tags' for tag in rule.all_tags]
    asked += [_or([f'"{tag}" in tags' for tag in rule.any_tags])] if rule.any_tags else []
    asked.append(
        rule.counts(
            lambda c: f"args.{c.field} {c.op} {c.value}",
            lambda name: f"!has(args.{name})",
            lambda name: f"has(args.{name})",
            _and,
            _or,
        )
    )
    return _and(asked)


# --- Microsoft Agent Governance Toolkit -------------------------------------------------------------------

_PRIORITY = {decision: 10 * (len(DECISIONS) - rank) for rank, decision in enumerate(DECISIONS)}
_FLOOR, _DEFAULT = _PRIORITY[ASK] + 1, 0
_KEY = dict(zip(BELOW, "ABCD", strict=True))  # no topic and no tag has a capital letter
_WIDTH = {name: len(str(below - 1)) for name, below in BELOW.items()}


class AgtEvaluator(Peer[dict[str, Any]]):
    name = "agt_evaluator"
    package = "agent-os-kernel"
    how = "PolicyEvaluator: a rule is one `matches` over the action as one line"
    _ACTION: ClassVar = dict(
        zip(
            DECISIONS,
            (PolicyAction.DENY, PolicyAction.BLOCK, PolicyAction.AUDIT, PolicyAction.ALLOW),
            strict=True,
        )
    )
    _DECISION: ClassVar = {action.value: decision for decision, action in _ACTION.items()}

    def __init__(self, rules: Sequence[Rule]) -> None:
        re._MAXCACHE = max(re._MAXCACHE, 2 * len(rules))  # type: ignore[attr-defined]
        # Already in the order of the priorities, which is what its sort is fastest at.
        made = [self._rule(rule.id, _line_pattern(rule), rule.decision) for rule in strictest_first(rules)]
        asked = sum(rule.decision == DENY for rule in rules)
        made.insert(asked, self._tier(4, _FLOOR))
        made.append(self._tier(3, _DEFAULT))
        defaults = PolicyDefaults(action=self._ACTION[ALLOW])
        self._evaluator = PolicyEvaluator([PolicyDocument(name="benchmark", rules=made, defaults=defaults)])

    def _rule(self, name: str, pattern: str, decision: str) -> PolicyRule:
        condition = PolicyCondition(field="line", operator=PolicyOperator.MATCHES, value=pattern)
        return PolicyRule(
            name=name, condition=condition, action=self._ACTION[decision], priority=_PRIORITY[decision]
        )

    def _tier(self, tier: int, priority: int) -> PolicyRule:
        condition = PolicyCondition(field="tier", operator=PolicyOperator.EQ, value=tier)
        return PolicyRule(
            name=f"tier-{tier}", condition=condition, action=self._ACTION[ASK], priority=priority
        )

    def prepared(self, action: Action) -> dict[str, Any]:
        numbers = "".join(f"{_KEY[name]}{value:0{_WIDTH[name]}}" for name, value in action.args.items())
        return {"line": f"{action.topic};,{',,'.join(action.tags)},;{numbers}", "tier": action.tier}

    def decide(self, request: dict[str, Any]) -> str:
        return self._DECISION[self._evaluator.evaluate(request).action]


def _line_pattern(rule: Rule) -> str:
    open_ended = rule.pattern.endswith(".**")
    words = rule.pattern.removesuffix(".**").split(".")
    topic = r"\.".join("[^.;]+" if word == "*" else word for word in words)
    tags = [f"(?=.*,{tag},)" for tag in rule.all_tags]
    tags += [f"(?=.*,(?:{'|'.join(rule.any_tags)}),)"] if rule.any_tags else []
    numbers = rule.counts(
        _number_pattern,
        lambda name: f"(?!.*{_KEY[name]}[0-9])",
        lambda name: f"(?=.*{_KEY[name]}[0-9])",
        "".join,
        lambda parts: f"(?:{'|'.join(parts)})",
    )
    return f"^{topic}{'[.]' if open_ended else ';'}{''.join(tags)}{numbers}"


def _number_pattern(compare: Compare) -> str:
    """A look ahead at ``k0042`` that compares 0042 with the value, digit by digit."""
    width, key = _WIDTH[compare.field], _KEY[compare.field]
    least = compare.value + (compare.op in (">", "<="))
    digits = f"{least:0{width}}"
    larger = [
        f"{digits[:n]}[{int(digit) + 1}-9]{'[0-9]' * (width - n - 1)}"
        for n, digit in enumerate(digits)
        if digit != "9"
    ]
    at_least = f"(?:{'|'.join([digits, *larger])})"
    return f"(?=.*{key}{at_least})" if compare.op in (">", ">=") else f"(?=.*{key}(?!{at_least})[0-9])"


class AgtShared(Peer[dict[str, Any]]):
    name = "agt_shared"
    package = "agent-os-kernel"
    how = "SharedPolicyEvaluator: comparisons joined by and; an or becomes several rules"
    _ACTION: ClassVar = dict(zip(DECISIONS, ("deny", "escalate", "audit", "allow"), strict=True))
    _DECISION: ClassVar = {action: decision for decision, action in _ACTION.items()}

    def __init__(self, rules: Sequence[Rule]) -> None:
        made = [
            SharedPolicyRule(
                rule.id, self._ACTION[rule.decision], [Condition(*c) for c in case], _PRIORITY[rule.decision]
            )
            for rule in strictest_first(rules)
            for case in _cases(rule)
        ]
        made.append(SharedPolicyRule("tier-4", self._ACTION[ASK], [Condition("tier", "eq", 4)], _FLOOR))
        made.append(SharedPolicyRule("tier-3", self._ACTION[ASK], [Condition("tier", "eq", 3)], _DEFAULT))
        self._rules = sorted(made, key=lambda rule: -rule.priority)
        self._evaluator = SharedPolicyEvaluator()

    def prepared(self, action: Action) -> dict[str, Any]:
        return {
            "topic": action.topic,
            "tier": action.tier,
            **{f"s{n}": segment for n, segment in enumerate(action.topic.split("."))},
            **{f"tag_{tag}": True for tag in action.tags},
            **{f"no_{name}": True for name in OPTIONAL - action.args.keys()},
            **action.args,
        }

    def decide(self, request: dict[str, Any]) -> str:
        return self._DECISION[self._evaluator.evaluate(request, self._rules).action]


_Case = list[tuple[str, str, Any]]


def _cases(rule: Rule) -> list[_Case]:
    """Conjunctions of comparisons, one of which holds where the rule counts."""

    def compare(asked: Compare) -> list[_Case]:
        op, value = asked.op, asked.value  # it has no >= and <=, and these are whole numbers
        return [
            [(asked.field, "gt", value - (op == ">="))]
            if ">" in op
            else [(asked.field, "lt", value + (op == "<="))]
        ]

    def every(parts: list[list[_Case]]) -> list[_Case]:
        return [[c for case in cases for c in case] for cases in product(*parts)]

    def some(parts: list[list[_Case]]) -> list[_Case]:
        return [case for cases in parts for case in cases]

    topic: _Case = (
        [("topic", "eq", rule.pattern)]
        if rule.exact
        else [(f"s{n}", "eq", word) for n, word in rule.segments]
    )
    tagged: list[_Case] = [[(f"tag_{tag}", "eq", True)] for tag in rule.any_tags] or [[]]

    def absent(name: str) -> list[_Case]:
        return [[(f"no_{name}", "eq", True)]]

    def present(name: str) -> list[_Case]:
        return [[]]  # what is absent is below and above nothing there

    numbers = rule.counts(compare, absent, present, every, some)
    return every([[topic], [[(f"tag_{tag}", "eq", True) for tag in rule.all_tags]], tagged, numbers])


PEERS: tuple[type[Peer[Any]], ...] = (CedarOnce, CelLinear, CelJoined, AgtEvaluator, AgtShared)
