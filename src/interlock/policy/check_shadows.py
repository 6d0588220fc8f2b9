"""Checking shadows: an entry speaks for its topics alone, and what a wider entry guards them with is gone.

The more specific of two entries wins whole: its tier, its tags, its roles and its limits, not the stricter of
each. Where that takes something away, whoever reads the wider entry is deceived, so each wider entry is named
once, with the first of those that speak in its place and what that one does without. It may well be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

from interlock.policy.catalogue import CatalogueEntry
from interlock.policy.check_actions import LIMITS, highest_tier
from interlock.policy.check_tags import Tags
from interlock.policy.checking import Report
from interlock.policy.reach import Reach

_TIERS = range(1, 5)
_ROLES = ("amount", "people")
"""The roles that thresholds and the invariant about money read."""


def check_shadows(report: Report, reach: Reach, tags: Tags) -> None:
    """What more specific entries take away from wider ones."""
    shadows = _Shadows(report, reach, tags)
    for entry in reach.entries:
        narrower = reach.under(entry) if "*" in entry.pattern else None
        losses = list(shadows.losses(entry)) if narrower else []
        bare = 0
        for loss in losses:
            bare |= loss.without
        found = narrower.among(bare) if narrower else None
        if found:
            first = reach.alone(found.first).bits
            lost = ", ".join(loss.what for loss in losses if loss.without & first)
            report.loosens(
                f"action {found.named}: speaks in the place of {entry.pattern}, without its {lost}"
            )


@dataclass(frozen=True, slots=True)
class _Loss:
    """Something an entry has, and the entries that are without it, as bits."""

    what: str
    without: int


class _Shadows:
    """Which entries lack what, asked once of each."""

    def __init__(self, report: Report, reach: Reach, tags: Tags) -> None:
        self.specs = report.document.actions
        self.reach = reach
        self.guarding = tags.guarding
        self.below = {tier: self._where(lambda entry: int(entry.tier), tier) for tier in _TIERS}
        self.rising_below = {tier: self._where(self.highest, tier) for tier in _TIERS}
        self.role = {role: self._having(lambda entry: entry.roles, role) for role in _ROLES}
        self.limit = {limit: self._having(lambda entry: entry.constraints.named, limit) for limit in LIMITS}

    def _where(self, tier_of: Callable[[CatalogueEntry], int], tier: int) -> int:
        return self.reach.where(lambda entry: tier_of(entry) < tier)

    def _having(self, names_of: Callable[[CatalogueEntry], Container[str]], name: str) -> int:
        return self.reach.where(lambda entry: name in names_of(entry))

    def highest(self, entry: CatalogueEntry) -> int:
        return highest_tier(self.specs[entry.pattern])

    def losses(self, entry: CatalogueEntry) -> Iterator[_Loss]:
        highest = self.highest(entry)
        yield _Loss(f"tier {int(entry.tier)}", self.below[entry.tier])
        if highest > entry.tier:
            yield _Loss(f"raise to tier {highest}", self.rising_below[highest])
        for tag in entry.risk_tags:
            if tag in self.guarding:
                yield _Loss(f"tag {tag}", ~self.reach.tagged(tag))
        for role in _ROLES:
            if role in entry.roles:
                yield _Loss(f"role {role}", ~self.role[role])
        for limit in entry.constraints.named:
            yield _Loss(f"limit {limit}", ~self.limit[limit])
