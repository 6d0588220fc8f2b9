"""Waiting for a commit: queued transitions, and the lock of whoever commits them.

1. Whoever gets the lock commits everybody's queued transitions. A task of an event loop waits for a future; a
   thread sleeps on a lock of its own, so that many threads do not all wake to fight for one.
2. A thread looks whether it may lead before it sleeps, and once more after it has said what it sleeps on:
   whoever leaves the lead wakes the first such thread in the queue, and none can be overlooked in between.
3. A thread that is interrupted takes its sleeping place away and hands on; its transition may still happen.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from interlock.journal.tx import Tx

T = TypeVar("T")
Transition = Callable[["Tx"], T]


class Waiting(Generic[T]):
    """A queued transition and its answer.

    `recovering`: it runs while the journal is stopped, and only then.
    """

    __slots__ = ("done", "error", "loop", "recovering", "result", "transition", "turn", "waiter")

    def __init__(
        self,
        transition: Transition[T],
        waiter: asyncio.Future[T] | None = None,
        *,
        recovering: bool = False,
    ) -> None:
        self.transition = transition
        self.recovering = recovering
        self.waiter = waiter
        self.loop = waiter.get_loop() if waiter is not None else None
        self.turn: threading.Lock | None = None
        """What a waiting thread sleeps on: whoever opens it wants it to look again."""
        self.done = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def wake(self) -> None:
        """Let the waiting thread look again; waking it twice is waking it once."""
        turn = self.turn
        if turn is not None:
            with suppress(RuntimeError):
                turn.release()

    def answer(self) -> None:
        """Hand result or error to the awaiting task; runs in that task's event loop."""
        waiter = self.waiter
        if waiter is None or waiter.done():
            return
        if self.error is not None:
            waiter.set_exception(self.error)
        else:
            waiter.set_result(self.result)  # type: ignore[arg-type]


def sleeping_place() -> threading.Lock:
    """A closed lock, for a thread to sleep on."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Lead:
    """The lock of whoever commits. A thread that does not get it sleeps, and is woken by its answer or, where
    it queued too late for that, by whoever leaves the lead: so many threads do not all wake for one lock."""

    __slots__ = ("_lock", "_queue")

    def __init__(self, queue: deque[Waiting[Any]]) -> None:
        self._lock = threading.Lock()
        self._queue = queue

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        self._lock.release()
        if self._queue:
            self.hand_on()

    def hand_on(self) -> None:
        """Wake the first thread that waits in the queue."""
        for place in range(len(self._queue)):
            try:
                waiting = self._queue[place]
            except IndexError:  # somebody leads already, and hands on when that is done
                return
            if waiting.turn is not None:
                waiting.wake()
                return

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
