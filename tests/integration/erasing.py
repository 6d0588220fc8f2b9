"""Shared by the tests of erasing: actions about two people, and a look at every byte that is kept."""

from __future__ import annotations

import json
from typing import Any

from house import REFUND, House
from interlock.gate import Claim, ErasureReason, Report
from interlock.journal.tables import metadata
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.canonical import Json

ANA, BEN = "ana@example.com", "ben@example.com"
MARK = "zzMARKzz"
"""Stands in everything that an agent or a person wrote about Ana."""


def marked(name: str) -> str:
    return f"{MARK}-{name}"


def run(house: House, claim: Claim, result: Json = None) -> None:
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "done", result))


def refunded(house: House, principal: str | None = ANA, order: str = "A-1", **rest: Any) -> str:
    """A small refund that was allowed and ran."""
    args = {**REFUND, "order_id": order, "amount_usd": "5.00"}
    action = house.propose(args=args, principal=principal, **rest).action
    assert action is not None
    run(house, house.gate.claim(action.id, ExecutorKind.CALLER), {"order": order})
    return action.id


def held(house: House, principal: str | None = ANA, order: str = "H-1") -> str:
    return house.held(args={**REFUND, "order_id": order}, principal=principal)


def erase(house: House, name: str = ANA) -> Any:
    return house.home.eraser.erase(name, by="test", reason=ErasureReason.REQUEST)


def entries(house: House, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(body) for body in house.entries()]
    return [entry for entry in found if entry["kind"] == kind]


def subject(house: House, name: str = ANA) -> str:
    return house.home.journal.vault.subject("default", name)


def wrapped(house: House, name: str = ANA) -> bytes:
    ((found,),) = house.sql("SELECT wrapped FROM subjects WHERE id = ?", subject(house, name))
    return bytes(found)


def everything(house: House) -> bytes:
    """Every value of every table, the files of the home, and of a database file also what no row holds."""
    parts = [repr(house.sql(f"SELECT * FROM {table.name}")).encode() for table in metadata.sorted_tables]
    for table in metadata.sorted_tables:
        for row in house.sql(f"SELECT * FROM {table.name}"):
            parts += [bytes(value) for value in row if isinstance(value, bytes | memoryview)]
    parts += [file.read_bytes() for file in house.home.path.rglob("*") if file.is_file()]
    return b"\n".join(parts)
