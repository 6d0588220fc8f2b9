"""The ledger: appending to the tree, making an entry, and verifying an export.

    uv run python benchmarks/ledger.py [--json] [--entries 50000]

The floor beside each is what no implementation can avoid: one SHA-256 over the bytes of an entry.
The export is made of proposed, claimed and settled actions, so that the verifier checks their meaning too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.ledger import Frontier, Kind, Signer, TileWriter, checkpoint, entry, leaf_hash
from interlock.verify import verify_export

LIFE = 3


def life(number: int) -> list[bytes]:
    """The three entries of an allowed action that ran."""
    at, action = 1_700_000_000_000_000 + number, f"act_{number:032x}"
    digest = hashlib.sha256(action.encode()).hexdigest()
    common: dict[str, Any] = {"action": action, "revision": 1, "action_hash": digest}
    return [
        entry(
            Kind.ACTION_PROPOSED,
            at=at,
            namespace="default",
            **common,
            topic="bench.refunds.create",
            agent="bench",
            decision="allow",
            rule="small",
            tier=3,
            policy="v1:" + digest,
            verdict=digest,
            approval=None,
            review_hash=None,
        ),
        entry(
            Kind.ACTION_CLAIMED,
            at=at,
            namespace="default",
            **common,
            epoch=1,
            holder="bench",
            approval=None,
            review_hash=None,
        ),
        entry(
            Kind.ACTION_SETTLED,
            at=at,
            namespace="default",
            **common,
            epoch=1,
            outcome="succeeded",
            output=digest,
            applied=True,
        ),
    ]


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def export(folder: Path, entries: list[bytes]) -> None:
    writer = TileWriter()
    files = [file for body in entries for file in writer.add(body)]
    for path, content in (*files, *writer.partials()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    signer = Signer("interlock.local/benchmark", Ed25519PrivateKey.generate())
    head = writer.frontier()
    note = signer.sign(checkpoint("interlock.local/benchmark", head.size, head.root()))
    (folder / "checkpoint").write_text(note, encoding="utf-8")
    (folder / "vkey").write_text(signer.vkey + "\n", encoding="utf-8")


def measure(count: int) -> dict[str, Any]:
    made: list[bytes] = []
    making = seconds(lambda: made.extend(e for n in range(count // LIFE) for e in life(n)))
    leaves: list[bytes] = []
    hashing = seconds(lambda: leaves.extend(map(leaf_hash, made)))
    floor = seconds(lambda: [hashlib.sha256(body).digest() for body in made])
    appending = seconds(lambda: Frontier.EMPTY.appended(leaves))
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        export(Path(scratch), made)
        started = time.perf_counter()
        report = verify_export(Path(scratch))
        verifying = time.perf_counter() - started
    if not report.ok:
        raise SystemExit(f"the export does not verify: {report.problems}")
    total = len(made)
    return {
        "entries": total,
        "entry_us": round(making / total * 1e6, 2),
        "leaf_us": round(hashing / total * 1e6, 2),
        "sha256_floor_us": round(floor / total * 1e6, 2),
        "append_us": round(appending / total * 1e6, 2),
        "verify_per_second": round(total / verifying),
        "sha256_floor_per_second": round(total / floor),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--entries", type=int, default=50_000, help="how many entries")
    options = parser.parse_args()
    report = measure(options.entries)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for name, value in report.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
