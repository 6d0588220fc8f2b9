"""The endpoints of sessions: trusted hosts say when an agent's run begins and ends, what the user said and
what tools gave back. For the keys of adapters; an agent's key is refused.

No answer tells what was recorded.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from interlock.model.sessions import Result, Turn
from interlock.server.bodies import Body, documented, read
from interlock.server.routes import Known, View, home_of

router = APIRouter(prefix="/v1/sessions")


class OpenBody(Body):
    """`principal`: on whose behalf; `ref`: the host's own name for the session, such as its thread's id."""

    principal: str | None = None
    ref: str | None = None


class TurnBody(Body):
    """`pasted`: not the user's own words; `cut`: something was left out; `ref`: names it when sent again."""

    text: str
    pasted: bool = False
    cut: bool = False
    ref: str | None = None


class ResultBody(Body):
    """`topic`: what the tool is mapped to; `source`: where it came from; `failed`: it is an error; `cut` and
    `ref` as for a turn."""

    tool: str
    content: Any
    topic: str | None = None
    action: str | None = None
    call_id: str | None = None
    source: str | None = None
    failed: bool = False
    cut: bool = False
    ref: str | None = None


@router.post("", openapi_extra=documented(OpenBody), status_code=201)
async def open_session(request: Request, response: Response, caller: Known) -> View:
    """Open a session of this adapter's agent. 201 for a new one, 200 for the one of that name."""
    sessions = home_of(request).sessions
    body = await read(request, OpenBody)
    view, new = await run_in_threadpool(lambda: sessions.open(caller, principal=body.principal, ref=body.ref))
    response.status_code = 201 if new else 200
    return view


@router.post("/{session_id}/turns", openapi_extra=documented(TurnBody), status_code=201)
async def record_turn(request: Request, response: Response, session_id: str, caller: Known) -> View:
    """Record what the user said. 201 for a new record, 200 for a repetition."""
    body = await read(request, TurnBody)
    turn = Turn(body.text, body.pasted, body.cut)
    return await _record(request, response, session_id, caller, turn, body.ref)


@router.post("/{session_id}/results", openapi_extra=documented(ResultBody), status_code=201)
async def record_result(request: Request, response: Response, session_id: str, caller: Known) -> View:
    """Record what a tool gave back. 201 for a new record, 200 for a repetition."""
    body = await read(request, ResultBody)
    result = Result(
        tool=body.tool,
        content=body.content,
        topic=body.topic,
        action_id=body.action,
        call_id=body.call_id,
        source=body.source,
        failed=body.failed,
        cut=body.cut,
    )
    return await _record(request, response, session_id, caller, result, body.ref)


async def _record(
    request: Request, response: Response, session_id: str, caller: Known, what: Turn | Result, ref: str | None
) -> View:
    sessions = home_of(request).sessions
    place, new = await run_in_threadpool(lambda: sessions.record(session_id, caller, what, ref=ref))
    response.status_code = 201 if new else 200
    return place


@router.post("/{session_id}/end")
async def end_session(request: Request, session_id: str, caller: Known) -> View:
    """End a session: nothing more is recorded or proposed in it."""
    return await run_in_threadpool(home_of(request).sessions.end, session_id, caller)
