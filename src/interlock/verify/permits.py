"""Permits: what an executor elsewhere runs, it runs once and in time.

1. A permit has its own id, is for one revision of one action, and lives `MAX_LIFE` at most.
2. It is redeemed once, by the claim of that action and revision, before it expires. One that works
   without being redeemed (`offline`) may be reported later: what ran, ran while it was valid.
3. A run is assumed only of an offline permit that ran out.
4. A permit that has to be redeemed is forgotten once it expired: what names it then was never minted.

Whether the action may run, and that permit and claim carry its hash, is said in `life.py`.
"""

from __future__ import annotations

from collections import OrderedDict
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


class Permits:
    """Follows the permits of one namespace.

    Attributes: how many were minted, how many of these work offline, were redeemed, and ran only as the gate
        assumes.
    """

    __slots__ = ("_offline", "_open", "_spent", "assumed", "minted_count", "offline", "redeemed_count")

    def __init__(self) -> None:
        # Of those that have to be redeemed, the ones that expire first come first, but for two minutes.
        self._open: OrderedDict[str, _Minted] = OrderedDict()
        self._offline: dict[str, _Minted] = {}
        self._spent: set[str] = set()
        self.minted_count = self.offline = self.redeemed_count = self.assumed = 0

    def minted(self, entry: Mapping[str, Any]) -> None:
        permit, at, expires_at, offline = entry["permit"], entry["at"], entry["expires_at"], entry["offline"]
        while self._open and next(iter(self._open.values())).expires_at <= at:
            self._open.popitem(last=False)
        known = permit in self._open or permit in self._offline or permit in self._spent
        self.minted_count += 1
        self.offline += offline
        where = self._offline if offline else self._open
        where[permit] = _Minted(entry["action"], entry["revision"], expires_at, offline)
        if known:
            raise Broken("the permit was minted before")
        if not 0 < expires_at - at <= MAX_LIFE:
            raise Broken(f"a permit is valid for {MAX_LIFE // 1_000_000} seconds at most")

    @property
    def open(self) -> int:
        """How many are remembered that were not redeemed."""
        return len(self._open) + len(self._offline)

    def redeemed(self, entry: Mapping[str, Any]) -> bool:
        """A claim redeems its permit; whether that is one that may have run without asking."""
        name = entry["permit"]
        permit = self._open.pop(name, None) or self._offline.pop(name, None)
        if permit is None:
            if name in self._spent:
                raise Broken("the permit was redeemed before")
            raise Unfounded("the permit was never minted, or had expired long before")
        self._spent.add(name)
        self.redeemed_count += 1
        assumed = entry.get("assumed") is True
        self.assumed += assumed
        if (permit.action, permit.revision) != (entry["action"], entry["revision"]):
            raise Broken("the permit is for another action or revision")
        expired = entry["at"] >= permit.expires_at
        if expired and not permit.offline:
            raise Broken("the permit had expired")
        if assumed and not (expired and permit.offline):
            raise Broken("a run is assumed only where a permit that works offline ran out")
        return permit.offline
