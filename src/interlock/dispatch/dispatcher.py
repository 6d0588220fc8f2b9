"""The dispatcher: claims `http`, `sql` and `mcp` actions that may run, calls out, and reports.

1. Any serving process may run any of them; the claim makes it once.
2. An answer that leaves the effect unknown is retried with the same key, at growing intervals, only where
   the catalogue says that the service answers a repeated key with its first answer, and only while that
   lasts; then it is `in_doubt`. A service that says when to come back is given that time, up to
   `MAX_WAIT_SEC`; where it refused the attempt without effect, it is asked again whatever the catalogue says.
3. A proof about one attempt proves nothing about an earlier one that went unanswered.
4. Before the first byte of each attempt the kill switches are asked once more; what one covers is not sent.
5. The entry that is executed is the one that was decided on and shown, not whatever the file says now.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeGuard

from interlock.dispatch.caller import amount_usd
from interlock.dispatch.connectors import Connectors
from interlock.dispatch.lease import Leases
from interlock.dispatch.outcome import ONE_ATTEMPT, Failed, Outcome, Succeeded, Unknown
from interlock.gate import Claim, Gatekeeper, Report
from interlock.gate.claim import remembered_until
from interlock.journal import ConnectionLost
from interlock.model.actions import DISPATCHED, ActionState
from interlock.model.errors import Expired, InterlockError, NotClaimable
from interlock.model.verdicts import Tier
from interlock.policy import DispatchedExecute

RETRY_AFTER_SEC = (0.25, 1.0, 4.0)
MAX_WAIT_SEC = 30.0
"""The longest a service is waited for that says when to come back."""
POLL_SEC = 0.2
SWEEP_SEC = 0.5
PARALLEL = 16
REFUSED_SEC = 60.0
_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs the dispatched actions of one gate.

    Args:
        leases: renews what is being worked on.
    """

    def __init__(self, gate: Gatekeeper, connector: Connectors, leases: Leases) -> None:
        self._gate = gate
        self._connector = connector
        self._leases = leases
        self._running: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, float] = {}
        # A claim may wait for a service that holds subjects' keys; deadlines and reports do not wait for it.
        self._claiming = ThreadPoolExecutor(PARALLEL, thread_name_prefix="claims")

    async def run(self, action_id: str) -> None:
        """Claim one action, carry it out and report.

        Raises:
            NotClaimable, InDoubt, Expired, ConstraintUnenforceable, Tampered: it did not run.
        """
        loop = asyncio.get_running_loop()
        claim = await loop.run_in_executor(self._claiming, self._gate.claim, action_id, *DISPATCHED)
        await self.carry_out(claim)

    async def at_once(self, action_id: str) -> None:
        """Carry out an allowed action before its proposer is answered; another process may be faster."""
        if self._due(action_id):
            self._start(action_id)
            await asyncio.shield(self._running[action_id])

    async def carry_out(self, claim: Claim) -> None:
        """Carry out a claim and report; what happens is in the journal, not in a return value."""
        entry = await asyncio.to_thread(self._gate.entry, claim)
        if entry is None or not isinstance(entry.execute, DispatchedExecute):
            report = Report(ActionState.FAILED, "Nothing was sent: the catalogue has no executor for it.")
        else:
            spec = entry.execute
            with self._leases.keep(claim):
                # Who claimed it before sent something, for all anybody knows.
                unanswered = claim.epoch > 1
                outcome = await self._send(claim, spec, unanswered=unanswered)
                for pause in RETRY_AFTER_SEC:
                    unanswered = unanswered or isinstance(outcome, Unknown)
                    if not self._again(outcome, claim):
                        break
                    await asyncio.sleep(max(pause, outcome.retry_after_sec or 0.0))
                    outcome = await self._send(claim, spec, unanswered=unanswered)
            report = _report(outcome)
        await asyncio.shield(asyncio.to_thread(self._gate.settle, claim, report))

    async def _send(self, claim: Claim, spec: DispatchedExecute, *, unanswered: bool) -> Outcome:
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
        )
        if unanswered and isinstance(outcome, Failed) and outcome.proof in ONE_ATTEMPT:
            reason = f"an earlier attempt went unanswered, and now {outcome.reason}"
            return Unknown(reason, outcome.breach, outcome.retry_after_sec)
        return outcome

    async def _halted(self, claim: Claim) -> str | None:
        """Why nothing of it may be sent any more; also where that cannot be found out."""
        try:
            found = await asyncio.to_thread(self._gate.halted, [claim])
        except InterlockError as error:
            return f"the kill switches could not be asked ({error.slug})"
        return found[0][1] if found else None

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
        until = remembered_until(claim.claimed_at, claim.retention_sec)
        return self._gate.journal.clock.now() + int(wait_sec * 1_000_000) < until

    async def serve(self, stop: asyncio.Event) -> None:
        """Run what may run and let deadlines pass, until `stop` is set; then finish what has started."""
        await asyncio.gather(
            self._dispatch_loop(stop),
            self._repeat(stop, self._gate.sweep),
            self._repeat(stop, self._gate.redecide_open),
        )
        if self._running:
            await asyncio.wait(self._running.values())

    async def _dispatch_loop(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            room = PARALLEL - len(self._running)
            if room > 0:
                for action_id in await self._ready(room + len(self._running) + len(self._refused)):
                    if self._due(action_id):
                        self._start(action_id)
            await _pause(stop, POLL_SEC)

    async def _ready(self, limit: int) -> list[str]:
        """What may run; nothing while the database is away or stopped."""
        if self._gate.journal.halted is not None:
            return []
        try:
            return await asyncio.to_thread(self._gate.ready, limit)
        except ConnectionLost as error:
            _log.error("nothing is dispatched: %s", error)
            return []

    async def _repeat(self, stop: asyncio.Event, step: Callable[[], int]) -> None:
        """What is due from time to time; deadlines do not wait for what a new policy has to look at again."""
        while not stop.is_set():
            try:
                if self._gate.journal.halted is None:
                    await asyncio.to_thread(step)
            except InterlockError as error:
                _log.error("%s: %s", step.__name__, error)
            await _pause(stop, SWEEP_SEC)

    def _due(self, action_id: str) -> bool:
        if action_id in self._running or len(self._running) >= PARALLEL:
            return False
        if time.monotonic() < self._refused.get(action_id, 0.0):
            return False
        self._refused.pop(action_id, None)
        return True

    def _start(self, action_id: str) -> None:
        task = asyncio.create_task(self._guarded(action_id), name=action_id)
        self._running[action_id] = task
        task.add_done_callback(lambda _: self._running.pop(action_id, None))

    async def _guarded(self, action_id: str) -> None:
        try:
            await self.run(action_id)
        except (NotClaimable, Expired) as error:
            _log.info("%s was not run: %s", action_id, error.detail)
        except InterlockError as error:
            # It stays as it is until it expires; asking again at once would say the same.
            self._refused[action_id] = time.monotonic() + REFUSED_SEC
            _log.error("%s was not run: %s", action_id, error)


def _report(outcome: Outcome) -> Report:
    match outcome:
        case Succeeded():
            return Report(ActionState.SUCCEEDED, outcome.note, outcome.result)
        case Failed():
            return Report(ActionState.FAILED, outcome.note, breach=outcome.breach)
        case Unknown():
            return Report(ActionState.IN_DOUBT, outcome.note, breach=outcome.breach)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
