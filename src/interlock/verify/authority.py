"""Whether whatever decided was in force when it did, and whoever decided was somebody who may.

1. Everything decided names the policy that was active at that moment, an activation names its predecessor:
   an older policy put back behind the gate's back shows at the first action it decides.
2. A key does nothing before it was made and nothing after it was revoked. What was proposed with a key of a
   person was proposed by no agent, and is a rollback that this person asked for (`rollbacks.py`).
3. A decision is that of a person who is enrolled then, with the role for it, and with no key but their own.
4. Nobody approves what their own agent requested, or what they edited. A decision that says it was made alone
   (`solo`) may be both, while exactly one person is enrolled, and is listed apart; so is that of an editor
   which the gate calls provably tighter (`tightened`): entries carry no arguments to compare.
5. A request that its caller named (by a key or a call id) is proposed once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from interlock.verify.broken import Broken, Unfounded

_PROPOSES = frozenset({"agent", "adapter"})
_DECIDES = frozenset({"reviewer"})
_ANSWERS = frozenset({"reviewer", "operator"})


class Authority:
    """Follows policies, keys, people and named requests of one namespace through the entries, in order."""

    __slots__ = ("_active", "_keys", "_named", "_removed", "_revoked", "enrolled", "snapshots")

    def __init__(self) -> None:
        self._active: str | None = None
        self.snapshots: set[str] = set()
        """Every policy that was ever put in force."""
        self._keys: dict[str, tuple[str, str | None]] = {}
        self._revoked: set[str] = set()
        self.enrolled: dict[str, frozenset[str]] = {}
        """The roles of everybody who is enrolled now."""
        self._removed: set[str] = set()
        self._named: dict[str, set[str | bytes]] = {}

    # --- policies -----------------------------------------------------------------------------------------

    def activated(self, entry: Mapping[str, Any]) -> None:
        before, self._active = self._active, entry["snapshot"]
        self.snapshots.add(entry["snapshot"])
        if entry.get("previous") != before:
            wrong = "it replaces another policy than the one that was in force"
            raise Broken(wrong) if before is not None else Unfounded(wrong)

    def under_policy(self, entry: Mapping[str, Any]) -> None:
        if entry["policy"] != self._active:
            if self._active is None:
                raise Unfounded("it was decided under a policy that was never activated")
            raise Broken("it was decided under a policy that was not in force")

    def named(self, entry: Mapping[str, Any]) -> str:
        """The policy that an entry names: one text for all that name the one in force, not one for each."""
        policy: str = entry["policy"]
        return self._active if policy == self._active is not None else policy

    # --- keys ---------------------------------------------------------------------------------------------

    def used(self, key: str) -> None:
        """Something was done with a key."""
        if key in self._revoked:
            raise Broken("it was done with a key that had been revoked")
        if key not in self._keys:
            raise Unfounded("it was done with a key that was never made")

    def hosted(self, entry: Mapping[str, Any]) -> None:
        """What only trusted code records: with an adapter's key, or with none, by the gate's own process."""
        kind = self._keys.get(entry.get("key") or "", ("adapter", None))[0]
        if kind != "adapter":
            raise Broken("it was recorded with a key that is no adapter's")

    def key_added(self, entry: Mapping[str, Any]) -> None:
        key = entry["key"]
        known = key in self._keys
        self._keys[key] = (entry["key_kind"], entry.get("person"))
        if known:
            raise Broken("the key was made before")

    def key_revoked(self, entry: Mapping[str, Any]) -> None:
        key = entry["key"]
        revoked = key in self._revoked
        self._revoked.add(key)
        if revoked:
            raise Broken("the key was revoked before")
        if key not in self._keys:
            raise Unfounded("the key was never made")

    # --- requests -----------------------------------------------------------------------------------------

    def proposed(self, entry: Mapping[str, Any]) -> None:
        name = entry.get("request")
        if name is not None:
            named = self._named.setdefault(entry["agent"], set())
            before = len(named)
            named.add(_short(name))
            if len(named) == before:
                raise Broken("the same request was proposed before, under the same name")
        self.under_policy(entry)
        key = entry.get("key")
        if key is not None:
            kind = self._keys.get(key)
            asked = ("person", entry.get("asked_by"))  # for a rollback, and by nobody else
            if kind is not None and kind[0] not in _PROPOSES and kind != asked:
                raise Broken(f"it was proposed with a key of kind {kind[0]}")

    def claimed(self, entry: Mapping[str, Any]) -> None:
        # A later claim takes over what had started under the policy of its time; what a permit let run
        # elsewhere is judged with the permit.
        if entry["epoch"] == 1 and entry.get("permit") is None:
            self.under_policy(entry)

    # --- people -------------------------------------------------------------------------------------------

    def person_added(self, entry: Mapping[str, Any]) -> None:
        person = entry["person"]
        known = person in self.enrolled or person in self._removed
        self.enrolled[person] = frozenset(map(str, entry["roles"]))
        if known:
            raise Broken("this person was enrolled before")

    def person_removed(self, entry: Mapping[str, Any]) -> None:
        person = entry["person"]
        self._removed.add(person)
        if self.enrolled.pop(person, None) is None:
            raise Unfounded("this person was never enrolled")

    def check_enrolled(self, person: str) -> None:
        """Raises `Broken` unless they are enrolled."""
        if person in self._removed:
            raise Broken("it names a person who had been removed")
        if person not in self.enrolled:
            raise Unfounded("it names a person who is not enrolled")

    def acted(self, entry: Mapping[str, Any]) -> None:
        """A reviewer or operator took something back, or said how it ended."""
        self._person(entry, _ANSWERS)

    def decided(self, entry: Mapping[str, Any], requested_with: str | None, editors: Collection[str]) -> bool:
        """A reviewer answered a request; whether an editor approved what is called tighter.

        Args:
            requested_with: the key that the action was proposed with.
            editors: who edited the action so far.
        """
        person = entry["person"]
        self._person(entry, _DECIDES)
        if entry["solo"]:
            if len(self.enrolled) != 1:
                many = f"it is marked solo although {len(self.enrolled)} people were enrolled"
                raise Broken(many) if self.enrolled else Unfounded(many)
            return False
        if entry["decision"] != "approve":
            return False
        operator = None if requested_with is None else self._keys.get(requested_with, (None, None))[1]
        if person == operator:
            raise Broken("it was approved by whoever operates the agent that requested it")
        if person not in editors:
            return False
        if entry.get("tightened") is not True:
            raise Broken("it was approved by a person who had edited it")
        return True

    def _person(self, entry: Mapping[str, Any], roles: frozenset[str]) -> None:
        person, key = entry["person"], entry.get("key")
        if key is not None:
            made = self._keys.get(key)
            if made is not None and made != ("person", person):
                raise Broken("it was decided with a key that is not this person's")
        self.check_enrolled(person)
        if roles.isdisjoint(self.enrolled[person]):
            raise Broken("it names a person who has no role for it")


def _short(name: str) -> str | bytes:
    """A keyed hash in half the memory."""
    try:
        return bytes.fromhex(name)
    except ValueError:
        return name
