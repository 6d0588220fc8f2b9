"""Rules 1 to 4 of `decide`: what a pattern matches, what the catalogue says, and when a rule is true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from interlock.policy import Question
from spec.truth import Truth, World, all_of, any_of, condition, decimal_text, declared, number, signal

Doc = Mapping[str, Any]
"""A part of a policy file, as it was read."""
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


# --- rule 1: topics ----------------------------------------------------------------------------------------


def matches(pattern: str, topic: str) -> bool:
    if pattern == "*":
        return True
    want, have = pattern.split("."), topic.split(".")
    if want[-1] == "**":
        want = want[:-1]
        have = have[: len(want)]
    return len(want) == len(have) and all(w in ("*", h) for w, h in zip(want, have, strict=True))


def sweeps(pattern: str) -> bool:
    return pattern == "*" or pattern.endswith(".**") or pattern == "**"


# --- rule 2: the catalogue ---------------------------------------------------------------------------------


def entry_of(document: Doc, topic: str) -> Doc | None:
    actions = document.get("actions") or {}
    keys = [key for key in actions if matches(key, topic)]
    return actions[max(keys, key=specificity)] if keys else None


def specificity(pattern: str) -> tuple[Any, ...]:
    segments = [segment for segment in pattern.split(".") if segment != "**"]
    literal = [segment != "*" for segment in segments]
    return not sweeps(pattern), sum(literal), len(literal), literal


# --- rule 3: the tier --------------------------------------------------------------------------------------


def world_of(document: Doc, question: Question) -> World:
    """Everything that is read about one question. An assumed tier stands for an entry where there is none."""
    entry = entry_of(document, question.topic)
    tags = question.tags if entry is None else frozenset(entry.get("risk_tags") or ())
    world = World(
        question.topic,
        question.args,
        question.signals,
        entry,
        tags,
        (),
        question.facts,
        question.provenance,
    )
    if entry is not None:
        return replace(world, tiers=possible_tiers(entry, world))
    return world if question.tier is None else replace(world, tiers=(int(question.tier),))


def possible_tiers(entry: Doc, world: World) -> tuple[int, ...]:
    proved, possible = entry["tier"], set()
    for raised in entry.get("raise_to") or ():
        truth = condition(raised["when"], world)
        if truth is True and "signals.confidence" not in raised["when"]:
            proved = max(proved, raised["tier"])
        elif truth is not False:
            possible.add(raised["tier"])
    return (proved, *sorted(tier for tier in possible if tier > proved))


# --- rule 4: what a rule asks ------------------------------------------------------------------------------


def truth_of(spec: Doc, world: World) -> Truth:
    """The truth of a rule, a level's rule or a trigger's scope; False where its topics do not match."""
    match = spec.get("match") or {}
    parts = [
        any(matches(pattern, world.topic) for pattern in match["topics"]) if "topics" in match else True,
        tagged(any, match["risk_tags"], world) if "risk_tags" in match else True,
        tagged(all, match["all_risk_tags"], world) if "all_risk_tags" in match else True,
    ]
    for key, wanted in match.items():
        if key == "confidence_below":
            parts.append(below(signal("confidence", world.signals), wanted))
        elif key == "anomaly_score_above":
            parts.append(above(signal("anomaly_score", world.signals), wanted))
        elif key == "retry_count_above":
            parts.append(above(signal("retry_count", world.signals), wanted))
        elif key == "amount_usd_above":
            parts.append(False if moves_no_money(world) else above(amount_usd(world), wanted))
        elif key == "affected_users_above":
            parts.append(False if affects_nobody(world) else many(world, wanted))
        elif key == "first_time_action":
            first = signal("first_time_action", world.signals)
            parts.append(None if first is None else first is wanted)
    if spec.get("when") is not None:
        parts.append(condition(spec["when"], world))
    return all_of(parts)


def tagged(some: Any, wanted: Iterable[str], world: World) -> Truth:
    return None if world.tags is None else some(tag in world.tags for tag in wanted)


def above(value: Any, threshold: Any) -> Truth:
    return None if value is None else value > exact(threshold)


def below(value: Any, threshold: Any) -> Truth:
    return None if value is None else value < exact(threshold)


def moves_no_money(world: World) -> bool:
    """Whether the catalogue says so: it declares arguments, and none of them is an amount."""
    if world.entry is None or "amount" in roles(world.entry):
        return False
    return bool(world.entry.get("args") is not None or "amount_usd" not in world.args)


def amount_usd(world: World) -> Decimal | None:
    """What is at stake, in US dollars; unknown where it is missing, malformed, or in another currency."""
    if world.entry is not None and "amount" in roles(world.entry):
        amount, currency = amount_declared(world)
        return amount if currency == "USD" else None
    if world.entry is not None and world.entry.get("args") is not None:
        return None
    said = world.args.get("amount_usd")
    return no_debt(decimal_text(said) if isinstance(said, str) else number(said))


def amount_declared(world: World) -> tuple[Decimal | None, str | None]:
    """The amount that the catalogue names, and its currency."""
    assert world.entry is not None
    name = roles(world.entry)["amount"]
    said = world.args.get(name)
    amount = decimal_text(said) if isinstance(said, str) else None
    return no_debt(amount), declared(world.entry, name).get("currency")


def no_debt(amount: Decimal | None) -> Decimal | None:
    """An amount of money is not negative, or nobody knows what it is."""
    return amount if amount is not None and 0 <= amount < 10**18 else None


def affects_nobody(world: World) -> bool:
    """Whether the catalogue names no people and nobody counted any."""
    if world.entry is None or "people" in roles(world.entry):
        return False
    return world.signals.affected_users is None


def many(world: World, threshold: Any) -> Truth:
    """Whether more people are affected: by what the argument says, or by what was counted."""
    counted = above(signal("affected_users", world.signals), threshold)
    if world.entry is None or "people" not in roles(world.entry):
        return counted
    said = world.args.get(roles(world.entry)["people"])
    stated = Decimal(len(said)) if isinstance(said, list | tuple) else number(said)
    more = above(stated if stated is not None and stated >= 0 else None, threshold)
    return more if world.signals.affected_users is None else any_of([more, counted])


def roles(entry: Doc) -> Mapping[str, str]:
    return entry.get("roles") or {}


# --- numbers ------------------------------------------------------------------------------------------------


def exact(value: Any) -> Decimal:
    """A number in a policy file, at its text."""
    return Decimal(str(value))


def seconds(text: Any) -> int:
    """A duration in a policy file, such as 15m."""
    return text if isinstance(text, int) else int(text[:-1]) * SECONDS[text[-1]]
