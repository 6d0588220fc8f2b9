"""Closures: expressions compiled to functions that answer True, False or None: unknown.

1. Joined by Kleene's logic (`kleene`); ``exists`` is a long ``||``, ``all`` a long ``&&``. What unknown means
   is the rule's business (promise P2): knowing more never turns an answer into its opposite.
2. A comparison with an unknown side is unknown (`fields` says what is), and so is one of different kinds
   (`comparing`).
3. ``tier`` may have several possible values: a test of it is known where all of them agree.
4. Steps are bounded: lists of more than `MAX_ELEMENTS` elements are unknown to ``in`` and to macros, searches
   of more than `patterns.MAX_SEARCH` steps to ``matches``, in a macro all elements together. What a macro's
   body asks of other fields is answered once, not once for each element.

Where this departs from CEL, always towards unknown or exactness:

- null is missing: ``has()`` is false of it and comparisons with it are unknown, where CEL has a null value.
- ``has()`` of what would stand in something missing is false, where CEL fails; where a text or a list stands
  instead of the object, it is unknown, as in CEL.
- another type is unknown, where CEL calls it unequal; so are elements of another type under ``in``, and
  objects under ``in``, ``size`` and macros, where CEL takes their keys. Booleans have no order.
- numbers are exact decimals, where CEL has doubles; NaN and infinities are unknown; text of an argument
  declared ``decimal`` is a number.
- the bounds of rule 4, the ranges of signals, and a deadline that is not there, which is later than any
  number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import count
from typing import Any

from interlock.policy.comparing import (
    COMPARE,
    FAMILY,
    MAX_ELEMENTS,
    Read,
    against,
    agreed,
    among,
    argument_against,
    compared,
    for_integers,
    found_in,
    members_of,
    same_kind,
)
from interlock.policy.fields import CONVERT, UNREADABLE, As, inside, presence, reader
from interlock.policy.kleene import Check, Truth, both, constant, either, every, negation, some
from interlock.policy.patterns import MAX_SEARCH, pattern_of, search
from interlock.policy.syntax import (
    And,
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Items,
    Literal,
    Not,
    Operand,
    Or,
    Size,
    Text,
    Value,
    parts,
)

__all__ = ["MAX_ELEMENTS", "Check", "Truth", "compile_expression", "kind_of"]

_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compile_expression(expr: Expr) -> Check:
    """A closure that decides the expression. Raises `ExpressionError` where it reads an unknown field."""
    return _Compiler().truth(expr)


class _Compiler:
    """From expressions to closures over `Inputs`."""

    def read(self, field: Field, kind: As) -> Read:
        return reader(field.path, kind, field.at)

    def tiers(self, inputs: Any) -> tuple[int, ...]:
        return inputs.tiers  # type: ignore[no-any-return]

    def tags(self, inputs: Any) -> frozenset[str] | None:
        return inputs.tags  # type: ignore[no-any-return]

    def truth(self, expr: Expr) -> Check:
        match expr:
            case And():
                checks = tuple(map(self.truth, expr.operands))
                return both(*checks) if len(checks) == 2 else every(checks)
            case Or():
                checks = tuple(map(self.truth, expr.operands))
                return either(*checks) if len(checks) == 2 else some(checks)
            case Not():
                return negation(self.truth(expr.operand))
            case _:
                return self.atom(expr)

    def atom(self, expr: Expr) -> Check:
        match expr:
            case Compare():
                return self.compare(expr)
            case In():
                return self.lookup(expr)
            case Has():
                return _has(self.read(expr.field, "present"))
            case Text():
                return self.text(expr)
            case Each():
                return self.each(expr)
            case Field():
                return self.read(expr, "boolean")
            case Literal():
                return constant(expr.value is True)
        raise AssertionError(expr)

    def compare(self, expr: Compare) -> Check:
        left, op, right = expr.left, str(expr.op), expr.right
        if isinstance(left, Literal):
            left, op, right = right, _TURNED[op], left
        if isinstance(right, Field) and right.name == "tier":
            left, op, right = right, _TURNED[op], left
        if isinstance(left, Field) and left.name == "tier":
            if isinstance(right, Literal) and isinstance(right.value, Decimal):
                return self.tier_against(op, right.value)
            other = self.value(right)
            return agreed(self.tiers, lambda inputs, tier: compared(op, tier, other(inputs)))
        if isinstance(right, Literal) and not isinstance(left, Literal):
            kind = kind_of(right.value)
            if kind == "boolean" and op not in ("==", "!="):
                return constant(None)
            if isinstance(left, Size):
                return against(self.size(left), op, right.value) if kind == "number" else constant(None)
            return self.against(left, op, right.value, kind)
        return same_kind(op, self.value(left), self.value(right))

    def against(self, field: Field, op: str, literal: Value, kind: As) -> Check:
        if isinstance(literal, Decimal) and field.root == "args" and len(field.path) == 2:
            return argument_against(field.path[1], op, literal)
        return against(self.read(field, kind), op, literal)

    def tier_against(self, op: str, literal: Decimal) -> Check:
        compare, whole = COMPARE[op], for_integers(op, literal)
        return agreed(self.tiers, lambda _, tier: compare(tier, whole))

    def lookup(self, expr: In) -> Check:
        if isinstance(expr.container, Items):
            return self.listed(expr.item, expr.container)
        item = self.value(expr.item)
        if expr.container.name == "tags":
            tags = self.tags

            def tagged(inputs: Any) -> Truth:
                known, value = tags(inputs), item(inputs)
                return None if known is None or type(value) is not str else value in known

            return tagged
        elements = self.read(expr.container, "list")

        def check(inputs: Any) -> Truth:
            value, listed = item(inputs), elements(inputs)
            return None if value is None or listed is None else among(value, listed)

        return check

    def listed(self, item: Operand, items: Items) -> Check:
        values, kind = frozenset(items.values), kind_of(items.values[0])
        if isinstance(item, Field) and item.name == "tier":
            if kind != "number":
                return constant(None)
            return agreed(self.tiers, lambda _, tier: tier in values)
        if isinstance(item, Field):
            read = self.read(item, kind)
        else:
            family, value_of = kind, self.value(item)

            def read(inputs: Any) -> Any:
                value = value_of(inputs)
                return value if value is not None and FAMILY[type(value)] == family else None

        def check(inputs: Any) -> Truth:
            value = read(inputs)
            return None if value is None else value in values

        return check

    def text(self, expr: Text) -> Check:
        read, literal = self.read(expr.of, "string"), expr.literal
        if expr.function == "matches":
            pattern = pattern_of(literal)

            def matches(inputs: Any) -> Truth:
                value = read(inputs)
                return None if value is None else search(pattern, value)

            return matches
        ask = _ASK[expr.function]

        def check(inputs: Any) -> Truth:
            value = read(inputs)
            return None if value is None else ask(value, literal)

        return check

    def each(self, expr: Each) -> Check:
        read = self.read(expr.over, "list")
        body = _ElementCompiler(expr.variable).truth(expr.body)
        decisive = expr.quantifier == "exists"

        def check(inputs: Any) -> Truth:
            elements = read(inputs)
            if elements is None or len(elements) > MAX_ELEMENTS:
                return None
            once: dict[int, Any] = {}
            truth: Truth = not decisive
            for element in elements:
                found = body((inputs, element, once))
                if found is None:
                    truth = None
                elif found is decisive:
                    return decisive
            return truth

        return check

    def value(self, operand: Operand) -> Read:
        if isinstance(operand, Literal):
            literal = operand.value
            return lambda _: literal
        return self.size(operand) if isinstance(operand, Size) else self.read(operand, "scalar")

    def size(self, expr: Size) -> Read:
        read = self.read(expr.of, "sized")

        def size(inputs: Any) -> int | None:
            value = read(inputs)
            return None if value is None else len(value)

        return size


_ASK: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


def _has(read: Read) -> Check:
    def check(inputs: Any) -> Truth:
        value = read(inputs)
        return None if value is UNREADABLE else value is not None

    return check


class _ElementCompiler(_Compiler):
    """From a macro's body to closures over (inputs, the element, what is kept from element to element).

    What would cost the product of two sizes is kept: answers that do not depend on the element, the members
    of other lists, and how much has been searched, which is bounded for all elements together.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.outer = _Compiler()
        self.keys = count()

    def read(self, field: Field, kind: As) -> Read:
        if field.root != self.variable:
            outer = self.outer.read(field, kind)
            return lambda bound: outer(bound[0])
        steps, convert = field.path[1:], CONVERT[kind]
        if not steps:
            return lambda bound: convert(bound[1])
        if kind == "present":
            return lambda bound: presence(bound[1], steps)
        return lambda bound: convert(inside(bound[1], steps))

    def tiers(self, inputs: Any) -> tuple[int, ...]:
        return inputs[0].tiers  # type: ignore[no-any-return]

    def tags(self, inputs: Any) -> frozenset[str] | None:
        return inputs[0].tags  # type: ignore[no-any-return]

    def against(self, field: Field, op: str, literal: Value, kind: As) -> Check:
        return against(self.read(field, kind), op, literal)

    def atom(self, expr: Expr) -> Check:
        if any(isinstance(part, Field) and part.root == self.variable for part in parts(expr)):
            return super().atom(expr)
        decide, key = self.outer.atom(expr), next(self.keys)

        def decided(bound: Any) -> Truth:
            kept: dict[int, Truth] = bound[2]
            if key not in kept:
                kept[key] = decide(bound[0])
            return kept[key]

        return decided

    def lookup(self, expr: In) -> Check:
        container = expr.container
        if isinstance(container, Items) or container.name == "tags" or container.root == self.variable:
            return super().lookup(expr)
        item, elements, key = self.value(expr.item), self.outer.read(container, "list"), next(self.keys)

        def check(bound: Any) -> Truth:
            value, kept = item(bound), bound[2]
            if key not in kept:
                listed = elements(bound[0])
                known = listed is not None and len(listed) <= MAX_ELEMENTS
                kept[key] = members_of(listed) if known else None
            members = kept[key]
            return None if value is None or members is None else found_in(value, members)

        return check

    def text(self, expr: Text) -> Check:
        if expr.function != "matches":
            return super().text(expr)
        read, pattern, key = self.read(expr.of, "string"), pattern_of(expr.literal), next(self.keys)

        def matches(bound: Any) -> Truth:
            value, kept = read(bound), bound[2]
            if value is None:
                return None
            kept[key] = searched = kept.get(key, 0) + len(value) * pattern.programsize
            return None if searched > MAX_SEARCH else search(pattern, value)

        return matches


def kind_of(value: Value) -> As:
    """How a field that is compared with this literal is read."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"
