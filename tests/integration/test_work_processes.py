"""Decided actions take effect, once, whichever processes live: real servers on both databases, and a service
downstream whose books are counted."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.dispatch.dispatcher import PARALLEL, SHARE
from interlock.gate import Answer, HumanDecision, following
from interlock.gate.stops import Scope
from interlock.home import Home
from postgres import Postgres, run
from waiting import wait_for
from work_desk import Nodes, Shop, policy

DATABASES = ("sqlite", "postgres")
Opening = Callable[..., Nodes]


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
        run(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    made = Nodes(tmp_path, shop, policy(shop), url)
    yield made
    made.close()


def held(nodes: Nodes, server: Any, count: int) -> list[str]:
    return [nodes.propose(server, "shop.pay", str(n)) for n in range(count)]


def approve_inside(home: Home, action: str) -> None:
    """A person answers through the home's own gate: nothing here carries anything out."""
    person = home.roster.named("Ana")
    assert person is not None
    request = home.views.action(action, person.caller)["approval"]
    home.gate.decide(request["id"], person.caller, HumanDecision(Answer.APPROVE, request["review_hash"]))


def paid(count: int) -> Counter[str]:
    return Counter({f"/pay/{n}": 1 for n in range(count)})


def waiting(nodes: Nodes) -> int:
    """Segments that somebody still has to deliver."""
    with nodes.inside() as home, home.journal.read() as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM segments").scalar_one()
        table = "workflow_status" if nodes.url is None else "dbos.workflow_status"
        queued = connection.exec_driver_sql(
            f"SELECT count(*) FROM {table} WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
        ).scalar_one()
        return int(found) + int(queued)


def ready(server: Any) -> bool:
    return bool(httpx.get(f"{server.url}/readyz", trust_env=False).is_success)


def test_two_servers_and_three_segments_for_each_action_carry_it_out_once(nodes: Nodes) -> None:
    one, two = nodes.serve(), nodes.serve()
    wait_for(lambda: ready(one) and ready(two))
    actions = held(nodes, one, 10)
    with ThreadPoolExecutor(4) as people:
        list(people.map(nodes.approve, [one, two] * 5, actions))
    with nodes.inside() as home:
        for action in actions * 2:
            home.journal.commit(partial(following.dispatch, action_id=action, topic="shop.pay"))
    wait_for(lambda: nodes.shop.times() == paid(10))
    wait_for(lambda: waiting(nodes) == 0)
    assert nodes.states(two, actions) == ["succeeded"] * 10
    assert nodes.shop.times() == paid(10)
    assert len(set(nodes.shop.keys)) == 10


def test_what_was_decided_while_nobody_served_is_carried_out_by_whoever_serves_next(nodes: Nodes) -> None:
    server = nodes.serve()
    actions = held(nodes, server, 4)
    server.kill()
    with nodes.inside() as home:
        for action in actions:
            approve_inside(home, action)
    assert nodes.shop.asked == []
    other = nodes.serve()
    wait_for(lambda: nodes.shop.times() == paid(4))
    wait_for(lambda: nodes.states(other, actions) == ["succeeded"] * 4)


def test_a_server_killed_as_soon_as_it_has_decided_loses_nothing_and_repeats_nothing(nodes: Nodes) -> None:
    nodes.shop.slow_sec = 0.3
    server = nodes.serve()
    actions = held(nodes, server, 12)
    wait_for(lambda: ready(server))
    for action in actions:
        nodes.approve(server, action)
    server.kill()
    other = nodes.serve()
    wait_for(lambda: set(nodes.states(other, actions)) <= {"succeeded", "in_doubt"})
    assert not nodes.shop.times() - paid(12)  # nothing twice
    states = nodes.states(other, actions)
    for n, state in enumerate(states):
        # What is in doubt had been claimed when the server died; whether it was sent is what nobody knows.
        assert state == "in_doubt" or nodes.shop.times()[f"/pay/{n}"] == 1


def test_a_server_that_is_stopped_lets_what_runs_end_and_leaves_the_rest_to_others(nodes: Nodes) -> None:
    nodes.shop.answering.clear()
    server = nodes.serve()
    actions = held(nodes, server, 24)
    wait_for(lambda: ready(server))
    with nodes.inside() as home:
        for action in actions:
            approve_inside(home, action)
    wait_for(lambda: len(nodes.shop.asked) == SHARE)
    assert server.process is not None
    server.process.terminate()
    time.sleep(1)  # what it would begin now it would have begun
    nodes.shop.answering.set()
    assert server.process.wait(30) == 0
    assert len(nodes.shop.asked) == SHARE
    with nodes.inside() as home:
        person = home.roster.named("Ana")
        assert person is not None
        states = [home.views.action(action, person.caller)["state"] for action in actions]
    assert Counter(states) == {"succeeded": SHARE, "approved": 24 - SHARE}
    other = nodes.serve()
    wait_for(lambda: nodes.shop.times() == paid(24))
    wait_for(lambda: nodes.states(other, actions) == ["succeeded"] * 24)


def test_what_waited_for_a_kill_switch_runs_when_it_is_lifted(nodes: Nodes) -> None:
    server = nodes.serve()
    actions = held(nodes, server, 3)
    server.kill()
    with nodes.inside() as home:
        for action in actions:
            approve_inside(home, action)
    with nodes.inside() as home:
        stopped = home.kill_switches.engage(Scope.TOPIC, "shop.*", "looking into it", by="tests")
    other = nodes.serve()
    wait_for(lambda: ready(other))
    wait_for(lambda: waiting(nodes) == 0)  # delivered, and refused
    assert nodes.states(other, actions) == ["approved"] * 3
    assert nodes.shop.asked == []
    path = f"/v1/kill-switches/{stopped.switch.id}/rearm"
    nodes.call(other, nodes.ana, "POST", path, reason="found it")
    nodes.call(other, nodes.ben, "POST", path, reason="so did I")
    wait_for(lambda: nodes.shop.times() == paid(3))
    wait_for(lambda: nodes.states(other, actions) == ["succeeded"] * 3)


def test_an_allowed_action_is_carried_out_before_its_proposer_is_answered_and_leaves_no_segment(
    nodes: Nodes,
) -> None:
    server = nodes.serve()
    wait_for(lambda: ready(server))
    with ThreadPoolExecutor(6) as agents:
        actions = list(agents.map(lambda n: nodes.propose(server, "shop.note", str(n)), range(12)))
    assert nodes.states(server, actions) == ["succeeded"] * 12
    assert nodes.shop.times() == Counter({f"/note/{n}": 1 for n in range(12)})
    assert waiting(nodes) == 0


def test_readiness_says_that_nothing_is_carried_out_and_tells_strangers_no_more(
    nodes: Nodes,
) -> None:
    server = nodes.serve()
    wait_for(lambda: ready(server))
    # As if another process had taken it for dead.
    if nodes.url is not None:
        run(nodes.url, "DELETE FROM executors")
    else:
        with closing(sqlite3.connect(nodes.home / "journal.db", timeout=30)) as connection, connection:
            connection.execute("DELETE FROM executors")
    seen: list[httpx.Response] = []

    def refused() -> bool:
        seen.append(httpx.get(f"{server.url}/readyz", trust_env=False))
        return seen[-1].status_code == 503

    wait_for(refused)
    document = seen[-1].json()
    assert document["type"] == "urn:interlock:problem:not-standing"
    assert "lease" not in json.dumps(document)
    wait_for(lambda: ready(server))  # it joins anew


def test_a_service_that_hangs_makes_nobody_wait_but_those_who_want_it(
    tmp_path: Path, shop: Shop, database: str, request: pytest.FixtureRequest
) -> None:
    url = None
    if database == "postgres":
        url = request.getfixturevalue("postgres").database(0)
        run(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    fine = Shop()
    text = policy(shop).replace(f":{shop.port}/note", f":{fine.port}/note")
    mail = f"""\
  shop.mail:
    tier: 3
    args: {{n: string}}
    execute: {{http: {{method: POST, url: "http://127.0.0.1:{fine.port}/mail/{{args.n}}"}}}}
rules:
  - id: mail
    match: {{topics: [shop.mail]}}
    decision: require_approval
    lane: {{window: 1h, on_timeout: deny}}
"""
    nodes = Nodes(tmp_path, shop, text.replace("rules:\n", mail), url)
    try:
        shop.answering.clear()
        server = nodes.serve()
        slow = held(nodes, server, 2 * PARALLEL)
        other = [nodes.propose(server, "shop.mail", str(n)) for n in range(4)]
        wait_for(lambda: ready(server))
        with nodes.inside() as home:
            for action in slow:
                approve_inside(home, action)
        wait_for(lambda: len(shop.asked) == SHARE)
        with nodes.inside() as home:
            for action in other:
                approve_inside(home, action)
        wait_for(lambda: nodes.states(server, other) == ["succeeded"] * 4)
        nodes.propose(server, "shop.note", "1")
        assert fine.times() == Counter({"/note/1": 1, **{f"/mail/{n}": 1 for n in range(4)}})
        assert len(shop.asked) == SHARE, "and they got no more than their share"
        shop.answering.set()
        wait_for(lambda: shop.times() == paid(2 * PARALLEL))
    finally:
        shop.answering.set()
        nodes.close()
        fine.close()
