"""Running a gateway on an open home: over stdio for one client, or over HTTP for whoever has a key.

1. Over stdio the client is whoever started this process, under one agent's name: the embedded position. Over
   HTTP every request carries a key of the home, of an agent or an adapter, or an issuer's token for one
   (`tokens`): the key's name and its topics count.
2. Standard output belongs to the protocol. Whatever is to be said goes to standard error.
3. HTTP answers to the names it was told, and to no page of another origin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import mcp_types as types
import uvicorn
import uvloop
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import (
    AuthenticatedUser,
    BearerAuthBackend,
    RequireAuthMiddleware,
)
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route

from interlock.adapters.mcp.gateway import WAIT_SEC, Asking, Gateway
from interlock.adapters.mcp.servers import Server
from interlock.adapters.mcp.stdio import standard_streams
from interlock.client import Gate
from interlock.client.embedded import Embedded
from interlock.dispatch.credentials import Credentials
from interlock.home import Home
from interlock.identity import Caller
from interlock.model.errors import InterlockError, OutOfScope

if TYPE_CHECKING:
    from interlock.adapters.mcp.tokens import Issuer

PATH = "/mcp"


def gateway_of(
    home: Home,
    servers: tuple[Server, ...],
    asking: Callable[[Any], Asking],
    *,
    wait_sec: float = WAIT_SEC,
    several: bool | None = None,
) -> Gateway:
    """The gateway of a home. Arguments as in `Gateway`."""

    def located(ctx: Any) -> Asking:
        """Who asks; a server that came up after this process is where the links of held calls lead."""
        if home.views.console is None:
            home.views.console = home.server_url()
        return asking(ctx)

    return Gateway(
        servers,
        credentials=Credentials(home.connections),
        asking=located,
        accepted=home.tools,
        wait_sec=wait_sec,
        several=several,
    )


def over_stdio(
    home: Home,
    servers: tuple[Server, ...],
    *,
    agent: str,
    wait_sec: float = WAIT_SEC,
    several: bool | None = None,
) -> None:
    """Serve the client at this process's standard input until it ends."""
    one = Asking(Gate(Embedded(home, agent), session=None, principal=None), agent)
    gateway = gateway_of(home, servers, lambda _ctx: one, wait_sec=wait_sec, several=several)

    async def serve() -> None:
        async with gateway, standard_streams() as (heard, say):
            await gateway.server.run(heard, say, gateway.server.create_initialization_options())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


class _Keys:
    """Recognises the home's keys, and an issuer's tokens for them; keeps a gate for each agent."""

    def __init__(self, home: Home, oauth: Issuer | None = None) -> None:
        self._home = home
        self._oauth = oauth
        self._gates: dict[str, Gate] = {}
        self._callers: dict[str, Caller] = {}

    async def verify_token(self, token: str) -> AccessToken | None:
        """None for what is no key of an agent or an adapter, nor a token for one, that is valid now."""
        oauth = self._oauth
        shown = None if oauth is None or token.startswith("ilk_") else await oauth.shown(token)
        keyring = self._home.keyring
        try:
            if shown is None:
                caller = await asyncio.to_thread(keyring.authenticate, token)
            else:
                caller = await asyncio.to_thread(keyring.standing_for, shown.key)
        except InterlockError:
            return None
        if not caller.proposes or caller.key_id is None:
            return None
        self._callers[caller.key_id] = caller
        if shown is None:
            own = [] if oauth is None or oauth.trusted.scope is None else [oauth.trusted.scope]
            return AccessToken(token=token, client_id=caller.key_id, scopes=own)
        return AccessToken(
            token=token, client_id=caller.key_id, scopes=list(shown.scopes), expires_at=shown.expires_at
        )

    def asking(self, ctx: Any) -> Asking:
        """Who made the request that is being answered, and not who began its session."""
        user = None if ctx.request is None else ctx.request.scope.get("user")
        caller = (
            self._callers.get(user.access_token.client_id) if isinstance(user, AuthenticatedUser) else None
        )
        if caller is None or caller.agent is None:
            raise MCPError(code=types.INVALID_REQUEST, message="This request carries no key.")
        gate = self._gates.get(caller.agent)
        if gate is None:
            gate = Gate(Embedded(self._home, caller.agent), session=None, principal=None)
            gate = self._gates.setdefault(caller.agent, gate)

        def may(topic: str) -> bool:
            try:
                caller.check_topic(topic)
            except OutOfScope:
                return False
            return True

        return Asking(gate, f"{caller.agent}\0{caller.key_id}", may)


def http_app(
    home: Home,
    servers: tuple[Server, ...],
    *,
    hosts: tuple[str, ...],
    wait_sec: float = WAIT_SEC,
    several: bool | None = None,
    oauth: Issuer | None = None,
) -> Starlette:
    """The gateway as an ASGI application at `PATH`.

    Args:
        hosts: names, with or without ports, that it answers to.
        oauth: whose tokens count beside the home's keys; the host of its resource is answered to as well.
    """
    keys = _Keys(home, oauth)
    resource = None if oauth is None else AnyHttpUrl(oauth.trusted.resource)
    if oauth is not None:
        hosts = (*hosts, urlsplit(oauth.trusted.resource).netloc)
    gateway = gateway_of(home, servers, keys.asking, wait_sec=wait_sec, several=several)
    named = [name for host in hosts for name in (host, f"{host}:*")]
    manager = StreamableHTTPSessionManager(
        gateway.server,
        security_settings=TransportSecuritySettings(
            allowed_hosts=named,
            allowed_origins=[f"{scheme}://{name}" for name in named for scheme in ("http", "https")],
        ),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with gateway, manager.run():
            yield

    scopes = [] if oauth is None or oauth.trusted.scope is None else [oauth.trusted.scope]
    metadata = None if resource is None else build_resource_metadata_url(resource)
    guarded = RequireAuthMiddleware(StreamableHTTPASGIApp(manager), scopes, metadata)
    routes = [Route(PATH, endpoint=guarded)]
    if oauth is not None and resource is not None:
        issuer = AnyHttpUrl(oauth.trusted.issuer)
        routes += create_protected_resource_routes(resource, [issuer], scopes or None)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(keys)),
            Middleware(AuthContextMiddleware),
        ],
        lifespan=lifespan,
    )


def over_http(
    home: Home,
    servers: tuple[Server, ...],
    *,
    host: str,
    port: int,
    public_host: str | None = None,
    wait_sec: float = WAIT_SEC,
    several: bool | None = None,
    oauth: Issuer | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve `PATH` until SIGTERM or SIGINT.

    Args:
        public_host: another name that clients reach it by.
        oauth: as for `http_app`.
        on_ready: told the port once requests are accepted.
    """
    local = ("localhost", "127.0.0.1", "[::1]")
    hosts = (*local, host, *([] if public_host is None else [public_host]))
    app = http_app(home, servers, hosts=hosts, wait_sec=wait_sec, several=several, oauth=oauth)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, on_ready)
    server.run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[int], None] | None) -> None:
        super().__init__(config)
        self._tell = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started and self._tell is not None:
            self._tell(self.servers[0].sockets[0].getsockname()[1])
