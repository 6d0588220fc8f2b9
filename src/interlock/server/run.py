"""The server process: opens the home, listens, and stops in good order."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn

from interlock.home import Home, read_policy
from interlock.model.errors import HomeUnusable
from interlock.server.app import create_app
from interlock.server.security import LOCAL

PORT = 8420
DRAIN_SEC = 5
_log = logging.getLogger(__name__)


def serve(
    home: Path,
    policy: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    public_url: str | None = None,
    public_ledger: bool = False,
    activate: bool = False,
    database: str | None = None,
    on_ready: Callable[[Home, str], None] | None = None,
) -> None:
    """Serve one home until SIGTERM or SIGINT.

    Args:
        policy: a policy file or directory; None serves the one in force.
        public_url: how browsers reach this server, if not by `host` and `port`.
        public_ledger: show the ledger's entries and its policies to everybody.
        activate: put `policy` in force where another one is.
        database: URL of the PostgreSQL database that holds the journal, if it is not the home's own.
        on_ready: called with the open home and the console's URL once requests are accepted.

    Raises:
        HomeUnusable: the port is taken, or the home cannot be used. PolicyError, PolicyNotActive.
    """
    loaded = None if policy is None else read_policy(policy)
    listener = _listen(host, port)
    opened = Home.open(home, policy=loaded, activate=activate, by="serve", database=database, recovering=True)
    try:
        if opened.recovery.required is None:
            opened.gate.policy  # noqa: B018 (a home without a policy cannot decide anything: say so now)
        url = public_url or f"http://{'localhost' if host in LOCAL else host}:{listener.getsockname()[1]}"
        hosts = {*LOCAL, host, urlsplit(url).hostname or host}
        server: _Server

        def failed(_error: BaseException) -> None:
            server.failed = True
            server.should_exit = True

        def ready() -> None:
            opened.announce(url)
            if on_ready is not None:
                on_ready(opened, url)

        config = uvicorn.Config(
            create_app(
                opened,
                hosts=hosts,
                public_url=url if public_url or host not in LOCAL else None,
                public_ledger=public_ledger,
                failed=failed,
            ),
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SEC,
        )
        server = _Server(config, ready)
        server.run(sockets=[listener])
        if server.failed:
            raise HomeUnusable("The server stopped because its background work failed; see the log above.")
    finally:
        listener.close()
        opened.retire()
        opened.close()


class _Server(uvicorn.Server):
    """Tells when it listens, and lets live streams end before it waits for them."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.failed = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's, but without raising the signal again afterwards: the home still has to be closed."""
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            collect_less()
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        stop = getattr(getattr(app, "state", None), "stop", None)
        if stop is not None:
            stop.set()
        await super().shutdown(sockets)


def collect_less() -> None:
    """Look for cyclic garbage less often, and not among what was loaded when the process started.

    A request leaves next to none; looking for it costs about a tenth of what a proposal costs.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise HomeUnusable(
                f"Port {port} on {host} is taken.", fix="Stop what listens there, or pass --port."
            ) from None
        raise HomeUnusable(f"{host}:{port} cannot be listened on: {error.strerror}.") from error
    return listener
