"""An agent on Google ADK whose model follows a script: for tests in one process, and as a program of its own.

    python google_adk_agent.py FOLDER start '[[{"name": "refund", "args": {…}, "id": "c1"}]]'
    python google_adk_agent.py FOLDER go ACTION   # lets the session go on that waits for it

The program opens the gate of FOLDER/policy.yaml, keeps its session in FOLDER/sessions.db, writes what its
tools do into FOLDER/books.txt, and prints what waits and what the model read.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.apps.app import App, ResumabilityConfig
from google.adk.events.event import Event
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.base_session_service import BaseSessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types

from interlock import Gate
from interlock.adapters.google_adk import GatePlugin, go_on
from interlock.adapters.google_adk.resuming import CONFIRM, requests
from shop import TOPICS, Books

WHERE = {"user_id": "u1", "session_id": "s1"}
APP = "shop"
Calls = Sequence[Sequence[Mapping[str, Any]]]


class Scripted(BaseLlm):
    """Answers with the entry of the script that this conversation does not hold yet, then is done."""

    model: str = "scripted"
    script: Any

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        del stream
        made = {
            part.function_call.id
            for content in llm_request.contents
            for part in content.parts or ()
            if part.function_call
        }
        for calls in self.script:
            if not {call["id"] for call in calls} & made:
                parts = [types.Part(function_call=types.FunctionCall(**call)) for call in calls]
                yield LlmResponse(content=types.Content(role="model", parts=parts))
                return
        yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text="Done.")]))


def call(name: str = "refund", number: int = 1, **args: Any) -> dict[str, Any]:
    """One call of the script: of a large refund where nothing else is said."""
    given = args or {"order_id": "A", "amount_usd": 500}
    return {"name": name, "args": given, "id": f"c{number}"}


def tools(books: Books) -> list[Callable[..., Any]]:
    def refund(order_id: str, amount_usd: float) -> dict[str, Any]:
        """Pay money back."""
        books.write(f"begun {order_id} {amount_usd}")
        time.sleep(float(os.environ.get("AGENT_SEC", "0")))
        books.write(f"refunded {order_id} {amount_usd}")
        return {"refunded": order_id, "amount_usd": amount_usd}

    def look(order_id: str) -> str:
        """Look an order up."""
        books.write(f"looked {order_id}")
        return f"{order_id} was paid."

    def drop(order_id: str) -> str:
        """Drop an order."""
        books.write(f"dropped {order_id}")
        return "dropped"

    return [refund, look, drop]


def runner(
    gate: Gate,
    made: Sequence[Any],
    script: Calls,
    sessions: BaseSessionService,
    *,
    plugins: Sequence[Any] = (),
    resumable: bool = False,
    sessions_recorded: bool = False,
    **rest: Any,
) -> Runner:
    """A runner of one agent; the gate is the last of its plugins."""
    agent = LlmAgent(name="support", model=Scripted(script=script), tools=list(made), **rest)
    app = App(
        name=APP,
        root_agent=agent,
        plugins=[*plugins, GatePlugin(gate, topics=TOPICS, sessions=sessions_recorded)],
        resumability_config=ResumabilityConfig(is_resumable=True) if resumable else None,
    )
    return Runner(app=app, session_service=sessions)


async def said_to(made: Runner, message: types.Content) -> list[Event]:
    if await made.session_service.get_session(app_name=APP, **WHERE) is None:
        await made.session_service.create_session(app_name=APP, **WHERE)
    return [event async for event in made.run_async(new_message=message, **WHERE)]


def begin(made: Runner, text: str = "Pay it back.") -> list[Event]:
    return asyncio.run(said_to(made, types.Content(role="user", parts=[types.Part(text=text)])))


def confirm(made: Runner, answers: Mapping[str, Any]) -> list[Event]:
    """Answer the newest request of each of these calls, as a client of ADK does."""
    asked = {one.call: one.id for one in requests(events(made))}
    parts = [
        types.Part(function_response=types.FunctionResponse(id=asked[name], name=CONFIRM, response=answer))
        for name, answer in answers.items()
    ]
    return asyncio.run(said_to(made, types.Content(role="user", parts=parts)))


def events(made: Runner) -> list[Event]:
    session = asyncio.run(made.session_service.get_session(app_name=APP, **WHERE))
    return [] if session is None else session.events


def read(made: Runner) -> dict[str, Any]:
    """The last response of each call of the script."""
    found = {one.id: one.response for event in events(made) for one in event.get_function_responses()}
    return {name: found[name] for name in found if name and name.startswith("c")}


def waiting(made: Runner) -> dict[str, str]:
    """The actions that calls wait for."""
    return {name: one["action"] for name, one in read(made).items() if one.get("status") == "held"}


def main(folder: Path, what: str, given: str) -> None:
    gate = Gate.open(folder / "policy.yaml", agent="support", database=os.environ.get("AGENT_DATABASE"))
    books, script = Books(folder / "books.txt"), folder / "script.json"
    if what == "start":
        script.write_text(given)
    with gate:
        sessions = SqliteSessionService(db_path=str(folder / "sessions.db"))
        resumable = bool(os.environ.get("AGENT_RESUMABLE"))
        made = runner(gate, tools(books), json.loads(script.read_text()), sessions, resumable=resumable)
        print("ready", flush=True)
        if what == "start":
            begin(made)
        else:
            sys.stdin.readline()
            asyncio.run(go_on(made, gate, given))
        print(json.dumps({"waiting": waiting(made), "read": read(made)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
