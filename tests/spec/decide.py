"""What a policy means, in plain, slow Python: one function for each rule below. Whoever asks what a policy
does reads this; the implementation is compared with it on random policies and random questions.

`truth` says when a condition holds, `matching` holds rules 1 to 4, `layers` rules 4 to 9, this file the rest.

 1. **Topics.** A pattern has as many segments as the topic, ``*`` stands for any one of them; a final ``**``
    for any number, none included; the lone ``*`` for every topic. The last two *sweep*, the others *name*.
 2. **The catalogue.** The most specific key that matches speaks for a topic: one without ``**`` before one
    with, then the one with more literal segments, then the longer one, then the one whose literals come
    first. Tags come from there; from the registration only for what nobody catalogued.
 3. **The tier** is the entry's, raised by each `raise_to` that is proved. One that is neither proved nor
    refuted, or that reads what the agent reports, leaves the higher tier possible: the verdict shows the
    highest possible tier, and conditions know it only where all possible ones agree.
 4. **A rule's truth** is that of all its parts together: one of its tags, all of its tags, each threshold,
    the condition. Restrictive rules (require_approval, deny) count unless they are refuted. Permissive ones
    (allow, allow_with_constraints) count only if they are proved, and outside the catalogue only if one of
    their patterns names the topic.
 5. **Overrides.** A rule that counts and is proved sets the rules aside that it names; they say nothing.
 6. **Level.** Of the level in force the first rule that is proved speaks; so may each unproved one before it.
    Where none is proved, perhaps the level says nothing. The strictest possibility counts.
 7. **Default.** On tiers 1 to 3 the level stands in for the default; on tier 4 and outside the catalogue its
    restrictive decisions come on top. The default counts where the level says nothing, perhaps or certainly,
    and no permissive rule says more, be it set aside: 1 and 2 allow, 3 and 4 require_approval; outside the
    catalogue `default_decision`.
 8. **Triggers** ask for a person unless they are refuted: doubt, configured tiers, frustration, a deadline,
    what cannot be undone, anomalies.
 9. **Invariants** ask for a person about deployments to production, communication with the outside, money,
    deletion and privileges. What nobody tagged, nobody tagged: unknown tags fire nothing here.
10. **The strictest wins.** Of equally strict ones it is a rule before the level or default, before the floor,
    before triggers, before invariants; a proved rule before an unproved one; then the order of the files.
11. **Floor.** Tier 4 never runs without a person: where neither rule nor default asks, the floor does.
12. **Limits.** A permissive rule that is not proved permits nothing, but its limits hold unless it is
    refuted, and what would run is allowed with constraints. So do those of each permissive rule that may
    speak for a level that has a say. They conjoin: the smaller number, the intersection of hosts.
13. **Triggers shown** are those that fired, those whose signal a restrictive rule read, and risk_tier where
    the tier is 4 or the default of tier 3 decided.
14. **Owner.** Of all that asks and names an owner the one ranked highest, unranked ones by name; else of the
    rules that say what the verdict says; else the routing; else `ops-approvers`. Whoever else was named by
    something that asks is informed.
15. **Lane.** The shortest window of all rules that ask, the strictest end, and the shortest validity; where
    the end allows, the longest window, which leaves more time to look. The default lane joins unless a proved
    rule that reads nothing reported names one. Silence allows only on tiers 1 and 2, where nothing asks but
    rules whose lanes all say so. Where the end escalates, it is to those whom every lane names, each for the
    shortest time; in the order of the lane that sorts first.
16. **Handoff**: the strictest of the triggers shown, where somebody is asked.
17. **Observe mode** blocks nothing, and says what it would have said.
18. **A kill switch** denies, whatever else is said, in observe mode too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from interlock.model.verdicts import (
    NO_CONSTRAINTS,
    Constraints,
    Decision,
    Handoff,
    Lane,
    OnTimeout,
    Tier,
    Trigger,
    Turn,
)
from interlock.policy import Question
from spec.layers import (
    FLOOR,
    INVARIANT,
    KILL_SWITCH,
    RULE,
    STRICTNESS,
    TRIGGER,
    USUAL_HANDOFF,
    Voice,
    author_rules,
    base,
    constraints_of,
    counts,
    invariants,
    level_limits,
    level_of,
    may_limit,
    section_of,
    set_aside,
    triggers,
)
from spec.matching import Doc, roles, seconds, world_of
from spec.truth import World

ENDS = [OnTimeout.ALLOW, OnTimeout.ESCALATE, OnTimeout.DENY, OnTimeout.KILL_SWITCH]
HANDOFFS = list(Handoff)
DAY = 86_400


@dataclass(frozen=True)
class Said:
    """What the verdict is compared with; ids that have no order are sets."""

    decision: Decision
    rule: str
    tier: Tier | None
    triggers: tuple[Trigger, ...]
    constraints: Constraints
    owner: str
    informed: tuple[str, ...]
    lane: Lane | None
    handoff: Handoff | None
    matched: frozenset[str]
    overridden: frozenset[str]
    level: int | None
    observed: Decision | None
    tags: tuple[str, ...]


# --- rule 10: the strictest --------------------------------------------------------------------------------


def first(voices: Iterable[Voice]) -> Voice:
    """The one that is named: the strictest, and of those the first in rule 10's order."""
    return max(
        voices,
        key=lambda voice: (STRICTNESS.index(voice.decision), -voice.layer, voice.truth is True, -voice.place),
    )


# --- rule 12: limits ---------------------------------------------------------------------------------------


def together(constraints: Iterable[Constraints]) -> Constraints:
    held = list(constraints)
    runtimes = [one.max_runtime_sec for one in held if one.max_runtime_sec is not None]
    amounts = [one.max_amount_usd for one in held if one.max_amount_usd is not None]
    hosts = [set(one.network_allowlist) for one in held if one.network_allowlist is not None]
    return Constraints(
        min(runtimes, default=None),
        tuple(sorted(set.intersection(*hosts))) if hosts else None,
        min(amounts, default=None),
    )


# --- rule 13: the triggers shown ---------------------------------------------------------------------------

READ_BY = {
    "signals.confidence": Trigger.CONFIDENCE,
    "signals.retry_count": Trigger.FRUSTRATION,
    "signals.sentiment": Trigger.FRUSTRATION,
    "signals.deadline_sec": Trigger.SLA,
    "signals.anomaly_score": Trigger.ANOMALY,
    "signals.injection_score": Trigger.ANOMALY,
}


def shown(voices: list[Voice], winner: Voice, tier: int | None) -> tuple[Trigger, ...]:
    found = {voice.trigger for voice in voices}
    for voice in voices:
        if voice.layer == RULE and voice.decision.restrictive:
            found |= {trigger for name, trigger in READ_BY.items() if name in reads(voice.spec)}
    if tier == 4 or winner.id == "default:tier-3":
        found.add(Trigger.RISK_TIER)
    return tuple(trigger for trigger in Trigger if trigger in found)


def reads(spec: Doc) -> str:
    """Everything that a rule's text reads, as one text to look names up in."""
    thresholds = {
        "confidence_below": "signals.confidence",
        "anomaly_score_above": "signals.anomaly_score",
        "retry_count_above": "signals.retry_count",
    }
    named = [name for key, name in thresholds.items() if key in (spec.get("match") or {})]
    return " ".join([*named, spec.get("when") or ""])


# --- rule 14: who is asked ---------------------------------------------------------------------------------


def people_asked(
    document: Doc, voices: list[Voice], winner: Voice, found: Sequence[Trigger], world: World
) -> tuple[str, tuple[str, ...]]:
    """The owner, and who is informed."""
    ranks = document.get("owners") or ["security-approvers", "finance-approvers", "ops-approvers"]

    def ranked(names: Iterable[str | None]) -> list[str]:
        named = {name for name in names if name}
        return sorted(named, key=lambda name: (ranks.index(name) if name in ranks else len(ranks), name))

    asking = ranked(voice.owner for voice in voices if voice.asks)
    deciding = ranked(voice.owner for voice in voices if voice.decision is winner.decision)
    chosen = [*asking, *deciding, *routed(document, found, world), "ops-approvers"]
    return chosen[0], tuple(name for name in asking if name != chosen[0])


def routed(document: Doc, found: Sequence[Trigger], world: World) -> list[str]:
    routing = document.get("routing")
    if not routing:
        return []
    tags = world.tags or frozenset()
    key = "default"
    if tags & {"security", "secrets", "privilege"} or Trigger.ANOMALY in found:
        key = "security_actions"
    elif "money" in tags or (world.entry is not None and "amount" in roles(world.entry)):
        key = "financial_actions"
    return [name for name in (routing.get(key), routing.get("default")) if name]


# --- rule 15: how long --------------------------------------------------------------------------------------


def lane_of(document: Doc, voices: list[Voice], tier: int | None) -> Lane:
    asking = [voice for voice in voices if voice.asks]
    rules = [voice for voice in asking if voice.layer == RULE]
    named = [(voice, lane) for voice in rules if (lane := lane_spec(document, voice.spec)) is not None]
    lanes = [lane for _, lane in named]
    if not any(voice.truth is True and "signals.confidence" not in reads(voice.spec) for voice, _ in named):
        lanes.append(Lane(DAY, OnTimeout.DENY) if tier in (None, 4) else Lane(7 * DAY, OnTimeout.ESCALATE))
    silent = (
        tier in (1, 2)
        and len(named) == len(asking)
        and all(lane.on_timeout is OnTimeout.ALLOW for lane in lanes)
    )
    if not silent:
        lanes = [mended(lane) for lane in lanes]
    end = max((lane.on_timeout for lane in lanes), key=ENDS.index)
    shorter_or_longer = max if end is OnTimeout.ALLOW else min
    window = shorter_or_longer(lane.window_sec for lane in lanes)
    asked = in_turn([lane.escalate_to for lane in lanes]) if end is OnTimeout.ESCALATE else ()
    return Lane(window, end, min(lane.valid_sec for lane in lanes), asked)


def in_turn(chains: list[tuple[Turn, ...]]) -> tuple[Turn, ...]:
    everybody = set.intersection(*({turn.owner for turn in chain} for chain in chains))
    all_turns = [turn for chain in chains for turn in chain]
    return tuple(
        Turn(owner, min(turn.window_sec for turn in all_turns if turn.owner == owner))
        for owner in [turn.owner for turn in sorted(chains)[0]]
        if owner in everybody
    )


def lane_spec(document: Doc, spec: Doc) -> Lane | None:
    lane = spec.get("lane")
    if isinstance(lane, str):
        lane = document["lanes"][lane]
    if lane is None:
        return None
    window = seconds(lane["window"])
    asked = [
        Turn(each["owner"], seconds(each["window"])) if isinstance(each, dict) else Turn(each, window)
        for each in lane.get("escalate_to", [])
    ]
    return Lane(window, OnTimeout(lane["on_timeout"]), seconds(lane.get("valid", "1h")), tuple(asked))


def mended(lane: Lane) -> Lane:
    """Where silence may not allow, it escalates."""
    return replace(lane, on_timeout=OnTimeout.ESCALATE) if lane.on_timeout is OnTimeout.ALLOW else lane


# --- rule 16: the handoff -----------------------------------------------------------------------------------


def handoff_of(document: Doc, found: Iterable[Trigger]) -> Handoff | None:
    modes = [
        Handoff(section_of(document, trigger).get("handoff") or USUAL_HANDOFF[trigger]) for trigger in found
    ]
    return max(modes, key=HANDOFFS.index, default=None)


# --- everything together ------------------------------------------------------------------------------------


def decide(document: Doc, question: Question) -> Said:
    """The verdict, as far as it is compared."""
    world = world_of(document, question)
    tier = max(world.tiers, default=None)
    level = level_of(document, question)

    speaking = author_rules(document, world)
    matching = [voice for voice in speaking if counts(voice, world)]
    limiting = [voice for voice in speaking if may_limit(voice, world)]
    aside = set_aside(matching)
    rules = [voice for voice in matching if voice.id not in aside]
    settled = any(not voice.decision.restrictive for voice in matching)

    voices = [*rules, *base(document, level, world, settled)]
    if tier == 4 and not first(voices).decision.restrictive:  # rule 11
        voices.append(Voice("floor:tier-4", FLOOR, Decision.REQUIRE_APPROVAL, True))
    voices += [*triggers(document, world), *invariants(document, world)]
    if question.stopped is not None:  # rule 18
        voices.append(Voice(f"kill-switch:{question.stopped}", KILL_SWITCH, Decision.DENY, True))
    winner = first(voices)

    within = [voice for voice in limiting if voice.id not in aside]  # rule 12
    if within and winner.decision is Decision.ALLOW:
        winner = replace(first(within), decision=Decision.ALLOW_WITH_CONSTRAINTS)
    voices += within
    limits = [(world.entry or {}).get("constraints")]
    limits += [voice.spec.get("constraints") for voice in voices if voice.layer == RULE]
    limits += level_limits(document, level, world)

    found = shown(voices, winner, tier)
    owner, informed = people_asked(document, voices, winner, found, world)
    said = Said(
        decision=winner.decision,
        rule=winner.id,
        tier=None if tier is None else Tier(tier),
        triggers=found,
        constraints=together(map(constraints_of, limits)),
        owner=owner,
        informed=informed,
        lane=lane_of(document, voices, tier) if winner.asks else None,
        handoff=handoff_of(document, found) if winner.asks else None,
        matched=frozenset(voice.id for voice in voices if voice.layer in (RULE, TRIGGER, INVARIANT)),
        overridden=frozenset(aside & {voice.id for voice in (*matching, *limiting)}),
        level=level,
        observed=None,
        tags=tuple(sorted(world.tags or ())),
    )
    if document.get("mode") != "observe" or question.stopped is not None:
        return said
    return replace(  # rule 17
        said,
        decision=Decision.ALLOW,
        constraints=NO_CONSTRAINTS,
        lane=None,
        handoff=None,
        observed=said.decision,
    )
