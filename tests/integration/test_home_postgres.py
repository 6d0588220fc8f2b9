"""A home whose journal is in PostgreSQL: remembered without its password, tied to its keys, shared."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cli_command import run
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import interlock
from house import POLICY, REFUND, House
from interlock.gate import Answer, HumanDecision
from interlock.home import Home
from interlock.model.actions import ExecutorKind
from interlock.model.errors import AlreadyDecided, HomeUnusable, NotClaimable, RecoveryRequired, Tampered
from interlock.verify import verify_export
from postgres import Postgres, empty

DATABASES = ("postgres",)


@pytest.fixture
def copies(house: House, open_house: Callable[..., House], tmp_path: Path) -> tuple[House, House]:
    """One home on two hosts: the keystore was copied, the database is shared."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    shutil.copytree(house.home.path / "keystore", other / "keystore")
    shutil.copy(house.home.path / "home.json", other / "home.json")
    return house, open_house(name="other", database=house.url, clock=house.home.journal.clock)


def test_a_home_remembers_its_database_and_not_the_password(
    open_house: Callable[..., House], postgres: Postgres
) -> None:
    url = postgres.database(0)
    house = open_house(database=make_conninfo("", **{**conninfo_to_dict(url), "password": "hush"}))
    action = house.held()
    house.home.close()
    for file in house.home.path.rglob("*"):
        assert not file.is_file() or b"hush" not in file.read_bytes(), file
    assert not (house.home.path / "journal.db").exists()
    again = Home.open(house.home.path)
    try:
        assert House(again).state(action) == "held"
    finally:
        again.close()


def test_the_command_line_finds_the_database_of_a_home(house: House, tmp_path: Path) -> None:
    house.person("Ann")
    listed = run(tmp_path, "keys", "list", "--home", str(house.home.path), "--json")
    assert listed.code == 0
    assert "Ann" in listed.out


def test_a_gate_is_opened_on_a_named_database(tmp_path: Path, postgres: Postgres) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    gate = interlock.Gate.open(tmp_path / "policy.yaml", database=postgres.database(0))
    try:
        got = gate.guard("orders.get")(lambda order_id: order_id)(order_id="A")
    finally:
        gate.close()
    assert got == "A"
    assert not (tmp_path / ".interlock" / "journal.db").exists()


def test_the_environment_names_the_database_of_a_new_home(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_DATABASE", postgres.database(0))
    Home.open(tmp_path / "new").close()
    assert not (tmp_path / "new" / "journal.db").exists()


@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_home_with_a_file_is_not_opened_on_another_database(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    Home.open(tmp_path / "home").close()
    url = postgres.database(0)
    if named == "environment":
        monkeypatch.setenv("INTERLOCK_DATABASE", url)
    with pytest.raises(HomeUnusable, match=r"journal\.db"):
        Home.open(tmp_path / "home", database=url if named == "argument" else None)


def test_a_database_without_its_keystore_is_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match="missing beside an existing database"):
        Home.open(tmp_path / "fresh", database=house.url)


def test_another_home_is_not_opened_on_this_ones_database(
    house: House, postgres: Postgres, tmp_path: Path
) -> None:
    Home.open(tmp_path / "stranger", database=postgres.database(1)).close()
    (tmp_path / "stranger" / "ledger" / "signed.json").unlink()
    with pytest.raises(Tampered, match="other keys"):
        Home.open(tmp_path / "stranger", database=house.url)


def test_a_database_that_was_emptied_or_put_back_is_refused(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    house.held()
    house.home.close()
    assert house.url is not None
    (before,) = house.sql("SELECT size, frontier FROM head")
    again = Home.open(house.home.path)
    House(again).held(args={**REFUND, "order_id": "B"})
    again.close()
    house.sql("UPDATE head SET size = ?, frontier = ?", *before)
    with pytest.raises(RecoveryRequired):
        Home.open(house.home.path)
    empty(house.url)
    with pytest.raises(RecoveryRequired, match="missing"):
        Home.open(house.home.path)


def test_two_hosts_work_on_one_ledger_and_both_sign_it(copies: tuple[House, House], tmp_path: Path) -> None:
    one, two = copies
    action = one.held()
    two.answer(action, one.person("Ann"))
    claim = one.gate.claim(action, ExecutorKind.CALLER)
    assert claim.action_id == action
    for number, host in enumerate(copies):
        host.home.publisher.export(tmp_path / f"export{number}")
        assert verify_export(tmp_path / f"export{number}").ok
    assert one.home.publisher.publish() == two.home.publisher.publish()


def at_once(houses: tuple[House, House], ask: Callable[[House], Any], times: int) -> list[Any]:
    """What each of many askers got, all let go at the same moment."""
    gate = threading.Barrier(len(houses) * times)

    def one(house: House) -> Any:
        gate.wait(20)
        try:
            return ask(house)
        except (AlreadyDecided, NotClaimable) as refused:
            return refused

    with ThreadPoolExecutor(len(houses) * times) as pool:
        return list(pool.map(one, houses * times))


def test_of_many_answers_on_two_hosts_one_is_heard(copies: tuple[House, House]) -> None:
    house = copies[0]
    ann, action = house.person("Ann"), house.held()
    approval, seen = house.request(action)

    def answer(host: House) -> Any:
        return host.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, seen))

    answers = at_once(copies, answer, 4)
    assert sum(not isinstance(answer, AlreadyDecided) for answer in answers) == 1
    assert house.sql("SELECT count(*) FROM decisions") == [(1,)]


def test_of_many_claims_on_two_hosts_one_wins(copies: tuple[House, House]) -> None:
    house = copies[0]
    for number in range(5):
        action = house.propose("notes.add", {"n": number}).action
        assert action is not None

        def claim(host: House, action_id: str = action.id) -> Any:
            return host.gate.claim(action_id, ExecutorKind.CALLER)

        claims = at_once(copies, claim, 3)
        assert sum(not isinstance(claim, NotClaimable) for claim in claims) == 1
    assert house.sql("SELECT sum(epoch) FROM actions") == [(5,)]
