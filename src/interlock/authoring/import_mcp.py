"""A draft from the tools that MCP servers list.

1. What a server says of its tools is a claim of somebody untrusted. Its annotations can raise a tier, and
   confirm that a name which says "read" reads; they never lower what the name suggests. Tier 1 takes both: a
   name all of whose verbs read, and a server that says so. By the protocol's own defaults a tool without
   annotations may change and destroy.
2. A description is shown in a comment and nowhere else: it is written for a model, and often by whoever would
   like the tool to run.
3. A topic is ``<server>.<tool>`` in the topic alphabet. Tools whose topics would be the same are all left out
   and named; outside the catalogue they are held, so nothing is merged and nothing runs unseen.

Source: Model Context Protocol, `tools/list`, `Tool` and `ToolAnnotations` (2024-11-05 to 2026-07-28).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.authoring import arguments, entries, names
from interlock.authoring.draft import Draft, DraftAction, catalogue_cases, one_line
from interlock.authoring.foreign import read_json
from interlock.authoring.names import Evidence
from interlock.model.errors import InvalidInput, MissingField, WrongType
from interlock.model.text import lookalikes

MAX_TOOLS = 2_000
_ALL_PAGES = "Give all pages in one list."
_SILENT = Evidence(3, "its name says that it reads, its server does not")
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as a server lists it. `hints` holds the annotations that are true or false."""

    server: str
    name: str
    description: str
    schema: Any
    hints: Mapping[str, bool]


def draft_from_mcp(text: str, *, server: str = "mcp") -> Draft:
    """The draft of a policy for the tools in a `tools/list` result, or in several under their servers' names.

    Args:
        server: the name of the server where the text does not say it.

    Raises:
        InvalidInput: (a subclass) it is not JSON, or no list of tools.
    """
    tools = read_tools(text, server=server)
    topics = [names.topic(tool.server, tool.name) for tool in tools]
    known = names.unique(topics)
    actions = tuple(
        draft_tool(topic, tool)
        for topic, tool in zip(topics, tools, strict=True)
        if topic is not None and topic in known
    )
    left_out = [
        f"{_quoted(tool.name)} of {_quoted(tool.server)} is not catalogued, so it is held: "
        + (f"another tool becomes {topic} as well" if topic else "its name cannot be a topic")
        for topic, tool in zip(topics, tools, strict=True)
        if topic not in known
    ]
    servers = ", ".join(dict.fromkeys(_quoted(tool.server) for tool in tools))
    return Draft(
        name=names.segment(server)[:100] or "mcp",
        heading=(
            f"Drafted from the tool list of {servers}. Tiers are suggestions: from each tool's name, the "
            "types of its arguments and what its server says, which is nobody's promise.",
            "Lines behind a bar are the server's own words. Worst cases are for you to write.",
        ),
        actions=actions,
        cases=catalogue_cases(actions),
        remarks=tuple(left_out),
    )


def _quoted(text: str) -> str:
    return json.dumps(one_line(text, 80), ensure_ascii=False)


# --- reading ----------------------------------------------------------------------------------------------


def read_tools(text: str, *, server: str) -> tuple[Tool, ...]:
    """The tools of a list, a `tools/list` result or response, or an object of these by server name."""
    data = read_json(text)
    tools = tuple(_lists(data, server))
    if not tools:
        raise InvalidInput("there is no tool in it", fix='Give the result of tools/list: {"tools": […]}.')
    if len(tools) > MAX_TOOLS:
        raise InvalidInput(f"{len(tools)} tools; at most {MAX_TOOLS} are drafted at once")
    return tools


def _lists(data: Any, server: str) -> Iterator[Tool]:
    if isinstance(data, dict) and isinstance(data.get("result"), dict):
        data = data["result"]
    if isinstance(data, dict) and isinstance(data.get("mcpServers"), dict):
        raise InvalidInput(
            "this is a client's list of servers, not of their tools",
            path="$.mcpServers",
            fix="Ask each server for tools/list and give the result.",
        )
    if isinstance(data, list):
        yield from _tools(data, server, "$")
        return
    if not isinstance(data, dict):
        raise WrongType("expected an object with tools")
    if isinstance(data.get("tools"), list):
        if data.get("nextCursor"):
            raise InvalidInput("the list goes on", path="$.nextCursor", fix=_ALL_PAGES)
        yield from _tools(data["tools"], server, "$.tools")
        return
    for name, listed in data.items():
        path = f"$.{one_line(name, 60)}"
        if not isinstance(listed, dict | list):
            raise WrongType('expected {"tools": […]} for each server', path=path)
        found = listed if isinstance(listed, list) else listed.get("tools")
        if not isinstance(found, list):
            raise MissingField("it lists no tools", path=path)
        if isinstance(listed, dict) and listed.get("nextCursor"):
            raise InvalidInput(
                "the list goes on", path=f"{path}.nextCursor", fix="Give all pages in one list."
            )
        yield from _tools(found, name, f"{path}.tools")


def _tools(listed: list[Any], server: str, path: str) -> Iterator[Tool]:
    for index, item in enumerate(listed):
        at = f"{path}[{index}]"
        if not isinstance(item, dict):
            raise WrongType("a tool is an object", path=at)
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise WrongType("a tool has a name", path=f"{at}.name")
        description, annotations = item.get("description"), item.get("annotations")
        hints = annotations if isinstance(annotations, dict) else {}
        yield Tool(
            server,
            name,
            description if isinstance(description, str) else "",
            item.get("inputSchema", item.get("input_schema", {"type": "object"})),
            {hint: hints[hint] for hint in _HINTS if isinstance(hints.get(hint), bool)},
        )


# --- drafting ---------------------------------------------------------------------------------------------


def draft_tool(topic: str, tool: Tool) -> DraftAction:
    """The entry of one tool."""
    reads = entries.reading(tool.name) and tool.hints.get("readOnlyHint") is not False
    silent = [_SILENT] if reads and "readOnlyHint" not in tool.hints else []
    drafted = entries.entry(
        topic,
        tool.name,
        arguments.from_schema(tool.schema),
        reads=reads,
        also=(*silent, *_imitated(tool.name), *_annotated(tool.hints)),
        facts=tuple(_facts(tool)),
        quotes=(tool.description,),
    )
    return replace(drafted, reviews=(*drafted.reviews, *_doubts(tool, drafted.tier, reads=reads)))


def _facts(tool: Tool) -> Iterator[str]:
    yield f"the tool {_quoted(tool.name)} of {_quoted(tool.server)}"
    if tool.hints.get("idempotentHint") is True and tool.hints.get("readOnlyHint") is not True:
        yield "its server says that calling it again changes nothing more"


def _annotated(hints: Mapping[str, bool]) -> Iterator[Evidence]:
    """What a server's annotations add; none of them says less than nothing."""
    if hints.get("readOnlyHint") is False:
        yield Evidence(3, "its server says that it changes something", ("write",))
    if hints.get("destructiveHint") is True:
        yield Evidence(4, "its server says that it destroys", ("delete",))
    if hints.get("openWorldHint") is True:
        yield Evidence(3, "its server says that it reaches the outside world", ("egress",))


def _imitated(name: str) -> Iterator[Evidence]:
    found = lookalikes(name)
    if found:
        yield Evidence(4, f"its name imitates another with {', '.join(found)}")


def _doubts(tool: Tool, tier: int, *, reads: bool) -> Iterator[str]:
    said = names.verbs(tool.name)
    if tier == 3 and reads and "readOnlyHint" not in tool.hints:
        yield "tier 1 once you have checked that it only reads"
        return
    begins = not said or (said[0].tier == 1 and tier == 3)
    if tier > 1 and tool.hints.get("readOnlyHint") is True and (reads or begins):
        yield "its server says that it only reads; tier 1 once you have checked that yourself"
    if tier == 3 and not tool.hints and said:
        yield "its server does not say whether it destroys; tier 4 if it can"
