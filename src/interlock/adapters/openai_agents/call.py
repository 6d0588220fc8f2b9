"""One call of a gated tool: what is proposed, when the run pauses, what the tool gets and the model reads."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agents import (
    FunctionTool,
    RunContextWrapper,
    ToolOutputFileContent,
    ToolOutputImage,
    ToolOutputText,
    ToolTimeoutError,
)
from agents import tool as sdk
from agents.function_schema import function_schema
from agents.tool_context import ToolContext
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from interlock.adapters.calls import REPEAT, as_given, call_id, edited, faults, kept_text, run_to_end, told
from interlock.client import Gate, Held
from interlock.client.held import NotRun
from interlock.client.sessions import Session
from interlock.model.errors import (
    ConstraintBreached,
    ConstraintUnenforceable,
    Forbidden,
    InDoubt,
    InvalidInput,
    NoEffect,
)

_READ = (NotRun, InDoubt, InvalidInput, ConstraintBreached, ConstraintUnenforceable, Forbidden)
"""Refusals that are an answer to whoever called: the model reads them."""
_DOUBT = "It may have taken effect. Do not repeat it before somebody has found out."
_FAILED = "An error occurred while running the tool."


@dataclass(slots=True)
class Run:
    """A run that can pause.

    Attributes:
        waits: the action of each call that waited, by the framework's id of the call.
        let_on: the calls that were let through to the gate in this process; never a second time.
        told: the calls of which it was said that they wait.
        conversation: names the session that its tools' results are recorded in.
    """

    name: str
    waits: dict[str, str] = field(default_factory=dict)
    let_on: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    conversation: str | None = None
    session: Session | None = None


_RUN: ContextVar[Run | None] = ContextVar("interlock_openai_run", default=None)


@contextmanager
def inside(run: Run) -> Iterator[None]:
    """What is called in here belongs to this run, in every task that begins in here."""
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


@dataclass(slots=True)
class _Tried:
    """What happened to the tool itself in one call."""

    action_id: str | None = None
    tier: int | None = None
    failed: bool = False
    results: list[Any] = field(default_factory=list)
    error: Exception | None = None


class Behind:
    """What stands where a tool was, and reaches it through the gate.

    Args:
        tool: as it was, for its words about failures. bare: the same, and raises them.
    """

    def __init__(self, gate: Gate, topic: str, tool: FunctionTool, bare: FunctionTool) -> None:
        self._gate, self._topic = gate, topic
        self._tool, self._bare = tool, bare
        self._reads = _reads(tool)

    # --- before ------------------------------------------------------------------------------------------

    async def needs_approval(self, _: RunContextWrapper[Any], given: dict[str, Any], call: str) -> bool:
        """Whether the run pauses here. Whatever else there is to say is said when the tool is reached."""
        run = _RUN.get()
        if run is None:
            return False
        try:
            action = await asyncio.to_thread(self._propose, self._read(given), run, call)
        except _READ:
            return False
        if action["state"] != "held":
            return False
        run.waits[call] = action["id"]
        return True

    def _propose(self, args: Mapping[str, Any], run: Run | None, call: str) -> dict[str, Any]:
        if run is None:
            return self._gate.propose(self._topic, args)
        named = call_id(run.name, call)
        return self._gate.propose(self._topic, args, call_id=named, checkpoint=run.name.encode())

    def _read(self, given: object) -> dict[str, Any]:
        """The arguments as the function's own schema reads them, before anybody is asked about them.

        Raises:
            InvalidInput: the function does not take them, or they cannot be carried as JSON.
        """
        if not isinstance(given, dict):
            raise InvalidInput("the arguments are no JSON object", path="$.args")
        if self._reads is None:
            return given
        try:
            read = self._reads.model_validate(given)
            args = read.model_dump(mode="json", by_alias=True)
            if self._reads.model_validate(args) == read:
                return args
        except ValidationError as error:
            raise InvalidInput(faults(error), path="$.args") from None
        raise InvalidInput("these arguments cannot be carried as JSON", path="$.args")

    # --- when the tool is reached ------------------------------------------------------------------------

    async def __call__(self, context: ToolContext[Any], given: str) -> Any:
        run, tried = _RUN.get(), _Tried()
        answer = await self._answer(context, given, run, tried)
        if run is not None and run.session is not None:
            named = {"call_id": context.tool_call_id, "action_id": tried.action_id}
            result = partial(run.session.result, self._tool.name, failed=tried.failed, **named)
            await asyncio.to_thread(result, answer)
        return answer

    async def _answer(self, context: ToolContext[Any], given: str, run: Run | None, tried: _Tried) -> Any:
        """What the model reads."""
        try:
            args = self._read(_parsed(given))
            action = await asyncio.to_thread(self._propose, args, run, context.tool_call_id)
            tried.action_id, tried.tier = action["id"], action["tier"]
            kept = await run_to_end(self._gate, action["id"], self._function(context, args, tried))
        except Exception as error:
            tried.failed = True
            if error is tried.error:
                return await self._failed(context, error, tried.tier)
            if isinstance(error, _READ) and not (run and isinstance(error, Held)):
                return told(error, again="" if run else REPEAT)
            raise
        if tried.results and action["approval"] is None:
            return tried.results[-1]
        action = await asyncio.to_thread(self._gate.action, action["id"])
        if kept is None and not tried.results:
            kept = kept_text(None, (action["outcome"] or {}).get("note"))
        return _after_edit(action, tried.results[-1] if tried.results else kept)

    def _function(self, context: ToolContext[Any], args: Mapping[str, Any], tried: _Tried) -> Any:
        async def function(**approved: Any) -> Any:
            handed = {name: as_given(value, args.get(name)) for name, value in approved.items()}
            try:
                self._take(handed)
                context.tool_arguments = text = json.dumps(handed, ensure_ascii=False)
                if context.tool_call is not None:
                    context.tool_call = context.tool_call.model_copy(update={"arguments": text})
                result = await sdk.invoke_function_tool(
                    function_tool=self._bare, context=context, arguments=text
                )
            except Exception as error:
                tried.error = error
                raise
            tried.results.append(result)
            try:
                return to_jsonable_python(result)
            except PydanticSerializationError:
                return None

        return function

    def _take(self, handed: Mapping[str, Any]) -> None:
        """Let the schema read what was approved. Raises `NoEffect` where the tool does not take it."""
        name, reads = self._tool.name, self._reads
        if reads is None:
            return
        known = {*reads.model_fields, *(one.alias for one in reads.model_fields.values() if one.alias)}
        if unknown := sorted(handed.keys() - known):
            raise NoEffect(f"{name} does not take {', '.join(unknown)}; nothing was run.")
        try:
            reads.model_validate(handed)
        except ValidationError as error:
            raise NoEffect(f"{name} does not take what was approved: {faults(error)}") from None

    # --- after -------------------------------------------------------------------------------------------

    async def _failed(self, context: ToolContext[Any], error: Exception, tier: int | None) -> Any:
        """What the model reads of a tool that raised, in the tool's own words where it has some."""
        if isinstance(error, NoEffect):
            return f"Nothing took effect. {error}"
        tool, text = self._tool, _FAILED
        if isinstance(error, ToolTimeoutError):
            if tool.timeout_behavior == "raise_exception":
                raise error
            text = f"Tool '{tool.name}' timed out after {error.timeout_seconds:g} seconds."
            if tool.timeout_error_function is not None:
                said = tool.timeout_error_function(context, error)
                text = await said if inspect.isawaitable(said) else said
        elif sdk.resolve_function_tool_failure_error_function(tool) is not sdk.default_tool_error_function:
            found = await sdk.maybe_invoke_function_tool_failure_error_function(
                function_tool=tool, context=context, error=error
            )
            if found is None:
                raise error
            text = found
        return text if tier == 1 else f"{text} {_DOUBT}"


def _reads(tool: FunctionTool) -> type[BaseModel] | None:
    """The schema by which a function's arguments are read; None where the tool was not made of a function."""
    try:
        function = tool.__wrapped__
    except AttributeError:
        return None
    return function_schema(function, strict_json_schema=tool.strict_json_schema).params_pydantic_model


def _parsed(given: str) -> object:
    def constant(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(given or "{}", parse_constant=constant)
    except ValueError as error:
        raise InvalidInput(f"the arguments are no JSON: {error}", path="$.args") from None


def _after_edit(action: Mapping[str, Any], result: Any) -> Any:
    """A result as the model reads it, with what a person changed said before it."""
    said = edited(action)
    if not said:
        return result
    parts = list(result) if isinstance(result, list | tuple) else [result]
    if parts and all(map(_is_part, parts)):
        return [ToolOutputText(text=said), *parts]
    return f"{said}\n\n{result}"


def _is_part(one: object) -> bool:
    if isinstance(one, dict):
        return one.get("type") in ("text", "image", "file")
    return isinstance(one, ToolOutputText | ToolOutputImage | ToolOutputFileContent)
