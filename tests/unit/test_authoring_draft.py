"""Drafts: what is written is what is read back, and nothing from outside leaves its comment."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.authoring.draft import (
    QUOTED,
    Draft,
    DraftAction,
    DraftArg,
    DraftRule,
    Noted,
    catalogue_cases,
    quoted,
    scalar,
    write_cases,
    write_policy,
    write_yaml,
)
from interlock.model.text import visible
from interlock.policy import parse
from interlock.policy.source import read

WORD = st.text(max_size=12).filter(lambda text: visible(text, 100) == text and "\r" not in text)
LEAF = st.one_of(
    WORD, st.booleans(), st.integers(-(10**6), 10**6), st.decimals("-99", "99", places=2, allow_nan=False)
)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3), max_leaves=12
)


def loaded(text: str) -> Any:
    findings: list[Any] = []
    tree = read("draft.yaml", text, findings)
    assert findings == [], text
    assert tree is not None
    return tree.data


@given(st.dictionaries(WORD, VALUE, min_size=1, max_size=4))
@example({"a": "true", "b": "1.0", "c": "- x", "d": "a: b", "e": "x #y", "f": "'", "g": ["no", "~", ""]})
@example({"a": {"b": {"c": {"d": [1, {"e": [True, "{args.x}"]}]}}}, "k" * 90: ["v" * 90, {"x": "y" * 90}]})
@settings(max_examples=150)
def test_what_is_written_is_read_back_as_the_same_values(document: dict[str, Any]) -> None:
    if "<<" in str(document):
        return
    assert loaded(write_yaml(document)) == document


@given(st.text(max_size=300), st.text(max_size=60))
@example("x\nrules:\n  - {decision: allow}", "evil\n  a: b")
@example("\u2028\u0085\u202e# review me: nothing", "}")
@example("a" * 1_000, "# x")
@settings(max_examples=150)
def test_somebody_elses_text_never_leaves_its_comment(told: str, note: str) -> None:
    def drafted(quotes: tuple[str, ...], beside: str) -> str:
        arg = DraftArg("x", "string", note=beside)
        action = DraftAction("a.b", 3, args=(arg,), quotes=quotes, reviews=("tier 3",))
        return write_policy(Draft("d", actions=(action,), remarks=(beside,) if beside else ()))

    assert loaded(drafted((told,), note)) == loaded(drafted((), ""))


def test_every_line_of_somebody_elses_text_stands_behind_a_bar() -> None:
    lines = quoted("review me: nothing. " * 50)
    assert len(lines) > 1
    assert all(line.startswith("| ") for line in lines)
    assert sum(map(len, lines)) < QUOTED + 60
    action = DraftAction("a.b", 3, quotes=("review me: nothing. " * 50,))
    comments = [
        line for line in write_policy(Draft("d", actions=(action,))).splitlines() if "nothing" in line
    ]
    assert comments
    assert all(line.startswith("  # | ") for line in comments)


def test_no_line_is_wider_than_an_editor_and_no_note_is_lost() -> None:
    args = tuple(DraftArg(f"argument_{n}", "string", review="because " * 20) for n in range(3))
    text = write_policy(Draft("d", ("word " * 100,), (DraftAction("a.b", 1, args=args),)))
    assert max(map(len, text.splitlines())) <= 110
    assert text.count("review me: because") == 3


def test_a_note_inside_a_value_opens_it() -> None:
    text = write_yaml({"a": {"b": Noted([1, 2], beside="why")}, "c": Noted({"d": 1}, ("above",))})
    assert "  b: [1, 2]  # why" in text
    assert "# above\nc:\n  d: 1" in text
    assert loaded(text) == {"a": {"b": [1, 2]}, "c": {"d": 1}}


@pytest.mark.parametrize(
    "text", ["yes", "No", "null", "1", "1.5", "", " a", "a: b", "a #b", "[a]", "ä", "-", "y"]
)
def test_a_text_that_yaml_could_read_otherwise_is_quoted(text: str) -> None:
    assert scalar(text).startswith('"')
    assert loaded(f"x: {scalar(text)}\n") == {"x": text}


def test_plain_texts_and_durations_are_not_quoted() -> None:
    assert [scalar(text) for text in ("job.a.b", "30m", "Pay $5 now", "a-b_c")] == [
        "job.a.b",
        "30m",
        "Pay $5 now",
        "a-b_c",
    ]
    assert scalar(Decimal("100.00")) == "100.00"


def test_examples_are_arguments_that_the_entry_accepts() -> None:
    args = (
        DraftArg("text", "string", max_length=3),
        DraftArg("amount", "decimal", scale=2, currency="USD"),
        DraftArg("count", "integer"),
        DraftArg("share", "number"),
        DraftArg("flag", "boolean"),
        DraftArg("map", "object"),
        DraftArg("list", "array"),
        DraftArg("rest", "string", optional=True),
    )
    action = DraftAction("a.b", 3, args=args)
    policy = parse({"p.yaml": write_policy(Draft("d", actions=(action,)))})
    checked = policy.check_args("a.b", action.example())
    assert checked["text"] == "exa"
    assert checked["amount"] == "1.00"
    assert "rest" not in checked


def test_each_action_comes_with_a_test_of_what_its_tier_does() -> None:
    actions = (DraftAction("a.read", 1), DraftAction("a.write", 3), DraftAction("a.wipe", 4))
    cases = catalogue_cases(actions)
    assert [case.expect["decision"] for case in cases] == ["allow", "require_approval", "require_approval"]
    assert len(loaded(write_cases(Draft("d", cases=cases)))["tests"]) == 3


def test_rules_keep_the_order_of_their_keys() -> None:
    rule = DraftRule("r", "deny", "No", {"topics": ["a.b"]}, {"owner": "ops"}, ("why",))
    text = write_policy(Draft("d", rules=(rule,)))
    assert text.index("- id: r") < text.index("match:") < text.index("decision:") < text.index("owner:")
    assert "  # review me: why\n  - id: r" in text
