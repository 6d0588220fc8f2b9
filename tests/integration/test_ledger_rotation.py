"""Replacing the key that signs: both sign for a while, the old one hands over, no crash breaks the chain."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cli_command import run

from crashing import killed_at
from house import BOTH, POLICY, House
from interlock.home import Home
from interlock.home.keystore import Keystore
from interlock.home.publishing import OVERLAP_US, KeyMissing
from interlock.ledger import Frontier, Signer, checkpoint, signed_by
from interlock.model.errors import HomeUnusable, Tampered
from interlock.verify import verify_export
from published import size_in
from restored import Backup, again, agreed, shut
from server_process import ServerProcess, opened
from waiting import wait_for

DATABASES = BOTH


def keys_in(house: House) -> set[str]:
    return {path.name for path in (house.home.path / "keystore").glob("*.pem")}


def grow(house: House) -> str:
    house.propose("notes.add", {"n": house.home.journal.head()[0]})
    return house.home.publisher.publish()


def assert_sound(house: House, folder: Path, *vkeys: str) -> None:
    """An export verifies with each of the keys."""
    house.home.publisher.export(folder)
    for vkey in vkeys:
        found = verify_export(folder, vkey=vkey)
        assert found.ok, (vkey, found.problems)
    shutil.rmtree(folder)


def test_whoever_pinned_any_of_the_keys_can_check_the_log(house: House, tmp_path: Path) -> None:
    vkeys = [house.home.publisher.vkey]
    for _ in range(3):
        grow(house)
        before, after = house.home.publisher.rotate("test")
        assert before == vkeys[-1]
        vkeys.append(after)
    grow(house)
    assert house.home.publisher.vkey == vkeys[-1]
    assert Keystore.open(house.home.path, fresh=False).vkey == vkeys[-1]
    assert [link.vkey for link in house.home.publisher.chain.links] == vkeys
    assert_sound(house, tmp_path / "export", *vkeys)


def test_both_keys_sign_for_seven_days_and_then_the_old_one_is_gone(house: House, tmp_path: Path) -> None:
    before, after = house.home.publisher.rotate("test")
    assert len(keys_in(house)) == 2
    note = grow(house)
    assert signed_by(note, before)
    assert signed_by(note, after)
    house.home.journal.clock.forward(OVERLAP_US / 1e6 - 60)  # type: ignore[attr-defined]
    assert signed_by(grow(house), before)
    house.home.journal.clock.forward(120)  # type: ignore[attr-defined]
    note = grow(house)
    assert not signed_by(note, before)
    assert signed_by(note, after)
    assert keys_in(house) == {"ledger.pem"}
    assert_sound(house, tmp_path / "export", before, after)
    again = Home.open(house.home.path, database=house.url, clock=house.home.journal.clock)
    assert again.publisher.vkey == after
    again.close()


def test_the_handover_is_a_checkpoint_of_the_log_up_to_the_entry_signed_by_both(house: House) -> None:
    grow(house)
    entry = house.home.journal.head()[0]
    before, after = house.home.publisher.rotate("test")
    grow(house)
    note = house.home.publisher.handover(0)
    assert note is not None
    tree = house.home.publisher.tiles.tree(entry + 1)
    assert note.startswith(checkpoint(house.home.publisher.origin, entry + 1, tree.root()))
    assert signed_by(note, before)
    assert signed_by(note, after)
    assert house.home.publisher.handover(1) is None


def test_a_rotation_killed_at_any_write_is_finished_by_whoever_comes_next(
    open_house: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    if database != "sqlite":
        monkeypatch.setattr("interlock.home.publishing.lease.LEASE_US", 0)  # nobody else is there to wait for
    house = open_house()
    vkeys, number, killed = [house.home.publisher.vkey], 0, True
    while killed:
        killed = killed_at(number, lambda: house.home.publisher.rotate("test"), monkeypatch)
        again = House(Home.open(house.home.path, database=house.url), house.url)
        grow(again)
        if again.home.publisher.vkey != vkeys[-1]:
            vkeys.append(again.home.publisher.vkey)
        if number % 6 == 0 or not killed:
            assert_sound(again, tmp_path / "export", *vkeys)
        assert (again.home.path / "keystore" / "ledger.pem").exists()
        again.home.close()
        number += 1 if database == "sqlite" else 3
    assert number > 10
    assert len(vkeys) > 3
    rotations = [entry for entry in house.entries() if "ledger.key_rotated" in entry]
    assert len(rotations) == len(vkeys) - 1


def test_an_old_key_is_not_deleted_before_its_handover_is_written(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = house.home.publisher.rotate("test")
    (house.home.path / "ledger" / "handovers" / "000").unlink()
    house.home.journal.clock.forward(OVERLAP_US / 1e6 + 60)  # type: ignore[attr-defined]
    number = 0
    while killed_at(number, lambda: grow(house), monkeypatch):
        written = (house.home.path / "ledger" / "handovers" / "000").exists()
        assert written or len(keys_in(house)) == 2
        number += 1
    assert keys_in(house) == {"ledger.pem"}
    assert_sound(house, tmp_path / "export", before, after)


@pytest.mark.parametrize(
    "lie",
    [
        {"previous": "interlock.local/x+00000000+AQ=="},
        {"vkey": "other"},
        {"vkey": 7},
        {"vkey": "first"},
    ],
)
def test_a_rotation_that_does_not_follow_is_not_signed(house: House, lie: dict[str, str]) -> None:
    """As somebody writes it who can write entries into the database, and nothing else."""
    first = house.home.publisher.vkey
    house.home.publisher.rotate("test")
    shown = grow(house)
    publisher = house.home.publisher
    said = {"vkey": _stranger(publisher.origin), "previous": publisher.vkey, "by": "x", **lie}
    if said["vkey"] == "first":
        said["vkey"] = first  # its private key is still in the keystore
    if said["vkey"] == "other":
        said["vkey"] = _stranger("interlock.local/other")
    from interlock.ledger import Kind

    house.home.journal.commit(lambda tx: tx.append(Kind.LEDGER_KEY_ROTATED, **said))
    with pytest.raises(Tampered):
        publisher.publish()
    assert publisher.shown() == shown


def test_a_key_that_nobody_has_signs_nothing(house: House) -> None:
    from interlock.ledger import Kind

    publisher = house.home.publisher
    said = {"vkey": _stranger(publisher.origin), "previous": publisher.vkey, "by": "x"}
    house.home.journal.commit(lambda tx: tx.append(Kind.LEDGER_KEY_ROTATED, **said))
    with pytest.raises(KeyMissing, match="keystore"):
        publisher.publish()


def _stranger(name: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Signer(name, Ed25519PrivateKey.generate()).vkey


def test_key_files_that_others_can_read_are_refused(house: House) -> None:
    house.home.publisher.rotate("test")
    (kept,) = (house.home.path / "keystore").glob("ledger-*.pem")
    kept.chmod(0o644)
    with pytest.raises(HomeUnusable, match="read by others"):
        grow(house)


def test_a_host_without_the_new_key_follows_and_signs_nothing_until_it_is_copied(
    house: House, open_house: Callable[..., House], tmp_path: Path
) -> None:
    if house.url is None:
        assert house.home.publisher.vkey  # a database file is on one host
        return
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    shutil.copytree(house.home.path / "keystore", other / "keystore")
    shutil.copy(house.home.path / "home.json", other / "home.json")
    two = open_house(name="other", database=house.url, clock=house.home.journal.clock)
    _, after = house.home.publisher.rotate("test")
    note = grow(house)
    assert two.home.publisher.publish() == note
    assert two.home.publisher.vkey == after
    house.home.journal.clock.forward(10)  # type: ignore[attr-defined]
    house.propose("notes.add", {"n": "more"})
    with pytest.raises(KeyMissing):
        two.home.publisher.publish()
    assert two.home.publisher.shown() == note
    assert house.home.publisher.publish() != note  # the other did not keep the lease from it
    with pytest.raises(HomeUnusable, match="handovers"):
        two.home.publisher.export(tmp_path / "export")
    shutil.copytree(house.home.path / "keystore", other / "keystore", dirs_exist_ok=True)
    house.home.journal.clock.forward(10)  # type: ignore[attr-defined]
    assert signed_by(grow(two), after)
    assert_sound(two, tmp_path / "export2", after)


@pytest.mark.parametrize("lost_too", ["rotation", "pruning", "killed"])
def test_a_new_epoch_goes_on_from_what_was_kept_and_puts_the_rest_aside(
    house: House,
    open_house: Callable[..., House],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost_too: str,
) -> None:
    ann, bob, clock = house.person("Ann"), house.person("Bob"), house.home.journal.clock
    pinned = house.home.publisher.vkey
    for _ in range(270):
        house.propose("notes.add", {"n": house.home.journal.head()[0]})
    before = grow(house)
    kept, root = house.home.publisher.signed()
    saved = Backup(house, tmp_path)
    if lost_too == "rotation":
        house.home.publisher.rotate("test")
    for _ in range(300):
        house.propose("notes.add", {"n": house.home.journal.head()[0]})
    lost = grow(house)
    if lost_too == "pruning":
        assert house.home.publisher.prune(512, "test") == 512
    shut(house)
    saved.put_back()
    after = again(open_house, clock)  # type: ignore[arg-type]
    if lost_too == "killed":
        agreed(after, ann)
        assert killed_at(0, lambda: agreed(after, bob), monkeypatch)  # the epoch is in the database
        shut(after)
        number = 0
        while killed_at(number, lambda: again(open_house, clock), monkeypatch):  # type: ignore[arg-type]
            number += 1 if house.url is None else 3
        assert number > 10
        after = again(open_house, clock)  # type: ignore[arg-type]
        assert after.home.recovery.required is None
    else:
        agreed(after, ann, bob)
    grow(after)
    publisher, ledger = after.home.publisher, after.home.path / "ledger"
    assert publisher.origin == f"{publisher.log}/2"
    assert publisher.root_at(kept) == root
    aside = ledger / "lost" / "1"
    assert (aside / "checkpoint").read_text() != before
    assert len((aside / "tile" / "0" / "001").read_bytes()) == 8192
    assert (aside / "tile" / "entries" / "001").exists() == (lost_too != "pruning")
    assert (aside / "handovers" / "000").exists() == (lost_too == "rotation")
    assert lost.split("\n")[0] == publisher.log
    tree = Frontier.EMPTY.appended(publisher.tiles.leaves(0, publisher.signed()[0]))
    assert tree == after.home.journal.head()[1]
    assert_sound(after, tmp_path / "export", pinned, publisher.vkey)
    shut(after)
    last = open_house(clock=clock)
    assert last.home.publisher.vkey == publisher.vkey
    assert_sound(last, tmp_path / "export", pinned)


def test_a_running_server_signs_with_the_new_key_within_a_round(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    with ServerProcess(tmp_path / "home", policy) as server:
        pinned = httpx.get(f"{server.url}/ledger/vkey", trust_env=False).text.strip()
        done = run(tmp_path, "ledger", "rotate-key", "--home", str(tmp_path / "home"), "--json")
        assert done.code == 0, done.err
        assert done.json["previous"] == pinned
        with opened(tmp_path / "home") as home:
            size = home.journal.head()[0]
            home.gate.activate(home.gate.policy, by="test", reason="again")
            House(home).propose("notes.add", {})

        def note() -> str:
            return httpx.get(f"{server.url}/ledger/checkpoint", trust_env=False).text

        wait_for(lambda: size_in(note()) > size)
        assert signed_by(note(), done.json["vkey"])
        assert signed_by(note(), pinned)
        assert httpx.get(f"{server.url}/ledger/vkey", trust_env=False).text.strip() == done.json["vkey"]
        handover = httpx.get(f"{server.url}/ledger/handovers/000", trust_env=False)
        assert signed_by(handover.text, pinned)
        assert server.stop() == 0
    assert "Error" not in server.log.read_text()
