"""The endpoints of kill switches: what is stopped, stopping, and lifting it.

For people with the role operator or policy-admin; every person may look. Agents' keys may do neither.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from interlock.gate import Scope
from interlock.home import stops_view
from interlock.model.ids import check_id
from interlock.server.bodies import Body, documented, read
from interlock.server.routes import Reviewing, View, home_of

router = APIRouter(prefix="/v1/kill-switches")


class StopBody(Body):
    """What to stop, and why; the reason stands in the ledger for everybody."""

    scope: Annotated[Scope, Field(strict=False)]
    target: str | None = None
    reason: str
    drill: bool = False


class RearmBody(Body):
    """An agreement; the reason stands in the ledger for everybody."""

    reason: str


@router.get("")
async def list_(request: Request, caller: Reviewing) -> View:
    """What is stopped now, and who agreed to lift it; then what was stopped before, newest first."""
    del caller
    return await run_in_threadpool(stops_view.described, home_of(request))


@router.post("", openapi_extra=documented(StopBody), status_code=201)
async def stop(request: Request, response: Response, caller: Reviewing) -> View:
    """Stop a scope: once this is answered, nothing in it is claimed. 200 where it was stopped before."""
    switches = home_of(request).kill_switches
    body = await read(request, StopBody)
    if body.drill:
        drill = await run_in_threadpool(
            lambda: switches.drill(body.scope, body.target, body.reason, caller=caller)
        )
        return stops_view.drilled(drill)
    engaged = await run_in_threadpool(
        lambda: switches.engage(body.scope, body.target, body.reason, caller=caller)
    )
    response.status_code = 201 if engaged.created else 200
    return stops_view.engaged(engaged)


@router.post("/{kill_id}/rearm", openapi_extra=documented(RearmBody))
async def rearm(request: Request, kill_id: str, caller: Reviewing) -> View:
    """Agree to lift a kill switch. The last one who has to lifts it."""
    check_id(kill_id, "kil", "$.kill_id")
    body = await read(request, RearmBody)
    rearming = await run_in_threadpool(home_of(request).kill_switches.rearm, kill_id, body.reason, caller)
    return stops_view.rearmed(rearming)
