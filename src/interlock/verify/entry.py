"""Reading one entry.

1. The bytes are one JSON object, and are exactly what RFC 8785 makes of it. So there is one spelling for each
   entry, and a key that stands twice, a NaN, a space or an escape too many fails.
2. ``v``, ``kernel`` and ``kind`` are known here, or nothing is said about the entry: `NotKnown`. What was
   written by a later version is not judged by the rules of this one.
3. ``at`` is an integer of microseconds and ``namespace`` a name.
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

VERSION = 1
KERNEL = 1
KINDS = frozenset(
    {
        "policy.activated",
        "action.proposed",
        "action.edited",
        "action.claimed",
        "action.settled",
        "action.in_doubt",
        "action.reconciled",
        "action.late_report",
        "action.rolled_back",
        "action.expired",
        "action.withdrawn",
        "action.revoked",
        "action.stale",
        "action.redecided",
        "approval.decided",
        "approval.escalated",
        "approval.unanswered",
        "approval.probed",
        "idempotency.conflict",
        "constraint.breached",
        "key.added",
        "key.revoked",
        "person.added",
        "person.removed",
        "link.issued",
        "link.redeemed",
        "passkey.added",
        "passkey.revoked",
        "permit.minted",
        "session.opened",
        "session.recorded",
        "session.ended",
        "tool.accepted",
        "kill.engaged",
        "kill.rearmed",
        "kill.drill",
        "subject.erased",
        "ledger.key_rotated",
        "ledger.epoch_opened",
        "ledger.recovery_dismissed",
        "ledger.pruned",
    }
)
_MAX_INT = 2**53 - 1


class BadEntry(ValueError):
    """The bytes are not an entry. The message is a sentence."""


class NotKnown(ValueError):
    """An entry of a version, kernel or kind this verifier does not know."""


def _constant(text: str) -> Any:
    raise BadEntry(f"{text} is not JSON")


def _integer(text: str) -> int | float:
    # RFC 8785 knows doubles only, and writes large ones without a point; so that is what such a text denotes.
    # The length first: reading a number of thousands of digits is slow, or refused by Python.
    if len(text) > 17 or not -_MAX_INT <= (value := int(text)) <= _MAX_INT:
        return float(text)
    return value


_decoder = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)


def read_entry(raw: bytes) -> dict[str, Any]:
    """The entry as a dictionary with known `v`, `kernel`, `kind` and well-formed `at` and `namespace`.

    Raises:
        BadEntry: it is none. NotKnown: it belongs to a later version.
    """
    try:
        value = _parse(raw)
    except RecursionError:
        raise BadEntry("it is nested too deeply") from None
    if value["kind"] not in KINDS:
        raise NotKnown("its kind is not known here")
    at = value.get("at")
    if type(at) is not int or at < 0:
        raise BadEntry("its `at` is not a time in microseconds")
    namespace = value.get("namespace")
    if type(namespace) is not str or not namespace or not namespace.isprintable():
        raise BadEntry("its `namespace` is not a name")
    return value


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        value = _decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadEntry("it is not UTF-8") from None
    except BadEntry:
        raise
    except ValueError:
        raise BadEntry("it is not JSON") from None
    if type(value) is not dict:
        raise BadEntry("it is not a JSON object")
    _check_known(value)
    try:
        canonical = rfc8785.dumps(value)
    except ValueError:  # a lone surrogate, or a number too large for a double
        raise BadEntry("it has no canonical form") from None
    if canonical != raw:
        raise BadEntry("it is not in canonical form (RFC 8785)")
    return value


def _check_known(value: dict[str, Any]) -> None:
    for name, newest in (("v", VERSION), ("kernel", KERNEL)):
        number = value.get(name)
        if type(number) is not int or number < 1:
            raise BadEntry(f"its `{name}` is not a version number")
        if number > newest:
            raise NotKnown(f"its `{name}` is {number}; up to {newest} is known here")
    if type(value.get("kind")) is not str:
        raise BadEntry("its `kind` is not a word")
