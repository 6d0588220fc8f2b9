"""A LangGraph agent whose process ends while a person decides: others decide and resume, and it runs once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain", reason="not installed: uv run --group frameworks pytest")

from langgraph.checkpoint.memory import InMemorySaver
from psycopg.conninfo import make_conninfo

from house import BOTH, House
from interlock import Gate
from interlock.adapters.langchain import go_on_async
from interlock.gate import Answer
from interlock.home import Home
from interlock.identity import KeyKind
from langchain_agent import THREAD, agent, call, said, waiting
from postgres import Postgres
from server_process import ServerProcess
from shop import POLICY, Books

DATABASES = BOTH
PROGRAM = Path(__file__).parents[2] / "langchain_agent.py"
WAIT_SEC = 90.0


class Shop:
    """The agent's folder, and its processes, each of which ends by itself or is killed."""

    def __init__(self, folder: Path, journal: str | None, threads: str | None) -> None:
        self.folder, self.journal = folder, journal
        self.books = Books(folder / "books.txt")
        places = {"AGENT_DATABASE": journal, "AGENT_THREADS": threads}
        self.env = {name: url for name, url in places.items() if url is not None}
        self.started: list[subprocess.Popen[str]] = []
        (folder / "policy.yaml").write_text(POLICY)

    def begin(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """A process that is ready to go on when it gets a line."""
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self.folder), *args],
            env={**os.environ, **self.env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError(process.communicate()[1])
        return process

    def ended(self, process: subprocess.Popen[str]) -> Any:
        """What its graph returned, or the text of what it raised."""
        out, err = process.communicate("go\n", timeout=WAIT_SEC)
        return json.loads(out) if process.returncode == 0 else err

    def start(self, *calls: dict[str, Any]) -> Any:
        return self.ended(self.begin("start", json.dumps([calls])))

    def go(self, answer: Any = None) -> Any:
        return self.ended(self.begin("go", json.dumps(answer)))


def threads(server: Postgres) -> str:
    """Where LangGraph keeps its threads: a schema of its own, since a home has a table `checkpoints` too."""
    url = server.database(1)
    server.run("DROP SCHEMA IF EXISTS threads CASCADE", url=url)
    server.run("CREATE SCHEMA threads", url=url)
    return make_conninfo(url, options="-c search_path=threads")


@pytest.fixture
def shop(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    urls: list[str | None] = [None, None]
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        urls = [server.database(0), threads(server)]
    made = Shop(tmp_path, *urls)
    made.env["AGENT_BY"] = "tool" if database == "sqlite" else "middleware"
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def desk(shop: Shop) -> Iterator[House]:
    """Somebody who decides, in this process."""
    Gate.open(shop.folder / "policy.yaml", agent="support", database=shop.journal).close()
    home = Home.open(shop.folder / ".interlock", database=shop.journal)
    house = House(home, shop.journal)
    house.person("Ann")
    house.person("Bob")
    yield house
    home.close()


def answer(desk: House, action: str, *answers: Answer, **rest: Any) -> None:
    for name, given in zip(("Ann", "Bob"), answers, strict=False):
        desk.answer(action, desk.home.roster.named(name), given, **(rest if name == "Ann" else {}))


def the_one(answered: Any) -> tuple[str, str]:
    """Interrupt and action of the only call that waits."""
    ((interrupt, value),) = answered["waiting"].items()
    return interrupt, value["action_id"]


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_what_was_approved_after_its_process_ended_is_resumed_elsewhere_and_runs_once(
    shop: Shop, desk: House
) -> None:
    interrupt, action = the_one(shop.start(call()))
    assert shop.books.lines() == []
    assert the_one(shop.go({interrupt: {"type": "approve"}}))[1] == action, "nobody has decided"
    answer(desk, action, Answer.APPROVE)
    done = shop.go()
    assert done == {"waiting": {}, "said": [["c1", '{"refunded": "A", "amount_usd": 500.0}', "success"]]}
    assert shop.books.lines("refunded") == ["refunded A 500.0"]
    assert desk.state(action) == "succeeded"


def test_what_was_edited_rejected_and_left_open_in_one_turn_is_each_its_own(shop: Shop, desk: House) -> None:
    calls = [call(number=n, order_id=order, amount_usd=500) for n, order in enumerate("ABC", 1)]
    waiting = shop.start(*calls)["waiting"]
    actions = {value["tool_call_id"]: value["action_id"] for value in waiting.values()}
    edited = {"order_id": "A", "amount_usd": "120.00"}
    answer(desk, actions["c1"], Answer.EDIT, Answer.APPROVE, args=edited)
    answer(desk, actions["c2"], Answer.REJECT, note="Not this one")
    assert the_one(shop.go(dict.fromkeys(waiting, "go on")))[1] == actions["c3"]
    assert shop.books.lines("refunded") == ["refunded A 120.0"]
    answer(desk, actions["c3"], Answer.APPROVE)
    said = {name: text for name, text, _ in shop.go()["said"]}
    assert said["c1"].startswith("A person changed this call before it ran: amount_usd from 500.00 to 120.00")
    assert "Not this one" in said["c2"]
    assert shop.books.lines("refunded") == ["refunded A 120.0", "refunded C 500.0"]


def test_two_processes_that_resume_at_once_run_it_once(shop: Shop, desk: House) -> None:
    interrupt, action = the_one(shop.start(call()))
    answer(desk, action, Answer.APPROVE)
    both = [shop.begin("go", json.dumps({interrupt: "go on"}), AGENT_SEC="1") for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [shop.ended(process) for process in both]
    assert shop.books.lines() == ["begun A 500.0", "refunded A 500.0"]
    assert any(isinstance(one, dict) for one in answers), answers
    assert all(isinstance(one, dict) or "NotClaimable" in one for one in answers), answers
    late = shop.go({interrupt: "go on"})
    assert late["said"][0][1] == '{"refunded": "A", "amount_usd": 500.0}'
    assert len(shop.books.lines("refunded")) == 1


def test_a_process_killed_in_the_middle_of_the_tool_leaves_doubt_and_nothing_runs_again(
    shop: Shop, desk: House
) -> None:
    interrupt, action = the_one(shop.start(call()))
    answer(desk, action, Answer.APPROVE)
    process = shop.begin("go", json.dumps({interrupt: "go on"}), AGENT_SEC="60")
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    eventually(lambda: shop.books.lines("begun"))
    process.kill()
    found = shop.go()
    while isinstance(found, str):
        assert "NotClaimable" in found, "it may still run, as long as its lease lasts"
        found = shop.go()
    ((_, text, status),) = found["said"]
    assert (status, shop.books.lines()) == ("error", ["begun A 500.0"])
    assert "In doubt" in text


def test_a_gate_at_a_server_holds_and_lets_run_as_one_in_the_process(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(POLICY)
    (tmp_path / "policy.yaml").write_text(POLICY)
    _, key = house.home.keyring.add(KeyKind.ADAPTER, "support", topics=("*",), by="test")
    ann, books, saver = house.person("Ann"), Books(tmp_path / "books.txt"), InMemorySaver()
    options = () if house.url is None else ("--database", house.url)
    with ServerProcess(house.home.path, tmp_path / "policy.yaml", options=options) as server:
        server.ready()
        script = [[call(), call(number=2, order_id="B", amount_usd=5), call("drop", 3, order_id="C")]]
        with Gate.connect(server.url, key=key) as gate:
            made = agent(gate, books, script, saver, by="middleware")
            made.invoke({"messages": [("user", "Pay it back.")]}, THREAD)
            (value,) = waiting(made).values()
        house.answer(value["action_id"], ann)
        with Gate.connect(server.url, key=key) as gate:
            later = agent(gate, books, script, saver, by="tool")
            assert asyncio.run(go_on_async(later, gate, value["action_id"])) is not None
            texts = {name: text for name, text, _ in said(later.get_state(THREAD).values)}
    assert texts["c1"] == '{"refunded": "A", "amount_usd": 500.0}'
    assert "Nobody drops orders" in texts["c3"]
    assert books.lines("refunded") == ["refunded B 5.0", "refunded A 500.0"]
