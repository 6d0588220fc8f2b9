"""A draft from Python functions, by their names and signatures.

1. A function's topic is ``<module>.<name>``, its arguments are its parameters, their types its annotations.
   What has no annotation, or one that no policy can say, is text until a person says otherwise.
2. The process that registers the function runs it (``execute: {caller: {}}``): bind it with
   ``gate.guard("<topic>")``. Functions that a gate cannot guard (``*args``, ``**kwargs``, positional-only,
   generators) are left out and named.
3. A docstring's first line is shown in a comment. Names and docstrings are the authors' own, but a name is
   still only a suggestion of a tier.

This module is handed functions that somebody else imported; it calls none of them.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any, Literal, Union

from interlock.authoring import arguments, entries, names
from interlock.authoring.draft import Draft, DraftAction, DraftArg, catalogue_cases, one_line
from interlock.model.errors import InvalidInput
from interlock.policy.catalogue import ArgKind

MAX_FUNCTIONS = 500
_MAX_NESTED = 8


@dataclass(frozen=True, slots=True)
class Function:
    """One function to draft an entry for. `refused` says why a gate cannot guard it."""

    name: str
    signature: inspect.Signature
    doc: str = ""
    refused: str = ""


def functions_of(found: Any) -> list[tuple[str, Callable[..., Any]]]:
    """The functions in what somebody imported: a list, a mapping by name, a module's public ones, or one.

    Raises:
        InvalidInput: there is none, or something else stands among them.
    """
    listed: list[tuple[Any, Any]]
    if isinstance(found, types.ModuleType):
        listed = [
            (name, value)
            for name, value in vars(found).items()
            if not name.startswith("_")
            and inspect.isroutine(value)
            and getattr(value, "__module__", None) == found.__name__
        ]
    elif isinstance(found, Mapping):
        listed = list(found.items())
    elif isinstance(found, Sequence) and not isinstance(found, str | bytes):
        listed = [(getattr(value, "__name__", ""), value) for value in found]
    else:
        listed = [(getattr(found, "__name__", ""), found)]
    for place, (name, value) in enumerate(listed):
        if not callable(value) or not isinstance(name, str) or not name:
            raise InvalidInput("a tool is a function with a name", path=f"$[{place}]")
    if not listed:
        raise InvalidInput("there is no public function in it")
    if len(listed) > MAX_FUNCTIONS:
        raise InvalidInput(f"{len(listed)} functions; at most {MAX_FUNCTIONS} are drafted at once")
    return listed


def describe(name: str, function: Callable[..., Any]) -> Function:
    """A function's signature, with annotations in text resolved where they can be."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return Function(name, inspect.Signature(), "", "it does not say which arguments it takes")
    doc = (inspect.getdoc(function) or "").partition("\n")[0]
    return Function(name, signature, doc, _refused(function, signature))


def _refused(function: Callable[..., Any], signature: inspect.Signature) -> str:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "it is a generator, whose work happens after it returned"
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            return f"it takes {parameter.name!r} without a fixed name"
    return ""


def draft_from_functions(module: str, functions: Sequence[Function]) -> Draft:
    """The draft of a policy for functions of a module."""
    topics = [names.topic(module, function.name) for function in functions]
    known = names.unique(topics)
    actions, left_out = [], []
    for topic, function in zip(topics, functions, strict=True):
        if topic is not None and topic in known and not function.refused:
            actions.append(draft_function(topic, function))
            continue
        why = function.refused or (
            f"another function becomes {topic} as well" if topic else "its name cannot be a topic"
        )
        left_out.append(f"{one_line(function.name, 80)} is not catalogued, so it is held: {why}")
    return Draft(
        name=names.segment(module.rpartition(".")[2])[:100] or "tools",
        heading=(
            f"Drafted from the functions of {one_line(module, 200)}. Tiers are suggestions, from names and "
            "types.",
            'The code that runs a function binds it to its topic with @gate.guard("<topic>"). Worst cases '
            "are for you to write.",
        ),
        actions=tuple(actions),
        cases=catalogue_cases(actions),
        remarks=tuple(left_out),
    )


def draft_function(topic: str, function: Function) -> DraftAction:
    """The entry of one function."""
    taken = arguments.declare(
        [
            (name, from_annotation(name, parameter.annotation), parameter.default is parameter.empty)
            for name, parameter in function.signature.parameters.items()
        ]
    )
    return entries.entry(
        topic,
        function.name,
        taken,
        reads=entries.reading(function.name),
        execute={"caller": {}},
        facts=(f"the function {one_line(function.name, 80)}",),
        quotes=(function.doc,),
    )


# --- annotations ------------------------------------------------------------------------------------------

_KINDS: Sequence[tuple[type, ArgKind]] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (collections.abc.Mapping, "object"),
    (collections.abc.Collection, "array"),
)


def from_annotation(name: str, annotation: Any) -> DraftArg:
    """The declaration of one parameter."""
    kinds = list(dict.fromkeys(_kinds(annotation, 0)))
    optional = "null" in kinds
    known = [kind for kind in kinds if kind not in ("null", "unknown")]
    review = ""
    if not known:
        known, review = ["string"], "its annotation names no type a policy knows; text is accepted"
    elif len(known) > 1:
        review = f"it also takes {' and '.join(known[1:])}; such calls are refused"
    elif "unknown" in kinds:
        review = "it also takes other types; such calls are refused"
    if known[0] == "decimal":
        arg = DraftArg(name, "number", optional)
        as_money = arguments.money(arg)
        if as_money.kind == "decimal":
            return replace(
                as_money, review="US dollars, with two decimals?" if as_money.currency == "USD" else ""
            )
        return DraftArg(name, "decimal", optional, scale=2, review="how many decimals?")
    return replace(
        arguments.money(DraftArg(name, typing.cast(ArgKind, known[0]), optional, review=review)),
        note=_choices(annotation),
    )


def _kinds(annotation: Any, depth: int) -> Iterator[str]:
    if depth > _MAX_NESTED or annotation in (inspect.Parameter.empty, Any) or isinstance(annotation, str):
        yield "unknown"
        return
    if annotation is None or annotation is types.NoneType:
        yield "null"
        return
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(typing.get_args(annotation)[0], depth + 1)
    elif origin in (Union, types.UnionType):
        for option in typing.get_args(annotation):
            yield from _kinds(option, depth + 1)
    elif origin is Literal:
        for value in typing.get_args(annotation):
            yield from _kinds(type(value), depth + 1)
    else:
        yield _kind(origin or annotation)


def _kind(found: Any) -> str:
    if not isinstance(found, type):
        return "unknown"
    if issubclass(found, Decimal):
        return "decimal"
    if issubclass(found, enum.Enum):
        return next((kind for base, kind in _KINDS[:4] if issubclass(found, base)), "string")
    if issubclass(found, bytes | bytearray):
        return "unknown"
    if typing.is_typeddict(found):
        return "object"
    return next((kind for base, kind in _KINDS if issubclass(found, base)), "unknown")


def _choices(annotation: Any) -> str:
    """The values of a `Literal`, for a comment."""
    options = [annotation, *typing.get_args(annotation)]
    values = [
        v for option in options if typing.get_origin(option) is Literal for v in typing.get_args(option)
    ]
    shown = [one_line(repr(value), 30) for value in values if value is not None]
    return f"one of {', '.join(shown[:6])}{', …' if len(shown) > 6 else ''}" if shown else ""
