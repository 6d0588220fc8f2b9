"""A run of OpenAI Agents or Pydantic AI is a session: what its user said and its gated tools gave back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents", reason="not installed: uv run --group frameworks pytest")
pytest.importorskip("pydantic_ai", reason="not installed: uv run --group frameworks pytest")

import openai_agent
import pydantic_agent
from house import House
from interlock import Gate
from interlock.adapters import openai_agents, pydantic_ai
from interlock.adapters.saved import SavedRuns
from interlock.client.embedded import Embedded
from shop import POLICY, Books

ANA = "ana@example.com"
FRAMEWORKS: Any = {
    "openai": (openai_agent, openai_agents.Runs),
    "pydantic": (pydantic_agent, pydantic_ai.Runs),
}


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    made = open_house(POLICY)
    made.person("Ann")
    return made


@pytest.fixture(params=FRAMEWORKS)
def build(house: House, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The runs anew, as a process that comes later makes them: a look and a call that is denied, a refund."""
    program, runs = FRAMEWORKS[request.param]
    calls = [
        [program.call("look", 1, order_id="A"), program.call("drop", 2, order_id="A")],
        [program.call("refund", 3)],
    ]

    def made(sessions: bool = True) -> Any:
        gate = Gate(Embedded(house.home, "support"), session=None, principal=ANA)
        agent = program.agent(gate, program.tools(Books(tmp_path / "books.txt")), calls)
        return runs(agent, gate, SavedRuns(tmp_path / "runs"), sessions=sessions)

    return made


def recorded(house: House) -> list[Any]:
    """What the only session holds."""
    [(session,)] = house.sql("SELECT id FROM sessions")
    found = [one.content for one in house.home.sessions.records(session) if one.content is not None]
    return [one["text"] if "text" in one else (one["tool"], one["content"], one["failed"]) for one in found]


def test_a_run_is_a_session_across_a_decision_and_a_new_process(
    house: House, build: Callable[..., Any]
) -> None:
    asyncio.run(build().run("Pay order A back."))
    said, *results = recorded(house)
    assert said == "Pay order A back."
    assert ("look", "A was paid.", False) in results
    assert [failed for tool, _, failed in results if tool == "drop"] == [True]
    [(action,)] = house.sql("SELECT id FROM actions WHERE state = 'held'")
    assert house.view(action)["session"]["issued"]
    house.answer(action, house.home.roster.named("Ann"))
    asyncio.run(build().go_on(action))
    assert recorded(house)[-1] == ("refund", {"refunded": "A", "amount_usd": 500}, False)
    assert recorded(house).count("Pay order A back.") == 1
    assert house.state(action) == "succeeded"


def test_runs_of_one_conversation_are_one_session(house: House, build: Callable[..., Any]) -> None:
    runs = build()
    for text in ("Pay order A back.", "Now."):
        asyncio.run(runs.run(text, conversation="thread-1"))
    assert [one for one in recorded(house) if isinstance(one, str)] == ["Pay order A back.", "Now."]


def test_without_being_asked_to_it_records_nothing(house: House, build: Callable[..., Any]) -> None:
    asyncio.run(build(sessions=False).run("Pay order A back."))
    assert house.sql("SELECT count(*) FROM sessions") == [(0,)]
