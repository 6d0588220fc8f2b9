"""Conditions: texts that must hold, compiled; what each of them reads; and how they join.

1. A condition is one text of the language of `expressions`. It becomes one `Test` for each part that ``&&``
   joins, so that explanations can say which part decided and coverage which was ever false.
2. A conjunction is False where one test is, else unknown where one is (`closures` says when), else True.

>>> [test.text for test in compile_condition("args.amount_usd >= 99.50 AND tier == 3")]
['args.amount_usd >= 99.50', 'tier == 3']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from interlock.policy.closures import Check, Truth, compile_expression, kind_of
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import UNREADABLE, As, Inputs, reader
from interlock.policy.syntax import (
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Items,
    Literal,
    Size,
    Text,
    atoms_of,
    conjuncts,
    show,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One field that a test reads.

    Attributes:
        read: its value, for explanations; None where it is unknown.
        needed: False where only ``has()`` asks for it, to which missing is an answer.
    """

    name: str
    read: Callable[[Inputs], Any]
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Test:
    """One condition that must hold: what stands between two ``&&``. `text` is how a person reads it."""

    text: str
    check: Check
    readings: tuple[Reading, ...]

    def missing(self, inputs: Inputs) -> tuple[str, ...]:
        """The unknown fields that keep the test from being decided; none where it is."""
        if self.check(inputs) is not None:
            return ()
        unknown = [each for each in self.readings if each.read(inputs) is None]
        return tuple(each.name for each in [each for each in unknown if each.needed] or unknown)


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


def compile_condition(text: str) -> tuple[Test, ...]:
    """One test for each part joined by ``&&``, in order. Raises `ExpressionError`."""
    return tuple(compile_test(part) for part in conjuncts(parse_expression(text)))


def compile_test(expr: Expr) -> Test:
    """One test. Raises `ExpressionError` where it reads an unknown field."""
    return Test(show(expr), compile_expression(expr), readings_of(expr))


def readings_of(expr: Expr) -> tuple[Reading, ...]:
    """What an expression reads, each field once, in the kind it is first asked for."""
    kinds: dict[tuple[str, ...], As] = {}
    for path, kind in _asked(expr):
        if kinds.get(path, "present") == "present":
            kinds[path] = kind
    return tuple(
        Reading(".".join(path), _shown(path) if kind == "present" else reader(path, kind), kind != "present")
        for path, kind in kinds.items()
    )


def _shown(path: tuple[str, ...]) -> Callable[[Inputs], Any]:
    read = reader(path, "present")

    def shown(inputs: Inputs) -> Any:
        value = read(inputs)
        return None if value is UNREADABLE else value

    return shown


def _asked(expr: Expr, variable: str = "") -> Iterable[tuple[tuple[str, ...], As]]:
    """The fields an expression reads and as what, in order; none of a macro's element."""
    for atom in atoms_of(expr):
        found: list[tuple[Any, As]] = []
        match atom:
            case Compare():
                found = [
                    (atom.left, kind_of(atom.right.value) if isinstance(atom.right, Literal) else "scalar"),
                    (atom.right, kind_of(atom.left.value) if isinstance(atom.left, Literal) else "scalar"),
                ]
            case In(container=Items() as items):
                found = [(atom.item, kind_of(items.values[0]))]
            case In():
                found = [(atom.item, "scalar"), (atom.container, "list")]
            case Has():
                found = [(atom.field, "present")]
            case Text():
                found = [(atom.of, "string")]
            case Field():
                found = [(atom, "boolean")]
            case Each():
                yield atom.over.path, "list"
                yield from _asked(atom.body, atom.variable)
        for operand, kind in found:
            if isinstance(operand, Size):
                operand, kind = operand.of, "sized"
            if isinstance(operand, Field) and operand.root != variable:
                yield operand.path, kind
