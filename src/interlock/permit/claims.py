"""What a permit says, and the strict reading of it.

Times are whole seconds since 1970, as RFC 7519 has them. Claims are only ever added; a changed meaning is a
new ``v``, which an older verifier refuses.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.permit.errors import LivesTooLong, MalformedPermit
from interlock.permit.strict import MAX_INT

VERSION = 1
MAX_LIFETIME_SEC = 120
NONCE_BYTES = 32
OFFLINE_TIERS = (1, 2)
"""The tiers for which a permit can be enough by itself."""

_TEXTS = {
    **dict.fromkeys(("iss", "aud", "nonce", "namespace", "topic", "agent", "policy"), False),
    **dict.fromkeys(("principal", "parent_action", "session"), True),
}
"""The claims that are text, and whether each can be null."""

_NUMBERS = ("iat", "exp", "revision", "idx", "tier")
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_FORMS = {
    "sub": re.compile(r"act_[0-9a-f]{32}", re.ASCII).fullmatch,
    "jti": re.compile(r"prm_[0-9a-f]{32}", re.ASCII).fullmatch,
    "action_hash": _HASH,
    "key": _HASH,
}

_TO_PLAIN_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
"""base64url to base64; what only base64 has becomes what neither has."""

_LAST = {1: b"AEIMQUYcgkosw048", 2: b"AQgw"}
"""By how much padding is left out, what the last character can be: the 2 or 4 bits it has too many are zeros.
Python leaves them unread."""


@dataclass(frozen=True, slots=True)
class Claims:
    """One permit.

    Attributes:
        issuer: the home that minted it, ``interlock.local/<16 hex>``.
        executor: the name of who may run it; also the audience.
        action, permit: ids, ``act_…`` and ``prm_…``.
        issued_at, expires_at: seconds since 1970.
        action_hash: hex; see `interlock.permit.verifier` for what it covers.
        nonce: 32 bytes that went into the hash.
        policy: snapshot of the policy in force, ``v1:<hex>``.
        entry: index of its `permit.minted` entry in the issuer's ledger.
        tier: 1 to 4. offline: whether it may be used without redeeming it.
        constraints: what the executor has to hold the run to.
        key: idempotency key for the system downstream.
    """

    issuer: str
    executor: str
    action: str
    permit: str
    issued_at: int
    expires_at: int
    action_hash: str
    nonce: bytes
    namespace: str
    topic: str
    agent: str
    principal: str | None
    parent_action: str | None
    session: str | None
    revision: int
    policy: str
    entry: int
    tier: int
    offline: bool
    constraints: Mapping[str, Any]
    key: str

    def to_json(self) -> dict[str, Any]:
        """The payload of the token."""
        return {
            "iss": self.issuer,
            "aud": self.executor,
            "sub": self.action,
            "jti": self.permit,
            "iat": self.issued_at,
            "exp": self.expires_at,
            "v": VERSION,
            "action_hash": self.action_hash,
            "nonce": encode(self.nonce).decode(),
            "namespace": self.namespace,
            "topic": self.topic,
            "agent": self.agent,
            "principal": self.principal,
            "parent_action": self.parent_action,
            "session": self.session,
            "revision": self.revision,
            "executor": executor_object(self.executor),
            "policy": self.policy,
            "idx": self.entry,
            "tier": self.tier,
            "offline": self.offline,
            "constraints": dict(self.constraints),
            "key": self.key,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Claims:
        """Read a payload. Claims that are not known are left alone; those that are must be what they say.

        Raises:
            MalformedPermit: a claim is missing, of another type, or contradicts another.
            LivesTooLong: it ends more than 120 seconds after it begins.
        """
        if value.get("v") != VERSION or type(value.get("v")) is not int:
            raise MalformedPermit("The permit is of a version that is not known here.")
        _check_kinds(value)
        claims = cls(
            issuer=value["iss"],
            executor=value["aud"],
            action=value["sub"],
            permit=value["jti"],
            issued_at=value["iat"],
            expires_at=value["exp"],
            action_hash=value["action_hash"],
            nonce=decode(value["nonce"].encode("ascii", "replace")),
            namespace=value["namespace"],
            topic=value["topic"],
            agent=value["agent"],
            principal=value["principal"],
            parent_action=value["parent_action"],
            session=value["session"],
            revision=value["revision"],
            policy=value["policy"],
            entry=value["idx"],
            tier=value["tier"],
            offline=value["offline"],
            constraints=value["constraints"],
            key=value["key"],
        )
        if value.get("executor") != executor_object(claims.executor):
            raise MalformedPermit("The permit's audience is not the executor it names.")
        if len(claims.nonce) != NONCE_BYTES or not 1 <= claims.tier <= 4:
            raise MalformedPermit("The permit's nonce or tier is out of its range.")
        if claims.expires_at <= claims.issued_at:
            raise MalformedPermit("The permit ends before it begins.")
        if claims.expires_at - claims.issued_at > MAX_LIFETIME_SEC:
            raise LivesTooLong(f"The permit claims to live longer than {MAX_LIFETIME_SEC} seconds.")
        return claims


def executor_object(name: str) -> dict[str, str]:
    """The executor as the action hash covers it."""
    return {"kind": "permitted", "name": name}


def encode(content: bytes) -> bytes:
    """base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """The content of base64url text in its one spelling. Raises `MalformedPermit` for any other."""
    padding = -len(text) % 4
    try:
        content = binascii.a2b_base64(text.translate(_TO_PLAIN_BASE64) + b"=" * padding, strict_mode=True)
    except ValueError:
        raise MalformedPermit("A part of the permit is not base64url.") from None
    if padding and text[-1] not in _LAST[padding]:
        raise MalformedPermit("A part of the permit is not base64url.")
    return content


def _check_kinds(value: Mapping[str, Any]) -> None:
    """Every claim is there and of its kind. Raises `MalformedPermit`."""
    for name, nullable in _TEXTS.items():
        found = value.get(name, "")
        if found is None and nullable:
            continue
        if type(found) is not str or not found or not (found.isascii() or _is_well_formed(found)):
            raise _lacks(name)
    for name, matches in _FORMS.items():
        found = value.get(name)
        if type(found) is not str or not matches(found):
            raise _lacks(name)
    for name in _NUMBERS:
        found = value.get(name)
        if type(found) is not int or not 0 <= found <= MAX_INT:
            raise _lacks(name)
    if type(value.get("offline")) is not bool:
        raise _lacks("offline")
    if type(value.get("constraints")) is not dict:
        raise _lacks("constraints")


def _is_well_formed(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lacks(name: str) -> MalformedPermit:
    return MalformedPermit(f"The permit lacks `{name}`, or it is not of its form.")
