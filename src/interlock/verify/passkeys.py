"""Passkeys: which were enrolled when, whose they are, and what was signed with them.

1. An answer with an assertion is signed by a passkey that an earlier entry enrolled for the same person, and
   that was not revoked since. What it signs is the answer: request, review hash, decision, the action hash it
   leads to, constraints, the reason's hash, and a nonce.
2. Where the request asked for it, an approval without an assertion fails.
3. A roster that the auditor keeps outranks what the log enrolled: then only its passkeys count. A gate that
   was taken over can enrol a passkey of its own; it cannot write it into somebody else's file.

A roster is a text file. Words are separated by spaces and tabs, a line whose first word begins with ``#`` is
a comment, every other line reads ``passkey <person> <rp_id> <credential> <public_key>``, as the log has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from hashlib import sha256
from typing import Any, NamedTuple

import rfc8785

from interlock.verify.broken import Broken, Unclear, Unfounded
from interlock.verify.webauthn import check_assertion, read_key

_DECISION = b"interlock/decision/v1\0"
MAX_ROSTER = 1 << 20


class BadRoster(ValueError):
    """Not a roster. The message is a sentence that names the line."""


class Pinned(NamedTuple):
    """A passkey as a roster names it, and as the log enrols it."""

    person: str
    rp_id: str
    credential: str
    public_key: str


Roster = Set[Pinned]


def read_roster(raw: bytes) -> Roster:
    """Read a roster file. Raises `BadRoster` where it is none."""
    if len(raw) > MAX_ROSTER:
        raise BadRoster(f"it has more than {MAX_ROSTER} bytes")
    pinned = set()
    for number, line in enumerate(raw.split(b"\n"), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if words[0] != b"passkey" or len(words) != 5 or not line.isascii():
            raise BadRoster(
                f"line {number}: it does not read passkey <person> <rp_id> <credential> <public_key>"
            )
        pinned.add(Pinned(*(word.decode("ascii") for word in words[1:])))
        try:
            read_key(words[4].decode("ascii"))
        except (Broken, Unclear) as error:
            raise BadRoster(f"line {number}: {error}") from None
    return frozenset(pinned)


class Passkeys:
    """Follows the passkeys of one namespace.

    Attributes:
        assertions: how many answers were signed by one.
    """

    __slots__ = ("_enrolled", "_revoked", "_roster", "assertions")

    def __init__(self, roster: Roster | None) -> None:
        self._roster = roster
        self._enrolled: dict[str, Pinned] = {}
        self._revoked: set[str] = set()
        self.assertions = 0

    def added(self, entry: Mapping[str, Any]) -> None:
        name = entry["passkey"]
        if name in self._enrolled or name in self._revoked:
            raise Broken("the passkey was enrolled before")
        passkey = Pinned(entry["person"], entry["rp_id"], entry["credential"], entry["public_key"])
        self._enrolled[name] = passkey
        read_key(passkey.public_key)

    def revoked(self, entry: Mapping[str, Any]) -> None:
        self._revoked.add(entry["passkey"])
        if self._enrolled.pop(entry["passkey"], None) is None:
            raise Unfounded("the passkey was never enrolled")

    def check(self, entry: Mapping[str, Any], *, needed: bool) -> None:
        """Check the assertion of an answer (an entry ``approval.decided``), if it carries one.

        Raises:
            Broken: it is false, or missing where it is needed. Unclear: its key is not known here.
        """
        assertion = entry.get("assertion")
        if assertion is None:
            if needed:
                raise Broken("the request asked for a passkey, and it was approved without one")
            return
        answer, name = entry.get("answer"), assertion.get("passkey")
        if answer is None:
            raise Broken("it carries an assertion without saying of what")
        if not isinstance(name, str):
            raise Broken("it carries an assertion of no passkey")
        if name in self._revoked:
            raise Broken("the passkey had been revoked")
        passkey = self._enrolled.get(name)
        if passkey is None:
            raise Unfounded("the passkey was never enrolled")
        if passkey.person != entry["person"]:
            raise Broken("the passkey is another person's")
        if entry["decision"] == "approve" and answer.get("action_hash") != entry["action_hash"]:
            raise Broken("what was signed is another action hash than was approved")
        check_assertion(assertion, read_key(passkey.public_key), passkey.rp_id, _challenge(entry, answer))
        self.assertions += 1
        if self._roster is not None and passkey not in self._roster:
            raise Broken("the passkey is not in the roster you gave")


def _challenge(entry: Mapping[str, Any], answer: Mapping[str, Any]) -> bytes:
    signed = {name: entry[name] for name in ("approval", "review_hash", "decision")}
    signed |= {name: answer.get(name) for name in ("action_hash", "constraints", "reason", "nonce")}
    return sha256(_DECISION + rfc8785.dumps(signed)).digest()
