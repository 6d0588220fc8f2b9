"""The token: minted, and read back with nothing taken on trust.

1. The header is looked at first and must be exactly the one every permit has; then the key's name must be
   known; then the signature must hold; only then is the payload read.
2. Parts are base64url in their one spelling, so a permit has one text. What counts once is its id.

Sources: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8037 (Ed25519 in JOSE), RFC 8725 (JWT best current practices).
"""

from __future__ import annotations

import json
from functools import lru_cache

from jwt.algorithms import OKPAlgorithm

from interlock.permit.claims import MAX_LIFETIME_SEC, Claims, decode, encode
from interlock.permit.errors import (
    BadSignature,
    MalformedPermit,
    NotYetValid,
    PermitExpired,
    UnknownKey,
    WrongIssuer,
)
from interlock.permit.keys import ALGORITHM, TYPE, PermitKey, PublicKeys
from interlock.permit.strict import NotStrict, parse

MAX_TOKEN = 16_384
MAX_LEEWAY_SEC = 5

_algorithm = OKPAlgorithm()
_write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def mint(claims: Claims, key: PermitKey) -> str:
    """Sign a permit.

    Raises:
        ValueError: it would live longer than permits may, or not at all, or be longer than is read.
    """
    if not 0 < claims.expires_at - claims.issued_at <= MAX_LIFETIME_SEC:
        raise ValueError(f"a permit lives 1 to {MAX_LIFETIME_SEC} seconds")
    text = b"%b.%b" % (key.header, encode(_write(claims.to_json()).encode()))
    token = b"%b.%b" % (text, encode(_algorithm.sign(text, key.private)))
    if len(token) > MAX_TOKEN:
        raise ValueError(f"a permit has at most {MAX_TOKEN} characters")
    return token.decode()


def verify(
    token: str, keys: PublicKeys, *, issuer: str, now: float | None = None, leeway: float = 0
) -> Claims:
    """What a permit says, once its form, key, signature and issuer hold; and its time, where `now` is given.

    For whom it is, what it is for and whether it was used before are for the caller to compare.

    Args:
        keys: the issuer's public keys by thumbprint.
        now: seconds since 1970; None reads a permit whose time may have passed.
        leeway: seconds by which the two clocks may differ, 5 at most.

    Raises:
        MalformedPermit, UnknownKey, BadSignature, WrongIssuer, LivesTooLong, NotYetValid, PermitExpired.
    """
    if not 0 <= leeway <= MAX_LEEWAY_SEC:
        raise ValueError(f"the leeway is 0 to {MAX_LEEWAY_SEC} seconds")
    if not isinstance(token, str) or not token.isascii() or len(token) > MAX_TOKEN:
        raise MalformedPermit("A permit is ASCII text of at most 16384 characters.")
    parts = token.encode().split(b".")
    if len(parts) != 3:
        raise MalformedPermit("A permit has three parts.")
    key = keys.get(_kid(parts[0]))
    if key is None:
        raise UnknownKey("The permit is signed with a key that is not known here.")
    if not _algorithm.verify(parts[0] + b"." + parts[1], key, decode(parts[2])):
        raise BadSignature("The permit's signature does not hold.")
    claims = Claims.from_json(_object(parts[1]))
    if claims.issuer != issuer:
        raise WrongIssuer("The permit comes from another gate.")
    if now is not None:
        if now + leeway < claims.issued_at:
            raise NotYetValid("The permit was issued in the future.")
        if now - leeway >= claims.expires_at:
            raise PermitExpired("The permit has expired.")
    return claims


@lru_cache(maxsize=64)
def _kid(part: bytes) -> str:
    """The key that a header names; the permits of one key have one header."""
    header = _object(part)
    kid = header.get("kid")
    if header != {"alg": ALGORITHM, "typ": TYPE, "kid": kid} or type(kid) is not str:
        raise MalformedPermit("The header is not that of a permit.")
    return kid


def _object(part: bytes) -> dict[str, object]:
    try:
        value = parse(decode(part))
    except NotStrict:
        value = None
    if type(value) is not dict:
        raise MalformedPermit("A part of the permit is not a JSON object.")
    return value
