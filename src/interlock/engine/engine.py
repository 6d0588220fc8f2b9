"""The engine of one process: its lease, its handlers, and the loops that keep work moving.

1. Three threads run between `launch` and `drain`. One renews the lease. One takes segments over from the
   outbox, as soon as this process commits or is told that another did, and every `POLL_SEC` (`TOLD_SEC` where
   it is told) in any case. One reaps.
2. No attempt begins unless the lease, counted in elapsed time from before its last renewal, still lasts: a
   process that cannot reach the journal, or may not write it, begins nothing.
3. An attempt that raises, or takes too long, is followed by another one after a rest, under the next number,
   until the last. Then the segment is given up: whoever registered it is told, until that is recorded, and
   the backend keeps it. The error's own text goes into no table of the backend.
4. A process that finds its epoch spent cancels what it runs and joins anew under another id. What it had
   begun is delivered again to whoever is alive.
5. What was taken over from the dead `redelivered.MOST` times is given up instead of delivered once more, in
   the same way.
6. Draining begins nothing more, lets what runs end for a while, cancels the rest, hands it on, and gives the
   lease back. Where even that fails the lease lapses, and others take over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from interlock.engine import executors, redelivered
from interlock.engine.elapsed import elapsed_us
from interlock.engine.executors import LEASE_US, Executor, Spent
from interlock.engine.outbox import NAME, check_ids
from interlock.engine.port import Backend, Begun, Delivery, GivenUp, Ids, Segment
from interlock.engine.presence import Presence
from interlock.journal import Journal
from interlock.model.errors import Conflict, InterlockError, InvalidInput

RENEW_SEC = 1.25
POLL_SEC = 0.1
TOLD_SEC = 1.0
REAP_SEC = 1.0
FORGET_US = 60_000_000
STRAY_US = 10_000_000
RECORD_SEC = 2.0
BATCH = 50
PAUSE_SEC = 0.05
AGAIN_SEC = 1.0
_log = logging.getLogger(__name__)


class Engine:
    """Runs registered segments of one namespace. Thread-safe.

    Args:
        journal: where outbox and executors stand; the engine never closes it.
        backend: carries the work; the engine closes it when it drains.
        folder: where processes of this machine keep their presence; None where there is no local disk.
        told: whether somebody calls `wake` at present when another process commits: then this one looks
            less often by itself.
    """

    def __init__(
        self,
        journal: Journal,
        backend: Backend,
        *,
        folder: Path | None = None,
        told: Callable[[], bool] = lambda: False,
    ) -> None:
        self._journal = journal
        self._backend = backend
        self._presence = None if folder is None else Presence(folder)
        self._told = told
        self._segments: dict[str, Segment] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._turning = threading.Lock()
        """Held by whoever starts or stops the backend."""
        self._in_hand: set[str] = set()
        """Keys of what this process is delivering."""
        self._ended: deque[str] = deque(maxlen=1_000)
        """Keys of what ended lately; the backend may still be recording it."""
        self._stray: dict[str, int] = {}
        """Keys of what this process has begun, as the backend says, and knows nothing of; since when."""
        self._flying = 0
        self._landed = threading.Condition()
        self._leaving = False
        self._delivering = True
        self._lease = ("", 0)
        """This executor's id and epoch."""
        self._until = 0
        self._forget_at = 0

    # --- running -----------------------------------------------------------------------------------------

    def handle(self, segment: Segment) -> None:
        """Register a kind of segment, before `launch`.

        Raises:
            InvalidInput: its name is none. Conflict: it has a handler already, or the engine runs.
        """
        if NAME.fullmatch(segment.name) is None:
            raise InvalidInput("a segment's name is lower case letters, digits and dashes", path="$.name")
        if self._loop is not None or segment.name in self._segments:
            raise Conflict(f"Segments named {segment.name} cannot be registered any more.")
        self._segments[segment.name] = segment

    def launch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Join as an executor and begin to deliver. Blocks for as long as the backend takes to start.

        Args:
            loop: runs the handlers; it runs until `drain` has returned.

        Raises:
            HomeUnusable: journal or backend cannot be used. Conflict: it was launched before.
        """
        if self._loop is not None:
            raise Conflict("This engine was launched before.")
        self._loop = loop
        self._join()
        self._run("executor-lease", self._renew, lambda: RENEW_SEC)
        try:
            with self._turning:
                self._start()
        except BaseException:
            self._leaving = True
            self._end_threads()
            self._depart()
            self._backend.close()
            raise
        self._journal.on_work(self._woken.set)
        self._run("segments", self._accept, lambda: TOLD_SEC if self._told() else POLL_SEC, self._woken)
        self._run("reaper", self._tidy, lambda: REAP_SEC)

    def drain(self, seconds: float) -> None:
        """End in good order, after about `seconds`; a second call does nothing. Not for the loop's thread."""
        if self._loop is None or self._leaving:
            return
        self._leaving = True
        deadline = time.monotonic() + seconds
        with self._landed:
            self._landed.wait_for(lambda: self._flying == 0, timeout=max(0.0, deadline - time.monotonic()))
        self._end_threads()
        with self._turning:
            try:
                self._let_record()
                self._backend.stop()
                while self._hand_on(self._lease[0]):
                    continue
            except Exception as error:  # noqa: BLE001
                # The database is away: the lease lapses, and whoever is alive then takes over.
                _log.warning("what was begun here waits for the lease to lapse: %s", type(error).__name__)
                self._backend.stop()
            self._depart()
            self._backend.close()

    def _let_record(self) -> None:
        """Wait a moment until the backend has recorded what ended, so that it is not delivered once more."""
        deadline = time.monotonic() + RECORD_SEC
        while time.monotonic() < deadline:
            if not any(one.key in self._ended for one in self._backend.begun(self._lease[0])):
                return
            time.sleep(PAUSE_SEC)

    @property
    def standing(self) -> bool:
        """Whether this process may begin work: launched, not draining, its lease alive."""
        return self._delivering and not self._leaving and elapsed_us() < self._until

    def wake(self) -> None:
        """Look into the outbox now: somebody else committed."""
        self._woken.set()

    # --- delivering --------------------------------------------------------------------------------------

    async def _deliver(self, key: str, id: str, segment: str, ids: Ids, attempt: int) -> None:
        """One attempt, on the backend's loop. Raises `GivenUp` where no other one follows."""
        self._in_hand.add(key)
        try:
            await self._try(id, segment, ids, attempt)
            self._ended.append(key)
        finally:
            self._in_hand.discard(key)

    async def _try(self, id: str, segment: str, ids: Ids, attempt: int) -> None:
        kind = self._segments.get(segment)
        try:
            check_ids(ids)
        except InvalidInput:
            kind = None
        if kind is None or not isinstance(attempt, int):
            raise GivenUp("this was not enqueued by us")
        # Until the lease lives again, or this is cancelled.
        while not self.standing:  # noqa: ASYNC110 (a lease ends by the clock; no event tells)
            await asyncio.sleep(PAUSE_SEC)
        lease = self._lease
        last = attempt >= kind.retry.attempts
        self._count(1)
        delivery = Delivery(id, segment, ids, attempt, last, *lease)
        try:
            error = await self._attempt(kind, delivery)
        finally:
            self._count(-1)
        if error is None:
            return
        if isinstance(error, Spent):
            raise asyncio.CancelledError  # it stays begun, and is delivered to a process that is alive
        said = error.detail if isinstance(error, InterlockError) else type(error).__name__
        if last:
            _log.error("%s %s was given up after %d attempts: %s", segment, id, attempt, said)
            if kind.given_up is not None:
                await self._insist(id, partial(kind.given_up, delivery, said))
            raise GivenUp(f"it failed {attempt} times")
        _log.warning("%s %s failed at attempt %d: %s", segment, id, attempt, said)
        rest = kind.retry.rest_sec(attempt)
        # Losing the next attempt would lose the segment.
        await self._insist(id, partial(self._backend.again, id, segment, ids, attempt + 1, rest))

    async def _attempt(self, kind: Segment, delivery: Delivery) -> BaseException | None:
        """Run the handler on its own loop; what went wrong, or None."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(_called(kind, delivery), self._loop)
        try:
            async with asyncio.timeout(kind.timeout_sec):
                await asyncio.wrap_future(future)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return error  # the handler cancelled itself
        except Exception as error:  # noqa: BLE001
            # Whatever a handler raises fails its attempt, and nothing else.
            return error
        return None

    async def _insist(self, id: str, record: Callable[[], None]) -> None:
        """Have it recorded, however long the database is away."""

        def recorded() -> bool:
            try:
                record()
            except Exception as error:  # noqa: BLE001 (whatever the driver raises)
                _log.warning("%s waits for the database: %s", id, type(error).__name__)
                return False
            return True

        while not await asyncio.to_thread(recorded):  # noqa: ASYNC110 (nobody tells when a database is back)
            await asyncio.sleep(AGAIN_SEC)

    def _count(self, more: int) -> None:
        with self._landed:
            self._flying += more
            self._landed.notify_all()

    # --- moving ------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Take over what the outbox holds for this process's handlers."""
        while self.standing and self._backend.accept(self._kinds, BATCH) == BATCH:
            continue

    @property
    def _kinds(self) -> Collection[Segment]:
        return self._segments.values()

    def _tidy(self) -> None:
        """Reap, and now and then forget what ended well."""
        if not self.standing:
            return
        self.reap()
        self._find_strays()
        if elapsed_us() >= self._forget_at:
            while self._backend.forget() and self.standing:
                continue
            self._forget_at = elapsed_us() + FORGET_US

    def reap(self) -> int:
        """Take over what dead executors had begun, until none of it remains; how many segments.

        Raises:
            HomeUnusable: the journal cannot be used.
        """
        begun = self._backend.begun()  # first: whoever begins something has a row by then
        rows, now = self._journal.look(executors.everybody)
        total = 0
        for id in {*rows, *(one.executor for one in begun)} - {self._lease[0]}:
            row = rows.get(id)
            dead = row is not None and row.holder == id and self._gone(id)
            if row is None or dead or row.until <= now:
                total += self._take_over(id, row, dead=dead)
        return total

    def _find_strays(self) -> None:
        """Deliver again what was begun here and never reached a handler: a backend may lose its database
        between the two."""
        now = elapsed_us()
        mine = {one.key: one for one in self._backend.begun(self._lease[0]) if one.key not in self._in_hand}
        self._stray = {key: self._stray.get(key, now) for key in mine}
        strays = [mine[key] for key, since in self._stray.items() if now - since >= STRAY_US]
        if strays:
            _log.warning("%d segments were begun and did not arrive; they are delivered again", len(strays))
            self._backend.resume(strays)

    def _take_over(self, id: str, row: Executor | None, *, dead: bool) -> int:
        by = self._lease[0]
        epoch = self._journal.commit(lambda tx: executors.take(tx, id, by, row, dead=dead))
        if epoch is None:
            return 0
        total = 0
        while resumed := self._hand_on(id, died=True):
            total += resumed
            if not self._journal.commit(lambda tx: executors.renew(tx, id, by, epoch)):
                return total
        self._journal.commit(lambda tx: executors.drop(tx, id, by, epoch))
        if self._presence is not None and dead:
            self._presence.leave(id)
        if total:
            _log.warning("took over %d segments of %s, which is dead", total, id)
        return total

    def _hand_on(self, id: str, *, died: bool = False) -> int:
        """Resume a part of what an executor has begun; how many, and none only where none remain."""
        begun = self._backend.begun(id)
        over: set[str] = set()
        if begun and died:
            over = self._journal.commit(lambda tx: redelivered.count(tx, [one.key for one in begun]))
        # Who has no handler for a kind cannot tell anybody: it is left to a process that has.
        ended = [one for one in begun if one.key in over and one.segment in self._segments]
        for one in ended:
            self._end(one)
        if len(ended) < len(begun):
            self._backend.resume([one for one in begun if one not in ended])
        return len(begun)

    def _end(self, one: Begun) -> None:
        """Rule 5. Told first: who dies in between tells again."""
        kind, carried = self._segments[one.segment], self._backend.carried(one)
        said = f"its process died {redelivered.MOST} times while it was delivered"
        _log.error("%s is given up: %s", one.key, said)
        if kind.given_up is not None and carried is not None:
            delivery = Delivery(carried.id, kind.name, carried.ids, carried.attempt, True, *self._lease)
            kind.given_up(delivery, said)
        self._backend.give_up([one])

    def _gone(self, id: str) -> bool:
        return self._presence is not None and self._presence.gone(id)

    # --- the lease ---------------------------------------------------------------------------------------

    def _join(self) -> None:
        id, began = executors.fresh_id(), elapsed_us()
        if self._presence is not None:
            self._presence.appear(id)
        self._lease = (id, self._journal.commit(lambda tx: executors.join(tx, id)))
        self._until = began + LEASE_US

    def _renew(self) -> None:
        began = elapsed_us()
        id, epoch = self._lease
        if self._delivering and self._journal.commit(lambda tx: executors.renew(tx, id, id, epoch)):
            self._until = began + LEASE_US
        elif not self._leaving:
            self._rejoin()

    def _rejoin(self) -> None:
        """Rule 4: the epoch is spent."""
        spent, self._until = self._lease[0], 0
        _log.error("this process was taken for dead; it joins anew, and what it ran is delivered again")
        with self._turning:
            if self._leaving:
                return
            self._delivering = False  # until it has started again: where that fails it is tried once more
            self._backend.stop()
            while self._hand_on(spent):
                continue
            if self._presence is not None:
                self._presence.leave(spent)
            self._join()
            self._start()
            self._delivering = True

    def _start(self) -> None:
        self._backend.start(self._lease[0], self._kinds, self._deliver)

    def _depart(self) -> None:
        id, epoch = self._lease
        self._until = 0
        try:
            self._journal.commit(lambda tx: executors.drop(tx, id, id, epoch))
        except InterlockError as error:
            _log.warning("the lease of this process has to lapse: %s", error.detail)
        if self._presence is not None:
            self._presence.leave(id)

    # --- threads -----------------------------------------------------------------------------------------

    def _run(
        self,
        name: str,
        work: Callable[[], object],
        every: Callable[[], float],
        woken: threading.Event | None = None,
    ) -> None:
        thread = threading.Thread(target=self._repeat, args=(work, every, woken), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _repeat(
        self, work: Callable[[], object], every: Callable[[], float], woken: threading.Event | None
    ) -> None:
        failed = ""
        while not self._stopping.is_set():
            try:
                work()
                failed = ""
            except Exception as error:  # noqa: BLE001
                # The database is away, or the journal stopped: it goes on where that ends, and says so once.
                said = error.detail if isinstance(error, InterlockError) else type(error).__name__
                if said != failed:
                    _log.warning("%s: %s", threading.current_thread().name, said)
                failed = said
            if woken is None:
                self._stopping.wait(every())
            else:
                woken.wait(every())
                woken.clear()

    def _end_threads(self) -> None:
        self._stopping.set()
        self._woken.set()
        for thread in self._threads:
            thread.join()


async def _called(kind: Segment, delivery: Delivery) -> None:
    await kind.handler(delivery)
