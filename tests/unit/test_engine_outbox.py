"""The outbox: a segment is committed with the decision or not at all, and carries ids only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from interlock.engine import Retry, enqueue
from interlock.engine.outbox import check_ids
from interlock.journal import Journal, Tx, Vault, tables
from interlock.model.errors import Conflict, InvalidInput


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    opened = Journal.open_sqlite(tmp_path_factory.mktemp("home") / "journal.db", Vault(bytes(32), bytes(32)))
    yield opened
    opened.close()


def rows(journal: Journal) -> list[Any]:
    with journal.read() as connection:
        return list(connection.execute(select(tables.segments).order_by(tables.segments.c.id)).all())


def test_a_segment_is_there_when_its_transaction_is_and_not_otherwise(journal: Journal) -> None:
    def refused(tx: Tx) -> None:
        enqueue(tx, "dispatch", {"action": "act_1"})
        raise Conflict("no")

    before = rows(journal)
    with pytest.raises(Conflict):
        journal.commit(refused)
    assert rows(journal) == before
    id = journal.commit(lambda tx: enqueue(tx, "dispatch", {"revision": "2", "action": "act_1"}))
    assert [(row.id, row.segment, row.ids) for row in rows(journal)[len(before) :]] == [
        (id, "dispatch", '{"action":"act_1","revision":"2"}')
    ]


def test_two_enqueues_are_two_segments_in_their_order(journal: Journal) -> None:
    before = len(rows(journal))
    ids = [journal.commit(lambda tx: enqueue(tx, "dispatch", {"action": "act_1"})) for _ in range(20)]
    assert len(set(ids)) == 20
    # Of one microsecond the order is open; across them it is the time's.
    assert [row.id[:18] for row in rows(journal)[before:]] == sorted(id[:18] for id in ids)


@pytest.mark.parametrize(
    "ids",
    [
        {"action": "ann@example.org"},
        {"action": "two words"},
        {"action": ""},
        {"action": "a" * 256},
        {"action": "naïve"},
        {"action": "act_1\n"},
        {"action": 7},
        {"Action": "act_1"},
        {f"id{n}": "x" for n in range(9)},
        ["act_1"],
        None,
    ],
)
def test_what_is_no_id_is_refused_before_anything_is_written(journal: Journal, ids: Any) -> None:
    before = rows(journal)
    with pytest.raises(InvalidInput):
        journal.commit(lambda tx: enqueue(tx, "dispatch", ids))
    assert rows(journal) == before


@pytest.mark.parametrize("name", ["", "Dispatch", "a b", "-x", "x" * 41, "x\n", "a.b"])
def test_a_segment_has_a_plain_name(journal: Journal, name: str) -> None:
    with pytest.raises(InvalidInput):
        journal.commit(lambda tx: enqueue(tx, name, {}))


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_no_personal_text_passes_as_an_id(ids: dict[str, str]) -> None:
    try:
        check_ids(ids)
    except InvalidInput:
        return
    assert all(text.isascii() and not set(text) & set(" @<>\"'\\\n/") for text in (*ids, *ids.values()))


@given(st.integers(1, 2_000))
def test_rests_grow_and_end_at_the_longest(attempt: int) -> None:
    retry = Retry(first_sec=0.5, factor=3.0, longest_sec=20.0)
    assert 0.5 <= retry.rest_sec(attempt) <= retry.rest_sec(attempt + 1) <= 20.0


def test_whoever_only_enqueues_never_loads_the_engine() -> None:
    code = """
import sys
import interlock.engine, interlock.engine.on_dbos
assert not {"dbos", "psycopg"} & {name.split(".")[0] for name in sys.modules}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
