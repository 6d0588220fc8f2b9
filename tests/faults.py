"""Processes that are killed with SIGKILL, or stopped, at enumerated points of an action's life.

    python tests/faults.py folder [url]

1. One parent has everything imported, and forks a process for each order that it reads: a worker that comes
   up in milliseconds. It knows nothing of what its children do.
2. A worker opens the home, and launches what `serve` launches: the engine with its segments, the sweeps, the
   dispatcher. One with a point proposes one action, approves it, and is killed at that point.
3. Points are places in the code between two of its effects. The hook that kills stands here and is put around
   the product's own functions in the child; nothing in the product knows of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

KINDS = ("action.proposed", "approval.decided", "action.claimed", "action.settled")
POINTS = (
    *(f"{place} {KINDS[0]}" for place in ("inside", "before", "after")),
    *(f"{place} {KINDS[1]}" for place in ("inside", "before", "after")),
    "before it is taken over",
    "after it is taken over",
    "when it is delivered",
    *(f"{place} {KINDS[2]}" for place in ("inside", "before", "after")),
    "before it is sent",
    "before it is answered",
    "after it is answered",
    *(f"{place} {KINDS[3]}" for place in ("inside", "before", "after")),
    "before the delivery ends",
)
"""In their order. *Inside* a transaction that appends such an entry, *before* its commit, *after* its commit
and before anybody is answered. *Taken over*: from the outbox by what carries the segments."""
ANSWERING = "before it is answered"


def expected(point: str, knows_keys: bool) -> tuple[str, int]:
    """In which state an action ends whose process was killed there, and how often its service is called."""
    order = POINTS.index(point)
    if order < POINTS.index(f"after {KINDS[0]}"):
        return "", 0
    if order < POINTS.index(f"after {KINDS[1]}"):
        return "held", 0
    if order < POINTS.index(f"after {KINDS[2]}") or order >= POINTS.index(f"after {KINDS[3]}"):
        return "succeeded", 1
    sent = int(order > POINTS.index("before it is sent"))
    return ("succeeded", sent + 1) if knows_keys else ("in_doubt", sent)


class Fault:
    """Kills or stops this process at one point of one action's life."""

    def __init__(self, point: str, number: signal.Signals) -> None:
        self.point = point
        self.number = number
        self.armed = False
        self.action: str | None = None
        self.written: list[str] = []
        """Kinds of entries about the action in the transaction that is open."""
        self.decided = False

    def reached(self, point: str, action: str | None = None) -> None:
        if point == self.point and self.armed and (action is None or action == self.action):
            self.armed = False
            os.kill(os.getpid(), self.number)
            while self.number == signal.SIGKILL:
                time.sleep(1)

    def entry(self, kind: str, action: str) -> None:
        if not self.armed or kind not in KINDS:
            return
        if self.action is None and kind == KINDS[0]:
            self.action = action  # nobody else proposes; what others left may still end here
        if action == self.action:
            self.written.append(kind)
            self.reached(f"inside {kind}")

    def commit(self, commit: Callable[[], None]) -> None:
        for kind in self.written:
            self.reached(f"before {kind}")
        commit()
        for kind in self.written:
            self.reached(f"after {kind}")
        self.decided = self.decided or KINDS[1] in self.written
        self.written.clear()


def arm(fault: Fault) -> None:
    """Put the fault's hook around the product's own functions, in this process."""
    from interlock.dispatch import Connectors, Dispatcher
    from interlock.engine.on_dbos import DbosBackend
    from interlock.journal import Tx
    from interlock.journal.postgres import PostgresDatabase
    from interlock.journal.sqlite import SqliteDatabase

    append = Tx.append

    def appended(tx: Any, kind: Any, **fields: Any) -> int:
        index = append(tx, kind, **fields)
        fault.entry(kind.value, str(fields.get("action")))
        return index

    Tx.append = appended  # type: ignore[method-assign]
    for database in (SqliteDatabase, PostgresDatabase):

        def committed(self: Any, grown: Any, commit: Any = database.commit) -> None:
            fault.commit(lambda: commit(self, grown))

        def rolled_back(self: Any, rollback: Any = database.rollback) -> None:
            fault.written.clear()
            rollback(self)

        database.commit = committed  # type: ignore[method-assign]
        database.rollback = rolled_back  # type: ignore[method-assign]
    accept, deliver, send = DbosBackend.accept, Dispatcher.deliver, Connectors.send

    def accepted(self: Any, *args: Any) -> int:
        if fault.decided:
            fault.reached("before it is taken over")
        count = accept(self, *args)
        if fault.decided and count:
            fault.reached("after it is taken over")
        return count

    async def delivered(self: Any, delivery: Any) -> None:
        fault.reached("when it is delivered", delivery.ids.get("action"))
        await deliver(self, delivery)
        fault.reached("before the delivery ends", delivery.ids.get("action"))

    async def sent(self: Any, *args: Any, action: str, **rest: Any) -> Any:
        fault.reached("before it is sent", action)
        outcome = await send(self, *args, action=action, **rest)
        fault.reached("after it is answered", action)
        return outcome

    DbosBackend.accept = accepted  # type: ignore[method-assign]
    Dispatcher.deliver = delivered  # type: ignore[method-assign]
    Connectors.send = sent  # type: ignore[method-assign]


def jump(seconds: float) -> None:
    """Let every clock that the journal reads step by so much against elapsed time, in this process."""
    from interlock.journal.clock import DatabaseClock

    wall, observe = time.time_ns, DatabaseClock.observe
    time.time_ns = lambda: wall() + int(seconds * 1e9)

    def observed(self: Any, at: int) -> None:
        observe(self, at + int(seconds * 1e6))

    DatabaseClock.observe = observed  # type: ignore[method-assign]


def path_of(order: dict[str, Any]) -> str:
    """What the action of a life calls."""
    return f"/{order['topic'].split('.')[1]}/{order['n']}"


def race(folder: Path, url: str | None, order: dict[str, Any]) -> None:
    """Try to claim each of some actions, or to answer each of some requests, and say which it got."""
    from interlock.gate import Answer, HumanDecision, ReasonCode
    from interlock.home import Home
    from interlock.model.actions import ExecutorKind
    from interlock.model.errors import InterlockError

    home = Home.open(folder, database=url)
    answer, won = order.get("answer"), []
    person = home.roster.named(order.get("person", "Ana"))
    print(json.dumps({"up": os.getpid()}), flush=True)
    time.sleep(max(0.0, order["at"] - time.time()))
    for target, shown in order["race"]:
        try:
            if answer is None:
                home.gate.claim(target, ExecutorKind.CALLER)
            else:
                code = ReasonCode.OTHER if answer == "reject" else None
                decision = HumanDecision(Answer(answer), shown, reason_code=code)
                home.gate.decide(target, person.caller, decision)
        except InterlockError:
            continue
        won.append(target)
    home.close()
    Path(order["told"]).write_text(json.dumps(won))


async def work(folder: Path, url: str | None, order: dict[str, Any]) -> None:
    """What a worker does: carry out what it finds, until it is told to end; with a point, live and die."""
    from sqlalchemy import or_, select

    from interlock.dispatch import Dispatcher
    from interlock.gate import Answer, HumanDecision
    from interlock.home import Home
    from interlock.home.work import Work
    from interlock.identity import Caller, KeyKind
    from interlock.journal.tables import actions
    from interlock.model.actions import Proposal
    from interlock.model.topics import TopicPattern

    fault = Fault(order.get("point", ""), signal.Signals[order.get("signal", "SIGKILL")])
    arm(fault)
    home = Home.open(folder, database=url)
    connectors = home.connectors()
    dispatcher = Dispatcher(home.gate, connectors, home.leases)
    working, stop = Work(home, dispatcher), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, jump, float(order.get("jump", 0)))
    running = [asyncio.create_task(working.run(stop)), asyncio.create_task(dispatcher.serve(stop))]
    while not working.standing:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)
    print(json.dumps({"up": os.getpid()}), flush=True)

    def busy() -> bool:
        """Whether anything that others left is still being carried out here."""
        mine = or_(actions.c.state == "approved", actions.c.holder == home.gate.holder)
        with home.journal.read() as connection:
            states = connection.execute(select(actions.c.state).where(mine)).scalars().all()
        return not {"approved", "executing"}.isdisjoint(states)

    def live() -> None:
        while busy():
            time.sleep(0.05)
        fault.armed = True
        agent = Caller(KeyKind.AGENT, agent="agent", topics=(TopicPattern.parse("**"),))
        proposed = home.gate.propose(Proposal(order["topic"], {"n": order["n"]}), agent).action
        assert proposed is not None
        acknowledge("proposed")
        if fault.point == ANSWERING:
            books = sqlite3.connect(order["books"], timeout=30)
            with books:
                books.execute("INSERT INTO deadly VALUES (?, ?)", (path_of(order), os.getpid()))
            books.close()
        request = home.views.action(proposed.id, agent)["approval"]
        person = home.roster.named("Ana")
        decision = HumanDecision(Answer.APPROVE, request["review_hash"])
        home.gate.decide(request["id"], person.caller, decision)
        acknowledge("approved")

    def acknowledge(what: str) -> None:
        """Write down, before anything else, that a caller was told."""
        file = os.open(order["acknowledged"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{what} {path_of(order)}\n".encode())
        os.fsync(file)
        os.close(file)

    if fault.point:
        await asyncio.to_thread(live)
    await stop.wait()
    await asyncio.gather(*running)
    await dispatcher.end(5.0)
    await connectors.aclose()
    home.close()


def parent(folder: Path, url: str | None) -> None:
    """Import everything once; fork a worker for each line, and say how each ended."""
    from interlock.engine.on_dbos import DbosBackend
    from interlock.home.work import Work

    assert DbosBackend
    assert Work
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                order = json.loads(line)
                if "race" in order:
                    race(folder, url, order)
                else:
                    asyncio.run(work(folder, url, order))
                code = 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(json.dumps({"pid": child}), flush=True)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("url", nargs="?")
    options = parser.parse_args()
    parent(options.folder, options.url)


if __name__ == "__main__":
    main()
