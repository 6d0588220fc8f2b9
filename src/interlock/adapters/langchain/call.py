"""One call of a gated tool: what is proposed, when the graph pauses, what the tool gets and the model reads.

Nothing here asks the gate; `tools` does, once for coroutines and once for everything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, Tool, ToolException
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import ExecutionInfo, get_runtime
from langgraph.types import interrupt
from pydantic import BaseModel, ValidationError

from interlock.adapters.calls import REPEAT, as_given, call_id, edited, faults, kept_text, told
from interlock.client import Held
from interlock.client.held import NotRun
from interlock.model.errors import (
    ConstraintBreached,
    ConstraintUnenforceable,
    Forbidden,
    InDoubt,
    InvalidInput,
    NoEffect,
)

if TYPE_CHECKING:
    from interlock.adapters.langchain.tools import GatedTool

RUNTIME = "interlock_runtime"
"""The name under which a tool node hands a gated tool the run that it is called in."""
THREAD = "thread_id"
"""What the checkpoint of a proposal holds: where the graph waits."""
MAX_REASONING = 4_000
_READ = (NotRun, InDoubt, InvalidInput, ConstraintBreached, ConstraintUnenforceable, Forbidden)
"""Refusals that are an answer to whoever called: the model reads them."""


class Call:
    """One call of a gated tool, on its way through the gate."""

    def __init__(self, tool: GatedTool, tool_input: str | dict[str, Any], tool_call_id: str | None) -> None:
        self._tool, self._inner = tool, tool._inner
        self._id = tool_call_id
        self._schema = None if takes_a_text(self._inner) else model_of(self._inner.tool_call_schema)
        given = self._by_name(tool_input)
        runtime = next((value for value in given.values() if isinstance(value, ToolRuntime)), tool._runtime)
        given.pop(RUNTIME, None)
        self._injected = {
            name: value
            for name, value in given.items()
            if name in self._injects() or isinstance(value, ToolRuntime)
        }
        self._given = {name: value for name, value in given.items() if name not in self._injected}
        self._place = place_of(runtime)
        self._message = _message(runtime, tool_call_id)
        self.args: dict[str, Any] = {}
        self.action: Mapping[str, Any] = {}
        self._made: list[Any] = []

    @property
    def ran(self) -> bool:
        """Whether the tool has run for this call, and not for an earlier one of the same name."""
        return bool(self._made)

    # --- before ------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read the arguments by the tool's own schema, before anybody is asked about them.

        Raises:
            ValidationError: the tool does not take them. InvalidInput: they cannot be carried as JSON.
        """
        self.args = self._given
        if self._schema is not None:
            read = self._schema.model_validate(self._given)
            self.args = read.model_dump(mode="json", by_alias=True)
            if self._schema.model_validate(self.args) != read:
                raise InvalidInput("these arguments cannot be carried as JSON", path="$.args")
        self._check(self.args)

    @property
    def named(self) -> dict[str, Any]:
        """What `Gate.propose` is told beside topic and arguments."""
        message, place = self._message, self._place
        reasoning = "" if message is None else message.text[:MAX_REASONING]
        if place is None:
            return {"reasoning": reasoning}
        thread = place.thread_id or ""
        at = (message.id if message is not None else None) or place.checkpoint_ns
        return {
            "call_id": call_id(thread, at, self._id or ""),
            "checkpoint": json.dumps({THREAD: thread}).encode(),
            "reasoning": reasoning,
        }

    def pause(self, held: Held) -> None:
        """Interrupt the graph, or come back because somebody let it go on. Raises `held` outside a thread."""
        if self._place is None:
            raise held
        approval = held.action["approval"]
        interrupt(
            {
                "type": "interlock",
                "action_id": held.action_id,
                "approval_id": held.approval_id,
                "tool_call_id": self._id,
                "name": self._tool.name,
                "args": held.action["args"],
                "message": held.detail,
                "owner": held.owner,
                "due_at": held.due_at,
                "url": approval["url"],
            }
        )

    # --- while -------------------------------------------------------------------------------------------

    def handed(self, approved: Mapping[str, Any]) -> dict[str, Any]:
        """What the tool is called with. Raises `NoEffect` where it does not take what was approved."""
        args = {name: as_given(value, self.args.get(name)) for name, value in approved.items()}
        try:
            if self._schema is not None:
                self._schema.model_validate(args)
                known = {*self._schema.model_fields, *_aliases(self._schema)}
                if unknown := sorted(args.keys() - known):
                    raise NoEffect(f"{self._tool.name} does not take {', '.join(unknown)}; nothing was run.")
            self._check(args)
        except ValidationError as error:
            raise NoEffect(f"{self._tool.name} does not take what was approved: {faults(error)}") from None
        return {**args, **self._injected}

    def keep(self, result: Any) -> Any:
        """Note what the tool made; what of it goes into the journal, for whoever asks again."""
        self._made.append(result)
        return result.content if isinstance(result, ToolMessage) else result

    # --- after -------------------------------------------------------------------------------------------

    def answer(self, kept: Any) -> Any:
        """The tool's result as its caller expects it, with what a person changed said before it."""
        result = self._made[-1] if self.ran else kept
        if self._id is None:
            return result
        if not self.ran:
            result = self._said(kept_text(kept, (self.action["outcome"] or {}).get("note")))
        said = edited(self.action)
        if said and isinstance(result, ToolMessage):
            before = f"{said}\n\n"
            content = result.content
            result = result.model_copy(
                update={
                    "content": before + content
                    if isinstance(content, str)
                    else [{"type": "text", "text": before}, *content]
                }
            )
        return result

    def said(self, error: Exception) -> Any:
        """What the caller gets instead of an exception; None where the exception stands."""
        on_tool, on_input = self._tool._flags
        if isinstance(error, ToolException) and on_tool:
            text = _flagged(on_tool, error, str(error.args[0]) if error.args else "Tool execution error")
            if not isinstance(error, NoEffect) and self.action.get("tier") != 1:
                text += "\n\nIt may have taken effect. Do not repeat it before somebody has found out."
            return text if self._id is None else self._said(text, "error")
        if isinstance(error, ValidationError) and on_input:
            text = _flagged(on_input, error, "Tool input validation error")
            return text if self._id is None else self._said(text, "error")
        if self._id is None:
            return None
        if isinstance(error, _READ):
            return self._said(told(error, again="" if self._place else REPEAT), "error")
        if isinstance(error, NoEffect):
            return self._said(f"Nothing took effect. {error}", "error")
        return None

    # --- inside ------------------------------------------------------------------------------------------

    def _said(self, text: str, status: Literal["success", "error"] = "success") -> ToolMessage:
        return ToolMessage(text, name=self._tool.name, tool_call_id=self._id, status=status)

    def _by_name(self, tool_input: str | dict[str, Any]) -> dict[str, Any]:
        if isinstance(tool_input, dict):
            return dict(tool_input)
        return {next(iter(self._inner.args)): tool_input}

    def _injects(self) -> frozenset[str]:
        """The arguments that do not come from the model: as the framework tells them apart."""
        full = model_of(self._inner.args_schema)
        hidden = full.model_fields.keys() - self._schema.model_fields.keys() if full and self._schema else ()
        return self._inner._injected_args_keys.union(hidden)

    def _check(self, args: Mapping[str, Any]) -> None:
        """Let the whole schema read them, with its validators, as the tool is about to."""
        full = model_of(self._inner.args_schema)
        if full is not None:
            missing = dict.fromkeys(self._injects() - self._injected.keys(), self._id or "")
            full.model_validate({**missing, **self._injected, **args})


def takes_a_text(tool: BaseTool) -> bool:
    return isinstance(tool, Tool) and tool.args_schema is None


def model_of(schema: object) -> type[BaseModel] | None:
    return schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None


def place_of(runtime: Any) -> ExecutionInfo | None:
    """Where in which thread this is called; None outside a graph that keeps one."""
    found = getattr(runtime, "execution_info", None)
    if found is None:
        try:
            found = getattr(get_runtime(), "execution_info", None)
        except RuntimeError:
            return None
    return found if found is not None and found.thread_id else None


def _message(runtime: ToolRuntime[Any, Any] | None, tool_call_id: str | None) -> AIMessage | None:
    """The model's message that holds the call."""
    state = None if runtime is None else runtime.state
    messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", state)
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, AIMessage) and any(c["id"] == tool_call_id for c in message.tool_calls):
            return message
    return None


def _aliases(schema: type[BaseModel]) -> set[str]:
    return {field.alias for field in schema.model_fields.values() if field.alias}


def _flagged(flag: Any, error: Exception, default: str) -> str:
    """An error as the tool's own flag words it; the framework's rule."""
    if isinstance(flag, str):
        return flag
    return str(flag(error)) if callable(flag) else default
