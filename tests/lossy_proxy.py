"""A proxy that carries requests to a server and, where it is told to, loses the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class LossyProxy:
    """Loses the next `lose` answers of requests whose path ends with `path`, after the server gave them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.path = ""
        self.lose = 0
        self.requests: list[str] = []
        self._lock = threading.Lock()
        proxy = self

        class Carry(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._carry(b"")

            def do_POST(self) -> None:
                self._carry(self.rfile.read(int(self.headers.get("content-length", "0"))))

            def _carry(self, body: bytes) -> None:
                headers = {
                    n: v for n, v in self.headers.items() if n.lower() not in ("host", "content-length")
                }
                with httpx.Client(trust_env=False, timeout=60) as client:
                    answer = client.request(
                        self.command, proxy.target + self.path, content=body, headers=headers
                    )
                if proxy.loses(self.path):
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers["content-type"])
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Carry)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def loses(self, path: str) -> bool:
        with self._lock:
            self.requests.append(path)
            if self.lose > 0 and path.split("?")[0].endswith(self.path):
                self.lose -= 1
                return True
            return False

    def losing(self, path: str, number: int = 1) -> None:
        self.path, self.lose = path, number

    def serve(self) -> None:
        self._server.serve_forever()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def lossy(target: str) -> Iterator[LossyProxy]:
    proxy = LossyProxy(target)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
