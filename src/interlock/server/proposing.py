"""`POST /v1/actions`: what every action of every agent waits for.

1. Who calls is recognised before the body is looked at. A caller that this process recognised before is not
   looked up a second time: the transaction that records the proposal does that, and refuses a key that was
   revoked or has expired (`keyring`, rule 2).
2. Whatever else is refused is refused to a key that is valid now: the refusal is told after the key was
   looked up. So a revoked one learns that it is revoked, and nothing about the policy.
3. The answer is what `GET /v1/actions/{id}` tells. Where the proposal's own transaction is all that happened
   to the action, it is made of what that transaction wrote, after the commit; otherwise it is read.
4. A long body is parsed, prepared and answered in threads of its own, so that it holds up nobody's short one
   and no kill switch.
5. The endpoint takes the request and makes the answer's bytes itself, and it is asked ahead of the routing:
   what a framework does in between costs more than deciding. The route is there for the documents, and for
   whoever has the framework trace what it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock.dispatch import Dispatcher
from interlock.gate import Proposed, hosted
from interlock.home import Home
from interlock.identity import Caller
from interlock.model.actions import ActionState, Proposal
from interlock.model.errors import Conflict, InterlockError
from interlock.model.ids import check_id
from interlock.server.bodies import APART, LONG, ProposeBody, documented, parsed, received
from interlock.server.granted import granted_view
from interlock.server.security import bearer_of, caller_of

T = TypeVar("T")


class Bare(APIRoute):
    """A documented route whose endpoint is a function of the request, and answers with a response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


router = APIRouter(prefix="/v1", route_class=Bare)
_PATH = "/v1/actions"
_TRACED = "fastapi.telemetry"


@router.post(
    _PATH.removeprefix(router.prefix),
    openapi_extra=documented(ProposeBody),
    status_code=201,
    response_model=dict[str, Any],
)
async def propose(request: Request) -> Response:
    """Propose an action. 201 when it was decided, 202 when it is held for a person, 200 for a repetition."""
    home: Home = request.app.state.home
    token = bearer_of(request)
    caller = None if token is None else home.keyring.remembered(token)
    if caller is None:
        return await _propose(request, home, await caller_of(request))
    request.state.caller = caller
    try:
        return await _propose(request, home, caller)
    except InterlockError:
        await caller_of(request)
        raise


class Ahead:
    """ASGI middleware: `POST /v1/actions` goes straight to its endpoint (rule 5).

    Args:
        refuse: makes the answer of an error, as the application's handler does.
    """

    def __init__(
        self, app: ASGIApp, refuse: Callable[[Request, Exception], Coroutine[Any, Any, Response]]
    ) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "POST" or _TRACED in scope:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await propose(request)
        except InterlockError as error:
            response = await self._refuse(request, error)
        await response(scope, receive, send)


async def _propose(request: Request, home: Home, caller: Caller) -> Response:
    raw = await received(request, opaque="checkpoint")
    long = len(raw) > LONG
    body = await _apart(long, partial(parsed, raw, ProposeBody, opaque="checkpoint"))
    proposal = Proposal(
        topic=body.topic,
        args=body.args,
        principal=body.principal,
        session=body.session,
        parent_action=body.parent_action,
        call_id=body.call_id,
        idempotency_key=request.headers.get("idempotency-key"),
        confidence=body.confidence,
        reasoning=body.reasoning,
        alternatives=tuple(body.alternatives),
        attempt=body.attempt,
        checkpoint=body.checkpoint,
        tags=tuple(body.tags or ()),
    )
    if body.tags is not None or body.cannot or body.claim is not None:
        hosted.check_host_key(caller)
    host = None if body.claim is None else hosted.Run("", caller, body.claim).holder
    if body.retry_of is not None:
        check_id(body.retry_of, "act", "$.retry_of")
    dispatcher: Dispatcher = request.app.state.dispatcher
    with dispatcher.place(body.topic) as room:
        proposing = home.gate.propose_async(
            proposal,
            caller,
            registered=body.tags is not None,
            predecessor=body.retry_of,
            dispatching=room,
            cannot=frozenset(body.cannot),
            host=host,
            apart=APART if long else None,
        )
        proposed = await (dispatcher.at_once(proposing) if room else proposing)
    return await _answer(home, proposed, caller, host, long=long)


async def _answer(
    home: Home, proposed: Proposed, caller: Caller, host: str | None, *, long: bool
) -> Response:
    row, binding, claim = proposed.action, proposed.binding, proposed.claim
    if row is None:
        raise Conflict("The proposal left no action.")
    if binding is not None and claim is None and row.status is not ActionState.HELD:
        status, view = 201, partial(home.views.made, row, binding)
        content = await _apart(long, lambda: orjson.dumps(view()))
    else:
        read = await run_in_threadpool(home.views.action, row.id, caller)
        if claim is not None and claim.holder == host:
            read["claim"] = await run_in_threadpool(granted_view, home, claim, row.lease_until or 0)
        status = 200 if not proposed.created else 202 if read["state"] == ActionState.HELD else 201
        content = await _apart(long, partial(orjson.dumps, read))
    return Response(content, status, media_type="application/json")


async def _apart(long: bool, work: Callable[[], T]) -> T:
    """Do it, in a thread where it may take long."""
    return await asyncio.get_running_loop().run_in_executor(APART, work) if long else work()
