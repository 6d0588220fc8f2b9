"""Stopping: how word of a kill switch reaches whoever can end what is under way.

1. What is under way is ended where ending it ends something: a child process, a statement, a call of an MCP
   server. A request over HTTP that has left is not hung up on: the service goes on all the same, and its
   answer would be lost.
2. The word comes from the thread that watches the kill switches (`interlock.dispatch.lease`), within
   moments, and once. What became of the action follows the rule of every attempt: `failed` with a proof that
   it took no effect, otherwise `in_doubt`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

Halted: TypeAlias = Callable[[], Awaitable[str | None]]
"""Says why something must not begin any more, as a clause; None where it may."""


class Stopping:
    """Whether what is worked on is to stop, and the word to whoever can end it. Safe to share by threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._why: str | None = None
        self._listeners: list[Callable[[str], None]] = []

    def why(self) -> str | None:
        """A clause for a person; None while it may go on."""
        return self._why

    def tell(self, why: str) -> None:
        """Say that it is to stop. Only the first word counts."""
        with self._lock:
            if self._why is not None:
                return
            self._why = why
            for listener in self._listeners:
                listener(why)

    @contextmanager
    def heard(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Call `listener(why)` when it is to stop, in the thread that says so; at once where it was said
        before; not after the block. It must not block or raise."""
        with self._lock:
            self._listeners.append(listener)
            if self._why is not None:
                listener(self._why)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    @contextmanager
    def heard_here(self, act: Callable[[], None]) -> Iterator[None]:
        """As `heard`, with `act()` called by the running event loop, which may be busy until then."""
        loop, live = asyncio.get_running_loop(), True

        def now() -> None:
            if live:
                act()

        def later(_: str) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nothing of it goes on
                loop.call_soon_threadsafe(now)

        with self.heard(later):
            try:
                yield
            finally:
                live = False
