"""A worker: runs what was approved for functions that are registered here, whoever proposed it and is gone.

1. It runs actions of its gate's agent whose topic is guarded in this process, allowed or approved; each in
   its claim, under a lease that is renewed, as `gate.resume` does. Several workers share the work: the claim
   makes each action run once.
2. What has no function here is left to others, and said once for each topic. What refuses to run is said, and
   looked at again after `REFUSED_SEC`; what the database could not be asked about, after `AWAY_SEC`.
3. Callbacks of `gate.on_decided` are told of everything that became of the agent's actions, also while no
   process was there: by one worker at a time, from where the last one was.
4. It serves the home beside that: segments, deadlines, lapsed leases.
5. Asked to stop it begins nothing more, and lets what runs end for a while. A function cannot be interrupted:
   what still runs then ends with the process. Nobody reports it, and it is in doubt.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from interlock.client.backend import Backend
from interlock.client.registry import Guarded
from interlock.dispatch import call, call_async
from interlock.gate.resumable import Resumable
from interlock.model.errors import HomeUnusable, InDoubt, InterlockError, NotClaimable, Tampered

POLL_SEC = 0.25
REFUSED_SEC = 60.0
AWAY_SEC = 1.0
_log = logging.getLogger(__name__)


class Worker:
    """Works for one gate."""

    def __init__(
        self,
        backend: Backend,
        guarded: Mapping[str, Guarded],
        callbacks: list[Callable[[Any], Any]],
        parallel: int,
        tell: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self._backend = backend
        self._guarded = guarded
        self._callbacks = callbacks
        self._parallel = parallel
        self._tell = tell or (lambda _: None)
        self._running: dict[str, threading.Thread] = {}
        self._refused: dict[tuple[str, int], float] = {}
        self._strange: set[str] = set()
        self._wake = threading.Event()
        self._failure: BaseException | None = None

    def run(self, stop: threading.Event, drain_sec: float) -> None:
        """Until `stop` is set. Raises whatever ended what serves the home."""
        follower = self._backend.follow(self._callbacks) if self._callbacks else None
        loop, ending = asyncio.new_event_loop(), asyncio.Event()
        serving = threading.Thread(target=self._serve, args=(loop, ending), name="serving", daemon=True)
        serving.start()
        if follower is not None:
            follower.start()
        try:
            while not stop.is_set() and self._failure is None:
                self._wake.clear()
                self._round()
                self._pause(stop)
        finally:
            self._tell({"event": "draining", "running": sorted(self._running)})
            loop.call_soon_threadsafe(ending.set)
            until = time.monotonic() + drain_sec
            self._drain(until)
            if follower is not None and not follower.close(max(0.0, until - time.monotonic())):
                _log.error("a callback still runs and ends with this process; its event is told again")
            serving.join()
            loop.close()
        if self._failure is not None:
            raise self._failure

    def run_once(self) -> None:
        """Run what may run now, tell what is to be told, and whatever follows from both; then return."""
        follower = self._backend.follow(self._callbacks) if self._callbacks else None
        while True:
            self._backend.catch_up()
            while self._round() or self._running:
                self._wake.wait(POLL_SEC)
                self._wake.clear()
            if follower is not None:
                follower.catch_up()
            if not self._ready():
                return

    # --- inside ------------------------------------------------------------------------------------------

    def _pause(self, stop: threading.Event) -> None:
        """Until something was committed, or ended, or a while has passed."""
        until = time.monotonic() + POLL_SEC
        while not (stop.is_set() or self._wake.is_set()) and (left := until - time.monotonic()) > 0:
            self._wake.wait(min(left, 0.05))

    def _round(self) -> int:
        """Begin what may run, as far as there is room; how many."""
        begun = 0
        try:
            for found in self._ready():
                if len(self._running) >= self._parallel:
                    break
                self._start(found)
                begun += 1
        except InterlockError as error:
            _log.warning("nothing is begun: %s", error)
        return begun

    def _ready(self) -> list[Resumable]:
        now = time.monotonic()
        self._refused = {one: until for one, until in self._refused.items() if until > now}
        busy = {*self._running, *(id for id, _ in self._refused)}
        found, others = self._backend.resumable(self._guarded.keys(), self._parallel + len(busy))
        for topic, action_id in others.items():
            if topic not in self._strange:
                self._strange.add(topic)
                self._tell({"event": "left", "action": action_id, "topic": topic})
        running = set(self._running)
        return [one for one in found if one.id not in running and (one.id, one.revision) not in self._refused]

    def _start(self, found: Resumable) -> None:
        thread = threading.Thread(target=self._run, args=(found,), name=found.id, daemon=True)
        self._running[found.id] = thread
        thread.start()

    def _run(self, found: Resumable) -> None:
        about = {"action": found.id, "topic": found.topic}
        try:
            guarded = self._guarded[found.topic]
            try:
                guarded.check(self._backend.action(found.id))
                claim = self._backend.claim(found.id, guarded.function)
            except InterlockError as error:
                away = isinstance(error, HomeUnusable) and not isinstance(error, Tampered)
                wait = AWAY_SEC if away else REFUSED_SEC
                self._refused[found.id, found.revision] = time.monotonic() + wait
                if not isinstance(error, (NotClaimable, InDoubt)):
                    _log.warning("%s was not run: %s", found.id, error)
                self._tell({"event": "refused", **about, "detail": error.detail})
                return
            self._tell({"event": "running", **about, "revision": claim.revision, "epoch": claim.epoch})
            try:
                if guarded.is_async:
                    asyncio.run(call_async(claim, guarded.function))
                else:
                    call(claim, guarded.function)
            except BaseException as error:  # noqa: BLE001
                # What it raised is recorded with its outcome; here it ends one thread, and never the worker.
                _log.warning("%s raised %s", found.id, type(error).__name__)
            self._tell({"event": "ended", **about, "state": self._backend.action(found.id)["state"]})
        except InterlockError as error:
            _log.error("%s: %s", found.id, error)
        finally:
            del self._running[found.id]
            self._wake.set()

    def _drain(self, until: float) -> None:
        for thread in tuple(self._running.values()):
            thread.join(max(0.0, until - time.monotonic()))
        for action_id in sorted(self._running):
            _log.error("%s still runs and ends with this process: it will be in doubt", action_id)
            self._tell({"event": "abandoned", "action": action_id})

    def _serve(self, loop: asyncio.AbstractEventLoop, ending: asyncio.Event) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._backend.serve(ending, self._wake.set))
        except BaseException as error:  # noqa: BLE001 (raised again where the worker waits)
            self._failure = error
            self._wake.set()
