"""Rules, compiled: which topics they speak about, and what they ask of the inputs.

1. A restrictive rule (require_approval, deny) matches unless it is proved not to; a permissive one (allow,
   allow_with_constraints) matches only if it is proved to (promise P2).
2. Outside the catalogue a permissive rule counts only where one of its patterns names the topic: the lone
   ``*`` and a final ``**`` sweep, they do not name.
3. What a threshold reads: an amount is the catalogue's amount in US dollars; a topic whose entry has no
   amount is proved not to move money. The people affected are the larger of what the argument says and
   what was observed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Constraints, Decision, Lane, Trigger
from interlock.policy import conditions
from interlock.policy.conditions import Inputs, Test, Truth, exact
from interlock.policy.document import MatchSpec


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        index: its place in the file order.
        restrictive: of its decision; decides how it takes what is unknown.
        limits: whether it permits within limits; they hold unless it is refuted.
        reported: whether it reads what the agent reports about itself.
        owner, lane: None where it names none.
    """

    id: str
    index: int
    patterns: tuple[TopicPattern, ...] | None
    tests: tuple[Test, ...]
    decision: Decision
    restrictive: bool
    limits: bool
    reported: bool
    reason: str | None
    constraints: Constraints
    owner: str | None
    lane: Lane | None
    triggers: tuple[Trigger, ...]

    def speaks_about(self, topic: str) -> bool:
        return self.patterns is None or any(pattern.matches(topic) for pattern in self.patterns)

    def names(self, topic: str) -> bool:
        """Whether one of its patterns names the topic rather than sweeping over it."""
        return any(pattern.names and pattern.matches(topic) for pattern in self.patterns or ())

    def unknown(self, inputs: Inputs) -> tuple[str, ...]:
        """The inputs that its tests lacked."""
        return tuple(test.input for test in self.tests if test.check(inputs) is None)


# --- what `match` asks ------------------------------------------------------------------------------------


def tests_of(match: MatchSpec) -> list[Test]:
    """The tests of a rule's `match`; its topics are tested apart, for they pick the rules to ask at all."""
    tests: list[Test] = []
    if match.risk_tags is not None:
        tests.append(_any_tag(frozenset(match.risk_tags)))
    if match.all_risk_tags is not None:
        tests.append(_all_tags(frozenset(match.all_risk_tags)))
    if match.confidence_below is not None:
        tests.append(_below("signals.confidence", conditions.confidence, match.confidence_below))
    if match.anomaly_score_above is not None:
        tests.append(_above("signals.anomaly_score", conditions.anomaly_score, match.anomaly_score_above))
    if match.retry_count_above is not None:
        tests.append(_above("signals.retry_count", conditions.retry_count, match.retry_count_above))
    if match.amount_usd_above is not None:
        tests.append(_above("amount_usd", amount_usd, match.amount_usd_above, moves_no_money))
    if match.affected_users_above is not None:
        tests.append(_above("affected_users", affected_users, match.affected_users_above, affects_nobody))
    if match.first_time_action is not None:
        tests.append(_first_time(match.first_time_action))
    return tests


def _sorted_tags(inputs: Inputs) -> str | None:
    return None if inputs.tags is None else ", ".join(sorted(inputs.tags))


def _any_tag(wanted: frozenset[str]) -> Test:
    def check(inputs: Inputs) -> Truth:
        return None if inputs.tags is None else not wanted.isdisjoint(inputs.tags)

    return Test("tags", f"tagged {' or '.join(sorted(wanted))}", check, _sorted_tags)


def _all_tags(wanted: frozenset[str]) -> Test:
    def check(inputs: Inputs) -> Truth:
        return None if inputs.tags is None else wanted <= inputs.tags

    return Test("tags", f"tagged {' and '.join(sorted(wanted))}", check, _sorted_tags)


_Read = Callable[[Inputs], "Decimal | int | None"]


def _below(name: str, read: _Read, threshold: Decimal) -> Test:
    def check(inputs: Inputs) -> Truth:
        value = read(inputs)
        return None if value is None else value < threshold

    return Test(name, f"{name} < {threshold:f}", check, read)


def _above(
    name: str, read: _Read, threshold: Decimal | int, lacks: Callable[[Inputs], bool] | None = None
) -> Test:
    """`lacks` says that the catalogue knows this topic to have no such input: then it is proved false."""

    def check(inputs: Inputs) -> Truth:
        if lacks is not None and lacks(inputs):
            return False
        value = read(inputs)
        return None if value is None else value > threshold

    return Test(name, f"{name} > {Decimal(threshold):f}", check, read)


def _first_time(wanted: bool) -> Test:
    def check(inputs: Inputs) -> Truth:
        value = conditions.first_time_action(inputs)
        return None if value is None else value is wanted

    text = f"first_time_action == {'true' if wanted else 'false'}"
    return Test("signals.first_time_action", text, check, conditions.first_time_action)


def moves_no_money(inputs: Inputs) -> bool:
    """Whether the catalogue says so. Undeclared arguments that speak of `amount_usd` do not prove it."""
    entry = inputs.entry
    if entry is None or "amount" in entry.roles:
        return False
    return entry.args is not None or "amount_usd" not in inputs.args


def amount_usd(inputs: Inputs) -> Decimal | None:
    entry = inputs.entry
    if entry is not None and "amount" in entry.roles:
        return entry.amount_usd(inputs.args)
    amount = conditions.declared_decimal(inputs.args.get("amount_usd"))
    return amount if amount is not None and amount >= 0 else None


def affects_nobody(inputs: Inputs) -> bool:
    """Whether the catalogue names no people and nobody observed any."""
    entry = inputs.entry
    return entry is not None and "people" not in entry.roles and inputs.signals.affected_users is None


def affected_users(inputs: Inputs) -> Decimal | int | None:
    observed = conditions.affected_users(inputs)
    entry = inputs.entry
    if entry is None or "people" not in entry.roles:
        return observed
    value: Any = inputs.args.get(entry.roles["people"])
    stated = len(value) if isinstance(value, list | tuple) else exact(value)
    if stated is None or stated < 0:
        return observed
    return stated if observed is None else max(stated, observed)
