"""The endpoint of questions: an agent asks a person, and nothing is done by it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from interlock.model.actions import ActionState, Proposal
from interlock.model.errors import Conflict
from interlock.model.questions import TOPIC, question_args
from interlock.server.bodies import Body, Opaque, documented, read
from interlock.server.routes import Known, View, home_of

router = APIRouter(prefix="/v1")


class AskBody(Body):
    """`options`: what may be answered; any words where there are none. `context`: what helps to answer."""

    question: str
    options: list[str] = Field(default_factory=list)
    context: str = ""
    principal: str | None = None
    session: str | None = None
    parent_action: str | None = None
    call_id: str | None = None
    attempt: str | None = None
    checkpoint: Opaque = Field(default=None, repr=False, json_schema_extra={"type": "string"})


@router.post("/questions", openapi_extra=documented(AskBody), status_code=202)
async def ask(request: Request, response: Response, caller: Known) -> View:
    """Ask a person. 202 while it waits, 201 where the policy denies it, 200 for a repetition."""
    home = home_of(request)
    body = await read(request, AskBody, opaque="checkpoint")
    proposal = Proposal(
        topic=TOPIC,
        args=question_args(body.question, tuple(body.options), body.context),
        principal=body.principal,
        session=body.session,
        parent_action=body.parent_action,
        call_id=body.call_id,
        attempt=body.attempt,
        idempotency_key=request.headers.get("idempotency-key"),
        checkpoint=body.checkpoint,
    )
    proposed = await home.gate.propose_async(proposal, caller)
    if proposed.action is None:
        raise Conflict("The question left no action.")
    view = await run_in_threadpool(home.views.action, proposed.action.id, caller)
    if not proposed.created:
        response.status_code = 200
    elif view["state"] != ActionState.HELD:
        response.status_code = 201
    return view
