"""One function tool behind a gate, as a function tool."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from agents import FunctionTool, function_tool
from agents.tool import set_function_tool_failure_error_function

from interlock.adapters.calls import Topics
from interlock.adapters.openai_agents.call import Behind
from interlock.client import Gate
from interlock.model.errors import InvalidInput, NotClaimable
from interlock.model.questions import TOPIC


class GatedTool(FunctionTool):
    """A tool that runs when the gate lets it; what it wraps is reached through the gate only."""

    topic: str


def gated(
    tool: FunctionTool | Callable[..., Any],
    gate: Gate,
    *,
    topic: str | None = None,
    tags: tuple[str, ...] = (),
) -> GatedTool:
    """The tool behind the gate, for any agent.

    Args:
        tool: a function tool, or a function that becomes one.
        topic: ``tools.<name>`` where none is given.
        tags: risk tags for a topic that is not in the catalogue; the catalogue's own win.

    Raises:
        BadTopic: this is no topic. InvalidInput: the topic has other tags already, the tool is gated, asks
        for an approval of its own, or is an agent.
    """
    inner = tool if isinstance(tool, FunctionTool) else function_tool(tool)
    name = inner.qualified_name
    if isinstance(inner, GatedTool):
        raise InvalidInput(f"{name} is gated already, as {inner.topic}", path="tool")
    if inner.needs_approval is not False:
        raise InvalidInput(
            f"{name} asks for an approval of the framework's own, which the gate's would replace",
            path="tool.needs_approval",
            fix="Take needs_approval away, and hold the topic in the policy.",
        )
    if is_agent(inner):
        raise InvalidInput(
            f"{name} is an agent, whose run cannot pause inside of one call",
            path="tool",
            fix="Gate the tools of that agent.",
        )
    named = Topics({} if topic is None else {name: topic}).of(name)
    gate.register(named, tags=tags)
    bare = set_function_tool_failure_error_function(copy.copy(inner), None)
    bare.timeout_behavior = "raise_exception"
    behind = Behind(gate, named, inner, bare)
    made = object.__new__(GatedTool)
    made.__dict__.update(inner.__dict__)
    made.topic = named
    made.on_invoke_tool = behind
    made.needs_approval = behind.needs_approval
    made.timeout_seconds = None
    made.output_json_schema = made._output_type_adapter = None
    return made


def is_agent(tool: FunctionTool) -> bool:
    """Whether it came from ``agent.as_tool()``."""
    return bool(getattr(tool, "_is_agent_tool", False))


def question_tool(gate: Gate) -> GatedTool:
    """A tool with which the agent asks a person instead of guessing; it pauses as a held call does.

    Its topic is ``interlock.ask``: the answer is the tool's result.
    """

    def ask_a_person(
        question: str,  # noqa: ARG001 (the gate reads them)
        options: list[str],  # noqa: ARG001
        context: str,  # noqa: ARG001
    ) -> str:
        """Ask a person what you cannot know or may not decide, instead of guessing.

        Args:
            question: one question, in plain words.
            options: the answers to choose from; none where any words will do.
            context: what helps to answer it.
        """
        raise NotClaimable("A question is answered by a person; nothing of it runs.")

    return gated(ask_a_person, gate, topic=TOPIC)
