"""The gatekeeper: every step of an action's life, each as one call and one durable transaction.

It holds no state of its own beside loaded policies, which are immutable. Where a transition finds that the
policy moved, the gatekeeper loads the one in force, re-decides what it must, and asks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from typing import TypeVar

from interlock.gate import active, ending, permits, redecide, settle, stops
from interlock.gate.active import PolicyMoved
from interlock.gate.claim import Claim, Claiming, Enforces, NeedsRedeciding, ready
from interlock.gate.decide import Decided, Deciding, HumanDecision
from interlock.gate.opening import Proposed
from interlock.gate.package import title
from interlock.gate.propose import Proposing, prepare
from interlock.gate.records import ActionRow
from interlock.identity import Caller
from interlock.journal import Journal, KeyNeeded, Tx
from interlock.model.actions import DISPATCHED, ActionState, ExecutorKind, Proposal
from interlock.model.canonical import Json
from interlock.model.errors import NotFound, Tampered
from interlock.policy import CatalogueEntry, Policy

T = TypeVar("T")
SWEEP = 200
_ROUNDS = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Activated:
    """What an activation did: the snapshot now in force, and whether that is new."""

    snapshot: str
    changed: bool


class Gatekeeper:
    """The gate of one namespace. Thread-safe.

    Args:
        journal: where everything is recorded.
        holder: names this process in claims.
        enforces: the constraints each executor can enforce.
    """

    def __init__(self, journal: Journal, *, holder: str, enforces: Enforces) -> None:
        self.journal = journal
        self.holder = holder
        self._enforces = enforces
        self._policies: dict[str, Policy] = {}
        self._snapshot = ""

    # --- policy ------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """The policy in force when this process last looked. Raises `NotFound` before there is one."""
        if not self._snapshot:
            self._follow(self.active() or "")
        return self._policies[self._snapshot]

    def in_force(self) -> Policy:
        """The policy in force now. Raises `NotFound` before there is one."""
        return self._follow(self.active() or "")

    def active(self) -> str | None:
        """The snapshot in force now, read from the journal."""
        return self.journal.look(active.active_snapshot)

    def _follow(self, snapshot: str) -> Policy:
        if not snapshot:
            raise NotFound(
                "No policy is in force in this home.", fix="Start it with a policy file: --policy FILE."
            )
        policy = self._loaded(snapshot)
        self._snapshot = snapshot
        return policy

    def _loaded(self, snapshot: str) -> Policy:
        if snapshot not in self._policies:
            self._policies[snapshot] = self.journal.look(partial(active.load_policy, snapshot=snapshot))
        return self._policies[snapshot]

    def activate(self, policy: Policy, *, by: str, reason: str, replacing: bool = True) -> Activated:
        """Put a policy in force, then re-decide what is open under it.

        Args:
            replacing: whether another policy may be replaced.

        Raises:
            PolicyNotActive: another one is in force and may not be replaced.
        """
        changed = self.journal.commit(
            partial(active.activate, policy=policy, by=by, reason=reason, replacing=replacing)
        )
        self._policies[policy.snapshot] = policy
        self._snapshot = policy.snapshot
        if changed:
            self.redecide_open()
        return Activated(policy.snapshot, changed)

    def redecide_open(self) -> int:
        """Re-decide every open action that another policy confirmed; returns how many were looked at.

        An action whose record was tampered with stays as it is, unclaimable, and is reported in the log.
        """
        seen: set[str] = set()
        while True:
            policy = self._follow(self.active() or "")
            drifted = partial(redecide.drifted, snapshot=policy.snapshot, limit=SWEEP + len(seen))
            ids = [action_id for action_id in self.journal.look(drifted) if action_id not in seen]
            if not ids:
                return len(seen)
            for action_id in ids:
                seen.add(action_id)
                try:
                    self._redecide(action_id)
                except Tampered as error:
                    _log.error("%s: %s", action_id, error)

    def _redecide(self, action_id: str) -> None:
        self.under_policy(lambda policy: partial(redecide.redecide, action_id=action_id, policy=policy))

    def under_policy(self, build: Callable[[Policy], Callable[[Tx], T]]) -> T:
        """Commit a transition built for the policy in force, again whenever that moved meanwhile."""
        for _ in range(_ROUNDS):
            try:
                return self.journal.commit(build(self.policy))
            except PolicyMoved as moved:
                self._follow(moved.snapshot)
            except NeedsRedeciding as drifted:
                self._redecide(drifted.action_id)
        return self.journal.commit(build(self.policy))

    def title(self, snapshot: str, topic: str, args: Mapping[str, Json]) -> str:
        """One line about a call, as the policy of that snapshot words it."""
        return title(self._loaded(snapshot), topic, args)

    # --- propose -----------------------------------------------------------------------------------------

    def propose(
        self,
        proposal: Proposal,
        caller: Caller,
        *,
        registered: bool = False,
        inline: bool = False,
        predecessor: str | None = None,
    ) -> Proposed:
        """Decide a proposal and record it.

        Args:
            registered: trusted code in this process registered the topic.
            inline: claim at once where the action is allowed and this process executes it.

        Raises:
            InvalidInput, Forbidden, OutOfScope, UnknownTopic, IdempotencyConflict: nothing was proposed.
        """
        build = self._preparing(proposal, caller, registered, inline, predecessor)
        return _unwrap(self.under_policy(build))

    async def propose_async(
        self,
        proposal: Proposal,
        caller: Caller,
        *,
        registered: bool = False,
        inline: bool = False,
        predecessor: str | None = None,
    ) -> Proposed:
        """As `propose`, without blocking the event loop; concurrent proposals share transactions."""
        build = self._preparing(proposal, caller, registered, inline, predecessor)
        for _ in range(_ROUNDS):
            try:
                return _unwrap(await self.journal.commit_async(build(self.policy)))
            except PolicyMoved as moved:
                self._follow(moved.snapshot)
            except KeyNeeded as needed:
                await self.journal.subjects.provided(self.journal.namespace, needed)
        return _unwrap(await self.journal.commit_async(build(self.policy)))

    def _preparing(
        self,
        proposal: Proposal,
        caller: Caller,
        registered: bool,
        inline: bool,
        predecessor: str | None,
    ) -> Callable[[Policy], Proposing]:
        def build(policy: Policy) -> Proposing:
            return prepare(
                proposal,
                caller,
                policy,
                self.journal.vault,
                namespace=self.journal.namespace,
                registered=registered,
                enforces=self._enforces,
                holder=self.holder if inline else None,
                predecessor=predecessor,
            )

        return build

    # --- people ------------------------------------------------------------------------------------------

    def decide(self, approval_id: str, caller: Caller, decision: HumanDecision) -> Decided:
        """Record a person's answer to an approval request.

        Raises:
            NotFound, Forbidden, Changed, AlreadyDecided, Expired, SeparationOfDuties, InvalidInput.
        """
        decided = self.under_policy(
            lambda policy: Deciding(approval_id, caller, decision, policy, self._enforces)
        )
        if decided.refusal is not None:
            raise decided.refusal
        return decided

    def revoke(self, action_id: str, caller: Caller) -> ActionRow:
        return self.journal.commit(partial(ending.revoke, action_id=action_id, caller=caller))

    def withdraw(self, action_id: str, caller: Caller) -> ActionRow:
        return self.journal.commit(partial(ending.withdraw, action_id=action_id, caller=caller))

    def reconcile(self, action_id: str, caller: Caller, outcome: ActionState, note: str) -> ActionRow:
        return self.journal.commit(
            partial(settle.reconcile, action_id=action_id, caller=caller, outcome=outcome, note=note)
        )

    # --- execution ---------------------------------------------------------------------------------------

    def claim(self, action_id: str, *executors: ExecutorKind) -> Claim:
        """Claim an action for this process, which runs what these kinds of executor run.

        Raises:
            NotClaimable, InDoubt, Expired, ConstraintUnenforceable, Tampered, ClockJumped: it does not run.
        """
        claimed = self.under_policy(
            lambda policy: Claiming(action_id, self.holder, executors, policy.snapshot, self._enforces)
        )
        if claimed.claim is None:
            raise claimed.refusal or NotFound(f"There is no action {action_id}.")
        return claimed.claim

    def ready(self, limit: int) -> list[str]:
        """Ids of dispatched actions that may be claimed now, of each kind the oldest first: allowed,
        approved, or lapsed and repeatable."""
        found = self.journal.look(lambda tx: [ready(tx, kind, limit) for kind in sorted(DISPATCHED)])
        # In turn, so that many of one kind do not keep another waiting.
        mixed = (one for turn in zip_longest(*found) for one in turn if one is not None)
        return list(islice(mixed, limit))

    def entry(self, claimed: Claim) -> CatalogueEntry | None:
        """The catalogue entry a claim was decided with, which is the one that is executed (P4).

        Raises:
            Tampered: the stored policy holds another entry than was shown.
        """
        policy = self._loaded(claimed.verdict.snapshot)
        if policy.entry_digest(claimed.binding.topic) != claimed.catalogue:
            raise Tampered(f"The catalogue entry of {claimed.action_id} is not the one that was decided on.")
        return policy.entry(claimed.binding.topic)

    def halted(self, running: Sequence[Claim]) -> list[tuple[Claim, str]]:
        """Those of the claims being worked on that a kill switch covers now, each with a clause about it."""

        def look(tx: Tx) -> list[tuple[Claim, str]]:
            found = []
            for claimed in running:
                switch = stops.covering(tx, claimed.binding.agent, claimed.binding.topic)
                if switch is not None:
                    found.append((claimed, f"a kill switch is on for {switch.words}"))
            return found

        return self.journal.look(look)

    def renew(self, claimed: Claim) -> bool:
        return self.journal.commit(partial(settle.renew, claim=claimed))

    def settle(self, claimed: Claim, report: settle.Report) -> ActionRow:
        """Record what became of a claim. Raises `StaleClaim` where it no longer holds the action."""
        settled = self.journal.commit(partial(settle.settle, claim=claimed, report=report))
        if settled.refusal is not None:
            raise settled.refusal
        return settled.action

    # --- time --------------------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Let passed deadlines and lapsed leases do what they do; returns how many did something."""
        total = 0
        for step in (permits.lapse, ending.due, settle.lapse):
            while True:
                done = self.journal.commit(partial(step, limit=SWEEP))
                total += done
                if done < SWEEP:
                    break
        return total


def _unwrap(proposed: Proposed) -> Proposed:
    if proposed.refusal is not None:
        raise proposed.refusal
    return proposed
