"""What entries may follow what: permission before the claim, one claim's outcome, once."""

from __future__ import annotations

from typing import Any

import pytest

from exports import AGENT, ANN, BOB, DIGEST, EVE, REVIEW, SNAPSHOT, START, act, apr, of
from interlock.gate.claim import LEASE_US, SENDING_SEC
from interlock.permit import MAX_LIFETIME_SEC
from interlock.replay import replaying
from interlock.verify.life import LEASE
from interlock.verify.meaning import Meaning
from interlock.verify.permits import MAX_LIFE
from interlock.verify.report import Findings

Entry = dict[str, Any]

ALLOWED = of("action.proposed")
HELD = of("action.proposed", decision="require_approval", approval=apr(), review_hash=REVIEW)
DENIED = of("action.proposed", decision="deny")
APPROVE = of("approval.decided", person=BOB)
REJECT = of("approval.decided", decision="reject")
ASKED = {**HELD, "executor": "question"}
RESPOND = of("approval.decided", decision="respond", response=DIGEST)
CLAIM = of("action.claimed")
APPROVED = of("action.claimed", approval=apr(), review_hash=REVIEW)
SEC = 1_000_000
AGAIN = of("action.claimed", epoch=2, at=15 * SEC + 1)
DONE = of("action.settled")
FAILED = of("action.settled", outcome="failed")
DOUBT = of("action.in_doubt")
RECONCILED = of("action.reconciled")
ANSWER_EDIT = of("approval.decided", decision="edit")
EDIT = of("action.edited")
NEXT: Entry = {"revision": 2, "action_hash": "ee" * 32, "approval": apr(2), "review_hash": "ef" * 32}
APPROVE_EDIT = of("approval.decided", person=BOB, **NEXT)
CLAIM_EDIT = of("action.claimed", **NEXT)
ANEW = of("action.redecided", was="stale", approval=apr(3), review_hash="bb" * 32)
APPROVE_ANEW = of("approval.decided", person=BOB, approval=apr(3), review_hash="bb" * 32)
CLAIM_ANEW = of("action.claimed", approval=apr(3), review_hash="bb" * 32)
STALE = of("action.stale")
EXPIRED = of("action.expired")
WITHDRAWN = of("action.withdrawn")
REVOKED = of("action.revoked")
CONFIRMED = of("action.redecided")
LATE = of("action.late_report")
CONFLICT = of("action.late_report", outcome="failed", applied=False, settled="succeeded")
OTHER_DONE = tuple(
    of(kind, action=act(2), **fields)
    for kind, fields in (
        ("action.proposed", {}),
        ("action.claimed", {}),
        ("action.settled", {}),
    )
)
MOVED = of("policy.activated", snapshot="v1:00", previous=SNAPSHOT)
UNDER: Entry = {"policy": "v1:00"}


def follow(*entries: Entry, start: tuple[Entry, ...] = START, whole: bool = True) -> list[str]:
    """What is wrong with these entries, each with the place of its entry among them."""
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=whole)
    for number, entry in enumerate((*start, *entries), -len(start)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    return [f"{problem.where}: {problem.what}" for problem in findings.problems()]


@pytest.mark.parametrize(
    "life",
    [
        (ALLOWED, CLAIM, DONE),
        (of("action.proposed", decision="allow_with_constraints"), CLAIM, FAILED),
        (DENIED,),
        (HELD, APPROVE, APPROVED, DONE),
        (HELD, REJECT),
        (HELD, EXPIRED),
        (ASKED, RESPOND),
        (ASKED, REJECT),
        (ASKED, STALE, ANEW, {**RESPOND, "approval": apr(3), "review_hash": "bb" * 32}),
        (HELD, WITHDRAWN),
        (HELD, APPROVE, REVOKED),
        (ALLOWED, CLAIM, DOUBT, RECONCILED),
        (ALLOWED, CLAIM, DOUBT, LATE, CONFLICT),
        (ALLOWED, CLAIM, DOUBT, RECONCILED, CONFLICT),
        (ALLOWED, CLAIM, DONE, *OTHER_DONE, {**CONFLICT, "action": act(2)}),
        (HELD, CONFIRMED, APPROVE, CONFIRMED, APPROVED, DONE),
        (ALLOWED, {**CONFIRMED, "decision": "allow"}, {**CLAIM, "approval": None}, DONE),
        (HELD, STALE, of("action.redecided", was="stale", decision="deny", approval=None)),
        (ALLOWED, CLAIM, AGAIN, {**DONE, "epoch": 2}),
        (ALLOWED, CLAIM, AGAIN, {**AGAIN, "epoch": 3, "at": 30 * SEC + 1}, {**DONE, "epoch": 3}),
        (ALLOWED, CLAIM, MOVED, AGAIN, {**DONE, "epoch": 2}),
        (ALLOWED, MOVED, {**CONFIRMED, **UNDER, "decision": "allow"}, {**CLAIM, **UNDER}, DONE),
        (HELD, MOVED, {**CONFIRMED, **UNDER, "decision": "allow"}, APPROVE, {**APPROVED, **UNDER}, DONE),
        (ALLOWED, {**STALE, "decision": "allow"}, {**ANEW, "tier": 4}, APPROVE_ANEW, CLAIM_ANEW, DONE),
        (of("action.proposed", tier=None), CLAIM, DONE),
        (of("action.proposed", tier=4, observed="require_approval"), CLAIM, DONE),
        ({**HELD, "tier": 4}, APPROVE, APPROVED, DONE),
        (
            of("action.proposed", expires_at=17 * SEC),
            {**CLAIM, "at": SEC - 1},
            {**AGAIN, "at": 17 * SEC - 1},
            {**DONE, "epoch": 2},
        ),
        ({**HELD, "expires_at": SEC}, {**APPROVE, "at": SEC - 1}, {**APPROVED, "at": 2 * SEC}, DONE),
        ({**HELD, "expires_at": SEC}, STALE, ANEW, {**APPROVE_ANEW, "at": 2 * SEC}, CLAIM_ANEW, DONE),
        (
            HELD,
            ANSWER_EDIT,
            EDIT,
            APPROVE_EDIT,
            CLAIM_EDIT,
            {**DONE, "revision": 2, "action_hash": "ee" * 32},
        ),
        (HELD, ANSWER_EDIT, {**EDIT, "decision": "deny", "approval": None, "review_hash": None}),
        (HELD, APPROVE, STALE, ANEW, APPROVE_ANEW, CLAIM_ANEW, DONE),
        (ALLOWED, {**HELD, "action": act(2)}, CLAIM, DONE),
        (of("link.issued"), of("constraint.breached")),
    ],
)
def test_a_possible_life_passes(life: tuple[Entry, ...]) -> None:
    assert follow(*life) == []


@pytest.mark.parametrize(
    ("life", "why"),
    [
        ((CLAIM,), "never proposed"),
        ((DENIED, CLAIM), "without being allowed or approved"),
        ((of("action.proposed", decision="unheard_of"), CLAIM), "without being allowed or approved"),
        ((HELD, APPROVED), "without being allowed or approved"),
        ((HELD, REJECT, APPROVED), "without being allowed or approved"),
        ((HELD, {**APPROVE, "decision": "unheard_of"}, APPROVED), "without being allowed or approved"),
        ((ASKED, RESPOND, APPROVED), "without being allowed or approved"),
        ((HELD, APPROVE, EXPIRED, APPROVED), "without being allowed or approved"),
        ((ALLOWED, WITHDRAWN, CLAIM), "without being allowed or approved"),
        ((HELD, APPROVE, REVOKED, APPROVED), "without being allowed or approved"),
        ((HELD, APPROVE, STALE, APPROVED), "without being allowed or approved"),
        ((HELD, APPROVE, STALE, ANEW, CLAIM_ANEW), "without being allowed or approved"),
        ((ALLOWED, STALE, of("action.redecided", decision="allow"), CLAIM), "without being allowed"),
        ((HELD, of("action.redecided", decision="allow"), CLAIM), "without being allowed"),
        ((HELD, ANEW), "although the action was not stale"),
        ((ALLOWED, ANEW), "although the action was not stale"),
        ((HELD, EXPIRED, ANEW), "although the action was not stale"),
        ((DENIED, ANEW), "although the action was not stale"),
        ((DENIED, STALE), "had ended already"),
        ((HELD, REJECT, STALE), "had ended already"),
        ((HELD, STALE, of("action.redecided", decision="deny"), ANEW), "although the action was not stale"),
        ((HELD, STALE, ANEW, {**ANEW, "approval": apr(4)}), "although the action was not stale"),
        ((HELD, EXPIRED, WITHDRAWN), "had ended already"),
        ((HELD, EXPIRED, REJECT), "request had ended"),
        ((ALLOWED, {**CLAIM, "approval": apr(9)}), "another approval"),
        ((HELD, APPROVE, CLAIM), "another approval"),
        ((HELD, APPROVE, {**APPROVED, "review_hash": DIGEST}), "another review hash"),
        ((HELD, APPROVE, {**APPROVED, "review_hash": None}), "another review hash"),
        ((HELD, APPROVE, {**APPROVED, "action_hash": REVIEW}), "another action hash"),
        ((ALLOWED, CLAIM, {**DONE, "action_hash": REVIEW}), "another action hash"),
        ((ASKED, APPROVE), "a question was answered as what runs is"),
        ((ASKED, ANSWER_EDIT), "a question was answered as what runs is"),
        ((HELD, RESPOND), "what runs as a question"),
        ((ASKED, {**RESPOND, "response": None}), "a response without an answer"),
        ((HELD, {**APPROVE, "response": DIGEST}), "the other way round"),
        ((ASKED, RESPOND, RESPOND), "decided before"),
        (({**ALLOWED, "executor": "question"}, CLAIM), "nothing runs by one"),
        ((ALLOWED, LATE), "nobody holds"),
        ((ALLOWED, CLAIM, LATE), "not in doubt"),
        ((ALLOWED, CLAIM, DOUBT, {**LATE, "epoch": 2}), "nobody holds"),
        ((ALLOWED, CLAIM, DOUBT, LATE, RECONCILED), "settled before"),
        ((ALLOWED, CLAIM, DOUBT, RECONCILED, LATE), "settled before"),
        ((HELD, EDIT), "nobody answered the request that it supersedes with an edit"),
        ((HELD, REJECT, EDIT), "nobody answered the request that it supersedes with an edit"),
        ((HELD, ANSWER_EDIT, {**EDIT, "supersedes": apr(9)}), "nobody answered the request"),
        ((HELD, ANSWER_EDIT, {**EDIT, "person": BOB}), "another person edited"),
        ((HELD, ANSWER_EDIT, EDIT, EDIT), "makes a new revision"),
        ((HELD, ANSWER_EDIT, EDIT, CLAIM_EDIT), "without being allowed or approved"),
        ((HELD, ANSWER_EDIT, {**EDIT, "decision": "allow"}, CLAIM_EDIT), "without being allowed or approved"),
        ((HELD, {**ALLOWED, "revision": 2}), "was proposed before"),
        ((HELD, ANSWER_EDIT, EDIT, CLAIM), "not the current one"),
        ((ALLOWED, CLAIM, {**DONE, "namespace": "other"}), "never proposed"),
        ((ALLOWED, {**CLAIM, "action_hash": REVIEW}), "another action hash"),
        ((ALLOWED, {**CLAIM, "epoch": 0}), "with epoch 0 where 1 is next"),
        ((ALLOWED, CLAIM, {**AGAIN, "epoch": 1}), "with epoch 1 where 2 is next"),
        ((ALLOWED, CLAIM, {**AGAIN, "epoch": 3}), "with epoch 3 where 2 is next"),
        ((ALLOWED, AGAIN), "with epoch 2 where 1 is next"),
        ((ALLOWED, MOVED, AGAIN), "with epoch 2 where 1 is next"),
        ((ALLOWED, CLAIM, {**AGAIN, "at": 15 * SEC}), "before the lease of the claim before it had lapsed"),
        ((ALLOWED, CLAIM, AGAIN, {**AGAIN, "epoch": 3, "at": 29 * SEC}), "had lapsed"),
        ((of("action.proposed", executor="http"), CLAIM, {**AGAIN, "at": 1}), "had lapsed"),
        ((ALLOWED, MOVED, {**CLAIM, **UNDER}), "another policy than decided about it last"),
        ((ALLOWED, CLAIM, MOVED, {**AGAIN, **UNDER}), "another policy than decided about it last"),
        ((ALLOWED, of("action.redecided", decision="deny")), "more strictly"),
        ((ALLOWED, of("action.redecided")), "more strictly"),
        ((ALLOWED, of("action.redecided", decision="allow_with_constraints")), "more strictly"),
        ((ALLOWED, of("action.redecided", decision="unheard_of")), "more strictly"),
        ((HELD, of("action.redecided", decision="deny")), "more strictly"),
        ((HELD, APPROVE, of("action.redecided", decision="deny")), "more strictly"),
        ((HELD, of("action.redecided", tier=3)), "more strictly"),
        ((ALLOWED, CLAIM, of("action.redecided", decision="allow")), "not open"),
        ((HELD, EXPIRED, of("action.redecided")), "not open"),
        ((of("action.proposed", tier=4),), "tier 4 runs without a person"),
        ((of("action.proposed", tier=4, decision="allow_with_constraints"),), "tier 4 runs without a person"),
        ((of("action.proposed", tier=5),), "tier 5 runs without a person"),
        ((of("action.proposed", tier=0),), "tier 0 runs without a person"),
        (
            ({**HELD, "tier": 4}, of("action.redecided", decision="allow", tier=4)),
            "tier 4 runs without a person",
        ),
        (
            (of("action.proposed", expires_at=SEC), {**CLAIM, "at": SEC}),
            "after the time that it was allowed for",
        ),
        (
            (of("action.proposed", expires_at=16 * SEC), CLAIM, {**AGAIN, "at": 16 * SEC}),
            "after the time that it was allowed for",
        ),
        (({**HELD, "expires_at": SEC}, {**APPROVE, "at": SEC}), "after its time"),
        (({**HELD, "expires_at": SEC}, {**REJECT, "at": SEC}), "after its time"),
        ((ALLOWED, CLAIM, DONE, AGAIN), "claimed again after it had run"),
        ((ALLOWED, CLAIM, FAILED, AGAIN), "claimed again after it had run"),
        ((ALLOWED, CLAIM, DOUBT, AGAIN), "claimed again after it had run"),
        ((ALLOWED, DONE), "nobody holds"),
        ((ALLOWED, DOUBT), "nobody holds"),
        ((ALLOWED, CLAIM, {**DONE, "epoch": 2}), "nobody holds"),
        ((ALLOWED, CLAIM, {**DOUBT, "epoch": 2}), "nobody holds"),
        ((ALLOWED, CLAIM, AGAIN, DONE), "nobody holds"),
        ((ALLOWED, CLAIM, {**DONE, "revision": 2}), "not the current one"),
        ((ALLOWED, CLAIM, {**DONE, "action": act(2)}), "never proposed"),
        ((ALLOWED, CLAIM, DONE, DONE), "settled before"),
        ((ALLOWED, CLAIM, DONE, *OTHER_DONE, OTHER_DONE[-1]), "settled before"),
        ((ALLOWED, CLAIM, DOUBT, FAILED), "late report or by a person"),
        ((ALLOWED, CLAIM, DOUBT, DONE), "late report or by a person"),
        ((ALLOWED, CLAIM, DONE, DOUBT), "in doubt after it was settled"),
        ((ALLOWED, CLAIM, {**DONE, "outcome": "done"}), "as succeeded or failed"),
        ((ALLOWED, CLAIM, RECONCILED), "without having been in doubt"),
        ((ALLOWED, CLAIM, EXPIRED), "only its outcome can follow"),
        ((ALLOWED, CLAIM, STALE), "only its outcome can follow"),
        ((ALLOWED, CLAIM, EDIT), "claimed already"),
        ((ALLOWED, CLAIM, DONE, EDIT), "claimed already"),
        ((EDIT,), "never proposed"),
        ((HELD, ANSWER_EDIT, {**EDIT, "revision": 1}), "makes a new revision"),
        ((ALLOWED, ALLOWED), "was proposed before"),
        ((APPROVE,), "nobody requested"),
        ((HELD, {**APPROVE, "approval": apr(9)}), "nobody requested"),
        ((HELD, APPROVE, APPROVE), "decided before"),
        ((HELD, REJECT, APPROVE), "decided before"),
        ((HELD, {**APPROVE, "action_hash": REVIEW}), "another action hash"),
        ((HELD, {**APPROVE, "review_hash": DIGEST}), "another review hash"),
        ((HELD, {**REJECT, "review_hash": DIGEST}), "another review hash"),
        ((HELD, {**APPROVE, "revision": 2}), "another action or revision"),
        ((HELD, {**APPROVE, "action": act(2)}), "another action or revision"),
        ((HELD, ANSWER_EDIT, EDIT, APPROVE), "decided before"),
        ((HELD, STALE, APPROVE), "request had ended"),
        ((HELD, EXPIRED, APPROVE), "request had ended"),
        ((HELD, {**HELD, "action": act(2)}), "request was made before"),
        ((of("action.proposed", approval=apr(), review_hash=REVIEW),), "of what is not held"),
        ((of("action.proposed", decision="require_approval", approval=apr()),), "without the other"),
        ((of("action.proposed", decision="require_approval", review_hash=REVIEW),), "without the other"),
    ],
)
def test_an_impossible_life_fails_at_its_last_entry(life: tuple[Entry, ...], why: str) -> None:
    assert follow(*life[:-1]) == []
    (problem,) = follow(*life)
    assert problem.startswith(f"entry {len(life) - 1}: {life[-1]['kind']}: ")
    assert why in problem


def test_what_was_approved_by_a_stranger_and_for_other_bytes_is_told_once_each() -> None:
    wrong = follow(HELD, {**APPROVE, "person": EVE}, {**APPROVED, "review_hash": DIGEST}, DONE)
    assert [problem.split(": ", 2)[2] for problem in wrong] == [
        "it names a person who is not enrolled",
        "the claim names another review hash than was approved",
    ]


def test_what_is_not_enforced_is_counted() -> None:
    observed = of("action.proposed", tier=4, observed="require_approval")
    permitted = of("action.proposed", action=act(2), observed="allow")
    meaning = Meaning(Findings(), roster=None, whole=True)
    for number, entry in enumerate((*START, observed, permitted, CLAIM)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    assert meaning.unenforced == 1


def test_no_more_than_a_few_namespaces_are_followed_and_that_is_said() -> None:
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=True)
    for number in range(200):
        meaning.follow(number, {"at": number, "namespace": f"n{number}", **of("policy.activated")})
    (problem,) = findings.problems()
    assert findings.cannot_check
    assert problem.where == "entry 64"
    assert "more than 64 namespaces" in problem.what
    meaning.follow(200, {"at": 200, "namespace": "n0", **of("policy.activated")})
    assert findings.problems()[0].where == "entry 200"


def test_the_gate_keeps_to_the_times_that_readers_of_its_log_expect() -> None:
    assert LEASE_US >= LEASE
    assert MAX_LIFETIME_SEC * SEC <= MAX_LIFE
    assert SENDING_SEC >= replaying.SENDING_SEC


# --- who may ----------------------------------------------------------------------------------------------

OPERATED = of("key.added", person=ANN)
BY_KEY = {**HELD, "key": AGENT}
ANNS = "key_" + "a" * 32
PERSON_KEY = of("key.added", key=ANNS, key_kind="person", topics=[], person=ANN)
ALONE = (of("policy.activated"), of("person.added"))
LOWERED = of("approval.decided", **NEXT, tightened=True)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((HELD, {**APPROVE, "person": EVE}), "not enrolled"),
        ((of("person.removed", person=BOB), HELD, APPROVE), "had been removed"),
        ((of("person.added", person=EVE, roles=["auditor"]), HELD, {**APPROVE, "person": EVE}), "no role"),
        ((OPERATED, BY_KEY, {**APPROVE, "person": ANN}), "operates the agent"),
        ((HELD, ANSWER_EDIT, EDIT, {**APPROVE_EDIT, "person": ANN}), "had edited it"),
        ((HELD, ANSWER_EDIT, EDIT, {**LOWERED, "tightened": False}), "had edited it"),
        ((HELD, {**APPROVE, "solo": True}), "marked solo although 2 people"),
        ((PERSON_KEY, HELD, {**APPROVE, "key": ANNS}), "not this person's"),
        ((of("key.added"), HELD, {**APPROVE, "key": AGENT}), "not this person's"),
        ((HELD, {**APPROVE, "key": ANNS}), "a key that was never made"),
        ((PERSON_KEY, {**ALLOWED, "key": ANNS}), "with a key of kind person"),
        ((of("key.added"), of("key.revoked"), {**ALLOWED, "key": AGENT}), "had been revoked"),
        (({**ALLOWED, "key": AGENT},), "a key that was never made"),
        ((of("key.added"), of("key.added")), "made before"),
        ((of("key.added"), of("key.revoked"), of("key.revoked")), "revoked before"),
        ((of("key.revoked"),), "never made"),
        ((of("person.added"),), "enrolled before"),
        ((of("person.removed"), of("person.added")), "enrolled before"),
        ((of("person.removed", person=EVE),), "never enrolled"),
        ((HELD, APPROVE, of("action.revoked", person=EVE)), "not enrolled"),
        ((ALLOWED, CLAIM, DOUBT, of("action.reconciled", person=EVE)), "not enrolled"),
        (({**ALLOWED, "request": DIGEST}, {**ALLOWED, "request": DIGEST, "action": act(2)}), "same request"),
        (({**ALLOWED, "policy": "v1:" + "0" * 64},), "not in force"),
        ((of("policy.activated", snapshot="v1:00"),), "replaces another policy"),
        ((of("policy.activated", snapshot="v1:00", previous=SNAPSHOT), ALLOWED), "not in force"),
        ((ALLOWED, of("policy.activated", snapshot="v1:00", previous=SNAPSHOT), CLAIM), "not in force"),
    ],
)
def test_whoever_may_not_fails(entries: tuple[Entry, ...], why: str) -> None:
    assert follow(*entries[:-1]) == []
    (problem,) = follow(*entries)
    assert problem.startswith(f"entry {len(entries) - 1}: ")
    assert why in problem


@pytest.mark.parametrize(
    "entries",
    [
        (OPERATED, BY_KEY, APPROVE, APPROVED),
        (OPERATED, BY_KEY, {**REJECT, "person": ANN}),
        (PERSON_KEY, HELD, {**APPROVE, "person": ANN, "key": ANNS}, APPROVED),
        (HELD, ANSWER_EDIT, EDIT, LOWERED, CLAIM_EDIT),
        (of("key.added"), BY_KEY, of("key.revoked"), ANSWER_EDIT, {**EDIT, "key": AGENT}),
        (
            {**ALLOWED, "request": DIGEST},
            {**ALLOWED, "request": DIGEST, "agent": "other", "action": act(2)},
            {**ALLOWED, "request": "DEF", "action": act(3)},
        ),
        (of("policy.activated", snapshot="v1:00", previous=SNAPSHOT), {**ALLOWED, "policy": "v1:00"}),
    ],
)
def test_whoever_may_passes(entries: tuple[Entry, ...]) -> None:
    assert follow(*entries) == []


def test_nothing_is_decided_under_a_policy_before_one_is_activated() -> None:
    assert "never activated" in follow(ALLOWED, start=())[0]


def test_the_only_person_enrolled_approves_alone_and_is_listed() -> None:
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=True)
    entries = (*ALONE, OPERATED, BY_KEY, {**APPROVE, "person": ANN, "solo": True}, APPROVED)
    for number, entry in enumerate(entries):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    assert (findings.problems(), list(meaning.solo)) == ((), [4])


def test_an_editors_own_tighter_approval_is_listed() -> None:
    meaning = Meaning(Findings(), roster=None, whole=True)
    for number, entry in enumerate((*START, HELD, ANSWER_EDIT, EDIT, LOWERED)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    assert list(meaning.tightened) == [6]


# --- beginnings that are not there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        CLAIM,
        DONE,
        APPROVE,
        EDIT,
        STALE,
        of("action.revoked", person=EVE),
        of("key.revoked", key=ANNS),
        {**ALLOWED, "key": ANNS, "action": act(7)},
        of("person.removed", person=EVE),
        of("passkey.revoked"),
        of("action.claimed", permit="prm_" + "0" * 32),
    ],
)
def test_what_began_before_the_first_entry_is_not_judged(entry: Entry) -> None:
    assert follow(entry) != []
    assert follow(entry, whole=False) == []


def test_what_contradicts_itself_fails_without_its_beginning_too() -> None:
    assert follow(ALLOWED, CLAIM, DONE, AGAIN, whole=False) != []
    assert follow(HELD, APPROVED, whole=False) != []
    assert follow(of("person.removed", person=BOB), HELD, APPROVE, whole=False) != []
    assert follow({**ALLOWED, "policy": "v1:00"}, whole=False) != []
