"""Checking what stands beside rules: triggers, invariants, levels, facts, the mode, and what comes later.

1. What loosens a default, or stands on paper only, is a warning in so many words; `policy check` and `serve`
   print them. A guard is loosened that is off, that looks at some actions only, that nothing can set off, or
   whose threshold is above the default.
2. What would put tier 4 through without a person is an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.model.verdicts import Handoff, Tier, Trigger
from interlock.policy.builtin import MATRIX
from interlock.policy.check_rules import unranked
from interlock.policy.checking import Report
from interlock.policy.document import TriggerSpec
from interlock.policy.findings import Path

LATER = (
    "promotion_criteria",
    "demotion_triggers",
    "audit",
    "output",
    "approval_queue_policy",
    "fatigue_controls",
    "evidence_contract",
    "workflows",
)
"""Sections that are accepted, and enforced by capabilities that come later."""
_OBSERVED = {
    "sentiment_below": "sentiment",
    "retry_count_above": "retry_count",
    "within": "deadline_sec",
    "above": "anomaly_score",
    "injection_above": "injection_score",
}
_OFF = {
    "deploy": "deploys to production no longer always need a person",
    "external-comms": "what is said to the outside no longer always needs a person",
    "money": "money above a threshold no longer always needs a person",
    "delete": "deleting no longer always needs a person",
    "privilege": "changing privileges no longer always needs a person",
}
_ENDS = {"above": 1, "injection_above": 1, "sentiment_below": -1}
"""Thresholds that their signal never passes."""
_LOWER = frozenset({"sentiment_below"})
HIGH = 1_000
"""So many units of a currency other than the dollar are said aloud: ten times what dollars have as a default,
for nobody here knows what a unit is worth."""
_SHOWN = 5
OBSERVE = "OBSERVE MODE: nothing is held or denied; this policy is outside every promise"


def check_defaults(report: Report) -> None:
    """The mode, the triggers and the invariants: what holds where nobody says anything else."""
    if report.document.mode == "observe":
        report.loosens(OBSERVE)
    _triggers(report)
    _invariants(report)


def check_sections(report: Report) -> None:
    """Everything else but actions, rules and workflows. Conditions have been checked before."""
    document = report.document
    if document.autonomy_levels:
        lowest = min(document.autonomy_levels)
        report.warn(f"every agent is at {lowest} until one is promoted; promotion is not available yet")
    for name in sorted(document.facts):
        if name not in report.read_facts:
            report.warn(f"fact {name}: no condition reads it")
    _audit(report)
    for name in LATER:
        if getattr(document, name):
            report.warn(f"{name}: accepted, not yet enforced")


def _triggers(report: Report) -> None:
    triggers = report.document.triggers
    for name, kind in type(triggers).model_fields.items():
        spec: TriggerSpec = getattr(triggers, name)
        _trigger(report, name, spec, kind.default)
    confidence, tiers = triggers.confidence, triggers.risk_tier
    if confidence.enabled and confidence.floor is not None and confidence.match is None:
        report.warn("trigger confidence: holds every action of an agent that reports no confidence")
    if confidence.discount and confidence.floor is None:
        report.warn("trigger confidence: a discount changes nothing without a floor")
    at: Path = ("triggers", "risk_tier")
    if not tiers.enabled:
        report.add((*at, "enabled"), "tier 4 always needs a person; this trigger cannot be switched off")
    if Tier.IRREVERSIBLE not in tiers.tiers:
        report.add((*at, "tiers"), "tier 4 always needs a person; name 4 as well")


def _trigger(report: Report, name: str, spec: TriggerSpec, default: TriggerSpec) -> None:
    if not spec.enabled and name not in ("confidence", "risk_tier"):  # off by default; refused
        report.loosens(f"trigger {name} is off: it escalates nothing")
    if spec.owner is not None:
        unranked(report, f"trigger {name}", spec.owner)
    for key in ("context", "metric"):
        if getattr(spec, key) is not None:
            report.warn(f"trigger {name}: {key} is accepted, not yet enforced")
    if spec.enabled:
        _narrowed(report, name, spec)
    for key, signal in _OBSERVED.items():
        if spec.enabled and getattr(spec, key, None) != getattr(default, key, None):
            report.not_observed(f"trigger {name}", signal)


def _narrowed(report: Report, name: str, spec: TriggerSpec) -> None:
    """What a trigger does less than by default. Confidence is off then, and tier 4 is asked about anyway."""
    on = name not in ("confidence", "risk_tier")
    if on and spec.match is not None and spec.match.model_fields_set:
        said = "; ".join(f"{key} {_few(words)}" for key, words in spec.match if words is not None)
        report.loosens(f"trigger {name} looks at some actions only: {said}")
    for key, end in _ENDS.items():
        if getattr(spec, key, None) == end:
            word = "below" if key in _LOWER else "above"
            report.loosens(f"trigger {name}: {_OBSERVED[key]} is never {word} {end}")
    if spec.handoff is not None:
        usual = MATRIX[Trigger(name)].handoff
        if list(Handoff).index(Handoff(spec.handoff)) < list(Handoff).index(usual):
            report.loosens(f"trigger {name} hands over by {spec.handoff}, which is milder than {usual}")


def _few(words: Sequence[str]) -> str:
    shown = ", ".join(words[:_SHOWN])
    return shown if len(words) <= _SHOWN else f"{shown} and {len(words) - _SHOWN} more"


def _invariants(report: Report) -> None:
    spec = report.document.invariants
    for invariant in spec.disabled or ():
        report.loosens(f"invariant {invariant} is off: {_OFF[invariant]}")
    if "USD" in spec.money_above:
        at: Path = ("invariants", "money_above", "USD")
        report.add(at, "the threshold in US dollars is money_above_usd", "money_above_usd", key=True)
    if "money" in (spec.disabled or ()):
        return
    usual = type(spec).model_fields["money_above_usd"].default
    if spec.money_above_usd > usual:
        report.loosens(f"invariant money starts above ${spec.money_above_usd:f}; by default above ${usual:f}")
    for currency, threshold in sorted(spec.money_above.items()):
        if threshold > HIGH and currency != "USD":
            report.loosens(f"invariant money starts above {threshold:f} {currency}")


def _audit(report: Report) -> None:
    audit, output = report.document.audit, report.document.output
    for index, always in enumerate(audit.mandatory or () if audit else ()):
        if not always.match.model_fields_set:
            at: Path = ("audit", "mandatory", index, "match")
            report.add(at, "it matches everything; if that is meant, say topics: ['*']")
    seen: set[str] = set()
    for index, rule in enumerate(output.rules if output else ()):
        if rule.id is not None and rule.id in seen:
            report.add(("output", "rules", index, "id"), f"the rule id {rule.id!r} is taken")
        seen.add(rule.id or "")
