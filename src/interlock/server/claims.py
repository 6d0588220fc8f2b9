"""The endpoints of claims by hosts elsewhere, and what such a host asks further: who its key is, what became
of its agent's actions, and what it may run now.

No answer and no log line carries the token of a claim.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from interlock.gate import followed, hosted
from interlock.gate.claim import LONGEST_LEASE_SEC
from interlock.gate.resumable import resumable
from interlock.gate.telling import Event, event_of
from interlock.home import Home
from interlock.identity import Caller
from interlock.model.errors import Forbidden
from interlock.model.topics import parse_topic
from interlock.server.bodies import Body, Limit, documented, read
from interlock.server.events import MOST_WAIT_SEC, PAGE, News
from interlock.server.granted import granted_view
from interlock.server.routes import Known, View, home_of
from interlock.server.security import caller_of

router = APIRouter(prefix="/v1")
Token = Annotated[str, Field(repr=False)]


class ClaimBody(Body):
    """`claim`: what the host made up for this run; `cannot`: constraints it cannot hold the function to."""

    claim: Token
    cannot: list[Limit] = Field(default_factory=list, max_length=3)
    lease_sec: int | None = Field(default=None, ge=15, le=LONGEST_LEASE_SEC)


class ReadyBody(Body):
    """The topics that the host has functions for, and how many actions it wants to hear of."""

    topics: list[str] = Field(max_length=500)
    limit: int = Field(default=10, ge=1, le=100)


class PlaceBody(Body):
    """`holder`: names the process that tells; `position`: everything before it was told."""

    holder: Annotated[str, Field(min_length=8, max_length=100)]
    position: int | None = Field(default=None, ge=0)
    leave: bool = False


@router.get("/caller")
async def whoami(caller: Known) -> View:
    """Whose key this is."""
    return {
        "kind": caller.kind.value,
        "name": caller.agent or caller.executor or caller.person,
        "topics": [pattern.text for pattern in caller.topics],
    }


@router.post("/actions/{action_id}/claim", openapi_extra=documented(ClaimBody))
async def claim(request: Request, action_id: str, caller: Known) -> View:
    """Claim an action for a function of the adapter's own. What may run, once, is `binding`."""
    home = home_of(request)
    body = await read(request, ClaimBody)
    run = hosted.Run(action_id, caller, body.claim)
    return await run_in_threadpool(_claim, home, run, frozenset(body.cannot), body.lease_sec)


def _claim(home: Home, run: hosted.Run, cannot: frozenset[str], lease_sec: int | None) -> View:
    granted = hosted.claim(home.gate, run, cannot=cannot, lease_sec=lease_sec)
    return granted_view(home, granted.claim, granted.lease_until)


@router.post("/actions/ready", openapi_extra=documented(ReadyBody))
async def ready(request: Request, caller: Known) -> View:
    """What may run now and is left to functions: actions of this adapter's agent, at most `limit`."""
    body = await read(request, ReadyBody)
    agent = _agent(caller)
    hosted.check_host_key(caller)
    named = frozenset(parse_topic(topic, "$.topics") for topic in body.topics)
    topics = frozenset(topic for topic in named if caller.owns(agent, topic))
    look = partial(resumable, agent=agent, topics=topics, limit=body.limit)
    found, others = await run_in_threadpool(home_of(request).journal.look, look)
    return {
        "items": [{"id": one.id, "revision": one.revision, "topic": one.topic} for one in found],
        "others": {topic: id for topic, id in others.items() if caller.owns(agent, topic)},
    }


# --- what became of the actions of an agent -----------------------------------------------------------------


@router.get("/news")
async def news(
    request: Request,
    caller: Known,
    after: Annotated[int | None, Query(ge=0)] = None,
    wait: Annotated[int, Query(ge=0, le=MOST_WAIT_SEC)] = 0,
) -> View:
    """What became of the actions of this key's agent, within its topics, from position `after`, or from now;
    with `wait`, as soon as there is anything, or after so many seconds."""
    home, agent = home_of(request), _agent(caller)
    found: list[Event] = []
    start = after
    feed: News = request.app.state.news
    async for _ in feed.within(wait):
        await caller_of(request)
        found, start = await run_in_threadpool(_events, home, caller, agent, start)
        if found:
            break
    return {"items": [_told(event) for event in found], "next": start}


def _events(home: Home, caller: Caller, agent: str, after: int | None) -> tuple[list[Event], int]:
    """The events of one page of the ledger or more, and where the next begins."""
    size = home.journal.head()[0]
    if after is None:
        return [], size
    start = min(max(after, home.publisher.first), size)  # what was pruned is gone; a restore may shorten
    while start < size:
        stop = min(size, start + PAGE)
        events = []
        for number, body in enumerate(home.journal.entries(start, stop), start):
            entry: dict[str, Any] = json.loads(body)
            event = event_of(number, entry["kind"], entry["at"], entry)
            if event is not None:
                events.append(event)
        start = stop
        ours = home.journal.look(
            partial(
                followed.proposed_by,
                agent=agent,
                actions={event.action_id for event in events},
                covers=partial(caller.owns, agent),
            )
        )
        if ours:
            return [event for event in events if event.action_id in ours], start
    return [], start


def _told(event: Event) -> View:
    return {
        "number": event.number,
        "type": event.type,
        "state": event.state.value,
        "action": event.action_id,
        "revision": event.revision,
        "at": event.at,
    }


@router.post("/news/place", openapi_extra=documented(PlaceBody))
async def place(request: Request, caller: Known) -> View:
    """Take the place of who tells an agent's code, or move it; one process of all at a time has it."""
    body = await read(request, PlaceBody)
    hosted.check_host_key(caller)
    home, agent = home_of(request), _agent(caller)
    holder = f"{caller.key_id}/{body.holder}"
    if body.position is None:
        start = (await run_in_threadpool(home.journal.head))[0]

        def begun(tx: Any) -> followed.Taken | None:
            followed.begin(tx, agent, start)
            return followed.take(tx, agent=agent, holder=holder)

        taken = await run_in_threadpool(home.journal.commit, begun)
        if taken is None:
            return {"yours": False, "position": None, "since": None}
        return {"yours": True, "position": taken.position, "since": taken.since}
    move = partial(followed.advance, agent=agent, holder=holder, position=body.position, leave=body.leave)
    return {
        "yours": await run_in_threadpool(home.journal.commit, move),
        "position": body.position,
        "since": None,
    }


def _agent(caller: Caller) -> str:
    """The agent behind a key. Raises `Forbidden` for people and executors."""
    if not caller.proposes or caller.agent is None:
        raise Forbidden("This is for the keys of agents and adapters.")
    return caller.agent
