"""Rows on their way to PostgreSQL and back: many in one statement, found by their keys, nothing left open."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from test_gate_together import deciding, several, together
from test_lanes_cost import nodes

from house import House
from interlock.gate.records import _saving
from interlock.journal import ConnectionLost, Tx
from interlock.journal import postgres as backend
from interlock.journal import tables as t
from interlock.journal.postgres_reading import AT_ONCE, KEPT
from interlock.journal.postgres_rows import Rows, at_once
from interlock.journal.prepared import Prepared, insert_into
from interlock.ledger import Kind
from interlock.model.errors import InvalidInput
from postgres import Postgres, run
from waiting import wait_for

DATABASES = ("postgres",)


def test_many_answers_in_one_transaction_ask_the_database_no_more_than_a_few(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, actions = house.person("Ann"), several(house, 41)
    writer = house.home.journal.database.writer()
    asked: list[Any] = []
    execute = psycopg.Cursor.execute

    def counted(self: Any, *given: Any, **rest: Any) -> Any:
        if self.connection is writer:
            asked.append(given)
        return execute(self, *given, **rest)

    def statements(actions: list[str]) -> int:
        members = [deciding(house, action, ann) for action in actions]
        asked.clear()
        with monkeypatch.context() as watched:
            watched.setattr(psycopg.Cursor, "execute", counted)
            together(house, *members)
        return len(asked)

    few = statements(actions[:11])
    assert statements(actions[11:]) == few
    assert few <= 10


VALUES = [
    ("", 0, b""),
    ("ü€😀\n{},\"'\\", -(2**63), bytes(range(256))),
    ("NULL", 2**63 - 1, b"\x00"),
]


def test_every_value_arrives_as_it_was(house: House) -> None:
    rows = [("default", f"seg_{n}", text, "{}", number) for n, (text, number, _) in enumerate(VALUES)]
    bodies = [(10**15 + n, "default", body, text or None) for n, (text, _, body) in enumerate(VALUES)]
    database = house.home.journal.database
    database.begin("default")
    counts = database.write([(insert_into(t.segments), rows), (insert_into(t.payloads), bodies)])
    written = database.writer()
    read = written.execute("SELECT * FROM segments ORDER BY id").fetchall()
    sealed = written.execute("SELECT * FROM payloads WHERE seq >= %s ORDER BY seq", [10**15]).fetchall()
    database.rollback()
    assert counts == [3, 3]
    assert (read, sealed) == (rows, bodies)


@pytest.mark.parametrize(
    "row", [("default", "seg_1", "a\0b", "{}", 1), ("default", "seg_1", "a", "{}", 2**63)]
)
def test_what_the_database_cannot_hold_is_refused_alone(house: House, row: tuple[Any, ...]) -> None:
    statement = insert_into(t.segments)

    def wrong(tx: Tx) -> None:
        tx.insert(statement, row)

    def right(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="noted", by="test")

    answers = together(house, right, wrong, right)
    assert [type(answer) for answer in answers] == [type(None), InvalidInput, type(None)]
    assert sum('"key":"noted"' in entry for entry in house.entries()) == 2


STATEMENTS = [
    _saving(t.actions, ("id", "revision", "seal"), ("state", "seal")).statement,
    _saving(t.approvals, ("id", "mac"), ("state", "mac")).statement,
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=["actions", "approvals"])
@pytest.mark.parametrize("count", [1, 300])
def test_what_is_saved_is_found_by_its_key_also_before_there_are_statistics(
    open_house: Callable[..., House], postgres: Postgres, statement: Prepared, count: int
) -> None:
    house = open_house(database=postgres.database(40))  # what nobody else has filled and emptied
    house.held()
    database = house.home.journal.database
    kinds = {"ns": "default", "was_revision": 1, "was_seal": b"", "was_mac": b"", "seal": b"", "mac": b""}
    order = statement.form(database.dialect)._order
    rows = [tuple(kinds.get(name, f"x{n}") for name in order) for n in range(count)]
    query, given = at_once([(Rows(statement, database.dialect), rows)])
    ((plan,),) = database.writer().execute(f"EXPLAIN (FORMAT JSON) {query}", given).fetchall()
    found = list(nodes(plan[0]["Plan"]))
    assert not [node for node in found if node["Node Type"] == "Seq Scan" or "Hash" in node["Node Type"]], (
        plan
    )
    sought = [node["Index Cond"] for node in found if "Index Cond" in node]
    assert sought, plan
    assert all(re.search(r"\bid\b", condition) for condition in sought), plan


# --- reading ------------------------------------------------------------------------------------------------


def states(house: House) -> list[str]:
    """Of every connection of ours to the house's database."""
    assert house.url is not None
    found = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    return [state for (state,) in run(house.url, found, "interlock")]


def test_nothing_stays_open_after_a_look(house: House) -> None:
    action = house.held()
    for _ in range(3):
        house.view(action)
    with pytest.raises(ZeroDivisionError):
        house.home.journal.look(lambda _: 1 // 0)
    assert set(states(house)) == {"idle"}


def test_however_many_look_at_once_few_connections_are_open_and_fewer_kept(house: House) -> None:
    action = house.held()
    before = len(states(house))
    seen: list[int] = []

    def look(number: int) -> str:
        if number % 10 == 0:
            seen.append(len(states(house)))
        return house.state(action)

    with ThreadPoolExecutor(40) as threads:
        assert set(threads.map(look, range(200))) == {"held"}
    assert max(seen) <= before + AT_ONCE
    assert len(states(house)) <= before + KEPT


def test_a_look_on_a_connection_that_was_cut_is_made_on_another(house: House, postgres: Postgres) -> None:
    action = house.held()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: house.state(action), range(50)))
    assert house.url is not None
    assert postgres.end_sessions(house.url) > KEPT
    assert house.state(action) == "held"
    assert len(states(house)) == 1


# --- a process that stops ----------------------------------------------------------------------------------


def test_a_process_that_stops_between_its_rows_and_its_commit_holds_nobody_up_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.url is not None
    monkeypatch.setattr(backend, "IDLE_SEC", 1)
    stopped = backend.PostgresDatabase(house.url)
    monkeypatch.undo()
    _, head = stopped.begin("default")
    stopped.write([(insert_into(t.segments), [("default", "seg_1", "x", "{}", 1)])])
    house.home.journal.commit(lambda tx: tx.append(Kind.KEY_REVOKED, key="noted", by="test"))
    with pytest.raises(ConnectionLost):
        stopped.commit(head)
    stopped.close()
    assert house.segments() == []


def test_a_process_that_stops_while_it_looks_leaves_nothing_open_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.url is not None
    monkeypatch.setattr(backend, "IDLE_SEC", 1)
    stopped = backend.PostgresDatabase(house.url)
    with stopped.snapshot("default"):
        wait_for(lambda: "idle in transaction" not in states(house))
    stopped.close()
