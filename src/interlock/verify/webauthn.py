"""Checking one assertion: that a passkey's holder, present and verified, gave exactly this answer.

1. The client data is JSON of type ``webauthn.get``, its challenge is what was to be signed, its origin is
   ``https`` on the relying party's domain or below it (``http`` on localhost alone), and not cross-origin.
2. The authenticator data carries the hash of the relying party's id, and says that somebody was present and
   was verified.
3. The signature covers the authenticator data and the client data's hash, with the key that was enrolled:
   ES256 (P-256), EdDSA (Ed25519) or RS256 (2048 to 8192 bits).

Source: W3C Web Authentication Level 3, section 7.2; RFC 8152, RFC 8812.
"""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from interlock.verify.broken import Broken, Unclear

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_PRESENT, _VERIFIED = 0x01, 0x04
_LEAST_DATA = 37
_RSA_BITS = range(2048, 8193)


def read_key(text: str) -> PublicKey:
    """A passkey's public key: base64 of its DER SubjectPublicKeyInfo.

    Raises:
        Broken: it is none. Unclear: it is one of an algorithm that is not known here.
    """
    try:
        key = load_der_public_key(b64decode(text, validate=True))
    except UnsupportedAlgorithm:
        raise Unclear("a passkey's key is of an algorithm that is not known here") from None
    except ValueError:
        raise Broken("the passkey's `public_key` is no key") from None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA_BITS:
        return key
    raise Unclear("a passkey's key is of an algorithm that is not known here")


def check_assertion(assertion: Mapping[str, Any], key: PublicKey, rp_id: str, challenge: bytes) -> None:
    """Raises `Broken` unless the holder of the key signed this challenge for this relying party."""
    data, client = _bytes(assertion, "authenticator_data"), _bytes(assertion, "client_data")
    _check_client(client, rp_id, challenge)
    if len(data) < _LEAST_DATA or data[:32] != sha256(rp_id.encode()).digest():
        raise Broken("the assertion is for another relying party")
    if not data[32] & _PRESENT or not data[32] & _VERIFIED:
        raise Broken("the assertion was given without a person present and verified")
    signature, signed = _bytes(assertion, "signature"), data + sha256(client).digest()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            key.verify(signature, signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise Broken("the assertion's signature does not verify") from None


def _check_client(raw: bytes, rp_id: str, challenge: bytes) -> None:
    try:
        client = json.loads(raw)
    except (ValueError, RecursionError):
        raise Broken("the assertion's client data is not JSON") from None
    if not isinstance(client, dict) or client.get("type") != "webauthn.get":
        raise Broken("the assertion is of another type than webauthn.get")
    if client.get("challenge") != urlsafe_b64encode(challenge).rstrip(b"=").decode():
        raise Broken("the assertion was given for another answer")
    if not _is_of(client.get("origin"), rp_id) or client.get("crossOrigin") not in (None, False):
        raise Broken("the assertion was given on a page of another origin")


def _is_of(origin: object, rp_id: str) -> bool:
    """Whether this is an origin of the relying party's domain."""
    if not isinstance(origin, str) or not rp_id:
        return False
    try:
        parts = urlsplit(origin)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme != "https" and not (parts.scheme == "http" and host == "localhost"):
        return False
    plain = f"{parts.scheme}://{parts.netloc}" == origin and "@" not in parts.netloc
    return plain and (host == rp_id or host.endswith(f".{rp_id}"))


def _bytes(assertion: Mapping[str, Any], name: str) -> bytes:
    text = assertion.get(name)
    try:
        if not isinstance(text, str):
            raise ValueError(name)
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Broken(f"the assertion's `{name}` is not base64url") from None
    if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise Broken(f"the assertion's `{name}` is not base64url as it has to be written")
    return data
