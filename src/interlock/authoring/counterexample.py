"""From a model of the solver to an action file: what `interlock policy explain --action` reads.

1. What the model does not care about is left out, or is as plain as the catalogue permits.
2. Lists are built from the elements that the questions about them were asked of, and are tried with the
   kernel's own conditions until every question is answered as the model supposed.
3. Nothing is shown that was not decided by the kernel itself (`interlock.authoring.prove`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import combinations_with_replacement, islice
from typing import Any

from interlock.authoring.encode_inputs import Element, Inputs
from interlock.authoring.encode_logic import Whole
from interlock.authoring.encode_values import Path, TextVariable, Variable, text_of_units
from interlock.authoring.prove import Action
from interlock.authoring.question import read_question
from interlock.authoring.solver import Model
from interlock.model.canonical import Json, plain
from interlock.model.errors import InvalidInput
from interlock.policy import Policy, Question
from interlock.policy.catalogue import ArgType
from interlock.policy.closures import compile_expression
from interlock.policy.rules import BASELINE

MAX_TRIES = 1_500
"""Lists that are tried for one counterexample."""
_MAX_ELEMENTS = 2_000


class NotFound(Exception):
    """The model means no action that can be written down."""


def active_texts(inputs: Inputs, model: Model) -> list[TextVariable]:
    """The variables that are texts in a model."""
    topic = [] if inputs.topic is None else [inputs.topic]
    return topic + [each.text for each in inputs.fields.values() if model.holds(each.is_("string"))]


def action_of(inputs: Inputs, model: Model, texts: Mapping[TextVariable, str], policy: Policy) -> Action:
    """The action file that a model means.

    Raises:
        NotFound: no action answers as the model supposes, as far as anybody looked.
    """
    try:
        return _Writer(inputs, model, texts).action(policy)
    except InvalidInput as error:
        raise NotFound(str(error.detail)) from error


class _Writer:
    def __init__(self, inputs: Inputs, model: Model, texts: Mapping[TextVariable, str]) -> None:
        self.inputs, self.model, self.texts = inputs, model, texts

    def action(self, policy: Policy) -> Action:
        inputs = self.inputs
        action: Action = {
            "topic": inputs.one.topic if inputs.topic is None else self.texts[inputs.topic],
            "args": self._args(),
        }
        for root in ("signals", "facts", "provenance"):
            found = self._plain_fields(root)
            if root == "signals":
                found = {name: value for name, value in found.items() if value != getattr(BASELINE, name)}
            if found:
                action[root] = found
        if inputs.tags is not None and self.model.holds(inputs.tags.given):
            action["risk_tags"] = self._tags()
        if inputs.level is not None:
            action["level"] = self._integer(inputs.level)
        return self._with_lists(action, policy)

    # values

    def _integer(self, whole: Whole) -> int:
        return self.model.number(whole) or 0

    def _value(self, variable: Variable, declared: ArgType | None = None) -> Json:
        """What a variable is in the model."""
        shape = next((s for s in variable.shapes if self.model.holds(variable.is_(s))), None)
        if shape == "number":
            text = text_of_units(self._integer(variable.units), variable.grid.scale)
            if declared is not None and declared.kind == "decimal":
                return text
            number = Decimal(text)
            whole = number == number.to_integral_value()
            return int(number) if whole else plain(number, f"$.{variable.name}")
        if shape == "string":
            return self.texts[variable.text]
        if shape == "boolean":
            return self.model.holds(variable.flag)
        if shape == "list":
            return []
        return {} if shape == "object" else None

    def _plain_fields(self, root: str) -> dict[str, Json]:
        return {
            path[1]: self._value(variable)
            for path, variable in sorted(self.inputs.fields.items())
            if path[0] == root and len(path) == 2 and self.model.holds(variable.there)
        }

    def _args(self) -> dict[str, Json]:
        entry = self.inputs.entry
        declared: Mapping[str, ArgType] = {} if entry is None or entry.args is None else entry.args
        args = {name: _anything(arg) for name, arg in declared.items() if not arg.optional}
        given = {path: each for path, each in self.inputs.fields.items() if path[0] == "args"}
        for path, variable in given.items():
            if len(path) == 2 and self.model.holds(variable.there):
                args[path[1]] = self._value(variable, declared.get(path[1]))
        return self._nested(args, {path: each for path, each in given.items() if len(path) > 2})

    def _tags(self) -> list[Json]:
        tags = self.inputs.tags
        assert tags is not None
        found = [tag for tag, has in tags.has.items() if self.model.holds(has)]
        for text, hit in tags.hits.items():
            if self.model.holds(hit) and text in self.texts:
                found.append(self.texts[text])
        found = list(dict.fromkeys(found))
        size = self._integer(tags.total)
        if size > _MAX_ELEMENTS:
            raise NotFound("more tags than anybody writes down")
        more = (name for name in map("tag-{}".format, range(size + len(found))) if name not in found)
        return [*found, *islice(more, max(0, size - len(found)))]

    # lists

    def _with_lists(self, action: Action, policy: Policy) -> Action:
        """The action with lists that answer as supposed, one list after the other."""
        for path, variable in self.inputs.fields.items():
            if path[0] == "args" and self.model.holds(variable.is_("list")):
                asked = [each for each in self.inputs.elements.values() if each.over == path]
                action = self._with_list(action, path, asked, self.model.number(variable.length), policy)
        return action

    def _with_list(
        self, action: Action, path: Path, asked: list[Element], length: int | None, policy: Policy
    ) -> Action:
        checks = [(compile_expression(each.expr), self._answer(each)) for each in asked]
        pool = [self._element(each.place) for each in asked]
        for elements in islice(_lists(pool, length), MAX_TRIES):
            tried = _replaced(action, path, elements)
            inputs = policy.inputs(read(tried, policy))
            if all(check(inputs) is truth for check, truth in checks):
                return tried
        raise NotFound(f"no list for {'.'.join(path)} was found")

    def _answer(self, each: Element) -> bool | None:
        if self.model.holds(each.truth.yes):
            return True
        return False if self.model.holds(each.truth.no) else None

    def _element(self, place: Path) -> Json:
        """An element of a list, with everything in it."""
        found = {path: each for path, each in self.inputs.fields.items() if path[: len(place)] == place}
        return self._nested({}, found).get(place[-1])

    def _nested(self, root: dict[str, Json], fields: Mapping[Path, Variable]) -> dict[str, Json]:
        """Fields in the objects they stand in."""
        for path, variable in sorted(fields.items()):
            inside: Any = root
            for step in path[1:-1]:
                inside = inside.get(step) if isinstance(inside, dict) else None
            if isinstance(inside, dict) and self.model.holds(variable.there):
                inside[path[-1]] = self._value(variable)
        return root


def read(action: Action, policy: Policy) -> Question:
    """The question that an action file with this content asks. Raises `InvalidInput`."""
    return read_question(json.dumps(action).encode(), policy)[0]


def _anything(declared: ArgType) -> Json:
    """A value that the catalogue accepts and nobody looks at."""
    match declared.kind:
        case "string":
            return "example"[: declared.max_length]
        case "integer" | "number":
            return 1
        case "decimal":
            return f"{1:.{declared.scale or 0}f}"
        case "boolean":
            return False
        case "array":
            return []
    return {}


def _replaced(action: Action, path: Path, elements: list[Json]) -> Action:
    """A copy with another list at a path."""

    def inside(value: Any, steps: tuple[str, ...]) -> Any:
        return elements if not steps else {**value, steps[0]: inside(value[steps[0]], steps[1:])}

    replaced: Action = inside(action, path)
    return replaced


def _lists(pool: list[Json], length: int | None) -> Iterator[list[Json]]:
    """Lists of such elements, the short ones first; of this length, where it matters."""
    every = [*pool, "example", None]
    for size in range(len(pool) + 1) if length is None else (length,):
        if size > _MAX_ELEMENTS:
            return
        most = min(size, max(3, len(pool)))
        if most == len(pool) > 3:
            yield [*pool, *([pool[-1]] * (size - most))]
        for chosen in combinations_with_replacement(every, min(most, 3)):
            yield [*chosen, *([chosen[-1]] if chosen else ["example"]) * (size - len(chosen))]
