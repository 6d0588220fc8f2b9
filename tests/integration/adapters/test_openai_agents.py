"""OpenAI Agents SDK: a call interrupts its run until a person has decided, and runs once."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents", reason="not installed: uv run --group frameworks pytest")

from agents import (
    Agent,
    FunctionTool,
    HostedMCPTool,
    ModelBehaviorError,
    Runner,
    RunState,
    SQLiteSession,
    ToolOutputText,
    UserError,
    WebSearchTool,
    function_tool,
    handoff,
)
from agents.mcp import MCPServerStdio
from agents.testing import ScriptedModel
from agents.tool_context import ToolContext
from openai.types.responses.response_output_item import McpApprovalRequest
from pydantic import SecretStr

from house import House, ManualClock
from interlock import Event, Gate, Held, NoEffect
from interlock.adapters.openai_agents import (
    GatedTool,
    Runs,
    SavedRuns,
    gated,
    gated_agent,
    question_tool,
)
from interlock.gate import Answer
from interlock.model.errors import InvalidInput
from openai_agent import Scripted, agent, call, said, tools, waiting
from shop import POLICY, TOPICS, Books

EDIT = {"order_id": "A", "amount_usd": "120.00"}
RESULT = "{'refunded': 'A', 'amount_usd': 500.0}"


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    made = open_house(POLICY, clock=clock)
    made.person("Ann")
    made.person("Bob")
    return made


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "books.txt")


@pytest.fixture(params=["tool", "agent"])
def by(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def saved(tmp_path: Path) -> SavedRuns:
    return SavedRuns(tmp_path / "runs")


@pytest.fixture
def build(gate: Gate, books: Books, by: str, saved: SavedRuns) -> Callable[..., Runs]:
    """The agent anew, as a process that comes later makes it: of what went before it has the saved runs."""
    return lambda *script: Runs(agent(gate, tools(books), [list(script)], by=by), gate, saved)


def run(runs: Runs) -> Any:
    return asyncio.run(runs.run("Pay it back."))


def go_on(runs: Runs, action: str) -> Any:
    return asyncio.run(runs.go_on(action))


def held(saved: SavedRuns, name: str = "c1") -> str:
    """The action that a call of the only run waits for."""
    (kept,) = saved.values()
    return str(json.loads(kept)["waits"][name])


def answered(house: House, action: str, *answers: Answer, **rest: Any) -> None:
    for name, answer in zip(("Ann", "Bob"), answers, strict=False):
        house.answer(action, house.home.roster.named(name), answer, **(rest if name == "Ann" else {}))


def runs_of(gate: Gate, saved: SavedRuns, *made: Any, script: Any, **rest: Any) -> Runs:
    """Runs of an agent with other tools."""
    behind = [
        one if isinstance(one, GatedTool) else gated(one, gate, topic=TOPICS.get(one.name)) for one in made
    ]
    return Runs(Agent(name="support", model=Scripted([script]), tools=behind, **rest), gate, saved)


# --- what becomes of a held call --------------------------------------------------------------------------


def test_an_allowed_call_runs_at_once_and_a_held_one_interrupts_the_run(
    build: Callable[..., Runs], books: Books
) -> None:
    result = run(build(call(order_id="A", amount_usd=5), call(number=2), call("look", 3, order_id="B")))
    assert sorted(books.lines()) == ["begun A 5.0", "looked B", "refunded A 5.0"]
    assert waiting(result) == ["c2"]


def test_an_approved_call_runs_once_however_often_the_run_is_resumed(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    (before,) = saved.items()
    action = held(saved)
    assert go_on(build(call()), action) is None, "nobody has decided"
    answered(house, action, Answer.APPROVE)
    first = go_on(build(call()), action)
    assert (first.final_output, said(first)) == ("Done.", {"c1": RESULT})
    assert go_on(build(call()), action) is None, "it has gone on"
    for _ in range(2):
        saved[before[0]] = before[1]
        again = go_on(build(call()), action)
        assert said(again) == {"c1": "{'amount_usd': 500, 'refunded': 'A'}"}, "the same state, once more"
    assert books.lines("refunded") == ["refunded A 500.0"]


def test_a_rejection_reaches_the_model_with_its_reason(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.REJECT, note="Twice too much")
    text = said(go_on(build(call()), action))["c1"]
    assert "Twice too much" in text
    assert "Do not repeat it unchanged" in text
    assert books.lines() == []


def test_what_a_person_edited_runs_and_the_model_reads_that(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.EDIT, Answer.APPROVE, args=EDIT)
    text = said(go_on(build(call()), action))["c1"]
    assert text.startswith("A person changed this call before it ran: amount_usd from 500.00 to 120.00.")
    assert text.endswith("{'refunded': 'A', 'amount_usd': 120.0}")
    assert books.lines("refunded") == ["refunded A 120.0"]


def test_an_edit_that_waits_for_a_second_person_goes_on_waiting(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.EDIT, args=EDIT)
    assert go_on(build(call()), action) is None
    assert books.lines() == []


def test_an_edit_that_the_tool_does_not_take_runs_nothing_and_is_not_in_doubt(
    gate: Gate, house: House, books: Books, saved: SavedRuns
) -> None:
    @function_tool
    def pay(order_id: str, amount: int) -> str:
        """Pay."""
        books.write("paid")
        return "paid"

    runs = runs_of(gate, saved, pay, script=[call("pay", amount=5, order_id="A")])
    run(runs)
    action = held(saved)
    answered(house, action, Answer.EDIT, Answer.APPROVE, args={"order_id": "A", "amount": 5, "extra": 1})
    assert "does not take extra" in said(go_on(runs, action))["c1"]
    assert (house.state(action), books.lines()) == ("failed", [])


def test_calls_of_one_turn_are_decided_one_by_one(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    three = [call(number=n, order_id=order, amount_usd=500) for n, order in enumerate("ABC", 1)]
    run(build(*three))
    first, second, third = (held(saved, name) for name in ("c1", "c2", "c3"))
    answered(house, second, Answer.APPROVE)
    assert waiting(go_on(build(*three), second)) == ["c1", "c3"]
    assert books.lines("refunded") == ["refunded B 500.0"]
    answered(house, first, Answer.REJECT)
    answered(house, third, Answer.APPROVE)
    result = go_on(build(*three), first)
    texts = said(result)
    assert result.final_output == "Done."
    assert "Rejected" in texts["c1"]
    assert sorted(books.lines("refunded")) == ["refunded B 500.0", "refunded C 500.0"]
    assert go_on(build(*three), third) is None, "it went on with the other"


def test_two_identical_calls_of_one_turn_are_two_actions(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    twice = (call(number=1), call(number=2))
    run(build(*twice))
    actions = [held(saved, name) for name in ("c1", "c2")]
    assert actions[0] != actions[1]
    for action in actions:
        answered(house, action, Answer.APPROVE)
    go_on(build(*twice), actions[0])
    assert len(books.lines("refunded")) == 2


def test_the_same_call_id_in_another_run_is_another_call(
    build: Callable[..., Runs], books: Books, by: str
) -> None:
    small = call(order_id="A", amount_usd=5)
    for _ in range(3):
        run(build(small))
    assert books.lines("refunded") == ["refunded A 5.0"] * 3


def test_nobody_decided_in_time_and_the_model_reads_that_nobody_rejected_it(
    build: Callable[..., Runs], books: Books, house: House, clock: ManualClock, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    clock.forward(16 * 60)
    house.gate.sweep()
    text = said(go_on(build(call()), action))["c1"]
    assert "Expired" in text
    assert "Nobody rejected it" in text
    assert books.lines() == []


def test_a_policy_that_became_tighter_after_the_approval_stops_the_call(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.APPROVE)
    house.activate(POLICY.replace("topics: [orders.drop]", "topics: ['*']"))
    assert "Nobody drops orders" in said(go_on(build(call()), action))["c1"]
    assert books.lines() == []


def test_a_policy_that_became_looser_does_not_run_what_was_rejected(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.REJECT)
    house.activate(POLICY.replace("< 100", "< 1000").replace(">= 100", ">= 1000"))
    assert "Rejected" in said(go_on(build(call()), action))["c1"]
    assert books.lines() == []


def test_a_policy_that_became_tighter_holds_an_approved_call_anew(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.APPROVE)
    house.activate(POLICY.replace("owner: finance", "owner: directors").replace("tier: 3", "tier: 4"))
    assert go_on(build(call()), action) is None
    assert (house.state(action), books.lines()) == ("held", [])
    answered(house, action, Answer.APPROVE)
    assert go_on(build(call()), action).final_output == "Done."
    assert books.lines("refunded") == ["refunded A 500.0"]


def test_a_denied_call_and_refused_arguments_are_told_to_the_model(
    build: Callable[..., Runs], books: Books
) -> None:
    texts = said(run(build(call("drop", order_id="A"), call(number=2, order_id="A", amount_usd=5.001))))
    assert "Nobody drops orders" in texts["c1"]
    assert "not run" in texts["c2"]
    assert "amount_usd" in texts["c2"]
    assert books.lines() == []


@pytest.mark.parametrize("args", ["{", "[]", '{"order_id": NaN, "amount_usd": 500}', '{"order_id": "A"}'])
def test_arguments_that_cannot_be_read_are_told_to_the_model_and_nobody_is_asked(
    build: Callable[..., Runs], books: Books, house: House, args: str
) -> None:
    result = run(build({"name": "refund", "args": args, "id": "c1"}))
    assert said(result)["c1"].startswith("Not proposed, and not run.")
    assert (result.final_output, books.lines()) == ("Done.", [])
    assert house.sql("SELECT count(*) FROM actions") == [(0,)]


def test_the_frameworks_context_and_memory_go_on_with_the_run(
    gate: Gate, house: House, books: Books, saved: SavedRuns
) -> None:
    @dataclasses.dataclass
    class Own:
        user: str

    seen: list[Any] = []

    @function_tool
    def refund(context: ToolContext[Any], order_id: str, amount_usd: float) -> str:
        """Pay."""
        seen.append(context.context)
        return "paid"

    for given, again in (({"user": "ana"}, {}), (Own("ana"), {"context": Own("bea")})):
        memory = SQLiteSession("s1")
        made = runs_of(gate, saved, refund, script=[call()])
        asyncio.run(made.run("Pay.", context=given, session=memory))
        action = held(saved)
        answered(house, action, Answer.APPROVE)
        later = runs_of(gate, saved, refund, script=[call()])
        result = asyncio.run(later.go_on(action, session=memory, **again))
        assert result.final_output == "Done."
        items = asyncio.run(memory.get_items())
        assert [item.get("type") for item in items[-3:]] == [
            "function_call",
            "function_call_output",
            "message",
        ]
    assert seen == [{"user": "ana"}, Own("bea")]


def test_a_decision_that_came_before_the_run_was_kept_is_not_missed(
    gate: Gate, house: House, books: Books
) -> None:
    class Slow(dict[str, str]):
        def __setitem__(self, name: str, value: str) -> None:
            answered(house, json.loads(value)["waits"]["c1"], Answer.APPROVE)
            super().__setitem__(name, value)

    kept = Slow()
    runs = Runs(agent(gate, tools(books), [[call()]]), gate, kept)
    assert (run(runs).final_output, kept) == ("Done.", {})
    assert books.lines("refunded") == ["refunded A 500.0"]


def test_what_begins_to_wait_is_said_once_its_run_is_kept(
    gate: Gate, house: House, books: Books, saved: SavedRuns
) -> None:
    heard: list[tuple[str, int]] = []
    script = [[call(), call(number=2, order_id="B", amount_usd=700)], [call(number=3)]]
    runs = Runs(
        agent(gate, tools(books), script),
        gate,
        saved,
        on_held=lambda action: heard.append((action["user_message"], len(saved))),
    )
    run(runs)
    assert [(text.split(" waits for ")[1].split()[0], count) for text, count in heard] == [("finance", 1)] * 2
    for name in ("c1", "c2"):
        answered(house, held(saved, name), Answer.APPROVE)
    assert waiting(go_on(runs, held(saved))) == ["c3"]
    assert len(heard) == 3


def test_a_callback_lets_the_run_go_on(
    gate: Gate, build: Callable[..., Runs], house: House, books: Books, saved: SavedRuns
) -> None:
    import time

    runs = build(call())

    @gate.on_decided
    def decided(event: Event) -> None:
        asyncio.run(runs.go_on(event.action_id))

    run(runs)
    answered(house, held(saved), Answer.APPROVE)
    deadline = time.monotonic() + 60
    while len(saved) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert books.lines("refunded") == ["refunded A 500.0"]
    assert len(saved) == 0


# --- while it runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["default", "own", None])
def test_a_tool_that_raises_is_in_doubt_and_the_model_reads_that(
    gate: Gate, house: House, saved: SavedRuns, failure: str | None
) -> None:
    def refund(order_id: str, amount_usd: float) -> str:
        """Pay."""
        raise OSError("connection reset")

    own: Any = {"own": lambda _, error: f"It broke: {error}.", None: None}
    options = {} if failure == "default" else {"failure_error_function": own[failure]}
    made = function_tool(refund, **options)
    runs = runs_of(gate, saved, made, script=[call(order_id="A", amount_usd=5)])
    if failure is None:
        with pytest.raises(Exception, match="connection reset"):
            run(runs)
    else:
        text = said(run(runs))["c1"]
        start = "It broke: connection reset." if failure == "own" else "An error occurred"
        assert text.startswith(start)
        assert "may have taken effect" in text
        assert "try again" not in text
    assert house.sql("SELECT state FROM actions") == [("in_doubt",)]


def test_a_tool_that_says_nothing_happened_has_failed_without_effect(
    gate: Gate, house: House, saved: SavedRuns
) -> None:
    @function_tool
    def refund(order_id: str, amount_usd: float) -> str:
        """Pay."""
        raise NoEffect("No such order.")

    runs = runs_of(gate, saved, refund, script=[call(order_id="A", amount_usd=5)])
    assert said(run(runs))["c1"] == "Nothing took effect. No such order."
    assert house.sql("SELECT state FROM actions") == [("failed",)]


def test_a_tool_that_takes_too_long_is_in_doubt(gate: Gate, house: House, saved: SavedRuns) -> None:
    @function_tool(timeout=0.05)
    async def refund(order_id: str, amount_usd: float) -> str:
        """Pay."""
        await asyncio.sleep(60)
        return "paid"

    text = said(run(runs_of(gate, saved, refund, script=[call(order_id="A", amount_usd=5)])))["c1"]
    assert "timed out after 0.05 seconds" in text
    assert "may have taken effect" in text
    assert house.sql("SELECT state FROM actions") == [("in_doubt",)]


def test_resumes_at_once_run_each_tool_once_and_all_get_the_result(
    gate: Gate, house: House, books: Books, by: str, saved: SavedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_SEC", "0.3")
    script = [[call(), call(number=2, order_id="B", amount_usd=700)]]
    run(Runs(agent(gate, tools(books), script, by=by), gate, saved))
    for name in ("c1", "c2"):
        answered(house, held(saved, name), Answer.APPROVE)
    action = held(saved)

    async def together() -> list[Any]:
        all_of = [Runs(agent(gate, tools(books), script, by=by), gate, saved) for _ in range(4)]
        return await asyncio.gather(*(one.go_on(action) for one in all_of))

    results = asyncio.run(together())
    assert sorted(books.lines("refunded")) == ["refunded A 500.0", "refunded B 700.0"]
    assert [one.final_output for one in results] == ["Done."] * 4
    assert all("500" in said(one)["c1"] and "700" in said(one)["c2"] for one in results)


def test_the_tool_sees_the_approved_arguments_only(gate: Gate, house: House, saved: SavedRuns) -> None:
    seen: list[Any] = []

    @function_tool
    def refund(context: ToolContext[Any], order_id: str, amount_usd: float) -> list[ToolOutputText]:
        """Pay."""
        seen.append((json.loads(context.tool_arguments), json.loads(context.tool_call.arguments)))
        return [ToolOutputText(text="paid")]

    runs = runs_of(gate, saved, refund, script=[call()])
    run(runs)
    ((name, kept),) = saved.items()
    action = held(saved)
    answered(house, action, Answer.EDIT, Answer.APPROVE, args=EDIT)
    text = said(go_on(runs, action))["c1"]
    assert seen == [({"order_id": "A", "amount_usd": 120},) * 2]
    assert text.index("A person changed") < text.index("paid")
    saved[name] = kept
    assert said(go_on(runs, action))["c1"] == text, "also where it has run before"
    assert len(seen) == 1


def test_a_question_interrupts_the_run_and_its_answer_is_the_result(
    gate: Gate, house: House, saved: SavedRuns
) -> None:
    asking = call("ask_a_person", question="Which account?", options=["1", "2"], context="")
    runs = runs_of(gate, saved, question_tool(gate), script=[asking])
    run(runs)
    action = held(saved)
    answered(house, action, Answer.RESPOND, response="2")
    assert said(go_on(runs, action)) == {"c1": "2"}


def test_arguments_that_json_would_change_are_not_proposed(
    gate: Gate, house: House, saved: SavedRuns
) -> None:
    def enter(password: SecretStr) -> str:
        """Sign in."""
        raise AssertionError("it ran")

    made = function_tool(enter, strict_mode=False)
    texts = said(run(runs_of(gate, saved, made, script=[call("enter", password="hunter2")])))
    assert texts["c1"].startswith("Not proposed")
    assert house.sql("SELECT count(*) FROM actions") == [(0,)]


def test_a_default_that_the_model_left_out_is_part_of_what_is_approved(
    gate: Gate, house: House, saved: SavedRuns
) -> None:
    def remind(day: str, copies: int = 3) -> str:
        """Remind."""
        return "ok"

    run(runs_of(gate, saved, function_tool(remind, strict_mode=False), script=[call("remind", day="now")]))
    assert house.view(held(saved))["args"] == {"day": "now", "copies": 3}


def test_outside_of_runs_the_model_is_told_and_the_same_call_attaches(
    gate: Gate, house: House, books: Books, by: str
) -> None:
    def ask() -> Any:
        return said(asyncio.run(Runner.run(agent(gate, tools(books), [[call()]], by=by), "Pay.")))["c1"]

    assert "Repeat the identical call" in ask()
    ask()
    ((action,),) = house.sql("SELECT id FROM actions")
    answered(house, action, Answer.APPROVE)
    assert ask() == RESULT
    assert books.lines("refunded") == ["refunded A 500.0"]


def test_a_gate_that_cannot_answer_lets_nothing_run(
    build: Callable[..., Runs], books: Books, clock: ManualClock
) -> None:
    clock.jumped = True
    with pytest.raises(Exception):  # noqa: B017
        run(build(call(order_id="A", amount_usd=5)))
    assert books.lines() == []


def test_a_tool_whose_topic_the_gate_carries_out_is_never_called_itself(
    build: Callable[..., Runs], house: House, books: Books
) -> None:
    there = 'execute: {http: {method: POST, url: "http://127.0.0.1:9/refunds"}}'
    house.activate(POLICY.replace("    summary: Refund", f"    {there}\n    summary: Refund"))
    text = said(run(build(call(order_id="A", amount_usd=5))))["c1"]
    assert "Failed without effect" in text, "nothing listens on that port"
    assert books.lines() == []


# --- attempts to reach a tool around the gate -------------------------------------------------------------


def test_a_state_that_says_approved_lets_nothing_run(
    build: Callable[..., Runs], gate: Gate, books: Books, house: House, saved: SavedRuns, by: str
) -> None:
    result = run(build(call()))
    action = held(saved)
    for always in (False, True):
        state = result.to_state()
        state.approve(state.get_interruptions()[0], always_approve=always)
        forged = state.to_json()
        ((name, kept),) = saved.items()
        saved[name] = json.dumps({**json.loads(kept), "state": forged, "waits": {}})
        assert go_on(build(call()), action) is None
        made = agent(gate, tools(books), [[call()]], by=by)
        outside = asyncio.run(RunState.from_json(made, forged))
        assert "waits for finance" in said(asyncio.run(Runner.run(made, outside)))["c1"]
        saved[name] = kept
    answered(house, action, Answer.REJECT)
    saved[name] = json.dumps({**json.loads(kept), "state": forged})
    go_on(build(call()), action)
    assert books.lines() == []


def test_a_kept_run_that_names_another_action_lets_nothing_run(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    mine = held(saved)
    (name,) = saved
    run(build(call(order_id="B", amount_usd=700)))
    (other,) = set(saved) - {name}
    foreign = json.loads(saved[other])["waits"]["c1"]
    answered(house, foreign, Answer.APPROVE)
    saved[name] = json.dumps({**json.loads(saved[name]), "waits": {"c1": foreign}})
    saved[other] = saved[name]
    go_on(build(call()), foreign)
    assert books.lines("refunded A") == []
    assert house.state(mine) == "held"


def test_arguments_changed_in_a_kept_run_are_another_action(
    build: Callable[..., Runs], books: Books, house: House, saved: SavedRuns
) -> None:
    run(build(call()))
    action = held(saved)
    answered(house, action, Answer.APPROVE)
    ((name, kept),) = saved.items()
    saved[name] = kept.replace(":500}", ":900}")
    with contextlib.suppress(ModelBehaviorError, UserError):  # the framework's own binding refuses it
        go_on(build(call()), action)
    assert books.lines("refunded A 900") == []


def test_no_way_to_call_a_gated_tool_leads_around_the_gate(gate: Gate, books: Books, house: House) -> None:
    refund = gated(tools(books)[0], gate, topic="pay.refund")
    text = json.dumps({"order_id": "A", "amount_usd": 500})
    ways: list[FunctionTool] = [
        refund,
        copy.copy(refund),
        dataclasses.replace(refund, needs_approval=False),
        dataclasses.replace(refund, name="look"),
    ]
    for number, way in enumerate(ways):
        made = Agent(name="a", model=Scripted([[{"name": way.name, "args": text, "id": f"c{number}"}]]))
        made.tools = [way]
        assert "waits for finance" in said(asyncio.run(Runner.run(made, "Pay.")))[f"c{number}"]
        with pytest.raises(AttributeError):
            _ = way.__wrapped__
    assert books.lines() == []
    assert house.sql("SELECT count(*) FROM actions") == [(1,)]


def test_a_tool_is_gated_once_and_one_with_its_own_approval_or_an_agent_is_refused(
    gate: Gate, books: Books
) -> None:
    refund = tools(books)[0]
    with pytest.raises(InvalidInput, match="gated already"):
        gated(gated(refund, gate), gate)
    with pytest.raises(InvalidInput, match="approval of the framework's own"):
        gated(dataclasses.replace(refund, needs_approval=True), gate)
    with pytest.raises(InvalidInput, match="is an agent"):
        gated(Agent(name="x").as_tool("x", "x"), gate)


def test_what_runs_elsewhere_is_refused_unless_it_is_named(gate: Gate) -> None:
    mcp = HostedMCPTool(tool_config={"type": "mcp", "server_label": "x", "server_url": "https://x.test"})
    for tool in (WebSearchTool(), mcp):
        made = Agent(name="a", model=Scripted([]), tools=[tool])
        with pytest.raises(InvalidInput, match="does not run as a function"):
            asyncio.run(Runner.run(gated_agent(made, gate), "Go."))
        named = gated_agent(made, gate, ungated=[tool.name])
        assert asyncio.run(Runner.run(named, "Go.")).final_output == "Done."


def test_a_hand_off_or_an_agent_as_a_tool_has_to_have_a_gate_as_well(gate: Gate, books: Books) -> None:
    other = Agent(name="other", model=Scripted([]), tools=tools(books))

    def ways(target: Agent[Any]) -> list[Agent[Any]]:
        return [
            Agent(name="a", model=Scripted([]), handoffs=[target]),
            Agent(name="a", model=Scripted([]), handoffs=[handoff(target)]),
            Agent(name="a", model=Scripted([]), tools=[target.as_tool("other", "x")]),
        ]

    def ask(bare: Agent[Any], **rest: Any) -> Any:
        return asyncio.run(Runner.run(gated_agent(bare, gate, **rest), "Go.")).final_output

    for way in ways(other):
        with pytest.raises(InvalidInput, match="no gate"):
            ask(way)
        assert ask(way, ungated=["other"]) == "Done."
    assert [ask(way) for way in ways(gated_agent(other, gate, topics=TOPICS))] == ["Done."] * 3


def test_a_tool_that_appears_later_and_a_clone_of_the_agent_have_the_gate(
    gate: Gate, books: Books, saved: SavedRuns
) -> None:
    made = gated_agent(Agent(name="a", model=Scripted([[call()]])), gate, topics=TOPICS)
    for one in (made, made.clone(name="b"), dataclasses.replace(made, name="c")):
        one.tools = [*one.tools, tools(books)[0]] if not one.tools else one.tools
        assert waiting(asyncio.run(Runs(one, gate, saved).run("Pay."))) == ["c1"]
    assert books.lines() == []


def test_a_call_inside_of_an_agent_that_is_a_tool_pauses_the_whole_run(
    gate: Gate, books: Books, house: House, saved: SavedRuns
) -> None:
    def made() -> Runs:
        inner = agent(gate, tools(books), [[call(number=9)]], by="agent")
        outer = Agent(
            name="front",
            model=Scripted([[{"name": "cashier", "args": {"input": "Pay."}, "id": "o1"}]]),
            tools=[inner.as_tool("cashier", "Pays.")],
        )
        return Runs(gated_agent(outer, gate), gate, saved)

    assert waiting(run(made())) == ["c9"]
    action = held(saved, "c9")
    answered(house, action, Answer.APPROVE)
    assert go_on(made(), action).final_output == "Done."
    assert books.lines("refunded") == ["refunded A 500.0"]


def test_a_hand_off_pauses_and_goes_on_with_the_agent_it_led_to(
    gate: Gate, books: Books, house: House, saved: SavedRuns
) -> None:
    def made() -> Runs:
        cashier = agent(gate, tools(books), [[call()]], by="agent")
        script = [[{"name": "transfer_to_support", "args": {}, "id": "h1"}]]
        front = Agent(name="front", model=Scripted(script), handoffs=[cashier])
        return Runs(gated_agent(front, gate), gate, saved)

    assert waiting(run(made())) == ["c1"]
    action = held(saved)
    answered(house, action, Answer.APPROVE)
    assert go_on(made(), action).last_agent.name == "support"
    assert books.lines("refunded") == ["refunded A 500.0"]


@pytest.mark.parametrize("args", ['{"input": "Pay."}', "{"])
def test_an_approval_that_somebody_else_asks_for_is_never_given(
    gate: Gate, house: House, books: Books, saved: SavedRuns, args: str
) -> None:
    """An agent as a tool, and a tool without a gate, that the framework itself holds for the program."""
    inner = gated_agent(Agent(name="inner", model=Scripted([])), gate)
    theirs = [
        inner.as_tool("inner", "x", needs_approval=True),
        dataclasses.replace(tools(books)[0], needs_approval=True),
    ]
    for tool in theirs:
        script = [[{"name": tool.name, "args": args, "id": "c1"}, call(number=2)]]
        bare = Agent(name="a", model=Scripted(script), tools=[tool])
        bare.tools.append(dataclasses.replace(tools(books)[0], name="pay"))
        script[0][1]["name"] = "pay"
        names = ["refund"] if tool.name == "refund" else []
        runs = Runs(gated_agent(bare, gate, topics={"pay": "pay.refund"}, ungated=names), gate, saved)
        assert waiting(run(runs)) == ["c1", "c2"]
        action = held(saved, "c2")
        answered(house, action, Answer.APPROVE)
        assert waiting(go_on(runs, action)) == ["c1"]
        saved.clear()
    assert books.lines("refunded") == ["refunded A 500.0"] * 2


def test_an_approval_that_the_provider_asks_for_is_never_given(gate: Gate, saved: SavedRuns) -> None:
    asks = McpApprovalRequest(
        id="m1", arguments="{}", name="refund", server_label="x", type="mcp_approval_request"
    )
    model = ScriptedModel([[asks]])
    there = HostedMCPTool(tool_config={"type": "mcp", "server_label": "x", "server_url": "https://x.test"})
    bare = Agent(name="a", model=model, tools=[there])
    runs = Runs(gated_agent(bare, gate, ungated=["hosted_mcp"]), gate, saved)
    assert waiting(run(runs)) == ["m1"]


def test_the_tools_of_an_mcp_server_have_the_gate_as_well(
    gate: Gate, house: House, saved: SavedRuns, tmp_path: Path
) -> None:
    program = str(Path(__file__).parents[2] / "mcp_bank.py")

    async def once(what: Any) -> Any:
        params: Any = {"command": sys.executable, "args": [program, "stdio", str(tmp_path)]}
        async with MCPServerStdio(params, client_session_timeout_seconds=60) as server:
            bare = Agent(name="a", model=Scripted([[call()]]), mcp_servers=[server])
            return await what(Runs(gated_agent(bare, gate, topics=TOPICS), gate, saved))

    assert waiting(asyncio.run(once(lambda runs: runs.run("Pay.")))) == ["c1"]
    assert not (tmp_path / "book").exists()
    action = held(saved)
    answered(house, action, Answer.EDIT, Answer.APPROVE, args=EDIT)
    text = said(asyncio.run(once(lambda runs: runs.go_on(action))))["c1"]
    assert "A person changed this call" in text
    ((line),) = (tmp_path / "book").read_text().splitlines()
    assert json.loads(line)["args"] == {"order_id": "A", "amount_usd": 120}


def test_kept_runs_are_readable_by_their_user_only(saved: SavedRuns, tmp_path: Path) -> None:
    saved["a1"] = "state"
    (file,) = (tmp_path / "runs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o700
    assert dict(saved) == {"a1": "state"}
    for name in ("../a1", "", "a/b", "."):
        with pytest.raises(KeyError):
            saved[name] = "x"
    del saved["a1"]
    assert len(saved) == 0


def test_in_a_run_what_waits_cannot_be_forced(gate: Gate, books: Books) -> None:
    """The tool itself, reached inside of a run although it waits, raises and ends the run."""
    from interlock.adapters.openai_agents.call import Run, inside

    refund = gated(tools(books)[0], gate, topic="pay.refund")
    text = json.dumps({"order_id": "A", "amount_usd": 500})

    async def force() -> None:
        with inside(Run("a1")):
            context = ToolContext(None, tool_name="refund", tool_call_id="c1", tool_arguments=text)
            await refund.on_invoke_tool(context, text)

    with pytest.raises(Held):
        asyncio.run(force())
    assert books.lines() == []
