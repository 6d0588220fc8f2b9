"""What the gateway's tests share: a home with a bank behind it, and real clients of a real gateway."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from mcp import Client, StdioServerParameters

from house import House, agent
from interlock.identity import Person

BANK = Path(__file__).with_name("mcp_bank.py")
TOKEN = "tok-4f6d1c9e77"
MODES = ("legacy", "auto")
"""Both generations of the protocol: with a handshake, and 2026-07-28 without."""
POLICY = """
interlock: 1
name: bank
actions:
  bank.balance: {tier: 1, args: {account: string}}
  bank.slow: {tier: 1}
  bank.floods: {tier: 2, undo: bank.slow, undo_within: 1m}
  bank.leaks: {tier: 1}
  bank.changes: {tier: 1}
  bank.waits: {tier: 1}
  bank.fails: {tier: 1}
  bank.protests: {tier: 1}
  bank.dies: {tier: 2, undo: bank.slow, undo_within: 1m}
  bank.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    summary: Refund ${args.amount_usd} for order {args.order_id}
rules:
  - {id: small, match: {topics: [bank.refund]}, when: args.amount_usd < 100, decision: allow}
"""
LARGE = {"order_id": "A-12", "amount_usd": 1400}


class Bank:
    """A home with servers behind it, and the folder of each."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.home = house.home
        self._folder = folder
        self.servers: dict[str, Any] = {}
        self.behind("bank")

    @property
    def person(self) -> Person:
        known = self.home.roster.all()
        return known[0] if known else self.house.person("Ana")

    def behind(self, name: str, **entry: Any) -> Path:
        """Put a server behind the gateway; its folder."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        command = {"command": sys.executable, "args": [str(BANK), "stdio", str(folder)]}
        self.servers[name] = entry or {**command, "env": {"BANK_TOKEN": TOKEN}}
        file = self.home.path / "mcp.json"
        file.write_text(json.dumps({"mcpServers": self.servers}))
        file.chmod(0o600)
        return folder

    def folder(self, name: str) -> Path:
        """Where a server keeps its book, and finds what it is to offer."""
        return self._folder / name

    def until(self, look: Callable[[], Any]) -> Any:
        """What `look()` gives, as soon as that is something."""
        give_up = time.monotonic() + 60
        while not (found := look()):
            assert time.monotonic() < give_up
            time.sleep(0.05)
        return found

    def first_held(self) -> str:
        """The id of an action that is held, as soon as there is one."""
        return str(self.until(lambda: self.house.sql("SELECT id FROM actions WHERE state = 'held'"))[0][0])

    def book(self, name: str = "bank", tool: str | None = None) -> list[dict[str, Any]]:
        """The calls that a server was made, of one tool where it is named."""
        try:
            lines = (self._folder / name / "book").read_text().splitlines()
        except FileNotFoundError:
            return []
        calls = [line for line in map(json.loads, lines) if "tool" in line]
        return [line for line in calls if tool in (None, line["tool"])]

    def accept(self) -> None:
        """Accept whatever the servers say now."""
        from interlock.adapters.mcp.look import look
        from interlock.adapters.mcp.servers import read_servers

        found = asyncio.run(look(self.home, read_servers(self.home.path)))
        assert not found.silent
        self.home.tools.accept({each.known.topic: each.known.hash for each in found.tools}, by="test")

    def client(self, mode: str = "legacy", *options: str, serve: bool = False, **rest: Any) -> Client:
        """A client of a gateway process of its own."""
        args = ["-m", "interlock.cli", "mcp", "--home", str(self.home.path), *options]
        if not serve:
            args.append("--no-serve")
        if "--wait" not in options:
            args += ["--wait", "0"]
        if len(self.servers) == 1:
            args += ["--server", next(iter(self.servers))]
        return Client(StdioServerParameters(command=sys.executable, args=args), mode=mode, **rest)

    def run(
        self, use: Callable[[Client], Awaitable[Any]], mode: str = "legacy", *options: str, **rest: Any
    ) -> Any:
        """What `use(client)` returns, with a gateway that ends after it."""

        async def main() -> Any:
            async with self.client(mode, *options, **rest) as client:
                return await use(client)

        return asyncio.run(main())

    @staticmethod
    def answers(url: str) -> bool:
        """Whether a server answers there."""
        try:
            return httpx.get(f"{url}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def state(self, action_id: str, name: str = "mcp") -> str:
        state: str = self.house.view(action_id, agent(name))["state"]
        return state

    def approve(self, action_id: str, name: str = "mcp", **rest: Any) -> None:
        """A person answers what they are shown; by default the first one."""
        person = rest.pop("person", None) or self.person
        approval = self.house.view(action_id, agent(name))["approval"]
        from interlock.gate import Answer, HumanDecision

        rest.setdefault("answer", Answer.APPROVE)
        answer = HumanDecision(rest.pop("answer"), approval["review_hash"], **rest)
        self.home.gate.decide(approval["id"], person.caller, answer)


def said(result: Any) -> str:
    """The text of a result."""
    return " ".join(getattr(part, "text", "") for part in result.content)
