"""Claude Code's tools: the topic of each, which arguments count, and how long a call may take.

1. A built-in tool is ``claude.<name>`` in snake case, a tool of an MCP server ``claude.mcp.<server>.<tool>``.
   A name that cannot stand in a topic is marked with its hash, so that no two tools share one by accident.
2. All arguments count but the model's own description of a command: it changes with each attempt and does
   nothing. It is handed on as the agent's words.
3. What a person edited is handed to the tool in the types that the model had used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from interlock.adapters.calls import Topics
from interlock.model.errors import InvalidInput

_BUILT_IN = re.findall(
    r"\w+",
    "Agent AskUserQuestion Bash BashOutput CronCreate CronDelete CronList Edit EnterPlanMode EnterWorktree "
    "ExitPlanMode ExitWorktree Glob Grep KillShell LSP ListMcpResourcesTool Monitor MultiEdit NotebookEdit "
    "PowerShell Read ReadMcpResourceTool SendMessage Skill SlashCommand Task TaskCreate TaskGet TaskList "
    "TaskOutput TaskStop TaskUpdate TodoWrite ToolSearch WebFetch WebSearch Write",
)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TOPICS = Topics({name: f"claude.{_WORD.sub('_', name).lower()}" for name in _BUILT_IN}, under="claude")
_MARGIN_SEC = 60
_COMMAND_SEC, _FILE_SEC, LONGEST_SEC = 600, 300, 3600
_SHELLS = ("Bash", "PowerShell")
_LONG = ("Agent", "Task", "Skill", "Monitor")


class Call(NamedTuple):
    """One tool call, as a hook is told of it.

    Attributes:
        use_id: Claude Code's id of the call; None where it does not say (PermissionRequest).
        args: what is proposed; `words`: what the model says about it.
    """

    session: str
    use_id: str | None
    tool: str
    given: dict[str, Any]
    topic: str
    args: dict[str, Any]
    words: str

    @property
    def lease_sec(self) -> int:
        """How long the tool may take before nobody can say what became of it."""
        if self.tool in _SHELLS:
            limit = self.given.get("timeout")
            known = isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0
            return min(math.ceil(limit / 1000) if known else _COMMAND_SEC, LONGEST_SEC) + _MARGIN_SEC  # type: ignore[operator]
        return LONGEST_SEC if self.tool.startswith("mcp__") or self.tool in _LONG else _FILE_SEC


def call_of(event: Mapping[str, Any]) -> Call:
    """The tool call that an event is about. Raises `InvalidInput` where it does not say."""
    session, tool = _name(event, "session_id"), _name(event, "tool_name")
    given = event.get("tool_input")
    if not isinstance(given, dict):
        raise InvalidInput("an object of arguments", path="$.tool_input")
    args, words = dict(given), ""
    if tool in _SHELLS and isinstance(args.get("description"), str):
        words = args.pop("description")
    use_id = _name(event, "tool_use_id") if "tool_use_id" in event else None
    return Call(session, use_id, tool, given, topic_of(tool), args, words)


def topic_of(tool: str) -> str:
    """The topic of a tool.

    >>> topic_of("WebFetch"), topic_of("mcp__github__create_issue")
    ('claude.web_fetch', 'claude.mcp.github.create_issue')
    """
    if not tool.startswith("mcp__"):
        return _TOPICS.of(tool)
    server, _, name = tool.removeprefix("mcp__").partition("__")
    if not server or not name:
        raise InvalidInput(f"{tool!r} names no server and tool", path="$.tool_name")
    return Topics(under=Topics(under="claude.mcp").of(server)).of(name)


def effective(call: Call, approved: Mapping[str, Any]) -> dict[str, Any]:
    """The tool's whole input with the arguments that were approved."""
    kept = {name: value for name, value in call.given.items() if name not in call.args}
    return kept | {name: _typed(value, call.args.get(name)) for name, value in approved.items()}


def _typed(value: object, given: object) -> object:
    """An approved value in the type that the model had used: declared amounts are text by then."""
    if isinstance(value, str) and isinstance(given, int | float) and not isinstance(given, bool):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(value) if value.lstrip("-").isdigit() else number
    return value


def _name(event: Mapping[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable():
        raise InvalidInput("1 to 200 printable characters", path=f"$.{field}")
    return value
