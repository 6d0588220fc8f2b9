"""What every look costs in the steps of SQLite's own machine: the same, however much waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from test_lists_cost import WAITING, crowd

from house import REFUND, House
from interlock.gate import lists
from interlock.model.actions import ActionState


class Steps:
    """Counts what SQLite's machine does for all connections of a home."""

    EACH = 100

    def __init__(self, house: House) -> None:
        self.count = 0
        event.listen(house.home.journal.engine, "checkout", self._watch)
        house.home.journal.database.writer().set_progress_handler(self._step, self.EACH)

    def _watch(self, connection: Any, *_: Any) -> None:
        connection.set_progress_handler(self._step, self.EACH)

    def _step(self) -> int:
        self.count += 1
        return 0

    def of(self, work: Callable[[], object]) -> int:
        work()  # what is read once and remembered
        self.count = 0
        work()
        return self.count


def test_every_look_costs_the_same_beside_a_thousand_and_beside_twenty_thousand(house: House) -> None:
    """In the steps of the database's own machine, so that a scan of any kind shows."""
    ann = house.person("Ann")
    for number in range(lists.PAGE + 5):
        house.held(args={**REFUND, "order_id": f"A-{number}"})
    page = house.home.views.approvals("held")
    first, last = page["items"][0]["id"], page["items"][-1]["id"]
    policy, views, gate = house.gate.policy, house.home.views, house.gate
    looks: dict[str, Callable[[], object]] = {
        "inbox": lambda: views.approvals("held"),
        "next page": lambda: views.approvals("held", page["next"]),
        "resolved": lambda: views.approvals("resolved"),
        "in doubt": lambda: views.actions(ActionState.IN_DOUBT),
        "held actions": lambda: views.actions(ActionState.HELD),
        "first": lambda: views.approval(first, ann.caller, policy),
        "fiftieth": lambda: views.approval(last, ann.caller, policy),
        "sweep": gate.sweep,
        "drift": gate.redecide_open,
        "lapsed": gate.lapsed,
        "unread": lambda: gate.unread(100),
    }
    steps = Steps(house)
    crowd(house, 2 * lists.COUNTED, "few")
    few = {name: steps.of(look) for name, look in looks.items()}
    crowd(house, WAITING, "many")
    many = {name: steps.of(look) for name, look in looks.items()}
    assert {name for name in looks if many[name] > few[name] + 30} == set(), (few, many)
