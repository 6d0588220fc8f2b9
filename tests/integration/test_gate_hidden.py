"""What was hidden while a new epoch of the ledger was opened does nothing when it comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import test_permits as permits

from house import BOTH, POLICY, REFUND, House, ManualClock
from interlock.gate import Answer, HumanDecision
from interlock.identity import Role
from interlock.model.actions import ExecutorKind
from interlock.model.errors import Tampered
from interlock.verify import verify_export
from restored import Backup, Open, again, agreed, lost, of_kind, shut

DATABASES = BOTH
SMALL = {**REFUND, "amount_usd": "5.00"}


def restored(
    open_house: Open, clock: ManualClock, folder: Path, propose: Callable[[House], str], policy: str = POLICY
) -> tuple[House, str, Callable[[], None]]:
    """A house in its second epoch, an action of the first that was hidden meanwhile, and what shows it."""
    house = open_house(policy, clock=clock)
    people = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN, Role.REVIEWER)
    action = propose(house)
    house.home.publisher.publish()
    saved = Backup(house, folder)
    assert house.propose(
        *(("orders.get", {"order_id": "x"}) if policy is POLICY else ("notes.add", {"text": "x"}))
    ).created
    house.home.publisher.publish()
    shut(house)
    saved.put_back()
    house = again(open_house, clock)
    ((seal,),) = house.sql("SELECT seal FROM actions WHERE id = ?", action)
    house.sql("UPDATE actions SET seal = ? WHERE id = ?", bytes([seal[0] ^ 1, *seal[1:]]), action)
    assert agreed(house, *people).opened.number == 2

    def show() -> None:
        house.sql("UPDATE actions SET seal = ? WHERE id = ?", bytes(seal), action)

    return house, action, show


def allowed(house: House) -> str:
    action = house.propose(args=SMALL).action
    assert action is not None
    return action.id


def approved(house: House) -> str:
    action = house.held()
    house.answer(action, house.person("Cleo", Role.REVIEWER))
    return action


@pytest.mark.parametrize("propose", [allowed, approved])
def test_a_hidden_action_is_not_claimed_afterwards(
    open_house: Open, clock: ManualClock, tmp_path: Path, propose: Callable[[House], str]
) -> None:
    house, action, show = restored(open_house, clock, tmp_path, propose)
    show()
    before = len(house.entries())
    with pytest.raises(Tampered, match="hidden"):
        house.gate.claim(action, ExecutorKind.CALLER)
    shut(house)
    house = again(open_house, clock, recovering=False)
    with pytest.raises(Tampered, match="hidden"):
        house.gate.claim(action, ExecutorKind.CALLER)
    assert len(house.entries()) == before


def test_a_hidden_request_is_neither_decided_nor_redecided_nor_withdrawn(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, action, show = restored(open_house, clock, tmp_path, lambda house: house.held())
    ((approval, shown),) = house.sql("SELECT id, review_hash FROM approvals")
    show()
    ann = house.home.roster.named(house.sql("SELECT id FROM people ORDER BY name")[1][0])
    with pytest.raises(Tampered, match="hidden"):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))
    house.activate(POLICY.replace("amount_usd < 100", "amount_usd < 900"))
    clock.forward(3_600)
    house.gate.sweep()
    assert house.sql("SELECT state FROM actions WHERE id = ?", action) == [("held",)]
    with pytest.raises(Tampered, match="hidden"):
        house.gate.withdraw(action, permits.agent())


def test_a_hidden_action_gets_no_permit(open_house: Open, clock: ManualClock, tmp_path: Path) -> None:
    house, action, show = restored(open_house, clock, tmp_path, permits.refund, permits.POLICY)
    show()
    with pytest.raises(Tampered, match="hidden"):
        permits.permit(house, action)
    assert permits.told(house, "permit.minted") == []


def test_what_is_proposed_in_the_new_epoch_runs(open_house: Open, clock: ManualClock, tmp_path: Path) -> None:
    house, _, show = restored(open_house, clock, tmp_path, allowed)
    show()
    fresh = house.propose(args={**SMALL, "order_id": "new"}).action
    assert fresh is not None
    assert house.gate.claim(fresh.id, ExecutorKind.CALLER).action_id == fresh.id


def test_a_later_epoch_writes_nothing_about_a_hidden_action(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    """The verifier takes no entry about what was not put in doubt with the epoch before."""
    house, action, show = restored(open_house, clock, tmp_path, allowed)
    show()
    lost(house, tmp_path)
    house = again(open_house, clock)
    people = [house.home.roster.named(found) for (found,) in house.sql("SELECT id FROM people")]
    assert agreed(house, *people).opened.number == 3
    assert action not in {entry.get("action") for entry in of_kind(house, "action.in_doubt")}
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "export")
    found = verify_export(tmp_path / "export")
    assert found.ok, found.problems
