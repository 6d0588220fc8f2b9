"""Being told: a gate's callbacks hear of what became of its actions, from whichever process that came."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from house import DAY, House, ManualClock, agent
from interlock import Gate, Held
from interlock.client.watching import Follower
from interlock.gate import Answer, followed
from interlock.gate.telling import Event
from interlock.home import Home

POLICY = """
interlock: 1
name: shop
people: solo
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
"""
WAIT_SEC = 20.0


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def gate(policy: Path) -> Iterator[Gate]:
    with Gate.open(policy, agent="support") as opened:
        yield opened


@pytest.fixture
def desk(gate: Gate, policy: Path) -> Iterator[House]:
    """The same home, opened a second time, as another process has it."""
    home = Home.open(policy.parent / ".interlock")
    yield House(home)
    home.close()


def propose(gate: Gate, order: str = "A", amount: str = "500.00", **rest: Any) -> str:
    action: str = gate.propose("pay.refund", {"order_id": order, "amount_usd": amount}, **rest)["id"]
    return action


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.action_id, event.state.value) for event in events]


def test_a_decision_in_another_process_is_told_once(gate: Gate, desk: House) -> None:
    events: list[Event] = []
    gate.on_decided(events.append)
    one, other = propose(gate, "A"), propose(gate, "B")
    ann = desk.person("Ann")
    desk.answer(one, ann)
    desk.answer(other, ann, Answer.REJECT)
    eventually(lambda: len(events) == 2)
    assert told(events) == [(one, "approved"), (other, "rejected")]
    assert events[0].type == "action.approved"
    assert events[0].number < events[1].number


def test_every_callback_is_told_and_one_that_raises_stops_nobody(
    gate: Gate, desk: House, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []

    @gate.on_decided
    def broken(_event: Event) -> None:
        raise RuntimeError("zanzibar")

    @gate.on_decided
    async def later(event: Event) -> None:
        events.append(event)

    gate.on_decided(events.append)
    ann = desk.person("Ann")
    for order in "AB":
        desk.answer(propose(gate, order), ann)
    eventually(lambda: len(events) == 4)
    assert caplog.text.count("a callback failed") == 2


def test_what_other_gates_proposed_is_not_told(gate: Gate, desk: House, policy: Path) -> None:
    events: list[Event] = []
    gate.on_decided(events.append)
    ann = desk.person("Ann")
    with Gate.open(policy, agent="support") as other:
        desk.answer(propose(other, "X"), ann)
    desk.answer(mine := propose(gate, "A"), ann)
    eventually(lambda: events)
    assert told(events) == [(mine, "approved")]


def test_the_outcome_and_a_withdrawal_are_told_too(gate: Gate) -> None:
    events: list[Event] = []
    gate.on_decided(events.append)

    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: object) -> str:
        return order_id

    assert refund("A", "5.00") == "A"
    with pytest.raises(Held) as held:
        refund("B", "500.00")
    gate.withdraw(held.value.action_id)
    eventually(lambda: len(events) == 2)
    assert [event.state.value for event in events] == ["succeeded", "withdrawn"]


def test_a_decision_that_is_read_before_the_proposer_knows_its_id_is_told(
    gate: Gate, desk: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    gate.on_decided(events.append)
    watcher = gate._backend._watcher
    ours, late = watcher.mine, []
    monkeypatch.setattr(watcher, "mine", late.append)
    desk.answer(action := propose(gate), desk.person("Ann"))
    eventually(lambda: any(event.action_id == action for event in watcher._recent))
    assert events == []
    assert late == [action]
    ours(action)
    eventually(lambda: events)
    assert told(events) == [(action, "approved")]


def test_a_callback_may_use_the_gate(gate: Gate, desk: House) -> None:
    done: list[tuple[bytes | None, Any]] = []

    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: object) -> str:
        return f"refunded {order_id}"

    @gate.on_decided
    def goes_on(event: Event) -> None:
        if event.state == "approved":
            done.append((gate.checkpoint(event.action_id), gate.resume(event.action_id)))

    desk.answer(propose(gate, "A", checkpoint=b"state"), desk.person("Ann"))
    eventually(lambda: done)
    assert done == [(b"state", "refunded A")]


def test_many_waiting_actions_are_one_thread_and_gate_closes_it(gate: Gate, desk: House) -> None:
    before = threading.active_count()
    events: list[Event] = []
    for _ in range(3):
        gate.on_decided(events.append)
    actions = [propose(gate, str(n)) for n in range(30)]
    assert threading.active_count() == before + 1
    ann = desk.person("Ann")
    for action in actions:
        desk.answer(action, ann)
    eventually(lambda: len(events) == 90)
    gate.close()
    assert not any(thread.name == "decided" for thread in threading.enumerate())


def test_the_gate_may_be_closed_in_a_callback(policy: Path) -> None:
    gate = Gate.open(policy)
    closed = threading.Event()

    @gate.on_decided
    def end(_event: Event) -> None:
        gate.close()
        closed.set()

    gate.withdraw(propose(gate))
    assert closed.wait(WAIT_SEC)


def test_without_a_callback_there_is_no_thread(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        gate.withdraw(propose(gate))
    assert not any(thread.name == "decided" for thread in threading.enumerate())


# --- in the place of processes that are gone ---------------------------------------------------------------


@pytest.fixture
def follow(house: House) -> Callable[..., Follower]:
    """Makes what a worker tells with; `begin` is what an agent's process did that asked to be told."""

    def begin(callback: Callable[[Event], Any], name: str = "one", first: int = 0) -> Follower:
        journal = house.home.journal
        return Follower(journal, "support", f"worker-{name}", [callback], lambda: first)

    house.home.journal.commit(lambda tx: followed.begin(tx, "support", 0))
    return begin


def withdrawn(house: House, order: str, name: str = "support") -> str:
    action = house.held(idempotency_key=order, caller=agent(name))
    house.gate.withdraw(action, agent(name))
    return action


def test_a_worker_tells_what_happened_while_nobody_was_there_and_the_next_one_goes_on(
    house: House, follow: Callable[..., Follower]
) -> None:
    events: list[Event] = []
    one = withdrawn(house, "1")
    withdrawn(house, "2", "billing")
    follow(events.append).catch_up()
    other = withdrawn(house, "3")
    follow(events.append, "two").catch_up()
    follow(events.append).catch_up()
    assert told(events) == [(one, "withdrawn"), (other, "withdrawn")]


def test_one_worker_tells_at_a_time_and_another_takes_over_from_one_that_is_gone(
    house: House, clock: ManualClock, follow: Callable[..., Follower]
) -> None:
    first: list[Event] = []
    second: list[Event] = []
    withdrawn(house, "1")
    follow(first.append)._round()  # it keeps its place, and is killed
    again = withdrawn(house, "2")
    other = follow(second.append, "two")
    other._round()
    assert (len(first), second) == (1, [])
    clock.forward(16)
    other._round()
    assert told(second) == [(again, "withdrawn")]


def test_an_event_whose_teller_died_is_told_again_under_its_number(
    house: House, clock: ManualClock, follow: Callable[..., Follower]
) -> None:
    events: list[Event] = []
    withdrawn(house, "1")

    def dies(event: Event) -> None:
        events.append(event)
        raise SystemExit

    with pytest.raises(SystemExit):
        follow(dies)._round()
    clock.forward(16)
    follow(events.append, "two").catch_up()
    assert events[0] == events[1]
    assert len(events) == 2


def test_however_long_a_callback_takes_nobody_else_tells_the_same(
    house: House, clock: ManualClock, follow: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.client.watching.RENEW_SEC", 0.01)
    events: list[Event] = []
    withdrawn(house, "1")
    other = follow(events.append, "two")

    def until() -> int:
        return int(house.sql("SELECT until FROM followed")[0][0])

    def slow(event: Event) -> None:
        events.append(event)
        for _ in range(3):
            before = until()
            clock.forward(10)
            eventually(lambda before=before: until() > before)
            other._round()

    follow(slow).catch_up()
    assert len(events) == 1


def test_the_first_worker_goes_back_a_day_and_later_ones_as_far_as_it_takes(
    house: House, clock: ManualClock, follow: Callable[..., Follower]
) -> None:
    events: list[Event] = []
    withdrawn(house, "old")
    clock.forward(2 * DAY)
    recent = withdrawn(house, "recent")
    clock.forward(3600)
    follow(events.append).catch_up()
    assert told(events) == [(recent, "withdrawn")]
    later = withdrawn(house, "later")
    clock.forward(30 * DAY)
    follow(events.append, "two").catch_up()
    assert told(events[1:]) == [(later, "withdrawn")]


def test_what_was_pruned_away_is_passed_over_and_a_shorter_ledger_is_no_trouble(
    house: House, follow: Callable[..., Follower]
) -> None:
    events: list[Event] = []
    withdrawn(house, "1")
    size = house.home.journal.head()[0]
    last = withdrawn(house, "2")
    follow(events.append, first=size).catch_up()
    assert told(events) == [(last, "withdrawn")]
    house.sql("UPDATE followed SET position = position + 1000")
    follow(events.append).catch_up()
    after = withdrawn(house, "3")
    follow(events.append).catch_up()
    assert told(events)[-1] == (after, "withdrawn")
