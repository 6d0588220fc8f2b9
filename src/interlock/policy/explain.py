"""Explanations: the same verdict, and in words why each rule did or did not count.

Values come from arguments an agent wrote: they are shown with every unseen character written out, and cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from interlock.model.text import visible
from interlock.model.verdicts import Decision, Tier, Verdict
from interlock.policy.closures import Truth
from interlock.policy.conditions import Test, conjunction
from interlock.policy.fields import Inputs
from interlock.policy.rules import Layer, Rule

if TYPE_CHECKING:
    from interlock.policy.catalogue import CatalogueEntry
    from interlock.policy.levels import Outcome

SHOWN = 200
"""Characters of one value that an explanation shows."""

Found = Literal["proved", "not refuted", "refuted", "not proved", "set aside", "not named"]
"""What became of a rule. It matched where it is proved, or restricts and is not refuted."""


@dataclass(frozen=True, slots=True)
class Match:
    """What one rule made of a question.

    Attributes:
        found: whether it matched, and how surely; `set aside` by a rule that overrides it; `not named`
            where it would permit a topic outside the catalogue that it only sweeps over.
        why: one sentence with the values that decided.
    """

    rule: str
    decision: Decision
    found: Found
    why: str


@dataclass(frozen=True, slots=True)
class Raised:
    """What one `raise_to` of the catalogue's entry made of a question; `found` as for rules."""

    tier: Tier
    found: Found
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict and how it came about.

    Attributes:
        raised: each `raise_to` of the entry, in order.
        matches: the rules that matched, strictest first.
        level: the rules of the autonomy level that may decide, in order.
        passed_over: the other rules that speak about the topic, in file order.
        values: every input that was read, as text; None where it was unknown.
        missing: the unknown inputs, whichever rule asked for them.
    """

    verdict: Verdict
    raised: tuple[Raised, ...]
    matches: tuple[Match, ...]
    level: tuple[Match, ...]
    passed_over: tuple[Match, ...]
    values: Mapping[str, str | None]
    missing: tuple[str, ...]


def explained(
    verdict: Verdict,
    entry: CatalogueEntry | None,
    rules: Iterable[Rule],
    said: Outcome | None,
    inputs: Inputs,
) -> Explanation:
    """The verdict with every rule that speaks about its topic; built-in ones only where they count.

    Args:
        said: what the autonomy level says.
    """
    by_id = {rule.id: rule for rule in rules}
    matching = [by_id.pop(rule_id) for rule_id in verdict.matched]
    others = sorted((r for r in by_id.values() if r.layer is Layer.RULE), key=lambda rule: rule.index)
    possible = () if said is None else said.possible
    aside = {other: rule.id for rule in matching if rule.truth(inputs) is True for other in rule.overrides}
    raises = () if entry is None else entry.raise_to
    tests = [test for raised in raises for test in raised.tests]
    tests += [test for rule in (*matching, *possible, *others) for test in rule.tests]
    return Explanation(
        verdict=verdict,
        raised=tuple(
            Raised(raised.tier, *_found(raised.tests, conjunction(raised.tests, inputs), True, inputs))
            for raised in raises
        ),
        matches=tuple(_match(rule, inputs) for rule in matching),
        level=tuple(_match(rule, inputs) for rule in possible),
        passed_over=tuple(
            Match(rule.id, rule.decision, "set aside", f"{aside[rule.id]} overrides it")
            if rule.id in verdict.overridden and rule.id in aside
            else _passed_over(rule, inputs)
            for rule in others
        ),
        values={reading.name: shown(reading.read(inputs)) for test in tests for reading in test.readings},
        missing=once(name for test in tests for name in test.missing(inputs)),
    )


def _match(rule: Rule, inputs: Inputs) -> Match:
    return Match(rule.id, rule.decision, *_found(rule.tests, rule.truth(inputs), True, inputs))


def _passed_over(rule: Rule, inputs: Inputs) -> Match:
    truth = rule.truth(inputs)
    if truth is True:
        why = "it does not name this topic, which nobody catalogued"
        return Match(rule.id, rule.decision, "not named", why)
    return Match(rule.id, rule.decision, *_found(rule.tests, truth, False, inputs))


def _found(tests: tuple[Test, ...], truth: Truth, restricts: bool, inputs: Inputs) -> tuple[Found, str]:
    """What became of a conjunction of tests, and why."""
    if truth is False:
        refuted = next(test for test in tests if test.check(inputs) is False)
        return "refuted", f"{refuted.text} ({_values(refuted, inputs)})"
    if truth is None and not restricts:
        unknown = once(name for test in tests for name in test.missing(inputs))
        return "not proved", _unknown(unknown)
    if not tests:
        return "proved", "it speaks about this topic without conditions"
    why = "; ".join(_said(test, inputs) for test in tests)
    return "proved" if truth is True else "not refuted", why


def _said(test: Test, inputs: Inputs) -> str:
    if test.check(inputs) is None:
        return f"{test.text}, where {_unknown(test.missing(inputs))}"
    return f"{test.text} ({_values(test, inputs)})" if test.readings else test.text


def _values(test: Test, inputs: Inputs) -> str:
    """What a test read: "it is 3", or each value by its name where it read several."""
    found = {reading.name: shown(reading.read(inputs)) or "not there" for reading in test.readings}
    if len(found) == 1:
        return f"it is {next(iter(found.values()))}"
    return ", ".join(f"{name} is {value}" for name, value in found.items())


def _unknown(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} unknown"


def shown(value: Any) -> str | None:
    """A value as text; None where it is unknown."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | frozenset | dict):
        return visible(", ".join(sorted(map(str, value))) or "nothing", SHOWN)
    return visible(value if isinstance(value, str) else f"{value}", SHOWN)


def once(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order of first mention."""
    return tuple(dict.fromkeys(names))
