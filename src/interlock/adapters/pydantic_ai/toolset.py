"""Tools behind a gate, as a toolset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset

from interlock.adapters.calls import Topics
from interlock.adapters.pydantic_ai.call import Call
from interlock.client import Gate
from interlock.model.errors import InvalidInput, NotClaimable
from interlock.model.questions import TOPIC


@dataclass
class GatedToolset(WrapperToolset[Any]):
    """Tools that run when the gate lets them. Made by `gated` and `GateCapability`."""

    gate: Gate
    topics: Topics
    tags: Mapping[str, tuple[str, ...]]
    ungated: frozenset[str] = frozenset()
    layer: object = field(default_factory=object, repr=False)
    """Tells the tools that this one gates from those that had a gate before."""

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        found = await super().get_tools(ctx)
        return {name: self._behind(name, tool) for name, tool in found.items()}

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        layer = _layer(tool)
        if name in self.ungated or layer not in (None, self.layer):
            return await super().call_tool(name, tool_args, ctx, tool)
        bare = replace(tool.source, tool_def=tool.tool_def) if isinstance(tool, _GatedTool) else tool
        topic = self.topics.of(name)
        self.gate.register(topic, tags=self.tags.get(name, ()))
        return await Call(self.gate, topic, self.wrapped, name, ctx, bare).made(tool_args)

    def _behind(self, name: str, tool: ToolsetTool[Any]) -> ToolsetTool[Any]:
        if name in self.ungated or _layer(tool) is not None:
            return tool
        _check(name, tool)
        given = {one.name: getattr(tool, one.name) for one in fields(ToolsetTool)}
        return _GatedTool(**{**given, "toolset": self}, layer=self.layer, source=tool)


@dataclass(kw_only=True)
class _GatedTool(ToolsetTool[Any]):
    """A tool as its toolset with a gate hands it out."""

    layer: object
    source: ToolsetTool[Any]


def _layer(tool: ToolsetTool[Any] | None) -> object:
    """The gate that a tool has already, under whatever name and in whatever combination; None without."""
    while tool is not None:
        if isinstance(tool, _GatedTool):
            return tool.layer
        tool = getattr(tool, "source_tool", None)
    return None


def gated(
    tools: AbstractToolset[Any] | list[Callable[..., Any]],
    gate: Gate,
    *,
    topics: Mapping[str, str] | None = None,
    tags: Mapping[str, tuple[str, ...]] | None = None,
    ungated: Collection[str] = (),
) -> GatedToolset:
    """The tools behind the gate, for ``Agent(toolsets=[…])``.

    Args:
        tools: a toolset of any kind, or functions and tools that become one.
        topics: the topic of each tool by name; the others get ``tools.<name>``.
        tags: risk tags by tool name, for topics that are not in the catalogue.
        ungated: names of tools that you let through without a gate. A run with a tool that runs elsewhere, or
            that asks for an approval of the framework's own, is refused unless it is named.

    Raises:
        BadTopic: a topic is none. InvalidInput: a topic has other tags already.
    """
    inner = tools if isinstance(tools, AbstractToolset) else FunctionToolset(tools)
    return GatedToolset(inner, gate, Topics(topics), dict(tags or {}), frozenset(ungated))


def question_tool(gate: Gate) -> GatedToolset:
    """A tool with which the agent asks a person instead of guessing; it waits as a held call does.

    Its topic is ``interlock.ask``, also behind `GateCapability`: the answer is the tool's result.
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

    return gated([ask_a_person], gate, topics={"ask_a_person": TOPIC})


def _check(name: str, tool: ToolsetTool[Any]) -> None:
    if tool.tool_def.kind == "unapproved":
        raise InvalidInput(
            f"{name} asks for an approval of the framework's own, which the gate's would replace",
            path="tools",
            fix="Take requires_approval away, and hold the topic in the policy.",
        )
    if tool.tool_def.kind == "external":
        raise InvalidInput(
            f"{name} runs outside of this program, where no gate stands",
            path="tools",
            fix="Leave it out, or name it in ungated= if nothing it does needs a gate.",
        )
