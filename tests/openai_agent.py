"""An agent on the OpenAI Agents SDK whose model follows a script: for one process, and as a program.

    python openai_agent.py FOLDER start '[[{"name": "refund", "args": {…}, "id": "c1"}]]'
    python openai_agent.py FOLDER go ACTION

The program opens the gate of FOLDER/policy.yaml, keeps its runs in FOLDER/runs, writes what its tools do into
FOLDER/books.txt, and prints what waits and what was said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents import Agent, FunctionTool, ModelResponse, Usage, function_tool, set_tracing_disabled
from agents.items import ToolCallOutputItem
from agents.models.interface import Model
from agents.testing import assistant_message, function_call

from interlock import Gate
from interlock.adapters.openai_agents import Runs, SavedRuns, gated, gated_agent
from shop import TOPICS, Books

Calls = Sequence[Sequence[Mapping[str, Any]]]
set_tracing_disabled(True)


class Scripted(Model):
    """Makes the calls of the first turn of its script that it has not made yet, then says that it is done."""

    def __init__(self, script: Calls) -> None:
        self.script, self.seen = script, list[Any]()

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:
        items = input if isinstance(input, list) else []
        self.seen.append(items)
        made = {item.get("call_id") for item in items if item.get("type") == "function_call"}
        left = [turn for turn in self.script if not made & {call["id"] for call in turn}]
        output: list[Any] = [
            function_call(call["name"], call["args"], call_id=call["id"])
            for call in (left[0] if left else ())
        ]
        return ModelResponse(output or [assistant_message("Done.")], Usage(), None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def call(name: str = "refund", number: int = 1, **args: Any) -> dict[str, Any]:
    """One call of the script: of a large refund where nothing else is said."""
    given = args or {"order_id": "A", "amount_usd": 500}
    return {"name": name, "args": given, "id": f"c{number}"}


def tools(books: Books) -> list[FunctionTool]:
    @function_tool
    async def refund(order_id: str, amount_usd: float) -> dict[str, Any]:
        """Pay money back."""
        books.write(f"begun {order_id} {amount_usd}")
        await asyncio.sleep(float(os.environ.get("AGENT_SEC", "0")))
        books.write(f"refunded {order_id} {amount_usd}")
        return {"refunded": order_id, "amount_usd": amount_usd}

    @function_tool
    def look(order_id: str) -> str:
        """Look an order up."""
        books.write(f"looked {order_id}")
        return f"{order_id} was paid."

    @function_tool
    def drop(order_id: str) -> str:
        """Drop an order."""
        books.write(f"dropped {order_id}")
        return "dropped"

    return [refund, look, drop]


def agent(gate: Gate, made: Sequence[Any], script: Calls, *, by: str = "tool", **rest: Any) -> Agent[Any]:
    """An agent, its tools gated one by one (`by` is ``tool``) or by `gated_agent`."""
    if by == "tool":
        behind = [gated(one, gate, topic=TOPICS.get(one.name)) for one in made]
        return Agent(name="support", model=Scripted(script), tools=behind, **rest)
    bare = Agent(name="support", model=Scripted(script), tools=list(made), **rest)
    return gated_agent(bare, gate, topics=TOPICS)


def said(result: Any) -> dict[str, str]:
    """What the model reads of each call."""
    made = [item for item in result.new_items if isinstance(item, ToolCallOutputItem)]
    return {item.raw_item["call_id"]: str(item.raw_item["output"]) for item in made}


def waiting(result: Any) -> list[str]:
    """The calls that wait."""
    return [item.call_id for item in result.interruptions]


def main(folder: Path, what: str, given: str) -> None:
    gate = Gate.open(folder / "policy.yaml", agent="support", database=os.environ.get("AGENT_DATABASE"))
    saved, script = SavedRuns(folder / "runs"), folder / "script.json"
    if what == "start":
        script.write_text(given)
    with gate:
        made, by = tools(Books(folder / "books.txt")), os.environ["AGENT_BY"]
        runs = Runs(agent(gate, made, json.loads(script.read_text()), by=by), gate, saved)
        print("ready", flush=True)
        sys.stdin.readline()
        result = asyncio.run(runs.run("Pay it back.") if what == "start" else runs.go_on(given))
        if result is None:
            print("null")
            return
        actions = {} if not saved else json.loads(next(iter(saved.values())))["waits"]
        left = {name: actions[name] for name in waiting(result)}
        print(json.dumps({"waiting": left, "said": said(result), "final": result.final_output}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
