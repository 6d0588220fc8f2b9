"""An installation that is killed: a home, the workers that `faults.py` forks, and the service downstream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select

import faults
from fault_service import Service, policy
from interlock.gate import Answer, HumanDecision
from interlock.home import Home
from interlock.identity import embedded_caller
from interlock.journal import tables
from interlock.model.actions import Proposal
from interlock.policy import parse


class Workers:
    """The parent, and the workers that it forked."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self._log = (folder / "workers.log").open("a")
        self._parent = subprocess.Popen(
            [sys.executable, faults.__file__, str(folder / "home"), *([url] if url else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self.alive: set[int] = set()
        self._up: set[int] = set()
        self._told("ready")

    def _told(self, word: str) -> Any:
        """The next thing that is said under a word. Who is up is remembered."""
        assert self._parent.stdout is not None
        while line := self._parent.stdout.readline():
            said = json.loads(line) if line.startswith("{") else {}
            if "up" in said:
                self._up.add(said["up"])
            if word in said:
                return said[word]
        raise AssertionError(f"the workers' parent ended: {Path(self._log.name).read_text()[-3000:]}")

    def start(self, *, up: bool = True, **order: Any) -> int:
        """A worker's process id; it is `up` when it delivers segments."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        pid = int(self._told("pid"))
        self.alive.add(pid)
        if up:
            self.wait(pid)
        return pid

    def wait(self, *pids: int) -> None:
        """Until they are up."""
        while not self._up.issuperset(pids):
            self._told("up")

    def kill(self, pid: int) -> None:
        self.alive.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.gone(pid)

    def gone(self, pid: int) -> None:
        """Wait until a worker has ended."""
        self.becomes(pid, "Z")
        self.alive.discard(pid)

    def becomes(self, pid: int, letter: str, seconds: float = 60.0) -> None:
        """Wait until a worker is stopped (T), or gone (Z)."""
        deadline = time.monotonic() + seconds
        while standing(pid) != letter:
            assert time.monotonic() < deadline, f"{pid} lives: {Path(self._log.name).read_text()[-3000:]}"
            time.sleep(0.005)

    def close(self) -> None:
        for pid in list(self.alive):
            self.kill(pid)
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.kill()
        self._parent.wait()
        self._parent.stdout.close()
        self._log.close()


def standing(pid: int) -> str:
    """The letter that the system has for what a process does: T where it is stopped; Z where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


class Yard:
    """A home, its workers, and the service downstream.

    Args:
        url: of the PostgreSQL database; None for a file.
    """

    def __init__(self, folder: Path, url: str | None) -> None:
        self.service = Service(folder)
        self.acknowledged = folder / "acknowledged"
        rules = parse({"policy.yaml": policy(self.service.port)})
        self.home = Home.open(folder / "home", policy=rules, database=url)
        """Open in the test's own process, which carries out nothing."""
        self.ana = self.home.roster.first("Ana", by="tests")
        self.ben = self.home.roster.add("Ben", by="tests")
        self.workers = Workers(folder, url)

    def propose(self, topic: str, n: str) -> str:
        action = self.home.gate.propose(Proposal(topic, {"n": n}), embedded_caller("agent")).action
        assert action is not None
        return action.id

    def approve(self, action: str) -> None:
        request = self.home.views.action(action, self.ana.caller)["approval"]
        decision = HumanDecision(Answer.APPROVE, request["review_hash"])
        self.home.gate.decide(request["id"], self.ana.caller, decision)

    def actions(self) -> dict[str, tuple[str, str]]:
        """Id and state of each action, by the path that it calls."""
        with self.home.journal.read() as connection:
            ids = connection.execute(select(tables.actions.c.id)).scalars().all()
        views = [self.home.views.action(each, self.ana.caller) for each in ids]
        return {
            f"/{view['topic'].split('.')[1]}/{view['args']['n']}": (view["id"], view["state"])
            for view in views
        }

    def live(self, topic: str, n: str, point: str, **order: Any) -> int:
        """A worker that lives a life until that point, which it does not reach before it has come up."""
        return self.workers.start(
            point=point,
            topic=f"shop.{topic}",
            n=n,
            books=str(self.service.books),
            acknowledged=str(self.acknowledged),
            up=False,
            **order,
        )

    def told(self, what: str) -> list[str]:
        """The paths of actions whose callers were told that they are `proposed`, or `approved`."""
        lines = self.acknowledged.read_text().splitlines() if self.acknowledged.exists() else []
        return [line.split()[1] for line in lines if line.startswith(what)]

    def states(self) -> dict[str, str]:
        return {path: state for path, (_, state) in self.actions().items()}

    def close(self) -> None:
        self.workers.close()
        self.service.close()
        self.home.close()


@contextmanager
def yard(folder: Path, url: str | None) -> Iterator[Yard]:
    made = Yard(folder, url)
    try:
        yield made
    finally:
        made.close()
