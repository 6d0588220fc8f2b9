"""The lanes that come with this project, as they stand there: starter policies, and an imported file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from house import House, ManualClock, agent
from interlock.authoring.draft import write_policy
from interlock.authoring.import_escalate import draft_from_escalate

ROOT = Path(__file__).parents[2]
Open = Callable[..., House]
MINUTE = 60

ESCALATE = """# ESCALATE

## TRIGGERS
always_escalate:
  - delete_data

## APPROVAL
"""
CATALOGUE = """
actions:
  files.drop: {tier: 4, risk_tags: [delete], args: {name: string}}
  files.list: {tier: 1}
"""


def starter(name: str) -> str:
    return (ROOT / "policies" / name / "policy.yaml").read_text("utf-8")


def held(house: House, topic: str) -> str:
    entry = house.gate.policy.entry(topic)
    assert entry is not None
    assert entry.args is not None
    values = {"string": "x", "decimal": "250.00", "integer": 5, "number": 5, "boolean": True, "array": ["x"]}
    args = {name: values[kind.kind] for name, kind in entry.args.items() if not kind.optional}
    action = house.propose(topic, args).action
    assert action is not None
    assert action.state == "held"
    return action.id


@pytest.mark.parametrize(
    ("name", "topic", "minutes"),
    [
        ("finance-payments", "finance.payments.send", 15),
        ("support-refunds", "support.refunds.create", 15),
        ("data-deletion", "data.records.delete", 2),
    ],
)
def test_a_starter_policy_waits_15_minutes_for_money_and_2_for_personal_data_and_then_denies(
    open_house: Open, clock: ManualClock, name: str, topic: str, minutes: int
) -> None:
    house = open_house(starter(name), clock=clock)
    action = held(house, topic)
    clock.forward(minutes * MINUTE - 1)
    house.gate.sweep()
    assert house.state(action) == "held"
    clock.forward(1)
    house.gate.sweep()
    assert house.state(action) == "expired"


def test_an_imported_file_stops_the_agent_that_asked_after_30_minutes_and_only_that(
    open_house: Open, clock: ManualClock
) -> None:
    drafted = write_policy(draft_from_escalate("ESCALATE.md", ESCALATE))
    house = open_house(drafted + CATALOGUE, clock=clock)
    action = house.propose("files.drop", {"name": "x"}, caller=agent("cleaner")).action
    assert action is not None
    clock.forward(30 * MINUTE - 1)
    house.gate.sweep()
    assert house.view(action.id, agent("cleaner"))["state"] == "held"
    clock.forward(1)
    house.gate.sweep()
    assert house.view(action.id, agent("cleaner"))["state"] == "expired"
    states = {}
    for name in ("cleaner", "reader"):
        listed = house.propose("files.list", {}, caller=agent(name)).action
        assert listed is not None
        states[name] = listed.state
    assert states == {"cleaner": "denied", "reader": "allowed"}
    (engaged,) = [e for e in map(json.loads, house.entries()) if e["kind"] == "kill.engaged"]
    assert (engaged["scope"], engaged["target"], engaged["by"]) == ("agent", "cleaner", "lane:escalate-md")
