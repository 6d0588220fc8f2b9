"""Every tool of an agent behind a gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from agents import Agent, FunctionTool, Handoff, RunContextWrapper, Tool

from interlock.adapters.calls import Topics
from interlock.adapters.openai_agents.tools import GatedTool, gated, is_agent
from interlock.client import Gate
from interlock.model.errors import InvalidInput


@dataclass
class GatedAgent(Agent[Any]):
    """An agent whose tools are gated when a turn begins, whoever added them. Made by `gated_agent`."""

    gate: Gate = field(kw_only=True)
    topics: Topics = field(default_factory=Topics, kw_only=True)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict, kw_only=True)
    ungated: frozenset[str] = field(default=frozenset(), kw_only=True)

    async def get_all_tools(self, run_context: RunContextWrapper[Any]) -> list[Tool]:
        for handoff in self.handoffs:
            self._check_handoff(handoff)
        return [self._behind(tool) for tool in await super().get_all_tools(run_context)]

    def gates(self, name: str, tool: Tool | None) -> bool:
        """Whether a call of this name leads to the gate; `tool` is None for one of an MCP server."""
        if name in self.ungated or (isinstance(tool, FunctionTool) and is_agent(tool)):
            return False
        return tool is None or isinstance(tool, FunctionTool)

    def _behind(self, tool: Tool) -> Tool:
        if isinstance(tool, GatedTool) or tool.name in self.ungated:
            return tool
        if not isinstance(tool, FunctionTool):
            raise _around(f"{tool.name} does not run as a function of this program, where the gate stands")
        if is_agent(tool):
            if isinstance(tool._agent_instance, GatedAgent):
                return tool
            raise _around(f"{tool.name} is an agent whose own tools have no gate")
        name = tool.qualified_name
        return gated(tool, self.gate, topic=self.topics.of(name), tags=self.tags.get(name, ()))

    def _check_handoff(self, handoff: Agent[Any] | Handoff[Any, Any]) -> None:
        if isinstance(handoff, Handoff):
            name, found = handoff.agent_name, handoff._agent_ref
            target = None if found is None else found()
        else:
            name, target = handoff.name, handoff
        if not isinstance(target, GatedAgent) and name not in self.ungated:
            raise _around(f"A hand-off leads to {name}, whose tools have no gate")


def gated_agent(
    agent: Agent[Any],
    gate: Gate,
    *,
    topics: Mapping[str, str] | None = None,
    tags: Mapping[str, tuple[str, ...]] | None = None,
    ungated: Collection[str] = (),
) -> GatedAgent:
    """The agent with every tool behind the gate, those of its MCP servers included.

    Args:
        topics: the topic of each tool by name; the others get ``tools.<name>``.
        tags: risk tags by tool name, for topics that are not in the catalogue.
        ungated: names of tools that run elsewhere (hosted ones, shells, computers) and of agents that
            hand-offs lead to, and that you let it have without a gate. With any other its turns are refused.

    Raises:
        InvalidInput: the agent is of another class; gate its tools one by one. BadTopic: a topic is none.
    """
    if type(agent) is not Agent:
        raise InvalidInput(
            f"{agent.name} is of the class {type(agent).__name__}, which cannot be wrapped",
            path="agent",
            fix="Gate its tools one by one.",
        )
    given = {one.name: getattr(agent, one.name) for one in fields(agent) if one.init}
    return GatedAgent(
        **given,
        gate=gate,
        topics=Topics(topics),
        tags=dict(tags or {}),
        ungated=frozenset(ungated),
    )


def _around(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what}.",
        path="agent",
        fix="Leave it out, gate it, or name it in ungated= if nothing it does needs it.",
    )
