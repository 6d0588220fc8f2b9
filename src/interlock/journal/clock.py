"""Time: integer microseconds UTC, and a guard against clocks that lie.

1. A transaction's time is the larger of the journal's clock and the head's last time: it never runs
   backwards.
2. The journal's clock is the machine's for a database file, and the database server's for a database that
   several machines share: theirs need not agree, and none of them moves the ledger's time by itself.
3. A clock that disagrees with elapsed (monotonic) time by more than a minute since the process started makes
   `check` raise: nothing is claimed, swept or activated on such a clock.
4. The head's last time carries no mark, so nobody believes it where it is ahead of the clock by more than a
   minute: nothing is written until the clock has caught up, or people on this machine say that the ledger's
   time counts. Then the journal's clock is ahead by that much, for good.
"""

from __future__ import annotations

import time
from typing import Protocol

from interlock.model.errors import ClockJumped, HomeUnusable
from interlock.model.ids import iso

TOLERANCE_US = 60_000_000


MAX_TIME = 2**53 - 1
"""The last time that an entry can carry: in the year 2255."""


class ClockBehind(HomeUnusable):
    """The ledger's last time is ahead of the clock (rule 4)."""

    slug = "clock-behind"
    title = "The ledger's time is ahead of the clock"
    advice = "Set the clock, or wait until it has caught up. If it is right: interlock ledger clock"

    def __init__(self, last: int, now: int) -> None:
        super().__init__(
            f"The last time in the database is {_told(last)}, and the clock says {_told(now)}: one of them is"
            " wrong, so nothing is written."
        )


def _told(at: int) -> str:
    return iso(at) if 0 <= at <= MAX_TIME else f"{at} microseconds"


def check_last(last: int, now: int) -> None:
    """Raises `ClockBehind` where rule 4 forbids to write after `last`."""
    if last > now + TOLERANCE_US:
        raise ClockBehind(last, now)


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


class AheadClock:
    """Another clock, ahead by a constant (rule 4).

    Args:
        ahead: by how many microseconds.
    """

    def __init__(self, clock: Clock, ahead: int) -> None:
        self._clock = clock
        self._ahead = ahead

    def now(self) -> int:
        return self._clock.now() + self._ahead

    def check(self) -> None:
        self._clock.check()
