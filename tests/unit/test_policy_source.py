"""Reading YAML: what is refused, what a scalar means, and that every finding stands at its place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.errors import PolicyError
from interlock.policy import Policy, parse
from interlock.policy.findings import Finding, Place
from interlock.policy.source import MAX_DEPTH, MAX_TEXT, Tree, read


def tree(text: str) -> Tree:
    findings: list[Finding] = []
    found = read("p.yaml", text, findings)
    assert findings == []
    assert found is not None
    return found


def refusal(text: str) -> Finding:
    findings: list[Finding] = []
    read("p.yaml", text, findings)
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("on", "on"),
        ("no", "no"),
        ("True", "True"),
        ("12", 12),
        ("-3", -3),
        ("007", "007"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        ("0.7", Decimal("0.7")),
        ("1e2", Decimal("1e2")),
        ("2026-01-01", "2026-01-01"),
        ("12:30:00", "12:30:00"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("=", "="),
    ],
)
def test_a_scalar_has_one_meaning(text: str, value: Any) -> None:
    data = tree(f"k: {text}\n").data
    assert data == {"k": value}
    assert type(data["k"]) is type(value)


def test_a_fraction_is_read_from_its_text_and_never_through_a_float() -> None:
    assert str(tree("k: 0.1000000000000000055511151231257827").data["k"]) == (
        "0.1000000000000000055511151231257827"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x 1\n", "anchors"),
        ("a: *x\n", "aliases"),
        ("&k a: 1\n", "anchors"),
        ("a: !!python/object/apply:os.system [ls]\n", "tags"),
        ("a: !!binary aGk=\n", "tags"),
        ("a: !!str 1\n", "tags"),
        ("a: ! 1\n", "tags"),
        ("a: {<<: {b: 1}}\n", "merge keys"),
        ("? [a]\n: 1\n", "a key is a plain word"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "directives"),
        ("a: 1\n---\nb: 1\n", "second document"),
        ("\ufeffa: 1\n", "byte order mark"),
        ("a: 1\na: 2\n", "stands twice"),
        ("a: .nan\n", "not a number"),
        ("a: -.inf\n", "not a number"),
        ("a: 9007199254740992\n", "beyond 2^53-1"),
        ("a: " + "9" * 5000 + "\n", "beyond 2^53-1"),
        ("a:\n", "nothing stands here"),
        ("a: ~\n", "nothing stands here"),
        ("a: null\n", "nothing stands here"),
        ('a: "x\\u202ey"\n', "nobody can see"),
        ("a: x\u200by\n", "nobody can see"),
        ('a: "\\ud800"\n', "nobody can see"),
        ('a: "\\UFFFFFFFF"\n', "escape"),
        ("a: \x00\n", "not allow"),
        ("a: [1\n", "not YAML"),
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- " * (MAX_DEPTH + 2) + "x", "nested deeper"),
        ("[" * 50_000, "nested deeper"),
        ("#" * (MAX_TEXT + 1), "at most"),
    ],
)
def test_what_is_not_plain_data_is_refused(text: str, words: str) -> None:
    assert words in refusal(text).message


def test_a_refusal_points_at_line_and_column() -> None:
    assert refusal("rules:\n  - id: a\n    id: b\n").place == Place("p.yaml", 3, 5)


def test_keys_and_values_know_where_they_stand() -> None:
    places = tree("rules:\n  - match: {topics: [a.b, c.d]}\n").places
    assert places.key(("rules", 0, "match")) == Place("p.yaml", 2, 5)
    assert places.value(("rules", 0, "match", "topics", 1)) == Place("p.yaml", 2, 27)
    assert places.value(("rules", 0, "nowhere")) == Place("p.yaml", 2, 5)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("abir:-[]{}&*!%?|>'\"#\n\t ,.\\ux01~<")), max_size=60))
def test_any_text_loads_or_is_refused_with_findings(text: str) -> None:
    for candidate in (text, "interlock: 1\n" + text):
        try:
            loaded: Policy | None = parse({"p.yaml": candidate})
        except PolicyError as error:
            loaded, reasons = None, error.extra["findings"]
        assert loaded is not None or reasons
