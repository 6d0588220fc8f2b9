"""One call of a gated tool: how it is named, what the tool takes, and what the model reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from google.adk.tools.base_tool import BaseTool
from google.adk.tools.function_tool import FunctionTool
from google.adk.tools.tool_context import ToolContext

from interlock.adapters.calls import REPEAT, as_given, call_id, edited, kept_text, told
from interlock.client import Held
from interlock.model.errors import InterlockError, InvalidInput, NoEffect

HELD = "held"
NOTE = "interlock_note"
GOES_ON = "Tell the user. It goes on by itself once it is decided; do not repeat it."
WITHIN: ContextVar[bool] = ContextVar("interlock_adk_within", default=False)
"""Whether an agent runs as a tool here: its session ends with the call."""


class Call:
    """One call of a gated tool, on its way through the gate."""

    def __init__(self, tool: BaseTool, args: Mapping[str, Any], context: ToolContext) -> None:
        self._tool, self._context = tool, context
        self.args = dict(args)
        self.action: Mapping[str, Any] = {}
        self.ran = False
        self._made: Any = None
        found = context.get_invocation_context()
        self._place = {
            "app": found.app_name,
            "user": found.user_id,
            "session": found.session.id,
            "call": _name(context),
        }
        self._invocation = found.invocation_id
        self._pauses = not WITHIN.get() and bool(self._place["call"])

    @property
    def named(self) -> dict[str, Any]:
        """What `Gate.propose` is told beside topic and arguments."""
        if not self._pauses:
            return {}
        return {
            "call_id": call_id(*self._place.values(), self._invocation),
            "checkpoint": json.dumps(self._place).encode(),
        }

    def check(self) -> None:
        """Raises `InvalidInput` for arguments that the tool does not take."""
        if said := _not_taken(self._tool, self.args):
            raise InvalidInput(said, path="$.args")

    def handed(self, approved: Mapping[str, Any]) -> dict[str, Any]:
        """What the tool is called with. Raises `NoEffect` where it does not take what was approved."""
        args = {name: as_given(value, self.args.get(name)) for name, value in approved.items()}
        if said := _not_taken(self._tool, args):
            raise NoEffect(f"{said}. Nothing was run.")
        return args

    def keep(self, made: Any) -> Any:
        self.ran, self._made = True, made
        return made

    def answer(self, kept: Any) -> Any:
        """The tool's result, with what a person changed said before it."""
        result = self._made if self.ran else kept
        if not self.ran and kept is None:
            result = {"result": kept_text(None, (self.action.get("outcome") or {}).get("note"))}
        said = edited(self.action)
        if not said:
            return result
        return {NOTE: said, **(result if isinstance(result, dict) else {"result": result})}

    def pause(self, held: Held) -> dict[str, Any]:
        """Ask for a confirmation; the call's response until it goes on."""
        said = {
            "status": HELD,
            "action": held.action_id,
            "message": told(held, again=GOES_ON if self._pauses else REPEAT),
        }
        if self._pauses:
            approval = held.action["approval"]
            self._context.actions.skip_summarization = True
            self._context.request_confirmation(
                hint=held.detail,
                payload={
                    "action_id": held.action_id,
                    "approval_id": held.approval_id,
                    "args": held.action["args"],
                    "owner": held.owner,
                    "due_at": held.due_at,
                    "url": approval["url"],
                },
            )
        return said

    @property
    def declined(self) -> bool:
        """Whether whoever was asked to confirm it said no."""
        confirmation = self._context.tool_confirmation
        return confirmation is not None and not confirmation.confirmed

    def said(self, error: InterlockError | NoEffect) -> dict[str, Any]:
        """What the model reads instead of a result."""
        if isinstance(error, InterlockError):
            return {"error": told(error)}
        return {"error": f"Nothing took effect. {error}"}


def _name(context: ToolContext) -> str:
    """What a call keeps when it is repeated: its function call; of a workflow's node its path, since the
    framework makes up a new function call each time."""
    made = context.function_call_id
    for event in reversed(context.session.events):
        if any(one.id == made for one in event.get_function_calls()):
            return made or ""
    return context.node_path


def _not_taken(tool: BaseTool, args: Mapping[str, Any]) -> str:
    """Why the tool would not run with these arguments as they stand; empty where it would.

    A function's tool answers a missing argument with a result, and drops one that it does not know.
    """
    if not isinstance(tool, FunctionTool):
        return ""
    declared = tool._get_declaration()
    if declared is None:
        return ""
    schema: Any = declared.parameters_json_schema
    if schema is None:
        schema = {} if declared.parameters is None else declared.parameters.model_dump(exclude_none=True)
    known, needed = schema.get("properties") or {}, schema.get("required") or ()
    missing = [name for name in needed if name not in args]
    unknown = sorted(args.keys() - known.keys()) if not schema.get("additionalProperties") else []
    if missing:
        return f"{tool.name} needs {', '.join(missing)}"
    return f"{tool.name} does not take {', '.join(unknown)}" if unknown else ""
