"""Witnesses: actions on which two policies are compared, chosen where they can differ.

1. For each topic every field is varied over its boundaries. Where all combinations are few, all are tried;
   else every value alone and every two together, and after that a fixed sample of the rest. What was not
   tried is said.
2. A witness is an action file: `explain` gives the same verdict for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice, product
from math import prod
from typing import Any

from interlock.authoring.boundaries import MISSING, Name, boundaries, dimensions
from interlock.authoring.parts import patterns_of, rules_of
from interlock.model.actions import Signals
from interlock.model.canonical import Json, plain
from interlock.model.errors import InvalidInput
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Verdict
from interlock.policy import BASELINE, Policy, Question

UNLISTED = "unlisted.topic"
"""A topic that only sweeping patterns match."""
_STRIDE = 7_368_787
"""A prime: steps through all combinations without staying in one corner."""


def topics_of(policies: Iterable[Policy]) -> list[str]:
    """A topic for each pattern that the policies name, and one that none names."""
    found: dict[str, None] = {}
    for policy in policies:
        patterns = [TopicPattern.parse(entry.pattern) for entry in policy.catalogue.entries]
        for rule in rules_of(policy.document):
            patterns += rule.patterns
        for level in policy.document.autonomy_levels.values():
            patterns += (pattern for spec in level.rules for pattern in patterns_of(spec.match))
        found.update(dict.fromkeys(map(_instance, patterns)))
    return [*found, *([] if UNLISTED in found else [UNLISTED])]


def _instance(pattern: TopicPattern) -> str:
    """A topic that the pattern matches."""
    if pattern.open_ended and not pattern.segments:
        return UNLISTED
    segments = ["x" if segment == "*" else segment for segment in pattern.segments]
    if len(segments) < 2 or (pattern.open_ended and len(segments) < 16):
        segments.append("x")
    return ".".join(segments)


class Witnesses:
    """The actions to try on one topic.

    Attributes:
        possible: how many combinations there are.
        tried: how many of them `actions` gives.
    """

    def __init__(self, topic: str, policies: tuple[Policy, ...], limit: int) -> None:
        self.topic = topic
        self._dimensions = dimensions(topic, policies, boundaries(topic, policies))
        self.possible = prod(len(values) for values in self._dimensions.values())
        self.tried = min(self.possible, limit)

    def actions(self) -> Iterator[dict[str, Any]]:
        """Action files, the quietest first."""
        names = tuple(self._dimensions)
        for values in islice(self._combined(list(self._dimensions.values())), self.tried):
            yield _action(self.topic, zip(names, values, strict=True))

    def _combined(self, columns: list[list[Any]]) -> Iterator[tuple[Any, ...]]:
        if self.possible <= self.tried:
            yield from product(*columns)
            return
        quiet = [column[0] for column in columns]
        yield tuple(quiet)
        for count in (1, 2):
            for chosen in combinations(range(len(columns)), count):
                for values in product(*(columns[index][1:] for index in chosen)):
                    changed = list(quiet)
                    for index, value in zip(chosen, values, strict=True):
                        changed[index] = value
                    yield tuple(changed)
        for number in range(self.tried):
            left, sampled = number * _STRIDE % self.possible, []
            for column in columns:
                left, index = divmod(left, len(column))
                sampled.append(column[index])
            yield tuple(sampled)


def _action(topic: str, values: Iterable[tuple[Name, Any]]) -> dict[str, Any]:
    """An action file as `parse_json` would give it."""
    baseline = Signals()
    groups: dict[str, dict[str, Any]] = {"args": {}, "signals": {}, "facts": {}, "provenance": {}}
    action: dict[str, Any] = {"topic": topic}
    for name, value in values:
        if value is MISSING:
            continue
        if name == ("tags",):
            action["risk_tags"] = sorted(value)
        elif name == ("level",):
            action["level"] = value
        elif name[0] != "signals" or value != getattr(baseline, name[1]):
            groups[name[0]][name[1]] = value
    return {**action, "args": groups.pop("args"), **{key: group for key, group in groups.items() if group}}


def as_json(value: Any) -> Json:
    """An action file's content as JSON; a number that no double carries as its digits."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    try:
        return plain(value)
    except InvalidInput:
        return f"{value:f}"


def ask(policy: Policy, action: Mapping[str, Any]) -> Verdict | InvalidInput:
    """What a policy says about an action of `Witnesses`, or why it refuses the arguments."""
    tags = action.get("risk_tags")
    try:
        return policy.decide(
            Question(
                action["topic"],
                policy.check_args(action["topic"], action["args"]),
                Signals(**action["signals"]) if "signals" in action else BASELINE,
                None if tags is None else frozenset(tags),
                level=action.get("level"),
                facts={name: plain(value) for name, value in action.get("facts", {}).items()},
                provenance=action.get("provenance", {}),
            )
        )
    except InvalidInput as refusal:
        return refusal
