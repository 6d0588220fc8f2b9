"""JSON, read so that two readers cannot disagree, and its canonical bytes.

1. Duplicate keys, NaN and infinities, lone surrogates, integers beyond 2^53-1, numbers that no IEEE double
   denotes exactly as written, nesting past 64 levels and more than 1 MiB are refused.
2. The canonical form is RFC 8785. Where all keys are ASCII and no number has a fraction, Python's own encoder
   writes exactly that; everything else goes through `rfc8785`.

The gate has a reader of its own with the same limits. This one is written apart on purpose: the room that
checks a permit shares no code with the one that mints it, and tests hold the two against each other.

Sources: RFC 8259, RFC 7493 (I-JSON), RFC 8785.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import rfc8785

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_INT = 2**53 - 1

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


class NotStrict(ValueError):
    """The text or value has no single meaning. The message is a sentence without any of its content."""


def parse(text: bytes | str) -> Any:
    """One JSON value. Raises `NotStrict`."""
    if len(text) > MAX_BYTES:
        raise NotStrict("More than 1 MiB of JSON is not read.")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return _decode(text)
    except NotStrict:
        raise
    except (ValueError, RecursionError):
        raise NotStrict("The text is not JSON in UTF-8.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrict("An object names the same key twice.")
    return found


def _fraction(text: str) -> float:
    try:
        return _double(Decimal(text))
    except InvalidOperation:
        raise NotStrict("A number has an exponent beyond reason.") from None


def _double(value: Decimal) -> float:
    """The double that a number denotes, if its shortest text is the same number."""
    if not value.is_finite():
        raise NotStrict("NaN and infinities are not JSON.")
    number = float(value)
    if not math.isfinite(number) or Decimal(repr(number)) != value:
        raise NotStrict("A number has more digits than a double carries.")
    return number


def _integer(text: str) -> int:
    if len(text) > 17:
        raise NotStrict("An integer is beyond 2^53-1.")
    return int(text)


def _constant(name: str) -> Any:
    raise NotStrict(f"{name} is not a JSON number.")


_decode = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=_fraction, parse_int=_integer, parse_constant=_constant
).decode


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a value. Raises `NotStrict`."""
    return written(*copied(value))


def written(value: Any, plain: bool) -> bytes:
    """The RFC 8785 bytes of a value that was checked; `plain` as `copied` says. Raises `NotStrict`."""
    try:
        return _encode(value).encode() if plain else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise NotStrict("A string is not well-formed Unicode.") from None


def copied(value: Any, depth: int = 0) -> tuple[Any, bool]:
    """The value with plain containers and numbers, and whether Python's encoder writes it canonically.

    Args:
        depth: how deep it stands in what is going to be written.

    Raises:
        NotStrict: it has no canonical form. Whether strings are well-formed, `written` finds.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value, True
    if kind is int:
        if not -MAX_INT <= value <= MAX_INT:
            raise NotStrict("An integer is beyond 2^53-1.")
        return value, True
    if isinstance(value, Decimal):
        value, kind = _double(value), float
    if kind is float:
        if not math.isfinite(value):
            raise NotStrict("NaN and infinities are not JSON.")
        if value.is_integer() and abs(value) > MAX_INT:
            raise NotStrict("An integer is beyond 2^53-1.")
        return value, False
    if depth > MAX_DEPTH:
        raise NotStrict(f"JSON is nested deeper than {MAX_DEPTH} levels.")
    fast = True
    # The exact types come first: to ask an abstract class costs more than all the rest.
    if kind is dict or isinstance(value, Mapping):
        members: dict[str, Any] = {}
        for name, item in value.items():
            if type(name) is not str:
                raise NotStrict("The name of a member is a string.")
            if type(item) is str:
                members[name], plain = item, True
            else:
                members[name], plain = copied(item, depth + 1)
            fast = fast and plain and name.isascii()
        return members, fast
    if kind is list or (isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)):
        items: list[Any] = []
        for item in value:
            found, plain = copied(item, depth + 1)
            items.append(found)
            fast = fast and plain
        return items, fast
    raise NotStrict(f"A value of type {kind.__name__} is not JSON.")
