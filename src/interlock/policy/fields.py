"""Fields: what a condition can read about one question, and how each is read.

1. `Inputs` is everything there is. Its roots: ``args`` (the action's arguments, into objects too), ``facts``
   (what trusted code looked up), ``provenance`` (where a role's value came from), ``signals``, ``tier``,
   ``topic``, ``tags``; in workflows ``result`` as well.
2. A reader gives the value in the kind that was asked for, or None: unknown. Missing, null, of another type,
   NaN, infinite, out of the signal's range: all unknown. ``True`` is no number and ``"5"`` is no number.
3. Numbers are exact: integers, decimals, and floats at their shortest text. Arguments declared ``decimal``
   are text in canonical form and are read as numbers, and as nothing else.
4. Of ``tier`` there may be several possible values; a single reader knows it only if there is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from interlock.model.actions import Signals
from interlock.model.canonical import Json
from interlock.model.errors import InvalidInput
from interlock.model.money import decimal_of
from interlock.policy.tokens import ExpressionError

if TYPE_CHECKING:
    from interlock.policy.catalogue import CatalogueEntry

Kind: TypeAlias = Literal["number", "string", "boolean", "list", "object"]
"""What a field is."""
As: TypeAlias = Literal["number", "string", "boolean", "list", "scalar", "sized", "present"]
"""How a field is read. ``scalar``: as the number, string or boolean it is. ``sized``: as a text or a list.
``present``: as whatever it is, None only where it is missing or null."""

REPORTED = "signals.confidence"
"""The one input an agent reports about itself."""
PROVENANCES = ("user", "known", "record", "untrusted", "unseen")
RULE_ROOTS = frozenset({"args", "facts", "provenance", "signals", "tier", "topic", "tags"})
WORKFLOW_ROOTS = RULE_ROOTS | {"result"}

FIELDS: Mapping[str, Kind] = MappingProxyType(
    {
        "tier": "number",
        "topic": "string",
        "tags": "list",
        "signals.confidence": "number",
        "signals.retry_count": "number",
        "signals.anomaly_score": "number",
        "signals.affected_users": "number",
        "signals.first_time_action": "boolean",
        "signals.first_time_recipient": "boolean",
        "signals.sentiment": "number",
        "signals.injection_score": "number",
        "signals.deadline_sec": "number",
        "signals.duplicate_of": "string",
    }
)
"""The fields that exist everywhere."""
OPTIONAL = frozenset(
    {"signals.confidence", "signals.affected_users", "signals.deadline_sec", "signals.duplicate_of"}
)
"""Those of them that may be missing."""
RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "tier": (1, 4),
        "signals.confidence": (0, 1),
        "signals.anomaly_score": (0, 1),
        "signals.injection_score": (0, 1),
        "signals.sentiment": (-1, 1),
    }
)

_NOTHING: Mapping[str, Any] = MappingProxyType({})
NO_DEADLINE = Decimal("Infinity")
"""What ``signals.deadline_sec`` reads where nothing was promised: later than any deadline."""


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(slots=True)
class Inputs:
    """What conditions read about one question. Nobody changes one; it is not frozen only for speed.

    Attributes:
        args: in canonical form.
        entry: the catalogue's entry; None outside the catalogue.
        tags: None where nobody knows them.
        tiers: every tier the action may have, ascending: more than one where a `raise_to` is neither
            proved nor refuted; empty outside the catalogue.
        facts: declared facts that were looked up. provenance: from role to one of `PROVENANCES`.
        result: in workflows, what the step before returned.
        decimals: names of the arguments declared ``decimal``.
    """

    topic: str
    args: Mapping[str, Json]
    signals: Signals
    entry: CatalogueEntry | None
    tags: frozenset[str] | None
    tiers: tuple[int, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=_nothing)
    provenance: Mapping[str, str] = field(default_factory=_nothing)
    result: Mapping[str, Json] = field(default_factory=_nothing)
    decimals: frozenset[str] = frozenset()


Reader: TypeAlias = Callable[[Inputs], Any]
Number: TypeAlias = "int | Decimal"


# --- values -----------------------------------------------------------------------------------------------


def exact(value: object) -> Number | None:
    """The exact number a value is, or None: booleans, NaN, infinities and strings are no numbers."""
    if type(value) is int:
        return value
    if type(value) is Decimal:
        return value if value.is_finite() else None
    if type(value) is float:
        return Decimal(repr(value)) if math.isfinite(value) else None
    return None


def declared_decimal(value: object) -> Decimal | None:
    """The amount a canonical decimal argument is, or None where it is none."""
    return decimal_of_text(value) if type(value) is str else _decimal(value)


def _decimal(value: object) -> Decimal | None:
    try:
        return decimal_of(value)
    except InvalidInput:
        return None


# One decision reads the same amount several times; only text is remembered, for 1 and True are equal keys.
_remembered: Callable[[str], Decimal | None] = lru_cache(maxsize=1_024)(_decimal)
_LONGEST_NUMBER = 64


def decimal_of_text(text: str) -> Decimal | None:
    """The number that a text is, or None. What is longer than any amount is not even kept in mind."""
    return _remembered(text) if len(text) <= _LONGEST_NUMBER else None


def _string(value: object) -> str | None:
    return value if type(value) is str else None


def _boolean(value: object) -> bool | None:
    return value if type(value) is bool else None


def _list(value: object) -> list[Any] | tuple[Any, ...] | None:
    return value if type(value) is list or type(value) is tuple else None


def _scalar(value: object) -> Number | str | bool | None:
    return value if type(value) is str or type(value) is bool else exact(value)


def _sized(value: object) -> Any:
    return value if type(value) is str else _list(value)


def _present(value: object) -> object:
    return value


CONVERT: Mapping[As, Callable[[Any], Any]] = MappingProxyType(
    {
        "number": exact,
        "string": _string,
        "boolean": _boolean,
        "list": _list,
        "scalar": _scalar,
        "sized": _sized,
        "present": _present,
    }
)
"""From a JSON value to the value in the kind that is asked for, or None."""


UNREADABLE: Any = object()
"""What a reader of presence gives where something that is no object stands in the way."""


def presence(value: Any, steps: tuple[str, ...]) -> Any:
    """What stands at the end of the steps; None where nothing does, `UNREADABLE` where nobody can say."""
    for step in steps:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return UNREADABLE
        value = value.get(step)
    return value


def inside(value: Any, steps: tuple[str, ...]) -> Any:
    """What stands at the end of the steps into objects; None where there is nothing."""
    for step in steps:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


# --- signals ----------------------------------------------------------------------------------------------


def _between(value: object, low: int, high: int) -> Number | None:
    number = exact(value)
    return number if number is not None and low <= number <= high else None


def _counted(value: object) -> Number | None:
    number = exact(value)
    return number if number is not None and number >= 0 else None


def confidence(inputs: Inputs) -> Number | None:
    return _between(inputs.signals.confidence, 0, 1)


def retry_count(inputs: Inputs) -> Number | None:
    return _counted(inputs.signals.retry_count)


def anomaly_score(inputs: Inputs) -> Number | None:
    return _between(inputs.signals.anomaly_score, 0, 1)


def injection_score(inputs: Inputs) -> Number | None:
    return _between(inputs.signals.injection_score, 0, 1)


def sentiment(inputs: Inputs) -> Number | None:
    return _between(inputs.signals.sentiment, -1, 1)


def affected_users(inputs: Inputs) -> Number | None:
    return _counted(inputs.signals.affected_users)


def deadline_sec(inputs: Inputs) -> Number | None:
    """Negative once the deadline has passed; infinite where there is none."""
    value = inputs.signals.deadline_sec
    return NO_DEADLINE if value is None else exact(value)


def first_time_action(inputs: Inputs) -> bool | None:
    return _boolean(inputs.signals.first_time_action)


def first_time_recipient(inputs: Inputs) -> bool | None:
    return _boolean(inputs.signals.first_time_recipient)


def duplicate_of(inputs: Inputs) -> str | None:
    return _string(inputs.signals.duplicate_of)


def tier(inputs: Inputs) -> int | None:
    return inputs.tiers[0] if len(inputs.tiers) == 1 else None


def _topic(inputs: Inputs) -> str | None:
    return _string(inputs.topic)


def _tags(inputs: Inputs) -> tuple[str, ...] | None:
    return None if inputs.tags is None else tuple(sorted(inputs.tags))


_READ: Mapping[str, Reader] = {
    "tier": tier,
    "topic": _topic,
    "tags": _tags,
    "signals.confidence": confidence,
    "signals.retry_count": retry_count,
    "signals.anomaly_score": anomaly_score,
    "signals.affected_users": affected_users,
    "signals.first_time_action": first_time_action,
    "signals.first_time_recipient": first_time_recipient,
    "signals.sentiment": sentiment,
    "signals.injection_score": injection_score,
    "signals.deadline_sec": deadline_sec,
    "signals.duplicate_of": duplicate_of,
}
_READ_AS: Mapping[Kind, tuple[As, ...]] = {
    "number": ("number", "scalar"),
    "string": ("string", "scalar", "sized"),
    "boolean": ("boolean", "scalar"),
    "list": ("list", "sized"),
}


# --- readers ----------------------------------------------------------------------------------------------


def reader(path: tuple[str, ...], kind: As, at: int = 1) -> Reader:
    """How a field is read as `kind`. Raises `ExpressionError` for a field that does not exist."""
    name, root, steps = ".".join(path), path[0], path[1:]
    if name in FIELDS:
        return _fixed(name, kind)
    if root == "args" and len(steps) == 1:
        return _argument(steps[0], kind)
    if root == "args" and steps:
        return _walk(lambda inputs: inputs.args, steps, CONVERT[kind])
    if root == "result" and steps:
        return _walk(lambda inputs: inputs.result, steps, CONVERT[kind])
    if root == "facts" and len(steps) == 1:
        return _walk(lambda inputs: inputs.facts, steps, CONVERT[kind])
    if root == "provenance" and len(steps) == 1:
        return _provenance(steps[0], kind)
    raise ExpressionError(f"unknown field {name!r}", at)


def _fixed(name: str, kind: As) -> Reader:
    if kind == "present":
        return attrgetter(name)  # "signals.confidence" walks, "topic" does not
    return _READ[name] if kind in _READ_AS[FIELDS[name]] else _unknown


def _unknown(_: Inputs) -> None:
    """A field read as what it never is."""


def _argument(name: str, kind: As) -> Reader:
    if kind == "present":
        return lambda inputs: inputs.args.get(name)
    convert = CONVERT[kind]
    if kind in ("number", "scalar"):

        def read_decimal(inputs: Inputs) -> Any:
            value = inputs.args.get(name)
            if name in inputs.decimals:
                return decimal_of_text(value) if type(value) is str else None
            return convert(value)

        return read_decimal

    def read(inputs: Inputs) -> Any:
        return None if name in inputs.decimals else convert(inputs.args.get(name))

    return read


def _walk(start: Reader, steps: tuple[str, ...], convert: Callable[[Any], Any]) -> Reader:
    if len(steps) == 1:
        name = steps[0]
        return lambda inputs: convert(start(inputs).get(name))
    if convert is _present:
        return lambda inputs: presence(start(inputs), steps)
    return lambda inputs: convert(inside(start(inputs), steps))


def _provenance(role: str, kind: As) -> Reader:
    if kind == "present":
        return lambda inputs: inputs.provenance.get(role)
    if kind not in _READ_AS["string"]:
        return _unknown

    def read(inputs: Inputs) -> str | None:
        value = inputs.provenance.get(role)
        return value if value in PROVENANCES else None

    return read
