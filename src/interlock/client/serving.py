"""What a worker does for its home beside running functions: segments, deadlines, signatures.

What may pass, as a database or a disk that is away, stops nothing; what somebody did to the record does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from interlock.dispatch import Dispatcher
from interlock.home import Home
from interlock.home.work import Work
from interlock.model.errors import HomeUnusable, RecoveryRequired, Tampered

SIGN_SEC = 2.0
_log = logging.getLogger(__name__)


async def serve(home: Home, stop: asyncio.Event, news: Callable[[], None]) -> None:
    """Serve a home until `stop` is set.

    Args:
        news: called, from any thread, when something was committed here or elsewhere.

    Raises:
        Tampered: the record was changed from outside.
    """
    connector = home.connectors()
    dispatcher = Dispatcher(home.gate, connector, home.leases)
    work = Work(home, dispatcher)
    work.on_news(news)
    home.journal.on_commit(lambda _size: news())
    try:
        await _all(dispatcher.serve(stop), work.run(stop), _sign(home, stop), stop=stop)
    finally:
        await connector.aclose()


async def _all(*work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """All of it; where one part fails the others are asked to stop, and its error is raised at the end."""
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if ended is not None:
            raise ended


async def _sign(home: Home, stop: asyncio.Event) -> None:
    """Have the ledger's head signed while it grows, where no server does. Raises `Tampered`."""
    said = ""
    while not stop.is_set():
        try:
            await asyncio.to_thread(_round, home)
            said = ""
        except Tampered:
            raise
        except (HomeUnusable, SQLAlchemyError, OSError) as error:
            if str(error) != said:
                said = str(error)
                _log.error("nothing is signed: %s", error)
        try:
            async with asyncio.timeout(SIGN_SEC):
                await stop.wait()
        except TimeoutError:
            continue


def _round(home: Home) -> None:
    try:
        if not home.recovery.stands():
            home.publisher.publish()
    except RecoveryRequired as error:
        home.recovery.begin(error)
