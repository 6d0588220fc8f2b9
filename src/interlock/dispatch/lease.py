"""Leases: while a claim is worked on, one background thread of the process keeps renewing it.

A renewal that fails changes nothing here: if the lease lapses, the sweep decides what the action becomes, and
the late report is settled by the gate's rules.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.gate import Claim, Gatekeeper
from interlock.model.errors import InterlockError

RENEW_SEC = 5.0
_log = logging.getLogger(__name__)


class Leases:
    """The claims this process is working on."""

    def __init__(self, gate: Gatekeeper) -> None:
        self._gate = gate
        self._held: dict[tuple[str, int, int], Claim] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, claim: Claim) -> Iterator[None]:
        """Renew the claim's lease every `RENEW_SEC` seconds until the block ends."""
        name = (claim.action_id, claim.revision, claim.epoch)
        with self._lock:
            self._held[name] = claim
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[name]

    def close(self) -> None:
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _renew(self) -> None:
        while not self._wake.wait(RENEW_SEC):
            with self._lock:
                held = list(self._held.values())
            for claim in held:
                try:
                    self._gate.renew(claim)
                except InterlockError as error:
                    _log.warning("lease of %s was not renewed: %s", claim.action_id, error.detail)
