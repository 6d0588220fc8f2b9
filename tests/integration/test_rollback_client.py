"""Taking back from the agent's own process, and what was there before a function ran."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

import interlock
import world
from interlock.client.gate import Gate
from interlock.gate.rollback import NoUndo, RollbackExists
from interlock.journal import Prepared, tables
from interlock.model.errors import InDoubt, NoEffect, Tampered
from world import World

POLICY = """
interlock: 1
name: shop
people: solo
actions:
  orders.set:
    tier: 2
    args: {{order_id: string, status: string}}
    execute: {{caller: {{}}}}
    probe: {{http: {{url: "{url}/orders/{{args.order_id}}", compare: [status]}}}}
    undo: {{topic: orders.set, args: {{order_id: args.order_id, status: before.status}}}}
    undo_within: 5m
  notes.add:
    tier: 2
    args: {{text: string}}
    undo: {{topic: notes.drop, args: {{note: result.id}}}}
    undo_within: 5m
  notes.drop: {{tier: 2, args: {{note: integer}}, undo: notes.add, undo_within: 5m}}
"""

_b = tables.before_states.c
BEFORE = Prepared(select(tables.before_states).where(_b.namespace == bindparam("ns")))
POINT = Prepared(
    update(tables.before_states)
    .where(_b.namespace == bindparam("ns"), _b.action_id == bindparam("action_"))
    .values(payload=bindparam("payload_"), mac=bindparam("mac_"))
)


@pytest.fixture
def shop() -> Iterator[World]:
    with world.serving() as service:
        yield service


@pytest.fixture
def gate(tmp_path: Path, shop: World) -> Iterator[Gate]:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.format(url=shop.url), "utf-8")
    with interlock.Gate.open(file) as opened:
        yield opened


def latest(gate: Gate) -> str:
    """The id of the action that was proposed last."""
    journal = gate._backend._home.journal
    found = [json.loads(entry) for entry in journal.entries()]
    return str([entry["action"] for entry in found if entry["kind"] == "action.proposed"][-1])


def test_a_function_takes_back_to_what_was_read_before_it_ran(gate: Gate, shop: World) -> None:
    @gate.guard("orders.set")
    def set_status(order_id: str, status: str) -> None:
        shop.change(order_id, status=status)

    set_status(order_id="A-12", status="lost")
    action = latest(gate)
    assert shop.orders["A-12"]["status"] == "lost"
    plan = gate.rollback_plan(action)
    assert plan["undo"]["args"] == {"order_id": "A-12", "status": "paid"}
    assert shop.orders["A-12"]["status"] == "lost"
    undo = gate.rollback(action)
    assert (undo["state"], undo["undoes"]) == ("succeeded", action)
    assert shop.orders["A-12"]["status"] == "paid"
    assert gate.action(action)["state"] == "rolled_back"
    with pytest.raises(RollbackExists):
        gate.rollback(action)


def test_what_was_not_there_before_is_not_taken_back_to(gate: Gate, shop: World) -> None:
    @gate.guard("orders.set")
    def set_status(order_id: str, status: str) -> None:
        shop.orders[order_id] = {"status": status}

    shop.change(status=None)
    set_status(order_id="A-12", status="lost")
    with pytest.raises(NoUndo, match="status"):
        gate.rollback(latest(gate))


def test_the_value_a_function_returned_is_handed_to_its_undo(gate: Gate) -> None:
    notes: dict[int, str] = {}

    @gate.guard("notes.add")
    def add(text: str) -> dict[str, int]:
        notes[len(notes)] = text
        return {"id": len(notes) - 1}

    @gate.guard("notes.drop")
    def drop(note: int) -> None:
        del notes[note]

    add(text="hello")
    action = latest(gate)
    gate.rollback(action)
    assert notes == {}
    assert gate.action(action)["user_message"].startswith("Rolled back")


@pytest.mark.parametrize("error", [NoEffect("it is locked"), ValueError("who knows")])
def test_an_undo_that_raises_leaves_the_action_as_it_is(gate: Gate, error: Exception) -> None:
    failing: list[Any] = [error]

    @gate.guard("notes.add")
    def add(text: str) -> dict[str, int]:
        return {"id": len(text)}

    @gate.guard("notes.drop")
    def drop(note: int) -> None:
        if failing:
            raise failing.pop()

    add(text="hello")
    action = latest(gate)
    with pytest.raises(type(error)):
        gate.rollback(action)
    assert gate.action(action)["state"] == "succeeded"
    if isinstance(error, NoEffect):
        assert gate.rollback(action)["state"] == "succeeded"
        assert gate.action(action)["state"] == "rolled_back"
    else:
        with pytest.raises(RollbackExists, match="in_doubt"):
            gate.rollback(action)
        with pytest.raises(InDoubt):
            gate.resume(gate.action(action)["rollback"]["id"])


def test_an_undo_whose_function_is_not_here_waits_for_the_process_that_has_it(gate: Gate) -> None:
    @gate.guard("notes.add")
    def add(text: str) -> dict[str, int]:
        return {"id": len(text)}

    add(text="hello")
    action = latest(gate)
    undo = gate.rollback(action)
    assert undo["state"] == "allowed"
    assert gate.action(action)["rollback"] == {"id": undo["id"], "state": "allowed"}

    @gate.guard("notes.drop")
    def drop(note: int) -> int:
        return note

    assert gate.resume(undo["id"]) == 5
    assert gate.action(action)["state"] == "rolled_back"


def test_what_another_action_found_is_not_taken_for_what_was_there_before(gate: Gate, shop: World) -> None:
    @gate.guard("orders.set")
    def set_status(order_id: str, status: str) -> None:
        shop.change(order_id, status=status)

    set_status(order_id="A-12", status="lost")
    first = latest(gate)
    set_status(order_id="A-12", status="found")
    journal = gate._backend._home.journal
    one, other = journal.look(lambda tx: [row for row in tx.all(BEFORE) if row[1] in (first, latest(gate))])
    if one[1] != first:
        one, other = other, one

    def point_elsewhere(tx: Any) -> None:
        row = (*one[:3], other[3], one[4])
        tx.write(POINT, action_=first, payload_=other[3], mac_=tx.vault.mac("before", *row))

    journal.commit(point_elsewhere)
    with pytest.raises(Tampered, match="not what was read"):
        gate.rollback(first)
