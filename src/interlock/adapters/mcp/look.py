"""What servers say of their tools now, beside what was accepted: for whoever decides about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from interlock.adapters.mcp.gateway import Asking
from interlock.adapters.mcp.run import gateway_of
from interlock.adapters.mcp.servers import Server
from interlock.adapters.mcp.tools import Known, Left
from interlock.home import Home

Standing: TypeAlias = Literal["accepted", "new", "changed"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One tool, and how it stands."""

    known: Known
    standing: Standing


@dataclass(frozen=True, slots=True)
class Look:
    """All tools that could be offered, those that cannot, and servers that did not answer, with why."""

    tools: tuple[Seen, ...]
    left: tuple[Left, ...]
    silent: Mapping[str, str]

    def lists(self) -> dict[str, Any]:
        """The tools by server, in the form that `interlock policy import mcp` reads."""
        found: dict[str, Any] = {}
        for each in self.tools:
            definition = each.known.definition.model_dump(mode="json", by_alias=True, exclude_none=True)
            found.setdefault(each.known.server, {"tools": []})["tools"].append(definition)
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "tools": [
                {
                    "server": each.known.server,
                    "tool": each.known.definition.name,
                    "topic": each.known.topic,
                    "hash": each.known.hash,
                    "standing": each.standing,
                    "definition": each.known.definition.model_dump(
                        mode="json", by_alias=True, exclude_none=True
                    ),
                }
                for each in self.tools
            ],
            "left": [{"server": one.server, "tool": one.tool, "why": one.why} for one in self.left],
            "silent": dict(self.silent),
        }


async def look(home: Home, servers: tuple[Server, ...]) -> Look:
    """Ask every server for its tools. Nothing is called."""

    def nobody(_ctx: Any) -> Asking:
        raise AssertionError("nobody makes requests here")

    gateway = gateway_of(home, servers, nobody)
    async with gateway:
        found = await gateway.read()
        silent = gateway.silent()
    accepted = home.tools.all()

    def standing(tool: Known) -> Standing:
        known = accepted.get(tool.topic)
        return "new" if known is None else "accepted" if known.tool == tool.hash else "changed"

    return Look(tuple(Seen(each, standing(each)) for each in found), tuple(gateway.left), silent)
