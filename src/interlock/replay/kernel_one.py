"""Kernel 1: the room `policy` as it is."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from interlock.model.verdicts import Decision, Tier, Verdict
from interlock.policy import Policy, held_after_edit, held_as_drifted, held_as_stale, question_of

_PERMITS = frozenset({Decision.ALLOW, Decision.ALLOW_WITH_CONSTRAINTS})
_ASKS = frozenset({Decision.REQUIRE_APPROVAL})


class PolicyOne:
    """A policy that decides by kernel 1.

    Args:
        document: its canonical bytes.

    Raises:
        PolicyError: this kernel reads no such policy.
    """

    def __init__(self, document: bytes) -> None:
        self._policy = Policy.from_canonical(document)

    def decide(self, document: Mapping[str, Any]) -> Verdict:
        return self._policy.decide(question_of(document))

    def held_after_edit(self, verdict: Verdict, was: Verdict) -> Verdict:
        return held_after_edit(verdict, was)

    def held_as_stale(self, verdict: Verdict, was: Verdict) -> Verdict:
        return held_as_stale(verdict, was)

    def held_as_drifted(self, verdict: Verdict, was: Verdict) -> Verdict:
        return held_as_drifted(verdict, was)

    def retention(self, topic: str) -> int | None:
        entry = self._policy.entry(topic)
        return None if entry is None or entry.execute is None else entry.execute.idempotent_retention_sec

    def impossible(
        self, topic: str, rule: str, tier: int | None, said: Set[Decision], *, observed: bool
    ) -> str | None:
        policy = self._policy
        entry = policy.entry(topic)
        tiers: set[int | None] = {None}
        if entry is not None:
            base = int(entry.tier)
            tiers = {base, *(max(base, int(raised.tier)) for raised in entry.raise_to)}
        if tier not in tiers:
            return f"the policy gives {topic} no tier {tier}" if tier else f"the policy gives {topic} a tier"
        stopped = rule.startswith("kill-switch:")
        if observed is not (policy.mode == "observe" and not stopped):
            return f"the policy is in the mode {policy.mode}"
        if tier == Tier.IRREVERSIBLE and said <= _PERMITS and not observed:
            return "tier 4 never runs without a person"
        could = frozenset({Decision.DENY}) if stopped else self._could(topic, rule, tier)
        if could is None:
            return "the policy has no such rule for this topic"
        return None if said & could else "the rule cannot decide that"

    def _could(self, topic: str, rule: str, tier: int | None) -> Set[Decision] | None:
        """What a rule may decide about a topic; None where the policy has no such rule there."""
        policy = self._policy
        if tier is None:
            if rule == "default:uncatalogued":
                return frozenset({policy.default_decision})
        elif rule == f"default:tier-{tier}":
            return _ASKS if tier >= Tier.EXTERNAL else frozenset({Decision.ALLOW})
        elif rule == "floor:tier-4" and tier == Tier.IRREVERSIBLE:
            return _ASKS
        rules, named = policy.speaking(topic)
        found = [one for one in rules if one.id == rule]
        for level in policy.levels:
            found += [one for one in level.about(topic) if one.id == rule]
        entry = policy.entry(topic)
        could: set[Decision] = set()
        for one in found:
            if one.applies is not None and not one.applies(entry):
                continue
            if not one.restrictive and entry is None and one.id not in named:
                continue
            could.add(one.decision)
            if one.limits:
                could.add(Decision.ALLOW_WITH_CONSTRAINTS)
        return could or None
