"""What holds for the backend on DBOS beyond the contract: durability, the turnstile, rows somebody forged."""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from interlock.engine import Delivery, Engine, Segment, enqueue, executors
from interlock.engine.on_dbos import DbosBackend
from interlock.engine.sqlite import open_engine
from interlock.journal import Journal, Vault
from interlock.journal.postgres import PostgresDatabase
from interlock.journal.turnstile import Turnstile
from interlock.model.errors import HomeUnusable
from postgres import Postgres, run


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Running:
    """An engine whose handler writes down what it is given."""

    def __init__(self, journal: Journal, url: str | None = None) -> None:
        self.journal = journal
        self.seen: list[Delivery] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.backend = DbosBackend(journal, url)
        self.engine = Engine(journal, self.backend)
        self.engine.handle(Segment("dispatch", self._see))
        self.engine.launch(self.loop)

    async def _see(self, delivery: Delivery) -> None:
        self.seen.append(delivery)

    def enqueue(self, action: str) -> str:
        return self.journal.commit(lambda tx: enqueue(tx, "dispatch", {"action": action}))

    def close(self) -> None:
        self.engine.drain(0)
        self.journal.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def engine(file: Path) -> Iterator[Running]:
    made = Running(Journal.open_sqlite(file, Vault(bytes(32), bytes(32))))
    yield made
    made.close()


def raw(file: Path, statement: str, *params: Any) -> list[Any]:
    connection = sqlite3.connect(file, timeout=30)
    try:
        with connection:
            return connection.execute(statement, params).fetchall()
    finally:
        connection.close()


def test_the_file_keeps_its_durability_and_holds_both(engine: Running, file: Path) -> None:
    assert raw(file, "PRAGMA journal_mode") == [("wal",)]
    with engine.backend._engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    tables = {name for (name,) in raw(file, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"head", "segments", "workflow_status"} <= tables
    assert sorted(path.name for path in file.parent.glob("*.sqlite*")) == []


def test_a_row_that_holds_a_pickle_runs_nothing(engine: Running, file: Path, tmp_path: Path) -> None:
    """Whoever can write the database must not be able to run code in a process that reads it."""
    mark = tmp_path / "pwned"

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {mark}",)

    first = engine.enqueue("act_1")
    eventually(lambda: engine.seen)
    eventually(lambda: raw(file, "SELECT 1 FROM workflow_status WHERE status = 'SUCCESS'"))
    forged = base64.b64encode(pickle.dumps({"args": (Attack(),), "kwargs": {}})).decode()
    key = f"{first}-1"
    raw(file, "UPDATE workflow_input SET inputs = ? WHERE workflow_uuid = ?", forged, key)
    raw(
        file,
        "UPDATE workflow_status SET serialization = 'py_pickle', status = 'ENQUEUED' WHERE workflow_uuid = ?",
        key,
    )
    eventually(lambda: raw(file, "SELECT 1 FROM workflow_status WHERE status = 'ERROR'"))
    assert not mark.exists()
    assert len(engine.seen) == 1
    engine.enqueue("act_2")
    eventually(lambda: len(engine.seen) == 2)


@pytest.mark.parametrize(
    ("id", "ids"),
    [
        ("seg_" + "0" * 32, "{"),
        ("seg_" + "0" * 32, '{"action": "ann@example.org"}'),
        ("seg_" + "0" * 32, '["act_1"]'),
        ("", '{"action": "act_1"}'),
        ("seg_1; DROP TABLE head", '{"action": "act_1"}'),
    ],
)
def test_a_forged_row_of_the_outbox_reaches_no_handler_and_holds_nobody_up(
    engine: Running, file: Path, id: str, ids: str
) -> None:
    raw(file, "INSERT INTO segments VALUES ('default', ?, 'dispatch', ?, 0)", id, ids)
    engine.enqueue("act_1")
    eventually(lambda: engine.seen)
    assert [delivery.ids["action"] for delivery in engine.seen] == ["act_1"]
    assert raw(file, "SELECT * FROM segments") == []


def test_forged_arguments_reach_no_handler(engine: Running, file: Path) -> None:
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    client = DBOSClient(
        system_database_engine=engine.backend._engine, serializer=DBOSPortableJSONSerializer()
    )
    for number, arguments in enumerate(
        [
            ("seg", "nothing", {"action": "act_1"}, 1),
            ("seg", "dispatch", {"action": "<script>"}, 1),
            ("seg", "dispatch", {"action": 7}, 1),
            ("seg", "dispatch", {"action": "act_1"}, "1"),
        ]
    ):
        options: Any = {
            "workflow_name": "interlock.segment",
            "queue_name": "interlock-default.dispatch",
            "workflow_id": f"forged-{number}",
            "app_version": "interlock-1",
        }
        client.enqueue(options, *arguments)
    eventually(lambda: len(raw(file, "SELECT 1 FROM workflow_status WHERE status = 'ERROR'")) == 4)
    assert engine.seen == []
    client.destroy()


def test_a_write_waits_at_the_turnstile_and_reading_does_not(engine: Running, file: Path) -> None:
    turnstile = Turnstile(file)
    with turnstile, engine.backend._engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM workflow_status")).scalar() == 0
        wrote = threading.Event()

        def write() -> None:
            with engine.backend._engine.begin() as other:
                other.execute(text("UPDATE workflow_status SET priority = 0"))
            wrote.set()

        thread = threading.Thread(target=write)
        thread.start()
        assert not wrote.wait(0.5)
    assert wrote.wait(10)
    thread.join()
    turnstile.close()


def test_a_failed_statement_and_a_lost_transaction_leave_the_turnstile(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    engine, turn = open_engine(path)
    turnstile = Turnstile(path)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
    assert turnstile.free()
    with pytest.raises(Exception, match="no such table"), engine.begin() as connection:
        connection.execute(text("INSERT INTO missing VALUES (1)"))
    assert turnstile.free()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        assert not turnstile.free()
        with pytest.raises(Exception, match="UNIQUE"):
            connection.execute(text("INSERT INTO t VALUES (1)"))
        connection.rollback()
        assert turnstile.free()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (2)"))
        connection.rollback()
    assert turnstile.free()
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO t VALUES (3)"))
    assert turnstile.free()  # a connection that goes back without a commit takes nothing along
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0
    engine.dispose()
    turn.close()
    turnstile.close()


def test_threads_write_through_one_turnstile_without_losing_a_row(tmp_path: Path) -> None:
    engine, turn = open_engine(tmp_path / "some.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))

    def write() -> None:
        for number in range(30):
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": number})

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 180
    engine.dispose()
    turn.close()


def test_a_server_that_ends_every_session_loses_no_segment(postgres: Postgres) -> None:
    url = postgres.database(0)
    run(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    engine = Running(Journal(PostgresDatabase(url), Vault(bytes(32), bytes(32))), url)
    try:
        wanted = []
        for number in range(6):
            wanted.append(f"act_{number}")
            engine.enqueue(wanted[-1])
            assert postgres.sessions(url, "interlock-engine")
            for pid in postgres.sessions(url, "interlock-engine"):
                postgres.run("SELECT pg_terminate_backend(%s, 5000)", pid)
            time.sleep(0.3)
        eventually(lambda: {delivery.ids["action"] for delivery in engine.seen} == set(wanted))
    finally:
        engine.close()


def test_what_was_begun_and_never_arrived_is_delivered_again(
    engine: Running, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the database goes away between a dequeue and the look at what was dequeued."""
    monkeypatch.setattr("interlock.engine.engine.STRAY_US", 1_500_000)
    engine.enqueue("act_1")
    eventually(lambda: raw(file, "SELECT 1 FROM workflow_status WHERE status = 'SUCCESS'"))
    raw(file, "UPDATE workflow_status SET status = 'PENDING', owner_xid = 'gone'")
    eventually(lambda: len(engine.seen) == 2)
    eventually(lambda: raw(file, "SELECT 1 FROM workflow_status WHERE status = 'SUCCESS'"))


def test_one_process_serves_one_home_at_a_time(engine: Running) -> None:
    second = Engine(engine.journal, DbosBackend(engine.journal))
    with pytest.raises(HomeUnusable):
        second.launch(engine.loop)
    second.drain(0)  # of what never ran there is nothing to end
    assert len(engine.journal.look(executors.everybody)[0]) == 1
    engine.enqueue("act_1")
    eventually(lambda: engine.seen)


def test_a_server_needs_its_url(postgres: Postgres) -> None:
    journal = Journal(PostgresDatabase(postgres.database(0)), Vault(bytes(32), bytes(32)))
    try:
        with pytest.raises(HomeUnusable):
            DbosBackend(journal)
    finally:
        journal.close()


def test_what_ended_well_is_forgotten_after_a_while(
    engine: Running, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.enqueue("act_1")
    eventually(lambda: raw(file, "SELECT 1 FROM workflow_status WHERE status = 'SUCCESS'"))
    assert engine.backend.forget() == 0
    monkeypatch.setattr("interlock.engine.on_dbos.KEEP_SEC", -1.0)
    assert engine.backend.forget() == 1
    assert raw(file, "SELECT * FROM workflow_status") == raw(file, "SELECT * FROM workflow_input") == []


def test_conflicts_with_other_workers_put_nothing_off(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DBOS doubles its pause after each, so that two dozen of them would be many minutes."""
    from dbos._sys_db import SystemDatabase
    from psycopg.errors import SerializationFailure
    from sqlalchemy.exc import OperationalError

    url = postgres.database(0)
    run(url, "DROP SCHEMA IF EXISTS dbos CASCADE")
    real, conflicts = SystemDatabase.start_queued_workflows, list(range(24))

    def contended(*args: Any, **kwargs: Any) -> Any:
        if conflicts:
            conflicts.pop()
            raise OperationalError("SELECT", {}, SerializationFailure("could not serialize access"))
        return real(*args, **kwargs)

    monkeypatch.setattr(SystemDatabase, "start_queued_workflows", contended)
    engine = Running(Journal(PostgresDatabase(url), Vault(bytes(32), bytes(32))), url)
    try:
        engine.enqueue("act_0")
        eventually(lambda: engine.seen)
        assert conflicts == []
    finally:
        engine.close()


@pytest.mark.parametrize(
    "ids",
    [
        "'" + "[" * 100_000 + "'",
        "'{\"action\": ' || CAST(x'22ff22' AS TEXT) || '}'",
        "7",
        "x'00'",
        "'{\"action\": [1]}'",
        "'null'",
    ],
    ids=["nested", "no UTF-8", "number", "bytes", "no id", "null"],
)
def test_a_row_of_the_outbox_that_cannot_be_read_is_dropped_and_the_others_are_delivered(
    engine: Running, file: Path, ids: str
) -> None:
    raw(
        file,
        "INSERT INTO segments (namespace, id, segment, ids, enqueued_at)"
        f" VALUES ('default', 'seg_{'0' * 32}', 'dispatch', {ids}, 0),"
        " ('default', x'ff', 'dispatch', '{}', 0)",
    )
    engine.enqueue("act_1")
    eventually(lambda: engine.seen)
    assert [delivery.ids for delivery in engine.seen] == [{"action": "act_1"}]
    eventually(lambda: raw(file, "SELECT count(*) FROM segments") == [(0,)])


def test_an_idle_engine_seldom_asks_its_database_and_begins_all_the_same_what_comes(engine: Running) -> None:
    engine.enqueue("act_first")
    eventually(lambda: engine.seen)
    time.sleep(1.5)  # longer than it stays awake after that
    asked: list[str] = []
    event.listen(
        engine.backend._engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: asked.append(statement),
    )
    time.sleep(4.0)
    looks = [one for one in asked if "workflow_status" in one and "queue_name" in one]
    assert len(looks) <= 40  # by the clock they would be several times as many
    assert not [one for one in asked if "FROM queues" in one and "WHERE queues.name" in one]
    engine.enqueue("act_second")
    eventually(lambda: len(engine.seen) == 2)
