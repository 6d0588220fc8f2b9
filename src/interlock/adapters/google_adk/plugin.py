"""Every tool of a runner behind a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.invocation_context import InvocationContext
from google.adk.models.llm_request import LlmRequest
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools.agent_tool import AgentTool
from google.adk.tools.base_tool import BaseTool
from google.adk.tools.exit_loop_tool import exit_loop
from google.adk.tools.function_tool import FunctionTool
from google.adk.tools.set_model_response_tool import SetModelResponseTool
from google.adk.tools.tool_context import ToolContext
from google.adk.tools.transfer_to_agent_tool import TransferToAgentTool
from google.genai import types

from interlock.adapters.calls import Topics
from interlock.adapters.google_adk.call import WITHIN
from interlock.adapters.google_adk.recording import Recording
from interlock.adapters.google_adk.resuming import requests
from interlock.adapters.google_adk.tools import THROUGH, Behind, Through, behind, put
from interlock.client import Gate, Held
from interlock.model.errors import InterlockError, InvalidInput, NotFound

_OWN = "google.adk."
_DECLARED = "function_declarations"


class GatePlugin(BasePlugin):
    """Every tool call of a runner goes through the gate.

    Args:
        topics: the topic of each tool by name; the others get ``tools.<name>``.
        tags: risk tags by tool name, for topics that are not in the catalogue.
        hosted: what the model's provider may run (``google_search``, ``code_execution``, …), and class names
            of code executors that you let run what the model writes: no gate stands there. A request with
            any other is refused.
        sessions: record each session (`recording.py`); it takes a gate that may (`Gate.session`).
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
        super().__init__("interlock")
        self._gate = gate
        self._topics = Topics(topics)
        self._tags = dict(tags or {})
        self._hosted = frozenset(hosted)
        self._recording = Recording(gate) if sessions else None

    async def before_run_callback(self, *, invocation_context: InvocationContext) -> types.Content | None:
        if invocation_context.live_request_queue is not None:
            raise InvalidInput(
                "A live run cannot pause, and streams what a tool does before it is done.",
                path="runner",
                fix="Use run_async, or leave the tools out of the live agent.",
            )
        return None

    async def on_user_message_callback(
        self, *, invocation_context: InvocationContext, user_message: types.Content
    ) -> types.Content | None:
        """Refuse a yes to what still waits, before it is written: ADK takes one answer to each request."""
        answered = {
            part.function_response.id: part.function_response.response
            for part in user_message.parts or ()
            if part.function_response
        }
        for request in requests(invocation_context.session.events):
            answer = answered.get(request.id)
            if answer is None or not request.confirms(answer):
                continue
            try:
                await asyncio.to_thread(self._waits, request.action_id)
            except (NotFound, InvalidInput):
                continue  # another's, or made up: the tool's own gate decides about it
        if self._recording is not None:
            await self._recording.turn(invocation_context, user_message)
        return None

    def _waits(self, action_id: str) -> None:
        """Raises `Held` for an action that waits for a person, and whose time has not run out."""
        if self._gate.action(action_id)["state"] == "held":
            try:
                self._gate.resume(action_id)
            except Held:
                raise
            except InterlockError:
                return  # it has just been decided, or ended: the call itself says how

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> None:
        executor = getattr(callback_context.get_invocation_context().agent, "code_executor", None)
        names = [] if executor is None else [type(executor).__name__]
        for tool in llm_request.config.tools or ():
            given = tool.model_dump(exclude_none=True) if isinstance(tool, types.Tool) else {repr(tool): tool}
            names += [name for name in given if name != _DECLARED]
        for name in names:
            if name not in self._hosted:
                raise InvalidInput(
                    f"{name} runs where no gate stands",
                    path="tools",
                    fix="Leave it out, or name it in hosted= if nothing it does needs a gate.",
                )

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> None:
        del tool_args
        there, recording, context = behind(tool), self._recording, tool_context.get_invocation_context()
        if isinstance(tool, AgentTool) and tool.include_plugins:
            if recording is not None:
                await recording.enter(context)
            WITHIN.set(True)
        if there is None and _steers(tool):
            return
        if there is None and type(tool).run_async is BaseTool.run_async:
            return  # there is no such tool; the framework says so
        if there is None:
            put(tool, self._behind(tool))
        session = None if recording is None else await recording.of(context)
        THROUGH.set(Through(self._behind, session))

    async def after_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, result: Any
    ) -> None:
        del tool_args
        if self._recording is not None:
            there = behind(tool)
            topic = there.topic if there is not None else self._topics.of(tool.name)
            context, call = tool_context.get_invocation_context(), tool_context.function_call_id or ""
            await self._recording.result(context, tool.name, topic, call, result)

    def _behind(self, tool: BaseTool) -> Behind:
        topic = self._topics.of(tool.name)
        self._gate.register(topic, tags=self._tags.get(tool.name, ()))
        return Behind(self._gate, topic, fixed=False)


def _steers(tool: BaseTool) -> bool:
    """Whether it is ADK's own, and only says which agent goes on."""
    if not type(tool).__module__.startswith(_OWN):
        return False
    if isinstance(tool, AgentTool):
        return tool.include_plugins
    if (
        isinstance(tool, TransferToAgentTool | SetModelResponseTool)
        or type(tool).__name__ == "FinishTaskTool"
    ):
        return True
    return isinstance(tool, FunctionTool) and tool.func is exit_loop
