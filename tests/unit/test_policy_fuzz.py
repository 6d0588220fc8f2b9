"""The fuzzing targets, on a few thousand texts without a fuzzer: they run wherever the tests run."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import CONDITIONS, POLICIES, condition, mutated, policy
from interlock.policy import parse


@pytest.mark.parametrize("seed", POLICIES)
def test_the_seeds_are_policies(seed: str) -> None:
    parse({"p.yaml": seed})
    policy(seed)


@given(st.integers(0, 2**32))
@settings(max_examples=500, deadline=None)
def test_a_damaged_condition_keeps_every_promise_or_is_refused(seed: int) -> None:
    condition(mutated(Random(seed), CONDITIONS))


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_condition_that_keeps_every_promise_or_is_refused(text: str) -> None:
    condition(text)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_damaged_policy_keeps_every_promise_or_is_refused(seed: int) -> None:
    policy(mutated(Random(seed), POLICIES))


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_policy_that_keeps_every_promise_or_is_refused(text: str) -> None:
    policy(text)
    policy("interlock: 1\n" + text)


def _restricting(when: str) -> str:
    return f'interlock: 1\nrules: [{{match: {{topics: ["*"]}}, decision: deny, when: "{when}"}}]'


@pytest.mark.parametrize(
    "text",
    [
        "a: " * 5_000,
        "[" * 5_000,
        "{a: " * 5_000,
        "interlock: 1\nrules: " + "[" * 5_000 + "]" * 5_000,
        "interlock: 1\nrules:\n" + "".join(f"{'  ' * depth}- a:\n" for depth in range(1, 300)),
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "interlock: 1\n<<: {name: x}\n",
        "interlock: 1\nname: !!python/object/apply:os.system [id]\n",
        "interlock: 1\ninterlock: 1\n",
        "\ufeffinterlock: 1\n",
        "interlock: 1\nname: " + "x" * 64_000,
        "interlock: 1\nactions: {" + ", ".join(f"a.b{n}: {{tier: 4}}" for n in range(2_000)) + "}",
        _restricting("(" * 10_000),
        _restricting("NOT " * 5_000 + "tier == 4"),
        _restricting("args.a.matches('" + "(a{9}" * 9 + "){9}" * 9 + "')"),
        _restricting(" || ".join(["args.a.matches('(a|b)*a(a|b){90}c')"] * 80)),
    ],
    ids=range(16),
)
@pytest.mark.timeout(30)
def test_a_text_made_to_be_expensive_is_answered_all_the_same(text: str) -> None:
    policy(text)
