"""What stands beside the author's rules in every policy: the six triggers and the built-in invariants.

1. A trigger is a reason to escalate. Its default threshold, handoff mode, context package and quality metric
   are those of the published trigger matrix; a policy may change them, and may switch a trigger off, but not
   the one that asks a person about tier 4.
2. An invariant always asks a person: production deploys, communication to the outside, money above a
   threshold, deletion, changes of privilege ("five canonical categories"; the threshold of $100 is theirs
   too). Invariants read what people declared about a topic. Where nobody declared tags, a rule that names
   the topic is the declaration, and the default asks about all others.
3. Both are ordinary restrictive rules of a later layer: they count unless they are proved not to apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Decision, Handoff, Tier, Trigger
from interlock.policy import rules
from interlock.policy.closures import Truth
from interlock.policy.conditions import Reading, Test
from interlock.policy.fields import Inputs, reader
from interlock.policy.rules import Layer, Rule

if TYPE_CHECKING:
    from interlock.policy.catalogue import CatalogueEntry
    from interlock.policy.document import (
        AnomalyTrigger,
        ConfidenceTrigger,
        FrustrationTrigger,
        InvariantsSpec,
        ScopeSpec,
        TriggerSpec,
        TriggersSpec,
    )

SECURITY = "security-approvers"
CLEAN_UNDO_SEC = 300
"""A reversible action is one that can be taken back within five minutes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the published trigger matrix.

    Attributes:
        handoff: how the action is handed over.
        context: what the person needs to see; metric: how to tell whether the trigger is any good.
    """

    handoff: Handoff
    context: tuple[str, ...]
    metric: str


MATRIX = {
    Trigger.CONFIDENCE: Row(
        Handoff.ASYNC_REVIEW, ("query", "evidence", "alternatives"), "false-escalation rate"
    ),
    Trigger.RISK_TIER: Row(
        Handoff.APPROVAL, ("diff", "reversibility", "impact"), "approval-to-execution accuracy"
    ),
    Trigger.FRUSTRATION: Row(
        Handoff.HUMAN_TAKEOVER, ("conversation", "account", "attempts"), "post-handoff resolution rate"
    ),
    Trigger.SLA: Row(
        Handoff.PRIORITY_ESCALATION, ("deadline", "state", "blocker"), "on-time resolution rate"
    ),
    Trigger.IRREVERSIBILITY: Row(
        Handoff.MANDATORY_APPROVAL, ("summary", "reasoning", "impact"), "override rate"
    ),
    Trigger.ANOMALY: Row(
        Handoff.SESSION_BLOCK, ("input", "rationale", "session"), "true-positive catch rate"
    ),
}


# --- triggers ---------------------------------------------------------------------------------------------


_sentiment = reader(("signals", "sentiment"), "number")
_injection = reader(("signals", "injection_score"), "number")
_deadline = reader(("signals", "deadline_sec"), "number")


def triggers(spec: TriggersSpec) -> tuple[Rule, ...]:
    """The triggers that are on, as rules."""
    found = []
    for index, (trigger, part, test, reason) in enumerate(_triggers(spec)):
        if part.enabled and test is not None:
            owner = part.owner or (SECURITY if trigger is Trigger.ANOMALY else None)
            applies = _may_be_irreversible if trigger is Trigger.IRREVERSIBILITY else None
            found.append(
                _rule(f"trigger:{trigger}", index, part.match, test, reason, owner, trigger, applies)
            )
    return tuple(found)


def handoffs(spec: TriggersSpec) -> dict[Trigger, Handoff]:
    """How each trigger hands over."""
    chosen = {trigger: getattr(spec, trigger.value).handoff for trigger in Trigger}
    return {
        trigger: Handoff(chosen[trigger]) if chosen[trigger] else MATRIX[trigger].handoff
        for trigger in Trigger
    }


def _triggers(spec: TriggersSpec) -> Iterator[tuple[Trigger, TriggerSpec, Test | None, str]]:
    yield (
        Trigger.CONFIDENCE,
        spec.confidence,
        _doubt(spec.confidence),
        "The agent's own confidence is below the floor",
    )
    tiers = frozenset(spec.risk_tier.tiers) - {int(Tier.IRREVERSIBLE)}
    yield (
        Trigger.RISK_TIER,
        spec.risk_tier,
        _tier(tiers) if tiers else None,
        "The policy asks a person about this tier",
    )
    yield (
        Trigger.FRUSTRATION,
        spec.frustration,
        _frustration(spec.frustration),
        "The person is frustrated, or this failed repeatedly",
    )
    yield (
        Trigger.SLA,
        spec.sla,
        rules.below("signals.deadline_sec", _deadline, Decimal(spec.sla.within)),
        "The deadline is close",
    )
    yield (
        Trigger.IRREVERSIBILITY,
        spec.irreversibility,
        _irreversible(),
        "It cannot be taken back within five minutes",
    )
    yield Trigger.ANOMALY, spec.anomaly, _anomaly(spec.anomaly), "The input is anomalous or looks injected"


def _doubt(spec: ConfidenceTrigger) -> Test | None:
    if spec.floor is None:
        return None
    if spec.discount == 0:
        return rules.below("signals.confidence", rules.confidence, spec.floor)
    threshold = spec.floor + spec.discount
    test = rules.below("signals.confidence", rules.confidence, threshold)
    text = f"signals.confidence less the discount of {spec.discount:f} < {spec.floor:f}"
    return Test(text, test.check, test.readings)


def _either(text: str, one: Test, other: Test) -> Test:
    def check(inputs: Inputs) -> Truth:
        first, second = one.check(inputs), other.check(inputs)
        if first or second:
            return True
        return None if first is None or second is None else False

    return Test(text, check, (*one.readings, *other.readings))


def _frustration(spec: FrustrationTrigger) -> Test:
    angry = rules.below("signals.sentiment", _sentiment, spec.sentiment_below)
    failing = rules.above("signals.retry_count", rules.retry_count, spec.retry_count_above)
    return _either(f"{angry.text} or {failing.text}", angry, failing)


def _anomaly(spec: AnomalyTrigger) -> Test:
    odd = rules.above("signals.anomaly_score", rules.anomaly_score, spec.above)
    injected = rules.above("signals.injection_score", _injection, spec.injection_above)
    return _either(f"{odd.text} or {injected.text}", odd, injected)


def _shown_tier(inputs: Inputs) -> str | None:
    return str(inputs.tiers[0]) if len(inputs.tiers) == 1 else None


_TIER = (Reading("tier", _shown_tier),)


def _tier(tiers: frozenset[int]) -> Test:
    def check(inputs: Inputs) -> Truth:
        hit = tiers.intersection(inputs.tiers)
        return False if not hit else True if len(hit) == len(inputs.tiers) else None

    return Test(f"tier {' or '.join(map(str, sorted(tiers)))}", check, _TIER)


def _may_be_irreversible(entry: CatalogueEntry | None) -> bool:
    if entry is None or entry.tier > Tier.REVERSIBLE:
        return False
    within = entry.undo_within_sec
    return entry.undo is None or within is None or within > CLEAN_UNDO_SEC


def _irreversible() -> Test:
    def check(inputs: Inputs) -> Truth:
        if Tier.REVERSIBLE not in inputs.tiers or not _may_be_irreversible(inputs.entry):
            return False
        return True if len(inputs.tiers) == 1 else None

    return Test("tier 2 without an undo within 5 minutes", check, _TIER)


# --- invariants -------------------------------------------------------------------------------------------


def invariants(spec: InvariantsSpec) -> tuple[Rule, ...]:
    """The invariants that are on, as rules."""
    off = set(spec.disabled or ())
    found = (
        ("deploy", _tagged({"deploy", "prod"}), "A deploy to production always needs a person"),
        ("external-comms", _tagged({"external-comms"}), "What is said to the outside always needs a person"),
        (
            "money",
            _money({**spec.money_above, "USD": spec.money_above_usd}),
            f"Money above ${spec.money_above_usd:f} always needs a person",
        ),
        ("delete", _tagged({"delete"}), "Deleting always needs a person"),
        ("privilege", _tagged({"privilege"}), "Changing privileges always needs a person"),
    )
    return tuple(
        _rule(f"invariant:{name}", index, None, test, reason, None, None, _APPLY.get(name))
        for index, (name, test, reason) in enumerate(found)
        if name not in off
    )


def _tagged(wanted: set[str]) -> Test:
    """As a rule on all of these tags, but tags that nobody declared fire nothing."""
    test = rules.all_tags(frozenset(wanted))

    def check(inputs: Inputs) -> Truth:
        return inputs.tags is not None and wanted <= inputs.tags

    return Test(test.text, check, test.readings)


def _about_money(entry: CatalogueEntry | None) -> bool:
    return entry is None or "money" in entry.tags or "amount" in entry.roles


_APPLY = {"money": _about_money}


def _money(thresholds: Mapping[str, Decimal]) -> Test:
    def check(inputs: Inputs) -> Truth:
        entry = inputs.entry
        about_money = inputs.tags is not None and "money" in inputs.tags
        if not about_money:
            about_money = "amount_usd" in inputs.args if entry is None else "amount" in entry.roles
        if not about_money:
            return False
        if entry is not None:
            return entry.above(inputs.args, thresholds) if "amount" in entry.roles else None
        amount = rules.amount_usd(inputs)
        return None if amount is None else amount > thresholds["USD"]

    shown = ", ".join(f"{limit:f} {currency}" for currency, limit in sorted(thresholds.items()))
    return Test(f"moves money, not proved to be at most {shown}", check, (Reading("amount_usd", _at_stake),))


def _at_stake(inputs: Inputs) -> str | None:
    if inputs.entry is not None:
        money = inputs.entry.money(inputs.args)
        return None if money is None else " ".join(money)
    amount = rules.amount_usd(inputs)
    return None if amount is None else f"{amount:f}"


def _rule(
    rule_id: str,
    index: int,
    scope: ScopeSpec | None,
    test: Test,
    reason: str,
    owner: str | None,
    trigger: Trigger | None,
    applies: Callable[[CatalogueEntry | None], bool] | None,
) -> Rule:
    patterns = None if scope is None or scope.topics is None else scope.topics
    return Rule(
        id=rule_id,
        index=index,
        patterns=None if patterns is None else tuple(map(TopicPattern.parse, patterns)),
        tests=(*(rules.scope_of(scope) if scope else ()), test),
        decision=Decision.REQUIRE_APPROVAL,
        reason=reason,
        owner=owner,
        triggers=() if trigger is None else (trigger,),
        layer=Layer.INVARIANT if trigger is None else Layer.TRIGGER,
        applies=applies,
    )
