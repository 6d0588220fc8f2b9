"""Somebody with the database and without the keystore: nothing they write makes anything run.

Every test changes the database from outside and then tries to run or decide; what must follow is a
refusal, and that nothing was claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from house import BOTH, POLICY, REFUND, House, ManualClock
from interlock.gate import Answer, HumanDecision
from interlock.gate.package import Sealed
from interlock.gate.records import approval_of, load_action, save_approval
from interlock.identity import KeyKind
from interlock.journal import Tx, tables
from interlock.model.actions import ActionState, ExecutorKind, Signals
from interlock.model.binding import Binding
from interlock.model.errors import InterlockError, SeparationOfDuties, Tampered
from interlock.verify import verify_export

DATABASES = BOTH

KEYS = {"namespace", "id", "revision"}


def columns(table: Any, *but: str) -> list[str]:
    return [c.name for c in table.columns if c.name not in {*KEYS, *but}]


def other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return f"{value}x" if isinstance(value, str) else 1


def approved(house: House) -> str:
    action = house.held()
    house.answer(action, house.person("Ann"))
    return action


def change(house: House, table: str, column: str, value: Any = None, *, where: str = "1=1") -> None:
    if value is None:
        ((now,),) = house.sql(f"SELECT {column} FROM {table} WHERE {where}")
        value = other(now)
    house.sql(f"UPDATE {table} SET {column} = ? WHERE {where}", value)


def refuses_to_run(house: House, action: str, error: type[InterlockError] = Tampered) -> None:
    with pytest.raises(error):
        house.gate.claim(action, ExecutorKind.CALLER)
    assert not any('"action.claimed"' in entry for entry in house.entries())


@pytest.mark.parametrize("column", columns(tables.actions))
def test_no_column_of_an_approved_action_can_be_changed_and_run(house: House, column: str) -> None:
    action = approved(house)
    change(house, "actions", column)
    refuses_to_run(house, action)


@pytest.mark.parametrize("column", columns(tables.approvals, "supersedes"))
def test_no_column_of_its_approval_request_can_be_changed_and_run(house: House, column: str) -> None:
    action = approved(house)
    change(house, "approvals", column)
    refuses_to_run(house, action)


@pytest.mark.parametrize("column", columns(tables.decisions, "note"))
def test_no_column_of_the_decision_can_be_changed_and_run(house: House, column: str) -> None:
    action = approved(house)
    change(house, "decisions", column)
    refuses_to_run(house, action)


@pytest.mark.parametrize("state", ["approved", "allowed", "executing"])
def test_a_held_action_flipped_to_a_running_state_does_not_run(house: House, state: str) -> None:
    action = house.held()
    change(house, "actions", "state", state)
    change(house, "approvals", "state", "approved")
    refuses_to_run(house, action)


def test_a_rejected_action_flipped_back_does_not_run(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.REJECT)
    change(house, "actions", "state", "approved")
    change(house, "approvals", "state", "approved")
    change(house, "decisions", "decision", "approve")
    refuses_to_run(house, action)


def test_a_verdict_rewritten_to_allow_does_not_run(house: House) -> None:
    action = house.held()
    ((verdict,),) = house.sql("SELECT verdict FROM actions")
    change(
        house, "actions", "verdict", verdict.replace("require_approval", "allow").replace('"lane":{', '"x":{')
    )
    change(house, "actions", "state", "allowed")
    refuses_to_run(house, action)


def test_the_sealed_arguments_of_another_action_cannot_be_put_in_their_place(house: House) -> None:
    one = approved(house)
    two = house.held(args={**REFUND, "amount_usd": "9000.00"})
    numbers = dict(house.sql("SELECT id, payload FROM actions"))
    ((foreign,),) = house.sql("SELECT sealed FROM payloads WHERE seq = ?", numbers[two])
    house.sql("UPDATE payloads SET sealed = ? WHERE seq = ?", foreign, numbers[one])
    refuses_to_run(house, one)


@pytest.mark.parametrize("column", ["payload"])
def test_an_action_cannot_be_pointed_at_another_ones_arguments(house: House, column: str) -> None:
    one = approved(house)
    two = house.held(args={**REFUND, "amount_usd": "9000.00"})
    numbers = dict(house.sql(f"SELECT id, {column} FROM actions"))
    change(house, "actions", column, numbers[two], where=f"id = '{one}'")
    refuses_to_run(house, one)


@pytest.mark.parametrize("damage", ["DELETE FROM payloads", "UPDATE payloads SET sealed = x'00'"])
def test_lost_or_damaged_payloads_run_nothing(house: House, damage: str) -> None:
    action = approved(house)
    house.sql(damage)
    refuses_to_run(house, action)


def test_a_forged_decision_does_not_approve(house: House) -> None:
    ann = house.person("Ann")
    action = house.held()
    approval, shown = house.request(action)
    real = house.held(args={**REFUND, "order_id": "B"})
    house.answer(real, ann)
    (row,) = house.sql("SELECT * FROM decisions")
    names = [c.name for c in tables.decisions.columns]
    forged = dict(zip(names, row, strict=True))
    forged |= {"id": "dec_" + "0" * 32, "approval_id": approval, "review_hash": shown}
    house.sql(f"INSERT INTO decisions VALUES ({','.join('?' * len(row))})", *forged.values())
    change(house, "actions", "state", "approved", where=f"id = '{action}'")
    change(house, "approvals", "state", "approved", where=f"id = '{approval}'")
    with pytest.raises(Tampered):
        house.gate.claim(action, ExecutorKind.CALLER)
    assert house.sql("SELECT epoch FROM actions WHERE id = ?", action) == [(0,)]


def test_a_deleted_decision_takes_the_approval_with_it(house: House) -> None:
    action = approved(house)
    house.sql("DELETE FROM decisions")
    refuses_to_run(house, action)


# --- a second line, should the marks ever fail --------------------------------------------------------------


def test_sealed_arguments_that_do_not_hash_to_what_was_recorded_do_not_open() -> None:
    binding = Binding("default", "pay.refund", {}, "support", None, None, None, 1, {"kind": "caller"})
    sealed = Sealed(binding, bytes(32), Signals(), None, {})
    assert Sealed.read(sealed.content(), binding.action_hash(bytes(32))) == sealed
    with pytest.raises(Tampered):
        Sealed.read(sealed.content(), replace(binding, args={"x": 1}).action_hash(bytes(32)))


def test_an_approval_of_another_page_than_was_shown_does_not_run(house: House) -> None:
    """The rows carry good marks, as a faulty gate might write them, but name a page that nobody was shown."""
    one, two = approved(house), house.held(args={**REFUND, "order_id": "B"})

    def swap(tx: Tx) -> None:
        rows = [approval_of(tx, load_action(tx, action)) for action in (one, two)]
        assert rows[0] is not None
        assert rows[1] is not None
        save_approval(tx, rows[0], package=rows[1].package)

    house.home.journal.commit(swap)
    refuses_to_run(house, one)


# --- separation of duties ---------------------------------------------------------------------------------


def test_the_editor_cannot_erase_that_they_edited(house: House) -> None:
    ann = house.person("Ann")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "Ann"})
    approval, shown = house.request(action)
    house.sql("UPDATE approvals SET editor = NULL WHERE id = ?", approval)
    with pytest.raises(Tampered):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))


@pytest.mark.parametrize(
    "trick",
    ["UPDATE actions SET key_id = NULL", "DELETE FROM keys", "UPDATE keys SET person = NULL"],
)
def test_the_operator_cannot_erase_that_they_operate_the_agent(house: House, trick: str) -> None:
    ann = house.person("Ann")
    _, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["pay.**"], person=ann, by="test")
    action = house.held(caller=house.home.keyring.authenticate(token))
    approval, shown = house.request(action)
    house.sql(trick)
    with pytest.raises((Tampered, SeparationOfDuties)):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))


def test_nobody_becomes_the_only_person_by_striking_out_the_other(open_house: Callable[..., House]) -> None:
    house = open_house(POLICY.replace("name: shop", "name: shop\npeople: solo"))
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "Ann"})
    approval, shown = house.request(action)
    house.sql("UPDATE people SET removed_at = 1 WHERE id = ?", bob.id)
    with pytest.raises((Tampered, SeparationOfDuties)):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))


@pytest.mark.parametrize("column", ["name", "roles", "added_at", "mac"])
def test_no_role_can_be_written_into_the_file(house: House, column: str) -> None:
    house.person("Ann")
    change(house, "people", column)
    with pytest.raises(Tampered):
        house.home.roster.all()


def test_more_time_cannot_be_written_into_a_request(house: House, clock: ManualClock) -> None:
    action, ann = house.held(), house.person("Ann")
    approval, shown = house.request(action)
    house.sql("UPDATE approvals SET due_at = due_at + 1000000000, expires_at = expires_at + 1000000000")
    clock.forward(16 * 60)
    with pytest.raises(InterlockError):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))


# --- policy -----------------------------------------------------------------------------------------------


def test_another_policy_cannot_be_written_into_force(house: House) -> None:
    first = house.gate.active()
    house.activate(POLICY.replace("< 100", "< 90"))
    house.sql("UPDATE active_policy SET snapshot = ?", first)
    with pytest.raises(Tampered):
        house.propose("notes.add", {})


def test_a_policy_in_force_changed_while_a_process_remembers_it_is_noticed(house: House) -> None:
    house.propose("notes.add", {"n": 1})
    ((snapshot,),) = house.sql("SELECT snapshot FROM active_policy")
    house.sql("UPDATE active_policy SET snapshot = ?", snapshot[:-1] + "0")
    with pytest.raises(InterlockError):
        house.propose("notes.add", {"n": 2})
    house.sql("UPDATE active_policy SET snapshot = ?", snapshot)
    house.propose("notes.add", {"n": 2})


def test_the_text_of_a_policy_cannot_be_changed_under_its_name(
    house: House, open_house: Callable[..., House]
) -> None:
    ((document,),) = house.sql("SELECT document FROM policies")
    house.sql("UPDATE policies SET document = ?", document.replace(b"100", b"900"))
    fresh = open_house(None)
    with pytest.raises(InterlockError):
        fresh.propose(args={**REFUND, "amount_usd": "500.00"})


def test_an_action_cannot_be_said_to_be_confirmed_by_a_policy_that_denies_it(
    house: House, open_house: Callable[..., House]
) -> None:
    action = house.propose("notes.add", {}).action
    assert action is not None
    other_process = open_house(None)
    strict = POLICY + "  - {id: no, match: {topics: [notes.add]}, decision: deny}\n"
    snapshot = other_process.activate(strict)
    house.sql("UPDATE actions SET snapshot = ?, state = 'allowed'", snapshot)
    refuses_to_run(house, action.id)


# --- keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", columns(tables.keys))
def test_no_column_of_a_key_can_be_changed_and_used(house: House, column: str) -> None:
    _, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["orders.get"], by="test")
    house.home.keyring.authenticate(token)
    change(house, "keys", column, "*" if column == "topics" else None)
    with pytest.raises(InterlockError):
        house.home.keyring.authenticate(token)


def test_a_revoked_key_cannot_be_revived_in_the_file(house: House) -> None:
    key, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["orders.get"], by="test")
    house.home.keyring.revoke(key.id, by="test")
    house.sql("UPDATE keys SET revoked_at = NULL")
    with pytest.raises(Tampered):
        house.home.keyring.authenticate(token)


# --- one bad row, many good ones --------------------------------------------------------------------------


def test_one_damaged_row_does_not_stop_the_deadlines_of_the_others(house: House, clock: ManualClock) -> None:
    bad, good = house.held(), house.held(args={**REFUND, "order_id": "B"})
    change(house, "actions", "state", "approved", where=f"id = '{bad}'")
    clock.forward(3600)
    house.gate.sweep()
    assert house.state(good) == "expired"


def test_one_damaged_row_does_not_stop_the_leases_of_the_others(house: House, clock: ManualClock) -> None:
    ids = []
    for n in range(2):
        action = house.propose("notes.add", {"n": n}).action
        assert action is not None
        house.gate.claim(action.id, ExecutorKind.CALLER)
        ids.append(action.id)
    change(house, "actions", "holder", where=f"id = '{ids[0]}'")
    clock.forward(15)
    house.gate.sweep()
    assert house.state(ids[1]) == "in_doubt"


def test_one_damaged_row_does_not_stop_re_deciding_the_others(house: House) -> None:
    rest = [house.held(args={**REFUND, "order_id": str(n)}) for n in range(3)]
    change(house, "actions", "agent", where=f"id = '{rest[0]}'")
    house.activate(POLICY.replace("tier: 3", "tier: 4"))
    assert [house.view(action)["tier"] for action in rest[1:]] == [4, 4]


def test_one_damaged_row_does_not_take_the_lists_away(house: House) -> None:
    bad, good = house.held(), house.held(args={**REFUND, "order_id": "B"})
    change(house, "actions", "agent", where=f"id = '{bad}'")
    listed = [item["action_id"] for item in house.home.views.approvals("held")["items"]]
    assert good in listed
    assert good in [item["id"] for item in house.home.views.actions(ActionState.HELD)["items"]]


def test_a_row_put_back_from_before_the_run_is_shown_by_the_ledger(house: House, tmp_path: Path) -> None:
    """An old row carries an authentic seal, so the gate accepts it (a stated limit); the record does not."""
    action = house.propose("notes.add", {}).action
    assert action is not None
    (before,) = house.sql("SELECT * FROM actions")
    house.gate.claim(action.id, ExecutorKind.CALLER)
    house.home.publisher.export(tmp_path / "honest")
    assert verify_export(tmp_path / "honest").ok
    house.sql("DELETE FROM actions")
    house.sql(f"INSERT INTO actions VALUES ({','.join('?' * len(before))})", *before)
    house.gate.claim(action.id, ExecutorKind.CALLER)
    house.home.publisher.export(tmp_path / "replayed")
    assert not verify_export(tmp_path / "replayed").ok
