"""What a permit says, and the strict reading of it.

Times are whole seconds since 1970, as RFC 7519 has them. Claims are only ever added; a changed meaning is a
new ``v``, which an older verifier refuses.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.permit.errors import LivesTooLong, MalformedPermit

VERSION = 1
MAX_LIFETIME_SEC = 120
NONCE_BYTES = 32
OFFLINE_TIERS = (1, 2)
"""The tiers for which a permit can be enough by itself."""

_ACTION = re.compile(r"act_[0-9a-f]{32}", re.ASCII)
_PERMIT = re.compile(r"prm_[0-9a-f]{32}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


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
        claims = cls(
            issuer=_text(value, "iss"),
            executor=_text(value, "aud"),
            action=_matching(value, "sub", _ACTION),
            permit=_matching(value, "jti", _PERMIT),
            issued_at=_number(value, "iat"),
            expires_at=_number(value, "exp"),
            action_hash=_matching(value, "action_hash", _HASH),
            nonce=decode(_text(value, "nonce").encode("ascii", "replace")),
            namespace=_text(value, "namespace"),
            topic=_text(value, "topic"),
            agent=_text(value, "agent"),
            principal=_optional(value, "principal"),
            parent_action=_optional(value, "parent_action"),
            session=_optional(value, "session"),
            revision=_number(value, "revision"),
            policy=_text(value, "policy"),
            entry=_number(value, "idx"),
            tier=_number(value, "tier"),
            offline=_boolean(value, "offline"),
            constraints=_object(value, "constraints"),
            key=_matching(value, "key", _HASH),
        )
        if _object(value, "executor") != executor_object(claims.executor):
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
    try:
        content = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        content = b""
    if encode(content) != text:
        raise MalformedPermit("A part of the permit is not base64url.")
    return content


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if type(found) is not str or not found:
        raise MalformedPermit(f"The permit lacks `{name}`.")
    if not found.isascii():
        try:
            found.encode()
        except UnicodeEncodeError:
            raise MalformedPermit(f"The permit's `{name}` is not well-formed Unicode.") from None
    return found


def _optional(value: Mapping[str, Any], name: str) -> str | None:
    return None if name in value and value[name] is None else _text(value, name)


def _matching(value: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    found = _text(value, name)
    if not form.fullmatch(found):
        raise MalformedPermit(f"The permit's `{name}` does not have its form.")
    return found


def _number(value: Mapping[str, Any], name: str) -> int:
    found = value.get(name)
    if type(found) is not int or found < 0:
        raise MalformedPermit(f"The permit lacks `{name}`.")
    return found


def _boolean(value: Mapping[str, Any], name: str) -> bool:
    found = value.get(name)
    if type(found) is not bool:
        raise MalformedPermit(f"The permit lacks `{name}`.")
    return found


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    if type(found) is not dict:
        raise MalformedPermit(f"The permit lacks `{name}`.")
    return found
