"""Tools as the gateway knows them: their names, topics, definitions, and what a client is shown of each.

1. A definition is everything a server says of a tool, and its hash is taken over the canonical form of all of
   it but the icons. Nothing in it is trusted: it decides neither topic nor verdict.
2. A tool is offered under its own name where one server stands behind the gateway, under
   ``<server>__<tool>`` where there are several: no server can offer a name of another's.
3. Left out are: names outside the protocol's alphabet, names of the gateway's own tools, tools that share a
   topic, and all but the first `MAX_TOOLS`.
4. A tool that is not accepted is offered with words of ours alone.
5. Nothing is said about the form of results: a call may be held, and an answer that says so has another form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from interlock.adapters.mcp.servers import SEPARATOR
from interlock.authoring import names
from interlock.gate.tools import SeenTool
from interlock.model.canonical import canonical, plain
from interlock.model.errors import InvalidInput

MAX_TOOLS = 1_000
MAX_DEFINITION = 1 << 18
RESULT, ASK = "interlock_result", "interlock_ask"
_OWN = frozenset({RESULT, ASK})
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_NOT_HASHED = {"icons", "meta"}


@dataclass(frozen=True, slots=True)
class Known:
    """One tool of one server.

    Attributes:
        name: what the client calls. topic: what the policy calls it.
        definition: as the server gave it. hash: of the definition, in hexadecimal. seen: for the record.
    """

    server: str
    name: str
    topic: str
    definition: types.Tool
    hash: str
    seen: SeenTool


@dataclass(frozen=True, slots=True)
class Left:
    """A tool that is not offered, and why, as a clause."""

    server: str
    tool: str
    why: str


def defined(tool: types.Tool) -> bytes:
    """A definition as it is hashed. Raises `InvalidInput` where it has no canonical form, or is too large."""
    said = plain(tool.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_NOT_HASHED))
    raw = canonical(said)
    if len(raw) > MAX_DEFINITION:
        raise InvalidInput(f"its definition has {len(raw)} bytes; at most {MAX_DEFINITION} are looked at")
    return raw


def known(listed: Mapping[str, Iterable[types.Tool]], *, several: bool) -> tuple[list[Known], list[Left]]:
    """What can be offered of the tools that servers list, and what cannot."""
    found: list[Known] = []
    left: list[Left] = []
    for server, tools in listed.items():
        seen: set[str] = set()
        for tool in tools:
            why = _wrong(tool, seen)
            topic = names.topic(server, tool.name)
            seen.add(tool.name)
            if why is None and topic is None:
                why = "its name cannot be a topic"
            if why is None and len(found) >= MAX_TOOLS:
                why = f"more than {MAX_TOOLS} tools are listed"
            if why is None:
                try:
                    record = SeenTool(topic or "", server, tool.name, defined(tool))
                except InvalidInput as error:
                    why = error.detail
            if why is not None or topic is None:
                left.append(Left(server, tool.name, why or ""))
                continue
            name = f"{server}{SEPARATOR}{tool.name}" if several else tool.name
            found.append(Known(server, name, topic, tool, record.tool, record))
    single = names.unique(each.topic for each in found)
    for each in found:
        if each.topic not in single:
            left.append(Left(each.server, each.definition.name, f"another tool becomes {each.topic} as well"))
    return [each for each in found if each.topic in single], left


def _wrong(tool: types.Tool, seen: set[str]) -> str | None:
    if not _NAME.fullmatch(tool.name):
        return "its name is none in the protocol's alphabet"
    if tool.name in _OWN:
        return "its name is one of the gateway's own"
    if tool.name in seen:
        return "its server lists the name twice"
    return None


def offered(tool: Known, *, accepted: bool) -> types.Tool:
    """The tool as a client is shown it."""
    if not accepted:
        return types.Tool(
            name=tool.name,
            description=(
                "This tool is new or was changed by its server, and nobody has accepted it yet. It cannot be "
                "called. A person looks at it with: interlock mcp tools"
            ),
            input_schema={"type": "object"},
        )
    return tool.definition.model_copy(
        update={"name": tool.name, "output_schema": None, "execution": None, "meta": None}
    )


_ID = {"type": "string", "description": "The action's id, as the held call named it."}


def own_tools() -> list[types.Tool]:
    """The gateway's own tools."""
    words = {"type": "string", "minLength": 1, "maxLength": 2_000}
    return [
        types.Tool(
            name=RESULT,
            description=(
                "Tell what became of a call that was held for a person's decision, with its result where it "
                "ran. It approves nothing and proposes nothing; ask as often as you like."
            ),
            input_schema={"type": "object", "properties": {"action": _ID}, "required": ["action"]},
            annotations=types.ToolAnnotations(
                read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
            ),
        ),
        types.Tool(
            name=ASK,
            description=(
                "Ask a person a question instead of guessing, and go on with something else. The answer "
                f"comes through {RESULT}."
            ),
            input_schema={
                "type": "object",
                "properties": {
                    "question": words,
                    "options": {"type": "array", "items": words, "maxItems": 10},
                },
                "required": ["question"],
            },
        ),
    ]


def wire(args: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Approved arguments as the tool's server takes them: exact numbers in the JSON that its schema names.

    Raises:
        InvalidInput: a number cannot be said exactly in that form.
    """
    properties = schema.get("properties")
    forms = properties if isinstance(properties, Mapping) else {}
    return {name: _number(name, value, forms.get(name)) for name, value in args.items()}


def _kinds(form: Any) -> list[Any]:
    """The types that a schema names, also as alternatives: what is optional is often written so."""
    if not isinstance(form, Mapping):
        return []
    said = form.get("type")
    found = said if isinstance(said, list) else [said]
    for word in ("anyOf", "oneOf"):
        each = form.get(word)
        found = found + [kind for one in (each if isinstance(each, list) else []) for kind in _kinds(one)]
    return found


def _number(name: str, value: Any, form: Any) -> Any:
    from decimal import Decimal

    if not isinstance(value, Decimal):
        return value
    kinds = _kinds(form)
    if "string" in kinds or not {"number", "integer"}.intersection(kinds):
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    if "number" not in kinds or Decimal(repr(float(value))) != value:
        raise InvalidInput(f"{value} cannot be said exactly to this tool", path=f"$.{name}")
    return float(value)
