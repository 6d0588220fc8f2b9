"""Drift with real servers: they read by themselves, and nothing runs on what is not as it was shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import world
from postgres import Postgres, run
from waiting import wait_for
from work_desk import Nodes
from world import World

DATABASES = ("sqlite", "postgres")
soon = partial(wait_for, within=60.0)
POLICY = """
interlock: 1
name: shop
actions:
  shop.pay:
    tier: 3
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{url}/pay"}}}}
    probe: {{http: {{url: "{url}/orders/{{args.n}}", compare: [status, refundable]}}}}
  shop.note:
    tier: 2
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "{url}/note"}}}}
    undo: shop.note
    undo_within: 5m
    probe: {{http: {{url: "{url}/orders/{{args.n}}", compare: [status]}}}}
rules:
  - {{id: notes, match: {{topics: [shop.note]}}, decision: allow}}
  - id: pay
    match: {{topics: [shop.pay]}}
    decision: require_approval
    lane: {{window: 1h, on_timeout: deny}}
"""


@pytest.fixture
def shop() -> Iterator[World]:
    with world.serving() as service:
        service.orders = {str(n): {"status": "paid", "refundable": 5} for n in range(20)}
        yield service


@pytest.fixture
def nodes(tmp_path: Path, shop: World, database: str, request: pytest.FixtureRequest) -> Iterator[Nodes]:
    url = None
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database(0)
        run(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    made = Nodes(tmp_path, shop, POLICY.format(url=shop.url), url)
    yield made
    made.close()


def request_about(nodes: Nodes, server: Any, action: str) -> dict[str, Any]:
    """The newest request about an action, as a reviewer sees it."""
    key = {"authorization": f"Bearer {nodes.ana}"}
    answer = httpx.get(f"{server.url}/v1/approvals/{action}", headers=key, trust_env=False, timeout=20)
    return dict(answer.raise_for_status().json())


def read(nodes: Nodes, server: Any, action: str) -> bool:
    return bool(request_about(nodes, server, action)["world"]["state"] == "read")


def held_and_read(nodes: Nodes, server: Any, n: str) -> str:
    action = str(nodes.propose(server, "shop.pay", n))
    soon(lambda: read(nodes, server, action))
    return action


def test_what_changed_is_not_run_and_what_a_person_approves_anew_is_run_once(
    nodes: Nodes, shop: World
) -> None:
    one, two = nodes.serve(), nodes.serve()
    action = held_and_read(nodes, one, "1")
    first = request_about(nodes, one, action)["id"]
    shop.change("1", status="charged back")
    nodes.approve(two, action)
    soon(lambda: request_about(nodes, one, action)["id"] != first)
    assert shop.effects == []
    told = request_about(nodes, two, action)
    assert [(row["field"], row["changed"]) for row in told["world"]["fields"]] == [
        ("status", True),
        ("refundable", False),
    ]
    nodes.approve(one, action)
    soon(lambda: nodes.states(one, [action]) == ["succeeded"])
    assert shop.effects == [{"n": "1"}]


def test_what_was_approved_before_a_crash_is_compared_after_it(nodes: Nodes, shop: World) -> None:
    server = nodes.serve()
    actions = [held_and_read(nodes, server, n) for n in ("1", "2")]
    shop.status = 503
    for action in actions:
        nodes.approve(server, action)
    server.kill()
    shop.change("2", refundable=0)
    shop.status = 200
    other = nodes.serve()
    soon(lambda: nodes.states(other, actions) == ["succeeded", "held"])
    assert shop.effects == [{"n": "1"}]


def test_what_was_held_when_the_server_died_is_read_by_the_next(nodes: Nodes, shop: World) -> None:
    server = nodes.serve()
    shop.status = 503
    actions = [str(nodes.propose(server, "shop.pay", str(n))) for n in range(5)]
    server.kill()
    shop.status = 200
    other = nodes.serve()
    soon(lambda: all(read(nodes, other, action) for action in actions))
    for action in actions:
        nodes.approve(other, action)
    soon(lambda: nodes.states(other, actions) == ["succeeded"] * 5)
    assert sorted(effect["n"] for effect in shop.effects) == ["0", "1", "2", "3", "4"]


def test_while_nothing_can_be_read_nothing_runs_and_then_everything_once(nodes: Nodes, shop: World) -> None:
    one, two = nodes.serve(), nodes.serve()
    shop.status = 500
    actions = [str(nodes.propose((one, two)[n % 2], "shop.note", str(n))) for n in range(6)]
    soon(lambda: len(shop.reads) >= 12)
    assert shop.effects == []
    assert nodes.states(one, actions) == ["allowed"] * 6
    shop.status = 200
    soon(lambda: nodes.states(two, actions) == ["succeeded"] * 6)
    assert sorted(effect["n"] for effect in shop.effects) == ["0", "1", "2", "3", "4", "5"]
