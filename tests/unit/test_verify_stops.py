"""Kill switches in the log: nothing that one covers is let run, and two people lift it."""

from __future__ import annotations

from typing import Any

import pytest

from exports import ANN, BOB, EVE, REVIEW, SNAPSHOT, act, apr, of, prm
from interlock.verify.meaning import Meaning
from interlock.verify.report import Findings

Entry = dict[str, Any]
KIL, OTHER = "kil_" + "1" * 32, "kil_" + "2" * 32
START = (
    of("policy.activated"),
    of("person.added"),
    of("person.added", person=BOB),
    of("person.added", person=EVE, roles=["reviewer"]),
)


def kill(scope: str = "all", target: str | None = None, **fields: Any) -> Entry:
    made = {
        "kind": "kill.engaged",
        "kill": KIL,
        "scope": scope,
        "target": target,
        "reason": "r",
        "by": "cli:1",
    }
    return {**made, "running": 0, "actions": [], **fields}


def rearm(*people: str, **fields: Any) -> Entry:
    made = {
        "kind": "kill.rearmed",
        "kill": KIL,
        "people": list(people),
        "solo": False,
        "reason": "r",
        "by": "x",
    }
    return {**made, **fields}


KILL, REARM = kill(), rearm(ANN, BOB)
DRILL = {"kind": "kill.drill", "kill": KIL, "by": ANN, "stop_us": 700, "running": 0}
ALLOWED = of("action.proposed")
DENIED = of("action.proposed", decision="deny")
HELD = of("action.proposed", decision="require_approval", approval=apr(), review_hash=REVIEW)
APPROVE = of("approval.decided", person=BOB)
REJECT = of("approval.decided", person=BOB, decision="reject")
ANSWER_EDIT = of("approval.decided", decision="edit")
EDIT = of("action.edited")
CLAIM = of("action.claimed")
AGAIN = {**of("action.claimed", epoch=2), "at": 15_000_100}
APPROVED = of("action.claimed", approval=apr(), review_hash=REVIEW)
DONE = of("action.settled")
PERMITTED = of("action.proposed", executor="permitted")
MINT = of(
    "permit.minted",
    permit=prm(),
    executor="h",
    policy=SNAPSHOT,
    expires_at=60_000_000,
    offline=False,
    kid="k",
)
OFFLINE = {**MINT, "offline": True}
REDEEM = of("action.claimed", permit=prm())


def follow(*entries: Entry, start: tuple[Entry, ...] = START, whole: bool = True) -> list[str]:
    """What is wrong with these entries, each with the place of its entry among them."""
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=whole)
    for number, entry in enumerate((*start, *entries), -len(start)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    return [f"{problem.where}: {problem.what}" for problem in findings.problems()]


COVERING = [
    kill(),
    kill("agent", "support"),
    kill("topic", "pay.refund"),
    kill("topic", "pay.**"),
    kill("topic", "*"),
]
PASSING = [
    kill("agent", "Support"),
    kill("topic", "pay"),
    kill("topic", "pay.*.*"),
    kill("topic", "payments.**"),
]


@pytest.mark.parametrize("switch", COVERING)
@pytest.mark.parametrize(
    ("before", "then"),
    [
        ((), ALLOWED),
        ((), HELD),
        ((HELD,), APPROVE),
        ((HELD,), ANSWER_EDIT),
        ((ALLOWED,), CLAIM),
        ((HELD, APPROVE), APPROVED),
        ((ALLOWED, CLAIM), AGAIN),
        ((PERMITTED,), MINT),
        ((PERMITTED,), OFFLINE),
        ((PERMITTED, MINT), REDEEM),
    ],
)
def test_what_was_let_run_although_it_was_stopped_shows(
    switch: Entry, before: tuple[Entry, ...], then: Entry
) -> None:
    assert follow(*before, then) == []
    found = follow(*before, switch, then)
    assert len(found) == 1, found
    assert f"the kill switch {KIL} covered it" in found[0]
    assert follow(*before, switch, REARM, then) == []


@pytest.mark.parametrize(
    ("stopped", "lifted", "answered", "late"),
    [
        (None, None, 99, False),
        (None, None, 100, True),
        (40, 60, 119, False),
        (40, 60, 120, True),
        (1, 99, 197, False),
        (100, 110, 109, True),
    ],
)
def test_a_request_ends_later_by_the_time_that_it_was_frozen(
    stopped: int | None, lifted: int | None, answered: int, late: bool
) -> None:
    entries = [{**HELD, "at": 0, "expires_at": 100}]
    if stopped is not None:
        entries += [{**KILL, "at": stopped}, {**REARM, "at": lifted}]
    found = follow(*sorted([*entries, {**APPROVE, "at": answered}], key=lambda entry: entry["at"]))
    assert any("answered after its time" in problem for problem in found) is late


@pytest.mark.parametrize("also", [{"scope": "agent", "target": "support"}, {}])
def test_time_that_two_kill_switches_covered_counts_once(also: Entry) -> None:
    second = kill(**also, kill=OTHER)
    stops = [
        {**KILL, "at": 10},
        {**second, "at": 20},
        {**REARM, "at": 30},
        {**REARM, "kill": OTHER, "at": 40},
    ]
    held = {**HELD, "at": 0, "expires_at": 100}
    assert follow(held, *stops, {**APPROVE, "at": 129}) == []
    assert len(follow(held, *stops, {**APPROVE, "at": 130})) == 1


@pytest.mark.parametrize("switch", PASSING)
def test_what_was_not_stopped_passes(switch: Entry) -> None:
    assert follow(ALLOWED, switch, CLAIM, DONE) == []


@pytest.mark.parametrize(
    "life",
    [
        (KILL, DENIED, REARM),
        (HELD, KILL, REJECT),
        (HELD, KILL, of("action.expired")),
        (ALLOWED, KILL, of("action.withdrawn")),
        (ALLOWED, CLAIM, KILL, DONE),
        (ALLOWED, CLAIM, KILL, of("action.in_doubt"), of("action.reconciled")),
        (PERMITTED, OFFLINE, KILL, REDEEM, DONE),
        (KILL, REARM),
        (kill(drill=True), DRILL),
        (kill(drill=True), rearm(ANN)),
        (kill(by=ANN), REARM, kill("agent", "x", kill=OTHER), rearm(BOB, ANN, kill=OTHER)),
    ],
)
def test_a_possible_story_passes(life: tuple[Entry, ...]) -> None:
    assert follow(*life) == []


@pytest.mark.parametrize(
    ("life", "why"),
    [
        ((KILL, KILL), "engaged before"),
        ((KILL, REARM, KILL), "engaged before"),
        ((KILL, REARM, REARM), "lifted before"),
        ((REARM,), "never engaged"),
        ((DRILL,), "never engaged"),
        ((KILL, DRILL), "as if it were one"),
        ((KILL, rearm(ANN)), "fewer than two people"),
        ((KILL, rearm(ANN, ANN)), "twice"),
        ((KILL, rearm()), "fewer than two people"),
        ((KILL, rearm(ANN, EVE)), "no role"),
        ((KILL, rearm(ANN, "per_" + "9" * 32)), "not enrolled"),
        ((KILL, of("person.removed", person=BOB), REARM), "had been removed"),
        ((KILL, rearm(ANN, solo=True)), "marked solo"),
        ((KILL, rearm(solo=True)), "marked solo"),
        ((kill(by=EVE),), "no role"),
        ((kill("everything"),), "no form"),
        ((kill("agent"),), "no form"),
        ((kill("all", "support"),), "no form"),
        ((ALLOWED, KILL, rearm(ANN), CLAIM), "fewer than two people"),
    ],
)
def test_an_impossible_story_shows(life: tuple[Entry, ...], why: str) -> None:
    found = follow(*life)
    assert len(found) == 1, found
    assert why in found[0]


def test_the_only_person_or_nobody_lifts_it_alone_and_marked() -> None:
    one = (of("policy.activated"), of("person.added"))
    assert follow(KILL, rearm(ANN, solo=True), start=one) == []
    assert follow(KILL, rearm(solo=True), start=one[:1]) == []
    assert "by nobody although" in follow(KILL, rearm(solo=True), start=one)[0]
    assert "fewer than two" in follow(KILL, rearm(ANN), start=one)[0]


def test_of_a_log_whose_beginning_is_not_there_only_what_contradicts_itself_is_judged() -> None:
    assert follow(rearm(ANN, BOB), start=(), whole=False) == []
    found = follow(ALLOWED, KILL, {**CLAIM, "action": act()}, start=(), whole=False)
    assert any("covered it" in each for each in found)
