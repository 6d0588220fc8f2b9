"""What conditions answer: three-valued logic, exact values, and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conditions_at_random import Document, Maker, document, field
from interlock.model.actions import Signals
from interlock.policy.closures import MAX_ELEMENTS, Truth, compile_expression
from interlock.policy.conditions import compile_condition, conjunction
from interlock.policy.expressions import ExpressionError, parse_expression, show
from interlock.policy.fields import NO_DEADLINE, Inputs, exact, reader
from interlock.policy.syntax import Compare, Literal, Not


def inputs(signals: Signals | None = None, **args: Any) -> Inputs:
    return Inputs("job.a", args, signals or Signals(), None, None)


def truth(text: str, given_inputs: Inputs | None = None, **args: Any) -> Truth:
    return compile_expression(parse_expression(text))(given_inputs or inputs(**args))


IS: Mapping[str, Truth] = {"T": True, "F": False, "U": None}


def asked(text: str, values: str) -> Truth:
    """A text over args.a, args.b, args.c, each True, False or Unknown."""
    args = {name: worth == "T" for name, worth in zip("abc", values, strict=False) if worth != "U"}
    return truth(text, **args)


# --- logic ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("args.a && args.b", {"TT": "T", "TF": "F", "FT": "F", "FF": "F", "TU": "U", "UT": "U", "UU": "U"}),
        ("args.a && args.b", {"FU": "F", "UF": "F"}),
        ("args.a || args.b", {"TT": "T", "TF": "T", "FT": "T", "FF": "F", "FU": "U", "UF": "U", "UU": "U"}),
        ("args.a || args.b", {"TU": "T", "UT": "T"}),
        ("!args.a", {"T": "F", "F": "T", "U": "U"}),
        ("args.a && args.b && args.c", {"TTT": "T", "UUF": "F", "FUU": "F", "TUT": "U"}),
        ("args.a || args.b || args.c", {"FFF": "F", "UUT": "T", "TUU": "T", "FUF": "U"}),
        ("!(args.a && !args.b)", {"TU": "U", "FU": "T", "UT": "T"}),
    ],
)
def test_unknown_spreads_unless_the_other_side_decides(text: str, table: Mapping[str, str]) -> None:
    assert {values: asked(text, values) for values in table} == {v: IS[want] for v, want in table.items()}


@pytest.mark.parametrize(
    ("elements", "exists", "every"),
    [
        ([], False, True),
        ([1, 1], True, True),
        ([0, 1], True, False),
        ([0, 0], False, False),
        (["?", 1], True, None),
        (["?", 0], None, False),
        (["?", None], None, None),
    ],
)
def test_exists_is_a_long_or_and_all_a_long_and(elements: list[Any], exists: Truth, every: Truth) -> None:
    assert truth("args.l.exists(x, x == 1)", l=elements) is exists
    assert truth("args.l.all(x, x == 1)", l=elements) is every


class _Odd:
    """A value that no reader understands, although it is there."""

    def __repr__(self) -> str:
        return "odd"


ODD: Any = _Odd()
_SIGNALS = ("confidence", "retry_count", "anomaly_score", "affected_users", "first_time_action", "sentiment")


def _damaged(made: Document, random: Random) -> Inputs:
    """The same question with some values made unknown; what was missing is missing still."""

    def damage(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: damage(inner) for name, inner in value.items()}
        if isinstance(value, list) and random.random() < 0.8:
            return [damage(inner) for inner in value]
        return value if value is None or random.random() < 0.7 else ODD

    known = [name for name in _SIGNALS if getattr(made.inputs.signals, name) is not None] + ["deadline_sec"]
    signals = {name: ODD for name in known if random.random() < 0.3}
    return replace(
        made.inputs,
        args=damage(made.inputs.args),
        facts=damage(made.inputs.facts),
        provenance=damage(made.inputs.provenance),
        signals=replace(made.inputs.signals, **signals),
        tags=made.inputs.tags if random.random() < 0.7 else None,
        tiers=made.inputs.tiers if random.random() < 0.7 else random.choice([(), *_wider(made.inputs.tiers)]),
    )


def _wider(tiers: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(sorted({*tiers, 1, 4}))] if tiers else []


@given(st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_making_an_input_unknown_never_turns_an_answer_into_its_opposite(seed: int) -> None:
    random = Random(seed)
    check = compile_expression(Maker(random).expression(3))
    for _ in range(5):
        made = document(random)
        full, less = check(made.inputs), check(_damaged(made, random))
        assert less is None or less is full


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_negation_answers_the_opposite_and_a_conjunction_what_its_tests_answer(seed: int) -> None:
    random = Random(seed)
    tree = Maker(random).expression(3)
    check, negated, tests = (
        compile_expression(tree),
        compile_expression(Not(tree)),
        compile_condition(show(tree)),
    )
    for _ in range(4):
        question = document(random).inputs
        answer = check(question)
        assert negated(question) is (None if answer is None else not answer)
        assert conjunction(tests, question) is answer


# --- values -----------------------------------------------------------------------------------------------


@given(
    st.integers(-(10**6), 10**6) | st.sampled_from([2**53 - 1, -(2**53) + 1, 0]),
    st.sampled_from(["0", "0.5", "-0.5", "1", "-1", "0.001", "-0.999", "1000000"]),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
)
@settings(deadline=None)
def test_an_integer_is_compared_as_the_decimal_it_is(value: int, offset: str, op: Any) -> None:
    literal = value + Decimal(offset)
    ours = compile_expression(Compare(op, field("args.x"), Literal(literal)))
    turned = compile_expression(Compare(op, Literal(literal), field("args.x")))
    nested = compile_expression(Compare(op, field("args.o.x"), Literal(literal)))
    expected = {
        "==": value == literal,
        "!=": value != literal,
        "<": value < literal,
        "<=": value <= literal,
        ">": value > literal,
        ">=": value >= literal,
    }
    assert ours(inputs(x=value)) is ours(inputs(x=Decimal(value))) is expected[op]
    assert nested(inputs(o={"x": value})) is expected[op]
    mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op)
    assert turned(inputs(x=value)) is expected[mirrored]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, "5", "", [], [5], {"a": 5}, ODD, 5j, b"5"),
        *(float("nan"), float("inf"), float("-inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")),
    ],
    ids=repr,
)
def test_what_is_no_number_is_unknown_to_every_comparison_with_one(value: Any) -> None:
    for op in ("==", "!=", "<", "<=", ">", ">="):
        assert truth(f"args.x {op} 5", x=value) is None
        assert truth(f"5 {op} args.x", x=value) is None
        assert truth(f"args.x {op} args.y", x=value, y=5) is None
        assert truth(f"args.o.x {op} 5", o={"x": value}) is None
    assert truth("args.x in [5, 1]", x=value) is None
    assert exact(value) is None


@pytest.mark.parametrize("value", [None, True, 5, Decimal(1), [], {}, ODD], ids=repr)
def test_what_is_no_text_is_unknown_to_every_question_about_text(value: Any) -> None:
    for text in (
        "args.x == 'a'",
        "args.x < 'a'",
        "args.x in ['a']",
        "args.x.contains('')",
        "args.x.matches('')",
    ):
        assert truth(text, x=value) is None


def test_a_float_is_the_number_it_is_written_as() -> None:
    assert truth("args.x >= 0.7", x=0.7) is True
    assert truth("args.x == 0.1", x=0.1) is True
    assert truth("0.1 in args.l", l=[0.5, 0.1]) is True
    assert truth("args.x == args.y", x=0.7, y=Decimal("0.7")) is True


def test_one_and_true_are_never_taken_for_each_other() -> None:
    assert truth("1 in args.l", l=[True]) is None
    assert truth("args.x in [true]", x=1) is None
    assert truth("args.x == args.y", x=1, y=True) is None
    assert truth("args.x == true", x=1) is None
    assert truth("args.x", x=1) is None


def test_an_argument_declared_decimal_is_read_from_its_text_and_from_nothing_else() -> None:
    def declared(text: str, value: Any) -> Truth:
        return truth(text, replace(inputs(x=value), decimals=frozenset({"x"})))

    assert declared("args.x >= 99.5", "99.50") is True
    assert declared("args.x < args.x", "99.50") is False
    assert declared("args.x in [99.5]", "99.50") is True
    for value in (99, 99.5, Decimal("99.5"), True, None, "1e2", "a", "9" * 30):
        assert declared("args.x >= 1", value) is None
    # It is a number: no question about text has an answer.
    for text in ("args.x == '99.50'", "args.x.startsWith('9')", "size(args.x) == 5"):
        assert declared(text, "99.50") is None
    assert declared("has(args.x)", "99.50") is True
    # And text nobody declared is no number.
    assert truth("args.x >= 99.5", x="99.50") is None


def test_strings_are_ordered_by_code_point_and_measured_in_characters() -> None:
    assert truth("args.x < 'a'", x="Z") is True
    assert truth("args.x > '\uffff'", x="\U00010000") is True  # UTF-16 would say otherwise
    assert truth("size(args.x) == 2", x="é𝄞") is True


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("confidence", Decimal("0.5"), (None, Decimal("1.1"), Decimal(-1), Decimal("NaN"), True, "0.5")),
        ("anomaly_score", Decimal("0.5"), (Decimal(2), Decimal(-1), float("nan"), None)),
        ("injection_score", Decimal("0.5"), (Decimal(2), Decimal(-1), float("nan"), None)),
        ("sentiment", Decimal("-0.5"), (Decimal(2), Decimal(-2), None)),
        ("retry_count", 3, (-1, True, "3", None)),
        ("affected_users", 3, (-1, True, "3", None)),
        ("deadline_sec", -3, (True, "3", float("nan"))),
    ],
)
def test_a_signal_outside_its_range_is_unknown(name: str, good: Any, bad: tuple[Any, ...]) -> None:
    signals = Signals()
    text = f"signals.{name} < 4"
    assert truth(text, inputs(replace(signals, **{name: good}))) is True
    for value in bad:
        assert truth(text, inputs(replace(signals, **{name: value}))) is None


def test_no_deadline_is_later_than_any() -> None:
    assert truth("signals.deadline_sec < 999999999", inputs()) is False
    assert reader(("signals", "deadline_sec"), "number")(inputs()) == NO_DEADLINE
    assert truth("has(signals.deadline_sec)", inputs()) is False
    assert truth("signals.deadline_sec <= 60", inputs(Signals(deadline_sec=60))) is True


def test_a_duplicate_is_there_or_it_is_not() -> None:
    assert truth("has(signals.duplicate_of)", inputs()) is False
    assert truth("signals.duplicate_of == 'act_1'", inputs()) is None
    assert truth("has(signals.duplicate_of)", inputs(Signals(duplicate_of="act_1"))) is True


def test_a_provenance_nobody_knows_is_unknown() -> None:
    def asked_of(value: Any) -> Truth:
        question = replace(inputs(), provenance={"recipient": value})
        return truth("provenance.recipient in ['user', 'known']", question)

    assert asked_of("user") is True
    assert asked_of("untrusted") is False
    assert asked_of("made-up") is None
    assert asked_of(None) is None
    assert asked_of(["user"]) is None
    assert truth("provenance.recipient == 'user'", inputs()) is None


def test_a_tier_in_doubt_is_known_where_every_possible_tier_agrees() -> None:
    question = replace(inputs(l=3), tiers=(3, 4))
    assert truth("tier >= 3", question) is True
    assert truth("2 < tier", question) is True
    assert truth("tier == 4", question) is None
    assert truth("tier in [3, 4]", question) is True
    assert truth("tier in [1, 2]", question) is False
    assert truth("tier > args.l", question) is None
    assert truth("tier >= args.l", question) is True
    assert truth("tier == 3", replace(question, tiers=())) is None
    assert truth("tier == 'x'", question) is None


def test_tags_nobody_knows_are_neither_there_nor_absent() -> None:
    assert truth("'prod' in tags", replace(inputs(), tags=None)) is None
    assert truth("'prod' in tags", replace(inputs(), tags=frozenset())) is False
    assert truth("args.env in tags", replace(inputs(env="prod"), tags=frozenset({"prod"}))) is True
    assert truth("args.env in tags", replace(inputs(env=1), tags=frozenset({"prod"}))) is None
    assert truth("tags.exists(t, t.startsWith('p'))", replace(inputs(), tags=frozenset({"prod"}))) is True


def test_fields_walk_into_objects_and_find_nothing_elsewhere() -> None:
    assert truth("args.o.p.q == 1", o={"p": {"q": 1}}) is True
    for args in ({}, {"o": None}, {"o": {"p": {}}}, {"o": {"p": None}}, {"o": {"p": {"q": None}}}):
        assert truth("args.o.p.q == 1", **args) is None
        assert truth("has(args.o.p.q)", **args) is False


def test_something_that_is_no_object_may_hide_anything() -> None:
    for args in ({"o": 1}, {"o": {"p": [1]}}, {"o": "p"}, {"o": {"p": '{"q": 1}'}}):
        assert truth("args.o.p.q == 1", **args) is None
        assert truth("has(args.o.p.q)", **args) is None
        assert truth("!has(args.o.p.q)", **args) is None
    assert truth("args.l.exists(x, has(x.p.q))", l=[{"p": 1}]) is None


def test_facts_and_results_are_read_alike() -> None:
    question = replace(inputs(), result={"a": {"b": 2}}, facts={"n": 5})
    assert truth("result.a.b == 2 && facts.n > 4", question) is True


def test_a_name_that_python_gives_a_meaning_reads_nothing_but_that_name() -> None:
    for name in ("__class__", "keys", "get", "__dict__.x", "real"):
        assert truth(f"has(args.{name})", x=1) is False
        assert truth(f"has(args.o.{name})", o={}, x=1) is False
    assert truth("args.__class__ == 1", __class__=1) is True


# --- lists and bounds -------------------------------------------------------------------------------------


def test_something_is_in_a_list_if_found_and_not_if_all_elements_are_known_to_differ() -> None:
    assert truth("'a' in args.l", l=["b", "a"]) is True
    assert truth("'a' in args.l", l=["b", 1, "a"]) is True
    assert truth("'a' in args.l", l=["b", "c"]) is False
    assert truth("'a' in args.l", l=["b", None]) is None
    assert truth("'a' in args.l", l=[]) is False
    assert truth("'a' in args.l", l="a") is None
    assert truth("args.x in args.l", x=1, l=[Decimal("1.0")]) is True
    assert truth("args.x in args.l", l=["a"]) is None
    assert truth("1 in args.l", l=["a", "b"]) is None
    assert truth("'a' in args.l", l=[1, 2]) is None


@pytest.mark.parametrize("text", ["1 in args.l", "args.l.exists(x, x == 1)", "args.l.all(x, x == 1)"])
def test_a_list_of_more_than_a_thousand_elements_is_unknown(text: str) -> None:
    assert truth(text, l=[1] * MAX_ELEMENTS) is True
    assert truth(text, l=[1] * (MAX_ELEMENTS + 1)) is None
    assert truth("size(args.l) > 1000", l=[1] * (MAX_ELEMENTS + 1)) is True


class _Counted(dict[str, Any]):
    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.reads: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        self.reads.append(name)
        return super().get(name, default)


def test_what_a_macro_asks_of_other_fields_is_decided_once_and_not_for_each_element() -> None:
    args = _Counted({"l": list(range(1_000)), "note": "x" * 100_000})
    text = "args.l.exists(x, x < 0 || args.note.contains('y') && tier == 3 || args.note.matches('z'))"
    assert truth(text, Inputs("job.a", args, Signals(), None, None)) is False
    assert sorted(args.reads) == ["l", "note", "note"]


def test_a_list_that_a_macro_looks_into_is_read_once_and_answers_as_it_would_alone() -> None:
    args = _Counted({"l": [1, 2, "a", None], "known": ["a", 2], "odd": ["a", None], "whole": [5, 6]})
    question = Inputs("job.a", args, Signals(), None, None)
    assert truth("args.l.exists(x, x in args.known)", question) is True
    assert truth("args.l.all(x, x in args.known)", question) is None
    assert truth("args.l.exists(x, x in args.whole)", question) is None
    assert truth("args.l.exists(x, x in args.odd)", question) is True
    assert truth("args.whole.exists(x, x in args.whole && x > 5)", question) is True
    assert truth("args.whole.exists(x, x in args.l)", question) is None
    assert truth("args.whole.exists(x, x in args.missing)", question) is None
    assert truth("args.l.exists(x, x in args.o)", l=[1], o=[1] * MAX_ELEMENTS) is True
    assert truth("args.l.exists(x, x in args.o)", l=[1], o=[1] * (MAX_ELEMENTS + 1)) is None
    assert args.reads.count("known") == 2


def test_searches_in_a_macro_are_bounded_for_all_elements_together() -> None:
    text = "args.l.exists(x, x.matches('(?:[ab]{1,400}){2}c'))"
    assert truth(text, l=["ab" * 100] * 10) is False
    assert truth(text, l=["ab" * 500] * 900) is None
    assert truth(text, l=["ac", *["ab" * 500] * 900]) is None
    assert truth(text, l=["abc" * 100, *["ab" * 500] * 900]) is True


def test_a_macro_sees_the_element_and_everything_else() -> None:
    items = [{"p": 5, "k": "a", "t": ["x"]}, {"p": 1, "k": "b", "t": []}]
    question = replace(inputs(items=items, limit=4, name="b"), tags=frozenset({"a"}), tiers=(3,))
    assert truth("args.items.exists(i, i.p > args.limit)", question) is True
    assert truth("args.items.all(i, i.p < args.limit)", question) is False
    assert truth("args.items.exists(i, i.k == args.name && i.k in tags)", question) is False
    assert truth("args.items.exists(i, 'x' in i.t && i.p > tier)", question) is True
    assert truth("args.items.exists(i, size(i.t) == 0 && !(i.k in ['a']))", question) is True
    assert truth("args.items.all(i, has(i.p) && !has(i.q))", question) is True
    assert truth("args.items.exists(i, i.q == 1)", question) is None


def test_a_pattern_is_found_anywhere_and_takes_linear_time() -> None:
    assert truth("args.x.matches('b+')", x="abbc") is True
    assert truth("args.x.matches('^b+')", x="abbc") is False
    assert truth(r"args.x.matches('^\\pL+$')", x="éß") is True
    assert truth("args.x.matches('(x+x+)+y')", x="x" * 50_000) is False
    assert truth("args.x.matches('a')", x="\ud800a") is None
    assert truth(r"args.x.matches('^\\pL')", x="a" * 60_000) is None


# --- tests and readings -----------------------------------------------------------------------------------


def test_a_condition_is_one_test_for_each_part_that_must_hold() -> None:
    tests = compile_condition("args.a == 1 AND (tier == 3 OR has(args.b)) && 'x' in tags")
    assert [test.text for test in tests] == ["args.a == 1", "tier == 3 || has(args.b)", '"x" in tags']
    question = replace(inputs(a=1, b=2), tags=frozenset({"y", "x"}), tiers=(3,))
    assert [test.check(question) for test in tests] == [True, True, True]
    values = [[(reading.name, reading.read(question)) for reading in test.readings] for test in tests]
    assert values == [[("args.a", 1)], [("tier", 3), ("args.b", 2)], [("tags", ("x", "y"))]]


def test_a_test_names_what_is_missing_only_while_that_keeps_it_undecided() -> None:
    (test,) = compile_condition("args.a > args.b || has(args.c) || signals.confidence < 0.5")
    assert test.missing(inputs(a=1)) == ("args.b", "signals.confidence")
    assert test.missing(inputs(a=1, c=1)) == ()
    assert test.missing(inputs(Signals(confidence=Decimal("0.4")))) == ()


def test_readings_show_a_value_in_the_kind_that_is_asked_for() -> None:
    (test,) = compile_condition(
        "!has(args.amt) || args.amt > 5 || args.l.exists(x, x.k == args.k) || 1 < size(args.s)"
    )
    question = replace(inputs(amt="7.00", l=[{}], k="a", s="ab"), decimals=frozenset({"amt"}))
    assert [(reading.name, reading.read(question)) for reading in test.readings] == [
        ("args.amt", Decimal("7.00")),
        ("args.l", [{}]),
        ("args.k", "a"),
        ("args.s", "ab"),
    ]


def test_an_unknown_field_is_never_compiled_to_something() -> None:
    for text in ("amount > 3", "args == 1", "signals.nope < 1", "facts.a.b == 1", "tier.x == 1", "x.p == 1"):
        with pytest.raises(ExpressionError, match="unknown field"):
            compile_expression(parse_expression(text))
    with pytest.raises(ExpressionError, match=r"unknown field 'y\.p' .at character 22"):
        compile_condition("args.l.exists(x, x > y.p)")
