"""What rests on the world runs only as it was read and shown: a verifier sees where it did not."""

from __future__ import annotations

from typing import Any

import pytest

from exports import BOB, PROBE, READING, REVIEW, START, apr, of
from interlock.model.readings import FRESH_US
from interlock.verify.meaning import Meaning
from interlock.verify.probes import FRESH
from interlock.verify.report import Findings

Entry = dict[str, Any]
SHOWN = "ba" * 32
OTHER = "9c" * 32
HELD = of("action.proposed", decision="require_approval", approval=apr(), review_hash=REVIEW, probe=PROBE)
ALLOWED = of("action.proposed", probe=PROBE)
PROBED = of("approval.probed")
UNREAD = of("approval.probed", reading=None, review_hash="bc" * 32)
APPROVE = of("approval.decided", person=BOB, review_hash=SHOWN)
UNDER: Entry = {"approval": apr(), "review_hash": SHOWN}
READ: Entry = {"reading": READING, "read_at": 0}
CLAIM = of("action.claimed", **UNDER, **READ)
RAN = of("action.claimed", **READ)
STALE = of("action.stale", was="approved", because="world", reading=OTHER, read_at=0)
ANEW: Entry = {"approval": apr(3), "review_hash": "bb" * 32}
AGAIN = of("action.redecided", was="stale", **ANEW, probe=PROBE, reading=OTHER, read_at=0)
APPROVE_ANEW = of("approval.decided", person=BOB, **ANEW)
CLAIM_ANEW = of("action.claimed", **ANEW, reading=OTHER, read_at=0)


def follow(*entries: Entry) -> list[str]:
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=True)
    for number, entry in enumerate((*START, *entries), -len(START)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    return [problem.what for problem in findings.problems()]


@pytest.mark.parametrize(
    "life",
    [
        (ALLOWED, RAN, of("action.settled")),
        (HELD, PROBED, APPROVE, CLAIM, of("action.settled")),
        (HELD, UNREAD, PROBED, APPROVE, CLAIM),
        (HELD, of("approval.decided", decision="reject")),
        (HELD, PROBED, APPROVE, STALE, AGAIN, APPROVE_ANEW, CLAIM_ANEW),
        (HELD, PROBED, APPROVE, CLAIM, of("action.claimed", epoch=2, at=15_000_005, **UNDER)),
    ],
)
def test_a_life_that_was_read_as_it_should_be_is_in_order(life: tuple[Entry, ...]) -> None:
    assert follow(*life) == []


@pytest.mark.parametrize(
    ("life", "what"),
    [
        ((ALLOWED, of("action.claimed")), "without reading what it rests on"),
        ((HELD, PROBED, APPROVE, of("action.claimed", **UNDER)), "without reading what it rests on"),
        ((HELD, PROBED, APPROVE, {**CLAIM, "reading": OTHER}), "not as it was shown"),
        ((HELD, PROBED, APPROVE, {**CLAIM, "at": FRESH + 1}), "not of the 5 seconds before"),
        ((HELD, PROBED, APPROVE, {**CLAIM, "read_at": 99}), "not of the 5 seconds before"),
        ((HELD, PROBED, APPROVE, {**CLAIM, "read_at": None}), "not of the 5 seconds before"),
        ((HELD, {**APPROVE, "review_hash": REVIEW}), "had not been read"),
        ((HELD, UNREAD, {**APPROVE, "review_hash": "bc" * 32}), "had not been read"),
        ((HELD, PROBED, {**APPROVE, "review_hash": REVIEW}), "another review hash than was requested"),
        ((HELD, {**PROBED, "probe": OTHER}), "another probe"),
        ((HELD, {**PROBED, "action_hash": OTHER}), "another action hash"),
        ((HELD, {**PROBED, "read_at": 9}), "before it was read"),
        ((HELD, PROBED, PROBED), "had been read and shown before"),
        ((HELD, PROBED, APPROVE, PROBED), "answered before"),
        ((ALLOWED, PROBED), "nobody requested"),
        ((of("action.proposed"), RAN), "no probe was asked for"),
        ((HELD, PROBED, STALE), "could not run"),
        ((HELD, PROBED, APPROVE, {**STALE, "reading": READING}), "reads as it was shown"),
        ((HELD, PROBED, APPROVE, {**STALE, "because": "mood"}), "no form|a form that is known"),
        ((HELD, PROBED, APPROVE, STALE, {**AGAIN, "reading": READING}), "another reading than made"),
        ((HELD, PROBED, APPROVE, STALE, AGAIN, APPROVE_ANEW, {**CLAIM_ANEW, **READ}), "not as it was shown"),
    ],
)
def test_what_was_run_or_approved_unread_shows(life: tuple[Entry, ...], what: str) -> None:
    found = follow(*life)
    assert any(part in problem for problem in found for part in what.split("|")), found


def test_the_verifier_and_the_gate_agree_on_how_long_a_reading_counts() -> None:
    assert FRESH == FRESH_US
