"""The fields that an entry of each kind has to have.

1. A field stands in the table below, with the JSON type of its value; with a question mark it may be null or
   absent. Further fields are passed over: later versions add some.
2. The table is this room's own, written from `docs/ledger.md`; what the values mean, the rules check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.verify.entry import BadEntry

_NONE = type(None)
_TYPES: Mapping[str, type] = {"text": str, "number": int, "bool": bool, "list": list, "object": dict}

_ACTION = "action text, revision number"
_RULED = "decision text, policy text, verdict text, inputs text?, observed text?"
_OPENED = (
    f"{_ACTION}, {_RULED}, action_hash text, rule text, owner text, topic text, agent text, executor text, "
    "approval text?, review_hash text?, tier number?, key text?, expires_at number?, predecessor text?, "
    "request text?, step_up bool?, probe text?, undoes text?, asked_by text?"
)
_REPORTED = f"{_ACTION}, epoch number, outcome text"

_TABLE = {
    "policy.activated": "snapshot text, by text, previous text?, reason text?",
    "action.proposed": _OPENED,
    "action.edited": f"{_OPENED}, supersedes text, person text",
    "action.redecided": (
        f"{_ACTION}, {_RULED}, was text, approval text?, review_hash text?, step_up bool?, "
        "expires_at number?, probe text?, reading text?, read_at number?"
    ),
    "action.stale": f"{_ACTION}, {_RULED}, was text, because text?, reading text?, read_at number?",
    "action.claimed": (
        f"{_ACTION}, epoch number, holder text, action_hash text, policy text, approval text?, "
        "review_hash text?, permit text?, assumed bool?, reading text?, read_at number?"
    ),
    "action.settled": f"{_REPORTED}, action_hash text, output text, applied bool",
    "action.in_doubt": f"{_REPORTED}, action_hash text, applied bool, recovery number?",
    "action.reconciled": f"{_REPORTED}, person text, note text, key text?",
    "action.late_report": f"{_REPORTED}, applied bool, action_hash text?, settled text?",
    "action.rolled_back": f"{_ACTION}, rollback text",
    "action.expired": f"{_ACTION}, was text, approval text?, on_timeout text?, kill text?",
    "action.withdrawn": f"{_ACTION}, was text, agent text, key text?",
    "action.revoked": f"{_ACTION}, was text, person text, key text?",
    "approval.decided": (
        f"{_ACTION}, approval text, action_hash text, review_hash text, decision text, person text, "
        "solo bool, key text?, reason_code text?, assertion object?, answer object?, tightened bool?, "
        "response text?"
    ),
    "approval.escalated": (
        f"{_ACTION}, approval text, owner text, turn number?, until number?, passed_over list?"
    ),
    "approval.unanswered": (
        f"{_ACTION}, approval text, action_hash text, review_hash text, expires_at number"
    ),
    "approval.probed": (
        f"{_ACTION}, approval text, action_hash text, probe text, reading text?, read_at number, "
        "review_hash text"
    ),
    "idempotency.conflict": "action text, agent text, key text?",
    "constraint.breached": f"{_ACTION}, epoch number, constraint text",
    "key.added": "key text, key_kind text, topics list, by text, person text?",
    "key.revoked": "key text, by text",
    "person.added": "person text, roles list, by text",
    "person.removed": "person text, by text",
    "link.issued": "link text, person text",
    "link.redeemed": "link text, person text",
    "passkey.added": "passkey text, person text, by text, credential text, public_key text, rp_id text",
    "passkey.revoked": "passkey text, person text, by text",
    "permit.minted": (
        f"{_ACTION}, permit text, action_hash text, executor text, policy text, expires_at number, "
        "offline bool, kid text, key text?"
    ),
    "session.opened": "session text, agent text, content text, key text?",
    "session.recorded": "session text, number number, what text, content text, action text?, key text?",
    "session.ended": "session text, key text?",
    "tool.accepted": "topic text, tool text, by text, previous text?",
    "kill.engaged": (
        "kill text, scope text, target text?, reason text, by text, key text?, drill bool?, running number, "
        "actions list, approval text?"
    ),
    "kill.rearmed": "kill text, people list, solo bool, reason text, by text, key text?",
    "kill.drill": "kill text, by text, stop_us number, running number",
    "subject.erased": "subject text, by text, payloads number, reason text?, revisions number?",
    "ledger.key_rotated": "vkey text, previous text, by text",
    "ledger.epoch_opened": (
        "epoch number, origin text, vkey text, previous text, kept number, people list, solo bool, "
        "reason text, signed object?"
    ),
    "ledger.recovery_dismissed": "epoch number, people list, solo bool, reason text, seen number",
    "ledger.pruned": "before number, by text",
}


def _read(row: str) -> tuple[tuple[str, frozenset[type]], ...]:
    found = []
    for field in row.split(", "):
        name, kind = field.split(" ")
        types = {_TYPES[kind.removesuffix("?")], *([_NONE] if kind.endswith("?") else [])}
        found.append((name, frozenset(types)))
    return tuple(found)


FIELDS = {kind: _read(row) for kind, row in _TABLE.items()}


def check_fields(entry: Mapping[str, Any]) -> None:
    """Raises `BadEntry` where an entry of a known kind lacks a field, or has one of another type."""
    kind = entry["kind"]
    for name, types in FIELDS[kind]:
        if type(entry.get(name)) not in types:
            what = f"lacks `{name}`" if entry.get(name) is None else f"has another `{name}` than it may have"
            raise BadEntry(f"{kind}: it {what}")
