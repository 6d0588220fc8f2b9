"""What a verdict was decided from is recorded so that it decides the same again, and only that."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from interlock.model.actions import Signals
from interlock.model.canonical import canonical
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Tier
from interlock.policy import Question, commitment, document_of, question_of
from policies_at_random import Case, cases

FULL = Question(
    "pay.refund",
    {"amount_usd": "5.00", "n": 1.5},
    Signals(
        confidence=Decimal("0.40"),
        retry_count=2,
        anomaly_score=Decimal("0.1"),
        affected_users=3,
        first_time_action=True,
        first_time_recipient=True,
        sentiment=Decimal("-0.5"),
        injection_score=Decimal("0.2"),
        deadline_sec=60,
        duplicate_of="act_1",
    ),
    frozenset({"money", "a"}),
    level=2,
    facts={"prior": 3, "vip": False},
    provenance={"recipient": "known"},
    stopped="kil_1",
)
PLAIN = Question("pay.refund", {})


def test_every_input_is_recorded_and_read_again() -> None:
    for name in ("signals", "level", "facts", "provenance", "stopped"):
        assert getattr(FULL, name) != getattr(PLAIN, name), name
    for signal in fields(Signals):
        assert getattr(FULL.signals, signal.name) != getattr(PLAIN.signals, signal.name), signal.name
    assert {field.name for field in fields(Question)} - {"tier"} == set(document_of(FULL)) - {"v"}
    assert question_of(orjson.loads(canonical(document_of(FULL)))) == FULL


def test_what_is_at_rest_is_not_written() -> None:
    assert document_of(PLAIN) == {"v": 1, "topic": "pay.refund", "args": {}, "tags": []}
    assert document_of(replace(PLAIN, signals=Signals(retry_count=2)))["signals"] == {"retry_count": 2}


def test_unknown_tags_are_not_taken_for_none() -> None:
    assert question_of(document_of(replace(PLAIN, tags=None))).tags is None
    assert question_of(document_of(PLAIN)).tags == frozenset()


def test_an_assumed_tier_is_not_recorded() -> None:
    with pytest.raises(ValueError, match="assumed"):
        document_of(replace(PLAIN, tier=Tier.READ_ONLY))


def test_the_commitment_changes_with_every_input_and_with_the_nonce() -> None:
    nonce = bytes(32)
    document = document_of(FULL)
    seen = {commitment(nonce, document), commitment(bytes(31) + b"\1", document)}
    for name in document:
        seen.add(commitment(nonce, {**document, name: "other"}))
    assert len(seen) == 2 + len(document)
    with pytest.raises(ValueError, match="32"):
        commitment(bytes(31), document)


def test_the_example_of_the_documentation_can_be_repeated_by_hand() -> None:
    said = Signals(confidence=Decimal("0.4"))
    document = document_of(Question("pay.refund", {"amount_usd": "5.00"}, said, None))
    raw = (
        b'{"args":{"amount_usd":"5.00"},"signals":{"confidence":"0.4"},'
        b'"tags":null,"topic":"pay.refund","v":1}'
    )
    assert canonical(document) == raw
    nonce = bytes(range(32))
    digest = "961728f7627fee1e3c482ee5766748c6edbd3568217b53240033c067de1233e0"
    assert commitment(nonce, document) == sha256(b"interlock/inputs/v1\0" + nonce + raw).hexdigest() == digest


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"topic": None},
        {"args": []},
        {"tags": "money"},
        {"tags": [1]},
        {"level": "2"},
        {"level": True},
        {"level": None},
        {"facts": []},
        {"provenance": {"recipient": 1}},
        {"stopped": 1},
        {"signals": []},
        {"signals": {"mood": 1}},
        {"signals": {"retry_count": "1"}},
        {"signals": {"retry_count": True}},
        {"signals": {"confidence": 0.5}},
        {"signals": {"confidence": "NaN"}},
        {"signals": {"confidence": "much"}},
        {"signals": {"sentiment": "Infinity"}},
        {"signals": {"first_time_action": 1}},
        {"tier": 1},
        {"more": 1},
    ],
)
def test_what_this_version_does_not_know_is_not_read(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        question_of({**document_of(FULL), **change})


@pytest.mark.parametrize("name", ["v", "topic", "args", "tags"])
def test_a_document_that_lacks_what_is_always_there_is_not_read(name: str) -> None:
    document = document_of(FULL)
    del document[name]
    with pytest.raises(InvalidInput):
        question_of(document)


@settings(max_examples=150, deadline=None)
@given(cases(asked=4, full=True))
def test_what_is_read_again_decides_the_same(case: Case) -> None:
    for question in case.questions:
        asked = replace(question, tier=None)
        again = question_of(orjson.loads(canonical(document_of(asked))))
        assert case.policy.decide(again) == case.policy.decide(asked)
