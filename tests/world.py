"""A service whose state tests change: orders, read by GET, and the refunds that were made, by POST."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class World:
    """What the service says, and what it was asked.

    Attributes:
        orders: by their id. status: what every GET answers instead, if that is not 200.
        reads: the headers of each GET. effects: the body of each POST.
        before_answer: called before each GET is answered.
    """

    def __init__(self) -> None:
        self.orders: dict[str, Any] = {"A-12": {"status": "paid", "refundable": 1400, "note": "x"}}
        self.status = 200
        self.reads: list[dict[str, str]] = []
        self.effects: list[Any] = []
        self.before_answer: Any = lambda: None
        self.url = ""

    def change(self, order: str = "A-12", **fields: Any) -> None:
        self.orders[order] = {**self.orders[order], **fields}


def _handler(world: World) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            world.reads.append({name.lower(): value for name, value in self.headers.items()})
            world.before_answer()
            order = self.path.rpartition("/")[2]
            if world.status != 200:
                self.answer(world.status, {"error": "not now"})
            elif order in world.orders:
                self.answer(200, world.orders[order])
            else:
                self.answer(404, {"error": "no such order"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            world.effects.append(body)
            self.answer(201, {"refund": f"r-{len(world.effects)}"})

        def answer(self, status: int, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    return Handler


@contextmanager
def serving() -> Iterator[World]:
    """The service on a port of its own, until the block ends."""
    world = World()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(world))
    world.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
