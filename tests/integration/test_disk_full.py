"""A disk without room under the journal: nothing is half done, nothing acknowledged is lost, and it goes on.

A file gets no byte longer (`RLIMIT_FSIZE`, which the kernel enforces) or no page longer. On a PostgreSQL
server each table in turn answers with the error that the server gives for a full disk (53100), and so does
the commit.
"""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostile import Hostile, serving
from house import POLICY, House
from interlock.dispatch import Dispatcher, run_async, run_sync
from interlock.gate import Report
from interlock.home import Home
from interlock.identity import Role
from interlock.model.actions import DISPATCHED, ActionState, ExecutorKind
from interlock.model.errors import HomeUnusable

PAYING = """
  pay.far: {tier: 3, args: {}, execute: {http: {method: POST, url: "BASE/well"}}}
rules:
  - {id: far, match: {topics: [pay.far]}, decision: allow}
"""
FULL = """
CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'could not extend file "base/1/1": No space left on device' USING ERRCODE = '53100';
END $$
"""
TABLES = ("actions", "approvals", "decisions", "payloads", "entries", "head")
"""What a transition writes, in the order in which it does; the last is written last of all."""
WAYS = (
    ("sqlite", "bytes"),
    *(("postgres", table) for table in TABLES),
    ("postgres", "commit"),
)


@contextmanager
def no_room(house: House, way: str) -> Iterator[None]:
    if way == "bytes":
        log = house.home.path / "journal.db-wal"
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    house.sql(FULL)
    if way == "commit":
        house.sql(
            "CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT OR UPDATE ON head"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
    else:
        house.sql(
            f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {way}"
            " FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
    try:
        yield
    finally:
        house.sql(f"DROP TRIGGER full_disk ON {'head' if way == 'commit' else way}")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("way")[0])


def states(house: House) -> dict[str, tuple[Any, ...]]:
    """All that stands in the tables about actions, and how long the ledger is."""
    found = {row[0]: row for row in house.sql("SELECT id, state, epoch, holder, changed_at FROM actions")}
    return {
        **found,
        "ledger": (len(house.entries()),),
        "asked": tuple(house.sql("SELECT state FROM approvals")),
    }


@pytest.mark.parametrize("way", WAYS, ids=["-".join(way) for way in WAYS])
def test_nothing_is_half_done_and_it_goes_on_when_there_is_room_again(
    way: tuple[str, str], open_house: Callable[..., House]
) -> None:
    house = open_house()
    ann = house.person("Ann", Role.REVIEWER)
    first, second = house.held(), house.held(args={"order_id": "B", "amount_usd": "700.00", "recipient": "b"})
    ready = house.propose("pay.charge", {"order_id": "A", "amount_usd": "5.00"}).action
    running = house.propose("orders.get", {"order_id": "A"}, inline=True).claim
    assert ready is not None
    assert running is not None
    steps: dict[str, Callable[[], Any]] = {
        "propose": lambda: house.propose("orders.get", {"order_id": "C"}),
        "hold": lambda: house.held(args={"order_id": "C", "amount_usd": "900.00", "recipient": "c"}),
        "decide": lambda: house.answer(first, ann),
        "claim": lambda: house.gate.claim(ready.id, ExecutorKind.CALLER),
        "settle": lambda: house.gate.settle(running, Report(ActionState.SUCCEEDED, "It returned.", {"a": 1})),
        "activate": lambda: house.activate(POLICY.replace("< 100", "< 90")),
        "person": lambda: house.person("Bob", Role.REVIEWER),
    }
    touches = {
        "actions": {"propose", "hold", "decide", "claim", "settle"},
        "approvals": {"hold", "decide"},
        "decisions": {"decide"},
        "payloads": {"propose", "hold", "settle"},
    }.get(way[1], set(steps))
    before = states(house)
    with no_room(house, way[1]):
        for name in sorted(touches):
            with pytest.raises(
                HomeUnusable, match=r"could not commit|did not commit|cannot be used"
            ) as refused:
                steps[name]()
            assert refused.value.status == 503
            assert any(word in str(refused.value) for word in ("full", "No space left", "I/O error"))
            assert states(house) == before, name
        # Reading goes on.
        assert house.view(first)["state"] == "held"
    for name in sorted(touches):
        steps[name]()
    assert house.home.journal.halted is None
    assert house.state(second) == "held"
    assert house.state(running.action_id) == ("succeeded" if "settle" in touches else "executing")
    house.home.publisher.publish()
    again = open_house(None)
    assert states(again) == states(house)


@pytest.mark.parametrize("way", [("sqlite", "pages")])
def test_what_was_acknowledged_until_the_last_page_is_all_there(
    way: tuple[str, str], open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    writer = house.home.journal.database.writer()  # type: ignore[attr-defined]
    ((pages,),) = writer.execute("PRAGMA page_count").fetchall()
    writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    told: list[str] = []
    refused: list[HomeUnusable] = []

    def work(number: int) -> None:
        for n in range(200):
            try:
                action = house.propose("orders.get", {"order_id": f"{number}-{n}"}).action
            except HomeUnusable as error:
                refused.append(error)
                return
            assert action is not None
            told.append(action.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 4
    assert all("full" in str(error) for error in refused)
    assert told
    writer.execute("PRAGMA max_page_count = 1073741823")
    assert house.propose("orders.get", {"order_id": "after"}).action is not None
    house.home.close()
    home = Home.open(tmp_path / "home")
    there = {row[0] for row in House(home).sql("SELECT id FROM actions")}
    home.close()
    assert there.issuperset(told)
    assert len(there) == len(told) + 1


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with serving(tmp_path_factory.mktemp("service") / "book") as found:
        yield found


@pytest.mark.parametrize("way", [("sqlite", "bytes"), ("postgres", "entries")])
def test_what_took_effect_while_there_was_no_room_is_recorded_afterwards_and_not_repeated(
    way: tuple[str, str], open_house: Callable[..., House], hostile: Hostile
) -> None:
    hostile.book.path.unlink(missing_ok=True)
    house = open_house(POLICY.replace("rules:\n", PAYING.replace("BASE", hostile.url).lstrip("\n")))
    action = house.propose("pay.far", {}).action
    assert action is not None
    claim = house.gate.claim(action.id, *DISPATCHED)

    async def go() -> None:
        connectors = house.home.connectors()
        dispatcher = Dispatcher(house.gate, connectors, house.home.leases)
        with no_room(house, way[1]):
            running = asyncio.create_task(dispatcher.carry_out(claim))
            while hostile.asked("well") == 0:  # noqa: ASYNC110 (what is waited for is another process)
                await asyncio.sleep(0.02)
            await asyncio.sleep(1.5)
            assert house.state(action.id) == "executing"
        await running
        await connectors.aclose()

    asyncio.run(go())
    assert house.state(action.id) == "succeeded"
    assert hostile.asked("well") == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("way", [("sqlite", "bytes"), ("postgres", "entries")])
def test_what_a_function_returned_while_there_was_no_room_is_recorded_afterwards(
    way: tuple[str, str], kind: str, open_house: Callable[..., House]
) -> None:
    house = open_house(POLICY)
    action = house.propose("notes.add", {}).action
    assert action is not None
    claim = house.gate.claim(action.id, ExecutorKind.CALLER)
    began, over, returned = threading.Event(), threading.Event(), list[Any]()

    def work() -> str:
        began.set()
        over.wait(20)
        return "noted"

    async def work_later() -> str:
        return await asyncio.to_thread(work)

    def call() -> None:
        if kind == "sync":
            returned.append(run_sync(house.gate, house.home.leases, claim, work))
        else:
            returned.append(asyncio.run(run_async(house.gate, house.home.leases, claim, work_later)))

    calling = threading.Thread(target=call)
    calling.start()
    assert began.wait(20)
    with no_room(house, way[1]):
        over.set()
        calling.join(1.5)
        assert calling.is_alive(), "it waits until what it did can be recorded"
        assert house.state(action.id) == "executing"
    calling.join(20)
    assert (returned, house.state(action.id)) == (["noted"], "succeeded")
