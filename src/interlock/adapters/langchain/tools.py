"""One tool behind a gate, as a tool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, get_args, get_origin, get_type_hints

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import tool as made_tool
from langgraph.prebuilt import ToolRuntime
from pydantic import PrivateAttr

from interlock.adapters.calls import Topics
from interlock.adapters.langchain.call import RUNTIME, Call, model_of, takes_a_text
from interlock.client import Gate, Held
from interlock.model.errors import InvalidInput, NotClaimable
from interlock.model.questions import TOPIC

_MAY_RUN = ("allowed", "approved", "executing")


def gated(
    tool: BaseTool | Callable[..., Any],
    gate: Gate,
    *,
    topic: str | None = None,
    tags: tuple[str, ...] = (),
) -> GatedTool:
    """The tool behind the gate, for `create_agent`, a `ToolNode` or code of your own.

    Args:
        tool: a tool, or a function that becomes one.
        topic: ``tools.<name>`` where none is given.
        tags: risk tags for a topic that is not in the catalogue; the catalogue's own win.

    Raises:
        BadTopic: this is no topic. InvalidInput: the topic has other tags already, or the tool is gated.
    """
    inner = tool if isinstance(tool, BaseTool) else made_tool(tool)
    if isinstance(inner, GatedTool):
        raise InvalidInput(f"{inner.name} is gated already, as {inner.topic}", path="tool")
    named = Topics({} if topic is None else {inner.name: topic}).of(inner.name)
    gate.register(named, tags=tags)
    made = GatedTool(
        name=inner.name,
        description=inner.description,
        args_schema=_shape(inner),
        return_direct=inner.return_direct,
        tags=inner.tags,
        metadata=inner.metadata,
        extras=inner.extras,
    )
    made._flags = (inner.handle_tool_error, inner.handle_validation_error)
    made._inner = inner.model_copy(update={"handle_tool_error": False, "handle_validation_error": False})
    made._gate, made._topic = gate, named
    return made


def question_tool(gate: Gate) -> GatedTool:
    """A tool with which the agent asks a person instead of guessing; it pauses as a held call does.

    Its topic is ``interlock.ask``, also behind `GateMiddleware`: the answer is the tool's result.
    """

    def ask_a_person(
        question: str,  # noqa: ARG001 (the gate reads them)
        options: tuple[str, ...] = (),  # noqa: ARG001
        context: str = "",  # noqa: ARG001
    ) -> str:
        """Ask a person what you cannot know or may not decide, instead of guessing.

        Args:
            question: one question, in plain words.
            options: the answers to choose from; none where any words will do.
            context: what helps to answer it.
        """
        raise NotClaimable("A question is answered by a person; nothing of it runs.")

    return gated(ask_a_person, gate, topic=TOPIC)


class GatedTool(BaseTool):
    """A tool that runs when the gate lets it; every way to call it leads through the gate."""

    _inner: BaseTool = PrivateAttr()
    _gate: Gate = PrivateAttr()
    _topic: str = PrivateAttr()
    _flags: tuple[Any, Any] = PrivateAttr()
    _runtime: ToolRuntime[Any, Any] | None = PrivateAttr(default=None)

    @property
    def topic(self) -> str:
        return self._topic

    def within(self, runtime: ToolRuntime[Any, Any]) -> GatedTool:
        """The same tool for one call of a known run."""
        copied = self.model_copy()
        copied._runtime = runtime
        return copied

    def run(
        self,
        tool_input: str | dict[str, Any],
        *args: Any,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if isinstance(self._inner, StructuredTool) and self._inner.func is None:
            raise NotImplementedError(
                f"{self.name} is a coroutine: call it with ainvoke. Nothing was proposed."
            )
        call = Call(self, tool_input, tool_call_id)
        gate = self._gate

        def function(**approved: Any) -> Any:
            return call.keep(
                self._inner.run(call.handed(approved), *args, tool_call_id=tool_call_id, **kwargs)
            )

        try:
            call.read()
            call.action = gate.propose(self._topic, call.args, **call.named)
            while True:
                try:
                    kept = gate.run(call.action["id"], function)
                    if call.action["approval"] is not None or not call.ran:
                        call.action = gate.action(call.action["id"])
                    return call.answer(kept)
                except Held as held:
                    call.action = held.action
                    call.pause(held)
                except NotClaimable:
                    if gate.action(call.action["id"])["state"] in _MAY_RUN:
                        raise
        except Exception as error:
            said = call.said(error)
            if said is None:
                raise
            return said

    async def arun(
        self,
        tool_input: str | dict[str, Any],
        *args: Any,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        call = Call(self, tool_input, tool_call_id)
        gate, aside = self._gate, asyncio.to_thread

        async def function(**approved: Any) -> Any:
            return call.keep(
                await self._inner.arun(call.handed(approved), *args, tool_call_id=tool_call_id, **kwargs)
            )

        try:
            call.read()
            call.action = await aside(gate.propose, self._topic, call.args, **call.named)
            while True:
                try:
                    kept = await gate.run_async(call.action["id"], function)
                    if call.action["approval"] is not None or not call.ran:
                        call.action = await aside(gate.action, call.action["id"])
                    return call.answer(kept)
                except Held as held:
                    call.action = held.action
                    call.pause(held)
                except NotClaimable:
                    if (await aside(gate.action, call.action["id"]))["state"] in _MAY_RUN:
                        raise
        except Exception as error:
            said = call.said(error)
            if said is None:
                raise
            return said

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args) if args else self.run(kwargs)

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        return await (self.arun(*args) if args else self.arun(kwargs))

    @property
    def func(self) -> Callable[..., Any]:
        """What a tool node reads the injected arguments from; called, it goes through the gate as well."""

        def call(**kwargs: Any) -> Any:
            return self.run(kwargs)

        call.__annotations__ = self._hints()
        return call

    @property
    def coroutine(self) -> Callable[..., Awaitable[Any]]:
        async def call(**kwargs: Any) -> Any:
            return await self.arun(kwargs)

        call.__annotations__ = self._hints()
        return call

    def _hints(self) -> dict[str, Any]:
        function = getattr(self._inner, "func", None) or getattr(self._inner, "coroutine", None)
        hints = get_type_hints(function, include_extras=True) if function else {}
        schema = model_of(self._inner.args_schema)
        fields = {name: field.annotation for name, field in schema.model_fields.items()} if schema else {}
        if not any(name == "runtime" or _is_runtime(type_) for name, type_ in {**hints, **fields}.items()):
            hints[RUNTIME] = ToolRuntime
        return hints


def _shape(tool: BaseTool) -> Any:
    """What the model is shown of a tool's arguments; of one that takes a text, as the framework shows it."""
    if takes_a_text(tool):
        text = {"type": "object", "properties": {"__arg1": {"type": "string"}}, "required": ["__arg1"]}
        return {"title": tool.name, **text}
    return tool.get_input_schema() if tool.args_schema is None else tool.args_schema


def _is_runtime(type_: object) -> bool:
    return ToolRuntime in (type_, get_origin(type_)) or any(map(_is_runtime, get_args(type_)))
