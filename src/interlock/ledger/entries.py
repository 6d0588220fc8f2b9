"""Entries: what the ledger says about one transition, as the bytes that become a leaf.

1. An entry is one JSON object in canonical form (RFC 8785): ``v`` (version of the format), ``kind`` (what
   happened), ``kernel`` (version of the semantics it happened under), ``at`` (microseconds, UTC),
   ``namespace``, and the kind's own fields, listed in `docs/ledger.md`.
2. These bytes are stored as they are and hashed as they are; nothing serialises an entry a second time.
3. Entries carry ids, hashes and decisions. Never arguments, reasons or anybody's words, but for the line in
   which somebody says why a policy was activated or something was stopped: all others are sealed elsewhere
   and appear here as salted hashes, so that erasing them is destroying a key.
4. An entry is at most `MAX_ENTRY` bytes, because a bundle of tlog-tiles counts its length in 16 bits.
5. Kinds and fields are only ever added. A changed meaning is a new ``v`` or a new ``kernel``, and a verifier
   that does not know it says that it cannot check.
"""

from __future__ import annotations

from enum import StrEnum

from interlock.model.canonical import MAX_INT, Json, canonical
from interlock.model.errors import InvalidInput, TooLarge

VERSION = 1
KERNEL = 1
MAX_ENTRY = 65_535
_RESERVED = frozenset({"v", "kernel"})


class Kind(StrEnum):
    """What happened. The value stands in the entry and never changes."""

    POLICY_ACTIVATED = "policy.activated"
    ACTION_PROPOSED = "action.proposed"
    ACTION_EDITED = "action.edited"
    ACTION_CLAIMED = "action.claimed"
    ACTION_SETTLED = "action.settled"
    ACTION_IN_DOUBT = "action.in_doubt"
    ACTION_RECONCILED = "action.reconciled"
    ACTION_LATE_REPORT = "action.late_report"
    ACTION_EXPIRED = "action.expired"
    ACTION_WITHDRAWN = "action.withdrawn"
    ACTION_REVOKED = "action.revoked"
    ACTION_STALE = "action.stale"
    ACTION_REDECIDED = "action.redecided"
    ACTION_ROLLED_BACK = "action.rolled_back"
    APPROVAL_DECIDED = "approval.decided"
    APPROVAL_ESCALATED = "approval.escalated"
    APPROVAL_PROBED = "approval.probed"
    APPROVAL_UNANSWERED = "approval.unanswered"
    IDEMPOTENCY_CONFLICT = "idempotency.conflict"
    CONSTRAINT_BREACHED = "constraint.breached"
    KEY_ADDED = "key.added"
    KEY_REVOKED = "key.revoked"
    PERSON_ADDED = "person.added"
    PERSON_REMOVED = "person.removed"
    LINK_ISSUED = "link.issued"
    LINK_REDEEMED = "link.redeemed"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_REVOKED = "passkey.revoked"
    PERMIT_MINTED = "permit.minted"
    SESSION_OPENED = "session.opened"
    SESSION_RECORDED = "session.recorded"
    SESSION_ENDED = "session.ended"
    TOOL_ACCEPTED = "tool.accepted"
    KILL_ENGAGED = "kill.engaged"
    KILL_REARMED = "kill.rearmed"
    KILL_DRILL = "kill.drill"
    SUBJECT_ERASED = "subject.erased"
    LEDGER_KEY_ROTATED = "ledger.key_rotated"
    LEDGER_EPOCH_OPENED = "ledger.epoch_opened"
    LEDGER_RECOVERY_DISMISSED = "ledger.recovery_dismissed"
    LEDGER_PRUNED = "ledger.pruned"


def entry(kind: Kind, *, at: int, namespace: str, **fields: Json) -> bytes:
    """The canonical bytes of one entry.

    Args:
        at: when it happened, microseconds since 1970 UTC; never earlier than the entry before.
        fields: the kind's own fields; plain JSON values (an enum's member is passed as its `value`).

    Raises:
        InvalidInput: (or a subclass) a field that JSON cannot carry, a time out of range, an empty
            namespace, or a field named like one of the fixed ones.
        TooLarge: more than `MAX_ENTRY` bytes.
    """
    if type(at) is not int or not 0 <= at <= MAX_INT:
        raise InvalidInput("a time is microseconds since 1970, as an integer", path="$.at")
    if not namespace:
        raise InvalidInput("an entry names its namespace", path="$.namespace")
    if not _RESERVED.isdisjoint(fields):
        raise InvalidInput("`v` and `kernel` are the format's own", path="$")
    fields |= {"v": VERSION, "kind": kind.value, "kernel": KERNEL, "at": at, "namespace": namespace}
    raw = canonical(fields)
    if len(raw) > MAX_ENTRY:
        raise TooLarge(
            f"a ledger entry of {len(raw)} bytes; at most {MAX_ENTRY} fit",
            fix="Entries carry ids and hashes; seal the content and name its hash.",
        )
    return raw
