"""Waiting, for tests, for what another thread or process does: asked again until it is so, or too late."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], *, within: float = 30.0) -> None:
    """Return as soon as the condition holds; fail where it does not within so many seconds."""
    give_up = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up, f"it did not happen within {within:g} s"
        time.sleep(0.02)
