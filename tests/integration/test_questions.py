"""Questions: an agent asks instead of guessing, a person answers, and nothing runs by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from house import BOTH, POLICY, House, ManualClock, agent
from interlock import Denied, Ended, Gate, Held
from interlock.client.embedded import Embedded
from interlock.gate import Answer, Scope, hosted
from interlock.identity import Caller, KeyKind
from interlock.model.actions import ExecutorKind
from interlock.model.errors import Conflict, Erased, Forbidden, InvalidInput, NotClaimable, NotFound, Tampered
from interlock.model.questions import TOPIC
from interlock.model.topics import TopicPattern

DATABASES = BOTH


def asked(house: House, question: str = "Which currency?", **rest: Any) -> str:
    """The id of a fresh question that waits."""
    gate = Gate(Embedded(house.home, "support"), session=None, principal=None)
    with pytest.raises(Held) as held:
        gate.ask(question, **rest)
    return held.value.action_id


def test_an_answer_reaches_whoever_asked_in_any_process(open_house: Callable[..., House]) -> None:
    house = open_house(POLICY)
    ben = house.person("Ben")
    action_id = asked(house, options=("EUR", "USD"), context="Both accounts exist.", call_id="7")
    shown = house.home.views.approval(house.request(action_id)[0], ben.caller, house.gate.policy)
    assert shown["title"] == "Asks: “Which currency?”"
    assert shown["can"]["respond"]
    assert not shown["can"]["approve"]
    assert not shown["can"]["edit"]
    house.answer(action_id, ben, Answer.RESPOND, response="EUR", note="As always.")
    gate = Gate(Embedded(house.home, "support"), session=None, principal=None)
    assert (
        gate.ask("Which currency?", options=("EUR", "USD"), context="Both accounts exist.", call_id="7")
        == "EUR"
    )
    assert gate.resume(action_id) == "EUR"
    view = gate.action(action_id)
    assert (view["state"], view["answer"]) == ("answered", {"response": "EUR", "note": "As always."})
    assert "EUR" not in "".join(house.entries())


def test_a_question_is_answered_with_what_it_asks_for_and_with_nothing_else(house: House) -> None:
    ben = house.person("Ben")
    action_id = asked(house, options=("EUR", "USD"))
    for answer in (
        {"answer": Answer.APPROVE},
        {"answer": Answer.EDIT, "args": {"question": "Which city?"}},
        {"answer": Answer.RESPOND, "response": "GBP"},
        {"answer": Answer.RESPOND, "response": " EUR"},
        {"answer": Answer.RESPOND},
        {"answer": Answer.APPROVE, "response": "EUR"},
    ):
        with pytest.raises(InvalidInput):
            house.answer(action_id, ben, **answer)
    assert house.state(action_id) == "held"
    with pytest.raises(InvalidInput, match="only a question"):
        house.answer(house.held(), ben, Answer.RESPOND, response="yes")


def test_free_words_answer_a_question_without_options(house: House) -> None:
    action_id = asked(house)
    for nothing in ("", "  ", "x" * 4_001):
        with pytest.raises(InvalidInput):
            house.answer(action_id, house.person(f"P{len(nothing)}"), Answer.RESPOND, response=nothing)
    house.answer(action_id, house.person("Ben"), Answer.RESPOND, response="Euro, please.")
    assert house.view(action_id)["answer"]["response"] == "Euro, please."


def test_nobody_claims_a_question_in_whatever_state(house: House) -> None:
    adapter = Caller(
        KeyKind.ADAPTER,
        house.home.keyring.add(KeyKind.ADAPTER, "support", topics=["*"], by="t")[0].id,
        agent="support",
        topics=(TopicPattern.parse("*"),),
    )
    action_id = asked(house)
    for _ in range(2):
        for kind in ExecutorKind:
            if kind is not ExecutorKind.PERMITTED:
                with pytest.raises(NotClaimable):
                    house.gate.claim(action_id, kind)
        with pytest.raises(NotClaimable):
            hosted.claim(
                house.gate, hosted.Run(action_id, adapter, "t" * 32), cannot=frozenset(), lease_sec=None
            )
        with pytest.raises((NotClaimable, Forbidden)):
            house.home.permits.mint(action_id, adapter)
        if house.state(action_id) == "held":
            house.answer(action_id, house.person("Ben"), Answer.RESPOND, response="Yes.")
    assert house.state(action_id) == "answered"


def test_every_key_may_ask_and_sees_its_own_questions_alone(house: House) -> None:
    narrow = Caller(KeyKind.AGENT, agent="support", topics=(TopicPattern.parse("orders.*"),))
    proposed = house.propose(TOPIC, {"question": "Which one?"}, caller=narrow).action
    assert proposed is not None
    assert house.view(proposed.id, narrow)["state"] == "held"
    with pytest.raises(NotFound):
        house.view(proposed.id, agent("other"))
    executor = Caller(KeyKind.EXECUTOR, executor="host", topics=(TopicPattern.parse("*"),))
    with pytest.raises(Forbidden):
        house.propose(TOPIC, {"question": "Which one?"}, caller=executor)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"question": ""},
        {"question": "   "},
        {"question": 7},
        {"question": "x" * 2_001},
        {"question": "Which?", "context": "x" * 8_001},
        {"question": "Which?", "options": "EUR"},
        {"question": "Which?", "options": ["EUR", "EUR"]},
        {"question": "Which?", "options": [""]},
        {"question": "Which?", "options": ["E\u202eUR"]},
        {"question": "Which?", "options": [str(n) for n in range(11)]},
        {"question": "Which?", "amount_usd": "5"},
    ],
)
def test_what_is_no_question_is_not_asked(house: House, args: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        house.propose(TOPIC, args)


def test_what_is_unseen_in_a_question_is_made_visible(house: House) -> None:
    action_id = asked(house, "Pay\u202e?")
    shown = house.home.views.approval(
        house.request(action_id)[0], house.person("Ben").caller, house.gate.policy
    )
    assert "\u202e" not in shown["title"]
    (row,) = [row for row in shown["changes"] if row["field"] == "question"]
    assert row["warnings"]


@pytest.mark.parametrize(
    "rule",
    [
        "{id: free, match: {topics: [interlock.ask]}, decision: allow}",
        "{id: free, match: {topics: ['interlock.*']}, decision: allow}",
    ],
)
def test_a_policy_that_lets_questions_pass_is_told_so_and_nothing_is_asked(
    open_house: Callable[..., House], rule: str
) -> None:
    house = open_house(f"{POLICY}\n  - {rule}\n")
    with pytest.raises(Conflict, match="waits for a person"):
        house.propose(TOPIC, {"question": "Which?"})


def test_a_policy_can_deny_questions_and_name_who_answers(open_house: Callable[..., House]) -> None:
    house = open_house(
        f"{POLICY}\n  - {{id: who, match: {{topics: [interlock.ask]}}, decision: require_approval, "
        "owner: helpers, lane: {window: 5m, on_timeout: deny}}\n"
    )
    assert house.view(asked(house))["approval"]["owner"] == "helpers"
    denying = open_house(
        f"{POLICY}\n  - {{id: no, match: {{topics: [interlock.ask]}}, decision: deny}}\n", name="denying"
    )
    with pytest.raises(Denied):
        Gate(Embedded(denying.home, "support"), session=None, principal=None).ask("Which?")


def test_a_question_ends_with_its_deadline_and_waits_under_a_kill_switch(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(POLICY, clock=clock)
    ben, action_id = house.person("Ben"), asked(house)
    house.home.kill_switches.engage(Scope.ALL, None, "smoke", by="test")
    with pytest.raises(NotClaimable, match="kill switch"):
        house.answer(action_id, ben, Answer.RESPOND, response="Yes.")
    other = open_house(POLICY, name="other", clock=clock)
    late = asked(other)
    clock.forward(8 * 24 * 3600)
    other.gate.sweep()
    with pytest.raises(Ended):
        Gate(Embedded(other.home, "support"), session=None, principal=None).resume(late)


def test_a_call_that_waits_gets_the_answer(house: House) -> None:
    ben = house.person("Ben")
    gate = Gate(Embedded(house.home, "support"), session=None, principal=None)

    def answer() -> None:
        while not house.home.views.approvals("held")["items"]:
            threading.Event().wait(0.01)
        (item,) = house.home.views.approvals("held")["items"]
        house.answer(item["action_id"], ben, Answer.RESPOND, response="EUR")

    person = threading.Thread(target=answer)
    person.start()
    assert gate.ask("Which currency?", wait=30) == "EUR"
    person.join()


def test_an_answer_that_was_changed_in_the_database_is_not_handed_out(house: House) -> None:
    first, second = asked(house, "Which?"), asked(house, "Whose?")
    ben = house.person("Ben")
    house.answer(first, ben, Answer.RESPOND, response="EUR")
    house.answer(second, ben, Answer.RESPOND, response="USD")
    (other,) = house.sql("SELECT note FROM decisions WHERE approval_id = ?", house.request(second)[0])[0]
    house.sql("UPDATE decisions SET note = ? WHERE approval_id = ?", other, house.request(first)[0])
    with pytest.raises((Tampered, Erased)):
        house.view(first)
