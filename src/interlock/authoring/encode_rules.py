"""When rules match: the author's, levels', triggers and invariants, as truths about one class of actions.

1. Each is read off the policy's document, and means what `interlock.policy.rules` and
   `interlock.policy.builtin` make of it: what is missing leaves it unknown, what the catalogue rules out
   refutes it.
2. An amount is the catalogue's, in the currency it declares. Of an argument that nobody declared it is a
   number, or a text that is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TypeAlias

from interlock.authoring.encode_conditions import Conditions, parsed
from interlock.authoring.encode_inputs import AMOUNT, Inputs
from interlock.authoring.encode_logic import (
    REFUTED,
    UNKNOWN,
    Term,
    Truth,
    all_of,
    any_of,
    both,
    either,
    every,
    known,
    no,
    some,
)
from interlock.authoring.encode_values import Number, compare, number_of
from interlock.model.verdicts import Tier
from interlock.policy import Policy
from interlock.policy.document import MatchSpec, ScopeSpec
from interlock.policy.rules import Layer, Rule
from interlock.policy.syntax import Expr, Items, Literal, parts

Tiers: TypeAlias = Mapping[int, Term]
"""Which tiers an action may have, each with the term that says so; none outside the catalogue."""
_TOP = int(Tier.IRREVERSIBLE)
TAGGED: Mapping[str, tuple[str, ...]] = {
    "deploy": ("deploy", "prod"),
    "external-comms": ("external-comms",),
    "delete": ("delete",),
    "privilege": ("privilege",),
}
"""The invariants that read tags, and the tags each of them wants together."""


class Matching:
    """The rules of a policy about one class of actions.

    Args:
        confidence: what the agent reports, where that is settled beforehand.
        mark: tells what depends on the tiers apart, where one action is looked at twice.
    """

    def __init__(
        self, policy: Policy, inputs: Inputs, tiers: Tiers, confidence: Number | None = None, mark: str = ""
    ) -> None:
        self.policy, self.inputs, self.tiers, self.confidence = policy, inputs, tiers, confidence
        self.conditions = Conditions(inputs, confidence, tiers, mark)
        self._doubtful = inputs.entry is not None and any(each.reported for each in inputs.entry.raise_to)

    def rule(self, rule: Rule) -> Truth:
        """When a rule of the author's, a trigger or an invariant matches."""
        if rule.reported or self._doubtful:
            return self._rule(rule)
        found = self.inputs.truths.get(rule.id)
        if found is None:
            found = self.inputs.truths[rule.id] = self._rule(rule)
        return found

    def _rule(self, rule: Rule) -> Truth:
        if rule.applies is not None and not rule.applies(self.inputs.entry):
            return REFUTED
        if rule.layer is Layer.RULE:
            spec = self.policy.document.rules[rule.index]
            return self.spec(spec.match or MatchSpec(), spec.when)
        name = rule.id.partition(":")[2]
        if rule.layer is Layer.INVARIANT:
            return (
                self.moves_money()
                if name == "money"
                else Truth((held := all_tags(self.inputs, TAGGED[name]).yes), no(held))
            )
        trigger = getattr(self.policy.document.triggers, name)
        scope = () if trigger.match is None else self._tags(trigger.match)
        return all_of((*scope, self._trigger(name)))

    def spec(self, match: MatchSpec, when: str | None) -> Truth:
        return all_of(self._parts(match, when))

    def _parts(self, match: MatchSpec, when: str | None) -> Iterator[Truth]:
        yield from self._tags(match)
        if match.confidence_below is not None:
            yield self._signal("confidence", "<", match.confidence_below)
        if match.anomaly_score_above is not None:
            yield self._signal("anomaly_score", ">", match.anomaly_score_above)
        if match.retry_count_above is not None:
            yield self._signal("retry_count", ">", match.retry_count_above)
        if match.amount_usd_above is not None:
            yield self._amount_above(match.amount_usd_above)
        if match.affected_users_above is not None:
            yield self._users_above(match.affected_users_above)
        if match.first_time_action is not None:
            flag = self.inputs.field(("signals", "first_time_action")).flag
            yield known(flag if match.first_time_action else no(flag))
        if when is not None:
            yield self.conditions.truth(parsed(when))

    def _tags(self, match: MatchSpec | ScopeSpec) -> Iterator[Truth]:
        if match.risk_tags is not None:
            yield any_of(all_tags(self.inputs, (tag,)) for tag in match.risk_tags)
        if match.all_risk_tags is not None:
            yield all_tags(self.inputs, match.all_risk_tags)

    def _signal(self, name: str, op: str, limit: Decimal | int) -> Truth:
        if name == "confidence" and self.confidence is not None:
            number = self.confidence
        else:
            number = self.inputs.field(("signals", name)).number
        return known(compare(op, number, number_of(limit)), number.given)

    def _amount_above(self, limit: Decimal) -> Truth:
        entry = self.inputs.entry
        if entry is not None and "amount" in entry.roles:
            return self._role_above({"USD": limit})
        if entry is not None and entry.args is not None:
            return REFUTED
        found = self._free_above(limit)
        there = self.inputs.field(AMOUNT).there
        return found if entry is None else Truth(found.yes, either(found.no, no(there)))

    def _role_above(self, limits: Mapping[str, Decimal]) -> Truth:
        """Whether the amount that the catalogue names is above the limit of its currency."""
        entry = self.inputs.entry
        assert entry is not None
        name = entry.roles["amount"]
        declared = None if entry.args is None else entry.args.get(name)
        limit = None if declared is None or declared.currency is None else limits.get(declared.currency)
        if limit is None:
            return UNKNOWN
        number = self.inputs.field(("args", name)).number
        return known(compare(">", number, number_of(limit)), number.given)

    def _free_above(self, limit: Decimal) -> Truth:
        """Whether an argument that nobody declared says that it is above the limit."""
        amounts = self.inputs.amounts()
        return Truth(
            some(both(each.given, compare(">", each, number_of(limit))) for each in amounts),
            some(both(each.given, compare("<=", each, number_of(limit))) for each in amounts),
        )

    def _users_above(self, limit: int) -> Truth:
        entry, observed = self.inputs.entry, self.inputs.field(("signals", "affected_users")).number
        above = compare(">", observed, number_of(limit))
        if entry is None:
            return known(above, observed.given)
        counted = Truth(both(observed.given, above), either(no(observed.given), no(above)))
        if "people" not in entry.roles:
            return counted
        people = self.inputs.field(("args", entry.roles["people"]))
        stated = []
        if people.is_("list") is not False:
            stated.append((people.is_("list"), Number(True, people.length)))
        if people.is_("number") is not False and not self._decimal(entry.roles["people"]):
            number = people.number
            stated.append((both(number.given, compare(">=", number, number_of(0))), number))
        said = Truth(
            some(both(given, compare(">", number, number_of(limit))) for given, number in stated),
            some(both(given, compare("<=", number, number_of(limit))) for given, number in stated),
        )
        return any_of((said, counted))

    def _decimal(self, name: str) -> bool:
        return self.inputs.entry is not None and name in self.inputs.entry.decimals

    # --- triggers, invariants

    def _trigger(self, name: str) -> Truth:
        spec = self.policy.document.triggers
        match name:
            case "confidence":
                assert spec.confidence.floor is not None
                return self._signal("confidence", "<", spec.confidence.floor + spec.confidence.discount)
            case "risk_tier":
                return _tier_in(self.tiers, set(spec.risk_tier.tiers) - {_TOP})
            case "frustration":
                return any_of(
                    (
                        self._signal("sentiment", "<", spec.frustration.sentiment_below),
                        self._signal("retry_count", ">", spec.frustration.retry_count_above),
                    )
                )
            case "sla":
                return self._signal("deadline_sec", "<", spec.sla.within)
            case "irreversibility":
                return _tier_in(self.tiers, {int(Tier.REVERSIBLE)})
            case "anomaly":
                return any_of(
                    (
                        self._signal("anomaly_score", ">", spec.anomaly.above),
                        self._signal("injection_score", ">", spec.anomaly.injection_above),
                    )
                )
        raise AssertionError(name)

    def moves_money(self) -> Truth:
        spec, entry = self.policy.document.invariants, self.inputs.entry
        limits = {**spec.money_above, "USD": spec.money_above_usd}
        if entry is not None:
            if "amount" in entry.roles:
                return self._role_above(limits)
            return UNKNOWN if "money" in entry.tags else REFUTED
        declared = all_tags(self.inputs, ("money",)).yes
        about = either(declared, self.inputs.field(AMOUNT).there)
        above = self._free_above(spec.money_above_usd)
        return Truth(both(about, above.yes), either(no(about), above.no))


def all_tags(inputs: Inputs, wanted: tuple[str, ...]) -> Truth:
    if inputs.entry is not None:
        return known(inputs.entry.tags.issuperset(wanted))
    assert inputs.tags is not None
    return known(every(inputs.tags.has_tag(tag) for tag in wanted), inputs.tags.given)


def _tier_in(tiers: Tiers, wanted: set[int]) -> Truth:
    hit = some(term for tier, term in tiers.items() if tier in wanted)
    return Truth(both(hit, *(no(term) for tier, term in tiers.items() if tier not in wanted)), no(hit))


# --- literals ---------------------------------------------------------------------------------------------


def numbers_of(policy: Policy) -> Iterator[Decimal]:
    """Every number the policy compares something with, and the unit of every declared amount."""
    document = policy.document
    for spec in document.rules:
        yield from _thresholds(spec.match, spec.when)
    for level in document.autonomy_levels.values():
        for rule in level.rules:
            yield from _thresholds(rule.match, rule.when)
    for entry in policy.catalogue.entries:
        for raised in entry.raise_to:
            yield from literals_of(parsed(raised.when))
        for declared in (entry.args or {}).values():
            yield Decimal(1).scaleb(-(declared.scale or 0))
    triggers, invariants = document.triggers, document.invariants
    yield from (triggers.confidence.floor or Decimal(0), triggers.confidence.discount)
    yield from (
        triggers.frustration.sentiment_below,
        triggers.anomaly.above,
        triggers.anomaly.injection_above,
    )
    yield from (invariants.money_above_usd, *invariants.money_above.values())


def _thresholds(match: MatchSpec | None, when: str | None) -> Iterator[Decimal]:
    if match is not None:
        for limit in (match.confidence_below, match.anomaly_score_above, match.amount_usd_above):
            if limit is not None:
                yield limit
    if when is not None:
        yield from literals_of(parsed(when))


def literals_of(expr: Expr) -> Iterator[Decimal]:
    for part in parts(expr):
        values = (
            part.values if isinstance(part, Items) else (part.value,) if isinstance(part, Literal) else ()
        )
        yield from (value for value in values if isinstance(value, Decimal))
