"""A service downstream that keeps its own books, and homes whose actions it carries out.

The service runs in the test's process and the servers in theirs, so its books are an account from outside:
what was asked for, under which idempotency key, how often. It answers after `slow_sec`.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from interlock.home import Home
from interlock.identity import KeyKind
from server_process import ServerProcess, opened


class Shop:
    """The service: each path that was asked for, in order, and the keys that came with it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.slow_sec = 0.0
        self.answering = threading.Event()
        """While it is not set, whoever asks waits for an answer."""
        self.answering.set()
        books = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                books.asked.append(self.path)
                books.keys.append(self.headers.get("idempotency-key", ""))
                time.sleep(books.slow_sec)
                books.answering.wait(60)
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def times(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(self.asked)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def policy(shop: Shop, *, retention: str = "") -> str:
    """Two topics of the shop: one that is allowed, one that waits for a person."""
    idempotent = f", idempotent: {{retention: {retention}}}" if retention else ""
    url = f"http://127.0.0.1:{shop.port}"
    return f"""\
interlock: 1
name: shop
people: team
actions:
  shop.note:
    tier: 2
    args: {{n: string}}
    undo: shop.note
    undo_within: 5m
    execute: {{http: {{method: POST, url: "{url}/note/{{args.n}}"{idempotent}}}}}
  shop.pay:
    tier: 3
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{url}/pay/{{args.n}}"{idempotent}}}}}
rules:
  - {{id: notes, match: {{topics: [shop.note]}}, decision: allow}}
  - id: pay
    match: {{topics: [shop.pay]}}
    decision: require_approval
    lane: {{window: 1h, on_timeout: deny}}
"""


class Nodes:
    """Servers of one home, and whoever calls them. On PostgreSQL each is a host of its own."""

    def __init__(self, folder: Path, shop: Shop, text: str, url: str | None) -> None:
        self.folder, self.shop, self.url = folder, shop, url
        self.home = folder / "home"
        self.options = [] if url is None else ["--database", url]
        self._file = folder / "policy.yaml"
        self._file.write_text(text, encoding="utf-8")
        with self.inside() as home:
            person = home.roster.first("Ana", by="tests")
            other = home.roster.add("Ben", by="tests")
            _, self.agent = home.keyring.add(KeyKind.AGENT, "agent", topics=["shop.**"], by="tests")
            _, self.ana = home.keyring.add(KeyKind.PERSON, "Ana", person=person, by="tests")
            _, self.ben = home.keyring.add(KeyKind.PERSON, "Ben", person=other, by="tests")
        self.running: list[ServerProcess] = []
        self._number = 0

    @contextmanager
    def inside(self) -> Iterator[Home]:
        """The home, open in this process, where nothing is carried out."""
        if self.url is None:
            with opened(self.home, self._file) as home:
                yield home
            return
        from interlock.home import read_policy

        home = Home.open(self.home, policy=read_policy(self._file), by="tests", database=self.url)
        try:
            yield home
        finally:
            home.close()

    def serve(self) -> ServerProcess:
        """One more server; on a file it shares the folder, on PostgreSQL it has a copy of the home."""
        place = self.home
        if self.url is not None:
            self._number += 1
            place = self.folder / f"host{self._number}"
            place.mkdir(mode=0o700)
            shutil.copytree(self.home / "keystore", place / "keystore")
            shutil.copy2(self.home / "home.json", place / "home.json")
        server = ServerProcess(place, self._file, options=self.options)
        server.start()
        self.running.append(server)
        return server

    def call(self, server: ServerProcess, key: str, method: str, path: str, **body: Any) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.request(
            method, server.url + path, headers=headers, json=body or None, trust_env=False, timeout=60
        )
        assert answer.is_success, answer.text
        return answer.json()

    def propose(self, server: ServerProcess, topic: str, n: str) -> str:
        found = self.call(server, self.agent, "POST", "/v1/actions", topic=topic, args={"n": n})
        return str(found["id"])

    def approve(self, server: ServerProcess, action: str) -> None:
        request = self.call(server, self.ana, "GET", f"/v1/approvals/{action}")
        self.call(
            server,
            self.ana,
            "POST",
            f"/v1/approvals/{request['id']}/decisions",
            decision="approve",
            expected_hash=request["review_hash"],
        )

    def states(self, server: ServerProcess, actions: list[str]) -> list[str]:
        return [self.call(server, self.ana, "GET", f"/v1/actions/{one}")["state"] for one in actions]

    def close(self) -> None:
        for server in self.running:
            if server.process is not None and server.process.poll() is None:
                server.kill()
