"""What a crowd of waiting requests costs: memory, idle CPU, the inbox, decisions and the sweep of deadlines.

1. The same installation is measured empty, then with `pending` requests held. Memory is the server's resident
   set and CPU its own time, both from `/proc`, after it has published the ledger and served an inbox.
2. A sweep is `Gatekeeper.sweep` in this process, with 100 requests due, beside 1,000 others and beside all of
   them; no server runs meanwhile, which would take them away.
3. The inbox is `GET /v1/approvals` with a person's key, its first page, again and again on one connection;
   a decision page is `GET /v1/approvals/{id}`, of one request of that page after the other.
4. Decisions are made by 32 threads, each approving another request under its review hash.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.execution_desk import Installation, Serving, installed, percentiles
from benchmarks.http_load import cpu_sec

WANTED = {
    "resident MB more": 50,
    "idle CPU points more": 2.0,
    "inbox p99 ms": 20,
    "decisions per second": 1_000,
    "sweep, times": 2.0,
}
FEW = 1_000
DUE = 100
SWEEPS = 5
PAGES = 500
THREADS = 32
SETTLE_SEC = 3.0
TOPIC = "bench.refunds.create"
SOON = "bench.fleeting.drop"


def measure(database: str, url: str | None, pending: int, idle_sec: float) -> dict[str, Any]:
    with installed(database, url) as desk:
        empty = _served(desk, idle_sec)
        few = min(FEW, pending)
        desk.seed(TOPIC, few, "first")
        sweep_few = _sweep(desk, "few")
        began = time.perf_counter()
        desk.seed(TOPIC, pending - few, "all the others")
        seeded = (pending - few) / max(time.perf_counter() - began, 1e-9)
        sweep_all = _sweep(desk, "all")
        desk.home.publisher.publish()
        full = _served(desk, idle_sec)
        decided = _decide(desk, min(3_000, pending))
        more_mb = full["resident_mb"] - empty["resident_mb"]
        more_cpu = full["idle_cpu_percent"] - empty["idle_cpu_percent"]
        times = sweep_all / sweep_few
        return {
            "pending": pending,
            "seeded_per_second": round(seeded),
            "none": empty,
            "all": full,
            "resident_mb_more": round(more_mb, 1),
            "idle_cpu_points_more": round(more_cpu, 2),
            "decisions_per_second": round(decided),
            "sweep_ms": {"few": round(sweep_few * 1000, 1), "all": round(sweep_all * 1000, 1)},
            "sweep_times": round(times, 2),
            "wanted": WANTED,
            "met": {
                "resident": more_mb <= WANTED["resident MB more"],
                "idle": more_cpu <= WANTED["idle CPU points more"],
                "inbox": full["inbox"]["p99_ms"] <= WANTED["inbox p99 ms"],
                "decide": decided >= WANTED["decisions per second"],
                "sweep": times <= WANTED["sweep, times"],
            },
        }


def _served(desk: Installation, idle_sec: float) -> dict[str, Any]:
    """Rules 1 and 3."""
    with Serving(desk) as server:
        server.ready()
        headers = {"authorization": f"Bearer {desk.token}"}
        waits: list[float] = []
        opened: list[float] = []
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60) as client:
            for _ in range(PAGES):
                began = time.perf_counter()
                answer = client.get("/v1/approvals")
                waits.append(time.perf_counter() - began)
                answer.raise_for_status()
            listed = [item["id"] for item in answer.json()["items"]]
            for number in range(PAGES if listed else 0):
                began = time.perf_counter()
                answer = client.get(f"/v1/approvals/{listed[number % len(listed)]}")
                opened.append(time.perf_counter() - began)
                answer.raise_for_status()
        time.sleep(SETTLE_SEC)
        before = cpu_sec(server.process.pid)
        time.sleep(idle_sec)
        spent = cpu_sec(server.process.pid) - before
        return {
            "resident_mb": round(_resident_mb(server.process.pid), 1),
            "idle_cpu_percent": round(100 * spent / idle_sec, 2),
            "inbox": percentiles(waits),
            **({"decision_page": percentiles(opened)} if opened else {}),
        }


def _resident_mb(pid: int) -> float:
    """Not a number where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _sweep(desk: Installation, name: str) -> float:
    """Rule 2: the median of some sweeps, in seconds."""
    found = []
    for number in range(SWEEPS):
        desk.home.gate.sweep()
        desk.seed(SOON, DUE, f"due, {name} {number}")
        time.sleep(1.1)
        began = time.perf_counter()
        done = desk.home.gate.sweep()
        found.append(time.perf_counter() - began)
        if done != DUE:
            raise SystemExit(f"the sweep ended {done} requests of {DUE}")
    return statistics.median(found)


def _decide(desk: Installation, count: int) -> float:
    """Rule 4: decisions a second."""
    waiting = desk.waiting(TOPIC, count)
    with ThreadPoolExecutor(THREADS) as threads:
        began = time.perf_counter()
        list(threads.map(lambda each: desk.approve(each[0], each[1]), waiting))
        return len(waiting) / (time.perf_counter() - began)
