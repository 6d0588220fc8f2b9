"""Permits: what an executor elsewhere runs, it runs once and in time.

1. A permit has its own id, is for one revision of one action, and lives `MAX_LIFE` at most.
2. It is redeemed once, by the claim of that action and revision, before it expires. One that works
   without being redeemed (`offline`) may be reported later: what ran, ran while it was valid.
3. A run is assumed only of an offline permit that ran out.

Whether the action may run, and that permit and claim carry its hash, is said in `life.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from interlock.verify.broken import Broken, Unfounded

MAX_LIFE = 120_000_000
"""Microseconds."""


class _Minted(NamedTuple):
    action: str
    revision: int
    expires_at: int
    offline: bool
    policy: str


class Permits:
    """Follows the permits of one namespace.

    Attributes: how many were minted, how many of these work offline, were redeemed, and ran only as the gate
        assumes.
    """

    __slots__ = ("_open", "_spent", "assumed", "minted_count", "offline", "redeemed_count")

    def __init__(self) -> None:
        self._open: dict[str, _Minted] = {}
        self._spent: set[str] = set()
        self.minted_count = self.offline = self.redeemed_count = self.assumed = 0

    def minted(self, entry: Mapping[str, Any]) -> None:
        permit, lasts = entry["permit"], entry["expires_at"] - entry["at"]
        known = permit in self._open or permit in self._spent
        self.minted_count += 1
        self.offline += entry["offline"]
        self._open[permit] = _Minted(
            entry["action"], entry["revision"], entry["expires_at"], entry["offline"], entry["policy"]
        )
        if known:
            raise Broken("the permit was minted before")
        if not 0 < lasts <= MAX_LIFE:
            raise Broken(f"a permit is valid for {MAX_LIFE // 1_000_000} seconds at most")

    def redeemed(self, entry: Mapping[str, Any]) -> str | None:
        """A claim redeems its permit; under which policy it may have run although another is in force now."""
        permit = self._open.pop(entry["permit"], None)
        if permit is None:
            if entry["permit"] in self._spent:
                raise Broken("the permit was redeemed before")
            raise Unfounded("the permit was never minted")
        self._spent.add(entry["permit"])
        self.redeemed_count += 1
        assumed = entry.get("assumed") is True
        self.assumed += assumed
        if (permit.action, permit.revision) != (entry["action"], entry["revision"]):
            raise Broken("the permit is for another action or revision")
        expired = entry["at"] > permit.expires_at
        if expired and not permit.offline:
            raise Broken("the permit had expired")
        if assumed and not (expired and permit.offline):
            raise Broken("a run is assumed only where a permit that works offline ran out")
        return permit.policy if permit.offline else None
