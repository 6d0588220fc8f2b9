"""Every tool of an agent behind a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from langchain.agents.middleware import AgentMiddleware

from interlock.adapters.calls import Topics
from interlock.adapters.langchain.recording import Recording
from interlock.adapters.langchain.tools import GatedTool, gated
from interlock.client import Gate
from interlock.model.errors import InvalidInput

_NODE = "langgraph.prebuilt.tool_node"
"""Where the handler comes from that calls the tool itself."""


class GateMiddleware(AgentMiddleware[Any, Any, Any]):
    """Every tool call of an agent goes through the gate. It has to be the last of the agent's middleware.

    Args:
        topics: the topic of each tool by name; the others get ``tools.<name>``.
        tags: risk tags by tool name, for topics that are not in the catalogue.
        hosted: names (or types) of the tools that the model's provider runs and that you let it: no gate
            stands there. A request with any other is refused.
        sessions: record each thread as a session (`recording.py`); it takes a gate that may (`Gate.session`).
    """

    def __init__(
        self,
        gate: Gate,
        *,
        topics: Mapping[str, str] | None = None,
        tags: Mapping[str, tuple[str, ...]] | None = None,
        hosted: Collection[str] = (),
        sessions: bool = False,
    ) -> None:
        super().__init__()
        self._gate = gate
        self._topics = Topics(topics)
        self._tags = dict(tags or {})
        self._hosted = frozenset(hosted)
        self._recording = Recording(gate) if sessions else None

    def before_agent(self, state: Any, runtime: Any) -> None:
        if self._recording is not None:
            self._recording.turn(state, runtime)

    async def abefore_agent(self, state: Any, runtime: Any) -> None:
        if self._recording is not None:
            await asyncio.to_thread(self._recording.turn, state, runtime)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        behind = self._gated(request, handler)
        session = None if self._recording is None else self._recording.of(request.runtime)
        if self._recording is None or session is None:
            return handler(behind)
        with session.calls():
            answer = handler(behind)
        self._recording.result(session, *self._names(behind), answer)
        return answer

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        behind = self._gated(request, handler)
        session = None if self._recording is None else await self._recording.of_async(request.runtime)
        if self._recording is None or session is None:
            return await handler(behind)
        with session.calls():
            answer = await handler(behind)
        await asyncio.to_thread(self._recording.result, session, *self._names(behind), answer)
        return answer

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        self._check_hosted(request)
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        self._check_hosted(request)
        return await handler(request)

    def _gated(self, request: Any, handler: object) -> Any:
        if getattr(handler, "__module__", "") != _NODE:
            raise InvalidInput(
                "Another middleware stands between the gate and the tool, and could exchange the tool.",
                path="middleware",
                fix="Put GateMiddleware last in the list.",
            )
        tool = request.tool
        if tool is None:  # the tool node says that there is no such tool
            return request
        if not isinstance(tool, GatedTool):
            name = tool.name
            tool = gated(tool, self._gate, topic=self._topics.of(name), tags=self._tags.get(name, ()))
        return request.override(tool=tool.within(request.runtime))

    def _names(self, behind: Any) -> tuple[str, str]:
        """Name and topic of the tool of a request."""
        name = behind.tool_call["name"]
        return name, behind.tool.topic if behind.tool is not None else self._topics.of(name)

    def _check_hosted(self, request: Any) -> None:
        for tool in request.tools:
            if isinstance(tool, dict) and tool.get("type") != "function":
                names = {tool.get("name"), tool.get("type")}
                if not names & self._hosted:
                    raise InvalidInput(
                        f"{tool.get('name') or tool.get('type')} runs at the model's provider, where no gate "
                        "stands",
                        path="tools",
                        fix="Leave it out, or name it in hosted= if nothing it does needs a gate.",
                    )
