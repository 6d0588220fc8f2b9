"""What the entries mean, one after the other: which rules each kind has to pass.

1. Each rule of a kind is asked, also where another already said no: an approval by a stranger and for other
   bytes is told as both.
2. Each namespace has its own actions, keys, people and policies. A home writes one; of a log with more than
   `MAX_NAMESPACES` the rest is not followed. The log's own entries are for all of it, and stand in the first
   one, with the people who may write them.
3. A log that is read from its beginning has to found everything it rests on. Of one whose beginning is not
   there, what began before is not judged; what contradicts itself is.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from interlock.verify.action import check_floor
from interlock.verify.authority import Authority
from interlock.verify.broken import Broken, Unclear, Unfounded
from interlock.verify.epochs import Epochs, check_openers
from interlock.verify.fields import FIELDS
from interlock.verify.life import Life
from interlock.verify.passkeys import Passkeys, Roster
from interlock.verify.permits import Permits
from interlock.verify.report import Findings
from interlock.verify.rollbacks import Rollbacks
from interlock.verify.sessions import Sessions
from interlock.verify.stops import Stops
from interlock.verify.tools import Tools

MAX_NAMESPACES = 64
_Entry = Mapping[str, Any]
_Step = Callable[[_Entry], object]


class Meaning:
    """Follows the entries of a log, in order.

    Args:
        roster: the passkeys that count; None for all that the log enrols.
        whole: whether the entries come from the first one on.

    Attributes:
        solo: numbers of the answers that were given alone.
        tightened: numbers of the approvals by an editor, which the gate calls provably tighter.
    """

    def __init__(self, findings: Findings, *, roster: Roster | None, whole: bool) -> None:
        self._findings = findings
        self._roster = roster
        self._whole = whole
        self._number = 0
        self._spaces: dict[str, _Space] = {}
        self._crowded = False
        self.epochs = Epochs()
        self.solo = array("Q")
        self.tightened = array("Q")

    def follow(self, number: int, entry: _Entry) -> None:
        """Take the next entry (as `Reader` gives it). What is wrong with it goes to the findings."""
        self._number = number
        space = self._spaces.get(entry["namespace"])
        if space is None:
            space = self._begun(entry["namespace"])
            if space is None:
                return
        if self.epochs.opening is not None:
            self.epochs.passing(entry)
        steps = space.steps[entry["kind"]]
        if space.rollbacks.due is not None:
            steps = (space.rollbacks.passing, *steps)
        for step in steps:
            try:
                step(entry)
            except Broken as error:
                self._told(entry, error)
            except Unclear as error:
                self._findings.unchecked(f"entry {number}", f"{entry['kind']}: {error}")

    def _begun(self, namespace: str) -> _Space | None:
        """A namespace that was not met before; None beyond the bound, which is told."""
        if len(self._spaces) < MAX_NAMESPACES:
            self._spaces[namespace] = _Space(self, self._roster)
        elif not self._crowded:
            self._crowded = True
            self._findings.unchecked(
                f"entry {self._number}", f"it is of a log of more than {MAX_NAMESPACES} namespaces"
            )
        return self._spaces.get(namespace)

    def note_key(self, number: int, entry: _Entry) -> None:
        """Take an entry after one that is not known here: only what it says about the log's keys counts."""
        self._number = number
        try:
            if entry["kind"] == "ledger.key_rotated":
                self.epochs.rotated(entry, number)
            elif entry["kind"] == "ledger.epoch_opened":
                self.epochs.opened(entry, number, lambda: None)
        except Broken as error:
            self._told(entry, error)

    def _told(self, entry: _Entry, error: Broken) -> None:
        if self._whole or not isinstance(error, Unfounded):
            self._findings.failed(f"entry {self._number}", f"{entry['kind']}: {error}")

    @property
    def snapshots(self) -> set[str]:
        """Every policy that was ever put in force."""
        return set().union(*(space.authority.snapshots for space in self._spaces.values()))

    @property
    def assertions(self) -> int:
        """How many answers were signed with a passkey."""
        return sum(space.passkeys.assertions for space in self._spaces.values())

    @property
    def assumed(self) -> int:
        """How many runs the last entries assume, without having put them in doubt yet."""
        return sum(space.life.assumed for space in self._spaces.values())

    @property
    def unenforced(self) -> int:
        """How many actions were let run only because the policy observed and did not enforce."""
        return sum(space.life.unenforced for space in self._spaces.values())

    def permits(self) -> dict[str, int]:
        """How many permits were minted, were to work offline, were redeemed, and ran only as is assumed."""
        counts: Counter[str] = Counter(minted=0, offline=0, redeemed=0, assumed=0)
        for space in self._spaces.values():
            permits = space.permits
            counts["minted"] += permits.minted_count
            counts["offline"] += permits.offline
            counts["redeemed"] += permits.redeemed_count
            counts["assumed"] += permits.assumed
        return dict(counts)

    # --- steps that need the entry's number ---------------------------------------------------------------

    def _answered(self, entry: _Entry) -> None:
        if entry["solo"]:
            self.solo.append(self._number)

    def _editor_approved(self) -> None:
        self.tightened.append(self._number)

    def _rotated(self, entry: _Entry) -> None:
        self.epochs.rotated(entry, self._number)

    def _pruned(self, entry: _Entry) -> None:
        self.epochs.prune(entry, self._number)

    def _opened(self, entry: _Entry) -> None:
        self.epochs.opened(entry, self._number, lambda: self._check_people(entry))

    def _dismissed(self, entry: _Entry) -> None:
        self.epochs.dismissed(entry, lambda: self._check_people(entry))

    def _check_people(self, entry: _Entry) -> None:
        enrolled = self._spaces[entry["namespace"]].authority.enrolled
        check_openers(entry["people"], entry["solo"], enrolled)

    def _own(self, entry: _Entry) -> None:
        if entry["namespace"] != next(iter(self._spaces)):
            raise Broken("it is about the log, and stands in another namespace than the log began with")


class _Space:
    """The rules of one namespace, and which of them each kind of entry has to pass."""

    __slots__ = ("authority", "life", "passkeys", "permits", "rollbacks", "steps", "stops")

    def __init__(self, meaning: Meaning, roster: Roster | None) -> None:
        self.authority = authority = Authority()
        self.passkeys = passkeys = Passkeys(roster)
        self.permits = Permits()
        self.stops = stops = Stops(authority)
        self.life = life = Life(
            authority,
            passkeys,
            self.permits,
            stops,
            meaning.epochs,
            editor_approved=meaning._editor_approved,
        )
        self.rollbacks = rollbacks = Rollbacks(authority, life)
        under, acted, sessions = authority.under_policy, authority.acted, Sessions()
        steps: dict[str, tuple[_Step, ...]] = {
            "policy.activated": (authority.activated,),
            "action.proposed": (authority.proposed, check_floor, life.proposed, rollbacks.proposed),
            "action.edited": (
                authority.proposed,
                check_floor,
                self._edited,
                life.edited,
                rollbacks.edited,
            ),
            "action.redecided": (under, check_floor, life.redecided),
            "action.stale": (under, check_floor, life.stale),
            "action.expired": (life.expired,),
            "action.withdrawn": (life.over,),
            "action.revoked": (acted, life.over),
            "approval.decided": (meaning._answered, life.decided, rollbacks.decided),
            "approval.escalated": (life.escalated,),
            "approval.probed": (life.probed,),
            "approval.unanswered": (life.unanswered,),
            "action.claimed": (authority.claimed, life.claimed),
            "action.settled": (life.settled, rollbacks.settled),
            "action.in_doubt": (life.in_doubt,),
            "action.reconciled": (acted, life.reconciled, rollbacks.settled),
            "action.late_report": (life.late, rollbacks.settled),
            "action.rolled_back": (rollbacks.rolled_back,),
            "key.added": (authority.key_added,),
            "key.revoked": (authority.key_revoked,),
            "person.added": (authority.person_added,),
            "person.removed": (authority.person_removed,),
            "passkey.added": (self._whose_passkey, passkeys.added),
            "passkey.revoked": (passkeys.revoked,),
            "permit.minted": (under, life.minted),
            "session.opened": (authority.hosted, sessions.opened),
            "session.recorded": (authority.hosted, sessions.recorded),
            "session.ended": (authority.hosted, sessions.ended),
            "tool.accepted": (Tools().accepted,),
            "kill.engaged": (life.stopping, stops.put_on),
            "kill.rearmed": (stops.lifted,),
            "kill.drill": (stops.drilled,),
            "subject.erased": (meaning.epochs.erase,),
            "ledger.key_rotated": (meaning._own, meaning._rotated),
            "ledger.epoch_opened": (meaning._own, meaning._opened),
            "ledger.recovery_dismissed": (meaning._own, meaning._dismissed),
            "ledger.pruned": (meaning._own, meaning._pruned),
        }
        self.steps: dict[str, tuple[_Step, ...]] = {}
        for kind, fields in FIELDS.items():
            # An edit repeats the key of the proposal; the entries of keys themselves are steps of their own.
            done_with = "key" in dict(fields) and not kind.startswith(("key.", "action.edited"))
            self.steps[kind] = (*([self._with_key] if done_with else []), *steps.get(kind, ()))

    def _with_key(self, entry: _Entry) -> None:
        key = entry.get("key")
        if key is not None:
            self.authority.used(key)

    def _edited(self, entry: _Entry) -> None:
        self.authority.check_enrolled(entry["person"])

    def _whose_passkey(self, entry: _Entry) -> None:
        self.authority.check_enrolled(entry["person"])
