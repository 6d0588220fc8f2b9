"""A desk to look at: one `interlock serve` process, a small shop that it calls, an agent and a person.

1. The server is the real command in a process of its own, on a free port, on a home of its own.
2. The shop is a real HTTP server in this process. It writes down every request and answers as told.
3. The policy is the support desk's, with topics that it has no use for and a reviewer's screen does.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from interlock.home import Home
from interlock.identity import KeyKind, Person
from interlock.policy import parse
from server_process import ServerProcess, opened

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "policies" / "demo-support" / "policy.yaml"
SHOP_IN_POLICY = "http://127.0.0.1:8421"
REFUND, EMAIL, DELETE = "support.refunds.create", "support.emails.send", "support.accounts.delete"
UPDATE, CLOSE = "support.customers.update", "support.chats.close"
STOP, REROUTE = "support.parcels.stop", "support.parcels.reroute"
HEIGHT = {1280: 900, 390: 844, 320: 640}
"""Of a window, by its width; in pixels."""

Visit = Callable[..., Page]
"""The fixture `visit`, which opens pages."""

ALSO = """
interlock: 1
name: demo-support
people: solo

actions:

  support.customers.update:
    tier: 3
    risk_tags: [write]
    args:
      segment: string
      tags: {type: array}
      profile: {type: object, optional: true}
      rows: integer
      customers: integer
      share: number
      notify: boolean
    roles: {rows: rows, people: customers}
    summary: Tag the {args.rows} records of segment {args.segment}
    worst_case: Customers are tagged wrongly until the tags are restored
    undo: support.customers.restore
    undo_within: 1h
    execute: {http: {method: POST, url: "SHOP/customers", auth: shop, no_effect: [422]}}

  support.customers.restore:
    tier: 2
    risk_tags: [write]
    args: {segment: string}
    execute: {http: {method: POST, url: "SHOP/customers/restore", auth: shop}}

  support.chats.close:
    tier: 3
    risk_tags: [write]
    args: {chat_id: string}
    summary: Close chat {args.chat_id}
    execute: {http: {method: POST, url: "SHOP/chats/close", auth: shop}}

  support.parcels.stop:
    tier: 3
    risk_tags: [write]
    args: {parcel: string}
    summary: Stop parcel {args.parcel}
    execute: {permitted: {executor: depot-host}}

  support.parcels.reroute:
    tier: 3
    risk_tags: [write]
    args: {parcel: string, street: string}
    summary: Send parcel {args.parcel} to {args.street}
    execute: {http: {method: POST, url: "SHOP/reroute", auth: shop}}
    probe: {http: {url: "SHOP/parcels/{args.parcel}", auth: shop, compare: [state, depot, street]}}

rules:

  - id: mass-updates
    match: {topics: [support.customers.update]}
    decision: require_approval
    owner: security-approvers
    lane: {window: 2h, on_timeout: escalate}
    constraints: {max_runtime_sec: 20}
    reason: A person looks before many records change at once

  - id: chats
    match: {topics: [support.chats.close]}
    decision: require_approval
    lane: {window: 6s, on_timeout: deny}
    reason: Somebody may still be typing
"""


@dataclass
class Shop:
    """What the gate calls. `answers` maps a path to the status and body of its next answers."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)

    def got(self, path: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["path"] == path]


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop on a free port."""

    class Counter(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = {
                "method": self.command,
                "path": self.path,
                "args": json.loads(raw) if raw else None,
                "key": self.headers.get("idempotency-key"),
                "authorization": self.headers.get("authorization"),
            }
            shop.requests.append(request)
            status, answer = shop.answers.get(self.path, (200, {"receipt": f"R-{len(shop.requests)}"}))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Silent: the requests are kept."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    shop = Shop(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Desk:
    """A running server with one enrolled person.

    Attributes:
        url: of the console, on localhost. home: the server's.
        shop: what the gate calls.
        session: the cookie of a signed-in person, as a browser context takes it.
    """

    def __init__(
        self, url: str, home: Home, shop: Shop, person: Person, agent_key: str, person_key: str
    ) -> None:
        self.url = url
        self.shop = shop
        self.home = home
        self._person = person
        self._agent = self._client(agent_key)
        self._reviewer = self._client(person_key)
        self.session = self._sign_in()

    def _client(self, key: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20.0)

    def scribble(self, approval: str, owner: str) -> None:
        """Change whom a request waits for behind the server's back, in its database."""
        with closing(sqlite3.connect(self.home.path / "journal.db", timeout=5.0)) as database, database:
            database.execute("UPDATE approvals SET owner = ? WHERE id = ?", (owner, approval))

    def close(self) -> None:
        self._agent.close()
        self._reviewer.close()

    def observe(self) -> None:
        """Put a policy in force that only watches."""
        policy = parse({"policy.yaml": "interlock: 1\nname: trying-out\nmode: observe\n"})
        self.home.gate.activate(policy, by="test", reason="test")

    def erase(self, subject: str) -> None:
        """Destroy what is recorded about somebody, from another process than the server's."""
        self.home.eraser.erase(subject, by="test")

    def link(self, person: Person | None = None) -> str:
        """A new one-time link into the console."""
        return f"{self.url}/sign-in#{self.home.roster.issue_link(person or self._person)}"

    def enrol(self, name: str) -> Person:
        """Somebody else; from then on nobody decides alone."""
        return self.home.roster.add(name, by="test")

    def _sign_in(self) -> dict[str, str]:
        token = self.link().partition("#")[2]
        answer = httpx.post(
            f"{self.url}/v1/sign-in",
            json={"token": token},
            headers={"x-interlock-console": "1"},
            trust_env=False,
        ).raise_for_status()
        self.proof: str = answer.json()["proof"]
        name, value = next(iter(answer.cookies.items()))
        return {"name": name, "value": value, "url": self.url}

    def propose(self, topic: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The agent's proposal; the action as the agent sees it."""
        body = {"topic": topic, "args": args, **more}
        return dict(self._agent.post("/v1/actions", json=body).raise_for_status().json())

    def refused(self, topic: str, args: dict[str, Any]) -> str:
        """A proposal that may not run; what became of it."""
        return str(self.propose(topic, args)["state"])

    def hold(self, topic: str, args: dict[str, Any], **more: Any) -> str:
        """A proposal that is held; the id of its approval request."""
        action = self.propose(topic, args, **more)
        assert action["state"] == "held", action
        return str(action["approval"]["id"])

    def refund(
        self, order: str, amount: str = "240.00", recipient: str = "jonas@example.com", **more: Any
    ) -> str:
        """A held refund; the id of its approval request."""
        return self.hold(REFUND, {"order_id": order, "amount_usd": amount, "recipient": recipient}, **more)

    def withdraw(self, approval: str) -> None:
        """The agent takes the action back."""
        self._agent.post(f"/v1/actions/{self.approval(approval)['action_id']}/withdraw").raise_for_status()

    def as_agent(self, action: str) -> dict[str, Any]:
        """An action as its agent sees it."""
        return dict(self._agent.get(f"/v1/actions/{action}").raise_for_status().json())

    def approval(self, approval: str) -> dict[str, Any]:
        """A request as a reviewer sees it over HTTP."""
        return dict(self._reviewer.get(f"/v1/approvals/{approval}").raise_for_status().json())

    def decide(self, approval: str, decision: str, **more: Any) -> dict[str, Any]:
        """The person's answer from elsewhere: over HTTP, with a key."""
        body = {"decision": decision, "expected_hash": self.approval(approval)["review_hash"], **more}
        answer = self._reviewer.post(f"/v1/approvals/{approval}/decisions", json=body)
        return dict(answer.raise_for_status().json())

    def edit(self, approval: str, **changes: Any) -> dict[str, Any]:
        """An edit from elsewhere."""
        return self.decide(approval, "edit", args={**self.approval(approval)["args"], **changes})


@contextmanager
def open_desk(folder: Path, *, people: str = "solo") -> Iterator[Desk]:
    """A desk in `folder`, until the block is left."""
    with ExitStack() as exits:
        shop = exits.enter_context(open_shop())
        policy, path = _policy(folder / "policy", shop, people), folder / "home"
        (path / "credentials").mkdir(parents=True, mode=0o700)
        secret = path / "credentials" / "shop"
        secret.touch(mode=0o600)
        secret.write_text("Bearer only-the-gate-knows")
        home = exits.enter_context(opened(path, policy))
        person = home.roster.first("Ana Sol", by="tests")
        _, agent_key = home.keyring.add(KeyKind.AGENT, "support-bot", topics=["support.**"], by="tests")
        _, person_key = home.keyring.add(KeyKind.PERSON, "laptop", person=person, by="tests")
        server = exits.enter_context(ServerProcess(path, policy))
        yield exits.enter_context(closing(Desk(server.url, home, shop, person, agent_key, person_key)))


def _policy(folder: Path, shop: Shop, people: str) -> Path:
    folder.mkdir(parents=True)
    support = SUPPORT.read_text(encoding="utf-8")
    assert SHOP_IN_POLICY in support
    assert "people: solo" in support
    for name, text in (("support.yaml", support.replace(SHOP_IN_POLICY, shop.url)), ("also.yaml", ALSO)):
        text = text.replace("SHOP/", f"{shop.url}/").replace("people: solo", f"people: {people}")
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something outside the browser is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.02)


def findings(page: Page, **options: Any) -> list[tuple[str, str, list[str]]]:
    """What axe finds on a page that has come to rest: rule, its sentence, and where."""
    expect(page.locator(".arming")).to_have_count(0)
    page.evaluate(
        "Promise.allSettled(document.getAnimations().filter((one) => one instanceof CSSTransition)"
        ".map((one) => one.finished)).then(() => null)"
    )
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [(one["id"], one["help"], [node["html"][:160] for node in one["nodes"]]) for one in found]
