"""The `mcp` connector: one call of one tool of an MCP server, and what became of it.

1. The catalogue names the server and the tool; no other tool is called, whatever the server offers or says.
   Descriptions, annotations and schemas of the server change nothing: the arguments are those that were
   approved.
2. Each call has a connection, or a process, of its own. Nothing is retried and no redirect is followed.
3. `Failed` needs a proof. Nothing was sent: the call was not handed over yet; starting the server and
   agreeing on a version are no call. No effect: the catalogue lists the JSON-RPC error's code, or says that
   an error result proves it. A result without an error is `Succeeded`. All else is `Unknown`: a timeout, a
   server that ends or talks nonsense, an answer that is too long, a request for more input (nobody is there
   to give it).
4. The key and the action's id travel in the call's `_meta`. What the server asks of us meanwhile (sampling,
   elicitation, roots) is refused.
5. The clock of `max_runtime_sec` runs from starting or connecting to the answer; then the process is killed,
   or the connection closed; a kill switch does the same. An answer that is longer than what is read or kept
   is a breach of `max_bytes`. Under a `network_allowlist` the connection goes to an address that was checked;
   a server that is started here is refused then, for nobody watches where it connects.
6. The credential is fetched last, for one header, and struck out of whatever the server echoes.

Sources: Model Context Protocol 2025-11-25 and 2026-07-28; JSON-RPC 2.0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx2
import mcp_types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from interlock.dispatch.credentials import Credential, Refused, authorization
from interlock.dispatch.limits import NotSent, check_limits, time_limit
from interlock.dispatch.mcp_stdio import Conversation, StdioServer, started
from interlock.dispatch.network import Allowlist, addresses
from interlock.dispatch.outcome import Failed, Outcome, Succeeded, Unknown, secrets_of, strike_out
from interlock.dispatch.stopping import Halted, Stopping
from interlock.dispatch.wire import Bounded
from interlock.model.canonical import Json, canonical, plain
from interlock.model.errors import InterlockError, InvalidInput
from interlock.model.text import visible
from interlock.model.verdicts import Constraints
from interlock.policy import McpExecute

ENFORCED = frozenset({"max_runtime_sec", "network_allowlist", "max_amount_usd"})
MAX_RESULT = 1 << 20
MAX_WIRE = 4 << 20
"""Bytes that are read of a server altogether: its greeting, notifications on the way, and the result."""
MAX_BYTES = "max_bytes"
KEY = "interlock/idempotency-key"
ACTION = "interlock/action"
_PORTS = {"http": 80, "https": 443}

# The library writes messages, and with them the action's arguments, to the log, and where it cannot read an
# answer, parts of that. What went wrong is in the outcome.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)


class McpConnector:
    """Carries out actions by tools of MCP servers. Safe to share between tasks, threads and event loops.

    Args:
        credential: as in `HttpConnector`.
        server: the text of a server's file by its name; None where there is none.
        refused: told the name of a credential that a server answered 401 to.
    """

    def __init__(
        self,
        credential: Credential,
        server: Callable[[str], str | None],
        refused: Refused | None = None,
    ) -> None:
        self._credential = credential
        self._refused = refused
        self._server = server

    async def send(
        self,
        spec: McpExecute,
        args: Mapping[str, Json],
        constraints: Constraints,
        *,
        key: str | None,
        action: str,
        amount_usd: Decimal | None = None,
        timeout_sec: float = 30.0,
        read_only: bool = False,
        halted: Halted | None = None,
        stopping: Stopping | None = None,
    ) -> Outcome:
        """Make the call and say what became of it. Arguments as in `HttpConnector.send`.

        Args:
            stopping: told when a kill switch covers the action; the conversation is ended then.

        Raises:
            asyncio.CancelledError: the caller gave up. The call may have left: treat it as `Unknown`.
        """
        call = _Call(spec, f"{spec.server or urlsplit(spec.url or '').netloc}: {spec.tool}")
        try:
            limit, breach = time_limit(constraints, timeout_sec)
            check_limits(constraints, ENFORCED, amount_usd, "over MCP")
            began = time.monotonic()
            conversation = Conversation()
            if spec.server is not None:
                transport, secrets = await self._process(spec.server, constraints, conversation)
            else:
                transport, secrets = await self._endpoint(spec, constraints, limit, conversation)
        except NotSent as stop:
            return Failed(stop.reason, "nothing_sent", stop.breach)
        except InterlockError as error:
            return Failed(error.detail, "nothing_sent")

        meta = {ACTION: action} if key is None else {KEY: key, ACTION: action}
        stopping = stopping or Stopping()
        with (
            anyio.move_on_after(limit - (time.monotonic() - began)) as clock,
            stopping.heard_here(clock.cancel),
        ):
            await call.make(transport, dict(args), meta, halted)
        cut = clock.cancelled_caught and call.result is None
        expired = cut and time.monotonic() - began >= limit
        if expired:
            call.trouble = f"no answer within {limit:g} s"
        elif cut:
            call.trouble = stopping.why() or ""
        elif conversation.trouble:
            call.trouble = conversation.trouble
        if conversation.too_long:
            breach = MAX_BYTES
        broken = breach if expired or conversation.too_long else None
        # A long answer takes a while to read, which is nothing to keep everybody else waiting for.
        outcome = await asyncio.to_thread(call.outcome, secrets, broken)
        if read_only and isinstance(outcome, Unknown):
            return Failed(outcome.reason, "read_only", outcome.breach)
        return outcome

    async def _process(
        self, name: str, constraints: Constraints, conversation: Conversation
    ) -> tuple[Any, tuple[str, ...]]:
        if constraints.network_allowlist is not None:
            raise NotSent("nobody watches where a server that is started here connects", "network_allowlist")
        text = self._server(name)
        if text is None:
            raise NotSent(f"the server {visible(name, 64)} is not configured here")
        server = StdioServer.read(name, text)
        secrets = {
            variable: await authorization(self._credential, credential)
            for variable, credential in server.credentials.items()
        }
        struck = {part for value in secrets.values() for part in secrets_of(value)}
        return started(server, secrets, MAX_WIRE, conversation), tuple(sorted(struck, key=len, reverse=True))

    async def _endpoint(
        self, spec: McpExecute, constraints: Constraints, limit: float, conversation: Conversation
    ) -> tuple[Any, tuple[str, ...]]:
        url = spec.url or ""
        parts = urlsplit(url)
        where: tuple[str, ...] = ()
        if constraints.network_allowlist is not None:
            host = parts.hostname or ""
            port = parts.port or _PORTS[parts.scheme]
            where = await addresses(host, port, Allowlist.of(constraints.network_allowlist), limit)
        headers = {"user-agent": f"interlock/{version('interlock')}"}
        secrets: tuple[str, ...] = ()
        if spec.auth is not None:
            headers["authorization"] = value = await authorization(self._credential, spec.auth)
            if not value.isascii() or not value.isprintable():
                raise NotSent("the value for the header authorization is not printable ASCII")
            secrets = secrets_of(value)
        # The library logs and times in its own way; the clock is ours.
        transport = Bounded(
            url,
            MAX_WIRE,
            addresses=where,
            refused=partial(self._told, spec.auth),
            over=conversation.over,
        )
        client = httpx2.AsyncClient(transport=transport, headers=headers, trust_env=False, timeout=None)
        return _over_http(url, client), secrets

    def _told(self, name: str | None) -> None:
        if name is not None and self._refused is not None:
            self._refused(name)


@contextlib.asynccontextmanager
async def _over_http(url: str, client: httpx2.AsyncClient) -> AsyncIterator[tuple[Any, Any]]:
    async with (
        client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MAX_WIRE) as streams,
    ):
        yield streams


class _Call:
    """One call: whether it was handed over, and what came back."""

    def __init__(self, spec: McpExecute, where: str) -> None:
        self.spec = spec
        self.where = where
        self.handed_over = False
        self.result: mcp_types.CallToolResult | None = None
        self.refused: MCPError | None = None
        self.trouble = ""
        self.withheld: str | None = None

    async def make(
        self, transport: Any, args: dict[str, Any], meta: Mapping[str, str], halted: Halted | None
    ) -> None:
        """Whatever the library raises, also while it hangs up, is trouble. The result may be there."""
        params = mcp_types.CallToolRequestParams(name=self.spec.tool, arguments=args, _meta=cast(Any, meta))
        try:
            async with Client(transport, cache=None) as client:
                # Starting a server and shaking hands takes a while: the last question comes after it.
                self.withheld = None if halted is None else await halted()
                if self.withheld is not None:
                    return
                self.handed_over = True
                try:
                    # The session's own `call_tool` asks the server for schemas after the effect.
                    self.result = await client.session.send_request(
                        mcp_types.CallToolRequest(params=params), mcp_types.CallToolResult
                    )
                except MCPError as error:
                    self.refused = error
        except NotSent as stop:
            self.trouble = stop.reason
        except Exception as error:  # noqa: BLE001
            # Whatever the SDK or a transport raises, also in groups: how far it came decides (`outcome`).
            self.trouble = f"the conversation stopped with {type(error).__name__}"

    def outcome(self, secrets: tuple[str, ...], breach: str | None) -> Outcome:
        """Rule 3 of this module."""
        if not self.handed_over:
            reason = self.withheld or self.trouble or "no connection was made"
            return Failed(f"{self.where}: {reason}", "nothing_sent", breach)
        if self.result is not None:
            return self._answered(self.result, secrets)
        if self.refused is not None:
            said = strike_out(self.refused.message, secrets)
            if self.refused.code == mcp_types.PARSE_ERROR:
                # The library's words quote parts of it: half a secret is not struck out.
                said = "what it said could not be read"
            reason = f"{self.where} answered with the error {self.refused.code}: {visible(str(said), 300)}"
            if self.refused.code in self.spec.no_effect:
                return Failed(reason, "no_effect_response")
            return Unknown(f"{reason} ({self.trouble})" if self.trouble else reason, breach)
        return Unknown(f"{self.where}: {self.trouble or 'no answer'}, after the call may have left", breach)

    def _answered(self, result: mcp_types.CallToolResult, secrets: tuple[str, ...]) -> Outcome:
        try:
            # What the server says about itself is no result.
            about = {"meta", "result_type"}
            kept = result.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=about)
            content = strike_out(plain(kept), secrets)
            size = len(canonical(content))
        except InvalidInput:
            content, size = {"text": "(a result that has no canonical form)"}, 0
        if result.result_type != "complete":
            return Unknown(f"{self.where} asked for more input, which nobody is there to give")
        if result.is_error:
            said = " ".join(part.text for part in result.content if isinstance(part, mcp_types.TextContent))
            reason = f"{self.where} answered with an error: {visible(str(strike_out(said, secrets)), 300)}"
            if self.spec.error_is_no_effect:
                return Failed(reason, "no_effect_response")
            return Unknown(reason)
        if size > MAX_RESULT:
            return Unknown(f"{self.where} sent a result larger than {MAX_RESULT} bytes", MAX_BYTES)
        return Succeeded(content)
