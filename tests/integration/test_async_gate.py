"""The gate in an event loop: the same gate, awaited, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from house import POLICY, House
from interlock import AsyncGate, Gate, Held
from interlock.client.embedded import Embedded
from interlock.gate import Answer
from interlock.model.errors import InvalidInput

SYNC_ONLY = {"work", "home", "topics", "resume_async", "run_async", "call_async"}
"""What a loop has no use for, or has by its plain name."""


def gate_of(house: House) -> AsyncGate:
    return AsyncGate(Gate(Embedded(house.home, "support"), session=None, principal=None))


def test_the_surface_is_that_of_the_gate() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Gate) - SYNC_ONLY <= public(AsyncGate)
    for name in ("propose", "wait", "ask", "action", "withdraw"):
        ours, theirs = inspect.signature(getattr(AsyncGate, name)), inspect.signature(getattr(Gate, name))
        assert list(ours.parameters) == list(theirs.parameters)


def test_a_guarded_coroutine_function_is_held_decided_and_resumed(house: House) -> None:
    ben, ran = house.person("Ben"), list[str]()

    async def story() -> Any:
        gate = gate_of(house)

        @gate.guard("pay.refund")
        async def refund(order_id: str, amount_usd: Decimal, recipient: str) -> str:
            ran.append(f"{order_id} {amount_usd} {recipient}")
            return order_id

        assert await refund("A-1", Decimal("5"), "acme") == "A-1"
        with pytest.raises(Held) as held:
            await refund("A-2", Decimal("500"), "acme")
        await asyncio.to_thread(house.answer, held.value.action_id, ben)
        assert await gate.resume(held.value.action_id) == "A-2"
        return await gate.resume(held.value.action_id)

    assert asyncio.run(story()) == "A-2"
    assert ran == ["A-1 5.00 acme", "A-2 500.00 acme"]


def test_an_allowed_call_is_two_commits_and_hands_nothing_to_a_thread(house: House) -> None:
    commits: list[threading.Thread] = []
    looked: list[threading.Thread] = []
    journal = house.home.journal
    look = journal.look

    def counted(question: Callable[..., Any]) -> Any:
        looked.append(threading.current_thread())
        return look(question)

    async def story() -> str:
        gate = gate_of(house)

        @gate.guard("pay.refund")
        async def refund(order_id: str, amount_usd: Decimal, recipient: str) -> str:
            return order_id

        await refund("A-1", Decimal("5"), "acme")
        journal.on_commit(lambda _size: commits.append(threading.current_thread()))
        journal.look = counted  # type: ignore[method-assign]
        return await refund("A-2", Decimal("5"), "acme")

    assert asyncio.run(story()) == "A-2"
    assert commits == [threading.main_thread()] * 2
    assert looked == [threading.main_thread()], "directly before the function, and once"


def test_the_loop_goes_on_while_calls_wait(house: House) -> None:
    ben = house.person("Ben")

    async def story() -> list[str]:
        gate = gate_of(house)
        actions = [
            await gate.propose("pay.refund", {"order_id": str(n), "amount_usd": "500", "recipient": "acme"})
            for n in range(20)
        ]
        waiting = [asyncio.create_task(gate.wait(action["id"], 60)) for action in actions]
        for action in actions:  # in this loop, which therefore is not blocked
            await asyncio.to_thread(house.answer, action["id"], ben, Answer.REJECT)
        return [view["state"] for view in await asyncio.gather(*waiting)]

    assert asyncio.run(story()) == ["rejected"] * 20


def test_what_is_handed_in_may_be_plain_or_awaited(house: House) -> None:
    async def later(order_id: str) -> str:
        return f"awaited {order_id}"

    async def story() -> list[Any]:
        gate = gate_of(house)
        plain = await gate.call("orders.get", {"order_id": "1"}, lambda order_id: f"plain {order_id}")
        action = await gate.propose("orders.get", {"order_id": "2"})
        return [plain, await gate.run(action["id"], later), await gate.run(action["id"], later)]

    assert asyncio.run(story()) == ["plain 1", "awaited 2", "awaited 2"]


def test_a_plain_function_is_not_guarded_as_if_it_were_awaited(house: House) -> None:
    with pytest.raises(InvalidInput, match="not awaited"):
        gate_of(house).guard("orders.get")(lambda order_id: order_id)  # type: ignore[arg-type]


def test_it_opens_and_closes_as_a_context(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)

    async def story() -> str:
        async with await AsyncGate.open(tmp_path / "policy.yaml", agent="support") as gate:
            gate.register("tools.any")
            state: str = (await gate.propose("tools.any", {}))["state"]
            return state

    assert asyncio.run(story()) == "held"


def test_handed_functions_of_a_registered_topic_run_once_with_what_was_approved(
    open_house: Callable[..., House],
) -> None:
    house = open_house(POLICY)
    ben, ran = house.person("Ben"), list[dict[str, Any]]()
    gate = Gate(Embedded(house.home, "support"), session=None, principal=None)
    gate.register("tools.mail", tags=("egress",))
    gate.register("tools.mail", tags=("egress",))
    with pytest.raises(InvalidInput, match="other tags"):
        gate.register("tools.mail")

    def mail(**args: Any) -> str:
        ran.append(args)
        return "sent"

    with pytest.raises(Held) as held:
        gate.call("tools.mail", {"to": "ana"}, mail, call_id="1")
    assert gate.propose("tools.mail", {"to": "ana"}, call_id="1")["id"] == held.value.action_id
    house.answer(held.value.action_id, ben, Answer.EDIT, args={"to": "bob"})
    house.answer(held.value.action_id, house.person("Cleo"))
    assert gate.run(held.value.action_id, mail) == "sent"
    assert gate.run(held.value.action_id, lambda **_: pytest.fail("it ran twice")) == "sent"
    assert gate.call("tools.mail", {"to": "ana"}, mail, call_id="1") == "sent"
    assert ran == [{"to": "bob"}]
