"""Ledgers made by hand, for tests of the verifier: entries of every kind, and exports of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.ledger import Kind, Signer, TileWriter, checkpoint, entry
from interlock.verify import Report

ORIGIN = "interlock.example/ledger"


def signer(number: int = 1, name: str = ORIGIN) -> Signer:
    """A key that is always the same."""
    return Signer(name, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


SIGNER = signer()
OTHER = signer(2)
DIGEST = "ab" * 32
REVIEW = "cd" * 32
PROBE, READING = "9a" * 32, "9b" * 32
SNAPSHOT = f"v1:{DIGEST}"
AGENT = "key_" + "1" * 32
SESSION = "ses_" + "1" * 32
ANN, BOB, EVE = ("per_" + letter * 32 for letter in "abe")
ROLES = ["auditor", "operator", "policy-admin", "reviewer"]


def act(number: int = 1) -> str:
    return f"act_{number:032x}"


def apr(number: int = 1) -> str:
    return f"apr_{number:032x}"


def prm(number: int = 1) -> str:
    return f"prm_{number:032x}"


ABOUT: dict[str, Any] = {"action": act(), "revision": 1}
RULED: dict[str, Any] = {"rule": "r", "policy": SNAPSHOT, "verdict": DIGEST, "owner": "ops-approvers"}
REPORTED: dict[str, Any] = {**ABOUT, "epoch": 1, "outcome": "succeeded", "action_hash": DIGEST}
MADE: dict[str, dict[str, Any]] = {
    "policy.activated": {"snapshot": SNAPSHOT, "previous": None, "by": "test", "reason": "start"},
    "action.proposed": {
        **ABOUT,
        **RULED,
        "action_hash": DIGEST,
        "decision": "allow",
        "tier": 2,
        "topic": "pay.refund",
        "agent": "support",
        "executor": "caller",
        "key": None,
        "request": None,
    },
    "action.edited": {
        **ABOUT,
        **RULED,
        "revision": 2,
        "action_hash": "ee" * 32,
        "decision": "require_approval",
        "topic": "pay.refund",
        "agent": "support",
        "executor": "caller",
        "approval": apr(2),
        "review_hash": "ef" * 32,
        "supersedes": apr(),
        "person": ANN,
    },
    "action.redecided": {**ABOUT, **RULED, "was": "held", "decision": "require_approval"},
    "action.stale": {**ABOUT, **RULED, "was": "held", "decision": "deny"},
    "approval.decided": {
        **ABOUT,
        "approval": apr(),
        "action_hash": DIGEST,
        "review_hash": REVIEW,
        "decision": "approve",
        "person": ANN,
        "key": None,
        "reason_code": None,
        "solo": False,
    },
    "approval.escalated": {**ABOUT, "approval": apr(), "owner": "ops-approvers"},
    "approval.unanswered": {
        **ABOUT,
        "approval": apr(),
        "action_hash": DIGEST,
        "review_hash": REVIEW,
        "expires_at": 9_000,
    },
    "approval.probed": {
        **ABOUT,
        "approval": apr(),
        "action_hash": DIGEST,
        "probe": PROBE,
        "reading": READING,
        "read_at": 0,
        "review_hash": "ba" * 32,
    },
    "action.claimed": {**ABOUT, "epoch": 1, "holder": "h", "action_hash": DIGEST, "policy": SNAPSHOT},
    "action.settled": {**REPORTED, "output": DIGEST, "applied": True},
    "action.in_doubt": {**REPORTED, "outcome": "in_doubt", "output": None, "applied": True},
    "action.reconciled": {
        **ABOUT,
        "epoch": 1,
        "outcome": "succeeded",
        "person": ANN,
        "key": None,
        "note": DIGEST,
    },
    "action.late_report": {**REPORTED, "output": DIGEST, "applied": True},
    "action.expired": {**ABOUT, "was": "held", "approval": None},
    "action.withdrawn": {**ABOUT, "was": "held", "agent": "support", "key": None},
    "action.revoked": {**ABOUT, "was": "approved", "person": ANN, "key": None},
    "constraint.breached": {**ABOUT, "epoch": 1, "constraint": "max_rows"},
    "idempotency.conflict": {"action": act(), "agent": "support", "key": None},
    "key.added": {"key": AGENT, "key_kind": "agent", "topics": ["**"], "person": None, "by": "test"},
    "key.revoked": {"key": AGENT, "by": "test"},
    "person.added": {"person": ANN, "roles": ROLES, "by": "test"},
    "person.removed": {"person": ANN, "by": "test"},
    "link.issued": {"link": "lnk_" + "1" * 32, "person": ANN},
    "link.redeemed": {"link": "lnk_" + "1" * 32, "person": ANN},
    "passkey.revoked": {"passkey": "psk_" + "1" * 32, "person": ANN, "by": ANN},
    "permit.minted": {
        **ABOUT,
        "permit": prm(),
        "action_hash": DIGEST,
        "executor": "payments",
        "policy": SNAPSHOT,
        "offline": False,
        "kid": "abc",
        "key": None,
    },
    "session.opened": {"session": SESSION, "agent": "support", "content": DIGEST, "key": None},
    "session.recorded": {"session": SESSION, "number": 1, "what": "turn", "content": DIGEST, "key": None},
    "session.ended": {"session": SESSION, "key": None},
    "tool.accepted": {"topic": "github.create_issue", "tool": DIGEST, "by": "test"},
    "subject.erased": {"subject": DIGEST, "by": ANN, "payloads": 3},
    "ledger.pruned": {"before": 0, "by": ANN},
}
"""One entry of each kind, as a plain life has it."""


def of(kind: str, **fields: Any) -> dict[str, Any]:
    """An entry of a kind, as `MADE` has it but for these fields; a field `...` is left out."""
    made = {"kind": kind, **MADE.get(kind, {}), **fields}
    return {name: value for name, value in made.items() if value is not ...}


def written(entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The bytes of entries; each one's `at` is its number unless it says otherwise."""
    for number, each in enumerate(entries):
        fields = {"at": number, "namespace": "default", **each}
        yield entry(Kind(fields.pop("kind")), **fields)


START = (of("policy.activated"), of("person.added"), of("person.added", person=BOB))


def lives(count: int) -> Iterator[bytes]:
    """So many entries: a policy, then actions that are proposed and allowed, claimed, and settled."""
    kinds = ("action.proposed", "action.claimed", "action.settled")
    yield from written(
        of(kinds[(number - 1) % 3], action=act((number - 1) // 3)) if number else of("policy.activated")
        for number in range(count)
    )


def export(directory: Path, entries: Iterable[bytes], by: Signer = SIGNER, *also: Signer) -> str:
    """Write an export as the product does, and return its signed checkpoint."""
    writer = TileWriter()
    files: dict[str, bytes] = {}
    for each in entries:
        files.update(writer.add(each))
    files.update(writer.partials())
    note = note_of(writer.size, writer.frontier().root(), by, *also)
    files |= {"checkpoint": note.encode(), "vkey": f"{by.vkey}\n".encode()}
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return note


def note_of(size: int, root: bytes, by: Signer, *also: Signer) -> str:
    """A checkpoint of the log that `by` signs for, signed by all of these."""
    text = checkpoint(by.name, size, root)
    lines = "".join(each.sign(text).split("\n\n", 1)[1] for each in (by, *also))
    return f"{text}\n{lines}"


def root_of(entries: Iterable[bytes]) -> tuple[int, bytes]:
    """Size and root of a log of these entries."""
    writer = TileWriter()
    for each in entries:
        writer.add(each)
    return writer.size, writer.frontier().root()


def told(report: Report) -> str:
    return " | ".join(f"{problem.where}: {problem.what}" for problem in report.problems)


def failed(report: Report) -> bool:
    return not report.ok and not report.cannot_check and bool(report.problems)
