"""Reach: which catalogue entries a rule can meet, and whether it can meet anything beside them.

1. A pattern meets an entry where some topic matches both. An exact topic meets the one entry that speaks for
   it.
2. A pattern stays inside the catalogue where one entry matches every topic that it matches.
3. Both are found by walking a trie of the entries' patterns, not by comparing with each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from interlock.model.topics import TopicPattern
from interlock.policy.catalogue import CatalogueEntry, specificity


@dataclass(slots=True)
class _Node:
    below: dict[str, _Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    sweeps: list[int] = field(default_factory=list)


class Reach:
    """The entries of a catalogue by the patterns that can meet them."""

    def __init__(self, entries: Iterable[CatalogueEntry]) -> None:
        self.entries = tuple(entries)
        self._patterns = [TopicPattern.parse(entry.pattern) for entry in self.entries]
        self._root = _Node()
        for place, pattern in enumerate(self._patterns):
            node = self._root
            for segment in pattern.segments:
                node = node.below.setdefault(segment, _Node())
            (node.sweeps if pattern.open_ended else node.ends).append(place)

    def entry(self, topic: str) -> CatalogueEntry | None:
        """The entry that speaks for a topic: the most specific of those that match it."""
        place = self._speaking(topic)
        return None if place is None else self.entries[place]

    def _speaking(self, topic: str) -> int | None:
        found = self._met(TopicPattern.parse(topic))
        return max(found, key=lambda place: specificity(self._patterns[place]), default=None)

    def meeting(self, patterns: Iterable[TopicPattern]) -> tuple[CatalogueEntry, ...]:
        """The entries that some of the patterns meet, in the order of the catalogue."""
        found: set[int] = set()
        for pattern in patterns:
            if pattern.exact:
                place = self._speaking(pattern.text)
                found.update(() if place is None else (place,))
            else:
                found |= self._met(pattern)
        return tuple(self.entries[place] for place in sorted(found))

    def _met(self, pattern: TopicPattern) -> set[int]:
        nodes, found = [self._root], set(self._root.sweeps)
        for segment in pattern.segments:
            below: list[_Node] = []
            for node in nodes:
                if segment == "*":
                    below += node.below.values()
                else:
                    below += [node.below[step] for step in (segment, "*") if step in node.below]
            for node in below:
                found.update(node.sweeps)
            nodes = below
        while nodes:
            node = nodes.pop()
            found.update(node.ends)
            if pattern.open_ended:
                found.update(node.sweeps)
                nodes += node.below.values()
        return found

    def inside(self, pattern: TopicPattern) -> bool:
        """Whether every topic that the pattern matches is catalogued (rule 2)."""
        nodes = [self._root]
        for segment in pattern.segments:
            if any(node.sweeps for node in nodes):
                return True
            steps = {segment, "*"}
            nodes = [node.below[step] for node in nodes for step in steps if step in node.below]
        return any(node.sweeps or (node.ends and not pattern.open_ended) for node in nodes)

    def matching(
        self,
        topics: Iterable[str] | None,
        risk_tags: Iterable[str] | None,
        all_risk_tags: Iterable[str] | None,
    ) -> tuple[CatalogueEntry, ...]:
        """The entries that a rule with these topics and tags may match."""
        met = self.entries if topics is None else self.meeting(map(TopicPattern.parse, topics))
        some = None if risk_tags is None else frozenset(risk_tags)
        every = frozenset(all_risk_tags or ())
        if some is None and not every:
            return met
        return tuple(
            entry
            for entry in met
            if (some is None or not some.isdisjoint(entry.tags)) and every <= entry.tags
        )
