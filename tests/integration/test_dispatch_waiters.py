"""What is claimed is carried out or reported, whoever stops waiting for it; its lease is kept meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from hostile import Hostile, serving
from house import BOTH, POLICY, House, agent
from interlock.dispatch import Dispatcher, lease
from interlock.dispatch.lease import Leases
from interlock.engine import Delivery
from interlock.gate import Claim, Scope
from interlock.journal import Tx
from interlock.model.actions import ExecutorKind, Proposal
from interlock.model.errors import HomeUnusable
from waiting import wait_for

DATABASES = BOTH
PAYING = """
  pay.far: {tier: 3, args: {}, execute: {http: {method: POST, url: "BASE/well"}}}
rules:
  - {id: far, match: {topics: [pay.far]}, decision: allow}
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with serving(tmp_path_factory.mktemp("hostile") / "book") as found:
        yield found


@pytest.fixture
def house(open_house: Callable[..., House], hostile: Hostile) -> House:
    hostile.book.path.unlink(missing_ok=True)
    return open_house(POLICY.replace("rules:\n", PAYING.replace("BASE", hostile.url).lstrip("\n")))


class Unfenced(Delivery):
    """A delivery whose process nobody takes for dead."""

    def fence(self, tx: Tx) -> None:
        return


def delivery(action: str) -> Delivery:
    ids = {"action": action, "topic": "pay.far"}
    return Unfenced(f"seg_{'0' * 32}", "dispatch", ids, 1, False, "exe", 1)


@contextmanager
def busy(house: House) -> Iterator[threading.Event]:
    """The journal is at something until the event is set: a commit that is asked for now waits."""
    began, over = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        began.set()
        over.wait(20)

    thread = threading.Thread(target=house.home.journal.commit, args=(hold,))
    thread.start()
    began.wait(20)
    try:
        yield over
    finally:
        over.set()
        thread.join()


def carrying(house: House, work: Callable[[Dispatcher], Awaitable[Any]]) -> None:
    async def go() -> None:
        connectors = house.home.connectors()
        dispatcher = Dispatcher(house.gate, connectors, house.home.leases)
        await work(dispatcher)
        await dispatcher.end(5)
        await connectors.aclose()

    asyncio.run(go())


def allowed(house: House) -> str:
    action = house.propose("pay.far", {}).action
    assert action is not None
    return action.id


def test_a_claim_whose_waiter_is_gone_before_it_is_made_is_carried_out(
    house: House, hostile: Hostile
) -> None:
    action = allowed(house)

    async def leave(dispatcher: Dispatcher) -> None:
        with busy(house):
            waiter = asyncio.create_task(dispatcher.deliver(delivery(action)))
            await asyncio.sleep(0.3)
            waiter.cancel()
            await asyncio.wait([waiter])
            assert waiter.cancelled()

    carrying(house, leave)
    assert house.state(action) == "succeeded"
    assert hostile.asked("well") == 1


def test_a_proposal_whose_proposer_is_gone_before_it_is_recorded_is_carried_out(
    house: House, hostile: Hostile
) -> None:
    async def leave(dispatcher: Dispatcher) -> None:
        with busy(house):
            proposing = house.gate.propose_async(Proposal("pay.far", {}), agent(), dispatching=True)
            waiter = asyncio.create_task(dispatcher.at_once(proposing))
            await asyncio.sleep(0.3)
            waiter.cancel()
            await asyncio.wait([waiter])

    carrying(house, leave)
    assert house.sql("SELECT state FROM actions WHERE topic = 'pay.far'") == [("succeeded",)]
    assert hostile.asked("well") == 1


def test_a_process_that_ends_while_it_claims_claims_nothing(house: House, hostile: Hostile) -> None:
    action = allowed(house)

    async def leave(dispatcher: Dispatcher) -> None:
        with busy(house) as over:
            waiter = asyncio.create_task(dispatcher.deliver(delivery(action)))
            await asyncio.sleep(0.3)
            asyncio.get_running_loop().call_later(0.3, over.set)
            await dispatcher.end(0)
        with pytest.raises(HomeUnusable, match="ending"):
            await waiter

    carrying(house, leave)
    assert house.state(action) == "allowed", "another process may have it"
    assert hostile.asked("well") == 0


def test_a_proposal_that_claims_while_its_process_ends_is_handed_back_with_nothing_sent(
    house: House, hostile: Hostile
) -> None:
    async def leave(dispatcher: Dispatcher) -> None:
        with busy(house) as over:
            proposing = house.gate.propose_async(Proposal("pay.far", {}), agent(), dispatching=True)
            waiter = asyncio.create_task(dispatcher.at_once(proposing))
            await asyncio.sleep(0.3)
            asyncio.get_running_loop().call_later(0.3, over.set)
            await dispatcher.end(0)
        await waiter

    carrying(house, leave)
    assert house.sql("SELECT state FROM actions WHERE topic = 'pay.far'") == [("failed",)]
    assert hostile.asked("well") == 0


# --- leases ----------------------------------------------------------------------------------------------


def working(house: House, number: int) -> list[Claim]:
    """Claims of this process, on actions of its own."""
    claims = []
    for each in range(number):
        action = house.propose("orders.get", {"order_id": str(each)}).action
        assert action is not None
        claims.append(house.gate.claim(action.id, ExecutorKind.CALLER))
    return claims


def leased_until(house: House) -> list[int]:
    return [until for (until,) in house.sql("SELECT lease_until FROM actions WHERE state = 'executing'")]


def test_all_leases_of_a_process_are_renewed_in_one_transaction(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SEC", 0.2)
    claims = working(house, 12)
    first = max(leased_until(house))
    leases = Leases(house.gate)
    with ExitStack() as kept:
        for claim in claims:
            kept.enter_context(leases.keep(claim))
        wait_for(lambda: min(leased_until(house)) > first)
        assert len(set(leased_until(house))) == 1
    leases.close()


def test_a_renewal_that_waits_keeps_no_word_of_a_kill_switch_back_and_an_error_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SEC", 0.05)
    monkeypatch.setattr(lease, "SIGNAL_SEC", 0.05)
    waits, asked = threading.Event(), []
    halted = house.gate.halted

    def failing(running: Any) -> Any:
        asked.append(len(running))
        if len(asked) < 4:
            raise RecursionError("whatever goes wrong")
        return halted(running)

    monkeypatch.setattr(house.gate, "renew", lambda claims: waits.wait(20))
    monkeypatch.setattr(house.gate, "halted", failing)
    (claim,) = working(house, 1)
    leases = Leases(house.gate)
    with leases.keep(claim) as stopping:
        house.home.kill_switches.engage(Scope.ALL, None, "smoke", by="test")
        wait_for(lambda: stopping.why() is not None)
        assert not waits.is_set()
    waits.set()
    leases.close()
    assert len(asked) >= 4
