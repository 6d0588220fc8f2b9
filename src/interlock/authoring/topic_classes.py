"""Classes of topics: the finitely many kinds of topics that a policy can tell apart.

1. Two topics are of one class where the same catalogue entry speaks for both, and the same rules, triggers,
   invariants and level rules speak about both, naming them alike. A policy decides about both alike, but for
   conditions that read the topic itself.
2. The classes are found by walking every pattern at once, segment by segment: at each step a topic goes on
   with a literal that some pattern expects there, or with one that none expects. Sets of places that were
   reached before lead nowhere new, so the walk ends.
3. Each class has a representative, and says whether it is the only topic of its class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from interlock.model.errors import BadTopic
from interlock.model.topics import TopicPattern, parse_topic
from interlock.policy import CatalogueEntry, Policy
from interlock.policy.rules import Rule

MAX_CLASSES = 50_000
"""Classes of one policy. Patterns with many ``*`` in many places can tell exponentially many apart."""
_MAX_SEGMENTS = 16


class TooMany(ValueError):
    """A policy tells more topics apart than anybody can look at."""


@dataclass(frozen=True, slots=True)
class TopicClass:
    """One class of topics.

    Attributes:
        topic: a representative. only: whether there is no other topic in the class.
        entry: None outside the catalogue.
        rules: the author's, triggers and invariants that speak about it, strictest first.
        named: ids of the rules that name it.
        levels: the rules of each autonomy level that speak about it, by number, from the lowest.
    """

    topic: str
    only: bool
    entry: CatalogueEntry | None
    rules: tuple[Rule, ...]
    named: frozenset[str]
    levels: tuple[tuple[int, tuple[Rule, ...]], ...]


class Topics:
    """The topics of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        texts = {entry.pattern for entry in policy.catalogue.entries}
        spoken = (
            *policy.rules,
            *policy.triggers,
            *policy.invariants,
            *(rule for level in policy.levels for rule in level.rules),
        )
        texts.update(pattern.text for rule in spoken for pattern in rule.patterns or ())
        self.patterns = tuple(TopicPattern.parse(text) for text in sorted(texts))
        self._exact = frozenset(pattern.text for pattern in self.patterns if pattern.exact)

    def of(self, topic: str) -> TopicClass:
        """The class of a topic, as if it were the only one in it if a pattern says so. Raises `BadTopic`."""
        rules, named = self._policy.speaking(topic)
        levels = tuple((level.number, level.about(topic)) for level in self._policy.levels)
        return TopicClass(topic, topic in self._exact, self._policy.entry(topic), tuple(rules), named, levels)

    def alike(self, one: TopicClass, topic: str) -> bool:
        """Whether a topic is of a class."""
        try:
            return _key(self.of(topic)) == _key(one)
        except BadTopic:
            return False

    def classes(self) -> Iterator[TopicClass]:
        """Every class, once.

        Raises:
            TooMany: there are more than `MAX_CLASSES`.
        """
        found: dict[object, TopicClass] = {}
        for topic in self._walk():
            one = self.of(topic)
            key = _key(one)
            found[key] = replace(found[key], only=False) if key in found else one
            if len(found) > MAX_CLASSES:
                raise TooMany(f"the policy tells more than {MAX_CLASSES} classes of topics apart")
        yield from found.values()

    def _walk(self) -> Iterator[str]:
        """A topic for each set of patterns that can match one together; no exact one is left out."""
        root = _Node()
        for number, pattern in enumerate(self.patterns):
            root.add(pattern, number)
        start = _State((root,), frozenset(root.sweeps), ())
        waiting, seen, steps = deque([start]), set[object](), 0
        while waiting:
            state = waiting.popleft()
            if len(state.path) >= 2:
                try:
                    yield parse_topic(".".join(state.path))
                except BadTopic:
                    continue  # longer than a topic can be, and so is everything behind it
            if len(state.path) >= 2 and not state.nodes:
                continue
            for following in state.steps():
                mark = following.mark()
                if mark in seen or len(following.path) > _MAX_SEGMENTS:
                    continue
                seen.add(mark)
                waiting.append(following)
                steps += 1
                if steps > 4 * MAX_CLASSES:
                    raise TooMany(f"the policy tells more than {MAX_CLASSES} classes of topics apart")


def _key(one: TopicClass) -> object:
    entry = None if one.entry is None else one.entry.pattern
    rules = tuple((rule.layer, rule.index) for rule in one.rules)
    levels = tuple((number, tuple(rule.index for rule in rules)) for number, rules in one.levels)
    return entry, rules, one.named, levels


# --- the walk ---------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Node:
    """Where some patterns stand after some segments: which end here, and which match whatever follows."""

    below: dict[str, _Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    sweeps: list[int] = field(default_factory=list)

    def add(self, pattern: TopicPattern, number: int) -> None:
        node = self
        for segment in pattern.segments:
            node = node.below.setdefault(segment, _Node())
        (node.sweeps if pattern.open_ended else node.ends).append(number)


@dataclass(frozen=True, slots=True)
class _State:
    """A topic on its way: the places it has reached, and what has swept it up for good."""

    nodes: tuple[_Node, ...]
    swept: frozenset[int]
    path: tuple[str, ...]

    def mark(self) -> object:
        """What decides where a topic can still get. A topic has two segments at least."""
        return frozenset(map(id, self.nodes)), self.swept, min(len(self.path), 2)

    def steps(self) -> Iterator[_State]:
        literals = sorted({step for node in self.nodes for step in node.below if step != "*"})
        for segment in (*literals, _unlike(literals)):
            reached = tuple(
                node.below[step] for node in self.nodes for step in (segment, "*") if step in node.below
            )
            swept = self.swept.union(*(node.sweeps for node in reached))
            yield _State(reached, swept, (*self.path, segment))


def _unlike(literals: list[str]) -> str:
    """A segment that is none of these; a short one."""
    for word in ("other", "else", "x"):
        if word not in literals:
            return word
    number = 1
    while f"x{number}" in literals:
        number += 1
    return f"x{number}"
