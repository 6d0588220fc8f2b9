"""When the backend's threads look for a segment that may begin.

1. Whoever is rung for looks at once, where it has not looked for its kind's `poll_sec`.
2. For `AWAKE_SEC` after the last ring it looks every `poll_sec`: what was just begun or ended may have made
   room for more.
3. Otherwise it looks every `ASLEEP_SEC`: another process may have queued what it could not run.
4. After `end` nobody waits any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

AWAKE_SEC = 1.0
ASLEEP_SEC = 1.0


class _Queue:
    __slots__ = ("asleep_at", "looked_at", "poll_sec", "rung")

    def __init__(self, poll_sec: float) -> None:
        self.poll_sec = poll_sec
        self.rung = True
        self.looked_at = self.asleep_at = float("-inf")

    def due(self, now: float) -> float:
        """When to look next, if nobody rings until then."""
        soon = self.rung or now < self.asleep_at
        return self.looked_at + (self.poll_sec if soon else max(self.poll_sec, ASLEEP_SEC))


class Attention:
    """Thread-safe.

    Args:
        poll_sec: of each queue, by its name.
        clock: seconds that never go back.
    """

    def __init__(self, poll_sec: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._queues = {name: _Queue(seconds) for name, seconds in poll_sec.items()}
        self._clock = clock
        self._changed = threading.Condition()
        self._ended = False

    def ring(self, names: Iterable[str]) -> None:
        """Something may begin in these queues; names that are none are ignored."""
        with self._changed:
            until = self._clock() + AWAKE_SEC
            for name in names:
                queue = self._queues.get(name)
                if queue is not None:
                    queue.rung, queue.asleep_at = True, until
            self._changed.notify_all()

    def wait(self, name: str) -> None:
        """Return when this queue should be looked at; at once where it is none of ours."""
        queue = self._queues.get(name)
        if queue is None:
            return
        with self._changed:
            while not self._ended and (left := queue.due(self._clock()) - self._clock()) > 0:
                self._changed.wait(left)
            queue.rung, queue.looked_at = False, self._clock()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
