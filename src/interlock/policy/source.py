"""Reading a file: one text, YAML or JSON, to one tree of plain values and the place of every key and value.

1. A policy is data. Tags, anchors, aliases, merge keys, directives and second documents are refused, so
   nothing can be constructed, expanded or shared, and what a reviewer reads is what is loaded.
2. A key stands once. A value is never empty: ``topics:`` with nothing behind it would read as "no limit".
3. Scalars follow the core schema of YAML 1.2, narrowed to one spelling each: ``true`` and ``false``,
   decimal integers, decimals. Everything else is a string (``on``, ``no``, ``2026-01-01``, ``0x10``,
   ``007``). Numbers with a fraction are `Decimal`, read from their text; NaN and infinities are refused.
4. Invisible characters are refused in keys and values (`read` says when not); control and bidirectional
   characters and unusual line breaks everywhere, comments included: a rule must not read differently from
   what it says ("Trojan Source", Boucher and Anderson, 2021).
5. A text has at most `MAX_TEXT` characters, `MAX_VALUES` values and `MAX_DEPTH` levels. Parser events are
   read one by one, and both are counted before a value is entered.
6. A name that ends in ``.json`` is read as JSON (`json_events`); everything after the events is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import yaml

from interlock.model.canonical import MAX_INT
from interlock.model.text import visible
from interlock.policy.findings import ENOUGH, MAX_SHOWN, Finding, Path, Place, Places, quoted
from interlock.policy.json_events import json_events

MAX_TEXT = 4 << 20
MAX_VALUES = 200_000
MAX_DEPTH = 32
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,4})?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.ASCII | re.IGNORECASE)
_MISLEADING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\ufeff\ud800-\udfff\ufffe\uffff]|\r(?!\n)"
)
"""Controls (line breaks that only YAML 1.1 knows too), bidirectional marks, surrogates, a lone return."""

_SURROGATE = re.compile("[\ud800-\udfff]")

# Both read YAML 1.1. libyaml is some twenty times faster, and stands in every wheel PyYAML publishes.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Tree:
    """What one file says: plain values (str, int, `Decimal`, bool, list, dict) and where they stand."""

    file: str
    data: Any
    places: Places


def read(file: str, text: str, findings: list[Finding], *, escapes: bool = False) -> Tree | None:
    """The tree of one text, or None where it cannot be read; what is wrong is appended to `findings`.

    Args:
        escapes: let unseen characters stand where an escape makes them (``"\\u200b"``), as in a test of what
            a policy does with them; then none may stand in the text itself.
    """
    start = Place(file, 1, 1)
    if len(text) > MAX_TEXT:
        findings.append(Finding(start, f"{len(text)} characters; at most {MAX_TEXT} are read"))
        return None
    if text.startswith("\ufeff"):
        findings.append(Finding(start, "the text starts with a byte order mark; save it as plain UTF-8"))
        return None
    misleading = _misleading(text, unseen=escapes)
    if misleading is not None:
        place = _place_of(file, text, misleading)
        shown = f"⟨U+{ord(text[misleading]):04X}⟩"
        findings.append(Finding(place, f"a character that misleads readers or does not belong here: {shown}"))
        return None
    as_json = file.endswith(".json")
    events = json_events(text) if as_json else yaml.parse(text, Loader=_LOADER)
    reader = _Reader(file, events, findings, escapes=escapes)
    try:
        return Tree(file, reader.document(), reader.places)
    except _Refused as refused:
        findings.append(Finding(refused.place, refused.message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else start
        kind = "JSON" if as_json else "YAML"
        findings.append(Finding(place, f"this is not {kind}: {error.problem or error.context}"))
    except (ValueError, OverflowError):  # an escape or a directive whose number the YAML library cannot hold
        findings.append(Finding(start, "an escape or a version that is no such thing"))
    return None


def _misleading(text: str, *, unseen: bool) -> int | None:
    """Where the first character stands that no text may hold; with `unseen`, that nobody can see."""
    found = _MISLEADING.search(text)
    if found is not None or not unseen or text.isascii():
        return None if found is None else found.start()
    shown = enumerate(text)
    return next((at for at, letter in shown if not letter.isascii() and visible(letter) != letter), None)


def _place_of(file: str, text: str, position: int) -> Place:
    line = text.count("\n", 0, position) + 1
    return Place(file, line, position - text.rfind("\n", 0, position))


class _Refused(Exception):
    """Reading this file ends here."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


class _Reader:
    def __init__(self, file: str, events: Iterator[Any], findings: list[Finding], *, escapes: bool) -> None:
        self.file = file
        self.findings = findings
        self.places = Places(Place(file, 1, 1))
        self._events = events
        self._values = 0
        self._unseen = _SURROGATE.search if escapes else _unseen

    def document(self) -> Any:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise _Refused(self.places.fallback, "the file is empty")
        if event.version is not None or event.tags:
            raise _Refused(self._place(event), "directives (%YAML, %TAG) are not read")
        value = self._value(next(self._events), (), 0)
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Refused(self._place(event), "a second document; one file holds one")
        return value

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)

    def _machinery(self, event: Any, place: Place) -> _Refused:
        """What to say of an event that is more than plain data."""
        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)[:MAX_SHOWN]
            return _Refused(place, f"aliases (*{name}) are not read; write the value out")
        if event.anchor is not None:
            return _Refused(place, f"anchors (&{event.anchor[:MAX_SHOWN]}) are not read; write the value out")
        return _Refused(place, f"tags ({str(event.tag)[:MAX_SHOWN]}) are not read; a policy is plain data")

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        place = self.places.values[path] = self._place(event)
        if event.anchor is not None or event.tag is not None:
            raise self._machinery(event, place)
        self._values += 1
        if depth > MAX_DEPTH:
            raise _Refused(place, f"nested deeper than {MAX_DEPTH} levels")
        if self._values > MAX_VALUES:
            raise _Refused(place, f"more than {MAX_VALUES} values in one file")
        if len(self.findings) > ENOUGH:
            raise _Refused(place, "too much is wrong; nothing is read from here on")
        kind = type(event)
        if kind is yaml.MappingStartEvent:
            return self._mapping(path, depth)
        if kind is yaml.SequenceStartEvent:
            items: list[Any] = []
            for item in self._events:
                if type(item) is yaml.SequenceEndEvent:
                    break
                items.append(self._value(item, (*path, len(items)), depth + 1))
            return items
        text: str = event.value
        if not text.isascii() or not text.isprintable():
            self._refuse_unseen(text, place)
        return text if event.style else self._plain(text, place)

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        keys = self.places.keys
        for event in self._events:
            if type(event) is yaml.MappingEndEvent:
                break
            place = self._place(event)
            if event.anchor is not None or event.tag is not None:
                raise self._machinery(event, place)
            if type(event) is not yaml.ScalarEvent:
                raise _Refused(place, "a key is a plain word, not a list or a mapping")
            key: str = event.value
            if key == "<<":
                raise _Refused(place, "merge keys (<<) are not read; write the values out")
            if not key.isascii() or not key.isprintable():
                self._refuse_unseen(key, place)
            inner = (*path, key)
            if key in value:
                message = f"the key {quoted(key)} stands twice, first in line {keys[inner].line}"
                self.findings.append(Finding(place, message))
            else:
                keys[inner] = place
            value[key] = self._value(next(self._events), inner, depth + 1)
        return value

    def _plain(self, text: str, place: Place) -> Any:
        if text in ("true", "false"):
            return text == "true"
        if text[:1].isalpha() and text[:1] not in "nN":
            return text
        problem = None
        if text in _NULL:
            problem = "nothing stands here; write a value or remove the key"
        elif _NOT_FINITE.fullmatch(text):
            problem = f"{text} is not a number a policy can use"
        elif _INTEGER.fullmatch(text):
            if len(text) <= 17 and -MAX_INT <= int(text) <= MAX_INT:
                return int(text)
            problem = "an integer beyond 2^53-1"
        elif _DECIMAL.fullmatch(text):
            return Decimal(text)
        if problem:
            self.findings.append(Finding(place, problem))
        return text

    def _refuse_unseen(self, text: str, place: Place) -> None:
        """Unseen characters, also those that an escape in a quoted text makes."""
        if self._unseen(text):
            shown = visible(text, MAX_SHOWN)
            self.findings.append(Finding(place, f"a character nobody can see: {shown}"))


def _unseen(text: str) -> bool:
    return visible(text, len(text)) != text
