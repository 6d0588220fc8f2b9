"""Witnesses: actions on which two policies are compared, chosen where they can differ.

1. There is a topic for each pattern that the policies name, one that none names, and one for each way in
   which a changed pattern meets others; where those are very many, not all.
2. For each topic every field is varied over its boundaries. Where all combinations are few, all are tried;
   else every value alone, the fields that a changed part reads together, every two values, and after that a
   fixed sample of the rest. What was not tried is said.
3. A witness is an action file: `explain` gives the same verdict for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice, product
from math import prod
from typing import Any

from interlock.authoring.boundaries import MISSING, Name, boundaries, dimensions
from interlock.authoring.parts import PatternIndex, meeting, patterns_of, rules_of
from interlock.model.actions import Signals
from interlock.model.canonical import Json, plain
from interlock.model.errors import InvalidInput
from interlock.model.topics import MAX_LENGTH, TopicPattern
from interlock.model.verdicts import Verdict
from interlock.policy import BASELINE, Policy, Question

UNLISTED = "unlisted.topic"
"""A topic that only sweeping patterns match."""
MOST_MEETINGS = 1_000
_LETTERS = "xyzqwvkj0123456789"
_STRIDE = 7_368_787
"""A prime: steps through all combinations without staying in one corner."""


def topics_of(
    policies: Iterable[Policy], changed: Iterable[TopicPattern] = (), most: int = MOST_MEETINGS
) -> tuple[list[str], bool]:
    """The topics to try, and whether those are all that rule 1 speaks of.

    Args:
        changed: the patterns of what changed.
        most: how many patterns to look at that come from changed ones.
    """
    patterns: dict[TopicPattern, None] = {}
    for policy in policies:
        found = [TopicPattern.parse(entry.pattern) for entry in policy.catalogue.entries]
        for rule in rules_of(policy.document):
            found += rule.patterns
        for level in policy.document.autonomy_levels.values():
            found += (pattern for spec in level.rules for pattern in patterns_of(spec.match))
        patterns.update(dict.fromkeys(found))
    literals = {segment for pattern in patterns for segment in pattern.segments}
    free = next((letter for letter in _LETTERS if letter not in literals), _LETTERS[0])
    met, all_of_them = _meetings(list(patterns), changed, most)
    topics = dict.fromkeys(_instance(pattern, free) for pattern in (*patterns, *met))
    topics[UNLISTED] = None
    return [topic for topic in topics if len(topic) <= MAX_LENGTH], all_of_them


def _meetings(
    patterns: list[TopicPattern], changed: Iterable[TopicPattern], most: int
) -> tuple[list[TopicPattern], bool]:
    """What changed patterns have in common with others, and that with others again."""
    index = PatternIndex([(pattern,) for pattern in patterns])
    found = dict.fromkeys(changed)
    waiting = deque(found)
    while waiting:
        one = waiting.popleft()
        for number in () if one.exact else sorted(index.meeting(one)):
            both = meeting(one, patterns[number])
            if both is None or both in found:
                continue
            if len(found) >= most:
                return list(found), False
            found[both] = None
            waiting.append(both)
    return list(found), True


def _instance(pattern: TopicPattern, free: str) -> str:
    """A topic that the pattern matches, and as few others as possible. Args: free: a segment nobody names."""
    if pattern.open_ended and not pattern.segments:
        return UNLISTED
    segments = [free if segment == "*" else segment for segment in pattern.segments]
    if len(segments) < 2 or (pattern.open_ended and len(segments) < 16):
        segments.append(free)
    return ".".join(segments)


class Witnesses:
    """The actions to try on one topic.

    Attributes:
        possible: how many combinations there are.
        tried: how many of them `actions` gives.
    """

    def __init__(
        self,
        topic: str,
        policies: tuple[Policy, ...],
        limit: int,
        together: Iterable[frozenset[Name]] = (),
    ) -> None:
        """Args: together: the fields that each changed part reads."""
        self.topic = topic
        self._dimensions = dimensions(topic, policies, boundaries(topic, policies))
        self.possible = prod(len(values) for values in self._dimensions.values())
        self.tried = min(self.possible, limit)
        places = {name: index for index, name in enumerate(self._dimensions)}
        groups = (tuple(places[name] for name in sorted(names & places.keys())) for names in together)
        self._together = tuple(group for group in dict.fromkeys(groups) if len(group) > 1)

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
        yield from _varied(quiet, columns, ((index,) for index in range(len(columns))))
        share = self.tried // (2 * max(1, len(self._together)))
        for group in self._together:
            for values in _sample([columns[index] for index in group], share):
                yield _with(quiet, group, values)
        yield from _varied(quiet, columns, combinations(range(len(columns)), 2))
        yield from _sample(columns, self.tried)


def _varied(
    quiet: list[Any], columns: list[list[Any]], groups: Iterable[tuple[int, ...]]
) -> Iterator[tuple[Any, ...]]:
    """All but the quiet values of some fields together, the others quiet."""
    for group in groups:
        for values in product(*(columns[index][1:] for index in group)):
            yield _with(quiet, group, values)


def _with(quiet: list[Any], group: tuple[int, ...], values: Iterable[Any]) -> tuple[Any, ...]:
    changed = list(quiet)
    for index, value in zip(group, values, strict=True):
        changed[index] = value
    return tuple(changed)


def _sample(columns: list[list[Any]], most: int) -> Iterator[tuple[Any, ...]]:
    """All combinations, or where those are too many `most` of them, from all corners."""
    possible = prod(map(len, columns))
    if possible <= most:
        yield from product(*columns)
        return
    for number in range(most):
        left, sampled = number * _STRIDE % possible, []
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


def as_question(policy: Policy, action: Mapping[str, Any]) -> Question:
    """What an action of `Witnesses` asks of a policy, which may refuse its arguments with `InvalidInput`."""
    tags = action.get("risk_tags")
    return Question(
        action["topic"],
        policy.check_args(action["topic"], action["args"]),
        Signals(**action["signals"]) if "signals" in action else BASELINE,
        None if tags is None else frozenset(tags),
        level=action.get("level"),
        facts={name: plain(value) for name, value in action.get("facts", {}).items()},
        provenance=action.get("provenance", {}),
    )


def ask(policy: Policy, action: Mapping[str, Any]) -> Verdict | InvalidInput:
    """What a policy says about an action of `Witnesses`, or why it refuses the arguments."""
    try:
        return policy.decide(as_question(policy, action))
    except InvalidInput as refusal:
        return refusal
