"""Cosignatures: a witness's word that a checkpoint continues all it has seen of that log.

1. A cosignature is one more signature line below a checkpoint. Ed25519 signs

       cosignature/v1
       time <seconds since 1970>
       <the checkpoint's text, with its last newline>

   and the line carries ``base64(key id ‖ time as 64 bits, big-endian ‖ signature)``.
2. The key id is that of a signed note with 4 as the algorithm's byte, so that a witness's key cannot pass for
   a log's. The signed text does not name the witness: one key is never used under two names.
3. `Witness` is what a log knows of one: it keeps only lines in that name that verify.

Source: c2sp.org/tlog-cosignature (Ed25519), c2sp.org/signed-note; RFC 8032.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from interlock.ledger.note import NOTE, checked_name

COSIGNATURE = b"\x04"
MAX_TIME = 2**63 - 1
_ID, _TIME, _SIGNATURE = 4, 8, 64
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


class UnknownAlgorithm(ValueError):
    """A verifier key that is well-formed, and not for Ed25519 cosignatures."""


class Cosigner:
    """Cosigns checkpoints under one name with one Ed25519 key.

    Raises:
        ValueError: the name is not acceptable in a note.
    """

    __slots__ = ("_id", "_key", "_public", "name")

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.name = checked_name(name)
        self._key = private_key
        self._public = COSIGNATURE + private_key.public_key().public_bytes_raw()
        self._id = _key_id(name, self._public)

    @property
    def vkey(self) -> str:
        """The verifier key that stands in trust policies; holds nothing secret."""
        return f"{self.name}+{self._id.hex()}+{b64encode(self._public).decode()}"

    def cosign(self, text: str, at: int) -> str:
        """The signature line, with its newline.

        Args:
            text: a checkpoint's text, without signatures; ends with a newline.
            at: the time, in seconds since 1970.

        Raises:
            ValueError: the time is negative or beyond `MAX_TIME`, or the text does not end with a newline.
        """
        if not 0 <= at <= MAX_TIME:
            raise ValueError("the time of a cosignature is 0 to 2^63-1 seconds")
        if not text.endswith("\n"):
            raise ValueError("the text of a checkpoint ends with a newline")
        signature = self._key.sign(_message(text, at))
        line = self._id + at.to_bytes(_TIME, "big") + signature
        return f"\N{EM DASH} {self.name} {b64encode(line).decode()}\n"


@dataclass(frozen=True, slots=True)
class Witness:
    """The public side of a `Cosigner`.

    Attributes:
        name: the key's name. id: the four bytes that label it. public: the 32-byte key.
    """

    name: str
    id: bytes
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> Witness:
        """Read a witness's verifier key.

        Raises:
            ValueError: it is none. UnknownAlgorithm: it is one, but not for Ed25519 cosignatures.
        """
        name, _, rest = vkey.partition("+")
        label, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        if data is None or not _KEY_ID.fullmatch(label):
            raise ValueError("a verifier key reads <name>+<8 hex digits>+<base64>")
        if _key_id(checked_name(name), data).hex() != label:
            raise ValueError("the verifier key's id does not belong to its name and key")
        if data[:1] == NOTE:
            raise ValueError("it is the key of a log, not of a witness")
        if data[:1] != COSIGNATURE:
            raise UnknownAlgorithm("the verifier key is not for Ed25519 cosignatures")
        if len(data) != 1 + 32:
            raise ValueError("an Ed25519 key has 32 bytes")
        return cls(name, bytes.fromhex(label), data[1:])

    def signed(self, text: str, lines: str) -> tuple[str, int] | None:
        """The newest valid cosignature of this witness on `text`, as its line and its time in seconds.

        Args:
            lines: signature lines from outside; whatever else they hold is passed over.
        """
        found: tuple[str, int] | None = None
        key = Ed25519PublicKey.from_public_bytes(self.public)
        prefix = f"\N{EM DASH} {self.name} "
        for line in lines.split("\n"):
            if not line.startswith(prefix):
                continue
            data = _decoded(line.removeprefix(prefix))
            if data is None or len(data) != _ID + _TIME + _SIGNATURE or data[:_ID] != self.id:
                continue
            at = int.from_bytes(data[_ID : _ID + _TIME], "big")
            if at > MAX_TIME or (found is not None and at <= found[1]):
                continue
            try:
                key.verify(data[_ID + _TIME :], _message(text, at))
            except InvalidSignature:
                continue
            found = f"{line}\n", at
        return found


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + public).digest()[:_ID]


def _decoded(text: str) -> bytes | None:
    """Base64 in its one canonical spelling, else None."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if b64encode(data).decode() == text else None
