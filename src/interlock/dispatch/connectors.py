"""The connectors together: what any serving process can carry out, each loaded where it is first used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib import import_module
from urllib.parse import urlsplit

from interlock.dispatch.credentials import Credential, Refused
from interlock.dispatch.http import ENFORCED as HTTP
from interlock.dispatch.http import HttpConnector
from interlock.dispatch.outcome import Failed, Outcome
from interlock.dispatch.sql import ENFORCED as SQL
from interlock.dispatch.sql import SqlConnector
from interlock.dispatch.stopping import Halted, Stopping
from interlock.model.actions import ExecutorKind
from interlock.model.canonical import Json
from interlock.model.verdicts import Constraints
from interlock.policy import DispatchedExecute, HttpExecute, SqlExecute

ENFORCES: Mapping[ExecutorKind, frozenset[str]] = {
    ExecutorKind.HTTP: HTTP,
    ExecutorKind.SQL: SQL,
    # A server that is started here cannot be held to an allowlist: its connector refuses to start it then.
    ExecutorKind.MCP: frozenset({"max_runtime_sec", "network_allowlist", "max_amount_usd"}),
}
"""The constraints that each kind of dispatched action is held to."""


def destination(spec: DispatchedExecute) -> str:
    """Whose time an action takes: the host and port, the database, or the server that this machine starts."""
    if isinstance(spec, SqlExecute):
        return spec.database
    url = spec.url if isinstance(spec, HttpExecute) else spec.server or spec.url or ""
    return urlsplit(url).netloc.lower() or url


class Connectors:
    """One `send` for every way the server executes.

    Args:
        credential: the whole value for a credential's name, asked for at each execution.
        server: the text of an MCP server's file by its name.
        refused: told the name of a credential that a service answered 401 to.
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
        self._http = HttpConnector(credential, refused=refused)
        self._sql = SqlConnector(credential)

    async def send(
        self,
        spec: DispatchedExecute,
        args: Mapping[str, Json],
        constraints: Constraints,
        *,
        key: str | None,
        action: str,
        amount_usd: Decimal | None = None,
        read_only: bool = False,
        halted: Halted | None = None,
        stopping: Stopping | None = None,
    ) -> Outcome:
        """Make one attempt and say what became of it. Arguments as in `HttpConnector.send`.

        Args:
            stopping: ends what is under way, where that ends something (`interlock.dispatch.stopping`).
        """
        if isinstance(spec, HttpExecute):
            return await self._http.send(
                spec,
                args,
                constraints,
                key=key,
                action=action,
                amount_usd=amount_usd,
                read_only=read_only,
                halted=halted,
            )
        if not isinstance(spec, SqlExecute):
            # The library takes a second to load: a second in which others go on.
            await asyncio.to_thread(import_module, "interlock.dispatch.mcp")
        reason = None if halted is None else await halted()
        if reason is not None:
            return Failed(reason, "nothing_sent")
        if isinstance(spec, SqlExecute):
            return await self._sql.send(
                spec, args, constraints, amount_usd=amount_usd, halted=halted, stopping=stopping
            )
        from interlock.dispatch.mcp import McpConnector

        return await McpConnector(self._credential, self._server, self._refused).send(
            spec,
            args,
            constraints,
            key=key,
            action=action,
            amount_usd=amount_usd,
            read_only=read_only,
            halted=halted,
            stopping=stopping,
        )

    async def aclose(self) -> None:
        """Refuse what comes from now on over HTTP; the others hold nothing between two calls."""
        await self._http.aclose()
