"""Google ADK: a call pauses its session until a person has decided, and runs once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.adk", reason="not installed: uv run --group frameworks pytest")

from google.adk.agents import LlmAgent
from google.adk.agents.live_request_queue import LiveRequestQueue
from google.adk.apps.app import App
from google.adk.code_executors import UnsafeLocalCodeExecutor
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools import FunctionTool, ToolContext, google_search
from google.adk.tools.agent_tool import AgentTool
from google.adk.workflow import START, Workflow
from google.genai import types

from google_adk_agent import Scripted, begin, call, confirm, events, read, runner, said_to, tools, waiting
from house import House, ManualClock
from interlock import Gate, NoEffect
from interlock.adapters.google_adk import GatePlugin, gated, go_on, question_tool
from interlock.client.embedded import Embedded
from interlock.gate import Answer
from interlock.model.errors import InvalidInput
from shop import POLICY, TOPICS, Books

EDIT = {"order_id": "A", "amount_usd": "120.00"}
YES = {"confirmed": True}


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    made = open_house(POLICY, clock=clock)
    made.person("Ann")
    made.person("Bob")
    return made


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "books.txt")


@pytest.fixture(params=[False, True], ids=["plain", "resumable"])
def resumable(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def build(gate: Gate, books: Books, resumable: bool) -> Callable[..., Runner]:
    """The runner anew, as a process that comes later makes it: it has the session, and nothing else."""
    sessions = InMemorySessionService()

    def made(*script: Any, **rest: Any) -> Runner:
        return runner(
            gate, rest.pop("made", tools(books)), [list(script)], sessions, resumable=resumable, **rest
        )

    return made


def answered(house: House, action: str, *answers: Answer, **rest: Any) -> None:
    for name, answer in zip(("Ann", "Bob"), answers, strict=False):
        house.answer(action, house.home.roster.named(name), answer, **(rest if name == "Ann" else {}))


def held(made: Runner) -> str:
    """The action that the session waits for."""
    (action,) = waiting(made).values()
    return action


def resumed(made: Runner, gate: Gate, action: str) -> Any:
    assert asyncio.run(go_on(made, gate, action)) is not None
    return read(made)


# --- what becomes of a held call --------------------------------------------------------------------------


def test_an_allowed_call_runs_at_once_and_a_held_one_pauses_the_session(
    build: Callable[..., Runner], books: Books
) -> None:
    made = build(call(order_id="A", amount_usd=5), call(number=2), call("look", 3, order_id="B"))
    last = begin(made)[-1]
    assert sorted(books.lines()) == ["begun A 5", "looked B", "refunded A 5"]
    assert list(waiting(made)) == ["c2"]
    (asked,) = last.get_function_calls()
    shown = asked.args["toolConfirmation"]
    assert "waits for finance" in shown["hint"]
    assert shown["payload"]["args"] == {"order_id": "A", "amount_usd": "500.00"}
    assert shown["payload"]["owner"] == "finance"


def test_an_approved_call_runs_once_however_often_the_session_is_resumed(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call())
    begin(made)
    action = held(made)
    assert asyncio.run(go_on(made, gate, action)) is None, "nobody has decided"
    answered(house, action, Answer.APPROVE)
    assert resumed(made, gate, action) == {"c1": {"refunded": "A", "amount_usd": 500}}
    assert asyncio.run(go_on(build(call()), gate, action)) is None
    assert books.lines("refunded") == ["refunded A 500"]


@pytest.mark.parametrize("answer", [YES, {"response": '{"confirmed": true}'}])
def test_a_yes_to_what_still_waits_is_refused_and_changes_nothing(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate, answer: Any
) -> None:
    made = build(call())
    begin(made)
    action, before = held(made), len(events(made))
    with pytest.raises(RuntimeError, match="waits for finance"):
        confirm(made, {"c1": answer})
    assert (len(events(made)), books.lines()) == (before, [])
    answered(house, action, Answer.REJECT, note="Twice too much")
    confirm(made, {"c1": answer})
    assert "Twice too much" in read(made)["c1"]["error"]
    assert "Do not repeat it unchanged" in read(made)["c1"]["error"]
    assert books.lines() == []


def test_a_no_in_the_conversation_withdraws_what_waits_and_stops_what_was_approved(
    build: Callable[..., Runner], books: Books, house: House
) -> None:
    made = build(call(), call(number=2))
    begin(made)
    at = waiting(made)
    answered(house, at["c2"], Answer.APPROVE)
    confirm(made, {"c1": {"confirmed": False}, "c2": {"confirmed": False}})
    assert [house.state(action) for action in at.values()] == ["withdrawn", "withdrawn"]
    assert books.lines() == []


def test_what_a_person_edited_runs_and_the_model_reads_that(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call())
    begin(made)
    action = held(made)
    answered(house, action, Answer.EDIT, args=EDIT)
    assert asyncio.run(go_on(made, gate, action)) is None, "a second person has to approve the edit"
    house.answer(action, house.home.roster.named("Bob"), Answer.APPROVE)
    found = resumed(made, gate, action)["c1"]
    assert found["interlock_note"].startswith(
        "A person changed this call before it ran: amount_usd from 500.00 to 120.00."
    )
    assert (found["refunded"], found["amount_usd"]) == ("A", 120)
    assert books.lines("refunded") == ["refunded A 120"]


def test_an_edit_that_the_tool_does_not_take_runs_nothing_and_is_not_in_doubt(
    build: Callable[..., Runner], gate: Gate, house: House, books: Books
) -> None:
    def pay(order_id: str, amount: int) -> str:
        """Pay."""
        books.write("paid")
        return "paid"

    made = build(call("pay", amount=5, order_id="A"), made=[pay])
    begin(made)
    action = held(made)
    answered(house, action, Answer.EDIT, Answer.APPROVE, args={"order_id": "A", "amount": 5, "extra": 1})
    assert "does not take extra" in resumed(made, gate, action)["c1"]["error"]
    assert (house.state(action), books.lines()) == ("failed", [])


def test_calls_of_one_turn_are_decided_one_by_one(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(*(call(number=n, order_id=order, amount_usd=500) for n, order in enumerate("ABC", 1)))
    begin(made)
    at = waiting(made)
    assert list(at) == ["c1", "c2", "c3"]
    answered(house, at["c2"], Answer.APPROVE)
    resumed(made, gate, at["c2"])
    assert books.lines("refunded") == ["refunded B 500"]
    assert list(waiting(made)) == ["c1", "c3"]
    answered(house, at["c1"], Answer.REJECT)
    answered(house, at["c3"], Answer.APPROVE)
    resumed(build(call()), gate, at["c3"])
    assert "Rejected" in resumed(build(call()), gate, at["c1"])["c1"]["error"]
    assert sorted(books.lines("refunded")) == ["refunded B 500", "refunded C 500"]
    texts = [part.text for event in events(made) if event.content for part in event.content.parts or ()]
    assert "Done." in texts


def test_two_identical_calls_of_one_turn_are_two_actions(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call(number=1), call(number=2))
    begin(made)
    actions = list(waiting(made).values())
    assert len(set(actions)) == 2
    for action in actions:
        answered(house, action, Answer.APPROVE)
        resumed(made, gate, action)
    assert len(books.lines("refunded")) == 2


def test_nobody_decided_in_time_and_the_model_reads_that_nobody_rejected_it(
    build: Callable[..., Runner], books: Books, clock: ManualClock
) -> None:
    made = build(call())
    begin(made)
    clock.forward(16 * 60)
    confirm(made, {"c1": YES})
    assert "Nobody rejected it" in read(made)["c1"]["error"]
    assert books.lines() == []


def test_a_policy_that_became_tighter_after_the_approval_stops_the_call(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call())
    begin(made)
    action = held(made)
    answered(house, action, Answer.APPROVE)
    house.activate(POLICY.replace("topics: [orders.drop]", "topics: ['*']"))
    assert "Nobody drops orders" in resumed(made, gate, action)["c1"]["error"]
    assert books.lines() == []


def test_a_policy_that_became_looser_does_not_run_what_was_rejected(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call())
    begin(made)
    action = held(made)
    answered(house, action, Answer.REJECT)
    house.activate(POLICY.replace("< 100", "< 1000").replace(">= 100", ">= 1000"))
    assert "Rejected" in resumed(made, gate, action)["c1"]["error"]
    assert books.lines() == []


def test_an_approved_call_that_is_held_anew_waits_on_and_goes_on_after_it(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call())
    begin(made)
    action = held(made)
    answered(house, action, Answer.APPROVE)
    house.activate(POLICY.replace("owner: finance", "owner: directors").replace("tier: 3", "tier: 4"))
    with pytest.raises(RuntimeError, match="waits for directors"):
        confirm(made, {"c1": YES})
    assert (held(made), books.lines()) == (action, [])
    answered(house, action, Answer.APPROVE)
    assert resumed(made, gate, action)["c1"]["refunded"] == "A"
    assert books.lines("refunded") == ["refunded A 500"]


def test_an_answer_of_a_person_is_the_result_of_the_question(
    build: Callable[..., Runner], house: House, gate: Gate
) -> None:
    made = build(
        call("ask_a_person", question="Which account?", options=["A", "B"]), made=[question_tool(gate)]
    )
    begin(made)
    action = held(made)
    answered(house, action, Answer.RESPOND, response="B")
    assert resumed(made, gate, action)["c1"] == {"result": "B"}


@pytest.mark.parametrize("mode", ["chat", "task"])
def test_a_call_of_a_sub_agent_pauses_the_session_of_all_of_them(
    gate: Gate, books: Books, house: House, resumable: bool, mode: str
) -> None:
    ends = [] if mode == "chat" else [call("finish_task", 9, result="paid")]
    payer = LlmAgent(
        name="payer",
        description="Pays.",
        mode=None if mode == "chat" else "task",
        model=Scripted(script=[[call()], *([ends] if ends else [])]),
        tools=tools(books),
    )
    to = (
        call("transfer_to_agent", 8, agent_name="payer")
        if mode == "chat"
        else call("payer", 8, request="pay")
    )
    sessions = InMemorySessionService()
    made = runner(gate, [], [[to]], sessions, resumable=resumable, sub_agents=[payer])
    begin(made)
    action = held(made)
    answered(house, action, Answer.APPROVE)
    assert resumed(made, gate, action)["c1"] == {"refunded": "A", "amount_usd": 500}
    assert books.lines("refunded") == ["refunded A 500"]
    assert [topic for (topic,) in house.sql("SELECT topic FROM actions")] == ["pay.refund"]


def test_a_tool_that_is_a_node_of_a_workflow_pauses_it_and_runs_once(
    gate: Gate, books: Books, house: House
) -> None:
    def first(node_input: str) -> dict[str, Any]:
        return {"order_id": "A", "amount_usd": 500}

    def last(node_input: dict[str, Any]) -> None:
        books.write(f"told {node_input['refunded']}")

    flow = Workflow(name="flow", edges=[(START, first, FunctionTool(tools(books)[0]), last)])
    app = App(name="shop", root_agent=flow, plugins=[GatePlugin(gate, topics=TOPICS)])
    made = Runner(app=app, session_service=InMemorySessionService())
    (asked,) = begin(made)[-1].get_function_calls()
    action = asked.args["payload"]["confirmation_payload"]["action_id"]
    answer = types.Part(function_response=types.FunctionResponse(id=asked.id, name=asked.name, response=YES))
    message = types.Content(role="user", parts=[answer])
    with pytest.raises(RuntimeError, match="waits for finance"):
        asyncio.run(said_to(made, message))
    assert (asyncio.run(go_on(made, gate, action)), books.lines()) == (None, [])
    answered(house, action, Answer.APPROVE)
    assert asyncio.run(go_on(made, gate, action)) is not None
    assert books.lines() == ["begun A 500", "refunded A 500", "told A"]
    assert asyncio.run(go_on(made, gate, action)) is None
    asyncio.run(said_to(made, message))
    assert books.lines("refunded") == ["refunded A 500"], "the nodes run again, and the call does not"
    assert house.sql("SELECT id, state FROM actions") == [(action, "succeeded")]


# --- around the gate --------------------------------------------------------------------------------------


def test_no_callback_stands_between_what_was_approved_and_what_runs(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    def more(args: dict[str, Any], **_: Any) -> None:
        args["amount_usd"] = 900

    class Later(BasePlugin):
        async def before_tool_callback(self, *, tool_args: dict[str, Any], **_: Any) -> None:
            tool_args["order_id"] = "Z"

    made = build(
        call(order_id="A", amount_usd=5),
        plugins=[Later("later")],
        before_tool_callback=lambda tool, args, tool_context: more(args),
    )
    begin(made)
    action = held(made)
    assert house.view(action)["args"] == {"order_id": "Z", "amount_usd": "900.00"}
    answered(house, action, Answer.APPROVE)
    resumed(made, gate, action)
    assert books.lines("refunded") == ["refunded Z 900"]


def test_a_callback_that_refuses_a_call_still_does(
    build: Callable[..., Runner], books: Books, house: House
) -> None:
    made = build(
        call(order_id="A", amount_usd=5), before_tool_callback=lambda tool, args, tool_context: {"no": 1}
    )
    begin(made)
    assert (read(made)["c1"], books.lines()) == ({"no": 1}, [])
    assert house.sql("SELECT id FROM actions") == []


def test_a_confirmation_of_adk_itself_is_no_approval_and_both_are_needed(
    build: Callable[..., Runner], books: Books, house: House, gate: Gate
) -> None:
    made = build(call(), made=[FunctionTool(tools(books)[0], require_confirmation=True)])
    begin(made)
    (asked,) = [one for event in events(made) for one in event.get_function_calls() if "adk_" in one.name]
    answer = types.FunctionResponse(id=asked.id, name=asked.name, response=YES)
    asyncio.run(said_to(made, types.Content(role="user", parts=[types.Part(function_response=answer)])))
    action = held(made)
    assert books.lines() == []
    answered(house, action, Answer.APPROVE)
    resumed(made, gate, action)
    assert books.lines("refunded") == ["refunded A 500"]


def test_a_tool_that_a_plugin_met_leads_through_the_gate_for_whoever_calls_it(
    build: Callable[..., Runner], books: Books, gate: Gate
) -> None:
    tool = FunctionTool(tools(books)[2])
    begin(build(call("drop", order_id="A"), made=[tool]))
    seen: list[Any] = []

    async def goes_around(order_id: str, tool_context: ToolContext) -> str:
        """Go around."""
        seen.append(await tool.run_async(args={"order_id": order_id}, tool_context=tool_context))
        return "done"

    around = gated(goes_around, gate, topic="orders.get")
    begin(build(call("goes_around", 2, order_id="A"), made=[around]))
    assert "Nobody drops orders" in seen[0]["error"]
    assert books.lines() == []


def test_runners_that_share_tools_ask_each_its_own_gate_also_where_a_tool_calls_another(
    house: House, books: Books
) -> None:
    shared = FunctionTool(tools(books)[0])

    async def look(order_id: str, tool_context: ToolContext) -> Any:
        """Look an order up."""
        args = {"order_id": order_id, "amount_usd": 500}
        return await shared.run_async(args=args, tool_context=tool_context)

    made = [shared, FunctionTool(look)]
    gates = [Gate(Embedded(house.home, name), session=None, principal=None) for name in ("one", "two")]
    for gate in gates:
        script = [[call(order_id="B", amount_usd=500), call("look", 2, order_id="A")]]
        begin(runner(gate, made, script, InMemorySessionService()))
    found = house.sql("SELECT agent, topic FROM actions")
    assert sorted(found) == [(a, t) for a in ("one", "two") for t in ("orders.get", *["pay.refund"] * 2)]
    assert books.lines() == []


def test_an_agent_that_runs_as_a_tool_meets_the_same_gate_and_is_told_to_repeat(
    build: Callable[..., Runner], books: Books, house: House
) -> None:
    inner = LlmAgent(
        name="payer", model=Scripted(script=[[call(number=7)], [call(number=8)]]), tools=tools(books)
    )
    made = build(call("payer", request="pay"), made=[AgentTool(inner)])
    begin(made)
    ((action,),) = house.sql("SELECT id FROM actions")
    assert (house.state(action), books.lines(), waiting(made)) == ("held", [], {})
    answered(house, action, Answer.APPROVE)
    begin(build(call("payer", 2, request="again"), made=[AgentTool(inner)]), "Again.")
    assert books.lines("refunded") == ["refunded A 500"]


def test_an_agent_that_is_run_without_the_plugin_is_a_tool_like_any_other(
    build: Callable[..., Runner], books: Books
) -> None:
    inner = LlmAgent(name="payer", model=Scripted(script=[[call(number=7)]]), tools=tools(books))
    made = build(call("payer", request="pay"), made=[AgentTool(inner, include_plugins=False)])
    begin(made)
    assert list(waiting(made)) == ["c1"]
    assert books.lines() == []


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ({"made": [google_search]}, "google_search"),
        ({"code_executor": UnsafeLocalCodeExecutor()}, "UnsafeLocalCodeExecutor"),
    ],
)
def test_what_runs_where_no_gate_stands_is_refused_unless_it_is_named(
    gate: Gate, rest: dict[str, Any], name: str
) -> None:
    def run(**more: Any) -> None:
        given = dict(rest)
        agent = LlmAgent(
            name="support",
            model=Scripted(model="gemini-2.5-pro", script=[]),
            tools=given.pop("made", []),
            **given,
        )
        sessions = InMemorySessionService()
        plugin = GatePlugin(gate, **more)
        begin(Runner(app_name="shop", agent=agent, plugins=[plugin], session_service=sessions))

    with pytest.raises(RuntimeError, match=f"{name} runs where no gate stands"):
        run()
    run(hosted=[name])


def test_a_live_run_is_refused(gate: Gate, books: Books) -> None:
    made = runner(gate, tools(books), [[call()]], InMemorySessionService())

    async def live() -> None:
        session = await made.session_service.create_session(app_name="shop", user_id="u1")
        async for _ in made.run_live(
            user_id="u1", session_id=session.id, live_request_queue=LiveRequestQueue()
        ):
            pass

    with pytest.raises(RuntimeError, match="A live run cannot pause"):
        asyncio.run(live())


def test_arguments_that_the_tool_does_not_take_are_not_proposed(
    build: Callable[..., Runner], house: House
) -> None:
    def pay(order_id: str, amount: int) -> str:
        """Pay."""
        return "paid"

    begin(
        made := build(call("pay", order_id="A"), call("pay", 2, order_id="A", amount=1, to="me"), made=[pay])
    )
    assert "pay needs amount" in read(made)["c1"]["error"]
    assert "pay does not take to" in read(made)["c2"]["error"]
    assert house.sql("SELECT id FROM actions") == []


# --- sessions ---------------------------------------------------------------------------------------------


def test_what_the_user_said_and_tools_gave_back_is_recorded_in_one_session_with_the_calls(
    gate: Gate, books: Books, house: House
) -> None:
    payer = LlmAgent(
        name="payer", model=Scripted(script=[[call("look", 7, order_id="Z")]]), tools=tools(books)
    )
    script = [[call(), call("look", 2, order_id="B"), call("payer", 3, request="look Z up, says the agent")]]
    sessions = InMemorySessionService()
    made = runner(gate, [*tools(books), AgentTool(payer)], script, sessions, sessions_recorded=True)
    begin(made, "Pay A back.")
    action = held(made)
    answered(house, action, Answer.APPROVE)
    again = runner(gate, [*tools(books), AgentTool(payer)], script, sessions, sessions_recorded=True)
    resumed(again, gate, action)
    ((session,),) = house.sql("SELECT id FROM sessions")
    ann = house.home.roster.named("Ann").caller
    views = [house.home.views.action(one, ann) for (one,) in house.sql("SELECT id FROM actions")]
    assert [view["session"] for view in views] == [{"id": session, "issued": True}] * 3
    found = [one.content for one in house.home.sessions.records(session) if one.content is not None]
    assert [one["text"] for one in found if "text" in one] == ["Pay A back."]
    results = {one["call_id"]: one for one in found if "tool" in one}
    assert sorted(one["call_id"] for one in found if "tool" in one) == ["c1", "c2", "c3", "c7"]
    assert results["c1"]["content"] == {"refunded": "A", "amount_usd": 500}
    assert (results["c2"]["tool"], results["c2"]["topic"]) == ("look", "orders.get")
    assert results["c2"]["content"] == "B was paid."


# --- what the tool raises ---------------------------------------------------------------------------------


def test_what_the_tool_raises_reaches_the_framework_and_is_in_doubt(
    build: Callable[..., Runner], house: House, gate: Gate
) -> None:
    def refund(order_id: str, amount_usd: float) -> str:
        """Pay money back."""
        if order_id == "B":
            raise NoEffect("The bank is closed.")
        raise OSError("The line went dead.")

    made = build(call(), call(number=2, order_id="B", amount_usd=500), made=[refund])
    begin(made)
    at = waiting(made)
    for action in at.values():
        answered(house, action, Answer.APPROVE)
    assert "The bank is closed." in resumed(made, gate, at["c2"])["c2"]["error"]
    with pytest.raises(OSError, match="line went dead"):
        asyncio.run(go_on(made, gate, at["c1"]))
    assert [house.state(at[name]) for name in ("c1", "c2")] == ["in_doubt", "failed"]
    assert "In doubt" in resumed(made, gate, at["c1"])["c1"]["error"]


def test_a_tool_that_is_gated_is_not_gated_twice(gate: Gate, books: Books) -> None:
    one = gated(tools(books)[0], gate, topic=TOPICS["refund"])
    with pytest.raises(InvalidInput, match="gated already"):
        gated(one, gate)
