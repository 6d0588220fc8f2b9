"""Reading many entries: the fast way and the long way give the same answer, to everything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from exports import MADE, of, written
from interlock.verify.entry import KINDS, BadEntry, NotKnown, read_entry
from interlock.verify.fields import FIELDS, check_fields
from interlock.verify.reader import Reader

LONG = os.environ.get("INTERLOCK_LONG") == "1"
EXAMPLES = 100_000 if LONG else 300
pytestmark = pytest.mark.timeout(3600 if LONG else 300)
SAMPLES = list(written(of(kind) for kind in MADE if kind != "permit.minted"))
FLAT = [raw for raw in SAMPLES if b"[" not in raw]


def long_way(raw: bytes) -> dict[str, Any]:
    value = read_entry(raw)
    check_fields(value)
    return value


def answer(read: Callable[[bytes], dict[str, Any]], raw: bytes) -> object:
    try:
        return read(raw)
    except (BadEntry, NotKnown) as error:
        return type(error), str(error)


def primed() -> Reader:
    """A reader that knows the shape of every sample."""
    reader = Reader()
    for raw in SAMPLES:
        reader.read(raw)
    return reader


READER = primed()
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**65)
    | st.floats()
    | st.text(max_size=8)
    | st.text('\x00\x1f\x7f"\\/\b\f\n\r\t\u2028\u00e9\U00010000\ue000a', max_size=6)
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(FLAT), st.data())
def test_both_ways_agree_on_values(raw: bytes, data: st.DataObject) -> None:
    value = json.loads(raw)
    name = data.draw(st.sampled_from([*value, "new"]))
    value[name] = data.draw(scalars)
    try:
        changed = rfc8785.dumps(value)
    except (ValueError, TypeError):
        changed = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    assert answer(READER.read, changed) == answer(long_way, changed)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(FLAT), st.data())
def test_both_ways_agree_on_bytes(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(raw)))
    cut = data.draw(st.integers(0, 2))
    put = data.draw(
        st.sampled_from(
            [
                b"",
                b" ",
                b"0",
                b"-",
                b".0",
                b"e0",
                b"\\u0041",
                b"\\/",
                b"\\u00e9",
                b"\xc3\xa9",
                b"\xc3",
                b"\x00",
            ]
        )
        | st.binary(max_size=3)
    )
    changed = raw[:at] + put + raw[at + cut :]
    assert answer(READER.read, changed) == answer(long_way, changed)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(st.sampled_from(FLAT), st.booleans(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_both_ways_agree_on_spellings(raw: bytes, sort: bool, escape: bool, tight: bool, random: Any) -> None:
    pairs = list(json.loads(raw).items())
    if not sort:
        random.shuffle(pairs)
    separators = (",", ":") if tight else (", ", ": ")
    changed = json.dumps(dict(pairs), ensure_ascii=escape, separators=separators).encode()
    assert answer(READER.read, changed) == answer(long_way, changed)


@pytest.mark.parametrize("character", [chr(code) for code in range(0x80)] + ["\u2028", "é", "\U00010000"])
def test_every_character_is_spelled_as_the_standard_spells_it(character: str) -> None:
    value = json.loads(FLAT[0]) | {"reason": f"a{character}b"}
    raw = rfc8785.dumps(value)
    assert READER.read(raw) == value
    escaped = raw.replace(character.encode(), f"\\u{ord(character):04x}".encode())
    if escaped != raw:
        assert answer(READER.read, escaped) == answer(long_way, escaped)


@pytest.mark.parametrize(
    ("number", "good"),
    [
        (b"0", True),
        (b"9007199254740991", True),
        (b"9007199254740992", False),
        (b"18446744073709551615", False),
        (b"18446744073709551616", False),
        (b"-0", False),
        (b"-1", False),
        (b"00", False),
        (b"1.0", False),
        (b"1e3", False),
        (b"true", False),
        (b"NaN", False),
    ],
)
def test_a_time_is_one_plain_integer(number: bytes, good: bool) -> None:
    (raw,) = written([of("link.issued")])
    READER.read(raw)
    changed = raw.replace(b'"at":0', b'"at":' + number)
    assert isinstance(answer(READER.read, changed), dict) is good
    assert answer(READER.read, changed) == answer(long_way, changed)


def test_a_name_that_stands_twice_fails_in_a_known_shape() -> None:
    (raw,) = written([of("link.issued")])
    READER.read(raw)
    with pytest.raises(BadEntry, match="canonical"):
        READER.read(raw.replace(b'"at":0', b'"at":0,"at":0'))


def test_a_version_or_a_kind_that_is_not_known_is_not_read_in_a_known_shape() -> None:
    (raw,) = written([of("link.issued")])
    READER.read(raw)
    for old, new in ((b'"v":1', b'"v":2'), (b'"kernel":1', b'"kernel":2'), (b"link.issued", b"link.shown")):
        with pytest.raises(NotKnown):
            READER.read(raw.replace(old, new))


# --- fields -----------------------------------------------------------------------------------------------


def test_the_fields_of_every_kind_are_known() -> None:
    assert set(FIELDS) == KINDS


@pytest.mark.parametrize("kind", sorted(MADE))
def test_an_entry_without_a_field_that_it_needs_fails(kind: str) -> None:
    made = of(kind, **({"expires_at": 7} if kind == "permit.minted" else {}))
    for name, types in FIELDS[kind]:
        for value in (None, ..., True, 7, "x", [], {}):
            entry = {key: item for key, item in {**made, name: value}.items() if item is not ...}
            (raw,) = written([entry])
            fits = type(None) in types if value in (None, ...) else type(value) in types
            if fits:
                Reader().read(raw)
            else:
                with pytest.raises(BadEntry, match=f"`{name}`"):
                    Reader().read(raw)


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    (raw,) = written([of("link.issued", colour="red")])
    assert READER.read(raw)["colour"] == "red"


def test_unlimited_shapes_take_limited_memory() -> None:
    reader = Reader()
    for number in range(100):
        reader.read(next(written([of("link.issued", **{f"x{number}": 1})])))
    assert len(reader._shapes["link.issued"]) == 64


@pytest.mark.parametrize(
    ("known", "other"),
    [
        (1.5, b"1e300"),
        (1.5, b"1.0"),
        ({"a": 1}, b'{"b":1,"a":2}'),
        ([1], b"[1.0]"),
        ([{}], b'[{"b":1,"a":2}]'),
    ],
)
def test_fractions_and_nested_values_take_the_long_way_every_time(known: object, other: bytes) -> None:
    reader = Reader()
    (raw,) = written([of("link.issued", x=None)])
    good = raw.replace(b'"x":null', b'"x":' + rfc8785.dumps(known))  # type: ignore[arg-type]
    assert reader.read(good)["x"] == known
    with pytest.raises(BadEntry, match="canonical"):
        reader.read(raw.replace(b'"x":null', b'"x":' + other))
