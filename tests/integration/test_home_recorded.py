"""What was proposed in a home: read in order and without a trace, and what cannot be read is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from house import DAY, POLICY, REFUND, House, ManualClock
from interlock.gate import Answer
from interlock.home import recorded
from interlock.home.recorded import Recorded, Recording
from interlock.model.verdicts import Decision


def read(house: House, start: int = 0) -> list[Recorded]:
    recording = Recording(house.home.journal)
    return [action for _, action in recording.between(start, recording.end)]


def refund(house: House, amount: str) -> str:
    action = house.propose(args={**REFUND, "amount_usd": amount}).action
    assert action is not None
    return action.id


def test_each_proposed_action_is_read_once_in_order_with_what_was_decided(house: House) -> None:
    ids = [refund(house, "5.00"), refund(house, "500.00")]
    house.propose("notes.add", {"text": '"kind":"action.proposed"'})
    found = read(house)
    assert [action.id for action in found[:2]] == ids
    assert [action.decision for action in found] == [
        Decision.ALLOW,
        Decision.REQUIRE_APPROVAL,
        Decision.ALLOW,
    ]
    assert [action.rule for action in found[:2]] == ["small", "large"]
    assert found[0].question.args == {**REFUND, "amount_usd": "5.00"}
    assert house.gate.policy.decide(found[1].question).rule == "large"


def test_what_people_made_of_an_action_later_is_not_read_as_another(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"), Answer.EDIT, args={**REFUND, "amount_usd": "300.00"})
    house.answer(house.held(args={**REFUND, "order_id": "B"}), house.person("Bob"))
    house.activate(POLICY.replace("< 100", "< 90"))
    assert [(a.id == action, a.question.args["amount_usd"]) for a in read(house)] == [
        (True, "500.00"),
        (False, "500.00"),
    ]


def test_a_decision_stays_as_it_was_though_the_policy_became_another(house: House) -> None:
    refund(house, "95.00")
    house.activate(POLICY.replace("< 100", "< 90").replace(">= 100", ">= 90"))
    assert [action.decision for action in read(house)] == [Decision.ALLOW]
    refund(house, "96.00")
    assert [action.decision for action in read(house)] == [Decision.ALLOW, Decision.REQUIRE_APPROVAL]


def test_reading_leaves_no_trace(house: House) -> None:
    refund(house, "5.00")
    tables = ("actions", "entries", "payloads", "approvals", "head")
    before = [house.sql(f"SELECT * FROM {table}") for table in tables]
    read(house)
    Recording(house.home.journal).first_since(0)
    assert [house.sql(f"SELECT * FROM {table}") for table in tables] == before


def test_an_erased_payload_and_a_forged_row_are_counted_and_passed_over(house: House) -> None:
    ids = [refund(house, f"{n}.00") for n in range(1, 5)]
    house.sql("DELETE FROM payloads WHERE seq = (SELECT payload FROM actions WHERE id = ?)", ids[0])
    house.sql("UPDATE actions SET topic = 'orders.get' WHERE id = ?", ids[1])
    recording = Recording(house.home.journal)
    assert [action.id for _, action in recording.between(0, recording.end)] == ids[2:]
    assert recording.unreadable == 2


@pytest.mark.parametrize("page", [1, 2, 3, 512])
def test_pages_lose_and_repeat_nothing(house: House, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(recorded, "PAGE", page)
    ids = [refund(house, f"{n}.00") for n in range(1, 8)]
    assert [action.id for action in read(house)] == ids
    recording = Recording(house.home.journal)
    half = [index for index, _ in recording.between(0, recording.end)][2]
    rest = [action.id for _, action in recording.between(half, recording.end)]
    assert rest == ids[3:]


def test_the_first_entry_of_a_time_is_found(house: House, clock: ManualClock) -> None:
    ids = []
    for n in range(1, 6):
        ids.append(refund(house, f"{n}.00"))
        clock.forward(DAY)
    recording = Recording(house.home.journal)

    def since(days: float) -> list[str]:
        start = recording.first_since(clock.now() - int(days * DAY * 1_000_000))
        return [action.id for _, action in recording.between(start, recording.end)]

    assert since(100) == ids
    assert since(3.5) == ids[2:]
    assert since(3) == ids[2:]
    assert since(2.999) == ids[3:]
    assert since(0.5) == []


def test_an_empty_home_has_no_actions(open_house: Callable[..., House]) -> None:
    empty = open_house(None)
    assert read(empty) == []
    assert Recording(empty.home.journal).first_since(0) == 0
