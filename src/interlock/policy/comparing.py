"""Comparisons and memberships over values that a reader gave: exact, by kind, unknown where either is.

1. Numbers are compared with numbers, strings with strings by code point, booleans for equality only. Between
   kinds there is no comparison: 1 is not True, and whether it equals "1" is unknown.
2. Something is in a list if an element equals it, is not if every element is known to differ, else unknown.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from interlock.policy.fields import CONVERT, Inputs, decimal_of_text, exact
from interlock.policy.kleene import Check, Truth
from interlock.policy.syntax import Value

MAX_ELEMENTS = 1_000
"""Elements of a list that one condition looks at."""

Read: TypeAlias = Callable[[Any], Any]
Members: TypeAlias = "tuple[set[Any], set[str | None]]"
"""What a list contains, as `members_of` makes it."""

COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FAMILY: Mapping[type, str] = {int: "number", Decimal: "number", str: "string", bool: "boolean"}
"""The kind of a value that a reader gave."""
_TEXT, _WHOLE_NUMBERS = frozenset({str}), frozenset({int})


def against(read: Read, op: str, literal: Value) -> Check:
    """What is read against a literal of the kind it is read as."""
    compare = COMPARE[op]

    def check(inputs: Any) -> Truth:
        value = read(inputs)
        return None if value is None else compare(value, literal)

    return check


def argument_against(name: str, op: str, literal: Decimal) -> Check:
    """A number argument against a literal: what most conditions are, so without a call in between."""
    compare, whole = COMPARE[op], for_integers(op, literal)

    def check(inputs: Inputs) -> Truth:
        value: Any = inputs.args.get(name)
        if name in inputs.decimals:
            value = decimal_of_text(value) if type(value) is str else None
        elif type(value) is int:
            return compare(value, whole)
        else:
            value = exact(value)
        return None if value is None else compare(value, literal)

    return check


def for_integers(op: str, literal: Decimal) -> int | None:
    """What integers are compared with instead of the literal, to the same effect and faster."""
    if literal == literal.to_integral_value():
        return int(literal)
    if op in ("==", "!="):
        return None  # which no integer equals
    return math.ceil(literal) if op in ("<", ">=") else math.floor(literal)


def same_kind(op: str, left: Read, right: Read) -> Check:
    """Two things of which it is not known before what they are."""
    return lambda inputs: compared(op, left(inputs), right(inputs))


def compared(op: str, one: Any, other: Any) -> Truth:
    """Two values compared; None where one is unknown, they differ in kind, or have no order."""
    if one is None or other is None:
        return None
    family = FAMILY[type(one)]
    if family != FAMILY[type(other)] or (family == "boolean" and op not in ("==", "!=")):
        return None
    return COMPARE[op](one, other)


def agreed(tiers: Read, test: Callable[[Any, int], Truth]) -> Check:
    """A test of the tier: known where all possible tiers agree."""

    def check(inputs: Any) -> Truth:
        possible = tiers(inputs)
        if len(possible) == 1:
            return test(inputs, possible[0])
        found = {test(inputs, tier) for tier in possible}
        return found.pop() if len(found) == 1 else None

    return check


def among(value: Any, elements: Sequence[Any]) -> Truth:
    """Whether a value is in a list from outside (rule 2)."""
    if len(elements) > MAX_ELEMENTS:
        return None
    types = set(map(type, elements))
    if types <= _TEXT or types <= _WHOLE_NUMBERS:  # as most lists are; then the lookup is one step of C
        kinds = {FAMILY[kind] for kind in types}
        return value in elements if kinds <= {FAMILY[type(value)]} else None
    return found_in(value, members_of(elements))


def members_of(elements: Sequence[Any]) -> Members:
    """The values in a list, each with its kind, since 1 and True are equal; and which kinds there are."""
    scalar = CONVERT["scalar"]
    values = {(FAMILY.get(type(known)), known) for known in map(scalar, elements)}
    return values, {kind for kind, _ in values}


def found_in(value: Any, members: Members) -> Truth:
    """Whether a value is among the members of a list (rule 2)."""
    values, kinds = members
    family = FAMILY[type(value)]
    if (family, value) in values:
        return True
    return False if kinds <= {family} else None
