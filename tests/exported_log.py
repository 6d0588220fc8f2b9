"""Exports for the tests of replay: read apart, changed, and signed anew, as whoever holds the key can."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.ledger import Kind, Signer, TileWriter, checkpoint, entry
from interlock.model.binding import Binding, verdict_digest
from interlock.model.canonical import canonical
from interlock.model.verdicts import Verdict
from interlock.policy import Policy, Question, commitment, document_of, held_after_edit, held_as_stale

ORIGIN = "interlock.example/ledger"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PERSON = "per_" + "1" * 32
Entry = dict[str, Any]


def entries_of(directory: Path) -> list[Entry]:
    """The entries of an export, in order."""
    found: list[Entry] = []
    size = int((directory / "checkpoint").read_text(encoding="utf-8").split("\n")[1])
    for start in range(0, size, 256):
        width = min(256, size - start)
        assert start < 256_000, "three digits are enough here"
        name = f"{start // 256:03}" + ("" if width == 256 else f".p/{width}")
        raw = (directory / "tile/entries" / name).read_bytes()
        while raw:
            end = 2 + int.from_bytes(raw[:2])
            found.append(json.loads(raw[2:end]))
            raw = raw[end:]
    return found


def sign(directory: Path, entries: Iterable[Entry | bytes]) -> None:
    """Make an export of these entries, in the place of the one that is there."""
    shutil.rmtree(directory / "tile", ignore_errors=True)
    writer = TileWriter()
    files: dict[str, bytes] = {}
    for each in entries:
        files.update(writer.add(each if isinstance(each, bytes) else canonical(each)))
    files.update(writer.partials())
    note = SIGNER.sign(checkpoint(ORIGIN, writer.size, writer.frontier().root()))
    files |= {"checkpoint": note.encode(), "vkey": f"{SIGNER.vkey}\n".encode()}
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def change(directory: Path, which: Callable[[Entry], bool], **fields: Any) -> int:
    """Change the first entry that is meant, and sign all anew; returns its number."""
    entries = entries_of(directory)
    number = next(number for number, each in enumerate(entries) if which(each))
    entries[number] |= fields
    sign(directory, entries)
    return number


def lines_of(directory: Path) -> list[Entry]:
    text = (directory / "inputs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def write_lines(directory: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    (directory / "inputs.jsonl").write_bytes(b"".join(canonical(dict(line)) + b"\n" for line in lines))


class Log:
    """A log that is written by hand, one action after the other, under one policy at a time."""

    def __init__(self, policy: Policy) -> None:
        self.entries: list[bytes] = []
        self.lines: list[Entry] = []
        self.policies: dict[str, bytes] = {}
        self._questions: dict[str, tuple[Question, bytes, int, Verdict]] = {}
        self._requests: dict[str, Entry] = {}
        self._hashes: dict[str, str] = {}
        self.activate(policy)

    def activate(self, policy: Policy) -> None:
        previous = self.policy.snapshot if self.policies else None
        self.policy = policy
        self.policies[policy.snapshot] = policy.canonical()
        self.add(Kind.POLICY_ACTIVATED, snapshot=policy.snapshot, previous=previous, by="x", reason="x")

    def add(self, kind: Kind, **fields: Any) -> None:
        self.entries.append(entry(kind, **{"at": len(self.entries), "namespace": "default", **fields}))

    def propose(self, question: Question, **forged: Any) -> str:
        """An action; returns its id. `forged` are fields that the entry states otherwise."""
        action = f"act_{len(self.entries):032x}"
        self._open(Kind.ACTION_PROPOSED, action, 1, question, self.policy.decide(question), {}, forged)
        return action

    def edit(self, action: str, question: Question, **forged: Any) -> None:
        _, _, revision, was = self._questions[action]
        now = self.policy.decide(question)
        held = held_after_edit(now, was)
        request = self._requests[action]
        if not any(b'"person.added"' in raw for raw in self.entries):
            self.add(Kind.PERSON_ADDED, person=PERSON, by="x", roles=["reviewer"])
        about = {"action": action, "revision": revision, "decision": "edit", "person": PERSON}
        self.add(Kind.APPROVAL_DECIDED, **about, **request, action_hash=self._hashes[action], solo=False)
        marks = {"supersedes": request["approval"], "person": PERSON}
        if held is not now:
            marks["held_by"] = "gate"
        self._open(Kind.ACTION_EDITED, action, revision + 1, question, held, marks, forged)

    def again(self, action: str, **forged: Any) -> None:
        """What the gate writes about an open action when the policy has become another."""
        question, nonce, revision, was = self._questions[action]
        now = self.policy.decide(question)
        tighter = now.tighter_than(was)
        kind = Kind.ACTION_STALE if tighter else Kind.ACTION_REDECIDED
        about = {"action": action, "revision": revision, "inputs": commitment(nonce, document_of(question))}
        self.add(kind, **{**about, "was": "held", **_told(now), **forged})
        if tighter:
            held = held_as_stale(now, was)
            marks = {} if held is now else {"held_by": "gate"}
            marks |= {"action_hash": self._hashes[action], **self._request(action, held)}
            self.add(Kind.ACTION_REDECIDED, **{**about, "was": "stale", **_told(held), **marks, **forged})
            self._questions[action] = question, nonce, revision, held

    def claim(self, action: str, **fields: Any) -> None:
        """The action runs, under the policy in force."""
        revision = self._questions[action][2]
        about = {"action": action, "revision": revision, "action_hash": self._hashes[action], "epoch": 1}
        self.add(Kind.ACTION_CLAIMED, **{**about, "holder": "x", "policy": self.policy.snapshot, **fields})

    def _open(
        self,
        kind: Kind,
        action: str,
        revision: int,
        question: Question,
        verdict: Verdict,
        marks: Entry,
        forged: Entry,
    ) -> None:
        nonce = sha256(f"{action} {revision}".encode()).digest()
        binding = Binding(
            namespace="default",
            topic=question.topic,
            args=question.args,
            agent="support",
            principal=None,
            parent_action=None,
            session=None,
            revision=revision,
            executor={"kind": "caller"},
        )
        document = document_of(question)
        fields = {
            "action": action,
            "revision": revision,
            "topic": question.topic,
            "agent": "support",
            "executor": "caller",
            "action_hash": binding.action_hash(nonce),
            "inputs": commitment(nonce, document),
            **_told(verdict),
            **({} if "decision" in forged else self._request(action, verdict)),
        }
        self._hashes[action] = binding.action_hash(nonce)
        self.add(kind, **{**fields, **marks, **forged})
        line = {"action": action, "revision": revision, "nonce": nonce.hex()}
        self.lines.append({**line, "binding": binding.to_json(), "inputs": document})
        self._questions[action] = question, nonce, revision, verdict

    def _request(self, action: str, verdict: Verdict) -> Entry:
        """The approval request about a held action."""
        if not verdict.held:
            return {}
        approval = f"apr_{len(self.entries):032x}"
        self._requests[action] = {"approval": approval, "review_hash": sha256(approval.encode()).hexdigest()}
        return self._requests[action]

    def write(self, directory: Path) -> Path:
        sign(directory, self.entries)
        write_lines(directory, self.lines)
        (directory / "policies").mkdir(exist_ok=True)
        for snapshot, document in self.policies.items():
            (directory / "policies" / f"{snapshot[3:]}.json").write_bytes(document)
        return directory


def _told(verdict: Verdict) -> Entry:
    told = {
        "decision": verdict.decision.value,
        "rule": verdict.rule,
        "tier": None if verdict.tier is None else int(verdict.tier),
        "policy": verdict.snapshot,
        "verdict": verdict_digest(verdict),
        "owner": verdict.owner,
    }
    return told if verdict.observed is None else {**told, "observed": verdict.observed.value}


def without_tier(question: Question) -> Question:
    """The question as a real action asks it: nothing assumes a tier for it."""
    return replace(question, tier=None)
