"""Combining: from what counts to one verdict.

1. Everything that counts adds up (`Seen`); nothing here looks at an input again.
2. The decision is the strictest; who is named for it follows the order of layers.
3. Silence never approves what reaches outside: a lane that ends in `allow` does so only for tiers 1 and 2,
   and only where everybody who asks says so.
4. Of several lanes that escalate, the owners are asked whom all of them name, so that no rule that is added
   lets others in. The default owner is asked last in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interlock.model.verdicts import (
    DEFAULT_OWNER,
    NO_CONSTRAINTS,
    Constraints,
    Decision,
    Handoff,
    Lane,
    OnTimeout,
    Tier,
    Trigger,
    Turn,
    Verdict,
)
from interlock.policy.builtin import handoffs
from interlock.policy.explain import once
from interlock.policy.fields import Inputs
from interlock.policy.levels import Outcome
from interlock.policy.rules import Layer, Rule

if TYPE_CHECKING:
    from interlock.policy.document import Document, RoutingSpec

_DAY = 86_400
_NOBODY_HURRIES = Lane(7 * _DAY, OnTimeout.ESCALATE)
_SILENCE_DENIES = Lane(_DAY, OnTimeout.DENY)
_SECURITY_TAGS = frozenset({"security", "secrets", "privilege"})

Counted = tuple[Rule, bool]
"""A rule that counts, and whether its match is proved."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a verdict depends on.

    Attributes:
        limiting: rules that permit within limits, neither proved nor refuted.
        settled: whether a rule that permits counted, so that no default is needed.
        level: the autonomy level in force; said: what it says.
        stopped: id of the kill switch that covers the action.
    """

    inputs: Inputs
    counted: list[Counted]
    limiting: list[Rule]
    settled: bool
    overridden: tuple[str, ...]
    level: int | None
    said: Outcome | None
    stopped: str | None
    missing: tuple[str, ...]


def set_aside(
    counted: list[Counted], limiting: list[Rule]
) -> tuple[list[Counted], list[Rule], tuple[str, ...]]:
    """What still counts once proved rules have set aside what they override, and what no longer does."""
    gone = {other for rule, proved in counted if proved for other in rule.overrides}
    aside = [rule.id for rule, _ in counted if rule.id in gone]
    aside += [rule.id for rule in limiting if rule.id in gone]
    return (
        [pair for pair in counted if pair[0].id not in gone],
        [rule for rule in limiting if rule.id not in gone],
        tuple(sorted(aside)),
    )


@dataclass(frozen=True, slots=True)
class Combining:
    """What of a policy decides how things add up."""

    snapshot: str
    observe: bool
    default_decision: Decision
    owners: tuple[str, ...]
    routing: RoutingSpec | None
    handoffs: Mapping[Trigger, Handoff]

    @classmethod
    def of(cls, document: Document, snapshot: str) -> Combining:
        return cls(
            snapshot,
            document.mode == "observe",
            Decision(document.default_decision),
            document.owners,
            document.routing,
            handoffs(document.triggers),
        )

    def verdict(self, seen: Seen) -> Verdict:
        tiers = seen.inputs.tiers
        tier = Tier(tiers[-1]) if tiers else None
        counted = sorted(seen.counted, key=_order)
        decision, rule, reason = self._decide(seen, counted, tier)
        if seen.limiting:
            counted = sorted([*counted, *((limit, False) for limit in seen.limiting)], key=_order)
            if decision is Decision.ALLOW:
                decision, rule = Decision.ALLOW_WITH_CONSTRAINTS, seen.limiting[0].id
                reason = seen.limiting[0].reason or _REASONS[decision]
        asking = [pair for pair in counted if pair[0].decision is Decision.REQUIRE_APPROVAL]
        triggers = _triggers(counted, tier, rule)
        owners = self._owners(asking)
        if not owners:
            owners = self._owners(pair for pair in counted if pair[0].decision is decision)[:1]
        observed = None
        held = decision is Decision.REQUIRE_APPROVAL
        constraints = _constraints(seen, counted)
        asks = seen.said is not None and seen.said.rule.decision is Decision.REQUIRE_APPROVAL
        lane = _lane(asking, tier, level_asks=asks) if held else None
        if self.observe and seen.stopped is None:
            observed, lane, constraints = decision, None, NO_CONSTRAINTS
            held, decision, reason = False, Decision.ALLOW, f"Observe mode, not enforced: {reason}"
        return Verdict(
            decision=decision,
            rule=rule,
            tier=tier,
            triggers=triggers,
            constraints=constraints,
            owner=owners[0] if owners else self._routed(seen.inputs, triggers),
            lane=lane,
            reason=reason,
            snapshot=self.snapshot,
            tags=tuple(sorted(seen.inputs.tags or ())),
            matched=tuple(r.id for r, _ in counted),
            missing=once(_named(name, seen.inputs) for name in seen.missing),
            handoff=_strictest(self.handoffs[trigger] for trigger in triggers) if held else None,
            informed=tuple(owners[1:]),
            overridden=seen.overridden,
            level=seen.level,
            observed=observed,
        )

    def _decide(self, seen: Seen, counted: list[Counted], tier: Tier | None) -> tuple[Decision, str, str]:
        """The strictest of everything, the name of what said it, and why."""
        if seen.stopped is not None:
            return Decision.DENY, f"kill-switch:{seen.stopped}", "A kill switch is on"
        said = [
            (rule.decision, rule.layer, rule.id, rule.reason or _REASONS[rule.decision])
            for rule, _ in counted
        ]
        if seen.said is not None:
            level = seen.said.rule
            said.append((level.decision, Layer.BASE, level.id, level.reason or _LEVEL))
        replaced = seen.said is not None and seen.said.settled and tier in _LEVELLED
        if not (seen.settled or replaced):
            said.append(self._default(tier))
        if tier is Tier.IRREVERSIBLE:
            said.append((Decision.REQUIRE_APPROVAL, Layer.FLOOR, "floor:tier-4", _ALWAYS_A_PERSON))
        decision, _, rule, reason = min(said, key=lambda one: (-one[0].severity, one[1]))
        return decision, rule, reason

    def _default(self, tier: Tier | None) -> tuple[Decision, Layer, str, str]:
        if tier is None:
            held = self.default_decision is Decision.REQUIRE_APPROVAL
            follows = "a person decides" if held else "it is denied"
            reason = f"Nobody catalogued this topic, so {follows}"
            return self.default_decision, Layer.BASE, "default:uncatalogued", reason
        decision = Decision.REQUIRE_APPROVAL if tier >= Tier.EXTERNAL else Decision.ALLOW
        return decision, Layer.BASE, f"default:tier-{int(tier)}", _TIER_REASONS[tier]

    def _owners(self, rules: Iterable[Counted]) -> list[str]:
        """Those whom some rules name, the highest ranked first."""
        return sorted({rule.owner for rule, _ in rules if rule.owner}, key=self._rank)

    def _rank(self, owner: str) -> tuple[int, str]:
        return self.owners.index(owner) if owner in self.owners else len(self.owners), owner

    def _routed(self, inputs: Inputs, triggers: tuple[Trigger, ...]) -> str:
        """Who is accountable where no rule names anybody."""
        routing = self.routing
        if routing is None:
            return DEFAULT_OWNER
        tags = inputs.tags or frozenset()
        owner = None
        if tags & _SECURITY_TAGS or Trigger.ANOMALY in triggers:
            owner = routing.security_actions
        elif "money" in tags or (inputs.entry is not None and "amount" in inputs.entry.roles):
            owner = routing.financial_actions
        return owner or routing.default or DEFAULT_OWNER


def _named(name: str, inputs: Inputs) -> str:
    """An input by the name it has for this topic: the argument that holds the amount."""
    if name == "amount_usd" and inputs.entry is not None and "amount" in inputs.entry.roles:
        return f"args.{inputs.entry.roles['amount']}"
    return name


def _triggers(counted: list[Counted], tier: Tier | None, rule: str) -> tuple[Trigger, ...]:
    found = {trigger for r, _ in counted for trigger in r.triggers}
    if tier is Tier.IRREVERSIBLE or rule == "default:tier-3":
        found.add(Trigger.RISK_TIER)
    return tuple(trigger for trigger in Trigger if trigger in found) if found else ()


def _constraints(seen: Seen, counted: list[Counted]) -> Constraints:
    constraints = seen.inputs.entry.constraints if seen.inputs.entry else NO_CONSTRAINTS
    rules = [rule for rule, _ in counted]
    if seen.said is not None:
        rules += (rule for rule in seen.said.possible if not rule.restrictive)
    for rule in rules:
        if rule.constraints is not NO_CONSTRAINTS:
            constraints = constraints.conjoin(rule.constraints)
    return constraints


def _strictest(handoffs: Iterable[Handoff]) -> Handoff | None:
    order = list(Handoff)
    return max(handoffs, key=order.index, default=None)


def _lane(asking: list[Counted], tier: Tier | None, *, level_asks: bool) -> Lane:
    """The shortest window, the strictest end, the shortest validity.

    Where silence allows, a longer window is the stricter one: somebody may still look.
    """
    rules = [pair for pair in asking if pair[0].layer is Layer.RULE]
    lanes = [rule.lane for rule, _ in rules if rule.lane is not None]
    everybody = len(lanes) == len(asking) and not level_asks
    if not any(rule.lane is not None and proved and not rule.reported for rule, proved in rules):
        lanes.append(_SILENCE_DENIES if tier is None or tier is Tier.IRREVERSIBLE else _NOBODY_HURRIES)
    runs = everybody and tier is not None and tier <= Tier.REVERSIBLE
    if not (runs and all(lane.on_timeout is OnTimeout.ALLOW for lane in lanes)):
        lanes = [
            replace(lane, on_timeout=OnTimeout.ESCALATE) if lane.on_timeout is OnTimeout.ALLOW else lane
            for lane in lanes
        ]
    end = max((lane.on_timeout for lane in lanes), key=lambda end: end.severity)
    windows = [lane.window_sec for lane in lanes]
    window = max(windows) if end is OnTimeout.ALLOW else min(windows)
    return Lane(
        window,
        end,
        min(lane.valid_sec for lane in lanes),
        _chain([lane.escalate_to for lane in lanes]) if end is OnTimeout.ESCALATE else (),
        min((lane.name for lane in lanes if lane.name is not None), default=None),
    )


def _chain(chains: list[tuple[Turn, ...]]) -> tuple[Turn, ...]:
    """Whom all of them name, for the shortest time (rule 4); in the order of the one that sorts first, so
    that the order of rules says nothing."""
    shortest: dict[str, int] = {}
    for turn in sorted((turn for chain in chains for turn in chain), reverse=True):
        shortest[turn.owner] = turn.window_sec
    return tuple(
        Turn(turn.owner, shortest[turn.owner])
        for turn in min(chains)
        if all(any(turn.owner == other.owner for other in chain) for chain in chains)
    )


def _order(counted: Counted) -> tuple[int, int, bool, int]:
    rule, proved = counted
    return -rule.decision.severity, rule.layer, not proved, rule.index


_LEVELLED = (Tier.READ_ONLY, Tier.REVERSIBLE, Tier.EXTERNAL)
_LEVEL = "The autonomy level in force says so"
_ALWAYS_A_PERSON = "Tier 4 (irreversible or high risk) always needs a person"
_TIER_REASONS = {
    Tier.READ_ONLY: "Tier 1 (read-only) runs without a person",
    Tier.REVERSIBLE: "Tier 2 (reversible) runs and is logged",
    Tier.EXTERNAL: "Tier 3 (external) waits for a person unless a rule allows it",
    Tier.IRREVERSIBLE: _ALWAYS_A_PERSON,
}
_REASONS = {
    Decision.ALLOW: "A rule allows this",
    Decision.ALLOW_WITH_CONSTRAINTS: "A rule allows this within limits",
    Decision.REQUIRE_APPROVAL: "A rule asks for a person",
    Decision.DENY: "A rule denies this",
}
