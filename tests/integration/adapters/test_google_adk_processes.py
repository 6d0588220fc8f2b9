"""An ADK agent whose process ends while a person decides: others decide and resume, and it runs once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("google.adk", reason="not installed: uv run --group frameworks pytest")

from google.adk.sessions import InMemorySessionService

from google_adk_agent import begin, call, read, runner, tools, waiting
from house import BOTH, House
from interlock import Gate
from interlock.adapters.google_adk import go_on
from interlock.gate import Answer
from interlock.identity import KeyKind
from postgres import Postgres
from server_process import ServerProcess
from shop import POLICY, Books, Shop, desk_of, eventually
from shop import shop as a_shop

DATABASES = BOTH
PROGRAM = Path(__file__).parents[2] / "google_adk_agent.py"
PAID = {"refunded": "A", "amount_usd": 500}


@pytest.fixture
def shop(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    server: Postgres | None = request.getfixturevalue("postgres") if database == "postgres" else None
    url = None if server is None else server.database(0)
    with a_shop(PROGRAM, tmp_path, url, AGENT_RESUMABLE="" if url is None else "1") as made:
        yield made


@pytest.fixture
def desk(shop: Shop) -> Iterator[House]:
    with desk_of(shop) as house:
        yield house


def answer(desk: House, action: str, *answers: Answer, **rest: object) -> None:
    for name, given in zip(("Ann", "Bob"), answers, strict=False):
        desk.answer(action, desk.home.roster.named(name), given, **(rest if name == "Ann" else {}))


def test_what_was_approved_after_its_process_ended_is_resumed_elsewhere_and_runs_once(
    shop: Shop, desk: House
) -> None:
    at = shop.start(call())["waiting"]
    assert shop.books.lines() == []
    assert shop.go(at["c1"])["waiting"] == at, "nobody has decided"
    answer(desk, at["c1"], Answer.APPROVE)
    for _ in range(2):
        assert shop.go(at["c1"]) == {"waiting": {}, "read": {"c1": PAID}}
    assert shop.books.lines("refunded") == ["refunded A 500"]
    assert desk.state(at["c1"]) == "succeeded"


def test_what_was_edited_rejected_and_left_open_in_one_turn_is_each_its_own(shop: Shop, desk: House) -> None:
    calls = [call(number=n, order_id=order, amount_usd=500) for n, order in enumerate("ABC", 1)]
    at = shop.start(*calls)["waiting"]
    answer(desk, at["c1"], Answer.EDIT, Answer.APPROVE, args={"order_id": "A", "amount_usd": "120.00"})
    answer(desk, at["c2"], Answer.REJECT, note="Not this one")
    shop.go(at["c1"])
    assert shop.go(at["c2"])["waiting"] == {"c3": at["c3"]}
    assert shop.books.lines("refunded") == ["refunded A 120"]
    answer(desk, at["c3"], Answer.APPROVE)
    found = shop.go(at["c3"])["read"]
    assert "amount_usd from 500.00 to 120.00" in found["c1"]["interlock_note"]
    assert "Not this one" in found["c2"]["error"]
    assert shop.books.lines("refunded") == ["refunded A 120", "refunded C 500"]


def test_two_processes_that_resume_at_once_run_it_once(shop: Shop, desk: House) -> None:
    action = shop.start(call())["waiting"]["c1"]
    answer(desk, action, Answer.APPROVE)
    both = [shop.begin("go", action, AGENT_SEC="1") for _ in range(2)]
    for process in both:
        shop.let(process)
    answers = [shop.ended(process) for process in both]
    assert shop.books.lines() == ["begun A 500", "refunded A 500"]
    assert any(isinstance(one, dict) for one in answers), answers
    assert all(isinstance(one, dict) or "StaleSessionError" in one for one in answers), answers
    assert shop.go(action)["read"]["c1"] == PAID
    assert len(shop.books.lines("refunded")) == 1


def test_a_process_killed_in_the_middle_of_the_tool_leaves_doubt_and_nothing_runs_again(
    shop: Shop, desk: House
) -> None:
    action = shop.start(call())["waiting"]["c1"]
    answer(desk, action, Answer.APPROVE)
    process = shop.begin("go", action, AGENT_SEC="60")
    shop.let(process)
    eventually(lambda: shop.books.lines("begun"))
    process.kill()
    found = shop.go(action)["read"]["c1"]
    assert "In doubt" in found["error"], "it waits until the lease of the dead has run out"
    assert shop.books.lines() == ["begun A 500"]


def test_a_gate_at_a_server_holds_and_lets_run_as_one_in_the_process(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(POLICY)
    (tmp_path / "policy.yaml").write_text(POLICY)
    _, key = house.home.keyring.add(KeyKind.ADAPTER, "support", topics=("*",), by="test")
    ann, books, sessions = house.person("Ann"), Books(tmp_path / "books.txt"), InMemorySessionService()
    options = () if house.url is None else ("--database", house.url)
    with ServerProcess(house.home.path, tmp_path / "policy.yaml", options=options) as server:
        server.ready()
        script = [[call(), call(number=2, order_id="B", amount_usd=5), call("drop", 3, order_id="C")]]
        with Gate.connect(server.url, key=key) as gate:
            made = runner(gate, tools(books), script, sessions)
            begin(made)
            (action,) = waiting(made).values()
        house.answer(action, ann)
        with Gate.connect(server.url, key=key) as gate:
            later = runner(gate, tools(books), script, sessions)
            assert asyncio.run(go_on(later, gate, action)) is not None
            found = read(later)
    assert found["c1"] == PAID
    assert "Nobody drops orders" in found["c3"]["error"]
    assert books.lines("refunded") == ["refunded B 5", "refunded A 500"]
