"""Recovery where several hosts share one PostgreSQL database, and where that is not the server it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from house import REFUND, House, ManualClock
from interlock.home.recovery_view import described
from interlock.identity import Person, Role
from interlock.model.actions import ExecutorKind
from interlock.model.errors import Conflict, RecoveryRequired
from interlock.verify import verify_export
from restored import REASON, Backup, Open, again, agreed, dismissed, flag, flagged, proposes, shut

DATABASES = ("postgres",)


@pytest.fixture
def team(open_house: Open, clock: ManualClock) -> tuple[House, Person, Person]:
    """A house with two people who may open an epoch."""
    house = open_house(clock=clock)
    return house, house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN, Role.REVIEWER)


@pytest.fixture
def second(team: tuple[House, Person, Person], open_house: Open, tmp_path: Path) -> House:
    """The same home on another host."""
    house, other = team[0], tmp_path / "other"
    other.mkdir(mode=0o700)
    shutil.copytree(house.home.path / "keystore", other / "keystore")
    shutil.copy(house.home.path / "home.json", other / "home.json")
    return open_house(name="other", database=house.url, clock=house.home.journal.clock)


def follow(house: House, clock: ManualClock) -> None:
    """What a server does each second, until this host has published or followed what is there."""
    for _ in range(8):
        if not house.home.recovery.stands():
            house.home.publisher.publish()
            if house.home.publisher.signed()[0] == len(house.entries()):
                return
        clock.forward(1)
    raise AssertionError("this host does not follow")


def test_a_process_that_knows_the_longer_history_writes_nothing_until_it_is_started_anew(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    saved = Backup(house, tmp_path)
    house.held()
    saved.put_back()
    with pytest.raises(RecoveryRequired):
        house.held()
    assert flag(house) == 1
    with pytest.raises(RecoveryRequired):  # not even an agreement
        agreed(house, *team[1:])
    other = again(open_house, clock)
    agreed(other, *team[1:])
    other.held(args={**REFUND, "order_id": "after"})
    with pytest.raises(RecoveryRequired, match="longer history"):
        house.held(args={**REFUND, "order_id": "never"})
    for _ in range(2):  # as its server does each second
        try:
            assert house.home.recovery.stands()
        except RecoveryRequired as error:
            house.home.recovery.begin(error)
    assert "longer history" in str(house.home.recovery.required)
    assert flag(house) == 0  # it does not stop the others for what it knows
    other.held(args={**REFUND, "order_id": "and on"})


def test_another_server_or_timeline_is_believed_only_where_nothing_is_missing(
    team: tuple[House, Person, Person],
    open_house: Open,
    clock: ManualClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = team[0]
    record = house.home.path / "ledger" / "database.json"
    told = json.loads(record.read_bytes())
    assert len(told["identity"].split("/")) == 3
    shut(house)
    record.write_text('{"identity": "1/00000001/1"}')
    house = again(open_house, clock, recovering=False)
    assert "is not behind" in caplog.text
    assert json.loads(record.read_bytes()) == told
    record.write_text('{"identity": "1/00000002/1"}')
    assert not house.home.recovery.stands()  # the same while it runs
    assert "from 1/00000002/1 to" in caplog.text
    assert json.loads(record.read_bytes()) == told
    shut(house)
    record.write_text('{"identity": "1/00000001/1"}')
    for name in ("signed.json", "mark"):
        (house.home.path / "ledger" / name).unlink()
    house = again(open_house, clock)
    assert house.home.recovery.required is not None
    agreed(house, *team[1:])
    assert json.loads(record.read_bytes()) == told


def test_what_one_host_finds_stops_every_host_and_all_of_them_go_on_in_the_new_epoch(
    team: tuple[House, Person, Person], second: House, open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    one, ann, bob = team
    action = one.held()
    one.answer(action, bob)
    follow(one, clock)
    follow(second, clock)
    saved = Backup(one, tmp_path)
    one.held(args={**REFUND, "order_id": "lost"})
    follow(one, clock)
    shut(one)
    saved.put_back()  # the second host has seen nothing of what was lost
    one = again(open_house, clock)
    assert one.home.recovery.required is not None
    before = one.entries()
    for ask in (
        lambda: second.gate.claim(action, ExecutorKind.CALLER),
        lambda: second.held(args={**REFUND, "order_id": "new"}),
    ):
        with pytest.raises(RecoveryRequired):
            ask()
    assert second.home.recovery.required is not None
    assert second.home.recovery.stands()
    assert (second.home.path / "ledger" / "recovery.json").exists()
    assert one.entries() == before
    assert agreed(one, ann, bob).opened.doubted == {"approved": 1}
    follow(one, clock)
    follow(second, clock)
    assert second.home.recovery.required is None
    assert second.home.publisher.origin == one.home.publisher.origin
    held = second.held(args={**REFUND, "order_id": "after"})
    one.answer(held, ann if Role.REVIEWER in ann.roles else bob)
    for number, house in enumerate((one, second)):
        follow(house, clock)
        house.home.publisher.export(tmp_path / f"export{number}")
        report = verify_export(tmp_path / f"export{number}", vkey=house.home.publisher.vkey)
        assert report.problems == ()


def test_people_agree_at_one_host(
    team: tuple[House, Person, Person], second: House, open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    one, ann, bob = team
    saved = Backup(one, tmp_path)
    one.held()
    follow(one, clock)
    shut(one)
    saved.put_back()
    one = again(open_house, clock)
    assert second.home.recovery.stands()
    assert described(second.home)["missing"] == 0  # it knows of nothing that is lost
    agreed(one, ann)
    answer = agreed(second, bob)
    assert (answer.agreed, answer.opened) == ((bob,), None)
    assert flag(one) == 1
    agreed(one, ann, bob)
    assert flag(one) == 0
    assert not second.home.recovery.stands()


def test_another_host_that_was_told_of_a_false_alarm_goes_on_when_people_dismissed_it(
    team: tuple[House, Person, Person], second: House, clock: ManualClock
) -> None:
    one, ann, bob = team
    follow(one, clock)
    follow(second, clock)
    flagged(one)
    assert second.home.recovery.stands()
    dismissed(second, ann, bob)
    assert proposes(one, "after")
    follow(one, clock)
    follow(second, clock)
    assert one.home.recovery.required is None
    assert (one.home.publisher.origin, flag(one)) == (second.home.publisher.origin, 0)


def test_what_another_host_knows_to_be_missing_is_not_dismissed_here(
    team: tuple[House, Person, Person], second: House, open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    one, ann, bob = team
    follow(one, clock)
    follow(second, clock)
    saved = Backup(one, tmp_path)
    one.held(args={**REFUND, "order_id": "lost"})
    follow(one, clock)
    shut(one)
    saved.put_back()  # the second host has seen nothing of what was lost
    one = again(open_house, clock)
    assert second.home.recovery.stands()
    assert described(second.home)["dismissal"]["gap"] is None
    with pytest.raises(Conflict, match="Another process of this home had"):
        second.home.recovery.agree(ann.caller, "0" * 64, REASON, dismiss=True)
    # Where somebody takes the alarm away, the host that knows does not go on, and stops the others again.
    one.sql("DELETE FROM alarms")
    dismissed(second, ann, bob)
    assert not proposes(one, "refused")
    assert one.home.recovery.stands()
    assert flag(one) == 1
    assert not proposes(second, "refused")
