"""The shop whose lives are followed: its catalogue, four policies, and what a person who reads them says that
they mean. Tiers 1 to 4, every kind of executor, services that remember a key and services that do not."""

from __future__ import annotations

from typing import Any

from interlock.identity import Role
from interlock.policy import parse
from spec.life import HOUR, Topic

CATALOGUE = """
interlock: 1
name: shop
actions:
  orders.get: {tier: 1, args: {units: integer}}
  notes.add: {tier: 2, args: {units: integer}, undo: notes.drop, undo_within: 1m}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  pay.charge:
    tier: 2
    args: {units: integer}
    execute: {caller: {idempotent: {retention: 1h}}}
    undo: pay.back
    undo_within: 5m
  pay.back: {tier: 2, undo: pay.charge, undo_within: 5m}
  pay.refund:
    tier: 3
    args: {amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
  mail.post:
    tier: 3
    args: {units: integer}
    execute: {http: {method: POST, url: "http://127.0.0.1:9/mail", idempotent: {retention: 1h}}}
  account.delete:
    tier: 4
    args: {units: integer}
    execute: {http: {method: DELETE, url: "http://127.0.0.1:9/account"}}
  stock.move:
    tier: 2
    args: {units: integer}
    execute: {permitted: {executor: depot, offline: true}}
    undo: stock.back
    undo_within: 1m
  stock.back: {tier: 2, undo: stock.move, undo_within: 1m}
  wire.send: {tier: 3, args: {units: integer}, execute: {permitted: {executor: depot}}}
  shelf.sort: {tier: 2, args: {units: integer}, undo: shelf.mix, undo_within: 1m}
  shelf.mix: {tier: 2, undo: shelf.sort, undo_within: 1m}
rules:
"""
_USUAL = """
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
  - {id: huge, match: {topics: [pay.refund]}, when: args.amount_usd >= 1000, decision: deny}
  - id: mail
    match: {topics: [mail.post]}
    decision: require_approval
    owner: support
    lane: {window: 15m, on_timeout: escalate}
  - id: shelves
    match: {topics: [shelf.sort]}
    decision: require_approval
    owner: support
    lane: {window: 15m, on_timeout: allow}
  - {id: wires, match: {topics: [wire.send]}, when: args.units < 100, decision: allow}
  - id: large-wires
    match: {topics: [wire.send]}
    when: args.units >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
"""
_LOOSE = """
  - {id: everything, match: {topics: ["**"]}, decision: allow}
"""
"""What it would let pass, tier 4 and large amounts among it, is held all the same."""
_STRICT = """
  - id: money
    match: {topics: [pay.refund, pay.charge, stock.move, wire.send]}
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
  - {id: no-words, match: {topics: [notes.add, mail.post, shelf.sort]}, decision: deny}
"""
_CLOSED = """
  - id: nothing
    match: {topics: ["pay.**", "account.**", "wire.**", "stock.**", "shelf.**"]}
    decision: deny
"""
POLICIES = {
    name: parse({"policy.yaml": CATALOGUE + rules})
    for name, rules in {"usual": _USUAL, "loose": _LOOSE, "strict": _STRICT, "closed": _CLOSED}.items()
}
TOPICS = {
    "orders.get": Topic(1),
    "notes.add": Topic(2),
    "pay.charge": Topic(2, remembers=HOUR),
    "pay.refund": Topic(3, amount=True),
    "mail.post": Topic(3, "http", remembers=HOUR),
    "account.delete": Topic(4, "http"),
    "stock.move": Topic(2, "permitted", offline=True),
    "wire.send": Topic(3, "permitted"),
    "shelf.sort": Topic(2, silence=True),
}
_ALLOW, _HOLD, _DENY = [(0, "allow")], [(0, "hold")], [(0, "deny")]
SAYS = {
    "usual": {
        "orders.get": _ALLOW,
        "notes.add": _ALLOW,
        "pay.charge": _ALLOW,
        "pay.refund": [(0, "allow"), (100, "hold"), (1000, "deny")],
        "mail.post": _HOLD,
        "account.delete": _HOLD,
        "stock.move": _ALLOW,
        "wire.send": [(0, "allow"), (100, "hold")],
        "shelf.sort": _HOLD,
    },
    "loose": {
        **dict.fromkeys(TOPICS, _ALLOW),
        "pay.refund": [(0, "allow"), (101, "hold")],
        "account.delete": _HOLD,
    },
    "strict": {
        **dict.fromkeys(TOPICS, _HOLD),
        "orders.get": _ALLOW,
        "notes.add": _DENY,
        "mail.post": _DENY,
        "shelf.sort": _DENY,
    },
    "closed": {
        **dict.fromkeys(TOPICS, _DENY),
        "orders.get": _ALLOW,
        "notes.add": _ALLOW,
        "mail.post": _HOLD,
    },
}
"""For each policy and topic: from which number on, and what."""

AGENTS = ("support", "shop")
OPERATORS = {"support": "Ann"}
PEOPLE = {
    "Ann": (Role.REVIEWER, Role.OPERATOR, Role.POLICY_ADMIN),
    "Bob": (Role.REVIEWER, Role.OPERATOR),
    "Cleo": (Role.REVIEWER,),
    "Dora": (Role.AUDITOR,),
}
NUMBERS = (5, 50, 150, 500, 2000)


def arguments(topic: str, number: int) -> dict[str, Any]:
    """The one argument of a call."""
    return {"amount_usd": f"{number}.00"} if TOPICS[topic].amount else {"units": number}


class Service:
    """The system downstream, with its own books. It knows no gate."""

    def __init__(self) -> None:
        self.effects: dict[str, int] = {}
        self._known: dict[str, int] = {}

    def call(self, action: str, key: str, remembers: int | None, now: int) -> None:
        """Do what is asked; a key that is remembered for so many microseconds is answered, and no more."""
        if remembers is not None and key in self._known and now < self._known[key] + remembers:
            return
        self._known[key] = now
        self.effects[action] = self.effects.get(action, 0) + 1
