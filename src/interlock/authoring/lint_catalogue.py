"""Lint of the catalogue: what a reviewer will miss when an action on a topic waits."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.authoring.advice import Advice, Subject
from interlock.authoring.claims import claims_of
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import DEFAULT_OWNER, Decision, Tier
from interlock.policy import CatalogueEntry
from interlock.policy.builtin import CLEAN_UNDO_SEC


def about_catalogue(subject: Subject) -> Iterator[Advice]:
    for pattern, entry in subject.entries:
        yield from _words(subject, entry)
        yield from _undo(subject, entry)
        yield from _slow_undo(subject, entry)
        yield from _raises(subject, entry)
        if _highest(entry) >= Tier.EXTERNAL:
            yield from _people(subject, pattern, entry)


def _highest(entry: CatalogueEntry) -> Tier:
    return max([entry.tier, *(raised.tier for raised in entry.raise_to)])


def _words(subject: Subject, entry: CatalogueEntry) -> Iterator[Advice]:
    asks = _highest(entry) >= Tier.EXTERNAL
    if entry.summary is None:
        yield subject.about_topic(
            "no-summary",
            "warning" if asks else "note",
            entry.pattern,
            f"{entry.pattern} has no summary: people see its name and raw arguments.",
            "Say what it does in a sentence: `summary: Refund ${args.amount_usd} to {args.recipient}`.",
        )
    if asks and entry.worst_case is None:
        yield subject.about_topic(
            "no-worst-case",
            "warning",
            entry.pattern,
            f"{entry.pattern} does not say its worst case, which is what a person is asked about.",
            "Say what happens if it was wrong: `worst_case: …`.",
        )
    if asks and entry.args is None:
        yield subject.about_topic(
            "no-args",
            "note",
            entry.pattern,
            f"{entry.pattern} declares no arguments: any are accepted, and conditions on them are unchecked.",
            "Declare them under `args`.",
        )


def _undo(subject: Subject, entry: CatalogueEntry) -> Iterator[Advice]:
    within = entry.undo_within_sec
    if entry.tier is not Tier.REVERSIBLE or (entry.undo and within is not None and within <= CLEAN_UNDO_SEC):
        return
    asked = subject.document.triggers.irreversibility.enabled
    yield subject.about_topic(
        "no-undo",
        "warning",
        entry.pattern,
        f"{entry.pattern} is tier 2, but nothing takes it back within 5 minutes"
        + (": a person is asked each time." if asked else "."),
        "Say `undo` and `undo_within`, or give it tier 3.",
    )


def _slow_undo(subject: Subject, entry: CatalogueEntry) -> Iterator[Advice]:
    """What takes an action back is an action itself, and may have to wait for a person."""
    back = None if entry.undo is None else subject.policy.catalogue.entry(entry.undo)
    if entry.undo is None or back is None:
        return
    topic = TopicPattern.parse(entry.undo)
    speaking = [subject.rules[number] for number in sorted(subject.reach.covering(topic))]
    permits = any(not rule.decision.restrictive for rule in speaking)
    asks = any(rule.decision.restrictive and subject.claims[rule.index].nothing for rule in speaking)
    if asks or back.tier is Tier.IRREVERSIBLE or (back.tier is Tier.EXTERNAL and not permits):
        yield subject.about_topic(
            "slow-undo",
            "warning",
            entry.pattern,
            f"{entry.pattern} is taken back by {entry.undo}, which has to wait for a person itself.",
            f"Let a rule permit {entry.undo}, or do not count on the undo.",
        )


def _raises(subject: Subject, entry: CatalogueEntry) -> Iterator[Advice]:
    for raised in entry.raise_to:
        field = claims_of(None, raised.when).contradiction
        if field is not None:
            yield subject.about_topic(
                "impossible",
                "warning",
                entry.pattern,
                f"No value of {field} satisfies `{raised.when}`: {entry.pattern} is raised to tier "
                f"{raised.tier:d} only where it is unknown.",
                "Correct the condition.",
            )


def _people(subject: Subject, pattern: TopicPattern, entry: CatalogueEntry) -> Iterator[Advice]:
    """Who is asked, and until when."""
    document = subject.document
    asking = [
        subject.rules[number]
        for number in sorted(subject.reach.meeting(pattern))
        if subject.rules[number].decision is Decision.REQUIRE_APPROVAL
    ]
    asking = [rule for rule in asking if entry in subject.entries_of(rule)]
    named = [rule for rule in asking if rule.spec.owner]
    owner = document.triggers.risk_tier.owner or (document.routing and document.routing.default)
    if not named and not owner:
        yield subject.about_topic(
            "no-owner",
            "warning",
            entry.pattern,
            f"Nobody is named for {entry.pattern}: its requests go to {DEFAULT_OWNER}.",
            "Name an owner in a rule that asks about it, or under `routing`.",
        )
    if not any(rule.spec.lane for rule in asking):
        waits = "24 hours, then they expire" if _highest(entry) is Tier.IRREVERSIBLE else "7 days"
        yield subject.about_topic(
            "no-lane",
            "note",
            entry.pattern,
            f"No rule says how long requests about {entry.pattern} may wait: {waits}.",
            "Give a rule that asks about it a `lane`.",
        )
