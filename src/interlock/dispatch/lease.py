"""Leases: while a claim is worked on the process keeps renewing it; then it says what became of it.

1. One thread renews all of them together, in one transaction. A renewal that fails changes nothing here: if
   the lease lapses, the sweep decides what the action becomes, and the late report is settled by the gate's
   rules.
2. Another one looks at the kill switches, every `SIGNAL_SEC` seconds while something is worked on, and waits
   for no renewal. What a switch covers is renewed no more, and whoever listens is told, once for each claim:
   a call that is under way can only be ended by whoever makes it. Who makes it listens at what `keep` hands
   out.
3. Neither thread ends before `close`, whatever goes wrong in a round.
4. What became of a claim is recorded, however long the journal or the service that holds subjects' keys is
   away, up to `SETTLE_SEC`, or until this process closes its home: after that it is in doubt.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Generic, Protocol, TypeVar

from interlock.dispatch.stopping import Stopping
from interlock.gate import Claim, Gatekeeper, Report
from interlock.journal import KeyNeeded, KeysUnavailable
from interlock.model.errors import HomeUnusable, InterlockError, Tampered

RENEW_SEC = 5.0
SIGNAL_SEC = 0.5
SETTLE_SEC = 120.0
ASKING_SEC = 15.0
"""As long as a lease lasts. A journal that is away longer than that leaves nothing to begin."""
AGAIN_SEC = 0.5
_log = logging.getLogger(__name__)


class Leased(Protocol):
    """A claim, by what names it."""

    @property
    def action_id(self) -> str: ...

    @property
    def revision(self) -> int: ...

    @property
    def epoch(self) -> int: ...


C = TypeVar("C", bound=Leased)


class Renewing(Protocol[C]):
    """A gate, as far as leases need one: the gatekeeper of this process, or a server elsewhere."""

    def renew(self, claimed: Sequence[C], /) -> list[C]:
        """Extend the leases of claims; those that still hold something."""
        ...

    def halted(self, running: Sequence[C], /) -> list[tuple[C, str]]:
        """Those that a kill switch covers now, each with a clause about it."""
        ...


class Leases(Generic[C]):
    """The claims this process is working on.

    Args:
        signal_sec: how often the kill switches are looked at.
    """

    def __init__(self, gate: Renewing[C], *, signal_sec: float = SIGNAL_SEC) -> None:
        self._gate = gate
        self._signal_sec = signal_sec
        self._held: dict[tuple[str, int, int], C] = {}
        self._stopping: dict[tuple[str, int, int], Stopping] = {}
        self._told: set[tuple[str, int, int]] = set()
        self._listeners: list[Callable[[C, str], None]] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    @contextmanager
    def keep(self, claim: C) -> Iterator[Stopping]:
        """Renew the claim's lease every `RENEW_SEC` seconds until the block ends."""
        name, stopping = _name(claim), Stopping()
        with self._lock:
            self._held[name] = claim
            self._stopping[name] = stopping
            if not self._threads:
                self._start("leases", RENEW_SEC, self._gate.renew)
                self._start("stops", self._signal_sec, self._signal)
        try:
            yield stopping
        finally:
            with self._lock:
                del self._held[name], self._stopping[name]
                self._told.discard(name)

    def on_stop(self, listener: Callable[[C, str], None]) -> None:
        """Call `listener(claim, why)` in the background when a kill switch covers what is being worked on."""
        self._listeners.append(listener)

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _start(self, name: str, every_sec: float, round: Callable[[list[C]], object]) -> None:
        thread = threading.Thread(target=self._repeat, args=(every_sec, round), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _repeat(self, every_sec: float, round: Callable[[list[C]], object]) -> None:
        failed = ""
        while not self._over.wait(every_sec):
            with self._lock:
                held = list(self._held.values())
            if not held:
                continue
            try:
                round(held)
                failed = ""
            except Exception as error:  # noqa: BLE001 (rule 3)
                said = error.detail if isinstance(error, InterlockError) else type(error).__name__
                if said != failed:
                    _log.warning("%s: %s", threading.current_thread().name, said)
                failed = said

    def _signal(self, held: list[C]) -> None:
        for claim, why in self._gate.halted(held):
            with self._lock:
                if _name(claim) in self._told or _name(claim) not in self._held:
                    continue
                self._told.add(_name(claim))
                stopping = self._stopping[_name(claim)]
            _log.warning("%s is running and is to stop: %s", claim.action_id, why)
            tells: list[Callable[[], None]] = [partial(stopping.tell, why)]
            tells += [partial(listener, claim, why) for listener in self._listeners]
            for tell in tells:
                try:
                    tell()
                except Exception:  # noqa: BLE001 (the leases of all others hang on this thread)
                    _log.exception("a listener failed when %s was to stop", claim.action_id)


class OwnLeases(Leases[Claim]):
    """The claims of this process's own gate."""

    def __init__(self, gate: Gatekeeper) -> None:
        super().__init__(gate)
        self._own = gate

    def withheld(self, claim: Claim) -> str | None:
        """Why nothing of a claim may begin any more, as a clause, also where that cannot be found out; None
        where it may. Asked directly before the effect: whoever claimed may have been stopped since then.

        While the journal is away nobody knows. Nothing begins meanwhile; it is asked again for a while.
        """
        until = time.monotonic() + ASKING_SEC
        while True:
            try:
                return self._own.unsendable(claim)
            except InterlockError as error:
                away = isinstance(error, HomeUnusable) and not isinstance(error, Tampered)
                if not away or time.monotonic() >= until or self._over.wait(AGAIN_SEC):
                    return f"the gate could not be asked ({error.slug})"

    async def withheld_async(self, claim: Claim) -> str | None:
        """As `withheld`, without blocking the event loop: a journal at hand is asked in its own thread."""
        if self._own.journal.database.free():
            with suppress(InterlockError):  # where it is away, somebody else waits for it
                return self._own.unsendable(claim)
        return await asyncio.to_thread(self.withheld, claim)

    def settle(self, claim: Claim, report: Report) -> None:
        """Record what became of a claim (rule 4). Blocks for as long as that takes.

        Raises:
            StaleClaim: it no longer holds the action. HomeUnusable, KeysUnavailable: it is not recorded.
        """
        until = time.monotonic() + SETTLE_SEC
        while True:
            try:
                self._own.settle(claim, report)
            except Tampered:
                raise
            except (HomeUnusable, KeysUnavailable):
                if time.monotonic() >= until or self._over.wait(AGAIN_SEC):
                    raise
            else:
                return

    async def settle_async(self, claim: Claim, report: Report) -> None:
        """As `settle`, without blocking the event loop."""
        try:
            await self._own.settle_async(claim, report)
        except Tampered:
            raise
        except (HomeUnusable, KeysUnavailable, KeyNeeded):
            await asyncio.to_thread(self.settle, claim, report)


def _name(claim: Leased) -> tuple[str, int, int]:
    return claim.action_id, claim.revision, claim.epoch
