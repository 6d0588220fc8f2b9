"""The application: routes, problem documents, the console's files, and what runs beside them.

What is wrong with an installation names paths, hosts, witnesses and what a database said. Signed-in people
and the log are told; strangers, agents and executors read what kind of trouble it is, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from interlock.dispatch import Dispatcher
from interlock.home import Home
from interlock.home.work import NotStanding, Work
from interlock.identity import Caller, KeyKind
from interlock.model.errors import (
    HomeUnusable,
    InterlockError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
)
from interlock.model.text import visible
from interlock.server import (
    claims,
    events,
    ledger,
    permits,
    proposing,
    questions,
    recovery,
    rollbacks,
    routes,
    sessions,
    stops,
    subjects,
    tools,
)
from interlock.server.document import described
from interlock.server.events import News
from interlock.server.publishing import PUBLISH_SEC, Publishing
from interlock.server.security import LOCAL, Perimeter, Site, caller_of, origin_of

STATIC = Path(__file__).with_name("static")
NOTED_SEC = 60.0
SCRUB_SEC = 30.0
_ASSETS = {
    "main.js": "text/javascript",
    "style.css": "text/css",
    "favicon.svg": "image/svg+xml",
}
_log = logging.getLogger(__name__)


def create_app(
    home: Home,
    *,
    hosts: Iterable[str] = LOCAL,
    public_url: str | None = None,
    public_ledger: bool = False,
    failed: Callable[[BaseException], None] | None = None,
) -> FastAPI:
    """The ASGI application of one home.

    Args:
        hosts: names this server answers to.
        public_url: how browsers reach it, where that is not directly.
        public_ledger: show the ledger's entries and its policies to everybody.
        failed: called when background work ended by an error; the process should then stop.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        connector = home.connectors()
        app.state.dispatcher = Dispatcher(home.gate, connector, home.leases)
        app.state.work = Work(home, app.state.dispatcher)
        app.state.news = News(home, app.state.work)
        app.state.publishing = Publishing(home)
        work = [
            asyncio.create_task(app.state.dispatcher.serve(stop), name="sweep"),
            asyncio.create_task(app.state.work.run(stop), name="work"),
            asyncio.create_task(app.state.publishing.run(stop), name="publish"),
            asyncio.create_task(_witness(home, stop), name="witness"),
            asyncio.create_task(app.state.news.run(stop), name="news"),
            asyncio.create_task(_scrub(home, stop), name="scrub"),
        ]
        for task in work:
            task.add_done_callback(lambda done: _ended(done, failed))
        app.state.stop = stop
        yield
        stop.set()
        await asyncio.gather(*work, return_exceptions=True)
        await connector.aclose()

    app = FastAPI(
        title="Interlock",
        version=version("interlock"),
        description="The escalation layer for AI agents.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.home = home
    app.state.noted = ("", 0.0)
    app.state.public_ledger = public_ledger
    app.state.site = Site(
        None if public_url is None else origin_of(public_url), f"interlock_{home.publisher.log[-8:]}"
    )
    app.include_router(claims.router)  # before /v1/actions/{action_id}
    app.include_router(proposing.router)
    app.include_router(routes.router)
    app.include_router(permits.router)
    app.include_router(questions.router)
    app.include_router(sessions.router)
    home.permit_keys.current()
    app.include_router(subjects.router)
    app.include_router(events.router)
    app.include_router(recovery.router)
    app.include_router(stops.router)
    app.include_router(tools.router)
    app.include_router(rollbacks.router)
    app.include_router(ledger.router)
    _add_health(app, home)
    _add_console(app)
    app.add_middleware(proposing.Ahead, refuse=_problem)
    app.add_exception_handler(InterlockError, _problem)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    app.openapi = partial(described, app)  # type: ignore[method-assign]
    _enclose(app, [host.lower() for host in hosts])
    return app


def _enclose(app: FastAPI, hosts: list[str]) -> None:
    """Put the perimeter around everything, the handler of unexpected errors included."""
    inner = app.build_middleware_stack

    def enclosed() -> ASGIApp:
        return Perimeter(inner(), hosts, _refusal)

    app.build_middleware_stack = enclosed  # type: ignore[method-assign]


async def _witness(home: Home, stop: asyncio.Event) -> None:
    """Has checkpoints cosigned. No witness, and no policy of witnesses, ever stops the server."""
    told = ""
    while not stop.is_set():
        try:
            if home.recovery.required is None:
                await run_in_threadpool(home.witnesses.gather)
            told = ""
        except (InterlockError, SQLAlchemyError, OSError) as error:
            if str(error) != told:
                told = str(error)
                _log.error("no witness is asked: %s", error)
        try:
            async with asyncio.timeout(PUBLISH_SEC):
                await stop.wait()
        except TimeoutError:
            continue


async def _scrub(home: Home, stop: asyncio.Event) -> None:
    """Takes erased keys out of the database's files that somebody's reading kept there."""
    while not stop.is_set():
        try:
            await run_in_threadpool(home.eraser.scrub)
        except (InterlockError, OSError) as error:
            _log.error("an erased key stays in the database's files for now: %s", error)
        try:
            async with asyncio.timeout(SCRUB_SEC):
                await stop.wait()
        except TimeoutError:
            continue


def _ended(task: asyncio.Task[None], failed: Callable[[BaseException], None] | None) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.critical("%s stopped: %s", task.get_name(), error)
        if failed is not None:
            failed(error)


# --- problems ----------------------------------------------------------------------------------------------


def problem(error: InterlockError) -> JSONResponse:
    """RFC 9457."""
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(error.problem(), error.status, headers, media_type="application/problem+json")


def _refusal(error: InterlockError) -> ASGIApp:
    return problem(error)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, InterlockError)
    if not isinstance(error, HomeUnusable):
        return problem(error)
    if not isinstance(error, NotStanding):  # which says so itself, once
        _note(request, error)
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is not None and caller.kind is KeyKind.PERSON:
        return problem(error)
    document = {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": "Something is wrong with this installation. Its log says more; signed-in people are told.",
        "fix": type(error).advice or "Ask whoever runs this server.",
    }
    return JSONResponse(document, error.status, media_type="application/problem+json")


def _note(request: Request, error: HomeUnusable) -> None:
    """Say it in the log; the same sentence once in `NOTED_SEC`, however many ask."""
    sentence, until = request.app.state.noted
    if (str(error), True) != (sentence, time.monotonic() < until):
        request.app.state.noted = str(error), time.monotonic() + NOTED_SEC
        _log.error("%s %s: %s", request.method, visible(request.url.path, 100), error)


async def _bad_parameter(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    finding = error.errors()[0]
    return problem(InvalidInput(finding["msg"].lower(), path="$." + ".".join(map(str, finding["loc"][1:]))))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return problem(NotFound(f"There is nothing at {visible(request.url.path, 100)}."))
    refusal = problem(MethodNotAllowed(f"{request.method} is not answered here."))
    if error.status_code == refusal.status_code:
        refusal.headers.update(error.headers or {})
        return refusal
    body: dict[str, Any] = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
    return JSONResponse(body, error.status_code, error.headers, media_type="application/problem+json")


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(InterlockError("This request failed; the server's log says why."))


# --- health, console ---------------------------------------------------------------------------------------


def _add_health(app: FastAPI, home: Home) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz(request: Request) -> dict[str, str]:
        """The journal can be written, the clock is sound, a policy is in force, and work is carried out."""
        if "authorization" in request.headers:
            with suppress(InterlockError):
                await caller_of(request)

        def look() -> dict[str, str]:
            if home.recovery.required is not None:
                raise home.recovery.required
            if home.journal.halted is not None:
                raise home.journal.halted
            home.journal.check_time()
            ready = {"status": "ready", "policy": home.gate.active() or ""}
            app.state.work.check()
            ready["ledger"] = app.state.publishing.standing
            standing = home.witnesses.standing()
            if standing.contradicted:
                ready["witnesses"] = "contradicted"
            elif standing.configured:
                ready["witnesses"] = "quorum" if standing.reached else "missing"
            return ready

        return await run_in_threadpool(look)


def _add_console(app: FastAPI) -> None:
    async def page() -> Response:
        if not (STATIC / "index.html").exists():
            return PlainTextResponse(
                "The console was not built into this installation.\n"
                "Reinstall Interlock where the package registry can be reached.\n",
                503,
            )
        return FileResponse(STATIC / "index.html", media_type="text/html")

    for path in ("/", "/a/{identifier}", "/stop", "/tools", "/sign-in"):
        app.add_api_route(path, page, include_in_schema=False, response_class=FileResponse)

    async def asset(name: str) -> Response:
        if name not in _ASSETS or not (STATIC / name).exists():
            raise NotFound(f"There is no file {name[:100]}.")
        return FileResponse(STATIC / name, media_type=_ASSETS[name], headers={"cache-control": "no-cache"})

    app.add_api_route("/static/{name}", asset, include_in_schema=False, response_class=FileResponse)
