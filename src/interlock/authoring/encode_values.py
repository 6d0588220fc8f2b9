"""Single values of an action, as variables: numbers, texts, and fields that may be one thing or another.

1. Numbers are whole multiples of a unit: of an argument's own scale, or for free numbers of one that is three
   digits finer than any literal or scale of the policy. Numbers are only ever compared, so a finer unit would
   show nothing new.
2. Of a text it is known which literal it is (`TextVariable.code`), or that it is none of them, and how long
   it is. Which texts there are is `encode_texts`' business.
3. A field is missing, or has one of its shapes. What it is in another shape is nobody's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from interlock.authoring.encode_logic import TURNED, Flag, Term, Whole, both, compared, no, some
from interlock.policy.patterns import pattern_of, search

Path: TypeAlias = tuple[str, ...]
Shape: TypeAlias = Literal["number", "string", "boolean", "list", "object", "null"]

SHAPES: Mapping[str, Shape] = {
    "integer": "number",
    "number": "number",
    "decimal": "number",
    "string": "string",
    "boolean": "boolean",
    "array": "list",
    "object": "object",
}
"""The shape of each declared type."""

# --- numbers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A number: `units` of ``10 ** -scale``, where `given`. `infinite`: larger than any number."""

    given: Term
    units: Whole | int
    scale: int = 0
    infinite: Term = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Which numbers there are: multiples of ``10 ** -scale`` between two bounds, in units."""

    scale: int = 0
    low: int | None = None
    high: int | None = None


def number_of(value: Decimal | int) -> Number:
    """A literal."""
    return Number(True, *exact_units(Fraction(value)))


def exact_units(value: Fraction) -> tuple[int, int]:
    """Units and scale of a decimal fraction."""
    scale = 0
    while value.denominator != 1:
        value, scale = value * 10, scale + 1
    return value.numerator, scale


def text_of_units(units: int, scale: int) -> str:
    """A number in digits, as many behind the point as the scale says."""
    return f"{Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -scale)):f}"


def digits_of(values: Iterable[Decimal]) -> int:
    """The most digits behind the point."""
    return max((exact_units(Fraction(value))[1] for value in values), default=0)


def compare(op: str, one: Number, other: Number) -> Term:
    """How two numbers that are given compare."""
    finite = _finite(op, one, other)
    if one.infinite is False and other.infinite is False:
        return finite
    above, below = op in (">", ">=", "!="), op in ("<", "<=", "!=")
    return some(
        (
            both(no(one.infinite), no(other.infinite), finite),
            both(one.infinite, no(other.infinite), above),
            both(no(one.infinite), other.infinite, below),
            both(one.infinite, other.infinite, op in ("==", "<=", ">=")),
        )
    )


def _finite(op: str, one: Number, other: Number) -> Term:
    if isinstance(one.units, int) and not isinstance(other.units, int):
        return _finite(TURNED[op], other, one)
    if isinstance(other.units, int) and other.scale > one.scale:
        limit = Fraction(other.units, 10 ** (other.scale - one.scale))
        if limit.denominator == 1:
            return compared(op, one.units, limit.numerator)
        if op in ("==", "!="):  # between two units
            return op == "!="
        below = limit.numerator // limit.denominator
        return compared("<=" if op in ("<", "<=") else ">", one.units, below)
    scale = max(one.scale, other.scale)
    return compared(op, one.units, other.units, 10 ** (scale - one.scale), 10 ** (scale - other.scale))


# --- texts ------------------------------------------------------------------------------------------------


class TextVariable:
    """A text.

    Attributes:
        code: place among the literals it may equal, from 1; 0 where it equals none.
        allowed: the only texts there are, if they are few. accepts: whether a text can be meant at all.
        shortest, longest: in characters.
        size: its length, where somebody asks.
    """

    __slots__ = ("accepts", "allowed", "code", "literals", "longest", "name", "shortest", "size")

    def __init__(
        self,
        name: str,
        allowed: tuple[str, ...] | None = None,
        accepts: Callable[[str], bool] | None = None,
        shortest: int = 0,
        longest: int | None = None,
    ) -> None:
        self.name = name
        self.allowed = allowed
        self.accepts = accepts
        self.shortest = shortest
        self.longest = longest
        self.code = Whole(f"{name}#text")
        self.literals: dict[str, int] = {}
        self.size: Whole | None = None
        for text in allowed or ():
            self.is_(text)

    def is_(self, text: str) -> Term:
        """Whether it is this text."""
        if text not in self.literals:
            if not self.can_be(text):
                return False
            self.literals[text] = len(self.literals) + 1
        return compared("==", self.code, self.literals[text])

    def can_be(self, text: str) -> bool:
        if self.allowed is not None and text not in self.allowed:
            return False
        if len(text) < self.shortest or (self.longest is not None and len(text) > self.longest):
            return False
        return self.accepts is None or self.accepts(text)

    def length(self) -> Whole:
        if self.size is None:
            self.size = Whole(f"{self.name}#length")
        return self.size


def holds(function: str, text: str, other: str) -> bool:
    """Whether something holds of two texts."""
    match function:
        case "startsWith":
            return text.startswith(other)
        case "endsWith":
            return text.endswith(other)
        case "contains":
            return other in text
        case "matches":
            return search(pattern_of(other), text) is True
        case "==":
            return text == other
        case "!=":
            return text != other
        case "<":
            return text < other
        case "<=":
            return text <= other
        case ">":
            return text > other
        case _:
            return text >= other


# --- fields -----------------------------------------------------------------------------------------------


class Variable:
    """One field.

    Attributes:
        shapes: what it may be, where it is anything; `optional`: whether it may be missing.
        grid: the numbers it may be. `infinite`: as a number that is missing it is larger than any.
        text, units, flag, length: what it is, as a text, a number, a boolean, and a list.
    """

    __slots__ = (
        "_kind", "_units", "flag", "grid", "infinite", "length", "name", "optional", "path", "shapes", "text",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        shapes: tuple[Shape, ...],
        *,
        optional: bool,
        grid: Grid = Grid(),
        text: TextVariable | None = None,
        infinite: bool = False,
    ) -> None:
        name = ".".join(path)
        self.path, self.name = path, name
        self.shapes, self.optional, self.grid, self.infinite = shapes, optional, grid, infinite
        self.text = text or TextVariable(name)
        self.flag = Flag(f"{name}#flag")
        self.length = Whole(f"{name}#elements")
        self._units: Whole | None = None
        self._kind: Whole | Flag | bool = True
        if len(shapes) > 1:
            self._kind = Whole(f"{name}#shape")
        elif optional:
            self._kind = Flag(f"{name}#given")

    def is_(self, shape: Shape) -> Term:
        """Whether it is there, and is a number, a text …"""
        if shape not in self.shapes:
            return False
        if isinstance(self._kind, Whole):
            return compared("==", self._kind, self.shapes.index(shape) + 1)
        return self._kind

    @property
    def there(self) -> Term:
        """Whether its name stands in the action at all, if only with null."""
        if not self.optional or not self.shapes:
            return bool(self.shapes)
        return compared("!=", self._kind, 0) if isinstance(self._kind, Whole) else self._kind

    @property
    def present(self) -> Term:
        return both(self.there, no(self.is_("null")))

    @property
    def units(self) -> Whole:
        if self._units is None:
            self._units = Whole(f"{self.name}#number")
        return self._units

    @property
    def number(self) -> Number:
        given = self.is_("number")
        if self.infinite:
            return Number(True, self.units, self.grid.scale, no(given))
        return Number(given, self.units, self.grid.scale)

    def bounds(self) -> Iterator[Term]:
        """What always holds of it."""
        if isinstance(self._kind, Whole):
            yield compared("<=", self._kind, len(self.shapes))
            yield compared(">=", self._kind, 0 if self.optional else 1)
        if self._units is not None:
            if self.grid.low is not None:
                yield compared(">=", self._units, self.grid.low)
            if self.grid.high is not None:
                yield compared("<=", self._units, self.grid.high)
        if "list" in self.shapes:
            yield compared(">=", self.length, 0)
