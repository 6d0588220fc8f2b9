"""Money: exact, of its currency's scale, and never rounded."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.model.errors import ExcessDigits, InvalidInput, NotANumber, NumberOutOfRange, WrongType
from interlock.model.money import decimal_of, fixed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1200", "1200.00"),
        ("12.5", "12.50"),
        ("12.500", "12.50"),
        (12, "12.00"),
        (0.1, "0.10"),
        (Decimal("1E+3"), "1000.00"),
        (Decimal("-0.00"), "0.00"),
        (-0.0, "0.00"),
        ("-3.10", "-3.10"),
        ("999999999999999999.99", "999999999999999999.99"),
        ("0.00", "0.00"),
        ("-0.00", "0.00"),
    ],
)
def test_an_amount_has_exactly_the_decimals_of_its_currency(value: Any, text: str) -> None:
    assert fixed(value, 2) == text


@pytest.mark.parametrize(
    "value",
    [
        "12.345",
        0.001,
        Decimal("0.005"),
        "100.00000000000000000000000000001",
        "99.99999999999999999999999999999999999",
        Decimal("100.000000000000000000000000000000000000001"),
        Decimal("1e-400"),
    ],
)
def test_excess_digits_are_an_error_and_never_a_rounding(value: Any) -> None:
    with pytest.raises(ExcessDigits):
        fixed(value, 2)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (True, WrongType),
        (None, WrongType),
        ([1], WrongType),
        (b"1", WrongType),
        ("", WrongType),
        ("1e3", WrongType),
        ("+1", WrongType),
        (" 1", WrongType),
        ("1\n", WrongType),
        ("01", WrongType),
        (".5", WrongType),
        ("1_000", WrongType),
        ("NaN", WrongType),
        ("१", WrongType),
        ("１", WrongType),
        ("1" * 65, WrongType),
        (float("nan"), NotANumber),
        (Decimal("sNaN"), NotANumber),
        (float("-inf"), NotANumber),
        (10**18, NumberOutOfRange),
        (Decimal("1e999999"), NumberOutOfRange),
        ("1000000000000000000.00", NumberOutOfRange),
    ],
)
def test_what_is_no_amount_is_refused_with_its_path(value: Any, error: type[InvalidInput]) -> None:
    with pytest.raises(error) as caught:
        fixed(value, 2, "$.args.amount")
    assert caught.value.path == "$.args.amount"


@given(st.decimals(-(10**17), 10**17, places=4), st.integers(0, 9))
def test_the_canonical_text_is_the_same_amount_or_there_is_none(value: Decimal, scale: int) -> None:
    try:
        text = fixed(value, scale)
    except ExcessDigits:
        assert (value * 10**scale) % 1 != 0
    else:
        assert Decimal(text) == value
        assert fixed(text, scale) == text
        assert len(text.partition(".")[2]) == scale


@given(st.text(max_size=12))
def test_no_text_reads_as_an_amount_that_it_does_not_spell(text: str) -> None:
    try:
        number = decimal_of(text)
    except InvalidInput:
        return
    assert text.isascii()
    assert str(number) == text or (number == 0 and text.startswith("-"))
