"""The kill switch between processes: once it has returned, nothing is claimed by anybody."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from cli_command import run

from house import BOTH, House
from interlock.gate import Scope

DATABASES = BOTH
PROCESSES = 3
ACTIONS = 400
CLAIMER = """
import json, sys, time
from pathlib import Path
from interlock.gate import KillSwitchOn
from interlock.home import Home
from interlock.model.actions import ExecutorKind
from interlock.model.errors import NotClaimable

home = Home.open(Path(sys.argv[1]))
print("ready", flush=True)
won, refused = [], None
for action in json.loads(sys.stdin.readline()):
    began = time.monotonic_ns()
    try:
        home.gate.claim(action, ExecutorKind.CALLER)
    except KillSwitchOn:
        refused = refused or time.monotonic_ns()
        continue
    won.append([action, began])
    print("won", flush=True)
print(json.dumps({"won": won, "refused": refused}), flush=True)
"""


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_once_the_command_has_returned_no_process_claims_anything(open_house: Callable[..., House]) -> None:
    house = open_house()
    ids = []
    for number in range(ACTIONS):
        action = house.propose("notes.add", {"n": number}).action
        assert action is not None
        ids.append(action.id)
    folder = str(house.home.path)
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(PROCESSES)
    ]
    try:
        assert [line(child) for child in claimers] == ["ready"] * PROCESSES
        for number, child in enumerate(claimers):
            assert child.stdin is not None
            child.stdin.write(json.dumps(ids[number::PROCESSES]) + "\n")
            child.stdin.flush()
        assert [line(child) for child in claimers] == ["won"] * PROCESSES
        house.home.kill_switches.engage(Scope.ALL, None, "now", by="test")
        returned = time.monotonic_ns()
        said = [child.communicate(timeout=60)[0].splitlines()[-1] for child in claimers]
    finally:
        for child in claimers:
            child.kill()
            child.wait()
    told: list[dict[str, Any]] = [json.loads(each) for each in said]
    won = [each for one in told for each in one["won"]]
    assert 0 < len(won) < ACTIONS, "the race has to be one"
    assert [action for action, began in won if began > returned] == []
    assert all(one["refused"] is not None for one in told)
    kinds = [json.loads(entry) for entry in house.entries()]
    number = next(n for n, entry in enumerate(kinds) if entry["kind"] == "kill.engaged")
    assert [entry for entry in kinds[number:] if entry["kind"] == "action.claimed"] == []
    assert {action for action, _ in won} == set(kinds[number]["actions"])


def test_the_command_stops_a_home_that_another_process_works_in(
    open_house: Callable[..., House], tmp_path: Any
) -> None:
    house = open_house()
    action = house.propose("notes.add", {}).action
    assert action is not None
    folder = str(house.home.path)
    done = run(tmp_path, "kill", "--all", "--reason", "smoke", "--home", folder, "--json")
    assert done.code == 0, done.err
    kill = json.loads(done.out)
    assert (kill["scope"], kill["created"], kill["running"]) == ("all", True, [])
    assert house.ready() == []
    refused = house.propose("orders.get", {"order_id": "A"}).action
    assert refused is not None
    assert refused.decided.rule == f"kill-switch:{kill['id']}"
    lifted = run(tmp_path, "rearm", kill["id"], "--yes", "--reason", "mine", "--home", folder)
    assert lifted.code == 0, lifted.err
    assert "everything goes on" in lifted.out
    allowed = house.propose("orders.get", {"order_id": "B"}).action
    assert allowed is not None
    assert allowed.state == "allowed"
