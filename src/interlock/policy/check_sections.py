"""Checking what stands beside rules: triggers, invariants, levels, facts, the mode, and what comes later.

1. What loosens a default, or stands on paper only, is a warning in so many words; `policy check` and `serve`
   print them.
2. What would put tier 4 through without a person is an error.
"""

from __future__ import annotations

from interlock.model.verdicts import Tier
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
OBSERVE = "OBSERVE MODE: nothing is held or denied; this policy is outside every promise"


def check_sections(report: Report) -> None:
    """Everything but actions, rules and workflows."""
    document = report.document
    if document.mode == "observe":
        report.warn(OBSERVE)
    _triggers(report)
    for invariant in document.invariants.disabled or ():
        report.warn(f"invariant {invariant} is off: {_OFF[invariant]}")
    if "USD" in document.invariants.money_above:
        at: Path = ("invariants", "money_above", "USD")
        report.add(at, "the threshold in US dollars is money_above_usd", "money_above_usd", key=True)
    if document.autonomy_levels:
        lowest = min(document.autonomy_levels)
        report.warn(f"every agent is at {lowest} until one is promoted; promotion is not available yet")
    for name in document.facts:
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
    if spec.owner is not None:
        unranked(report, f"trigger {name}", spec.owner)
    for key in ("context", "metric"):
        if getattr(spec, key) is not None:
            report.warn(f"trigger {name}: {key} is accepted, not yet enforced")
    for key, signal in _OBSERVED.items():
        if spec.enabled and getattr(spec, key, None) != getattr(default, key, None):
            report.not_observed(f"trigger {name}", signal)


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
