"""Being told: one thread of a gate reads what the ledger gained, and calls whoever asked.

1. However many actions wait, there is one thread, and it looks at the head: at once after a commit of this
   process, every `POLL_SEC` for what other processes commit.
2. `Watcher` tells of the actions that were proposed through its gate since somebody first asked to be told.
   `Follower` tells of all of one agent's actions, also of what happened while no process was there: one
   process of all at a time, from a position in the journal (`interlock.gate.followed`).
3. Events are told one after the other, in the order of the ledger, each to every callback. A callback that
   raises is logged, and the others are called. What a callback takes long for, the next event waits for.
4. At least once: an event can come twice, with the same number, where a process died while it told, or an
   action was met again by repeating its proposal.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from interlock.gate import followed
from interlock.gate.telling import Event, event_of
from interlock.journal import Journal
from interlock.model.actions import ActionState
from interlock.model.errors import InterlockError

POLL_SEC = 0.5
RENEW_SEC = 5.0
PAGE = 500
RECENT = 10_000
Callback = Callable[[Event], Any]
_log = logging.getLogger(__name__)


class Teller(ABC):
    """The thread, and the callbacks. `_round` is what it does again and again."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []
        self._nudge = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def asked(self) -> bool:
        """Whether anybody asked to be told."""
        return bool(self._callbacks)

    def start(self) -> None:
        """Begin, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="decided", daemon=True)
            self._thread.start()

    def close(self, seconds: float | None = None) -> bool:
        """End after the event that is being told, and wait for that; False where it took longer."""
        self._stop.set()
        self._nudge.set()
        if self._thread is None or self._thread is threading.current_thread():
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            self._nudge.clear()
            try:
                self._round()
                said = ""
            except InterlockError as error:
                if self._over:
                    return
                if str(error) != said:
                    said = str(error)
                    _log.warning("nobody is told what was decided: %s", error)
            self._nudge.wait(POLL_SEC)

    @property
    def _over(self) -> bool:
        """Whether there is nothing to look at any more."""
        return self._stop.is_set()

    @abstractmethod
    def _round(self) -> None: ...

    def _tell(self, event: Event) -> None:
        for callback in tuple(self._callbacks):
            try:
                answer = callback(event)
                if inspect.iscoroutine(answer):
                    asyncio.run(answer)
            except Exception:  # noqa: BLE001 (rule 3)
                _log.exception("a callback failed for %s of %s", event.type, event.action_id)


class _Reader(Teller):
    """Reads the ledger of a home in this process."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    @property
    def _over(self) -> bool:
        return self._journal.closed

    def start(self) -> None:
        if self._thread is None:
            self._journal.on_commit(lambda _size: self._nudge.set())
        super().start()

    def _events(self, start: int, stop: int) -> Iterator[Event]:
        for number, body in enumerate(self._journal.entries(start, stop), start):
            entry = json.loads(body)
            event = event_of(number, entry["kind"], entry["at"], entry)
            if event is not None:
                yield event


class Own(Teller):
    """Tells of the actions of one gate."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._mine: set[str] = set()
        self._pending: deque[Event] = deque()
        self._recent: deque[Event] = deque(maxlen=RECENT)
        """What was read before its proposer could say that it is ours."""
        self._next = 0

    @abstractmethod
    def _now(self) -> int:
        """The position from which on there are only events to come."""

    def on_decided(self, callback: Callback) -> None:
        """Call `callback` with each event from now on."""
        if not self._callbacks:
            self._next = self._now()
        self._callbacks.append(callback)
        self.start()

    def mine(self, action_id: str) -> None:
        """An action was proposed through the gate. Its events may have been read already."""
        if not self._callbacks:
            return
        with self._lock:
            if action_id not in self._mine:
                self._mine.add(action_id)
                self._pending += [event for event in self._recent if event.action_id == action_id]
        self._nudge.set()

    def _heard(self, events: Iterable[Event]) -> None:
        """Keep what was read, and tell what of it is ours."""
        for event in events:
            with self._lock:
                self._recent.append(event)
                if event.action_id in self._mine:
                    self._pending.append(event)
        self._flush()

    def _flush(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not self._pending:
                    return
                event = self._pending.popleft()
                if not event.state.open and event.state is not ActionState.SUPERSEDED:
                    self._mine.discard(event.action_id)
            self._tell(event)


class Watcher(_Reader, Own):
    """Tells of the actions of one gate in this process."""

    def __init__(self, journal: Journal) -> None:
        Own.__init__(self)
        self._journal = journal

    def _now(self) -> int:
        return self._journal.head()[0]

    def _round(self) -> None:
        size = self._now()
        self._next = min(self._next, size)  # after a restore the ledger may be shorter
        while True:
            stop = min(size, self._next + PAGE)
            start, self._next = self._next, stop
            self._heard(self._events(start, stop))
            if stop == size or self._stop.is_set():
                return


class Follower(_Reader):
    """Tells of all of one agent's actions, in the place of processes that are gone.

    Args:
        holder: names this process.
        first: the first ledger index that is still there.
    """

    def __init__(
        self, journal: Journal, agent: str, holder: str, callbacks: list[Callback], first: Callable[[], int]
    ) -> None:
        super().__init__(journal)
        self._agent = agent
        self._holder = holder
        self._callbacks = callbacks
        self._first = first

    def catch_up(self) -> None:
        """Tell what there is now, in this thread, and give the place back."""
        self._round()
        self._leave()

    def close(self, seconds: float | None = None) -> bool:
        ended = super().close(seconds)
        if ended:
            self._leave()
        return ended

    def _tell(self, event: Event) -> None:
        """As for all; however long the callbacks take, no other process tells the same meanwhile."""
        told = threading.Event()
        beat = threading.Thread(target=self._keep, args=(event.number, told), name="telling", daemon=True)
        beat.start()
        try:
            super()._tell(event)
        finally:
            told.set()
            beat.join()

    def _keep(self, position: int, told: threading.Event) -> None:
        while not told.wait(RENEW_SEC):
            try:
                self._advance(position)
            except InterlockError as error:
                _log.warning("the place of who tells was not kept: %s", error)

    def _leave(self) -> None:
        taken = self._take()
        if taken is not None:
            self._advance(taken.position, leave=True)

    def _round(self) -> None:
        journal, taken = self._journal, self._take()
        if taken is None:
            return
        size = journal.head()[0]
        # Of a ledger that was pruned the beginning is gone; one that was restored may be shorter.
        position = min(max(taken.position, self._first()), size)
        if taken.since is not None:
            position = self._after(taken.since, position, size)
        if position != taken.position and not self._advance(position):
            return
        while position < size and not self._stop.is_set():
            stop = min(size, position + PAGE)
            events = list(self._events(position, stop))
            ours = journal.look(
                partial(followed.proposed_by, agent=self._agent, actions={e.action_id for e in events})
            )
            for event in events:
                if self._stop.is_set():
                    return
                if event.action_id in ours:
                    self._tell(event)
                    if not self._advance(event.number + 1):
                        return
            position = stop
            if not self._advance(position):
                return

    def _after(self, at: int, low: int, high: int) -> int:
        """The index of the first entry that is not earlier than `at`. The ledger's times never go back."""
        while low < high:
            middle = (low + high) // 2
            (body,) = self._journal.entries(middle, middle + 1)
            if json.loads(body)["at"] < at:
                low = middle + 1
            else:
                high = middle
        return low

    def _take(self) -> followed.Taken | None:
        return self._journal.commit(partial(followed.take, agent=self._agent, holder=self._holder))

    def _advance(self, position: int, *, leave: bool = False) -> bool:
        return self._journal.commit(
            partial(followed.advance, agent=self._agent, holder=self._holder, position=position, leave=leave)
        )
