"""The work of a serving process: which kinds of segment it carries out, and the engine that delivers them.

1. Only `serve` and `worker` run this. Opening a home, proposing and deciding leave rows, and load no engine.
2. On PostgreSQL a process hears of the commits of others, and looks for work at once.
3. The engine stands on the journal's own database: the same file behind the same turnstile, or the same
   server. It is launched when the journal may be written; until then, and where it cannot start, the process
   says so (`standing`) and tries again.
4. Nobody waits for somebody else's service: of the places of a process one service gets at most a share, and
   so does one receiver of webhooks. What is over that waits in the queue, for whichever process has room.
5. A process that stops begins nothing more, lets what runs end for `DRAIN_SEC`, and hands on the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from interlock.dispatch import Dispatcher
from interlock.dispatch.dispatcher import PARALLEL, SHARE
from interlock.dispatch.webhooks import Webhooks
from interlock.engine import Engine, Retry, Segment, Share
from interlock.gate.following import DISPATCH, PROBE, RELEASE
from interlock.home.home import Home
from interlock.model.errors import HomeUnusable, InterlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interlock.journal.hearing import Hearing

DRAIN_SEC = 20.0
AGAIN_SEC = 2.0
PATIENT = Retry(attempts=30, first_sec=1.0, factor=2.0, longest_sec=60.0)
_log = logging.getLogger(__name__)


class NotStanding(HomeUnusable):
    """This process begins no work now: it starts or stops, or cannot renew its lease."""

    slug = "not-standing"
    title = "This process carries out nothing at present"
    advice = "What was decided stays recorded, and is carried out by whoever may."


class Work:
    """What one serving process of a home carries out.

    Args:
        dispatcher: carries out actions, on the loop that `run` runs on.
    """

    def __init__(self, home: Home, dispatcher: Dispatcher) -> None:
        self._home = home
        self._dispatcher = dispatcher
        self._engine: Engine | None = None
        self._why = "It is starting."
        self._hearing: Hearing | None = None
        self._listeners: list[Callable[[], None]] = []
        self.heard = 0
        """How often another process's commit was heard of."""

    def segments(self) -> Iterable[Segment]:
        """Each kind of segment with its handler."""
        towards = Share(SHARE, lambda ids: self._dispatcher.destination(ids.get("topic", "")))
        return (
            # How often each queue is looked at is what a process that has nothing to do spends.
            Segment(PROBE, self._dispatcher.probes.deliver, PATIENT, timeout_sec=60.0, poll_sec=0.3),
            Segment(
                DISPATCH,
                self._dispatcher.deliver,
                PATIENT,
                timeout_sec=900.0,
                parallel=PARALLEL,
                share=towards,
            ),
            Segment(RELEASE, self._dispatcher.release, PATIENT, timeout_sec=900.0, parallel=1, poll_sec=1.0),
            Webhooks(self._home.journal, self._home.webhooks.read, self._home.server_url).segment,
        )

    @property
    def standing(self) -> bool:
        """Whether this process may begin work."""
        return self._engine is not None and self._engine.standing

    def check(self) -> None:
        """Raises `NotStanding` unless this process may begin work."""
        if not self.standing:
            raise NotStanding(self._why or "The lease of this process lapsed, or it is stopping.")

    def on_news(self, listener: Callable[[], None]) -> None:
        """Call `listener()`, from a thread, when another process has committed; it must be quick."""
        self._listeners.append(listener)

    @property
    def told(self) -> bool:
        """Whether the database tells this process at present when others commit."""
        return self._hearing is not None and self._hearing.alive

    def _heard(self) -> None:
        self.heard += 1
        if self._engine is not None:
            self._engine.wake()
        for listener in self._listeners:
            listener()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver segments until `stop` is set, and drain."""
        self._hearing = self._home.journal.listen(self._heard)
        try:
            await self._run(stop)
        finally:
            if self._hearing is not None:
                await asyncio.to_thread(self._hearing.close)

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if self._home.journal.halted is None:
                    self._engine, self._why = await self._launched(), ""
                    break
            except InterlockError as error:
                if str(error) != self._why:
                    self._why = str(error)
                    _log.error("nothing is carried out: %s", error)
            await _pause(stop, AGAIN_SEC)
        await stop.wait()
        self._dispatcher.leave()
        until = time.monotonic() + DRAIN_SEC
        if self._engine is not None:
            await asyncio.to_thread(self._engine.drain, DRAIN_SEC)
        await self._dispatcher.end(max(0.0, until - time.monotonic()))

    async def _launched(self) -> Engine:
        loop = asyncio.get_running_loop()

        def launch() -> Engine:
            from interlock.engine.on_dbos import DbosBackend

            journal = self._home.journal
            backend = DbosBackend(journal, journal.database.url)
            engine = Engine(journal, backend, folder=self._home.path / "executors", told=lambda: self.told)
            for segment in self.segments():
                engine.handle(segment)
            engine.launch(loop)
            return engine

        return await asyncio.to_thread(launch)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
