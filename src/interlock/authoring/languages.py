"""Languages: sets of texts, and which texts there are in one.

1. A language is built of characters, literals, sequences, choices, repetitions, intersections and
   complements. All of these are regular, so whether there is a text in one is decided, not searched for.
2. `Languages.shortest` walks by derivatives: what is left of a language once a text has begun with some
   character. Characters that no language tells apart are tried once, as one that a person can read. There are
   finitely many derivatives; past `MAX_STATES` of them the answer is `UNKNOWN`.
3. Characters are those that JSON can carry: Unicode without surrogates.

Source: Brzozowski, "Derivatives of Regular Expressions" (1964); Owens, Reppy and Turon, "Regular-expression
derivatives re-examined" (2009).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

MAX_STATES = 5_000
"""Derivatives that are looked at in one walk."""
Ranges: TypeAlias = tuple[tuple[int, int], ...]
UNIVERSE: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))
_READABLE = "xabcdefghijklmnopqrstuvwyzXABCDEFGHIJKLMNOPQRSTUVWYZ0123456789-_. @/:,+"


class Unknown(Enum):
    """That a question was too large to be answered."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language. Two that were built alike by the same `Languages` are the same object.

    Attributes:
        nullable: whether the empty text is in it.
    """

    kind: str
    parts: tuple[Language, ...]
    ranges: Ranges
    text: str
    nullable: bool


class Languages:
    """Builds languages, and remembers what is left of them."""

    def __init__(self) -> None:
        self._known: dict[object, Language] = {}
        self._left: dict[tuple[Language, str], Language] = {}
        self.nothing = self._make("choice", (), (), "", False)
        self.empty = self.literal("")
        self.anything = self.repeated(self.characters(UNIVERSE))

    def _make(
        self, kind: str, parts: tuple[Language, ...], ranges: Ranges, text: str, nullable: bool
    ) -> Language:
        key = (kind, parts, ranges, text)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Language(kind, parts, ranges, text, nullable)
        return found

    # building

    def literal(self, text: str) -> Language:
        return self._make("literal", (), (), text, not text)

    def characters(self, ranges: Ranges) -> Language:
        """One character of some ranges, both ends included."""
        return self._make("characters", (), ranges, "", False) if ranges else self.nothing

    def sequence(self, *parts: Language) -> Language:
        found = self.empty
        for part in reversed(parts):
            found = self._pair(part, found)
        return found

    def _pair(self, first: Language, rest: Language) -> Language:
        if first is self.nothing or rest is self.nothing:
            return self.nothing
        if first is self.empty:
            return rest
        if rest is self.empty:
            return first
        if first.kind == "sequence":
            return self._pair(first.parts[0], self._pair(first.parts[1], rest))
        if first.kind == rest.kind == "literal":
            return self.literal(first.text + rest.text)
        return self._make("sequence", (first, rest), (), "", first.nullable and rest.nullable)

    def choice(self, *parts: Language) -> Language:
        """What is in one of them."""
        found = self._flat("choice", parts)
        found.pop(self.nothing, None)
        if self.anything in found:
            return self.anything
        if len(found) == 1:
            return next(iter(found))
        return self._make("choice", self._sorted(found), (), "", any(part.nullable for part in found))

    def all_of(self, *parts: Language) -> Language:
        """What is in each of them."""
        found = self._flat("all", parts)
        if self.nothing in found:
            return self.nothing
        if len(found) > 1:
            found.pop(self.anything, None)
        if not found:
            return self.anything
        if len(found) == 1:
            return next(iter(found))
        return self._make("all", self._sorted(found), (), "", all(part.nullable for part in found))

    def _flat(self, kind: str, parts: Iterable[Language]) -> dict[Language, None]:
        found: dict[Language, None] = {}
        for part in parts:
            found |= dict.fromkeys(part.parts if part.kind == kind else (part,))
        return found

    def _sorted(self, parts: Iterable[Language]) -> tuple[Language, ...]:
        return tuple(sorted(parts, key=id))

    def besides(self, part: Language) -> Language:
        """Every text that is not in it."""
        if part.kind == "besides":
            return part.parts[0]
        if part is self.nothing:
            return self.anything
        return (
            self.nothing
            if part is self.anything
            else self._make("besides", (part,), (), "", not part.nullable)
        )

    def repeated(self, part: Language) -> Language:
        """Any number of times, none included."""
        if part.kind == "repeated" or part in (self.empty, self.nothing):
            return part if part.kind == "repeated" else self.empty
        return self._make("repeated", (part,), (), "", True)

    def times(self, part: Language, least: int, most: int | None) -> Language:
        """So many times; `most` None: or more."""
        found = self.repeated(part) if most is None else self.empty
        for _ in range(0 if most is None else most - least):
            found = self.choice(self.empty, self._pair(part, found))
        for _ in range(least):
            found = self._pair(part, found)
        return found

    def below(self, text: str) -> Language:
        """What comes before a text, in the order of code points."""
        ways = []
        for place, letter in enumerate(text):
            start = self.literal(text[:place])
            smaller = self.characters(_meeting(((0, ord(letter) - 1),), UNIVERSE))
            ways += [start, self.sequence(start, smaller, self.anything)]
        return self.choice(*ways)

    # asking

    def holds(self, language: Language, text: str) -> bool:
        """Whether a text is in it."""
        for letter in text:
            language = self.after(language, letter)
        return language.nullable

    def after(self, language: Language, letter: str) -> Language:
        """What can follow a first character."""
        key = (language, letter)
        found = self._left.get(key)
        if found is None:
            found = self._left[key] = self._after(language, letter)
        return found

    def _after(self, language: Language, letter: str) -> Language:
        match language.kind:
            case "literal":
                return self.literal(language.text[1:]) if language.text[:1] == letter else self.nothing
            case "characters":
                code = ord(letter)
                return (
                    self.empty if any(low <= code <= high for low, high in language.ranges) else self.nothing
                )
            case "sequence":
                first, rest = language.parts
                found = self._pair(self.after(first, letter), rest)
                return self.choice(found, self.after(rest, letter)) if first.nullable else found
            case "choice":
                return self.choice(*(self.after(part, letter) for part in language.parts))
            case "all":
                return self.all_of(*(self.after(part, letter) for part in language.parts))
            case "besides":
                return self.besides(self.after(language.parts[0], letter))
        return self._pair(self.after(language.parts[0], letter), language)

    def shortest(self, language: Language, least: int = 0, most: int | None = None) -> str | None | Unknown:
        """A shortest text in it with so many characters; None where there is none."""
        return next(self.members(language, least, most), None)

    def members(self, language: Language, least: int = 0, most: int | None = None) -> Iterator[str | Unknown]:
        """Some texts in it, one for each way to end, the shortest first; `UNKNOWN` where it gives up."""
        if most is not None and least > most:
            return
        letters = letters_of(language)
        waiting = deque([(language, "")])
        seen = {(language, 0)}
        while waiting:
            left, text = waiting.popleft()
            if left.nullable and len(text) >= least:
                yield text
            if most is not None and len(text) >= most:
                continue
            for letter in letters:
                following = self.after(left, letter)
                state = following, min(len(text) + 1, least)
                if following is self.nothing or state in seen:
                    continue
                if len(seen) >= MAX_STATES:
                    yield UNKNOWN
                    return
                seen.add(state)
                waiting.append((following, text + letter))


def letters_of(language: Language) -> list[str]:
    """A character for each set of characters that a language does not tell apart, readable ones first."""
    cuts = {low for low, _ in UNIVERSE} | {high + 1 for _, high in UNIVERSE}
    waiting, seen = [language], {language}
    while waiting:
        part = waiting.pop()
        for low, high in (*part.ranges, *((ord(letter), ord(letter)) for letter in part.text)):
            cuts |= {low, high + 1}
        waiting += [each for each in part.parts if each not in seen]
        seen.update(part.parts)
    starts = sorted(cuts)
    found: dict[int, str] = {}
    for letter in _READABLE:
        found.setdefault(starts[bisect_right(starts, ord(letter)) - 1], letter)
    for start in starts:
        if any(low <= start <= high for low, high in UNIVERSE):
            found.setdefault(start, chr(start))
    return list(found.values())


def others(ranges: Ranges) -> Ranges:
    """Every other character."""
    found, low = [], 0
    for first, last in sorted(ranges):
        if first > low:
            found.append((low, first - 1))
        low = max(low, last + 1)
    return _meeting(((*found, (low, 0x10FFFF)) if low <= 0x10FFFF else tuple(found)), UNIVERSE)


def _meeting(ranges: Ranges, limits: Ranges) -> Ranges:
    """What is in a range of both."""
    found = ((max(a, c), min(b, d)) for a, b in ranges for c, d in limits)
    return tuple((low, high) for low, high in found if low <= high)
