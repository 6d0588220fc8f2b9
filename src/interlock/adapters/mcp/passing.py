"""What passes through the gateway: prompts, resources and completions. The gate has no say in them.

Where several servers stand here, a prompt is called ``<server>__<prompt>``, and a resource belongs to the one
server that lists it: one that two list belongs to none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from interlock.adapters.mcp.servers import SEPARATOR
from interlock.adapters.mcp.upstream import Upstream
from interlock.model.errors import InterlockError
from interlock.model.text import visible

_log = logging.getLogger(__name__)


class Passing:
    """Handlers of requests that go to a server as they are.

    Args:
        several: whether prompts are named by their server.
        met: told of every request; raises `MCPError` for a stranger.
    """

    def __init__(
        self, upstreams: Mapping[str, Upstream], *, several: bool, met: Callable[[Any], object]
    ) -> None:
        self._upstreams = upstreams
        self._several = several
        self._met = met

    async def list_prompts(self, ctx: Any, _params: Any) -> types.ListPromptsResult:
        self._met(ctx)
        return types.ListPromptsResult(
            prompts=[
                each.model_copy(update={"name": self._named(upstream, each.name)})
                for upstream, each in await self._everything(Upstream.prompts)
            ]
        )

    async def get_prompt(self, ctx: Any, params: types.GetPromptRequestParams) -> Any:
        self._met(ctx)
        upstream, name = self._whose(params.name)
        asked = types.GetPromptRequestParams(name=name, arguments=params.arguments)
        return await _passed(upstream.ask(types.GetPromptRequest(params=asked), types.GetPromptResult))

    async def list_resources(self, ctx: Any, _params: Any) -> types.ListResourcesResult:
        self._met(ctx)
        found = await self._everything(Upstream.resources)
        return types.ListResourcesResult(resources=[each for _, each in found])

    async def list_templates(self, ctx: Any, _params: Any) -> types.ListResourceTemplatesResult:
        self._met(ctx)
        found = await self._everything(Upstream.templates)
        return types.ListResourceTemplatesResult(resource_templates=[each for _, each in found])

    async def read_resource(self, ctx: Any, params: types.ReadResourceRequestParams) -> Any:
        self._met(ctx)
        upstream = await self._owner(str(params.uri))
        asked = types.ReadResourceRequestParams(uri=params.uri)
        return await _passed(upstream.ask(types.ReadResourceRequest(params=asked), types.ReadResourceResult))

    async def complete(self, ctx: Any, params: types.CompleteRequestParams) -> Any:
        self._met(ctx)
        if isinstance(params.ref, types.PromptReference):
            upstream, name = self._whose(params.ref.name)
            ref: Any = params.ref.model_copy(update={"name": name})
        else:
            upstream, ref = await self._owner(params.ref.uri), params.ref
        asked = types.CompleteRequestParams(ref=ref, argument=params.argument, context=params.context)
        return await _passed(upstream.ask(types.CompleteRequest(params=asked), types.CompleteResult))

    def _named(self, upstream: Upstream, name: str) -> str:
        return f"{upstream.server.name}{SEPARATOR}{name}" if self._several else name

    def _whose(self, name: str) -> tuple[Upstream, str]:
        if not self._several:
            return next(iter(self._upstreams.values())), name
        server, _, rest = name.partition(SEPARATOR)
        if server not in self._upstreams:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {visible(name, 200)}")
        return self._upstreams[server], rest

    async def _owner(self, uri: str) -> Upstream:
        """The one server that has a resource."""
        if not self._several:
            return next(iter(self._upstreams.values()))
        listed = {
            up.server.name for up, each in await self._everything(Upstream.resources) if str(each.uri) == uri
        }
        if not listed:
            listed = {
                up.server.name
                for up, each in await self._everything(Upstream.templates)
                if uri.startswith(each.uri_template.partition("{")[0])
            }
        if len(listed) != 1:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown resource: {visible(uri, 200)}")
        return self._upstreams[listed.pop()]

    async def _everything(
        self, read: Callable[[Upstream], Awaitable[list[Any]]]
    ) -> list[tuple[Upstream, Any]]:
        async def one(upstream: Upstream) -> list[tuple[Upstream, Any]]:
            try:
                return [(upstream, each) for each in await read(upstream)]
            except (MCPError, InterlockError, ValueError) as error:
                _log.warning("%s: %s", upstream.server.name, visible(str(error), 300))
                return []

        return [each for found in await asyncio.gather(*map(one, self._upstreams.values())) for each in found]


async def _passed(answer: Awaitable[Any]) -> Any:
    """What a server answers to a request that the gate has no say in."""
    try:
        return await answer
    except InterlockError as error:
        raise MCPError(code=types.INTERNAL_ERROR, message=error.detail) from None
