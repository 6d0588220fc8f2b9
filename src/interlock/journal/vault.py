"""What the database holds but must neither read nor forge.

1. Content that is about nobody is sealed with AES-256-GCM under the home's own key; the name of its row is
   bound in as associated data, so a sealed value cannot be moved to another row. What is about somebody is
   sealed under that subject's key (`subjects.py`).
2. Rows the gate trusts carry a keyed BLAKE2b over their kind and fields, written so that no two lists of
   fields share bytes. `check` compares in constant time and raises `Tampered`. No field is a fraction: JSON
   has no infinity, and would write null for it.
3. Both keys come from a keystore outside the database and never enter it. The key that wraps subjects' keys,
   where nothing else wraps them, is derived from the sealing key.

Sources: NIST SP 800-38D (GCM, 96-bit random nonces: far below 2^32 seals for one key), RFC 7693 (BLAKE2b,
keyed hashing), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from interlock.model.errors import Tampered

KEY_BYTES = 32
NONCE_BYTES = 12
_WRAPPING = b"interlock/subject-wrapping/v1"


def _bytes(value: bytes) -> dict[str, str]:
    return {"bytes": value.hex()}


@dataclass(frozen=True)
class Vault:
    """Two 32-byte keys: one seals payloads, one authenticates rows. Neither is shown by `repr`."""

    sealing_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    _aead: AESGCM = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.sealing_key) != KEY_BYTES or len(self.mac_key) != KEY_BYTES:
            raise ValueError(f"vault keys have {KEY_BYTES} bytes")
        object.__setattr__(self, "_aead", AESGCM(self.sealing_key))

    def seal(self, row: str, content: bytes) -> bytes:
        """Nonce and ciphertext of `content`, valid only for the row named `row`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, content, row.encode())

    def open(self, row: str, sealed: bytes) -> bytes:
        """Raises `Tampered` where the bytes were not sealed by this vault for this row."""
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.encode())
        except (InvalidTag, ValueError) as error:
            raise Tampered(f"The payload of {row} does not open with this home's key.") from error

    def mac(self, kind: str, *fields: str | int | bytes | None) -> bytes:
        """The authenticator of a trusted row."""
        # JSON of such a list is injective; bytes, which JSON lacks, become an object that no field can be.
        message = orjson.dumps((kind, *fields), default=_bytes)
        return hashlib.blake2b(message, key=self.mac_key, digest_size=32).digest()

    def check(self, mac: bytes | None, kind: str, *fields: str | int | bytes | None) -> None:
        """Raises `Tampered` unless `mac` is what `mac(kind, *fields)` gives."""
        if (
            not isinstance(mac, bytes)
            or float in map(type, fields)
            or not hmac.compare_digest(mac, self.mac(kind, *fields))
        ):
            raise Tampered(f"The row of this {kind} does not carry the mark this home gave it.")

    def subject(self, namespace: str, name: str) -> str:
        """The id of a subject: a keyed hash, which does not tell the name to whoever lacks the key."""
        return self.mac("subject", namespace, name).hex()

    def wrapping_key(self) -> bytes:
        """32 bytes that wrap subjects' keys and do nothing else."""
        return HKDF(SHA256(), KEY_BYTES, None, _WRAPPING).derive(self.sealing_key)
