"""From conditions to truths: the language of `interlock.policy.expressions` as terms of the solver.

1. Each question is put as `interlock.policy.closures` puts it; what is unknown there is unknown here.
2. What reads nothing but the topic and the tags of a class is asked of the kernel itself, and is a constant.
3. What is asked about the elements of a list is asked of an element of its own (`encode_inputs`, rule 3): a
   list of nothing but that element gives the same answer. An empty list has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

from interlock.authoring.encode_inputs import CONFIDENCE, ELEMENT, TOPIC, Element, Inputs
from interlock.authoring.encode_logic import (
    TURNED,
    UNKNOWN,
    Flag,
    Term,
    Truth,
    Whole,
    all_of,
    any_of,
    both,
    compared,
    constant,
    either,
    every,
    implies,
    known,
    no,
    not_of,
    one_of,
    same,
    some,
)
from interlock.authoring.encode_values import (
    Number,
    Path,
    Shape,
    TextVariable,
    compare,
    holds,
    number_of,
)
from interlock.policy import fields
from interlock.policy.closures import MAX_ELEMENTS, compile_expression, kind_of
from interlock.policy.expressions import parse_expression
from interlock.policy.rules import BASELINE
from interlock.policy.syntax import (
    And,
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Items,
    Literal,
    Not,
    Operand,
    Or,
    Size,
    Text,
    Value,
    fields_of,
)

parsed = lru_cache(maxsize=8_192)(parse_expression)
"""The tree of a condition; policies say the same thing often."""

_TierTest: TypeAlias = Callable[[int], Truth]
_ORDER = frozenset({"<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as one shape: a number, a text or a boolean; `given`: whether it is of that shape."""

    shape: Shape
    given: Term
    value: Number | TextVariable | str | Flag | bool


@dataclass(frozen=True, slots=True)
class Conditions:
    """Reads conditions about one class of actions.

    Attributes:
        confidence: what the agent reports, where that is settled beforehand.
        tiers: which tiers the action may have, each with the term that says so; none outside the catalogue.
        mark: tells what depends on the tiers apart, where one action is looked at twice.
        bound: in the body of a macro, what its variable stands for: a field, or a tag.
    """

    inputs: Inputs
    confidence: Number | None = None
    tiers: Mapping[int, Term] = field(default_factory=dict)
    mark: str = ""
    bound: Mapping[str, Path | str] = field(default_factory=dict)

    def truth(self, expr: Expr) -> Truth:
        match expr:
            case And():
                return all_of(map(self.truth, expr.operands))
            case Or():
                return any_of(map(self.truth, expr.operands))
            case Not():
                return not_of(self.truth(expr.operand))
        if self._settled(expr):
            return constant(compile_expression(expr)(self._known()))
        match expr:
            case Compare():
                return self._compare(expr)
            case In():
                return self._lookup(expr)
            case Has():
                return self._has(expr.field)
            case Text():
                scalar = self._as(expr.of, "string")
                if scalar is None:
                    return UNKNOWN
                return known(self._asked(expr.function, scalar.value, expr.literal), scalar.given)
            case Each():
                return self._each(expr)
            case Field():
                return self._as_flag(expr)
        raise AssertionError(expr)

    # what is known beforehand

    def _settled(self, expr: Expr) -> bool:
        """Whether nothing but the class decides (rule 2)."""
        return all(
            (read.path == TOPIC and self.inputs.topic is None)
            or (read.name == "tags" and self.inputs.tags is None)
            for read in fields_of(expr)
        )

    def _known(self) -> fields.Inputs:
        one = self.inputs.one
        return fields.Inputs(
            one.topic, {}, BASELINE, one.entry, None if one.entry is None else one.entry.tags
        )

    # single questions

    def _compare(self, expr: Compare) -> Truth:
        left, op, right = expr.left, str(expr.op), expr.right
        if isinstance(left, Literal):
            left, op, right = right, TURNED[op], left
        if isinstance(right, Field) and right.name == "tier":
            left, op, right = right, TURNED[op], left
        if isinstance(left, Field) and left.name == "tier":
            others = list(self._scalars(right))
            return self._agreed(
                lambda tier: one_of(
                    self._compared(op, Scalar("number", True, number_of(tier)), other) for other in others
                )
            )
        return one_of(
            self._compared(op, one, other)
            for one in self._scalars(left)
            for other in self._scalars(right)
            if one.shape == other.shape
        )

    def _compared(self, op: str, one: Scalar, other: Scalar) -> Truth:
        if one.shape != other.shape:
            return UNKNOWN
        given = both(one.given, other.given)
        if isinstance(one.value, Number) and isinstance(other.value, Number):
            return known(compare(op, one.value, other.value), given)
        if one.shape == "boolean":
            if op in _ORDER:
                return UNKNOWN
            equal = same(_flag(one.value), _flag(other.value))
            return known(equal if op == "==" else no(equal), given)
        if isinstance(one.value, str):
            one, op, other = other, TURNED[op], one
        return known(self._asked(op, one.value, other.value), given)

    def _asked(self, function: str, text: object, other: object) -> Term:
        """What is asked about a text, of which there may be only one."""
        assert isinstance(other, TextVariable | str)
        if isinstance(text, str) and isinstance(other, str):
            return holds(function, text, other)
        return self.inputs.ask(function, _text(text), other)

    def _agreed(self, test: _TierTest) -> Truth:
        """A test of the tier: known where all possible tiers agree."""
        found = [(possible, test(tier)) for tier, possible in self.tiers.items() if possible is not False]
        some_tier = some(possible for possible, _ in found)
        return Truth(
            both(some_tier, every(implies(possible, truth.yes) for possible, truth in found)),
            both(some_tier, every(implies(possible, truth.no) for possible, truth in found)),
        )

    def _lookup(self, expr: In) -> Truth:
        if isinstance(expr.container, Items):
            return self._listed(expr.item, expr.container.values)
        if expr.container.name == "tags":
            tags = self.inputs.tags
            if tags is None:
                return one_of(self._tagged(expr.item))
            found = []
            for item in self._scalars(expr.item):
                if item.shape == "string":
                    value = item.value
                    has = tags.has_tag(value) if isinstance(value, str) else tags.has_text(_text(value))
                    found.append(known(has, both(tags.given, item.given)))
            return one_of(found)
        items = list(self._scalars(expr.item))
        return self._of_element(
            expr,
            expr.container,
            some(item.given for item in items),
            lambda place: one_of(
                self._compared("==", item, other) for item in items for other in self._scalars(Field(place))
            ),
        )

    def _tagged(self, item: Operand) -> Iterator[Truth]:
        """Whether something is one of the catalogue's tags."""
        assert self.inputs.entry is not None
        tags = sorted(self.inputs.entry.tags)
        for scalar in self._scalars(item):
            if scalar.shape == "string":
                text = _text(scalar.value)
                yield known(some(self.inputs.ask("==", text, tag) for tag in tags), scalar.given)

    def _listed(self, item: Operand, values: tuple[Value, ...]) -> Truth:
        if isinstance(item, Field) and item.name == "tier":
            if kind_of(values[0]) != "number":
                return UNKNOWN
            return self._agreed(lambda tier: constant(tier in values))
        shape: Shape = kind_of(values[0])  # type: ignore[assignment]
        found = []
        for scalar in self._scalars(item):
            if scalar.shape == shape:
                equal = some(
                    self._compared("==", scalar, next(self._scalars(Literal(value)))).yes
                    for value in dict.fromkeys(values)
                )
                found.append(known(equal, scalar.given))
        return one_of(found)

    def _each(self, expr: Each) -> Truth:
        entry, exists = self.inputs.entry, expr.quantifier == "exists"
        if expr.over.name == "tags" and entry is not None:
            bodies = [self._body(expr, tag) for tag in sorted(entry.tags)]
            return any_of(bodies) if exists else all_of(bodies)
        return self._of_element(expr, expr.over, True, lambda place: self._body(expr, place))

    def _body(self, expr: Each, element: Path | str) -> Truth:
        return replace(self, bound={expr.variable: element}).truth(expr.body)

    def _of_element(self, expr: Expr, over: Field, given: Term, ask: Callable[[Path], Truth]) -> Truth:
        """What is asked about the elements of a list (rule 3)."""
        if over.name == "tags" and self.inputs.tags is not None:
            here, elements = both(self.inputs.tags.given, given), self.inputs.tags.total
        elif over.root in ("args", "facts"):
            variable = self.inputs.field(over.path)
            here, elements = both(variable.is_("list"), given), variable.length
        else:
            return UNKNOWN
        if here is False:
            return UNKNOWN
        tiered = any(read.name == "tier" for read in fields_of(expr))
        key = (expr, self.mark if tiered else "")
        found = self.inputs.elements.get(key)
        if found is None:
            place = (ELEMENT, f"{len(self.inputs.elements)}{key[1]}")
            answer = ask(place)
            none = both(here, compared("==", elements, 0))
            few = both(here, compared(">=", elements, 1), compared("<=", elements, MAX_ELEMENTS))
            of_none = isinstance(expr, Each) and expr.quantifier == "all"
            truth = Truth(
                either(both(none, of_none), both(few, answer.yes)),
                either(both(none, not of_none), both(few, answer.no)),
            )
            found = self.inputs.elements[key] = Element(expr, over.path, place, truth)
        return found.truth

    # reading

    def _scalars(self, operand: Operand) -> Iterator[Scalar]:
        """What an operand may be, shape by shape; nothing where it has no value that compares."""
        match operand:
            case Literal(value):
                if isinstance(value, bool):
                    yield Scalar("boolean", True, value)
                elif isinstance(value, str):
                    yield Scalar("string", True, value)
                else:
                    yield Scalar("number", True, number_of(value))
            case Size(of):
                yield from self._sizes(of)
            case Field():
                for shape in ("number", "string", "boolean"):
                    scalar = self._as(operand, shape)
                    if scalar is not None:
                        yield scalar

    def _sizes(self, of: Field) -> Iterator[Scalar]:
        if of.name == "tags":
            tags = self.inputs.tags
            total = len(self.inputs.entry.tags) if self.inputs.entry is not None else None
            if tags is not None:
                yield Scalar("number", tags.given, Number(tags.given, tags.total))
            elif total is not None:
                yield Scalar("number", True, number_of(total))
            return
        text = self._as(of, "string")
        if text is not None and isinstance(text.value, str):
            yield Scalar("number", True, number_of(len(text.value)))
        elif text is not None:
            yield Scalar("number", text.given, Number(text.given, _text(text.value).length()))
        path = self._path(of)
        if path is not None and path[0] in ("args", "facts", ELEMENT):
            variable = self.inputs.field(path)
            given = variable.is_("list")
            if given is not False:
                yield Scalar("number", given, Number(given, variable.length))

    def _as(self, read: Field, shape: Shape) -> Scalar | None:
        """A field as a number, a text or a boolean; None where it never is one."""
        path = self._path(read)
        if path is None:
            tag = str(self.bound[read.root])
            return Scalar("string", True, tag) if shape == "string" and len(read.path) == 1 else None
        if path == TOPIC:
            if shape != "string":
                return None
            return Scalar("string", True, self.inputs.topic or self.inputs.one.topic)
        if path == ("tier",):
            return Scalar("number", *self._one_tier()) if shape == "number" else None
        if path == ("tags",):
            return None
        if path == CONFIDENCE and self.confidence is not None:
            return Scalar("number", True, self.confidence) if shape == "number" else None
        variable = self.inputs.field(path)
        if shape == "number" and variable.infinite:
            return Scalar("number", True, variable.number)
        given = variable.is_(shape)
        if given is False:
            return None
        value: Number | TextVariable | Flag = variable.number
        if shape == "string":
            value = variable.text
        elif shape == "boolean":
            value = variable.flag
        return Scalar(shape, given, value)

    def _one_tier(self) -> tuple[Term, Number]:
        """The tier as a number, where there is only one that the action may have."""
        only = some(
            both(possible, *(no(other) for rest, other in self.tiers.items() if rest != tier))
            for tier, possible in self.tiers.items()
        )
        tier = Whole(f"tier{self.mark}")
        for number, possible in self.tiers.items():
            self.inputs.always(implies(both(only, possible), compared("==", tier, number)))
        return only, Number(only, tier)

    def _as_flag(self, read: Field) -> Truth:
        scalar = self._as(read, "boolean")
        return UNKNOWN if scalar is None else known(_flag(scalar.value), scalar.given)

    def _has(self, read: Field) -> Truth:
        """Whether something is there; unknown where a text or a list stands in the way."""
        present, path = self._present(read), self._path(read)
        if path is None:
            return known(present)
        first = len(path) - len(read.path) + 1 if read.root in self.bound else 2
        parents = [self.inputs.field(path[:length]) for length in range(first, len(path))]
        readable = [either(no(parent.present), parent.is_("object")) for parent in parents]
        return Truth(present, every([no(present), *readable]))

    def _present(self, read: Field) -> Term:
        path = self._path(read)
        if path is None:
            return False
        return True if path == CONFIDENCE and self.confidence is not None else self.inputs.field(path).present

    def _path(self, read: Field) -> Path | None:
        """Where a field stands; None in what is a tag."""
        element = self.bound.get(read.root, (read.root,))
        return None if isinstance(element, str) else (*element, *read.path[1:])


def _text(value: object) -> TextVariable:
    assert isinstance(value, TextVariable)
    return value


def _flag(value: object) -> Flag | bool:
    assert isinstance(value, Flag | bool)
    return value
