"""The endpoints of foreign servers' tools: what is said of them, and accepting it.

Every person may look; a policy-admin accepts, by the hashes of what was looked at. This server asks no tool's
server: what it shows is what the gateway saw last.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from interlock.home import Home
from interlock.identity import Role
from interlock.model.ids import iso
from interlock.server.bodies import Body, documented, read
from interlock.server.routes import Reviewing, View, home_of

router = APIRouter(prefix="/v1/tools")


class AcceptBody(Body):
    """Which definitions: the hash of each by the tool's topic."""

    tools: dict[str, str]


@router.get("")
async def list_(request: Request, caller: Reviewing) -> View:
    """What servers behind the gateway say of their tools, beside what was accepted; and who may accept."""
    del caller
    return await run_in_threadpool(_described, home_of(request))


@router.post("/accept", openapi_extra=documented(AcceptBody))
async def accept(request: Request, caller: Reviewing) -> View:
    """Accept definitions, all of them or none; for policy-admins. Topics accepted before are no news."""
    body = await read(request, AcceptBody)
    home = home_of(request)
    done = await run_in_threadpool(lambda: home.tools.accept(body.tools, caller=caller))
    return {"accepted": list(done)}


def _described(home: Home) -> View:
    accepted, seen = home.tools.all(), home.tools.seen()
    known = {(each.topic, each.tool): each for each, _ in seen}
    tools: list[dict[str, Any]] = []
    for each, at in seen:
        one = accepted.get(each.topic)
        newer = any(topic == each.topic and tool != each.tool for topic, tool in known)
        if one is not None and one.tool == each.tool and newer:
            continue  # it stands beside the newer one
        before = None if one is None else known.get((each.topic, one.tool))
        tools.append(
            {
                "server": each.server,
                "tool": each.name,
                "topic": each.topic,
                "hash": each.tool,
                "standing": "new" if one is None else "accepted" if one.tool == each.tool else "changed",
                "definition": json.loads(each.definition),
                "seen_at": iso(at),
                "accepted": None
                if one is None
                else {
                    "hash": one.tool,
                    "by": one.by,
                    "at": iso(one.at),
                    "definition": None if before is None else json.loads(before.definition),
                },
            }
        )
    may = [person for person in home.roster.all() if Role.POLICY_ADMIN in person.roles]
    return {"tools": tools, "may": [{"id": person.id, "name": person.name} for person in may]}
