"""The link to a held call, offered to the user of a client that opens links (URL elicitation).

1. It is a convenience: what the client answers decides nothing. Where somebody opens the link the call is
   waited for as long as a call may be, and otherwise as long as without one.
2. A client of 2026-07-28 is answered with a request for input, and calls again; an older one is asked while
   its call waits.
3. It is offered once for each call, and not where no console is known, or the client takes tasks.

Source: Model Context Protocol, "Elicitation" and "Multi Round-Trip Requests".
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from interlock.adapters.mcp import tasks
from interlock.client import Held

ASKED = "interlock_link"


class Waiting:
    """For how long one call is waited for, and the link that is offered meanwhile.

    Args:
        params: of the call; None where no link is offered.
        wait_sec: how long without a link. longest_sec: how long for somebody who opens it.
    """

    def __init__(
        self, ctx: Any, params: types.CallToolRequestParams | None, wait_sec: float, longest_sec: float
    ) -> None:
        self._ctx = ctx
        self._longest_sec = longest_sec
        said = (None if params is None else params.input_responses) or {}
        self._may_offer = params is not None and not said and _opens(ctx) and not tasks.wanted(ctx)
        if _opened(said.get(ASKED)):
            wait_sec = longest_sec
        self._until = self._at_least = time.monotonic() + wait_sec
        self._asking: asyncio.Task[None] | None = None

    @property
    def left(self) -> float:
        """Seconds; not positive where it is over."""
        return self._until - time.monotonic()

    def offer(self, held: Held) -> types.InputRequiredResult | None:
        """Offer the link of what is held, if that is to be done now; with an answer, the call ends by it."""
        url = held.action["approval"].get("url")
        if url is None or not self._may_offer:
            return None
        self._may_offer = False
        params = types.ElicitRequestURLParams(message=held.detail, url=url, elicitation_id=held.action_id)
        if self._ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return types.InputRequiredResult(input_requests={ASKED: types.ElicitRequest(params=params)})
        self._until = max(self._until, time.monotonic() + self._longest_sec)
        self._asking = asyncio.create_task(self._ask(params))
        return None

    async def _ask(self, params: types.ElicitRequestURLParams) -> None:
        """Ask an older client. Whatever keeps it from asking its user is a no."""
        said: types.ElicitResult | None = None
        with contextlib.suppress(MCPError):
            said = await self._ctx.session.elicit_url(
                params.message, params.url, params.elicitation_id, self._ctx.request_id
            )
        if not _opened(said):
            self._until = self._at_least

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """Nobody is asked any more after the call."""
        try:
            yield
        finally:
            if self._asking is not None:
                self._asking.cancel()


def _opens(ctx: Any) -> bool:
    """Whether the client that asks opens links for its user."""
    capabilities = ctx.session.client_capabilities
    elicitation = None if capabilities is None else capabilities.elicitation
    return elicitation is not None and elicitation.url is not None


def _opened(said: Any) -> bool:
    return isinstance(said, types.ElicitResult) and said.action == "accept"
