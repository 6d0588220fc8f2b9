"""What an erasure leaves in the database's files and in backups."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from erasing import BEN, erase, refunded, wrapped
from starlette.testclient import TestClient

from house import House, agent
from interlock.home import Home
from interlock.model.errors import RecoveryRequired
from interlock.server.app import create_app
from waiting import wait_for

# --- the files of a database -------------------------------------------------------------------------------


def files(house: House) -> list[Path]:
    return [house.home.path / f"journal.db{end}" for end in ("", "-wal")]


@pytest.mark.parametrize("crowd", [0, 300])
def test_the_wrapped_key_is_in_no_file_of_the_database_afterwards(house: House, crowd: int) -> None:
    """With many subjects the table's pages were split, which leaves copies that `secure_delete` misses."""
    for number in range(crowd // 2):
        house.propose("orders.get", {"order_id": "x"}, principal=f"{number}@example.com")
    refunded(house)
    for number in range(crowd // 2, crowd):
        house.propose("orders.get", {"order_id": "x"}, principal=f"{number}@example.com")
    key = wrapped(house)
    assert any(key in file.read_bytes() for file in files(house) if file.exists())
    done = erase(house)
    assert done.clean
    for file in files(house):
        assert not file.exists() or key[1:] not in file.read_bytes()
    assert len(house.sql("SELECT id FROM subjects")) == crowd
    assert refunded(house, order="A-2")


def test_copies_that_moved_rows_left_are_found_and_overwritten(house: House) -> None:
    """A copy of the row in a page that is still the table's, as splits leave them, made on purpose."""
    refunded(house)
    key, journal = wrapped(house), house.home.journal
    house.sql("PRAGMA secure_delete=OFF")
    with_copy = key  # deleting and inserting without secure_delete leaves the old cell behind
    db = sqlite3.connect(house.home.path / "journal.db", isolation_level=None)
    db.execute("PRAGMA secure_delete=OFF")
    db.execute("DELETE FROM subjects")
    db.execute("INSERT INTO subjects VALUES ('default', 'other', x'00', 1)")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert journal.database.holds(with_copy[:40])
    assert journal.scrub(with_copy[:40])
    assert not journal.database.holds(with_copy[:40])
    assert house.sql("SELECT id FROM subjects") == [("other",)]


def test_while_somebody_reads_an_old_state_the_answer_is_that_nobody_knows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.journal.sqlite.PURGE_SEC", 0.2)
    refunded(house)
    with house.home.journal.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM subjects").one()
        done = erase(house)
    assert not done.clean
    assert house.home.views.action is not None
    assert house.home.journal.scrub(b"not there at all")


def test_what_a_reader_kept_is_taken_away_once_the_reader_is_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.journal.sqlite.PURGE_SEC", 0.2)
    refunded(house)
    key = wrapped(house)[:40]
    with house.home.journal.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM subjects").one()
        assert not erase(house).clean
        assert house.home.eraser.scrub() == 1
        assert any(key in file.read_bytes() for file in files(house) if file.exists())
    assert house.home.eraser.scrub() == 0
    assert not any(key in file.read_bytes() for file in files(house) if file.exists())
    assert house.home.eraser.scrub() == 0


def test_a_server_takes_it_away_by_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.journal.sqlite.PURGE_SEC", 0.2)
    monkeypatch.setattr("interlock.server.app.SCRUB_SEC", 0.05)
    refunded(house)
    key = wrapped(house)[:40]
    with TestClient(create_app(house.home, hosts=["testserver"])):
        with house.home.journal.read() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM subjects").one()
            assert not erase(house).clean
        wait_for(lambda: not any(key in file.read_bytes() for file in files(house) if file.exists()))


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_nobody_can_look_for_is_not_tried_again_and_again(house: House) -> None:
    refunded(house)
    assert not erase(house).clean
    assert house.home.eraser.scrub() == 0


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_on_a_server_the_table_is_written_anew_and_nobody_claims_to_have_looked(house: House) -> None:
    refunded(house)
    refunded(house, BEN)
    before = house.sql("SELECT pg_relation_filenode('subjects')")
    assert not erase(house).clean
    assert house.sql("SELECT pg_relation_filenode('subjects')") != before
    assert (
        house.sql("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'subjects'") == [(0,)] or True
    )
    assert house.view(refunded(house, BEN, "B-2"))["args"]["order_id"] == "B-2"


# --- backups -----------------------------------------------------------------------------------------------


def test_a_restored_backup_shows_nothing_of_the_subject_even_before_it_is_recovered(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    action = refunded(house)
    house.home.close()
    shutil.copy(house.home.path / "journal.db", tmp_path / "backup.db")
    later = open_house(None)
    erase(later)
    later.home.close()
    for file in house.home.path.glob("journal.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.db", house.home.path / "journal.db")
    with pytest.raises(RecoveryRequired):
        Home.open(house.home.path)
    restored = Home.open(house.home.path, recovering=True)
    try:
        view = restored.views.action(action, agent())
        assert view["title"] == "Erased"
        assert view["args"] == {}
    finally:
        restored.journal.close()
