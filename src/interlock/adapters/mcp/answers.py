"""What a client reads of a call that did not simply run.

1. What to do stands in the text and in `structuredContent`: some clients show the model only the one, some
   only the other.
2. A held call is no error: nothing went wrong, and a client that retries errors would ask again and again. A
   call that will not run is one.
3. `status` is the action's state, in the gate's words; `user_message` is for the person the agent works for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types

from interlock.adapters.calls import edited, told, with_edit
from interlock.adapters.mcp.tools import RESULT, Known
from interlock.client import Denied, Ended, Held
from interlock.model.errors import InDoubt, InterlockError, NoEffect
from interlock.model.text import visible

UNACCEPTED = "unaccepted"
_NOTE = "interlock_note"


def _answer(text: str, *, error: bool, **rest: Any) -> types.CallToolResult:
    structured = {name: value for name, value in rest.items() if value is not None}
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=structured, is_error=error
    )


def held(held: Held) -> types.CallToolResult:
    """It waits for a person."""
    again = (
        f"Tell the user. Go on with something else, then call {RESULT} with this action's id, or repeat the "
        "identical call: it attaches to this one."
    )
    return _answer(
        told(held, again=again),
        error=False,
        status=held.state,
        action=held.action_id,
        approval=held.approval_id,
        owner=held.owner,
        due_at=held.due_at,
        user_message=held.detail,
        status_url=held.action["approval"].get("url"),
        next=again,
    )


def running(action: Mapping[str, Any]) -> types.CallToolResult:
    """Somebody is carrying it out."""
    again = f"Call {RESULT} with this action's id later; do not repeat the call."
    return _answer(
        f"{action['user_message']} {again} Action {action['id']}.",
        error=False,
        status=action["state"],
        action=action["id"],
        user_message=action["user_message"],
        next=again,
    )


def refused(error: InterlockError) -> types.CallToolResult:
    """It did not run, or nobody knows whether it did."""
    state = error.state if isinstance(error, Denied | Ended) else error.slug
    if isinstance(error, InDoubt):
        state = "in_doubt"
    return _answer(
        told(error),
        error=True,
        status=state,
        action=error.extra.get("action"),
        user_message=error.detail,
        reason_code=error.reason_code if isinstance(error, Denied) else None,
        note=error.note if isinstance(error, Denied) else None,
    )


def unsent(error: NoEffect) -> types.CallToolResult:
    """The tool's server was not reached: nothing took effect."""
    said = f"{error} Nothing was sent."
    return _answer(said, error=True, status="failed", user_message=said)


def unaccepted(tool: Known) -> types.CallToolResult:
    """Nobody has accepted what the tool's server says of it now."""
    said = (
        f"{visible(tool.name, 200)} is new, or its server changed what it says of it. Nothing was proposed "
        "and nothing ran. Whoever administers Interlock has to accept it first: interlock mcp accept "
        f"{tool.server} {visible(tool.definition.name, 128)}"
    )
    return _answer(said, error=False, status="held", awaits=UNACCEPTED, tool=tool.hash, user_message=said)


def failed(result: types.CallToolResult, action: Mapping[str, Any] | None) -> types.CallToolResult:
    """The tool's own error, with what it means for the action."""
    if action is None or action["state"] != "in_doubt":
        return result
    said = (
        "The tool answered with an error, so nobody can say whether it took effect. It is not repeated by "
        "itself; a person settles it. Do not call it again before that."
    )
    return _noted(result, said)


def said(answer: str) -> types.CallToolResult:
    """A person's answer to a question."""
    return _answer(answer, error=False, status="answered", answer=answer)


def result(found: Any, action: Mapping[str, Any] | None) -> types.CallToolResult:
    """What the tool answered, as it was recorded.

    Args:
        action: the action, where a person may have edited it.
    """
    try:
        answer = types.CallToolResult.model_validate(found, by_name=False)
    except ValueError:
        answer = _answer("It ran. Its result was not kept.", error=False, status="succeeded")
    said = "" if action is None else edited(action)
    return answer if not said else _noted(answer, said)


def _noted(answer: types.CallToolResult, said: str) -> types.CallToolResult:
    structured = answer.structured_content
    return answer.model_copy(
        update={
            "content": [types.TextContent(type="text", text=with_edit({}, said)), *answer.content],
            "structured_content": {**structured, _NOTE: said} if isinstance(structured, dict) else structured,
        }
    )


def outcome(action: Mapping[str, Any]) -> types.CallToolResult:
    """An action that is neither held nor to be run, for who asks after it."""
    return _answer(
        f"{action['user_message']} Action {action['id']}.",
        error=False,
        status=action["state"],
        action=action["id"],
        user_message=action["user_message"],
    )
