"""Time: integer microseconds UTC, and a guard against clocks that lie.

1. A transaction's time is the larger of the journal's clock and the head's last time: it never runs
   backwards.
2. The journal's clock is the machine's for a database file, and the database server's for a database that
   several machines share: theirs need not agree, and none of them moves the ledger's time by itself.
3. A clock that disagrees with elapsed (monotonic) time by more than a minute since the process started makes
   `check` raise: nothing is claimed, swept or activated on such a clock.
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


class DatabaseClock:
    """The database server's clock, as each transaction reads it, carried on by elapsed time in between."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self._ahead = 0

    def observe(self, at: int) -> None:
        """What the server's clock says now, in microseconds; later readings are held to the first."""
        self._ahead = at - _elapsed_ns() // 1000
        if self._offset is None:
            self._offset = self._ahead

    def now(self) -> int:
        return _elapsed_ns() // 1000 + self._ahead

    def check(self) -> None:
        drift = self._ahead - (self._offset if self._offset is not None else self._ahead)
        if abs(drift) > TOLERANCE_US:
            raise ClockJumped(f"The database's clock moved by {drift / 1e6:+.0f} s against elapsed time.")
