"""The solver: what terms mean to z3, and what its models say.

1. Nothing else in this room knows z3.
2. The same questions in the same order are answered alike: nothing here is random.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import z3

from interlock.authoring.encode_logic import (
    Adds,
    Compared,
    Every,
    Flag,
    Negated,
    Same,
    Some,
    Term,
    Whole,
    value_of,
)


class Answer(Enum):
    NEVER = "never"
    SOMETIMES = "sometimes"
    UNKNOWN = "unknown"


_ANSWERS = {"unsat": Answer.NEVER, "sat": Answer.SOMETIMES, "unknown": Answer.UNKNOWN}


class Model:
    """Flags and numbers under which everything that was asked for holds."""

    def __init__(self, model: Any) -> None:
        self._values: dict[str, bool | int] = {}
        for name in model.decls():
            value = model[name]
            if z3.is_int_value(value):
                self._values[name.name()] = value.as_long()
            elif z3.is_true(value) or z3.is_false(value):
                self._values[name.name()] = z3.is_true(value)

    def flag(self, flag: Flag) -> bool | None:
        """None where it does not matter."""
        value = self._values.get(flag.name)
        return None if value is None else bool(value)

    def number(self, whole: Whole) -> int | None:
        """None where it does not matter."""
        value = self._values.get(whole.name)
        return None if value is None else int(value)

    def holds(self, term: Term) -> bool:
        """Whether a term holds, with what does not matter at False and 0."""
        values = self._values
        return value_of(term, lambda name: bool(values.get(name)), lambda name: int(values.get(name, 0)))


class Solver:
    """Questions about terms."""

    def __init__(self) -> None:
        self._solver = z3.SimpleSolver()
        self._context = z3.main_ctx()
        self._ref = self._context.ref()
        self._variables: dict[str, Any] = {}
        self._numerals: dict[int, Any] = {}
        self._known: dict[Any, Any] = {}

    @contextmanager
    def supposing(self, *terms: Term) -> Iterator[None]:
        """Add terms, and forget them and all that was added meanwhile."""
        self._solver.push()
        try:
            self.add(*terms)
            yield
        finally:
            self._solver.pop()

    def forget(self) -> None:
        """Drop what was kept of terms; between questions that share none."""
        self._known.clear()

    def add(self, *terms: Term) -> None:
        self._solver.add(*(self._of(term) for term in terms if term is not True))

    def ask(self, seconds: float, *terms: Term) -> Answer:
        """Whether all terms can hold together, as far as that is found out in time."""
        self._solver.set("timeout", max(1, int(1_000 * seconds)))
        result = self._solver.check(*(self._of(term) for term in terms if term is not True))
        return _ANSWERS[str(result)]

    @property
    def why(self) -> str:
        """Why the last question was not answered."""
        return "it ran out of time" if self.stopped else str(self._solver.reason_unknown())

    @property
    def stopped(self) -> bool:
        """Whether it was stopped over the last question: by the clock, or from the keyboard."""
        return str(self._solver.reason_unknown()) in ("canceled", "timeout", "interrupted from keyboard")

    def model(self) -> Model:
        """Of the last question, if its answer was that it can be."""
        return Model(self._solver.model())

    # Translating. z3's own operators first find out what their operands have in common, which takes several
    # times as long as making the term; here that is known.

    def _of(self, term: Term) -> Any:
        if isinstance(term, Flag):
            return self._variable(term.name, z3.Bool)
        if isinstance(term, bool):
            return z3.BoolVal(term)
        found = self._known.get(term)
        if found is None:
            found = self._known[term] = self._made(term)
        return found

    def _made(self, term: Compared | Adds | Every | Some | Negated | Same) -> Any:
        match term:
            case Every(terms):
                return self._joined(z3.Z3_mk_and, terms)
            case Some(terms):
                return self._joined(z3.Z3_mk_or, terms)
            case Negated(inner):
                return z3.BoolRef(z3.Z3_mk_not(self._ref, self._of(inner).ast), self._context)
            case Same(one, other):
                return self._pair(z3.Z3_mk_eq, self._of(one), self._of(other))
            case Compared(op, one, other, times, by):
                made = self._pair(_MAKE[op], self._side(one, times), self._side(other, by))
                return z3.Not(made) if op == "!=" else made
            case Adds(total, rest, flags):
                ones = [z3.If(self._of(flag), 1, 0) for flag in flags]
                return self._side(total, 1) == z3.Sum(self._side(rest, 1), *ones)

    def _joined(self, make: Any, terms: tuple[Term, ...]) -> Any:
        made = [self._of(term) for term in terms]
        operands = (z3.Ast * len(made))(*(each.ast for each in made))
        return z3.BoolRef(make(self._ref, len(made), operands), self._context)

    def _pair(self, make: Any, one: Any, other: Any) -> Any:
        return z3.BoolRef(make(self._ref, one.ast, other.ast), self._context)

    def _side(self, side: Whole | int, factor: int) -> Any:
        if isinstance(side, int):
            value = side * factor
            found = self._numerals.get(value)
            if found is None:
                found = self._numerals[value] = z3.IntVal(value)
            return found
        variable = self._variable(side.name, z3.Int)
        return variable if factor == 1 else variable * factor

    def _variable(self, name: str, sort: Any) -> Any:
        found = self._variables.get(name)
        if found is None:
            found = self._variables[name] = sort(name)
        return found


_MAKE = {
    "==": z3.Z3_mk_eq,
    "!=": z3.Z3_mk_eq,
    "<": z3.Z3_mk_lt,
    "<=": z3.Z3_mk_le,
    ">": z3.Z3_mk_gt,
    ">=": z3.Z3_mk_ge,
}
