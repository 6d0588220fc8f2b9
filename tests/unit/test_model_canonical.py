"""Canonical bytes: one value, one byte string, or an error that points at the value."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.canonical import MAX_BYTES, MAX_DEPTH, MAX_INT, canonical, parse_json, plain
from interlock.model.errors import (
    DuplicateKey,
    InvalidInput,
    LoneSurrogate,
    MalformedJson,
    NotANumber,
    NumberOutOfRange,
    TooLarge,
    WrongType,
)

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
_NUMBERS = st.integers(-MAX_INT, MAX_INT) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


def nested(levels: int, innermost: Any) -> Any:
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("text", "error", "path"),
    [
        (b'{"a": {"b": 1, "b": 2}}', DuplicateKey, "$.a"),
        (b'[{"a": 1, "\\u0061": 2}]', DuplicateKey, "$[0]"),
        (b'{"a": [1, NaN]}', NotANumber, "$.a[1]"),
        (b'{"a": -Infinity}', NotANumber, "$.a"),
        (b'{"a": 9007199254740992}', NumberOutOfRange, "$.a"),
        (b'{"a": -9007199254740992}', NumberOutOfRange, "$.a"),
        (b'{"a": 123456789012345678901234567890}', NumberOutOfRange, "$.a"),
        (b'{"a": 1e99999999999999999999}', NumberOutOfRange, "$.a"),
        (b'{"a": ["x", "\\ud800"]}', LoneSurrogate, "$.a[1]"),
        (b'{"a": {"\\udfff": 1}}', LoneSurrogate, "$.a"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), MalformedJson, "$" + "[0]" * (MAX_DEPTH + 1)),
        (b"[" * 100_000, MalformedJson, "$"),
        (b"\xef\xbb\xbf{}", MalformedJson, "$"),
        (b'"\xff"', MalformedJson, "$"),
        (b'"\xed\xa0\x80"', MalformedJson, "$"),
        (b"{} {}", MalformedJson, "$"),
        (b'{"a": 01}', MalformedJson, "$"),
        (b'{"a": "\n"}', MalformedJson, "$"),
        (b"", MalformedJson, "$"),
        (b'"' + b"x" * MAX_BYTES + b'"', TooLarge, "$"),
    ],
)
def test_what_json_readers_disagree_about_is_refused_with_its_path(
    text: bytes, error: type[InvalidInput], path: str
) -> None:
    with pytest.raises(error) as caught:
        parse_json(text)
    assert caught.value.path == path


@pytest.mark.parametrize("text", [str(MAX_INT), str(-MAX_INT)])
def test_the_largest_safe_integers_pass(text: str) -> None:
    assert canonical(parse_json(text)) == text.encode()


def test_a_number_with_a_fraction_never_passes_through_a_float() -> None:
    assert parse_json("[0.1, 1e2, 10.00]") == [Decimal("0.1"), Decimal("1e2"), Decimal("10.00")]
    assert str(parse_json("10.00")) == "10.00"


@pytest.mark.parametrize(
    ("value", "error", "path"),
    [
        ({"a": [1, float("nan")]}, NotANumber, "$.a[1]"),
        ({"a": float("inf")}, NotANumber, "$.a"),
        ({"a": MAX_INT + 1}, NumberOutOfRange, "$.a"),
        ({"a": {"b": -MAX_INT - 1}}, NumberOutOfRange, "$.a.b"),
        (["x", {"a": "\ud83d"}], LoneSurrogate, "$[1].a"),
        ({"a": {"\ud83d": 1}}, LoneSurrogate, "$.a"),
        ({"a": {1: 2}}, WrongType, "$.a"),
        ({"a": (1, {2})}, WrongType, "$.a[1]"),
        ({"a": b"x"}, WrongType, "$.a"),
        ({"a": Decimal("1")}, WrongType, "$.a"),
        ({"é": 1, "a": object()}, WrongType, "$.a"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_path(
    value: Any, error: type[InvalidInput], path: str
) -> None:
    with pytest.raises(error) as caught:
        canonical(value)
    assert caught.value.path == path


@pytest.mark.parametrize("innermost", [1, 1.5, "é", None])
def test_the_depth_that_is_refused_does_not_depend_on_what_stands_innermost(innermost: Any) -> None:
    canonical(nested(MAX_DEPTH, innermost))
    with pytest.raises(InvalidInput):
        canonical(nested(MAX_DEPTH + 2, innermost))
    text = json.dumps(nested(MAX_DEPTH + 1, innermost))
    refused = []
    for reads in (parse_json, lambda t: canonical(json.loads(t))):
        try:
            reads(text)
        except InvalidInput:
            refused.append(reads)
    assert len(refused) in (0, 2), "reading and writing agree on the deepest value"


@given(_VALUES)
@settings(max_examples=150)
def test_canonical_bytes_agree_with_the_rfc_8785_library(value: Any) -> None:
    try:
        ours = canonical(value)
    except NumberOutOfRange:
        return
    assert ours == rfc8785.dumps(value)


@given(_VALUES)
@settings(max_examples=150)
def test_canonical_bytes_read_back_are_the_same_bytes(value: Any) -> None:
    """Whatever is hashed once can be read and hashed again; otherwise a sealed action could not be opened."""
    try:
        first = canonical(value)
    except NumberOutOfRange:
        return
    assert canonical(plain(parse_json(first))) == first
    assert canonical(json.loads(first)) == first


@pytest.mark.parametrize("value", [2.0**53, 9.007199254740994e15, 1e17, -1e20, 1e21, 1.7976931348623157e308])
def test_an_integer_beyond_2_to_the_53_is_refused_as_a_double_too(value: float) -> None:
    with pytest.raises(NumberOutOfRange) as caught:
        canonical({"args": {"x": value}})
    assert caught.value.path == "$.args.x"


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785, appendix B, without the doubles beyond 2^53-1, which are refused here
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555555", "333333333.3333333"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_numbers_are_written_as_rfc_8785_lists_them(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text.encode()


def test_keys_sort_by_utf_16_units_as_rfc_8785_shows() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = json.loads(canonical(dict.fromkeys(keys, 0)), object_pairs_hook=lambda pairs: pairs)
    assert [key for key, _ in written] == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_strings_are_escaped_as_rfc_8785_shows() -> None:
    assert canonical('\u20ac$\u000f\nA\'B"\\\\"/') == b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'


@pytest.mark.parametrize("text", ["0.1000000000000000055", "1e400", "1e-400", "9007199254740993.5", "1e17"])
def test_a_decimal_that_a_double_cannot_carry_is_refused_rather_than_rounded(text: str) -> None:
    with pytest.raises(NumberOutOfRange) as caught:
        plain({"a": [Decimal(text)]})
    assert caught.value.path == "$.a[0]"


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")])
def test_a_decimal_that_is_no_number_is_refused(value: Decimal) -> None:
    with pytest.raises(InvalidInput):
        plain({"a": value})


def test_a_value_that_contains_itself_is_refused_and_not_a_crash() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidInput):
        plain(loop)
    with pytest.raises(InvalidInput):
        canonical(loop)
