"""What a database that was put back is compared with, before anybody goes on with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from house import REFUND, House, ManualClock
from interlock.home.publishing import KeyMissing
from interlock.home.recovery_view import described
from interlock.identity import Person, Role
from interlock.ledger import Frontier, leaf_hash
from interlock.model.canonical import canonical
from interlock.model.errors import RecoveryRequired
from restored import Backup, Open, again, agreed, of_kind, shut

DAY = 24 * 3600


@pytest.fixture
def pruned(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> tuple[House, Backup, tuple[Person, Person]]:
    """A shut house that was pruned up to 256 of 300 entries, and a backup with 100."""
    house = open_house(clock=clock)
    people = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN, Role.REVIEWER)
    _fill(house, 100)
    saved = Backup(house, tmp_path)
    _fill(house, 300)
    assert house.home.publisher.prune(256, "test") == 256
    shut(house)
    return house, saved, people


def _fill(house: House, size: int) -> None:
    number = len(house.entries())
    while number < size:
        house.held(args={**REFUND, "order_id": f"o{number}"})
        number += 1
    house.home.publisher.publish()


def _rewrite(house: House, number: int, *, tree: bool) -> None:
    """As a database administrator does: an entry is another one, and with `tree` the head agrees."""
    rows = house.sql("SELECT seq, body FROM entries ORDER BY seq")
    entry = json.loads(bytes(rows[number][1]))
    entry["agent"] = "mallory"
    bodies = [bytes(body) for _, body in rows]
    bodies[number] = canonical(entry)
    house.sql("UPDATE entries SET body = ? WHERE seq = ?", bodies[number], rows[number][0])
    if tree:
        _head(house, Frontier.EMPTY.appended(map(leaf_hash, bodies)))


def _head(house: House, tree: Frontier) -> None:
    house.sql("UPDATE head SET frontier = ?", tree.to_bytes())


def _no_epoch(house: House, people: tuple[Person, Person], entries: str) -> None:
    assert described(house.home)["entries"] == entries
    with pytest.raises(RecoveryRequired):
        agreed(house, *people)
    assert house.sql("SELECT count(*) FROM epochs") == [(0,)]


def test_a_backup_from_before_a_prune_is_the_one_that_was_signed(
    pruned: tuple[House, Backup, tuple[Person, Person]], open_house: Open, clock: ManualClock
) -> None:
    _, saved, people = pruned
    saved.put_back()
    house = again(open_house, clock)
    assert described(house.home)["entries"] == "same"
    assert agreed(house, *people).opened.number == 2


@pytest.mark.parametrize("tree", [True, False])
@pytest.mark.parametrize("number", [4, 50, 99])
def test_no_epoch_is_opened_on_a_backup_in_which_an_entry_was_rewritten_although_a_prune_came_after_it(
    pruned: tuple[House, Backup, tuple[Person, Person]],
    open_house: Open,
    clock: ManualClock,
    number: int,
    tree: bool,
) -> None:
    _, saved, people = pruned
    saved.put_back()
    _rewrite(pruned[0], number, tree=tree)
    _no_epoch(again(open_house, clock), people, "different")


def test_no_epoch_is_opened_on_a_tree_that_is_not_that_of_the_entries(
    pruned: tuple[House, Backup, tuple[Person, Person]], open_house: Open, clock: ManualClock
) -> None:
    _, saved, people = pruned
    saved.put_back()
    rows = pruned[0].sql("SELECT body FROM entries ORDER BY seq")
    bodies = [*(bytes(body) for (body,) in rows[:-1]), b"forged"]
    _head(pruned[0], Frontier.EMPTY.appended(map(leaf_hash, bodies)))
    _no_epoch(again(open_house, clock), people, "different")


def test_no_epoch_is_opened_where_entries_were_taken_out_that_nobody_pruned(
    pruned: tuple[House, Backup, tuple[Person, Person]], open_house: Open, clock: ManualClock
) -> None:
    house, saved, people = pruned
    saved.put_back()
    ((start,),) = house.sql("SELECT start FROM head")
    house.sql("DELETE FROM entries WHERE seq < ?", start + 50)
    _no_epoch(again(open_house, clock), people, "different")
    house.sql("DELETE FROM entries")
    shut(house)
    _no_epoch(again(open_house, clock), people, "unknown")


def test_no_epoch_is_opened_where_the_tiles_do_not_tell(
    pruned: tuple[House, Backup, tuple[Person, Person]], open_house: Open, clock: ManualClock
) -> None:
    house, saved, people = pruned
    saved.put_back()
    (house.home.path / "ledger" / "tile" / "0" / "000").write_bytes(bytes(32 * 256))
    _no_epoch(again(open_house, clock), people, "unknown")


@pytest.fixture
def rotated(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> tuple[House, Backup, tuple[Person, Person]]:
    """A house whose log has a new key, and a backup from before that."""
    house = open_house(clock=clock)
    people = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN)
    house.held()
    house.home.publisher.publish()
    saved = Backup(house, tmp_path)
    house.home.publisher.rotate("test")
    return house, saved, people


def test_no_epoch_is_opened_that_could_not_be_signed(
    rotated: tuple[House, Backup, tuple[Person, Person]], open_house: Open, clock: ManualClock
) -> None:
    house, saved, people = rotated
    clock.forward(8 * DAY)
    house.home.publisher.publish()  # the key from before is deleted
    shut(house)
    saved.put_back()
    house = again(open_house, clock)
    with pytest.raises(KeyMissing, match="key of then"):
        agreed(house, *people)
    assert of_kind(house, "ledger.epoch_opened") == []
    assert house.home.recovery.required is not None


def test_people_are_told_that_the_new_epoch_has_a_key_that_was_replaced(
    rotated: tuple[House, Backup, tuple[Person, Person]], open_house: Open, clock: ManualClock
) -> None:
    house, saved, people = rotated
    shut(house)
    saved.put_back()
    house = again(open_house, clock)
    assert described(house.home)["epoch"]["old_key"]
    assert agreed(house, *people).opened is not None
    house.home.publisher.rotate("test")


# --- what nobody signed yet -------------------------------------------------------------------------------


def _taken(house: House, clock: ManualClock) -> None:
    """Somebody who reaches the database keeps the lease, with one of an honest length."""
    house.sql("UPDATE published SET holder = 'nobody', epoch = epoch + 1, until = ?", clock.now() + 4_900_000)
    house.home.publisher.publish()


def test_a_lease_that_is_longer_than_any_that_is_taken_is_nobodys(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(clock=clock)
    house.home.publisher.publish()
    house.sql("UPDATE published SET holder = 'nobody', until = 9000000000000000000")
    house.held()
    house.home.publisher.publish()
    assert house.home.publisher.signed()[0] == len(house.entries())


@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("cut", [0, 1])
def test_what_was_not_signed_cannot_be_rewritten_by_whoever_keeps_the_lease(
    open_house: Open, clock: ManualClock, restarted: bool, cut: int
) -> None:
    house = open_house(clock=clock)
    house.home.publisher.publish()
    signed = house.home.publisher.signed()[0]
    for number in range(4):
        house.held(args={**REFUND, "order_id": f"o{number}"})
        _taken(house, clock)
        clock.forward(60)
    assert house.home.publisher.signed()[0] == signed
    if restarted:
        shut(house)
    _rewrite(house, signed + cut, tree=True)
    house.sql("UPDATE published SET until = 0")
    if restarted:
        house = again(open_house, clock)
        assert house.home.recovery.required is not None
        assert described(house.home)["entries"] == "different"
    else:
        with pytest.raises(RecoveryRequired):
            house.home.publisher.publish()
    assert house.home.publisher.signed()[0] == signed
