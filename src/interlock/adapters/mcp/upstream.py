"""One server behind the gateway, and the connection to it that is kept.

1. A connection, or a process, is made when it is first needed, and again after it was lost. It belongs to one
   task, which opens and closes it; whoever calls waits for it at most `CONNECT_SEC`.
2. A call is handed over once. Where the connection is lost before that, nothing was sent; after that, nobody
   knows, and nothing is sent again.
3. An answer over stdio is a line of at most `MAX_ANSWER` bytes, over HTTP a response of as many; a longer one
   ends the connection. What is struck out are the values that the server was given to authenticate.
4. What the server asks of its client meanwhile (sampling, elicitation, roots) is refused.
5. When it says that its lists changed, whoever listens is told; what it changed is read when it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any, cast

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError

from interlock.adapters.mcp.servers import Server
from interlock.dispatch.credentials import Credentials, authorization
from interlock.dispatch.limits import NotSent
from interlock.dispatch.mcp_stdio import Conversation, started
from interlock.dispatch.outcome import secrets_of, strike_out
from interlock.dispatch.wire import Bounded
from interlock.model.canonical import plain
from interlock.model.errors import InterlockError, NoEffect

CONNECT_SEC = 30.0
MAX_ANSWER = 4 << 20
MAX_PAGES = 100
MAX_LISTED = 2_000
ACTION = "interlock/action"

# The library writes messages, and with them arguments and parts of answers, to the log.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)


class Upstream:
    """One server. `run` has to be running; everything else is called from the same event loop.

    Args:
        credentials: what its credentials' names stand for.
        changed: told that one of its lists may have changed, by the notification.
    """

    def __init__(
        self, server: Server, credentials: Credentials, changed: Callable[[object], Awaitable[None]]
    ) -> None:
        self.server = server
        self._credentials = credentials
        self._changed = changed
        self._attempt: asyncio.Future[Client] | None = None
        """The connection, or the one that is being made; None where nobody wanted one since it was lost."""
        self._wanted = asyncio.Event()
        self._lost = asyncio.Event()
        self._secrets: tuple[str, ...] = server.secrets
        self._conversation = Conversation()
        self.trouble = ""
        """Why there is no connection, as a clause; empty where there is one, or none was wanted yet."""

    # --- the connection ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make a connection whenever one is wanted, and keep it until it is let go."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            attempt = self._attempt
            if attempt is None:
                continue
            self._lost, self._conversation = asyncio.Event(), Conversation()
            try:
                await self._keep(attempt, self._lost)
            except NotSent as stop:
                self.trouble = stop.reason
            except InterlockError as error:
                self.trouble = error.detail
            except Exception as error:  # noqa: BLE001 (the library's own, also in groups)
                self.trouble = self._conversation.trouble or type(error).__name__
            finally:
                if self._attempt is attempt:
                    self._attempt = None
                if not attempt.done():
                    why = self.trouble or "it does not answer"
                    attempt.set_exception(NoEffect(f"{self.server.name} cannot be reached: {why}."))

    async def _keep(self, attempt: asyncio.Future[Client], lost: asyncio.Event) -> None:
        client = Client(
            await self._transport(),
            cache=None,
            message_handler=self._heard,
            client_info=types.Implementation(name="interlock", version=version("interlock")),
        )
        async with asyncio.timeout(CONNECT_SEC) as clock, client:
            clock.reschedule(None)
            self.trouble = ""
            attempt.set_result(client)
            listener = asyncio.create_task(self._listen(client))
            try:
                await lost.wait()
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _transport(self) -> Any:
        if self.server.stdio is not None:
            found = await self._values()
            return started(self.server.stdio, found, MAX_ANSWER, self._conversation)
        url = self.server.url or ""
        headers = {
            "user-agent": f"interlock/{version('interlock')}",
            **self.server.headers,
            **await self._values(),
        }
        client = httpx2.AsyncClient(
            transport=_EachBounded(url, MAX_ANSWER), headers=headers, trust_env=False, timeout=None
        )
        return _over_http(url, client)

    async def _values(self) -> dict[str, str]:
        found = {
            key: await authorization(self._credentials, name) for key, name in self.server.credentials.items()
        }
        parts = {part for value in found.values() for part in secrets_of(value)}
        self._secrets = tuple(sorted({*parts, *self.server.secrets}, key=len, reverse=True))
        return found

    async def _connected(self) -> Client:
        """Raises `NoEffect` where there is no connection."""
        if self._conversation.trouble:
            self._drop(None)
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
            self._attempt.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._wanted.set()
        return await asyncio.shield(self._attempt)

    def _drop(self, client: Client | None) -> None:
        """Let go of the connection, if it is still this one (or whichever was made); the next call makes one.

        One that is being made is somebody else's to wait for.
        """
        attempt = self._attempt
        if attempt is None or not attempt.done() or attempt.exception() is not None:
            return
        if client is None or attempt.result() is client:
            self._attempt = None
            self._lost.set()

    # --- notifications -----------------------------------------------------------------------------------

    async def _heard(self, message: object) -> None:
        if isinstance(
            message,
            types.ToolListChangedNotification
            | types.PromptListChangedNotification
            | types.ResourceListChangedNotification
            | types.ResourceUpdatedNotification,
        ):
            await self._changed(message)

    async def _listen(self, client: Client) -> None:
        """Ask a server that speaks 2026-07-28 to say when its lists change. Not every server does."""
        with contextlib.suppress(ListenNotSupportedError, MCPError, TimeoutError, ConnectionError):
            async with client.listen(
                tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
            ) as events:
                async for _ in events:
                    await self._changed(types.ToolListChangedNotification())

    # --- requests ----------------------------------------------------------------------------------------

    async def ask(self, request: Any, form: Any, progress: ProgressFnT | None = None) -> Any:
        """Send one request, and give the answer without the server's secrets.

        Raises:
            NoEffect: there is no connection; nothing was sent. MCPError: the server's answer is an error, or
            none came.
        """
        client = await self._connected()
        try:
            found = await client.session.send_request(request, form, progress_callback=progress)
        except MCPError as error:
            if error.code == types.CONNECTION_CLOSED or self._conversation.trouble:
                self._drop(client)
            message = str(strike_out(error.message, self._secrets))
            if error.code == types.PARSE_ERROR:
                message = "what it said could not be read"  # the library quotes it: half a secret stays
            raise MCPError(code=error.code, message=message, data=self._struck(error.data)) from None
        if not self._secrets:
            return found
        raw = found.model_dump(mode="json", by_alias=True, exclude_none=True)
        return type(found).model_validate(self._struck(raw), by_name=False)

    def _struck(self, value: Any) -> Any:
        return value if value is None or not self._secrets else strike_out(plain(value), self._secrets)

    async def call(
        self,
        tool: str,
        args: dict[str, Any],
        progress: ProgressFnT | None = None,
        action: str | None = None,
    ) -> types.CallToolResult:
        """Call a tool. Raises as `ask`; an answer that asks for input raises `MCPError`.

        Args:
            action: the action's id, for a server that keeps a record of its own.
        """
        meta = None if action is None else cast(Any, {ACTION: action})
        params = types.CallToolRequestParams(name=tool, arguments=args, _meta=meta)
        found = await self.ask(types.CallToolRequest(params=params), types.CallToolResult, progress)
        if found.result_type != "complete":
            raise MCPError(
                code=types.INTERNAL_ERROR, message="The server asked for more input, which nobody gives it."
            )
        return found  # type: ignore[no-any-return]

    async def tools(self) -> list[types.Tool]:
        """Every tool it lists now. Raises as `ask`."""
        return await self._pages(types.ListToolsRequest, types.ListToolsResult, "tools")

    async def prompts(self) -> list[types.Prompt]:
        """Every prompt it lists now. Raises as `ask`."""
        return await self._pages(types.ListPromptsRequest, types.ListPromptsResult, "prompts")

    async def resources(self) -> list[types.Resource]:
        """Every resource it lists now. Raises as `ask`."""
        return await self._pages(types.ListResourcesRequest, types.ListResourcesResult, "resources")

    async def templates(self) -> list[types.ResourceTemplate]:
        """Every template of resources it lists now. Raises as `ask`."""
        return await self._pages(
            types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult, "resource_templates"
        )

    async def _pages(self, request: Any, form: Any, field: str) -> list[Any]:
        client = await self._connected()
        if not _has(client.session.server_capabilities, field):
            return []
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor)
            page = await self.ask(request(params=params), form)
            found += getattr(page, field)
            cursor = page.next_cursor
            if cursor is None or len(found) > MAX_LISTED:
                break
        return found


def _has(capabilities: types.ServerCapabilities | None, field: str) -> bool:
    """Whether a server says that it has this. One that says nothing is asked for tools."""
    if capabilities is None:
        return field == "tools"
    said = {
        "tools": capabilities.tools,
        "prompts": capabilities.prompts,
        "resources": capabilities.resources,
        "resource_templates": capabilities.resources,
    }
    return said[field] is not None


class _EachBounded(Bounded):
    """As `Bounded`, with the bound for each answer: the connection is kept for many."""

    def __init__(self, url: str, cap: int) -> None:
        super().__init__(url, cap)
        self._cap = cap

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._left = self._cap
        return await super().handle_async_request(request)


@contextlib.asynccontextmanager
async def _over_http(url: str, client: httpx2.AsyncClient) -> AsyncIterator[tuple[Any, Any]]:
    async with (
        client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MAX_ANSWER) as streams,
    ):
        yield streams
