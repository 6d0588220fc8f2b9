"""Binding: no field of what was seen can change without changing the hash that a decision names (P4)."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from interlock.model.binding import Binding, catalogue_digest, review_hash, verdict_digest
from interlock.model.verdicts import Constraints, Decision, Handoff, Lane, OnTimeout, Tier, Trigger, Verdict

NONCE = bytes(range(32))
BINDING = Binding(
    namespace="default",
    topic="pay.refund",
    args={"amount_usd": "10.00", "to": "acme"},
    agent="support",
    principal=None,
    parent_action=None,
    session=None,
    revision=1,
    executor={"kind": "http"},
)
OTHER: dict[str, Any] = {
    "namespace": "other",
    "topic": "pay.refunds",
    "args": {"amount_usd": "10.01", "to": "acme"},
    "agent": "support2",
    "principal": "customer",
    "parent_action": "act_1",
    "session": "ses_1",
    "revision": 2,
    "executor": {"kind": "caller"},
    "v": 2,
}
VERDICT = Verdict(
    decision=Decision.REQUIRE_APPROVAL,
    rule="large",
    tier=Tier.EXTERNAL,
    triggers=(Trigger.RISK_TIER,),
    constraints=Constraints(max_amount_usd=Decimal(10)),
    owner="finance",
    lane=Lane(900, OnTimeout.DENY),
    reason="It is large",
    snapshot="v1:aa",
    tags=("money",),
    matched=("large",),
    missing=(),
)
VERDICT_OTHER: dict[str, Any] = {
    "decision": Decision.DENY,
    "rule": "larger",
    "tier": Tier.IRREVERSIBLE,
    "triggers": (),
    "constraints": Constraints(max_amount_usd=Decimal(11)),
    "owner": "ops",
    "lane": Lane(901, OnTimeout.DENY),
    "reason": "It is larger",
    "snapshot": "v1:bb",
    "tags": (),
    "matched": ("large", "other"),
    "missing": ("confidence",),
    "handoff": Handoff.APPROVAL,
    "informed": ("legal",),
    "overridden": ("older",),
    "level": 2,
    "observed": Decision.DENY,
}
SHOWN: dict[str, Any] = {
    "action_hash": "aa",
    "verdict": VERDICT,
    "catalogue_entry": catalogue_digest({"tier": 3}),
    "probe": None,
    "summary": "Refund $10.00 to acme",
    "context": {"args": {"amount_usd": "10.00"}, "worst_case": "gone"},
    "expires_at": 1_000_000,
}


@pytest.mark.parametrize("name", [f.name for f in fields(Binding) if f.init])
def test_the_action_hash_changes_with_every_field_of_the_binding(name: str) -> None:
    before = BINDING.action_hash(NONCE)  # what was hashed once is not remembered for another binding
    changed = replace(BINDING, **{name: OTHER[name]})
    assert changed.action_hash(NONCE) != before
    assert changed.action_hash(NONCE) != BINDING.action_hash(NONCE)


def test_an_argument_that_is_missing_null_or_empty_is_three_different_actions() -> None:
    hashes = {
        replace(BINDING, args=args).action_hash(NONCE) for args in ({}, {"to": None}, {"to": ""}, {"to": []})
    }
    assert len(hashes) == 4


def test_the_action_hash_is_salted_by_a_nonce_of_32_bytes() -> None:
    assert BINDING.action_hash(bytes(32)) != BINDING.action_hash(NONCE)
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError):
            BINDING.action_hash(wrong)


def test_a_binding_read_back_has_the_same_bytes() -> None:
    assert Binding.from_json(BINDING.to_json()).canonical() == BINDING.canonical()


@pytest.mark.parametrize("name", [f.name for f in fields(Verdict) if f.init])
def test_the_verdict_digest_and_so_the_review_hash_change_with_every_field_of_the_verdict(name: str) -> None:
    changes = {name: VERDICT_OTHER[name]}
    if name == "decision":
        changes["lane"] = None
    changed = replace(VERDICT, **changes)
    assert verdict_digest(changed) != verdict_digest(VERDICT)
    assert review_hash(**{**SHOWN, "verdict": changed}) != review_hash(**SHOWN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action_hash", "ab"),
        ("catalogue_entry", catalogue_digest({"tier": 2})),
        ("probe", "00"),
        ("summary", "Refund $10.00 to acme "),
        ("context", {"args": {"amount_usd": "10.00"}, "worst_case": "Gone"}),
        ("expires_at", 1_000_001),
    ],
)
def test_the_review_hash_changes_with_everything_the_reviewer_is_shown(name: str, value: Any) -> None:
    assert review_hash(**{**SHOWN, name: value}) != review_hash(**SHOWN)


def test_a_verdict_read_back_is_the_same_verdict() -> None:
    assert Verdict.from_json(VERDICT.to_json()) == VERDICT
