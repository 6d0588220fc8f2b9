"""Reading what other programs wrote: tool lists and API descriptions, in JSON or YAML.

1. These files are looked at, never obeyed: they become plain values (str, int, `Decimal`, bool, None, list,
   dict) and nothing else. Duplicate keys are refused, because readers disagree about which one counts.
2. They are read more generously than a policy: null, empty values and numbers of any size are common in them
   and harmless here. Aliases, tags, merge keys and second documents are refused all the same.
3. A text has at most `MAX_TEXT` characters, `MAX_DEPTH` levels and, in YAML, `MAX_EVENTS` parser events.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

from interlock.model.errors import DuplicateKey, InvalidInput, MalformedJson, NotANumber, TooLarge
from interlock.model.text import visible

MAX_TEXT = 16 << 20
MAX_DEPTH = 100
MAX_EVENTS = 1_000_000
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,4})?", re.ASCII)
_PLAIN = {"true": True, "True": True, "false": False, "False": False} | dict.fromkeys(
    ("", "~", "null", "Null", "NULL")
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_json(text: str, *, where: str = "$") -> Any:
    """One JSON value. Raises subclasses of `InvalidInput`."""
    _check_size(text, where)
    try:
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_pairs,
            parse_float=_number,
            parse_int=_number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise MalformedJson(f"line {error.lineno}, column {error.colno}: {error.msg}", path=where) from None
    except RecursionError:
        raise MalformedJson(f"nested deeper than {MAX_DEPTH} levels", path=where) from None
    _check_depth(value, where)
    return value


def read_any(text: str, *, where: str = "$") -> Any:
    """One value in JSON or in YAML. Raises subclasses of `InvalidInput`."""
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return read_json(text, where=where)
    _check_size(text, where)
    reader = _Yaml(text.removeprefix("\ufeff"), where)
    try:
        return reader.document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise InvalidInput(f"{line}this is neither JSON nor YAML: {reason}", path=where) from None
    except (ValueError, OverflowError):  # an escape whose number the YAML library cannot hold
        raise InvalidInput("an escape that is no such thing", path=where) from None


def _check_size(text: str, where: str) -> None:
    if len(text) > MAX_TEXT:
        raise TooLarge(f"{len(text)} characters; at most {MAX_TEXT} are read", path=where)


def _check_depth(value: Any, where: str) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise MalformedJson(f"nested deeper than {MAX_DEPTH} levels", path=where)
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise DuplicateKey(f"the key {visible(key, 60)!r} stands twice in one object")
        value[key] = item
    return value


def _number(text: str) -> int | Decimal:
    if len(text) <= 18 and text.lstrip("-").isdigit():
        return int(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        raise NotANumber("an exponent beyond reason") from None


def _constant(name: str) -> Any:
    raise NotANumber(f"{name} is not a JSON number")


class _Yaml:
    """Values from the parser's events, one by one; depth is counted before it is entered."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._count = 0
        self._events = yaml.parse(text, Loader=_LOADER)

    def document(self) -> Any:
        event = self._next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            raise InvalidInput("the file is empty", path=self._where)
        value = self._value(event, 0)
        self._next()  # the document's end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise InvalidInput("a second document; one file holds one", path=self._where)
        return value

    def _next(self) -> Any:
        self._count += 1
        if self._count > MAX_EVENTS:
            raise TooLarge(f"more than {MAX_EVENTS} parts", path=self._where)
        return next(self._events)

    def _refuse(self, event: Any, what: str) -> InvalidInput:
        return InvalidInput(f"line {event.start_mark.line + 1}: {what}", path=self._where)

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, "aliases are not read")
        if event.tag is not None and event.tag != "!":
            raise self._refuse(event, "tags are not read")
        if depth > MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                items.append(self._value(item, depth + 1))
            return items
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth)
        return event.value if event.style else self._plain(event.value)

    def _mapping(self, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.value == "<<":
                raise self._refuse(event, "a key is a plain word; merge keys are not read")
            if event.value in value:
                raise self._refuse(event, f"the key {visible(event.value, 60)!r} stands twice")
            value[event.value] = self._value(self._next(), depth + 1)
        return value

    def _plain(self, text: str) -> Any:
        if text in _PLAIN:
            return _PLAIN[text]
        return _number(text) if _NUMBER.fullmatch(text) else text
