"""An agent on LangChain for `agentdojo.py --through langchain`: `create_agent` with the gate's middleware.

Each call is one turn of a scripted model, in a thread of its own. What is held pauses the graph; the reviewer
answers in the home; then the thread goes on by the action's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver

from interlock.adapters.langchain import GateMiddleware, go_on
from interlock.client import Gate


class _Scripted(BaseChatModel):
    """Makes the calls that it is given, in one turn, and then says nothing."""

    calls: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> _Scripted:
        del tools
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> ChatResult:
        del stop, run_manager
        asked = any(isinstance(message, AIMessage) for message in messages)
        answer = AIMessage("") if asked else AIMessage("", tool_calls=self.calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])


class Agent:
    """Calls tools through the framework.

    Args:
        topics: of the tools, by name. ask: has the reviewer answer an approval request.
    """

    def __init__(
        self, tools: Sequence[BaseTool], topics: Mapping[str, str], gate: Gate, ask: Callable[[str], None]
    ) -> None:
        self._tools = tools
        self._gate = gate
        self._ask = ask
        self._behind = GateMiddleware(gate, topics=topics)
        self._threads = InMemorySaver()
        self._number = 0

    def call(self, name: str, args: Mapping[str, Any]) -> tuple[str, bool, bool]:
        """What the model reads of a call; whether it was held; whether the gate, or a person, refused it."""
        self._number += 1
        call = {"name": name, "args": dict(args), "id": f"call-{self._number}"}
        graph: Any = create_agent(
            _Scripted(calls=[call]), self._tools, middleware=[self._behind], checkpointer=self._threads
        )
        thread = {"configurable": {"thread_id": f"thread-{self._number}"}}
        found = graph.invoke({"messages": [("user", "Go on.")]}, thread)
        waiting = found.get("__interrupt__", ())
        for held in waiting:
            self._ask(held.value["approval_id"])
            found = go_on(graph, self._gate, held.value["action_id"])
        (answer,) = (message for message in found["messages"] if isinstance(message, ToolMessage))
        return str(answer.content), bool(waiting), answer.status == "error"
