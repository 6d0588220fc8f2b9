"""Random conditions, spellings of them, and documents to ask them about.

1. `Maker.expression` makes trees whose fields exist in the documents with the types they are asked for, so
   that answers are not mostly unknown. `spell` writes a tree in one of many ways; reading it gives the tree.
2. A `Document` is one question in two forms: `inputs` as the kernel reads it, `cel` as CEL's data. The second
   says what the documented departures say: null is missing, a deadline that is not there is infinite, and an
   argument declared ``decimal`` is a number.
3. Fractions have at most 15 digits or are doubles: such decimals are in the order of their doubles, so that
   exact arithmetic and CEL's agree on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from interlock.model.actions import Signals
from interlock.policy.fields import Inputs
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
    Node,
    Not,
    Or,
    Size,
    Text,
)

NUMBERS = tuple(
    map(
        Decimal,
        [
            "0",
            "-0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "7",
            "-1",
            "-3",
            "0.1",
            "0.2",
            "0.3",
            "0.5",
            "0.25",
            "0.7",
            "1.0",
            "2.50",
            "99.99",
            "100",
            "100.01",
            "-0.5",
            "0.000000001",
            "9007199254740991",
            "-9007199254740991",
            "2251799813685247.5",
        ],
    )
)
WHOLE = tuple(number for number in NUMBERS if number == number.to_integral_value() and "." not in str(number))
WORDS = (
    "",
    "a",
    "b",
    "ab",
    "abc",
    "prod",
    "A",
    "é",
    "𝄞",
    "a'b",
    'a"b',
    "a\\b",
    "a\nb",
    "\t",
    "  ",
    "1",
    "user",
    "ß",
    "\U0010ffff",
)
PATTERNS = (
    "a",
    "^a",
    "b$",
    "^$",
    "[a-c]+",
    "(?i)A",
    r"\d",
    "é",
    r"a.b",
    r"a\\b",
    "^.$",
    "(a|b)*c",
    r"\pL",
    "'",
)
ROLES = ("user", "known", "record", "untrusted", "unseen")

_NUMBER = [
    "args.n",
    "args.m",
    "args.amt",
    "args.o.n",
    "args.o.p.n",
    "facts.count",
    "tier",
    "signals.retry_count",
    "signals.anomaly_score",
    "signals.affected_users",
    "signals.confidence",
    "signals.sentiment",
    "signals.deadline_sec",
]
_STRING = [
    "args.s",
    "args.t",
    "args.o.s",
    "facts.plan",
    "provenance.recipient",
    "topic",
    "signals.duplicate_of",
]
_BOOLEAN = ["args.b", "args.c", "args.o.b", "facts.vip", "signals.first_time_action"]
_LIST = ["args.l", "args.o.l"]
_HAS = [
    "args.n",
    "args.amt",
    "args.s",
    "args.b",
    "args.l",
    "args.o",
    "args.items",
    "facts.count",
    "provenance.recipient",
    "signals.confidence",
    "signals.affected_users",
]


def field(name: str) -> Field:
    return Field(tuple(name.split(".")))


def joined(kind: type[And] | type[Or], operands: list[Expr]) -> Expr:
    flat: list[Expr] = []
    for operand in operands:
        flat += operand.operands if isinstance(operand, kind) else (operand,)
    return kind(tuple(flat))


class Maker:
    """Makes trees. `equality`: with ``==``, ``!=`` and ``in``, which CEL answers for another type too."""

    def __init__(self, random: Random, *, equality: bool = True) -> None:
        self.random = random
        self.equality = equality
        self.macro = False
        self.element: str | None = None

    def expression(self, depth: int = 3) -> Expr:
        self.macro, self.element = False, None
        return self._truth(depth)

    def _truth(self, depth: int) -> Expr:
        pick = self.random.random()
        if depth == 0 or pick < 0.3:
            return self._atom()
        if pick < 0.52:
            return joined(And, [self._truth(depth - 1) for _ in range(self.random.choice((2, 2, 3)))])
        if pick < 0.74:
            return joined(Or, [self._truth(depth - 1) for _ in range(self.random.choice((2, 2, 3)))])
        if pick < 0.86 or self.macro:
            return Not(self._truth(depth - 1))
        return self._each(depth)

    def _each(self, depth: int) -> Expr:
        self.macro = True
        self.element = self.random.choice(("items", "items", "l", "ln"))
        body = self._truth(depth - 1)
        over, self.element = field(f"args.{self.element}"), None
        return Each(self.random.choice(("exists", "all")), over, "x", body)

    def _atom(self) -> Expr:
        makers: list[Callable[[], Expr]] = [
            self._numbers,
            self._numbers,
            self._strings,
            self._text,
            self._flag,
        ]
        makers += [self._size, self._has]
        if self.equality:
            makers += [self._in, self._in, self._equal_flags]
        return self.random.choice(makers)()

    def _op(self) -> Any:
        return self.random.choice(
            ("==", "!=", "<", "<=", ">", ">=") if self.equality else ("<", "<=", ">", ">=")
        )

    def _of(self, names: list[str], bound: Mapping[str, str]) -> Field:
        """A field: in a macro's body, mostly of the element."""
        if self.element in bound and self.random.random() < 0.7:
            return field(bound[self.element])
        return field(self.random.choice(names))

    def _number(self) -> Field:
        return self._of(_NUMBER, {"items": "x.p", "ln": "x"})

    def _string(self) -> Field:
        return self._of(_STRING, {"items": "x.k", "l": "x"})

    def _literal(self) -> Literal:
        return Literal(self.random.choice(NUMBERS))

    def _word(self) -> str:
        return self.random.choice(WORDS)

    def _numbers(self) -> Expr:
        pick = self.random.random()
        if pick < 0.7:
            return Compare(self._op(), self._number(), self._literal())
        if pick < 0.8:
            return Compare(self._op(), self._literal(), self._number())
        if pick < 0.83:
            whole = (Literal(self.random.choice(WHOLE)) for _ in range(2))
            return Compare(self._op(), next(whole), next(whole))
        return Compare(self._op(), self._number(), self._number())

    def _strings(self) -> Expr:
        if self.random.random() < 0.8:
            return Compare(self._op(), self._string(), Literal(self._word()))
        return Compare(self._op(), self._string(), self._string())

    def _text(self) -> Expr:
        function: Any = self.random.choice(("startsWith", "endsWith", "contains", "matches"))
        asked = self.random.choice(PATTERNS) if function == "matches" else self._word()
        return Text(function, self._string(), asked)

    def _flag(self) -> Expr:
        if self.random.random() < 0.1:
            return Literal(self.random.random() < 0.5)
        return self._of(_BOOLEAN, {"items": "x.f"})

    def _equal_flags(self) -> Expr:
        op: Any = self.random.choice(("==", "!="))
        other = Literal(self.random.random() < 0.5) if self.random.random() < 0.7 else self._flag()
        assert isinstance(other, Literal | Field)
        return Compare(op, self._of(_BOOLEAN, {"items": "x.f"}), other)

    def _size(self) -> Expr:
        of = self.random.choice((self._string, lambda: self._of([*_LIST, "tags"], {"items": "x.tags"})))()
        whole = Literal(Decimal(self.random.choice((0, 1, 2, 3))))
        return Compare(self._op(), Size(of), whole if self.random.random() < 0.8 else field("args.n"))

    def _has(self) -> Expr:
        pick = self.random.random()
        if self.element == "items" and pick < 0.6:
            return Has(field(self.random.choice(("x.p", "x.k", "x.f"))))
        if pick < 0.25 and self.equality:
            return And((Has(field("args.o")), Has(field("args.o.n"))))
        return Has(field(self.random.choice(_HAS)))

    def _in(self) -> Expr:
        pick = self.random.random()
        if pick < 0.3:
            words = tuple(self._word() for _ in range(self.random.choice((1, 2, 3))))
            return In(self._string(), Items(words))
        if pick < 0.5:
            numbers = tuple(self.random.choice(NUMBERS) for _ in range(self.random.choice((1, 2, 3))))
            return In(self._number(), Items(numbers))
        if pick < 0.55:
            return In(self._of(_BOOLEAN, {"items": "x.f"}), Items((self.random.random() < 0.5,)))
        if pick < 0.6:
            return In(Size(self._string()), Items((Decimal(1), Decimal(2))))
        if pick < 0.8:
            item = Literal(self._word()) if self.random.random() < 0.5 else self._string()
            return In(item, self._of([*_LIST, "tags", "tags"], {"items": "x.tags"}))
        return In(self._number() if self.random.random() < 0.5 else self._literal(), field("args.ln"))


# --- spelling ---------------------------------------------------------------------------------------------


def spell(expr: Node, random: Random, *, capitals: bool = True) -> str:
    """One way to write a tree; `capitals`: with ``AND OR NOT`` too, which CEL does not know."""
    text = _spell(expr, random, capitals)
    return f"({text})" if isinstance(expr, Expr) and random.random() < 0.04 else text


def _spell(expr: Node, random: Random, capitals: bool) -> str:
    def inner(node: Node) -> str:
        return spell(node, random, capitals=capitals)

    gap = random.choice((" ", " ", "", "\n ")) if random.random() < 0.5 else " "
    match expr:
        case Or():
            return "".join(_joint(expr.operands, ("||", "OR"), random, capitals, inner))
        case And():
            texts = [f"({inner(each)})" if isinstance(each, Or) else inner(each) for each in expr.operands]
            return "".join(_joint(texts, ("&&", "AND"), random, capitals, str))
        case Not(operand):
            closed = f"({inner(operand)})"
            if capitals and random.random() < 0.5:
                return f"NOT {closed}" if isinstance(operand, And | Or) else f"NOT {inner(operand)}"
            bare = not isinstance(operand, And | Or | Compare | In)
            text = _spell(operand, random, False) if bare and random.random() < 0.5 else closed
            return f"!{text}"
        case Compare(op, left, right):
            return f"{inner(left)}{gap}{op}{gap}{inner(right)}"
        case In(item, container):
            return f"{inner(item)} in {inner(container)}"
        case Has(of):
            return f"has({of.name})"
        case Text(function, of, literal):
            return f"{of.name}.{function}({_quoted(literal, random)})"
        case Size(of):
            return f"size({of.name})" if random.random() < 0.5 else f"{of.name}.size()"
        case Each(quantifier, over, variable, body):
            return f"{over.name}.{quantifier}({variable},{gap}{inner(body)})"
        case Field():
            return expr.name
        case Literal(value):
            return _value(value, random)
        case Items(values):
            return "[" + ", ".join(_value(value, random) for value in values) + "]"
    raise AssertionError(expr)


def _joint(
    parts: Any, signs: tuple[str, str], random: Random, capitals: bool, write: Callable[[Any], str]
) -> list[str]:
    written = [write(parts[0])]
    for part in parts[1:]:
        sign = random.choice(signs) if capitals else signs[0]
        written += [f" {sign} ", write(part)]
    return written


def _value(value: Decimal | str | bool, random: Random) -> str:
    if isinstance(value, str):
        return _quoted(value, random)
    return str(value).lower() if isinstance(value, bool) else f"{value:f}"


def _quoted(text: str, random: Random) -> str:
    quote = random.choice("'\"")
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return quote + escaped.replace(quote, "\\" + quote) + quote


# --- documents --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    inputs: Inputs
    cel: dict[str, Any]


MISTYPED: Mapping[str, tuple[Any, ...]] = {
    "n": ("7", [1], {"a": 1}),
    "s": (7, []),
    "b": (1, "true", []),
    "l": (5, False),
}


def document(random: Random, *, mistyped: bool = False) -> Document:
    """One question. `mistyped`: some arguments are of another type than conditions ask for."""

    def maybe(make: Callable[[], Any], p: float = 0.8) -> Any:
        pick = random.random()
        return make() if pick < p else None if pick < p + 0.06 else _ABSENT

    def number() -> Any:
        value = random.choice(NUMBERS)
        if value == value.to_integral_value() and random.random() < 0.8:
            return int(value)
        return float(value) if random.random() < 0.5 else value

    def word() -> str:
        return random.choice(WORDS)

    def words() -> list[str]:
        return [word() for _ in range(random.choice((0, 1, 2, 4)))]

    def flag() -> bool:
        return random.random() < 0.5

    def item() -> dict[str, Any]:
        return _object({"p": maybe(number), "k": maybe(word), "f": maybe(flag), "tags": maybe(words)})

    def deep() -> dict[str, Any]:
        made = {"n": maybe(number), "s": maybe(word), "b": maybe(flag), "l": maybe(words)}
        return _object({**made, "p": maybe(lambda: _object({"n": maybe(number)}))})

    args: dict[str, Any] = {
        "n": maybe(number),
        "m": maybe(number),
        "amt": maybe(lambda: f"{random.choice(NUMBERS[:20]):.2f}"),
        "s": maybe(word),
        "t": maybe(word),
        "b": maybe(flag),
        "c": maybe(flag),
        "l": maybe(words),
        "ln": maybe(lambda: [number() for _ in range(random.choice((0, 1, 3)))]),
        "o": maybe(deep),
        "items": maybe(lambda: [item() for _ in range(random.choice((0, 1, 2, 3)))], 0.9),
    }
    if mistyped:
        for name, kind in {"n": "n", "m": "n", "s": "s", "t": "s", "b": "b", "l": "l", "items": "l"}.items():
            if random.random() < 0.4:
                args[name] = random.choice(MISTYPED[kind])
    args = _object(args)
    facts = _object({"count": maybe(number), "plan": maybe(word), "vip": maybe(flag)})
    provenance = _object({"recipient": random.choice((*ROLES, _ABSENT))})
    signals = Signals(
        confidence=random.choice((None, Decimal("0.1"), Decimal("0.7"), Decimal(1))),
        retry_count=random.choice((0, 1, 3)),
        anomaly_score=random.choice((Decimal(0), Decimal("0.3"), Decimal(1))),
        affected_users=random.choice((None, 0, 5)),
        first_time_action=flag(),
        sentiment=random.choice((Decimal(-1), Decimal("-0.5"), Decimal(0))),
        deadline_sec=random.choice((None, 0, 3, -1)),
        duplicate_of=random.choice((None, "a", "abc")),
    )
    tags = random.choice((None, frozenset[str](), frozenset({"prod"}), frozenset({"prod", "a", "é"})))
    tiers = random.choice(((), (1,), (3,), (4,)))
    topic = random.choice(("a", "prod", "job.pay"))
    inputs = Inputs(topic, args, signals, None, tags, tiers, facts, provenance, {}, frozenset({"amt"}))
    return Document(inputs, _cel(inputs))


_ABSENT: Any = object()


def _object(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not _ABSENT}


def _cel(inputs: Inputs) -> dict[str, Any]:
    amount = inputs.args.get("amt")
    args = _plain(inputs.args)
    if isinstance(amount, str):
        args["amt"] = float(amount)
    signals = inputs.signals
    told = {
        "confidence": signals.confidence,
        "retry_count": signals.retry_count,
        "anomaly_score": signals.anomaly_score,
        "affected_users": signals.affected_users,
        "first_time_action": signals.first_time_action,
        "sentiment": signals.sentiment,
        "deadline_sec": float("inf") if signals.deadline_sec is None else signals.deadline_sec,
        "duplicate_of": signals.duplicate_of,
    }
    data: dict[str, Any] = {
        "args": args,
        "facts": _plain(inputs.facts),
        "provenance": dict(inputs.provenance),
        "signals": _plain(told),
        "topic": inputs.topic,
    }
    if inputs.tags is not None:
        data["tags"] = sorted(inputs.tags)
    if inputs.tiers:
        data["tier"] = inputs.tiers[0]
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value
