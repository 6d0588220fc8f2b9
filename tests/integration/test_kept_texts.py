"""Somebody with the database lets one text stand where another was recorded: nobody is shown it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from house import BOTH, REFUND, House, ManualClock
from interlock.gate import Answer, Claim, Report
from interlock.gate.settle import reconcile
from interlock.identity import Person, Role
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Tampered

DATABASES = BOTH
Write = Callable[[House, Person, str], None]


def claimed(house: House, order: str) -> Claim:
    args = {**REFUND, "order_id": order, "amount_usd": "5.00"}
    action = house.propose(args=args).action
    assert action is not None
    return house.gate.claim(action.id, ExecutorKind.CALLER)


def numbers(house: House) -> tuple[int, int]:
    """Where payloads start, and the number of the next."""
    ((start, sealed),) = house.sql("SELECT start, sealed FROM head")
    return start, sealed


def settled(house: House, claim: Claim, note: str) -> None:
    house.gate.settle(claim, Report(ActionState.FAILED, note))


def reconciled(house: House, person: Person, claim: Claim, note: str) -> None:
    house.home.journal.commit(
        lambda tx: reconcile(tx, claim.action_id, person.caller, ActionState.FAILED, note)
    )


def rejected(house: House, person: Person, action: str, note: str) -> None:
    house.answer(action, person, Answer.REJECT, note=note)


def replaced(house: House, write: Callable[[], None]) -> None:
    """Drop the newest payload, and let what is written next take its number."""
    start, sealed = numbers(house)
    house.sql("DELETE FROM payloads WHERE seq = ?", start + sealed - 1)
    house.sql("UPDATE head SET sealed = ?", sealed - 1)
    write()
    assert numbers(house)[1] == sealed


@pytest.fixture
def ann(house: House) -> Person:
    return house.person("Ann", Role.REVIEWER)


def test_the_outcome_of_another_action_does_not_pass_for_this_ones(house: House) -> None:
    one, two = claimed(house, "A"), claimed(house, "B")
    settled(house, one, "The bank refused: stolen card.")
    assert house.view(one.action_id)["outcome"]["note"] == "The bank refused: stolen card."
    replaced(house, lambda: settled(house, two, "Paid."))
    assert house.view(two.action_id)["outcome"]["note"] == "Paid."
    with pytest.raises(Tampered):
        house.view(one.action_id)


def test_the_note_of_another_reconciliation_does_not_pass_for_this_ones(house: House, ann: Person) -> None:
    one, two = claimed(house, "A"), claimed(house, "B")
    for claim in (one, two):
        house.gate.settle(claim, Report(ActionState.IN_DOUBT, "no answer"))
    reconciled(house, ann, one, "The bank says it never arrived.")
    replaced(house, lambda: reconciled(house, ann, two, "It was paid."))
    assert house.view(two.action_id)["outcome"]["note"] == "It was paid."
    with pytest.raises(Tampered):
        house.view(one.action_id)


def test_the_note_of_another_decision_does_not_pass_for_this_ones(house: House, ann: Person) -> None:
    one, two = house.held(), house.held(args={**REFUND, "order_id": "B"})
    rejected(house, ann, one, "This customer is a fraud.")
    assert house.view(one)["rejection"]["note"] == "This customer is a fraud."
    replaced(house, lambda: rejected(house, ann, two, "Wrong amount."))
    assert house.view(two)["rejection"]["note"] == "Wrong amount."
    with pytest.raises(Tampered):
        house.view(one)


@pytest.mark.parametrize("column", ["note", "note_hash"])
def test_a_decision_is_not_pointed_at_another_note(house: House, ann: Person, column: str) -> None:
    one, two = house.held(), house.held(args={**REFUND, "order_id": "B"})
    rejected(house, ann, one, "This customer is a fraud.")
    rejected(house, ann, two, "Wrong amount.")
    first, second = (house.request(each)[0] for each in (one, two))
    ((theirs,),) = house.sql(f"SELECT {column} FROM decisions WHERE approval_id = ?", second)
    house.sql(f"UPDATE decisions SET {column} = ? WHERE approval_id = ?", theirs, first)
    with pytest.raises(Tampered):
        house.view(one)


@pytest.mark.parametrize("wrong", [0, 1, 2**44, 2**62, 2**63 - 1, -1])
def test_a_head_row_that_names_another_number_for_the_next_payload_seals_nothing(
    house: House, open_house: Callable[..., House], clock: ManualClock, wrong: int
) -> None:
    claim, waiting = claimed(house, "A"), house.held()
    _, sealed = numbers(house)
    house.sql("UPDATE head SET sealed = ?", wrong)
    before = house.sql("SELECT size FROM head"), house.sql("SELECT count(*) FROM payloads")
    for each in (house, open_house(None, clock=clock)):
        with pytest.raises(Tampered):
            each.held(args={**REFUND, "order_id": "B"})
        with pytest.raises(Tampered):
            settled(each, claim, "done")
    assert (house.sql("SELECT size FROM head"), house.sql("SELECT count(*) FROM payloads")) == before
    house.answer(waiting, house.person("Ann"))  # it seals nothing
    house.sql("UPDATE head SET sealed = ?", sealed)
    settled(house, claim, "done")
    assert house.held(args={**REFUND, "order_id": "C"})


def test_whoever_left_the_head_row_does_not_ask_for_the_last_payload(
    house: House, open_house: Callable[..., House], clock: ManualClock
) -> None:
    other = open_house(None, clock=clock)
    asked: list[int] = []
    for number, each in enumerate((house, other)):
        form = each.home.journal.database
        begin = form.begin

        def counted(namespace: str, begin=begin, number=number):  # type: ignore[no-untyped-def]
            cursor, head = begin(namespace)
            return Counting(cursor, asked, number), head

        form.begin = counted  # type: ignore[method-assign]
    for order in "ABC":
        house.held(args={**REFUND, "order_id": order})
    assert asked == [0]  # opening wrote nothing that it left
    other.held(args={**REFUND, "order_id": "D"})
    other.held(args={**REFUND, "order_id": "E"})
    house.held(args={**REFUND, "order_id": "F"})
    assert asked == [0, 1, 0]


class Counting:
    """A cursor that notes when it is asked for the last payload."""

    def __init__(self, cursor: object, asked: list[int], number: int) -> None:
        self._cursor, self._asked, self._number = cursor, asked, number

    def execute(self, statement: str, *params: object) -> object:
        if "max(payloads.seq)" in statement:
            self._asked.append(self._number)
        return self._cursor.execute(statement, *params)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._cursor, name)
