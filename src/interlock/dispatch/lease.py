"""Leases: while a claim is worked on, one background thread of the process keeps renewing it.

1. A renewal that fails changes nothing here: if the lease lapses, the sweep decides what the action becomes,
   and the late report is settled by the gate's rules.
2. The same thread looks at the kill switches, every `SIGNAL_SEC` seconds while something is worked on. What
   one covers is renewed no more, and whoever listens is told, once for each claim: a call that is under way
   can only be ended by whoever makes it. Who makes it listens at what `keep` hands out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from interlock.dispatch.stopping import Stopping
from interlock.gate import Claim, Gatekeeper
from interlock.model.errors import InterlockError

RENEW_SEC = 5.0
SIGNAL_SEC = 0.5
_log = logging.getLogger(__name__)


def withheld(gate: Gatekeeper, claim: Claim) -> str | None:
    """Why nothing of a claim may begin any more, as a clause, also where that cannot be found out; None
    where it may. Asked directly before the effect: whoever claimed may have been stopped since then."""
    try:
        return gate.unsendable(claim)
    except InterlockError as error:
        return f"the gate could not be asked ({error.slug})"


class Leases:
    """The claims this process is working on."""

    def __init__(self, gate: Gatekeeper) -> None:
        self._gate = gate
        self._held: dict[tuple[str, int, int], Claim] = {}
        self._stopping: dict[tuple[str, int, int], Stopping] = {}
        self._told: set[tuple[str, int, int]] = set()
        self._listeners: list[Callable[[Claim, str], None]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, claim: Claim) -> Iterator[Stopping]:
        """Renew the claim's lease every `RENEW_SEC` seconds until the block ends."""
        name, stopping = _name(claim), Stopping()
        with self._lock:
            self._held[name] = claim
            self._stopping[name] = stopping
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._thread.start()
        try:
            yield stopping
        finally:
            with self._lock:
                del self._held[name], self._stopping[name]
                self._told.discard(name)

    def on_stop(self, listener: Callable[[Claim, str], None]) -> None:
        """Call `listener(claim, why)` in the background when a kill switch covers what is being worked on."""
        self._listeners.append(listener)

    def close(self) -> None:
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._wake.wait(SIGNAL_SEC):
            with self._lock:
                held = list(self._held.values())
            if not held:
                continue
            self._signal(held)
            if time.monotonic() - renewed < RENEW_SEC:
                continue
            renewed = time.monotonic()
            for claim in held:
                try:
                    self._gate.renew(claim)
                except InterlockError as error:
                    _log.warning("lease of %s was not renewed: %s", claim.action_id, error.detail)

    def _signal(self, held: list[Claim]) -> None:
        try:
            stopped = self._gate.halted(held)
        except InterlockError as error:
            _log.warning("the kill switches could not be asked: %s", error.detail)
            return
        for claim, why in stopped:
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


def _name(claim: Claim) -> tuple[str, int, int]:
    return claim.action_id, claim.revision, claim.epoch
