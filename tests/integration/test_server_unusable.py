"""What is wrong with an installation: people and the log are told, others only of which kind it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from house import BOTH, REFUND, House
from interlock.identity import KeyKind, Role
from interlock.model.errors import HomeUnusable, RecoveryRequired, Tampered
from interlock.server.app import create_app
from waiting import wait_for

DATABASES = BOTH
MADE_UP = "ilk_agent_" + "0" * 32 + "." + "A" * 43
MEMBERS = {"type", "title", "status", "detail", "fix"}
PATH, HOST = "/srv/desk/journal.db", "db-7.internal"


@contextmanager
def served(house: House) -> Iterator[TestClient]:
    app = create_app(house.home, hosts=["testserver"])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def keys(house: House) -> dict[str, str]:
    ann = house.person("Ann", Role.OPERATOR, Role.REVIEWER)
    add = house.home.keyring.add
    return {
        "agent": add(KeyKind.AGENT, "support", topics=["*"], by="test")[1],
        "executor": add(KeyKind.EXECUTOR, "payments-host", topics=["*"], by="test")[1],
        "person": add(KeyKind.PERSON, "Ann", person=ann, by="test")[1],
    }


def tells_nothing(text: str, house: House) -> None:
    database = house.home.journal.database.name
    for word in (
        str(house.home.path),
        database,
        database.rpartition("/")[2],
        "SELECT",
        "relation",
        "no such",
        PATH,
    ):
        assert word not in text, text


def test_with_a_spoilt_database_strangers_and_agents_read_no_path_and_no_word_of_the_driver(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    found = keys(house)
    with served(house) as client:
        house.sql("ALTER TABLE keys RENAME TO k2")
        house.sql("ALTER TABLE active_policy RENAME TO a2")
        try:
            answers = [
                client.get("/readyz"),
                client.get("/readyz", headers=bearer(found["person"])),
                client.get("/v1/actions/act_x", headers=bearer(MADE_UP)),
                client.post(
                    "/v1/actions",
                    headers=bearer(found["agent"]),
                    json={"topic": "pay.refund", "args": REFUND},
                ),
            ]
        finally:
            house.sql("ALTER TABLE k2 RENAME TO keys")
            house.sql("ALTER TABLE a2 RENAME TO active_policy")
    for answer in answers:
        assert answer.status_code == 503
        assert set(answer.json()) == MEMBERS
        assert answer.json()["type"] == "urn:interlock:problem:home-unusable"
        tells_nothing(answer.text, house)
    assert house.home.journal.database.name in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        HomeUnusable(f"The journal {PATH} on {HOST} is away.", fix=f"Run: chmod 700 {PATH}"),
        Tampered(f"A row in {PATH} was changed.", extra={"row": HOST}),
        RecoveryRequired(f"{HOST} has seen 12 entries.", fix=f"--home {PATH}", extra={"seen": 12}),
    ],
)
def test_people_read_what_is_wrong_and_others_of_which_kind_it_is(
    house: House, error: HomeUnusable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    found = keys(house)
    action = house.held()
    monkeypatch.setattr(house.home.views, "action", fails)
    with served(house) as client, caplog.at_level(logging.ERROR):
        person = client.get(f"/v1/actions/{action}", headers=bearer(found["person"]))
        others = [
            client.get(f"/v1/actions/{action}", headers=bearer(found[who])) for who in ("agent", "executor")
        ]
    assert person.json() == error.problem()
    for answer in others:
        assert (answer.status_code, set(answer.json())) == (503, MEMBERS)
        assert (answer.json()["type"], answer.json()["title"]) == (error.type, error.title)
        tells_nothing(answer.text, house)
        assert HOST not in answer.text
    assert [record for record in caplog.records if str(error) in record.getMessage()][1:] == [], "said once"
    assert str(error) in caplog.text


def test_readyz_tells_people_of_a_clock_that_is_behind_and_strangers_that_it_is(house: House) -> None:
    found = keys(house)
    with served(house) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        house.sql("UPDATE head SET at = at + 7200000000")
        stranger, person = client.get("/readyz"), client.get("/readyz", headers=bearer(found["person"]))
        house.sql("UPDATE head SET at = at - 7200000000")
    assert stranger.json()["type"] == person.json()["type"] == "urn:interlock:problem:clock-behind"
    assert "the clock says" in person.json()["detail"]
    assert "the clock says" not in stranger.text
