"""A kill switch while something runs: what can be ended is ended, and what is recorded is what is known."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import postgres
from hostile import Hostile
from house import House
from interlock.dispatch import Dispatcher
from interlock.dispatch.outcome import Failed
from interlock.dispatch.sql import SqlConnector
from interlock.dispatch.stopping import Stopping
from interlock.gate import Scope
from interlock.model.verdicts import NO_CONSTRAINTS
from interlock.policy import SqlExecute
from targets import Target

DATABASES = ("sqlite", "postgres")
UPSTREAM = Path(__file__).parents[1] / "mcp_upstream.py"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
POLICY = f"""
interlock: 1
name: stopped
actions:
  file.count:
    tier: 1
    args: {{}}
    execute: {{sql: {{database: file, statement: "{ENDLESS}"}}}}
  file.write:
    tier: 3
    args: {{}}
    execute: {{sql: {{database: file, statement: "UPDATE orders SET state = ({ENDLESS})"}}}}
  server.write:
    tier: 3
    args: {{}}
    execute:
      sql:
        database: server
        statement: UPDATE orders SET state = 'gone' WHERE pg_sleep(60) IS NOT NULL
  mail.far: {{tier: 3, args: {{}}, execute: {{mcp: {{url: "BASE/mcp/hang-headers", tool: send}}}}}}
  mail.near: {{tier: 3, args: {{}}, execute: {{mcp: {{server: crm, tool: hangs}}}}}}
  pay.once: {{tier: 3, args: {{}}, execute: {{http: {{method: POST, url: "BASE/hang-headers"}}}}}}
rules:
  - id: all
    match: {{topics: [file.*, server.*, mail.*]}}
    decision: allow
    constraints: {{max_runtime_sec: 60}}
  - {{id: pay, match: {{topics: [pay.once]}}, decision: allow, constraints: {{max_runtime_sec: 8}}}}
"""


def busy(target: Target) -> int:
    """Statements of ours that the server is carrying out."""
    ((found,),) = target.look(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'interlock-sql' AND state = 'active'"
    )
    return int(found)


def until(found: Callable[[], Any], wanted: Any = True) -> None:
    end = time.monotonic() + 25
    while (now := found()) != wanted:
        assert time.monotonic() < end, now
        time.sleep(0.02)


def test_what_can_be_ended_is_ended_and_what_became_of_it_follows_the_rule(
    open_house: Callable[..., House],
    hostile: Hostile,
    file: Target,
    elephant: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    hostile.book.path.unlink(missing_ok=True)
    house = open_house(POLICY.replace("BASE", hostile.url))
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_FILE", file.writer)
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_SERVER", elephant.writer)
    near = tmp_path / "near"
    servers = house.home.path / "servers"
    servers.mkdir()
    command = [sys.executable, str(UPSTREAM), "stdio", str(near)]
    text = json.dumps({"command": command, "env": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}})
    (servers / "crm.json").write_text(text)
    (servers / "crm.json").chmod(0o644)
    topics = ("file.count", "file.write", "server.write", "mail.far", "mail.near", "pay.once")
    actions: dict[str, str] = {}
    for topic in topics:
        action = house.propose(topic, {}).action
        assert action is not None
        actions[topic] = action.id

    def stop() -> None:
        until(lambda: near.exists() and '"hangs"' in near.read_text())
        asked = hostile.asked
        until(lambda: (asked("mcp/hang-headers"), asked("hang-headers"), busy(elephant)), (1, 1, 1))
        house.home.kill_switches.engage(Scope.ALL, None, "smoke", by="test")

    async def go() -> None:
        connectors = house.home.connectors()
        dispatcher = Dispatcher(house.gate, connectors, house.home.leases)
        thread = threading.Thread(target=stop)
        thread.start()
        await asyncio.gather(*map(dispatcher.run, actions.values()))
        await connectors.aclose()
        thread.join()

    asyncio.run(go())
    views = {topic: house.view(action) for topic, action in actions.items()}
    assert {topic: view["state"] for topic, view in views.items()} == {
        "file.count": "failed",
        "file.write": "failed",
        "server.write": "failed",
        "mail.far": "in_doubt",
        "mail.near": "in_doubt",
        "pay.once": "in_doubt",
    }
    notes = {topic: view["outcome"]["note"] for topic, view in views.items()}
    for topic in topics[:-1]:
        assert "a kill switch is on for everything" in notes[topic]
    # Hanging up stops nothing at a service, and its answer would be lost.
    assert "no answer within 8 s" in notes["pay.once"]
    assert file.states() == elephant.states() == ["open", "open"]
    assert busy(elephant) == 0
    assert hostile.asked("mcp/hang-headers") == hostile.asked("hang-headers") == 1


def _stopped(target: Target, statement: str, when: Callable[[], bool], why: str = "enough") -> Any:
    stopping = Stopping()

    def stop() -> None:
        until(when)
        stopping.tell(why)

    async def go() -> Any:
        connector = SqlConnector({"shop": target.writer}.get)
        spec = SqlExecute("shop", statement, None, 9, read_only=False)
        thread = threading.Thread(target=stop)
        thread.start()
        try:
            return await connector.send(spec, {}, NO_CONSTRAINTS, timeout_sec=60, stopping=stopping)
        finally:
            thread.join()

    return asyncio.run(go())


def test_a_wait_for_the_turn_to_write_is_ended(file: Target) -> None:
    other = sqlite3.connect(file.admin, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    outcome = _stopped(file, "UPDATE orders SET state = 'gone'", lambda: time.monotonic() - began > 0.5)
    other.execute("ROLLBACK")
    other.close()
    assert outcome == Failed("shop: enough", "nothing_sent")
    assert file.states() == ["open", "open"]


def test_a_commit_that_is_cancelled_took_no_effect(elephant: Target) -> None:
    """A deferred check that takes its time: the cancellation reaches the server after COMMIT did."""
    postgres.run(
        elephant.admin,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$",
    )
    postgres.run(
        elephant.admin,
        "CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    outcome = _stopped(
        elephant, "UPDATE orders SET state = 'gone' WHERE id = 'A-1'", lambda: busy(elephant) == 1
    )
    assert outcome == Failed("shop: enough", "not_committed")
    until(lambda: busy(elephant) == 0)
    assert elephant.states() == ["open", "open"]


def test_what_was_stopped_before_it_began_does_not_begin(file: Target, elephant: Target) -> None:
    for target in (file, elephant):
        stopping = Stopping()
        stopping.tell("enough")
        connector = SqlConnector({"shop": target.writer}.get)
        spec = SqlExecute("shop", "UPDATE orders SET state = 'gone'", None, 9, read_only=False)
        outcome = asyncio.run(connector.send(spec, {}, NO_CONSTRAINTS, stopping=stopping))
        assert isinstance(outcome, Failed), outcome
        assert target.states() == ["open", "open"]
