"""The tool's side: from a token and the bytes that the tool received to the one action that may run.

``action_hash = SHA-256("interlock/action/v1\\0" ‖ nonce ‖ JCS{v, namespace, topic, args, agent, principal,
parent_action, session, revision, executor})``. All but `args` comes from the signed permit, `args` from what
the tool received, `topic` from both. What runs is `Permit.args`: the arguments that were hashed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from interlock.permit.claims import OFFLINE_TIERS, Claims, executor_object
from interlock.permit.errors import BadArguments, NeedsRedeeming, Replayed, WrongAction, WrongAudience
from interlock.permit.keys import PublicKeys, read_jwks
from interlock.permit.strict import NotStrict, copied, parse, written
from interlock.permit.token import MAX_LEEWAY_SEC, verify

_ACTION = b"interlock/action/v1\0"


class Store(Protocol):
    """Remembers used permits, durably, for every process of the executor."""

    def first(self, permit: str, until: int) -> bool:
        """Whether the permit is used for the first time; from then on it is not. One atomic step.

        Args:
            permit: its id. until: its end, seconds since 1970.
        """
        ...


@dataclass(frozen=True, slots=True)
class Permit:
    """A permit that holds, and what it lets run.

    Attributes:
        claims: what it says; `claims.constraints` is what the host has to enforce, `claims.key` the
            idempotency key for the system downstream.
        args: the arguments to run with. binding: the canonical bytes that were hashed.
    """

    claims: Claims
    args: dict[str, Any]
    binding: bytes


class Verifier:
    """Checks permits for one executor. Thread-safe where its store is.

    Args:
        issuer: the gate's name, ``interlock.local/<16 hex>``; pinned, never taken from a permit.
        audience: this executor's name in the catalogue.
        keys: the issuer's key set (the JSON of its `/.well-known/jwks.json`), or public keys by thumbprint.
        store: remembers what was used.
        clock: seconds since 1970.
        leeway: seconds by which this clock and the gate's may differ, 5 at most.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        keys: PublicKeys | Mapping[str, Any],
        store: Store,
        clock: Callable[[], float],
        *,
        leeway: float = 0,
    ) -> None:
        if not 0 <= leeway <= MAX_LEEWAY_SEC:
            raise ValueError(f"the leeway is 0 to {MAX_LEEWAY_SEC} seconds")
        self._issuer = issuer
        self._audience = audience
        self._store = store
        self._clock = clock
        self._leeway = leeway
        self.trust(keys)

    def trust(self, keys: PublicKeys | Mapping[str, Any]) -> None:
        """Use these keys from now on, as after a rotation. Raises `ValueError` for what is no key set."""
        self._keys: PublicKeys = read_jwks(keys) if "keys" in keys else dict(keys)

    def check(
        self,
        token: str,
        topic: str,
        args: bytes | str | Mapping[str, Any],
        *,
        redeem: Callable[[str], str] | None = None,
    ) -> Permit:
        """The permit, if and only if this call may run now; it counts as used from then on.

        Args:
            topic: the topic of the tool that was called: from the tool, not from whoever called.
            args: what the tool received: JSON text, or an object somebody parsed from it.
            redeem: redeems the permit at the gate and returns the ``binding`` of its answer; whatever it
                raises is passed on. Without it the permit has to be enough by itself.

        Raises:
            PermitError: (a subclass) it does not hold; nothing may run.
        """
        claims = verify(token, self._keys, issuer=self._issuer, now=self._clock(), leeway=self._leeway)
        if claims.executor != self._audience:
            raise WrongAudience("The permit is for another executor.")
        if not hmac.compare_digest(claims.topic.encode(), topic.encode()):
            raise WrongAction("The permit is for another topic.")
        binding, received = _binding(claims, args)
        digest = hashlib.sha256(_ACTION + claims.nonce + binding).hexdigest()
        if not hmac.compare_digest(digest, claims.action_hash):
            raise WrongAction("The permit is for other arguments.")
        if redeem is None:
            if not claims.offline or claims.tier not in OFFLINE_TIERS:
                raise NeedsRedeeming(f"A permit of tier {claims.tier} does not run without the gate.")
        elif not hmac.compare_digest(redeem(token).encode(errors="replace"), binding):
            raise WrongAction("The gate redeemed another action than the tool received.")
        if not self._store.first(claims.permit, claims.expires_at):
            raise Replayed("The permit was used before.")
        return Permit(claims, received, binding)


def _binding(claims: Claims, args: bytes | str | Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The canonical bytes of the action as it was received, and its arguments as they stand in them."""
    try:
        value = parse(args) if isinstance(args, (bytes, str)) else args
        if not isinstance(value, Mapping):
            raise NotStrict("The arguments are a JSON object.")
        received, plain = copied(value, depth=1)
        binding = written(
            {
                "v": 1,
                "namespace": claims.namespace,
                "topic": claims.topic,
                "args": received,
                "agent": claims.agent,
                "principal": claims.principal,
                "parent_action": claims.parent_action,
                "session": claims.session,
                "revision": claims.revision,
                "executor": executor_object(claims.executor),
            },
            plain,
        )
    except NotStrict as error:
        raise BadArguments(str(error)) from None
    return binding, received
