"""Directly before an effect the gate is asked once more, whoever carries it out.

Between claim and effect a process can be stopped, an event loop can be busy, a server can take its time to
start. What lapsed meanwhile, or is covered by a kill switch, does not begin.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from house import BOTH, POLICY, House, ManualClock
from interlock.dispatch import run_async, run_sync
from interlock.dispatch.child import NotBegun, Place, run
from interlock.dispatch.mcp import McpConnector
from interlock.dispatch.outcome import Failed, Succeeded
from interlock.dispatch.sql import SqlConnector
from interlock.dispatch.stopping import Stopping
from interlock.gate import Claim, Scope
from interlock.model.actions import ExecutorKind
from interlock.model.errors import NotClaimable
from interlock.model.verdicts import NO_CONSTRAINTS
from interlock.policy import McpExecute, SqlExecute

DATABASES = BOTH
UPSTREAM = Path(__file__).parents[1] / "mcp_upstream.py"


def claimed(house: House) -> Claim:
    action = house.propose("notes.add", {}).action
    assert action is not None
    return house.gate.claim(action.id, ExecutorKind.CALLER)


def lapsed(house: House, clock: ManualClock) -> None:
    """The process was stopped for longer than its lease; others went on meanwhile."""
    clock.forward(16)
    house.gate.sweep()


def lapsed_unseen(house: House, clock: ManualClock) -> None:
    """The same, and nobody swept."""
    clock.forward(16)


def stopped(house: House, clock: ManualClock) -> None:
    """A kill switch came on."""
    house.home.kill_switches.engage(Scope.ALL, None, "smoke", by="test")


def in_this_process(house: House, claim: Claim, called: list[str]) -> None:
    run_sync(house.gate, house.home.leases, claim, lambda: called.append("sync"))


def as_a_coroutine(house: House, claim: Claim, called: list[str]) -> None:
    async def work() -> None:
        called.append("async")

    asyncio.run(run_async(house.gate, house.home.leases, claim, work))


@pytest.mark.parametrize("meanwhile", [lapsed, lapsed_unseen, stopped])
@pytest.mark.parametrize("runs", [in_this_process, as_a_coroutine])
def test_a_function_does_not_begin_after_its_claim_is_over(
    open_house: Callable[..., House],
    clock: ManualClock,
    runs: Callable[[House, Claim, list[str]], None],
    meanwhile: Callable[[House, ManualClock], None],
) -> None:
    house, called = open_house(POLICY, clock=clock), list[str]()
    claim = claimed(house)
    meanwhile(house, clock)
    with pytest.raises(NotClaimable, match="was not run"):
        runs(house, claim, called)
    assert called == []
    assert house.state(claim.action_id) == "failed"


def test_a_child_that_is_ready_is_not_called_where_the_gate_says_no(tmp_path: Path) -> None:
    def answers() -> str | None:
        return "the lease of the claim has lapsed"

    ending = run(Place.of(sys.getrecursionlimit), {}, 5.0, Stopping(), answers)
    assert ending == NotBegun("the lease of the claim has lapsed", withheld=True)


def refusing_from(call: int) -> tuple[list[int], Callable[[], Awaitable[str | None]]]:
    asked: list[int] = []

    async def halted() -> str | None:
        asked.append(len(asked))
        return "a kill switch came on" if len(asked) >= call else None

    return asked, halted


def test_a_statement_is_not_committed_where_the_gate_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE orders (state TEXT)")
        connection.execute("INSERT INTO orders VALUES ('open')")
    connection.close()
    asked, halted = refusing_from(1)
    spec = SqlExecute("shop", "UPDATE orders SET state = 'closed'", None, 10, read_only=False)

    async def go() -> Any:
        connector = SqlConnector({"shop": f"sqlite:///{file}"}.get)
        return await connector.send(spec, {}, NO_CONSTRAINTS, halted=halted)

    outcome = asyncio.run(go())
    assert (type(outcome), outcome.proof, asked) == (Failed, "not_committed", [0])
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT state FROM orders").fetchall() == [("open",)]
    connection.close()


def test_a_tool_is_not_called_where_the_gate_says_no_once_its_server_stands(tmp_path: Path) -> None:
    book = tmp_path / "book"
    server = json.dumps({"command": [sys.executable, str(UPSTREAM), "stdio", str(book)]})
    asked, halted = refusing_from(2)
    spec = McpExecute(None, "crm", "refund")

    async def go() -> Any:
        connector = McpConnector({}.get, {"crm": server}.get, None)
        return await connector.send(spec, {}, NO_CONSTRAINTS, key=None, action="a", halted=halted)

    assert isinstance(asyncio.run(go()), Succeeded)
    outcome = asyncio.run(go())
    assert (type(outcome), outcome.proof, asked) == (Failed, "nothing_sent", [0, 1])
    assert "a kill switch came on" in outcome.reason
    assert book.read_text().count('"tool"') == 1
