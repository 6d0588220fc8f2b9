"""Structure: from plain values to the typed document, with every misfit in the author's words.

1. What does not fit is reported where it stands: unknown keys with what was probably meant, values with what
   was expected, and in words where that is (``match of rule 2 of level_1``).
2. The item it stands in (a rule, an action, a lane, a section) is then left out, and the rest is read, so
   that `check` can go on. What was left out is named in `Partial.missing`, so that nothing is blamed for it.
3. A key that belongs to a later capability says so: a policy that asks for more than is enforced must not
   load.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from interlock.policy.document import Document
from interlock.policy.findings import ENOUGH, MAX_SHOWN, Finding, Path, Places, nearest, quoted
from interlock.policy.merge import NAMED

_LATER = frozenset(
    {
        "deadline_within",
        "duplicate_of",
        "environments",
        "injection_above",
        "kill_switches",
        "provenance",
        "quorum",
        "sentiment_below",
        "signals",
        "velocity_above",
    }
)
_MEANT = {"condition": "when", "if": "when", "effect": "decision", "levels": "autonomy_levels"}
"""Words of other languages for what is meant here, where no spelling comes close."""
_REFUSED = {
    (
        "default_decision",
        "allow",
    ): "default_decision 'allow' is refused: nobody reviewed what it would let run",
    (
        "default_decision",
        "allow_with_constraints",
    ): "default_decision 'allow_with_constraints' is refused: nobody reviewed what it would let run",
}


@dataclass(frozen=True, slots=True)
class Partial:
    """A document, and the paths of what was left out of it: ``("actions", "a.b")``, ``("lanes",)``."""

    document: Document
    missing: frozenset[Path] = frozenset()


def document_of(data: dict[str, Any], places: Places, findings: list[Finding]) -> Partial | None:
    """The document that some values state, without the items that do not fit; those are in `findings`.

    None where even the rest cannot be read, or where so much does not fit that nobody wants to know more.
    """
    missing: set[Path] = set()
    for _ in range(3):  # the first round finds everything; leaving a part out makes no second misfit
        try:
            return Partial(Document.model_validate(data), frozenset(missing))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=True)
        known = len(missing)
        findings += _Author(data, places).findings(problems)
        missing |= {_item(_steps(problem["loc"])) for problem in problems}
        if len(missing) == known or len(problems) > ENOUGH:
            break
        data = _without(data, missing)
    return None


def _steps(loc: tuple[str | int, ...]) -> Path:
    """The path in the document, without the marks that tell the members of a union apart."""
    return tuple(step for step in loc if not (isinstance(step, str) and step.startswith("\0")))


def _item(path: Path) -> Path:
    """The smallest part of the document that can be left out."""
    whole = 2 if len(path) > 1 and (path[0] in NAMED or path[0] == "rules") else 1
    return path[:whole]


def _without(data: dict[str, Any], missing: set[Path]) -> dict[str, Any]:
    """The values without some items. In place of a rule stands one that says as little as possible."""
    rest = {key: value for key, value in data.items() if (key,) not in missing}
    for key, value in rest.items():
        if key in NAMED and isinstance(value, dict):
            rest[key] = {name: item for name, item in value.items() if (key, name) not in missing}
        elif key == "rules" and isinstance(value, list):
            rest[key] = [
                _stand_in(rule) if (key, index) in missing else rule for index, rule in enumerate(value)
            ]
    return rest


def _stand_in(rule: Any) -> dict[str, Any]:
    """A rule that keeps an index and an id."""
    kept = rule.get("id") if isinstance(rule, dict) else None
    named = {"id": kept} if isinstance(kept, str) and _ID.fullmatch(kept) else {}
    return {**named, "match": {"topics": ["left.out"]}, "decision": "deny"}


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


# --- in the author's words --------------------------------------------------------------------------------


class _Author:
    """Says what the models found."""

    def __init__(self, data: dict[str, Any], places: Places) -> None:
        self.data = data
        self.places = places

    def findings(self, problems: list[Any]) -> list[Finding]:
        found: list[Finding] = []
        for problem in problems:
            if problem["type"] == "too_short" and problem["input"]:
                continue  # the list only is too short without the items that do not fit
            found.append(self._finding(problem, guessing=len(found) < _GUESSES))
        return found

    def _finding(self, problem: Any, *, guessing: bool) -> Finding:
        path, kind = _steps(problem["loc"]), problem["type"]
        about_key = kind != "extra_forbidden" and bool(path) and path[-1] == "[key]"
        path = path[:-1] if about_key else path
        name = str(path[-1]) if path else "policy"
        rule = rule_id(path, self.data)
        if kind == "extra_forbidden":
            where = whereabouts(path[:-1], self.data)
            if name in _LATER:
                message = f"{name!r} in {where} is not available in this version"
                return Finding(self.places.key(path), message, None, rule)
            guess = self._meant(name, path[:-1]) if guessing else None
            return Finding(self.places.key(path), f"unknown key {quoted(name)} in {where}", guess, rule)
        if kind == "missing":
            message = f"{whereabouts(path[:-1], self.data)} does not say {name!r}"
            return Finding(self.places.key(path[:-1]), message, None, rule)
        place = self.places.key(path) if about_key else self.places.value(path)
        value = path[-1] if about_key else problem["input"]
        if isinstance(value, str) and (name, value) in _REFUSED:
            return Finding(place, _REFUSED[name, value], None, rule)
        message, guess = _message(kind, problem, value)
        return Finding(place, f"{self._label(path)}: {message}", guess, rule)

    def _meant(self, name: str, path: Path) -> str | None:
        known = _known_keys(path)
        meant = _MEANT.get(name)
        return meant if meant in known else nearest(name, known)

    def _label(self, path: Path) -> str:
        if path and isinstance(path[-1], str):
            return f"{quoted(path[-1])} in {whereabouts(path[:-1], self.data)}"
        return whereabouts(path, self.data)


_GUESSES = 200
"""How many findings come with a guess; nobody reads more."""


def _message(kind: str, problem: Any, value: Any) -> tuple[str, str | None]:
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        guess = nearest(value, known) if isinstance(value, str) else None
        return f"expected one of {', '.join(known)}; found {_shown(value)}", guess
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} does not have the form {problem['ctx']['pattern']}", None
    if kind == "too_short":
        kind_of = "mapping" if isinstance(value, dict) else "list"
        return f"an empty {kind_of}; name at least one, or remove the key", None
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}; found {_shown(value)}", None
    return str(problem["msg"]).replace("Input should be", "expected a value")[: 4 * MAX_SHOWN], None


_EXPECTED = {
    "int_type": "an integer",
    "bool_type": "true or false",
    "string_type": "a string",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return quoted(value) if isinstance(value, str) else str(value)[:MAX_SHOWN]


# --- where ------------------------------------------------------------------------------------------------


_KINDS: dict[Path, str] = {
    ("actions",): "action",
    ("actions", "*", "args"): "argument",
    ("facts",): "fact",
    ("lanes",): "lane",
    ("triggers",): "trigger",
    ("workflows",): "workflow",
    ("workflows", "*", "steps"): "step",
    ("workflows", "*", "steps", "*", "branches"): "branch",
}
"""What stands under each name of a mapping."""


def rule_id(path: Path, data: Mapping[str, Any]) -> str | None:
    """The id of the rule a path leads into; None where it leads into none."""
    if len(path) < 2 or path[0] != "rules" or not isinstance(path[1], int):
        return None
    spec = data["rules"][path[1]]
    named = spec.get("id") if isinstance(spec, dict) else None
    return named if isinstance(named, str) else f"rules[{path[1]}]"


def whereabouts(path: Path, data: Mapping[str, Any]) -> str:
    """A path in words: ``match of rule 'x'``, ``argument 'to' of action 'a.b'``, ``rule 2 of level_1``."""
    words: list[str] = []
    names: Path = ()
    for index, step in enumerate(path):
        if isinstance(step, int):
            rule = rule_id(path[: index + 1], data) if index == 1 else None
            if rule is not None:
                words = [f"rule {quoted(rule)}"]
            elif names[-1] == "rules":
                words[-1] = f"rule {step + 1}"
            else:
                words.append(f"item {step + 1}")
        elif names == ("autonomy_levels",):
            words = [step]
        elif names in _KINDS:
            words[-1] = f"{_KINDS[names]} {quoted(step)}"
        else:
            words.append(step if len(step) <= MAX_SHOWN else f"{step[:MAX_SHOWN]}…")
        names = (*names, "*" if names in _KINDS or isinstance(step, int) else step)
    return " of ".join(reversed(words)) if words else "the policy"


def _known_keys(path: Path) -> list[str]:
    """The keys the model at a path knows; none where it takes any."""
    nodes: list[Any] = [Document]
    for step in path:
        below: list[Any] = []
        for node in nodes:
            if typing.get_origin(node) is dict:
                below += _alternatives(typing.get_args(node)[1])
            elif typing.get_origin(node) is tuple:
                below += _alternatives(typing.get_args(node)[0])
            elif _is_model(node) and step in node.model_fields:
                below += _alternatives(node.model_fields[step].annotation)
        nodes = below
    return [key for node in nodes if _is_model(node) for key in node.model_fields]


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types an annotation allows, each without what is annotated."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for option in typing.get_args(annotation):
            yield from _alternatives(option)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
