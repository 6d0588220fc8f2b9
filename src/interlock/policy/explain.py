"""Explanations: the same verdict, and in words why each rule did or did not count.

Values come from arguments an agent wrote: they are shown with every unseen character written out, and cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.model.text import visible
from interlock.model.verdicts import Decision, Verdict
from interlock.policy.closures import Truth
from interlock.policy.conditions import Test
from interlock.policy.fields import Inputs
from interlock.policy.rules import Layer, Rule

if TYPE_CHECKING:
    from interlock.policy.catalogue import CatalogueEntry

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


def explained(
    verdict: Verdict, entry: CatalogueEntry | None, rules: Iterable[Rule], inputs: Inputs
) -> Explanation:
    """The verdict with every rule that speaks about its topic; built-in ones only where they count."""
    truths = {rule.id: (rule, rule.truth(inputs)) for rule in rules}
    matching = [truths.pop(rule_id) for rule_id in verdict.matched]
    others = sorted(
        (pair for pair in truths.values() if pair[0].layer is Layer.RULE), key=lambda pair: pair[0].index
    )
    aside = _set_aside_by([rule for rule, truth in matching if truth is True])
    raised = [test for found in (entry,) if found for r in found.raise_to for test in r.tests]
    tests = [*raised, *(test for rule, _ in (*matching, *others) for test in rule.tests)]
    return Explanation(
        verdict=verdict,
        matches=tuple(
            Match(rule.id, rule.decision, truth is True, why(rule, inputs)) for rule, truth in matching
        ),
        passed_over=tuple(
            Match(
                rule.id,
                rule.decision,
                truth is False,
                f"it would match, but {aside[rule.id]} sets it aside"
                if rule.id in verdict.overridden and rule.id in aside
                else why_not(rule, truth, inputs),
            )
            for rule, truth in others
        ),
        values={reading.name: shown(reading.read(inputs)) for test in tests for reading in test.readings},
        missing=once(name for test in tests for name in test.missing(inputs)),
    )


def _set_aside_by(rules: Iterable[Rule]) -> dict[str, str]:
    return {other: rule.id for rule in rules for other in rule.overrides}


def why(rule: Rule, inputs: Inputs) -> str:
    """Why a rule matched."""
    if not rule.tests:
        return "it speaks about this topic without conditions"
    return "; ".join(_said(test, inputs) for test in rule.tests if test.check(inputs) is not False)


def _said(test: Test, inputs: Inputs) -> str:
    if test.check(inputs) is None:
        return f"{test.text} is not refuted, because {_names(test.missing(inputs))} unknown"
    return f"{test.text} ({_values(test, inputs)})" if test.readings else test.text


def why_not(rule: Rule, truth: Truth, inputs: Inputs) -> str:
    """Why a rule that speaks about the topic did not match."""
    if truth is True:
        return "it does not name this topic, which nobody catalogued"
    if truth is None:
        return f"not proved: {', '.join(once(rule.unknown(inputs)))} unknown"
    refuted = next(test for test in rule.tests if test.check(inputs) is False)
    return f"{refuted.text} is refuted ({_values(refuted, inputs)})"


def _values(test: Test, inputs: Inputs) -> str:
    """What a test read: "it is 3", or each value by its name where it read several."""
    found = {reading.name: shown(reading.read(inputs)) or "not there" for reading in test.readings}
    if len(found) == 1:
        return f"it is {next(iter(found.values()))}"
    return ", ".join(f"{name} is {value}" for name, value in found.items())


def _names(names: Sequence[str]) -> str:
    return f"{', '.join(once(names))} {'is' if len(once(names)) == 1 else 'are'}"


def shown(value: Any) -> str | None:
    """A value as text; None where it is unknown."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | frozenset | dict):
        return visible(", ".join(map(str, sorted(map(str, value)))) or "nothing", SHOWN)
    return visible(value if isinstance(value, str) else f"{value}", SHOWN)


def once(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order of first mention."""
    return tuple(dict.fromkeys(names))
