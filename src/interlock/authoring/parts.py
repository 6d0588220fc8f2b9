"""The parts of a policy as its authors wrote them: documents, patterns, and conditions as expressions.

What a rule decides is the policy's business; what its author wrote is what the tools speak about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from interlock.model.topics import MAX_LENGTH, TopicPattern
from interlock.model.verdicts import Decision
from interlock.policy.document import Document, MatchSpec, RuleSpec, ScopeSpec
from interlock.policy.findings import Finding, Place
from interlock.policy.source import Tree, read

EVERYTHING = TopicPattern.parse("*")


@dataclass(frozen=True, slots=True)
class Written:
    """One rule as it was written.

    Attributes:
        patterns: of a rule without topics, the pattern of every topic.
    """

    index: int
    id: str
    spec: RuleSpec
    decision: Decision
    patterns: tuple[TopicPattern, ...]

    @property
    def match(self) -> MatchSpec:
        return self.spec.match or MatchSpec()

    @property
    def sweeping(self) -> bool:
        """Whether it is asked about every topic."""
        return any(pattern.open_ended and not pattern.segments for pattern in self.patterns)


def rules_of(document: Document) -> tuple[Written, ...]:
    """The author's rules, in their order."""
    return tuple(
        Written(index, document.rule_id(index), spec, Decision(spec.decision), patterns_of(spec.match))
        for index, spec in enumerate(document.rules)
    )


def patterns_of(match: MatchSpec | ScopeSpec | None) -> tuple[TopicPattern, ...]:
    """The topics something speaks about; without any, all of them."""
    if match is None or match.topics is None:
        return (EVERYTHING,)
    return tuple(map(TopicPattern.parse, match.topics))


# --- patterns ---------------------------------------------------------------------------------------------


def covers(wide: TopicPattern, narrow: TopicPattern) -> bool:
    """Whether every topic that matches `narrow` matches `wide`."""
    if len(wide.segments) > len(narrow.segments):
        return False
    if not wide.open_ended and (narrow.open_ended or len(wide.segments) != len(narrow.segments)):
        return False
    pairs = zip(wide.segments, narrow.segments, strict=False)
    return all(want in ("*", segment) for want, segment in pairs)


def meeting(one: TopicPattern, other: TopicPattern) -> TopicPattern | None:
    """The pattern of the topics that match both; None where there are none."""
    short, long = sorted((one, other), key=lambda pattern: len(pattern.segments))
    rest = long.segments[len(short.segments) :]
    if rest and not short.open_ended:
        return None
    segments = []
    for a, b in zip(short.segments, long.segments, strict=False):
        if "*" not in (a, b) and a != b:
            return None
        segments.append(b if a == "*" else a)
    segments += rest
    if len(".".join(segments)) > MAX_LENGTH:
        return None
    open_ended = short.open_ended and long.open_ended
    text = ".".join((*segments, *(("**",) if open_ended else ()))) if segments else "*"
    return TopicPattern(text, tuple(segments), open_ended)


class _Node:
    __slots__ = ("below", "ends", "sweeps")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.ends: list[int] = []
        self.sweeps: list[int] = []


class PatternIndex:
    """Which of many sets of patterns cover or meet a pattern, without looking at the others.

    Args:
        patterns: of each item, in order; items are answered by their number.
    """

    __slots__ = ("_root",)

    def __init__(self, patterns: Iterable[Iterable[TopicPattern]]) -> None:
        self._root = _Node()
        for number, own in enumerate(patterns):
            for pattern in own:
                node = self._root
                for segment in pattern.segments:
                    node = node.below.setdefault(segment, _Node())
                (node.sweeps if pattern.open_ended else node.ends).append(number)

    def covering(self, pattern: TopicPattern) -> set[int]:
        """Items with a pattern that covers this one."""
        nodes, found = [self._root], set(self._root.sweeps)
        for segment in pattern.segments:
            steps = {segment, "*"}
            nodes = [node.below[step] for node in nodes for step in steps if step in node.below]
            for node in nodes:
                found.update(node.sweeps)
        if not pattern.open_ended:
            for node in nodes:
                found.update(node.ends)
        return found

    def meeting(self, pattern: TopicPattern) -> set[int]:
        """Items with a pattern that some topic matches together with this one."""
        nodes, found = [self._root], set(self._root.sweeps)
        for segment in pattern.segments:
            nodes = [
                below
                for node in nodes
                for step, below in node.below.items()
                if segment == "*" or step in ("*", segment)
            ]
            for node in nodes:
                found.update(node.sweeps)
        for node in nodes:
            found.update(node.ends)
            if pattern.open_ended:
                found.update(_everything_below(node))
        return found


def _everything_below(node: _Node) -> Iterator[int]:
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield from found.ends
        yield from found.sweeps
        waiting += found.below.values()


# --- places -----------------------------------------------------------------------------------------------


def places_of(sources: Mapping[str, str]) -> dict[tuple[str, str], Place]:
    """Where the rules and actions of some files stand: by ``("rule", id)`` and ``("action", pattern)``.

    Args:
        sources: the texts that made a policy; what cannot be read has no places.
    """
    found: dict[tuple[str, str], Place] = {}
    findings: list[Finding] = []
    index = 0
    for file in sorted(sources):
        tree = read(file, sources[file], findings)
        if tree is None or not isinstance(tree.data, dict):
            continue
        for pattern in _mapping(tree, "actions"):
            found["action", pattern] = tree.places.key(("actions", pattern))
        rules = tree.data.get("rules")
        for at, rule in enumerate(rules if isinstance(rules, list) else ()):
            named = rule.get("id") if isinstance(rule, dict) else None
            found["rule", str(named or f"rules[{index}]")] = tree.places.value(("rules", at))
            index += 1
    return found


def _mapping(tree: Tree, key: str) -> Iterable[str]:
    value = tree.data.get(key)
    return value if isinstance(value, dict) else ()
