"""Permits at the gate: minting is not claiming, redeeming is, and of many attempts one gets to run."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from house import BOTH, House, ManualClock, agent
from interlock import Gate
from interlock.gate import Answer, Report
from interlock.gate.ending import expire
from interlock.gate.permit_rows import (
    MAX_OPEN,
    OfflineRefused,
    PermitInvalid,
    PermitLapsed,
    PermitNotRedeemed,
    PermitOutstanding,
    PermitRedeemed,
    close_permit,
    load_permit,
)
from interlock.gate.permits import Issued, Redeemed
from interlock.gate.records import load_action, save
from interlock.identity import Caller, KeyKind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import (
    ConstraintBreached,
    Expired,
    Forbidden,
    InDoubt,
    InterlockError,
    NotClaimable,
    NotFound,
    OutOfScope,
    StaleClaim,
    Tampered,
    Unauthenticated,
)
from interlock.model.topics import TopicPattern
from interlock.permit import PermitKey, mint, verify
from interlock.verify import verify_export

DATABASES = BOTH

HOST = "payments-host"
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}, recipient: string}
    roles: {amount: amount_usd, recipient: recipient}
    execute: {permitted: {executor: payments-host}}
  notes.add:
    tier: 2
    args: {text: string}
    execute: {permitted: {executor: notes-host, offline: true}}
    undo: notes.drop
    undo_within: 1m
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  account.delete: {tier: 4, args: {account_id: string}, execute: {permitted: {executor: payments-host}}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
"""
NOT_OFFLINE = POLICY.replace(", offline: true", "")
STRICTER = POLICY.replace("decision: allow", "decision: deny")
NOTES_DENIED = POLICY + "  - {id: no, match: {topics: [notes.add]}, decision: deny}\n"
SMALL = {"order_id": "A-12", "amount_usd": "5.00", "recipient": "acme"}
DONE = Report(ActionState.SUCCEEDED, "The bank took it.", {"id": 7})
FAILED = Report(ActionState.FAILED, "The bank refused it.")


def executor(name: str = HOST, topics: str = "*", key_id: str | None = None) -> Caller:
    return Caller(KeyKind.EXECUTOR, key_id, executor=name, topics=(TopicPattern.parse(topics),))


NOTES = executor("notes-host")


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    return open_house(POLICY, clock=clock)


def refund(house: House, **args: Any) -> str:
    action = house.propose("pay.refund", {**SMALL, **args}).action
    assert action is not None
    return action.id


def note(house: House) -> str:
    action = house.propose("notes.add", {"text": "hello"}).action
    assert action is not None
    assert action.state == "allowed"
    return action.id


def permit(house: House, action_id: str | None = None, *, offline: bool = False) -> Issued:
    return house.home.permits.mint(action_id or refund(house), agent(), offline=offline)


def redeem(house: House, issued: Issued | str, caller: Caller | None = None) -> Redeemed:
    token = issued if isinstance(issued, str) else issued.token
    return house.home.permits.redeem(token, caller or executor())


def report(house: House, issued: Issued, said: Report = DONE, caller: Caller | None = None) -> str:
    default = executor(issued.permit.executor)
    return house.home.permits.report(issued.permit.action_id, issued.token, caller or default, said).state


def told(house: House, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in map(json.loads, house.entries()) if entry["kind"] == kind]


def permit_state(house: House, issued: Issued) -> str:
    [(state,)] = house.sql("SELECT state FROM permits WHERE id = ?", issued.permit.id)
    return state


def claims_of(house: House, issued: Issued) -> Any:
    return verify(issued.token, house.home.permit_keys.known(), issuer=house.home.permits.issuer)


def resigned(house: House, issued: Issued, **changes: Any) -> str:
    """A permit with other claims, signed with the gate's own key."""
    return mint(dataclasses.replace(claims_of(house, issued), **changes), house.home.permit_keys.current())


# --- minting ----------------------------------------------------------------------------------------------


def test_a_permit_names_its_entry_its_action_and_what_the_hash_covers(house: House) -> None:
    issued = permit(house)
    claims = claims_of(house, issued)
    body = json.loads(house.entries()[claims.entry])
    assert body["kind"] == "permit.minted"
    assert body["permit"] == claims.permit == issued.permit.id
    assert body["action_hash"] == claims.action_hash == house.view(claims.action)["action_hash"]
    assert (body["executor"], body["offline"], body["revision"]) == (HOST, False, 1)
    assert body["kid"] == house.home.permit_keys.current().kid
    assert body["expires_at"] == claims.expires_at * 1_000_000
    assert claims.policy == house.gate.active()
    assert claims.expires_at - claims.issued_at == 120
    assert house.view(claims.action)["executor_name"] == HOST
    assert "payments-host runs it under a permit" in house.view(claims.action)["user_message"]
    assert house.state(claims.action) == "allowed"


def test_a_permit_ends_with_the_allow_it_rests_on(house: House, clock: ManualClock) -> None:
    action = refund(house)
    clock.forward(3600 - 30)
    claims = claims_of(house, permit(house, action))
    assert claims.expires_at - claims.issued_at in (29, 30)
    clock.forward(31)
    with pytest.raises(Expired):
        permit(house, action)
    assert house.state(action) == "expired"


def test_what_is_held_denied_or_over_gets_no_permit(house: House) -> None:
    ann = house.person("Ann")
    held = refund(house, amount_usd="500.00")
    with pytest.raises(NotClaimable):
        permit(house, held)
    house.answer(held, ann, Answer.REJECT)
    with pytest.raises(NotClaimable):
        permit(house, held)
    assert told(house, "permit.minted") == []


def test_an_approved_action_gets_a_permit_and_runs_as_it_was_approved(house: House) -> None:
    held = refund(house, amount_usd="500.00")
    house.answer(held, house.person("Ann"))
    redeemed = redeem(house, permit(house, held))
    assert json.loads(redeemed.claim.binding.canonical())["args"]["amount_usd"] == "500.00"
    [claimed] = told(house, "action.claimed")
    assert claimed["approval"] == house.view(held)["approval"]["id"]


def test_only_the_proposer_and_the_executor_learn_that_there_is_an_action(house: House) -> None:
    action = refund(house)
    for stranger in (agent("other"), executor("notes-host"), executor(topics="notes.*"), executor("support")):
        with pytest.raises(NotFound):
            house.home.permits.mint(action, stranger)
    assert house.home.permits.mint(action, executor()).permit.executor == HOST


def test_a_topic_that_is_executed_otherwise_gets_no_permit(house: House) -> None:
    action = house.propose("notes.drop", {}).action
    assert action is not None
    with pytest.raises(NotClaimable, match="executed by caller"):
        permit(house, action.id)


def test_no_claim_but_a_redeemed_permit_runs_a_permitted_action(house: House) -> None:
    action = refund(house)
    for kind in (ExecutorKind.HTTP, ExecutorKind.CALLER):
        with pytest.raises(NotClaimable):
            house.gate.claim(action, kind)
    with pytest.raises(TypeError):
        house.gate.claim(action, ExecutorKind.PERMITTED)
    assert house.propose("pay.refund", {**SMALL, "order_id": "B"}, inline=True).claim is None
    assert house.ready() == []


def test_an_embedded_gate_says_that_only_a_server_permits(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with Gate.open(tmp_path / "policy.yaml") as gate:
        ran: list[str] = []
        guarded = gate.guard("notes.add")(lambda text: ran.append(text))
        with pytest.raises(NotClaimable, match="interlock serve"):
            guarded(text="hello")
        action = gate.propose("pay.refund", SMALL)
        assert (action["executor"], action["executor_name"], action["state"]) == (
            "permitted",
            HOST,
            "allowed",
        )
        with pytest.raises(NotClaimable, match="interlock serve"):
            gate.resume(action["id"])
        assert ran == []


def test_tiers_3_and_4_get_no_offline_permit(house: House) -> None:
    with pytest.raises(NotClaimable, match="Tier 3"):
        permit(house, offline=True)
    action = house.propose("account.delete", {"account_id": "x"}).action
    assert action is not None
    house.answer(action.id, house.person("Ann"))
    with pytest.raises(NotClaimable, match="Tier 4"):
        permit(house, action.id, offline=True)
    assert redeem(house, permit(house, action.id)).claim.epoch == 1


def test_who_asks_does_not_choose_offline(open_house: Callable[..., House]) -> None:
    """What people did not review as offline is redeemed, whoever asks: its proposer or its executor."""
    house = open_house(NOT_OFFLINE)
    action = note(house)
    for caller in (agent(), NOTES):
        with pytest.raises(OfflineRefused, match="run offline") as refused:
            house.home.permits.mint(action, caller, offline=True)
        assert (refused.value.slug, refused.value.status) == ("offline-refused", 409)
    assert told(house, "permit.minted") == []
    issued = permit(house, action)
    assert not claims_of(house, issued).offline
    with pytest.raises(PermitNotRedeemed):
        report(house, issued)
    assert redeem(house, issued, NOTES).claim.epoch == 1


def test_a_tier_that_was_raised_is_redeemed_whatever_the_catalogue_says(
    open_house: Callable[..., House],
) -> None:
    house = open_house(
        POLICY.replace(
            "  notes.add:\n    tier: 2\n",
            "  notes.add:\n    tier: 2\n    raise_to: [{tier: 3, when: args.text == 'all'}]\n",
        )
    )
    action = house.propose("notes.add", {"text": "all"}).action
    assert action is not None
    house.answer(action.id, house.person("Ann"))
    with pytest.raises(OfflineRefused, match="Tier 3"):
        permit(house, action.id, offline=True)
    assert redeem(house, permit(house, action.id), NOTES).claim.epoch == 1
    assert claims_of(house, permit(house, note(house), offline=True)).offline


def test_where_offline_was_taken_back_no_more_such_permits_are_minted(house: House) -> None:
    """One that is out is beyond reach, and still ends as reported."""
    out = permit(house, note(house), offline=True)
    waiting = house.propose("notes.add", {"text": "two"}).action
    assert waiting is not None
    house.activate(NOT_OFFLINE)
    for action in (out.permit.action_id, waiting.id):
        with pytest.raises(OfflineRefused):
            permit(house, action, offline=True)
    with pytest.raises(PermitOutstanding):
        permit(house, out.permit.action_id)
    assert len(told(house, "permit.minted")) == 1
    assert report(house, out) == "succeeded"
    assert redeem(house, permit(house, waiting.id), NOTES).claim.epoch == 1


def test_an_amount_above_the_limit_gets_no_permit(open_house: Callable[..., House]) -> None:
    limited = POLICY.replace("decision: allow}", "decision: allow, constraints: {max_amount_usd: 3}}")
    house = open_house(limited.replace("decision: allow,", "decision: allow_with_constraints,"))
    with pytest.raises(ConstraintBreached):
        permit(house)
    assert claims_of(house, permit(house, refund(house, amount_usd="2.00"))).constraints == {
        "max_amount_usd": "3"
    }


def test_an_action_has_at_most_eight_open_permits_and_asking_again_answers_the_newest(
    house: House, clock: ManualClock
) -> None:
    action = refund(house)
    issued = [permit(house, action) for _ in range(12)]
    assert len({one.permit.id for one in issued}) == MAX_OPEN == 8
    assert {one.permit.id for one in issued[8:]} == {issued[7].permit.id}
    assert issued[11].token == issued[7].token
    assert len(told(house, "permit.minted")) == 8
    assert house.sql("SELECT count(*) FROM permits") == [(8,)]
    clock.forward(181)
    fresh = permit(house, action)
    assert fresh.permit.id not in {one.permit.id for one in issued}
    assert redeem(house, fresh).claim.action_id == action


def test_of_32_who_ask_at_once_no_more_than_eight_get_their_own_permit(house: House) -> None:
    action = refund(house)
    with ThreadPoolExecutor(32) as pool:
        issued = list(pool.map(lambda _: permit(house, action), range(64)))
    assert len({one.permit.id for one in issued}) == 8
    assert len(told(house, "permit.minted")) == 8
    assert redeem(house, issued[-1]).claim.action_id == action


def test_a_permit_answered_again_says_what_its_entry_says_although_another_policy_confirmed_the_action(
    house: House,
) -> None:
    action = refund(house)
    issued = [permit(house, action) for _ in range(8)]
    minted = {entry["permit"]: entry["policy"] for entry in told(house, "permit.minted")}
    house.activate(POLICY + "  - {id: more, match: {topics: [pay.other]}, decision: deny}\n")
    again = permit(house, action)
    assert again.permit.id == issued[7].permit.id
    assert claims_of(house, again).policy == minted[again.permit.id]
    assert redeem(house, again).claim.action_id == action


# --- redeeming --------------------------------------------------------------------------------------------


def test_redeeming_is_the_claim_and_hands_over_the_bytes_that_were_hashed(house: House) -> None:
    issued = permit(house)
    redeemed = redeem(house, issued)
    claim = redeemed.claim
    assert claim.binding.action_hash(claims_of(house, issued).nonce) == claims_of(house, issued).action_hash
    assert house.state(claim.action_id) == "executing"
    [claimed] = told(house, "action.claimed")
    assert (claimed["permit"], claimed["holder"], claimed["epoch"]) == (issued.permit.id, issued.permit.id, 1)
    assert claim.key == claims_of(house, issued).key
    assert report(house, issued) == "succeeded"
    assert house.view(claim.action_id)["result"] == {"id": 7}


def test_a_permit_is_redeemed_once_and_its_repetition_says_how_the_first_stands(house: House) -> None:
    issued = permit(house)
    redeem(house, issued)
    with pytest.raises(PermitRedeemed) as refused:
        redeem(house, issued)
    assert refused.value.extra["epoch"] == 1
    assert refused.value.extra["lease_until"]
    assert len(told(house, "action.claimed")) == 1
    report(house, issued)
    with pytest.raises(PermitRedeemed) as refused:
        redeem(house, issued)
    assert "epoch" not in refused.value.extra


def test_of_two_permits_for_one_action_one_runs_it(house: House) -> None:
    action = refund(house)
    first, second = permit(house, action), permit(house, action)
    redeem(house, second)
    with pytest.raises(NotClaimable):
        redeem(house, first)
    assert len(told(house, "action.claimed")) == 1


@pytest.mark.parametrize("permits", [1, 8])
def test_of_32_who_redeem_at_once_one_claims(house: House, permits: int) -> None:
    action = refund(house)
    issued = [permit(house, action) for _ in range(permits)]

    def attempt(number: int) -> bool:
        try:
            redeem(house, issued[number % permits])
        except (PermitRedeemed, NotClaimable):
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(attempt, range(32))) == 1
    assert len(told(house, "action.claimed")) == 1


@pytest.mark.parametrize(
    ("caller", "refusal"),
    [
        (executor("notes-host"), Forbidden),
        (agent(), Forbidden),
        (agent(HOST), Forbidden),
        (executor(topics="notes.*"), OutOfScope),
    ],
)
def test_only_the_executor_it_names_redeems_and_reports(
    house: House, caller: Caller, refusal: type[InterlockError]
) -> None:
    issued = permit(house)
    with pytest.raises(refusal):
        redeem(house, issued, caller)
    assert house.state(issued.permit.action_id) == "allowed"
    redeem(house, issued)
    with pytest.raises(refusal):
        report(house, issued, caller=caller)
    with pytest.raises(refusal):
        house.home.permits.renew(issued.permit.action_id, issued.token, caller)
    assert house.state(issued.permit.action_id) == "executing"


def test_an_executor_key_that_was_revoked_redeems_nothing(house: House) -> None:
    key, token = house.home.keyring.add(KeyKind.EXECUTOR, HOST, topics=["*"], by="test")
    caller = house.home.keyring.authenticate(token)
    assert caller.executor == HOST
    issued = permit(house)
    house.home.keyring.revoke(key.id, by="test")
    with pytest.raises(Unauthenticated):
        redeem(house, issued, caller)


def test_an_expired_permit_is_not_redeemed(house: House, clock: ManualClock) -> None:
    issued = permit(house)
    clock.forward(120)
    with pytest.raises(PermitLapsed):
        redeem(house, issued)
    house.gate.sweep()
    clock.forward(60)
    house.gate.sweep()
    assert permit_state(house, issued) == "lapsed"
    assert house.state(issued.permit.action_id) == "allowed"
    assert redeem(house, permit(house, issued.permit.action_id)).claim.epoch == 1


def test_no_clock_that_jumped_mints_or_redeems(house: House, clock: ManualClock) -> None:
    action, issued = refund(house), permit(house)
    clock.jumped = True
    for step in (lambda: permit(house, action), lambda: redeem(house, issued)):
        with pytest.raises(InterlockError, match="clock"):
            step()


# --- what is decided after minting counts -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["withdrawn", "revoked", "denied", "elsewhere"])
def test_what_was_taken_back_after_minting_is_not_redeemed(house: House, how: str) -> None:
    issued = permit(house)
    action = issued.permit.action_id
    if how == "withdrawn":
        house.gate.withdraw(action, agent())
    elif how == "revoked":
        house.gate.revoke(action, house.person("Ann").caller)
    elif how == "denied":
        house.activate(STRICTER)
    else:
        house.activate(POLICY.replace("payments-host", "other-host"))
    with pytest.raises(NotClaimable):
        redeem(house, issued)
    assert told(house, "action.claimed") == []


def test_a_policy_that_tightened_in_another_process_is_seen_by_the_redemption(
    house: House, open_house: Callable[..., House], clock: ManualClock
) -> None:
    issued = permit(house)
    other = open_house(None, clock=clock)
    other.activate(STRICTER)
    with pytest.raises(NotClaimable):
        redeem(house, issued)
    assert house.state(issued.permit.action_id) == "denied"


def test_an_edit_leaves_the_permit_of_the_earlier_revision_worthless(house: House) -> None:
    """Held actions have no permits; what is looked at here is that a revision is part of what is redeemed."""
    issued = permit(house)
    with pytest.raises(PermitInvalid):
        redeem(house, resigned(house, issued, revision=2))


# --- tokens that nobody minted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"executor": "notes-host"},
        {"action": "act_" + "0" * 32},
        {"offline": True},
        {"entry": 0},
        {"expires_at": 1},
        {"revision": 2},
    ],
)
def test_a_signed_permit_that_says_other_than_its_row_is_refused(house: House, changes: Any) -> None:
    issued = permit(house)
    if "expires_at" in changes:
        changes = {"expires_at": claims_of(house, issued).expires_at - 1}
    with pytest.raises((PermitInvalid, Forbidden)):
        redeem(house, resigned(house, issued, **changes))
    assert house.state(issued.permit.action_id) == "allowed"


def test_a_permit_of_another_hash_is_refused(house: House) -> None:
    issued = permit(house)
    with pytest.raises(NotClaimable):
        redeem(house, resigned(house, issued, action_hash="0" * 64))


def test_a_permit_with_a_stolen_name_and_another_key_is_refused(house: House) -> None:
    issued = permit(house)
    with pytest.raises(PermitInvalid) as refused:
        redeem(house, mint(claims_of(house, issued), PermitKey.generate()))
    assert refused.value.extra["reason"] == "unknown-key"


@pytest.mark.parametrize("issuer", ["interlock.local/0000000000000000", "elsewhere"])
def test_a_permit_of_another_home_is_refused(house: House, issuer: str) -> None:
    with pytest.raises(PermitInvalid):
        redeem(house, resigned(house, permit(house), issuer=issuer))


@pytest.mark.parametrize("token", ["", "a.b.c", "x" * 20_000, "é.é.é", "....", "e30.e30.e30"])
def test_rubbish_is_no_permit(house: House, token: str) -> None:
    with pytest.raises(PermitInvalid):
        redeem(house, token)


def test_no_refusal_shows_the_token(house: House) -> None:
    issued = permit(house)
    redeem(house, issued)
    for attempt in (issued.token, issued.token[:-2] + "AA"):
        with pytest.raises(InterlockError) as refused:
            redeem(house, attempt)
        for part in attempt.split("."):
            assert part not in json.dumps(refused.value.problem())


# --- rows changed from outside ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "state = 'open'",
        "offline = 1",
        "executor = 'notes-host'",
        "action_id = 'act_00000000000000000000000000000000'",
        "revision = 2",
        "entry = 0",
        "minted_at = 0",
        "expires_at = expires_at + 1000000",
        "mac = x'00'",
    ],
)
def test_a_tampered_row_of_a_permit_is_refused(house: House, change: str) -> None:
    issued = permit(house)
    if "state" in change:
        redeem(house, issued)
    house.sql(f"UPDATE permits SET {change} WHERE id = ?", issued.permit.id)
    with pytest.raises(Tampered):
        redeem(house, issued)
    assert len(told(house, "action.claimed")) == (1 if "state" in change else 0)


def test_a_deleted_offline_permit_frees_nothing(house: House, clock: ManualClock) -> None:
    action = note(house)
    issued = permit(house, action, offline=True)
    house.sql("DELETE FROM permits WHERE id = ?", issued.permit.id)
    for step in (
        lambda: redeem(house, issued, NOTES),
        lambda: permit(house, action, offline=True),
        lambda: report(house, issued),
    ):
        with pytest.raises(Tampered):
            step()
    with pytest.raises(PermitOutstanding):
        house.gate.withdraw(action, agent())
    clock.forward(2 * 3600)
    house.gate.sweep()
    assert house.state(action) == "allowed"
    with pytest.raises(Tampered):
        permit(house, action)


# --- the run ----------------------------------------------------------------------------------------------


def test_a_lease_is_renewed_while_the_work_lasts_and_lapses_into_doubt(
    house: House, clock: ManualClock
) -> None:
    issued = permit(house)
    redeem(house, issued)
    for _ in range(30):
        clock.forward(10)
        assert house.home.permits.renew(issued.permit.action_id, issued.token, executor()) == (
            clock.now() + 15_000_000
        )
        house.gate.sweep()
    assert house.state(issued.permit.action_id) == "executing"
    clock.forward(15)
    house.gate.sweep()
    assert house.state(issued.permit.action_id) == "in_doubt"
    with pytest.raises(StaleClaim):
        house.home.permits.renew(issued.permit.action_id, issued.token, executor())
    with pytest.raises(InDoubt):
        permit(house, issued.permit.action_id)
    assert report(house, issued) == "succeeded"
    assert told(house, "action.late_report")[0]["applied"] is True


def test_an_outcome_is_said_once(house: House) -> None:
    issued = permit(house)
    redeem(house, issued)
    assert report(house, issued, FAILED) == "failed"
    assert report(house, issued, FAILED) == "failed"
    with pytest.raises(StaleClaim):
        report(house, issued, DONE)
    assert told(house, "action.late_report")[0]["applied"] is False
    assert house.state(issued.permit.action_id) == "failed"


def test_what_was_not_redeemed_is_not_reported(house: House) -> None:
    issued = permit(house)
    with pytest.raises(PermitNotRedeemed):
        report(house, issued)
    other = permit(house, issued.permit.action_id)
    redeem(house, other)
    with pytest.raises(PermitNotRedeemed):
        report(house, issued)
    assert house.state(issued.permit.action_id) == "executing"


def test_a_report_names_the_action_of_its_permit(house: House) -> None:
    issued, other = permit(house), refund(house, order_id="B")
    redeem(house, issued)
    with pytest.raises(NotFound):
        house.home.permits.report(other, issued.token, executor(), DONE)
    assert house.state(other) == "allowed"


# --- offline ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reported", [True, False])
def test_the_time_of_what_ran_offline_counts_from_when_it_was_permitted(
    house: House, clock: ManualClock, reported: bool
) -> None:
    """Nobody knows when in that time it ran; whoever takes it back has no longer than after the earliest."""
    out = permit(house, note(house), offline=True)
    clock.forward(100)
    if reported:
        report(house, out)
    else:
        clock.forward(200)
        house.gate.sweep()
    ((claimed_at, state),) = house.sql("SELECT claimed_at, state FROM actions")
    assert (claimed_at, state) == (out.permit.minted_at, "succeeded" if reported else "in_doubt")


def test_an_offline_run_is_claimed_and_settled_when_it_is_reported(house: House) -> None:
    issued = permit(house, note(house), offline=True)
    assert house.state(issued.permit.action_id) == "allowed"
    assert report(house, issued) == "succeeded"
    [claimed] = told(house, "action.claimed")
    assert (claimed["permit"], claimed.get("assumed")) == (issued.permit.id, None)
    assert permit_state(house, issued) == "reported"
    assert report(house, issued) == "succeeded"
    with pytest.raises(PermitRedeemed):
        redeem(house, issued, NOTES)
    assert len(told(house, "action.claimed")) == 1


def test_an_offline_run_may_be_reported_after_the_permit_ended(house: House, clock: ManualClock) -> None:
    issued = permit(house, note(house), offline=True)
    clock.forward(170)
    house.gate.sweep()
    assert house.state(issued.permit.action_id) == "allowed"
    assert report(house, issued) == "succeeded"


def test_an_offline_permit_that_nobody_reported_is_assumed_to_have_run(
    house: House, clock: ManualClock
) -> None:
    issued = permit(house, note(house), offline=True)
    clock.forward(180)
    house.gate.sweep()
    assert house.state(issued.permit.action_id) == "in_doubt"
    [claimed] = told(house, "action.claimed")
    assert (claimed["permit"], claimed["assumed"]) == (issued.permit.id, True)
    assert told(house, "action.in_doubt")[0]["epoch"] == claimed["epoch"] == 1
    assert permit_state(house, issued) == "lapsed"
    house.gate.sweep()
    assert report(house, issued) == "succeeded"
    assert told(house, "action.late_report")[0]["applied"] is True


def test_what_an_offline_permit_may_run_is_neither_withdrawn_nor_revoked_nor_expired(
    house: House, clock: ManualClock
) -> None:
    action = note(house)
    clock.forward(3600 - 60)
    issued = permit(house, action, offline=True)
    with pytest.raises(PermitOutstanding) as refused:
        house.gate.withdraw(action, agent())
    assert refused.value.extra["permit"] == issued.permit.id
    with pytest.raises(PermitOutstanding):
        house.gate.revoke(action, house.person("Ann").caller)
    with pytest.raises(PermitOutstanding):
        house.home.journal.commit(lambda tx: expire(tx, load_action(tx, action)))
    clock.forward(100)
    house.gate.sweep()
    assert house.state(action) == "allowed"
    assert report(house, issued) == "succeeded"


def test_a_stricter_policy_waits_for_what_an_offline_permit_let_out(house: House) -> None:
    issued = permit(house, note(house), offline=True)
    house.activate(NOTES_DENIED)
    assert house.state(issued.permit.action_id) == "allowed"
    with pytest.raises(NotClaimable):
        redeem(house, issued, NOTES)
    with pytest.raises(PermitOutstanding):
        permit(house, issued.permit.action_id, offline=True)
    assert told(house, "action.stale") == []
    assert report(house, issued) == "succeeded"


def test_while_an_offline_permit_is_open_no_other_permit_of_the_action_counts(house: House) -> None:
    action = note(house)
    before = permit(house, action)
    issued = permit(house, action, offline=True)
    with pytest.raises(PermitOutstanding):
        redeem(house, before, NOTES)
    with pytest.raises(PermitOutstanding):
        permit(house, action)
    again = permit(house, action, offline=True)
    assert again.token == issued.token
    assert len(told(house, "permit.minted")) == 2
    assert redeem(house, issued, NOTES).claim.epoch == 1
    assert permit_state(house, issued) == "redeemed"


def test_of_a_report_and_a_redemption_at_once_one_claims(house: House) -> None:
    issued = permit(house, note(house), offline=True)

    def attempt(number: int) -> bool:
        try:
            if number % 2:
                redeem(house, issued, NOTES)
            else:
                report(house, issued)
        except (PermitRedeemed, NotClaimable):
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(attempt, range(16)))
    assert len(told(house, "action.claimed")) == 1
    assert house.state(issued.permit.action_id) == "succeeded"


def test_a_permit_that_a_recovery_voided_settles_nothing(house: House) -> None:
    """As opening a new epoch leaves them: the action in doubt without a claim, the permit lapsed."""
    issued = permit(house, note(house), offline=True)

    def recovered(tx: Any) -> None:
        row = load_action(tx, issued.permit.action_id)
        save(tx, row, row._replace(state="in_doubt"))
        close_permit(tx, load_permit(tx, issued.permit.id), "lapsed")

    house.home.journal.commit(recovered)
    with pytest.raises(StaleClaim):
        report(house, issued)
    with pytest.raises(PermitLapsed):
        redeem(house, issued, NOTES)
    assert house.state(issued.permit.action_id) == "in_doubt"
    assert told(house, "action.claimed") == []


def test_a_late_report_that_contradicts_is_kept_although_the_subject_was_erased_meanwhile(
    house: House, clock: ManualClock
) -> None:
    action = note(house)
    issued = permit(house, action, offline=True)
    clock.forward(200)
    house.gate.sweep()
    ann = house.person("Ann").caller
    house.gate.reconcile(action, ann, ActionState.FAILED, "It did not run, says the log.")
    house.home.eraser.erase("agent:support", by="test")
    with pytest.raises(StaleClaim, match="kept as a conflict"):
        report(house, issued, caller=NOTES)
    (kept,) = told(house, "action.late_report")
    assert (kept["settled"], kept["outcome"], kept["applied"]) == ("failed", "succeeded", False)


def test_what_ran_is_reported_although_its_subject_was_erased_again_meanwhile(house: House) -> None:
    """A key that a backup brought back is destroyed whatever is open; the outcome counts all the same."""
    issued = permit(house)
    redeem(house, issued)
    subject, serial = house.sql("SELECT id, wrapped FROM subjects")[0]
    house.home.eraser._remember([(subject, bytes(serial)[1:9])])
    assert house.home.eraser.again() == 1
    assert report(house, issued) == "succeeded"
    (settled,) = told(house, "action.settled")
    assert settled["output"] is not None


# --- the ledger -------------------------------------------------------------------------------------------


def test_the_verifier_follows_every_way_a_permit_can_go(
    house: House, clock: ManualClock, tmp_path: Path
) -> None:
    redeemed, reported, assumed = (
        permit(house),
        permit(house, note(house), offline=True),
        refund(house, order_id="C"),
    )
    redeem(house, redeemed)
    report(house, redeemed)
    report(house, reported)
    held = refund(house, amount_usd="500.00")
    house.answer(held, house.person("Ann"))
    redeem(house, permit(house, held))
    permit(house, assumed)
    late = house.propose("notes.add", {"text": "late"}).action
    silent = house.propose("notes.add", {"text": "silent"}).action
    assert late is not None
    assert silent is not None
    unreported = permit(house, late.id, offline=True)
    permit(house, silent.id, offline=True)
    clock.forward(200)
    house.gate.sweep()
    report(house, unreported)
    house.home.publisher.export(tmp_path / "export")
    checked = verify_export(tmp_path / "export")
    assert checked.ok, checked
    states = {house.state(a) for a in (late.id, silent.id, held, assumed)}
    assert states == {"succeeded", "in_doubt", "allowed"}


# --- keys -------------------------------------------------------------------------------------------------


def test_a_replaced_key_is_published_for_ten_minutes_and_reports_are_taken_after_that(
    house: House, clock: ManualClock
) -> None:
    issued = permit(house)
    redeem(house, issued)
    old = house.home.permit_keys.current().kid
    new = house.home.permit_keys.rotate().kid

    def listed() -> list[str]:
        return [key["kid"] for key in house.home.permits.key_set()["keys"]]

    assert listed() == [new, old]
    clock.forward(601)
    assert listed() == [new]
    house.gate.sweep()
    assert report(house, issued) == "succeeded"


def test_another_process_signs_with_the_replaced_key_at_once(
    house: House, open_house: Callable[..., House], clock: ManualClock
) -> None:
    other = open_house(None, clock=clock)
    first = permit(other)
    house.home.permit_keys.rotate()
    second = permit(other, refund(other, order_id="B"))
    kids = [
        json.loads(base64.urlsafe_b64decode(t.token.split(".")[0] + "=="))["kid"] for t in (first, second)
    ]
    assert kids[1] == house.home.permit_keys.current().kid != kids[0]
    assert redeem(house, first).claim.epoch == redeem(house, second).claim.epoch == 1


def test_the_private_key_is_in_a_file_of_its_own_that_only_its_user_reads(house: House) -> None:
    permit(house)
    file = house.home.path / "keystore" / "permit.pem"
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o644)
    with pytest.raises(InterlockError, match="read by others"):
        permit(house, refund(house, order_id="B"))
