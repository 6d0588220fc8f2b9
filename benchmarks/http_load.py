"""`POST /v1/actions` next to an empty POST with the same Pydantic body, in the same server process.

    uv run python benchmarks/http.py [--json] [--seconds 2] [--rounds 7] [--connections 32]

1. The server is one process as `interlock serve` runs it: the application of `create_app` with everything
   beside it (publisher, sweeps, engine), uvicorn with uvloop and httptools, and ready before anything is
   measured. Only here does it get one more route, `POST /empty`: FastAPI reads and validates the very model
   of `POST /v1/actions`, inside the same perimeter, and answers `{}`. No key, no policy, no database; and its
   route is the first one tried.
2. `actions` is a proposal that the policy allows and that its own caller is to run: authenticated, decided,
   sealed, recorded with its ledger entry in a durable transaction, and answered with the action's view. Every
   one has arguments of its own. Both routes get the same bytes.
3. The load is made by another process: raw sockets and prepared requests, each connection sending the next
   request when the answer has arrived. Whatever is not 201 ends the benchmark.
4. The routes take turns, each in rounds of `--seconds`, after rounds that warm both up. Figures are medians
   over the rounds; `min` and `max` say how far rounds lay apart. Throughput is at `--connections`, added p50
   at one.
5. `cpu_ms` is what the server process spent for one request, all its threads together, where the system tells
   (`/proc`): it does not depend on who else runs.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, cast

WANTED = {"throughput of the empty POST": 0.55, "added p50 ms": 1.0}
KEY = "bench-agent"
HEADROOM_SEC = 60
POLICY = """
interlock: 1
name: benchmark
actions:
  bench.refunds.create:
    tier: 3
    risk_tags: [money]
    args:
      order_id: string
      amount_usd: {type: decimal, scale: 2, currency: USD}
      recipient: string
    roles: {amount: amount_usd, recipient: recipient}
    summary: Refund ${args.amount_usd} to {args.recipient} for order {args.order_id}
rules:
  - id: small
    match: {topics: [bench.refunds.create]}
    when: args.amount_usd < 100
    decision: allow
"""

# --- the server --------------------------------------------------------------------------------------------


def serve(folder: Path, profile: Path | None) -> None:
    """One server on a new home; prints its port and an agent's key when it accepts requests."""
    import uvicorn

    from interlock.home import Home
    from interlock.identity import KeyKind
    from interlock.policy import parse
    from interlock.server import create_app
    from interlock.server.bodies import ProposeBody
    from interlock.server.run import collect_less

    home = Home.open(folder, policy=parse({"benchmark.yaml": POLICY}), by="benchmark")
    _, token = home.keyring.add(KeyKind.AGENT, KEY, topics=("bench.**",), by="benchmark")
    app = create_app(home)

    async def empty(body: Any) -> dict[str, str]:
        del body
        return {}

    empty.__annotations__["body"] = (
        ProposeBody  # by value: a name that this module lacks says nothing to FastAPI
    )
    app.add_api_route("/empty", empty, methods=["POST"], status_code=201, include_in_schema=False)
    app.router.routes.insert(
        0, app.router.routes.pop()
    )  # routes are tried in order: nothing stands before it

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            del sig, frame
            self.should_exit = True  # and no more: uvicorn's own raises the signal again, past what follows

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            collect_less()
            [listening] = [s for server in self.servers for s in server.sockets]
            print(json.dumps({"port": listening.getsockname()[1], "token": token}), flush=True)

    options: dict[str, Any] = {"ws": "none", "access_log": False, "log_config": None, "server_header": False}
    server = Server(uvicorn.Config(app, port=0, loop="uvloop", http="httptools", **options))
    profiler = None if profile is None else cProfile.Profile()
    try:
        if profiler is not None:
            profiler.enable()
        server.run()
    finally:
        if profiler is not None and profile is not None:
            profiler.disable()
            profiler.dump_stats(profile)
        home.close()


# --- the load ----------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """Sends request after request on one connection until the time is over; keeps each answer's delay."""

    def __init__(self, head: bytes, name: str, until: float, done: asyncio.Future[None]) -> None:
        self._head, self._name, self._until, self._done = head, name, until, done
        self._number = 0
        self._buffer = b""
        self._began = 0.0
        self.waits: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one without saying so
        self._send()

    def _send(self) -> None:
        args = {"order_id": f"{self._name}-{self._number}", "amount_usd": "12.50", "recipient": "acme"}
        body = json.dumps({"topic": "bench.refunds.create", "args": args}).encode()
        self._number += 1
        self._began = time.perf_counter()
        self._transport.write(self._head % len(body) + body)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self.waits.append(time.perf_counter() - self._began)
        self._buffer = b""
        if not head.startswith(b"HTTP/1.1 201"):
            self._done.set_exception(SystemExit(f"not 201: {head!r} {body!r}"))
            self._transport.close()
        elif time.perf_counter() >= self._until:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._done.done():
            return
        if error is not None or self._buffer:
            self._done.set_exception(SystemExit(f"the connection broke: {error}"))
        else:
            self._done.set_result(None)


async def round_of(port: int, token: str, path: str, name: str, connections: int, seconds: float) -> Any:
    """Requests a second, and the delays' p50, p99."""
    loop = asyncio.get_running_loop()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer {token}\r\n"
        "content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    ).encode()
    began = time.perf_counter()
    protocols, ends = [], []
    for number in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        protocol = Connection(head, f"{name}-{number}", began + seconds, done)
        await loop.create_connection(lambda protocol=protocol: protocol, "127.0.0.1", port)  # type: ignore[misc]
        protocols.append(protocol)
        ends.append(done)
    await asyncio.gather(*ends)
    took = time.perf_counter() - began
    waits = sorted(wait for protocol in protocols for wait in protocol.waits)
    return {
        "requests": len(waits),
        "per_second": len(waits) / took,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
    }


def load() -> None:
    """Answers each line of arguments for `round_of` with a line of results."""
    import uvloop

    for line in sys.stdin:
        print(json.dumps(uvloop.run(round_of(**json.loads(line)))), flush=True)


# --- the comparison ----------------------------------------------------------------------------------------

PATHS = {"empty": "/empty", "actions": "/v1/actions"}


def spawned(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(stream: IO[str] | None) -> Any:
    assert stream is not None
    text = stream.readline()
    if not text:
        raise SystemExit("a process of the benchmark ended early")
    return json.loads(text)


def _ready(port: int) -> None:
    """Wait until the server's engine has started, which takes seconds of a processor."""
    give_up = time.monotonic() + HEADROOM_SEC
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > give_up:
                raise
        time.sleep(0.1)


def cpu_sec(pid: int) -> float:
    """What a process has spent so far; not a number where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compared(rounds: int, seconds: float, connections: int, profile: Path | None) -> dict[str, Any]:
    """Both routes in turns: medians over rounds, at `connections` and at one."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        kept = [] if profile is None else ["--profile", str(profile)]
        server = spawned("--serve", str(Path(scratch) / "home"), *kept)
        generator = spawned("--load")
        try:
            assert generator.stdin is not None
            place = _line(server.stdout)
            _ready(place["port"])
            # Two rounds warm up: the routes, the policy's memo, the database's file and its pages in memory.
            for number in range(-2, rounds):
                for many in (connections, 1):
                    for route, path in PATHS.items():
                        asked = {**place, "path": path, "name": f"{route}-{many}-{number}"}
                        asked |= {"connections": many, "seconds": seconds}
                        before = cpu_sec(server.pid)
                        generator.stdin.write(json.dumps(asked) + "\n")
                        generator.stdin.flush()
                        answer = _line(generator.stdout)
                        answer["cpu_ms"] = (cpu_sec(server.pid) - before) * 1000 / answer["requests"]
                        if number >= 0:
                            found.setdefault((route, many), []).append(answer)
        finally:
            server.terminate()
            server.wait(HEADROOM_SEC)
            generator.kill()
            generator.wait()
    return {
        "throughput": {route: _medians(found[route, connections]) for route in PATHS},
        "one_connection": {route: _medians(found[route, 1]) for route in PATHS},
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    rates = [each["per_second"] for each in rounds]
    return {
        "per_second": round(statistics.median(rates)),
        "min": round(min(rates)),
        "max": round(max(rates)),
        "p50_ms": round(statistics.median(each["p50_ms"] for each in rounds), 3),
        "p99_ms": round(statistics.median(each["p99_ms"] for each in rounds), 3),
        "cpu_ms": round(statistics.median(each["cpu_ms"] for each in rounds), 3),
    }


def report(found: dict[str, Any], connections: int) -> dict[str, Any]:
    many, one = found["throughput"], found["one_connection"]
    share = many["actions"]["per_second"] / many["empty"]["per_second"]
    added = one["actions"]["p50_ms"] - one["empty"]["p50_ms"]
    return {
        "connections": connections,
        **found,
        "share_of_empty": round(share, 3),
        "added_p50_ms": round(added, 3),
        "wanted": WANTED,
        "met": share >= WANTED["throughput of the empty POST"] and added <= WANTED["added p50 ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each round of each route")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count")
    parser.add_argument("--connections", type=int, default=32, help="connections at the same time")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile the server's event loop")
    parser.add_argument("--serve", type=Path, metavar="HOME", help=argparse.SUPPRESS)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.profile)
        return
    if options.load:
        load()
        return
    found = compared(options.rounds, options.seconds, options.connections, options.profile)
    told = report(found, options.connections)
    if options.json:
        print(json.dumps(told, indent=2))
        return
    for route in PATHS:
        many, one = told["throughput"][route], told["one_connection"][route]
        print(
            f"{route:8} {many['per_second']:6} a second at {options.connections} connections"
            f" (rounds {many['min']} to {many['max']}), p50 {many['p50_ms']} ms, {many['cpu_ms']} ms of CPU;"
            f" one connection p50 {one['p50_ms']} ms"
        )
    print(
        f"actions  {told['share_of_empty']:.0%} of the empty POST (wanted 55 %),"
        f" added p50 {told['added_p50_ms']} ms (wanted 1)"
    )


if __name__ == "__main__":
    main()
