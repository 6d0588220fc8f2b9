"""Outcomes: what became of one attempt to carry out an action.

1. There are three. `Succeeded` has a result. `Failed` has a proof that nothing took effect. `Unknown` is
   everything else, and a person settles it.
2. A failure without a proof does not exist: `Failed` cannot be made without naming one of `Proof`.
3. Outcomes are shown to agents and reviewers and written to logs: they hold no secret. A tool that echoes
   the credential it was called with has it struck out, wherever it stands in a string of the answer. This
   guards against carelessness: a tool that wants to give its own credential away can always disguise it.
4. Reasons hold no argument of the action either, but may quote what the tool answered.

Source: RFC 7617 (what a Basic credential encodes).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from interlock.model.canonical import Json

Proof: TypeAlias = Literal[
    "nothing_sent", "no_effect_response", "no_effect_attempt", "not_committed", "read_only"
]
"""Why it is certain that nothing took effect: no byte of the request left this process; the catalogue lists
the response as one without effect; the same, by a response that speaks of this attempt alone (a conflict, or
come back later) and not of an earlier one with the same key; the transaction was never committed; or the
catalogue says that the action only reads."""

ANY_ATTEMPT: frozenset[Proof] = frozenset({"read_only"})
"""Proofs about the action. All others are about one attempt: where an earlier one went unanswered, a refusal
proves nothing, whatever the catalogue lists. What stands in front of the service (a login, a route, a limit)
answers before anybody looks the key up."""

_FAILED: dict[Proof, str] = {
    "nothing_sent": "Nothing was sent",
    "no_effect_response": "It was refused without effect",
    "no_effect_attempt": "It was refused without effect",
    "not_committed": "It was taken back before it was committed",
    "read_only": "Nothing was read, and reading changes nothing",
}


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It took effect. `result` is what the tool answered, as JSON values."""

    result: Json

    @property
    def note(self) -> str:
        """One sentence for a person."""
        return "It was carried out."


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not take effect, and `proof` says how that is known.

    Attributes:
        reason: a clause for a person, without a full stop.
        breach: the constraint that stopped it, by its policy key; None where none did.
        retry_after_sec: how long the tool asked to be left alone; None where it did not ask.
    """

    reason: str
    proof: Proof
    breach: str | None = None
    retry_after_sec: float | None = None

    @property
    def note(self) -> str:
        """One sentence for a person."""
        return f"{_FAILED[self.proof]}: {self.reason}."


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have taken effect. `reason`, `breach` and `retry_after_sec` as in `Failed`."""

    reason: str
    breach: str | None = None
    retry_after_sec: float | None = None

    @property
    def note(self) -> str:
        """One sentence for a person."""
        return f"Nobody knows yet whether this took effect: {self.reason}."


Outcome: TypeAlias = Succeeded | Failed | Unknown

STRUCK_OUT = "[credential]"


def secrets_of(authorization: str) -> tuple[str, ...]:
    """The value of an Authorization header and the parts of it that a tool may echo, longest first."""
    scheme, _, token = authorization.partition(" ")
    found = {authorization, token.strip()}
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(token, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        found |= {pair, pair.partition(":")[2]}
    return tuple(sorted(found - {""}, key=len, reverse=True))


def strike_out(value: Json, secrets: Sequence[str]) -> Json:
    """The same JSON value with every secret in its strings and keys replaced by `STRUCK_OUT`."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, STRUCK_OUT)
        return value
    if isinstance(value, Mapping):
        return {str(strike_out(key, secrets)): strike_out(item, secrets) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [strike_out(item, secrets) for item in value]
    return value
