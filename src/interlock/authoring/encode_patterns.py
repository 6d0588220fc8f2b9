"""Regular expressions of RE2 as languages, where they say the same.

1. A text matches where the pattern is found anywhere in it; ``^`` begins a whole alternative, ``$`` ends one.
2. What is translated: literals, ``.``, classes, groups, ``|``, ``* + ? {n,m}`` (lazy ones match the same
   texts), and the escapes of ASCII classes. Flags, word boundaries, Unicode classes and whatever else RE2
   knows are not, and the answer is None: then nobody claims to know which texts match.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re

from interlock.authoring.languages import Language, Languages, Ranges, others

_SETS: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
}
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_LINE = others(((0x0A, 0x0A),))
_TIMES = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_MOST_TIMES = 200


class _Untranslated(Exception):
    """The pattern says something that is not translated."""


def pattern_language(pattern: str, languages: Languages) -> Language | None:
    """The texts in which an RE2 pattern is found; None where it cannot be said exactly."""
    try:
        return _Reader(pattern, languages).whole()
    except _Untranslated:
        return None


class _Reader:
    def __init__(self, pattern: str, languages: Languages) -> None:
        self.text, self.languages = pattern, languages
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        letter = self.peek()
        if not letter:
            raise _Untranslated
        self.at += 1
        return letter

    def whole(self) -> Language:
        """Every alternative with what may stand before and behind it."""
        found = [self.alternative(top=True)]
        while self.peek() == "|":
            self.at += 1
            found.append(self.alternative(top=True))
        if self.peek():
            raise _Untranslated
        return self.languages.choice(*found)

    def alternative(self, *, top: bool) -> Language:
        parts: list[Language] = []
        starts = ends = not top
        if top and self.peek() == "^":
            self.at, starts = self.at + 1, True
        while self.peek() not in ("", "|", ")"):
            if top and self.peek() == "$" and self.text[self.at + 1 : self.at + 2] in ("", "|"):
                self.at, ends = self.at + 1, True
                break
            parts.append(self.repeated())
        anything = self.languages.anything
        return self.languages.sequence(*([] if starts else [anything]), *parts, *([] if ends else [anything]))

    def repeated(self) -> Language:
        found = self.single()
        least, most = self.times()
        if (least, most) == (1, 1):
            return found
        if self.peek() == "?":
            self.at += 1
        if self.peek() in ("*", "+", "?", "{"):
            raise _Untranslated
        return self.languages.times(found, least, most)

    def times(self) -> tuple[int, int | None]:
        """How often what was read may stand there."""
        sign = self.peek()
        if sign in ("*", "+", "?"):
            self.at += 1
            return (1 if sign == "+" else 0), (1 if sign == "?" else None)
        if sign != "{":
            return 1, 1
        found = _TIMES.match(self.text, self.at)
        if found is None:
            raise _Untranslated
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if max(least, most or 0) > _MOST_TIMES or (least, most) == (1, 1):
            raise _Untranslated
        return least, most

    def single(self) -> Language:
        letter = self.take()
        if letter == "(":
            return self.group()
        if letter == "[":
            return self.languages.characters(self.set())
        if letter == ".":
            return self.languages.characters(_LINE)
        if letter == "\\":
            return self.languages.characters(self.escape())
        if letter in "^$*+?{}|)":
            raise _Untranslated
        return self.languages.literal(letter)

    def group(self) -> Language:
        if self.peek() == "?":
            if self.text[self.at : self.at + 2] != "?:":
                raise _Untranslated
            self.at += 2
        found = [self.alternative(top=False)]
        while self.peek() == "|":
            self.at += 1
            found.append(self.alternative(top=False))
        if self.take() != ")":
            raise _Untranslated
        return self.languages.choice(*found)

    def escape(self) -> Ranges:
        letter = self.take()
        if letter in _SETS:
            return _SETS[letter]
        if letter.lower() in _SETS:
            return others(_SETS[letter.lower()])
        if letter in _LETTERS:
            letter = _LETTERS[letter]
        elif letter.isalnum() or not letter.isascii():
            raise _Untranslated
        return ((ord(letter), ord(letter)),)

    def set(self) -> Ranges:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while self.peek() != "]" or first:
            if self.text.startswith("[:", self.at):
                raise _Untranslated
            found, first = self._set_member(), False
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                last = self._set_member()
                if not (_is_one(found) and _is_one(last)):
                    raise _Untranslated
                found = ((found[0][0], last[0][0]),)
            ranges += found
        self.at += 1
        return others(tuple(ranges)) if negated else tuple(ranges)

    def _set_member(self) -> Ranges:
        letter = self.take()
        return self.escape() if letter == "\\" else ((ord(letter), ord(letter)),)


def _is_one(ranges: Ranges) -> bool:
    """Whether they hold a single character."""
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]
