"""Taking old entries out of the database: what is left still goes on, proves, exports and verifies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import Result, run

from crashing import killed_at
from house import BOTH, House
from interlock.home import Home
from interlock.journal import Journal
from interlock.ledger import Kind, entries_path
from interlock.model.errors import HomeUnusable, InvalidInput, RecoveryRequired, Tampered
from interlock.verify import verify_export

DATABASES = BOTH


def grow(house: House, number: int) -> int:
    """Add that many entries at once, of a kind that is quick to write; how many the log has then."""

    def write(tx: object) -> None:
        for each in range(number):
            tx.append(Kind.IDEMPOTENCY_CONFLICT, action=f"act_{each:032x}", agent="a", key=None)  # type: ignore[attr-defined]

    house.home.journal.commit(write)
    house.home.publisher.publish()
    return house.home.journal.head()[0]


def rows(house: House) -> int:
    ((count,),) = house.sql("SELECT count(*) FROM entries")
    return int(count)


def verified(house: House, folder: Path) -> tuple[bool, int]:
    """Whether an export verifies from where it begins, and where that is."""
    house.home.publisher.export(folder)
    found = verify_export(folder, vkey=house.home.publisher.vkey, start=house.home.publisher.first)
    shutil.rmtree(folder)
    return found.ok, found.first


def command(house: House, *arguments: str) -> Result:
    return run(house.home.path.parent, "ledger", *arguments, "--home", str(house.home.path), "--json")


def test_what_is_left_goes_on_and_verifies(house: House, tmp_path: Path) -> None:
    size = grow(house, 700)
    root = house.home.publisher.root_at(300)
    assert house.home.publisher.prune(600, "test") == 512
    assert rows(house) == size + 1 - 512
    assert (house.home.path / "ledger" / "first").read_text() == "512\n"
    assert not (house.home.path / "ledger" / entries_path(1)).exists()
    assert verified(house, tmp_path / "export") == (True, 512)
    grow(house, 300)
    assert verified(house, tmp_path / "export") == (True, 512)
    assert house.home.publisher.root_at(300) == root
    assert house.home.publisher.prune(800, "test") == 768
    assert verified(house, tmp_path / "export") == (True, 768)


def test_earlier_sizes_and_growth_are_still_proved_and_pruned_entries_are_not(house: House) -> None:
    size = grow(house, 700)
    if house.url is not None:
        return  # the command is the same
    before = command(house, "prove", "--consistency", "100", "650").json["proof"]
    assert house.home.publisher.prune(512, "test") == 512
    assert command(house, "prove", "--consistency", "100", "650").json["proof"] == before
    assert command(house, "prove", str(size - 1)).code == 0
    for arguments in (("prove", "3"), ("show", "3"), ("show", f"act_{3:032x}")):
        refused = command(house, *arguments)
        assert (refused.code, "pruned" in refused.out) == (5, True)
    found = command(house, "show", f"act_{600:032x}").json["entries"]
    assert [entry["entry"]["action"] for entry in found] == [f"act_{600:032x}"]
    tail = command(house, "tail", "-n", "2").json
    assert [entry["entry"]["kind"] for entry in tail["entries"]][-1] == "ledger.pruned"
    assert tail["first"] == 512
    assert command(house, "export", str(house.home.path.parent / "early"), "--to", "300").code == 2


def test_a_prune_killed_at_any_write_leaves_a_log_that_goes_on(
    open_house: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    if database != "sqlite":
        monkeypatch.setattr("interlock.home.publishing.lease.LEASE_US", 0)
    house = open_house()
    number, killed = 0, True
    while killed:
        size = grow(house, 256)
        wanted = size - size % 256
        killed = killed_at(number, lambda w=wanted: house.home.publisher.prune(w, "test"), monkeypatch)  # type: ignore[misc]
        again = House(Home.open(house.home.path, database=house.url), house.url)
        grow(again, 1)
        assert verified(again, tmp_path / "export")[0], number
        assert again.home.publisher.prune(wanted, "test") == wanted
        assert rows(again) == again.home.journal.head()[0] - wanted
        bundles = [path for path in (house.home.path / "ledger/tile/entries").rglob("*") if path.is_file()]
        assert all(".p" in path.parent.name for path in bundles)
        again.home.close()
        number += 1 if database == "sqlite" else 4
    assert number > 8


def test_more_than_is_published_is_not_pruned(house: House) -> None:
    size = grow(house, 600)
    with pytest.raises(InvalidInput):
        house.home.publisher.prune(size + 256, "test")
    assert rows(house) == size


def test_hashes_that_will_be_all_that_is_left_are_made_right_first(house: House, tmp_path: Path) -> None:
    grow(house, 600)
    tile = house.home.path / "ledger" / "tile" / "0" / "000"
    right = tile.read_bytes()
    tile.write_bytes(bytes(len(right)))
    house.home.publisher.prune(512, "test")
    assert tile.read_bytes() == right
    assert verified(house, tmp_path / "export") == (True, 512)


def test_entries_that_are_not_what_was_signed_are_not_pruned_away(house: House) -> None:
    size = grow(house, 600)
    house.sql("UPDATE entries SET body = ? WHERE seq = ?", b'{"kind":"x"}', house.home.journal.start + 3)
    with pytest.raises(RecoveryRequired):
        house.home.publisher.prune(512, "test")
    assert rows(house) == size


def test_a_home_that_lost_its_tiles_after_pruning_says_so_and_takes_an_exports(
    house: House, tmp_path: Path
) -> None:
    grow(house, 600)
    house.home.publisher.prune(512, "test")
    house.home.publisher.export(tmp_path / "export")
    tiles = house.home.path / "ledger" / "tile"
    shutil.rmtree(tiles)
    grown = house.home.journal.head()[0]
    house.propose("notes.add", {})
    with pytest.raises(HomeUnusable, match="pruned"):
        house.home.publisher.publish()
    with pytest.raises(HomeUnusable, match="pruned"):
        house.home.publisher.export(tmp_path / "again")
    shutil.copytree(tmp_path / "export" / "tile", tiles)
    assert int(house.home.publisher.publish().split("\n")[1]) == grown + 1
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    assert verified(house, tmp_path / "again") == (True, 512)


def test_entries_that_were_only_deleted_are_missing_and_not_pruned(house: House, tmp_path: Path) -> None:
    grow(house, 600)
    house.sql("DELETE FROM entries WHERE seq < ?", house.home.journal.start + 256)
    with pytest.raises(Tampered, match="missing"):
        house.home.publisher.export(tmp_path / "export")


def test_another_host_follows_the_pruning_and_one_that_was_behind_is_told(
    house: House, open_house: Callable[..., House], tmp_path: Path
) -> None:
    if house.url is None:
        return  # a database file is on one host
    for name in ("other", "late"):
        (tmp_path / name).mkdir(mode=0o700)
        shutil.copytree(house.home.path / "keystore", tmp_path / name / "keystore")
        shutil.copy(house.home.path / "home.json", tmp_path / name / "home.json")
    two = open_house(name="other", database=house.url, clock=house.home.journal.clock)
    grow(house, 600)
    two.home.publisher.publish()
    house.home.publisher.prune(512, "test")
    note = two.home.publisher.publish()
    assert note == house.home.publisher.publish()
    assert two.home.publisher.first == 512
    assert not (two.home.path / "ledger" / entries_path(0)).exists()
    with pytest.raises(HomeUnusable, match="before this host had read them"):
        open_house(name="late", database=house.url, clock=house.home.journal.clock)
    shutil.rmtree(tmp_path / "late" / "ledger")
    shutil.copytree(
        house.home.path / "ledger", tmp_path / "late" / "ledger", ignore=shutil.ignore_patterns("host")
    )
    late = open_house(name="late", database=house.url, clock=house.home.journal.clock)
    assert late.home.publisher.publish() == note


# --- the command -------------------------------------------------------------------------------------------


def test_the_command_wants_an_export_that_has_them_and_old_entries(house: House, tmp_path: Path) -> None:
    if house.url is not None:
        return  # the command is the same
    grow(house, 700)
    export = str(tmp_path / "export")
    assert command(house, "export", export).code == 0
    assert command(house, "prune", "--before", "600", "--yes").code == 2
    assert command(house, "prune", "--yes-i-keep-them", "--yes").code == 2
    young = command(house, "prune", "--before", "600", "--export", export, "--yes")
    assert (young.code, "183" in young.out) == (2, True)
    old = command(house, "prune", "--older-than", "400d", "--export", export, "--yes")
    assert old.json == {"first": 0, "pruned": 0}
    bundle = tmp_path / "export" / entries_path(1)
    right = bundle.read_bytes()
    bundle.write_bytes(right.replace(b'"agent":"a"', b'"agent":"b"', 1))
    assert command(house, "prune", "--before", "600", "--export", export, "--yes", "--force").code == 3
    bundle.write_bytes(right)
    partial = str(tmp_path / "partial")
    assert command(house, "export", partial, "--from", "300").json["first"] == 256
    assert command(house, "prune", "--before", "600", "--export", partial, "--yes", "--force").code == 3
    early = str(tmp_path / "early")
    assert command(house, "export", early, "--to", "300").json["size"] == 300
    assert command(house, "prune", "--before", "600", "--export", early, "--yes", "--force").code == 3
    assert rows(house) == house.home.journal.head()[0]
    done = command(house, "prune", "--before", "600", "--export", export, "--yes", "--force")
    assert done.json == {"first": 512, "pruned": 512}
    again = command(house, "prune", "--before", "600", "--export", export, "--yes", "--force")
    assert again.json == {"first": 512, "pruned": 0}


def test_the_export_of_another_log_is_no_reason_to_prune(
    house: House, open_house: Callable[..., House], tmp_path: Path
) -> None:
    if house.url is not None:
        return  # the command is the same
    grow(house, 300)
    other = open_house(name="stranger")
    grow(other, 300)
    other.home.publisher.export(tmp_path / "export")
    answer = command(
        house, "prune", "--before", "256", "--export", str(tmp_path / "export"), "--yes", "--force"
    )
    assert answer.code == 3
    assert rows(house) == house.home.journal.head()[0]


def test_a_part_of_the_log_is_exported_and_verifies_as_one(house: House, tmp_path: Path) -> None:
    if house.url is not None:
        return  # the command is the same
    grow(house, 700)
    vkey = house.home.publisher.vkey
    done = command(house, "export", str(tmp_path / "part"), "--from", "300", "--to", "650")
    assert (done.json["first"], done.json["size"]) == (256, 650)
    part = tmp_path / "part"
    assert (part / "first").read_text() == "256\n"
    assert not (part / entries_path(0)).exists()
    assert (part / "tile" / "0" / "000").exists()
    assert verify_export(part, vkey=vkey).cannot_check
    assert verify_export(part, vkey=vkey, start=256).ok
    assert command(house, "export", str(tmp_path / "none"), "--from", "9000").code == 2


def test_older_than_finds_the_first_entry_that_is_young_enough(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    if house.url is not None:
        return  # the command is the same
    grow(house, 300)
    house.home.journal.clock.forward(500 * 24 * 3600)  # type: ignore[attr-defined]
    size = grow(house, 300)
    now = house.home.journal.clock.now()
    monkeypatch.setattr("time.time_ns", lambda: now * 1000)
    done = command(house, "prune", "--older-than", "400d", "--yes-i-keep-them", "--yes")
    assert done.json == {"first": 256, "pruned": 256}
    entry = json.loads(next(Journal.entries(house.home.journal, size, size + 1)))
    assert (entry["kind"], entry["before"]) == ("ledger.pruned", 256)
