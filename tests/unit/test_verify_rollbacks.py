"""Rollbacks in the log: what takes back succeeds first, says so in the next entry, and only once."""

from __future__ import annotations

from typing import Any

import pytest

from exports import ANN, BOB, EVE, REVIEW, act, apr, of
from interlock.verify.meaning import Meaning
from interlock.verify.report import Findings

Entry = dict[str, Any]
KEY = "key_" + "7" * 32
START = (
    of("policy.activated"),
    of("person.added"),
    of("person.added", person=BOB),
    of("person.added", person=EVE, roles=["auditor"]),
    of("key.added", key=KEY, key_kind="person", topics=[], person=ANN),
)
RAN = (of("action.proposed"), of("action.claimed"), of("action.settled"))
UNDO: Entry = {"action": act(2)}
BY_ANN: Entry = {"agent": f"person:{ANN}", "asked_by": ANN}
ASKED = of("action.proposed", undoes=act(), **UNDO)
CLAIMED = of("action.claimed", **UNDO)
DONE = of("action.settled", **UNDO)
FAILED = of("action.settled", outcome="failed", **UNDO)
DOUBT = of("action.in_doubt", **UNDO)
RECONCILED = of("action.reconciled", **UNDO)
LATE = of("action.late_report", **UNDO)
ROLLED: Entry = {"kind": "action.rolled_back", "action": act(), "revision": 1, "rollback": act(2)}
HELD = of(
    "action.proposed",
    decision="require_approval",
    approval=apr(),
    review_hash=REVIEW,
    undoes=act(),
    **UNDO,
)
APPROVED = of("action.claimed", approval=apr(), review_hash=REVIEW, **UNDO)
AGAIN: Entry = {"action": act(3)}
SECOND = (
    of("action.proposed", undoes=act(), **AGAIN),
    of("action.claimed", **AGAIN),
    of("action.settled", **AGAIN),
    {**ROLLED, "rollback": act(3)},
)
OTHER = of("person.added", person="per_" + "9" * 32)


def follow(*entries: Entry, whole: bool = True, start: tuple[Entry, ...] = START) -> list[str]:
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=whole)
    for number, entry in enumerate((*start, *entries), -len(start)):
        meaning.follow(number, {"at": max(0, number), "namespace": "default", **entry})
    return [f"{problem.where}: {problem.what}" for problem in findings.problems()]


@pytest.mark.parametrize(
    "life",
    [
        (*RAN, ASKED, CLAIMED, DONE, ROLLED),
        (*RAN, {**ASKED, **BY_ANN}, CLAIMED, DONE, ROLLED),
        (*RAN, {**ASKED, **BY_ANN, "key": KEY}, CLAIMED, DONE, ROLLED),
        (*RAN, {**HELD, **BY_ANN}, of("approval.decided", person=BOB, **UNDO), APPROVED, DONE, ROLLED),
        (*RAN, ASKED, CLAIMED, DOUBT, RECONCILED, ROLLED),
        (*RAN, ASKED, CLAIMED, DOUBT, LATE, ROLLED),
        (*RAN, ASKED, CLAIMED, DOUBT),
        (*RAN, ASKED, CLAIMED, FAILED, *SECOND),
        (*RAN, of("action.proposed", decision="deny", undoes=act(), **UNDO), *SECOND),
        (*RAN, {**ASKED}, of("action.expired", was="allowed", **UNDO), *SECOND),
        (*RAN, ASKED, CLAIMED, DONE),
    ],
)
def test_these_are_lives_of_a_rollback(life: tuple[Entry, ...]) -> None:
    if any(entry["kind"] == "action.expired" for entry in life):
        life = tuple({k: v for k, v in entry.items() if k != "expires_at"} for entry in life)
    assert follow(*life) == []


@pytest.mark.parametrize(
    ("life", "problem"),
    [
        ((ASKED,), "never proposed"),
        ((*RAN[:2], ASKED), "had not succeeded"),
        ((*RAN[:2], of("action.settled", outcome="failed"), ASKED), "had not succeeded"),
        ((*RAN[:2], of("action.in_doubt"), ASKED), "had not succeeded"),
        ((of("action.proposed", decision="deny"), ASKED), "had not succeeded"),
        ((*RAN, ASKED, SECOND[0]), "another rollback"),
        ((*RAN, ASKED, CLAIMED, SECOND[0]), "another rollback"),
        ((*RAN, ASKED, CLAIMED, DOUBT, SECOND[0]), "another rollback"),
        ((*RAN, ASKED, CLAIMED, DONE, ROLLED, SECOND[0]), "rolled back before"),
        ((*RAN, ROLLED), "never proposed as one"),
        ((*RAN, ASKED, ROLLED), "had not succeeded in the entry before"),
        ((*RAN, ASKED, CLAIMED, ROLLED), "had not succeeded in the entry before"),
        ((*RAN, ASKED, CLAIMED, FAILED, ROLLED), "had not succeeded in the entry before"),
        ((*RAN, ASKED, CLAIMED, DOUBT, ROLLED), "had not succeeded in the entry before"),
        ((*RAN, ASKED, CLAIMED, DONE, OTHER), "does not say what it took back"),
        ((*RAN, ASKED, CLAIMED, DONE, OTHER, ROLLED), "does not say what it took back"),
        ((*RAN, ASKED, CLAIMED, DONE, {**ROLLED, "action": act(9)}), "does not say what it took back"),
        ((*RAN, ASKED, CLAIMED, DONE, {**ROLLED, "rollback": act(9)}), "never proposed as one"),
        ((*RAN, ASKED, CLAIMED, DONE, {**ROLLED, "revision": 2}), "not the current one"),
        ((*RAN, ASKED, CLAIMED, DONE, ROLLED, ROLLED), "rolled back before"),
        ((*RAN, {**HELD, **BY_ANN}, of("approval.decided", **UNDO)), "by the person who asked for it"),
        ((*RAN, {**ASKED, **BY_ANN, "asked_by": EVE}), "no role for that"),
        ((*RAN, {**ASKED, **BY_ANN, "asked_by": "per_" + "0" * 32}), "not enrolled"),
        ((*RAN, {**ASKED, **BY_ANN, "asked_by": BOB, "key": KEY}), "key of kind person"),
        ((of("action.proposed", key=KEY),), "key of kind person"),
        ((of("action.proposed", key=KEY, asked_by=ANN),), "takes nothing back"),
        (
            (
                *RAN,
                HELD,
                of("approval.decided", decision="edit", person=ANN, **UNDO),
                of("action.edited", **UNDO),
            ),
            "was edited",
        ),
    ],
)
def test_these_are_not(life: tuple[Entry, ...], problem: str) -> None:
    assert any(problem in found for found in follow(*life)), follow(*life)


def test_of_a_log_without_its_beginning_what_began_before_is_not_judged() -> None:
    assert follow(ASKED, whole=False) == []
    assert follow(ROLLED, whole=False) == []
    assert follow(*RAN, ASKED, CLAIMED, ROLLED, whole=False) != []
