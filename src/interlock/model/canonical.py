"""Canonical bytes: one value, one byte string, or an error that points at the value.

1. Input is JSON in UTF-8. Duplicate keys, NaN, Infinity, lone surrogates, integers beyond 2^53-1, a byte
   order mark, nesting past `MAX_DEPTH` and bodies past `MAX_BYTES` are refused, each with its own error and
   the path to the value (``$.args.items[2].price``).
2. Numbers with a fraction or exponent are read from their text as `Decimal`, so that money never passes
   through a float. What stays a plain JSON number must survive as an IEEE double (`plain`).
3. Output is RFC 8785 (JCS). ASCII keys, safe integers, strings, booleans and null take orjson's fast path,
   which agrees with RFC 8785 on exactly that subset; everything else goes through `rfc8785`.

Source: RFC 8259, RFC 8785, RFC 7493 (I-JSON).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import orjson
import rfc8785

from interlock.model.errors import (
    DuplicateKey,
    InvalidInput,
    LoneSurrogate,
    MalformedJson,
    NotANumber,
    NumberOutOfRange,
    TooLarge,
    WrongType,
)

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_INT = 2**53 - 1


class _Twice(dict[str, Any]):
    """An object that named `key` more than once; found, and refused with its path, by the walk."""

    key: str


class _Constant:
    """NaN or an infinity in the text, kept only until the walk refuses it with its path."""

    def __init__(self, name: str) -> None:
        self.name = name


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    twice = _Twice(value)
    twice.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return twice


def parse_json(text: bytes | str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read one JSON value strictly.

    Returns None, bool, int, `Decimal` (any number written with a fraction or exponent), str, list or dict.

    Raises:
        MalformedJson, DuplicateKey, NotANumber, NumberOutOfRange, LoneSurrogate, TooLarge.
    """
    size = len(text)
    if size > max_bytes:
        raise TooLarge(f"{size} bytes; at most {max_bytes} are read")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedJson(f"byte {error.start} is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise MalformedJson("the text starts with a byte order mark")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise MalformedJson(f"nested deeper than {MAX_DEPTH} levels") from None
    if not _sound(value, 0):
        _inspect(value, "$", 0)
    return value


def _fraction(text: str) -> Decimal | _Constant:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _Constant(text)


def _integer(text: str) -> int | _Constant:
    return int(text) if len(text) <= 17 else _Constant(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_fraction, parse_constant=_Constant, parse_int=_integer
)


def _sound(value: Any, depth: int) -> bool:
    """Whether `_inspect` has nothing to refuse. It neither builds paths nor calls itself for most scalars."""
    kind = type(value)
    if kind is dict:
        for key in value:
            if not key.isascii():
                return False
        items = value.values()
    elif kind is list:
        items = value
    else:
        return False
    if depth > MAX_DEPTH:
        return False
    for item in items:
        kind = type(item)
        if kind is str:
            if not item.isascii():
                return False
        elif kind is int:
            if not -MAX_INT <= item <= MAX_INT:
                return False
        elif kind is not bool and item is not None and kind is not Decimal and not _sound(item, depth + 1):
            return False
    return True


def _inspect(value: Any, path: str, depth: int) -> None:
    """Refuse what `json` lets through, where `_sound` is not sure. Called once, at the boundary."""
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        raise MalformedJson(f"nested deeper than {MAX_DEPTH} levels", path=path)
    if isinstance(value, dict):
        if isinstance(value, _Twice):
            raise DuplicateKey(f"the key {_show(value.key)} stands twice", path=path)
        for key, item in value.items():
            _string(key, path)
            _inspect(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _inspect(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        _string(value, path)
    elif isinstance(value, _Constant):
        if value.name.lstrip("-")[0].isdigit():
            raise NumberOutOfRange("an integer beyond 2^53-1, or an exponent beyond reason", path=path)
        raise NotANumber(f"{value.name} is not a JSON number", path=path)
    elif type(value) is int and not -MAX_INT <= value <= MAX_INT:
        raise NumberOutOfRange("an integer beyond 2^53-1", path=path)


def _show(text: str) -> str:
    return json.dumps(text[:64])


def _string(text: str, path: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise LoneSurrogate(f"character {error.start} is half of a surrogate pair", path=path) from None


def plain(value: Any, path: str = "$", depth: int = 0) -> Json:
    """Turn parsed JSON into values that canonical form can carry.

    A `Decimal` becomes the double it denotes, if and only if that double's shortest text is the same
    number; the rest is copied. Integers written with an exponent obey the limit for integers, because
    RFC 8785 writes them as integers.

    Raises:
        NumberOutOfRange: a decimal that a double cannot carry, or an integer beyond 2^53-1.
        NotANumber: NaN or an infinity. MalformedJson: nesting past `MAX_DEPTH`, or a cycle.
        WrongType: a Python value that JSON does not know.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise NumberOutOfRange("an integer beyond 2^53-1", path=path)
        return int(value)
    if isinstance(value, Decimal | float):
        if not math.isfinite(value) if isinstance(value, float) else not value.is_finite():
            raise NotANumber(f"{value} is not a JSON number", path=path)
        number = float(value)
        if not math.isfinite(number) or (isinstance(value, Decimal) and Decimal(repr(number)) != value):
            raise NumberOutOfRange("more digits than a double carries", path=path)
        if number.is_integer() and abs(number) > MAX_INT:
            raise NumberOutOfRange("an integer beyond 2^53-1", path=path)
        return number
    if depth > MAX_DEPTH:
        raise MalformedJson(f"nested deeper than {MAX_DEPTH} levels", path=path)
    if isinstance(value, Mapping):
        return {key: plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise WrongType(f"{type(value).__name__} is not a JSON value", path=path)


def canonical(value: Json) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises:
        InvalidInput: (a subclass of it) NaN or infinity, an unsafe integer, a lone surrogate, a key that is
            not a string, nesting past `MAX_DEPTH`, or a type that JSON does not know; `path` says where.
    """
    plainness = _plainness(value, 0)
    if plainness == _FAST:
        try:
            return orjson.dumps(value, option=_SORTED)
        except orjson.JSONEncodeError:
            _refuse(value, "$", 0)  # a lone surrogate, or an unsafe integer: find where
            raise
    _refuse(value, "$", 0)
    return rfc8785.dumps(value)


_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_INVALID, _SLOW, _FAST = 0, 1, 2
_SCALARS = frozenset({str, bool, int, type(None)})


def _plainness(value: Any, depth: int) -> int:
    """Whether orjson's sorted output is RFC 8785 (fast), rfc8785 has to (slow), or nothing can (invalid).

    Runs on every hash and entry, so it neither builds paths nor calls itself for scalars; `_refuse` finds the
    place once something is wrong.
    """
    kind = type(value)
    if kind is dict:
        items = value.values()
        try:
            worst = _FAST if "".join(value).isascii() else _SLOW
        except TypeError:  # a key is no string
            return _INVALID
    elif kind is list or kind is tuple:
        items, worst = value, _FAST
    elif kind in _SCALARS:
        return _FAST
    else:
        return _SLOW if kind is float else _INVALID
    if depth > MAX_DEPTH:
        return _INVALID
    if _SCALARS.issuperset(map(type, items)):
        return worst
    for item in items:
        inner = _plainness(item, depth + 1)
        if inner < worst:
            if inner == _INVALID:
                return _INVALID
            worst = inner
    return worst


def _refuse(value: Any, path: str, depth: int) -> None:
    """Raise for the first value, in order, that has no canonical form, with the path to it."""
    kind = type(value)
    if depth > MAX_DEPTH and kind in (dict, list, tuple):
        raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", path=path)
    if kind is str:
        _string(value, path)
    elif kind is int:
        if not -MAX_INT <= value <= MAX_INT:
            raise NumberOutOfRange("an integer beyond 2^53-1", path=path)
    elif kind is float:
        if not math.isfinite(value):
            raise NotANumber(f"{value} has no JSON form", path=path)
        if value.is_integer() and abs(value) > MAX_INT:
            raise NumberOutOfRange("an integer beyond 2^53-1", path=path)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise WrongType(f"a key is {type(key).__name__}, not a string", path=path)
            _string(key, path)
            _refuse(item, f"{path}.{key}", depth + 1)
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            _refuse(item, f"{path}[{index}]", depth + 1)
    elif kind is not bool and value is not None:
        raise WrongType(f"{kind.__name__} has no canonical JSON form", path=path)
