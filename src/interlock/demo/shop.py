"""The shop: orders, refunds, drafts, a mailbox and accounts, over HTTP, with books that survive a kill.

1. Whoever calls sends the shop's credential; without it the answer is 401 and nothing happens.
2. An effect, and the answer to it, are on disk before the answer is sent. What was refused left no effect.
3. A repeated Idempotency-Key gets the first answer again, where the shop promises that: for refunds and for
   discarding or restoring a draft. A draft, an e-mail and a deletion are done as often as they are asked for,
   so that the books show it when somebody asks twice.
4. The books name, for each effect, the action and key it came with. They are what the gate is measured by.
5. For rehearsals, an answer can be withheld: the effect is in the books, and the caller does not learn it.

Run as ``python -m interlock.demo.shop``; it prints the port it listens on and ends when its stdin is closed.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from interlock.demo.story import ORDERS
from interlock.model.canonical import canonical, parse_json, plain
from interlock.model.errors import InvalidInput
from interlock.model.money import fixed

HOST = "127.0.0.1"
MAX_BODY = 1 << 16
WITHHELD_SEC = 60.0
_REPEATABLE = ("POST /refunds", "PUT /drafts", "DELETE /drafts")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, args TEXT NOT NULL, action TEXT, key TEXT
);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER, body TEXT);
CREATE TABLE IF NOT EXISTS repeats (number INTEGER PRIMARY KEY, key TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body."""

    status: int
    body: Mapping[str, Any]


class Refused(Exception):
    """The shop does not do that; nothing was booked."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = Answer(status, {"error": why})


class Books:
    """Everything the shop did, in one SQLite file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def do(
        self, request: str, name: str, args: Mapping[str, Any], action: str | None, key: str | None
    ) -> Answer:
        """Carry out one request, or answer from memory where the shop promises that.

        Args:
            request: method and first path segment, ``POST /refunds``.
            name: the last path segment of a DELETE.
        """
        content = canonical({"request": request, "name": name, "args": dict(args)}).decode()
        remember = key if request in _REPEATABLE else None
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                known = self._db.execute(
                    "SELECT request, status, body FROM answers WHERE key = ?", (remember,)
                ).fetchone()
                if known is not None:
                    answer = self._again(known, content, key)
                else:
                    answer = self._anew(request, name, args, action, key)
                    if remember is not None:
                        self._db.execute(
                            "INSERT INTO answers VALUES (?, ?, ?, ?)",
                            (remember, content, answer.status, json.dumps(answer.body)),
                        )
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return answer

    def _again(self, known: tuple[str, int, str], content: str, key: str | None) -> Answer:
        if known[0] != content:
            return Answer(422, {"error": "this Idempotency-Key came with another request before"})
        self._db.execute("INSERT INTO repeats (key) VALUES (?)", (key,))
        return Answer(known[1], json.loads(known[2]))

    def _anew(
        self, request: str, name: str, args: Mapping[str, Any], action: str | None, key: str | None
    ) -> Answer:
        try:
            kind, recorded, word = self._checked(request, name, args)
        except Refused as refused:
            return refused.answer
        done = self._db.execute(
            "INSERT INTO effects (kind, args, action, key) VALUES (?, ?, ?, ?)",
            (kind, canonical(dict(recorded)).decode(), action, key),
        )
        return Answer(201 if request.startswith("POST") else 200, {f"{word}_id": f"{word}-{done.lastrowid}"})

    def _checked(
        self, request: str, name: str, args: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any], str]:
        """Kind, arguments to book, and what the receipt is called. Raises `Refused`."""
        match request:
            case "POST /drafts":
                return "draft", _texts(args, "ticket_id", "text"), "draft"
            case "POST /emails":
                return "email", _texts(args, "to", "subject", "body"), "email"
            case "POST /refunds":
                return "refund", self._refund(args), "refund"
            case "DELETE /drafts":
                if not self._drafted(name.removeprefix("draft-")):
                    raise Refused(404, "there is no such draft")
                return "discard", {"draft_id": name}, "discard"
            case "PUT /drafts":
                if not self._drafted(name.removeprefix("draft-")):
                    raise Refused(404, "there was no such draft")
                return "restore", {"draft_id": name}, "draft"
            case "DELETE /accounts":
                if name not in {order.account for order in ORDERS.values()}:
                    raise Refused(404, "there is no such account")
                return "deletion", {"account_id": name}, "deletion"
        raise Refused(404, "there is no such thing here")

    def _refund(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        _texts(args, "order_id", "amount_usd", "recipient")
        order = ORDERS.get(args["order_id"])
        if order is None:
            raise Refused(404, "there is no such order")
        try:
            amount = Decimal(fixed(args["amount_usd"], 2))
        except InvalidInput as error:
            raise Refused(422, error.detail) from None
        if amount <= 0:
            raise Refused(422, "a refund is more than nothing")
        if self._refunded(order.id) + amount > order.paid_usd:
            raise Refused(409, f"${order.paid_usd:.2f} was paid; the refunds would come to more")
        return args

    def _drafted(self, number: str) -> bool:
        query = "SELECT 1 FROM effects WHERE kind = 'draft' AND CAST(number AS TEXT) = ?"
        return self._db.execute(query, (number,)).fetchone() is not None

    def _refunded(self, order_id: str) -> Decimal:
        rows = self._db.execute("SELECT args FROM effects WHERE kind = 'refund'").fetchall()
        booked = [json.loads(row[0]) for row in rows]
        return sum((Decimal(one["amount_usd"]) for one in booked if one["order_id"] == order_id), Decimal(0))

    def order(self, order_id: str) -> Answer:
        order = ORDERS.get(order_id)
        if order is None:
            return Answer(404, {"error": "there is no such order"})
        with self._lock:
            refunded = self._refunded(order_id)
        return Answer(
            200,
            {
                "order_id": order.id,
                "account_id": order.account,
                "email": order.email,
                "item": order.item,
                "paid_usd": f"{order.paid_usd:.2f}",
                "refunded_usd": f"{refunded:.2f}",
                "note": order.note,
            },
        )

    def all(self) -> Answer:
        """Every effect in order, and how often a key was repeated."""
        with self._lock:
            rows = self._db.execute("SELECT kind, args, action, key FROM effects ORDER BY number").fetchall()
            repeats = self._db.execute("SELECT count(*) FROM repeats").fetchone()[0]
        effects = [
            {"kind": kind, "args": json.loads(args), "action": action, "key": key}
            for kind, args, action, key in rows
        ]
        return Answer(200, {"effects": effects, "repeats": repeats})


def _texts(args: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    if set(args) != set(names) or not all(isinstance(value, str) and value for value in args.values()):
        raise Refused(422, f"expected the texts {', '.join(names)}")
    return args


class Doorman:
    """Withholds answers in a rehearsal: the effect has happened, and its caller waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: str | None = None
        self._waiting = 0
        self._round = 0

    def watch(self, request: str | None) -> None:
        """Withhold the answer to the next such request; None lets everybody go."""
        with self._changed:
            self._watched = request
            if request is None:
                self._round += 1
                self._changed.notify_all()

    @property
    def waiting(self) -> int:
        with self._changed:
            return self._waiting

    def pass_by(self, request: str) -> None:
        """Return when the answer may be sent."""
        with self._changed:
            if request != self._watched:
                return
            self._watched, mine = None, self._round
            self._waiting += 1
            self._changed.wait_for(lambda: self._round != mine, WITHHELD_SEC)
            self._waiting -= 1


class Shop(ThreadingHTTPServer):
    """The service."""

    daemon_threads = True

    def __init__(self, books: Path, credential: str, port: int = 0) -> None:
        super().__init__((HOST, port), Counter)
        self.books = Books(books)
        self.doorman = Doorman()
        self.credential = credential


class Counter(BaseHTTPRequestHandler):
    """One connection at the counter."""

    server: Shop
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        first, name = self._path()
        if not self._known():
            return
        if first == "orders":
            self._answer(self.server.books.order(name))
        elif first == "books":
            self._answer(self.server.books.all())
        elif first == "control":
            self._answer(Answer(200, {"waiting": self.server.doorman.waiting}))
        else:
            self._answer(Answer(404, {"error": "there is no such thing here"}))

    def do_POST(self) -> None:
        self._carry_out("POST")

    def do_PUT(self) -> None:
        self._carry_out("PUT")

    def do_DELETE(self) -> None:
        self._carry_out("DELETE")

    def _carry_out(self, method: str) -> None:
        first, name = self._path()
        try:
            args = self._body()
        except Refused as refused:
            self.close_connection = True
            self._answer(refused.answer)
            return
        if not self._known():
            return
        if (method, first) == ("POST", "control"):
            self.server.doorman.watch(args.get("withhold"))
            self._answer(Answer(200, {}))
            return
        request = f"{method} /{first}"
        answer = self.server.books.do(
            request, name, args, self.headers.get("Interlock-Action"), self.headers.get("Idempotency-Key")
        )
        self.server.doorman.pass_by(request)
        self._answer(answer)

    def _path(self) -> tuple[str, str]:
        found = re.fullmatch(r"/([a-z]+)(?:/([A-Za-z0-9-]+))?", self.path)
        return (found[1], found[2] or "") if found else ("", "")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise Refused(400, "the body is too large, or its length is unknown")
        content = self.rfile.read(int(length))
        if not content:
            return {}
        try:
            value = plain(parse_json(content))
        except InvalidInput as error:
            raise Refused(400, error.detail) from None
        if not isinstance(value, dict):
            raise Refused(400, "the body is not an object")
        return value

    def _known(self) -> bool:
        """Whether the caller has the credential; answers 401 where not."""
        sent = self.headers.get("Authorization", "")
        if hmac.compare_digest(sent.encode(), self.server.credential.encode()):
            return True
        self._answer(Answer(401, {"error": "the shop does not know you"}))
        return False

    def _answer(self, answer: Answer) -> None:
        body = json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            # The caller is gone; what was done is in the books all the same.
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        sys.stderr.write(f"{format % args}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="interlock.demo.shop")
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--credential", type=Path, required=True, help="file with the Authorization value")
    options = parser.parse_args()
    shop = Shop(options.books, options.credential.read_text(encoding="utf-8").strip())
    threading.Thread(target=_until_closed, daemon=True).start()
    sys.stdout.write(f"{shop.server_address[1]}\n")
    sys.stdout.flush()
    shop.serve_forever()


def _until_closed() -> None:
    """End with the process that started this one, however it ended. The books are always in order."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
