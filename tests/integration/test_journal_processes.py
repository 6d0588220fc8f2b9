"""Two processes, one database: both make progress, and a claim is one process's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from house import BOTH, House
from interlock.ledger import Frontier, leaf_hash

DATABASES = BOTH
WRITER = """
import sys, time
from pathlib import Path
from interlock.home import Home
from interlock.ledger import Kind

home = Home.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
end, worst, count = time.monotonic() + 1.0, 0.0, 0
while time.monotonic() < end:
    began = time.perf_counter()
    home.journal.commit(lambda tx: tx.append(Kind.KEY_REVOKED, key=sys.argv[2], by="test"))
    worst, count = max(worst, time.perf_counter() - began), count + 1
print(count, worst, flush=True)
"""
CLAIMER = """
import json, sys
from pathlib import Path
from interlock.home import Home
from interlock.model.actions import ExecutorKind
from interlock.model.errors import NotClaimable

home = Home.open(Path(sys.argv[1]))
print("ready", flush=True)
won = []
for action in json.loads(sys.stdin.readline()):
    try:
        home.gate.claim(action, ExecutorKind.CALLER)
    except NotClaimable:
        continue
    won.append(action)
print(json.dumps(won), flush=True)
"""
MAKER = """
import sys
from pathlib import Path
from interlock.home import Home

Home.open(Path(sys.argv[1]), database=sys.argv[2] or None).close()
"""
READER = """
import sys
from pathlib import Path
from interlock.home import Home

print(Home.open(Path(sys.argv[1])).gate.active(), flush=True)
"""


def start(script: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()


def finish(children: list[subprocess.Popen[str]]) -> None:
    for child in children:
        child.communicate(timeout=20)
        assert child.returncode == 0


def test_two_busy_processes_both_make_progress_and_the_ledger_is_one(house: House) -> None:
    path = str(house.home.path)
    children = [start(WRITER, path, name) for name in ("one", "two")]
    assert [said(child) for child in children] == ["ready\n", "ready\n"]
    for child in children:
        tell(child, "go")
    time.sleep(0.3)
    for n in range(5):
        house.propose("notes.add", {"n": n})
    counts = [int(said(child).split()[0]) for child in children]
    finish(children)
    entries = house.entries()
    writers = [name for entry in entries for name in ("one", "two") if f'"key":"{name}"' in entry]
    assert [writers.count(name) for name in ("one", "two")] == counts
    turns = sum(before != after for before, after in pairwise(writers))
    assert turns > min(counts) / 4, f"one starves the other: {turns} turns in {counts} commits"
    _, frontier, _ = house.home.journal.head()
    assert frontier == Frontier.EMPTY.appended(leaf_hash(body) for body in house.home.journal.entries())


def test_of_three_processes_one_gets_each_claim(house: House) -> None:
    actions = []
    for n in range(60):
        action = house.propose("notes.add", {"n": n}).action
        assert action is not None
        actions.append(action.id)
    children = [start(CLAIMER, str(house.home.path)) for _ in range(3)]
    assert {said(child) for child in children} == {"ready\n"}
    for child in children:
        tell(child, json.dumps(actions))
    won = [json.loads(said(child)) for child in children]
    finish(children)
    assert sorted(action for share in won for action in share) == sorted(actions)
    assert house.sql("SELECT sum(epoch), count(*) FROM actions WHERE state = 'executing'") == [(60, 60)]
    assert house.sql("SELECT count(DISTINCT holder) FROM actions")[0][0] == sum(map(bool, won))


def test_a_process_may_begin_by_reading(house: House) -> None:
    reader = start(READER, str(house.home.path))
    assert said(reader) == f"{house.gate.active()}\n"
    finish([reader])


def test_several_processes_may_make_one_home_at_the_same_time(
    tmp_path: Path, open_house: Callable[..., House], database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres").database(0) if database == "postgres" else None
    children = [start(MAKER, str(tmp_path / "home"), url or "") for _ in range(3)]
    finish(children)
    house = open_house(database=url)
    assert house.state(house.held()) == "held"
