"""Event loops: whether this thread runs one."""

from __future__ import annotations

import asyncio


def in_a_loop() -> bool:
    """Whether this thread runs an event loop, which `asyncio.run` refuses to enter again."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
