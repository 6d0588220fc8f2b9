"""What rules ask: where lint says that one rule asks for more than another, no value disagrees."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.authoring.claims import Claims, claims_of
from interlock.model.actions import Signals
from interlock.policy.conditions import compile_condition, conjunction
from interlock.policy.document import MatchSpec
from interlock.policy.fields import Inputs

ATOMS = st.one_of(
    st.builds(
        "{}.{} {} {}".format,
        st.just("args"),
        st.sampled_from(["x", "y"]),
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
        st.sampled_from(["0", "1", "1.5", "2"]),
    ),
    st.builds("{} {} args.x".format, st.sampled_from(["1", "2"]), st.sampled_from(["<", ">=", "=="])),
    st.sampled_from(
        [
            "args.k == 'a'",
            "args.k != 'a'",
            "args.k in ['a', 'b']",
            "args.x in [1, 2]",
            "args.flag",
            "args.flag == false",
            "'prod' in tags",
            "signals.retry_count > 1",
            "signals.retry_count < 2",
            "size(args.k) > 0",
            "args.k.startsWith('a')",
            "(args.x > 1 || args.y > 1)",
        ]
    ),
)
CONDITIONS = st.lists(st.one_of(ATOMS, ATOMS.map("!({})".format)), min_size=1, max_size=3).map(" && ".join)
VALUES = [None, 0, 1, Decimal("1.5"), 2, 3, "1"]
INPUTS = [
    Inputs("a.b", {"x": x, "y": y, "k": k, "flag": flag}, Signals(retry_count=retries), None, tags)
    for x in VALUES
    for y in (None, 0, 2)
    for k, flag, retries, tags in (
        ("a", True, 0, frozenset({"prod"})),
        ("b", False, 2, frozenset[str]()),
        (None, None, 1, None),
        ("", True, 3, frozenset({"prod", "money"})),
    )
]


def truth(condition: str, inputs: Inputs) -> bool | None:
    return conjunction(compile_condition(condition), inputs)


@settings(max_examples=150, deadline=None)
@given(CONDITIONS, CONDITIONS)
def test_what_implies_is_at_least_as_true_for_every_input_known_or_not(one: str, other: str) -> None:
    order: dict[Any, int] = {False: 0, None: 1, True: 2}
    if claims_of(None, one).imply(claims_of(None, other)):
        for inputs in INPUTS:
            assert order[truth(one, inputs)] <= order[truth(other, inputs)], (one, other, inputs)


@settings(max_examples=150, deadline=None)
@given(CONDITIONS)
def test_what_contradicts_itself_is_never_true(condition: str) -> None:
    if claims_of(None, condition).contradiction is not None:
        assert not any(truth(condition, inputs) for inputs in INPUTS), condition


@given(CONDITIONS, CONDITIONS)
def test_a_rule_with_one_more_condition_implies_the_rule_without(one: str, other: str) -> None:
    assert claims_of(None, f"{one} && {other}").imply(claims_of(None, one))


@pytest.mark.parametrize(
    ("one", "other", "implies"),
    [
        ("args.x > 100", "args.x > 50", True),
        ("args.x > 50", "args.x > 100", False),
        ("args.x >= 50", "args.x > 50", False),
        ("args.x == 60", "args.x > 50", True),
        ("args.x > 50 && args.x != 60", "args.x > 50", True),
        ("args.x > 50", "args.x > 50 && args.x != 60", False),
        ("args.x > 60", "args.x > 50 && args.x != 60", True),
        ("!(args.x < 50)", "args.x >= 50", True),
        ("50 < args.x", "args.x > 50", True),
        ("args.k == 'a'", "args.k in ['a', 'b']", True),
        ("args.k in ['a', 'b']", "args.k == 'a'", False),
        ("args.k == 'a'", "args.k != 'b'", True),
        ("args.flag", "args.flag != false", True),
        ("args.x > 1 || args.y > 1", "args.x > 1 OR args.y > 1", True),
        ("args.x > 2 || args.y > 1", "args.x > 1 || args.y > 1", False),
        ("args.x == 1 && args.x == 'a'", "args.x == 1", True),
        ("args.x == 1", "args.x == 1 && args.x == 'a'", False),
    ],
)
def test_one_condition_implies_another(one: str, other: str, implies: bool) -> None:
    assert claims_of(None, one).imply(claims_of(None, other)) is implies


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ("args.x < 1 && args.x > 2", "args.x"),
        ("args.x < 1 && args.x >= 1", "args.x"),
        ("args.x <= 1 && args.x >= 1 && args.x != 1", "args.x"),
        ("args.k == 'a' && args.k == 'b'", "args.k"),
        ("args.k in ['a'] && args.k != 'a'", "args.k"),
        ("args.flag && !args.flag", "args.flag"),
        ("signals.retry_count > 2 && signals.retry_count < 3", "signals.retry_count"),
        ("signals.confidence < 0", "signals.confidence"),
        ("size(args.k) < 0", "size(args.k)"),
        ("tier > 3 && tier < 4", "tier"),
        ("args.x > 2 && args.x < 3", None),
        ("args.x < 1 || args.x > 2", None),
        ("signals.confidence <= 0", None),
    ],
)
def test_contradictions_are_found_in_what_values_a_field_can_have(condition: str, field: str | None) -> None:
    assert claims_of(None, condition).contradiction == field


def match(**given: Any) -> Claims:
    return claims_of(MatchSpec.model_validate(given), None)


def test_tags_imply_as_sets() -> None:
    assert match(risk_tags=["a"]).imply(match(risk_tags=["a", "b"]))
    assert not match(risk_tags=["a", "b"]).imply(match(risk_tags=["a"]))
    assert match(all_risk_tags=["a", "b"]).imply(match(risk_tags=["b", "c"]))
    assert match(all_risk_tags=["a", "b"]).imply(match(all_risk_tags=["a"]))
    assert not match(risk_tags=["a"]).imply(match(all_risk_tags=["a"]))
    assert claims_of(None, '"a" in tags').imply(match(risk_tags=["a", "b"]))
    assert match().imply(match(risk_tags=["a"]), frozenset({"a"}))


def test_thresholds_of_match_and_when_speak_of_the_same_signal() -> None:
    assert claims_of(None, "signals.retry_count > 5").imply(match(retry_count_above=2))
    assert match(confidence_below=Decimal("0.3")).imply(claims_of(None, "signals.confidence < 0.5"))
