"""Shared by the tests: a real home on a real database, a clock that a test moves, and one person's clicks."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

import postgres
from interlock.gate import Answer, Decided, HumanDecision, Proposed, ReasonCode, backlog
from interlock.gate.backlog import Place
from interlock.home import Home
from interlock.identity import Caller, KeyKind, Person
from interlock.journal import Tx
from interlock.model.actions import Proposal
from interlock.model.errors import ClockJumped
from interlock.model.topics import TopicPattern
from interlock.policy import parse

BOTH = ("sqlite", "postgres")
"""As `DATABASES` of a module: its tests that open a home run on a file and on a PostgreSQL server."""
_HEX = re.compile(r"x'([0-9a-fA-F]*)'")

DAY = 24 * 3600
REFUND = {"order_id": "A-12", "amount_usd": "500.00", "recipient": "acme"}
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}, recipient: string}
    roles: {amount: amount_usd, recipient: recipient}
    summary: Refund ${args.amount_usd} to {args.recipient} for order {args.order_id}
    worst_case: The money is gone
  pay.charge:
    tier: 2
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    execute: {caller: {idempotent: {retention: 1h}}}
    undo: pay.refund
    undo_within: 5m
  orders.get: {tier: 1, args: {order_id: string}}
  notes.add: {tier: 2, undo: notes.drop, undo_within: 1m}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  account.delete: {tier: 4, args: {account_id: string}, execute: {http: {method: DELETE, url: "http://127.0.0.1:9/{args.account_id}"}}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
"""


class ManualClock:
    """A clock that a test moves. `jumped` makes it disagree with elapsed time."""

    def __init__(self) -> None:
        self.micros = time.time_ns() // 1000
        self.jumped = False

    def now(self) -> int:
        return self.micros

    def check(self) -> None:
        if self.jumped:
            raise ClockJumped("The clock moved against elapsed time.")

    def forward(self, seconds: float) -> None:
        self.micros += int(seconds * 1_000_000)


def agent(name: str = "support") -> Caller:
    return Caller(KeyKind.AGENT, agent=name, topics=(TopicPattern.parse("*"),))


class House:
    """A home, and the few things that tests do with one."""

    def __init__(self, home: Home, url: str | None = None) -> None:
        self.home = home
        self.url = url
        """Of its database, if that is not a file of the home."""
        self.gate = home.gate

    def propose(
        self,
        topic: str = "pay.refund",
        args: Mapping[str, Any] = REFUND,
        *,
        caller: Caller | None = None,
        inline: bool = False,
        **rest: Any,
    ) -> Proposed:
        return self.gate.propose(Proposal(topic, args, **rest), caller or agent(), inline=inline)

    def held(self, **rest: Any) -> str:
        """The id of a fresh held refund."""
        action = self.propose(**rest).action
        assert action is not None
        assert action.state == "held"
        return action.id

    def view(self, action_id: str, caller: Caller | None = None) -> dict[str, Any]:
        return self.home.views.action(action_id, caller or agent())

    def state(self, action_id: str) -> str:
        state: str = self.view(action_id)["state"]
        return state

    def request(self, action_id: str) -> tuple[str, str]:
        """Id and review hash of the newest approval request about an action."""
        approval = self.view(action_id)["approval"]
        return approval["id"], approval["review_hash"]

    def person(self, name: str, *roles: Any) -> Person:
        return self.home.roster.add(name, *([roles] if roles else []), by="test")

    def answer(self, action_id: str, person: Person, answer: Answer = Answer.APPROVE, **rest: Any) -> Decided:
        """A person answers what they are shown now."""
        approval, shown = self.request(action_id)
        if answer is Answer.REJECT:
            rest.setdefault("reason_code", ReasonCode.OTHER)
        return self.gate.decide(approval, person.caller, HumanDecision(answer, shown, **rest))

    def ready(self) -> list[str]:
        """Ids of the dispatched actions that may be claimed now."""

        def look(tx: Tx) -> list[str]:
            found: list[str] = []
            place: Place | None = Place()
            while place is not None:
                page, place = backlog.waiting(tx, place, 2)
                found += [action_id for action_id, _ in page]
            return found + [one.action for one in backlog.lapsed(tx, 100)]

        return self.home.journal.look(look)

    def segments(self, kind: str = "dispatch") -> list[str]:
        """The ids that the outbox holds for a kind of segment, the oldest first."""
        rows = self.sql("SELECT ids FROM segments WHERE segment = ? ORDER BY id", kind)
        return [next(iter(json.loads(ids).values())) for (ids,) in rows]

    def activate(self, text: str) -> str:
        return self.gate.activate(parse({"policy.yaml": text}), by="test", reason="test").snapshot

    def entries(self) -> list[str]:
        return [body.decode() for body in self.home.journal.entries()]

    def sql(self, statement: str, *params: Any) -> list[Any]:
        """Raw access to the database, as somebody has it who reaches the file or the server."""
        if self.url is not None:
            return postgres.run(self.url, _HEX.sub(r"'\\x\1'::bytea", statement.replace("?", "%s")), *params)
        with sqlite3.connect(self.home.path / "journal.db", timeout=10) as connection:
            found = connection.execute(statement, params).fetchall()
        connection.close()
        return found
