"""The dispatcher: claims `http`, `sql` and `mcp` actions that may run, calls out, and reports.

1. Any serving process may run any of them; the claim makes it once. What may run is told by a segment, which
   the transaction left that let it run, or is claimed by its own proposal's transaction.
2. An answer that leaves the effect unknown is retried with the same key, at growing intervals, only where
   the catalogue says that the service answers a repeated key with its first answer, and only while that
   lasts; then it is `in_doubt`. A service that says when to come back is given that time, up to
   `MAX_WAIT_SEC`; where it refused the attempt without effect, it is asked again whatever the catalogue says.
3. A proof about one attempt proves nothing about an earlier one that went unanswered.
4. No destination (a host, a database, a server) gets more than `SHARE` of the `PARALLEL` places: who proposes
   what goes to a service that hangs, or decides on it, makes nobody wait but those who want that service.
   What is over its share waits in the queue, and claims nothing.
5. Before the first byte of each attempt the gate is asked once more: what a kill switch covers is not sent,
   nor what this process was away from for so long that its lease lapsed.
6. What is claimed is carried out, or reported: that is one task, which goes on when whoever waits for it
   leaves. A process that ends lets claims that are being made come to their end: they are refused, or handed
   back with nothing sent.
7. What was carried out is recorded, as `OwnLeases.settle` says.
8. The entry that is executed is the one that was decided on and shown, not whatever the file says now.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard, TypeVar

from interlock.dispatch.caller import amount_usd
from interlock.dispatch.connectors import Connectors, destination
from interlock.dispatch.lease import OwnLeases
from interlock.dispatch.outcome import ANY_ATTEMPT, Failed, Outcome, Succeeded, Unknown
from interlock.dispatch.probing import Probes
from interlock.dispatch.stopping import Stopping
from interlock.engine import Delivery
from interlock.gate import Claim, Gatekeeper, Proposed, Report
from interlock.gate.backlog import Lapsed, Place
from interlock.gate.claim import remembered_until
from interlock.gate.reading import ProbeUnavailable
from interlock.journal import Tx
from interlock.model.actions import DISPATCHED, ActionState
from interlock.model.errors import (
    ClockJumped,
    ConstraintUnenforceable,
    Erased,
    Expired,
    HomeUnusable,
    InDoubt,
    InterlockError,
    NotClaimable,
    NotFound,
    StaleClaim,
    Tampered,
)
from interlock.model.verdicts import Tier
from interlock.policy import DispatchedExecute

RETRY_AFTER_SEC = (0.25, 1.0, 4.0)
MAX_WAIT_SEC = 30.0
"""The longest a service is waited for that says when to come back."""
SWEEP_SEC = 0.5
LEFT_SEC = 60.0
"""How long something that may run has to have waited until it is enqueued once more."""
PAUSE_SEC = 0.05
CLAIMING_SEC = 5.0
"""How long a process that ends waits for claims that are being made."""
READINGS = 7
"""So often a segment that cannot read what its action rests on is delivered; `take_up` goes on from there."""
PARALLEL = 32
"""So many are carried out at the same time for segments, and as many for proposals."""
SHARE = 8
"""So many of each of these go to one destination."""
_ALL = "*"
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs the dispatched actions of one gate.

    Args:
        leases: renews what is being worked on.
    """

    def __init__(self, gate: Gatekeeper, connector: Connectors, leases: OwnLeases) -> None:
        self._gate = gate
        self._connector = connector
        self._leases = leases
        self.probes = Probes(gate)
        self._running: set[asyncio.Task[Any]] = set()
        self._sending: set[asyncio.Task[Any]] = set()
        """Those of them that hold a claim."""
        self._at_once: Counter[str] = Counter()
        self._leaving = False
        self._ended = False
        self._delivering: Counter[str] = Counter()
        self._full_at: dict[str, float] = {}
        """When segments last had to wait for each other, by destination and for all."""
        self._repeated: dict[Lapsed, float] = {}
        """Lapsed claims that were enqueued lately; until when they are not once more."""
        # A claim may wait for a service that holds subjects' keys; deadlines and reports do not wait for it.
        self._claiming = ThreadPoolExecutor(PARALLEL, thread_name_prefix="claims")
        # A report may wait for the database; what is asked of it meanwhile does not wait for reports.
        self._settling = ThreadPoolExecutor(PARALLEL, thread_name_prefix="reports")

    def destination(self, topic: str) -> str:
        """Where actions of a topic go, as the policy at hand has it; the same for all that go nowhere."""
        entry = self._gate.policy.entry(topic)
        if entry is None or not isinstance(entry.execute, DispatchedExecute):
            return ""
        return destination(entry.execute)

    # --- segments ----------------------------------------------------------------------------------------

    async def deliver(self, delivery: Delivery) -> None:
        """Carry out the action of one `dispatch` segment. What the claim refuses ends the segment.

        Raises:
            InterlockError: the machine, and not the action, is at fault: it is delivered again.
        """
        action_id = delivery.ids.get("action", "")
        with self._counted(self.destination(delivery.ids.get("topic", ""))):
            try:
                await asyncio.shield(self._begin(self._taken(action_id, delivery.fence)))
            except (Tampered, ConstraintUnenforceable, NotFound, Erased) as error:
                _log.error("%s was not run: %s", action_id, error)
                return
            except ProbeUnavailable as error:
                _log.warning("%s", error.detail)
                if delivery.attempt < READINGS:
                    raise
                return  # what has waited a while is taken up again
            except (NotClaimable, Expired, InDoubt) as error:
                _log.info("%s was not run: %s", action_id, error.detail)

    async def release(self, delivery: Delivery) -> None:
        """Enqueue what waited for a kill switch that was lifted: the `release` segment."""
        place: Place | None = Place()
        while place is not None:
            place = await asyncio.to_thread(self._gate.walk, place, kill=delivery.ids.get("kill", ""))

    # --- in the caller's own time ------------------------------------------------------------------------

    async def run(self, action_id: str) -> None:
        """Claim one action, carry it out and report.

        Raises:
            NotClaimable, InDoubt, Expired, ConstraintUnenforceable, Tampered: it did not run.
        """
        await self.carry_out(await self._claim(action_id))

    def place(self, topic: str) -> AbstractContextManager[bool]:
        """Whether this process has room to carry out an action of this topic before its proposer is answered.

        Where it has none, or another kind of executor runs it, the action is not to be claimed at once.
        """
        entry = self._gate.policy.entry(topic)
        if entry is None or not isinstance(entry.execute, DispatchedExecute) or self._leaving:
            return nullcontext(False)
        return self._room(destination(entry.execute))

    @contextmanager
    def _room(self, towards: str) -> Iterator[bool]:
        if self._at_once.total() >= PARALLEL or self._at_once[towards] >= SHARE:
            yield False
            return
        self._at_once[towards] += 1
        try:
            yield True
        finally:
            self._at_once[towards] -= 1

    async def at_once(self, proposing: Coroutine[Any, Any, Proposed]) -> Proposed:
        """Await a proposal and carry out what it claimed; both go on where its proposer leaves."""
        return await asyncio.shield(self._begin(self._proposed(proposing)))

    async def _proposed(self, proposing: Coroutine[Any, Any, Proposed]) -> Proposed:
        proposed = await proposing
        if proposed.claim is not None:
            await self._guarded(proposed.claim)
        return proposed

    async def _taken(self, action_id: str, fence: Callable[[Tx], None]) -> None:
        """Claim an action and carry it out. Raises what the claim raises."""

        def refuse(tx: Tx) -> None:
            if self._ended:
                raise HomeUnusable("This process is ending.")
            fence(tx)

        await self._guarded(await self._claim(action_id, refuse))

    async def _claim(self, action_id: str, fence: Callable[[Tx], None] | None = None) -> Claim:
        claim = partial(self._gate.claim, action_id, *DISPATCHED, fence=fence)
        return await asyncio.get_running_loop().run_in_executor(self._claiming, claim)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Have it done, whether or not somebody waits for it."""

        def done(task: asyncio.Task[T]) -> None:
            self._running.discard(task)
            if not task.cancelled():
                task.exception()  # who waited for it was told; where nobody does, nothing was claimed

        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(done)
        return task

    async def _guarded(self, claim: Claim) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if self._ended:
                nothing = Report(ActionState.FAILED, "Nothing was sent: the process that claimed it ended.")
                await self._settle(claim, nothing)
                return
            self._sending.add(task)
            await self.carry_out(claim)
        except InterlockError as error:
            _log.error("%s was claimed, and what became of it is not recorded: %s", claim.action_id, error)
        except Exception:  # noqa: BLE001 (nobody may wait for this any more: its lease lapses)
            _log.exception("%s was claimed, and what became of it is not known", claim.action_id)
        finally:
            self._sending.discard(task)

    @contextmanager
    def _counted(self, towards: str) -> Iterator[None]:
        self._delivering[towards] += 1
        now = time.monotonic()
        if self._delivering[towards] >= SHARE:
            self._full_at[towards] = now
        if self._delivering.total() >= PARALLEL:
            self._full_at[_ALL] = now
        try:
            yield
        finally:
            self._delivering[towards] -= 1

    # --- carrying out ------------------------------------------------------------------------------------

    async def carry_out(self, claim: Claim) -> None:
        """Carry out a claim and report; what happens is in the journal, not in a return value."""
        entry = await asyncio.to_thread(self._gate.entry, claim)
        if entry is None or not isinstance(entry.execute, DispatchedExecute):
            report = Report(ActionState.FAILED, "Nothing was sent: the catalogue has no executor for it.")
        else:
            spec = entry.execute
            with self._leases.keep(claim) as stopping:
                # Who claimed it before sent something, for all anybody knows.
                unanswered = claim.epoch > 1
                outcome = await self._send(claim, spec, stopping, unanswered=unanswered)
                breach = _breach(outcome)
                for pause in RETRY_AFTER_SEC:
                    unanswered = unanswered or isinstance(outcome, Unknown)
                    if stopping.why() is not None or not self._again(outcome, claim):
                        break
                    await asyncio.sleep(max(pause, outcome.retry_after_sec or 0.0))
                    outcome = await self._send(claim, spec, stopping, unanswered=unanswered)
                    # What an earlier attempt broke stays on record, whatever the next one comes to.
                    breach = breach or _breach(outcome)
            report = replace(_report(outcome), breach=breach)
        await self._settle(claim, report)

    async def _send(
        self, claim: Claim, spec: DispatchedExecute, stopping: Stopping, *, unanswered: bool
    ) -> Outcome:
        """One attempt. `unanswered`: an earlier one under the same key may have taken effect."""
        entry = self._gate.entry(claim)
        outcome = await self._connector.send(
            spec,
            claim.binding.args,
            claim.verdict.constraints,
            key=claim.key,
            action=claim.action_id,
            amount_usd=amount_usd(claim, entry),
            read_only=claim.verdict.tier is Tier.READ_ONLY,
            halted=lambda: self._halted(claim),
            stopping=stopping,
        )
        if unanswered and isinstance(outcome, Failed) and outcome.proof not in ANY_ATTEMPT:
            reason = f"an earlier attempt went unanswered, and now {outcome.reason}"
            return Unknown(reason, outcome.breach, outcome.retry_after_sec)
        return outcome

    async def _halted(self, claim: Claim) -> str | None:
        """Why nothing of it may be sent any more; also where that cannot be found out."""
        return await asyncio.get_running_loop().run_in_executor(self._claiming, self._leases.withheld, claim)

    def _again(self, outcome: Outcome, claim: Claim) -> TypeGuard[Failed | Unknown]:
        """Whether another attempt does no harm and may help."""
        if isinstance(outcome, Succeeded) or (outcome.retry_after_sec or 0.0) > MAX_WAIT_SEC:
            return False
        if isinstance(outcome, Failed):
            # Refused without effect, and asked to come back: this repeats nothing.
            return outcome.proof == "no_effect_attempt" and outcome.retry_after_sec is not None
        return self._remembered(claim, outcome.retry_after_sec or 0.0)

    def _remembered(self, claim: Claim, wait_sec: float) -> bool:
        """Whether the service still answers our key with its first answer, after a wait."""
        if claim.retention_sec is None:
            return False
        clock, until = self._gate.journal.clock, remembered_until(claim.claimed_at, claim.retention_sec)
        try:
            clock.check()
        except ClockJumped:
            return False  # nobody knows how long ago the claim was
        return clock.now() + int(wait_sec * 1_000_000) < until

    async def _settle(self, claim: Claim, report: Report) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(loop.run_in_executor(self._settling, self._leases.settle, claim, report))
        except StaleClaim as error:
            _log.warning("%s: %s", claim.action_id, error.detail)

    # --- time --------------------------------------------------------------------------------------------

    async def serve(self, stop: asyncio.Event) -> None:
        """Let deadlines pass, and enqueue what may run and has no segment, until `stop` is set."""
        await asyncio.gather(
            self._repeat(stop, self._gate.sweep),
            self._repeat(stop, self._gate.redecide_open),
            self._repeat(stop, self.repeat_lapsed),
            self._repeat(stop, self.take_up, LEFT_SEC),
            self._repeat(stop, self.probes.due),
        )

    def leave(self) -> None:
        """Claim nothing more for proposals: what is allowed from now on leaves a segment for others."""
        self._leaving = True

    async def end(self, seconds: float) -> None:
        """Let what is being carried out end within `seconds`, and cancel the rest: its lease lapses, and then
        it is in doubt, or repeated where it may be."""
        self.leave()
        until = time.monotonic() + seconds
        while (self._running or self._at_once.total()) and time.monotonic() < until:  # noqa: ASYNC110 (two of them)
            await asyncio.sleep(PAUSE_SEC)
        self._ended = True
        for task in self._sending:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CLAIMING_SEC)
        self._claiming.shutdown(wait=False, cancel_futures=True)
        self._settling.shutdown(wait=False)
        self.probes.close()

    def repeat_lapsed(self) -> int:
        """Enqueue the claims whose holder is gone and that may be repeated; how many."""
        now = time.monotonic()
        self._repeated = {claim: until for claim, until in self._repeated.items() if now < until}
        fresh = [claim for claim in self._gate.lapsed() if claim not in self._repeated]
        if fresh:
            self._gate.dispatch(fresh)
            self._repeated.update(dict.fromkeys(fresh, now + LEFT_SEC))
        return len(fresh)

    def take_up(self) -> int:
        """Enqueue what may run and has waited for `LEFT_SEC`: nobody seems to have a segment for it.

        Not while segments queue up here, nor what goes where they do: then they wait because there are many.
        How many pages were walked.
        """
        since = time.monotonic() - LEFT_SEC
        full = {one for one, at in tuple(self._full_at.items()) if at > since}
        if _ALL in full:
            return 0
        pages = 0
        before = self._gate.journal.clock.now() - int(LEFT_SEC * 1_000_000)
        following: Place | None = Place()
        while following is not None:
            following = self._gate.walk(
                following, before=before, wanted=lambda topic: self.destination(topic) not in full
            )
            pages += 1
        return pages

    async def _repeat(
        self, stop: asyncio.Event, step: Callable[[], int], every_sec: float = SWEEP_SEC
    ) -> None:
        """What is due from time to time; deadlines do not wait for what a new policy has to look at again.

        Whatever one of them fails with, all go on; the same trouble is told once.
        """
        told = ""
        while not stop.is_set():
            said = ""
            try:
                if self._gate.journal.halted is None:
                    await asyncio.to_thread(step)
            except Exception as error:  # noqa: BLE001
                said = str(error) if isinstance(error, InterlockError) else repr(error)
                if said != told:
                    _log.error("%s: %s", step.__name__, said)
            told = said
            await _pause(stop, every_sec)


def _breach(outcome: Outcome) -> str | None:
    return None if isinstance(outcome, Succeeded) else outcome.breach


def _report(outcome: Outcome) -> Report:
    match outcome:
        case Succeeded():
            return Report(ActionState.SUCCEEDED, outcome.note, outcome.result)
        case Failed():
            return Report(ActionState.FAILED, outcome.note)
        case Unknown():
            return Report(ActionState.IN_DOUBT, outcome.note)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
