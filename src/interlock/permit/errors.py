"""Why a permit is refused: a name that never changes, a sentence, and what to do.

No error carries the permit, a part of it that was not verified, or the value of an argument.
"""

from __future__ import annotations

from typing import ClassVar


class PermitError(Exception):
    """The root of the family. Whatever it says, the tool does not run.

    Attributes:
        slug: names the error for programs. detail: what happened, as a sentence. fix: what to do next.
    """

    slug: ClassVar[str] = "permit"
    advice: ClassVar[str] = ""

    def __init__(self, detail: str, *, fix: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix or self.advice

    def __str__(self) -> str:
        return f"{self.detail} {self.fix}".strip()


class MalformedPermit(PermitError):
    slug = "malformed-permit"
    advice = "Hand on the permit exactly as the gate answered it."


class UnknownKey(PermitError):
    """Signed with a key that is not among the issuer's; after a rotation the keys have to be fetched anew."""

    slug = "unknown-key"
    advice = "Fetch the issuer's /.well-known/jwks.json again; if the key is not there, refuse the permit."


class BadSignature(PermitError):
    slug = "bad-signature"
    advice = "Somebody changed it, or made it up. Do not run anything."


class WrongIssuer(PermitError):
    slug = "wrong-issuer"
    advice = "Ask the gate that this tool trusts for a permit."


class WrongAudience(PermitError):
    slug = "wrong-audience"
    advice = "Send it to the executor that the catalogue names for the topic."


class PermitExpired(PermitError):
    slug = "expired"
    advice = "Ask the gate for a new permit; permits live two minutes at most."


class NotYetValid(PermitError):
    slug = "not-yet-valid"
    advice = "Set this machine's clock, or the gate's."


class LivesTooLong(PermitError):
    """It claims to live longer than any gate lets a permit live."""

    slug = "lives-too-long"
    advice = "No gate of ours mints such a permit. Do not run anything, and find out who signed it."


class BadArguments(PermitError):
    """The arguments that the tool received have no one canonical form; nobody can have approved them."""

    slug = "bad-arguments"
    advice = "Send the arguments as the gate answered them, as strict JSON."


class WrongAction(PermitError):
    """The permit is for another topic, or for other arguments."""

    slug = "wrong-action"
    advice = "Send the arguments exactly as the gate answered them, or propose what is wanted now."


class Replayed(PermitError):
    slug = "replayed"
    advice = "A permit counts once. Look at what the first use did; propose the action again if it is wanted."


class NeedsRedeeming(PermitError):
    """Only the gate can say whether this may still run."""

    slug = "needs-redeeming"
    advice = "Redeem it first: POST /v1/permits/redeem at the gate, with the executor's key."
