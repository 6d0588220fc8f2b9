"""Rules 4 to 9 of `decide`: who has a say about one question, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interlock.model.verdicts import Constraints, Decision, Handoff, Trigger
from interlock.policy import Question
from spec.matching import (
    Doc,
    above,
    amount_declared,
    amount_usd,
    below,
    exact,
    matches,
    roles,
    seconds,
    sweeps,
    truth_of,
)
from spec.truth import Truth, World, all_of, any_of, signal

STRICTNESS = [Decision.ALLOW, Decision.ALLOW_WITH_CONSTRAINTS, Decision.REQUIRE_APPROVAL, Decision.DENY]
KILL_SWITCH, RULE, BASE, FLOOR, TRIGGER, INVARIANT = range(6)


@dataclass(frozen=True)
class Voice:
    """Something that has a say about one question."""

    id: str
    layer: int
    decision: Decision
    truth: Truth
    place: int = 0
    owner: str | None = None
    spec: Any = None
    """The author's rule, as in the file."""
    trigger: Trigger | None = None

    @property
    def asks(self) -> bool:
        return self.decision is Decision.REQUIRE_APPROVAL


# --- rule 4: which rules count ----------------------------------------------------------------------------


def author_rules(document: Doc, world: World) -> list[Voice]:
    """Every rule that speaks about the topic, with its truth."""
    return [
        Voice(
            spec.get("id") or f"rules[{place}]",
            RULE,
            Decision(spec["decision"]),
            truth_of(spec, world),
            place,
            spec.get("owner"),
            spec,
        )
        for place, spec in enumerate(document.get("rules") or ())
    ]


def counts(voice: Voice, world: World) -> bool:
    if voice.decision.restrictive:
        return voice.truth is not False
    return voice.truth is True and may_permit(voice, world)


def may_permit(voice: Voice, world: World) -> bool:
    """Whether a permissive rule has a say about this topic at all."""
    named = (voice.spec.get("match") or {}).get("topics") or ()
    return bool(world.tiers) or any(matches(p, world.topic) and not sweeps(p) for p in named)


def may_limit(voice: Voice, world: World) -> bool:
    """Whether a rule permits within limits, and is neither proved nor refuted."""
    limits = voice.decision is Decision.ALLOW_WITH_CONSTRAINTS or (
        voice.decision is Decision.ALLOW and constraints_of(voice.spec.get("constraints")).named != ()
    )
    return limits and voice.truth is None and may_permit(voice, world)


def constraints_of(spec: Doc | None) -> Constraints:
    spec = spec or {}
    hosts, amount = spec.get("network_allowlist"), spec.get("max_amount_usd")
    return Constraints(
        spec.get("max_runtime_sec"),
        None if hosts is None else tuple(sorted(set(hosts))),
        None if amount is None else exact(amount),
    )


# --- rule 5: overrides -------------------------------------------------------------------------------------


def set_aside(counting: list[Voice]) -> set[str]:
    return {
        target for voice in counting if voice.truth is True for target in voice.spec.get("overrides") or ()
    }


# --- rules 6 and 7: level and default ----------------------------------------------------------------------


def level_of(document: Doc, question: Question) -> int | None:
    """The level in force: the one that is named, else the lowest there is."""
    levels = [int(name.removeprefix("level_")) for name in document.get("autonomy_levels") or ()]
    return question.level if question.level in levels else min(levels, default=None)


def level_says(document: Doc, level: int | None, world: World) -> tuple[list[Doc], bool]:
    """The rules of the level that may be the one that speaks, and whether one certainly does."""
    possible = []
    for spec in document["autonomy_levels"][f"level_{level}"]["rules"] if level is not None else ():
        truth = truth_of(spec, world)
        if truth is not False:
            possible.append(spec)
        if truth is True:
            return possible, True
    return possible, False


def base(document: Doc, level: int | None, world: World, settled: bool) -> list[Voice]:
    """What the level and the default say."""
    tier = max(world.tiers, default=None)
    possible, certain = level_says(document, level, world)
    voices = []
    if possible:
        decision = max((Decision(spec["decision"]) for spec in possible), key=STRICTNESS.index)
        if tier in (1, 2, 3) or decision.restrictive:
            voices.append(Voice(f"level:{level}", BASE, decision, True))
    stands_in = tier in (1, 2, 3) and certain
    if not settled and not stands_in:
        voices.append(default(document, tier))
    return voices


def level_limits(document: Doc, level: int | None, world: World) -> list[Doc | None]:
    """The limits of what the level may permit, where it has a say."""
    possible, _ = level_says(document, level, world)
    permits = [spec for spec in possible if not Decision(spec["decision"]).restrictive]
    heard = world.tiers or len(permits) < len(possible)
    return [spec.get("constraints") for spec in permits] if heard else []


def default(document: Doc, tier: int | None) -> Voice:
    if tier is None:
        decision = Decision(document.get("default_decision", "require_approval"))
        return Voice("default:uncatalogued", BASE, decision, True, 1)
    decision = Decision.ALLOW if tier <= 2 else Decision.REQUIRE_APPROVAL
    return Voice(f"default:tier-{tier}", BASE, decision, True, 1)


# --- rule 8: triggers --------------------------------------------------------------------------------------

USUAL_HANDOFF = {
    Trigger.CONFIDENCE: Handoff.ASYNC_REVIEW,
    Trigger.RISK_TIER: Handoff.APPROVAL,
    Trigger.FRUSTRATION: Handoff.HUMAN_TAKEOVER,
    Trigger.SLA: Handoff.PRIORITY_ESCALATION,
    Trigger.IRREVERSIBILITY: Handoff.MANDATORY_APPROVAL,
    Trigger.ANOMALY: Handoff.SESSION_BLOCK,
}


def triggers(document: Doc, world: World) -> list[Voice]:
    fired = []
    for place, trigger in enumerate(Trigger):
        section = section_of(document, trigger)
        if section.get("enabled", True):
            truth = all_of([truth_of({"match": section.get("match")}, world), fires(trigger, section, world)])
            owner = section.get("owner") or ("security-approvers" if trigger is Trigger.ANOMALY else None)
            if truth is not False:
                fired.append(
                    Voice(
                        f"trigger:{trigger}",
                        TRIGGER,
                        Decision.REQUIRE_APPROVAL,
                        truth,
                        place,
                        owner,
                        trigger=trigger,
                    )
                )
    return fired


def section_of(document: Doc, trigger: Trigger) -> Doc:
    section: Doc = (document.get("triggers") or {}).get(trigger.value) or {}
    return section


def fires(trigger: Trigger, section: Doc, world: World) -> Truth:
    signals = world.signals
    if trigger is Trigger.CONFIDENCE:
        if section.get("floor") is None:
            return False
        said = signal("confidence", signals)
        return below(None if said is None else said - exact(section.get("discount", 0)), section["floor"])
    if trigger is Trigger.RISK_TIER:  # tier 4 has the floor, and needs no rule of its own
        asked = [tier != 4 and tier in section.get("tiers", ()) for tier in world.tiers]
        return None if True in asked and False in asked else True in asked
    if trigger is Trigger.FRUSTRATION:
        return any_of(
            [
                below(signal("sentiment", signals), section.get("sentiment_below", "-0.5")),
                above(signal("retry_count", signals), section.get("retry_count_above", 2)),
            ]
        )
    if trigger is Trigger.SLA:
        return below(signal("deadline_sec", signals), seconds(section.get("within", "15m")))
    if trigger is Trigger.IRREVERSIBILITY:
        if world.entry is None or 2 not in world.tiers or undone_in_time(world.entry):
            return False
        return True if world.tiers == (2,) else None
    return any_of(
        [
            above(signal("anomaly_score", signals), section.get("above", "0.8")),
            above(signal("injection_score", signals), section.get("injection_above", "0.5")),
        ]
    )


def undone_in_time(entry: Doc) -> bool:
    within = entry.get("undo_within")
    return entry.get("undo") is not None and within is not None and seconds(within) <= 300


# --- rule 9: invariants ------------------------------------------------------------------------------------


def invariants(document: Doc, world: World) -> list[Voice]:
    section = document.get("invariants") or {}
    tags = world.tags or frozenset()
    holds = {
        "deploy": tags >= {"deploy", "prod"},
        "external-comms": "external-comms" in tags,
        "money": much_money(section, world, tags),
        "delete": "delete" in tags,
        "privilege": "privilege" in tags,
    }
    return [
        Voice(f"invariant:{name}", INVARIANT, Decision.REQUIRE_APPROVAL, truth, place)
        for place, (name, truth) in enumerate(holds.items())
        if truth is not False and name not in section.get("disabled", ())
    ]


def much_money(section: Doc, world: World, tags: frozenset[str]) -> Truth:
    """Whether more is at stake than the threshold of its currency; unknown where there is none."""
    thresholds = {**section.get("money_above", {}), "USD": section.get("money_above_usd", 100)}
    if world.entry is not None and "amount" in roles(world.entry):
        amount, currency = amount_declared(world)
        return above(amount, thresholds[currency]) if currency in thresholds else None
    if world.entry is not None:
        return None if "money" in tags else False
    if "money" in tags or "amount_usd" in world.args:
        return above(amount_usd(world), thresholds["USD"])
    return False
