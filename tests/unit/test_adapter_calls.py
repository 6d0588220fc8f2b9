"""What adapters share: topics that no two tools share, and sentences that say what became of a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.calls import Topics, call_id, edited, told, with_edit
from interlock.client import Denied, Ended, Held
from interlock.model.errors import BadTopic, InDoubt, InvalidInput, NotClaimable
from interlock.model.topics import parse_topic

NAMES = st.text(max_size=300) | st.from_regex(r"[a-zA-Z0-9_.-]{1,40}", fullmatch=True)


@given(NAMES, NAMES)
def test_two_names_never_become_one_topic(one: str, other: str) -> None:
    topics = Topics()
    assert (parse_topic(topics.of(one)) == parse_topic(topics.of(other))) is (one == other)


@given(NAMES)
def test_nobody_can_name_a_tool_like_the_topic_of_another(name: str) -> None:
    topic = Topics().of(name)
    again = topic.removeprefix("tools.")
    assert (Topics().of(again) == topic) is (again == name)


@pytest.mark.parametrize("name", ["send_money", "files.read", "a-b", "x" * 249])
def test_a_name_that_can_stand_in_a_topic_stands_there(name: str) -> None:
    assert Topics().of(name) == f"tools.{name}"
    assert Topics(under="shop.agent").of(name[:200]) == f"shop.agent.{name[:200]}"


def test_only_trusted_code_maps_two_tools_to_one_topic() -> None:
    topics = Topics({"pay": "job.pay", "refund": "job.pay", "look": "tools.see"})
    assert topics.of("pay") == topics.of("refund") == "job.pay"
    with pytest.raises(InvalidInput, match="another tool"):
        topics.of("see")
    with pytest.raises(BadTopic):
        Topics({"pay": "Pay"})


def test_a_call_is_named_by_all_of_its_parts() -> None:
    parts = [("a", "b"), ("ab",), ("a", "b", ""), ("", "a", "b"), ("b", "a")]
    assert len({call_id(*one) for one in parts}) == len(parts)
    assert call_id("a", "b") == call_id("a", "b")


def view(state: str, **more: object) -> dict[str, object]:
    approval = {"id": "apr_1", "owner": "finance", "due_at": "soon"}
    return {"id": "act_1", "state": state, "user_message": f"It is {state}.", "approval": approval, **more}


def test_each_sentence_names_the_action_and_says_what_to_do() -> None:
    assert told(Held(view("held"))).startswith(
        "It is held. It has not run. Tell the user. Repeat the identical"
    )
    assert told(Held(view("held")), again="") == "It is held. It has not run. Action act_1."
    assert told(Denied(view("denied"))) == "It is denied. Action act_1."
    assert told(Denied(view("rejected"))) == "It is rejected. Do not repeat it unchanged. Action act_1."
    assert "Nobody rejected it" in told(Ended(view("expired")))
    assert told(Ended(view("withdrawn"))) == "It is withdrawn. Action act_1."
    assert told(InDoubt("Nobody knows.", extra={"action": "act_1"})) == "Nobody knows. Action act_1."
    assert "ask for its result later" in told(NotClaimable("Somebody runs it."))
    assert told(InvalidInput("too much", path="$.args.x")).startswith(
        "Not proposed, and not run. $.args.x: too"
    )


def test_an_edit_is_said_before_the_result_and_shows_what_is_invisible() -> None:
    rows = [
        {"field": "amount_usd", "before": "1400.00", "after": "900.00"},
        {"field": "note", "after": "be\u202equick"},
        {"field": "to", "before": ["a", "b"]},
    ]
    said = edited({"edited": rows})
    assert "amount_usd from 1400.00 to 900.00; note was added: be⟨U+202E⟩quick; to was taken out" in said
    assert with_edit({"edited": rows}, "paid") == f"{said}\n\npaid"
    for unchanged in ({}, {"edited": []}):
        assert (edited(unchanged), with_edit(unchanged, "paid")) == ("", "paid")
    assert len(edited({"edited": [{"field": "x", "after": "y" * 10_000}]})) < 600
