"""Permits: minting one, and checking one as a tool does.

    uv run python benchmarks/permits.py [--json] [--rounds 2000]

1. What is measured is what a permit is made for: the claims of a refund, whose arguments the tool receives
   as JSON bytes. `mint` signs; `check` verifies the signature and every claim, reads the arguments strictly,
   makes the canonical form, hashes it and asks the store.
2. The floor beside each is what no implementation can avoid: one bare Ed25519 signature over the same bytes,
   one bare verification.
3. A step and its floor take turns, so that whatever else the machine does falls on both alike. Times are of
   one call, single-threaded; p50 and p95 over the rounds but the first tenth of them.
4. `check` uses a store in memory, since a disk's flush says nothing about this code; `check, SQLite` is the
   durable store of `interlock.permit`, with its flush.

The targets are 100 µs to mint and 200 µs to check, at p50.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from interlock.model.binding import Binding
from interlock.permit import Claims, PermitKey, SqliteStore, Store, Verifier, jwks, mint

T = TypeVar("T")
TARGETS = {"mint": 100.0, "check": 200.0}
NOW = 1_800_000_000
TOPIC = "bench.refunds.create"
ARGS: dict[str, Any] = {
    "order_id": "A-1024",
    "amount_usd": "14.00",
    "recipient": "customer-77",
    "reason": "The parcel arrived damaged.",
    "lines": [{"sku": "B-7", "count": 2}, {"sku": "C-1", "count": 1}],
}


class _Memory:
    """A store that forgets with the process: for this measurement alone."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def first(self, permit: str, until: int) -> bool:
        del until
        fresh = permit not in self._seen
        self._seen.add(permit)
        return fresh


def claims(number: int) -> Claims:
    """A permit for offline use, as a gate writes it."""
    nonce = os.urandom(32)
    binding = Binding(
        "default", TOPIC, ARGS, "support", "acme", None, "s-1", 1, {"kind": "permitted", "name": "host"}
    )
    return Claims(
        issuer="interlock.local/0123456789abcdef",
        executor="host",
        action=f"act_{number:032x}",
        permit=f"prm_{number:032x}",
        issued_at=NOW,
        expires_at=NOW + 120,
        action_hash=binding.action_hash(nonce),
        nonce=nonce,
        namespace="default",
        topic=TOPIC,
        agent="support",
        principal="acme",
        parent_action=None,
        session="s-1",
        revision=1,
        policy="v1:" + "4" * 64,
        entry=number,
        tier=2,
        offline=True,
        constraints={"max_amount_usd": "100"},
        key="5" * 64,
    )


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of each step: `p50` and `p95`."""
    key, raw = PermitKey.generate(), json.dumps(ARGS).encode()
    times: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], T]) -> T:
        begun = time.perf_counter_ns()
        found = call()
        times.setdefault(name, []).append((time.perf_counter_ns() - begun) / 1000)
        return found

    with tempfile.TemporaryDirectory() as folder:
        durable = SqliteStore(Path(folder) / "used.db")

        def verifier(store: Store) -> Verifier:
            return Verifier(
                "interlock.local/0123456789abcdef", "host", jwks([key.public]), store, lambda: NOW
            )

        memory, disk = verifier(_Memory()), verifier(durable)
        for number in range(rounds):
            said = claims(number)
            token = timed("mint", partial(mint, said, key))
            text = token.rpartition(".")[0].encode()
            signature = timed("sign", partial(key.private.sign, text))
            timed("check", partial(memory.check, token, TOPIC, raw))
            timed("verify", partial(key.public.verify, signature, text))
        for number in range(rounds // 4):
            token = mint(claims(number), key)
            timed("check, SQLite", partial(disk.check, token, TOPIC, raw))
        durable.close()
    kept = {name: sorted(found[len(found) // 10 :]) for name, found in times.items()}
    return {
        name: {"p50": statistics.median(found), "p95": found[int(len(found) * 0.95)]}
        for name, found in kept.items()
    }


def report(rounds: int) -> dict[str, Any]:
    found = measure(rounds)
    return {
        "rounds": rounds,
        "microseconds": {name: {k: round(v, 1) for k, v in row.items()} for name, row in found.items()},
        "floor": {"mint": "sign", "check": "verify", "check, SQLite": "verify"},
        "targets_p50": TARGETS,
        "met": all(found[name]["p50"] <= limit for name, limit in TARGETS.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=2_000)
    given = parser.parse_args()
    found = report(given.rounds)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    floors = found["floor"]
    for name, row in found["microseconds"].items():
        floor = f"   floor: {found['microseconds'][floors[name]]['p50']} µs" if name in floors else ""
        target = f"   target: {TARGETS[name]:.0f} µs" if name in TARGETS else ""
        print(f"{name:14} p50 {row['p50']:7.1f} µs   p95 {row['p95']:7.1f} µs{floor}{target}")


if __name__ == "__main__":
    main()
