"""After a decision: the session that waits for it goes on, in whatever process knows the runner."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.adk.events.event import Event
from google.adk.runners import Runner
from google.adk.sessions.session import Session
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.genai import types

from interlock.adapters.google_adk.call import HELD
from interlock.client import Gate

CONFIRM = "adk_request_confirmation"
INPUT = "adk_request_input"


@dataclass(frozen=True, slots=True)
class Request:
    """A request for confirmation that a call left in a session.

    Attributes:
        id: what its answer names. name: the function that it is a call of.
        action_id: as it says itself; empty where ADK asks for a reason of its own.
        call: the function call that it asks about; None where a workflow's node asks.
    """

    id: str
    name: str
    call: str | None
    action_id: str
    event: Event

    @staticmethod
    def confirms(answer: Mapping[str, Any]) -> bool:
        """Whether an answer is a yes, as the framework reads it."""
        try:
            return ToolConfirmation.from_response_dict(dict(answer)).confirmed
        except ValueError:
            return False  # the framework refuses it


def requests(events: Sequence[Event]) -> Iterator[Request]:
    """The requests that stand in a session, the oldest first."""
    for event in events:
        for one in event.get_function_calls():
            args = one.args or {}
            if one.name == CONFIRM:
                call = _of(args, "originalFunctionCall", "id")
                action_id = _of(args, "toolConfirmation", "payload", "action_id")
            elif one.name == INPUT:
                call, action_id = None, _of(args, "payload", "confirmation_payload", "action_id")
            else:
                continue
            yield Request(one.id or "", one.name, call, action_id or "", event)


def _of(value: Any, *path: str) -> str | None:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


async def go_on(runner: Runner, gate: Gate, action_id: str) -> list[Event] | None:
    """Let the session go on that waits for this action; the events of the run, or None where none waits.

    For `Gate.on_decided`, a webhook, or by hand. Call it as often as you like: an action that still waits,
    and a session that has gone on, are left alone.

    Args:
        runner: of the app that proposed it, with the session service that the session is kept in.

    Raises:
        NotFound: this gate's agent proposed no such action. And what the run raises.
    """
    action = await asyncio.to_thread(gate.action, action_id)
    kept = await asyncio.to_thread(gate.checkpoint, action_id)
    if action["state"] == "held" or kept is None:
        return None
    place = json.loads(kept)
    where = {"user_id": place["user"], "session_id": place["session"]}
    session = await runner.session_service.get_session(app_name=place["app"], **where)
    request = None if session is None else _waiting(session.events, place["call"], action_id)
    if session is None or request is None:
        return None
    if request.call is not None and _answered(session.events, request) is not None:
        request = await _asked_again(runner, session, request)
    answer = types.FunctionResponse(id=request.id, name=request.name, response={"confirmed": True})
    message = types.Content(role="user", parts=[types.Part(function_response=answer)])
    return [event async for event in runner.run_async(new_message=message, **where)]


def _waiting(events: Sequence[Event], call: str, action_id: str) -> Request | None:
    """The last request about a call whose last response says that it is held, or of a node that asks."""
    responses = [one for event in events for one in event.get_function_responses() if one.id == call]
    held = bool(responses) and (responses[-1].response or {}).get("status") == HELD
    for one in reversed([*requests(events)]):
        if one.call is None and one.action_id == action_id:
            answered = _answered(events, one)
            return one if answered is None or answered < events.index(one.event) else None
        if one.call == call:
            return one if held else None
    return None


def _answered(events: Sequence[Event], request: Request) -> int | None:
    """Where in the session the last answer to a request is."""
    found = None
    for number, event in enumerate(events):
        if any(one.id == request.id for one in event.get_function_responses()):
            found = number
    return found


async def _asked_again(runner: Runner, session: Session, request: Request) -> Request:
    """A new request where the last one was answered: the call was held anew, or the run that went on died."""
    (call,) = [one for one in request.event.get_function_calls() if one.id == request.id]
    again = call.model_copy(update={"id": f"adk-{Event.new_id()}"})
    event = request.event.model_copy(
        update={
            "id": Event.new_id(),
            "timestamp": time.time(),
            "content": types.Content(role="model", parts=[types.Part(function_call=again)]),
            "long_running_tool_ids": {str(again.id)},
        }
    )
    await runner.session_service.append_event(session, event)
    return replace(request, id=str(again.id), event=event)
