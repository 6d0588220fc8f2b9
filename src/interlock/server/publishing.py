"""Publishing the ledger while the server runs, and how that goes.

1. What may pass, as a database or a disk that is away, never stops the server; what somebody did to the
   record does.
2. Every round is compared with what was there to sign: what has not been signed, or followed, within
   `BEHIND_SEC` is an error, whatever the rounds themselves say. Somebody else may hold the lease and do
   nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from interlock.home import Home
from interlock.model.errors import HomeUnusable, RecoveryRequired, Tampered

PUBLISH_SEC = 1.0
BEHIND_SEC = 15.0
"""How long entries may wait for a signature: three leases."""
_log = logging.getLogger(__name__)


class Publishing:
    """The publishing of one home.

    Args:
        clock: seconds, from some moment on, for rule 2.

    Attributes:
        problem: why nothing is signed, as far as the last round knows; or empty.
    """

    def __init__(self, home: Home, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock
        self.problem = ""
        self._told = ""
        self._wanted = 0
        """How many entries there were at `_since`; all of them were not signed since."""
        self._since = clock()

    @property
    def standing(self) -> str:
        """As ``/readyz`` says it: ``signed``, or ``failing:`` and why."""
        late = self._clock() - self._since > BEHIND_SEC
        problem = self.problem or (f"nothing was signed for {BEHIND_SEC:g} s" if late else "")
        return f"failing: {problem}" if problem else "signed"

    async def run(self, stop: asyncio.Event) -> None:
        """Publish each second until the server stops. Raises `Tampered` where somebody changed the record."""
        while not stop.is_set():
            await run_in_threadpool(self.round)
            try:
                async with asyncio.timeout(PUBLISH_SEC):
                    await stop.wait()
            except TimeoutError:
                continue

    def round(self) -> None:
        """One turn. Raises `Tampered`."""
        home, problem = self._home, ""
        try:
            try:
                if home.recovery.stands():
                    self._since = self._clock()  # nothing is to be signed
                else:
                    home.publisher.publish()
                    problem = self._late()
            except RecoveryRequired as error:
                home.recovery.begin(error)
        except Tampered:
            raise
        except (HomeUnusable, SQLAlchemyError, OSError) as error:
            problem = str(error)
        if problem and problem != self._told:
            _log.error("nothing is signed: %s", problem)
        self.problem = self._told = problem
        if home.views.console is not None and home.server_url() is None:
            home.announce(home.views.console)  # another server of this home has left

    def _late(self) -> str:
        """Why this is not what rule 2 wants; or empty."""
        signed, now = self._home.publisher.signed()[0], self._clock()
        if signed >= self._wanted:
            self._wanted, self._since = self._home.journal.head()[0], now
        if now - self._since <= BEHIND_SEC:
            return ""
        return f"{self._wanted - signed} entries wait for their signature; another host was to sign them."
