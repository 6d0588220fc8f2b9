"""What a database administrator can put past the gate, the exported ledger shows to whoever reads it.

Each test does it for real: a row saved, something done, the old row written back, something done with it.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from house import POLICY, REFUND, House, ManualClock
from interlock import Gate
from interlock.home import Home
from interlock.identity import Caller, KeyKind
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import (
    Conflict,
    InDoubt,
    NotFound,
    SeparationOfDuties,
    Tampered,
    Unauthenticated,
)
from interlock.policy import parse
from interlock.verify import verify_export

SOLO = POLICY.replace("name: shop", "name: shop\npeople: solo")
STRICT = POLICY.replace("when: args.amount_usd < 100", "when: args.amount_usd < 10").replace(
    "when: args.amount_usd >= 100", "when: args.amount_usd >= 10"
)


def verified(house: House, folder: Path) -> tuple[bool, str]:
    house.home.publisher.export(folder)
    report = verify_export(folder)
    return report.ok, " ".join(problem.what for problem in report.problems)


def put_back(house: House, table: str, key: str, rows: list[tuple[Any, ...]]) -> None:
    """Write old rows over their newer selves, as the database's administrator can."""
    with sqlite3.connect(house.home.path / "journal.db", timeout=10) as raw:
        for row in rows:
            names = [column[1] for column in raw.execute(f"PRAGMA table_info({table})")]
            raw.execute(f"DELETE FROM {table} WHERE {key} = ?", (row[names.index(key)],))
            raw.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
    raw.close()


def keyed(house: House, name: str = "support", *topics: str, operator: Any = None) -> tuple[str, Caller]:
    key, token = house.home.keyring.add(
        KeyKind.AGENT, name, topics=topics or ["*"], person=operator, by="test"
    )
    return key.id, house.home.keyring.authenticate(token)


def test_an_older_policy_put_back_shows_at_the_first_action_it_decides(house: House, tmp_path: Path) -> None:
    before = house.sql("SELECT * FROM active_policy")
    house.activate(STRICT)
    assert house.propose(args={**REFUND, "amount_usd": "51.00"}).action.state == "held"  # type: ignore[union-attr]
    assert verified(house, tmp_path / "honest")[0]
    put_back(house, "active_policy", "namespace", before)
    assert house.propose(args={**REFUND, "amount_usd": "52.00"}).action.state == "allowed"  # type: ignore[union-attr]
    ok, what = verified(house, tmp_path / "after")
    assert not ok
    assert "policy that was not in force" in what


def test_a_revoked_key_put_back_shows_at_the_first_thing_it_does(house: House, tmp_path: Path) -> None:
    key, caller = keyed(house)
    before = house.sql("SELECT * FROM keys")
    house.propose(caller=caller)
    house.home.keyring.revoke(key, by="test")
    assert verified(house, tmp_path / "honest")[0]
    put_back(house, "keys", "id", before)
    house.propose(args={**REFUND, "order_id": "A-13"}, caller=caller)
    ok, what = verified(house, tmp_path / "after")
    assert not ok
    assert "revoked" in what


def test_a_removed_row_that_brings_solo_back_shows_at_the_first_solo_decision(
    open_house: Any, tmp_path: Path
) -> None:
    house = open_house(SOLO, name="solo")
    ana, bob = house.person("Ana"), house.person("Bob")
    _, caller = keyed(house, operator=ana)
    action = house.held(caller=caller)
    with pytest.raises(SeparationOfDuties):
        house.answer(action, ana)
    assert verified(house, tmp_path / "honest")[0]
    house.sql("DELETE FROM people WHERE id = ?", bob.id)
    house.answer(action, ana)
    ok, what = verified(house, tmp_path / "after")
    assert not ok
    assert "solo" in what


def test_a_forgotten_request_shows_when_it_is_proposed_again(house: House, tmp_path: Path) -> None:
    first = house.propose(idempotency_key="once").action
    assert house.propose(idempotency_key="once").action == first
    assert verified(house, tmp_path / "honest")[0]
    house.sql("DELETE FROM idempotency")
    assert house.propose(idempotency_key="once").action != first
    ok, what = verified(house, tmp_path / "after")
    assert not ok
    assert "proposed before" in what


def test_a_key_revoked_while_its_call_was_under_way_does_nothing(house: House) -> None:
    key, caller = keyed(house)
    house.home.keyring.revoke(key, by="test")
    size = house.home.journal.head()[0]
    with pytest.raises(Unauthenticated):
        house.gate.propose(Proposal("pay.refund", REFUND), caller)
    assert house.home.journal.head()[0] == size


def test_a_person_who_was_removed_decides_nothing_and_the_last_one_stays(
    house: House, tmp_path: Path
) -> None:
    ana, bob = house.person("Ana"), house.person("Bob")
    _, token = house.home.keyring.add(KeyKind.PERSON, "laptop", person=bob, by="test")
    session, _ = house.home.roster.redeem(house.home.roster.issue_link(bob))
    waiting = house.home.roster.issue_link(bob)
    assert house.home.roster.remove("Bob", by="test").id == bob.id
    for attempt in (
        lambda: house.home.keyring.authenticate(token),
        lambda: house.home.roster.signed_in(session),
        lambda: house.home.roster.redeem(waiting),
    ):
        with pytest.raises(Unauthenticated):
            attempt()
    with pytest.raises(NotFound):
        house.home.roster.remove("Bob", by="test")
    with pytest.raises(Conflict):
        house.home.roster.remove(ana.id, by="test")
    assert verified(house, tmp_path / "export")[0]


def test_a_key_sees_and_withdraws_only_within_its_topics(house: House) -> None:
    _, wide = keyed(house, "support", "pay.*")
    _, narrow = keyed(house, "support", "notes.*")
    action = house.held(caller=wide)
    with pytest.raises(NotFound):
        house.view(action, narrow)
    with pytest.raises(NotFound):
        house.gate.withdraw(action, narrow)
    assert house.gate.withdraw(action, wide).state == "withdrawn"


def test_one_deleted_row_keeps_no_other_waiting(house: House) -> None:
    first, second = house.held(), house.held(args={**REFUND, "order_id": "A-14"})
    house.sql("DELETE FROM actions WHERE id = ?", first)
    listed = {item["action_id"]: item["state"] for item in house.home.views.approvals("held")["items"]}
    assert listed == {first: "tampered", second: "held"}
    house.sql("DELETE FROM approvals WHERE action_id = ?", second)
    with pytest.raises(Tampered):
        house.view(second)


def test_a_revoked_approval_put_back_is_refused(house: House) -> None:
    ana = house.person("Ana")
    action = house.held()
    house.answer(action, ana)
    actions, approvals = house.sql("SELECT * FROM actions"), house.sql("SELECT * FROM approvals")
    house.gate.revoke(action, ana.caller)
    put_back(house, "actions", "id", actions)
    put_back(house, "approvals", "id", approvals)
    with pytest.raises(Tampered):
        house.gate.claim(action, ExecutorKind.CALLER)


def test_a_killed_embedded_call_is_in_doubt_when_the_gate_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    code = (
        "import os, sys\nfrom interlock import Gate\ngate = Gate.open(sys.argv[1])\n"
        "@gate.guard('notes.add')\ndef add(): os.kill(os.getpid(), 9)\nadd()"
    )
    policy = tmp_path / "policy.yaml"
    assert subprocess.run([sys.executable, "-c", code, str(policy)], check=False).returncode == -9
    clock = ManualClock()
    clock.forward(60)
    home = Home.open(tmp_path / ".interlock", policy=parse({"policy.yaml": POLICY}), clock=clock)
    home.gate.sweep()
    (action,) = home.views.actions(ActionState.IN_DOUBT)["items"]
    home.close()
    with Gate.open(policy) as gate:
        gate.guard("notes.add")(lambda: None)
        with pytest.raises(InDoubt):
            gate.resume(action["id"])
