"""Texts: which there are that answer every question as the solver supposed.

1. A literal is itself. Another text is first looked for among those that the questions suggest, because a
   person can read them; then the solver of texts is asked, about all texts that are compared together.
2. Where there is none, the answers that contradict each other are named, so that they are never supposed
   together again. That is a fact about texts, not a guess.
3. Patterns that `encode_patterns` cannot translate, and lone characters that the solver does not know, are
   tried out only; then "there is none" is not known, and nobody says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import z3

from interlock.authoring.encode_inputs import Asked, Inputs
from interlock.authoring.encode_logic import Term, compared, every, no
from interlock.authoring.encode_patterns import (
    expression_of,
    one_of_characters,
    sequence,
    text_of,
    text_value,
)
from interlock.authoring.encode_values import TextVariable, holds
from interlock.authoring.solver import Model
from interlock.model.topics import TopicPattern
from interlock.policy.catalogue import overlap

_MAX_LENGTH = 10_000
"""Characters of a text that is made up to fill a length."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Terms that cannot hold together."""

    terms: tuple[Term, ...]


@dataclass(slots=True)
class _Wanted:
    """What a text must be: the answers it must give, each with the term that supposed it."""

    text: TextVariable
    code: int | None
    size: int | None
    answers: list[tuple[str, str, bool, Term]] = field(default_factory=list)
    fixed: tuple[str, Term] | None = None

    def suits(self, candidate: str) -> bool:
        if not self.text.can_be(candidate) or (self.code == 0 and candidate in self.text.literals):
            return False
        if self.size is not None and len(candidate) != self.size:
            return False
        return all(holds(function, candidate, other) is wanted for function, other, wanted, _ in self.answers)


def find_texts(
    inputs: Inputs,
    model: Model,
    active: list[TextVariable],
    fixed: dict[TextVariable, tuple[str, Term]],
    patience: int,
) -> dict[TextVariable, str] | Clash | None:
    """A text for each variable, or what contradicts itself; None where nobody knows.

    Args:
        active: the variables that are texts in this model.
        fixed: what some of them must be, and the term that says so.
        patience: milliseconds that the solver may take.
    """
    wanted = {text: _wanted(inputs, model, text, fixed.get(text)) for text in active}
    pairs = [
        (asked, value)
        for asked, answer in inputs.asked.items()
        if isinstance(asked[2], TextVariable) and asked[1] in wanted and asked[2] in wanted
        if (value := model.flag(answer)) is not None
    ]
    found: dict[TextVariable, str] = {}
    for text, each in wanted.items():
        candidate = next(filter(each.suits, _candidates(inputs, each)), None)
        if candidate is not None:
            found[text] = candidate
    lonely = all(
        asked[1] in found and asked[2] in found and holds(asked[0], found[asked[1]], found[asked[2]]) is value
        for asked, value in pairs
        if isinstance(asked[2], TextVariable)
    )
    if lonely and len(found) == len(wanted):
        return found
    return _solved(inputs, wanted, pairs, patience)


def _wanted(inputs: Inputs, model: Model, text: TextVariable, fixed: tuple[str, Term] | None) -> _Wanted:
    code, size = model.number(text.code), None if text.size is None else model.number(text.size)
    each = _Wanted(text, code, size, fixed=fixed)
    for (function, of, other), answer in inputs.asked.items():
        value = model.flag(answer)
        if of is text and isinstance(other, str) and value is not None:
            each.answers.append((function, other, value, answer if value else no(answer)))
    return each


# --- what comes to mind -----------------------------------------------------------------------------------


def _candidates(inputs: Inputs, wanted: _Wanted) -> Iterator[str]:
    text = wanted.text
    if wanted.fixed is not None:
        yield wanted.fixed[0]
        return
    if wanted.code:
        yield next(literal for literal, code in text.literals.items() if code == wanted.code)
        return
    if text is inputs.topic:
        yield inputs.one.topic
        return
    holding = [(function, other) for function, other, value, _ in wanted.answers if value]
    heads = [other for function, other in holding if function == "startsWith"] or [""]
    tails = [other for function, other in holding if function == "endsWith"] or [""]
    middle = "".join(other for function, other in holding if function == "contains")
    others = [other for _, other, _, _ in wanted.answers]
    for head, tail in product(heads, tails):
        for filling in ("example", "x", ""):
            for core in (filling, filling + middle, middle):
                yield _filled(head, core, tail, wanted.size)
    for other in others:
        yield from (other, other + "x", "x" + other)
    yield _filled("", "", "", wanted.size)


def _filled(head: str, core: str, tail: str, size: int | None) -> str:
    if size is None:
        return head + core + tail
    room = min(size, _MAX_LENGTH) - len(head) - len(tail)
    return head + (core + "x" * room)[: max(0, room)] + tail


# --- what there is ----------------------------------------------------------------------------------------


def _solved(
    inputs: Inputs, wanted: dict[TextVariable, _Wanted], pairs: list[tuple[Asked, bool]], patience: int
) -> dict[TextVariable, str] | Clash | None:
    solver = z3.SimpleSolver()
    solver.set("timeout", patience)
    solver.set("ctrl_c", False)
    supposed: dict[str, Term] = {}

    def suppose(constraint: Any, *terms: Term) -> None:
        mark = z3.Bool(f"supposed#{len(supposed)}")
        supposed[mark.decl().name()] = every(terms)
        solver.add(z3.Implies(mark, constraint))

    try:
        variables = {text: z3.String(f"text#{text.name}") for text in wanted}
        for text, each in wanted.items():
            _constrain(inputs, each, variables[text], solver, suppose)
        for asked, value in pairs:
            function, of, other = asked
            assert isinstance(other, TextVariable)
            answer = inputs.asked[asked]
            constraint = _constraint(function, variables[of], variables[other])
            suppose(constraint if value else z3.Not(constraint), answer if value else no(answer))
    except ValueError:
        return None
    result = solver.check(*map(z3.Bool, supposed))
    if result == z3.unsat:
        return Clash(tuple(supposed[mark.decl().name()] for mark in solver.unsat_core()))
    if result != z3.sat:
        return None
    model = solver.model()
    return {
        text: text_of(model.eval(variable, model_completion=True)) for text, variable in variables.items()
    }


def _constrain(inputs: Inputs, wanted: _Wanted, variable: Any, solver: Any, suppose: Any) -> None:
    text = wanted.text
    solver.add(z3.Length(variable) >= text.shortest)
    if text.longest is not None:
        solver.add(z3.Length(variable) <= text.longest)
    if text is inputs.topic:
        solver.add(*_of_the_class(inputs, variable))
    if wanted.fixed is not None:
        suppose(variable == text_value(wanted.fixed[0]), wanted.fixed[1])
    literals = {code: literal for literal, code in text.literals.items()}
    if wanted.code:
        suppose(variable == text_value(literals[wanted.code]), compared("==", text.code, wanted.code))
    elif wanted.code == 0 and literals:
        suppose(
            z3.And([variable != text_value(literal) for literal in literals.values()]),
            compared("==", text.code, 0),
        )
    if text.size is not None and wanted.size is not None:
        suppose(z3.Length(variable) == wanted.size, compared("==", text.size, wanted.size))
    for function, other, value, term in wanted.answers:
        constraint = _constraint(function, variable, text_value(other), other)
        suppose(constraint if value else z3.Not(constraint), term)


def _constraint(function: str, one: Any, other: Any, literal: str = "") -> Any:
    match function:
        case "startsWith":
            return z3.PrefixOf(other, one)
        case "endsWith":
            return z3.SuffixOf(other, one)
        case "contains":
            return z3.Contains(one, other)
        case "==":
            return one == other
        case "!=":
            return one != other
        case "<":
            return one < other
        case "<=":
            return one <= other
        case ">":
            return other < one
        case ">=":
            return other <= one
    expression = expression_of(literal)
    if expression is None:
        raise ValueError("a pattern that is not translated")
    return z3.InRe(one, expression)


# --- topics -----------------------------------------------------------------------------------------------


def _of_the_class(inputs: Inputs, variable: Any) -> Iterator[Any]:
    """What makes a text a topic of the class."""
    segment = z3.Plus(one_of_characters(((0x2D, 0x2D), (0x30, 0x39), (0x5F, 0x5F), (0x61, 0x7A))))
    further = z3.Concat(z3.Re("."), segment)
    yield z3.InRe(variable, z3.Concat(segment, z3.Loop(further, 1, 15)))
    topic = inputs.one.topic
    matching = [pattern for pattern in inputs.topics.patterns if pattern.matches(topic)]
    for pattern in matching:
        yield z3.InRe(variable, _expression(pattern, segment, further))
    for pattern in inputs.topics.patterns:
        if pattern not in matching and all(overlap(pattern, other) for other in matching):
            yield z3.Not(z3.InRe(variable, _expression(pattern, segment, further)))


def _expression(pattern: TopicPattern, segment: Any, further: Any) -> Any:
    steps: list[Any] = []
    for number, step in enumerate(pattern.segments):
        if number:
            steps.append(z3.Re("."))
        steps.append(segment if step == "*" else z3.Re(step))
    if pattern.open_ended:
        steps.append(z3.Star(further) if steps else z3.Concat(segment, z3.Star(further)))
    return sequence(steps)
