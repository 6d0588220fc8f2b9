"""Kleene's logic over closures: True, False and None, which is unknown.

``&&`` is False where one side is, ``||`` True where one side is, else unknown where one side is; ``!`` of
unknown is unknown. Nothing is asked that can no longer change the answer.

Source: Kleene, "Introduction to Metamathematics" (1952), section 64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Truth: TypeAlias = bool | None
Check: TypeAlias = Callable[[Any], Truth]


def constant(truth: Truth) -> Check:
    """Always the same answer."""
    return lambda _: truth


def negation(operand: Check) -> Check:
    """``!`` of one."""

    def check(inputs: Any) -> Truth:
        found = operand(inputs)
        return None if found is None else not found

    return check


def both(first: Check, second: Check) -> Check:
    """``&&`` of two, which most are."""

    def check(inputs: Any) -> Truth:
        found = first(inputs)
        if found:
            return second(inputs)
        if found is None:
            return None if second(inputs) is not False else False
        return False

    return check


def either(first: Check, second: Check) -> Check:
    """``||`` of two."""

    def check(inputs: Any) -> Truth:
        found = first(inputs)
        if found:
            return True
        if found is None:
            return True if second(inputs) else None
        return second(inputs)

    return check


def every(operands: tuple[Check, ...]) -> Check:
    """``&&`` of any number."""

    def check(inputs: Any) -> Truth:
        truth: Truth = True
        for operand in operands:
            found = operand(inputs)
            if found is None:
                truth = None
            elif not found:
                return False
        return truth

    return check


def some(operands: tuple[Check, ...]) -> Check:
    """``||`` of any number."""

    def check(inputs: Any) -> Truth:
        truth: Truth = False
        for operand in operands:
            found = operand(inputs)
            if found is None:
                truth = None
            elif found:
                return True
        return truth

    return check
