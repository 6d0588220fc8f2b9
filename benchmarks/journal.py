"""Durable propose, next to the floor: a bare INSERT and COMMIT of the same bytes on the same disk.

    uv run python benchmarks/journal.py [--json] [--seconds 3]

1. `one_caller`: one thread proposes an allowed action again and again, in process, each answered only after
   its commit is durable. Beside it the floor: one SQLite connection (WAL, synchronous=FULL, as ours) that
   inserts the same number of bytes into one table and commits. The two alternate in short rounds, so that
   a busy neighbour slows both.
2. `async_callers`: 32 asyncio tasks propose concurrently.
3. `two_processes`: two processes propose into one file at the same time; the longest wait of either.

Each propose validates, canonicalises, hashes, decides, seals the arguments, extends the Merkle tree and
writes action, payload, request name and ledger entry. Times are microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from interlock.home import Home
from interlock.identity import embedded_caller
from interlock.model.actions import Proposal
from interlock.policy import parse

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
CALLER = embedded_caller("bench")


def proposal(name: str, number: int) -> Proposal:
    args = {"order_id": f"{name}-{number}", "amount_usd": Decimal("12.50"), "recipient": "acme"}
    return Proposal("bench.refunds.create", args)


def opened(folder: Path) -> Home:
    return Home.open(folder, policy=parse({"benchmark.yaml": POLICY}), by="benchmark")


def bytes_per_action(home: Home) -> int:
    """What one propose stores: the row's fields, sealed payload, key and entry."""
    with sqlite3.connect(home.path / "journal.db") as connection:
        total = 0
        for table in ("actions", "payloads", "entries", "idempotency"):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            size = " + ".join(f"coalesce(length(cast({name} AS BLOB)), 0)" for name in names)
            count, length = connection.execute(f"SELECT count(*), sum({size}) FROM {table}").fetchone()
            total += round(length / count)
    return total


class Floor:
    """The bare insert and commit."""

    def __init__(self, folder: Path, size: int) -> None:
        self.connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        self.body = os.urandom(size)

    def commit(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute("INSERT INTO t (body) VALUES (?)", (self.body,))
        self.connection.execute("COMMIT")


def one_caller(home: Home, folder: Path, seconds: float) -> dict[str, Any]:
    for number in range(200):
        home.gate.propose(proposal("warm", number), CALLER)
    floor = Floor(folder, bytes_per_action(home))
    ours: list[int] = []
    bare: list[int] = []
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        for _ in range(50):
            started = time.perf_counter_ns()
            floor.commit()
            bare.append(time.perf_counter_ns() - started)
        for _ in range(50):
            asked = proposal("one", number)
            number += 1
            started = time.perf_counter_ns()
            home.gate.propose(asked, CALLER)
            ours.append(time.perf_counter_ns() - started)
    return {
        "bytes": len(floor.body),
        "ours": _summary(ours),
        "floor": _summary(bare),
        "ratio_p50": round(statistics.median(ours) / statistics.median(bare), 2),
        "wanted": "ratio_p50 <= 2",
    }


async def _tasks(home: Home, callers: int, seconds: float) -> dict[str, Any]:
    waits: list[int] = []
    end = time.perf_counter() + seconds

    async def caller(task: int) -> None:
        number = 0
        while time.perf_counter() < end:
            asked = proposal(f"async-{task}", number)
            number += 1
            started = time.perf_counter_ns()
            await home.gate.propose_async(asked, CALLER)
            waits.append(time.perf_counter_ns() - started)

    started = time.perf_counter()
    await asyncio.gather(*(caller(task) for task in range(callers)))
    took = time.perf_counter() - started
    return {
        "callers": callers,
        "per_second": round(len(waits) / took),
        "wait": _summary(waits),
        "wanted": "per_second >= 10000",
    }


def _neighbour(folder: Path, name: str, seconds: float) -> dict[str, Any]:
    home = opened(folder)
    try:
        waits, number, end = [], 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            asked = proposal(name, number)
            number += 1
            started = time.perf_counter_ns()
            home.gate.propose(asked, CALLER)
            waits.append(time.perf_counter_ns() - started)
    finally:
        home.close()
    return {"per_second": round(len(waits) / seconds), "wait": _summary(waits)}


def two_processes(folder: Path, seconds: float) -> dict[str, Any]:
    opened(folder).close()
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--neighbour", str(folder), name, "--seconds", str(seconds)],
            stdout=subprocess.PIPE,
        )
        for name in ("left", "right")
    ]
    answers = [json.loads(process.communicate()[0]) for process in running]
    return {
        "processes": answers,
        "worst_wait_ms": round(max(answer["wait"]["max"] for answer in answers) / 1000, 2),
        "wanted": "worst_wait_ms <= 50",
    }


def _summary(nanoseconds: list[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {
        "n": len(ordered),
        "p50": round(ordered[len(ordered) // 2] / 1000, 1),
        "p99": round(ordered[len(ordered) * 99 // 100] / 1000, 1),
        "max": round(ordered[-1] / 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each part")
    parser.add_argument("--neighbour", nargs=2, metavar=("HOME", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.neighbour:
        print(json.dumps(_neighbour(Path(options.neighbour[0]), options.neighbour[1], options.seconds)))
        return
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        folder = Path(scratch)
        home = opened(folder / "home")
        try:
            report = {
                "one_caller": one_caller(home, folder, options.seconds),
                "async_callers": asyncio.run(_tasks(home, 32, options.seconds)),
            }
        finally:
            home.close()
        report["two_processes"] = two_processes(folder / "shared", options.seconds)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    one, many, two = report["one_caller"], report["async_callers"], report["two_processes"]
    print(
        f"one caller     ours p50 {one['ours']['p50']} µs, bare commit {one['floor']['p50']} µs"
        f" (x{one['ratio_p50']}; wanted x2)"
    )
    print(f"32 async       {many['per_second']} a second (wanted 10000), p50 {many['wait']['p50']} µs")
    print(f"two processes  worst wait {two['worst_wait_ms']} ms (wanted 50)")


if __name__ == "__main__":
    main()
