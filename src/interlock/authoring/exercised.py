"""What of a change the tried actions have exercised: where nothing was exercised, silence means nothing.

1. What permits is looser where it matches, so an added or changed rule has to have matched some tried action
   of each of its topics, and to have counted. What restricts is looser where it no longer matches: a removed
   or changed rule has to have matched before, and a changed condition has to have been refuted since.
2. Where a condition is not what it was, the same is asked of each comparison in it that can bring this about,
   so that no alternative between ``||`` goes unseen; of what came to restrict less, of those that are new.
3. A rule that overrides has to have been seen setting aside each rule that it can meet.
4. `raise_to` restricts. A rule of an autonomy level is taken for itself, whatever stands above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.authoring.boundaries import Name, read_by
from interlock.authoring.parts import Written, meeting, patterns_of
from interlock.model.canonical import canonical
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy
from interlock.policy.closures import compile_expression
from interlock.policy.conditions import compile_condition
from interlock.policy.document import ActionSpec, LevelRuleSpec, LevelSpec, MatchSpec, RuleSpec
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import Inputs
from interlock.policy.kleene import Check
from interlock.policy.rules import tests_of, together
from interlock.policy.syntax import And, Expr, Not, Or, show

_DECIDES = frozenset({"match", "when", "decision", "constraints", "lane", "overrides"})
"""Keys of a rule on which a decision, its limits or its lane can rest."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing to have seen. `missed` says that it was not; `first` is said alone where it was not seen."""

    missed: str
    seen: Callable[[Inputs, Verdict], bool]
    first: bool = False


@dataclass(slots=True)
class Aim:
    """What is to be seen of one part in one of the two policies.

    Attributes:
        entry: of a `raise_to`, the pattern of the entry it belongs to.
        asks: what its conditions are, with those of what it overrides: the fields to vary together.
    """

    patterns: tuple[TopicPattern, ...]
    asks: tuple[tuple[MatchSpec, str | None], ...]
    goals: list[Goal] = field(default_factory=list)
    entry: str | None = None

    def about(self, topic: str) -> bool:
        return any(pattern.matches(topic) for pattern in self.patterns)

    def reads(self, topic: str, policy: Policy) -> frozenset[Name]:
        """The fields to vary together."""
        return frozenset[Name]().union(*(read_by(topic, policy, match, when) for match, when in self.asks))

    def note(self, inputs: Inputs, verdict: Verdict) -> None:
        """Strike what this action has shown."""
        if self.entry is None or (inputs.entry is not None and inputs.entry.pattern == self.entry):
            self.goals = [goal for goal in self.goals if not goal.seen(inputs, verdict)]

    @property
    def missed(self) -> Iterator[str]:
        first = [goal.missed for goal in self.goals if goal.first]
        yield from first or (goal.missed for goal in self.goals)


Aims = tuple[list[Aim], list[Aim]]
"""What is to be seen under the old policy, and under the new one."""


@dataclass(frozen=True, slots=True)
class _Condition:
    """What something asks: its `match` and its `when`."""

    what: str
    patterns: tuple[TopicPattern, ...]
    match: MatchSpec
    when: str | None

    @property
    def truth(self) -> Check:
        return together((*tests_of(self.match), *(compile_condition(self.when) if self.when else ())))

    @property
    def comparisons(self) -> dict[tuple[str, bool], Check]:
        """Each comparison by its text and by what it has to be for the whole to hold."""
        found: dict[tuple[str, bool], Check] = {
            (test.text, True): test.check for test in tests_of(self.match)
        }
        if self.when is not None:
            for atom, sign in _signed(parse_expression(self.when)):
                found[show(atom), sign] = compile_expression(atom)
        return found

    def matching(self, counted: str | None, whole: bool) -> Iterator[Goal]:
        """That it was the case; with `whole`, for every pattern once and by every comparison.

        Args:
            counted: the id of a rule that must have counted as well.
        """
        truth = self.truth
        for pattern in self.patterns:
            where = "" if pattern.text == "*" else f" on {pattern.text}"
            missed = f"no tried action{where} is a case of {self.what}"
            yield Goal(missed, _case(truth, pattern, counted), first=True)
        for (text, sign), check in self.comparisons.items() if whole else ():
            yield _one(self.what, text, check, sign)

    def refuted(self, known: Iterable[tuple[str, bool]]) -> Iterator[Goal]:
        """That it was not the case, by every comparison that is not known already."""
        if not self.comparisons:
            return
        truth, known = self.truth, set(known)
        missed = f"no tried action refutes {self.what} as it is now"
        yield Goal(missed, lambda inputs, _: truth(inputs) is False, first=True)
        for (text, sign), check in self.comparisons.items():
            if (text, sign) not in known:
                yield _one(self.what, text, check, not sign)


def _signed(expr: Expr, sign: bool = True) -> Iterator[tuple[Expr, bool]]:
    match expr:
        case And() | Or():
            for operand in expr.operands:
                yield from _signed(operand, sign)
        case Not():
            yield from _signed(expr.operand, not sign)
        case _:
            yield expr, sign


def _one(what: str, text: str, check: Check, wanted: bool) -> Goal:
    missed = f"no tried action makes {text} {str(wanted).lower()}, in {what}"
    return Goal(missed, lambda inputs, _: check(inputs) is wanted)


def _case(truth: Check, pattern: TopicPattern, counted: str | None) -> Callable[[Inputs, Verdict], bool]:
    def seen(inputs: Inputs, verdict: Verdict) -> bool:
        if not pattern.matches(inputs.topic) or truth(inputs) is not True:
            return False
        return counted is None or counted in verdict.matched or counted in verdict.overridden

    return seen


# --- what to see of each kind of change -------------------------------------------------------------------


def of_rule(old: Written | None, new: Written | None, others: Mapping[str, Written]) -> Aims:
    """Of an author's rule. Args: others: the new policy's rules by id."""
    if old is not None and new is not None and not _decides_otherwise(old.spec, new.spec):
        return [], []
    before = None if old is None else _rule_condition(old)
    after = None if new is None else _rule_condition(new)
    same = before is not None and after is not None and _alike(before, after)
    aims: Aims = ([], [])
    if old is not None and before is not None and old.decision is not Decision.ALLOW:
        aims[0].append(_aim(before, before.matching(None, whole=not same)))
    if new is not None and after is not None:
        goals: list[Goal] = []
        if not new.decision.restrictive:
            goals += after.matching(new.id, whole=not same)
        if before is not None and not same and new.decision is not Decision.ALLOW:
            goals += after.refuted(before.comparisons)
        aims[1].append(_aim(after, goals))
        aims[1].extend(_setting_aside(new, others))
    return aims


def _rule_condition(rule: Written) -> _Condition:
    return _Condition(f"rule {rule.id}", rule.patterns, rule.match, rule.spec.when)


def _decides_otherwise(old: RuleSpec, new: RuleSpec) -> bool:
    return any(getattr(old, key) != getattr(new, key) for key in _DECIDES)


def _alike(one: _Condition, other: _Condition) -> bool:
    return one.patterns == other.patterns and one.match == other.match and one.when == other.when


def _aim(condition: _Condition, goals: Iterable[Goal], entry: str | None = None) -> Aim:
    return Aim(condition.patterns, ((condition.match, condition.when),), list(goals), entry)


def _setting_aside(rule: Written, others: Mapping[str, Written]) -> Iterator[Aim]:
    for name in rule.spec.overrides or ():
        other = others.get(name)
        if other is None or not any(meeting(a, b) for a in rule.patterns for b in other.patterns):
            continue
        missed = f"no tried action shows rule {rule.id} setting aside rule {name}"
        asks = ((rule.match, rule.spec.when), (other.match, other.spec.when))
        yield Aim(rule.patterns, asks, [Goal(missed, _aside(rule.id, name))])


def _aside(rule: str, other: str) -> Callable[[Inputs, Verdict], bool]:
    return lambda _, verdict: rule in verdict.matched and other in verdict.overridden


def of_entry(pattern: str, old: ActionSpec | None, new: ActionSpec | None) -> Aims:
    """Of the `raise_to` of an entry of the catalogue."""
    before = _raises(pattern, old)
    after = _raises(pattern, new)
    gone = [condition for key, condition in before.items() if key not in after]
    come = [condition for key, condition in after.items() if key not in before]
    known = {comparison for condition in gone for comparison in condition.comparisons}
    return (
        [_aim(condition, condition.matching(None, whole=True), pattern) for condition in gone],
        [_aim(condition, condition.refuted(known), pattern) for condition in come if gone],
    )


def _raises(pattern: str, spec: ActionSpec | None) -> dict[tuple[int, str], _Condition]:
    patterns, what = (TopicPattern.parse(pattern),), f"raise_to of {pattern}"
    raises = () if spec is None else spec.raise_to or ()
    return {
        (raised.tier, raised.when): _Condition(what, patterns, MatchSpec(), raised.when) for raised in raises
    }


def of_level(name: str, old: LevelSpec | None, new: LevelSpec | None) -> Aims:
    """Of the rules of an autonomy level."""
    before, after = _levels(name, old), _levels(name, new)
    gone = [found for key, found in before.items() if key not in after]
    come = [found for key, found in after.items() if key not in before]
    known = {comparison for _, condition in gone for comparison in condition.comparisons}
    aims: Aims = ([], [])
    for decision, condition in gone:
        if decision is not Decision.ALLOW:
            aims[0].append(_aim(condition, condition.matching(None, whole=True)))
    for decision, condition in come:
        goals = [] if decision.restrictive else list(condition.matching(None, whole=True))
        if gone and decision is not Decision.ALLOW:
            goals += condition.refuted(known)
        aims[1].append(_aim(condition, goals))
    return aims


def _levels(name: str, spec: LevelSpec | None) -> dict[bytes, tuple[Decision, _Condition]]:
    found = {}
    for number, rule in enumerate(() if spec is None else spec.rules, 1):
        found[_key(rule)] = (
            Decision(rule.decision),
            _Condition(
                f"rule {number} of {name}", patterns_of(rule.match), rule.match or MatchSpec(), rule.when
            ),
        )
    return found


def _key(rule: LevelRuleSpec) -> bytes:
    said: dict[str, Any] = rule.model_dump(exclude_defaults=True, exclude={"reason"}, mode="json")
    return canonical(said)
