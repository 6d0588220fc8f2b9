"""Decisions over HTTP: who may answer what, to exactly what was shown, and only once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from server_desk import Desk, refused, staffed


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("decisions")) as running:
        yield running


def answer(desk: Desk, who: str, shown: tuple[str, str], decision: str, **rest: Any) -> httpx.Response:
    """Somebody's answer to an approval request, to what its review hash stands for."""
    approval, review_hash = shown
    body = {"decision": decision, "expected_hash": review_hash, **rest}
    return desk.of(who).post(f"/v1/approvals/{approval}/decisions", json=body)


def asked(action: dict[str, Any]) -> tuple[str, str]:
    """The approval request of a held action, and the review hash of what it shows."""
    assert action["state"] == "held"
    return action["approval"]["id"], action["approval"]["review_hash"]


def edited(desk: Desk, action: dict[str, Any], who: str, **changes: str) -> tuple[str, str]:
    """Somebody edits a held action; the request about the revision that it became."""
    made = answer(desk, who, asked(action), "edit", args={**action["args"], **changes})
    assert made.status_code == 200, made.text
    return asked(made.json()["action"])


def state(desk: Desk, action: dict[str, Any]) -> str:
    found: str = desk.of("agent").get(f"/v1/actions/{action['id']}").json()["state"]
    return found


# --- what was seen is what is decided on -------------------------------------------------------------------


@pytest.mark.parametrize("expected", ["", "0" * 64, "ü", "x" * 100_000], ids=["empty", "zeros", "ü", "long"])
@pytest.mark.parametrize("decision", ["approve", "reject", "edit"])
def test_a_wrong_hash_is_refused_and_the_right_one_is_told(desk: Desk, decision: str, expected: str) -> None:
    action = desk.refund()
    approval, review_hash = asked(action)
    rest = {"approve": {}, "reject": {"reason_code": "other"}, "edit": {"args": action["args"]}}[decision]
    before = desk.footprint()
    document = refused(answer(desk, "Ben", (approval, expected), decision, **rest), 409, "changed")
    assert document["current"] == {
        "approval": approval,
        "state": "held",
        "review_hash": review_hash,
        "revision": 1,
    }
    assert desk.footprint() == before


def test_the_action_hash_is_not_the_review_hash(desk: Desk) -> None:
    action = desk.refund()
    refused(answer(desk, "Ben", (asked(action)[0], action["action_hash"]), "approve"), 409, "changed")


def test_a_stale_hash_is_refused_with_the_difference_and_the_current_request(desk: Desk) -> None:
    action = desk.refund("200.00")
    following = edited(desk, action, "Cleo", amount_usd="150.00", recipient="other")
    before = desk.footprint()
    document = refused(answer(desk, "Ben", asked(action), "approve"), 409, "changed", "revision 2")
    assert document["difference"] == [
        {"field": "amount_usd", "before": "200.00", "after": "150.00"},
        {"field": "recipient", "before": "acme", "after": "other"},
    ]
    assert (document["current"]["approval"], document["current"]["review_hash"]) == following
    assert document["fix"]
    assert desk.footprint() == before


def test_the_hash_of_another_request_is_refused(desk: Desk) -> None:
    one, two = desk.refund("200.00"), desk.refund("200.00")
    refused(answer(desk, "Ben", (asked(one)[0], asked(two)[1]), "approve"), 409, "changed")
    assert (state(desk, one), state(desk, two)) == ("held", "held")


def test_after_two_edits_the_first_request_points_at_the_third(desk: Desk) -> None:
    action = desk.refund("200.00")
    second = edited(desk, action, "Cleo", amount_usd="190.00")
    args = {**action["args"], "amount_usd": "180.00"}
    third = asked(answer(desk, "Ben", second, "edit", args=args).json()["action"])
    document = refused(answer(desk, "Ben", asked(action), "approve"), 409, "changed")
    assert (document["current"]["approval"], document["current"]["review_hash"]) == third


# --- once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["approve", "reject"])
@pytest.mark.parametrize("second", ["approve", "reject", "edit"])
def test_a_second_decision_is_refused_whatever_it_says(desk: Desk, first: str, second: str) -> None:
    action = desk.refund()
    rest: dict[str, dict[str, Any]] = {
        "approve": {},
        "reject": {"reason_code": "other"},
        "edit": {"args": {**action["args"], "amount_usd": "120.00"}},
    }
    assert answer(desk, "Ben", asked(action), first, **rest[first]).status_code == 200
    before = desk.footprint()
    for who in ("Ben", "Cleo"):
        document = refused(answer(desk, who, asked(action), second, **rest[second]), 409, "already-decided")
        assert document["state"] == ("approved" if first == "approve" else "rejected")
    assert desk.footprint() == before


def test_of_eight_simultaneous_answers_one_counts(desk: Desk) -> None:
    action = desk.refund()
    before = desk.footprint()["decisions"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: answer(
                    desk,
                    ("Ben", "Cleo")[n % 2],
                    asked(action),
                    ("approve", "reject")[n // 4],
                    **({"reason_code": "other"} if n // 4 else {}),
                ),
                range(8),
            )
        )
    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    assert desk.footprint()["decisions"] == before + 1


def test_what_its_proposer_withdrew_is_not_decided(desk: Desk) -> None:
    action = desk.refund()
    assert desk.of("agent").post(f"/v1/actions/{action['id']}/withdraw").status_code == 200
    before = desk.footprint()
    document = refused(answer(desk, "Ben", asked(action), "approve"), 409, "already-decided")
    assert document["state"] == "withdrawn"
    assert desk.footprint() == before


def test_an_expired_request_is_not_decided_and_expired_is_not_rejected(desk: Desk) -> None:
    body = {"topic": "desk.fleeting.delete", "args": {"account_id": "a-1"}}
    action = desk.of("agent").post("/v1/actions", json=body).json()
    time.sleep(1.01)
    refused(answer(desk, "Ben", asked(action), "approve"), 410, "expired")
    seen = desk.of("agent").get(f"/v1/actions/{action['id']}").json()
    assert (seen["state"], seen["approval"]["state"]) == ("expired", "expired")
    assert "rejection" not in seen
    before = desk.footprint()
    rejection = answer(desk, "Ben", asked(action), "reject", reason_code="other")
    refused(rejection, 410, "expired", "nothing ran")
    assert desk.footprint() == before


def test_nobody_has_to_ask_for_a_deadline_to_pass(desk: Desk) -> None:
    body = {"topic": "desk.fleeting.delete", "args": {"account_id": "a-2"}}
    action = desk.of("agent").post("/v1/actions", json=body).json()
    give_up = time.monotonic() + 30
    while state(desk, action) == "held" and time.monotonic() < give_up:
        time.sleep(0.1)
    assert state(desk, action) == "expired"


# --- who ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["agent", "other-agent", "executor"])
@pytest.mark.parametrize("decision", ["approve", "reject", "edit"])
def test_no_key_but_a_persons_decides(desk: Desk, who: str, decision: str) -> None:
    action = desk.refund()
    rest = {"approve": {}, "reject": {"reason_code": "other"}, "edit": {"args": action["args"]}}[decision]
    before = desk.footprint()
    refused(answer(desk, who, asked(action), decision, **rest), 403, "forbidden", "A person decides")
    assert desk.footprint() == before


def test_nobody_decides_without_a_key(desk: Desk) -> None:
    action = desk.refund()
    approval, review_hash = asked(action)
    before = desk.footprint()
    body = {"decision": "approve", "expected_hash": review_hash}
    refused(desk.client().post(f"/v1/approvals/{approval}/decisions", json=body), 401, "unauthenticated")
    assert desk.footprint() == before


def test_who_operates_the_agent_does_not_approve_its_action(desk: Desk) -> None:
    action = desk.refund()
    before = desk.footprint()
    refused(answer(desk, "Ana", asked(action), "approve"), 403, "separation-of-duties", "operate")
    assert desk.footprint() == before
    assert answer(desk, "Ana", asked(desk.refund(agent="other-agent")), "approve").status_code == 200


def test_the_operator_may_still_reject(desk: Desk) -> None:
    action = desk.refund()
    assert answer(desk, "Ana", asked(action), "reject", reason_code="suspicious").status_code == 200
    assert state(desk, action) == "rejected"


def test_on_whose_behalf_it_is_does_not_approve_it(desk: Desk) -> None:
    action = desk.refund(principal=desk.people["Ben"])
    before = desk.footprint()
    refused(answer(desk, "Ben", asked(action), "approve"), 403, "separation-of-duties")
    assert desk.footprint() == before
    assert answer(desk, "Cleo", asked(action), "approve").status_code == 200


def test_who_edited_does_not_approve_alone_and_another_person_does(desk: Desk) -> None:
    action = desk.refund("200.00")
    following = edited(desk, action, "Ben", recipient="a friend of Ben")
    before = desk.footprint()
    refused(answer(desk, "Ben", following, "approve"), 403, "separation-of-duties", "edited")
    assert desk.footprint() == before
    assert answer(desk, "Cleo", following, "approve").status_code == 200
    seen = desk.of("agent").get(f"/v1/actions/{action['id']}").json()
    assert (seen["state"], seen["revision"], seen["args"]["recipient"]) == ("approved", 2, "a friend of Ben")


def test_who_only_lowered_the_amount_may_approve(desk: Desk) -> None:
    following = edited(desk, desk.refund("200.00"), "Ben", amount_usd="150.00")
    assert answer(desk, "Ben", following, "approve").status_code == 200


def test_a_colleagues_cent_does_not_launder_an_edit(desk: Desk) -> None:
    action = desk.refund("200.00")
    second = edited(desk, action, "Ben", recipient="a friend of Ben")
    args = {**action["args"], "recipient": "a friend of Ben", "amount_usd": "199.99"}
    third = asked(answer(desk, "Cleo", second, "edit", args=args).json()["action"])
    refused(answer(desk, "Ben", third, "approve"), 403, "separation-of-duties")


def test_an_edit_is_decided_by_the_policy_again(desk: Desk) -> None:
    action = desk.refund("200.00")
    made = answer(desk, "Ben", asked(action), "edit", args={**action["args"], "amount_usd": "6000.00"})
    assert made.json()["action"]["state"] == "denied"
    lowered = desk.refund("200.00")
    following = edited(desk, lowered, "Ben", amount_usd="5.00")
    assert state(desk, lowered) == "held"
    assert answer(desk, "Cleo", following, "approve").status_code == 200


# --- what an answer says -----------------------------------------------------------------------------------

UNSAYABLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "perhaps": ({"decision": "perhaps"}, "wrong-type", "'approve', 'reject', 'edit' or 'respond'"),
    "a response that says nothing": ({"decision": "respond"}, "invalid-input", "$.response"),
    "a response to what is no question": (
        {"decision": "respond", "response": "Yes."},
        "invalid-input",
        "only a question",
    ),
    "an approval with a response": (
        {"decision": "approve", "response": "Yes."},
        "invalid-input",
        "$.response",
    ),
    "an answer in capitals": ({"decision": "APPROVE"}, "wrong-type", "$.decision"),
    "an answer that is true": ({"decision": True}, "wrong-type", "$.decision"),
    "no answer": ({}, "missing-field", "$.decision"),
    "a rejection without a reason": ({"decision": "reject"}, "missing-field", "$.reason_code"),
    "a reason nobody knows": (
        {"decision": "reject", "reason_code": "mood"},
        "wrong-type",
        "$.reason_code",
    ),
    "an approval with arguments": ({"decision": "approve", "args": {}}, "invalid-input", "$.args"),
    "an edit without arguments": ({"decision": "edit"}, "invalid-input", "$.args"),
    "an edit of nothing": ({"decision": "edit", "args": {}}, "missing-field", "needs it"),
    "an edit with a new field": (
        {"decision": "edit", "args": {"order_id": "A", "amount_usd": "1", "recipient": "b", "x": 1}},
        "unknown-field",
        "'x'",
    ),
    "an edit with a tenth of a cent": (
        {"decision": "edit", "args": {"order_id": "A", "amount_usd": "1.001", "recipient": "b"}},
        "excess-digits",
        "$.args.amount_usd",
    ),
    "a long note": ({"decision": "approve", "note": "n" * 4_001}, "invalid-input", "$.note"),
    "constraints of one's own": (
        {"decision": "approve", "constraints": {}},
        "unknown-field",
        "$.constraints",
    ),
    "solo": ({"decision": "approve", "solo": True}, "unknown-field", "$.solo"),
    "another person": ({"decision": "approve", "person": "per_x"}, "unknown-field", "$.person"),
}


@pytest.mark.parametrize("what", UNSAYABLE)
def test_an_answer_that_says_nothing_known_leaves_the_request_as_it_was(desk: Desk, what: str) -> None:
    body, slug, word = UNSAYABLE[what]
    approval, review_hash = asked(desk.refund())
    before = desk.footprint()
    path = f"/v1/approvals/{approval}/decisions"
    refused(desk.of("Ben").post(path, json={"expected_hash": review_hash, **body}), 422, slug, word)
    assert desk.footprint() == before


def test_an_answer_without_a_hash_is_refused(desk: Desk) -> None:
    approval, _ = asked(desk.refund())
    before = desk.footprint()
    for body, slug in (({}, "missing-field"), ({"expected_hash": None}, "wrong-type")):
        path = f"/v1/approvals/{approval}/decisions"
        refused(desk.of("Ben").post(path, json={"decision": "approve", **body}), 422, slug, "$.expected_hash")
    assert desk.footprint() == before


def test_an_edit_that_changes_nothing_is_refused(desk: Desk) -> None:
    action = desk.refund("200.00")
    before = desk.footprint()
    same = {**action["args"], "amount_usd": 200}
    refused(answer(desk, "Ben", asked(action), "edit", args=same), 422, "invalid-input", "changes nothing")
    assert desk.footprint() == before


def test_the_agent_is_told_why_it_was_rejected_but_not_by_whom(desk: Desk) -> None:
    action = desk.refund()
    answer(desk, "Ben", asked(action), "reject", reason_code="wrong_amount", note="Half of it.")
    seen = desk.of("agent").get(f"/v1/actions/{action['id']}")
    assert seen.json()["rejection"] == {"reason_code": "wrong_amount", "note": "Half of it."}
    assert "Ben" not in seen.text
    assert desk.people["Ben"] not in seen.text


# --- requests that are not there, and the other verbs of people ---------------------------------------------


@pytest.mark.parametrize(
    "approval", ["apr_" + "0" * 32, "apr_x", "act_" + "0" * 32, "%00", "..", "x" * 4_000]
)
def test_a_request_that_is_not_there_is_not_found(desk: Desk, approval: str) -> None:
    before = desk.footprint()
    refused(answer(desk, "Ben", (approval, "0" * 64), "approve"), 404, "not-found")
    assert desk.footprint() == before


def test_a_get_decides_nothing(desk: Desk) -> None:
    approval, review_hash = asked(desk.refund())
    before = desk.footprint()
    for path in (
        f"/v1/approvals/{approval}/decisions?decision=approve&expected_hash={review_hash}",
        f"/v1/actions/{approval}/reconcile",
        f"/v1/actions/{approval}/revoke",
        f"/v1/actions/{approval}/withdraw",
        "/v1/sign-in",
        "/v1/sign-out",
    ):
        got = desk.of("Ben").get(path)
        refused(got, 405, "method-not-allowed")
        assert got.headers["allow"] == "POST"
    desk.of("Ben").get(f"/a/{approval}?decision=approve&expected_hash={review_hash}")
    assert desk.footprint() == before


def test_what_was_approved_can_be_revoked_by_people_only(desk: Desk) -> None:
    action = desk.refund()
    path = f"/v1/actions/{action['id']}/revoke"
    refused(desk.of("Ben").post(path), 409, "conflict", "reject it instead")
    answer(desk, "Ben", asked(action), "approve")
    before = desk.footprint()
    for who in ("agent", "executor"):
        refused(desk.of(who).post(path), 403, "forbidden")
    assert desk.footprint() == before
    assert desk.of("Cleo").post(path).json()["state"] == "revoked"
    refused(desk.of("Cleo").post(path), 409, "conflict")


def test_only_its_proposer_withdraws_an_action(desk: Desk) -> None:
    action = desk.refund()
    path = f"/v1/actions/{action['id']}/withdraw"
    before = desk.footprint()
    for who in ("Ben", "executor"):
        refused(desk.of(who).post(path), 403, "forbidden")
    theirs = desk.of("other-agent").post(path)
    nobodys = desk.of("other-agent").post(f"/v1/actions/act_{'0' * 32}/withdraw")
    refused(theirs, 404, "not-found")
    assert theirs.text.replace(action["id"], f"act_{'0' * 32}") == nobodys.text
    assert desk.footprint() == before
    assert desk.of("agent").post(path).json()["state"] == "withdrawn"
    refused(desk.of("agent").post(path), 409, "conflict")


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"outcome": "in_doubt", "note": "n"}, "wrong-type"),
        ({"outcome": "succeeded"}, "missing-field"),
        ({"outcome": "succeeded", "note": "  "}, "invalid-input"),
        ({"outcome": "succeeded", "note": "n" * 4_001}, "invalid-input"),
        ({"outcome": "succeeded", "note": "n", "result": {}}, "unknown-field"),
    ],
)
def test_a_reconciliation_says_how_it_was_found_out(desk: Desk, body: dict[str, str], slug: str) -> None:
    path = f"/v1/actions/{desk.refund()['id']}/reconcile"
    before = desk.footprint()
    refused(desk.of("Ben").post(path, json=body), 422, slug)
    assert desk.footprint() == before


def test_only_what_is_in_doubt_is_reconciled_and_only_by_people(desk: Desk) -> None:
    path, body = f"/v1/actions/{desk.refund()['id']}/reconcile", {"outcome": "failed", "note": "looked it up"}
    before = desk.footprint()
    refused(desk.of("agent").post(path, json=body), 403, "forbidden")
    refused(desk.of("Ben").post(path, json=body), 409, "conflict", "is held")
    assert desk.footprint() == before
