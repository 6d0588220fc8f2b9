"""Every way Interlock says no.

1. An error is a class a caller can catch, a sentence a person can act on, an RFC 9457 problem document
   for HTTP and an exit code for the shell. The four never disagree, because all are read from the class.
2. `slug` names the error for ever: the problem type is ``urn:interlock:problem:<slug>``, and `docs/errors.md`
   documents each of them (a test fails when one is missing).
3. Nothing here carries a secret, an argument value of somebody's payload, or a stack trace: `detail` is
   shown to agents, reviewers and logs alike.

Exit codes: 1 something failed, 2 usage, 3 the policy loosens or a check did not pass, 4 refused (not
allowed, denied, changed, too late), 5 not found, 6 cannot check, 7 the server or the home cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class InterlockError(Exception):
    """The root of every error this package raises on purpose.

    Args:
        detail: one sentence for this occurrence: what happened and, if known, to which value.
        fix: what to do next; falls back to the class's own advice.
        extra: members added to the problem document (JSON values only).
    """

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something failed inside Interlock"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    advice: ClassVar[str] = ""

    def __init__(self, detail: str, *, fix: str = "", extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix or self.advice
        self.extra: dict[str, Any] = dict(extra or {})

    def __str__(self) -> str:
        return f"{self.detail} {self.fix}".strip()

    @property
    def type(self) -> str:
        """The problem type, a URN that never changes for this kind of error."""
        return f"urn:interlock:problem:{self.slug}"

    def problem(self) -> dict[str, Any]:
        """The problem document of RFC 9457, as JSON values."""
        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.fix:
            document["fix"] = self.fix
        return {**document, **self.extra}


# --- input -----------------------------------------------------------------------------------------------


class InvalidInput(InterlockError):
    """A value from outside is not acceptable. `path` points at it, as in ``$.args.items[2]``."""

    slug = "invalid-input"
    title = "The request holds a value that is not acceptable"
    status = 422
    exit_code = 2
    advice = "Correct the value and try again."

    def __init__(self, detail: str, *, path: str = "$", fix: str = "") -> None:
        super().__init__(f"{path}: {detail}", fix=fix, extra={"path": path})
        self.path = path


class MalformedJson(InvalidInput):
    slug = "malformed-json"
    title = "The body is not JSON"
    status = 400
    advice = "Send one JSON value in UTF-8."


class DuplicateKey(InvalidInput):
    slug = "duplicate-key"
    title = "An object names the same key twice"
    status = 400
    advice = "Keep one of the two; readers disagree about which one counts."


class NotANumber(InvalidInput):
    slug = "not-a-number"
    title = "NaN and Infinity are not JSON"


class NumberOutOfRange(InvalidInput):
    slug = "number-out-of-range"
    title = "A number cannot be carried exactly"
    advice = "Integers beyond 2^53-1 and decimals beyond double precision travel as strings."


class LoneSurrogate(InvalidInput):
    slug = "lone-surrogate"
    title = "A string is not well-formed Unicode"


class ExcessDigits(InvalidInput):
    slug = "excess-digits"
    title = "An amount has more digits than its currency"
    advice = "Round it on purpose before proposing the action; Interlock never rounds money."


class WrongType(InvalidInput):
    slug = "wrong-type"
    title = "A value has the wrong type"


class UnknownField(InvalidInput):
    slug = "unknown-field"
    title = "A field is not known here"


class MissingField(InvalidInput):
    slug = "missing-field"
    title = "A required field is missing"


class BadTopic(InvalidInput):
    slug = "bad-topic"
    title = "The topic is not well-formed"
    advice = "Topics are two to sixteen segments of a-z, 0-9, '_' and '-' in ASCII, joined by dots."


class UnknownTopic(InvalidInput):
    slug = "unknown-topic"
    title = "Nobody registered this topic"
    status = 404
    exit_code = 5
    advice = "A policy-admin adds it to the catalogue (`actions:` in the policy), then activates the policy."


class TooLarge(InvalidInput):
    slug = "too-large"
    title = "The request is too large"
    status = 413
    advice = "A request is at most 1 MiB; refer to large content by an id."


# --- who -------------------------------------------------------------------------------------------------


class Unauthenticated(InterlockError):
    """Missing, malformed, unknown, expired or revoked credentials; which of them is not told."""

    slug = "unauthenticated"
    title = "Not signed in, or no valid key"
    status = 401
    exit_code = 4
    advice = "Send `Authorization: Bearer ilk_…` with a key from `interlock keys add` that is not revoked."


class Forbidden(InterlockError):
    slug = "forbidden"
    title = "This key or person may not do that"
    status = 403
    exit_code = 4


class OutOfScope(Forbidden):
    slug = "topic-out-of-scope"
    title = "The key is not scoped to this topic"
    advice = "Ask for a key whose `--topics` include it (`interlock keys add`)."


class SeparationOfDuties(Forbidden):
    slug = "separation-of-duties"
    title = "Another person has to decide this"
    advice = "Nobody approves what they, or an agent they operate, requested or edited."


# --- state -----------------------------------------------------------------------------------------------


class NotFound(InterlockError):
    slug = "not-found"
    title = "There is no such thing here"
    status = 404
    exit_code = 5


class Erased(InterlockError):
    """What was recorded about a subject was destroyed on purpose; that it was is in the ledger."""

    slug = "erased"
    title = "This was erased"
    status = 410
    exit_code = 5
    advice = "Nothing brings it back; the ledger says when it was erased and by whom."


class MethodNotAllowed(InterlockError):
    slug = "method-not-allowed"
    title = "This address does not take that method"
    status = 405
    exit_code = 2
    advice = "The Allow header names the methods; /openapi.json describes them."


class Conflict(InterlockError):
    slug = "conflict"
    title = "The state no longer allows that"
    status = 409
    exit_code = 4


class Changed(Conflict):
    """`expected_hash` is not the hash of what is pending now (promise P4)."""

    slug = "changed"
    title = "This changed since you looked"
    advice = "Look at the difference, then decide on the current hash."


class AlreadyDecided(Conflict):
    slug = "already-decided"
    title = "Somebody has already decided this"


class Expired(Conflict):
    slug = "expired"
    title = "The deadline has passed"
    status = 410
    advice = "Propose the action again if it is still wanted."


class IdempotencyConflict(Conflict):
    slug = "idempotency-conflict"
    title = "The idempotency key was used with other bytes"
    advice = "A key belongs to one action for ever; use a new one."


class NotClaimable(Conflict):
    slug = "not-claimable"
    title = "The action may not run"


class StaleClaim(Conflict):
    slug = "stale-claim"
    title = "This claim no longer holds the action"


class InDoubt(Conflict):
    """The action started and its effect is unknown; a person settles it (promise P5)."""

    slug = "in-doubt"
    title = "Nobody knows yet whether this took effect"
    advice = "Find out in the system it acted on, then reconcile it as succeeded or failed."


class NoEffect(Exception):
    """Raise this from a guarded function to say: I checked, nothing happened. The action becomes `failed`."""


# --- policy ----------------------------------------------------------------------------------------------


class PolicyError(InterlockError):
    """A policy document cannot be used. Carries every finding, each with file, line and suggestion."""

    slug = "policy-invalid"
    title = "The policy does not load"
    status = 422
    exit_code = 3
    advice = "The policy in force stays as it was."


class PolicyNotActive(InterlockError):
    slug = "policy-not-active"
    title = "Another policy is in force in this home"
    status = 409
    exit_code = 4
    advice = "Review the difference, then open with activate=True, or start `interlock serve --activate`."


class ConstraintUnenforceable(Conflict):
    slug = "constraint-unenforceable"
    title = "A constraint cannot be enforced by this executor"
    advice = "Remove the constraint in a reviewed policy, or execute the topic where it can be enforced."


class ConstraintBreached(Conflict):
    slug = "constraint-breached"
    title = "The action breaks a constraint it was allowed under"


# --- the installation ------------------------------------------------------------------------------------


class HomeUnusable(InterlockError):
    slug = "home-unusable"
    title = "This home cannot be used"
    status = 503
    exit_code = 7


class RecoveryRequired(HomeUnusable):
    """The database is behind, or inconsistent with, what was signed outside of it."""

    slug = "recovery-required"
    title = "The journal does not continue what was signed"


class Tampered(HomeUnusable):
    """A row the gate trusts does not carry the MAC it was written with, or a payload does not open."""

    slug = "tampered"
    title = "A trusted record was changed from outside"


class ClockJumped(HomeUnusable):
    slug = "clock-jumped"
    title = "The clock disagrees with elapsed time by more than a minute"
    advice = "Nothing is claimed, swept or activated until the process is restarted with a sound clock."


class Unavailable(InterlockError):
    slug = "unavailable"
    title = "The server cannot be reached"
    status = 503
    exit_code = 7


class LedgerInvalid(InterlockError):
    slug = "ledger-invalid"
    title = "The ledger does not verify"
    exit_code = 3


class CannotCheck(InterlockError):
    slug = "cannot-check"
    title = "The ledger cannot be checked"
    exit_code = 6
