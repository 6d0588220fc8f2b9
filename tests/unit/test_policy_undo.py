"""How an action is taken back, as a policy says it: what loads, what is warned of, what the undo is given."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.model.canonical import Json
from interlock.model.errors import PolicyError
from interlock.policy import CatalogueEntry, Policy, parse
from interlock.policy.undos import Source, Undo, parse_source

HTTP = 'execute: {http: {method: POST, url: "https://x.example/y"}}'
POLICY = """
interlock: 1
name: shop
actions:
  pay.charge:
    tier: 2
    args:
      order_id: string
      note: {{type: string, optional: true}}
      amount_usd: {{type: decimal, scale: 2, currency: USD}}
      euros: {{type: decimal, scale: 2, currency: EUR}}
      exact: {{type: decimal, scale: 4, currency: USD}}
      lines: array
      place: object
      count: integer
    roles: {{amount: amount_usd}}
    {execute}
    probe: {{http: {{url: "https://x.example/{{args.order_id}}", compare: [status, card.last4]}}}}
    undo: {undo}
    undo_within: 5m
  pay.void:
    tier: 3
    args:
      charge: string
      amount_usd: {{type: decimal, scale: 2, currency: USD, optional: true}}
      weight: {{type: number, optional: true}}
    roles: {{amount: amount_usd}}
    {execute}
"""


def load(undo: str, execute: str = HTTP) -> Policy:
    return parse({"policy.yaml": POLICY.format(undo=undo, execute=execute)})


def entry(undo: str) -> CatalogueEntry:
    found = load(undo).entry("pay.charge")
    assert found is not None
    return found


def given(undo: str, *, args: Any = None, result: Json = None, before: Json = None) -> dict[str, Json]:
    made = entry(undo).taken_back
    assert made is not None
    return made.arguments(args or {}, result, before, ("charge", "amount_usd", "weight"))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("{charg: args.order_id}", "takes no argument 'charg'; did you mean 'charge'?"),
        ("{amount_usd: args.amount_usd}", "needs charge"),
        ("{charge: args.order}", "names no declared argument; did you mean 'order_id'?"),
        ("{charge: args.note}", "is optional, and the undo needs it"),
        ("{charge: args.count}", "is an integer, and the undo takes a string"),
        ("{charge: args.order_id.first}", "has no fields"),
        ("{charge: args.order_id, amount_usd: args.euros}", "is in EUR"),
        ("{charge: args.order_id, amount_usd: args.exact}", "has 4 decimals"),
        ("{charge: before.stat}", "does not read 'stat'; did you mean 'status'?"),
        ("{charge: before.card}", "does not read 'card'"),
        ("{charge: order_id}", "charge"),
        ("{charge: args}", "charge"),
        ("{charge: args.order_id + 1}", "charge"),
        ("{charge: 'A-12'}", "charge"),
        ("{charge: env.HOME}", "charge"),
        ("{charge: result.}", "charge"),
        ("{charge: result..id}", "charge"),
        ("{charge: 7}", "charge"),
    ],
)
def test_a_mapping_that_cannot_be_right_does_not_load(mapping: str, words: str) -> None:
    with pytest.raises(PolicyError) as refused:
        load(f"{{topic: pay.void, args: {mapping}}}")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "mapping",
    [
        "{charge: args.order_id}",
        "{charge: result.body.id, amount_usd: args.amount_usd}",
        "{charge: before.status}",
        "{charge: before.card.last4}",
        "{charge: args.lines.0.id}",
        "{charge: args.place.street, weight: args.count}",
    ],
)
def test_a_mapping_that_may_be_right_loads_without_a_word(mapping: str) -> None:
    policy = load(f"{{topic: pay.void, args: {mapping}}}")
    assert not [warning for warning in policy.warnings if "pay.void" in warning]
    again = Policy.from_canonical(policy.canonical())
    assert again.snapshot == policy.snapshot
    one, two = policy.entry("pay.charge"), again.entry("pay.charge")
    assert one is not None
    assert two is not None
    assert one.to_json() == two.to_json()
    assert "undo_args" in one.to_json()


def test_what_an_undo_is_given_is_part_of_what_was_reviewed() -> None:
    digests = {
        load(f"{{topic: pay.void, args: {{charge: {path}}}}}").entry_digest("pay.charge")
        for path in ("args.order_id", "result.body.id", "before.status")
    }
    assert len(digests) == 3


def test_a_before_state_needs_a_probe() -> None:
    text = POLICY.format(undo="{topic: pay.void, args: {charge: before.status}}", execute=HTTP)
    without = "\n".join(line for line in text.splitlines() if "probe:" not in line)
    with pytest.raises(PolicyError, match="needs a probe"):
        parse({"policy.yaml": without})


def test_a_topic_alone_that_cannot_be_given_what_it_needs_is_a_warning() -> None:
    assert any(
        "takes 'charge', this action does not have" in warning for warning in load("pay.void").warnings
    )
    # A function of the caller may be called with what only the caller has.
    assert not any("pay.void" in warning for warning in load("pay.void", "execute: {caller: {}}").warnings)


def test_being_taken_back_by_the_same_call_is_a_warning() -> None:
    text = f"interlock: 1\nactions:\n  a.b: {{tier: 2, undo: a.b, undo_within: 5m, {HTTP}}}\n"
    assert any("changes nothing" in warning for warning in parse({"p": text}).warnings)


def test_an_undo_nobody_catalogued_is_a_warning_in_both_forms() -> None:
    for undo in ("pay.other", "{topic: pay.other, args: {any: result.id}}"):
        assert any("pay.other, which nobody catalogued" in warning for warning in load(undo).warnings)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("args.order_id", "A-12"),
        ("args.place.street", "Elm"),
        ("args.lines.1.id", "b"),
        ("args.lines.2.id", None),
        ("args.lines.01.id", None),
        ("args.lines.-1.id", None),
        ("args.order_id.0", None),
        ("result.body.id", "ch_1"),
        ("result.body.none", None),
        ("result.body.list", ["x"]),
        ("result.status.code", None),
        ("before.status", "open"),
        ("before.card.last4", "4242"),
        ("before.card", None),
    ],
)
def test_a_path_finds_what_is_there_and_nothing_else(path: str, value: Json) -> None:
    args: Json = {"order_id": "A-12", "place": {"street": "Elm"}, "lines": [{"id": "a"}, {"id": "b"}]}
    result: Json = {"status": 201, "body": {"id": "ch_1", "none": None, "list": ["x"]}}
    before: Json = {"status": "open", "card.last4": "4242"}
    source = parse_source(path)
    assert source.find({"args": args, "result": result, "before": before}[source.root]) == value
    assert source.text == path


@pytest.mark.parametrize("where", [None, "text", 7, [], {}])
def test_a_path_into_nothing_finds_nothing(where: Json) -> None:
    for path in ("args.a", "result.a.b", "result.0", "before.a"):
        assert parse_source(path).find(where) is None


def test_a_topic_alone_passes_what_the_undo_takes_and_no_more() -> None:
    undo = Undo("pay.void")
    args: dict[str, Json] = {"charge": "c", "amount_usd": "1.00", "note": None, "weight": None, "other": 1}
    assert undo.arguments(args, None, None, ("charge", "weight")) == {"charge": "c"}
    assert undo.arguments(args, None, None, None) == {"charge": "c", "amount_usd": "1.00", "other": 1}


def test_what_has_no_value_is_left_out_and_not_made_up() -> None:
    undo = "{topic: pay.void, args: {charge: result.body.id, amount_usd: args.amount_usd}}"
    assert given(undo, args={"amount_usd": "1.00"}) == {"amount_usd": "1.00"}
    assert given(undo, result={"body": {"id": "ch_1"}}) == {"charge": "ch_1"}
    assert entry(undo).taken_back == Undo(
        "pay.void",
        {"amount_usd": Source("args", ("amount_usd",)), "charge": Source("result", ("body", "id"))},
        300,
    )


@pytest.mark.parametrize(
    "path", ["", "a", "args", "args.", ".args", "args.a b", "args.ü", "args." + "a" * 65]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        parse_source(path)
