"""Readings: what a probe saw of the world at one moment.

1. There are three. *Found*: the fields that the probe compares, with their values. *Absent*: the system says
   that what was asked for is not there. *Unavailable*: nobody knows, and `reason` says why. Unavailable is
   never taken for unchanged.
2. Two readings of one revision are compared by their marks: ``SHA-256("interlock/reading/v1\\0" ‖ nonce32 ‖
   JCS{v, absent, values})`` with the nonce of the revision. Without the nonce, which is sealed with the
   arguments, a mark in the ledger gives no value away, however easy that would be to guess.
3. A reading is as old as the moment at which asking began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.model.canonical import Json, canonical

FRESH_US = 5_000_000
"""How old a reading may be when an action is claimed on it, in microseconds."""
_READING = b"interlock/reading/v1\0"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one probe saw.

    Attributes:
        read_at: when asking began, by the journal's clock: microseconds UTC.
        values: by the names of the fields that are compared; empty unless found.
        absent: the system says that it is not there.
        reason: why it is unavailable: a clause for a person, without a full stop, a secret or an argument;
            it may quote what the system answered. None where it was read.
        cursor: the field that has to equal an argument; None where none has to.
        moved: it does not.
        about: digest of what was asked; empty for one that was kept. It is not kept.
    """

    read_at: int
    values: Mapping[str, Json] = field(default_factory=dict)
    absent: bool = False
    reason: str | None = None
    cursor: str | None = None
    moved: bool = False
    about: str = ""

    @property
    def available(self) -> bool:
        return self.reason is None

    def mark(self, nonce: bytes) -> str | None:
        """Rule 2, in hexadecimal; None for what is unavailable."""
        if not self.available:
            return None
        content = canonical({"v": 1, "absent": self.absent, "values": self.values})
        return hashlib.sha256(_READING + nonce + content).hexdigest()

    def to_json(self) -> dict[str, Json]:
        return {
            "read_at": self.read_at,
            "values": self.values,
            "absent": self.absent,
            "reason": self.reason,
            "cursor": self.cursor,
            "moved": self.moved,
        }

    def with_cursor(self, field_name: str, *, moved: bool) -> Reading:
        """The same reading, with whether a field equals the argument that it has to equal."""
        return replace(self, cursor=field_name, moved=moved)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reading:
        return cls(**value)
