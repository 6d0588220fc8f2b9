"""An agent on LangChain whose model follows a script: for tests in one process, and as a program of its own.

    python langchain_agent.py FOLDER start '[[{"name": "refund", "args": {…}, "id": "c1"}]]'
    python langchain_agent.py FOLDER go '{"<interrupt>": "<answer>"}'   # without an answer: goes on

The program opens the gate of FOLDER/policy.yaml, keeps its thread in FOLDER/threads.db (or at AGENT_THREADS),
writes what its tools do into FOLDER/books.txt, and prints what the graph returned.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.types import Command

from interlock import Gate
from interlock.adapters.langchain import GatedTool, GateMiddleware, gated
from shop import TOPICS, Books

Calls = Sequence[Sequence[Mapping[str, Any]]]
THREAD: Any = {"configurable": {"thread_id": "t1"}}


class Scripted(BaseChatModel):
    """Answers its nth turn with the nth entry of the script, then says that it is done."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> Scripted:
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        answer = (
            AIMessage("Paying back.", tool_calls=[dict(call) for call in self.script[turn]])
            if turn < len(self.script)
            else AIMessage("Done.")
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])


def call(name: str = "refund", number: int = 1, **args: Any) -> dict[str, Any]:
    """One call of the script: of a large refund where nothing else is said."""
    given = args or {"order_id": "A", "amount_usd": 500}
    return {"name": name, "args": given, "id": f"c{number}"}


def tools(books: Books) -> list[Any]:
    @tool
    def refund(order_id: str, amount_usd: float) -> dict[str, Any]:
        """Pay money back."""
        books.write(f"begun {order_id} {amount_usd}")
        time.sleep(float(os.environ.get("AGENT_SEC", "0")))
        books.write(f"refunded {order_id} {amount_usd}")
        return {"refunded": order_id, "amount_usd": amount_usd}

    @tool
    def look(order_id: str) -> str:
        """Look an order up."""
        books.write(f"looked {order_id}")
        return f"{order_id} was paid."

    @tool
    def drop(order_id: str) -> str:
        """Drop an order."""
        books.write(f"dropped {order_id}")
        return "dropped"

    return [refund, look, drop]


def graph(
    gate: Gate, made: Sequence[Any], script: Calls, saver: Any, *, by: str = "tool", **rest: Any
) -> Any:
    """An agent, its tools gated one by one (`by` is ``tool``) or by the middleware."""
    model = Scripted(script=script)
    if by == "tool":
        behind = [
            one if isinstance(one, GatedTool) else gated(one, gate, topic=TOPICS.get(one.name))
            for one in made
        ]
        return create_agent(model, behind, checkpointer=saver, **rest)
    middleware = [*rest.pop("middleware", ()), GateMiddleware(gate, topics=TOPICS)]
    return create_agent(model, made, middleware=middleware, checkpointer=saver, **rest)


def agent(gate: Gate, books: Books, script: Calls, saver: Any, **rest: Any) -> Any:
    return graph(gate, tools(books), script, saver, **rest)


def waiting(made: Any, thread: Any = THREAD) -> dict[str, Any]:
    """The values of the interrupts that the thread waits at, by their ids."""
    state = made.get_state(thread)
    return {one.id: one.value for task in state.tasks for one in task.interrupts}


def said(answer: Mapping[str, Any]) -> list[list[str]]:
    """The tool messages of a thread: which call, what the model reads, and its status."""
    return [[m.tool_call_id, m.content, m.status] for m in answer["messages"] if m.type == "tool"]


@contextmanager
def saving(folder: Path) -> Iterator[Any]:
    url = os.environ.get("AGENT_THREADS")
    opened: AbstractContextManager[Any]
    if url:
        from langgraph.checkpoint.postgres import PostgresSaver

        opened = PostgresSaver.from_conn_string(url)
    else:
        from langgraph.checkpoint.sqlite import SqliteSaver

        opened = SqliteSaver.from_conn_string(str(folder / "threads.db"))
    with opened as saver:
        saver.setup()
        yield saver


def main(folder: Path, what: str, given: str = "null") -> None:
    gate = Gate.open(folder / "policy.yaml", agent="support", database=os.environ.get("AGENT_DATABASE"))
    books, script = Books(folder / "books.txt"), folder / "script.json"
    if what == "start":
        script.write_text(given)
    with gate, saving(folder) as saver:
        made = agent(gate, books, json.loads(script.read_text()), saver, by=os.environ.get("AGENT_BY", ""))
        start: Any = {"messages": [("user", "Pay it back.")]}
        answer = json.loads(given)
        go_on = None if answer is None else Command(resume=answer)
        print("ready", flush=True)
        if what == "go":
            sys.stdin.readline()
        found = made.invoke(start if what == "start" else go_on, THREAD)
        print(json.dumps({"waiting": waiting(made), "said": said(found)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
