"""A staffed desk behind a real server: agents, three people, and a look at what the journal holds.

What the server answers to them is held against its own OpenAPI document (`api_document.py`).
Ana operates the first agent, so she never approves it; Ben and Cleo review. Tests that send something
unacceptable compare `Desk.footprint` before and after: every table's number of rows, the states of the
actions and the length of the ledger.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import api_document
from interlock.home.keystore import Keystore
from interlock.identity import KeyKind
from interlock.journal import tables
from server_process import ServerProcess, opened

POLICY = """\
interlock: 1
name: desk
people: team

actions:
  desk.orders.get:
    tier: 1
    risk_tags: [read]
    args: {order_id: string}
    execute: {caller: {}}
  desk.notes.add:
    tier: 2
    risk_tags: [write]
    args:
      text: {type: string, max_length: 4000}
      stars: {type: integer, optional: true}
      weight: {type: number, optional: true}
      urgent: {type: boolean, optional: true}
      labels: {type: array, optional: true}
      extra: {type: object, optional: true}
    execute: {caller: {}}
    undo: desk.notes.drop
    undo_within: 5m
  desk.notes.drop: {tier: 2, undo: desk.notes.add, undo_within: 5m, execute: {caller: {}}}
  desk.refunds.create:
    tier: 3
    risk_tags: [money, write]
    args:
      order_id: string
      amount_usd: {type: decimal, scale: 2, currency: USD}
      recipient: string
    roles: {amount: amount_usd, recipient: recipient}
    summary: Refund ${args.amount_usd} to {args.recipient} for order {args.order_id}
    worst_case: The money goes to the wrong person
    execute: {caller: {}}
  desk.fleeting.delete:
    tier: 4
    risk_tags: [delete]
    args: {account_id: string}
    execute: {caller: {}}
  desk.hooks.post:
    tier: 3
    risk_tags: [write]
    args: {text: string}
    execute: {http: {method: POST, url: "http://127.0.0.1:8421/hooks"}}
  vault.secrets.read:
    tier: 1
    risk_tags: [read]
    args: {name: string}
    execute: {caller: {}}

rules:
  - id: small
    match: {topics: [desk.refunds.create]}
    when: args.amount_usd < 100
    decision: allow
  - id: large
    match: {topics: [desk.refunds.create]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance-approvers
    lane: {window: 1h, on_timeout: deny}
  - id: huge
    match: {topics: [desk.refunds.create]}
    when: args.amount_usd > 5000
    decision: deny
  - id: hooks
    match: {topics: [desk.hooks.post]}
    decision: require_approval
    lane: {window: 1h, on_timeout: deny}
  - id: fleeting
    match: {topics: [desk.fleeting.delete]}
    decision: require_approval
    lane: {window: 1s, on_timeout: deny}
"""

OF_THE_ENGINE = {"executors", "redelivered"}
"""The server's own, and no trace of a request."""


@dataclass
class Desk:
    """A running server and who may call it. Every `httpx.Client` carries one caller's key."""

    server: ServerProcess
    tokens: dict[str, str]
    people: dict[str, str]
    links: dict[str, str]
    clients: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    callers: dict[tuple[str, str], httpx.Client] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def cookie(self) -> str:
        """The session cookie's name, which names the home."""
        return f"interlock_{json.loads((self.server.home / 'home.json').read_text())['id'][12:20]}"

    def proof(self, session: str) -> str:
        """What the page of a session was told when it signed in."""
        return Keystore.open(self.server.home, fresh=False).vault.mac("page", session).hex()

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A client with a key, if one is given, and further headers (``x_y`` for ``X-Y``)."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        return self.clients.enter_context(
            httpx.Client(
                base_url=self.url,
                headers=sent,
                trust_env=False,
                timeout=30,
                transport=_plain(),
                event_hooks={"response": [api_document.check]},
            )
        )

    def of(self, name: str) -> httpx.Client:
        """The client with the key of somebody of the desk."""
        known = (self.url, name)
        if known not in self.callers:
            self.callers[known] = self.client(self.tokens[name])
        return self.callers[known]

    def footprint(self) -> dict[str, Any]:
        """What the journal holds: rows by table, actions by state, approval requests by state, entries."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.server.home / 'journal.db'}?mode=ro", uri=True)
        ) as db:
            held: dict[str, Any] = {
                name: db.execute(f'select count(*) from "{name}"').fetchone()[0]
                for name in sorted(set(tables.metadata.tables) - OF_THE_ENGINE)
            }
            for name in ("actions", "approvals"):
                held[f"{name} by state"] = dict(
                    db.execute(f"select state, count(*) from {name} group by state")
                )
            held["ledger"] = db.execute("select size from head").fetchone()[0]
        return held

    def refund(self, amount: str = "200.00", *, agent: str = "agent", **members: Any) -> dict[str, Any]:
        """Propose a refund that is like no other; the action as its proposer sees it."""
        args = {"order_id": f"A-{uuid.uuid4().hex}", "amount_usd": amount, "recipient": "acme"}
        body = {"topic": "desk.refunds.create", "args": args, **members}
        answer = self.of(agent).post("/v1/actions", json=body)
        assert answer.status_code in (201, 202), answer.text
        return dict(answer.json())


def _plain() -> httpx.HTTPTransport:
    """No certificates are needed on this machine, and loading them costs more than a request."""
    return httpx.HTTPTransport(verify=False, trust_env=False)


@contextlib.contextmanager
def staffed(folder: Path, policy: str = POLICY) -> Iterator[Desk]:
    """A desk in a new folder."""
    file, home = folder / "policy.yaml", folder / "home"
    file.write_text(policy, encoding="utf-8")
    tokens: dict[str, str] = {}
    people: dict[str, str] = {}
    links: dict[str, str] = {}
    with opened(home, file) as inside:
        for name in ("Ana", "Ben", "Cleo"):
            person = (
                inside.roster.first(name, by="tests") if not people else inside.roster.add(name, by="tests")
            )
            _, tokens[name] = inside.keyring.add(KeyKind.PERSON, name, person=person, by="tests")
            people[name], links[name] = person.id, inside.roster.issue_link(person)
        ana = inside.roster.named("Ana")
        for name, kind, operator in (
            ("agent", KeyKind.AGENT, ana),
            ("other-agent", KeyKind.AGENT, None),
            ("executor", KeyKind.EXECUTOR, None),
        ):
            _, tokens[name] = inside.keyring.add(kind, name, topics=["desk.**"], person=operator, by="tests")
    with ServerProcess(home, file) as server, contextlib.ExitStack() as clients:
        server.ready()
        yield Desk(server, tokens, people, links, clients)


def refused(answer: httpx.Response, status: int, slug: str, *words: str) -> dict[str, Any]:
    """The problem document of a refusal, which is what it must be and says `words`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:interlock:problem:{slug}", document
    assert document["status"] == status
    assert document["title"]
    for word in words:
        assert word in document["detail"], document["detail"]
    return document
