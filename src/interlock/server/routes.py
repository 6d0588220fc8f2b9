"""The endpoints of `/v1`: each reads, calls the gate in a worker thread, and renders."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from interlock.gate import HumanDecision
from interlock.home import Home
from interlock.identity import Caller, Person
from interlock.identity.people import SESSION_US
from interlock.model.actions import ActionState
from interlock.model.errors import InvalidInput
from interlock.server.bodies import (
    DecideBody,
    ReconcileBody,
    SignInBody,
    documented,
    read,
)
from interlock.server.events import MOST_WAIT_SEC, News
from interlock.server.security import (
    Site,
    caller_of,
    check_origin,
    check_page,
    people_only,
    person_of,
)

router = APIRouter(prefix="/v1")
View = dict[str, Any]
Known = Annotated[Caller, Depends(caller_of)]
Reviewing = Annotated[Caller, Depends(people_only)]
SignedIn = Annotated[Person, Depends(person_of)]
Wait = Annotated[int, Query(ge=0, le=MOST_WAIT_SEC)]


def home_of(request: Request) -> Home:
    home: Home = request.app.state.home
    return home


async def _rendered(look: Callable[[], View]) -> Response:
    """What is looked up, written by the thread that looks: the event loop need not go through a long list."""
    content = await run_in_threadpool(lambda: orjson.dumps(look()))
    return Response(content, media_type="application/json")


# --- people ------------------------------------------------------------------------------------------------


@router.get("/me")
async def me(request: Request, person: SignedIn) -> View:
    """Who is signed in, and under which policy."""
    home = home_of(request)
    policy = await run_in_threadpool(home.gate.in_force)
    enrolled = await run_in_threadpool(home.roster.all)
    return {
        "person": {"id": person.id, "name": person.name, "roles": sorted(r.value for r in person.roles)},
        "solo": policy.people == "solo" and len(enrolled) == 1,
        "policy": {"name": policy.name, "snapshot": policy.snapshot, "mode": policy.mode},
    }


@router.post("/sign-in", openapi_extra=documented(SignInBody))
async def sign_in(request: Request, response: Response) -> View:
    """Redeem a one-time link. The token came in the URL's fragment, which browsers do not send."""
    check_origin(request, "1")
    body = await read(request, SignInBody)
    token, person = await run_in_threadpool(home_of(request).roster.redeem, body.token)
    site: Site = request.app.state.site
    response.set_cookie(
        site.cookie,
        token,
        max_age=SESSION_US // 1_000_000,
        httponly=True,
        samesite="strict",
        secure=site.secure,
        path="/",
    )
    return {**await me(request, person), "proof": home_of(request).roster.proof(token)}


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, response: Response) -> None:
    """End the session."""
    site: Site = request.app.state.site
    token = request.cookies.get(site.cookie, "")
    check_page(request, token)
    await run_in_threadpool(home_of(request).roster.sign_out, token)
    response.delete_cookie(site.cookie, path="/")


# --- actions -----------------------------------------------------------------------------------------------


@router.get("/actions", response_model=View)
async def list_actions(
    request: Request, caller: Reviewing, state: str, cursor: str | None = None
) -> Response:
    """Actions in one state, for people."""
    del caller
    if state not in list(ActionState):
        raise InvalidInput("one of " + ", ".join(ActionState), path="$.state")
    return await _rendered(partial(home_of(request).views.actions, ActionState(state), cursor))


@router.get("/actions/{action_id}")
async def get_action(
    request: Request, action_id: str, caller: Known, wait: Wait = 0, seen: str | None = None
) -> View:
    """One action, as the caller may see it; with `wait`, once its state is another than `seen`, or after so
    many seconds."""
    look = partial(home_of(request).views.action, action_id, caller)
    news: News = request.app.state.news
    async for _ in news.within(wait):
        view = await run_in_threadpool(look)
        seen = seen or view["state"]
        if view["state"] != seen:
            break
        await caller_of(request)  # a key that was revoked meanwhile is told nothing more
    return view


@router.get("/actions/{action_id}/checkpoint")
async def get_checkpoint(request: Request, action_id: str, caller: Known) -> View:
    """What the agent kept with its proposal; for that agent alone."""
    found = await run_in_threadpool(home_of(request).gate.checkpoint, action_id, caller)
    content = found.content
    return {
        "id": found.action_id,
        "state": found.state,
        "checkpoint": None if content is None else base64.b64encode(content).decode(),
    }


@router.post("/actions/{action_id}/withdraw")
async def withdraw(request: Request, action_id: str, caller: Known) -> View:
    """The proposer takes the action back before it runs."""
    home = home_of(request)
    await run_in_threadpool(home.gate.withdraw, action_id, caller)
    return await run_in_threadpool(home.views.action, action_id, caller)


@router.post("/actions/{action_id}/revoke")
async def revoke(request: Request, action_id: str, caller: Reviewing) -> View:
    """A person takes back an allow or an approval before it is claimed."""
    home = home_of(request)
    await run_in_threadpool(home.gate.revoke, action_id, caller)
    return await run_in_threadpool(home.views.action, action_id, caller)


@router.post("/actions/{action_id}/reconcile", openapi_extra=documented(ReconcileBody))
async def reconcile(request: Request, action_id: str, caller: Reviewing) -> View:
    """A person settles what is in doubt."""
    home = home_of(request)
    body = await read(request, ReconcileBody)
    await run_in_threadpool(home.gate.reconcile, action_id, caller, ActionState(body.outcome), body.note)
    return await run_in_threadpool(home.views.action, action_id, caller)


# --- approval requests -------------------------------------------------------------------------------------


@router.get("/approvals", response_model=View)
async def list_approvals(
    request: Request, caller: Reviewing, state: str = "held", cursor: str | None = None
) -> Response:
    """Requests that wait, or that have ended."""
    del caller
    return await _rendered(partial(home_of(request).views.approvals, state, cursor))


@router.get("/approvals/{approval_id}")
async def get_approval(request: Request, approval_id: str, caller: Reviewing) -> View:
    """Everything a reviewer is shown about one request; an action's id finds its latest request."""
    home = home_of(request)
    if approval_id.startswith("act_"):
        approval_id = await run_in_threadpool(home.views.approval_about, approval_id)
    policy = await run_in_threadpool(home.gate.in_force)
    return await run_in_threadpool(home.views.approval, approval_id, caller, policy)


@router.post("/approvals/{approval_id}/decisions", openapi_extra=documented(DecideBody))
async def decide(request: Request, approval_id: str, caller: Known) -> View:
    """Answer a request: approve, reject, edit, or respond to a question.

    409 with the difference where it is not what was shown.
    """
    home = home_of(request)
    body = await read(request, DecideBody)
    decision = HumanDecision(
        body.decision, body.expected_hash, body.reason_code, body.note, body.args, body.response
    )
    await run_in_threadpool(home.gate.decide, approval_id, caller, decision)
    policy = await run_in_threadpool(home.gate.in_force)
    return await run_in_threadpool(home.views.approval, approval_id, caller, policy)


# --- policy ------------------------------------------------------------------------------------------------


@router.get("/policy")
async def policy(request: Request, caller: Reviewing) -> View:
    """The policy in force."""
    del caller
    current = await run_in_threadpool(partial(getattr, home_of(request).gate, "policy"))
    return {
        "name": current.name,
        "snapshot": current.snapshot,
        "people": current.people,
        "warnings": list(current.warnings),
    }
