"""Types: what a condition asks that its fields cannot answer, found when the policy is loaded.

1. A condition is checked against every catalogue entry its rule may match. Each must declare the arguments
   it reads, with a fitting type; an entry without declared arguments accepts anything, and so do the inside
   of an object and the element of a list. Each part is checked once for each way in which entries declare
   the arguments that this part reads; the most specific entry stands for all that declare them so.
2. Numbers are compared with numbers, strings with strings, booleans with ``==`` and ``!=`` only. A literal
   that the field can never have (a confidence of 7, a provenance nobody knows, a text that is no topic) is a
   mistake: a rule that restricts on it never would.
3. What an agent reports may only tighten (promise P1): `only_tightens` proves from the text alone that more
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from interlock.model.errors import BadTopic
from interlock.model.topics import parse_topic
from interlock.policy.catalogue import CatalogueEntry
from interlock.policy.fields import FIELDS, OPTIONAL, PROVENANCES, RANGES, REPORTED, RULE_ROOTS, Kind
from interlock.policy.findings import nearest, quoted
from interlock.policy.reach import Met, Reach
from interlock.policy.syntax import (
    And,
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Literal,
    Node,
    Not,
    Operand,
    Or,
    Size,
    Text,
    Value,
    fields_of,
    parts,
    show,
)

_KIND_OF_ARG: Mapping[str, Kind] = {
    "integer": "number",
    "number": "number",
    "decimal": "number",
    "string": "string",
    "boolean": "boolean",
    "array": "list",
    "object": "object",
}
_A: Mapping[Kind, str] = {
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
}
_SCALARS: frozenset[Kind] = frozenset({"number", "string", "boolean"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a condition. `at` counts its characters from 1."""

    message: str
    suggestion: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition may speak of.

    Attributes:
        entries: those its rule may match; none where nothing is catalogued: then any argument goes.
        facts: the declared facts. roots: `RULE_ROOTS` or `WORKFLOW_ROOTS`.
    """

    entries: Met | tuple[CatalogueEntry, ...] = ()
    facts: Mapping[str, Kind] = field(default_factory=dict)
    roots: frozenset[str] = RULE_ROOTS


MAX_PROBLEMS = 20
"""After so many, nothing further is looked for in a condition."""
_GUESSED = 1_000
"""Entries whose arguments are compared with a field that nobody knows."""


def check_types(expr: Expr, scope: Scope) -> list[Problem]:
    """What is wrong with a condition in its scope, each thing once, in the order of the text."""
    checker = _Checker(scope)
    checker.truth(expr)
    return sorted(checker.found, key=lambda problem: problem.at)


class _Checker:
    """Checks a condition part by part.

    Attributes:
        way: the entries that a part is being checked against: they all declare what it reads alike. None
            where nothing says how its arguments are declared.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.entries = scope.entries if isinstance(scope.entries, Met) else Reach(scope.entries).met()
        self.way: Met | None = None
        self.found: dict[Problem, None] = {}
        self.variable: str | None = None
        self.unknown: set[str] = set()

    def add(self, message: str, at: int, suggestion: str | None = None) -> None:
        self.found[Problem(message, suggestion, at)] = None

    def truth(self, expr: Expr) -> None:
        match expr:
            case And() | Or():
                for operand in expr.operands:
                    self.truth(operand)
            case Not():
                self.truth(expr.operand)
            case Each():
                self.each_way(expr.over, lambda: self.ranges(expr))
                self.variable = expr.variable
                self.truth(expr.body)
                self.variable = None
            case _:
                self.each_way(expr, lambda: self.part(expr))

    def each_way(self, node: Node, check: Callable[[], object]) -> None:
        """Check a part once for each way in which the entries declare the arguments that it reads."""
        read = (part for part in parts(node) if isinstance(part, Field))
        names = sorted({field.path[1] for field in read if field.root == "args" and len(field.path) > 1})
        for way in (self.entries.ways(names) if names else ()) or (None,):
            if len(self.found) >= MAX_PROBLEMS:
                return
            self.way = way
            check()

    def ranges(self, expr: Each) -> None:
        self.need(expr.over, frozenset({"list"}), f".{expr.quantifier}() ranges over a list")

    def part(self, expr: Expr) -> None:
        match expr:
            case Compare():
                self.compare(expr)
            case In():
                self.lookup(expr)
            case Has():
                self.kind(expr.field)
                name = expr.field.name
                if name in FIELDS and name not in OPTIONAL:
                    self.add(f"{name} always has a value; has() is always true of it", expr.field.at)
            case Text():
                self.need(expr.of, frozenset({"string"}), f".{expr.function}() asks about a string")
            case Field():
                self.need(expr, frozenset({"boolean"}), "a condition compares it with something")

    def compare(self, expr: Compare) -> None:
        left, right = self.operand(expr.left), self.operand(expr.right)
        if left is not None and right is not None and left != right:
            first, second = expr.left, expr.right
            if isinstance(first, Literal) and not isinstance(second, Literal):
                first, second, left, right = second, first, right, left
            other = _A[right] if isinstance(second, Literal) else f"{self.named(second)}, {_A[right]}"
            self.add(f"{self.named(first)} is {_A[left]}, compared with {other}", first.at)
        elif expr.op not in ("==", "!=") and "boolean" in (left, right):
            self.add("true and false have no order; compare with == or !=", expr.at)
        for one, other_side in ((expr.left, expr.right), (expr.right, expr.left)):
            if isinstance(one, Field) and isinstance(other_side, Literal):
                self.possible(one, other_side.value, equal=expr.op in ("==", "!="))

    def lookup(self, expr: In) -> None:
        item = self.operand(expr.item)
        if isinstance(expr.container, Field):
            self.need(expr.container, frozenset({"list"}), "in looks into a list")
            if expr.container.name == "tags" and item not in (None, "string"):
                self.add(f"tags are strings, {self.named(expr.item)} is {_A[item]}", expr.item.at)
            return
        listed = _kind_of(expr.container.values[0])
        if item is not None and item != listed:
            self.add(f"{self.named(expr.item)} is {_A[item]}, looked up among {listed}s", expr.item.at)
        if isinstance(expr.item, Field):
            for value in expr.container.values:
                self.possible(expr.item, value, equal=True)

    def operand(self, operand: Operand) -> Kind | None:
        """What an operand is; None where that is anybody's guess, or already complained about."""
        if isinstance(operand, Literal):
            return _kind_of(operand.value)
        if isinstance(operand, Size):
            self.need(operand.of, frozenset({"string", "list"}), "only strings and lists have a size")
            return "number"
        return self.need(operand, _SCALARS, _WHOLE)

    def need(self, read: Field, wanted: frozenset[Kind], why: str) -> Kind | None:
        kind = self.kind(read)
        if kind is None or kind in wanted:
            return kind
        if why is _WHOLE:
            why = (
                f"ask whether something is in {read.name}, or for size({read.name})"
                if kind == "list"
                else f"name something in it, such as {read.name}.id"
            )
        self.add(f"{self.named(read)} is {_A[kind]}; {why}", read.at)
        return None

    def named(self, operand: Operand) -> str:
        if isinstance(operand, Field):
            return operand.name + (f" of {self.whose}" if self.way and operand.root == "args" else "")
        return show(operand)

    @property
    def whose(self) -> str:
        """The entries that a part is being checked against, in words."""
        return "" if self.way is None else self.way.named

    def kind(self, read: Field) -> Kind | None:
        """What a field is; complains where there is no such field."""
        name, root, steps = read.name, read.root, read.path[1:]
        if root == self.variable:
            return None
        if name in FIELDS:
            if root in self.scope.roots:
                return FIELDS[name]
        elif root in self.scope.roots and steps:
            if root == "args":
                return self.argument(read)
            if root == "result":
                return None
            if root == "provenance" and len(steps) == 1:
                return "string"
            if root == "facts" and len(steps) == 1:
                if steps[0] in self.scope.facts:
                    return self.scope.facts[steps[0]]
                guess = nearest(steps[0], self.scope.facts)
                self.add(f"no fact {steps[0]!r} is declared", read.at, guess and f"facts.{guess}")
                return None
        if name not in self.unknown:
            self.unknown.add(name)
            self.add(f"unknown field {name!r}", read.at, nearest(name, self.known()))
        return None

    def known(self) -> Iterator[str]:
        yield from (name for name in FIELDS if name.partition(".")[0] in self.scope.roots)
        yield from (f"facts.{name}" for name in self.scope.facts)
        for entry in islice(self.entries, _GUESSED):
            yield from (f"args.{name}" for name in entry.args or ())

    def argument(self, read: Field) -> Kind | None:
        if self.way is None:
            return None
        args, name, further = self.way.first.args or {}, read.path[1], read.path[2:]
        declared = args.get(name)
        if declared is None:
            guess = nearest(name, args)
            self.add(f"{self.whose} declares no argument {name!r}", read.at, guess and f"args.{guess}")
            return None
        kind = _KIND_OF_ARG[declared.kind]
        if not further:
            return kind
        if kind != "object":
            self.add(f"args.{name} of {self.whose} is {_A[kind]}; nothing in it has a name", read.at)
        return None

    def possible(self, read: Field, value: Value, *, equal: bool) -> None:
        """Complain about a literal that the field can never have, or (`equal`) can never equal."""
        low, high = RANGES.get(read.name, (None, None))
        if low is not None and high is not None and _kind_of(value) == "number":
            if not low <= value <= high:  # type: ignore[operator]
                self.add(f"{read.name} lies between {low} and {high}", read.at)
        elif read.root == "provenance" and isinstance(value, str) and value not in PROVENANCES:
            known = f"{', '.join(PROVENANCES[:-1])} or {PROVENANCES[-1]}"
            self.add(f"{read.name} is {known}, never {value!r}", read.at, nearest(value, PROVENANCES))
        elif read.name == "topic" and equal and isinstance(value, str):
            try:
                parse_topic(value)
            except BadTopic as error:
                self.add(f"topic is never {quoted(value)}: {error.detail.partition(': ')[2]}", read.at)


_WHOLE = "a comparison takes one value"


def _kind_of(value: Value) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


# --- what is reported -------------------------------------------------------------------------------------


def reads_reported(expr: Expr) -> bool:
    """Whether a condition reads what the agent reports about itself."""
    return any(read.name == REPORTED for read in fields_of(expr))


def only_tightens(expr: Expr) -> list[Problem]:
    """Why more reported confidence could make a condition true; nothing where it cannot.

    Confidence is compared with a number by ``<`` or ``<=``, or by ``>`` or ``>=`` under an odd number of
    negations. Then the condition is monotone: whoever reports more never gains a match, and whoever reports
    nothing leaves it unknown.
    """
    found: list[Problem] = []
    _tightens(expr, False, found)
    return found


_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _tightens(expr: Expr, negated: bool, found: list[Problem]) -> None:
    match expr:
        case And() | Or():
            for operand in expr.operands:
                _tightens(operand, negated, found)
        case Not():
            _tightens(expr.operand, not negated, found)
        case Compare(op, Field() as read, Literal()) if _tightening(op, read, negated):
            pass
        case Compare(op, Literal(), Field() as read) if _tightening(_TURNED.get(op, op), read, negated):
            pass
        case _:
            for part in parts(expr):
                if isinstance(part, Field) and part.name == REPORTED:
                    found.append(
                        Problem(
                            "confidence is reported by the agent; compare it with < or <= only", None, part.at
                        )
                    )


def _tightening(op: str, read: Field, negated: bool) -> bool:
    return read.name == REPORTED and op in ((">", ">=") if negated else ("<", "<="))
