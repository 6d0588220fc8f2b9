"""What a condition may ask of which fields, and what a reported value may do, decided from the text alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conditions_at_random import document
from interlock.model.verdicts import Tier
from interlock.policy.catalogue import ArgKind, ArgType, CatalogueEntry
from interlock.policy.closures import Truth, compile_expression
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import WORKFLOW_ROOTS
from interlock.policy.syntax import Expr
from interlock.policy.typecheck import MAX_PROBLEMS, Scope, check_types, only_tightens, reads_reported

REFUND = CatalogueEntry(
    "pay.refund",
    Tier(3),
    args={
        "amount_usd": ArgType("decimal", scale=2, currency="USD"),
        "count": ArgType("integer"),
        "note": ArgType("string"),
        "urgent": ArgType("boolean"),
        "items": ArgType("array"),
        "customer": ArgType("object"),
    },
)
CHARGE = CatalogueEntry("pay.charge", Tier(3), args={"amount_usd": ArgType("string")})
ANY = CatalogueEntry("pay.any", Tier(3))
SCOPE = Scope((REFUND, ANY), {"prior_refunds": "number", "plan": "string"})


def complaints(text: str, scope: Scope = SCOPE) -> list[tuple[str, str | None, int]]:
    return [(p.message, p.suggestion, p.at) for p in check_types(parse_expression(text), scope)]


@pytest.mark.parametrize(
    "text",
    [
        "args.amount_usd >= 100 && args.count < 3.5 && args.note == 'x' && args.urgent",
        "args.note < 'b' && args.urgent != true && args.amount_usd > args.count",
        "args.items.exists(i, i.price > 3 && i.name in ['a']) && size(args.items) > 1",
        "args.customer.address.city == 'Oslo' && has(args.customer.name)",
        "'x' in args.items && args.note.matches('a') && args.note in args.items",
        "facts.prior_refunds < 3 && facts.plan == 'pro' && provenance.recipient in ['user', 'known']",
        "signals.confidence < 1 && signals.sentiment >= -1 && has(signals.duplicate_of)",
        "tier in [3, 4] && topic.startsWith('pay.') && 'prod' in tags && args.note in tags",
        "signals.deadline_sec < args.count && tier == 3",
        "topic == 'pay.refund' || topic in ['pay.any'] || topic < 'q' || topic.contains('Refund')",
    ],
)
def test_a_condition_that_fits_its_fields_has_no_problems(text: str) -> None:
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("text", "message", "suggestion", "at"),
    [
        ("args.amount > 1", "pay.refund declares no argument 'amount'", "args.amount_usd", 1),
        ("tier == 3 && args.nte == 'x'", "pay.refund declares no argument 'nte'", "args.note", 14),
        ("args.note > 1", "args.note of pay.refund is a string, compared with a number", None, 1),
        ("1 < args.note", "args.note of pay.refund is a string, compared with a number", None, 5),
        (
            "args.count == args.note",
            "args.count of pay.refund is a number, compared with args.note of pay.refund, a string",
            None,
            1,
        ),
        (
            "args.amount_usd == '1.00'",
            "args.amount_usd of pay.refund is a number, compared with a string",
            None,
            1,
        ),
        ("args.urgent < args.urgent", "true and false have no order; compare with == or !=", None, 1),
        (
            "args.items == 1",
            "args.items of pay.refund is a list; ask whether something is in args.items, "
            "or for size(args.items)",
            None,
            1,
        ),
        (
            "args.customer == 'x'",
            "args.customer of pay.refund is an object; name something in it, such as args.customer.id",
            None,
            1,
        ),
        ("args.note.x == 1", "args.note of pay.refund is a string; nothing in it has a name", None, 1),
        ("args.note", "args.note of pay.refund is a string; a condition compares it with something", None, 1),
        ("'x' in args.note", "args.note of pay.refund is a string; in looks into a list", None, 8),
        ("args.note in [1]", "args.note of pay.refund is a string, looked up among numbers", None, 1),
        ("tier in tags", "tags are strings, tier is a number", None, 1),
        (
            "args.count.contains('1')",
            "args.count of pay.refund is a number; .contains() asks about a string",
            None,
            1,
        ),
        (
            "size(args.count) > 1",
            "args.count of pay.refund is a number; only strings and lists have a size",
            None,
            6,
        ),
        ("size(args.note) == 'x'", "size(args.note) is a number, compared with a string", None, 1),
        (
            "args.note.exists(x, x == 1)",
            "args.note of pay.refund is a string; .exists() ranges over a list",
            None,
            1,
        ),
        ("args.items.exists(i, i.p == args.nte)", "pay.refund declares no argument 'nte'", "args.note", 29),
        ("facts.prior_refund < 1", "no fact 'prior_refund' is declared", "facts.prior_refunds", 1),
        ("facts.plan > 1", "facts.plan is a string, compared with a number", None, 1),
        ("signals.confidense < 0.5", "unknown field 'signals.confidense'", "signals.confidence", 1),
        ("amount_usd > 1", "unknown field 'amount_usd'", "args.amount_usd", 1),
        ("tire == 3", "unknown field 'tire'", "tier", 1),
        ("result.x == 3", "unknown field 'result.x'", None, 1),
        ("signals.confidence < 7", "signals.confidence lies between 0 and 1", None, 1),
        ("tier in [3, 5]", "tier lies between 1 and 4", None, 1),
        ("-2 < signals.sentiment", "signals.sentiment lies between -1 and 1", None, 6),
        (
            "provenance.recipient == 'usr'",
            "provenance.recipient is user, known, record, untrusted or unseen, never 'usr'",
            "user",
            1,
        ),
        (
            "topic == 'pay.Refund'",
            "topic is never 'pay.Refund': character 5 ('R') is not one of a-z 0-9 _ - .",
            None,
            1,
        ),
        (
            "topic in ['pay.refund', 'pay']",
            "topic is never 'pay': it has one segment; a topic has two to sixteen",
            None,
            1,
        ),
        (
            "has(signals.retry_count)",
            "signals.retry_count always has a value; has() is always true of it",
            None,
            5,
        ),
        ("has(args.nte)", "pay.refund declares no argument 'nte'", "args.note", 5),
        ("1 == 'x'", "1 is a number, compared with a string", None, 1),
    ],
)
def test_what_a_field_cannot_answer_is_a_problem(
    text: str, message: str, suggestion: str | None, at: int
) -> None:
    assert (message, suggestion, at) in complaints(text)


def test_a_condition_must_fit_every_entry_its_rule_may_match() -> None:
    scope = Scope((REFUND, CHARGE))
    assert complaints("args.amount_usd > 1", scope) == [
        ("args.amount_usd of pay.charge is a string, compared with a number", None, 1)
    ]
    assert [message for message, _, _ in complaints("args.note == 'x'", scope)] == [
        "pay.charge declares no argument 'note'"
    ]
    # What does not depend on the entry is said once.
    assert len(complaints("args.amount_usd == args.amount_usd && tier == 5", scope)) == 1


def test_ten_thousand_entries_are_checked_once_for_each_way_they_declare_the_arguments() -> None:
    entries = [replace(REFUND, pattern=f"pay.refund{n}") for n in range(10_000)]
    assert complaints("args.count > 1 && args.note == 'x'", Scope((*entries, CHARGE))) == [
        ("pay.charge declares no argument 'count'", None, 1),
        ("pay.charge declares no argument 'note'", None, 19),
    ]
    assert complaints("args.note > 1", Scope(tuple(entries))) == [
        ("args.note of pay.refund0 (and 9999 more) is a string, compared with a number", None, 1)
    ]


def test_each_part_is_checked_against_each_way_of_declaring_what_it_reads() -> None:
    kinds: list[ArgKind] = ["string", "integer", "boolean"]
    entries = tuple(
        CatalogueEntry(f"a.{x}-{y}", Tier(1), args={"x": ArgType(x), "y": ArgType(y)})
        for x, y in itertools.product(kinds, kinds)
    )
    assert complaints("args.x == args.y", Scope(entries)) == [
        (f"args.x of a.{x}-{y} is {A[x]}, compared with args.y of a.{x}-{y}, {A[y]}", None, 1)
        for x, y in itertools.product(kinds, kinds)
        if x != y
    ]
    assert complaints("args.x == 'a' || args.y == 1", Scope(entries)) == [
        ("args.x of a.integer-string (and 2 more) is a number, compared with a string", None, 1),
        ("args.x of a.boolean-string (and 2 more) is true or false, compared with a string", None, 1),
        ("args.y of a.string-string (and 2 more) is a string, compared with a number", None, 18),
        ("args.y of a.string-boolean (and 2 more) is true or false, compared with a number", None, 18),
    ]


A = {"string": "a string", "integer": "a number", "boolean": "true or false"}


def test_of_very_many_problems_the_first_are_named() -> None:
    assert len(complaints(" && ".join(f"args.x{n} > 1" for n in range(60)), SCOPE)) == MAX_PROBLEMS


def test_outside_the_catalogue_any_argument_goes_but_no_other_field() -> None:
    assert complaints("args.whatever.deep > 1 && args.a == 'x'", Scope()) == []
    assert complaints("nothing == 1", Scope()) == [("unknown field 'nothing'", None, 1)]


def test_a_workflow_reads_results() -> None:
    assert complaints("result.amount < 100 && result.ok", Scope(roots=WORKFLOW_ROOTS)) == []


# --- what an agent reports --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("signals.confidence < 0.7", True),
        ("signals.confidence <= 0.7 && args.a == 1", True),
        ("0.7 > signals.confidence", True),
        ("!(signals.confidence >= 0.7)", True),
        ("!!(signals.confidence < 0.7)", True),
        ("!(args.a == 1 && 0.7 < signals.confidence)", True),
        ("args.l.exists(x, x > 1) || signals.confidence < 0.7", True),
        ("signals.retry_count > 3", True),
        ("signals.confidence > 0.7", False),
        ("0.7 < signals.confidence", False),
        ("signals.confidence == 0.7", False),
        ("signals.confidence != 0.7", False),
        ("!(signals.confidence < 0.7)", False),
        ("!!(signals.confidence > 0.7)", False),
        ("has(signals.confidence)", False),
        ("!has(signals.confidence)", False),
        ("signals.confidence in [0, 1]", False),
        ("signals.confidence < args.limit", False),
        ("args.limit > signals.confidence", False),
        ("signals.confidence < signals.anomaly_score", False),
        ("signals.confidence in args.l", False),
        ("args.l.exists(x, signals.confidence < 0.5)", False),
        ("args.l.exists(x, x > signals.confidence)", False),
        ("args.a || !(args.b && !(signals.confidence > 0.5))", False),
    ],
)
def test_reported_confidence_is_only_compared_so_that_more_of_it_never_helps(text: str, fine: bool) -> None:
    tree = parse_expression(text)
    found = only_tightens(tree)
    assert (found == []) is fine
    assert all("compare it with < or <= only" in problem.message for problem in found)
    assert reads_reported(tree) is ("confidence" in text)


def _about_confidence(random: Random) -> Expr:
    """A tree in which confidence stands often, and mostly where it may."""

    def atom(text: str) -> str:
        op = random.choice(["<", "<=", "<", "<=", ">"])
        return f"signals.confidence {op} 0.{random.randrange(1, 9)}" if random.random() < 0.5 else text

    parts = [atom(f"args.{random.choice('nm')} < {random.randrange(5)}") for _ in range(4)]
    shape = random.choice(
        (
            "{} && {}",
            "{} || {} && {}",
            "!({} && !({} || {}))",
            "!!({} || {}) && {}",
            "({} || {}) && ({} || {})",
        )
    )
    return parse_expression(shape.format(*parts))


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_whoever_reports_more_confidence_never_gains_a_match_and_nobody_gains_by_silence(seed: int) -> None:
    random = Random(seed)
    tree = _about_confidence(random)
    if only_tightens(tree):
        return
    check = compile_expression(tree)
    base = document(random).inputs

    def answer(confidence: str | None) -> Truth:
        reported = None if confidence is None else Decimal(confidence)
        return check(replace(base, signals=replace(base.signals, confidence=reported)))

    rank = {False: 0, None: 1, True: 2}
    answers = [answer(f"0.{digit}") for digit in range(10)]
    assert [rank[one] for one in answers] == sorted((rank[one] for one in answers), reverse=True)
    # A restrictive rule applies unless refuted: silence refutes nothing that some report would not.
    assert answer(None) is not False or set(answers) == {False}
