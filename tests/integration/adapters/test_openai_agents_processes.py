"""An agent of the OpenAI Agents SDK whose process ends while a person decides: it goes on elsewhere, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("agents", reason="not installed: uv run --group frameworks pytest")

from house import BOTH, House
from interlock import Gate
from interlock.adapters.openai_agents import Runs
from interlock.gate import Answer
from interlock.identity import KeyKind
from openai_agent import agent, call, said, tools, waiting
from postgres import Postgres
from server_process import ServerProcess
from shop import POLICY, Books, Shop, desk_of, eventually
from shop import shop as a_shop

DATABASES = BOTH
PROGRAM = Path(__file__).parents[2] / "openai_agent.py"


@pytest.fixture
def shop(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    server: Postgres | None = request.getfixturevalue("postgres") if database == "postgres" else None
    url = None if server is None else server.database(0)
    by = "tool" if database == "sqlite" else "agent"
    with a_shop(PROGRAM, tmp_path, url, AGENT_BY=by) as made:
        yield made


@pytest.fixture
def desk(shop: Shop) -> Iterator[House]:
    with desk_of(shop) as house:
        yield house


def test_what_was_approved_after_its_process_ended_is_resumed_elsewhere_and_runs_once(
    shop: Shop, desk: House
) -> None:
    action = shop.start(call())["waiting"]["c1"]
    assert shop.books.lines() == []
    assert shop.go(action) is None, "nobody has decided"
    desk.answer(action, desk.home.roster.named("Ann"))
    text = "{'refunded': 'A', 'amount_usd': 500.0}"
    assert shop.go(action) == {"waiting": {}, "said": {"c1": text}, "final": "Done."}
    assert shop.go(action) is None
    assert shop.books.lines("refunded") == ["refunded A 500.0"]
    assert desk.state(action) == "succeeded"


def test_what_was_edited_rejected_and_left_open_in_one_turn_is_each_its_own(shop: Shop, desk: House) -> None:
    calls = [call(number=n, order_id=order, amount_usd=500) for n, order in enumerate("ABC", 1)]
    actions = shop.start(*calls)["waiting"]
    ann, bob = (desk.home.roster.named(name) for name in ("Ann", "Bob"))
    desk.answer(actions["c1"], ann, Answer.EDIT, args={"order_id": "A", "amount_usd": "120.00"})
    desk.answer(actions["c1"], bob)
    desk.answer(actions["c2"], ann, Answer.REJECT, note="Not this one")
    first = shop.go(actions["c1"])
    assert first["waiting"] == {"c3": actions["c3"]}
    assert first["said"]["c1"].startswith("A person changed this call before it ran: amount_usd from 500.00")
    assert "Not this one" in first["said"]["c2"]
    desk.answer(actions["c3"], ann)
    assert shop.go(actions["c3"])["final"] == "Done."
    assert shop.books.lines("refunded") == ["refunded A 120.0", "refunded C 500.0"]


def test_two_processes_that_resume_at_once_run_it_once(shop: Shop, desk: House) -> None:
    action = shop.start(call())["waiting"]["c1"]
    desk.answer(action, desk.home.roster.named("Ann"))
    both = [shop.begin("go", action, AGENT_SEC="1") for _ in range(2)]
    for process in both:
        shop.let(process)
    answers = [shop.ended(process) for process in both]
    assert shop.books.lines() == ["begun A 500.0", "refunded A 500.0"]
    assert any(answer is not None for answer in answers), answers
    assert all(answer is None or "500" in answer["said"]["c1"] for answer in answers), answers


def test_a_process_killed_in_the_middle_of_the_tool_leaves_doubt_and_nothing_runs_again(
    shop: Shop, desk: House
) -> None:
    action = shop.start(call())["waiting"]["c1"]
    desk.answer(action, desk.home.roster.named("Ann"))
    process = shop.begin("go", action, AGENT_SEC="60")
    shop.let(process)
    eventually(lambda: shop.books.lines("begun"))
    process.kill()
    found = shop.go(action)
    assert "In doubt" in found["said"]["c1"], "as soon as its lease has lapsed"
    assert shop.books.lines() == ["begun A 500.0"]


def test_a_gate_at_a_server_holds_and_lets_run_as_one_in_the_process(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(POLICY)
    (tmp_path / "policy.yaml").write_text(POLICY)
    _, key = house.home.keyring.add(KeyKind.ADAPTER, "support", topics=("*",), by="test")
    ann, books, saved = house.person("Ann"), Books(tmp_path / "books.txt"), dict[str, str]()
    options = () if house.url is None else ("--database", house.url)
    with ServerProcess(house.home.path, tmp_path / "policy.yaml", options=options) as server:
        server.ready()
        script = [[call(), call(number=2, order_id="B", amount_usd=5), call("drop", 3, order_id="C")]]
        with Gate.connect(server.url, key=key) as gate:
            runs = Runs(agent(gate, tools(books), script, by="agent"), gate, saved)
            assert waiting(asyncio.run(runs.run("Pay."))) == ["c1"]
        ((action,),) = house.sql("SELECT id FROM actions WHERE state = 'held'")
        house.answer(action, ann)
        with Gate.connect(server.url, key=key) as gate:
            runs = Runs(agent(gate, tools(books), script, by="agent"), gate, saved)
            result = asyncio.run(runs.go_on(action))
    assert result is not None
    assert said(result)["c1"] == "{'refunded': 'A', 'amount_usd': 500.0}"
    assert "Nobody drops orders" in said(result)["c3"]
    assert books.lines("refunded") == ["refunded B 5.0", "refunded A 500.0"]
