"""Killed while it appends, again and again: no acknowledged entry is lost, and the head is the entries' root.

Each round a process appends from 32 tasks and says of every entry, as soon as it is acknowledged, where it
stands; it is killed with SIGKILL at a moment nobody chose. What it said must be in the database then, and
the frontier must be what the entries give. ``INTERLOCK_LONG=1`` runs 1,000 rounds instead of 50.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from postgres import Postgres

ROUNDS = 1_000 if os.environ.get("INTERLOCK_LONG") else 50
KILLING = """
import asyncio, json, os, random, signal, sys, time
from pathlib import Path

import orjson

from interlock.journal import Journal, Vault
from interlock.journal.postgres import PostgresDatabase
from interlock.journal.sqlite import SqliteDatabase
from interlock.ledger import Frontier, Kind, leaf_hash

where, rounds = sys.argv[1], int(sys.argv[2])


def opened():
    database = PostgresDatabase(where) if "=" in where else SqliteDatabase(Path(where))
    return Journal(database, Vault(bytes(32), bytes(32)))


def append(tell, name):
    journal = opened()

    async def task(number):
        for count in range(1_000_000):
            key = f"{name}-{number}-{count}"

            def transition(tx):
                tx.seal(key.encode(), None)
                return tx.append(Kind.KEY_REVOKED, key=key, by="test")

            index = await journal.commit_async(transition)
            os.write(tell, f"{index} {key}\\n".encode())

    async def tasks():
        await asyncio.gather(*map(task, range(32)))

    asyncio.run(tasks())


known, acknowledged, seed = Frontier.EMPTY, 0, random.Random(7)
opened().close()
for number in range(rounds):
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        append(tell, number)
    os.close(tell)
    first = os.read(hear, 1)
    time.sleep(seed.random() * 0.06)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with os.fdopen(hear, "rb") as pipe:
        said = (first + pipe.read()).decode().splitlines()
    journal = opened()
    # A server may still be at the COMMIT that the dead process sent. That owns the head row until it is done:
    # a transaction of ours waits for it, so that what is read below is read from one state.
    journal.commit(lambda tx: None)
    bodies = list(journal.entries(known.size))
    keys = {known.size + place: orjson.loads(body)["key"] for place, body in enumerate(bodies)}
    for line in said:
        index, key = line.split()
        assert keys[int(index)] == key, f"round {number}: {key} was acknowledged at {index} and is lost"
    known = known.appended(map(leaf_hash, bodies))
    assert journal.head()[1] == known, f"round {number}: the head is not the entries' root"
    with journal.read() as connection:
        from sqlalchemy import func, select
        from interlock.journal import tables
        sealed = connection.execute(select(tables.head.c.sealed)).scalar_one()
        assert connection.execute(select(func.count()).select_from(tables.payloads)).scalar_one() == sealed
    assert sealed == known.size
    acknowledged += len(said)
    journal.close()
print(json.dumps({"acknowledged": acknowledged, "entries": known.size}))
"""


@pytest.mark.timeout(120 + 2 * ROUNDS)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_acknowledged_entry_is_lost(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where = str(tmp_path / "journal.db")
    if kind == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        where = server.database(0)
    ended = subprocess.run(
        [sys.executable, "-c", KILLING, where, str(ROUNDS)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    counted = json.loads(ended.stdout)
    assert counted["entries"] >= counted["acknowledged"] >= ROUNDS
    print(f"{kind}: {ROUNDS} kills, {counted['acknowledged']} acknowledged, 0 of them lost")
