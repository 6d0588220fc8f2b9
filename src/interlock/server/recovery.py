"""The endpoints of recovery: what is lost, and people who agree to go on without it.

A server starts in recovery too: everything can be read, every change is refused with ``recovery-required``,
and nothing runs, until enough people agreed (`gate/recovery.py`).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from interlock.home import recovery_view
from interlock.model.errors import Changed
from interlock.server.bodies import Body, documented, read
from interlock.server.routes import Reviewing, View, home_of

router = APIRouter(prefix="/v1/recovery")


class AgreeBody(Body):
    """An agreement; `gap` is the digest of what was shown, `reason` stands in the ledger for everybody.

    `dismiss`: nothing is missing, it was a false alarm; `gap` is then the dismissal's digest.
    """

    gap: str
    reason: str
    dismiss: bool = False


@router.get("")
async def recovery(request: Request, caller: Reviewing) -> View:
    """What is known of the loss, which actions will be in doubt, and who has to agree."""
    del caller
    return await run_in_threadpool(recovery_view.described, home_of(request))


@router.post("/agree", openapi_extra=documented(AgreeBody))
async def agree(request: Request, caller: Reviewing) -> View:
    """Agree to exactly this loss, or that it is none. The last one who has to ends the recovery."""
    home = home_of(request)
    body = await read(request, AgreeBody)
    try:
        agreement = await run_in_threadpool(
            home.recovery.agree, caller, body.gap, body.reason, dismiss=body.dismiss
        )
    except Changed as error:
        shown = await run_in_threadpool(recovery_view.described, home)
        error.extra["current"] = (shown.get("dismissal", {}) if body.dismiss else shown).get("gap")
        raise
    return recovery_view.agreed(agreement)
