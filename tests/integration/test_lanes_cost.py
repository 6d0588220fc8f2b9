"""What a sweep reads: what is due, in order, through an index, however much waits; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from house import BOTH, House, ManualClock
from interlock.gate import deadlines
from interlock.journal import Prepared, Tx

DATABASES = BOTH
Open = Callable[..., House]
WAITING, DUE = 20_000, 100
YEAR_US = 365 * 86_400 * 1_000_000
NAMES = {
    "sqlite": "SELECT name FROM pragma_table_info(?)",
    "postgres": "SELECT column_name FROM information_schema.columns WHERE table_name = ?",
}
NUMBERS = {
    "sqlite": (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s"
        f" WHERE n < {WAITING}) SELECT n FROM s)"
    ),
    "postgres": f"(SELECT generate_series(1, {WAITING}) AS n)",
}


def kind(house: House) -> str:
    return "sqlite" if house.url is None else "postgres"


def copied(house: House, table: str, identifier: str, **instead: str) -> None:
    """Fill a table with copies of one of its rows, but for some columns."""
    names = [name for (name,) in house.sql(NAMES[kind(house)], table)]
    values = ", ".join(instead.get(name, f'{table}."{name}"') for name in names)
    into = ", ".join(f'"{name}"' for name in names)
    numbers = f"{NUMBERS[kind(house)]} numbers"
    one = f"{table}.id = '{identifier}'"
    house.sql(f"INSERT INTO {table} ({into}) SELECT {values} FROM {table}, {numbers} WHERE {one}")


def fill(house: House) -> int:
    """Copies of a held request and of its action; `DUE` of them are due at the time returned, the others in a
    year."""
    action = house.held()
    approval, _ = house.request(action)
    now = house.sql("SELECT max(due_at) FROM approvals")[0][0]
    at = f"CASE WHEN n <= {DUE} THEN {now} - n ELSE {now + YEAR_US} END"
    copied(house, "approvals", approval, id="'x' || n", action_id="'x' || n", due_at=at)
    copied(house, "actions", action, id="'x' || n", state="'allowed'", expires_at=at, holder="NULL")
    house.sql("ANALYZE")
    return int(now)


def explained(house: House, statement: Prepared, prefix: str, **params: Any) -> list[Any]:
    """The plan of the statement as the journal's own driver runs it."""
    journal = house.home.journal
    form = statement.form(journal.database.dialect)
    row = form.row({"ns": journal.namespace, **params})

    def look(tx: Tx) -> list[Any]:
        tx._cursor.execute(f"{prefix} {form.sql}", row)
        return list(tx._cursor.fetchall())

    return journal.look(look)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", ()) for node in nodes(below))]


@pytest.mark.parametrize(
    ("statement", "index"),
    [(deadlines._DUE, "approvals_by_state"), (deadlines._OVERDUE, "actions_ready")],
)
def test_a_sweep_reads_what_is_due_and_not_what_waits(
    open_house: Open, clock: ManualClock, statement: Prepared, index: str
) -> None:
    house = open_house(clock=clock)
    now = fill(house)
    given = {"now_": now, "assumed_": 0, "after_": 0, "id_": "", "limit_": 1_000}
    if house.url is None:
        (plan,) = [
            row[3] for row in explained(house, statement, "EXPLAIN QUERY PLAN", **given) if "SEARCH" in row[3]
        ]
        assert f"USING INDEX {index}" in plan
        assert ">" in plan, "from the first that is due"
        assert "<" in plan, "to the last"
        return
    ((found,),) = explained(house, statement, "EXPLAIN (ANALYZE, FORMAT JSON)", **given)
    scans = [node for node in nodes(found[0]["Plan"]) if "Scan" in node["Node Type"]]
    assert {node["Index Name"] for node in scans if "Index Name" in node} == {index}
    assert "Seq Scan" not in {node["Node Type"] for node in scans}
    read = max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans)
    assert DUE <= read <= DUE + 1
