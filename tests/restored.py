"""Databases that are put back, for the tests of recovery: as an operator restores a backup."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from house import REFUND, House, ManualClock
from interlock.gate.recovery import Agreement
from interlock.identity import Person
from interlock.model.errors import RecoveryRequired

Open = Callable[..., House]
REASON = "the flag was set by mistake"


class Backup:
    """A copy of a house's database, made while it was closed, and put back later."""

    def __init__(self, house: House, folder: Path) -> None:
        self._house = house
        self._file = folder / "saved.db"
        self._tables: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
        if house.url is None:
            with sqlite3.connect(house.home.path / "journal.db") as source:
                with sqlite3.connect(self._file) as target:
                    source.backup(target)
                target.close()
            source.close()
            return
        with psycopg.connect(house.url) as connection:
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall():
                cursor = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)))
                assert cursor.description is not None
                self._tables[name] = ([column.name for column in cursor.description], cursor.fetchall())

    def put_back(self) -> None:
        """As an operator does: nothing is told to anybody."""
        if self._house.url is None:
            for suffix in ("-wal", "-shm"):
                (self._house.home.path / f"journal.db{suffix}").unlink(missing_ok=True)
            shutil.copy(self._file, self._house.home.path / "journal.db")
            return
        with psycopg.connect(self._house.url) as connection:
            for name, (columns, rows) in self._tables.items():
                table = sql.Identifier(name)
                connection.execute(sql.SQL("DELETE FROM {}").format(table))
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    table,
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                    sql.SQL(", ").join(sql.Placeholder() * len(columns)),
                )
                with connection.cursor() as cursor:
                    cursor.executemany(statement, rows)


def shut(house: House) -> None:
    """Close it as a crash does: what was written last is in no checkpoint."""
    house.home.leases.close()
    house.home.journal.close()


def again(open_house: Open, clock: ManualClock, *, recovering: bool = True) -> House:
    return open_house(clock=clock, recovering=recovering)


def lost(house: House, tmp_path: Path, *, entries: int = 3) -> None:
    """Put the house's database back to what it was before some entries."""
    saved = Backup(house, tmp_path)
    for number in range(entries):
        house.held(args={**REFUND, "order_id": f"lost-{number}"})
    house.home.publisher.publish()
    shut(house)
    saved.put_back()


def agreed(house: House, *people: Person, reason: str = "restored") -> Any:
    """Each of them agrees to what is shown now; the last answer."""
    answer = None
    for person in people:
        answer = house.home.recovery.agree(person.caller, house.home.recovery.situation().digest, reason)
    return answer


def flag(house: House) -> int:
    return int(house.sql("SELECT stopped FROM head")[0][0])


def of_kind(house: House, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(entry) for entry in house.entries()]
    return [entry for entry in found if entry["kind"] == kind]


def flagged(house: House) -> None:
    """Somebody who reaches the database stops the home, and a process notices."""
    house.sql("UPDATE head SET stopped = 1")
    with pytest.raises(RecoveryRequired):
        house.held(args={**REFUND, "order_id": "refused"})


def dismissed(house: House, *people: Person, reason: str = REASON) -> Agreement:
    answer = None
    for person in people:
        digest = house.home.recovery.situation().dismissal
        assert digest is not None
        answer = house.home.recovery.agree(person.caller, digest, reason, dismiss=True)
    assert answer is not None
    return answer


def proposes(house: House, order: str) -> bool:
    try:
        house.held(args={**REFUND, "order_id": order})
    except RecoveryRequired:
        return False
    return True
