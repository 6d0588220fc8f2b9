"""From proposal to outcome, by each way the server executes: what is claimed, sent, repeated, recorded."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from house import House, ManualClock
from interlock.dispatch import Dispatcher
from interlock.dispatch import dispatcher as dispatcher_module
from interlock.gate import Answer
from interlock.identity import Role
from interlock.model.actions import ExecutorKind
from interlock.model.errors import NotClaimable, PolicyError
from interlock.policy import parse

DATABASES = ("sqlite", "postgres")
UPSTREAM = Path(__file__).parents[1] / "mcp_upstream.py"
POLICY = """
interlock: 1
name: ways
actions:
  orders.find:
    tier: 1
    args: {sql: string}
    execute: {sql: {database: shop, query: sql, max_rows: 2}}
  orders.close:
    tier: 3
    args: {id: string, reason: {type: string, optional: true}}
    execute:
      sql:
        database: shop
        statement: UPDATE orders SET state = {args.reason} WHERE id = {args.id}
        max_rows: 1
  orders.purge:
    tier: 3
    args: {}
    execute: {sql: {database: shop, statement: DELETE FROM orders, max_rows: 1}}
  crm.refund:
    tier: 3
    args: {order_id: string}
    execute: {mcp: {server: crm, tool: refund, idempotent: {retention: 1h}}}
  pay.once:
    tier: 3
    args: {order_id: string}
    execute: {http: {method: POST, url: "PAY/pay", no_effect: [409, 429, 503]}}
  pay.keyed:
    tier: 3
    args: {order_id: string}
    execute: {http: {method: POST, url: "PAY/pay", no_effect: [402, 429], idempotent: {retention: 1h}}}
rules:
  - {id: find, match: {topics: [orders.find]}, decision: allow}
  - {id: purge, match: {topics: [orders.purge, pay.*, crm.refund]}, decision: allow}
  - {id: close, match: {topics: [orders.close]}, decision: require_approval, owner: ops}
"""


class Service:
    """Answers what it is told to, in turn, and keeps the keys it was sent."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str]]] = []
        self.keys: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                service.keys.append(self.headers["idempotency-key"])
                status, headers = service.script.pop(0) if service.script else (200, {})
                self.send_response(status)
                for name, value in {**headers, "content-length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Any:
    found = Service()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def house(
    open_house: Callable[..., House], service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    monkeypatch.setattr(dispatcher_module, "RETRY_AFTER_SEC", (0.01, 0.02, 0.03))
    found = open_house(POLICY.replace("PAY", service.url))
    books = tmp_path / "shop.db"
    with sqlite3.connect(books) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT)")
        connection.execute("INSERT INTO orders VALUES ('A-1', 'open'), ('A-2', 'open'), ('A-3', 'open')")
    connection.close()
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_SHOP", f"sqlite:///{books}")
    servers = found.home.path / "servers"
    servers.mkdir()
    command = [sys.executable, str(UPSTREAM), "stdio", str(tmp_path / "book")]
    env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    (servers / "crm.json").write_text(json.dumps({"command": command, "env": env}))
    (servers / "crm.json").chmod(0o644)
    return found


def run(house: House, action_id: str) -> dict[str, Any]:
    async def go() -> None:
        connectors = house.home.connectors()
        await Dispatcher(house.gate, connectors, house.home.leases).run(action_id)
        await connectors.aclose()

    asyncio.run(go())
    return house.view(action_id)


def allowed(house: House, topic: str, **args: Any) -> str:
    action = house.propose(topic, args).action
    assert action is not None
    assert action.state == "allowed", action
    return action.id


def states(tmp_path: Path) -> list[str]:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        found = [state for (state,) in connection.execute("SELECT state FROM orders ORDER BY id")]
    connection.close()
    return found


def test_a_query_is_run_and_its_rows_are_the_result(house: House, database: str) -> None:
    view = run(house, allowed(house, "orders.find", sql="SELECT id FROM orders WHERE id < 'A-3'"))
    assert (view["executor"], view["state"]) == ("sql", "succeeded")
    assert view["result"] == {"columns": ["id"], "rows": [["A-1"], ["A-2"]]}


def test_more_rows_than_the_catalogue_permits_are_a_breach_on_record(
    house: House, tmp_path: Path, database: str
) -> None:
    for action in (allowed(house, "orders.find", sql="SELECT * FROM orders"), allowed(house, "orders.purge")):
        assert run(house, action)["state"] == "failed"
    breaches = [entry for entry in house.entries() if '"constraint.breached"' in entry]
    assert len(breaches) == 2
    assert all('"max_rows"' in entry for entry in breaches)
    assert states(tmp_path) == ["open"] * 3


def test_a_reviewed_statement_waits_for_its_approval_and_runs_once(
    house: House, tmp_path: Path, database: str
) -> None:
    action = house.propose("orders.close", {"id": "A-1", "reason": "paid'; DROP TABLE orders; --"}).action
    assert action is not None
    with pytest.raises(NotClaimable):
        run(house, action.id)
    house.answer(action.id, house.person("ann", Role.REVIEWER), Answer.APPROVE)
    assert run(house, action.id)["result"] == {"changed": 1}
    assert states(tmp_path) == ["paid'; DROP TABLE orders; --", "open", "open"]
    with pytest.raises(NotClaimable):
        run(house, action.id)


def test_a_tool_of_a_started_server_is_called_with_the_approved_arguments(
    house: House, tmp_path: Path, database: str
) -> None:
    view = run(house, allowed(house, "crm.refund", order_id="A-12"))
    assert (view["executor"], view["state"]) == ("mcp", "succeeded")
    called = [json.loads(line) for line in (tmp_path / "book").read_text().splitlines() if "tool" in line]
    (seen,) = (line for line in called if "tool" in line)
    assert seen["args"] == {"order_id": "A-12"}
    assert seen["meta"]["interlock/action"] == view["id"]


def test_any_serving_process_finds_every_kind_and_no_caller_claims_one(house: House, database: str) -> None:
    ids = {
        allowed(house, "orders.find", sql="SELECT 1"),
        allowed(house, "crm.refund", order_id="A"),
        allowed(house, "pay.once", order_id="A"),
    }
    assert set(house.ready()) == ids
    for action in ids:
        with pytest.raises(NotClaimable):
            house.gate.claim(action, ExecutorKind.CALLER)


# --- trying again ----------------------------------------------------------------------------------------

LATER = {"retry-after": "0"}


def test_who_is_asked_to_come_back_does_and_repeats_nothing_that_took_effect(
    house: House, service: Service, database: str
) -> None:
    service.script = [(429, LATER), (503, LATER), (200, {})]
    assert run(house, allowed(house, "pay.once", order_id="A"))["state"] == "succeeded"
    assert len(service.keys) == 3
    assert len(set(service.keys)) == 1


def test_who_is_not_asked_to_come_back_does_not(house: House, service: Service, database: str) -> None:
    for answer in ((429, {}), (409, LATER), (429, {"retry-after": "3600"})):
        service.script, service.keys = [answer], []
        assert run(house, allowed(house, "pay.once", order_id=str(answer)))["state"] == "failed"
        assert len(service.keys) == 1


def test_an_unknown_outcome_is_not_repeated_where_no_key_is_remembered(
    house: House, service: Service, database: str
) -> None:
    service.script = [(500, LATER)]
    assert run(house, allowed(house, "pay.once", order_id="A"))["state"] == "in_doubt"
    service.script = [(429, LATER), (500, {})]
    assert run(house, allowed(house, "pay.once", order_id="B"))["state"] == "in_doubt"
    assert len(service.keys) == 3


def test_too_many_requests_after_an_unanswered_attempt_prove_nothing(
    house: House, service: Service, database: str
) -> None:
    service.script = [(500, {}), *[(429, {})] * 3]
    assert run(house, allowed(house, "pay.keyed", order_id="A"))["state"] == "in_doubt"
    assert len(set(service.keys)) == 1
    # What stands in front of the service may have said so, before anybody looked the key up.
    service.script = [(500, {}), *[(402, {})] * 3]
    assert run(house, allowed(house, "pay.keyed", order_id="B"))["state"] == "in_doubt"
    service.script = [(402, {})]
    assert run(house, allowed(house, "pay.keyed", order_id="C"))["state"] == "failed"


def test_what_runs_after_a_policy_changed_is_repeated_only_as_that_policy_says(
    open_house: Callable[..., House],
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    """The entry that is approved is the one that is carried out, and its promise is the one that counts."""
    monkeypatch.setattr(dispatcher_module, "RETRY_AFTER_SEC", (0.01, 0.02, 0.03))
    keyed = POLICY.replace("PAY", service.url)
    house = open_house(keyed)
    action = allowed(house, "pay.keyed", order_id="A")
    asks = "  - {id: ask, match: {topics: [pay.keyed]}, decision: require_approval, owner: ops}\n"
    house.activate(
        keyed.replace("422, 429], idempotent: {retention: 1h}", "429]").replace(
            "no_effect: [402, 429], idempotent: {retention: 1h}", "no_effect: [402, 429]"
        )
        + asks
    )
    assert house.state(action) == "held"
    house.answer(action, house.person("ann", Role.REVIEWER), Answer.APPROVE)
    service.script = [(500, {}), (200, {})]
    assert run(house, action)["state"] == "in_doubt"
    assert len(service.keys) == 1


def test_nothing_is_repeated_on_a_clock_that_jumped_meanwhile(
    open_house: Callable[..., House],
    service: Service,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    """How long the service remembers the key is counted on that clock."""
    monkeypatch.setattr(dispatcher_module, "RETRY_AFTER_SEC", (0.01, 0.02, 0.03))
    house = open_house(POLICY.replace("PAY", service.url), clock=clock)

    class Jumping(list[tuple[int, dict[str, str]]]):
        def pop(self, *_: Any) -> tuple[int, dict[str, str]]:
            clock.jumped = True
            return 500, {}

    action = allowed(house, "pay.keyed", order_id="A")
    service.script = Jumping([(500, {})])
    run(house, action)
    assert len(service.keys) == 1


# --- what check says -------------------------------------------------------------------------------------


def problems(execute: str, *, tier: int = 3, rest: str = "") -> str:
    args = "{id: string, n: {type: integer, optional: true}}"
    text = "interlock: 1\nactions:\n  a.b:\n"
    text += f"    tier: {tier}\n    args: {args}\n    execute: {execute}\n{rest}"
    try:
        parse({"policy.yaml": text})
    except PolicyError as error:
        return str(error) + str(error.extra)
    return ""


@pytest.mark.parametrize(
    ("execute", "tier", "words"),
    [
        ('{sql: {database: shop, statement: "SELECT {args.id}"}}', 1, ""),
        ('{sql: {database: shop, statement: "select {args.id};"}}', 1, ""),
        ("{sql: {database: shop, query: id}}", 1, ""),
        ("{sql: {database: shop, query: id}}", 2, "is tier 1"),
        ("{sql: {database: shop, query: n}}", 1, "no declared string"),
        ("{sql: {database: shop}}", 1, "one of statement and query"),
        ('{sql: {database: shop, query: id, statement: "SELECT 1"}}', 1, "one of statement and query"),
        ('{sql: {database: shop, statement: "DELETE FROM t"}}', 1, "tier 1 starts with"),
        ('{sql: {database: shop, statement: "DELETE FROM t"}}', 3, ""),
        ('{sql: {database: shop, statement: "DROP TABLE t"}}', 4, "starts with"),
        ('{sql: {database: shop, statement: "PRAGMA x"}}', 3, "starts with"),
        ('{sql: {database: shop, statement: "DELETE FROM t; DROP TABLE t"}}', 3, "one statement"),
        ('{sql: {database: shop, statement: "DELETE FROM t -- all"}}', 3, "no comments"),
        ("{sql: {database: shop, statement: \"SELECT '{args.id}'\"}}", 1, "never inside quotes"),
        ('{sql: {database: shop, statement: "SELECT {args.x}"}}', 1, "no declared argument"),
        ('{sql: {database: shop, statement: "SELECT {0}"}}', 1, "braces"),
        ('{sql: {database: "Shop/x", statement: "SELECT 1"}}', 1, "database"),
        ("{sql: {database: shop, query: id, max_rows: 0}}", 1, "max_rows"),
        ("{mcp: {url: https://crm.example/mcp, tool: refund, auth: crm}}", 3, ""),
        ("{mcp: {server: crm, tool: refund, no_effect: [-32602, 7]}}", 3, ""),
        ("{mcp: {tool: refund}}", 3, "one of url and server"),
        ("{mcp: {url: https://a.b/mcp, server: crm, tool: refund}}", 3, "one of url and server"),
        ('{mcp: {url: "https://a.b/{args.id}", tool: refund}}', 3, "no fields"),
        ("{mcp: {url: ftp://a.b/mcp, tool: refund}}", 3, "http"),
        ("{mcp: {server: crm, tool: refund, auth: crm}}", 3, "its own file"),
        ("{mcp: {server: crm, tool: refund, no_effect: [-32000]}}", 3, "proves nothing"),
        ("{mcp: {server: crm, tool: refund, command: [rm]}}", 3, "command"),
        ('{mcp: {server: crm, tool: "a b"}}', 3, "tool"),
        ("{caller: {}, sql: {database: shop, query: id}}", 1, "one of http, sql, mcp"),
    ],
)
def test_check_reads_what_the_connectors_are_told(execute: str, tier: int, words: str) -> None:
    found = problems(execute, tier=tier)
    assert words in found
    assert bool(words) == bool(found), found


def test_a_server_that_is_started_here_is_not_promised_to_stay_on_a_network() -> None:
    limit = "    constraints: {network_allowlist: [crm.example]}\n"
    assert "reaches what it likes" in problems("{mcp: {server: crm, tool: refund}}", rest=limit)
    assert problems("{mcp: {url: https://crm.example/mcp, tool: refund}}", rest=limit) == ""
