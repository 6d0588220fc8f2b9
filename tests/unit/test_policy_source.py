"""Reading YAML: what is refused, what a scalar means, and that every finding stands at its place."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.errors import PolicyError
from interlock.policy import Policy, parse, source
from interlock.policy.findings import Finding, Place
from interlock.policy.source import MAX_DEPTH, MAX_TEXT, Tree, read


def tree(text: str, file: str = "p.yaml") -> Tree:
    findings: list[Finding] = []
    found = read(file, text, findings)
    assert findings == []
    assert found is not None
    return found


def refusal(text: str, file: str = "p.yaml") -> Finding:
    findings: list[Finding] = []
    read(file, text, findings)
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
        ('a: "\\ud800"\n', "escape code"),
        ('a: "\\u2028"\n', "nobody can see"),
        ('a: "\\UFFFFFFFF"\n', "escape"),
        ("a: \x00\n", "does not belong here: ⟨U+0000⟩"),
        ("a: \ud800\n", "does not belong here: ⟨U+D800⟩"),
        ("# fine \u202e enif\na: 1\n", "misleads readers"),
        ("# one line\u2028rules: []\n", "misleads readers"),
        ("# one line\rrules: []\n", "misleads readers"),
        ("a: 1\x85b: 2\n", "misleads readers"),
        ("a: [1\n", "not YAML"),
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- " * (MAX_DEPTH + 2) + "x", "nested deeper"),
        ("[" * 50_000, "nested deeper"),
        ("{a: " * 50_000, "nested deeper"),
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


def test_a_test_may_write_an_unseen_character_as_an_escape_and_not_otherwise() -> None:
    def found(text: str, file: str = "p.test.yaml") -> Any:
        findings: list[Finding] = []
        tree = read(file, text, findings, escapes=True)
        return findings[0].message if findings else tree and tree.data

    assert found('a: ".g\\u200cit ✓"\n') == {"a": ".g\u200cit ✓"}
    assert found('{"a": "\\u202e"}', "p.json") == {"a": "\u202e"}
    assert "does not belong here: ⟨U+200C⟩" in found("b: é\na: .g\u200cit\n")
    assert "does not belong here: ⟨U+200C⟩" in found("# .g\u200cit\na: 1\n")
    assert "nobody can see: ⟨U+D800⟩" in found('{"a": "\\ud800"}', "p.json")


def test_windows_line_ends_and_emoji_in_comments_are_fine() -> None:
    assert tree("# ok ⚠️\r\na: 1\r\nb: 2\r\n").data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "text",
    [
        "k: " + "a" * (1 << 20),
        'k: "' + "\\u0041" * 150_000 + '"',
        "k: |\n" + " x\n" * 300_000,
        "\n" * (1 << 20),
        "- " * (1 << 19),
        "*a " * (1 << 18),
        "? " * (1 << 19),
        "k" * (1 << 20) + ": 1",
        "".join(f"k: '\u200b{i}'\n" for i in range(60_000)),
        "a: '" + "\u200b" * (1 << 18) + "'",
    ],
    ids=[
        "scalar",
        "escapes",
        "block",
        "blank",
        "dashes",
        "aliases",
        "questions",
        "key",
        "unseen",
        "invisible",
    ],
)
@pytest.mark.parametrize("file", ["p.yaml", "p.json"])
def test_a_big_text_is_read_or_refused_at_once(text: str, file: str) -> None:
    started = time.process_time()
    findings: list[Finding] = []
    read(file, text, findings)
    assert time.process_time() - started < 5  # far above what it takes; what it guards against takes minutes
    assert len(findings) <= 1_100


@pytest.mark.parametrize("file", ["p.yaml", "p.json"])
def test_values_are_counted_before_they_are_read(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_VALUES", 100)
    assert tree("[" + "1," * 98 + "1]", file).data == [1] * 99
    found = refusal("[" + "1," * 100_000 + "1]", file)
    assert found == Finding(Place(file, 1, 200), "more than 100 values in one file")


# --- JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [true, false, -0, 2.50, 1e2], "c": {}, "d": []}', None),
        ('"\\u00e9\\/\\ud83d\\ude00\\n\\t"', "é/😀\n\t"),
        ('"true"', "true"),
        (' \r\n\t{"a"\t:\r\n1}', None),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
    ],
)
def test_json_means_what_json_says(text: str, value: Any) -> None:
    found = tree(text, "p.json").data
    assert found == (json.loads(text, parse_float=Decimal) if value is None else value)
    assert type(found) is type(json.loads(text, parse_float=Decimal))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "this is not JSON: expected a value"),
        ("{", "expected a quoted key"),
        ("{'a': 1}", "expected a quoted key"),
        ('{"a": 1,}', "expected a quoted key"),
        ('{"a" 1}', "expected ':'"),
        ("[1 2]", "expected ',' or the closing sign"),
        ("[1}", "expected ',' or the closing sign"),
        ("[1,]", "expected a value"),
        ("[1] 2", "expected the end"),
        ("01", "expected a value"),
        ("NaN", "expected a value"),
        ("+1", "expected a value"),
        ("1.", "expected a value"),
        ('"a\nb"', "expected a value"),
        ('"\\x"', "expected a value"),
        ('"open', "expected a value"),
        ("# comment", "expected a value"),
        ('{"a": null}', "nothing stands here"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('"\\ud800"', "nobody can see"),
        ('"\\u202e"', "nobody can see"),
        ("[" * 50_000, "nested deeper"),
        ("9007199254740992", "beyond 2^53-1"),
        ("\ufeff{}", "byte order mark"),
    ],
)
def test_what_is_not_json_is_refused(text: str, words: str) -> None:
    assert words in refusal(text, "p.json").message


def test_json_knows_lines_and_columns() -> None:
    places = tree('{\n  "a": [1,\n    {"b": 2}]}', "p.json").places
    assert places.key(("a", 1, "b")) == Place("p.json", 3, 6)
    assert places.value(("a", 1, "b")) == Place("p.json", 3, 11)
    assert refusal('{\n  "a": x}', "p.json").place == Place("p.json", 2, 8)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.decimals(allow_nan=False, allow_infinity=False, places=3)
        | st.text(
            st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_characters="\x7f\xa0\xad")
        ).filter(lambda text: text.isprintable()),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from([None, 1, "\t"]),
)
def test_any_json_is_read_exactly(value: Any, indent: Any) -> None:
    text = json.dumps(value, indent=indent, default=float)
    assert tree(text, "p.json").data == json.loads(text, parse_float=Decimal)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from(list('{}[],:"\\u01e-. \ntrfalsn')), max_size=40))
def test_any_text_is_json_for_this_reader_only_where_it_is_json(text: str) -> None:
    findings: list[Finding] = []
    found = read("p.json", text, findings)
    try:
        json.loads(text)
    except ValueError:
        assert found is None
    assert (found is not None) or findings


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("abir:-[]{}&*!%?|>'\"#\n\t ,.\\ux01~<")), max_size=60))
def test_any_text_loads_or_is_refused_with_findings(text: str) -> None:
    for candidate in (text, "interlock: 1\n" + text):
        try:
            loaded: Policy | None = parse({"p.yaml": candidate})
        except PolicyError as error:
            loaded, reasons = None, error.extra["findings"]
        assert loaded is not None or reasons
