"""A recorded time that is ahead of the clock: nothing is written on it, and people have a way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import run

from house import BOTH, DAY, POLICY, REFUND, House, ManualClock, agent
from interlock.home import Home, ledger_time
from interlock.identity import Role
from interlock.journal import ClockBehind
from interlock.model.actions import ExecutorKind
from interlock.model.errors import Conflict
from interlock.policy import parse
from interlock.verify import verify_export
from restored import Backup, again, agreed, shut

DATABASES = BOTH
YEARS_US = 10 * 365 * DAY * 1_000_000
MINUTE = 60


def ahead(house: House, microseconds: int) -> None:
    """What somebody does who reaches the database."""
    house.sql("UPDATE head SET at = at + ?", microseconds)


def newest(house: House) -> int:
    at: int = json.loads(house.entries()[-1])["at"]
    return at


def verified(house: House, folder: Path) -> Any:
    house.home.publisher.export(folder)
    return verify_export(folder)


@pytest.mark.parametrize("at", [YEARS_US, 2**53 + 1 - 10**15, 2**62])
def test_nothing_is_written_on_a_time_that_somebody_moved_ahead(house: House, at: int) -> None:
    action = house.held()
    before = house.entries(), house.sql("SELECT size, sealed FROM head")
    ahead(house, at)
    for attempt in (
        house.gate.sweep,
        lambda: house.held(args={**REFUND, "order_id": "B"}),
        lambda: house.gate.withdraw(action, agent()),
        lambda: house.activate("interlock: 1\nname: other\n"),
    ):
        with pytest.raises(ClockBehind) as refused:
            attempt()
        assert "interlock ledger clock" in refused.value.fix
    assert (house.entries(), house.sql("SELECT size, sealed FROM head")) == before
    assert house.state(action) == "held"
    with pytest.raises(ClockBehind):
        house.home.journal.check_time()


def test_up_to_a_minute_is_a_difference_between_clocks(house: House, clock: ManualClock) -> None:
    house.held()
    clock.forward(-MINUTE + 1)
    house.held(args={**REFUND, "order_id": "B"})
    house.home.journal.check_time()
    clock.forward(-2)
    with pytest.raises(ClockBehind):
        house.held(args={**REFUND, "order_id": "C"})


def test_with_the_clock_of_the_database_too(open_house: Callable[..., House]) -> None:
    house = open_house()
    house.held()
    ahead(house, 61_000_000)
    with pytest.raises(ClockBehind):
        house.held(args={**REFUND, "order_id": "B"})
    ahead(house, -61_000_000)
    house.held(args={**REFUND, "order_id": "B"})


def test_waiting_until_the_clock_has_caught_up_is_a_way_out(house: House, clock: ManualClock) -> None:
    action = house.held()
    ahead(house, 3_600 * 1_000_000)
    with pytest.raises(ClockBehind):
        house.gate.sweep()
    clock.forward(3_600)
    house.gate.sweep()
    assert house.state(action) == "expired"


def test_a_head_row_that_no_entry_bears_out_is_put_back(
    house: House, clock: ManualClock, tmp_path: Path
) -> None:
    action = house.held()
    ahead(house, YEARS_US)
    last, entry, now = house.home.journal.times()
    assert entry <= now < last
    house.home.journal.set_time(entry)
    house.gate.sweep()
    assert house.state(action) == "held"
    house.held(args={**REFUND, "order_id": "B"})
    assert newest(house) <= clock.now()
    assert verified(house, tmp_path / "x").ok


def test_a_time_before_the_newest_entry_is_not_taken(house: House) -> None:
    house.held()
    with pytest.raises(Conflict):
        house.home.journal.set_time(newest(house) - 1)


def test_a_row_behind_the_head_is_not_the_newest_entry(house: House) -> None:
    """Somebody adds an entry from the future beyond the end of the ledger."""
    house.held()
    size = len(house.entries())
    body = json.dumps({"at": newest(house) + YEARS_US}).encode()
    house.sql("INSERT INTO entries (seq, namespace, body) VALUES (?, ?, ?)", size + 5, "default", body)
    ahead(house, YEARS_US)
    assert house.home.journal.times().newest == newest_within(house, size)
    with pytest.raises(ClockBehind):
        house.gate.sweep()


def newest_within(house: House, size: int) -> int:
    ((body,),) = house.sql("SELECT body FROM entries WHERE seq = ?", size - 1)
    at: int = json.loads(bytes(body))["at"]
    return at


def from_the_future(open_house: Callable[..., House], clock: ManualClock) -> tuple[House, str]:
    """A house that ran for a while on a machine whose clock was ten years ahead."""
    clock.forward(10 * 365 * DAY)
    house = open_house(clock=clock)
    action = house.held()
    house.home.publisher.publish()
    shut(house)
    clock.forward(-10 * 365 * DAY)
    return open_house(None, clock=clock), action


def test_entries_from_the_future_stay_and_people_can_let_the_ledger_go_on_ahead_of_the_clock(
    open_house: Callable[..., House], clock: ManualClock, tmp_path: Path
) -> None:
    house, action = from_the_future(open_house, clock)
    with pytest.raises(ClockBehind):
        house.held(args={**REFUND, "order_id": "B"})
    last, entry, now = house.home.journal.times()
    assert last == entry > now
    ledger_time.go_ahead(house.home.path / "ledger", entry - now)
    shut(house)
    house = open_house(clock=clock)
    house.held(args={**REFUND, "order_id": "B"})
    assert house.state(action) == "held"
    clock.forward(901)
    house.gate.sweep()
    assert house.state(action) == "expired", "time stands still"
    assert verified(house, tmp_path / "x").ok


def test_nothing_runs_while_time_stands_still(open_house: Callable[..., House], clock: ManualClock) -> None:
    """An approval for an hour is not claimed a month later because the recorded time did not move."""
    clock.forward(365 * DAY)
    house = open_house(clock=clock)
    action = house.held()
    house.answer(action, house.person("Ann", Role.REVIEWER))
    house.home.publisher.publish()
    shut(house)
    clock.forward(-300 * DAY)
    house = open_house(None, clock=clock)
    with pytest.raises(ClockBehind):
        house.gate.claim(action, ExecutorKind.CALLER)


def test_an_epoch_is_opened_later_than_everything_before_it(
    open_house: Callable[..., House], clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(clock=clock)
    ann = house.person("Ann", Role.OPERATOR)
    house.held()
    saved = Backup(house, tmp_path)
    before = newest(house)
    house.held(args={**REFUND, "order_id": "lost"})
    house.home.publisher.publish()
    shut(house)
    saved.put_back()
    clock.jumped = True
    house = again(open_house, clock)
    assert agreed(house, ann).opened.number == 2
    assert house.sql("SELECT opened_at FROM epochs")[0][0] > before


def test_what_people_said_and_does_not_read_stops_the_home(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    shut(house)
    (house.home.path / "ledger" / "clock").write_text("-5\n")
    with pytest.raises(Exception, match="does not read"):
        Home.open(house.home.path)


def test_the_command_says_what_is_wrong_and_puts_it_right(tmp_path: Path) -> None:
    home = tmp_path / "home"
    clock = ManualClock()
    clock.forward(-90 * 60)
    house = House(Home.open(home, policy=parse({"policy.yaml": POLICY}), clock=clock))
    house.held()
    house.home.close()

    def clock_command(*arguments: str) -> Any:
        return run(tmp_path, "ledger", "clock", "--home", str(home), *arguments, "--json")

    assert clock_command().json["accepted"] is False
    assert clock_command("--accept").json["accepted"] is False, "there is nothing to accept"
    ahead(house, YEARS_US)
    assert clock_command().json["accepted"] is False
    done = clock_command("--accept").json
    assert (done["accepted"], done["ahead"]) == (True, 0)
    assert not (home / "ledger" / "clock").exists()
    clock.forward(180 * 60)
    house = House(Home.open(home, clock=clock))
    house.held(args={**REFUND, "order_id": "B"})
    shut(house)  # with entries that nobody signed, which a home that opens wants to do
    done = clock_command("--accept").json
    assert done["accepted"]
    assert 80 * 60 < done["ahead"] / 1e6 < 90 * 60 + 1
    house = House(Home.open(home))
    house.held(args={**REFUND, "order_id": "C"})
    house.home.close()
