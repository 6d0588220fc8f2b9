"""Leases of executors: who may take whose row, and when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from house import ManualClock
from interlock.engine import Delivery, Spent, executors
from interlock.engine.executors import LEASE_US, Executor
from interlock.engine.presence import Presence
from interlock.journal import Journal, Vault

A, B, C = (f"exe_{letter * 32}" for letter in "abc")
LAPSED_SEC = LEASE_US / 1_000_000


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    opened = Journal.open_sqlite(tmp_path / "journal.db", Vault(bytes(32), bytes(32)), clock=clock)
    yield opened
    opened.close()


def row(journal: Journal, id: str) -> Executor | None:
    return journal.look(executors.everybody)[0].get(id)


def take(journal: Journal, id: str, by: str, seen: Executor | None, *, dead: bool = False) -> int | None:
    return journal.commit(lambda tx: executors.take(tx, id, by, seen, dead=dead))


def test_a_lease_that_lasts_is_not_taken_and_one_that_lapsed_is(journal: Journal, clock: ManualClock) -> None:
    journal.commit(lambda tx: executors.join(tx, A))
    assert take(journal, A, B, row(journal, A)) is None
    clock.forward(LAPSED_SEC - 0.001)
    assert take(journal, A, B, row(journal, A)) is None
    clock.forward(0.001)
    assert take(journal, A, B, row(journal, A)) == 2
    taken = row(journal, A)
    assert taken is not None
    assert taken.holder == B


def test_of_two_that_saw_the_same_row_one_takes_it(journal: Journal, clock: ManualClock) -> None:
    journal.commit(lambda tx: executors.join(tx, A))
    clock.forward(LAPSED_SEC)
    seen = row(journal, A)
    assert [take(journal, A, by, seen) for by in (B, C)] == [2, None]


def test_a_process_known_to_be_dead_is_taken_over_before_its_lease_lapses(journal: Journal) -> None:
    journal.commit(lambda tx: executors.join(tx, A))
    assert take(journal, A, B, row(journal, A), dead=True) == 2


def test_whoever_takes_over_and_dies_is_followed_by_a_third(journal: Journal, clock: ManualClock) -> None:
    journal.commit(lambda tx: executors.join(tx, A))
    clock.forward(LAPSED_SEC)
    assert take(journal, A, B, row(journal, A)) == 2
    assert take(journal, A, C, row(journal, A)) is None
    clock.forward(LAPSED_SEC)
    assert take(journal, A, C, row(journal, A)) == 3
    assert not journal.commit(lambda tx: executors.renew(tx, A, B, 2))
    journal.commit(lambda tx: executors.drop(tx, A, B, 2))
    assert row(journal, A) is not None  # what a spent epoch asks for does nothing
    journal.commit(lambda tx: executors.drop(tx, A, C, 3))
    assert row(journal, A) is None


def test_a_lapsed_lease_that_nobody_took_is_renewed(journal: Journal, clock: ManualClock) -> None:
    journal.commit(lambda tx: executors.join(tx, A))
    clock.forward(60)
    assert journal.commit(lambda tx: executors.renew(tx, A, A, 1))
    assert take(journal, A, B, row(journal, A)) is None


def test_a_paused_process_that_wakes_finds_its_epoch_spent(journal: Journal, clock: ManualClock) -> None:
    journal.commit(lambda tx: executors.join(tx, A))
    delivery = Delivery("seg", "dispatch", {}, 1, False, A, 1)
    journal.commit(delivery.fence)
    clock.forward(LAPSED_SEC)
    take(journal, A, B, row(journal, A))
    assert not journal.commit(lambda tx: executors.renew(tx, A, A, 1))
    with pytest.raises(Spent):
        journal.commit(delivery.fence)
    journal.commit(lambda tx: executors.drop(tx, A, B, 2))
    with pytest.raises(Spent):
        journal.commit(delivery.fence)


def test_work_under_an_id_without_a_row_is_taken_by_one(journal: Journal) -> None:
    assert take(journal, A, B, None) == 1
    assert take(journal, A, C, None) is None


def test_presence_tells_the_dead_from_the_living(tmp_path: Path) -> None:
    here, there = Presence(tmp_path / "executors"), Presence(tmp_path / "executors")
    here.appear(A)
    assert not there.gone(A)
    assert not here.gone(A)
    assert not there.gone(B)  # another machine's: nobody here can tell
    here.leave(A)
    assert not there.gone(A)
