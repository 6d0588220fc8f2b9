"""Whether whatever decided was in force when it did.

1. Everything decided names the policy that was active at that moment, an activation names its predecessor:
   an older policy put back behind the gate's back shows at the first action it decides.
2. A key that was revoked does nothing afterwards.
3. A decision is marked solo only while exactly one person is enrolled.
4. A request that its caller named (by a key or a call id) is proposed once.

A log that does not record what a rule needs, as the first entries of a test may not, is not held to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from interlock.verify.life import Broken


class Authority:
    """Follows policies, keys, people and named requests through the entries, in order."""

    __slots__ = ("_enrolled", "_named", "_policies", "_revoked")

    def __init__(self) -> None:
        self._policies: dict[str, str] = {}
        self._revoked: set[str] = set()
        self._enrolled: dict[str, set[str]] = {}
        self._named: set[tuple[str, str, str]] = set()

    def follow(self, entry: Mapping[str, Any]) -> None:
        """Take the next entry (as `read_entry` gives it). Raises `Broken` where it cannot come next."""
        if not entry["kind"].startswith("key.") and entry.get("key") in self._revoked:
            raise Broken("it was done with a key that had been revoked")
        step = self._STEPS.get(entry["kind"])
        if step is not None:
            step(self, entry)

    def _activated(self, entry: Mapping[str, Any]) -> None:
        space = entry["namespace"]
        if entry.get("previous") != self._policies.get(space):
            raise Broken("it replaces another policy than the one that was in force")
        self._policies[space] = str(entry.get("snapshot"))

    def _under_policy(self, entry: Mapping[str, Any]) -> None:
        active = self._policies.get(entry["namespace"])
        if active is not None and "policy" in entry and entry["policy"] != active:
            raise Broken("it was decided under a policy that was not in force")

    def _proposed(self, entry: Mapping[str, Any]) -> None:
        self._under_policy(entry)
        name = entry.get("request")
        if name is not None:
            request = (entry["namespace"], str(entry.get("agent")), str(name))
            if request in self._named:
                raise Broken("the same request was proposed before, under the same name")
            self._named.add(request)

    def _claimed(self, entry: Mapping[str, Any]) -> None:
        # A later epoch takes over what had started under the policy of its time.
        if entry.get("epoch") == 1:
            self._under_policy(entry)

    def _decided(self, entry: Mapping[str, Any]) -> None:
        enrolled = self._enrolled.get(entry["namespace"])
        if entry.get("solo") is True and enrolled is not None and len(enrolled) != 1:
            raise Broken(f"it is marked solo although {len(enrolled)} people were enrolled")

    def _key_revoked(self, entry: Mapping[str, Any]) -> None:
        self._revoked.add(str(entry.get("key")))

    def _person_added(self, entry: Mapping[str, Any]) -> None:
        self._enrolled.setdefault(entry["namespace"], set()).add(str(entry.get("person")))

    def _person_removed(self, entry: Mapping[str, Any]) -> None:
        self._enrolled.setdefault(entry["namespace"], set()).discard(str(entry.get("person")))

    _STEPS: ClassVar[Mapping[str, Callable[[Authority, Mapping[str, Any]], None]]] = {
        "policy.activated": _activated,
        "action.proposed": _proposed,
        "action.edited": _under_policy,
        "action.redecided": _under_policy,
        "action.stale": _under_policy,
        "action.claimed": _claimed,
        "approval.decided": _decided,
        "key.revoked": _key_revoked,
        "person.added": _person_added,
        "person.removed": _person_removed,
    }
