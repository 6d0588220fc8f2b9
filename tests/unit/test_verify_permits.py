"""What an executor elsewhere runs: with a permit for exactly that, in time, once."""

from __future__ import annotations

from typing import Any

import pytest

from exports import DIGEST, REVIEW, SNAPSHOT, START, act, of, prm
from interlock.verify.meaning import Meaning
from interlock.verify.permits import MAX_LIFE
from interlock.verify.report import Findings

Entry = dict[str, Any]
SEC = 1_000_000
PROPOSED = of("action.proposed", executor="permitted")
MINTED = of("permit.minted", expires_at=60 * SEC)
OFFLINE = {**MINTED, "offline": True}
CLAIM = of("action.claimed", permit=prm(), at=30 * SEC)
LATE = {**CLAIM, "at": 90 * SEC}
ASSUMED = {**CLAIM, "at": 121 * SEC, "assumed": True}
MOVED = of("policy.activated", snapshot="v1:00", previous=SNAPSHOT)
DONE = of("action.settled", at=130 * SEC)
DOUBT = of("action.in_doubt", at=121 * SEC)


def follow(*entries: Entry) -> tuple[list[str], Meaning]:
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=True)
    for number, entry in enumerate((*START, *entries), -len(START)):
        meaning.follow(number, {"at": 0, "namespace": "default", **entry})
    return [f"{problem.where}: {problem.what}" for problem in findings.problems()], meaning


def test_a_permit_is_minted_and_redeemed_and_counted() -> None:
    wrong, meaning = follow(PROPOSED, MINTED, CLAIM, DONE)
    assert wrong == []
    assert meaning.permits() == {"minted": 1, "offline": 0, "redeemed": 1, "assumed": 0}


@pytest.mark.parametrize(
    "entries",
    [
        (PROPOSED, OFFLINE, LATE, DONE),
        (PROPOSED, OFFLINE, CLAIM, DOUBT),
        (PROPOSED, OFFLINE, ASSUMED, DOUBT),
        (PROPOSED, OFFLINE, ASSUMED, DOUBT, of("action.late_report", at=131 * SEC)),
        (PROPOSED, MINTED, {**MINTED, "permit": prm(2), "at": 10 * SEC, "expires_at": 90 * SEC}, CLAIM),
    ],
)
def test_offline_permits_may_be_reported_late(entries: tuple[Entry, ...]) -> None:
    assert follow(*entries)[0] == []


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((PROPOSED, {**CLAIM, "permit": None}), "claimed without a permit"),
        ((PROPOSED, CLAIM), "never minted"),
        ((PROPOSED, MINTED, LATE), "had expired"),
        ((PROPOSED, MINTED, {**MINTED, "expires_at": 61 * SEC}), "minted before"),
        ((PROPOSED, MINTED, CLAIM, {**CLAIM, "epoch": 2}), "ran once more with a permit"),
        (
            (PROPOSED, MINTED, {**MINTED, "permit": prm(2)}, CLAIM, {**CLAIM, "permit": prm(2), "epoch": 2}),
            "ran once more with a permit",
        ),
        ((PROPOSED, MINTED, CLAIM, DONE, {**CLAIM, "epoch": 2}), "claimed again after it had run"),
        ((PROPOSED, {**MINTED, "action_hash": REVIEW}), "another action hash than was allowed"),
        ((of("action.proposed"), MINTED), "no executor elsewhere runs"),
        ((PROPOSED, {**MINTED, "revision": 2}), "not the current one"),
        ((PROPOSED, MOVED, MINTED), "not in force"),
        ((PROPOSED, {**MINTED, "expires_at": 1 + MAX_LIFE}), "120 seconds at most"),
        ((PROPOSED, {**MINTED, "expires_at": 0}), "120 seconds at most"),
        ((PROPOSED, of("action.expired", was="allowed"), MINTED), "may not run"),
        ((PROPOSED, MINTED, CLAIM, {**MINTED, "permit": prm(2)}), "may not run"),
        ((PROPOSED, OFFLINE, {**ASSUMED, "at": 59 * SEC}), "only where a permit that works offline ran out"),
        ((PROPOSED, OFFLINE, ASSUMED, DONE), "not put in doubt first"),
        ((of("action.proposed"), of("action.claimed", assumed=True)), "only where a permit was out"),
    ],
)
def test_a_permit_that_does_not_fit_fails(entries: tuple[Entry, ...], why: str) -> None:
    assert follow(*entries[:-1])[0] == []
    (problem,) = follow(*entries)[0]
    assert problem.startswith(f"entry {len(entries) - 1}: ")
    assert why in problem


TIGHTER = of("policy.activated", snapshot="v1:11", previous="v1:00")
CONFIRMED = of("action.redecided", policy="v1:00", decision="allow")
UNDER: Entry = {"policy": "v1:00"}


@pytest.mark.parametrize(
    "entries",
    [
        (OFFLINE, MOVED, LATE, DONE),
        (OFFLINE, MOVED, ASSUMED, DOUBT),
        (OFFLINE, MOVED, CONFIRMED, {**LATE, **UNDER}, DONE),
        (OFFLINE, MOVED, CONFIRMED, TIGHTER, {**LATE, **UNDER}, DONE),
        (OFFLINE, MOVED, CONFIRMED, TIGHTER, {**ASSUMED, **UNDER}, DOUBT),
        (MINTED, MOVED, CONFIRMED, {**CLAIM, **UNDER}, DONE),
    ],
)
def test_what_ran_offline_ran_under_whatever_policy_decided_about_it_last(entries: tuple[Entry, ...]) -> None:
    assert follow(PROPOSED, *entries)[0] == []


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((MINTED, MOVED, CLAIM), "not in force"),
        ((MINTED, MOVED, CONFIRMED, TIGHTER, {**CLAIM, **UNDER}), "not in force"),
        ((OFFLINE, MOVED, {**LATE, "policy": "v1:22"}), "another policy than decided about it last"),
        ((OFFLINE, MOVED, {**LATE, **UNDER}), "another policy than decided about it last"),
        ((OFFLINE, MOVED, CONFIRMED, LATE), "another policy than decided about it last"),
        ((OFFLINE, MOVED, CONFIRMED, TIGHTER, LATE), "another policy than decided about it last"),
        ((MOVED, {**MINTED, **UNDER}), "another policy than decided about it last"),
    ],
)
def test_a_run_under_a_policy_that_did_not_decide_about_it_last_fails(
    entries: tuple[Entry, ...], why: str
) -> None:
    assert follow(PROPOSED, *entries[:-1])[0] == []
    (problem,) = follow(PROPOSED, *entries)[0]
    assert why in problem


OUT = "an executor may run it under a permit that works offline"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (of("action.expired", was="allowed"), OUT),
        (of("action.withdrawn", was="allowed"), OUT),
        (of("action.revoked", was="allowed"), OUT),
        (of("action.stale", was="allowed"), OUT),
        ({**MINTED, "permit": prm(2)}, OUT),
        ({**OFFLINE, "permit": prm(2)}, OUT),
        ({**CLAIM, "permit": prm(3)}, OUT),
    ],
)
def test_while_an_offline_permit_is_out_its_action_ends_with_it_alone(entry: Entry, why: str) -> None:
    earlier = {**MINTED, "permit": prm(3)}
    assert follow(PROPOSED, earlier, OFFLINE)[0] == []
    (problem,) = follow(PROPOSED, earlier, OFFLINE, entry)[0]
    assert why in problem


@pytest.mark.parametrize("tier", [None, 3, 4, 0])
def test_only_tiers_1_and_2_run_offline(tier: int | None) -> None:
    proposed = {**PROPOSED, "tier": tier, "observed": "deny"}
    (problem,) = follow(proposed, OFFLINE)[0]
    assert "works offline is for tiers 1 and 2" in problem
    assert follow(proposed, MINTED, CLAIM, DONE)[0] == []


def test_a_permit_does_not_outlive_what_it_rests_on() -> None:
    allowed = {**PROPOSED, "expires_at": 50 * SEC}
    (problem,) = follow(allowed, MINTED)[0]
    assert "outlives" in problem
    fits = {**OFFLINE, "expires_at": 50 * SEC}
    assert follow(allowed, fits, LATE, DONE)[0] == []
    assert follow(allowed, fits, ASSUMED, DOUBT)[0] == []


def test_permits_that_nobody_redeemed_are_forgotten_once_they_cannot_be() -> None:
    many = [{**MINTED, "permit": prm(n), "at": n * SEC, "expires_at": (n + 60) * SEC} for n in range(5_000)]
    wrong, meaning = follow(PROPOSED, *many, {**CLAIM, "permit": prm(4_950), "at": 5_000 * SEC}, DONE)
    assert wrong == []
    assert meaning.permits()["minted"] == 5_000
    assert meaning._spaces["default"].permits.open < 100
    assert "expired" in follow(PROPOSED, *many, {**CLAIM, "permit": prm(7), "at": 5_000 * SEC})[0][0]


def test_a_permit_redeemed_for_other_bytes_or_another_action_fails() -> None:
    second = of("action.proposed", executor="permitted", action=act(2), action_hash=REVIEW)
    wrong, _ = follow(PROPOSED, second, MINTED, {**CLAIM, "action": act(2), "action_hash": REVIEW})
    assert wrong == ["entry 3: action.claimed: the permit is for another action or revision"]
    wrong, _ = follow(PROPOSED, MINTED, {**CLAIM, "action_hash": REVIEW})
    assert "another action hash" in wrong[0]


def test_a_permit_redeemed_for_one_action_is_spent_for_every_other() -> None:
    second = of("action.proposed", executor="permitted", action=act(2))
    wrong, _ = follow(PROPOSED, second, MINTED, CLAIM, {**CLAIM, "action": act(2)})
    assert wrong == ["entry 4: action.claimed: the permit was redeemed before"]


def test_a_run_that_is_assumed_and_not_yet_in_doubt_is_counted() -> None:
    assert follow(PROPOSED, OFFLINE, ASSUMED)[1].assumed == 1
    assert follow(PROPOSED, OFFLINE, ASSUMED, DOUBT)[1].assumed == 0
    assert DIGEST in str(ASSUMED)
