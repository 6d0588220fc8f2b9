"""Erasing a subject over HTTP: a person's act, with their own key or session."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from interlock.gate import ErasureReason
from interlock.home import Home
from interlock.identity import Caller
from interlock.identity.callers import Role
from interlock.model.errors import InvalidInput
from interlock.server.bodies import Body, documented, read
from interlock.server.security import people_only

router = APIRouter(prefix="/v1")
MAX_NAME = 300


class EraseBody(Body):
    """Whom to erase. The name is in the body, since addresses stand in logs."""

    subject: str
    reason: Annotated[ErasureReason | None, Field(strict=False)] = None
    dry_run: bool = False


@router.post("/subjects/erase", openapi_extra=documented(EraseBody))
async def erase(request: Request, caller: Annotated[Caller, Depends(people_only)]) -> dict[str, Any]:
    """Destroy the key of everything recorded about a subject; for operators and policy-admins."""
    home: Home = request.app.state.home
    person = caller.check_role(Role.OPERATOR, Role.POLICY_ADMIN)
    body = await read(request, EraseBody)
    if not 1 <= len(body.subject) <= MAX_NAME:
        raise InvalidInput(f"a name has 1 to {MAX_NAME} characters", path="$.subject")
    if body.dry_run:
        return (await run_in_threadpool(home.eraser.look, body.subject)).to_json()
    done = await run_in_threadpool(
        lambda: home.eraser.erase(body.subject, by=person, reason=body.reason, caller=caller)
    )
    return done.to_json()
