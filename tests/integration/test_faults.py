"""Processes die at every point of an action's life; what happened is counted in the books of a service.

On both databases. ``INTERLOCK_LONG=1`` kills at each point for a service that knows a repeated key and for
one that does not, and goes on killing for two minutes; otherwise they take turns.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fault_yard import Yard, yard
from faults import POINTS, expected
from house import BOTH
from interlock.gate import following
from interlock.home import Home
from interlock.journal import Journal
from interlock.verify import verify_export
from postgres import Postgres, run

DATABASES = BOTH
LONG = bool(os.environ.get("INTERLOCK_LONG"))
KILLING_SEC = 120 if LONG else 15
WAIT_SEC = 200.0
FINAL = {"succeeded", "in_doubt"}


@pytest.fixture
def place(database: str, request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty PostgreSQL database; None for a file."""
    if database != "postgres":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    url = server.database(0)
    run(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    return url


@pytest.fixture
def made(place: str | None, tmp_path: Path) -> Iterator[Yard]:
    with yard(tmp_path, place) as opened:
        yield opened


def eventually(read: Callable[[], Any], wanted: Any = True) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == wanted


def verified(made: Yard) -> None:
    folder = made.home.path.parent / "export"
    made.home.publisher.export(folder)
    report = verify_export(folder, vkey=made.home.publisher.vkey)
    assert report.ok, report


@pytest.mark.timeout(600)
def test_killed_at_each_point_an_action_takes_effect_once_or_is_in_doubt(made: Yard) -> None:
    lives = {}
    for number, point in enumerate(POINTS):
        for topic in ("pay", "mail") if LONG else (("pay", "mail")[number % 2],):
            n = str(number)
            made.workers.gone(made.live(topic, n, point))
            lives[f"/{topic}/{n}"] = expected(point, topic == "mail")
    made.workers.start()
    ends = {path: state for path, (state, _) in lives.items() if state}
    assert set(made.told("proposed")) <= set(ends)
    assert all(lives[path][0] in FINAL for path in made.told("approved"))
    eventually(made.states, ends)
    calls = made.service.calls()
    for path, (_, times) in lives.items():
        # Where a key is known, whoever takes over may be killed in its turn: it is called once more.
        assert calls[path] == times or (path.startswith("/mail/") and calls[path] > times > 0), path
    # Whoever waited for an answer is still asked, and nothing was lost with the process that asked.
    for path, (action, state) in made.actions().items():
        if state == "held":
            made.approve(action)
            ends[path] = "succeeded"
    eventually(made.states, ends)
    assert set(made.service.effects().values()) == {1}
    verified(made)


def raced(made: Yard, targets: list[tuple[str, str]], orders: list[dict[str, Any]]) -> list[list[str]]:
    """What each of some processes got that tried all of it at the same time."""
    at = time.time() + 2.0
    told = [made.home.path.parent / f"race{number}" for number in range(len(orders))]
    pids = [
        made.workers.start(race=targets, at=at, told=str(file), up=False, **order)
        for file, order in zip(told, orders, strict=True)
    ]
    for pid in pids:
        made.workers.gone(pid)
    return [json.loads(file.read_text()) for file in told]


def test_of_three_processes_that_claim_the_same_actions_one_gets_each(made: Yard) -> None:
    actions = [made.propose("shop.call", str(n)) for n in range(40)]
    won = raced(made, [(action, "") for action in actions], [{}, {}, {}])
    assert sorted(action for each in won for action in each) == sorted(actions)
    claimed = [json.loads(body) for body in made.home.journal.entries()]
    assert sum(entry["kind"] == "action.claimed" for entry in claimed) == 40
    verified(made)


def test_of_two_people_who_answer_at_once_one_is_heard(made: Yard) -> None:
    actions = [made.propose("shop.pay", str(n)) for n in range(40)]
    views = {action: made.home.views.action(action, made.ana.caller)["approval"] for action in actions}
    targets = [(view["id"], view["review_hash"]) for view in views.values()]
    answers = [("Ana", "approve"), ("Ben", "reject"), ("Ben", "approve")]
    won = raced(made, targets, [{"person": person, "answer": answer} for person, answer in answers])
    assert sorted(request for each in won for request in each) == sorted(request for request, _ in targets)
    states = {view["id"]: made.home.views.action(action, made.ana.caller) for action, view in views.items()}
    for (_, answer), requests in zip(answers, won, strict=True):
        ends = {states[request]["state"] for request in requests}
        assert ends <= {"approved" if answer == "approve" else "rejected"}
    verified(made)


@pytest.mark.parametrize("point", ["before it is sent", "before it is answered"])
def test_a_process_that_was_away_past_its_lease_sends_nothing_more(made: Yard, point: str) -> None:
    """Stopped before it sends, it finds its claim spent and sends nothing; stopped after, it reports late."""
    sent = point == "before it is answered"
    if sent:
        made.service.slow(3.0)
        stopped = made.workers.start(up=True)
        made.approve(made.propose("shop.pay", "0"))
        eventually(lambda: made.service.calls()["/pay/0"], 1)
        os.kill(stopped, signal.SIGSTOP)
    else:
        stopped = made.live("pay", "0", point, signal="SIGSTOP")
        made.workers.becomes(stopped, "T")
    made.workers.start()
    eventually(made.states, {"/pay/0": "in_doubt"})
    assert made.service.calls()["/pay/0"] == sent
    os.kill(stopped, signal.SIGCONT)
    eventually(made.states, {"/pay/0": "succeeded" if sent else "failed"})
    assert made.service.calls()["/pay/0"] == sent
    verified(made)


def test_while_a_clock_is_an_hour_back_its_process_runs_nothing_and_time_does_not_go_back(
    made: Yard,
) -> None:
    wrong = made.workers.start(jump=-3600.0)
    os.kill(wrong, signal.SIGUSR1)
    actions = [made.propose("shop.pay", str(n)) for n in range(4)]
    for action in actions:
        made.approve(action)
    time.sleep(2.0)
    assert set(made.states().values()) == {"approved"}
    assert not made.service.calls()
    made.workers.start()
    eventually(lambda: set(made.states().values()), {"succeeded"})
    assert made.service.calls() == Counter({f"/pay/{n}": 1 for n in range(4)})
    times = [json.loads(body)["at"] for body in made.home.journal.entries()]
    assert times == sorted(times)
    verified(made)


@pytest.mark.timeout(300 + 2 * KILLING_SEC)
def test_three_processes_of_which_one_is_killed_every_second_lose_nothing_and_repeat_nothing(
    made: Yard,
) -> None:
    """And every segment is delivered twice."""
    draw = random.Random(11)
    made.service.slow(0.3)
    alive = [made.workers.start() for _ in range(3)]
    kills, number, topics = 0, 0, ("pay", "mail", "note")
    end = time.monotonic() + KILLING_SEC
    while time.monotonic() < end:
        second = time.monotonic() + 1
        while time.monotonic() < second:
            topic = topics[number % 3]
            action = made.propose(f"shop.{topic}", str(number))
            if topic != "note":
                made.approve(action)
            made.home.journal.commit(partial(following.dispatch, action_id=action, topic=f"shop.{topic}"))
            number += 1
            time.sleep(0.05)
        victim = alive.pop(draw.randrange(3))
        made.workers.kill(victim)
        alive.append(made.workers.start(up=False))
        kills += 1
    eventually(lambda: set(made.states().values()) <= FINAL)
    states, calls, effects = made.states(), made.service.calls(), made.service.effects()
    assert len(states) == number, "nothing is lost"
    for path, state in states.items():
        assert effects[path] <= 1, path
        if path.startswith("/mail/"):
            assert state == "succeeded"
        else:
            assert calls[path] <= 1, path
        if state == "succeeded":
            assert effects[path] == 1, path
    doubts = sum(state == "in_doubt" for state in states.values())
    print(f"{kills} kills, {number} actions, {doubts} in doubt, {sum(calls.values())} calls")
    verified(made)


def test_a_home_is_opened_while_another_process_writes_and_nobody_is_stopped(
    made: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever another one commits between two questions of the one that opens is no sign of a loss."""
    head = Journal.head
    asked = 0

    def meanwhile(journal: Journal) -> Any:
        nonlocal asked
        found = head(journal)
        if journal is not made.home.journal:
            asked += 1
            made.propose("shop.note", str(asked))
        return found

    monkeypatch.setattr(Journal, "head", meanwhile)
    url = made.home.journal.database.url
    Home.open(made.home.path, database=None if url is None else str(url)).journal.close()
    assert asked > 1
    assert not made.home.journal.stopped()
