"""Reading YAML: one text, one tree of plain values, and the place of every key and value.

1. A policy is data. Tags, anchors, aliases, merge keys, directives and second documents are refused, so
   nothing can be constructed, expanded or shared, and what a reviewer reads is what is loaded.
2. A key stands once. A value is never empty: ``topics:`` with nothing behind it would read as "no limit".
3. Scalars follow the core schema of YAML 1.2, narrowed to one spelling each: ``true`` and ``false``,
   decimal integers, decimals. Everything else is a string (``on``, ``no``, ``2026-01-01``, ``0x10``,
   ``007``). Numbers with a fraction are `Decimal`, read from their text; NaN and infinities are refused.
4. Invisible and bidirectional characters are refused: a rule must not read differently from what it says
   ("Trojan Source", Boucher and Anderson, 2021).
5. A text has at most `MAX_TEXT` characters and `MAX_DEPTH` levels. Parser events are read one by one, and
   the depth is counted before it is entered.
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
from interlock.policy.findings import Finding, Path, Place, Places

MAX_TEXT = 1 << 20
MAX_DEPTH = 32
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,4})?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tree:
    """What one file says: plain values (str, int, `Decimal`, bool, list, dict) and where they stand."""

    file: str
    data: Any
    places: Places


def read(file: str, text: str, findings: list[Finding]) -> Tree | None:
    """The tree of one YAML text, or None where it cannot be read; what is wrong is appended to `findings`."""
    start = Place(file, 1, 1)
    if len(text) > MAX_TEXT:
        findings.append(Finding(start, f"{len(text)} characters; at most {MAX_TEXT} are read"))
        return None
    if text.startswith("\ufeff"):
        findings.append(Finding(start, "the text starts with a byte order mark; save it as plain UTF-8"))
        return None
    reader = _Reader(file, text, findings)
    try:
        return Tree(file, reader.document(), reader.places)
    except _Refused as refused:
        findings.append(Finding(refused.place, refused.message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else start
        findings.append(Finding(place, f"this is not YAML: {error.problem or error.context}"))
    except (ValueError, OverflowError):  # an escape or a directive whose number the YAML library cannot hold
        findings.append(Finding(start, "an escape or a version that is no such thing"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        findings.append(Finding(Place(file, line, column), "a character that YAML does not allow"))
    return None


class _Refused(Exception):
    """Reading this file ends here."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


class _Reader:
    def __init__(self, file: str, text: str, findings: list[Finding]) -> None:
        self.file = file
        self.findings = findings
        self.places = Places(Place(file, 1, 1))
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)

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
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _refuse_machinery(self, event: Any) -> None:
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(place, f"aliases (*{event.anchor}) are not read; write the value out")
        if event.anchor is not None:
            raise _Refused(place, f"anchors (&{event.anchor}) are not read; write the value out")
        if event.tag is not None:
            raise _Refused(place, f"tags ({event.tag}) are not read; a policy is plain data")

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        self._refuse_machinery(event)
        place = self.places.values[path] = self._place(event)
        if depth > MAX_DEPTH:
            raise _Refused(place, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._value(item, (*path, len(items)), depth + 1))
            return items
        self._refuse_unseen(event.value, place)
        return event.value if event.style is not None else self._plain(event.value, place)

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._refuse_machinery(event)
            place = self._place(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _Refused(place, "a key is a plain word, not a list or a mapping")
            key = event.value
            if key == "<<":
                raise _Refused(place, "merge keys (<<) are not read; write the values out")
            self._refuse_unseen(key, place)
            if key in value:
                first = self.places.keys[(*path, key)]
                message = f"the key {key!r} stands twice, first in line {first.line}"
                self.findings.append(Finding(place, message))
            else:
                self.places.keys[(*path, key)] = place
            value[key] = self._value(next(self._events), (*path, key), depth + 1)
        return value

    def _plain(self, text: str, place: Place) -> Any:
        if text in ("true", "false"):
            return text == "true"
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
        """Unseen characters and lone surrogates (a double-quoted escape can make either)."""
        if visible(text, len(text)) != text:
            self.findings.append(Finding(place, f"a character nobody can see: {visible(text, 200)}"))
