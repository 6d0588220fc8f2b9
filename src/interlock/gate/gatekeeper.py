"""The gatekeeper: every step of an action's life, each as one call and one durable transaction.

It holds no state of its own beside loaded policies, which are immutable. Where a transition finds that the
policy moved, the gatekeeper loads the one in force, re-decides what it must, and asks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from interlock.gate import (
    active,
    backlog,
    checkpoints,
    deadlines,
    ending,
    following,
    permits,
    probing,
    redecide,
    settle,
    stops,
)
from interlock.gate.active import PolicyMoved
from interlock.gate.backlog import Place
from interlock.gate.checkpoints import Checkpoint
from interlock.gate.claim import (
    LEASE_US,
    LONGEST_LEASE_SEC,
    Claim,
    Claimed,
    Claiming,
    Enforces,
    NeedsRedeciding,
)
from interlock.gate.decide import Decided, Deciding, HumanDecision
from interlock.gate.opening import Proposed
from interlock.gate.package import title
from interlock.gate.propose import Proposing, prepare
from interlock.gate.reading import Asked, Drifted, Drifting, NeedsReading, ProbeUnavailable, Reads, ask
from interlock.gate.records import ActionRow, load_action, skipping_tampered
from interlock.gate.rollback import Planned, RollingBack, plan
from interlock.identity import Caller
from interlock.journal import Journal, KeyNeeded, Tx
from interlock.model.actions import DISPATCHED, ActionState, ExecutorKind, Proposal
from interlock.model.canonical import Json
from interlock.model.errors import Erased, NotFound, Tampered
from interlock.model.readings import Reading
from interlock.policy import CatalogueEntry, Policy

T = TypeVar("T")
SWEEP = 200
_ROUNDS = 8
_READINGS = 3
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
        reads: reads probes; None where this process cannot.
    """

    def __init__(
        self, journal: Journal, *, holder: str, enforces: Enforces, reads: Reads | None = None
    ) -> None:
        self.journal = journal
        self.holder = holder
        self.reads = reads
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
        looked, stays = 0, set[tuple[str, int]]()
        while True:
            policy = self._follow(self.active() or "")
            drifted = partial(redecide.drifted, snapshot=policy.snapshot, limit=SWEEP + len(stays))
            page = self.journal.look(drifted)
            fresh = [found for found in page if found not in stays][:SWEEP]
            if not fresh:
                return looked
            for action_id, _ in fresh:
                with skipping_tampered(action_id):
                    self._redecide(action_id)
            looked += len(fresh)
            # What was looked at and is still found is passed over; the rest of it is not found any more.
            stays = stays.intersection(page).union(fresh)

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
        dispatching: bool = False,
        predecessor: str | None = None,
        cannot: frozenset[str] = frozenset(),
    ) -> Proposed:
        """Decide a proposal and record it.

        Args:
            registered: trusted code in this process registered the topic.
            inline: claim at once where the action is allowed and is this caller's own function.
            dispatching: claim at once where it is allowed and dispatched: this process carries it out now.
            cannot: constraints that this caller's own function cannot be held to.

        Raises:
            InvalidInput, Forbidden, OutOfScope, UnknownTopic, IdempotencyConflict, ConstraintUnenforceable:
                nothing was proposed.
        """
        kinds = _kinds(inline, dispatching)
        build = self._preparing(proposal, caller, registered, kinds, predecessor, cannot)
        return _unwrap(self.under_policy(build))

    async def propose_async(
        self,
        proposal: Proposal,
        caller: Caller,
        *,
        registered: bool = False,
        inline: bool = False,
        dispatching: bool = False,
        predecessor: str | None = None,
        cannot: frozenset[str] = frozenset(),
        host: str | None = None,
        apart: Executor | None = None,
    ) -> Proposed:
        """As `propose`, without blocking the event loop; concurrent proposals share transactions.

        Args:
            host: claim an allowed caller's action at once for this holder (`hosted.py`).
            apart: where a proposal is prepared whose arguments are so many that it takes a while.
        """
        kinds = _kinds(inline or host is not None, dispatching)
        preparing = self._preparing(proposal, caller, registered, kinds, predecessor, cannot, host)

        async def build() -> Proposing:
            if apart is None:
                return preparing(self.policy)
            return await asyncio.get_running_loop().run_in_executor(apart, preparing, self.policy)

        for _ in range(_ROUNDS):
            try:
                return _unwrap(await self.journal.commit_async(await build()))
            except PolicyMoved as moved:
                self._follow(moved.snapshot)
            except KeyNeeded as needed:
                await self.journal.subjects.provided(self.journal.namespace, needed)
        return _unwrap(await self.journal.commit_async(await build()))

    def _preparing(
        self,
        proposal: Proposal,
        caller: Caller,
        registered: bool,
        executes: Collection[ExecutorKind],
        predecessor: str | None,
        cannot: frozenset[str] = frozenset(),
        host: str | None = None,
    ) -> Callable[[Policy], Proposing]:
        def build(policy: Policy) -> Proposing:
            return prepare(
                proposal,
                caller,
                policy,
                self.journal.vault,
                namespace=self.journal.namespace,
                registered=registered,
                enforces=self.enforcing(cannot),
                holder=self.holder,
                host=host,
                executes=executes,
                predecessor=predecessor,
            )

        return build

    def enforcing(self, cannot: frozenset[str]) -> Enforces:
        """The constraints each executor can enforce, where a caller's function cannot be held to these."""
        if not cannot:
            return self._enforces
        return {**self._enforces, ExecutorKind.CALLER: self._enforces[ExecutorKind.CALLER] - cannot}

    def checkpoint(self, action_id: str, caller: Caller) -> Checkpoint:
        """What the agent kept with its proposal, for the agent that resumes.

        Raises:
            NotFound, Forbidden: it is not this caller's. Erased, Tampered: it cannot be had any more.
        """
        return self.journal.look(partial(checkpoints.handed, action_id=action_id, caller=caller))

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

    def rollback_plan(self, action_id: str, caller: Caller) -> Planned:
        """What `rollback` would propose, and what the policy in force says to it. Records nothing.

        Raises:
            As `rollback`.
        """
        return self._planned(self.in_force(), action_id, caller, ())

    def rollback(self, action_id: str, caller: Caller, *, dispatching: bool = False) -> Proposed:
        """Ask for the action that takes this one back (`rollback.py`).

        Args:
            dispatching: as in `propose`.

        Raises:
            NotFound, Forbidden, OutOfScope: this caller does not ask. InDoubt, Conflict: it did not succeed.
            NoUndo, UndoTooLate, RollbackExists: it is not taken back by this. Erased: its subject was erased.
        """

        def build(policy: Policy) -> RollingBack:
            return RollingBack(self._planned(policy, action_id, caller, _kinds(False, dispatching)), caller)

        return _unwrap(self.under_policy(build))

    def _planned(
        self, policy: Policy, action_id: str, caller: Caller, executes: Collection[ExecutorKind]
    ) -> Planned:
        return self.journal.look(
            partial(
                plan,
                action_id=action_id,
                caller=caller,
                policy=policy,
                enforces=self._enforces,
                holder=self.holder,
                executes=executes,
            )
        )

    # --- execution ---------------------------------------------------------------------------------------

    def claim(
        self,
        action_id: str,
        *executors: ExecutorKind,
        fence: Callable[[Tx], None] | None = None,
        cannot: frozenset[str] = frozenset(),
        lease_sec: int | None = None,
    ) -> Claim:
        """Claim an action for this process, which runs what these kinds of executor run.

        Args:
            fence: refuses, inside the transaction, where this process was taken for dead.
            cannot: as in `propose`.
            lease_sec: how long nobody need renew, at most `LONGEST_LEASE_SEC`: for what another process runs
                and reports. 15 seconds by default.

        Raises:
            NotClaimable, ProbeUnavailable, Drifted, InDoubt, Expired, ConstraintUnenforceable, Tampered,
            ClockJumped: it does not run.
        """

        lease_us = LEASE_US if lease_sec is None else min(lease_sec, LONGEST_LEASE_SEC) * 1_000_000

        def build(policy: Policy, reading: Reading | None) -> Callable[[Tx], Claimed]:
            enforces = self.enforcing(cannot)
            claiming = Claiming(action_id, self.holder, executors, policy, enforces, reading, lease_us)

            def fenced(tx: Tx) -> Claimed:
                if fence is not None:
                    fence(tx)
                return claiming(tx)

            return fenced

        claimed = self.after_reading(build)
        if claimed.claim is None:
            raise claimed.refusal or NotFound(f"There is no action {action_id}.")
        return claimed.claim

    def after_reading(self, build: Callable[[Policy, Reading | None], Callable[[Tx], T]]) -> T:
        """Commit a transition that lets something run, with a fresh reading where it asks for one.

        Raises:
            ProbeUnavailable: there is no reading. Drifted: there is, and it is stale now.
        """
        reading: Reading | None = None

        def built(policy: Policy) -> Callable[[Tx], T]:
            return build(policy, reading)

        for _ in range(_READINGS):
            try:
                return self.under_policy(built)
            except NeedsReading as needed:
                reading = self.read(needed.asked)
            except Drifting as drifting:
                moved = partial(redecide.drift, action_id=drifting.action_id, reading=drifting.reading)
                self.under_policy(lambda policy, moved=moved: partial(moved, policy=policy))  # type: ignore[misc]
                raise Drifted(f"{drifting} It was not run.") from None
        raise ProbeUnavailable("What it rests on takes too long to read.")

    # --- probes ------------------------------------------------------------------------------------------

    def read(self, asked: Asked) -> Reading:
        """Read what an action rests on, now and outside any transaction. Raises `Tampered`."""
        return ask(asked, self._loaded(asked.snapshot), self.reads)

    def unread(self, limit: int) -> list[str]:
        """Ids of held requests whose probe is to be read now."""
        return self.journal.look(partial(probing.due, limit=limit))

    def probe(self, approval_id: str) -> bool:
        """Read what a held request rests on, and show it; False where that is not needed any more."""
        try:
            asked = self.journal.look(partial(probing.asked, approval_id=approval_id))
            if asked is not None:
                return self.journal.commit(probing.Probed(approval_id, self.read(asked)))
            self.journal.commit(partial(probing.postpone, approval_id=approval_id))
            return False
        except (Erased, Tampered):
            self.journal.commit(partial(probing.postpone, approval_id=approval_id))
            raise

    def walk(
        self,
        place: Place,
        *,
        kill: str | None = None,
        before: int | None = None,
        wanted: Callable[[str], bool] | None = None,
    ) -> Place | None:
        """Enqueue the dispatch of a page of what waits; where the next page begins. See `backlog.walk`."""
        page = partial(backlog.walk, place=place, limit=SWEEP, kill=kill, before=before, wanted=wanted)
        return self.journal.commit(page)

    def lapsed(self) -> list[backlog.Lapsed]:
        """Dispatched actions whose claim lapsed and may be repeated now."""
        return self.journal.look(partial(backlog.lapsed, limit=SWEEP))

    def dispatch(self, lapsed: Collection[backlog.Lapsed]) -> None:
        """Enqueue the dispatch of these."""

        def enqueue(tx: Tx) -> None:
            for one in lapsed:
                following.dispatch(tx, one.action, one.topic)

        self.journal.commit(enqueue)

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

    def unsendable(self, claimed: Claim) -> str | None:
        """A clause about why nothing more may be sent for a claim; None where it may.

        A kill switch covers it; or its process was away so long that the lease lapsed: then somebody else may
        have it, or may have said what became of it.
        """

        def look(tx: Tx) -> str | None:
            switch = stops.covering(tx, claimed.binding.agent, claimed.binding.topic)
            if switch is not None:
                return f"a kill switch is on for {switch.words}"
            row = load_action(tx, claimed.action_id, claimed.revision)
            if not settle.holds(row, claimed):
                return "the claim holds the action no more"
            if row.lease_until is None or self.journal.clock.now() >= row.lease_until:
                return "the lease of the claim has lapsed"
            return None

        return self.journal.look(look)

    def renew(self, claimed: Sequence[Claim]) -> list[Claim]:
        """Extend the leases of claims that are worked on, all at once; those that still hold something."""

        def extend(tx: Tx) -> list[Claim]:
            held = []
            for claim in claimed:
                with skipping_tampered(claim.action_id):
                    if settle.renew(tx, claim):
                        held.append(claim)
            return held

        return self.journal.commit(extend)

    async def settle_async(self, claimed: Claim, report: settle.Report) -> ActionRow:
        """As `settle`, without blocking the event loop. `KeyNeeded` is the caller's to answer."""
        return _settled(await self.journal.commit_async(partial(settle.settle, claim=claimed, report=report)))

    def settle(self, claimed: Claim, report: settle.Report) -> ActionRow:
        """Record what became of a claim. Raises `StaleClaim` where it no longer holds the action."""
        return _settled(self.journal.commit(partial(settle.settle, claim=claimed, report=report)))

    # --- time --------------------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Let passed deadlines and lapsed leases do what they do; returns how many did something."""
        total = 0
        for step in (permits.lapse, deadlines.due, settle.lapse):
            while True:
                done = self.journal.commit(partial(step, limit=SWEEP))
                total += done
                if done < SWEEP:
                    break
        return total


def _kinds(inline: bool, dispatching: bool) -> Collection[ExecutorKind]:
    return (*((ExecutorKind.CALLER,) if inline else ()), *(DISPATCHED if dispatching else ()))


def _settled(settled: settle.Settled) -> ActionRow:
    if settled.refusal is not None:
        raise settled.refusal
    return settled.action


def _unwrap(proposed: Proposed) -> Proposed:
    if proposed.refusal is not None:
        raise proposed.refusal
    return proposed
