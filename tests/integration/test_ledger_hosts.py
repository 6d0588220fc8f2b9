"""Several hosts on one PostgreSQL database: one publishes, the others follow, and one takes over."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from house import POLICY, House
from interlock.home.publishing import LEASE_US, Lease
from interlock.home.publishing.lease import host_of
from interlock.ledger import checkpoint
from interlock.model.errors import HomeUnusable, RecoveryRequired
from interlock.verify import verify_export
from published import files, grow, ledger_of, size_in
from restored import Backup, agreed, shut
from server_process import ServerProcess, opened
from waiting import wait_for

DATABASES = ("postgres",)


@pytest.fixture
def hosts(house: House, open_house: Callable[..., House], tmp_path: Path) -> tuple[House, House]:
    """One home on two hosts: the keystore was copied, the database is shared."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    shutil.copytree(house.home.path / "keystore", other / "keystore")
    shutil.copy(house.home.path / "home.json", other / "home.json")
    return house, open_house(name="other", database=house.url, clock=house.home.journal.clock)


def lapse(house: House) -> None:
    house.home.journal.clock.forward(LEASE_US / 1e6 + 1)  # type: ignore[attr-defined]


def row(house: House) -> tuple[str, int, str]:
    ((holder, number, note),) = house.sql("SELECT holder, epoch, checkpoint FROM published")
    return holder, number, note


def test_one_signs_and_the_other_follows_with_the_same_bytes(hosts: tuple[House, House]) -> None:
    one, two = hosts
    size = grow(two, 300)
    assert size_in(two.home.publisher.publish()) < size  # the lease is with the other
    note = one.home.publisher.publish()
    assert size_in(note) == size
    assert two.home.publisher.publish() == note
    assert row(one)[0] == host_of(ledger_of(one))
    theirs = files(ledger_of(two))
    assert theirs == {path: files(ledger_of(one))[path] for path in theirs}


def test_a_lapsed_lease_is_taken_with_the_next_number_and_a_paused_holder_is_refused(
    hosts: tuple[House, House],
) -> None:
    one, two = hosts
    _, number, shown = row(one)
    grow(one, 3)
    lapse(one)
    taken = two.home.publisher.publish()
    assert row(two) == (host_of(ledger_of(two)), number + 1, taken)
    # The holder was paused after it had signed, and wakes now.
    lease = Lease(one.home.journal, host_of(ledger_of(one)))
    assert not lease.publish(number, size_in(shown), shown)
    assert lease.take() is None
    assert row(two)[2] == taken
    grow(one, 1)
    assert one.home.publisher.publish() == taken  # it follows
    assert size_in(two.home.publisher.publish()) > size_in(taken)
    lapse(one)
    one.home.publisher.publish()
    assert row(one)[1] == number + 1  # nothing to sign: nobody needs the lease
    grow(one, 1)
    one.home.publisher.publish()
    assert row(one)[:2] == (host_of(ledger_of(one)), number + 2)
    assert not lease.publish(number, size_in(shown), shown)  # its own, from before


def test_a_host_whose_lease_went_away_while_it_signed_shows_nothing_of_its_own(
    hosts: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = hosts
    shown = one.home.publisher.shown()
    grow(one, 2)
    publish = Lease.publish

    def paused(self: Lease, number: int, size: int, note: str) -> bool:
        monkeypatch.setattr(Lease, "publish", publish)
        lapse(one)
        two.home.publisher.publish()
        return publish(self, number, size, note)

    monkeypatch.setattr(Lease, "publish", paused)
    assert one.home.publisher.publish() == shown
    assert one.home.publisher.publish() == row(two)[2]


def test_another_history_is_not_followed_though_the_key_signed_it(hosts: tuple[House, House]) -> None:
    one, two = hosts
    size = grow(one, 4)
    forged = one.home.publisher._keys.signer.sign(checkpoint(one.home.publisher.origin, size, bytes(32)))
    one.sql("UPDATE published SET checkpoint = ?", forged)
    shown = two.home.publisher.shown()
    for host in (two, one):
        with pytest.raises(RecoveryRequired, match="does not continue"):
            host.home.publisher.publish()
    assert two.home.publisher.shown() == shown


def test_a_checkpoint_beyond_the_database_means_that_the_database_was_put_back(
    hosts: tuple[House, House],
) -> None:
    one, two = hosts
    size = one.home.journal.head()[0] + 7
    ahead = one.home.publisher._keys.signer.sign(checkpoint(one.home.publisher.origin, size, bytes(32)))
    one.sql("UPDATE published SET checkpoint = ?", ahead)
    with pytest.raises(RecoveryRequired, match="another host signed"):
        two.home.publisher.publish()


@pytest.mark.parametrize(
    "garbage", ["", "x", "a\n-1\nb\n\n", "a\n99999\nb\n\n", "a\n2\nAAAA\n\nx\n", b"\xff"]
)
def test_what_nobody_signed_is_not_followed_and_the_holder_replaces_it(
    hosts: tuple[House, House], garbage: str | bytes
) -> None:
    one, two = hosts
    if one.url is not None and isinstance(garbage, bytes):
        garbage = "no bytes"  # only SQLite lets anybody write bytes into a column of texts
    size = grow(one, 2)
    shown = two.home.publisher.shown()
    one.sql("UPDATE published SET checkpoint = ?", garbage)
    with contextlib.suppress(HomeUnusable):
        assert two.home.publisher.publish() == shown
    assert two.home.publisher.shown() == shown
    assert size_in(one.home.publisher.publish()) == size
    assert size_in(two.home.publisher.publish()) == size


def test_a_new_host_reads_the_log_from_its_beginning(
    hosts: tuple[House, House], open_house: Callable[..., House], tmp_path: Path
) -> None:
    one, _ = hosts
    grow(one, 300)
    note = one.home.publisher.publish()
    third = tmp_path / "third"
    third.mkdir(mode=0o700)
    shutil.copytree(one.home.path / "keystore", third / "keystore")
    shutil.copy(one.home.path / "home.json", third / "home.json")
    new = open_house(name="third", database=one.url, clock=one.home.journal.clock)
    assert new.home.publisher.publish() == note
    assert new.home.publisher.tiles.tree(size_in(note)) == one.home.journal.head()[1]


@pytest.mark.parametrize("edited", [False, True])
def test_another_host_follows_a_new_epoch_only_if_it_keeps_what_that_host_had_followed(
    hosts: tuple[House, House], open_house: Callable[..., House], tmp_path: Path, edited: bool
) -> None:
    one, two = hosts
    clock = one.home.journal.clock
    ann, bob = one.person("Ann"), one.person("Bob")
    one.home.publisher.publish()
    saved = Backup(one, tmp_path)
    grow(one, 5)
    assert one.home.publisher.publish() == two.home.publisher.publish()
    shut(one)
    shut(two)
    saved.put_back()
    recovered = open_house(clock=clock, recovering=True)
    agreed(recovered, ann, bob)
    if edited:
        second = recovered.home.journal.start + 1
        ((body,),) = recovered.sql("SELECT body FROM entries WHERE seq = ?", second)
        recovered.sql(
            "UPDATE entries SET body = ? WHERE seq = ?", body.replace(b"default", b"altered"), second
        )
        with pytest.raises(RecoveryRequired, match="entry 1 is not"):
            open_house(name="other", database=recovered.url, clock=clock)
        return
    other = open_house(name="other", database=recovered.url, clock=clock)
    assert other.home.publisher.publish() == recovered.home.publisher.publish()
    assert other.home.publisher.origin.endswith("/2")
    lost = ledger_of(other) / "lost" / "1" / "tile" / "entries" / "000.p"
    assert lost.is_dir()


def test_killed_or_stopped_the_holder_is_replaced_and_follows_when_it_wakes(
    tmp_path: Path, postgres: Any
) -> None:
    """Two servers on one database. One is stopped in the middle, later killed; the log goes on."""
    url, policy = postgres.database(0), tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    options = ("--database", url)
    one, two = (ServerProcess(tmp_path / name, policy, options=options) for name in ("one", "two"))
    with one:
        (tmp_path / "two").mkdir(mode=0o700)
        shutil.copytree(tmp_path / "one" / "keystore", tmp_path / "two" / "keystore")
        shutil.copy(tmp_path / "one" / "home.json", tmp_path / "two" / "home.json")
        with two, opened(tmp_path / "two") as home:
            house, shown = House(home, url), {}

            def published(server: ServerProcess, size: int) -> str:
                notes: list[str] = []

                def reaches() -> bool:
                    notes.append(httpx.get(f"{server.url}/ledger/checkpoint", trust_env=False).text)
                    return size_in(notes[-1]) >= size

                wait_for(reaches)
                return notes[-1]

            size = grow(house, 3)
            assert published(one, size) == published(two, size)
            assert one.process is not None
            os.kill(one.process.pid, signal.SIGSTOP)
            try:
                size = grow(house, 3)
                shown["while stopped"] = published(two, size)
            finally:
                os.kill(one.process.pid, signal.SIGCONT)
            assert published(one, size) == shown["while stopped"]
            size = grow(house, 3)
            assert published(two, size) == published(one, size)
            one.kill()
            size = grow(house, 3)
            published(two, size)
            numbers = house.sql("SELECT epoch FROM published")
            assert numbers >= [(2,)]
            home.publisher.export(tmp_path / "export")
            assert verify_export(tmp_path / "export", vkey=home.publisher.vkey).ok
