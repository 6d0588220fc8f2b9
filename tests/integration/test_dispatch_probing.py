"""The prober over real services: what is a reading, what is not, and what never leaves."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import world
from interlock.dispatch import Connectors, Prober
from interlock.dispatch.probing import MAX_FIELDS_BYTES
from interlock.model.readings import Reading
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints
from interlock.policy import HttpExecute, McpExecute, Probe, SqlExecute
from world import World

NONCE = bytes(32)
ARGS = {"order_id": "A-12"}
UPSTREAM = Path(__file__).parents[1] / "mcp_upstream.py"


@pytest.fixture
def shop() -> Iterator[World]:
    with world.serving() as service:
        yield service


def prober(tmp_path: Path, **credentials: str) -> Prober:
    command = [sys.executable, str(UPSTREAM), "stdio", str(tmp_path / "book")]
    server = json.dumps({"command": command, "env": {"PYTHONPATH": str(UPSTREAM.parent)}})
    return Prober(Connectors(credentials.get, {"crm": server}.get), lambda: 7)


def read(
    tmp_path: Path, probe: Probe, args: dict[str, Any] | None = None, limits: Constraints = NO_CONSTRAINTS
) -> Reading:
    database = f"sqlite:///{tmp_path / 'orders.db'}"
    return prober(tmp_path, db=database, shop="Bearer s3cret").read_here(
        probe, ARGS if args is None else args, limits, "act_1"
    )


def http(shop: World, *compare: str, absent: tuple[int, ...] = ()) -> Probe:
    return Probe(HttpExecute("GET", f"{shop.url}/orders/{{args.order_id}}", "shop", None, absent), compare)


def test_only_the_named_fields_leave_and_the_service_is_asked_afresh(shop: World, tmp_path: Path) -> None:
    shop.orders["A-12"] = {"status": "paid", "lines": [{"price": 5}, {"price": 7.5}], "card": "4111"}
    found = read(tmp_path, http(shop, "status", "lines.1.price"))
    assert found == Reading(7, {"status": "paid", "lines.1.price": 7.5})
    (asked,) = shop.reads
    assert asked["authorization"] == "Bearer s3cret"
    assert asked["interlock-action"] == "act_1"
    assert "idempotency-key" not in asked


def test_equal_values_have_equal_marks_and_nothing_else_has(shop: World, tmp_path: Path) -> None:
    probe = http(shop, "status", "refundable", absent=(404,))
    one = read(tmp_path, probe).mark(NONCE)
    shop.change(note="y")
    assert read(tmp_path, probe).mark(NONCE) == one
    for change in ({"status": "Paid"}, {"refundable": "1400"}, {"refundable": None}):
        shop.change(status="paid", refundable=1400)
        shop.change(**change)
        assert read(tmp_path, probe).mark(NONCE) not in (one, None)
    assert read(tmp_path, probe).mark(bytes(31) + b"\1") != one
    del shop.orders["A-12"]
    assert read(tmp_path, probe).mark(NONCE) not in (one, None)


@pytest.mark.parametrize("status", [204, 301, 400, 401, 404, 429, 500, 503])
def test_no_other_status_than_success_is_a_reading(shop: World, tmp_path: Path, status: int) -> None:
    shop.status = status
    found = read(tmp_path, http(shop, "status", absent=(410,)))
    assert not found.available
    assert found.mark(NONCE) is None
    assert "s3cret" not in str(found.reason)


def test_a_status_that_says_so_is_a_reading_of_what_is_not_there(shop: World, tmp_path: Path) -> None:
    found = read(tmp_path, http(shop, "status", absent=(404,)), {"order_id": "B"})
    assert (found.available, found.absent, dict(found.values)) == (True, True, {})


@pytest.mark.parametrize("answer", [{"state": "paid"}, [], "paid", None, {"status": {"x": "y" * 70_000}}])
def test_an_answer_without_the_field_or_too_large_is_none(shop: World, tmp_path: Path, answer: Any) -> None:
    shop.orders["A-12"] = answer
    assert not read(tmp_path, http(shop, "status")).available


def test_the_largest_reading_that_is_compared_is_compared(shop: World, tmp_path: Path) -> None:
    shop.orders["A-12"] = {"status": "y" * (MAX_FIELDS_BYTES - len('{"status":""}'))}
    assert read(tmp_path, http(shop, "status")).available


def test_where_an_action_may_not_reach_its_probe_does_not_either(shop: World, tmp_path: Path) -> None:
    limits = Constraints(network_allowlist=("elsewhere.example",), max_runtime_sec=1)
    assert "allowlist" in str(read(tmp_path, http(shop, "status"), limits=limits).reason)
    assert shop.reads == []


@pytest.mark.parametrize("order", ["../admin", "a/b", ".", ""])
def test_an_argument_chooses_no_other_path(shop: World, tmp_path: Path, order: str) -> None:
    assert not read(tmp_path, http(shop, "status"), {"order_id": order}).available
    assert shop.reads == []


def test_a_service_that_hangs_is_waited_for_so_long_and_no_longer(shop: World, tmp_path: Path) -> None:
    hanging = threading.Event()
    shop.before_answer = hanging.wait
    try:
        made = prober(tmp_path, shop="x")
        found = made.read_here(http(shop, "status"), ARGS, NO_CONSTRAINTS, "act_1", timeout_sec=0.2)
        assert "no answer within 0.2 s" in str(found.reason)
    finally:
        hanging.set()


def test_a_credential_that_is_missing_makes_it_unreadable(shop: World, tmp_path: Path) -> None:
    found = prober(tmp_path).read_here(http(shop, "status"), ARGS, NO_CONSTRAINTS, "act_1")
    assert "shop is not configured" in str(found.reason)
    assert shop.reads == []


# --- databases and tools ---------------------------------------------------------------------------------


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "orders.db", isolation_level=None)
    connection.execute("CREATE TABLE orders (id TEXT, status TEXT, cents INTEGER)")
    connection.execute("INSERT INTO orders VALUES ('A-12', 'paid', 5)")
    yield connection
    connection.close()


def sql(statement: str, *compare: str) -> Probe:
    return Probe(SqlExecute("db", statement, None, 1, read_only=True), compare)


BY_ID = "SELECT status, cents FROM orders WHERE id = {args.order_id}"


def test_a_row_is_a_reading_no_row_is_absence_and_two_rows_are_none(
    orders: sqlite3.Connection, tmp_path: Path
) -> None:
    assert read(tmp_path, sql(BY_ID, "cents", "status")).values == {"cents": 5, "status": "paid"}
    assert read(tmp_path, sql(BY_ID, "cents"), {"order_id": "x' OR '1'='1"}).absent
    orders.execute("INSERT INTO orders VALUES ('A-12', 'open', 6)")
    assert "more than 1 row" in str(read(tmp_path, sql(BY_ID, "cents")).reason)


def test_a_statement_that_would_write_reads_nothing_and_writes_nothing(
    orders: sqlite3.Connection, tmp_path: Path
) -> None:
    found = read(tmp_path, sql("UPDATE orders SET cents = 0 RETURNING cents", "cents"))
    assert not found.available
    assert orders.execute("SELECT cents FROM orders").fetchall() == [(5,)]


def test_a_tool_is_asked_with_what_the_probe_hands_it(tmp_path: Path) -> None:
    probe = Probe(McpExecute(None, "crm", "refund"), ("amount",), None, (("amount_usd", "order_id"),))
    assert read(tmp_path, probe).values == {"amount": "A-12"}
    (called,) = [line for line in map(json.loads, (tmp_path / "book").open()) if "tool" in line]
    assert called["args"] == {"amount_usd": "A-12"}
    assert called["meta"] == {"interlock/action": "act_1"}


@pytest.mark.parametrize("tool", ["refuses", "dies", "large", "echoes", "asks"])
def test_a_tool_that_answers_no_values_is_no_reading(tmp_path: Path, tool: str) -> None:
    assert not read(tmp_path, Probe(McpExecute(None, "crm", tool), ("amount",))).available
