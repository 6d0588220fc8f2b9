"""Time that passes, for leases: it counts what the machine slept, and no clock setting moves it."""

from __future__ import annotations

import time


def elapsed_us() -> int:
    """Microseconds since the machine started; its sleep is included where the platform counts that."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return time.monotonic_ns() // 1000
