"""A service downstream, in a process of its own, with books of its own that outlive whatever happens here.

    python tests/fault_service.py books.db

It writes down each call before it answers, and kills whoever it was told to kill while that one waits for the
answer. Under ``/mail`` it answers a repeated key with its first answer; elsewhere it does what it is asked as
often as it is asked.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def policy(port: int) -> str:
    """The policy of an installation that calls it, with a person and without one."""
    url = f"http://127.0.0.1:{port}"
    return f"""
interlock: 1
name: faults
actions:
  shop.note:
    tier: 2
    args: {{n: string}}
    undo: shop.note
    undo_within: 5m
    execute: {{http: {{method: POST, url: "{url}/note/{{args.n}}"}}}}
  shop.call:
    tier: 2
    args: {{n: string}}
    undo: shop.call
    undo_within: 5m
    execute: {{caller: {{}}}}
  shop.pay:
    tier: 3
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{url}/pay/{{args.n}}"}}}}
  shop.mail:
    tier: 3
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{url}/mail/{{args.n}}", idempotent: {{retention: 1h}}}}}}
rules:
  - {{id: notes, match: {{topics: [shop.note]}}, decision: allow}}
  - id: people
    match: {{topics: [shop.pay, shop.mail]}}
    decision: require_approval
    lane: {{window: 1h, on_timeout: deny}}
"""


class Service:
    """The service, as whoever started it sees it."""

    def __init__(self, folder: Path) -> None:
        self.books = folder / "books.db"
        with sqlite3.connect(self.books) as books:
            books.execute("PRAGMA journal_mode=WAL")
            books.execute("CREATE TABLE calls (path TEXT, key TEXT, pid INTEGER)")
            books.execute("CREATE TABLE deadly (path TEXT PRIMARY KEY, pid INTEGER)")
            books.execute("CREATE TABLE slow (seconds REAL)")
        books.close()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.books)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def _read(self, statement: str) -> list[Any]:
        books = sqlite3.connect(self.books, timeout=30)
        try:
            return books.execute(statement).fetchall()
        finally:
            books.close()

    def calls(self) -> Counter[str]:
        """How often each path was called."""
        return Counter(path for (path,) in self._read("SELECT path FROM calls"))

    def effects(self) -> Counter[str]:
        """How often each path had an effect: under a known key ``/mail`` answers what it answered before."""
        rows = self._read("SELECT path, key FROM calls")
        known = {(path, key) for path, key in rows if path.startswith("/mail/")}
        return Counter(path for path, _ in known) + Counter(
            path for path, _ in rows if not path.startswith("/mail/")
        )

    def slow(self, seconds: float) -> None:
        """Let it take so long to answer from now on."""
        books = sqlite3.connect(self.books, timeout=30)
        with books:
            books.execute("DELETE FROM slow")
            books.execute("INSERT INTO slow VALUES (?)", (seconds,))
        books.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def serve(place: str) -> None:
    """The process of the service."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            key = self.headers.get("idempotency-key", "")
            books = sqlite3.connect(place, timeout=30)
            with books:
                books.execute("INSERT INTO calls VALUES (?, ?, 0)", (self.path, key))
                found = books.execute("SELECT pid FROM deadly WHERE path = ?", (self.path,)).fetchone()
                books.execute("DELETE FROM deadly WHERE path = ?", (self.path,))
                slow = books.execute("SELECT seconds FROM slow").fetchone()
            books.close()
            if found is not None:
                os.kill(found[0], signal.SIGKILL)
                return
            time.sleep(slow[0] if slow else 0)
            with suppress(OSError):  # whoever asked may be gone
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
