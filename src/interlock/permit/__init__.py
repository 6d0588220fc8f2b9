"""Permits: tokens that let one executor run one exact action once.

1. A permit is a JWT (RFC 7519) signed with Ed25519 (RFC 8037). Its header has exactly ``alg``
   (``EdDSA``), ``typ`` (``interlock-permit+jwt``) and ``kid`` (the key's RFC 7638 thumbprint). Any other
   algorithm, and any further member (``crit``, ``jku``, ``x5u``, ``jwk``, …), is refused before any key.
2. It lives 120 seconds at most; a longer one is refused by whoever reads it, whoever signed it.
3. It names the hash of the action and everything that hash covers but the arguments. The verifier recomputes
   the hash over the arguments that the tool received: what was approved, or nothing, runs.
4. It counts once. A durable store remembers every permit until no clock can revive it.
5. By itself a permit is enough for tiers 1 and 2, and only where it was minted for use offline. Everything
   else is redeemed at the gate first, which is where approvals, revocations and policies are checked.
6. The rules know no clock and do no I/O: time, store and keys are handed in. `interlock.permit.sqlite_store`
   is a store for those who have none, and the only module here that touches a file. No token is ever logged,
   kept, or put into an error.
7. The room imports no other room, and beside Python only cryptography, PyJWT and rfc8785: a tool's host can
   check permits without the rest of Interlock.
"""

from interlock.permit.claims import MAX_LIFETIME_SEC, Claims
from interlock.permit.errors import (
    BadArguments,
    BadSignature,
    LivesTooLong,
    MalformedPermit,
    NeedsRedeeming,
    NotYetValid,
    PermitError,
    PermitExpired,
    Replayed,
    UnknownKey,
    WrongAction,
    WrongAudience,
    WrongIssuer,
)
from interlock.permit.keys import PermitKey, PublicKeys, jwks, read_jwks, thumbprint
from interlock.permit.sqlite_store import SqliteStore
from interlock.permit.token import mint, verify
from interlock.permit.verifier import Permit, Store, Verifier

__all__ = [
    "MAX_LIFETIME_SEC",
    "BadArguments",
    "BadSignature",
    "Claims",
    "LivesTooLong",
    "MalformedPermit",
    "NeedsRedeeming",
    "NotYetValid",
    "Permit",
    "PermitError",
    "PermitExpired",
    "PermitKey",
    "PublicKeys",
    "Replayed",
    "SqliteStore",
    "Store",
    "UnknownKey",
    "Verifier",
    "WrongAction",
    "WrongAudience",
    "WrongIssuer",
    "jwks",
    "mint",
    "read_jwks",
    "thumbprint",
    "verify",
]
