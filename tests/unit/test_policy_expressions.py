"""Reading and printing conditions: what is understood, what is refused, where, and at what cost."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conditions_at_random import Maker, field, spell
from interlock.policy.expressions import (
    MAX_CONDITION,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_NODES,
    MAX_PATTERN,
    And,
    Compare,
    Each,
    Expr,
    ExpressionError,
    Has,
    In,
    Items,
    Literal,
    Not,
    Or,
    Parser,
    Size,
    Text,
    atoms_of,
    conjuncts,
    fields_of,
    parse_expression,
    show,
)

A, B, C = field("args.a"), field("args.b"), field("args.c")


def refused(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    return caught.value


def tried(parser: Parser) -> Expr | ExpressionError:
    """The tree or the refusal; whatever else a text raises fails the test."""
    try:
        return parser.parse()
    except ExpressionError as error:
        return error


# --- what is understood -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("args.a", A),
        ("true", Literal(True)),
        ("args.a == 1", Compare("==", A, Literal(Decimal(1)))),
        ("-0.50 < args.a", Compare("<", Literal(Decimal("-0.5")), A)),
        ("args.a != args.b", Compare("!=", A, B)),
        ("args.a=='x'", Compare("==", A, Literal("x"))),
        ("args.a.b.c >= 1", Compare(">=", field("args.a.b.c"), Literal(Decimal(1)))),
        ("tier in [3, 4]", In(field("tier"), Items((Decimal(3), Decimal(4))))),
        ('"prod" in tags', In(Literal("prod"), field("tags"))),
        ("has(args.a)", Has(A)),
        ("size(args.a) > 2", Compare(">", Size(A), Literal(Decimal(2)))),
        ("args.a.size() > 2", Compare(">", Size(A), Literal(Decimal(2)))),
        ("args.size > 2", Compare(">", field("args.size"), Literal(Decimal(2)))),
        ("args.a.startsWith('x')", Text("startsWith", A, "x")),
        ("args.a.matches('^x+$')", Text("matches", A, "^x+$")),
        ("args.a.all(x, x.p > 1)", Each("all", A, "x", Compare(">", field("x.p"), Literal(Decimal(1))))),
        ("args.AND == 1", Compare("==", field("args.AND"), Literal(Decimal(1)))),
        ("((args.a)) == (1)", Compare("==", A, Literal(Decimal(1)))),
        ("args.a && args.b && args.c", And((A, B, C))),
        ("args.a && (args.b && args.c)", And((A, B, C))),
        ("args.a || args.b && args.c", Or((A, And((B, C))))),
        ("(args.a || args.b) && args.c", And((Or((A, B)), C))),
        ("args.a OR args.b AND args.c", Or((A, And((B, C))))),
        ("args.a AND args.b || args.c", Or((And((A, B)), C))),
        ("!args.a && args.b", And((Not(A), B))),
        ("NOT args.a AND args.b", And((Not(A), B))),
        ("NOT args.a == 1", Not(Compare("==", A, Literal(Decimal(1))))),
        ("NOT NOT !args.a", Not(Not(Not(A)))),
        ("\n\targs.a\r\n", A),
    ],
)
def test_a_condition_is_read_as_written(text: str, tree: object) -> None:
    assert parse_expression(text) == tree


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("NOT args.a==1 AND (args.b OR args.c)", "!(args.a == 1) && (args.b || args.c)"),
        ("((args.a && args.b)) || !(!(args.c))", "args.a && args.b || !!args.c"),
        ("!('a' in tags)", '!("a" in tags)'),
        ("args.a.size()>=2", "size(args.a) >= 2"),
        ("args.a.exists( x,x )", "args.a.exists(x, x)"),
        (r"""args.a == 'it\'s "x"'""", r"""args.a == 'it\'s "x"'"""),
        (r'''args.a == "a\nb\t\\"''', r'''args.a == "a\nb\t\\"'''),
        ("args.a in ['x',\"y\"]", 'args.a in ["x", "y"]'),
        ("args.a == 1.50", "args.a == 1.50"),
    ],
)
def test_the_canonical_text_is_cel_with_as_few_parentheses_as_possible(text: str, canonical: str) -> None:
    assert show(parse_expression(text)) == canonical
    assert show(parse_expression(canonical)) == canonical


@given(st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_any_spelling_of_a_tree_is_read_as_that_tree_and_printed_so_that_it_stays(seed: int) -> None:
    random = Random(seed)
    tree = Maker(random).expression(4)
    text = spell(tree, random)
    assert parse_expression(text) == tree
    printed = show(tree)
    assert parse_expression(printed) == tree
    assert show(parse_expression(printed)) == printed


def test_printing_never_makes_a_condition_too_long_to_read_again() -> None:
    # Written without a blank, with every quote in the string escaped by the other kind of quote.
    text = "&&".join(["args.a=='" + '"' * 91 + "'"] * 38)
    assert len(text) <= MAX_CONDITION < len(show(parse_expression(text)))
    assert parse_expression(show(parse_expression(text))) == parse_expression(text)


def test_printing_never_makes_a_condition_too_deep_to_read_again() -> None:
    text = "NOT " * MAX_DEPTH + "args.a == 1"
    assert parse_expression(show(parse_expression(text))) == parse_expression(text)


def test_where_a_node_stood_does_not_make_it_another() -> None:
    one, other = parse_expression("args.a == 1"), parse_expression("  args.a   ==   1 ")
    assert one == other
    assert hash(one) == hash(other)
    assert (one.at, other.at) == (1, 3)


# --- walks ------------------------------------------------------------------------------------------------


def test_fields_are_named_once_in_order_without_a_macros_element() -> None:
    expr = parse_expression("args.b > args.a && args.l.exists(x, x.p > args.c || x == args.a) && has(args.b)")
    assert [read.name for read in fields_of(expr)] == ["args.b", "args.a", "args.l", "args.c"]


def test_atoms_are_what_joins_and_negations_join_and_negate() -> None:
    expr = parse_expression("args.a == 1 && !(args.b || 'x' in tags) && args.l.all(x, x > 1 && x < 3)")
    assert [show(atom) for atom in atoms_of(expr)] == [
        "args.a == 1",
        "args.b",
        '"x" in tags',
        "args.l.all(x, x > 1 && x < 3)",
    ]


def test_conjuncts_are_the_parts_that_must_all_hold() -> None:
    assert conjuncts(parse_expression("args.a && (args.b && args.c)")) == (A, B, C)
    assert conjuncts(parse_expression("args.a || args.b")) == (Or((A, B)),)


# --- what is refused, where, and with what advice ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", 1, "the condition is empty"),
        ("   ", 1, "the condition is empty"),
        ("args.a = 1", 8, "compare with =="),
        ("args.a === 1", 8, "compare with =="),
        ("args.a <> 1", 8, "compare with !="),
        ("args.a & args.b", 8, "join conditions with &&"),
        ("args.a | args.b", 8, "join conditions with ||"),
        ("args.a and args.b", 8, "join with && or AND"),
        ("args.a or args.b", 8, "join with || or OR"),
        ("not args.a", 1, "negate with ! or NOT"),
        ("args.a is true", 8, "compare with =="),
        ("args.a IN ['x']", 8, "write in"),
        ("args.a not in ['x']", 8, "write !(a in b)"),
        ("args.a NOT in ['x']", 8, "write !(a in b)"),
        ("args.a == True", 11, "write true"),
        ("args.a == null", 11, "has(args.note) or !has("),
        ("args.a + 1 > 2", 8, "no arithmetic"),
        ("args.a > -args.b", 10, "no arithmetic"),
        ("args.a ? 1 : 2", 8, "there is no '? :'"),
        ("args.a == “x”", 11, "plain quotes"),
        ("args.a == {1}", 11, "a list of values stands in [ ]"),
        ("args.a == §", 11, "'§' does not belong into a condition"),
        ("аrgs.a == 1", 1, "'а' does not belong into a condition"),  # Cyrillic
        ("args.a\u00a0== 1", 7, "does not belong into a condition"),
        ("args.a == 1e5", 11, "plain digits"),
        ("args.a == 007", 11, "plain digits"),
        ("args.a == .5", 11, "plain digits"),
        ("args.a == 1.", 11, "plain digits"),
        ("args.a == 0x10", 11, "plain digits"),
        ("args.a == 1000000000000000000", 11, "plain digits"),
        ("args.a == ٣", 11, "does not belong into a condition"),
        ("args.a == 'x", 11, "not closed; end it with '"),
        (r"args.a == 'x\d'", 13, r"\d is no escape here"),
        ("args.a == 'x\ny'", 13, "cannot stand in a string"),
        ("args.a == 'x\x00y'", 13, "cannot stand in a string"),
        ("args.a == '\ud800'", 12, "surrogate"),
        ("args.a < 1 < 2", 12, "do not chain"),
        ("args.a == args.b == args.c", 18, "do not chain"),
        ("!args.a == 1", 1, "write !(… == …)"),
        ("(args.a == 1) == true", 2, "not conditions"),
        ("args.a < true", 10, "no order"),
        ("tags == ['a']", 9, "write a in [ … ]"),
        ("args.a in 'abc'", 11, "expected a list after in"),
        ("args.a in []", 11, "empty list"),
        ("args.a in ['a', 1]", 17, "of one type"),
        ("args.a in ['a' 'b']", 16, "or ','"),
        ("args.a in [args.b]", 12, "expected a number, a quoted string, true or false"),
        ("1", 1, "not a number"),
        ("args.a && 'x'", 11, "the right of && is a comparison or a field of true and false, not a string"),
        ("!3", 2, "what ! negates"),
        ("size(args.a)", 1, "write size(…) > 0"),
        ("['a'] || args.a", 1, "not a list"),
        ("args.a &&", 10, "not the end of the condition"),
        ("&& args.a", 1, "not '&&'"),
        ("AND args.a", 1, "needs something on its left"),
        ("(args.a", 8, "to close the parenthesis at character 1"),
        ("args.a)", 7, "closes what was not opened"),
        ("args.a args.b", 8, "join conditions with && or ||"),
        ("args.", 6, "a name after the point"),
        ("args.in", 6, "a name after the point"),
        ("args.a[0] == 1", 7, "exists(item"),
        ("has(tier)", 5, "tier is none"),
        ("has(args.a == 1)", 12, "to close has("),
        ("has('x')", 5, "expected a field"),
        ("len(args.a) > 1", 1, "did you mean size?"),
        ("foo(args.a)", 1, "unknown function 'foo'; there are has(), size()"),
        ("args.a.startWith('x')", 8, "did you mean startsWith?"),
        ("args.a.startsWith(args.b)", 19, "takes a quoted string"),
        ("args.a.contains('x').size()", 21, "cannot follow"),
        ("args.a.matches('(')", 16, "RE2 does not take this pattern"),
        (r"args.a.matches('(a)\\1')", 16, "RE2 does not take this pattern"),
        ("args.a.matches('((a{30}){30}){30}')", 16, "RE2 does not take this pattern"),
        (r"args.a.matches('\\pL\\pL\\pL')", 16, "instructions; at most 2000"),
        ("args.a.exists(x, x.b.all(y, y))", 22, "inside another"),
        ("args.a.exists(x, x) && args.b.all(y, y)", 31, "one exists or all per condition"),
        ("args.a.exists(args, true)", 15, "has a meaning already"),
        ("args.a.exists(true, true)", 15, "a name for one element"),
        ("args.a.exists(x)", 16, "after the name of an element"),
        ("args.a.exists(x, 1)", 18, "what .exists( asks"),
        ("! NOT args.a", 3, "write !(NOT …)"),
    ],
)
def test_a_mistake_is_named_where_it_stands_with_what_to_write_instead(text: str, at: int, said: str) -> None:
    error = refused(text)
    assert said in str(error)
    assert error.at == at
    assert str(error).endswith(f"(at character {at} of the condition)")


# --- bounds -----------------------------------------------------------------------------------------------


def test_a_condition_has_at_most_four_thousand_characters_blanks_aside() -> None:
    def text(length: int) -> str:
        return "args.a == '" + "x" * (length - 10) + "'"

    parse_expression(text(MAX_CONDITION))
    error = refused(text(MAX_CONDITION + 1))
    assert "4001 characters" in str(error)
    assert error.at == MAX_CONDITION + 1
    assert "characters" in str(refused(" " * 1_000_000 + "args.a"))


def test_a_condition_has_at_most_256_nodes() -> None:
    parse_expression(" || ".join(["args.a"] * (MAX_NODES - 1)))
    assert "more than 256" in str(refused(" || ".join(["args.a"] * MAX_NODES)))


@pytest.mark.parametrize("level", ["({})", "!{}", "NOT {}", "!({})", "(args.b || {})"])
def test_a_condition_is_at_most_24_levels_deep(level: str) -> None:
    def nested(depth: int) -> str:
        text = "args.a"
        for _ in range(depth):
            text = level.format(text)
        return text

    parse_expression(nested(MAX_DEPTH))
    assert "nested deeper than 24 levels" in str(refused(nested(MAX_DEPTH + 1)))
    parse_expression(f"args.l.exists(x, {nested(MAX_DEPTH - 1)})")
    assert "nested deeper than 24 levels" in str(refused(f"args.l.exists(x, {nested(MAX_DEPTH)})"))


def test_thousands_of_parentheses_are_a_plain_error() -> None:
    assert "nested deeper" in str(refused("(" * 3_000))
    assert "nested deeper" in str(refused("!" * 3_000))


def test_a_list_has_at_most_200_values() -> None:
    parse_expression(f"args.a in [{', '.join(['1'] * MAX_ITEMS)}]")
    assert "more than 200 values" in str(refused(f"args.a in [{', '.join(['1'] * (MAX_ITEMS + 1))}]"))


def test_a_pattern_has_at_most_500_characters() -> None:
    parse_expression(f"args.a.matches('{'x' * MAX_PATTERN}')")
    assert "501 characters" in str(refused(f"args.a.matches('{'x' * (MAX_PATTERN + 1)}')"))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 2_000,
        "!" * 4_000,
        "args" + ".a" * 1_990,
        " && ".join(["args.a"] * 250),
        "args.a in [" + "1," * 199 + "1]",
        "NOT " * 1_000,
        "args.a == '" + "\\\\" * 1_900 + "'",
        "args.l.exists(x, " * 20,
    ],
)
def test_reading_takes_steps_linear_in_the_text(text: str) -> None:
    parser = Parser(text)
    tried(parser)
    assert parser.steps <= 3 * len(text)


@given(st.text("argstie.ab01 ()[]!&|<>='\",NOTANDOR", max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_text_costs_more_than_three_steps_a_character_or_anything_but_an_expression_error(
    text: str,
) -> None:
    parser = Parser(text)
    found = tried(parser)
    assert parser.steps <= 3 * len(text) + 3
    if isinstance(found, ExpressionError):
        assert 1 <= found.at <= len(text) + 1
    else:
        assert parse_expression(show(found)) == found


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@settings(max_examples=300, deadline=None)
def test_garbage_is_an_expression_error(text: str) -> None:
    found = tried(Parser(text))
    assert not isinstance(found, ExpressionError) or 1 <= found.at <= len(text) + 1


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_condition_is_read_or_refused_but_nothing_else(seed: int, data: st.DataObject) -> None:
    random = Random(seed)
    text = spell(Maker(random).expression(3), random)
    start = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.text("argst.()[]!&|<>=',\"\\ 19", max_size=4))
    damaged = text[:start] + damage + text[start + data.draw(st.integers(0, 4)) :]
    found = tried(Parser(damaged))
    assert isinstance(found, ExpressionError) or parse_expression(show(found)) == found


def test_steps_are_counted_and_capped() -> None:
    with pytest.raises(ExpressionError, match="more than 3 steps"):
        Parser("args.a && args.b", limit=3).parse()
