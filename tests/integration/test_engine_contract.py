"""The contract of whatever carries segments, in one process. Nothing here knows DBOS: another backend joins
`BACKENDS`, and every test runs against it.

The one in memory below survives no crash and is for nothing else than this: that the suite can be passed by a
backend that shares no code with the real one, so that what it asks for is the port and not DBOS.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pytest
from sqlalchemy import bindparam, delete, func, select, text

from interlock.engine import (
    Backend,
    Begun,
    Carried,
    Delivery,
    Engine,
    Retry,
    Segment,
    Share,
    Spent,
    enqueue,
    executors,
    redelivered,
)
from interlock.engine.on_dbos import DbosBackend
from interlock.engine.port import Delivering, Ids
from interlock.journal import Journal, Prepared, Tx, Vault, tables
from interlock.journal.postgres import PostgresDatabase
from interlock.model.errors import Conflict, HomeUnusable, RecoveryRequired
from postgres import Postgres, run


class Kept:
    """A segment's attempt in memory."""

    def __init__(self, id: str, segment: str, ids: Ids, attempt: int, due: float) -> None:
        self.id, self.segment, self.ids, self.attempt, self.due = id, segment, ids, attempt, due
        self.state = "queued"
        self.executor = ""
        self.turn = 0
        """Which of its deliveries counts: what an earlier one ends with is not recorded."""


class InMemory:
    """A backend whose segments live as long as the journal that they were accepted from."""

    kept: ClassVar[WeakKeyDictionary[Journal, dict[str, Kept]]] = WeakKeyDictionary()

    def __init__(self, journal: Journal, url: str | None) -> None:
        self._journal = journal
        self._segments = self.kept.setdefault(journal, {})
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def start(self, executor: str, segments: Collection[Segment], deliver: Delivering) -> None:
        self._over.clear()
        work = self._run(executor, {kind.name: kind for kind in segments}, deliver)
        self._thread = threading.Thread(target=asyncio.run, args=(work,))
        self._thread.start()

    async def _run(self, executor: str, kinds: dict[str, Segment], deliver: Delivering) -> None:
        running: dict[asyncio.Task[None], tuple[str, str]] = {}
        while not self._over.is_set():
            for key, one in list(self._segments.items()):
                kind = kinds.get(one.segment)
                if kind is None:
                    continue
                towards = "" if kind.share is None else kind.share.towards(one.ids)
                room = [name for name, _ in running.values()].count(kind.name) < kind.parallel
                if kind.share is not None:
                    room &= list(running.values()).count((kind.name, towards)) < kind.share.most
                if one.state == "queued" and one.due <= time.monotonic() and room:
                    one.state, one.executor, one.turn = "begun", executor, one.turn + 1
                    task = asyncio.create_task(self._one(key, one, one.turn, deliver))
                    running[task] = (kind.name, towards)
                    task.add_done_callback(running.pop)
            await asyncio.sleep(0.01)
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _one(self, key: str, one: Kept, turn: int, deliver: Delivering) -> None:
        state = "ended"
        try:
            await deliver(key, one.id, one.segment, one.ids, one.attempt)
        except Exception:  # noqa: BLE001 (rule 2 of the port)
            state = "given up"
        if (one.state, one.turn) == ("begun", turn):
            one.state = state

    def accept(self, segments: Collection[Segment], limit: int) -> int:
        t = tables.segments
        wanted = [kind.name for kind in segments]
        found = Prepared(select(t.c.id, t.c.segment, t.c.ids).order_by(t.c.id))
        gone = Prepared(delete(t).where(t.c.id == bindparam("id_")))

        def take(tx: Tx) -> list[Any]:
            rows = [row for row in tx.all(found) if row[1] in wanted][:limit]
            for row in rows:
                tx.write(gone, id_=row[0])
            return rows

        rows: list[Any] = self._journal.look(lambda tx: tx.all(found))
        if not rows:
            return 0
        rows = self._journal.commit(take)
        for id, segment, ids in rows:
            self.again(id, segment, json.loads(ids), 1, 0)
        return len(rows)

    def again(self, id: str, segment: str, ids: Ids, attempt: int, rest_sec: float) -> None:
        kept = Kept(id, segment, ids, attempt, time.monotonic() + rest_sec)
        self._segments.setdefault(f"{id}/{attempt}", kept)

    def begun(self, executor: str | None = None) -> list[Begun]:
        return [
            Begun(key, one.segment, one.executor)
            for key, one in list(self._segments.items())
            if one.state == "begun" and executor in (None, one.executor)
        ]

    def resume(self, begun: Collection[Begun]) -> None:
        for one in begun:
            if self._segments[one.key].state == "begun":
                self._segments[one.key].state = "queued"

    def carried(self, begun: Begun) -> Carried | None:
        one = self._segments[begun.key]
        return Carried(one.id, one.ids, one.attempt)

    def give_up(self, begun: Collection[Begun]) -> None:
        for one in begun:
            self._segments[one.key].state = "given up"

    def forget(self) -> int:
        return 0

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        return


BACKENDS: dict[str, Callable[[Journal, str | None], Backend]] = {"dbos": DbosBackend, "memory": InMemory}
PLACES = [("dbos", "sqlite"), ("dbos", "postgres"), ("memory", "sqlite")]
SOON = Retry(attempts=3, first_sec=0.05, factor=1.0)
WAIT_SEC = 30.0


def eventually(done: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, what or "it did not happen"
        time.sleep(0.02)


class Bench:
    """A journal, engines on it, and the loop that runs their handlers."""

    def __init__(self, place: Path | str, make: Callable[[Journal, str | None], Backend]) -> None:
        self.place = place
        self.url = place if isinstance(place, str) else None
        self._make = make
        self.journal = self.opened()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.engines: list[Engine] = []
        self.seen: list[Delivery] = []

    def opened(self) -> Journal:
        keys = Vault(bytes(32), bytes(32))
        if isinstance(self.place, str):
            return Journal(PostgresDatabase(self.place), keys)
        return Journal.open_sqlite(self.place, keys)

    def engine(self, *segments: Segment, launched: bool = True) -> Engine:
        engine = Engine(self.journal, self._make(self.journal, self.url))
        for segment in segments:
            engine.handle(segment)
        if launched:
            self.engines.append(engine)
            engine.launch(self.loop)
        return engine

    async def see(self, delivery: Delivery) -> None:
        self.seen.append(delivery)

    def enqueue(self, action: str = "act_1", segment: str = "dispatch") -> str:
        return self.journal.commit(lambda tx: enqueue(tx, segment, {"action": action}))

    def waiting(self) -> int:
        with self.journal.read() as connection:
            found: int = connection.execute(select(func.count()).select_from(tables.segments)).scalar_one()
            return found

    def everything(self) -> str:
        """All rows of all tables, as text."""
        if self.url is not None:
            names = run(
                self.url,
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
            )
            return str([run(self.url, f"SELECT t::text FROM {name} t") for (name,) in names])
        with self.journal.read() as connection:
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).all()
            return str([connection.execute(text(f'SELECT * FROM "{name}"')).all() for (name,) in names])

    def close(self) -> None:
        for engine in self.engines:
            engine.drain(0)
        self.journal.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(params=PLACES, ids="-".join)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    backend, database = request.param
    place: Path | str = tmp_path / "journal.db"
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        place = server.database(0)
        run(place, "DROP SCHEMA IF EXISTS dbos CASCADE")
    made = Bench(place, BACKENDS[backend])
    yield made
    made.close()


def test_what_was_committed_is_delivered_with_its_ids_and_what_was_not_is_not(bench: Bench) -> None:
    before = bench.enqueue("act_before")  # nobody serves yet
    bench.engine(Segment("dispatch", bench.see))

    def refused(tx: Tx) -> None:
        enqueue(tx, "dispatch", {"action": "act_refused"})
        raise Conflict("no")

    with pytest.raises(Conflict):
        bench.journal.commit(refused)
    after = bench.enqueue("act_after")
    eventually(lambda: len(bench.seen) >= 2)
    time.sleep(0.5)
    assert sorted((d.id, d.ids["action"], d.attempt) for d in bench.seen) == sorted(
        [(before, "act_before", 1), (after, "act_after", 1)]
    )
    assert bench.waiting() == 0


def test_many_committed_at_once_are_each_delivered(bench: Bench) -> None:
    bench.engine(Segment("dispatch", bench.see, parallel=4))

    def many(tx: Tx) -> list[str]:
        return [enqueue(tx, "dispatch", {"action": f"act_{number}"}) for number in range(120)]

    ids = bench.journal.commit(many)
    eventually(lambda: len(bench.seen) >= 120)
    assert sorted(d.id for d in bench.seen) == sorted(ids)


def test_a_failing_segment_is_tried_again_and_given_up_after_the_last(bench: Bench) -> None:
    async def fail(delivery: Delivery) -> None:
        await bench.see(delivery)
        raise ValueError("ann@example.org has a secret")

    bench.engine(Segment("dispatch", fail, SOON))
    bench.enqueue()
    eventually(lambda: len(bench.seen) == 3)
    time.sleep(1.5)
    assert [(d.attempt, d.last) for d in bench.seen] == [(1, False), (2, False), (3, True)]
    assert "ann@example.org" not in bench.everything()


def test_what_is_given_up_is_told_until_that_is_recorded(bench: Bench) -> None:
    told: list[tuple[str, Delivery, str]] = []

    async def fail(delivery: Delivery) -> None:
        raise ValueError("ann@example.org has a secret")

    def given_up(delivery: Delivery, why: str) -> None:
        told.append((delivery.id, delivery, why))
        if len(told) < 3:
            raise OSError("the database is away")

    bench.engine(Segment("dispatch", fail, SOON, given_up=given_up))
    id = bench.enqueue()
    eventually(lambda: len(told) == 3)
    time.sleep(1.5)
    assert [(one, why) for one, _, why in told] == [(id, "ValueError")] * 3
    about = {(one.ids["action"], one.attempt, one.last) for _, one, _ in told}
    assert about == {("act_1", SOON.attempts, True)}


def test_of_what_goes_towards_one_a_share_is_begun_and_the_rest_passes_by(bench: Bench) -> None:
    running, most = dict[str, int](), dict[str, int]()
    answering = threading.Event()

    async def call(delivery: Delivery) -> None:
        towards = delivery.ids["action"].split(".")[0]
        running[towards] = running.get(towards, 0) + 1
        most[towards] = max(most.get(towards, 0), running[towards])
        while towards == "hangs" and not answering.is_set():  # noqa: ASYNC110 (a test of several threads)
            await asyncio.sleep(0.02)
        running[towards] -= 1
        await bench.see(delivery)

    share = Share(2, lambda ids: ids["action"].split(".")[0])
    bench.engine(Segment("dispatch", call, parallel=3, share=share))
    for number in range(8):
        bench.enqueue(f"hangs.{number}")
    eventually(lambda: running.get("hangs") == 2)
    for number in range(8):
        bench.enqueue(f"well.{number}")
    eventually(lambda: len(bench.seen) == 8)
    assert {d.ids["action"].split(".")[0] for d in bench.seen} == {"well"}
    assert running["hangs"] == most["hangs"] == 2
    answering.set()
    eventually(lambda: len(bench.seen) == 16)
    assert most["hangs"] == 2


def test_an_attempt_that_takes_too_long_is_cancelled_and_the_next_one_may_succeed(bench: Bench) -> None:
    cancelled = []

    async def slow(delivery: Delivery) -> None:
        await bench.see(delivery)
        if delivery.attempt == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(delivery.attempt)
                raise

    bench.engine(Segment("dispatch", slow, SOON, timeout_sec=0.2))
    bench.enqueue()
    eventually(lambda: len(bench.seen) == 2 and cancelled == [1])


def test_a_handler_that_cancels_itself_has_failed_its_attempt(bench: Bench) -> None:
    async def give_in(delivery: Delivery) -> None:
        await bench.see(delivery)
        if not delivery.last:
            raise asyncio.CancelledError

    bench.engine(Segment("dispatch", give_in, SOON))
    bench.enqueue()
    eventually(lambda: [d.attempt for d in bench.seen] == [1, 2, 3])


def test_a_kind_without_a_handler_waits_for_a_process_that_has_one(bench: Bench) -> None:
    first = bench.engine(Segment("dispatch", bench.see))
    bench.enqueue("act_1", "notify")
    bench.enqueue("act_2")
    eventually(lambda: len(bench.seen) == 1)
    assert bench.waiting() == 1
    first.drain(1)
    bench.engine(Segment("notify", bench.see))
    eventually(lambda: [d.segment for d in bench.seen] == ["dispatch", "notify"])


def test_draining_lets_what_runs_end_and_begins_nothing_more(bench: Bench) -> None:
    ended = []

    async def work(delivery: Delivery) -> None:
        await bench.see(delivery)
        await asyncio.sleep(0.8)
        ended.append(delivery.id)

    engine = bench.engine(Segment("dispatch", work, parallel=1))
    first = bench.enqueue()
    eventually(lambda: bench.seen)
    bench.enqueue("act_2")
    engine.drain(10)
    assert ended == [first] == [d.id for d in bench.seen]
    assert not engine.standing
    engine.drain(10)
    assert bench.journal.look(executors.everybody)[0] == {}
    bench.engine(Segment("dispatch", bench.see))
    eventually(lambda: len(bench.seen) == 2)
    time.sleep(0.5)
    assert len(bench.seen) == 2  # what had ended is not delivered again


def test_what_does_not_end_in_time_is_cancelled_and_handed_on_at_once(bench: Bench) -> None:
    async def hang(delivery: Delivery) -> None:
        await bench.see(delivery)
        await asyncio.sleep(60)

    engine = bench.engine(Segment("dispatch", hang))
    id = bench.enqueue()
    eventually(lambda: bench.seen)
    engine.drain(0.1)
    bench.engine(Segment("dispatch", bench.see))
    eventually(lambda: [(d.id, d.attempt) for d in bench.seen] == [(id, 1), (id, 1)])


def test_what_kills_its_process_again_and_again_is_given_up_and_nothing_else_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivered, "MOST", 2)

    async def hang(delivery: Delivery) -> None:
        await bench.see(delivery)
        if delivery.ids["action"] == "act_kills":
            await asyncio.sleep(60)

    told: list[tuple[str, str]] = []
    killer = bench.enqueue("act_kills")
    for dead in range(2):
        engine = bench.engine(Segment("dispatch", hang))
        eventually(lambda dead=dead: len(bench.seen) == 2 * dead + 1)
        bench.enqueue("act_fine")
        eventually(lambda dead=dead: len(bench.seen) == 2 * dead + 2)
        eventually(lambda engine=engine: len(engine._backend.begun()) == 1)
        die(engine)

    def given_up(delivery: Delivery, _: str) -> None:
        told.append((delivery.id, delivery.ids["action"]))

    bench.engine(Segment("dispatch", bench.see, given_up=given_up))
    bench.enqueue("act_fine")
    eventually(lambda: len(bench.seen) == 5)
    eventually(lambda: list(bench.journal.look(executors.everybody)[0].values())[1:] == [])
    time.sleep(1)
    seen = [d.ids["action"] for d in bench.seen]
    assert seen == ["act_kills", "act_fine", "act_kills", "act_fine", "act_fine"]
    assert told == [(killer, "act_kills")]


def die(engine: Engine) -> None:
    """Leave an engine as a process that was killed leaves it: its lease stands, and nobody hands on."""
    engine._leaving = True
    engine._end_threads()
    engine._backend.stop()
    engine._backend.close()


def test_while_the_journal_is_stopped_the_lease_lapses_and_nothing_is_begun(bench: Bench) -> None:
    engine = bench.engine(Segment("dispatch", bench.see))
    other = bench.opened()
    try:
        other.halt(RecoveryRequired("The ledger is behind."))
        eventually(lambda: not engine.standing)
        # The backend has work all the same, as it may have accepted it a moment before.
        engine._backend.again("seg_" + "0" * 32, "dispatch", {"action": "act_1"}, 1, 0)
        time.sleep(2)
        assert bench.seen == []
    finally:
        other.close()


def test_a_process_taken_for_dead_joins_anew_and_its_old_deliveries_are_fenced(bench: Bench) -> None:
    cancelled = threading.Event()

    async def work(delivery: Delivery) -> None:
        await bench.see(delivery)
        if len(bench.seen) == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    bench.engine(Segment("dispatch", work))
    bench.enqueue()
    eventually(lambda: bench.seen)
    (mine,) = bench.journal.look(executors.everybody)[0].values()
    assert bench.journal.commit(lambda tx: executors.take(tx, mine.id, "exe_other", mine, dead=True)) == 2
    eventually(lambda: len(bench.seen) == 2 and cancelled.is_set())
    first, second = bench.seen
    assert (first.id, first.attempt) == (second.id, second.attempt)
    assert first.executor == mine.id != second.executor
    with pytest.raises(Spent):
        bench.journal.commit(first.fence)
    bench.journal.commit(second.fence)


def test_a_process_that_cannot_start_again_is_not_ready_until_it_could(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench.engine(Segment("dispatch", bench.see))
    start, ready = engine._backend.start, []

    def failing(*arguments: Any) -> None:
        ready.append(engine.standing)
        if len(ready) == 1:
            raise HomeUnusable("the database went away")
        start(*arguments)

    monkeypatch.setattr(engine._backend, "start", failing)
    (mine,) = bench.journal.look(executors.everybody)[0].values()
    bench.journal.commit(lambda tx: executors.take(tx, mine.id, "exe_other", mine, dead=True))
    eventually(lambda: len(ready) == 2 and engine.standing)
    assert ready == [False, False]
    bench.enqueue()
    eventually(lambda: bench.seen)


def test_what_was_begun_under_an_id_without_a_lease_is_reaped(bench: Bench) -> None:
    async def work(delivery: Delivery) -> None:
        await bench.see(delivery)
        if len(bench.seen) == 1:
            await asyncio.sleep(60)

    engine = bench.engine(Segment("dispatch", work))
    bench.enqueue()
    eventually(lambda: bench.seen)
    # As a process that died without a trace: neither a lease nor anybody who hands its work on.
    engine._end_threads()
    engine._backend.stop()
    (mine,) = bench.journal.look(executors.everybody)[0].values()
    bench.journal.commit(lambda tx: executors.drop(tx, mine.id, mine.id, 1))
    bench.engines.remove(engine)
    bench.engine(Segment("dispatch", work))
    eventually(lambda: len(bench.seen) == 2)
    eventually(lambda: len(bench.journal.look(executors.everybody)[0]) == 1)
    engine._backend.close()


def test_a_delivery_that_finds_its_fence_spent_is_neither_ended_nor_a_failed_attempt(bench: Bench) -> None:
    async def work(delivery: Delivery) -> None:
        await bench.see(delivery)
        if len(bench.seen) == 1:
            await asyncio.to_thread(take, delivery.executor)
        await asyncio.to_thread(bench.journal.commit, delivery.fence)

    def take(id: str) -> None:
        row = bench.journal.look(executors.everybody)[0][id]
        bench.journal.commit(lambda tx: executors.take(tx, id, "exe_other", row, dead=True))

    bench.engine(Segment("dispatch", work, Retry(first_sec=0.05)))
    bench.enqueue()
    eventually(lambda: len(bench.seen) == 2)
    time.sleep(2)
    assert [delivery.attempt for delivery in bench.seen] == [1, 1]


def test_a_segment_that_runs_twice_at_once_takes_effect_once(bench: Bench) -> None:
    effects, gate = [], asyncio.Event()

    async def work(delivery: Delivery) -> None:
        await bench.see(delivery)
        await gate.wait()
        if delivery.id not in effects:  # the claim's part
            effects.append(delivery.id)

    engine = bench.engine(Segment("dispatch", work))
    ids = [bench.enqueue(f"act_{number}") for number in range(5)]
    eventually(lambda: len(bench.seen) == 5)
    engine._backend.resume(engine._backend.begun())  # every one of them once more, while it runs
    eventually(lambda: len(bench.seen) == 10)
    bench.loop.call_soon_threadsafe(gate.set)
    eventually(lambda: engine._backend.begun() == [])
    assert sorted(effects) == sorted(ids)


def test_handlers_are_registered_before_the_launch_and_once(bench: Bench) -> None:
    engine = bench.engine(Segment("dispatch", bench.see), launched=False)
    with pytest.raises(Conflict):
        engine.handle(Segment("dispatch", bench.see))
    bench.engines.append(engine)
    engine.launch(bench.loop)
    with pytest.raises(Conflict):
        engine.handle(Segment("notify", bench.see))
    with pytest.raises(Conflict):
        engine.launch(bench.loop)
