"""The witness's process: listens, answers, and stops in good order."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from interlock.model.errors import HomeUnusable
from interlock.witness.app import create_app
from interlock.witness.folder import Folder

PORT = 8421
DRAIN_SEC = 5
_AT_ONCE = 100


def serve(
    folder: Folder,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT.

    Args:
        port: 0 takes a free one.
        on_ready: called with the submission prefix, a URL, once requests are accepted.

    Raises:
        HomeUnusable: the address cannot be listened on.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise HomeUnusable(
                f"{host}:{port} cannot be listened on: {error.strerror}.", fix="Pass another --port."
            ) from error
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(folder),
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=_AT_ONCE,
            timeout_graceful_shutdown=DRAIN_SEC,
        )
        _Server(config, lambda: on_ready(url) if on_ready is not None else None).run(sockets=[listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Tells when it listens, and ends without passing the signal on."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
