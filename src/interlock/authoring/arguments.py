"""Arguments: what a JSON Schema says a tool takes, as arguments a catalogue declares.

1. A declaration is at most as wide as the schema: of several types the first is declared, an argument without
   a type is a string, and each such choice is marked for review. What the schema allows beyond that is
   refused by the gate until a person widens it.
2. Where a property's name cannot stand in a policy or stands twice, or there are too many, the arguments stay
   undeclared: any are accepted, no condition is checked against them, and the draft says so.
3. A number that is named like money becomes a decimal with a currency, so that thresholds can read it. Roles
   (amount, recipient, destination, …) follow from names and types, one argument each.
4. Enumerations and other texts of a schema are shown in comments only.

Source: JSON Schema 2020-12 (core, validation); OpenAPI 3.0 `nullable`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from interlock.authoring.draft import DraftArg, one_line
from interlock.authoring.names import Evidence, vocabulary, words
from interlock.policy.catalogue import ArgKind

MAX_ARGS = 100
"""Properties of one tool that are declared."""
MAX_STEPS = 20
"""References and nested alternatives that are followed for one property."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_KINDS: Mapping[str, ArgKind] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
    "array": "array",
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a tool takes. `args` is None where it stays undeclared; `reviews` says what a person decides."""

    args: tuple[DraftArg, ...] | None
    reviews: tuple[str, ...] = ()


def declarable(name: Any) -> bool:
    """Whether an argument of this name can be declared in a policy."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def from_schema(schema: Any, root: Any = None) -> Arguments:
    """The arguments of an object schema. `root`: the document that its references point into; itself else."""
    root = schema if root is None else root
    whole = resolved(schema, root)
    properties = whole.get("properties", {})
    is_object = isinstance(schema, Mapping) and whole.get("type", "object") == "object"
    if not isinstance(properties, Mapping) or not is_object:
        return Arguments(None, ("the schema of the arguments is no object's; they are left undeclared",))
    open_ended = whole.get("additionalProperties")
    if not properties and (open_ended not in (None, False) or "patternProperties" in whole):
        return Arguments(None, ("the schema takes arguments of any name; they are left undeclared",))
    needed = whole.get("required", ())
    required = (
        frozenset(filter(_is_text, needed)) if isinstance(needed, list | tuple) else frozenset(properties)
    )
    return declare(
        [(name, from_property(name, found, root), name in required) for name, found in properties.items()]
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def declare(found: Sequence[tuple[str, DraftArg, bool]]) -> Arguments:
    """Arguments from (name, declaration, whether it is needed)."""
    odd = [name for name, _, _ in found if not declarable(name)]
    if odd:
        named = ", ".join(json.dumps(one_line(str(name), 40)) for name in odd[:5])
        return Arguments(
            None, (f"no policy can declare an argument named {named}; any arguments are accepted",)
        )
    twice = [name for name, count in Counter(name for name, _, _ in found).items() if count > 1]
    if twice:
        named = ", ".join(twice[:5])
        return Arguments(None, (f"several arguments are named {named}; any arguments are accepted",))
    if len(found) > MAX_ARGS:
        return Arguments(None, (f"{len(found)} arguments; left undeclared, so any are accepted",))
    return Arguments(tuple(replace(arg, optional=arg.optional or not needed) for _, arg, needed in found))


def from_property(name: str, schema: Any, root: Any) -> DraftArg:
    """The declaration of one argument."""
    types, nullable = _types(schema, root)
    kinds = list(dict.fromkeys(types))
    if {"integer", "number"} <= set(kinds):
        kinds.remove("integer")
    review = ""
    if not kinds:
        kinds, review = ["string"], "the schema names no type; text is accepted"
    elif len(kinds) > 1:
        review = f"the schema also takes {' and '.join(kinds[1:])}; such calls are refused"
    whole = resolved(schema, root)
    length = whole.get("maxLength")
    limit = length if isinstance(length, int) and not isinstance(length, bool) and length >= 1 else None
    arg = DraftArg(
        name, kinds[0], nullable, max_length=limit if kinds[0] == "string" else None, review=review
    )
    return money(replace(arg, note=_choices(whole)))


def resolved(schema: Any, root: Any) -> Mapping[str, Any]:
    """A schema with its reference followed and the parts of `allOf` laid over each other."""
    found: dict[str, Any] = {}
    for part in _parts(schema, root, [MAX_STEPS]):
        for key, value in part.items():
            if key == "properties" and isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
                found[key] = {**found[key], **value}
            elif key == "required" and isinstance(value, list) and isinstance(found.get(key), list):
                found[key] = [*found[key], *value]
            else:
                found.setdefault(key, value)
    return found


def _parts(schema: Any, root: Any, steps: list[int]) -> Iterator[Mapping[str, Any]]:
    """The schemas that hold together: this one, what it refers to, what it lists in `allOf`."""
    steps[0] -= 1
    if steps[0] < 0 or not isinstance(schema, Mapping):
        return
    yield schema
    if isinstance(reference := schema.get("$ref"), str):
        yield from _parts(_follow(reference, root), root, steps)
    together = schema.get("allOf")
    for part in together if isinstance(together, list) else ():
        yield from _parts(part, root, steps)


def _follow(reference: str, root: Any) -> Any:
    """What a local reference (``#/$defs/x``, RFC 6901) points to; None for any other."""
    if not reference.startswith("#/"):
        return None
    node = root
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def _types(schema: Any, root: Any) -> tuple[list[ArgKind], bool]:
    """The types a schema allows, in its order, and whether null is one of them."""
    found: list[ArgKind] = []
    nullable = False
    waiting, steps = [schema], MAX_STEPS
    while waiting and steps:
        steps -= 1
        whole = resolved(waiting.pop(0), root)
        nullable = nullable or whole.get("nullable") is True
        for name in _stated_types(whole):
            nullable = nullable or name == "null"
            if name in _KINDS:
                found.append(_KINDS[name])
        for key in ("anyOf", "oneOf"):
            if isinstance(alternatives := whole.get(key), list):
                waiting += alternatives
    return found, nullable


def _stated_types(schema: Mapping[str, Any]) -> Iterator[str]:
    stated = schema.get("type")
    if isinstance(stated, str | list):
        yield from [stated] if isinstance(stated, str) else filter(_is_text, stated)
        return
    values = schema.get("enum") if isinstance(schema.get("enum"), list) else []
    for value in [*(values or []), *([schema["const"]] if "const" in schema else [])]:
        yield _type_of(value)
    if not values and "const" not in schema and "properties" in schema:
        yield "object"


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float | Decimal):
        return "number"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "string"


def _choices(schema: Mapping[str, Any]) -> str:
    values = schema.get("enum")
    if not isinstance(values, list) or not values:
        return ""
    shown = ", ".join(
        one_line(json.dumps(value, ensure_ascii=False, default=str), 30) for value in values[:6]
    )
    return f"one of {shown}{', …' if len(values) > 6 else ''}"


# --- money and roles --------------------------------------------------------------------------------------

_AMOUNTS = vocabulary("amount budget cost dollars eur fee gbp payment price salary usd")
_COUNTS = vocabulary("cents count id limit max min minor num number page quantity size tokens units")
_CURRENCIES = {"usd": "USD", "dollars": "USD", "eur": "EUR", "gbp": "GBP"}


def money(arg: DraftArg) -> DraftArg:
    """The argument, as an amount of money where its name and type say that it is one."""
    parts = words(arg.name)
    if not parts or not _AMOUNTS.intersection(parts):
        return arg
    if "cents" in parts or "minor" in parts:
        return replace(arg, review="counts the smallest unit of a currency; no threshold in dollars reads it")
    text = arg.kind == "string" and parts[-1] in ("amount", "price", *_CURRENCIES)
    if _COUNTS.intersection(parts) or not (text or arg.kind in ("number", "integer")):
        return arg
    named = next((_CURRENCIES[part] for part in parts if part in _CURRENCIES), None)
    review = "" if named else "US dollars, with two decimals? "
    if arg.kind == "integer":
        review += "the tool takes whole numbers: cents? "
    review += 'the tool is handed text such as "12.50"'
    return replace(arg, kind="decimal", scale=2, currency=named or "USD", max_length=None, review=review)


_ROLES: Sequence[tuple[str, frozenset[str], frozenset[str]]] = (
    (
        "recipient",
        vocabulary("beneficiary bcc cc email iban payee phone recipient recipients to"),
        frozenset({"string", "array"}),
    ),
    (
        "destination",
        vocabulary("callback destination domain endpoint host hostname uri url urls webhook"),
        frozenset({"string", "array"}),
    ),
    (
        "credential",
        vocabulary("apikey credential credentials passphrase password secret"),
        frozenset({"string", "object"}),
    ),
    (
        "path",
        vocabulary("dir directory file filename filepath folder path paths"),
        frozenset({"string", "array"}),
    ),
    (
        "content",
        vocabulary("body caption comment content html markdown message text"),
        frozenset({"string"}),
    ),
    (
        "people",
        vocabulary("attendees audience members recipients users"),
        frozenset({"array", "integer"}),
    ),
    ("cursor", vocabulary("after cursor"), frozenset({"string"})),
)


def roles(args: Sequence[DraftArg] | None) -> dict[str, str]:
    """Which argument plays which role; the first whose name and type fit."""
    found: dict[str, str] = {}
    for arg in args or ():
        if arg.kind == "decimal" and arg.currency is not None:
            found.setdefault("amount", arg.name)
    for role, names, kinds in _ROLES:
        for arg in args or ():
            parts = words(arg.name)
            last = parts[-1] if parts else ""
            fits = last in names or (role == "recipient" and parts[-2:] == ("email", "address"))
            if fits and arg.kind in kinds:
                found.setdefault(role, arg.name)
    return found


_CODE = vocabulary("bash cmd command javascript script shell sql statement")
_MAYBE_CODE = vocabulary("code expression program python")


def evidence(
    args: Sequence[DraftArg] | None, played: Mapping[str, str], *, changes: bool
) -> tuple[Evidence, ...]:
    """What the arguments suggest. `changes`: whether the tool may do more than read."""
    found = []
    for arg in args or ():
        last = (words(arg.name) or ("",))[-1]
        if arg.kind in ("string", "array") and last in (_CODE | _MAYBE_CODE if changes else _CODE):
            found.append(Evidence(4, f"it runs what {arg.name!r} says", ("exec",)))
    if "amount" in played and "recipient" in played:
        why = f"{played['amount']!r} may go to {played['recipient']!r}"
        found.append(Evidence(3, why, ("money",)))
    elif "amount" in played and changes:
        found.append(Evidence(3, f"{played['amount']!r} is an amount", ("money",)))
    if "destination" in played:
        found.append(Evidence(3, f"{played['destination']!r} says where to", ("egress",)))
    if "credential" in played:
        found.append(Evidence(3, f"{played['credential']!r} opens other doors", ("secrets",)))
    if "recipient" in played and "content" in played and changes:
        why = f"{played['content']!r} goes to {played['recipient']!r}, and there is no unsend"
        found.append(Evidence(4, why, ("external-comms",)))
    return tuple(found)


def title(topic: str, args: Sequence[DraftArg] | None, played: Mapping[str, str]) -> str | None:
    """A summary's template from the topic's last words and the needed arguments that say most."""
    rank = ("amount", "recipient", "destination", "path")
    first = [played[role] for role in rank if role in played]
    plain = [arg for arg in args or () if not arg.optional and arg.kind not in ("object", "array")]
    shown = sorted(plain, key=lambda arg: first.index(arg.name) if arg.name in first else len(first))[:3]
    if args is None or (args and not shown):
        return None
    what = " ".join(words(topic.rpartition(".")[2])).capitalize()
    dollar = {arg.name: "$" if arg.currency == "USD" else "" for arg in shown}
    parts = [f"{_spoken(arg.name)} {dollar[arg.name]}{{args.{arg.name}}}" for arg in shown]
    return f"{what}: {', '.join(parts)}" if parts else what or None


def _spoken(name: str) -> str:
    """An argument's name in words, without the currency that its value shows."""
    return " ".join(word for word in words(name) if word not in _CURRENCIES) or name
