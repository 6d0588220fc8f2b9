"""A tool that does nothing without a permit: a small HTTP service, complete.

    python examples/permitted_tool.py --gate http://localhost:8420 --name shop-host \\
        --issuer interlock.local/0123456789abcdef --key-file executor.key --state DIR

Agents call ``POST /<topic>``: the arguments are the body, the permit is the header ``Interlock-Permit``.

1. ``notes.add`` is of tier 2, and the policy says ``offline: true``: a permit for offline use is enough, and
   the gate is told afterwards.
2. ``pay.refund`` is of tier 3: its permit is redeemed at the gate before anything happens.
3. The order is always the same: check, note down, run, report. A run that was noted down and not reported
   when the service stopped is reported as in doubt when it starts again: nobody knows how far it came.
4. The issuer and the name of the executor are configuration; neither is taken from a permit. The key set is
   fetched from the gate, and again where a permit names a key that is not in it.
5. What is run is what `Verifier.check` returned, never what was received.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from interlock.permit import Permit, PermitError, SqliteStore, UnknownKey, Verifier

MAX_BODY = 1 << 20
MAX_REFUND_USD = Decimal(1000)


class Refused(Exception):
    """The gate does not let it run, or cannot be asked."""


class NothingHappened(Exception):
    """The tool looked at it and did nothing: the one case in which a run has failed without effect."""


class Effects:
    """What this service does to the world, and what it still has to report."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA synchronous = FULL;"
            "CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, topic TEXT, args TEXT);"
            "CREATE TABLE IF NOT EXISTS unreported (action TEXT PRIMARY KEY, permit TEXT);"
        )

    def do(self, permit: Permit) -> dict[str, Any]:
        """The effect, under the idempotency key that the gate derived for it."""
        row = (permit.claims.key, permit.claims.topic, json.dumps(permit.args))
        with self._lock:
            self._db.execute("INSERT INTO effects VALUES (?, ?, ?)", row)
        return {"done": permit.claims.topic, "key": permit.claims.key}

    def begin(self, action: str, token: str) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO unreported VALUES (?, ?)", (action, token))

    def end(self, action: str) -> None:
        with self._lock:
            self._db.execute("DELETE FROM unreported WHERE action = ?", (action,))

    def unreported(self) -> list[tuple[str, str]]:
        with self._lock:
            return self._db.execute("SELECT action, permit FROM unreported").fetchall()


class Gate:
    """The three things that an executor asks of the gate."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False)

    def keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = self._http.get("/.well-known/jwks.json").raise_for_status().json()
        return keys

    def redeem(self, token: str) -> str:
        """Claim the action; what may run, once."""
        binding: str = self._ask("/v1/permits/redeem", {"permit": token})["binding"]
        return binding

    def report(self, action: str, token: str, outcome: str, note: str, result: Any = None) -> None:
        body = {"permit": token, "outcome": outcome, "note": note, "result": result}
        self._ask(f"/v1/actions/{action}/outcome", body)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise Refused(f"The gate cannot be asked: {type(error).__name__}.") from None
        if answer.status_code != 200:
            raise Refused(answer.json().get("detail", f"The gate answered {answer.status_code}."))
        found: dict[str, Any] = answer.json()
        return found


class Service:
    """Checks, runs and reports."""

    def __init__(self, gate: Gate, verifier: Verifier, effects: Effects) -> None:
        self._gate = gate
        self._verifier = verifier
        self._effects = effects
        self._tools: dict[str, tuple[bool, Callable[[Permit], Any]]] = {
            "notes.add": (False, effects.do),
            "pay.refund": (True, self._refund),
        }

    def call(self, topic: str, token: str, body: bytes) -> Any:
        """Run one call, or raise `PermitError` or `Refused` before anything happened."""
        if topic not in self._tools:
            raise Refused("There is no such tool here.")
        redeems, run = self._tools[topic]
        redeem = self._gate.redeem if redeems else None
        try:
            permit = self._verifier.check(token, topic, body, redeem=redeem)
        except UnknownKey:
            self._verifier.trust(self._gate.keys())
            permit = self._verifier.check(token, topic, body, redeem=redeem)
        action = permit.claims.action
        self._effects.begin(action, token)
        try:
            result = run(permit)
        except NothingHappened as error:
            self._report(action, token, "failed", str(error))
            raise Refused(str(error)) from None
        except Exception:
            self._report(action, token, "in_doubt", "The tool failed while it ran.")
            raise
        self._report(action, token, "succeeded", "The tool ran.", result)
        return result

    def _refund(self, permit: Permit) -> dict[str, Any]:
        """The host enforces the constraints, so one that it does not know stops the run."""
        limits = dict(permit.claims.constraints)
        limit = min(Decimal(limits.pop("max_amount_usd", MAX_REFUND_USD)), MAX_REFUND_USD)
        if limits or Decimal(permit.args["amount_usd"]) > limit:
            raise NothingHappened("Nothing was paid: a constraint forbids it, or is not known here.")
        return self._effects.do(permit)

    def catch_up(self) -> None:
        """Report what an earlier process ran without saying how it ended."""
        for action, token in self._effects.unreported():
            self._report(action, token, "in_doubt", "The service stopped while the tool ran.")

    def _report(self, action: str, token: str, outcome: str, note: str, result: Any = None) -> None:
        try:
            self._gate.report(action, token, outcome, note, result)
        except Refused as refused:
            print(f"{action} was not reported: {refused}", file=sys.stderr, flush=True)
        else:
            self._effects.end(action)


def handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= MAX_BODY:
                self._answer(413, {"detail": "The body is too large."})
                return
            body, token = self.rfile.read(length), self.headers.get("Interlock-Permit", "")
            try:
                self._answer(200, service.call(self.path[1:], token, body))
            except PermitError as error:
                self._answer(403, {"type": error.slug, "detail": error.detail, "fix": error.fix})
            except Refused as error:
                self._answer(409, {"detail": str(error)})

        def _answer(self, status: int, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing about requests is logged: their headers are permits."""

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--gate", "--issuer", "--name", "--key-file", "--state"):
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, default=8430)
    given = parser.parse_args()
    state = Path(given.state)
    gate = Gate(given.gate, Path(given.key_file).read_text(encoding="utf-8").strip())
    store = SqliteStore(state / "permits.db")
    verifier = Verifier(given.issuer, given.name, gate.keys(), store, time.time, leeway=2)
    service = Service(gate, verifier, Effects(state / "effects.db"))
    service.catch_up()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler(service))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
