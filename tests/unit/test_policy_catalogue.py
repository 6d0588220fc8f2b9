"""The catalogue: which entry speaks, what arguments become, and what a reviewer reads."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.model.canonical import canonical
from interlock.model.errors import (
    BadTopic,
    ExcessDigits,
    InvalidInput,
    MissingField,
    NotANumber,
    NumberOutOfRange,
    TooLarge,
    UnknownField,
    WrongType,
)
from interlock.model.topics import TopicPattern
from interlock.policy import CallerExecute, CatalogueEntry, HttpExecute, Policy, parse
from interlock.policy.catalogue import Catalogue, overlap

POLICY = """
interlock: 1
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 500}]
    risk_tags: [money]
    args:
      amount_usd: {type: decimal, scale: 2, currency: USD}
      order_id: {type: string, max_length: 8}
      count: {type: integer, optional: true}
      ratio: {type: number, optional: true}
      urgent: {type: boolean, optional: true}
      meta: {type: object, optional: true}
      lines: {type: array, optional: true}
    roles: {amount: amount_usd}
    summary: Refund ${args.amount_usd} for {args.order_id} ({args.count}, {args.meta})
    worst_case: Money leaves
    constraints: {max_runtime_sec: 60, network_allowlist: [b.example, a.example], max_amount_usd: 1000}
    execute:
      http:
        method: POST
        url: "https://x.example/r"
        auth: pay
        idempotent: {retention: 24h}
        no_effect: [409, 400]
    undo: pay.reverse
    undo_within: 5m
  pay.reverse: {tier: 2, execute: {caller: {idempotent: {retention: 7d}}}}
  pay.euro:
    tier: 3
    args: {sum: {type: decimal, scale: 2, currency: EUR}, rate: {type: decimal, scale: 4}}
    roles: {amount: sum}
    summary: Pay {args.sum} at {args.rate}
  pay.bare: {tier: 1}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return parse({"p.yaml": POLICY})


def refund(**changes: Any) -> dict[str, Any]:
    return {"amount_usd": "5", "order_id": "A-12", **changes}


def test_arguments_become_canonical(policy: Policy) -> None:
    checked = policy.check_args(
        "pay.refund",
        refund(
            amount_usd=Decimal("1200"),
            count=3,
            ratio=Decimal("0.5"),
            urgent=True,
            meta={"a": Decimal("1.5")},
            lines=(1, "b"),
        ),
    )
    assert checked == {
        "amount_usd": "1200.00",
        "order_id": "A-12",
        "count": 3,
        "ratio": 0.5,
        "urgent": True,
        "meta": {"a": 1.5},
        "lines": [1, "b"],
    }


@pytest.mark.parametrize(
    ("changes", "error", "path"),
    [
        ({"amount_usd": "5.001"}, ExcessDigits, "$.args.amount_usd"),
        ({"amount_usd": True}, WrongType, "$.args.amount_usd"),
        ({"amount_usd": None}, WrongType, "$.args.amount_usd"),
        ({"amount_usd": Decimal("NaN")}, NotANumber, "$.args.amount_usd"),
        ({"amount_usd": "-5"}, NumberOutOfRange, "$.args.amount_usd"),
        ({"amount_usd": -0.01}, NumberOutOfRange, "$.args.amount_usd"),
        ({"amount_usd": 10**18}, NumberOutOfRange, "$.args.amount_usd"),
        ({"order_id": 12}, WrongType, "$.args.order_id"),
        ({"order_id": "A" * 9}, InvalidInput, "$.args.order_id"),
        ({"order_id": "\ud800"}, InvalidInput, "$.args.order_id"),
        ({"count": True}, WrongType, "$.args.count"),
        ({"count": 1.0}, WrongType, "$.args.count"),
        ({"count": "1"}, WrongType, "$.args.count"),
        ({"count": 2**53}, NumberOutOfRange, "$.args.count"),
        ({"ratio": True}, WrongType, "$.args.ratio"),
        ({"ratio": float("nan")}, NotANumber, "$.args.ratio"),
        ({"ratio": Decimal("0.1000000000000000000001")}, NumberOutOfRange, "$.args.ratio"),
        ({"urgent": 1}, WrongType, "$.args.urgent"),
        ({"meta": []}, WrongType, "$.args.meta"),
        ({"meta": {"a": object()}}, WrongType, "$.args.meta.a"),
        ({"lines": "abc"}, WrongType, "$.args.lines"),
        ({"amount": 5}, UnknownField, "$.args.amount"),
        ({1: 5}, WrongType, "$.args"),
    ],
)
def test_a_wrong_argument_is_refused_at_its_path(
    policy: Policy, changes: dict[Any, Any], error: type[InvalidInput], path: str
) -> None:
    with pytest.raises(error) as caught:
        policy.check_args("pay.refund", {**refund(), **changes})
    assert caught.value.path == path


def test_an_unknown_argument_suggests_the_declared_one(policy: Policy) -> None:
    with pytest.raises(UnknownField, match="did you mean 'amount_usd'"):
        policy.check_args("pay.refund", refund(amount_us=5))


def test_a_missing_argument_is_refused_and_an_optional_one_may_be_missing_or_null(policy: Policy) -> None:
    with pytest.raises(MissingField) as caught:
        policy.check_args("pay.refund", {"order_id": "A"})
    assert caught.value.path == "$.args.amount_usd"
    assert "count" not in policy.check_args("pay.refund", refund())
    assert policy.check_args("pay.refund", refund(count=None))["count"] is None


@pytest.mark.parametrize("topic", ["pay.bare", "nobody.knows"])
def test_undeclared_arguments_pass_only_if_json_can_carry_them(policy: Policy, topic: str) -> None:
    assert policy.check_args(topic, {"x": Decimal("1.5"), "y": [None]}) == {"x": 1.5, "y": [None]}
    for bad in ({"x": float("inf")}, {"x": {1: 2}}, {"x": 2**60}, {2: 1}, [1], {"x": b""}):
        with pytest.raises(InvalidInput):
            policy.check_args(topic, bad)  # type: ignore[arg-type]
    with pytest.raises(TooLarge):
        policy.check_args(topic, {"x": "a" * (1 << 20)})


@given(
    st.dictionaries(
        st.sampled_from(["amount_usd", "order_id", "count", "x"]),
        st.one_of(st.text(max_size=9), st.integers(), st.floats(), st.none(), st.booleans(), st.decimals()),
    )
)
def test_whatever_passes_has_canonical_bytes_and_stays_the_same(args: dict[str, Any]) -> None:
    policy = _SHARED
    try:
        checked = policy.check_args("pay.refund", args)
    except InvalidInput:
        return
    assert canonical(checked)
    assert policy.check_args("pay.refund", checked) == checked


_SHARED = parse({"p.yaml": POLICY})


# --- what a reviewer reads --------------------------------------------------------------------------------


def render(policy: Policy, topic: str, args: dict[str, Any]) -> str:
    entry = policy.entry(topic)
    assert entry is not None
    return entry.render(policy.check_args(topic, args), topic)


def test_a_title_shows_money_as_money_and_says_what_is_missing(policy: Policy) -> None:
    title = render(policy, "pay.refund", refund(amount_usd="1200", meta={"a": [1, "b"]}))
    assert title == 'Refund $1,200.00 for A-12 ((none), {"a":[1,"b"]})'
    assert render(policy, "pay.euro", {"sum": "1200", "rate": "1.5"}) == "Pay 1,200.00 EUR at 1.5000"


def test_a_title_is_one_line_without_unseen_characters_and_cut(policy: Policy) -> None:
    title = render(policy, "pay.refund", refund(order_id="A\n\u202eB\tC"))
    assert "A⟨U+000A⟩⟨U+202E⟩B⟨U+0009⟩C" in title
    assert len(render(policy, "pay.bare", {"x": "y" * 5_000})) < 300
    assert "more characters" in render(policy, "pay.bare", {"x": "y" * 5_000})


def test_a_template_of_several_lines_and_a_value_that_looks_like_money_stay_what_they_are() -> None:
    policy = parse(
        {"p": r'{interlock: 1, actions: {a.b: {tier: 1, args: {x: string}, summary: "a\n${args.x}"}}}'}
    )
    assert render(policy, "a.b", {"x": "$5"}) == "a⟨U+000A⟩$$5"


def test_without_a_template_a_value_cannot_imitate_another_argument(policy: Policy) -> None:
    assert render(policy, "pay.bare", {"order_id": "A-12", "n": 5}) == "pay.bare: n=5, order_id=A-12"
    forged = render(policy, "pay.bare", {"order_id": "A-12, amount_usd=5.00"})
    assert forged == 'pay.bare: order_id="A-12, amount_usd=5.00"'


def test_a_title_does_not_depend_on_the_order_of_arguments(policy: Policy) -> None:
    entry = policy.entry("pay.bare")
    assert entry is not None
    assert entry.render({"a": 1, "b": 2}) == entry.render({"b": 2, "a": 1})


def test_money_is_the_amount_and_its_currency(policy: Policy) -> None:
    pay, euro, bare = (policy.entry(f"pay.{name}") for name in ("refund", "euro", "bare"))
    assert pay is not None
    assert euro is not None
    assert bare is not None
    assert pay.money({"amount_usd": "5.00"}) == ("5.00", "USD")
    assert euro.money({"sum": "5.00"}) == ("5.00", "EUR")
    assert (pay.money({}), bare.money({"amount_usd": "5.00"})) == (None, None)
    assert pay.amount_usd({"amount_usd": "5.00"}) == 5
    assert (euro.amount_usd({"sum": "5.00"}), pay.amount_usd({"amount_usd": "-5.00"})) == (None, None)


def test_an_entry_says_how_it_is_executed_and_all_of_it_is_in_its_json(policy: Policy) -> None:
    pay, reverse = policy.entry("pay.refund"), policy.entry("pay.reverse")
    assert pay is not None
    assert reverse is not None
    assert pay.execute == HttpExecute("POST", "https://x.example/r", "pay", 86_400, (400, 409))
    assert reverse.execute == CallerExecute(604_800)
    assert pay.undo_within_sec == 300
    value = pay.to_json()
    assert set(value) == set(CatalogueEntry.__slots__) - {"tags", "decimals", "undo_sources"}
    assert canonical(value) == canonical(
        Policy.from_canonical(policy.canonical()).entry("pay.refund").to_json()
    )  # type: ignore[union-attr]


# --- which entry ------------------------------------------------------------------------------------------


def test_the_exact_key_wins_then_the_most_specific_pattern() -> None:
    keys = ["a.**", "a.*.c", "a.b.c", "a.b.*", "*.b.c", "a.b.**", "*.*.*"]
    actions = ", ".join(f"'{key}': {{tier: 3}}" for key in keys)
    policy = parse({"p": f"interlock: 1\nactions: {{{actions}}}"})

    def speaks(topic: str) -> str | None:
        entry = policy.entry(topic)
        return entry and entry.pattern

    assert speaks("a.b.c") == "a.b.c"
    assert speaks("a.b.x") == "a.b.*"
    assert speaks("a.x.c") == "a.*.c"
    assert speaks("x.b.c") == "*.b.c"
    assert speaks("x.y.z") == "*.*.*"
    assert speaks("a.b.x.y") == "a.b.**"
    assert speaks("a.x") == "a.**"
    assert speaks("x.y") is None


_PATTERNS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=2, max_size=4).map(".".join)
_ANY = st.one_of(_PATTERNS, _PATTERNS.map(lambda p: p + ".**"), st.just("*"))
_TOPICS = [".".join(t) for n in (2, 3, 4, 5) for t in product("ab", repeat=n)]


@given(_ANY, _ANY)
def test_overlap_means_that_some_topic_matches_both(one: str, other: str) -> None:
    p, q = TopicPattern.parse(one), TopicPattern.parse(other)
    assert overlap(p, q) == overlap(q, p) == any(p.matches(t) and q.matches(t) for t in _TOPICS)


@given(st.lists(_ANY, unique=True, max_size=6), st.sampled_from(_TOPICS))
def test_the_entry_does_not_depend_on_where_it_stands(keys: list[str], topic: str) -> None:
    entries = [CatalogueEntry(key, _SHARED.catalogue.entries[0].tier) for key in keys]
    assert Catalogue(entries).entry(topic) == Catalogue(reversed(entries)).entry(topic)


# --- knowing topics ---------------------------------------------------------------------------------------


def test_a_topic_is_known_if_it_is_catalogued_or_named() -> None:
    policy = parse(
        {
            "p": """
interlock: 1
actions: {a.b: {tier: 1}}
rules:
  - {match: {topics: [job.*.read, mail.send]}, decision: allow}
  - {match: {topics: ['*', ops.**]}, decision: deny}
"""
        }
    )
    assert policy.knows("a.b")
    assert policy.knows("job.users.read")
    assert not policy.knows("ops.deploy")
    assert not policy.knows("x.y")
    assert policy.suggest("a.bb") == "a.b"
    assert policy.suggest("mail.sent") == "mail.send"
    assert policy.suggest("completely.different.thing") is None


@pytest.mark.parametrize("topic", ["job", "job.pаyments.refund", "a..b", "A.b", "job.*.read"])
def test_what_is_no_topic_is_refused_before_any_pattern_sees_it(policy: Policy, topic: str) -> None:
    with pytest.raises(BadTopic):
        policy.entry(topic)
