"""Reach: which catalogue entries a rule can meet, and whether it can meet anything beside them.

1. A pattern meets an entry where some topic matches both. An exact topic meets the one entry that speaks for
   it.
2. A pattern stays inside the catalogue where one entry matches every topic that it matches.
3. Some entries together are one integer with a bit for each, the most specific entry lowest. Whatever a check
   asks of a thousand entries is a handful of operations on such integers, so that as many rules as there are
   entries cost little more than one rule each, although every rule may meet every entry.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from interlock.model.topics import TopicPattern
from interlock.policy.catalogue import ArgKind, CatalogueEntry, specificity

_SEGMENTS = 16
_OFTEN = 64
"""What so many entries have in common is remembered as bits: few things are, so that this stays small."""
_KINDS: tuple[ArgKind, ...] = get_args(ArgKind)


class Reach:
    """The entries of a catalogue by the patterns that can meet them.

    Attributes:
        entries: in the order in which they were given.
    """

    def __init__(self, entries: Iterable[CatalogueEntry]) -> None:
        self.entries = tuple(entries)
        patterns = [TopicPattern.parse(entry.pattern) for entry in self.entries]
        order = sorted(range(len(patterns)), key=lambda place: specificity(patterns[place]), reverse=True)
        self._given = order
        self._rank = {self.entries[place].pattern: rank for rank, place in enumerate(order)}
        self._literal, self._tagged, self._declared = _Common(), _Common(), _Common()
        self._anything, self._closed, self._open = _Common(), _Common(), _Common()
        for rank, place in enumerate(order):
            self._hang(rank, patterns[place], self.entries[place])
        self._typed = self.where(lambda entry: entry.args is not None)
        self._add_up()

    def _hang(self, rank: int, pattern: TopicPattern, entry: CatalogueEntry) -> None:
        length = len(pattern.segments)
        (self._open if pattern.open_ended else self._closed).add(length, rank)
        for place, segment in enumerate(pattern.segments):
            if segment == "*":
                self._anything.add(place, rank)
            else:
                self._literal.add((place, segment), rank)
        for tag in entry.tags:
            self._tagged.add(tag, rank)
        for name, declared in (entry.args or {}).items():
            self._declared.add((name, declared.kind), rank)

    def _add_up(self) -> None:
        """What does not depend on the segments of whoever asks."""
        lengths = range(_SEGMENTS + 1)
        swept = [self._open.of(length) for length in lengths]
        fixed = [self._closed.of(length) for length in lengths]
        # those that sweep from so many segments on, or earlier
        self._up_to = [_union(swept[: length + 1]) for length in lengths]
        # those that some topic of so many segments fits in length; of so many or more
        self._within = [fixed[length] | self._up_to[length] for length in lengths]
        self._beyond = [_union(fixed[length:]) | self._up_to[-1] for length in lengths]
        # those that take any segment at a place
        self._any = [self._anything.of(place) | self._up_to[place] for place in range(_SEGMENTS)]

    # --- one topic, one entry

    def entry(self, topic: str) -> CatalogueEntry | None:
        """The entry that speaks for a topic: the most specific of those that match it."""
        found = self._met(TopicPattern.parse(topic))
        return Met(self, found).first if found else None

    def alone(self, entry: CatalogueEntry) -> Met:
        """One of these entries, as a set."""
        return Met(self, 1 << self._rank[entry.pattern])

    # --- patterns and tags

    def matching(
        self,
        topics: Iterable[str] | None,
        risk_tags: Iterable[str] | None,
        all_risk_tags: Iterable[str] | None,
    ) -> tuple[CatalogueEntry, ...]:
        """The entries that a rule with these topics and tags may match, in the order of the catalogue."""
        return self.met(topics, risk_tags, all_risk_tags).in_order

    def meeting(self, patterns: Iterable[TopicPattern]) -> tuple[CatalogueEntry, ...]:
        """The entries that some of the patterns meet, in the order of the catalogue."""
        return Met(self, _union(map(self._speaking, patterns))).in_order

    def met(
        self,
        topics: Iterable[str] | None = None,
        risk_tags: Iterable[str] | None = None,
        all_risk_tags: Iterable[str] | None = None,
    ) -> Met:
        """As `matching`, as a set."""
        found = (1 << len(self.entries)) - 1
        if topics is not None:
            found = _union(self._speaking(TopicPattern.parse(topic)) for topic in topics)
        if risk_tags is not None:
            found &= _union(map(self._tagged.of, risk_tags))
        for tag in all_risk_tags or ():
            found &= self._tagged.of(tag)
        return Met(self, found)

    def under(self, entry: CatalogueEntry) -> Met:
        """The entries that speak for some topics which this one matches, because they are more specific."""
        more_specific = (1 << self._rank[entry.pattern]) - 1
        return Met(self, self._met(TopicPattern.parse(entry.pattern)) & more_specific)

    def inside(self, pattern: TopicPattern) -> bool:
        """Whether every topic that the pattern matches is catalogued (rule 2)."""
        length = len(pattern.segments)
        found = (self._up_to if pattern.open_ended else self._within)[length]
        for place, segment in enumerate(pattern.segments):
            literal = 0 if segment == "*" else self._literal.of((place, segment))
            found &= self._any[place] | literal
        return bool(found)

    def _speaking(self, pattern: TopicPattern) -> int:
        found = self._met(pattern)
        return found & -found if pattern.exact else found

    def _met(self, pattern: TopicPattern) -> int:
        found = (self._beyond if pattern.open_ended else self._within)[len(pattern.segments)]
        for place, segment in enumerate(pattern.segments):
            if segment != "*":
                found &= self._any[place] | self._literal.of((place, segment))
        return found

    # --- what else they have in common

    def where(self, holds: Callable[[CatalogueEntry], bool]) -> int:
        """The bits of the entries of which something holds. Asks each of them: once for all, not per rule."""
        return _bits([rank for rank, place in enumerate(self._given) if holds(self.entries[place])])

    def tagged(self, tag: str) -> int:
        """The bits of the entries that carry a tag."""
        return self._tagged.of(tag)


@dataclass(frozen=True, slots=True)
class Met:
    """Some entries of a catalogue, the most specific first."""

    reach: Reach
    bits: int

    def __bool__(self) -> bool:
        return bool(self.bits)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __iter__(self) -> Iterator[CatalogueEntry]:
        reach = self.reach
        return (reach.entries[reach._given[rank]] for rank in self._ranks())

    @property
    def first(self) -> CatalogueEntry:
        """One that stands for all; there is one."""
        lowest = (self.bits & -self.bits).bit_length() - 1
        return self.reach.entries[self.reach._given[lowest]]

    @property
    def named(self) -> str:
        """All of them in a sentence: ``a.b (and 3 more)``; there is one."""
        others = len(self) - 1
        return f"{self.first.pattern} (and {others} more)" if others else self.first.pattern

    @property
    def in_order(self) -> tuple[CatalogueEntry, ...]:
        """In the order of the catalogue."""
        given, entries = self.reach._given, self.reach.entries
        return tuple([entries[place] for place in sorted([given[rank] for rank in self._ranks()])])

    def _ranks(self) -> Iterator[int]:
        digits = f"{self.bits:b}"[::-1]
        rank = digits.find("1")
        while rank >= 0:
            yield rank
            rank = digits.find("1", rank + 1)

    def among(self, bits: int) -> Met:
        """Those of them that are also among others."""
        return Met(self.reach, self.bits & bits)

    def ways(self, names: Sequence[str]) -> list[Met]:
        """Those of them that declare arguments, split by the kinds that some arguments have in them."""
        split = [found for found in (self.bits & self.reach._typed,) if found]
        for name in names:
            parts = []
            for rest in split:
                for kind in _KINDS:
                    found = rest & self.reach._declared.of((name, kind))
                    parts.append(found)
                    rest ^= found
                parts.append(rest)  # they do not declare it
            split = [found for found in parts if found]
        return [Met(self.reach, found) for found in sorted(split, key=lambda found: found & -found)]


class _Common:
    """The entries that have something in common, by what that is."""

    def __init__(self) -> None:
        self._ranks: dict[Hashable, list[int]] = {}
        self._bits: dict[Hashable, int] = {}

    def add(self, what: Hashable, rank: int) -> None:
        self._ranks.setdefault(what, []).append(rank)

    def of(self, what: Hashable) -> int:
        bits = self._bits.get(what)
        if bits is None:
            ranks = self._ranks.get(what, [])
            bits = _bits(ranks)
            if len(ranks) >= _OFTEN:
                self._bits[what] = bits
        return bits


def _bits(ranks: list[int]) -> int:
    """Ascending ranks as one integer."""
    if not ranks:
        return 0
    held = bytearray(ranks[-1] // 8 + 1)
    for rank in ranks:
        held[rank >> 3] |= 1 << (rank & 7)
    return int.from_bytes(held, "little")


def _union(several: Iterable[int]) -> int:
    found = 0
    for bits in several:
        found |= bits
    return found
