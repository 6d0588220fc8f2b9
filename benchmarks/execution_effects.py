"""How soon what was decided happens, and what deaths and the kill switch do to it.

1. The outside system is an HTTP server in this process that writes down when each request arrives: its books
   decide what happened, how often.
2. `effect` approves one request at a time over HTTP, at random moments, and times from before the decision is
   sent until its effect's request arrives.
3. `restart` approves many, lets the outside system be slow, kills the server while it works, and starts it
   anew: from then until the first request of the new server. In the end every order is in the books once, or
   in doubt because it was claimed by the process that died; none twice, none lost.
4. `takeover` works on the engine alone: ten segments begun by a process of one machine (a folder of its own),
   which is killed; until the last of them has ended on another machine that had been running.
5. `kill`: four processes claim as fast as they can, this one engages the kill switch for everything. Times
   are of one clock. `last_claim_ms` is when the last claim that succeeded had returned to its caller, counted
   from before the call that stops everything.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks import execution_node
from benchmarks.execution_desk import Serving, installed, percentiles, until
from interlock.engine import enqueue
from interlock.gate import Scope
from interlock.home import Home
from interlock.journal import tables as t
from interlock.model.actions import ActionState

WANTED_EFFECT_MS = 150
WANTED_RESTART_SEC = 3.0
WANTED_TAKEOVER_SEC = 15.0
WANTED_KILL_MS = 1_000
TOPIC = "bench.hooks.post"
MANY = 60
SEGMENTS = 10
CLAIMERS = 4
CLAIMS = 8_000
NODE = str(Path(execution_node.__file__))


class Books:
    """The outside system: when each order's effect arrived."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/effects"
        self.arrived: list[tuple[str, float]] = []
        self.slow_sec = 0.0
        self._news = threading.Condition()

    def write(self, order: str) -> None:
        with self._news:
            self.arrived.append((order, time.perf_counter()))
            self._news.notify_all()

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        with self._news:
            if not self._news.wait_for(lambda: len(self.arrived) >= count, seconds):
                raise SystemExit(f"{len(self.arrived)} effects of {count} arrived within {seconds:.0f} s")


@contextmanager
def keeping() -> Iterator[Books]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            books.write(json.loads(body)["order_id"])
            time.sleep(books.slow_sec)
            with suppress(ConnectionError):  # whoever asked was killed meanwhile
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    books = Books(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield books
    finally:
        server.shutdown()
        server.server_close()


def effect(database: str, url: str | None, rounds: int) -> dict[str, Any]:
    """Rule 2."""
    with keeping() as books, installed(database, url, books.url) as desk, Serving(desk) as server:
        desk.seed(TOPIC, rounds, "effects")
        waiting = desk.waiting(TOPIC, rounds)
        server.ready()
        headers = {"authorization": f"Bearer {desk.token}"}
        waits, answers = [], []
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60) as client:
            for done, (approval, review_hash, _) in enumerate(waiting):
                time.sleep(random.random() * 0.3)
                began = time.perf_counter()
                answer = {"decision": "approve", "expected_hash": review_hash}
                client.post(f"/v1/approvals/{approval}/decisions", json=answer).raise_for_status()
                answers.append(time.perf_counter() - began)
                books.wait_for(done + 1)
                waits.append(books.arrived[done][1] - began)
        found = percentiles(waits)
        return {
            "decision_to_effect": found,
            "decision_answered": percentiles(answers),
            "wanted": {"p50_ms": WANTED_EFFECT_MS},
            "met": found["p50_ms"] <= WANTED_EFFECT_MS,
        }


def restart(database: str, url: str | None) -> dict[str, Any]:
    """Rule 3."""
    with keeping() as books, installed(database, url, books.url) as desk:
        desk.seed(TOPIC, MANY, "orders")
        waiting = desk.waiting(TOPIC, MANY)
        books.slow_sec = 2.0
        with Serving(desk) as first:
            first.ready()
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(lambda each: desk.approve(each[0], each[1]), waiting))
            books.wait_for(1)
            time.sleep(0.3)
            first.process.kill()
            first.process.wait()
            time.sleep(0.3)  # what it had sent has arrived by then
        before, books.slow_sec = len(books.arrived), 0.0
        with Serving(desk) as second:
            books.wait_for(before + 1)
            took = books.arrived[before][1] - second.began
            until(lambda: _open(desk.home) == 0, 90, "every action ended or is in doubt")
        times = Counter(order for order, _ in books.arrived)
        actions = [desk.home.views.action(action, desk.person) for _, _, action in waiting]
        states = Counter(action["state"] for action in actions)
        lost = sum(
            action["state"] != ActionState.IN_DOUBT and times[action["args"]["order_id"]] == 0
            for action in actions
        )
        return {
            "restart_to_first_segment_sec": round(took, 2),
            "orders": MANY,
            "in_the_books_before": before,
            "states": dict(states),
            "twice": sum(count > 1 for count in times.values()),
            "lost": lost,
            "wanted": {"sec": WANTED_RESTART_SEC, "twice": 0, "lost": 0},
            "met": took <= WANTED_RESTART_SEC and max(times.values()) == 1 and lost == 0,
        }


def _open(home: Home) -> int:
    """In how many states there are actions that have not ended."""
    live = (ActionState.HELD, ActionState.APPROVED, ActionState.ALLOWED, ActionState.EXECUTING)
    return sum(bool(home.views.actions(state)["items"]) for state in live)


class Node:
    """One process of `execution_node`, and what it has said."""

    def __init__(self, *arguments: str) -> None:
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, NODE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(json.loads(line) for line in self.process.stdout)

    def tell(self, said: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()

    def named(self, what: str) -> list[dict[str, Any]]:
        return [each for each in list(self.said) if what in each]

    def expect(self, what: str, count: int = 1) -> None:
        until(lambda: len(self.named(what)) >= count, 120, f"a process says “{what}”")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)


@contextmanager
def _nodes() -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def start(*arguments: str) -> Node:
        made.append(Node(*arguments))
        return made[-1]

    try:
        yield start
    finally:
        for node in made:
            node.end()


def takeover(database: str, url: str | None) -> dict[str, Any]:
    """Rule 4."""
    from benchmarks.postgres import server

    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        folder = Path(scratch)
        if database == "sqlite":
            return _taken_over(str(folder / "journal.db"), folder)
        with server(url) as place:
            return _taken_over(place, folder)


def _taken_over(place: str, folder: Path) -> dict[str, Any]:
    journal = execution_node.opened(place)
    try:
        for number in range(SEGMENTS):
            ids = {"action": f"act_{number:032x}"}
            journal.commit(lambda tx, ids=ids: enqueue(tx, execution_node.KIND, ids))  # type: ignore[misc]
        with _nodes() as start:
            first = start("engine", place, str(folder / "one"), "600")
            first.expect("began", SEGMENTS)
            second = start("engine", place, str(folder / "two"), "0")
            second.expect("up")
            time.sleep(1.0)
            died = time.monotonic()
            first.end()
            second.expect("ended", SEGMENTS)
            took = max(each["at"] for each in second.named("ended")) - died
    finally:
        journal.close()
    return {
        "segments": SEGMENTS,
        "death_to_last_segment_sec": round(took, 2),
        "wanted": {"sec": WANTED_TAKEOVER_SEC},
        "met": took <= WANTED_TAKEOVER_SEC,
    }


def kill(database: str, url: str | None) -> dict[str, Any]:
    """Rule 5."""
    with installed(database, url) as desk, _nodes() as start:
        desk.seed("bench.orders.get", CLAIMS, "claims")
        with desk.home.journal.read() as connection:
            ids = [row[0] for row in connection.execute(t.actions.select().with_only_columns(t.actions.c.id))]
        claimers = [start("claimer", str(desk.folder)) for _ in range(CLAIMERS)]
        for claimer in claimers:
            claimer.expect("up")
        for number, claimer in enumerate(claimers):
            claimer.tell(ids[number::CLAIMERS])
        for claimer in claimers:
            claimer.expect("won")
        began = time.monotonic()
        desk.home.kill_switches.engage(Scope.ALL, None, "benchmark", by="benchmark")
        returned = time.monotonic()
        for claimer in claimers:
            claimer.expect("refused")
        ends = [claimer.named("refused")[0] for claimer in claimers]
        won, refused = sum(each["won"] for each in ends), sum(each["refused"] for each in ends)
        if not refused:
            raise SystemExit(f"no race: all {won} claims succeeded before")
        last = max(0.0, *(each["last"] - began for each in ends)) * 1000
        return {
            "processes": CLAIMERS,
            "claims_won": won,
            "claims_refused": refused,
            "engaged_ms": round((returned - began) * 1000, 1),
            "last_claim_ms": round(last, 1),
            "wanted": {"last_claim_ms": WANTED_KILL_MS},
            "met": last <= WANTED_KILL_MS,
        }
