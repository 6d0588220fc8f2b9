"""Regular expressions of RE2 as those of the solver, where they say the same.

1. A text matches where the pattern is found anywhere in it; ``^`` begins a whole alternative, ``$`` ends one.
2. What is translated: literals, ``.``, classes, groups, ``|``, ``* + ? {n,m}`` (lazy ones match the same
   texts), and the escapes of ASCII classes. Flags, word boundaries, Unicode classes and whatever else RE2
   knows are not, and the answer is None: then nobody claims to know which texts match.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from typing import Any

import z3

MAX_CHARACTER = 0x2FFFF
"""The last character the solver knows."""
_SETS = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
}
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_LINE = ((0, 0x09), (0x0B, MAX_CHARACTER))
_TIMES = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)

_Ranges = tuple[tuple[int, int], ...]


class _Untranslated(Exception):
    """The pattern says something that is not translated."""


def expression_of(pattern: str) -> z3.ReRef | None:
    """The texts in which an RE2 pattern is found; None where it cannot be said exactly."""
    try:
        return _Reader(pattern).whole()
    except _Untranslated:
        return None


def text_value(text: str) -> z3.SeqRef:
    """A literal of the solver. Raises ValueError for a character that it does not know."""
    if any(ord(letter) > MAX_CHARACTER or 0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise ValueError("a character that the solver does not know")
    return z3.StringVal("".join(map(_escaped, text)))


def _escaped(letter: str) -> str:
    return (
        letter if letter.isascii() and letter.isprintable() and letter != "\\" else f"\\u{{{ord(letter):x}}}"
    )


_ESCAPE = re.compile(r"\\u\{([0-9a-fA-F]+)\}|\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


def text_of(value: Any) -> str:
    """What a literal of the solver says."""
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), value.as_string())


def one_of_characters(ranges: _Ranges) -> z3.ReRef:
    parts = [z3.Range(text_value(chr(low)), text_value(chr(high))) for low, high in ranges]
    return parts[0] if len(parts) == 1 else z3.Union(*parts)


def sequence(parts: list[z3.ReRef]) -> z3.ReRef:
    return z3.Re("") if not parts else parts[0] if len(parts) == 1 else z3.Concat(*parts)


def anything() -> z3.ReRef:
    return z3.Full(z3.ReSort(z3.StringSort()))


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        letter = self.peek()
        if not letter:
            raise _Untranslated
        self.at += 1
        return letter

    def whole(self) -> z3.ReRef:
        """Every alternative with what may stand before and behind it."""
        found = [self.alternative(top=True)]
        while self.peek() == "|":
            self.at += 1
            found.append(self.alternative(top=True))
        if self.peek():
            raise _Untranslated
        return found[0] if len(found) == 1 else z3.Union(*found)

    def alternative(self, *, top: bool) -> z3.ReRef:
        parts: list[z3.ReRef] = []
        starts = ends = False
        if top and self.peek() == "^":
            self.at, starts = self.at + 1, True
        while self.peek() not in ("", "|", ")"):
            if top and self.peek() == "$" and self.text[self.at + 1 : self.at + 2] in ("", "|"):
                self.at, ends = self.at + 1, True
                break
            parts.append(self.repeated())
        if top:
            parts = [*([] if starts else [anything()]), *parts, *([] if ends else [anything()])]
        return sequence(parts)

    def repeated(self) -> z3.ReRef:
        found = self.single()
        sign = self.peek()
        if sign in ("*", "+", "?"):
            self.at += 1
            found = {"*": z3.Star, "+": z3.Plus, "?": z3.Option}[sign](found)
        elif sign == "{":
            times = _TIMES.match(self.text, self.at)
            if times is None:
                raise _Untranslated
            self.at = times.end()
            least = int(times[1])
            if times[2] is None:
                found = z3.Loop(found, least, least) if least else z3.Re("")
            elif times[3]:
                found = z3.Loop(found, least, int(times[3])) if int(times[3]) else z3.Re("")
            else:
                found = z3.Concat(z3.Loop(found, least, least), z3.Star(found)) if least else z3.Star(found)
        else:
            return found
        if self.peek() == "?":
            self.at += 1
        if self.peek() in ("*", "+", "?", "{"):
            raise _Untranslated
        return found

    def single(self) -> z3.ReRef:
        letter = self.take()
        if letter == "(":
            return self.group()
        if letter == "[":
            return one_of_characters(self.set())
        if letter == ".":
            return one_of_characters(_LINE)
        if letter == "\\":
            return one_of_characters(self.escape())
        if letter in "^$*+?{}|)" or ord(letter) > MAX_CHARACTER:
            raise _Untranslated
        return z3.Re(text_value(letter))

    def group(self) -> z3.ReRef:
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
        return found[0] if len(found) == 1 else z3.Union(*found)

    def escape(self) -> _Ranges:
        letter = self.take()
        if letter in _SETS:
            return _SETS[letter]
        if letter.lower() in _SETS:
            return _others(_SETS[letter.lower()])
        if letter in _LETTERS:
            letter = _LETTERS[letter]
        elif letter.isalnum() or not letter.isascii():
            raise _Untranslated
        return ((ord(letter), ord(letter)),)

    def set(self) -> _Ranges:
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
                if (
                    len(found) != 1
                    or len(last) != 1
                    or found[0][0] != found[0][1]
                    or last[0][0] != last[0][1]
                ):
                    raise _Untranslated
                found = ((found[0][0], last[0][0]),)
            ranges += found
        self.at += 1
        if any(high > MAX_CHARACTER for _, high in ranges):
            raise _Untranslated
        return _others(tuple(ranges)) if negated else tuple(ranges)

    def _set_member(self) -> _Ranges:
        letter = self.take()
        return self.escape() if letter == "\\" else ((ord(letter), ord(letter)),)


def _is_one(ranges: _Ranges) -> bool:
    """Whether they hold a single character."""
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _others(ranges: _Ranges) -> _Ranges:
    """Every other character."""
    found, low = [], 0
    for first, last in sorted(ranges):
        if first > low:
            found.append((low, first - 1))
        low = max(low, last + 1)
    if low <= MAX_CHARACTER:
        found.append((low, MAX_CHARACTER))
    if not found:
        raise _Untranslated
    return tuple(found)
