"""Every limit, on every kind of executor: its breach stops the action, stands in an entry, and shows in what
the service was asked."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import apart
from hostile import Hostile
from house import House
from interlock import Gate
from interlock.dispatch import Dispatcher
from interlock.model.errors import ConstraintBreached, PolicyError
from interlock.policy import parse
from targets import Target

DATABASES = ("sqlite", "postgres")
UPSTREAM = Path(__file__).parents[1] / "mcp_upstream.py"
ENDLESS = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n)"

TIME = "max_runtime_sec: 5"
NETWORK = "network_allowlist: [api.example.com]"
AMOUNT = "max_amount_usd: 100"
CASES: dict[str, tuple[str, str, str]] = {
    # what runs, the limit, and what becomes of it
    "http time": ('http: {method: POST, url: "BASE/hang-headers"}', TIME, "in_doubt max_runtime_sec"),
    "http network": ('http: {method: POST, url: "BASE/well"}', NETWORK, "failed network_allowlist"),
    "http amount": ('http: {method: POST, url: "BASE/well"}', AMOUNT, "failed max_amount_usd"),
    "http bytes": ('http: {method: POST, url: "BASE/flood"}', "", "in_doubt max_bytes"),
    "mcp time": ('mcp: {url: "BASE/mcp/hang-headers", tool: send}', TIME, "in_doubt max_runtime_sec"),
    "mcp network": ('mcp: {url: "BASE/mcp/well", tool: send}', NETWORK, "failed network_allowlist"),
    "mcp amount": ('mcp: {url: "BASE/mcp/well", tool: send}', AMOUNT, "failed max_amount_usd"),
    "mcp bytes": ('mcp: {url: "BASE/mcp/flood", tool: send}', "", "in_doubt max_bytes"),
    "started time": ("mcp: {server: crm, tool: hangs}", "max_runtime_sec: 9", "in_doubt max_runtime_sec"),
    "started amount": ("mcp: {server: crm, tool: refund}", AMOUNT, "failed max_amount_usd"),
    "started bytes": ("mcp: {server: crm, tool: large}", "", "in_doubt max_bytes"),
    "file time": (
        f'sql: {{database: file, statement: "UPDATE orders SET state = {ENDLESS}"}}',
        TIME,
        "failed max_runtime_sec",
    ),
    "file amount": (
        "sql: {database: file, statement: UPDATE orders SET state = 'gone'}",
        AMOUNT,
        "failed max_amount_usd",
    ),
    "file rows": (
        "sql: {database: file, statement: UPDATE orders SET state = 'gone', max_rows: 1}",
        "",
        "failed max_rows",
    ),
    "file bytes": (
        "sql: {database: file, statement: \"UPDATE orders SET state = 'x' RETURNING hex(zeroblob(600000))\"}",
        "",
        "failed max_bytes",
    ),
    "server time": (
        'sql: {database: server, statement: "DELETE FROM orders WHERE pg_sleep(60) IS NOT NULL"}',
        TIME,
        "failed max_runtime_sec",
    ),
    "server network": (
        "sql: {database: stranger, statement: UPDATE orders SET state = 'gone'}",
        NETWORK,
        "failed network_allowlist",
    ),
    "server amount": (
        "sql: {database: server, statement: UPDATE orders SET state = 'gone'}",
        AMOUNT,
        "failed max_amount_usd",
    ),
    "server rows": (
        "sql: {database: server, statement: UPDATE orders SET state = 'gone', max_rows: 1}",
        "",
        "failed max_rows",
    ),
    "server bytes": (
        "sql: {database: server, statement: \"UPDATE orders SET state = 'x' RETURNING repeat('x', 600000)\"}",
        "",
        "failed max_bytes",
    ),
}
ARGS = {"amount_usd": "100.01"}


def topic(case: str) -> str:
    return case.replace(" ", ".")


def policy(cases: dict[str, tuple[str, str, str]]) -> str:
    lines = ["interlock: 1", "name: limits", "actions:"]
    for case, (execute, _, _) in cases.items():
        lines += [
            f"  {topic(case)}:",
            "    tier: 3",
            "    args: {amount_usd: {type: decimal, scale: 2, currency: USD}}",
            "    roles: {amount: amount_usd}",
            f"    execute: {{{execute}}}",
        ]
    lines.append("invariants: {disabled: [money]}")
    lines.append("rules:")
    for case, (_, limit, _) in cases.items():
        constraints = f", constraints: {{{limit}}}" if limit else ""
        lines.append(
            f"  - {{id: {case.replace(' ', '-')}, match: {{topics: [{topic(case)}]}}, "
            f"decision: allow{constraints}}}"
        )
    return "\n".join(lines) + "\n"


def broken(house: House) -> dict[str, str]:
    """The constraint that each action broke, by the action's id: exactly one entry each."""
    found = [entry for entry in map(json.loads, house.entries()) if entry["kind"] == "constraint.breached"]
    assert len({entry["action"] for entry in found}) == len(found)
    return {entry["action"]: entry["constraint"] for entry in found}


def test_each_breach_stops_the_action_and_is_an_entry(
    open_house: Callable[..., House],
    hostile: Hostile,
    file: Target,
    elephant: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    hostile.book.path.unlink(missing_ok=True)
    house = open_house(policy(CASES).replace("BASE", hostile.url))
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_FILE", file.writer)
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_SERVER", elephant.writer)
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_STRANGER", f"postgresql://someone@127.0.0.1:{hostile.port}/x")
    near = tmp_path / "near"
    servers = house.home.path / "servers"
    servers.mkdir()
    command = [sys.executable, str(UPSTREAM), "stdio", str(near)]
    text = json.dumps({"command": command, "env": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}})
    (servers / "crm.json").write_text(text)
    (servers / "crm.json").chmod(0o644)
    actions = {}
    for case in CASES:
        action = house.propose(topic(case), ARGS).action
        assert action is not None
        assert action.state == "allowed", (case, action)
        actions[case] = action.id

    async def go() -> None:
        connectors = house.home.connectors()
        dispatcher = Dispatcher(house.gate, connectors, house.home.leases)
        await asyncio.gather(*map(dispatcher.run, actions.values()))
        await connectors.aclose()

    asyncio.run(go())
    constraints = broken(house)
    found = {case: f"{house.state(action)} {constraints.get(action)}" for case, action in actions.items()}
    assert found == {case: expected for case, (_, _, expected) in CASES.items()}

    # What the services saw.
    assert {how: hostile.asked(how) for how in ("hang-headers", "well", "flood")} == {
        "hang-headers": 1,
        "well": 0,
        "flood": 1,
    }
    assert {how: hostile.asked(f"mcp/{how}") for how in ("hang-headers", "well", "flood")} == {
        "hang-headers": 1,
        "well": 0,
        "flood": 1,
    }
    tools = [line["tool"] for line in map(json.loads, near.read_text().splitlines()) if "tool" in line]
    assert sorted(tools) == ["hangs", "large"]
    assert file.states() == elephant.states() == ["open", "open"]


@pytest.mark.parametrize(
    ("execute", "limit"),
    [
        ("mcp: {server: crm, tool: refund}", NETWORK),
        ("caller: {}", NETWORK),
    ],
)
def test_a_limit_that_nothing_could_enforce_is_not_put_in_force(execute: str, limit: str) -> None:
    with pytest.raises(PolicyError, match="network_allowlist"):
        parse({"policy.yaml": policy({"a case": (execute, limit, "")})})


def test_a_tool_is_the_one_that_was_reviewed_whatever_the_arguments_say(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    """The list of tools is one long: the catalogue's."""
    text = policy({"crm refund": ("mcp: {server: crm, tool: refund}", "", "")}).replace(
        "    args: {amount_usd: {type: decimal, scale: 2, currency: USD}}\n    roles: {amount: amount_usd}\n",
        "    args: {name: string, tool: string, method: string}\n",
    )
    house = open_house(text)
    near, servers = tmp_path / "near", house.home.path / "servers"
    servers.mkdir()
    command = [sys.executable, str(UPSTREAM), "stdio", str(near)]
    env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    (servers / "crm.json").write_text(json.dumps({"command": command, "env": env}))
    (servers / "crm.json").chmod(0o644)
    action = house.propose("crm.refund", {"name": "dies", "tool": "dies", "method": "tools/list"}).action
    assert action is not None

    async def go() -> None:
        await Dispatcher(house.gate, house.home.connectors(), house.home.leases).run(action.id)

    asyncio.run(go())
    assert house.state(action.id) == "succeeded"
    tools = [line["tool"] for line in map(json.loads, near.read_text().splitlines()) if "tool" in line]
    assert tools == ["refund"]


GUARDED = """
interlock: 1
name: guarded
actions:
  job.run:
    tier: 3
    args: {book: string, amount_usd: {type: decimal, scale: 2, currency: USD, optional: true}}
    roles: {amount: amount_usd}
    execute: {caller: {}}
invariants: {disabled: [money]}
rules:
  - {id: job, match: {topics: [job.run]}, decision: allow, constraints: {LIMIT}}
"""


@pytest.mark.parametrize(
    ("limit", "amount", "became", "ran"),
    [
        ("max_runtime_sec: 1", None, "in_doubt max_runtime_sec", 1),
        ("max_amount_usd: 100", "100.01", "failed max_amount_usd", 0),
        ("max_amount_usd: 100", None, "failed max_amount_usd", 0),
    ],
)
def test_a_guarded_function_is_held_to_its_limits_as_well(
    limit: str, amount: str | None, became: str, ran: int, tmp_path: Path
) -> None:
    file, book = tmp_path / "policy.yaml", tmp_path / "book"
    file.write_text(GUARDED.replace("LIMIT", limit))
    with Gate.open(file) as gate:
        guarded: Any = gate.guard("job.run")(apart.waits)
        with pytest.raises(ConstraintBreached):
            guarded(str(book), *([] if amount is None else [amount]))
        house = House(gate._backend._home)
        ((action, state),) = house.sql("SELECT id, state FROM actions")
        assert f"{state} {broken(house)[action]}" == became
    assert len(apart.noted(book)) == ran
