"""What the sections of `execution` share: an installation with a person, its server, and its databases.

1. A measurement gets an installation of its own: a new folder, and on PostgreSQL a new database.
2. Requests are seeded as proposals are made: prepared, decided, sealed, marked and logged by the product's
   own code, many to a transaction. Nothing is written past it.
3. A server is `interlock serve`, a process of its own, stopped with SIGTERM unless a section kills it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from interlock.dispatch import CALLER_ENFORCES, ENFORCES
from interlock.gate import Answer, HumanDecision
from interlock.gate.propose import prepare
from interlock.home import Home
from interlock.identity import Caller, KeyKind, embedded_caller
from interlock.journal import tables as t
from interlock.model.actions import ExecutorKind, Proposal
from interlock.policy import parse

DATABASES = ("sqlite", "postgresql")
START_SEC = 60.0
BATCH = 500
AGENT = embedded_caller("bench")
POLICY = """
interlock: 1
name: execution
people: team
actions:
  bench.refunds.create:
    tier: 3
    risk_tags: [money]
    args:
      order_id: string
      amount_usd: {type: decimal, scale: 2, currency: USD}
      recipient: string
    roles: {amount: amount_usd, recipient: recipient}
    summary: Refund ${args.amount_usd} to {args.recipient} for order {args.order_id}
    execute: {caller: {}}
  bench.fleeting.drop: {tier: 3, args: {order_id: string}, execute: {caller: {}}}
  bench.orders.get: {tier: 1, args: {order_id: string}, execute: {caller: {}}}
  bench.hooks.post:
    tier: 3
    args: {order_id: string}
    execute: {http: {method: POST, url: "%s"}}
rules:
  - id: refunds
    match: {topics: [bench.refunds.create]}
    decision: require_approval
    lane: {window: 168h, on_timeout: deny}
  - id: fleeting
    match: {topics: [bench.fleeting.drop]}
    decision: require_approval
    lane: {window: 1s, on_timeout: deny}
  - id: hooks
    match: {topics: [bench.hooks.post]}
    decision: require_approval
    lane: {window: 1h, on_timeout: deny}
  - id: reads
    match: {topics: [bench.orders.get]}
    decision: allow
"""


class Installation:
    """A home, the person who decides there, and where it stands."""

    def __init__(self, folder: Path, database: str | None, hook: str = "http://127.0.0.1:9/") -> None:
        self.folder, self.database = folder, database
        self.policy = parse({"policy.yaml": POLICY % hook})
        self.home = self.opened()
        person = self.home.roster.first("Ana", by="benchmark")
        _, self.token = self.home.keyring.add(KeyKind.PERSON, "ana", person=person, by="benchmark")
        self.person = self.home.keyring.authenticate(self.token)

    def opened(self) -> Home:
        return Home.open(self.folder, policy=self.policy, by="benchmark", database=self.database)

    def seed(self, topic: str, count: int, name: str) -> None:
        """So many requests of a topic, as rule 2 says."""
        journal = self.home.journal
        enforces = {**ENFORCES, ExecutorKind.CALLER: CALLER_ENFORCES}
        for first in range(0, count, BATCH):
            made = [
                prepare(
                    proposal(topic, f"{name}-{number}"),
                    AGENT,
                    self.home.gate.policy,
                    journal.vault,
                    namespace=journal.namespace,
                    registered=False,
                    enforces=enforces,
                )
                for number in range(first, min(count, first + BATCH))
            ]
            journal.commit(lambda tx, made=made: [each(tx) for each in made])  # type: ignore[misc]
            progress(name, min(count, first + BATCH), count)

    def waiting(self, topic: str, limit: int) -> list[tuple[str, str, str]]:
        """Id, review hash and action of requests that wait."""
        a, x = t.approvals.c, t.actions.c
        question = (
            select(a.id, a.review_hash, a.action_id)
            .join(t.actions, (x.namespace == a.namespace) & (x.id == a.action_id))
            .where(a.state == "held", x.topic == topic)
            .order_by(a.due_at)
            .limit(limit)
        )
        with self.home.journal.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(question)]

    def approve(self, approval: str, review_hash: str, caller: Caller | None = None) -> None:
        decision = HumanDecision(Answer.APPROVE, review_hash)
        self.home.gate.decide(approval, caller or self.person, decision)


def proposal(topic: str, order: str) -> Proposal:
    args: dict[str, Any] = {"order_id": order}
    if topic == "bench.refunds.create":
        args |= {"amount_usd": Decimal("1400.00"), "recipient": "acme"}
    return Proposal(topic, args)


@contextmanager
def installed(database: str, url: str | None, hook: str = "http://127.0.0.1:9/") -> Iterator[Installation]:
    """An installation on one of `DATABASES`.

    Args:
        url: a PostgreSQL server that runs already; one is started for this alone where there is none.
    """
    from benchmarks.postgres import server

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-bench-")))
        place = None if database == "sqlite" else stack.enter_context(server(url))
        found = Installation(scratch / "home", place, hook)
        try:
            yield found
        finally:
            found.home.close()


class Serving:
    """One `interlock serve` on an installation."""

    def __init__(self, installation: Installation) -> None:
        self._folder = installation.folder
        command = [sys.executable, "-m", "interlock.cli", "serve", "--home", str(self._folder), "--port", "0"]
        environment = dict(os.environ)
        if installation.database is not None:
            environment["INTERLOCK_DATABASE"] = installation.database
        self.began = time.perf_counter()
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        end = time.monotonic() + START_SEC
        while time.monotonic() < end and self.process.poll() is None:
            try:
                announced = json.loads((self._folder / "server.json").read_text())
                if announced["pid"] == self.process.pid:
                    return str(announced["url"])
            except (OSError, ValueError):
                pass
            time.sleep(0.02)
        raise SystemExit(f"the server did not start: {(self._folder / 'server.log').read_text()[-2000:]}")

    def ready(self) -> Serving:
        """Waits until it says that it carries out work."""
        url, end = self.url, time.monotonic() + START_SEC
        with httpx.Client(trust_env=False) as client:
            while time.monotonic() < end:
                if client.get(f"{url}/readyz").is_success:
                    return self
                time.sleep(0.05)
        raise SystemExit("the server is not ready")

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(START_SEC)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 2),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 2),
        "max_ms": round(ordered[-1] * 1000, 2),
    }


def progress(what: str, done: int, whole: int) -> None:
    """A bar on a terminal; elsewhere a line for each twentieth of what takes long."""
    step = max(whole // 20, 10_000)
    if not sys.stderr.isatty():
        if done // step > (done - BATCH) // step:
            now = time.strftime("%H:%M:%S")
            print(f"{now} {what}: {done:,} of {whole:,}", file=sys.stderr, flush=True)
    else:
        width = 30 * done // whole
        end = "\n" if done == whole else ""
        print(f"\r{what:24} {'#' * width:30} {done:>9,} of {whole:,}", end=end, file=sys.stderr, flush=True)


def until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Raises `SystemExit` where it does not happen in that time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"within {seconds:.0f} s this did not happen: {what}")
        time.sleep(0.005)
