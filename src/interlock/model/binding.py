"""Binding: the hashes that tie what was seen to what runs (promise P4).

1. `Binding` holds every field that identifies one revision of one action. Its JCS form is what the executor
   is handed; ``action_hash = SHA-256("interlock/action/v1\\0" ‖ nonce32 ‖ JCS)``. The nonce keeps a hash in
   the ledger from giving away a guessable amount.
2. ``review_hash = SHA-256("interlock/review/v1\\0" ‖ JCS)`` over everything the reviewer is shown: action
   hash, verdict, catalogue entry, constraints, probe, summary, context, expiry.
3. Both formats carry ``v``; a change of meaning is a new ``v``, never a new reading of an old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from interlock.model.canonical import Json, canonical
from interlock.model.verdicts import Verdict

VERSION = 1
NONCE_BYTES = 32
_ACTION = b"interlock/action/v1\0"
_REVIEW = b"interlock/review/v1\0"
_VERDICT = b"interlock/verdict/v1\0"
_ENTRY = b"interlock/catalogue-entry/v1\0"


@dataclass(frozen=True, slots=True)
class Binding:
    """One revision of one action, as it is hashed and as it is executed.

    `args` are canonical JSON values (money as fixed-scale strings). `executor` names who runs it:
    ``{"kind": "http"}``, ``{"kind": "caller"}`` or ``{"kind": "permitted", "name": …}``.
    """

    namespace: str
    topic: str
    args: Mapping[str, Json]
    agent: str
    principal: str | None
    parent_action: str | None
    session: str | None
    revision: int
    executor: Mapping[str, Json]
    v: int = VERSION
    _bytes: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

    def to_json(self) -> dict[str, Json]:
        return {
            "v": self.v,
            "namespace": self.namespace,
            "topic": self.topic,
            "args": self.args,
            "agent": self.agent,
            "principal": self.principal,
            "parent_action": self.parent_action,
            "session": self.session,
            "revision": self.revision,
            "executor": self.executor,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Binding:
        return cls(**value)

    def canonical(self) -> bytes:
        """The RFC 8785 bytes, made once: what is hashed is what is handed on."""
        if not self._bytes:
            self._bytes.append(canonical(self.to_json()))
        return self._bytes[0]

    def action_hash(self, nonce: bytes) -> str:
        """Hex SHA-256. `nonce` is 32 random bytes, sealed with the arguments."""
        return action_hash(nonce, self.canonical())


def action_hash(nonce: bytes, binding: bytes) -> str:
    """The action hash of a binding's canonical bytes."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce has {NONCE_BYTES} bytes")
    return hashlib.sha256(_ACTION + nonce + binding).hexdigest()


def verdict_digest(verdict: Verdict) -> str:
    return _verdict_digest(verdict.canonical())


@lru_cache(maxsize=256)
def _verdict_digest(verdict: bytes) -> str:
    """Kept: most actions of one rule have the same verdict."""
    return hashlib.sha256(_VERDICT + verdict).hexdigest()


def catalogue_digest(entry: Json) -> str:
    """Hash of the catalogue entry in canonical form; of null for a topic outside the catalogue."""
    return hashlib.sha256(_ENTRY + canonical(entry)).hexdigest()


def review_hash(
    *,
    action_hash: str,
    verdict: Verdict,
    catalogue_entry: str,
    probe: str | None,
    summary: str,
    context: Mapping[str, Json],
    expires_at: int,
) -> str:
    """Hash of what the reviewer is shown.

    Args:
        catalogue_entry: digest from `catalogue_digest`.
        probe: hash of the probed state of the world, None where nothing was probed.
        summary: the rendered title. context: the rendered package.
        expires_at: microseconds UTC at which the request ends unanswered.
    """
    shown: dict[str, Json] = {
        "v": VERSION,
        "action_hash": action_hash,
        "verdict": verdict_digest(verdict),
        "catalogue_entry": catalogue_entry,
        "constraints": verdict.constraints.to_json(),
        "probe": probe,
        "summary": summary,
        "context": context,
        "expires_at": expires_at,
    }
    return hashlib.sha256(_REVIEW + canonical(shown)).hexdigest()
