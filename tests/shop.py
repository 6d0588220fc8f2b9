"""A shop whose agent pays money back: the policy, the books and the processes of the tests of adapters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from house import House
from interlock import Gate
from interlock.home import Home

WAIT_SEC = 90.0
TOPICS = {"refund": "pay.refund", "look": "orders.get", "drop": "orders.drop"}
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    summary: Refund ${args.amount_usd} for order {args.order_id}
  orders.get: {tier: 1, args: {order_id: string}}
  orders.drop: {tier: 4, args: {order_id: string}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
  - {id: never, match: {topics: [orders.drop]}, decision: deny, reason: Nobody drops orders}
"""


class Books:
    """What the tools did, in a file that outlives their process."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, line: str) -> None:
        with self._file.open("a") as books:
            books.write(line + "\n")

    def lines(self, word: str = "") -> list[str]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [line for line in lines if line.startswith(word)]


class Shop:
    """The agent's folder, and the processes of its program, each of which ends by itself or is killed.

    A program gets the folder and words, prints ``ready``, reads a line, and prints its answer as JSON.
    """

    def __init__(self, program: Path, folder: Path, database: str | None, env: dict[str, str]) -> None:
        self.folder, self.database = folder, database
        self.books = Books(folder / "books.txt")
        self._program, self._started = program, list[subprocess.Popen[str]]()
        self._env = env if database is None else {**env, "AGENT_DATABASE": database}
        (folder / "policy.yaml").write_text(POLICY)

    def begin(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """A process that is ready to go on when it gets a line."""
        process = subprocess.Popen(
            [sys.executable, str(self._program), str(self.folder), *args],
            env={**os.environ, **self._env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError(process.communicate()[1])
        return process

    @staticmethod
    def let(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    @staticmethod
    def ended(process: subprocess.Popen[str]) -> Any:
        """What the program answered, or the text of what it raised."""
        out, err = process.communicate("go\n", timeout=WAIT_SEC)
        return json.loads(out) if process.returncode == 0 else err

    def start(self, *calls: dict[str, Any]) -> Any:
        return self.ended(self.begin("start", json.dumps([calls])))

    def go(self, action: str) -> Any:
        return self.ended(self.begin("go", action))

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@contextmanager
def shop(program: Path, folder: Path, database: str | None, **env: str) -> Iterator[Shop]:
    made = Shop(program, folder, database, env)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def desk_of(made: Shop) -> Iterator[House]:
    """Ann and Bob, who decide in this process."""
    Gate.open(made.folder / "policy.yaml", agent="support", database=made.database).close()
    home = Home.open(made.folder / ".interlock", database=made.database)
    house = House(home, made.database)
    house.person("Ann")
    house.person("Bob")
    try:
        yield house
    finally:
        home.close()


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
