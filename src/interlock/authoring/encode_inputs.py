"""What an action of one class can say.

1. Every field is what the kernel can be asked about in earnest. Arguments pass the catalogue's check:
   declared ones have their type and scale, undeclared ones are any JSON. Facts have their declared type or
   are missing. Signals lie in their ranges. What is garbled counts as unknown to the kernel, and that never
   loosens anything (promise P2): a claim that holds for everything here holds for that as well.
2. What is asked about a text is answered as one likes, but for what literals settle; `encode_texts` finds out
   afterwards whether there is such a text, and says so if there is none.
3. What is asked about the elements of a list is asked about one element that can be anything: what holds of
   a list of such elements can be true of some list. Each question has its own element, though, and no list
   may suit them all; so more is possible here than there. That is sound for what is proved, and is tried out
   before it is shown.
4. Tags of a catalogued topic are the catalogue's. Outside the catalogue nobody may know them, or they are
   any set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from interlock.authoring.encode_logic import (
    Adds,
    Flag,
    Term,
    Truth,
    Whole,
    both,
    compared,
    implies,
    no,
    same,
    some,
)
from interlock.authoring.encode_values import (
    SHAPES,
    Grid,
    Number,
    Path,
    Shape,
    TextVariable,
    Variable,
    compare,
    holds,
    number_of,
)
from interlock.authoring.topic_classes import TopicClass, Topics
from interlock.model.canonical import MAX_INT
from interlock.model.money import MAX_INTEGRAL_DIGITS
from interlock.policy.catalogue import ArgType
from interlock.policy.fields import PROVENANCES
from interlock.policy.syntax import Expr

AMOUNT: Path = ("args", "amount_usd")
ELEMENT = "#element"
"""The root of the fields that stand for elements of lists."""
TOPIC: Path = ("topic",)
CONFIDENCE: Path = ("signals", "confidence")
READABLE, WORTH = Flag("amount#readable"), Whole("amount#text")
"""Whether an undeclared ``args.amount_usd`` that is a text is an amount, and of how many units."""
_FREE: tuple[Shape, ...] = ("number", "string", "boolean", "list", "object")
_FREE_DIGITS = 3
_ORDER = frozenset({"<", "<=", ">", ">="})

Asked: TypeAlias = "tuple[str, TextVariable, str | TextVariable]"
"""A question about a text: a function or a comparison, of what, and with what."""


@dataclass(frozen=True, slots=True)
class Element:
    """A question about a list, and the element that answers it.

    Attributes:
        over: the field that is the list. place: where the element stands among the fields.
        truth: the answer.
    """

    expr: Expr
    over: Path
    place: Path
    truth: Truth


@dataclass(slots=True)
class Tags:
    """The tags of a topic outside the catalogue.

    Attributes:
        given: whether anybody knows them. total: how many there are.
        has: whether each of those that somebody asks about is among them; others: how many others are.
        hits: texts of which it is asked whether they are tags.
    """

    given: Flag = field(default_factory=partial(Flag, "tags#known"))
    total: Whole = field(default_factory=partial(Whole, "tags#size"))
    others: Whole = field(default_factory=partial(Whole, "tags#others"))
    has: dict[str, Flag] = field(default_factory=dict)
    hits: dict[TextVariable, Flag] = field(default_factory=dict)

    def has_tag(self, tag: str) -> Flag:
        return self.has.setdefault(tag, Flag(f"tags#{tag}"))

    def has_text(self, text: TextVariable) -> Flag:
        """Whether the text is one of the tags."""
        return self.hits.setdefault(text, Flag(f"tags#in:{text.name}"))

    def bounds(self) -> Iterator[Term]:
        yield compared(">=", self.others, 0)
        yield Adds(self.total, self.others, tuple(self.has.values()))
        for text, hit in self.hits.items():
            known = some(both(has, text.is_(tag)) for tag, has in self.has.items())
            other = Flag(f"{hit.name}:other")
            yield same(hit, some((known, other)))
            unlike = (no(text.is_(tag)) for tag in self.has)
            yield implies(other, both(compared(">=", self.others, 1), *unlike))


class Inputs:
    """The fields of one class of actions, made when they are first asked for.

    Attributes:
        tags: None for a catalogued topic, whose tags are the entry's.
        topic: None where the class has one topic only.
        level: the autonomy level; None where there is at most one.
        asked: questions about texts that were put, and the answers.
        elements: questions about lists, each with what tells two of one wording apart.
        truths: when rules match, of those that have been asked and do not depend on what is reported.
    """

    def __init__(self, one: TopicClass, topics: Topics, facts: Mapping[str, str], digits: int) -> None:
        self.one, self.topics = one, topics
        self.entry = one.entry
        self.tags = Tags() if one.entry is None else None
        self.topic = None if one.only else TextVariable("topic", accepts=partial(topics.alike, one))
        self.level = None if len(one.levels) < 2 else Whole("level")
        self.fields: dict[Path, Variable] = {}
        self.asked: dict[Asked, Flag] = {}
        self.truths: dict[str, Truth] = {}
        self.elements: dict[tuple[Expr, str], Element] = {}
        self._facts = facts
        self._scale = digits + _FREE_DIGITS
        self._more: list[Term] = []
        if self.level is not None:
            self.always(some(compared("==", self.level, number) for number, _ in one.levels))

    # --- fields

    def field(self, path: Path) -> Variable:
        """The variable of ``args.…``, ``facts.…``, ``provenance.…`` or ``signals.…``."""
        found = self.fields.get(path)
        if found is None:
            found = self.fields[path] = self._made(path)
            if path[0] in ("args", ELEMENT) and len(path) > 2:
                self.always(implies(found.present, self.field(path[:-1]).is_("object")))
        return found

    def _made(self, path: Path) -> Variable:
        root, name = path[0], path[-1]
        if root == "signals":
            return self._signal(path)
        if root == "provenance":
            return Variable(path, ("string",), optional=True, text=TextVariable(".".join(path), PROVENANCES))
        if root == "facts":
            kind = self._facts[name]
            return Variable(path, (SHAPES[kind],), optional=True, grid=Grid(self._grid(kind).scale))
        declared = None if self.entry is None or root == ELEMENT else self.entry.args
        if len(path) == 2 and declared is not None:
            return self._declared(path, declared.get(name))
        shapes = (*_FREE, "null") if path == AMOUNT else _FREE
        return Variable(path, shapes, optional=True, grid=self._grid("number"))

    def _declared(self, path: Path, declared: ArgType | None) -> Variable:
        if declared is None:  # no action has it
            return Variable(path, (), optional=True)
        grid = self._grid(declared.kind)
        if declared.kind == "decimal":
            scale = declared.scale or 0
            high = 10 ** (MAX_INTEGRAL_DIGITS + scale) - 1
            grid = Grid(scale, -high if declared.currency is None else 0, high)
        text = TextVariable(".".join(path), longest=declared.max_length)
        return Variable(path, (SHAPES[declared.kind],), optional=declared.optional, grid=grid, text=text)

    def _grid(self, kind: str) -> Grid:
        scale = 0 if kind == "integer" else self._scale
        return Grid(scale, -MAX_INT * 10**scale, MAX_INT * 10**scale)

    def _signal(self, path: Path) -> Variable:
        unit = 10**self._scale
        match path[1]:
            case "confidence":
                return Variable(path, ("number",), optional=True, grid=Grid(self._scale, 0, unit))
            case "anomaly_score" | "injection_score":
                return Variable(path, ("number",), optional=False, grid=Grid(self._scale, 0, unit))
            case "sentiment":
                return Variable(path, ("number",), optional=False, grid=Grid(self._scale, -unit, unit))
            case "retry_count":
                return Variable(path, ("number",), optional=False, grid=Grid(0, 0, MAX_INT))
            case "affected_users":
                return Variable(path, ("number",), optional=True, grid=Grid(0, 0, MAX_INT))
            case "deadline_sec":
                grid = Grid(0, -MAX_INT, MAX_INT)
                return Variable(path, ("number",), optional=True, grid=grid, infinite=True)
            case "duplicate_of":
                text = TextVariable(".".join(path), shortest=1, longest=200)
                return Variable(path, ("string",), optional=True, text=text)
            case _:
                return Variable(path, ("boolean",), optional=False)

    def amounts(self) -> tuple[Number, Number]:
        """What an undeclared ``args.amount_usd`` is worth, as a number and as text, where it is an amount."""
        variable = self.field(AMOUNT)
        number = variable.number
        given = both(number.given, compare(">=", number, number_of(0)))
        self.always(compared(">=", WORTH, 0))
        return replace(number, given=given), Number(
            both(variable.is_("string"), READABLE), WORTH, self._scale
        )

    # --- questions, and what always holds

    def ask(self, function: str, text: TextVariable, other: str | TextVariable) -> Term:
        """Whether something holds of a text."""
        if function in ("==", "!=") and isinstance(other, str):
            equal = text.is_(other)
            return equal if function == "==" else no(equal)
        if text.allowed is not None and isinstance(other, str):
            return some(text.is_(each) for each in text.allowed if holds(function, each, other))
        question = (function, text, other)
        if question not in self.asked:
            self.asked[question] = Flag(f"asked#{len(self.asked)}")
        return self.asked[question]

    def always(self, term: Term) -> None:
        """Say what holds of every action."""
        self._more.append(term)

    def bounds(self) -> list[Term]:
        """What always holds, once everything has been asked."""
        found = [*self._more]
        if self.tags is not None:
            found += self.tags.bounds()
        for variable in self.fields.values():
            found += variable.bounds()
        for text in self.texts():
            found += self._about_text(text)
        return found

    def texts(self) -> list[TextVariable]:
        """Every text that somebody may ask about."""
        own = [] if self.topic is None else [self.topic]
        return [*own, *(each.text for each in self.fields.values() if "string" in each.shapes)]

    def _about_text(self, text: TextVariable) -> Iterator[Term]:
        asked = [
            (function, other, answer)
            for (function, of, other), answer in self.asked.items()
            if of is text and isinstance(other, str)
        ]
        if text.literals:
            yield compared(">=", text.code, 0 if text.allowed is None else 1)
            yield compared("<=", text.code, len(text.literals))
        if text.size is not None:
            yield compared(">=", text.size, text.shortest)
            if text.longest is not None:
                yield compared("<=", text.size, text.longest)
            for literal in text.literals:
                yield implies(text.is_(literal), compared("==", text.size, len(literal)))
        for function, other, answer in asked:
            for literal in text.literals:
                yield implies(text.is_(literal), same(holds(function, literal, other), answer))
            if function != "matches" and function not in _ORDER and text.size is not None:
                yield implies(answer, compared(">=", text.size, len(other)))
