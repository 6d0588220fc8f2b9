"""The catalogue's third way to execute: a named executor elsewhere."""

from __future__ import annotations

import pytest

from interlock.authoring.fmt import format_policy
from interlock.model.errors import PolicyError
from interlock.policy import PermittedExecute, Policy, parse

POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    execute: {permitted: {executor: shop-host}}
"""


def policy(text: str = POLICY) -> Policy:
    return parse({"policy.yaml": text})


def test_the_executor_is_part_of_the_entry_and_of_its_digest() -> None:
    entry = policy().entry("pay.refund")
    assert entry is not None
    assert entry.execute == PermittedExecute("shop-host")
    assert entry.to_json()["execute"] == {"kind": "permitted", "executor": "shop-host", "offline": False}
    other = policy(POLICY.replace("shop-host", "other-host"))
    assert other.entry_digest("pay.refund") != policy().entry_digest("pay.refund")
    assert other.snapshot != policy().snapshot
    assert Policy.from_canonical(policy().canonical()).entry("pay.refund") == entry


NOTES = """
interlock: 1
name: shop
actions:
  notes.add:
    tier: 2
    args: {text: string}
    execute: {permitted: {executor: shop-host, offline: true}}
    undo: notes.drop
    undo_within: 1m
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
"""


def test_offline_is_said_in_the_catalogue_or_it_is_not_so() -> None:
    silent, no = NOTES.replace(", offline: true", ""), NOTES.replace("true", "false")
    assert policy(silent).snapshot == policy(no).snapshot
    assert policy(silent).entry_digest("notes.add") == policy(no).entry_digest("notes.add")
    entry = policy(no).entry("notes.add")
    assert entry is not None
    assert entry.execute == PermittedExecute("shop-host", offline=False)


def test_offline_is_part_of_the_entry_and_of_its_digest() -> None:
    entry = policy(NOTES).entry("notes.add")
    assert entry is not None
    assert entry.execute == PermittedExecute("shop-host", offline=True)
    silent = policy(NOTES.replace(", offline: true", ""))
    assert silent.entry_digest("notes.add") != policy(NOTES).entry_digest("notes.add")
    assert silent.snapshot != policy(NOTES).snapshot
    assert Policy.from_canonical(policy(NOTES).canonical()).entry("notes.add") == entry
    assert policy(NOTES).warnings == ()


@pytest.mark.parametrize("tier", ["3", "4"])
def test_what_a_person_looks_at_is_never_offline(tier: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(NOTES.replace("  notes.add:\n    tier: 2", f"  notes.add:\n    tier: {tier}"))
    assert "offline is for tiers 1 and 2" in str(caught.value)
    assert "policy.yaml:8:" in str(caught.value)


def test_offline_without_a_tier_does_not_load() -> None:
    with pytest.raises(PolicyError, match="tier"):
        policy(NOTES.replace("  notes.add:\n    tier: 2\n", "  notes.add:\n"))


def test_formatting_leaves_offline_where_it_is() -> None:
    """And what says nothing about it gains nothing."""
    text = (
        NOTES + "rules:\n  - {id: no, match: {topics: [notes.add]}, when: args.text == 'x', decision: deny}\n"
    )
    for written in (text, text.replace(", offline: true", "")):
        formatted = format_policy("policy.yaml", written)
        assert formatted.text != written
        assert formatted.text.split("rules:")[0] == written.split("rules:")[0]
        assert policy(formatted.text).entry("notes.add") == policy(written).entry("notes.add")


@pytest.mark.parametrize(
    "execute",
    [
        "{permitted: {}}",
        "{permitted: {executor: Shop}}",
        "{permitted: {executor: 'shop host'}}",
        "{permitted: {executor: ''}}",
        "{permitted: {executor: -shop}}",
        f"{{permitted: {{executor: {'x' * 65}}}}}",
        "{permitted: {executor: shop, idempotent: {retention: 1h}}}",
        "{permitted: {executor: shop}, caller: {}}",
        "{permitted: {executor: shop, offline: 1}}",
        "{permitted: {executor: shop, offline: 'true'}}",
        "{permitted: {executor: shop, offline: null}}",
        "{permitted: {offline: false}}",
        "{http: {method: GET, url: 'https://x/', offline: false}}",
        "{caller: {offline: false}}",
        "{kind: permitted, executor: shop}",
    ],
)
def test_an_executor_has_one_plain_name_and_is_the_only_one(execute: str) -> None:
    with pytest.raises(PolicyError):
        policy(POLICY.replace("{permitted: {executor: shop-host}}", execute))


def test_an_executor_elsewhere_is_held_to_every_limit() -> None:
    """The host enforces them; a function of the caller could not be held to a network, which is an error."""
    limits = "    constraints: {max_runtime_sec: 5, network_allowlist: [bank.example], max_amount_usd: 10}\n"
    assert policy(POLICY + limits).warnings == ()
    with pytest.raises(PolicyError, match="network_allowlist"):
        policy((POLICY + limits).replace("{permitted: {executor: shop-host}}", "{caller: {}}"))
