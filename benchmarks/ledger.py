"""The ledger's numbers: durable appends with the tree in the transaction, and verifying an export.

    uv run python benchmarks/ledger.py [--json] [--seconds 3] [--entries 1000000] [--no-postgres]

1. `one_caller`: one thread appends an entry to a SQLite journal again and again, each answered only after its
   commit is durable: head row read, leaf hashed into the tree, entry and head written, in one transaction.
   Beside it the floor: one connection with the same settings on the same disk that inserts the same number of
   bytes (the entry's and the frontier's) into one table and commits. They alternate in rounds of 50, so that
   a busy neighbour slows both, after both have written so much that their files no longer grow.
2. `callers`: 32 and 256 asyncio tasks of one process, and 256 threads, each appending one entry at a time and
   going on when it is durable. The head must be the entries' root afterwards.
3. `tree`: making an entry, hashing it, and extending the frontier, beside one SHA-256 over the same bytes.
4. `verify`: an export of a million entries, of allowed actions and of held ones that a person approved, read
   by the verifier in a process of its own: signature, every tile, every leaf, the root, and what the entries
   mean. The floor is one SHA-256 over every entry. `peak_mb` is the most memory that process held.
5. `postgres` is what `benchmarks/postgres.py` says, and `permits` what `benchmarks/permits.py` says.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.journal import Journal, Tx, Vault
from interlock.ledger import Frontier, Kind, Signer, TileWriter, checkpoint, entry, leaf_hash
from interlock.verify import verify_export

ORIGIN = "interlock.local/benchmark"
SPACE = "default"
HELD_EVERY = 10
WARM = 100_000
"""Entries written before one caller is measured: then the write-ahead log has its size and is used again."""
PERSON = f"per_{1:032x}"
SNAPSHOT = "v1:" + hashlib.sha256(b"policy").hexdigest()
BEGAN = 1_700_000_000_000_000
WANTED = {
    "ratio p50": 1.5,
    "per_second at 256": 30_000,
    "verified per_second": 100_000,
    "seconds for a million": 15,
    "peak_mb": 300,
}


def life(number: int) -> Iterator[bytes]:
    """The entries of one action that ran: allowed at once, or (one in ten) held and approved first."""
    at, action = BEGAN + number, f"act_{number:032x}"
    digest = hashlib.sha256(action.encode()).hexdigest()
    common: dict[str, Any] = {"action": action, "revision": 1, "action_hash": digest}
    asked: dict[str, Any] = {"approval": None, "review_hash": None}
    held = number % HELD_EVERY == 0
    if held:
        asked = {"approval": f"apr_{number:032x}", "review_hash": digest}
    yield entry(
        Kind.ACTION_PROPOSED,
        at=at,
        namespace=SPACE,
        **common,
        **asked,
        topic="bench.refunds.create",
        agent="bench",
        executor="caller",
        decision="require_approval" if held else "allow",
        rule="large" if held else "small",
        owner="finance",
        tier=3,
        policy=SNAPSHOT,
        verdict=digest,
    )
    if held:
        yield entry(
            Kind.APPROVAL_DECIDED,
            at=at,
            namespace=SPACE,
            **common,
            **asked,
            decision="approve",
            person=PERSON,
            key=None,
            reason_code=None,
            solo=False,
        )
    ran: dict[str, Any] = {**common, "epoch": 1}
    yield entry(Kind.ACTION_CLAIMED, at=at, namespace=SPACE, **ran, **asked, holder="bench", policy=SNAPSHOT)
    yield entry(
        Kind.ACTION_SETTLED, at=at, namespace=SPACE, **ran, outcome="succeeded", output=digest, applied=True
    )


def history(count: int) -> Iterator[bytes]:
    """`count` entries: a policy, a person, and lives."""
    yield entry(
        Kind.POLICY_ACTIVATED, at=BEGAN, namespace=SPACE, snapshot=SNAPSHOT, by="bench", reason="bench"
    )
    yield entry(Kind.PERSON_ADDED, at=BEGAN, namespace=SPACE, person=PERSON, roles=["reviewer"], by="bench")
    made, number = 2, 0
    while made < count:
        for body in life(number):
            if made < count:
                yield body
                made += 1
        number += 1


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# --- appending --------------------------------------------------------------------------------------------


def settled(number: int) -> dict[str, Any]:
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


def appending(number: int) -> Callable[[Tx], int]:
    content = settled(number)
    return lambda tx: tx.append(Kind.ACTION_SETTLED, **content)


class Floor:
    """The bare insert and commit, with the settings of our own connection."""

    def __init__(self, file: Path) -> None:
        self.connection = sqlite3.connect(file, isolation_level=None)
        for setting in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "cache_size=-65536",
            "wal_autocheckpoint=8000",
        ):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")

    def commit(self, *bodies: bytes) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for body in bodies:
            self.connection.execute("INSERT INTO t (body) VALUES (?)", (body,))
        self.connection.execute("COMMIT")


def appending_all(numbers: range) -> Callable[[Tx], list[int]]:
    """The transition that appends these entries."""
    batch = [settled(number) for number in numbers]
    return lambda tx: [tx.append(Kind.ACTION_SETTLED, **each) for each in batch]


def one_caller(journal: Journal, folder: Path, seconds: float) -> dict[str, Any]:
    floor = Floor(folder / "floor.db")
    for first in range(0, WARM, 1_000):
        journal.commit(appending_all(range(first, first + 1_000)))
        floor.commit(*journal.entries(first, first + 1_000))
    same = next(journal.entries()) + bytes(len(journal.head()[1].to_bytes()))
    ours: list[int] = []
    bare: list[int] = []
    end, number = time.perf_counter() + seconds, WARM
    while time.perf_counter() < end:
        for _ in range(50):
            started = time.perf_counter_ns()
            floor.commit(same)
            bare.append(time.perf_counter_ns() - started)
        for _ in range(50):
            append = appending(number)
            number += 1
            started = time.perf_counter_ns()
            journal.commit(append)
            ours.append(time.perf_counter_ns() - started)
    return {
        "bytes": len(same),
        "ours": summary(ours),
        "floor": summary(bare),
        "ratio_p50": round(statistics.median(ours) / statistics.median(bare), 2),
    }


async def tasks(journal: Journal, callers: int, seconds: float) -> dict[str, Any]:
    waits: list[int] = []
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < end:
            append = appending(number)
            number += callers
            started = time.perf_counter_ns()
            await journal.commit_async(append)
            waits.append(time.perf_counter_ns() - started)

    started = time.perf_counter()
    await asyncio.gather(*map(caller, range(callers)))
    return {"per_second": round(len(waits) / (time.perf_counter() - started)), **summary(waits)}


def threads(journal: Journal, callers: int, seconds: float) -> dict[str, Any]:
    waits: list[int] = []
    end = time.perf_counter() + seconds

    def caller(number: int) -> None:
        while time.perf_counter() < end:
            append = appending(number)
            number += callers
            started = time.perf_counter_ns()
            journal.commit(append)
            waits.append(time.perf_counter_ns() - started)

    started = time.perf_counter()
    running = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return {"per_second": round(len(waits) / (time.perf_counter() - started)), **summary(waits)}


def summary(waits: list[int]) -> dict[str, Any]:
    ordered = sorted(waits)
    return {
        "count": len(ordered),
        "p50_us": round(ordered[len(ordered) // 2] / 1000, 1),
        "p99_us": round(ordered[len(ordered) * 99 // 100] / 1000, 1),
    }


def append_numbers(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        folder = Path(scratch)
        journal = Journal.open_sqlite(folder / "journal.db", Vault(bytes(32), bytes(32)))
        try:
            alone = one_caller(journal, folder, seconds)
            many = {f"{count}_tasks": asyncio.run(tasks(journal, count, seconds)) for count in (32, 256)}
            many["256_threads"] = threads(journal, 256, seconds)
            frontier = journal.head()[1]
            if frontier != Frontier.EMPTY.appended(leaf_hash(body) for body in journal.entries()):
                raise SystemExit("the head is not the root of the entries")
        finally:
            journal.close()
    return {"one_caller": alone, "callers": many}


# --- the tree, and verifying ------------------------------------------------------------------------------


def tree_numbers(count: int) -> dict[str, Any]:
    made: list[bytes] = []
    making = seconds_of(lambda: made.extend(history(count)))
    leaves: list[bytes] = []
    hashing = seconds_of(lambda: leaves.extend(map(leaf_hash, made)))
    floor = seconds_of(lambda: [hashlib.sha256(body).digest() for body in made])
    growing = seconds_of(lambda: Frontier.EMPTY.appended(leaves))
    return {
        "entries": count,
        "entry_us": round(making / count * 1e6, 2),
        "leaf_us": round(hashing / count * 1e6, 2),
        "append_us": round(growing / count * 1e6, 2),
        "sha256_floor_us": round(floor / count * 1e6, 2),
    }


def export(folder: Path, count: int) -> dict[str, Any]:
    """Write an export of `count` entries."""
    writer, hashed = TileWriter(), 0.0
    for body in history(count):
        started = time.perf_counter()
        hashlib.sha256(body).digest()
        hashed += time.perf_counter() - started
        for path, content in writer.add(body):
            _write(folder / path, content)
    for path, content in writer.partials():
        _write(folder / path, content)
    signer = Signer(ORIGIN, Ed25519PrivateKey.generate())
    head = writer.frontier()
    _write(folder / "checkpoint", signer.sign(checkpoint(ORIGIN, head.size, head.root())).encode())
    _write(folder / "vkey", f"{signer.vkey}\n".encode())
    return {"sha256_floor_seconds": round(hashed, 2)}


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def verify(folder: Path) -> dict[str, Any]:
    """What verifying takes, in this process."""
    vkey = (folder / "vkey").read_text("utf-8").strip()
    before, busy = time.perf_counter(), time.process_time()
    report = verify_export(folder, vkey=vkey)
    took, busy = time.perf_counter() - before, time.process_time() - busy
    if not report.ok:
        raise SystemExit(f"the export does not verify: {report.problems}")
    return {
        "entries": report.size,
        "seconds": round(took, 2),
        "cpu_seconds": round(busy, 2),
        "per_second": round(report.size / took),
        "peak_mb": round(_peak_kib() / 1024),
    }


def _peak_kib() -> int:
    # The rusage of a child counts what its parent held when it was forked; the kernel's own line does not.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def verify_numbers(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        made = _child("--make", scratch, "--entries", str(count))
        return {**_child("--verify", scratch), **made}


def _child(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _other(script: str, *arguments: str) -> dict[str, Any]:
    """What another benchmark of this folder says."""
    command = [sys.executable, str(Path(__file__).with_name(script)), "--json", *arguments]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return answer


def measure(seconds: float, entries: int, *, postgres: bool) -> dict[str, Any]:
    report = {
        **append_numbers(seconds),
        "tree": tree_numbers(min(entries, 50_000)),
        "verify": verify_numbers(entries),
    }
    if postgres:
        report["postgres"] = _other("postgres.py", "--seconds", str(seconds))
    return {**report, "permits": _other("permits.py"), "wanted": WANTED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each part")
    parser.add_argument("--entries", type=int, default=1_000_000, help="how many are verified")
    parser.add_argument("--no-postgres", action="store_true", help="leave PostgreSQL out")
    parser.add_argument("--make", type=Path, metavar="DIR", help="only write an export")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="only verify an export")
    options = parser.parse_args()
    if options.make is not None:
        print(json.dumps(export(options.make, options.entries)))
        return
    if options.verify is not None:
        print(json.dumps(verify(options.verify)))
        return
    report = measure(options.seconds, options.entries, postgres=not options.no_postgres)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    alone, checked = report["one_caller"], report["verify"]
    ours, floor = alone["ours"]["p50_us"], alone["floor"]["p50_us"]
    print(f"one caller    p50 {ours} µs, floor {floor} µs: x{alone['ratio_p50']}")
    for name, part in report["callers"].items():
        print(f"{name:13} {part['per_second']} a second, p50 {part['p50_us']} µs")
    print(
        f"verify        {checked['entries']} entries in {checked['seconds']} s,"
        f" {checked['per_second']} a second, {checked['peak_mb']} MB"
    )
    if "postgres" in report:
        part = report["postgres"]["256_callers"]
        ours = part["ours"]["per_second"]
        print(f"postgres      {ours} a second at 256 callers, {part['times_naive']} times the naive way")
    permits = report["permits"]["microseconds"]
    print(f"permits       minted in {permits['mint']['p50']} µs, checked in {permits['check']['p50']} µs")
    print(f"wanted        {WANTED}")


if __name__ == "__main__":
    main()
