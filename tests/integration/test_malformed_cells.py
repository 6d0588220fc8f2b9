"""SQLite lets a cell hold what is not of its column's kind: it harms its own row, and no other waits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from test_gate_drift import TIGHT

from house import POLICY, REFUND, House, ManualClock
from interlock.dispatch import Dispatcher
from interlock.gate import lists
from interlock.home import Home
from interlock.home.work import Work
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Tampered
from interlock.server.events import News

CELLS = {
    "no UTF-8": "CAST(x'ff41' AS TEXT)",
    "text": "'x'",
    "bytes": "x'00ff'",
    "a fraction": "1.5",
    "infinity": "9e999",
    "no time": "-9223372036854775807",
}
REQUEST = ("id", "action_id", "revision", "state", "owner", "package", "requested_at", "due_at", "expires_at")
ACTION = ("id", "topic", "verdict", "snapshot", "payload", "proposed_at", "changed_at", "expires_at", "seal")
MINUTES = 60.0
HOOK = '{http: {method: GET, url: "http://127.0.0.1:9/", idempotent: {retention: 1h}}}'
HOOKS = POLICY.replace(
    "orders.get: {tier: 1, args: {order_id: string}",
    f"orders.get: {{tier: 1, args: {{order_id: string}}, execute: {HOOK}",
)


def others(house: House) -> set[str]:
    return {house.held(args={**REFUND, "order_id": f"A-{number}"}) for number in range(3)}


def listed(look: Callable[[str | None], dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor, pages = None, 0
    while True:
        page = look(cursor)
        found += page["items"]
        cursor, pages = page["next"], pages + 1
        assert pages < 20, "it never ends"
        if cursor is None:
            return found


@pytest.mark.parametrize("column", REQUEST)
def test_a_damaged_request_is_an_alarm_and_the_others_are_decided_and_end(
    house: House, clock: ManualClock, column: str
) -> None:
    ann, held = house.person("Ann"), others(house)
    for name, cell in CELLS.items():
        broken = house.held(args={**REFUND, "order_id": name})
        house.sql(f"UPDATE approvals SET {column} = {cell} WHERE action_id = '{broken}'")
    items = [
        *listed(lambda cursor: house.home.views.approvals("held", cursor)),
        *listed(lambda cursor: house.home.views.approvals("resolved", cursor)),
    ]
    assert {item["action_id"] for item in items if item["state"] == "held"} == held
    assert [item["state"] for item in items if item["action_id"] not in held] == ["tampered"] * len(CELLS)
    first, *rest = sorted(held)
    assert house.answer(first, ann).action is not None
    house.activate(TIGHT)
    assert {house.view(action)["tier"] for action in held} == {4}
    clock.forward(30 * MINUTES * 24)
    house.gate.sweep()
    assert {house.state(action) for action in rest} <= {"expired", "held"}


@pytest.mark.parametrize("column", ACTION)
def test_a_damaged_action_is_an_alarm_and_the_others_end(
    house: House, clock: ManualClock, column: str
) -> None:
    held = others(house)
    for name, cell in CELLS.items():
        broken = house.held(args={**REFUND, "order_id": name})
        house.sql(f"UPDATE actions SET {column} = {cell} WHERE id = '{broken}'")
    items = listed(lambda cursor: house.home.views.approvals("held", cursor))
    assert {item["action_id"] for item in items if item["state"] == "held"} == held
    assert len(items) == len(held) + len(CELLS)
    actions = listed(lambda cursor: house.home.views.actions(ActionState.HELD, cursor))
    assert {item["id"] for item in actions if item["state"] == "held"} == held
    house.gate.redecide_open()
    clock.forward(16 * MINUTES)
    assert house.gate.sweep() == len(held)
    assert {house.state(action) for action in held} == {"expired"}


def test_a_page_full_of_damaged_rows_hides_nothing_behind_it(house: House, clock: ManualClock) -> None:
    for number in range(lists.PAGE + 10):
        house.held(args={**REFUND, "order_id": f"B-{number}"})
    for column, cell in (("owner", "'x'"), ("due_at", "due_at - 0.5"), ("id", "id || char(10)")):
        house.sql(f"UPDATE approvals SET {column} = {cell}")
    clock.forward(1)
    held = others(house)
    items = listed(lambda cursor: house.home.views.approvals("held", cursor))
    assert {item["action_id"] for item in items if item["state"] == "held"} == held
    clock.forward(20 * MINUTES)
    assert house.gate.sweep() == len(held)


@pytest.mark.parametrize("cell", ["'x'", "9e999", "x'00'"])
def test_a_damaged_claim_is_not_repeated_and_the_others_are(
    house: House, clock: ManualClock, cell: str
) -> None:
    house.activate(HOOKS)
    ids = []
    for number in range(3):
        row = house.propose("orders.get", {"order_id": f"A-{number}"}).action
        assert row is not None
        house.gate.claim(row.id, ExecutorKind.HTTP)
        ids.append(row.id)
    clock.forward(MINUTES)
    assert {found[0] for found in house.gate.lapsed()} == set(ids)
    house.sql(f"UPDATE actions SET claimed_at = {cell} WHERE id = ?", ids[0])
    assert {found[0] for found in house.gate.lapsed()} == set(ids[1:])


def test_an_infinity_is_not_read_as_nothing(house: House, clock: ManualClock) -> None:
    """JSON has no infinity: a mark over one must not be the mark over a null. A key that is remembered for
    ever would have repeated what is not idempotent."""
    action = house.propose("notes.add", {}).action
    assert action is not None
    assert action.retention_sec is None
    claimed = house.gate.claim(action.id, ExecutorKind.CALLER)
    house.sql("UPDATE actions SET retention_sec = 9e999 WHERE id = ?", action.id)
    assert house.sql("SELECT retention_sec FROM actions WHERE id = ?", action.id) == [(math.inf,)]
    clock.forward(MINUTES)
    with pytest.raises(Tampered):
        house.gate.claim(action.id, ExecutorKind.CALLER)
    assert claimed.epoch == 1


def test_whatever_a_sweep_fails_with_it_goes_on(house: House, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def sweep() -> int:
        calls.append(1)
        raise TypeError("unorderable")

    house.gate.sweep = sweep  # type: ignore[method-assign]

    async def some() -> None:
        stop = asyncio.Event()
        dispatcher = Dispatcher(house.gate, house.home.connectors(), house.home.leases)
        serving = asyncio.create_task(dispatcher.serve(stop))
        while len(calls) < 3:
            await asyncio.sleep(0.05)
            assert not serving.done()
        stop.set()
        await serving
        await dispatcher.end(1)

    asyncio.run(some())
    assert len([record for record in caplog.records if "unorderable" in record.getMessage()]) == 1


def test_a_head_that_cannot_be_read_now_does_not_end_the_news(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    home: Home = house.home
    read, failures = home.journal.head, []

    def head() -> Any:
        if len(failures) < 3:
            failures.append(1)
            raise OSError(24, "Too many open files")
        return read()

    home.journal.head = head  # type: ignore[method-assign]

    async def some() -> None:
        stop = asyncio.Event()
        dispatcher = Dispatcher(home.gate, home.connectors(), home.leases)
        news = News(home, Work(home, dispatcher))
        following = asyncio.create_task(news.run(stop))
        while news.size == 0:
            await asyncio.sleep(0.05)
            assert not following.done()
        stop.set()
        await following
        await dispatcher.end(1)

    house.held()
    asyncio.run(some())
    assert len(failures) == 3
    assert len([record for record in caplog.records if "no news" in record.getMessage()]) == 1
