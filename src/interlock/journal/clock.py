"""Time: integer microseconds UTC, and a guard against clocks that lie.

1. A transaction's time is the larger of the wall clock and the head's last time: it never runs backwards.
2. A wall clock that disagrees with elapsed (monotonic) time by more than a minute since the process started
   makes `check` raise: nothing is claimed, swept or activated on such a clock.
"""

from __future__ import annotations

import time
from typing import Protocol

from interlock.model.errors import ClockJumped

TOLERANCE_US = 60_000_000


class Clock(Protocol):
    def now(self) -> int:
        """Wall time, microseconds since 1970 UTC."""
        ...

    def check(self) -> None:
        """Raise `ClockJumped` when wall and elapsed time disagree."""
        ...


def _elapsed_ns() -> int:
    """Time since the machine started, its sleep included where the platform counts that."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._offset = self._wall_ahead_of_elapsed()

    @staticmethod
    def _wall_ahead_of_elapsed() -> int:
        return (time.time_ns() - _elapsed_ns()) // 1000

    def now(self) -> int:
        return time.time_ns() // 1000

    def check(self) -> None:
        drift = self._wall_ahead_of_elapsed() - self._offset
        if abs(drift) > TOLERANCE_US:
            raise ClockJumped(f"The clock moved by {drift / 1e6:+.0f} s against elapsed time.")
