"""Money and other exact decimals.

1. A money argument declares scale and currency; its canonical form is a string of exactly that scale,
   ``"1200.00"``.
2. Decimals, integers and decimal strings are taken at their text. A float, as some frameworks hand over,
   is taken at its shortest text (``0.1`` is 0.1).
3. Excess digits are an error, never a rounding. So are booleans, NaN, infinities, exponents that only
   serve to hide size, and numbers of more than 18 integral digits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from interlock.model.errors import ExcessDigits, NotANumber, NumberOutOfRange, WrongType

MAX_INTEGRAL_DIGITS = 18
_TEXT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)


def decimal_of(value: Any, path: str = "$") -> Decimal:
    """The exact decimal that a value from outside denotes.

    Raises:
        WrongType: not a number and not a plain decimal string.
        NotANumber: NaN or an infinity.
        NumberOutOfRange: more than 18 integral digits.
    """
    if isinstance(value, bool):
        raise WrongType("true and false are not numbers", path=path)
    if isinstance(value, float):
        number = Decimal(repr(value))
    elif isinstance(value, int | Decimal) or (
        isinstance(value, str) and len(value) <= 64 and _TEXT.fullmatch(value)
    ):
        number = Decimal(value)
    else:
        raise WrongType('expected a decimal number or a string such as "12.50"', path=path)
    if not number.is_finite():
        raise NotANumber("NaN and infinities are not numbers", path=path)
    if number and number.adjusted() >= MAX_INTEGRAL_DIGITS:
        raise NumberOutOfRange(f"more than {MAX_INTEGRAL_DIGITS} integral digits", path=path)
    return number


def fixed(value: Any, scale: int, path: str = "$") -> str:
    """The canonical text of an amount: optional ``-``, digits, and exactly `scale` decimals.

    Raises:
        ExcessDigits: the value has digits beyond `scale`.
        WrongType, NotANumber, NumberOutOfRange: as `decimal_of`.
    """
    if type(value) is str and _canonical(scale).fullmatch(value):
        return value
    number = decimal_of(value, path)
    if not number:
        number = Decimal(0)
    if _decimals(number) > scale:
        raise ExcessDigits(f"more than {scale} decimals", path=path)
    return f"{number:.{scale}f}"


@lru_cache(maxsize=64)
def _canonical(scale: int) -> re.Pattern[str]:
    """Texts that are canonical as they stand; no others, and not all of them."""
    digits = rf"(0|[1-9][0-9]{{0,{MAX_INTEGRAL_DIGITS - 1}}})"
    return re.compile(digits + (rf"\.[0-9]{{{scale}}}" if scale else ""), re.ASCII)


def _decimals(number: Decimal) -> int:
    """Digits after the point, trailing zeros aside; read from the digits, since arithmetic would round."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    zeros = 0
    for digit in reversed(digits):
        if digit:
            break
        zeros += 1
    return max(0, -exponent - zeros)
