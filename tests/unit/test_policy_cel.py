"""The condition language against CEL: Google's evaluator is the oracle for everything but what we document.

A million pairs with ``INTERLOCK_LONG=1``; another seed with ``INTERLOCK_SEED``.
"""

from __future__ import annotations

import os
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from cel_expr_python import cel

from conditions_at_random import Document, Maker, document, spell
from interlock.model.actions import Signals
from interlock.policy.closures import Truth, compile_expression
from interlock.policy.expressions import parse_expression, show
from interlock.policy.fields import Inputs

PAIRS = 1_000_000 if os.environ.get("INTERLOCK_LONG") else 100_000
SEED = int(os.environ.get("INTERLOCK_SEED", "20261120"))
PER_EXPRESSION = 40

ENV = cel.NewEnv(
    variables={
        **{root: cel.Type("map<string,dyn>") for root in ("args", "facts", "provenance", "signals")},
        "tags": cel.Type("list<string>"),
        "tier": cel.Type("dyn"),
        "topic": cel.Type("string"),
    }
)


def cel_truth(compiled: Any, activation: Any) -> Truth:
    """CEL's answer; an error is unknown."""
    value = compiled.eval(activation).value()
    return value if isinstance(value, bool) else None


def _disagreements(seed: int, pairs: int, *, mistyped: bool) -> tuple[list[str], dict[Truth, int]]:
    random = Random(seed)
    maker = Maker(random, equality=not mistyped)
    pool: list[tuple[Document, Any]] = []
    for _ in range(600):
        made = document(random, mistyped=mistyped)
        pool.append((made, ENV.Activation(made.cel)))
    wrong: list[str] = []
    answers: dict[Truth, int] = {True: 0, False: 0, None: 0}
    for _ in range(pairs // PER_EXPRESSION):
        tree = maker.expression(random.choice((1, 2, 3)))
        capitals = random.random() < 0.5
        text = spell(tree, random, capitals=capitals)
        parsed = parse_expression(text)
        assert parsed == tree, f"seed {seed}: {text!r} was read as {show(parsed)!r}"
        oracle = ENV.compile(show(parsed) if capitals else text)
        ours = compile_expression(parsed)
        for made, activation in random.sample(pool, PER_EXPRESSION):
            expected, found = cel_truth(oracle, activation), ours(made.inputs)
            answers[expected] += 1
            if expected is not found:
                wrong.append(f"seed {seed}: {text!r} of {made.cel}: CEL {expected}, ours {found}")
    return wrong, answers


def test_conditions_agree_with_cel_on_random_expressions_and_documents() -> None:
    wrong, answers = _disagreements(SEED, PAIRS, mistyped=False)
    assert not wrong, f"{len(wrong)} disagreements, the first: {wrong[0]}"
    assert sum(answers.values()) >= PAIRS
    assert min(answers.values()) > PAIRS // 20, f"answers are lopsided: {answers}"


def test_conditions_agree_with_cel_that_another_type_has_no_order_and_no_text() -> None:
    wrong, answers = _disagreements(SEED + 1, PAIRS // 5, mistyped=True)
    assert not wrong, f"{len(wrong)} disagreements, the first: {wrong[0]}"
    assert min(answers.values()) > PAIRS // 100, f"answers are lopsided: {answers}"


# --- where we depart, on purpose --------------------------------------------------------------------------


def _both(text: str, args: dict[str, Any], decimals: frozenset[str] = frozenset()) -> tuple[Truth, Any]:
    """Our answer and CEL's for the same arguments; "error" where CEL fails."""
    tree = parse_expression(text)
    ours = compile_expression(tree)(Inputs("job.a", args, Signals(), None, None, decimals=decimals))
    value = ENV.compile(show(tree)).eval(ENV.Activation({"args": args})).value()
    return ours, value if isinstance(value, bool) else "error"


@pytest.mark.parametrize(
    ("text", "args", "ours", "cels"),
    [
        # null is missing
        ("has(args.x)", {"x": None}, False, True),
        ("args.x == 1", {"x": None}, None, False),
        ("args.x != 1", {"x": None}, None, True),
        ("'a' in args.x", {"x": ["b", None]}, None, False),
        # has() of what would stand in something missing
        ("has(args.a.b)", {}, False, "error"),
        ("has(args.a.b)", {"a": None}, False, "error"),
        # another type is unknown
        ("args.x == 'a'", {"x": 1}, None, False),
        ("args.x != 'a'", {"x": 1}, None, True),
        ("args.x == 1", {"x": True}, None, False),
        ("args.x == args.y", {"x": 1, "y": "1"}, None, False),
        ("args.x in [1, 2]", {"x": "1"}, None, False),
        ("'a' in args.x", {"x": [1]}, None, False),
        ("1 in args.x", {"x": [True]}, None, False),
        ("'a' in args.x", {"x": {"a": 1}}, None, True),
        ("size(args.x) == 1", {"x": {"a": 1}}, None, True),
        ("args.x.exists(k, k == 'a')", {"x": {"a": 1}}, None, True),
        # booleans have no order
        ("args.x < args.y", {"x": False, "y": True}, None, True),
        # NaN and infinities are unknown
        ("args.x < 1", {"x": float("nan")}, None, False),
        ("args.x != 1", {"x": float("nan")}, None, True),
        ("args.x > 1", {"x": float("inf")}, None, True),
        # the bounds
        ("args.x.all(e, e > 0)", {"x": [1] * 1_001}, None, True),
        ("1 in args.x", {"x": [1] * 1_001}, None, True),
        (r"args.x.matches('^\\pL')", {"x": "a" * 65_537}, None, True),
    ],
)
def test_a_documented_departure_from_cel_is_as_documented(
    text: str, args: dict[str, Any], ours: Truth, cels: Any
) -> None:
    assert _both(text, args) == (ours, cels)


def test_numbers_are_exact_where_cel_has_doubles() -> None:
    just_above = Decimal("0.70000000000000000001")
    inputs = Inputs("job.a", {"x": just_above}, Signals(), None, None)
    assert compile_expression(parse_expression("args.x > 0.7"))(inputs) is True
    assert (
        ENV.compile("args.x > 0.7").eval(ENV.Activation({"args": {"x": float(just_above)}})).value() is False
    )
    # 2^53 and its successor are one double.
    assert _both("args.x == 9007199254740992.0", {"x": 2**53 + 1}) == (False, True)
    assert _both("args.x == args.y", {"x": 2.0**53, "y": 2**53 + 1})[0] is False


def test_text_of_an_argument_declared_decimal_is_a_number_here_and_text_in_cel() -> None:
    assert _both("args.x >= 99.5", {"x": "99.50"}, frozenset({"x"})) == (True, "error")
    assert _both("args.x == '99.50'", {"x": "99.50"}, frozenset({"x"})) == (None, True)
    assert _both("args.x >= 99.5", {"x": "99.50"}) == (None, "error")
