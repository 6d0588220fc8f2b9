"""Classes of topics: the finitely many kinds of topics that a policy can tell apart.

1. Two topics are of one class where the same catalogue entry speaks for both, and the same rules, triggers,
   invariants and level rules speak about both, naming them alike. A policy decides about both alike, but for
   conditions that read the topic itself.
2. The classes are found by walking every pattern at once, segment by segment: at each step a topic goes on
   with a literal that some pattern expects there, or with one that none expects. Sets of places that were
   reached before lead nowhere new, so the walk ends.
3. Each class has representatives: one for every set of patterns that match its topics. So a topic is of a
   class if and only if the same patterns match it as match one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count, product

from interlock.model.errors import BadTopic
from interlock.model.topics import TopicPattern, parse_topic
from interlock.policy import CatalogueEntry, Policy
from interlock.policy.rules import Rule

MAX_CLASSES = 50_000
"""Classes of one policy. Patterns with many ``*`` in many places can tell exponentially many apart."""
_MAX_SEGMENTS = 16
_MAX_STEPS = 10 * MAX_CLASSES


class TooMany(ValueError):
    """A policy tells more topics apart than anybody can look at."""


@dataclass(frozen=True, slots=True)
class TopicClass:
    """One class of topics.

    Attributes:
        topics: its representatives. only: whether there is no topic in it but the first of them.
        entry: None outside the catalogue.
        rules: the author's, triggers and invariants that speak about it, strictest first.
        named: ids of the rules that name it.
        levels: the rules of each autonomy level that speak about it, by number, from the lowest.
    """

    topics: tuple[str, ...]
    only: bool
    entry: CatalogueEntry | None
    rules: tuple[Rule, ...]
    named: frozenset[str]
    levels: tuple[tuple[int, tuple[Rule, ...]], ...]

    @property
    def topic(self) -> str:
        return self.topics[0]


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
        """The class of a topic, as if it held nothing that other patterns match. Raises `BadTopic`."""
        rules, named = self._policy.speaking(topic)
        levels = tuple((level.number, level.about(topic)) for level in self._policy.levels)
        return TopicClass(
            (topic,), topic in self._exact, self._policy.entry(topic), tuple(rules), named, levels
        )

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
            known = found.get(key)
            found[key] = replace(known, topics=(*known.topics, topic), only=False) if known else one
            if len(found) > MAX_CLASSES:
                raise TooMany(f"the policy tells more than {MAX_CLASSES} classes of topics apart")
        yield from found.values()

    def _walk(self) -> Iterator[str]:
        """A topic for each set of patterns that can match one together, the shortest there is."""
        root = _Node()
        for number, pattern in enumerate(self.patterns):
            root.add(pattern, number)
        serial = count()
        waiting = [(0, 0, next(serial), _State((root,), frozenset(root.sweeps), ()))]
        seen: set[object] = set()
        while waiting:
            _, _, steps, state = heappop(waiting)
            mark = state.mark()
            if mark in seen:
                continue
            seen.add(mark)
            if steps > _MAX_STEPS:
                raise TooMany(f"the policy tells more than {MAX_CLASSES} classes of topics apart")
            if len(state.path) >= 2:
                topic = state.topic()
                if topic is None:
                    continue  # longer than a topic can be, and so is everything behind it
                yield topic
                if not state.nodes:
                    continue
            if len(state.path) < _MAX_SEGMENTS:
                for following in state.steps():
                    size = sum(map(len, following.path))
                    heappush(waiting, (len(following.path), size, next(serial), following))


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
    """A topic on its way: the places it has reached, and what has swept it up for good.

    Attributes:
        path: its segments; those that no pattern expects are as short as possible.
        free: which of them those are.
    """

    nodes: tuple[_Node, ...]
    swept: frozenset[int]
    path: tuple[str, ...]
    free: frozenset[int] = frozenset()

    def mark(self) -> object:
        """What decides where a topic can still get. A topic has two segments at least."""
        return frozenset(map(id, self.nodes)), self.swept, min(len(self.path), 2)

    def topic(self) -> str | None:
        """The topic, with a word that can be read where any would do; None where there is none so short."""
        words = ("other" if place in self.free else step for place, step in enumerate(self.path))
        for path in (words, self.path):
            try:
                return parse_topic(".".join(path))
            except BadTopic:
                continue
        return None

    def steps(self) -> Iterator[_State]:
        literals = {step for node in self.nodes for step in node.below if step != "*"}
        readable = frozenset() if "other" in literals else frozenset({len(self.path)})
        yield self._step(_unlike(literals), self.free | readable)
        for segment in sorted(literals):
            yield self._step(segment, self.free)

    def _step(self, segment: str, free: frozenset[int]) -> _State:
        reached = [node.below[step] for node in self.nodes for step in (segment, "*") if step in node.below]
        swept = self.swept.union(*(node.sweeps for node in reached))
        return _State(tuple(reached), swept, (*self.path, segment), free)


def _unlike(literals: set[str]) -> str:
    """A segment that is none of these, as short as there is."""
    shortest = (
        "".join(letters)
        for size in count(1)
        for letters in product("xyzabcdefghijklmnopqrstuvw", repeat=size)
    )
    return next(segment for segment in shortest if segment not in literals)
