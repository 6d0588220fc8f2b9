"""The same job under LangGraph's `interrupt` and under a guarded function: pause, resume, and 50 at once.

1. The job is one function that pauses for a person and then pays once. Under LangGraph it is a node that
   calls `interrupt`, under SqliteSaver or PostgresSaver with their defaults; `invoke` pauses it, and
   `Command(resume=…)` resumes it. Under Interlock it is a guarded function: its call raises `Held`, a person
   approves, and `Gate.resume` runs it. Both stand on the same kind of database in the same run, in turns.
2. `pause_ms` runs from the call until it has returned to its caller; `resume_ms` from the answer until the
   job has returned. Ours contains the person's decision, under the hash of what was shown, with its entry in
   the ledger. LangGraph's contains no person: whoever resumes says what was answered.
3. `at_once`: 50 threads, each with a graph and a connection of its own, resume the same thread of the graph
   at the same moment, and as many resume the same approval. Counted is how often the job's payment ran, which
   takes `PAYING_SEC`. It should be 1.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from benchmarks.execution_desk import POLICY, percentiles
from interlock import Gate, Held
from interlock.gate import Answer, HumanDecision
from interlock.home import Home
from interlock.identity import KeyKind
from interlock.model.errors import InterlockError

AT_ONCE = 50
RACES = 5
PAYING_SEC = 0.01
TOPIC = "bench.refunds.create"
NEEDS = "langgraph, langgraph-checkpoint-sqlite, langgraph-checkpoint-postgres: uv run --group bench"
Resume = Callable[[], object]


class Payments:
    """Counts what was paid."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.paid: list[str] = []
        self.takes_sec = 0.0

    def pay(self, order: str) -> None:
        with self._lock:
            self.paid.append(order)
        time.sleep(self.takes_sec)


class Ours:
    """The job as a guarded function."""

    def __init__(self, folder: Path, database: str | None, payments: Payments) -> None:
        policy = folder / "policy.yaml"
        policy.write_text(POLICY % "http://127.0.0.1:9/", encoding="utf-8")
        self._gate = Gate.open(policy, home=folder / "home", database=database)
        self._desk = Home.open(folder / "home", database=database)
        person = self._desk.roster.first("Ana", by="benchmark")
        _, token = self._desk.keyring.add(KeyKind.PERSON, "ana", person=person, by="benchmark")
        self._person = self._desk.keyring.authenticate(token)

        @self._gate.guard(TOPIC)
        def refund(order_id: str, amount_usd: Decimal, recipient: str) -> None:
            del amount_usd, recipient
            payments.pay(order_id)

        self._refund = refund

    def pause(self, order: str) -> str:
        try:
            self._refund(order, Decimal("1400"), "acme")
        except Held as held:
            return held.action_id
        raise SystemExit("the refund was not held")

    def resume(self, action: str) -> None:
        self.answer(action)
        self._gate.resume(action)

    def answer(self, action: str) -> None:
        gate, views = self._desk.gate, self._desk.views
        approval = views.approval_about(action)
        shown = views.approval(approval, self._person, gate.policy)["review_hash"]
        gate.decide(approval, self._person, HumanDecision(Answer.APPROVE, shown))

    @contextmanager
    def resumers(self, action: str) -> Iterator[list[Resume]]:
        self.answer(action)
        yield [lambda: self._gate.resume(action)] * AT_ONCE

    def close(self) -> None:
        self._desk.close()
        self._gate.close()


class State(TypedDict):
    order: str


class Theirs:
    """The job as a graph of one node."""

    def __init__(self, saver: Callable[[], Any], payments: Payments) -> None:
        self._saver, self._payments = saver, payments
        self._stack = ExitStack()
        checkpointer = self._stack.enter_context(saver())
        checkpointer.setup()
        self._graph = self._compiled(checkpointer)

    def _compiled(self, checkpointer: Any) -> Any:
        from langgraph.graph import END, START, StateGraph
        from langgraph.types import interrupt

        def refund(state: State) -> State:
            interrupt({"refund": state["order"], "amount_usd": "1400.00", "recipient": "acme"})
            self._payments.pay(state["order"])
            return state

        graph = StateGraph(State)
        graph.add_node("refund", refund)
        graph.add_edge(START, "refund")
        graph.add_edge("refund", END)
        return graph.compile(checkpointer=checkpointer)

    def pause(self, order: str) -> str:
        found = self._graph.invoke({"order": order}, _thread(order))
        if "__interrupt__" not in found:
            raise SystemExit("the graph did not pause")
        return order

    def resume(self, order: str) -> None:
        _resumed(self._graph, order)

    @contextmanager
    def resumers(self, order: str) -> Iterator[list[Resume]]:
        with ExitStack() as stack:
            graphs = [self._compiled(stack.enter_context(self._saver())) for _ in range(AT_ONCE)]
            yield [lambda graph=graph: _resumed(graph, order) for graph in graphs]  # type: ignore[misc]

    def close(self) -> None:
        self._stack.close()


def _thread(order: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": order}}


def _resumed(graph: Any, order: str) -> None:
    from langgraph.types import Command

    graph.invoke(Command(resume=True), _thread(order))


def measure(database: str, url: str | None, rounds: int) -> dict[str, Any]:
    from benchmarks.postgres import server

    try:
        from langgraph.checkpoint.postgres import PostgresSaver
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ImportError:
        return {"not measured": f"needs {NEEDS}"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-bench-")))
        place = None if database == "sqlite" else stack.enter_context(server(url))
        beside = None if place is None else _schema_of_its_own(place)

        def saver() -> Any:
            if beside is None:
                return SqliteSaver.from_conn_string(str(folder / "graph.db"))
            return PostgresSaver.from_conn_string(beside)

        payments = {"interlock": Payments(), "langgraph": Payments()}
        sides: dict[str, Ours | Theirs] = {"interlock": Ours(folder, place, payments["interlock"])}
        stack.callback(sides["interlock"].close)
        sides["langgraph"] = Theirs(saver, payments["langgraph"])
        stack.callback(sides["langgraph"].close)
        times = _in_turns(sides, rounds)
        races = {name: _races(side, payments[name]) for name, side in sides.items()}
        return {
            "langgraph": version("langgraph"),
            **{name: {**times[name], "at_once": races[name]} for name in sides},
            "wanted": {"payments of one approval under 50 resumes": 1},
            "met": races["interlock"]["most"] == 1 and races["interlock"]["fewest"] == 1,
        }


def _schema_of_its_own(place: str) -> str:
    """The same database, where tables of the other side have the same names."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    with psycopg.connect(place, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA langgraph")
    return make_conninfo(place, options="-csearch_path=langgraph")


def _in_turns(sides: dict[str, Ours | Theirs], rounds: int) -> dict[str, dict[str, Any]]:
    waits: dict[str, dict[str, list[float]]] = {n: {"pause": [], "resume": [], "both": []} for n in sides}
    for number in range(-5, rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            paused = side.pause(f"{name}-{number}")
            between = time.perf_counter()
            side.resume(paused)
            ended = time.perf_counter()
            if number >= 0:
                waits[name]["pause"].append(between - began)
                waits[name]["resume"].append(ended - between)
                waits[name]["both"].append(ended - began)
    return {name: {part: percentiles(found) for part, found in each.items()} for name, each in waits.items()}


def _races(side: Ours | Theirs, payments: Payments) -> dict[str, Any]:
    """Rule 3: the fewest, median and most payments of one approval over some races, and what was raised."""
    payments.takes_sec = PAYING_SEC
    counts, raised = [], 0
    for number in range(RACES):
        order = f"race-{number}"
        paused = side.pause(order)
        with side.resumers(paused) as resumers:
            raised += _all_at_once(resumers)
        counts.append(payments.paid.count(order))
    counts.sort()
    return {
        "resumes": AT_ONCE,
        "fewest": counts[0],
        "median": counts[len(counts) // 2],
        "most": counts[-1],
        "refused_or_failed": raised,
    }


def _all_at_once(resumers: list[Resume]) -> int:
    """How many of them raised."""
    barrier, raised = threading.Barrier(len(resumers)), []

    def run(resume: Resume) -> None:
        barrier.wait()
        try:
            resume()
        except (InterlockError, sqlite3.Error, RuntimeError) as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(resume,)) for resume in resumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(raised)
