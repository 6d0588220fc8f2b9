"""An agent on Pydantic AI whose model follows a script: for one process, and as a program.

    python pydantic_agent.py FOLDER start '[[{"name": "refund", "args": {…}, "id": "c1"}]]'
    python pydantic_agent.py FOLDER go ACTION

The program opens the gate of FOLDER/policy.yaml, keeps its runs in FOLDER/runs, writes what its tools do into
FOLDER/books.txt, and prints what waits and what was said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from interlock import Gate
from interlock.adapters.pydantic_ai import GateCapability, Runs, SavedRuns, gated
from shop import TOPICS, Books

Calls = Sequence[Sequence[Mapping[str, Any]]]


def scripted(script: Calls) -> FunctionModel:
    """Answers its nth turn with the nth entry of the script, then says that it is done."""

    def answer(messages: list[Any], _: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if turn >= len(script):
            return ModelResponse([TextPart("Done.")])
        calls = [ToolCallPart(one["name"], one["args"], tool_call_id=one["id"]) for one in script[turn]]
        return ModelResponse([TextPart("Paying back."), *calls])

    return FunctionModel(answer)


def call(name: str = "refund", number: int = 1, **args: Any) -> dict[str, Any]:
    """One call of the script: of a large refund where nothing else is said."""
    given = args or {"order_id": "A", "amount_usd": 500}
    return {"name": name, "args": given, "id": f"c{number}"}


def tools(books: Books) -> list[Callable[..., Any]]:
    async def refund(order_id: str, amount_usd: float) -> dict[str, Any]:
        """Pay money back."""
        books.write(f"begun {order_id} {amount_usd}")
        await asyncio.sleep(float(os.environ.get("AGENT_SEC", "0")))
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


def agent(
    gate: Gate, made: Sequence[Callable[..., Any]], script: Calls, *, by: str = "toolset", **rest: Any
) -> Agent[Any, Any]:
    """An agent, its tools gated as a toolset (`by` is ``toolset``) or by the capability."""
    if by == "toolset":
        return Agent(scripted(script), toolsets=[gated(list(made), gate, topics=TOPICS)], **rest)
    capabilities = [GateCapability(gate, topics=TOPICS), *rest.pop("capabilities", ())]
    return Agent(scripted(script), tools=list(made), capabilities=capabilities, **rest)


def said(result: Any) -> dict[str, Any]:
    """What the model reads of each call, and whether as a success."""
    parts = [part for message in result.all_messages() for part in message.parts]
    return {
        part.tool_call_id: [part.content, part.outcome] for part in parts if part.part_kind == "tool-return"
    }


def waiting(result: Any) -> dict[str, str]:
    """The action of each call that waits."""
    output = result.output
    if not isinstance(output, DeferredToolRequests):
        return {}
    return {one.tool_call_id: output.metadata[one.tool_call_id]["action_id"] for one in output.approvals}


def main(folder: Path, what: str, given: str) -> None:
    gate = Gate.open(folder / "policy.yaml", agent="support", database=os.environ.get("AGENT_DATABASE"))
    script = folder / "script.json"
    if what == "start":
        script.write_text(given)
    with gate:
        made, by = tools(Books(folder / "books.txt")), os.environ["AGENT_BY"]
        behind = agent(gate, made, json.loads(script.read_text()), by=by)
        runs = Runs(behind, gate, SavedRuns(folder / "runs"))
        print("ready", flush=True)
        sys.stdin.readline()
        result = asyncio.run(runs.run("Pay it back.") if what == "start" else runs.go_on(given))
        left = {} if result is None else waiting(result)
        final = None if result is None or left else result.output
        found = None if result is None else {"waiting": left, "said": said(result), "final": final}
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
