"""A trie of topic patterns: from a topic to the ranks of the patterns that match it.

1. ``*`` is one more branch; a pattern that sweeps (a final ``**``) hangs where its literal part ends. Exact
   patterns stand in a table beside it.
2. A rank is a place in a list that somebody else sorted.
3. What sweeps over everything (no pattern at all, the lone ``*`` and ``**``) is kept apart, in `everywhere`:
   it is the same for every topic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.model.topics import TopicPattern


@dataclass(slots=True)
class _Node:
    below: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    ends: list[int] = field(default_factory=list)
    sweeps: list[int] = field(default_factory=list)

    def under(self, segment: str) -> _Node:
        if segment != "*":
            return self.below.setdefault(segment, _Node())
        if self.any is None:
            self.any = _Node()
        return self.any


class Trie:
    """Ranks by topic pattern.

    Attributes:
        everywhere: the ranks that hang at every topic.
    """

    __slots__ = ("_exact", "_root", "everywhere")

    def __init__(self) -> None:
        self._root = _Node()
        self._exact: dict[str, list[int]] = {}
        self.everywhere: list[int] = []

    def add(self, pattern: TopicPattern | None, rank: int) -> None:
        """Hang a rank at its pattern; None is every topic."""
        if pattern is None or (pattern.open_ended and not pattern.segments):
            self.everywhere.append(rank)
        elif pattern.exact:
            self._exact.setdefault(pattern.text, []).append(rank)
        else:
            node = self._root
            for segment in pattern.segments:
                node = node.under(segment)
            (node.sweeps if pattern.open_ended else node.ends).append(rank)

    def find(self, topic: str) -> list[int]:
        """The ranks of the patterns that match a topic, without those of `everywhere`, in no order."""
        found = list(self._exact.get(topic, ()))
        nodes = [self._root]
        for segment in topic.split("."):
            reached = []
            for node in nodes:
                below = node.below.get(segment)
                if below is not None:
                    reached.append(below)
                    if below.sweeps:
                        found += below.sweeps
                below = node.any
                if below is not None:
                    reached.append(below)
                    if below.sweeps:
                        found += below.sweeps
            if not reached:
                return found
            nodes = reached
        for node in nodes:
            if node.ends:
                found += node.ends
        return found
