"""Rules, compiled: which topics they speak about, and what they ask of the inputs.

1. A restrictive rule (require_approval, deny) matches unless it is proved not to; a permissive one (allow,
   allow_with_constraints) matches only if it is proved to (promise P2).
2. Outside the catalogue a permissive rule counts only where one of its patterns names the topic: the lone
   ``*`` and a final ``**`` sweep, they do not name.
3. What a threshold reads: an amount is the catalogue's amount in US dollars; a topic whose entry has no
   amount is proved not to move money. The people affected are the larger of what the argument says and
   what was observed.
4. Triggers and invariants are rules of later layers. Nothing distinguishes them but who wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from interlock.model.actions import Signals
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints, Decision, Lane, Trigger
from interlock.policy.closures import Truth
from interlock.policy.conditions import Reading, Test, conjunction
from interlock.policy.fields import REPORTED, Inputs, declared_decimal, exact, reader

if TYPE_CHECKING:
    from interlock.policy.catalogue import CatalogueEntry
    from interlock.policy.document import MatchSpec, ScopeSpec


BASELINE = Signals()
_NOTHING: Mapping[str, Any] = {}
_AT_REST = Inputs("", _NOTHING, BASELINE, None, None)


class Layer(IntEnum):
    """Who says it. Of two that are equally strict the earlier layer is named."""

    RULE = 0
    BASE = 1
    """An autonomy level, or the default of the tier."""
    FLOOR = 2
    TRIGGER = 3
    INVARIANT = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        index: its place in the file order, among the rules of its layer.
        patterns: None where it speaks about every topic.
        owner, lane: None where it names none.
        overrides: ids of the rules that are set aside where this one is proved.
        applies: whether it can ever match a topic with this catalogue entry; None where nothing is known.
        severity: of its decision, 0 to 3.
        restrictive: of its decision; decides how it takes what is unknown.
        limits: whether it permits within limits; they hold unless it is refuted.
        reported: whether it reads what the agent reports about itself.
        truth: all of its tests at once.
        standing: the tests that only tags decide, which are the topic's and not the action's.
        changing: the other tests at once; None where there are none.
        rests: whether it is refuted while nobody has observed anything, whatever else an action says.
    """

    id: str
    index: int
    patterns: tuple[TopicPattern, ...] | None
    tests: tuple[Test, ...]
    decision: Decision
    reason: str | None = None
    constraints: Constraints = NO_CONSTRAINTS
    owner: str | None = None
    lane: Lane | None = None
    triggers: tuple[Trigger, ...] = ()
    overrides: frozenset[str] = frozenset()
    layer: Layer = Layer.RULE
    applies: Callable[[CatalogueEntry | None], bool] | None = None
    severity: int = field(init=False)
    restrictive: bool = field(init=False)
    limits: bool = field(init=False)
    reported: bool = field(init=False)
    truth: Callable[[Inputs], Truth] = field(init=False, repr=False, compare=False)
    standing: tuple[Test, ...] = field(init=False, repr=False, compare=False)
    changing: Callable[[Inputs], Truth] | None = field(init=False, repr=False, compare=False)
    rests: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "severity", self.decision.severity)
        set_(self, "restrictive", self.decision.restrictive)
        permits_within = self.decision is Decision.ALLOW_WITH_CONSTRAINTS or bool(self.constraints.named)
        set_(self, "limits", permits_within and not self.restrictive)
        set_(self, "reported", any(r.name == REPORTED for test in self.tests for r in test.readings))
        set_(self, "truth", together(self.tests))
        changing = tuple(test for test in self.tests if not _stands(test))
        set_(self, "standing", tuple(test for test in self.tests if _stands(test)))
        set_(self, "changing", together(changing) if changing else None)
        set_(self, "rests", any(_rests(test) for test in changing))

    def asked(self, rank: int, known: Inputs) -> Asked | None:
        """How the rule is asked about a topic with this entry and these tags; None where it is refuted."""
        if self.applies is not None and not self.applies(known.entry):
            return None
        if self.standing:
            if known.tags is None:
                return rank, self.severity, self.truth, self
            for test in self.standing:
                if test.check(known) is False:
                    return None
        return rank, self.severity, self.changing, self

    def speaks_about(self, topic: str) -> bool:
        return self.patterns is None or any(pattern.matches(topic) for pattern in self.patterns)

    def unknown(self, inputs: Inputs) -> list[str]:
        """The inputs that its tests lacked."""
        return [name for test in self.tests for name in test.missing(inputs)]


Asked = tuple[int, int, "Callable[[Inputs], Truth] | None", Rule]
"""A rule's rank, its decision's severity, what is left to ask (None where it is proved already), the rule."""


def at_rest(signals: Signals) -> bool:
    """Whether nobody has observed anything. What is garbled is not at rest."""
    return signals is BASELINE or (
        type(signals.retry_count) is int
        and not signals.retry_count
        and _is_zero(signals.anomaly_score)
        and _is_zero(signals.injection_score)
        and _is_zero(signals.sentiment)
        and signals.first_time_action is False
        and signals.first_time_recipient is False
        and signals.deadline_sec is None
        and signals.affected_users is None
        and signals.duplicate_of is None
    )


def _is_zero(value: object) -> bool:
    return type(value) is Decimal and not value


def _stands(test: Test) -> bool:
    return all(reading.name == "tags" for reading in test.readings) and bool(test.readings)


def _rests(test: Test) -> bool:
    """Whether a test reads observed signals only and is refuted at their baseline."""
    observed = all(r.name.startswith("signals.") and r.name != REPORTED for r in test.readings)
    return observed and bool(test.readings) and test.check(_AT_REST) is False


def together(tests: tuple[Test, ...]) -> Callable[[Inputs], Truth]:
    """One closure for all tests: their conjunction."""
    if not tests:
        return _always
    if len(tests) == 1:
        return tests[0].check
    if len(tests) == 2:
        return _both(tests[0].check, tests[1].check)
    return lambda inputs: conjunction(tests, inputs)


def _always(_: Inputs) -> Truth:
    return True


def _both(one: Callable[[Inputs], Truth], other: Callable[[Inputs], Truth]) -> Callable[[Inputs], Truth]:
    def check(inputs: Inputs) -> Truth:
        first = one(inputs)
        if first is False:
            return False
        second = other(inputs)
        return second if first is True or second is False else None

    return check


# --- what `match` asks ------------------------------------------------------------------------------------


confidence = reader(("signals", "confidence"), "number")
anomaly_score = reader(("signals", "anomaly_score"), "number")
retry_count = reader(("signals", "retry_count"), "number")
observed_users = reader(("signals", "affected_users"), "number")
_first_time = reader(("signals", "first_time_action"), "boolean")

_Read = Callable[[Inputs], "Decimal | int | None"]


def tests_of(match: MatchSpec) -> list[Test]:
    """The tests of a rule's `match`; its topics are tested apart, for they pick the rules to ask at all."""
    tests = scope_of(match)
    if match.confidence_below is not None:
        tests.append(below("signals.confidence", confidence, match.confidence_below))
    if match.anomaly_score_above is not None:
        tests.append(above("signals.anomaly_score", anomaly_score, match.anomaly_score_above))
    if match.retry_count_above is not None:
        tests.append(above("signals.retry_count", retry_count, match.retry_count_above))
    if match.amount_usd_above is not None:
        tests.append(above("amount_usd", amount_usd, match.amount_usd_above, moves_no_money))
    if match.affected_users_above is not None:
        tests.append(users_above(match.affected_users_above))
    if match.first_time_action is not None:
        tests.append(_is_first_time(match.first_time_action))
    return tests


def scope_of(match: MatchSpec | ScopeSpec) -> list[Test]:
    """The tests about tags."""
    tests = []
    if match.risk_tags is not None:
        tests.append(any_tag(frozenset(match.risk_tags)))
    if match.all_risk_tags is not None:
        tests.append(all_tags(frozenset(match.all_risk_tags)))
    return tests


def _sorted_tags(inputs: Inputs) -> str | None:
    return None if inputs.tags is None else ", ".join(sorted(inputs.tags))


_TAGS = (Reading("tags", _sorted_tags),)


def any_tag(wanted: frozenset[str]) -> Test:
    def check(inputs: Inputs) -> Truth:
        return None if inputs.tags is None else not wanted.isdisjoint(inputs.tags)

    return Test(f"tagged {' or '.join(sorted(wanted))}", check, _TAGS)


def all_tags(wanted: frozenset[str]) -> Test:
    def check(inputs: Inputs) -> Truth:
        return None if inputs.tags is None else wanted <= inputs.tags

    return Test(f"tagged {' and '.join(sorted(wanted))}", check, _TAGS)


def below(name: str, read: _Read, threshold: Decimal) -> Test:
    def check(inputs: Inputs) -> Truth:
        value = read(inputs)
        return None if value is None else value < threshold

    return Test(f"{name} < {threshold:f}", check, (Reading(name, read),))


def above(
    name: str, read: _Read, threshold: Decimal | int, lacks: Callable[[Inputs], bool] | None = None
) -> Test:
    """`lacks` says that the catalogue knows this topic to have no such input: then it is proved false."""

    def check(inputs: Inputs) -> Truth:
        value = read(inputs)
        if value is not None:
            return value > threshold
        return False if lacks is not None and lacks(inputs) else None

    return Test(f"{name} > {Decimal(threshold):f}", check, (Reading(name, read),))


def _is_first_time(wanted: bool) -> Test:
    def check(inputs: Inputs) -> Truth:
        value = _first_time(inputs)
        return None if value is None else value is wanted

    text = f"first_time_action == {'true' if wanted else 'false'}"
    return Test(text, check, (Reading("signals.first_time_action", _first_time),))


# --- roles ------------------------------------------------------------------------------------------------


def moves_no_money(inputs: Inputs) -> bool:
    """Whether the catalogue says so. Undeclared arguments that speak of `amount_usd` do not prove it."""
    entry = inputs.entry
    if entry is None or "amount" in entry.roles:
        return False
    return entry.args is not None or "amount_usd" not in inputs.args


def amount_usd(inputs: Inputs) -> Decimal | None:
    """The amount at stake in US dollars; None where it is unknown or there is none."""
    entry = inputs.entry
    if entry is not None:
        if "amount" in entry.roles:
            return entry.amount_usd(inputs.args)
        if entry.args is not None:
            return None
    amount = declared_decimal(inputs.args.get("amount_usd"))
    return amount if amount is not None and amount >= 0 else None


def users_above(threshold: int) -> Test:
    """Whether more people are affected: by what the argument says, or by what was observed.

    A topic whose entry names no people affects nobody but those that somebody observed.
    """

    def check(inputs: Inputs) -> Truth:
        entry = inputs.entry
        seen: Truth = False
        if inputs.signals.affected_users is not None:
            seen = _more(observed_users(inputs), threshold)
        elif entry is None:
            return None
        if entry is None or "people" not in entry.roles:
            return seen
        said = _more(_people(inputs), threshold)
        return True if seen or said else None if seen is None or said is None else False

    return Test(f"affected_users > {threshold}", check, (Reading("affected_users", affected_users),))


def _more(value: Decimal | int | None, threshold: int) -> Truth:
    return None if value is None else value > threshold


def _people(inputs: Inputs) -> Decimal | int | None:
    """How many people the arguments name; None where that is unknown, or the catalogue names no people."""
    name = None if inputs.entry is None else inputs.entry.roles.get("people")
    value: Any = None if name is None else inputs.args.get(name)
    stated = len(value) if isinstance(value, list | tuple) else exact(value)
    return None if stated is None or stated < 0 else stated


def affected_users(inputs: Inputs) -> Decimal | int | None:
    """The larger of what the argument says and what was observed, as far as they are known."""
    known = [value for value in (observed_users(inputs), _people(inputs)) if value is not None]
    return max(known, default=None)
