"""`interlock ledger erase` and `subjects`, in a home and against a real server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_command import Result, environment, run, spawn
from erasing import ANA, BEN, refunded

from house import POLICY, REFUND, House
from interlock.home import Home
from interlock.policy import parse
from server_desk import Desk, refused, staffed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a home in it: two actions about Ana, one about Ben that waits for a person."""
    home = Home.open(tmp_path / ".interlock", policy=parse({"policy.yaml": POLICY}))
    house = House(home)
    home.roster.first("Cleo", by="test")
    refunded(house)
    refunded(house, order="A-2")
    house.held(args=REFUND, principal=BEN)
    home.close()
    return tmp_path


def erasures(folder: Path) -> list[dict[str, Any]]:
    home = Home.open(folder)
    try:
        found = [json.loads(body) for body in home.journal.entries()]
        return [entry for entry in found if entry["kind"] == "subject.erased"]
    finally:
        home.close()


def test_an_erasure_in_a_home_says_what_it_destroyed_and_for_whom(folder: Path) -> None:
    done = run(folder, "ledger", "erase", ANA, "--reason", "request", "--by", "Cleo", "--yes", "--json")
    assert done.code == 0, done
    assert (done.json["payloads"], done.json["actions"], done.json["clean"]) == (4, 2, True)
    (entry,) = erasures(folder / ".interlock")
    assert entry["by"].startswith("cli:uid-")
    assert " for per_" in entry["by"]
    assert entry["reason"] == "request"
    again = run(folder, "ledger", "erase", ANA, "--yes", "--json")
    assert (again.code, again.json["type"]) == (5, "urn:interlock:problem:not-found")


def test_nothing_is_erased_where_nobody_can_be_asked(folder: Path) -> None:
    asked = spawn(folder, "ledger", "erase", ANA)
    assert asked.code == 2
    assert "4 payloads of 2 actions" in asked.err
    assert erasures(folder / ".interlock") == []


def test_what_is_open_is_shown_and_nothing_is_erased(folder: Path) -> None:
    busy = run(folder, "ledger", "erase", BEN, "--yes")
    assert busy.code == 4
    assert "is held, pay.refund" in busy.err
    assert "Actions of this subject are open" in busy.err
    assert erasures(folder / ".interlock") == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nobody@example.com", "--yes"), 5),
        ((ANA, "--reason", "whim", "--yes"), 2),
        ((ANA, "--by", "Nobody", "--yes"), 5),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run(folder, "ledger", "erase", *arguments).code == code
    assert erasures(folder / ".interlock") == []


def test_subjects_are_listed_without_names_unless_they_are_asked_for(folder: Path) -> None:
    plain = run(folder, "ledger", "subjects")
    assert plain.code == 0
    assert "Subjects: 2" in plain.out
    assert ANA not in plain.out
    named = run(folder, "ledger", "subjects", "--names", "--json").json["subjects"]
    assert {(one["name"], one["payloads"]) for one in named} == {(ANA, 4), (BEN, 2)}


# --- against a server ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("erasing")) as found:
        yield found


@pytest.fixture
def customer(desk: Desk) -> str:
    """Somebody about whom a refund was proposed and rejected, and nothing is open."""
    name = f"{uuid.uuid4().hex}@example.com"
    action = desk.refund(principal=name)
    approval = action["approval"]
    answer = {"decision": "reject", "expected_hash": approval["review_hash"], "reason_code": "other"}
    assert desk.of("Ben").post(f"/v1/approvals/{approval['id']}/decisions", json=answer).status_code == 200
    return name


def test_a_person_erases_over_http_and_everybody_sees_it(desk: Desk, customer: str) -> None:
    ben = desk.of("Ben")
    look = ben.post("/v1/subjects/erase", json={"subject": customer, "dry_run": True}).json()
    assert (look["erased"], look["payloads"], look["actions"], look["open"]) == (False, 2, 1, [])
    done = ben.post("/v1/subjects/erase", json={"subject": customer, "reason": "request"})
    assert done.status_code == 200, done.text
    assert done.json() == {
        "subject": look["subject"],
        "erased": True,
        "payloads": 2,
        "actions": 1,
        "clean": True,
    }
    listed = ben.get("/v1/approvals", params={"state": "resolved"}).json()["items"]
    assert "Erased" in {item["title"] for item in listed}
    refused(ben.post("/v1/subjects/erase", json={"subject": customer}), 404, "not-found")
    assert customer not in desk.server.log.read_text()


@pytest.mark.parametrize("who", ["agent", "executor"])
def test_no_agents_key_erases(desk: Desk, customer: str, who: str) -> None:
    answer = desk.of(who).post("/v1/subjects/erase", json={"subject": customer})
    refused(answer, 403, "forbidden")
    refused(desk.client().post("/v1/subjects/erase", json={"subject": customer}), 401, "unauthenticated")


@pytest.mark.parametrize(
    "body", [{}, {"subject": ""}, {"subject": "x" * 301}, {"subject": 5}, {"subject": "x", "reason": "whim"}]
)
def test_a_body_that_makes_no_sense_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    assert desk.of("Ben").post("/v1/subjects/erase", json=body).status_code == 422


def test_while_a_request_waits_the_subject_is_busy(desk: Desk, customer: str) -> None:
    waiting = desk.refund(principal=customer)
    document = refused(
        desk.of("Ben").post("/v1/subjects/erase", json={"subject": customer}), 409, "subject-busy"
    )
    assert [one["id"] for one in document["open"]] == [waiting["id"]]


def command(desk: Desk, folder: Path, *arguments: str, key: str | None = "Ben") -> Result:
    extra = {} if key is None else {"INTERLOCK_KEY": desk.tokens[key]}
    return spawn(
        folder,
        *("ledger", "erase", *arguments, "--home", str(desk.server.home)),
        env=environment(**extra),
    )


def test_the_command_asks_the_server_that_runs_with_the_persons_key(
    desk: Desk, customer: str, tmp_path: Path
) -> None:
    assert command(desk, tmp_path, customer, "--yes", key=None).code == 4
    done = command(desk, tmp_path, customer, "--yes", "--json")
    assert done.code == 0, done
    assert done.json["payloads"] == 2
    with_by = command(desk, tmp_path, customer, "--yes", "--by", "Ben")
    assert with_by.code == 2


def test_whoever_has_the_homes_files_erases_beside_the_server(
    desk: Desk, customer: str, tmp_path: Path
) -> None:
    done = command(desk, tmp_path, customer, "--yes", "--local", "--json", key=None)
    assert done.code == 0, done
    assert done.json["erased"]
    answer = desk.of("Ben").post("/v1/subjects/erase", json={"subject": customer, "dry_run": True})
    refused(answer, 404, "not-found")
