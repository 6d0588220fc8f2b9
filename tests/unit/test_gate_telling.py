"""Which entries of the ledger agents are told of, and that a told event is what its entry says."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.gate.telling import STATES, Event, event_of, ids_of, told_by
from interlock.journal import Vault
from interlock.ledger import Kind
from interlock.ledger.schemas import FIELDS
from interlock.model.actions import ActionState

VAULT = Vault(bytes(32), bytes(32))
ABOUT = {"action": "act_1", "revision": 2}
TOLD: dict[Kind, list[tuple[dict[str, Any], str]]] = {
    Kind.APPROVAL_DECIDED: [
        ({"decision": "approve"}, "approved"),
        ({"decision": "reject"}, "rejected"),
        ({"decision": "respond"}, "answered"),
    ],
    Kind.APPROVAL_UNANSWERED: [({}, "allowed")],
    Kind.ACTION_EDITED: [({"decision": "deny"}, "denied"), ({"decision": "require_approval"}, "superseded")],
    Kind.ACTION_REDECIDED: [({"decision": "deny"}, "denied")],
    Kind.ACTION_EXPIRED: [({}, "expired")],
    Kind.ACTION_WITHDRAWN: [({}, "withdrawn")],
    Kind.ACTION_REVOKED: [({}, "revoked")],
    Kind.ACTION_SETTLED: [
        ({"outcome": "succeeded", "applied": True}, "succeeded"),
        ({"outcome": "failed", "applied": True}, "failed"),
    ],
    Kind.ACTION_IN_DOUBT: [({"outcome": "in_doubt", "applied": True}, "in_doubt")],
    Kind.ACTION_RECONCILED: [({"outcome": "failed"}, "failed")],
    Kind.ACTION_LATE_REPORT: [({"outcome": "succeeded", "applied": True}, "succeeded")],
    Kind.ACTION_ROLLED_BACK: [({}, "rolled_back")],
}
UNTOLD = {
    Kind.ACTION_PROPOSED: "its proposer is answered",
    Kind.ACTION_CLAIMED: "its end is told",
    Kind.ACTION_STALE: "what was decided anew is told, where it ended it",
    Kind.APPROVAL_ESCALATED: "it still waits",
    Kind.APPROVAL_PROBED: "it still waits",
    Kind.CONSTRAINT_BREACHED: "its outcome is told",
    Kind.IDEMPOTENCY_CONFLICT: "its proposer is answered",
    Kind.PERMIT_MINTED: "who asked for it is answered",
    Kind.SESSION_RECORDED: "the host recorded it, and nothing about the action changed",
}
"""Kinds that name an action, and why no agent is told."""


def test_every_kind_of_entry_about_an_action_is_told_or_left_out_for_a_reason() -> None:
    about = {kind for kind, fields in FIELDS.items() if "action" in fields}
    assert about == set(TOLD) | set(UNTOLD)
    assert {state for cases in TOLD.values() for _, state in cases} == {state.value for state in STATES}


@pytest.mark.parametrize("kind", TOLD)
def test_an_event_says_what_its_entry_says(kind: Kind) -> None:
    for fields, state in TOLD[kind]:
        event = event_of(7, kind.value, 99, {**ABOUT, **fields})
        assert event == Event(7, ActionState(state), "act_1", 2, 99)
        assert event.type == f"action.{state}"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Kind.APPROVAL_DECIDED, {"decision": "edit"}),
        (Kind.ACTION_REDECIDED, {"decision": "require_approval"}),
        (Kind.ACTION_LATE_REPORT, {"outcome": "succeeded", "applied": False}),
        *((kind, {"decision": "deny", "outcome": "failed"}) for kind in UNTOLD),
    ],
)
def test_what_changed_nothing_for_the_agent_is_not_told(kind: Kind, fields: dict[str, Any]) -> None:
    assert event_of(7, kind.value, 99, {**ABOUT, **fields}) is None


def test_a_delivery_names_the_event_it_was_enqueued_for_and_no_other() -> None:
    event = Event(7, ActionState.APPROVED, "act_1", 2, 99)
    ids = ids_of(VAULT, "default", "hook", event)
    assert told_by(VAULT, "default", ids) == ("hook", event)
    assert told_by(VAULT, "other", ids) is None
    assert told_by(Vault(bytes(32), bytes(31) + b"x"), "default", ids) is None
    for name in ids:
        assert told_by(VAULT, "default", {**ids, name: ids[name] + "1"}) is None
        assert told_by(VAULT, "default", {key: text for key, text in ids.items() if key != name}) is None
    assert told_by(VAULT, "default", {**ids, "more": "1"}) is None
