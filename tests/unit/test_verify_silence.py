"""Silence in the log: who is asked in turn, what nobody's answer may let run, and whom it may stop."""

from __future__ import annotations

from typing import Any

import pytest

from exports import ANN, BOB, DIGEST, REVIEW, act, apr, of
from interlock.verify.meaning import Meaning
from interlock.verify.report import Findings

Entry = dict[str, Any]
KIL = "kil_" + "1" * 32
START = (of("policy.activated"), of("person.added"), of("person.added", person=BOB))
END = 900
HELD = of(
    "action.proposed",
    decision="require_approval",
    approval=apr(),
    review_hash=REVIEW,
    expires_at=END,
    at=0,
)
ASK = of("approval.escalated", turn=1, until=600, at=300)
SILENT = of("approval.unanswered", at=END)
CLAIM = of("action.claimed", approval=apr(), review_hash=REVIEW, at=END + 1)
STOP: Entry = {
    "kind": "kill.engaged",
    "kill": KIL,
    "scope": "agent",
    "target": "support",
    "reason": "r",
    "by": "lane:quick",
    "approval": apr(),
    "running": 0,
    "actions": [],
    "at": END,
}
OVER = of("action.expired", approval=apr(), on_timeout="deny", at=END)
STOPPED = {**OVER, "on_timeout": "kill_switch", "kill": KIL}
REARM: Entry = {
    "kind": "kill.rearmed",
    "kill": KIL,
    "people": [ANN, BOB],
    "solo": False,
    "reason": "r",
    "by": "x",
}


def follow(*entries: Entry) -> list[str]:
    """What is wrong with these entries, each with the place of its entry among them."""
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=True)
    for number, entry in enumerate((*START, *entries), -len(START)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    return [f"{problem.where}: {problem.what}" for problem in findings.problems()]


@pytest.mark.parametrize(
    "entries",
    [
        (HELD, ASK, {**ASK, "turn": 3, "at": 700}, {**OVER, "on_timeout": "escalate"}),
        (HELD, of("approval.escalated", at=300), OVER),  # as it was written before turns were numbered
        (HELD, SILENT, CLAIM, of("action.settled", at=END + 2)),
        ({**HELD, "tier": 1}, SILENT, CLAIM),
        (HELD, SILENT, of("action.withdrawn", was="allowed", at=END + 1)),
        (HELD, SILENT, of("action.expired", was="allowed", at=9_000)),
        (HELD, STOP, STOPPED),
        ({**HELD, "tier": 4}, STOP, STOPPED),
        (HELD, of("action.expired", approval=apr(), at=END)),
    ],
)
def test_silence_that_ends_as_it_may_is_in_order(entries: tuple[Entry, ...]) -> None:
    assert follow(*entries) == []


@pytest.mark.parametrize("tier", [3, 4, None])
def test_what_ran_unanswered_at_tier_3_or_4_or_outside_the_catalogue_is_caught(tier: int | None) -> None:
    (problem,) = follow({**HELD, "tier": tier}, SILENT, CLAIM)
    what = "nobody catalogued" if tier is None else f"is of tier {tier}"
    assert problem == f"entry 1: approval.unanswered: silence let run what {what}"


OTHER = of("action.proposed", action=act(2), agent="sales", at=0, decision="allow")


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ((HELD, CLAIM), "claimed without being allowed or approved"),
        ((HELD, {**SILENT, "at": END - 1}), "before the request's time is over"),
        ((HELD, {**SILENT, "action_hash": "00" * 32}), "another action hash"),
        ((HELD, {**SILENT, "review_hash": "00" * 32}), "another review hash"),
        ((HELD, {**SILENT, "action": act(2)}), "another action or revision"),
        ((HELD, {**SILENT, "revision": 2}), "another action or revision"),
        ((HELD, SILENT, {**SILENT, "at": END + 1}), "answered before"),
        ((SILENT,), "nobody requested"),
        ((HELD, OVER, SILENT), "the request had ended before"),
        ((HELD, of("approval.decided", person=BOB, at=5), SILENT), "answered before"),
        ((HELD, SILENT, of("approval.decided", person=BOB, at=END + 1)), "decided before"),
        ((HELD, SILENT, {**CLAIM, "at": 9_000}), "after the time that it was allowed for"),
        ((HELD, SILENT, {**CLAIM, "approval": None, "review_hash": None}), "another approval"),
        ((HELD, {**STOP, "by": "cli:1", "approval": None}, {**SILENT, "at": END + 1}), "covered it"),
        ((HELD, ASK, {**ASK, "at": 400}), "whose turn was over"),
        ((HELD, {**ASK, "turn": 0}), "whose turn was over"),
        ((HELD, {**ASK, "at": END}), "after the request's time"),
        ((ASK,), "nobody requested"),
        ((HELD, of("approval.decided", person=BOB, at=5), ASK), "answered before"),
        ((HELD, {**STOP, "by": "cli:1", "approval": None, "at": 5}, ASK), "covered it"),
        ((HELD, {**STOP, "at": END - 1}), "before the request's time was over"),
        ((HELD, OTHER, {**STOP, "target": "sales"}), "and this is another"),
        ((HELD, {**STOP, "scope": "all", "target": None}), "an agent, and nothing else"),
        ((HELD, {**STOP, "scope": "topic", "target": "pay.*"}), "an agent, and nothing else"),
        ((HELD, {**STOP, "drill": True}), "an agent, and nothing else"),
        ((HELD, {**STOP, "approval": None}), "about a request, and nobody else does"),
        ((HELD, {**STOP, "by": ANN}), "about a request, and nobody else does"),
        ((HELD, {**STOP, "approval": apr(2)}), "nobody requested"),
        ((HELD, of("approval.decided", person=BOB, decision="reject", at=5), STOP), "answered before"),
        ((HELD, {**OVER, "at": END - 1}), "before its time was over"),
        ((HELD, {**OVER, "on_timeout": "later"}), "by one that is not known"),
        ((HELD, {**OVER, "on_timeout": "kill_switch"}), "it names a kill switch, or none"),
        ((HELD, {**OVER, "kill": KIL}), "it names a kill switch, or none"),
        ((HELD, STOPPED), "is not on for its agent"),
        ((HELD, STOP, {**REARM, "at": END}, STOPPED), "is not on for its agent"),
        ((of("action.proposed", at=0), {**OVER, "was": "allowed"}), "was not held"),
    ],
)
def test_silence_that_ends_otherwise_is_caught(entries: tuple[Entry, ...], what: str) -> None:
    assert what in " | ".join(follow(*entries))


def test_time_that_a_kill_switch_froze_is_not_silence() -> None:
    frozen = {**STOP, "by": "cli:1", "approval": None, "at": 100}
    lifted = {**REARM, "at": 300}
    early, late = {**SILENT, "at": END + 199}, {**SILENT, "at": END + 200}
    assert follow(HELD, frozen, lifted, late) == []
    assert "before the request's time is over" in follow(HELD, frozen, lifted, early)[0]


def test_what_was_held_anew_has_the_time_that_its_re_decision_says() -> None:
    stale = of("action.stale", at=10)
    anew = of(
        "action.redecided",
        was="stale",
        approval=apr(2),
        review_hash="ef" * 32,
        tier=2,
        action_hash=DIGEST,
        expires_at=2_000,
        at=10,
    )
    answer = of("approval.decided", person=BOB, approval=apr(2), review_hash="ef" * 32)
    assert follow(HELD, stale, anew, {**answer, "at": 1_999}) == []
    assert "after its time" in follow(HELD, stale, anew, {**answer, "at": 2_000})[0]
    silent = {**SILENT, "approval": apr(2), "review_hash": "ef" * 32, "at": 2_000}
    assert "stale and held anew" in follow(HELD, stale, anew, silent)[0]
    assert "the request had ended" in follow(HELD, stale, anew, SILENT)[0]
