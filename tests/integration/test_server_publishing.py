"""What ``/readyz`` says of the ledger: whether what happens is signed, and why not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from house import REFUND, House, ManualClock
from interlock.model.errors import Tampered
from interlock.server.app import create_app
from interlock.server.publishing import BEHIND_SEC, Publishing
from waiting import wait_for

DATABASES = ("sqlite", "postgres")


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def publishing(house: House, seconds: Seconds) -> Publishing:
    return Publishing(house.home, seconds)


def act(house: House, number: int) -> None:
    house.held(args={**REFUND, "order_id": f"P-{number}"})


def test_what_is_signed_is_said_to_be(house: House, publishing: Publishing, seconds: Seconds) -> None:
    for number in range(3):
        act(house, number)
        publishing.round()
        assert publishing.standing == "signed"
        seconds.now += 10
    assert house.home.publisher.signed()[0] == len(house.entries())


def test_a_disk_that_fails_is_said_and_logged_once_and_gone_when_it_works_again(
    house: House, publishing: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    shown = house.home.path / "ledger" / "checkpoint"
    shown.unlink()
    shown.mkdir()
    act(house, 1)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            publishing.round()
    assert publishing.standing.startswith("failing: ")
    assert caplog.text.count("nothing is signed") == 1
    shown.rmdir()
    publishing.round()
    assert publishing.standing == "signed"


def test_entries_that_another_host_was_to_sign_and_did_not_are_missed(
    house: House,
    publishing: Publishing,
    seconds: Seconds,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house.home.publisher.publish()
    publishing.round()
    act(house, 1)
    for _ in range(int(BEHIND_SEC) + 2):
        until = house.home.journal.clock.now() + 4_900_000
        house.sql("UPDATE published SET holder = 'nobody', epoch = epoch + 1, until = ?", until)
        publishing.round()
        seconds.now += 1
    assert (
        publishing.standing == "failing: 1 entries wait for their signature; another host was to sign them."
    )
    assert caplog.text.count("wait for their signature") == 1
    house.sql("UPDATE published SET until = 0")
    publishing.round()
    assert publishing.standing == "signed"


def test_rounds_that_hang_are_missed(house: House, publishing: Publishing, seconds: Seconds) -> None:
    publishing.round()
    seconds.now += BEHIND_SEC + 1
    assert publishing.standing == "failing: nothing was signed for 15 s"


def test_what_somebody_did_to_the_record_is_raised(house: House, publishing: Publishing) -> None:
    house.home.publisher.publish()
    act(house, 1)
    ((start,),) = house.sql("SELECT start FROM head")
    size = house.home.publisher.signed()[0]
    house.sql("DELETE FROM entries WHERE seq = ?", start + size)
    with pytest.raises(Tampered):
        publishing.round()


def test_readyz_says_it_and_stays_ready(open_house: Callable[..., House], tmp_path: Path) -> None:
    house = open_house()
    with TestClient(create_app(house.home, hosts=["testserver"])) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["ledger"]) == (200, "signed")
        client.app.state.publishing.problem = "the disk is full"  # type: ignore[attr-defined]
        answer = client.get("/readyz")
        assert answer.status_code == 200
