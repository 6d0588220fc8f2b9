"""Advice: one thing lint has to say, and what lint looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from interlock.authoring.claims import Claims, claims_of
from interlock.authoring.parts import PatternIndex, Written, rules_of
from interlock.model.canonical import Json
from interlock.model.topics import TopicPattern
from interlock.policy import CatalogueEntry, Policy
from interlock.policy.findings import Place
from interlock.policy.reach import Reach

SHOWN = 5
"""Names that one sentence lists."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to change, or to know.

    Attributes:
        id: names the check for ever, as in ``overruled``.
        severity: a `warning` should be changed or meant; a `note` should be known.
        sentence: what is so. advice: what to do about it.
        rule, topic: what it is about, where it is about one of them.
        place: where that stands, where somebody said.
    """

    id: str
    severity: Literal["warning", "note"]
    sentence: str
    advice: str
    rule: str | None = None
    topic: str | None = None
    place: Place | None = None

    def to_json(self) -> dict[str, Json]:
        place = self.place
        return {
            "id": self.id,
            "severity": self.severity,
            "sentence": self.sentence,
            "advice": self.advice,
            "rule": self.rule,
            "topic": self.topic,
            "file": None if place is None else place.file,
            "line": None if place is None else place.line,
            "column": None if place is None else place.column,
        }


@dataclass
class Subject:
    """The policy under review, and what several checks ask about it."""

    policy: Policy
    places: Mapping[tuple[str, str], Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = self.policy.document
        self.rules = rules_of(self.document)
        self.entries: tuple[tuple[TopicPattern, CatalogueEntry], ...] = tuple(
            (TopicPattern.parse(entry.pattern), entry) for entry in self.policy.catalogue.entries
        )

    @cached_property
    def claims(self) -> tuple[Claims, ...]:
        """What each rule asks, by its index."""
        return tuple(claims_of(rule.spec.match, rule.spec.when) for rule in self.rules)

    @cached_property
    def reach(self) -> PatternIndex:
        """The rules by their topics."""
        return PatternIndex(rule.patterns for rule in self.rules)

    @cached_property
    def by_id(self) -> dict[str, Written]:
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def catalogued(self) -> Reach:
        """The catalogue's entries by their topics."""
        return Reach(self.policy.catalogue.entries)

    def entries_of(self, rule: Written) -> tuple[CatalogueEntry, ...]:
        """The entries a rule can match, by topics and tags."""
        match = rule.match
        return self.catalogued.matching(match.topics, match.risk_tags, match.all_risk_tags)

    def only_catalogued(self, rule: Written) -> bool:
        """Whether no topic outside the catalogue can match."""
        return all(map(self.catalogued.inside, rule.patterns))

    def rank(self, owner: str) -> tuple[int, str]:
        """A key that sorts whoever is asked first, first."""
        owners = self.document.owners
        return (owners.index(owner) if owner in owners else len(owners)), owner

    def about_rule(
        self, id: str, severity: Literal["warning", "note"], rule: Written, sentence: str, advice: str
    ) -> Advice:
        return Advice(id, severity, sentence, advice, rule.id, None, self.places.get(("rule", rule.id)))

    def about_topic(
        self, id: str, severity: Literal["warning", "note"], pattern: str, sentence: str, advice: str
    ) -> Advice:
        return Advice(id, severity, sentence, advice, None, pattern, self.places.get(("action", pattern)))


def listed(names: list[str]) -> str:
    """Some names in a sentence, the first `SHOWN` of many."""
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
