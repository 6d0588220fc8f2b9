"""The interview: whatever is answered, the policy loads, its tests pass, and no more runs than was said."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authored import sound
from interlock.authoring import read_cases, run_cases
from interlock.authoring.coverage import coverage
from interlock.authoring.draft import write_cases, write_policy
from interlock.authoring.import_mcp import draft_from_mcp
from interlock.authoring.interview import (
    QUESTIONS,
    Answers,
    draft_from_answers,
    read_answers,
    suggested,
    tools_from_answers,
    tools_from_names,
    tools_from_text,
)
from interlock.model.actions import Signals
from interlock.model.errors import InvalidInput, MissingField
from interlock.model.verdicts import Decision
from interlock.policy import Policy, Question

NAMES = ["support.orders.get", "support.refunds.create", "support.notes.update", "support.accounts.delete"]
TOOLS = (
    *tools_from_names(["send email", "get_secret", *NAMES], agent="desk"),
    *draft_from_mcp(
        json.dumps(
            [
                {
                    "name": "pay_invoice",
                    "inputSchema": {"properties": {"amount": {"type": "number"}}, "required": ["amount"]},
                }
            ]
        ),
        server="books",
    ).actions,
)
ANSWERS = st.builds(Answers, *(st.booleans() for _ in QUESTIONS))


def decide(policy: Policy, topic: str, **signals: Any) -> Decision:
    return policy.decide(Question(topic, {}, Signals(**signals))).decision


@given(st.lists(ANSWERS, min_size=len(TOOLS), max_size=len(TOOLS)))
@settings(max_examples=40, deadline=None)
def test_whatever_is_answered_the_policy_loads_and_its_tests_pass(said: list[Answers]) -> None:
    answers = {tool.topic: answer for tool, answer in zip(TOOLS, said, strict=True)}
    policy = sound(draft_from_answers("desk", TOOLS, answers))
    for tool in TOOLS:
        if answers[tool.topic].irreversible:
            assert decide(policy, tool.topic, confidence=1) is Decision.REQUIRE_APPROVAL


def test_without_any_yes_nothing_runs_but_what_reads() -> None:
    policy = sound(draft_from_answers("desk", TOOLS, {tool.topic: Answers() for tool in TOOLS}))
    running = [tool.topic for tool in TOOLS if decide(policy, tool.topic, confidence=1) is Decision.ALLOW]
    assert running == ["support.orders.get"]


def test_routine_runs_when_the_agent_is_sure_and_asks_when_it_does_not_say() -> None:
    (tool,) = tools_from_names(["support.notes.update"], agent="desk")
    policy = sound(draft_from_answers("desk", [tool], {tool.topic: Answers(routine=True)}))
    assert decide(policy, tool.topic, confidence=1) is Decision.ALLOW
    assert decide(policy, tool.topic) is Decision.REQUIRE_APPROVAL


@pytest.mark.parametrize("name", ["support.accounts.delete", "send email", "support.refunds.create"])
def test_what_always_needs_a_person_still_does_and_the_draft_says_so(name: str) -> None:
    (tool,) = tools_from_names([name], agent="desk")
    draft = draft_from_answers("desk", [tool], {tool.topic: Answers(routine=True, volume=True)})
    policy = sound(draft)
    assert decide(policy, tool.topic, confidence=1) is Decision.REQUIRE_APPROVAL
    assert any("all the same" in review for review in draft.actions[0].reviews)
    assert policy.rules == ()


def test_a_new_agent_is_supervised_and_earns_its_way() -> None:
    (tool,) = tools_from_names(["support.notes.update"], agent="desk")
    policy = sound(draft_from_answers("desk", [tool], {tool.topic: Answers(new=True)}))
    by_level = [policy.decide(Question(tool.topic, {}, level=level)).decision for level in range(4)]
    assert by_level == [Decision.REQUIRE_APPROVAL] * 2 + [Decision.ALLOW] * 2
    assert decide(policy, tool.topic, confidence=1) is Decision.REQUIRE_APPROVAL


def test_sections_that_are_not_enforced_yet_say_so() -> None:
    (tool,) = tools_from_names(["support.orders.get"], agent="desk")
    answers = {tool.topic: Answers(volume=True, sensitive=True)}
    policy = sound(draft_from_answers("desk", [tool], answers))
    assert {"audit: accepted, not yet enforced", "output: accepted, not yet enforced"} <= set(policy.warnings)


def test_what_is_suggested_is_cautious() -> None:
    said = {tool.topic: suggested(tool) for tool in TOOLS}
    assert said["support.accounts.delete"].irreversible
    assert said["desk.send_email"].irreversible
    assert said["desk.get_secret"].sensitive
    assert not any(answer.routine or answer.volume for answer in said.values())


def test_there_is_a_question_for_each_answer() -> None:
    assert [question.key for question in QUESTIONS] == list(Answers.__dataclass_fields__)


def test_nobody_is_forgotten() -> None:
    with pytest.raises(MissingField, match=r"support\.orders\.get"):
        draft_from_answers("desk", tools_from_names(["support.orders.get"], agent="d"), {})


# --- tools and answers from files -------------------------------------------------------------------------


def test_answers_are_read_strictly_and_what_is_not_said_stays_suggested() -> None:
    tools = tools_from_names(["a.get", "a.delete"], agent="d")
    said = read_answers('{"a.get": {"routine": true}}', tools)
    assert said == {"a.get": Answers(routine=True), "a.delete": Answers(irreversible=True)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1"),
        ("[]", "expected an object"),
        ('{"a.gett": {}}', "did you mean 'a.get'"),
        ('{"a.get": true}', "expected an object"),
        ('{"a.get": {"rutine": true}}', "did you mean 'routine'"),
        ('{"a.get": {"routine": "yes"}}', "true or false"),
        ('{"a.get": {"routine": true, "routine": false}}', "stands twice"),
    ],
)
def test_answers_that_are_none_are_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_answers(text, tools_from_names(["a.get"], agent="d"))


def test_tools_come_from_names_tool_lists_and_answers() -> None:
    def topics(text: str, server: str = "") -> list[str]:
        return [tool.topic for tool in tools_from_text(text, agent="d", server=server)[0]]

    assert topics('["a.b", "do it"]', "s") == ["a.b", "d.do_it"]
    assert topics('{"tools": [{"name": "x"}]}') == ["d.x"]
    assert [t.topic for t in tools_from_answers('{"a.b": {}}', agent="d")] == ["a.b"]


def test_a_tool_lists_own_server_comes_before_the_agents_name() -> None:
    listed, left_out = tools_from_text('{"tools": [{"name": "x"}, {"name": "日本"}]}', agent="d", server="s")
    assert [tool.topic for tool in listed] == ["s.x"]
    assert "日本" in left_out[0]
    listed, _ = tools_from_text('{"crm": [{"name": "x"}]}', agent="d", server="s")
    assert [tool.topic for tool in listed] == ["crm.x"]
    with pytest.raises(InvalidInput, match="none of its tools can be catalogued"):
        tools_from_text('[{"name": "日本"}]', agent="d")


def test_nobody_is_quoted_who_said_nothing() -> None:
    tools = tools_from_names(["a.delete", "a.update"], agent="d")
    guessed = draft_from_answers("d", tools, {tool.topic: suggested(tool) for tool in tools})
    assert "you say" not in write_policy(guessed)
    assert "the answers that each tool's name suggests" in write_policy(guessed).replace("\n# ", " ")
    said = {"a.delete": Answers(), "a.update": Answers(irreversible=True)}
    stated = draft_from_answers("d", tools, said)
    assert [action.reviews[0].endswith("you say") for action in stated.actions] == [True, False]
    assert "cannot be taken back, you say" in stated.actions[1].reviews[0]


@pytest.mark.parametrize("new", [False, True])
def test_the_tests_of_a_draft_see_its_rules_both_ways(new: bool) -> None:
    tools = tools_from_names(["support.notes.update", "support.orders.get"], agent="desk")
    answers = {tool.topic: Answers(routine=True, new=new) for tool in tools}
    draft = draft_from_answers("desk", tools, answers)
    policy = sound(draft)
    results = list(run_cases(read_cases({"t.test.yaml": write_cases(draft)}), policy))
    found = coverage(policy, results)
    rules = [branch for branch in found.branches if branch.where == "rule unsure"]
    assert rules
    assert found.uncounted == ()
    assert [branch for branch in rules if branch.unseen] == []


@pytest.mark.parametrize("routine", [False, True])
@pytest.mark.parametrize("required", [[], ["amount_usd"]])
def test_an_amount_that_may_be_left_out_is_tested_with_it(routine: bool, required: list[str]) -> None:
    schema = {"properties": {"amount_usd": {"type": "number"}}, "required": required}
    (tool,) = draft_from_mcp(json.dumps([{"name": "update_x", "inputSchema": schema}]), server="s").actions
    sound(draft_from_answers("d", [tool], {tool.topic: Answers(routine=routine, volume=True)}))


@pytest.mark.parametrize("listed", [[], ["日本"], ["a.b", "a.b"], ["doIt", "do_it"], ["a..b"]])
def test_names_that_are_no_topics_are_refused(listed: list[str]) -> None:
    with pytest.raises(InvalidInput):
        tools_from_names(listed, agent="d")


def test_every_pair_of_answers_about_one_tool_is_sound() -> None:
    (tool,) = tools_from_names(["support.notes.update"], agent="desk")
    for values in itertools.product([False, True], repeat=len(QUESTIONS)):
        sound(draft_from_answers("desk", [tool], {tool.topic: Answers(*values)}))
