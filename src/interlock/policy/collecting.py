"""Building a policy makes many objects and drops few, and the cyclic collector looks at all of them again and
again: half of the time that ten thousand rules take. It waits while one is built, for a second at most.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_waits() -> Iterator[None]:
    """No cyclic collection inside. Nests; another thread that builds as well may end it early."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
