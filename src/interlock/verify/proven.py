"""Verifying a proof file, offline: one entry in the log, or one checkpoint continuing another.

1. The checkpoint in the file is judged as that of an export is: signed by the key the auditor trusts, with
   the key's name as its origin, and, with a policy, cosigned by a quorum. Without a key nothing can be
   checked: a proof brings none of its own.
2. Of inclusion: the entry, from the file or from the auditor, leads to the checkpoint's root. What it says is
   shown; whether it was allowed, only a whole export tells.
3. Of consistency: the older checkpoint that the auditor kept, signed by the same log, is the beginning.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from interlock.verify import proof
from interlock.verify.entry import BadEntry, NotKnown, read_entry
from interlock.verify.note import BadNote, Checkpoint, Key, Note, UnknownAlgorithm
from interlock.verify.proof import BadProof
from interlock.verify.quorum import check_listed, check_quorum, key_of, read_policy
from interlock.verify.report import Findings, Problem, shown
from interlock.verify.trust import Trust

_FILE = "the proof"
_HELD = "the checkpoint you hold"


@dataclass(frozen=True, slots=True)
class Proven:
    """The result for one proof.

    Attributes:
        ok: every check was made and held.
        cannot_check: nothing failed, but not everything could be checked.
        origin, size, root: what the checkpoint says; no more than a claim where `ok` is false.
        index, entry: of a proof of inclusion; the entry as JSON values, None where it is of a later version.
        old: of a proof of consistency, the size of the older log.
        cosigned: with a policy, which of its witnesses cosigned, and when, in seconds since 1970.
        problems: as in `Report`.
    """

    ok: bool
    cannot_check: bool
    origin: str
    size: int
    root: str
    index: int | None
    entry: dict[str, Any] | None
    old: int | None
    cosigned: dict[str, int]
    problems: tuple[Problem, ...]


def verify_proof(
    raw: bytes,
    *,
    vkey: str | None = None,
    policy: bytes | None = None,
    since: str | None = None,
    entry: bytes | None = None,
) -> Proven:
    """Check a proof. Nothing that is wrong with it raises; it is in the result.

    Args:
        raw: the file: a tlog-proof, or an ``add-checkpoint`` body.
        vkey: the log's verifier key. Needed unless the policy lists logs.
        policy: a trust policy (tlog-policy); its quorum must have cosigned.
        since: for a proof of consistency, the older signed checkpoint.
        entry: for a proof of inclusion, the entry's bytes; those in the file by default.
    """
    check = _Check(Findings(), vkey, policy)
    if raw.startswith(b"old "):
        return check.consistency(raw, since)
    return check.inclusion(raw, entry)


class _Check:
    """One verification under way."""

    def __init__(self, findings: Findings, vkey: str | None, policy: bytes | None) -> None:
        self._findings = findings
        self._vkey = vkey
        self._trust: Trust | None = read_policy(policy, findings)
        self._cosigned: dict[str, int] = {}

    def inclusion(self, raw: bytes, given: bytes | None) -> Proven:
        try:
            read = proof.read_inclusion(raw)
        except BadProof as error:
            self._findings.failed(_FILE, str(error))
            return self._result(None)
        checkpoint, _ = self._signed(read.note)
        body = read.extra if given is None else given
        if body is None:
            self._findings.unchecked(_FILE, "it does not carry the entry; give it")
            return self._result(checkpoint, index=read.index)
        if checkpoint is not None:
            try:
                proof.check_inclusion(body, read.index, checkpoint.size, read.hashes, checkpoint.root)
            except BadProof as error:
                self._findings.failed(_FILE, str(error))
        return self._result(checkpoint, index=read.index, entry=self._read(body))

    def consistency(self, raw: bytes, since: str | None) -> Proven:
        try:
            read = proof.read_consistency(raw)
        except BadProof as error:
            self._findings.failed(_FILE, str(error))
            return self._result(None)
        checkpoint, key = self._signed(read.note)
        if since is None:
            self._findings.unchecked(_HELD, "without it, this proves nothing")
        elif checkpoint is not None:
            self._continues(checkpoint, read, since, key)
        return self._result(checkpoint, old=read.old)

    def _continues(self, new: Checkpoint, read: proof.Consistency, since: str, key: Key | None) -> None:
        try:
            note = Note.parse(since.encode("utf-8", "replace"))
            held = note.checkpoint()
            if key is not None:
                note.check_signed_by(key)
            if held.origin != new.origin:
                raise BadNote("it is of another log")
            if held.size != read.old:
                raise BadNote(f"it counts {held.size} entries, and the proof starts from {read.old}")
        except BadNote as error:
            self._findings.failed(_HELD, str(error))
            return
        try:
            proof.check_consistency(held.size, held.root, new.size, new.root, read.hashes)
        except BadProof as error:
            self._findings.failed(_FILE, str(error))

    def _signed(self, raw: bytes) -> tuple[Checkpoint | None, Key | None]:
        """The checkpoint of the file, its signatures judged, and the key that signed it."""
        try:
            note = Note.parse(raw)
            checkpoint = note.checkpoint()
        except BadNote as error:
            self._findings.failed(_FILE, str(error))
            return None, None
        key = self._key(raw)
        if key is not None:
            try:
                note.check_signed_by(key)
                if checkpoint.origin != key.name:
                    raise BadNote("its origin is not the name of the key")
            except BadNote as error:
                self._findings.failed(_FILE, str(error))
        if self._trust is not None:
            self._cosigned = check_quorum(self._trust, raw, self._findings, _FILE)
        return checkpoint, key

    def _key(self, raw: bytes) -> Key | None:
        trust = self._trust
        if self._vkey is None:
            if trust is not None and (trust.logs or trust.unknown_logs):
                return key_of(trust, raw, self._findings, _FILE)
            self._findings.unchecked(_FILE, "without the log's verifier key no signature can be checked")
            return None
        try:
            key = Key.parse(self._vkey.strip())
        except BadNote as error:
            self._findings.failed("the key you gave", str(error))
            return None
        except UnknownAlgorithm as error:
            self._findings.unchecked("the key you gave", str(error))
            return None
        if trust is not None:
            check_listed(trust, key, self._findings)
        return key

    def _read(self, body: bytes) -> dict[str, Any] | None:
        try:
            return read_entry(body)
        except NotKnown as error:
            self._findings.unchecked("the entry", str(error))
        except BadEntry as error:
            self._findings.failed("the entry", str(error))
        return None

    def _result(
        self,
        checkpoint: Checkpoint | None,
        *,
        index: int | None = None,
        entry: dict[str, Any] | None = None,
        old: int | None = None,
    ) -> Proven:
        problems = self._findings.problems()
        return Proven(
            ok=not problems,
            cannot_check=self._findings.cannot_check,
            origin=shown(checkpoint.origin) if checkpoint else "",
            size=checkpoint.size if checkpoint else 0,
            root=b64encode(checkpoint.root).decode() if checkpoint else "",
            index=index,
            entry=entry,
            old=old,
            cosigned=self._cosigned,
            problems=problems,
        )
