"""The guard an engineer writes: what runs is what was approved, once, and what does not run says why."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from house import House
from interlock import Denied, Ended, Gate, Held, NoEffect
from interlock.gate import Answer, HumanDecision, ReasonCode
from interlock.home import Home
from interlock.model.errors import (
    ConstraintBreached,
    InDoubt,
    InterlockError,
    InvalidInput,
    NotClaimable,
    PolicyNotActive,
    UnknownTopic,
)

POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args:
      order_id: string
      amount_usd: {type: decimal, scale: 2, currency: USD}
      note: {type: string, optional: true}
    roles: {amount: amount_usd}
    summary: Refund ${args.amount_usd} for order {args.order_id}
  orders.get: {tier: 1, args: {order_id: string}}
  notes.add: {tier: 2, undo: notes.drop, undo_within: 1m}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  notes.price:
    tier: 2
    args: {price: {type: decimal, scale: 2, optional: true}}
    undo: notes.drop
    undo_within: 1m
  things.look: {tier: 1, args: {name: string}, execute: {http: {method: GET, url: "http://127.0.0.1:9/{args.name}"}}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
  - id: capped
    match: {topics: [tips.give]}
    decision: allow_with_constraints
    constraints: {max_amount_usd: 10}
  - {id: never, match: {topics: [x.never]}, decision: deny, reason: Nobody does this}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def gate(policy: Path) -> Iterator[Gate]:
    with Gate.open(policy) as opened:
        yield opened


@pytest.fixture
def desk(gate: Gate, policy: Path) -> Iterator[House]:
    """Another process's view of the same home, with a person in it."""
    home = Home.open(policy.parent / ".interlock")
    house = House(home)
    house.person("Ann")
    yield house
    home.close()


def answer(
    desk: House, held: Held, answer: Answer = Answer.APPROVE, *, person: str = "Ann", **rest: Any
) -> None:
    caller = desk.home.roster.named(person).caller
    shown = desk.home.views.action(held.action_id, caller)["approval"]
    code = ReasonCode.WRONG_AMOUNT if answer is Answer.REJECT else None
    decision = HumanDecision(answer, shown["review_hash"], reason_code=code, **rest)
    desk.gate.decide(shown["id"], caller, decision)


def held(call: Callable[[], Any]) -> Held:
    with pytest.raises(Held) as caught:
        call()
    return caught.value


# --- what runs --------------------------------------------------------------------------------------------


def test_an_allowed_call_runs_at_once_with_canonical_arguments(gate: Gate) -> None:
    seen: list[Any] = []

    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal, note: str | None = None) -> dict[str, str]:
        """Pay back."""
        seen.append((order_id, amount_usd, note))
        return {"paid": str(amount_usd)}

    assert refund("A", 5.1) == {"paid": "5.10"}  # type: ignore[arg-type]
    assert seen == [("A", Decimal("5.10"), None)]
    assert isinstance(seen[0][1], Decimal)
    assert (refund.__name__, refund.__doc__) == ("refund", "Pay back.")


def test_held_says_what_from_whom_until_when_and_how_to_decide(gate: Gate, policy: Path) -> None:
    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal) -> None:
        raise AssertionError("it ran")

    error = held(lambda: refund("A-12", Decimal(1400)))
    text = str(error)
    assert "Refund $1,400.00 for order A-12" in text
    assert "finance" in text
    assert error.due_at in text
    assert error.due_at.endswith("Z")
    assert error.approval_id in text
    assert "interlock approvals show" in text
    assert str(policy.parent / ".interlock") in text
    assert (error.owner, error.state, error.status) == ("finance", "held", 202)


def test_a_call_runs_once_after_its_approval_by_resume_or_by_calling_again(gate: Gate, desk: House) -> None:
    ran: list[str] = []

    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal) -> str:
        ran.append(order_id)
        return f"paid {amount_usd}"

    for order, again in (
        ("A", lambda e: gate.resume(e.action_id)),
        ("B", lambda _: refund("B", Decimal(500))),
    ):
        error = held(lambda order=order: refund(order, Decimal(500)))
        assert held(lambda order=order: refund(order, Decimal(500))).action_id == error.action_id
        answer(desk, error)
        assert again(error) == "paid 500.00"
        assert gate.resume(error.action_id) == "paid 500.00"
    assert ran == ["A", "B"]


def test_what_a_person_edited_is_what_runs(gate: Gate, desk: House) -> None:
    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal) -> str:
        return f"paid {amount_usd}"

    error = held(lambda: refund("A", Decimal(500)))
    answer(desk, error, Answer.EDIT, args={"order_id": "A", "amount_usd": "120.00"})
    edited = held(lambda: gate.resume(error.action_id))
    assert edited.approval_id != error.approval_id
    desk.person("Bob")
    answer(desk, edited, person="Bob")
    assert gate.resume(error.action_id) == "paid 120.00"


def test_a_rejected_call_says_why_and_never_runs(gate: Gate, desk: House) -> None:
    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal) -> None:
        raise AssertionError("it ran")

    error = held(lambda: refund("A", Decimal(500)))
    answer(desk, error, Answer.REJECT, note="twice too much")
    with pytest.raises(Denied) as caught:
        gate.resume(error.action_id)
    assert (caught.value.reason_code, caught.value.note) == ("wrong_amount", "twice too much")
    assert "twice too much" in str(caught.value)


def test_a_denied_call_says_why_and_never_runs(gate: Gate) -> None:
    @gate.guard("x.never")
    def never() -> None:
        raise AssertionError("it ran")

    with pytest.raises(Denied, match="Nobody does this"):
        never()


def test_a_withdrawn_call_never_runs(gate: Gate) -> None:
    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal) -> None:
        raise AssertionError("it ran")

    error = held(lambda: refund("A", Decimal(500)))
    assert gate.withdraw(error.action_id)["state"] == "withdrawn"
    with pytest.raises(Ended):
        gate.resume(error.action_id)


def test_a_call_that_was_held_runs_in_a_new_process_that_guards_the_same_function(
    policy: Path, tmp_path: Path
) -> None:
    script = tmp_path / "agent.py"
    script.write_text(
        """
import sys
from decimal import Decimal
from interlock import Gate, Held

gate = Gate.open(sys.argv[1])

@gate.guard("pay.refund")
def refund(order_id: str, amount_usd: Decimal) -> dict:
    with open(sys.argv[2], "a") as effects:
        effects.write(f"{order_id} {amount_usd!r}\\n")
    return {"paid": str(amount_usd)}

try:
    print(refund("A", Decimal(500)) if len(sys.argv) == 3 else gate.resume(sys.argv[3]))
except Held as held:
    print(held.action_id)
gate.close()
"""
    )

    def agent(*args: str) -> str:
        command = [sys.executable, str(script), str(policy), str(tmp_path / "effects"), *args]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    action = agent()
    assert action.startswith("act_")
    home = Home.open(policy.parent / ".interlock")
    house = House(home)
    approval = home.views.action(action, (ann := house.person("Ann")).caller)["approval"]
    house.gate.decide(approval["id"], ann.caller, HumanDecision(Answer.APPROVE, approval["review_hash"]))
    home.close()
    assert agent(action) == "{'paid': '500.00'}"
    assert agent(action) == "{'paid': '500.00'}"
    assert (tmp_path / "effects").read_text() == "A Decimal('500.00')\n"


def test_a_process_that_does_not_guard_the_function_does_not_run_it(gate: Gate) -> None:
    action = gate.propose("notes.add", {"x": 1})
    with pytest.raises(NotClaimable):
        gate.resume(action["id"])
    assert gate.action(action["id"])["state"] == "allowed"


def test_an_edit_that_the_function_cannot_take_is_not_run_and_not_in_doubt(gate: Gate, desk: House) -> None:
    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Decimal) -> None:
        raise AssertionError("it ran")

    error = held(lambda: refund("A", Decimal(500)))
    args = {"order_id": "A", "amount_usd": "120.00", "note": "by hand"}
    answer(desk, error, Answer.EDIT, args=args)
    desk.person("Bob")
    answer(desk, error, person="Bob")
    with pytest.raises((InterlockError, TypeError)):
        gate.resume(error.action_id)
    assert gate.action(error.action_id)["state"] in ("approved", "failed")


# --- how it ends ------------------------------------------------------------------------------------------


def test_an_exception_leaves_the_action_in_doubt_and_it_is_not_run_again(gate: Gate) -> None:
    ran = []

    @gate.guard("notes.add")
    def add(text: str) -> None:
        ran.append(text)
        raise OSError("connection reset")

    with pytest.raises(OSError, match="connection reset"):
        add("x")
    with pytest.raises(InDoubt):
        add("x")
    assert ran == ["x"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interrupt_while_it_runs_leaves_it_in_doubt(gate: Gate, error: type[BaseException]) -> None:
    @gate.guard("notes.add")
    def add(text: str) -> None:
        raise error

    with pytest.raises(error):
        add("x")
    with pytest.raises(InDoubt):
        add("x")


def test_no_effect_means_failed_and_it_may_be_asked_again(gate: Gate) -> None:
    ran = []

    @gate.guard("notes.add")
    def add(text: str) -> str:
        ran.append(text)
        if len(ran) == 1:
            raise NoEffect("the disk was full")
        return "added"

    with pytest.raises(NoEffect):
        add("x")
    assert add("x") == "added"


def test_a_read_that_raises_has_failed_without_effect(gate: Gate, desk: House) -> None:
    @gate.guard("orders.get")
    def get(order_id: str) -> None:
        raise LookupError(order_id)

    with pytest.raises(LookupError):
        get("A")
    assert desk.sql("SELECT state FROM actions") == [("failed",)]


def odd() -> Iterator[tuple[str, Any]]:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    yield "a set", {1, 2}
    yield "an object", object()
    yield "NaN", float("nan")
    yield "a signalling NaN", Decimal("sNaN")
    yield "a huge integer", 2**70
    yield "a huge double", 1e300
    yield "a lone surrogate", "\ud800"
    yield "keys that are no strings", {1: 2}
    yield "a list in itself", loop
    yield "64 levels", deep
    yield "2 MiB", "x" * (2 << 20)


@pytest.mark.parametrize("result", [pytest.param(value, id=name) for name, value in odd()])
def test_a_result_that_is_no_json_is_returned_and_the_action_has_succeeded(
    gate: Gate, desk: House, result: Any
) -> None:
    @gate.guard("notes.add")
    def add() -> Any:
        return result

    assert add() is result
    assert desk.sql("SELECT state FROM actions") == [("succeeded",)]


def test_an_optional_amount_may_be_left_out(gate: Gate) -> None:
    @gate.guard("notes.price")
    def price(price: Decimal | None = None) -> str:
        return f"priced {price!r}"

    assert price() == "priced None"
    assert price(Decimal("1.5")) == "priced Decimal('1.50')"


@pytest.mark.parametrize("amount", ["11.00", 11, "lots", "NaN", "1e3", True, None])
def test_an_amount_above_its_limit_or_unreadable_does_not_run(gate: Gate, desk: House, amount: Any) -> None:
    @gate.guard("tips.give")
    def give(amount_usd: Any) -> None:
        raise AssertionError("it ran")

    with pytest.raises((ConstraintBreached, InvalidInput, Held)):
        give(amount)
    assert {row[0] for row in desk.sql("SELECT state FROM actions")} <= {"failed", "held"}


def test_an_amount_within_its_limit_runs(gate: Gate) -> None:
    @gate.guard("tips.give")
    def give(amount_usd: Any) -> str:
        return f"gave {amount_usd}"

    assert give("10.00") == "gave 10.00"


@pytest.mark.parametrize("tags", ["delete", ("Delete",), ("",), (1,), ["de lete"]])
def test_tags_that_are_no_tags_are_refused_where_the_function_is_registered(gate: Gate, tags: Any) -> None:
    with pytest.raises(InvalidInput, match="are no tags"):
        gate.guard("x.wipe", tags=tags)(lambda: None)


# --- coroutines -------------------------------------------------------------------------------------------


def test_coroutine_functions_run_side_by_side_and_each_once(gate: Gate) -> None:
    running = most = 0
    ran: list[int] = []

    @gate.guard("notes.add")
    async def add(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        ran.append(n)
        running -= 1
        return n

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*(add(n) for n in range(20)))

    assert asyncio.run(all_at_once()) == list(range(20))
    assert sorted(ran) == list(range(20))
    assert most > 1


def test_the_same_coroutine_call_twice_at_once_runs_once(gate: Gate) -> None:
    ran = []

    @gate.guard("notes.add")
    async def add(n: int) -> int:
        ran.append(n)
        await asyncio.sleep(0.1)
        return n

    async def twice() -> list[Any]:
        return await asyncio.gather(add(1), add(1), return_exceptions=True)

    answers = asyncio.run(twice())
    assert ran == [1]
    assert 1 in answers
    assert any(isinstance(a, NotClaimable) for a in answers)


def test_a_cancelled_coroutine_is_in_doubt(gate: Gate, desk: House) -> None:
    @gate.guard("notes.add")
    async def add(n: int) -> None:
        begun.set()
        await asyncio.sleep(60)

    begun = asyncio.Event()

    async def run() -> None:
        task = asyncio.ensure_future(add(1))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert desk.sql("SELECT state FROM actions") == [("in_doubt",)]


def test_a_held_coroutine_resumes_inside_and_outside_a_loop(gate: Gate, desk: House) -> None:
    @gate.guard("pay.refund")
    async def refund(order_id: str, amount_usd: Decimal) -> str:
        return f"paid {amount_usd}"

    async def hold(order: str) -> Held:
        with pytest.raises(Held) as caught:
            await refund(order, Decimal(500))
        return caught.value

    first, second = asyncio.run(hold("A")), asyncio.run(hold("B"))
    answer(desk, first)
    answer(desk, second)
    assert gate.resume(first.action_id) == "paid 500.00"

    async def inside() -> Any:
        with pytest.raises(NotClaimable):
            gate.resume(second.action_id)
        assert gate.action(second.action_id)["state"] == "approved", "it was not claimed in vain"
        return await gate.resume_async(second.action_id)

    assert asyncio.run(inside()) == "paid 500.00"


def test_an_http_action_can_be_proposed_inside_a_running_loop(gate: Gate) -> None:
    async def inside() -> dict[str, Any]:
        return gate.propose("things.look", {"name": "a"})

    assert asyncio.run(inside())["state"] == "failed", "nothing listens on that port, and nothing was sent"


def test_threads_may_call_one_guarded_function(gate: Gate) -> None:
    ran = []

    @gate.guard("notes.add")
    def add(n: int) -> None:
        ran.append(n)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == list(range(16))


# --- binding ----------------------------------------------------------------------------------------------


def generator(n: int) -> Iterator[int]:
    yield n


async def stream(n: int) -> AsyncIterator[int]:
    yield n


@pytest.mark.parametrize("function", [generator, stream, lambda *n: n, lambda **n: n, lambda n, /: n])
def test_what_cannot_be_run_under_a_claim_is_not_guarded(gate: Gate, function: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput):
        gate.guard("notes.add")(function)


def test_an_object_whose_call_is_a_coroutine_runs_under_its_claim(gate: Gate, desk: House) -> None:
    class Add:
        __name__ = __qualname__ = "Add"

        async def __call__(self, n: int) -> int:
            ((state,),) = desk.sql("SELECT state FROM actions")
            assert state == "executing"
            return n

    guarded: Any = gate.guard("notes.add")(Add())
    assert asyncio.run(guarded(1)) == 1


def test_a_function_that_returns_an_awaitable_has_not_succeeded_yet(gate: Gate, desk: House) -> None:
    async def later() -> None:
        return None

    @gate.guard("notes.add")
    def add() -> Any:
        return later()

    try:
        answer = add()
        answer.close()
    except (InterlockError, TypeError):
        pass
    assert desk.sql("SELECT count(*) FROM actions WHERE state = 'succeeded'") == [(0,)]


def test_one_topic_is_one_function(gate: Gate) -> None:
    gate.guard("notes.add")(lambda n: n)
    with pytest.raises(InvalidInput):
        gate.guard("notes.add")(lambda n: n)


def test_a_topic_nobody_registered_is_unknown(gate: Gate) -> None:
    with pytest.raises(UnknownTopic):
        gate.propose("x.unknown", {})


def test_bad_arguments_and_words_are_refused_before_anything_is_recorded(gate: Gate, desk: House) -> None:
    @gate.guard("pay.refund")
    def refund(order_id: str, amount_usd: Any) -> None:
        raise AssertionError("it ran")

    for args in (("A", "1.001"), ("A", float("nan")), (7, "1.00"), ("\ud800", "1.00")):
        with pytest.raises(InvalidInput):
            refund(*args)  # type: ignore[arg-type]
    for words in ({"confidence": float("nan")}, {"confidence": 2}, {"retry_of": "x"}, {"call_id": ""}):
        with pytest.raises(InterlockError):
            gate.propose("notes.add", {}, **words)  # type: ignore[arg-type]
    assert desk.sql("SELECT count(*) FROM actions") == [(0,)]


def test_a_gate_with_another_policy_needs_activate(policy: Path, gate: Gate) -> None:
    policy.write_text(POLICY.replace("< 100", "< 1000"))
    with pytest.raises(PolicyNotActive):
        Gate.open(policy)
    Gate.open(policy, activate=True).close()


def test_importing_the_names_loads_no_server_and_no_database() -> None:
    script = "import sys; import interlock; from interlock import Held, Denied; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert {"fastapi", "httpx", "uvicorn", "sqlalchemy", "alembic"}.isdisjoint(ended.stdout.split())
