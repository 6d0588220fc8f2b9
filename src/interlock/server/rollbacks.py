"""The endpoints of rollback: what taking an action back would do, and asking for it.

For the agent that ran the action, and for people with the role reviewer or operator.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from interlock.dispatch import Dispatcher
from interlock.model.actions import ActionState
from interlock.model.errors import Conflict
from interlock.model.ids import check_id
from interlock.server.routes import Known, View, home_of

router = APIRouter(prefix="/v1/actions")


@router.get("/{action_id}/rollback")
async def preview(request: Request, action_id: str, caller: Known) -> View:
    """What a rollback would propose, and what the policy says to it. Changes nothing."""
    check_id(action_id, "act", "$.action_id")
    planned = await run_in_threadpool(home_of(request).gate.rollback_plan, action_id, caller)
    return planned.to_json()


@router.post("/{action_id}/rollback", status_code=201)
async def rollback(request: Request, response: Response, action_id: str, caller: Known) -> View:
    """Ask for the action that takes this one back. 201 when it was decided, 202 when it is held for a person.

    What is answered is `rollback`, the action that takes back, and `action`, the one that is taken back.
    """
    check_id(action_id, "act", "$.action_id")
    home = home_of(request)
    planned = await run_in_threadpool(home.gate.rollback_plan, action_id, caller)
    dispatcher: Dispatcher = request.app.state.dispatcher
    with dispatcher.place(planned.topic) as room:
        rolling = run_in_threadpool(lambda: home.gate.rollback(action_id, caller, dispatching=room))
        proposed = await dispatcher.at_once(rolling)
    row = proposed.action
    if row is None:
        raise Conflict("The rollback left no action.")
    undo = await run_in_threadpool(home.views.action, row.id, caller)
    if undo["state"] == ActionState.HELD:
        response.status_code = 202
    return {"rollback": undo, "action": await run_in_threadpool(home.views.action, action_id, caller)}
