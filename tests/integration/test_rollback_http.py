"""Taking back over HTTP: real servers on both databases, and a shop downstream whose books are counted."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import run

from interlock.gate import Answer, HumanDecision
from interlock.verify import verify_export
from postgres import Postgres
from postgres import run as sql
from server_process import ServerProcess
from waiting import wait_for
from work_desk import Nodes

DATABASES = ("sqlite", "postgres")


class Shop:
    """Switches that are set and read, purchases that are made and given back.

    Attributes:
        switches: what is on. readable: whether it says so.
        books: how often each path was asked for; keys: with which keys.
        slow_sec: how long a return waits for its answer.
    """

    def __init__(self) -> None:
        self.switches: dict[str, bool] = {"fan": False}
        self.books: Counter[str] = Counter()
        self.keys: dict[str, set[str]] = {}
        self.readable = True
        self.slow_sec = 0.0
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                if shop.readable:
                    self.say(200, {"on": shop.switches[name]})
                else:
                    self.say(503, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                shop.books[self.path] += 1
                shop.keys.setdefault(self.path, set()).add(self.headers.get("idempotency-key", ""))
                if self.path.startswith("/set/"):
                    shop.switches[self.path.rpartition("/")[2]] = body["on"]
                if self.path.startswith(("/return/", "/back/")):
                    time.sleep(shop.slow_sec)
                with suppress(OSError):
                    self.say(200, {"id": f"p-{self.path.rpartition('/')[2]}"})

            def say(self, status: int, value: Any) -> None:
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def policy(shop: Shop) -> str:
    return f"""\
interlock: 1
name: shop
people: team
actions:
  shop.set:
    tier: 2
    args: {{name: string, on: boolean}}
    summary: Turn {{args.name}} on or off ({{args.on}})
    execute: {{http: {{method: POST, url: "{shop.url}/set/{{args.name}}"}}}}
    probe: {{http: {{url: "{shop.url}/state/{{args.name}}", compare: ["on"]}}}}
    undo: {{topic: shop.set, args: {{name: args.name, "on": before.on}}}}
    undo_within: 5m
  shop.buy:
    tier: 2
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{shop.url}/buy/{{args.n}}"}}}}
    undo: {{topic: shop.return, args: {{purchase: result.body.id}}}}
    undo_within: 5m
  shop.return:
    tier: 3
    args: {{purchase: string}}
    summary: Give {{args.purchase}} back
    worst_case: The shop does not take it
    execute: {{http: {{method: POST, url: "{shop.url}/return/{{args.purchase}}"}}}}
  shop.order:
    tier: 2
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{shop.url}/order/{{args.n}}"}}}}
    undo: {{topic: shop.back, args: {{purchase: result.body.id}}}}
    undo_within: 5m
  shop.back:
    tier: 3
    args: {{purchase: string}}
    execute:
      http: {{method: POST, url: "{shop.url}/back/{{args.purchase}}", idempotent: {{retention: 24h}}}}
  shop.rent:
    tier: 2
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{shop.url}/rent/{{args.n}}"}}}}
    undo: {{topic: shop.vacate, args: {{place: args.n}}}}
    undo_within: 5m
  shop.vacate:
    tier: 3
    args: {{place: string}}
    execute: {{http: {{method: POST, url: "{shop.url}/vacate/{{args.place}}"}}}}
rules:
  - {{id: free, match: {{topics: [shop.return, shop.back]}}, decision: allow}}
"""


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def nodes(tmp_path: Path, shop: Shop, database: str, request: pytest.FixtureRequest) -> Iterator[Nodes]:
    url = None
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database(0)
        sql(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    made = Nodes(tmp_path, shop, policy(shop), url)  # type: ignore[arg-type]
    yield made
    made.close()


def act(nodes: Nodes, server: ServerProcess, topic: str, **args: Any) -> str:
    """The id of an action that succeeded."""
    found = nodes.call(server, nodes.agent, "POST", "/v1/actions", topic=topic, args=args)
    wait_for(lambda: nodes.states(server, [found["id"]]) == ["succeeded"])
    return str(found["id"])


def ask(nodes: Nodes, server: ServerProcess, key: str, action: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/actions/{action}/rollback",
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=60,
    )


def state(nodes: Nodes, server: ServerProcess, action: str) -> str:
    return nodes.states(server, [action])[0]


def check_ledger(nodes: Nodes, folder: Path) -> None:
    with nodes.inside() as home:
        home.publisher.publish()
        home.publisher.export(folder)
    report = verify_export(folder)
    assert report.ok, [str(problem) for problem in report.problems]


def test_what_was_there_before_comes_back_by_one_call(nodes: Nodes, shop: Shop, tmp_path: Path) -> None:
    server = nodes.serve()
    action = act(nodes, server, "shop.set", name="fan", on=True)
    assert shop.switches == {"fan": True}
    plan = nodes.call(server, nodes.ana, "GET", f"/v1/actions/{action}/rollback")
    assert plan["undo"]["args"] == {"name": "fan", "on": False}
    assert plan["undo"]["decision"] == "allow"
    assert shop.switches == {"fan": True}
    done = ask(nodes, server, nodes.ana, action)
    assert done.status_code == 201, done.text
    undo = done.json()["rollback"]["id"]
    wait_for(lambda: state(nodes, server, action) == "rolled_back")
    assert shop.switches == {"fan": False}
    assert shop.books == {"/set/fan": 2}
    assert len(shop.keys["/set/fan"]) == 2
    view = nodes.call(server, nodes.agent, "GET", f"/v1/actions/{action}")
    assert view["rollback"] == {"id": undo, "state": "succeeded"}
    again = ask(nodes, server, nodes.ana, action)
    assert again.status_code == 409
    assert again.json()["type"] == "urn:interlock:problem:rollback-exists"
    check_ledger(nodes, tmp_path / "export")


def test_what_cannot_be_read_before_is_not_done(nodes: Nodes, shop: Shop) -> None:
    server = nodes.serve()
    shop.readable = False
    found = nodes.call(
        server, nodes.agent, "POST", "/v1/actions", topic="shop.set", args={"name": "fan", "on": True}
    )
    time.sleep(2)
    assert state(nodes, server, found["id"]) == "allowed"
    assert shop.books == {}
    shop.readable = True


def test_of_32_who_ask_at_once_at_two_servers_one_takes_back(
    nodes: Nodes, shop: Shop, tmp_path: Path
) -> None:
    servers = [nodes.serve(), nodes.serve()]
    action = act(nodes, servers[0], "shop.buy", n="7")
    start = threading.Barrier(32)

    def one(number: int) -> httpx.Response:
        start.wait()
        return ask(nodes, servers[number % 2], (nodes.ana, nodes.ben, nodes.agent)[number % 3], action)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(one, range(32)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 31}
    wait_for(lambda: state(nodes, servers[0], action) == "rolled_back")
    assert shop.books == {"/buy/7": 1, "/return/p-7": 1}
    check_ledger(nodes, tmp_path / "export")


def test_a_server_killed_in_the_middle_of_rollbacks_loses_none_and_does_none_twice(
    nodes: Nodes, shop: Shop, tmp_path: Path
) -> None:
    server = nodes.serve()
    bought, ordered = act(nodes, server, "shop.buy", n="1"), act(nodes, server, "shop.order", n="2")
    shop.slow_sec = 60.0

    def asking(action: str) -> None:
        with suppress(httpx.HTTPError):
            ask(nodes, server, nodes.ana, action)

    for action in (bought, ordered):
        threading.Thread(target=asking, args=(action,), daemon=True).start()
    wait_for(lambda: shop.books["/return/p-1"] == 1 and shop.books["/back/p-2"] == 1)
    server.kill()
    shop.slow_sec = 0.0
    again = nodes.serve()
    assert nodes.states(again, [bought, ordered]) == ["succeeded", "succeeded"]
    # The shop answers a repeated key of /back with its first answer, so that one is repeated.
    wait_for(lambda: state(nodes, again, ordered) == "rolled_back", within=90.0)
    assert shop.books["/back/p-2"] == 2
    assert len(shop.keys["/back/p-2"]) == 1
    # Nobody knows about /return, so a person looks.
    undo = nodes.call(again, nodes.ana, "GET", f"/v1/actions/{bought}")["rollback"]["id"]
    wait_for(lambda: state(nodes, again, undo) == "in_doubt", within=90.0)
    assert state(nodes, again, bought) == "succeeded"
    refused = ask(nodes, again, nodes.ben, bought)
    assert (refused.status_code, refused.json()["state"]) == (409, "in_doubt")
    nodes.call(
        again, nodes.ben, "POST", f"/v1/actions/{undo}/reconcile", outcome="succeeded", note="It came back."
    )
    assert state(nodes, again, bought) == "rolled_back"
    assert shop.books["/return/p-1"] == 1
    check_ledger(nodes, tmp_path / "export")


def test_a_rollback_that_waits_survives_the_server_and_another_person_approves_it(
    nodes: Nodes, shop: Shop, tmp_path: Path
) -> None:
    server = nodes.serve()
    action = act(nodes, server, "shop.rent", n="3")
    asked = ask(nodes, server, nodes.ana, action)
    assert asked.status_code == 202, asked.text
    undo = asked.json()["rollback"]
    request = nodes.call(server, nodes.ana, "GET", f"/v1/approvals/{undo['approval']['id']}")
    assert request["takes_back"]["asked_by"] == "Ana"
    body = {"decision": "approve", "expected_hash": request["review_hash"]}
    own = httpx.post(
        f"{server.url}/v1/approvals/{request['id']}/decisions",
        headers={"authorization": f"Bearer {nodes.ana}"},
        json=body,
        trust_env=False,
    )
    assert own.status_code == 403
    assert own.json()["type"] == "urn:interlock:problem:separation-of-duties"
    server.kill()
    with nodes.inside() as home:
        ben = home.roster.named("Ben")
        assert ben is not None
        home.gate.decide(request["id"], ben.caller, HumanDecision(Answer.APPROVE, request["review_hash"]))
    assert "/vacate/3" not in shop.books
    again = nodes.serve()
    wait_for(lambda: state(nodes, again, action) == "rolled_back")
    assert shop.books == {"/rent/3": 1, "/vacate/3": 1}
    check_ledger(nodes, tmp_path / "export")


def test_the_command_line_shows_then_takes_back(nodes: Nodes, shop: Shop, tmp_path: Path) -> None:
    server = nodes.serve()
    action = act(nodes, server, "shop.buy", n="9")
    env = {"INTERLOCK_KEY": nodes.ben}
    shown = run(tmp_path, "rollback", action, "--dry-run", "--url", server.url, env=env)
    assert shown.code == 0, shown
    assert "Give p-9 back" in shown.out
    assert "The shop does not take it" in shown.out
    unasked = run(tmp_path, "rollback", action, "--url", server.url, env=env)
    assert unasked.code == 2
    assert "/return/p-9" not in shop.books
    done = run(tmp_path, "rollback", action, "--yes", "--url", server.url, "--json", env=env)
    assert done.code == 0, done
    assert json.loads(done.out)["rollback"]["undoes"] == action
    wait_for(lambda: state(nodes, server, action) == "rolled_back")
    refused = run(tmp_path, "rollback", action, "--yes", "--url", server.url, env=env)
    assert refused.code == 4
    assert "taken back" in refused.err
    assert run(tmp_path, "rollback", "apr_1", "--url", server.url, env=env).code == 2
