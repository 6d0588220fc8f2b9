"""HTTP around a witness: ``POST /add-checkpoint``, and nothing else.

A body has at most `MAX_BODY` bytes and `BODY_SEC` seconds to arrive. Requests are not authenticated: the
log's signature in the body is all that counts, and whoever may read a checkpoint may submit it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from interlock.witness.folder import Folder
from interlock.witness.rules import add_checkpoint

MAX_BODY = 128 << 10
"""Bytes: 63 hashes, and a note with dozens of signatures, those of post-quantum keys included."""
BODY_SEC = 10.0
_log = logging.getLogger(__name__)


def create_app(folder: Folder, *, now: Callable[[], int] = lambda: int(time.time())) -> Starlette:
    """The ASGI application of one witness.

    Args:
        now: the time in seconds since 1970.
    """

    def answer(raw: bytes) -> Response:
        try:
            found = add_checkpoint(
                raw, logs=folder.logs, store=folder.store, cosigner=folder.cosigner, now=now
            )
        except sqlite3.Error as error:
            # Nothing was cosigned that is not on disk: whoever asks may ask again.
            _log.error("the witness's memory cannot be used: %s", error)
            return PlainTextResponse("the witness cannot remember right now\n", 503)
        # As a header: Starlette adds a charset to every media type of text, and clients compare this one.
        return Response(found.body, found.status, {"content-type": found.media_type})

    async def submit(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_SEC):
                raw = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("the body did not arrive in time\n", 408)
        if raw is None:
            return PlainTextResponse(f"a body has at most {MAX_BODY} bytes\n", 413)
        return await run_in_threadpool(answer, raw)

    app = Starlette(routes=[Route("/add-checkpoint", submit, methods=["POST"])])
    app.router.redirect_slashes = False
    return app


async def _body(request: Request) -> bytes | None:
    """The body, or None where it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)
