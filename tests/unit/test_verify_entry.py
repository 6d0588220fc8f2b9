"""Reading entries: one spelling, known versions, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ledger import Kind, entry
from interlock.verify.entry import KINDS, BadEntry, NotKnown, read_entry

GOOD = entry(Kind.KEY_ADDED, at=7, namespace="default", key="key_1")
HEAD = {"v": 1, "kernel": 1, "kind": "key.added", "at": 7, "namespace": "default"}


def test_the_verifier_knows_exactly_the_kinds_that_are_written() -> None:
    assert {kind.value for kind in Kind} == KINDS


def test_what_the_ledger_writes_is_read() -> None:
    assert read_entry(GOOD) == {**HEAD, "key": "key_1"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.text('\x00\x1f\x7f"\\/\b\f\n\r\t\u2028é\U00010000\ue000a', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(json_values)
def test_every_value_passes_in_rfc_8785_form(value: Any) -> None:
    raw = rfc8785.dumps({**HEAD, "x": value})
    assert rfc8785.dumps(read_entry(raw)) == raw


@settings(max_examples=200)
@given(json_values, st.booleans(), st.booleans(), st.booleans())
def test_any_other_spelling_of_a_value_fails(value: Any, sort: bool, escape: bool, tight: bool) -> None:
    value = {**HEAD, "x": value}
    separators = (",", ":") if tight else (", ", ": ")
    raw = json.dumps(value, sort_keys=sort, ensure_ascii=escape, separators=separators).encode()
    if raw == rfc8785.dumps(value):
        assert read_entry(raw) == value
    else:
        with pytest.raises(BadEntry):
            read_entry(raw)


def test_keys_stand_in_the_order_of_utf_16_not_of_code_points() -> None:
    first, second = '"\U00010000":0'.encode(), '"\ue000":0'.encode()
    by_unit = GOOD[:-1] + b"," + first + b"," + second + b"}"
    assert rfc8785.dumps(json.loads(by_unit)) == by_unit
    assert read_entry(by_unit)["\ue000"] == 0
    with pytest.raises(BadEntry, match="canonical"):
        read_entry(GOOD[:-1] + b"," + second + b"," + first + b"}")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"\n",
        b" " + GOOD,
        GOOD[:-1],
        GOOD + GOOD,
        GOOD.replace(b'"at":7', b'"at":7,"at":7'),
        GOOD.replace(b'"at":7', b'"at":7.0'),
        GOOD.replace(b'"at":7', b'"at":-7'),
        GOOD.replace(b'"at":7', b'"at":true'),
        GOOD.replace(b'"at":7', b'"at":"7"'),
        GOOD.replace(b'"at":7', b'"at":9007199254740992'),
        GOOD.replace(b'"at":7', b'"at":' + b"9" * 6000),
        GOOD.replace(b'"at":7,', b""),
        GOOD.replace(b'"v":1', b'"v":true'),
        GOOD.replace(b'"v":1', b'"v":"1"'),
        GOOD.replace(b'"v":1', b'"v":0'),
        GOOD.replace(b',"v":1', b""),
        GOOD.replace(b'"kernel":1,', b""),
        GOOD.replace(b'"kernel":1', b'"kernel":null'),
        GOOD.replace(b'"key.added"', b"3"),
        GOOD.replace(b'"default"', b'""'),
        GOOD.replace(b'"default"', b'"a\\u0000b"'),
        GOOD.replace(b'"key_1"', b"NaN"),
        GOOD.replace(b'"key_1"', b"-Infinity"),
        GOOD.replace(b'"key_1"', b"1e999"),
        GOOD.replace(b'"key_1"', b"-0"),
        GOOD.replace(b'"key_1"', b"9007199254740993"),
        GOOD.replace(b'"key_1"', b"9" * 6000),
        GOOD.replace(b'"key_1"', b'"\\ud800"'),
        GOOD.replace(b'"key_1"', b'"\\u0041"'),
        GOOD.replace(b'"key_1"', b"[" * 30_000 + b"]" * 30_000),
        GOOD.replace(b'"key_1"', b'"' + "é".encode("latin-1") + b'"'),
    ],
)
def test_bytes_that_are_no_entry_fail(raw: bytes) -> None:
    with pytest.raises(BadEntry):
        read_entry(raw)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"v":1', b'"v":2'), (b'"kernel":1', b'"kernel":7'), (b"key.added", b"key.shown")],
)
def test_a_later_version_is_not_known_rather_than_wrong(old: bytes, new: bytes) -> None:
    with pytest.raises(NotKnown):
        read_entry(GOOD.replace(old, new))
