"""The ledger for strangers, under ``/ledger/``: what a reader of tlog-tiles asks for, from the home's files.

1. Checkpoint, verifier key, handovers and tiles of hashes are for everybody. Bundles of entries and policies
   name topics, agents and people's ids: they are for people, unless the server was started with them public.
2. A path is read as numbers, and the file is named from the numbers; nothing of a request reaches the file
   system.
3. Only what lies within a published checkpoint is served. Where an unfinished tile was finished since, the
   beginning of the full one is the answer.
4. A tile may be kept, and is asked about again each time, by a tag of its content: a recovery that opens a
   new epoch of the ledger puts other tiles in the place of those that were lost. A policy, which is named by
   its digest, may be kept for ever, a checkpoint not at all. What is for people is never for shared caches.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from interlock.home import Home
from interlock.home.publishing import NoTiles, size_of, stored_policy
from interlock.ledger import TILE_WIDTH
from interlock.model.errors import NotFound
from interlock.server.security import people_only

router = APIRouter(prefix="/ledger")
_NUMBER = r"(?:x[0-9]{3}/){0,5}[0-9]{3}"
_TILE = re.compile(rf"(0|[1-9]|[1-5][0-9]|6[0-3]|entries)/({_NUMBER})(?:\.p/([1-9][0-9]{{0,2}}))?", re.ASCII)
_SNAPSHOT = re.compile(r"[0-9a-f]{64}\.json", re.ASCII)
_FOREVER = "max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_BYTES = "application/octet-stream"


def home_of(request: Request) -> Home:
    home: Home = request.app.state.home
    return home


@router.get("/checkpoint", response_class=PlainTextResponse)
async def checkpoint(request: Request) -> str:
    """The newest published checkpoint (C2SP tlog-checkpoint), with its witnesses' cosignatures."""
    home = home_of(request)
    return await run_in_threadpool(lambda: _shown(home))


def _shown(home: Home) -> str:
    note = home.witnesses.checkpoint() if home.witnesses.configured else home.publisher.shown()
    if not note:
        raise NotFound("No checkpoint has been published yet.", fix="Ask again in a second.")
    return note


@router.get("/vkey", response_class=PlainTextResponse)
async def vkey(request: Request) -> str:
    """The verifier key (C2SP signed-note). Compare it with one you got another way."""
    home = home_of(request)
    return await run_in_threadpool(lambda: home.publisher.vkey) + "\n"


@router.get("/first", response_class=PlainTextResponse)
async def first(request: Request) -> str:
    """The number of the first entry that was not pruned."""
    home = home_of(request)
    return f"{await run_in_threadpool(lambda: home.publisher.first)}\n"


@router.get("/handovers/{number}", response_class=PlainTextResponse)
async def handover(request: Request, number: str) -> str:
    """The note by which one signing key handed the log over to the next; numbers from 000."""
    home = home_of(request)
    note = None
    if re.fullmatch("[0-9]{3}", number, re.ASCII):
        note = await run_in_threadpool(home.publisher.handover, int(number))
    if note is None:
        raise NotFound("There is no such handover.")
    return note


@router.get("/tile/{path:path}", response_class=Response)
async def tile(request: Request, path: str) -> Response:
    """A tile of hashes, or below ``entries/`` a bundle of entries; those are for people."""
    found = _TILE.fullmatch(path)
    width = int(found[3] or TILE_WIDTH) if found else 0
    if found is None or width > TILE_WIDTH or (found[3] and width == TILE_WIDTH):
        raise NotFound("There is no such tile.", fix="See: c2sp.org/tlog-tiles.")
    index = int("".join(found[2].replace("x", "").split("/")))
    home = home_of(request)
    if found[1] != "entries":
        level = int(found[1])
        data = await run_in_threadpool(_within, home, level, index, width)
        return _tagged(request, data, {"cache-control": f"public, {_ASK_AGAIN}"})
    scope = await _scope(request)
    data = await run_in_threadpool(_bundle, home, index, width)
    headers = {"cache-control": f"{scope}, {_ASK_AGAIN}", "vary": "accept-encoding, authorization, cookie"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        data = await run_in_threadpool(partial(gzip.compress, data, 1, mtime=0))
        headers["content-encoding"] = "gzip"
    return _tagged(request, data, headers)


def _tagged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """The bytes with a tag of theirs, or only that they are still the ones that the asker has (RFC 9110)."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers["etag"] = tag
    asked = request.headers.get("if-none-match", "")
    if tag in (each.strip().removeprefix("W/") for each in asked.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=_BYTES, headers=headers)


@router.get("/policies/{name}", response_class=Response)
async def policy(request: Request, name: str) -> Response:
    """A policy that was in force, by its snapshot's digest; for people."""
    scope = await _scope(request)
    if not _SNAPSHOT.fullmatch(name):
        raise NotFound("There is no such policy.")
    document = await run_in_threadpool(_document, home_of(request), name.removesuffix(".json"))
    headers = {"cache-control": f"{scope}, {_FOREVER}"}
    return Response(document, media_type="application/json", headers=headers)


async def _scope(request: Request) -> str:
    """Which caches may keep what is not for everybody. Raises as `people_only` where this caller may not."""
    if request.app.state.public_ledger:
        return "public"
    await people_only(request)
    return "private"


def _within(home: Home, level: int, index: int, width: int) -> bytes:
    _published(home, level, index, width)
    return _read(lambda: home.publisher.tiles.hashes(level, index, width))


def _bundle(home: Home, index: int, width: int) -> bytes:
    _published(home, 0, index, width)
    if index * TILE_WIDTH < home.publisher.first:
        raise NotFound("These entries were pruned.", fix="They are in the exports that were made before.")
    return _read(lambda: home.publisher.tiles.bundle(index, width))


def _published(home: Home, level: int, index: int, width: int) -> None:
    """Raises `NotFound` where no published checkpoint reaches that far."""
    size = max(size_of(home.publisher.shown()), 0)
    if index * TILE_WIDTH + width > size >> 8 * level:
        raise NotFound("The published log does not reach that far.", fix="See: /ledger/checkpoint.")


def _read(tile_of: Callable[[], bytes]) -> bytes:
    try:
        return tile_of()
    except NoTiles as error:
        raise NotFound(f"This server has not that tile: {error}.") from error


def _document(home: Home, digest: str) -> bytes:
    document = stored_policy(home.journal, digest)
    if document is None:
        raise NotFound("There is no such policy.")
    return document
