"""The keys that sign permits, and how they are published.

A key is named by its RFC 7638 thumbprint. A key set (RFC 7517) that spells another name beside a key is
refused: whoever chooses names freely could pass off one key as another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from interlock.permit.claims import decode, encode
from interlock.permit.errors import MalformedPermit

PublicKeys: TypeAlias = Mapping[str, Ed25519PublicKey]
"""Public keys by thumbprint."""

ALGORITHM = "EdDSA"
TYPE = "interlock-permit+jwt"


class PermitKey:
    """A private key with its name. Neither the key nor its bytes are shown by `repr`.

    Attributes:
        header: the first part of every permit that it signs.
    """

    __slots__ = ("header", "kid", "private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.private = private
        self.public = private.public_key()
        self.kid = thumbprint(self.public)
        members = {"alg": ALGORITHM, "kid": self.kid, "typ": TYPE}
        self.header = encode(json.dumps(members, separators=(",", ":")).encode())

    @classmethod
    def generate(cls) -> PermitKey:
        return cls(Ed25519PrivateKey.generate())

    def __repr__(self) -> str:
        return f"PermitKey({self.kid})"


def thumbprint(key: Ed25519PublicKey) -> str:
    """The name of a key: RFC 7638 over the members of RFC 8037, base64url."""
    document = f'{{"crv":"Ed25519","kty":"OKP","x":"{_x(key)}"}}'
    return encode(hashlib.sha256(document.encode()).digest()).decode()


def jwks(keys: Iterable[Ed25519PublicKey]) -> dict[str, Any]:
    """The key set document of `/.well-known/jwks.json`."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": _x(key),
                "kid": thumbprint(key),
                "alg": ALGORITHM,
                "use": "sig",
            }
            for key in keys
        ]
    }


def read_jwks(document: Mapping[str, Any]) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 keys of a key set, by thumbprint; keys of other kinds are left out.

    Raises:
        ValueError: the document is no key set, or a key is not named by its thumbprint.
    """
    found: dict[str, Ed25519PublicKey] = {}
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("a key set has a list of keys")
    for item in listed:
        if not isinstance(item, Mapping) or (item.get("kty"), item.get("crv")) != ("OKP", "Ed25519"):
            continue
        try:
            key = Ed25519PublicKey.from_public_bytes(decode(str(item.get("x")).encode()))
        except (MalformedPermit, ValueError):
            raise ValueError("a key of the set does not read") from None
        if item.get("kid") != thumbprint(key):
            raise ValueError("a key of the set is not named by its thumbprint")
        found[thumbprint(key)] = key
    return found


def _x(key: Ed25519PublicKey) -> str:
    return encode(key.public_bytes_raw()).decode()
