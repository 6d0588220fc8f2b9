"""Explanations: the same verdict, and in words why each rule did or did not count.

Values come from arguments an agent wrote: they are shown with every unseen character written out, and cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.model.text import visible
from interlock.model.verdicts import Decision, Verdict
from interlock.policy.conditions import Inputs, Test, Truth
from interlock.policy.rules import Rule

SHOWN = 200
"""Characters of one value that an explanation shows."""


@dataclass(frozen=True, slots=True)
class Match:
    """What one rule made of a question.

    Attributes:
        proved: of a rule that matched, whether its conditions were proved rather than merely not refuted;
            of a rule passed over, whether they were refuted rather than merely not proved.
        why: one sentence with the values that decided.
    """

    rule: str
    decision: Decision
    proved: bool
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict and how it came about.

    Attributes:
        matches: the rules that matched, strictest first.
        passed_over: the other rules that speak about the topic, in file order.
        values: every input that was read, as text; None where it was unknown.
        missing: the unknown inputs, whichever rule asked for them.
    """

    verdict: Verdict
    matches: tuple[Match, ...]
    passed_over: tuple[Match, ...]
    values: Mapping[str, str | None]
    missing: tuple[str, ...]


def why(rule: Rule, inputs: Inputs) -> str:
    """Why a rule matched."""
    if not rule.tests:
        return "it speaks about this topic without conditions"
    return "; ".join(_said(test, inputs) for test in rule.tests)


def _said(test: Test, inputs: Inputs) -> str:
    if test.check(inputs) is None:
        return f"{test.text} is not refuted, because {test.input} is unknown"
    return f"{test.text} (it is {shown(test.read(inputs))})"


def why_not(rule: Rule, truth: Truth, inputs: Inputs) -> str:
    """Why a rule that speaks about the topic did not match."""
    if truth is True:
        return "it does not name this topic, which nobody catalogued"
    if truth is None:
        return f"not proved: {', '.join(once(rule.unknown(inputs)))} unknown"
    refuted = next(test for test in rule.tests if test.check(inputs) is False)
    return f"{refuted.text} is refuted (it is {shown(refuted.read(inputs))})"


def shown(value: Any) -> str | None:
    """A value as text; None where it is unknown."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return visible(value if isinstance(value, str) else f"{value}", SHOWN)


def once(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order of first mention."""
    return tuple(dict.fromkeys(names))
