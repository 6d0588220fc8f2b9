"""Segments and real processes: killed, stopped, woken, duplicated; counted in the books of a third party.

The books are a database of their own, as a service downstream keeps them: every begin and end is written
down, and an effect is taken once for each segment, as a claim makes it. ``INTERLOCK_LONG=1`` kills for two
minutes.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from house import BOTH
from interlock.engine import enqueue, executors
from interlock.journal import Journal, Vault
from interlock.journal.postgres import PostgresDatabase
from postgres import Postgres, run

DATABASES = BOTH
LONG = bool(os.environ.get("INTERLOCK_LONG"))
KILLING_SEC = 120 if LONG else 8
WAIT_SEC = 60.0

PROCESS = """
import asyncio, logging, os, signal, sqlite3, sys, threading
from pathlib import Path

from interlock.engine import Engine, Retry, Segment, Spent, enqueue
from interlock.engine.on_dbos import DbosBackend
from interlock.journal import Journal, Vault
from interlock.journal.postgres import PostgresDatabase

role, place, folder, book = sys.argv[1:5]
work_sec = float(sys.argv[5])
url = place if "=" in place else None
keys = Vault(bytes(32), bytes(32))
journal = Journal(PostgresDatabase(place), keys) if url else Journal.open_sqlite(Path(place), keys)


def write(what, segment):
    with sqlite3.connect(book, timeout=30) as books:
        books.execute("INSERT INTO happened VALUES (?, ?, ?)", (what, segment, os.getpid()))
    books.close()


def claim(segment):
    with sqlite3.connect(book, timeout=30) as books:
        books.execute("INSERT OR IGNORE INTO effects VALUES (?, 0)", (segment,))
        books.execute("UPDATE effects SET times = times + 1 WHERE segment = ? AND times = 0", (segment,))
    books.close()


if role == "enqueue":
    def die(tx):
        enqueue(tx, "dispatch", {"action": "act_lost"})
        if work_sec:
            os.kill(os.getpid(), signal.SIGKILL)

    journal.commit(die)
    os.kill(os.getpid(), signal.SIGKILL)


async def handler(delivery):
    write("begun", delivery.id)
    await asyncio.sleep(work_sec)

    def settle():
        journal.commit(delivery.fence)
        claim(delivery.id)
        write("ended", delivery.id)

    try:
        await asyncio.to_thread(settle)
    except Spent:
        write("spent", delivery.id)
        raise


async def main():
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    engine = Engine(journal, DbosBackend(journal, url), folder=Path(folder) if folder else None)
    engine.handle(Segment("dispatch", handler, Retry(first_sec=0.1)))
    await asyncio.to_thread(engine.launch, loop)
    print("up", flush=True)
    await done.wait()
    await asyncio.to_thread(engine.drain, 0.2)


asyncio.run(main())
journal.close()
print("down", flush=True)
"""


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Yard:
    """One installation, its processes, and the books."""

    def __init__(self, place: str, folder: Path) -> None:
        self.place, self.folder, self.book = place, folder, folder / "books.db"
        keys = Vault(bytes(32), bytes(32))
        self.journal = (
            Journal(PostgresDatabase(place), keys) if "=" in place else Journal.open_sqlite(Path(place), keys)
        )
        with sqlite3.connect(self.book) as books:
            books.execute("PRAGMA journal_mode=WAL")
            books.execute("CREATE TABLE happened (what TEXT, segment TEXT, pid INTEGER)")
            books.execute("CREATE TABLE effects (segment TEXT PRIMARY KEY, times INTEGER)")
        books.close()
        self.processes: list[subprocess.Popen[str]] = []

    def start(
        self, *, machine: str = "one", work_sec: float = 0.0, wait: bool = True
    ) -> subprocess.Popen[str]:
        """A worker on a machine of that name; ended by the fixture."""
        process = self._process("serve", machine, work_sec)
        self.processes.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        return process

    def _process(self, role: str, machine: str, work_sec: float) -> subprocess.Popen[str]:
        arguments = [role, self.place, str(self.folder / machine), str(self.book), str(work_sec)]
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, *arguments], stdout=subprocess.PIPE, text=True
        )

    def enqueue_and_die(self, *, inside: bool) -> None:
        """A process that is killed inside the transaction, or right after its commit."""
        process = self._process("enqueue", "one", 1.0 if inside else 0.0)
        assert process.wait(WAIT_SEC) == -signal.SIGKILL
        assert process.stdout is not None
        process.stdout.close()

    def enqueue(self, count: int = 1) -> list[str]:
        return self.journal.commit(
            lambda tx: [enqueue(tx, "dispatch", {"action": f"act_{number}"}) for number in range(count)]
        )

    def happened(self, what: str) -> list[tuple[str, int]]:
        """Segments and processes of what is written down under a word, in order."""
        return self._read("SELECT segment, pid FROM happened WHERE what = ? ORDER BY rowid", what)

    def effects(self) -> dict[str, int]:
        return dict(self._read("SELECT segment, times FROM effects"))

    def _read(self, statement: str, *params: Any) -> list[Any]:
        books = sqlite3.connect(self.book, timeout=30)
        try:
            return books.execute(statement, params).fetchall()
        finally:
            books.close()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self.journal.close()


@pytest.fixture
def yard(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Yard]:
    place = str(tmp_path / "journal.db")
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        place = server.database(0)
        run(place, "DROP SCHEMA IF EXISTS dbos CASCADE")
    made = Yard(place, tmp_path)
    yield made
    made.close()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_a_process_killed_after_its_commit_has_enqueued_and_one_killed_before_has_not(yard: Yard) -> None:
    yard.enqueue_and_die(inside=True)
    yard.enqueue_and_die(inside=False)
    yard.start()
    eventually(lambda: yard.happened("ended"))
    time.sleep(0.5)
    assert len(yard.happened("begun")) == 1


def test_what_a_killed_process_ran_is_delivered_again_after_its_restart(yard: Yard) -> None:
    (segment,) = yard.enqueue()
    dead = yard.start(work_sec=60)
    eventually(lambda: yard.happened("begun"))
    kill(dead)
    began = time.monotonic()
    again = yard.start()
    eventually(lambda: yard.happened("ended"))
    print(f"restart to the end of the first resumed segment: {time.monotonic() - began:.2f} s")
    assert yard.happened("begun") == [(segment, dead.pid), (segment, again.pid)]
    assert yard.effects() == {segment: 1}


def test_a_dead_machines_segments_are_taken_over_when_its_lease_has_lapsed(yard: Yard) -> None:
    segments = yard.enqueue(10)
    dead = yard.start(machine="one", work_sec=60)
    eventually(lambda: len(yard.happened("begun")) == 10)
    alive = yard.start(machine="two")
    kill(dead)
    began = time.monotonic()
    eventually(lambda: len(yard.happened("ended")) == 10)
    print(f"takeover of 10 segments: {time.monotonic() - began:.2f} s")
    assert sorted(yard.happened("ended")) == sorted((segment, alive.pid) for segment in segments)
    assert yard.effects() == dict.fromkeys(segments, 1)
    eventually(lambda: len(yard.journal.look(executors.everybody)[0]) == 1)  # none remain: its row is gone


def test_a_process_stopped_past_its_lease_finds_its_epoch_spent(yard: Yard) -> None:
    (segment,) = yard.enqueue()
    stopped = yard.start(work_sec=1.5)
    eventually(lambda: yard.happened("begun"))
    stopped.send_signal(signal.SIGSTOP)
    other = yard.start()  # of the same machine: a process that is merely stopped is not taken for dead
    eventually(lambda: yard.happened("ended"))
    stopped.send_signal(signal.SIGCONT)
    assert yard.happened("ended") == [(segment, other.pid)]
    time.sleep(3)
    assert yard.happened("ended") == [(segment, other.pid)]
    assert yard.effects() == {segment: 1}
    # It joined anew, and works: once the other one is gone it is the only one.
    kill(other)
    (later,) = yard.enqueue()
    eventually(lambda: (later, stopped.pid) in yard.happened("ended"))


def test_a_drained_process_hands_its_work_on_without_waiting_for_its_lease(yard: Yard) -> None:
    (segment,) = yard.enqueue()
    drained = yard.start(machine="one", work_sec=60)
    eventually(lambda: yard.happened("begun"))
    other = yard.start(machine="two")
    drained.terminate()
    began = time.monotonic()
    assert drained.wait(WAIT_SEC) == 0
    eventually(lambda: yard.happened("ended"))
    print(f"drain to the end of what was handed on: {time.monotonic() - began:.2f} s")
    assert yard.happened("ended") == [(segment, other.pid)]


@pytest.mark.timeout(300 + 2 * KILLING_SEC)
def test_with_three_processes_and_one_killed_every_second_nothing_is_lost_or_twice(yard: Yard) -> None:
    chance = random.Random(11)
    for number in range(3):
        yard.start(machine=f"host-{number}", work_sec=0.05)
    segments: list[str] = []
    until = time.monotonic() + KILLING_SEC
    kills = 0
    while time.monotonic() < until:
        segments += yard.enqueue(5)
        time.sleep(1)
        victim = chance.randrange(3)
        kill(yard.processes[victim])
        started = yard._process("serve", f"host-{victim}", 0.05)
        assert yard.processes[victim].stdout is not None
        yard.processes[victim].stdout.close()  # type: ignore[union-attr]
        yard.processes[victim] = started
        kills += 1
        segments += yard.enqueue(5)
    eventually(lambda: len(yard.effects()) == len(segments))
    assert yard.effects() == dict.fromkeys(segments, 1)
    print(f"{kills} kills, {len(segments)} segments, {len(yard.happened('begun'))} deliveries")
