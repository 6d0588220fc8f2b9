"""Live news as server-sent events: one event for each ledger entry a reviewer's screen cares about.

1. The event's id is the ledger index, so a browser that reconnects with ``Last-Event-ID`` misses nothing.
2. A commit of this process wakes the streams at once, and so does one of another process where the database
   tells. Otherwise those are found by a look at the head every `POLL_SEC` seconds. Nothing is kept for a
   reader: each stream reads from its own place.
3. A stream ends when its session does. That the head cannot be read ends nothing: it is read again.

Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from interlock.home import Home
from interlock.home.work import Work
from interlock.identity import Caller
from interlock.journal import ConnectionLost
from interlock.model.errors import InterlockError, InvalidInput
from interlock.model.ids import iso
from interlock.server.security import people_only

POLL_SEC = 0.5
TOLD_SEC = 5.0
HEARTBEAT_SEC = 15.0
PAGE = 500
LOOK_SEC = 0.25
MOST_WAITING = 500
MOST_WAIT_SEC = 30
_log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1")


class News:
    """Knows how long the ledger is, and wakes whoever waits for it to grow."""

    def __init__(self, home: Home, work: Work) -> None:
        self._home = home
        self._work = work
        self._grown = asyncio.Condition()
        self._closed = False
        self.size = 0
        self.waiting = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the head until `stop`."""
        loop, nudge, told = asyncio.get_running_loop(), asyncio.Event(), ""
        own = 0

        def grown(size: int = 0) -> None:
            nonlocal own
            own = max(own, size)
            if not loop.is_closed():
                loop.call_soon_threadsafe(nudge.set)

        self._home.journal.on_commit(grown)
        self._work.on_news(grown)
        while not stop.is_set():
            try:
                # What this process committed itself it need not read.
                size = own if own > self.size else (await run_in_threadpool(self._home.journal.head))[0]
                told = ""
            except Exception as error:  # noqa: BLE001
                # Whatever keeps the head from being read now: nothing is new, and it is told once.
                size = self.size
                if repr(error) != told and not isinstance(error, ConnectionLost):
                    _log.error("no news: %r", error)
                told = repr(error)
            if size != self.size:
                async with self._grown:
                    self.size = size
                    self._grown.notify_all()
            nudge.clear()
            for waiting in (stop, nudge):
                if waiting.is_set():
                    break
            else:
                await _first(TOLD_SEC if self._work.told else POLL_SEC, stop, nudge)
        async with self._grown:
            self._closed = True
            self._grown.notify_all()

    async def within(self, seconds: int) -> AsyncIterator[None]:
        """At once, and then again whenever the ledger may have grown, until the seconds are over: for whoever
        looks at something until it is otherwise. Not more often than every `LOOK_SEC`; beyond `MOST_WAITING`
        at a time nobody waits, and whoever asks comes again."""
        loop = asyncio.get_running_loop()
        until, size = loop.time() + seconds, self.size
        yield
        if self.waiting >= MOST_WAITING:
            return
        self.waiting += 1
        try:
            while (left := until - loop.time()) > 0 and await self.beyond(size, left):
                size = self.size
                yield
                await asyncio.sleep(LOOK_SEC)
        finally:
            self.waiting -= 1

    async def beyond(self, size: int, seconds: float = HEARTBEAT_SEC) -> bool:
        """Wait until the ledger is longer than `size`, at most so long; False when the server stops."""
        async with self._grown:
            try:
                async with asyncio.timeout(min(seconds, HEARTBEAT_SEC)):
                    await self._grown.wait_for(lambda: self._closed or self.size > size)
            except TimeoutError:
                return True
            return not self._closed


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Wait for any of the events, at most so long."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@router.get("/events")
async def events(request: Request, caller: Annotated[Caller, Depends(people_only)]) -> StreamingResponse:
    """The stream, from after ``Last-Event-ID`` or from now."""
    del caller
    news: News = request.app.state.news
    last = request.headers.get("last-event-id")
    if last is not None and not (last.isascii() and last.isdigit() and len(last) < 16):
        raise InvalidInput("a Last-Event-ID is a ledger index", path="Last-Event-ID")
    home: Home = request.app.state.home
    start = (await run_in_threadpool(home.journal.head))[0] if last is None else int(last) + 1
    start = max(start, await run_in_threadpool(lambda: home.publisher.first))
    return StreamingResponse(
        _stream(request, news, home, start),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def _stream(request: Request, news: News, home: Home, start: int) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    while await news.beyond(start):
        try:
            await people_only(request)
        except InterlockError:
            return
        stop = min(news.size, start + PAGE)
        if stop <= start:
            yield b": still here\n\n"
            continue
        bodies = await run_in_threadpool(lambda a, b: list(home.journal.entries(a, b)), start, stop)
        yield b"".join(_event(start + n, body) for n, body in enumerate(bodies))
        start = stop


def _event(index: int, body: bytes) -> bytes:
    entry: dict[str, Any] = json.loads(body)
    data = {
        "index": index,
        "kind": entry["kind"],
        "action": entry.get("action"),
        "approval": entry.get("approval"),
        "state": entry.get("outcome") or entry.get("decision"),
        "at": iso(entry["at"]),
    }
    return f"id: {index}\nevent: entry\ndata: {json.dumps(data)}\n\n".encode()
