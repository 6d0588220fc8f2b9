"""One call of a gated tool: what is proposed, when the run ends with it, what the tool gets, what is read."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_ai import (
    ApprovalRequired,
    DeferredToolRequests,
    ModelResponse,
    ModelRetry,
    RunContext,
    ToolFailed,
    ToolReturn,
)
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import PydanticSerializationError, to_jsonable_python

from interlock.adapters.calls import (
    REPEAT,
    as_given,
    call_id,
    edited,
    faults,
    kept_text,
    run_to_end,
    told,
)
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

MAX_REASONING = 4_000
_READ = (NotRun, InDoubt, InvalidInput, ConstraintBreached, ConstraintUnenforceable, Forbidden)
"""Refusals that are an answer to whoever called: the model reads them."""
_NO_JSON = "these arguments cannot be carried as JSON"
_DOUBT = "It may have taken effect. Do not repeat it before somebody has found out."


@dataclass(frozen=True, slots=True)
class Run:
    """A run that can end with what waits.

    Attributes:
        name: what it is kept under. run_id: the framework's id of it.
        session: where its tools' results are recorded.
    """

    name: str
    run_id: str
    session: Session | None = None


_RUN: ContextVar[Run | None] = ContextVar("interlock_pydantic_run", default=None)


@contextlib.contextmanager
def inside(run: Run) -> Iterator[None]:
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


class Call:
    """One call of a gated tool, on its way through the gate."""

    def __init__(
        self,
        gate: Gate,
        topic: str,
        toolset: AbstractToolset[Any],
        name: str,
        ctx: RunContext[Any],
        tool: ToolsetTool[Any],
    ) -> None:
        self._gate, self._topic, self._toolset = gate, topic, toolset
        self._name, self._ctx, self._tool = name, ctx, tool
        found = _RUN.get()
        self._run = found if found is not None and found.run_id == ctx.run_id else None
        self._args: dict[str, Any] = {}
        self._results: list[Any] = []
        self._error: Exception | None = None
        self._action_id: str | None = None

    async def made(self, given: Mapping[str, Any]) -> Any:
        """Propose it, run it if it may run, and give what the caller gets; recorded, where it is."""
        try:
            answer = await self._answer(given)
        except ToolFailed as error:
            await self._record(error.message, failed=True)
            raise
        await self._record(_kept(answer), failed=False)
        return answer

    async def _record(self, content: Any, *, failed: bool) -> None:
        session = None if self._run is None else self._run.session
        if session is not None:
            named = {"call_id": self._ctx.tool_call_id, "action_id": self._action_id}
            await asyncio.to_thread(partial(session.result, self._name, content, failed=failed, **named))

    async def _answer(self, given: Mapping[str, Any]) -> Any:
        tier: int | None = None
        try:
            self._args = self._read(given)
            action = await asyncio.to_thread(self._propose)
            self._action_id, tier = action["id"], action["tier"]
            kept = await run_to_end(self._gate, action["id"], self._function)
        except Exception as error:
            if error is self._error:
                self._failed(error, tier)
            if isinstance(error, Held) and self._can_wait:
                raise ApprovalRequired(_waits(error)) from None
            if isinstance(error, _READ):
                raise ToolFailed(told(error, again="" if self._can_wait else REPEAT)) from error
            raise
        if self._results and action["approval"] is None:
            return self._results[-1]
        action = await asyncio.to_thread(self._gate.action, action["id"])
        if kept is None and not self._results:
            kept = kept_text(None, (action["outcome"] or {}).get("note"))
        return _after_edit(edited(action), self._results[-1] if self._results else kept)

    # --- before ------------------------------------------------------------------------------------------

    def _read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The validated arguments as JSON that validates to the same; as the model gives them.

        Raises:
            InvalidInput: there is no such JSON.
        """
        try:
            args: dict[str, Any] = to_jsonable_python(dict(given))
        except PydanticSerializationError:
            raise InvalidInput(_NO_JSON, path="$.args") from None
        # A model that is the only argument is given by its fields.
        forms = [one for one in args.values() if isinstance(one, dict)] if len(args) == 1 else []
        for form in (*forms, args):
            with contextlib.suppress(ValidationError):
                if self._validated(form) == given:
                    return form
        raise InvalidInput(_NO_JSON, path="$.args")

    def _validated(self, args: Mapping[str, Any]) -> Any:
        text = json.dumps(args, ensure_ascii=False)
        return self._tool.args_validator.validate_json(text, context=self._ctx.validation_context)

    def _propose(self) -> dict[str, Any]:
        message, run = self._message(), self._run
        named: dict[str, Any] = {}
        if message is not None and self._can_wait:
            at = (message.run_id or "", message.timestamp.isoformat(), self._ctx.tool_call_id or "")
            named["call_id"] = call_id(*at)
        if run is not None:
            named["checkpoint"] = run.name.encode()
        reasoning = "" if message is None else (message.text or "")[:MAX_REASONING]
        return self._gate.propose(self._topic, self._args, reasoning=reasoning, **named)

    def _message(self) -> ModelResponse | None:
        """The model's message that holds the call."""
        for message in reversed(self._ctx.messages):
            if isinstance(message, ModelResponse) and any(
                part.tool_call_id == self._ctx.tool_call_id for part in message.tool_calls
            ):
                return message
        return None

    @property
    def _can_wait(self) -> bool:
        """Whether this run can end with what waits."""
        agent = self._ctx.agent
        return self._run is not None or (agent is not None and may_defer(agent.output_type))

    # --- while -------------------------------------------------------------------------------------------

    async def _function(self, **approved: Any) -> Any:
        handed = {name: as_given(value, self._args.get(name)) for name, value in approved.items()}
        try:
            args = await self._taken(handed)
            result = await self._toolset.call_tool(self._name, args, self._ctx, self._tool)
        except Exception as error:
            self._error = error
            raise
        self._results.append(result)
        return _kept(result)

    async def _taken(self, handed: Mapping[str, Any]) -> dict[str, Any]:
        """What was approved, validated as a call of the model is. Raises `NoEffect` where it is not."""
        try:
            args: dict[str, Any] = self._validated(handed)
            if unknown := sorted(handed.keys() - self._read(args).keys()):
                raise NoEffect(f"{self._name} does not take {', '.join(unknown)}; nothing was run.")
            if self._tool.args_validator_func is not None and args != self._validated(self._args):
                checked = self._tool.args_validator_func(self._ctx, **args)
                if inspect.isawaitable(checked):
                    await checked
        except ValidationError as error:
            raise NoEffect(f"{self._name} does not take what was approved: {faults(error)}") from None
        except (ModelRetry, ToolFailed) as error:
            raise NoEffect(f"{self._name} does not take what was approved: {error.message}") from None
        return args

    # --- after -------------------------------------------------------------------------------------------

    def _failed(self, error: Exception, tier: int | None) -> None:
        """Raise what the framework gets of a tool that raised."""
        if isinstance(error, NoEffect):
            if isinstance(error, ModelRetry | ToolFailed):
                raise error
            raise ToolFailed(f"Nothing took effect. {error}") from error
        if isinstance(error, ModelRetry | ToolFailed) and tier != 1:
            raise ToolFailed(f"{error.message} {_DOUBT}") from error
        raise error


def may_defer(output_type: Any) -> bool:
    if isinstance(output_type, list | tuple):
        return any(map(may_defer, output_type))
    if get_origin(output_type) in (Union, UnionType):
        return any(map(may_defer, get_args(output_type)))
    return output_type is DeferredToolRequests


def _waits(held: Held) -> dict[str, Any]:
    """What `DeferredToolRequests` says of a call that waits."""
    return {
        "type": "interlock",
        "action_id": held.action_id,
        "approval_id": held.approval_id,
        "args": held.action["args"],
        "message": held.detail,
        "owner": held.owner,
        "due_at": held.due_at,
        "url": held.action["approval"]["url"],
    }


def _kept(result: Any) -> Any:
    """What of a result goes into the journal, for whoever asks again."""
    try:
        return to_jsonable_python(result.return_value if isinstance(result, ToolReturn) else result)
    except PydanticSerializationError:
        return None


def _after_edit(said: str, result: Any) -> Any:
    """A result as the model reads it, with what a person changed said before it."""
    if not said:
        return result
    if isinstance(result, ToolReturn):
        return replace(result, return_value=_after_edit(said, result.return_value))
    try:
        return f"{said}\n\n{kept_text(to_jsonable_python(result))}"
    except PydanticSerializationError:
        return [said, result]
