"""The endpoints of permits: minted for whoever proposed, redeemed and reported by the executor, and the keys.
Claims of adapters (`claims.py`) are renewed and reported at the same addresses.

No answer but the one that mints carries a permit, and no log line ever does.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from interlock.gate import Report, hosted
from interlock.gate.hosted import Run
from interlock.identity import Caller
from interlock.model.actions import ActionState
from interlock.model.canonical import Json, plain
from interlock.model.errors import InvalidInput, MissingField
from interlock.model.ids import iso
from interlock.server.bodies import Body, Limit, documented, read
from interlock.server.routes import Known, View, home_of

MAX_NOTE = 4_000
router = APIRouter()


class MintBody(Body):
    """`offline`: the permit shall do without redeeming; where the catalogue says so, at tiers 1 and 2."""

    offline: bool = False


class PermitBody(Body):
    permit: str = Field(repr=False)


class HeldBody(Body):
    """What is held, and by what: a `permit` that was redeemed, or the token and epoch of a `claim`."""

    permit: str | None = Field(default=None, repr=False)
    claim: str | None = Field(default=None, repr=False)
    epoch: int | None = Field(default=None, ge=1)

    def run(self, action_id: str, caller: Caller) -> tuple[Run, int] | None:
        """The run and its epoch, of a claim; None for a permit. Raises `InvalidInput` where it is not one."""
        if self.permit is None and self.claim is None:
            raise MissingField("a `permit` is required, or a `claim` with its `epoch`")
        if (self.permit is None) == (self.claim is None) or (self.claim is None) != (self.epoch is None):
            raise InvalidInput("either a `permit`, or a `claim` with its `epoch`")
        if self.claim is None or self.epoch is None:
            return None
        return Run(action_id, caller, self.claim), self.epoch


class OutcomeBody(HeldBody):
    """What whoever ran it says happened; `failed` only where it knows that nothing took effect."""

    breach: Limit | None = None
    outcome: Literal["succeeded", "failed", "in_doubt"]
    note: str = Field(min_length=1, max_length=MAX_NOTE)
    result: object = None


@router.post("/v1/actions/{action_id}/permit", openapi_extra=documented(MintBody), status_code=201)
async def mint(request: Request, action_id: str, caller: Known) -> View:
    """Mint a permit for an action that may run, for the executor that the catalogue names."""
    home = home_of(request)
    body = await read(request, MintBody)
    issued = await run_in_threadpool(home.permits.mint, action_id, caller, offline=body.offline)
    permit = issued.permit
    return {
        "permit": issued.token,
        "id": permit.id,
        "action": permit.action_id,
        "revision": permit.revision,
        "executor": permit.executor,
        "tier": issued.tier,
        "offline": bool(permit.offline),
        "expires_at": iso(permit.expires_at),
        "args": issued.args,
    }


@router.post("/v1/permits/redeem", openapi_extra=documented(PermitBody))
async def redeem(request: Request, caller: Known) -> View:
    """Claim the action of a permit. What may run, once, is `binding`."""
    home = home_of(request)
    body = await read(request, PermitBody)
    redeemed = await run_in_threadpool(home.permits.redeem, body.permit, caller)
    claim = redeemed.claim
    return {
        "action": claim.action_id,
        "revision": claim.revision,
        "epoch": claim.epoch,
        "lease_until": iso(redeemed.lease_until),
        "binding": claim.binding.canonical().decode(),
        "constraints": claim.verdict.constraints.to_json(),
        "key": claim.key,
    }


@router.post("/v1/actions/{action_id}/renew", openapi_extra=documented(HeldBody))
async def renew(request: Request, action_id: str, caller: Known) -> View:
    """Extend the lease of a redeemed permit, or of an adapter's claim, while the work lasts."""
    home = home_of(request)
    body = await read(request, HeldBody)
    held = body.run(action_id, caller)
    if held is None:
        until = await run_in_threadpool(home.permits.renew, action_id, body.permit or "", caller)
    else:
        until = await run_in_threadpool(hosted.renew, home.gate, *held)
    return {"action": action_id, "lease_until": iso(until)}


@router.post("/v1/actions/{action_id}/outcome", openapi_extra=documented(OutcomeBody))
async def outcome(request: Request, action_id: str, caller: Known) -> View:
    """Report what became of a run under a permit or a claim."""
    home = home_of(request)
    body = await read(request, OutcomeBody)
    held = body.run(action_id, caller)
    report = Report(ActionState(body.outcome), body.note, _carried(body.result), body.breach)
    if held is None:
        row = await run_in_threadpool(home.permits.report, action_id, body.permit or "", caller, report)
    else:
        row = await run_in_threadpool(hosted.report, home.gate, *held, report)
    return {"action": row.id, "revision": row.revision, "state": row.state, "epoch": row.epoch}


def _carried(result: object) -> Json:
    """The result in plain numbers. One that has none must not cost the report; it is noted as not kept."""
    try:
        return plain(result)
    except InvalidInput:
        return result  # type: ignore[return-value]


@router.get("/.well-known/jwks.json")
async def jwks(request: Request) -> View:
    """The public keys that sign permits (RFC 7517): the current one, and for ten minutes the one before."""
    return await run_in_threadpool(home_of(request).permits.key_set)
