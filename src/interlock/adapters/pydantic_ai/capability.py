"""Every tool of an agent behind a gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.toolsets import AbstractToolset

from interlock.adapters.calls import Topics
from interlock.adapters.pydantic_ai.toolset import GatedToolset
from interlock.client import Gate
from interlock.model.errors import InvalidInput


class GateCapability(AbstractCapability[Any]):
    """Every tool call of an agent goes through the gate, inside of all other capabilities.

    Args:
        topics: the topic of each tool by name; the others get ``tools.<name>``.
        tags: risk tags by tool name, for topics that are not in the catalogue.
        ungated: names of tools that you let through without a gate: such as run elsewhere, and such as the
            model's provider runs (``web_search``). A request with any other is refused.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        topics: Mapping[str, str] | None = None,
        tags: Mapping[str, tuple[str, ...]] | None = None,
        ungated: Collection[str] = (),
    ) -> None:
        self._gate, self._topics = gate, Topics(topics)
        self._tags, self._ungated = dict(tags or {}), frozenset(ungated)

    @classmethod
    def get_serialization_name(cls) -> str | None:
        return None

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="innermost")

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return GatedToolset(toolset, self._gate, self._topics, self._tags, self._ungated)

    async def prepare_model_request(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 (the framework's signature)
        request_context: ModelRequestContext,
    ) -> ModelRequestContext:
        for tool in request_context.model_request_parameters.native_tools:
            if not {tool.kind, tool.unique_id} & self._ungated:
                raise InvalidInput(
                    f"{tool.unique_id} runs at the model's provider, where no gate stands",
                    path="tools",
                    fix="Leave it out, or name it in ungated= if nothing it does needs a gate.",
                )
        return request_context
