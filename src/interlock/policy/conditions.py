"""Conditions: comparisons between a field and a literal, joined by ``&&``, in three-valued logic.

1. ``args.amount_usd >= 100 && tier == 3 && args.kind != 'gift'``: the field stands on the left; operators
   are ``== != < <= > >=``; literals are numbers, quoted strings (without backslashes), ``true``, ``false``.
   Fields are ``args.<name>``, ``tier`` and the signals of `FIELDS`. There is nothing else in this version.
2. Types are checked when the policy is loaded, against every catalogue entry the rule may match.
3. A comparison is True, False, or None: unknown. Missing, null, NaN and wrongly typed inputs are unknown;
   numbers are compared as exact decimals, never as floats. A conjunction is False where one part is False,
   else None where one part is None. What unknown means is the rule's business (promise P2).

>>> [str(c) for c in parse_condition("args.amount_usd >= 99.50 && tier == 3")]
['args.amount_usd >= 99.50', 'tier == 3']
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from interlock.model.actions import Signals
from interlock.model.canonical import Json
from interlock.model.errors import InvalidInput
from interlock.model.money import decimal_of
from interlock.policy.findings import nearest

if TYPE_CHECKING:
    from interlock.policy.catalogue import ArgType, CatalogueEntry

MAX_CONDITION = 2_000

Kind = Literal["number", "string", "boolean"]
Truth = bool | None

FIELDS: Mapping[str, Kind] = {
    "tier": "number",
    "signals.confidence": "number",
    "signals.retry_count": "number",
    "signals.anomaly_score": "number",
    "signals.first_time_action": "boolean",
    "signals.affected_users": "number",
}
_RANGE = {"tier": (1, 4), "signals.confidence": (0, 1), "signals.anomaly_score": (0, 1)}
_KIND_OF_ARG: Mapping[str, Kind] = {
    "integer": "number",
    "number": "number",
    "decimal": "number",
    "string": "string",
    "boolean": "boolean",
}
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What conditions read about one question.

    Attributes:
        entry: the catalogue's entry; None outside the catalogue.
        tags: None where nobody knows them.
        tiers: every tier the action may have, ascending: more than one where a `raise_to` is neither
            proved nor refuted; empty outside the catalogue.
    """

    args: Mapping[str, Json]
    signals: Signals
    entry: CatalogueEntry | None
    tags: frozenset[str] | None
    tiers: tuple[int, ...] = ()


REPORTED = "signals.confidence"
"""The one input an agent reports about itself."""


@dataclass(frozen=True, slots=True)
class Test:
    """One compiled part of a rule.

    Attributes:
        input: the name of what it reads, as in ``args.amount_usd``.
        text: the test as a person reads it.
        check: True, False or None (unknown).
        read: the value it decides on, for explanations; None where it is unknown.
    """

    input: str
    text: str
    check: Callable[[Inputs], Truth]
    read: Callable[[Inputs], Any]


def conjunction(tests: Iterable[Test], inputs: Inputs) -> Truth:
    """False where one test is False, else None where one is unknown, else True."""
    truth: Truth = True
    for test in tests:
        found = test.check(inputs)
        if found is None:
            truth = None
        elif not found:
            return False
    return truth


class ConditionError(ValueError):
    """A condition cannot be read. `at` is the offending character, counted from 1."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(f"{message} (at character {at} of the condition)")


@dataclass(frozen=True, slots=True)
class Comparison:
    field: str
    op: str
    literal: Decimal | str | bool

    @property
    def kind(self) -> Kind:
        if isinstance(self.literal, bool):
            return "boolean"
        return "string" if isinstance(self.literal, str) else "number"

    @property
    def arg(self) -> str | None:
        """The argument's name, where the field is one."""
        return self.field.removeprefix("args.") if self.field.startswith("args.") else None

    def __str__(self) -> str:
        literal = self.literal
        if isinstance(literal, bool):
            shown = "true" if literal else "false"
        else:
            shown = repr(literal) if isinstance(literal, str) else f"{literal:f}"
        return f"{self.field} {self.op} {shown}"

    def compile(self) -> Test:
        compare, literal, read = _COMPARE[self.op], self.literal, _reader(self)

        def check(inputs: Inputs) -> Truth:
            value = read(inputs)
            return None if value is None else compare(value, literal)

        def check_tier(inputs: Inputs) -> Truth:
            found = {compare(tier, literal) for tier in inputs.tiers}
            return found.pop() if len(found) == 1 else None

        return Test(self.field, str(self), check_tier if self.field == "tier" else check, read)


# --- reading the text -------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?![\w.]))
    | (?P<string>'[^'\\\n]*'|"[^"\\\n]*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<op>==|!=|<=|>=|<|>)
    | (?P<join>&&)
    | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_ONLY = "conditions are comparisons of a field with a literal, joined by &&, in this version"


def parse_condition(text: str) -> tuple[Comparison, ...]:
    """Read a condition. Raises `ConditionError` for anything but rule 1."""
    if len(text) > MAX_CONDITION:
        raise ConditionError(f"{len(text)} characters; at most {MAX_CONDITION}", MAX_CONDITION + 1)
    tokens = [(m.lastgroup or "", m[m.lastgroup or 0], m.start(m.lastgroup or 0) + 1) for m in _scan(text)]
    end = ("end", "", len(text) + 1)
    comparisons = []
    for start in range(0, max(len(tokens), 1), 4):
        field, op, literal, join = (tokens[start : start + 4] + [end] * 4)[:4]
        comparisons.append(_comparison(field, op, literal))
        if join[0] not in ("join", "end"):
            raise ConditionError(f"{join[1]!r} does not belong here: {_ONLY}", join[2])
        if join[0] == "join" and start + 4 >= len(tokens):
            raise ConditionError("the condition ends after &&", join[2])
    return tuple(comparisons)


def _scan(text: str) -> Iterable[re.Match[str]]:
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConditionError(_ONLY, position + 1)
        yield match
        position = match.end()


_Token = tuple[str, str, int]


def _comparison(field: _Token, op: _Token, literal: _Token) -> Comparison:
    if field[0] != "name" or field[1] in ("true", "false"):
        raise ConditionError(f"expected a field such as args.amount_usd: {_ONLY}", field[2])
    if op[0] != "op":
        raise ConditionError(f"expected one of == != < <= > >= after {field[1]}: {_ONLY}", op[2])
    value: Decimal | str | bool
    if literal[0] == "number":
        value = Decimal(literal[1])
    elif literal[0] == "string":
        value = literal[1][1:-1]
    elif literal[1] in ("true", "false"):
        value = literal[1] == "true"
    else:
        raise ConditionError(f"expected a number, a quoted string, true or false: {_ONLY}", literal[2])
    return Comparison(field[1], op[1], value)


# --- types ------------------------------------------------------------------------------------------------


def problems(comparison: Comparison, entries: Iterable[CatalogueEntry]) -> list[tuple[str, str | None]]:
    """What is wrong with a comparison for a rule that may match these entries: (message, suggestion)."""
    name = comparison.arg
    found: list[tuple[str, str | None]] = []
    if comparison.kind != "number" and comparison.op not in ("==", "!="):
        found.append((f"{comparison.kind}s have no order here; compare with == or !=", None))
    if name is None:
        if comparison.field in FIELDS:
            return found + _mismatch(comparison, FIELDS[comparison.field], "")
        known = [*FIELDS, *(f"args.{arg}" for entry in entries for arg in entry.args or ())]
        return [(f"unknown field {comparison.field!r}", nearest(comparison.field, known))]
    if "." in name:
        return [(f"{comparison.field!r} looks inside an argument; only whole arguments are compared", None)]
    for entry in entries:
        if entry.args is None:
            continue
        declared: ArgType | None = entry.args.get(name)
        if declared is None:
            message = f"{entry.pattern} declares no argument {name!r}"
            guess = nearest(name, entry.args)
            found.append((message, guess and f"args.{guess}"))
        elif declared.kind not in _KIND_OF_ARG:
            found.append(
                (f"{comparison.field} of {entry.pattern} is an {declared.kind}: no comparison", None)
            )
        else:
            found += _mismatch(comparison, _KIND_OF_ARG[declared.kind], f" of {entry.pattern}")
    return list(dict.fromkeys(found))


def _mismatch(comparison: Comparison, kind: Kind, of: str) -> list[tuple[str, str | None]]:
    if comparison.kind != kind:
        return [(f"{comparison.field}{of} is a {kind}, compared with a {comparison.kind}", None)]
    low, high = _RANGE.get(comparison.field, (None, None))
    if low is not None and high is not None and not low <= Decimal(str(comparison.literal)) <= high:
        return [(f"{comparison.field} lies between {low} and {high}", None)]
    return []


# --- reading inputs ---------------------------------------------------------------------------------------


def exact(value: object) -> Decimal | int | None:
    """The exact number a value is, or None: booleans, NaN, infinities and strings are no numbers."""
    if type(value) is int:
        return value
    if type(value) is Decimal:
        return value if value.is_finite() else None
    if type(value) is float:
        return Decimal(repr(value)) if math.isfinite(value) else None
    return None


def confidence(inputs: Inputs) -> Decimal | int | None:
    value = exact(inputs.signals.confidence)
    return value if value is not None and 0 <= value <= 1 else None


def retry_count(inputs: Inputs) -> Decimal | int | None:
    return _counted(inputs.signals.retry_count)


def anomaly_score(inputs: Inputs) -> Decimal | int | None:
    value = exact(inputs.signals.anomaly_score)
    return value if value is not None and 0 <= value <= 1 else None


def affected_users(inputs: Inputs) -> Decimal | int | None:
    return _counted(inputs.signals.affected_users)


def first_time_action(inputs: Inputs) -> bool | None:
    value = inputs.signals.first_time_action
    return value if type(value) is bool else None


def _counted(value: object) -> Decimal | int | None:
    number = exact(value)
    return number if number is not None and number >= 0 else None


def _tier(inputs: Inputs) -> int | None:
    return inputs.tiers[0] if len(inputs.tiers) == 1 else None


_READ: Mapping[str, Callable[[Inputs], Any]] = {
    "tier": _tier,
    "signals.confidence": confidence,
    "signals.retry_count": retry_count,
    "signals.anomaly_score": anomaly_score,
    "signals.first_time_action": first_time_action,
    "signals.affected_users": affected_users,
}


def _reader(comparison: Comparison) -> Callable[[Inputs], Any]:
    name, kind = comparison.arg, comparison.kind
    if name is None:
        return _READ[comparison.field]

    def number(inputs: Inputs) -> Decimal | int | None:
        value = inputs.args.get(name)
        if not _is_decimal(inputs, name):
            return exact(value)
        return declared_decimal(value) if type(value) is str else None

    def string(inputs: Inputs) -> str | None:
        value = inputs.args.get(name)
        return value if type(value) is str and not _is_decimal(inputs, name) else None

    def boolean(inputs: Inputs) -> bool | None:
        value = inputs.args.get(name)
        return value if type(value) is bool else None

    return {"number": number, "string": string, "boolean": boolean}[kind]


def _is_decimal(inputs: Inputs, name: str) -> bool:
    entry = inputs.entry
    if entry is None or entry.args is None or name not in entry.args:
        return False
    return entry.args[name].kind == "decimal"


def declared_decimal(value: object) -> Decimal | None:
    """The amount a canonical decimal argument is, or None where it is none."""
    return _decimal_of_text(value) if type(value) is str else _decimal(value)


def _decimal(value: object) -> Decimal | None:
    try:
        return decimal_of(value)
    except InvalidInput:
        return None


# One decision reads the same amount several times; only text is remembered, for 1 and True are equal keys.
_decimal_of_text = lru_cache(maxsize=1_024)(_decimal)
