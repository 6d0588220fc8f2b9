"""Terms, and three-valued truth made of them: what a question about all actions is written in.

1. A term is True or False where that is known already, else a node over flags and whole numbers. Joining
   folds constants away, so that most questions about a policy never reach a solver.
2. A truth is a pair of terms: one that holds where something is proved, one where it is refuted. Neither
   holds where it is unknown; both never hold. Joining truths is Kleene's, as in `interlock.policy.kleene`.
3. Terms are data. `solver` says what they mean to a solver; `value_of` what they are worth where every flag
   and number is given.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that holds or does not. Two of one name are one."""

    name: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number. Two of one name are one."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """``one * times`` against ``other * by``."""

    op: str
    one: Whole
    other: Whole | int
    times: int = 1
    by: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Adds:
    """``total`` is ``rest`` and one for each flag that holds."""

    total: Whole
    rest: Whole
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Every:
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Some:
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Negated:
    term: Term


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    one: Term
    other: Term


Term: TypeAlias = "bool | Flag | Compared | Adds | Every | Some | Negated | Same"

# --- joining ----------------------------------------------------------------------------------------------


def both(*terms: Term) -> Term:
    return every(terms)


def either(*terms: Term) -> Term:
    return some(terms)


def every(terms: Iterable[Term]) -> Term:
    left: list[Term] = []
    for term in terms:
        if term is False:
            return False
        if term is not True:
            left.append(term)
    return True if not left else left[0] if len(left) == 1 else Every(tuple(left))


def some(terms: Iterable[Term]) -> Term:
    left: list[Term] = []
    for term in terms:
        if term is True:
            return True
        if term is not False:
            left.append(term)
    return False if not left else left[0] if len(left) == 1 else Some(tuple(left))


def no(term: Term) -> Term:
    if isinstance(term, bool):
        return not term
    return term.term if isinstance(term, Negated) else Negated(term)


def implies(premise: Term, conclusion: Term) -> Term:
    return some((no(premise), conclusion))


def same(one: Term, other: Term) -> Term:
    """Whether two terms are worth the same."""
    if isinstance(one, bool):
        return other if one else no(other)
    if isinstance(other, bool):
        return one if other else no(one)
    return Same(one, other)


_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TURNED: Mapping[str, str] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compared(op: str, one: Whole | int, other: Whole | int, times: int = 1, by: int = 1) -> Term:
    """How ``one * times`` and ``other * by`` compare."""
    if isinstance(one, Whole):
        return Compared(op, one, other, times, by)
    if isinstance(other, Whole):
        return Compared(TURNED[op], other, one, by, times)
    return _COMPARE[op](one * times, other * by)


def value_of(term: Term, flag: Callable[[str], bool], whole: Callable[[str], int]) -> bool:
    """What a term is worth."""

    def number(side: Whole | int) -> int:
        return whole(side.name) if isinstance(side, Whole) else side

    def value(term: Any) -> bool:
        match term:
            case bool():
                return term
            case Flag(name):
                return flag(name)
            case Compared(op, one, other, times, by):
                return _COMPARE[op](number(one) * times, number(other) * by)
            case Every(terms):
                return all(map(value, terms))
            case Some(terms):
                return any(map(value, terms))
            case Negated(inner):
                return not value(inner)
            case Same(one, other):
                return value(one) is value(other)
            case Adds(total, rest, flags):
                return number(total) == number(rest) + sum(flag(each.name) for each in flags)
        raise AssertionError(term)

    return value(term)


# --- three values -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about something: `yes` where it is proved, `no` where it is refuted."""

    yes: Term
    no: Term

    @property
    def unknown(self) -> Term:
        return no(some((self.yes, self.no)))


PROVED = Truth(True, False)
REFUTED = Truth(False, True)
UNKNOWN = Truth(False, False)


def known(term: Term, given: Term = True) -> Truth:
    """What `term` says, where it is known at all."""
    return Truth(both(given, term), both(given, no(term)))


def constant(truth: bool | None) -> Truth:
    return UNKNOWN if truth is None else PROVED if truth else REFUTED


def all_of(truths: Iterable[Truth]) -> Truth:
    found = tuple(truths)
    return Truth(every(truth.yes for truth in found), some(truth.no for truth in found))


def any_of(truths: Iterable[Truth]) -> Truth:
    found = tuple(truths)
    return Truth(some(truth.yes for truth in found), every(truth.no for truth in found))


def one_of(truths: Iterable[Truth]) -> Truth:
    """What one of several readings says, of which at most one is known at a time."""
    found = tuple(truths)
    return Truth(some(truth.yes for truth in found), some(truth.no for truth in found))


def not_of(truth: Truth) -> Truth:
    return Truth(truth.no, truth.yes)
