"""What the parts of a rule ask, as sets of values: which rule asks for more, and which for the impossible.

1. A part that compares one field with literals is a set of values: an interval of numbers, or a choice of
   texts. Parts about the same field intersect. Whatever else a part asks is kept as its text.
2. `Claims.imply` is certain: where it says yes, whatever the one rule counts for, the other counts for as
   well, also where values are missing, because both lack the same field then. Where it says no, nothing is
   known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from interlock.policy.document import MatchSpec
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import RANGES
from interlock.policy.syntax import (
    Compare,
    Comparison,
    Expr,
    Field,
    In,
    Items,
    Literal,
    Not,
    Size,
    Value,
    conjuncts,
    show,
)

_INTEGERS = frozenset(
    {"tier", "signals.retry_count", "signals.affected_users", "affected_users", "signals.deadline_sec"}
)
_COUNTS = _INTEGERS | {"amount_usd"}
_FLIPPED: dict[Comparison, Comparison] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NEGATED: dict[Comparison, Comparison] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_ALL = (None, False)


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two ends; an end is (value, whether it belongs), or no value for no end."""

    low: tuple[Decimal | None, bool] = _ALL
    high: tuple[Decimal | None, bool] = _ALL
    without: frozenset[Decimal] = frozenset()

    def meet(self, other: Interval) -> Interval:
        return Interval(
            _tighter(self.low, other.low, above=True),
            _tighter(self.high, other.high, above=False),
            self.without | other.without,
        )

    @property
    def empty(self) -> bool:
        (low, with_low), (high, with_high) = self.low, self.high
        if low is None or high is None or low < high:
            return False
        return low > high or not (with_low and with_high) or low in self.without

    def within(self, other: Interval) -> bool:
        """Whether every number of this one is one of the other."""
        return (
            _tighter(self.low, other.low, above=True) == self.low
            and _tighter(self.high, other.high, above=False) == self.high
            and all(value in self.without or not self._holds(value) for value in other.without)
        )

    def _holds(self, value: Decimal) -> bool:
        (low, with_low), (high, with_high) = self.low, self.high
        above = low is None or value > low or (with_low and value == low)
        below = high is None or value < high or (with_high and value == high)
        return above and below

    def integers(self) -> Interval:
        """The same integers, with ends that belong."""
        (low, with_low), (high, with_high) = self.low, self.high
        if low is not None:
            whole = low.to_integral_value(rounding="ROUND_CEILING")
            low = whole + 1 if whole == low and not with_low else whole
            while low in self.without:
                low += 1
        if high is not None:
            whole = high.to_integral_value(rounding="ROUND_FLOOR")
            high = whole - 1 if whole == high and not with_high else whole
            while high in self.without:
                high -= 1
        return Interval((low, low is not None), (high, high is not None), self.without)


def _tighter(
    one: tuple[Decimal | None, bool], other: tuple[Decimal | None, bool], *, above: bool
) -> tuple[Decimal | None, bool]:
    if one[0] is None or other[0] is None:
        return other if one[0] is None else one
    if one[0] == other[0]:
        return one[0], one[1] and other[1]
    return one if (one[0] > other[0]) is above else other


@dataclass(frozen=True, slots=True)
class Choice:
    """Texts or booleans: those of `among` (None: any), but none of `without`."""

    among: frozenset[Value] | None = None
    without: frozenset[Value] = frozenset()

    def meet(self, other: Choice) -> Choice:
        among = self.among
        if other.among is not None:
            among = other.among if among is None else among & other.among
        return Choice(among, self.without | other.without)

    @property
    def empty(self) -> bool:
        return self.among is not None and self.among <= self.without

    def within(self, other: Choice) -> bool:
        if self.among is None:
            return other.among is None and other.without <= self.without
        own = self.among - self.without
        return (other.among is None or own <= other.among) and own.isdisjoint(other.without)


Values: TypeAlias = Interval | Choice


@dataclass(slots=True)
class Claims:
    """Everything one rule asks beside its topics.

    Attributes:
        values: by the name of the field.
        any_tag: each is a set of which one tag must be there. all_tags: all must be there.
        others: the canonical text of every other part.
    """

    values: dict[str, Values] = field(default_factory=dict)
    any_tag: list[frozenset[str]] = field(default_factory=list)
    all_tags: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @property
    def nothing(self) -> bool:
        """Whether it asks nothing."""
        return not (self.values or self.any_tag or self.all_tags or self.others)

    @property
    def contradiction(self) -> str | None:
        """The field of which no value satisfies all parts; None where there is none."""
        for name, values in self.values.items():
            if _bounded(name, values).empty:
                return name
        return None

    def imply(self, other: Claims, known_tags: frozenset[str] = frozenset()) -> bool:
        """Whether whatever satisfies these satisfies the other (rule 2).

        Args:
            known_tags: tags that every action in question carries.
        """
        if not other.others <= self.others:
            return False
        for name, wanted in other.values.items():
            own = self.values.get(name)
            if own is None or type(own) is not type(wanted) or not own.within(wanted):  # type: ignore[arg-type]
                return False
        carried = self.all_tags | known_tags
        if not other.all_tags <= carried:
            return False
        return all(
            not carried.isdisjoint(wanted) or any(own <= wanted for own in self.any_tag)
            for wanted in other.any_tag
        )

    def excludes(self, other: Claims) -> bool:
        """Whether no values satisfy both."""
        for name, values in self.values.items():
            there = other.values.get(name)
            if type(there) is type(values) and _bounded(name, values.meet(there)).empty:  # type: ignore[arg-type]
                return True
        return False

    def _add(self, name: str, values: Values) -> None:
        known = self.values.get(name)
        if known is None:
            self.values[name] = values
        elif (isinstance(known, Interval) and isinstance(values, Interval)) or (
            isinstance(known, Choice) and isinstance(values, Choice)
        ):
            self.values[name] = known.meet(values)  # type: ignore[arg-type]
        else:  # a number and a text of one field that nobody declared; both parts still have to hold
            self.others |= {f"{name} {values}"}


def claims_of(match: MatchSpec | None, when: str | None) -> Claims:
    """What a rule asks."""
    found = Claims()
    if match is not None:
        if match.risk_tags is not None:
            found.any_tag.append(frozenset(match.risk_tags))
        found.all_tags = frozenset(match.all_risk_tags or ())
        for name, above in (
            ("signals.anomaly_score", match.anomaly_score_above),
            ("signals.retry_count", match.retry_count_above),
            ("amount_usd", match.amount_usd_above),
            ("affected_users", match.affected_users_above),
        ):
            if above is not None:
                found._add(name, Interval(low=(Decimal(above), False)))
        if match.confidence_below is not None:
            found._add("signals.confidence", Interval(high=(match.confidence_below, False)))
        if match.first_time_action is not None:
            found._add("signals.first_time_action", Choice(frozenset({match.first_time_action})))
    if when is not None:
        _read(found, conjuncts(parse_expression(when)))
    return found


def _read(found: Claims, parts: Iterable[Expr]) -> None:
    others = set()
    for part in parts:
        tag = _tag(part)
        if tag is not None:
            found.all_tags |= {tag}
            continue
        claim = _claim(part)
        if claim is None:
            others.add(show(part))
        else:
            found._add(*claim)
    found.others |= others


def _tag(part: Expr) -> str | None:
    """The tag a part asks for, as in ``"prod" in tags``."""
    if not isinstance(part, In) or not isinstance(part.container, Field) or part.container.name != "tags":
        return None
    return part.item.value if isinstance(part.item, Literal) and isinstance(part.item.value, str) else None


def _claim(part: Expr, *, negated: bool = False) -> tuple[str, Values] | None:
    """A part that compares one field with literals, as (field, values); None where it is another kind."""
    match part:
        case Not():
            return _claim(part.operand, negated=not negated)
        case Field():
            return part.name, Choice(frozenset({not negated}))
        case Compare():
            return _comparison(part, negated)
        case In(item=Field() | Size(), container=Items()):
            return _listed(part, negated)
        case _:
            return None


def _comparison(part: Compare, negated: bool) -> tuple[str, Values] | None:
    left, right, op = part.left, part.right, part.op
    if isinstance(left, Literal):
        left, right, op = right, left, _FLIPPED[op]
    if isinstance(left, Literal) or not isinstance(right, Literal):
        return None
    if negated:
        op = _NEGATED[op]
    value = right.value
    if not isinstance(value, Decimal):
        if op not in ("==", "!="):
            return None
        only = frozenset({value})
        return show(left), _booleans(Choice(only) if op == "==" else Choice(None, only))
    return show(left), {
        "<": Interval(high=(value, False)),
        "<=": Interval(high=(value, True)),
        ">": Interval(low=(value, False)),
        ">=": Interval(low=(value, True)),
        "==": Interval((value, True), (value, True)),
        "!=": Interval(without=frozenset({value})),
    }[op]


def _booleans(choice: Choice) -> Choice:
    """``x != true`` says the same as ``x == false``."""
    if choice.among is None and any(isinstance(value, bool) for value in choice.without):
        return Choice(frozenset({True, False}) - choice.without)
    return choice


def _listed(part: In, negated: bool) -> tuple[str, Values] | None:
    assert isinstance(part.container, Items)
    name, values = show(part.item), frozenset(part.container.values)
    if not any(isinstance(value, Decimal) for value in values):
        return name, Choice(None, values) if negated else Choice(values)
    numbers = frozenset(value for value in values if isinstance(value, Decimal))
    if negated:
        return name, Interval(without=numbers)
    return None


def _bounded(name: str, values: Values) -> Values:
    """The values the field can have at all."""
    if isinstance(values, Choice):
        return values
    low, high = RANGES.get(name, (None, None))
    if low is None and (name in _COUNTS or name.startswith("size(")):
        low = 0
    within = Interval(
        (None if low is None else Decimal(low), low is not None),
        (None if high is None else Decimal(high), high is not None),
    )
    met = values.meet(within)
    return met.integers() if name in _INTEGERS or name.startswith("size(") else met
