"""Checking cosignatures: who else says that a checkpoint continues all they have seen of the log.

1. A witness's key has the algorithm byte 4, so it is never taken for a log's. A key of another algorithm is
   well-formed and not known here.
2. A line that names the witness's key must verify; one that does not makes the whole note false. Lines of
   others are passed over.
3. The time in a cosignature is the witness's own, in seconds since 1970, below 2^63.

Source: c2sp.org/tlog-cosignature; RFC 8032.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from interlock.verify.note import BadNote, Note, UnknownAlgorithm, split_vkey

_ED25519 = 1
_ED25519_COSIGNATURE = 4
_LENGTH = 8 + 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """Who may cosign."""

    name: str
    id: bytes
    public: Ed25519PublicKey

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read ``<name>+<key id>+<base64>``.

        Raises:
            BadNote: it is not a verifier key. UnknownAlgorithm: not one for Ed25519 cosignatures.
        """
        name, key_id, data = split_vkey(text)
        if data[:1] == bytes([_ED25519]):
            raise BadNote("it is the key of a log, not of a witness")
        if data[:1] != bytes([_ED25519_COSIGNATURE]):
            raise UnknownAlgorithm("a witness's key is of an algorithm that is not known here")
        if len(data) != 33:
            raise BadNote("an Ed25519 key has 32 bytes")
        return cls(name, key_id, Ed25519PublicKey.from_public_bytes(data[1:]))

    def cosigned(self, note: Note) -> int | None:
        """When this witness cosigned the note, in seconds since 1970 (the latest time); None if it did not.

        Raises:
            BadNote: a line in its name is false.
        """
        times = [
            self._time(signature, note.text)
            for name, key_id, signature in note.signatures
            if (name, key_id) == (self.name, self.id)
        ]
        return max(times, default=None)

    def _time(self, signature: bytes, text: str) -> int:
        at = int.from_bytes(signature[:8], "big")
        if len(signature) != _LENGTH or at >= 2**63:
            raise BadNote(f"the cosignature of {self._told} is malformed")
        try:
            self.public.verify(signature[8:], f"cosignature/v1\ntime {at}\n{text}".encode())
        except InvalidSignature:
            raise BadNote(f"the cosignature of {self._told} does not verify") from None
        return at

    @property
    def _told(self) -> str:
        return f"{self.name}+{self.id.hex()}"
