"""On PostgreSQL a commit of one process is heard of by the others: counted, never timed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from house import House
from interlock.dispatch import Dispatcher
from interlock.engine import Delivery, engine
from interlock.gate import following
from interlock.home.work import Work
from interlock.model.errors import Conflict
from interlock.server import events
from interlock.server.events import News
from postgres import Postgres, run
from waiting import wait_for

DATABASES = ("postgres",)
NEVER = 3600.0


@pytest.fixture
def pair(house: House, open_house: Callable[..., House]) -> tuple[House, House]:
    """Two processes' homes on one database."""
    run(house.url or "", "DROP SCHEMA IF EXISTS dbos CASCADE")
    return house, open_house(name="home", database=house.url)


@contextmanager
def hearing(house: House) -> Iterator[list[int]]:
    heard: list[int] = []
    found = house.home.journal.listen(lambda: heard.append(len(heard)))
    assert found is not None
    try:
        wait_for(lambda: found.alive and bool(heard))  # it looks once when it begins to hear
        heard.clear()
        yield heard
    finally:
        found.close()


class Serving(Dispatcher):
    """The work of a process, run on a loop of its own; which actions were delivered to it."""

    def __init__(self, house: House) -> None:
        super().__init__(house.gate, house.home.connectors(), house.home.leases)
        self.delivered: list[str] = []
        self.work = Work(house.home, self)
        self.news = News(house.home, self.work)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()

    async def _run(self) -> None:
        await asyncio.gather(self.work.run(self._stop), self.news.run(self._stop))

    async def deliver(self, delivery: Delivery) -> None:
        self.delivered.append(delivery.ids["action"])

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


def test_a_commit_is_heard_of_by_others_and_not_by_whoever_made_it(pair: tuple[House, House]) -> None:
    one, two = pair
    with hearing(one) as first, hearing(two) as second:
        two.propose("orders.get", {"order_id": "A"})
        wait_for(lambda: len(first) == 1)
        one.home.journal.commit(partial(following.dispatch, action_id="act_1", topic="shop.pay"))
        wait_for(lambda: len(second) == 1)
        with pytest.raises(Conflict):
            two.home.journal.commit(refused)
        two.gate.sweep()  # nothing was due
        time.sleep(0.5)
        assert (len(first), len(second)) == (1, 1)


def refused(tx: Any) -> None:
    following.dispatch(tx, "act_2", "shop.pay")
    raise Conflict("no")


def test_another_namespace_and_a_forged_word_cost_a_look_at_most(pair: tuple[House, House]) -> None:
    one, _ = pair
    with hearing(one) as heard:
        run(one.url or "", "SELECT pg_notify('interlock', 'elsewhere'), pg_notify('interlock', '; DROP')")
        run(one.url or "", "SELECT pg_notify('interlock', 'default')")
        wait_for(lambda: len(heard) == 1)
        assert heard == [0]


def test_a_connection_that_breaks_is_made_anew_and_everybody_looks_once(
    pair: tuple[House, House], postgres: Postgres
) -> None:
    one, two = pair
    url = one.url or ""
    heard: list[int] = []
    found = one.home.journal.listen(lambda: heard.append(1))
    assert found is not None
    try:
        wait_for(lambda: found.alive)
        heard.clear()
        (pid,) = postgres.sessions(url, "interlock-hearing")
        postgres.run("SELECT pg_terminate_backend(%s, 5000)", pid)
        wait_for(lambda: not found.alive)
        two.propose("orders.get", {"order_id": "A"})  # nobody hears it
        wait_for(lambda: found.alive and bool(heard))
        heard.clear()
        two.propose("orders.get", {"order_id": "B"})
        wait_for(lambda: len(heard) == 1)
    finally:
        found.close()
    assert not found.alive


def test_a_decision_on_one_node_wakes_the_worker_and_the_streams_of_another(
    pair: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POLL_SEC", NEVER)  # so that nothing but a word wakes it
    monkeypatch.setattr(engine, "TOLD_SEC", NEVER)
    monkeypatch.setattr(events, "TOLD_SEC", NEVER)
    one, two = pair
    here = Serving(one)
    try:
        wait_for(lambda: here.work.standing and here.work.told)
        time.sleep(1)  # it has looked at what there was, and waits
        before, heard = here.news.size, here.work.heard
        two.home.journal.commit(partial(following.dispatch, action_id="act_1", topic="shop.pay"))
        wait_for(lambda: here.delivered == ["act_1"])
        two.propose("orders.get", {"order_id": "A"})
        wait_for(lambda: here.news.size == before + 1)
        assert here.work.heard > heard
    finally:
        here.close()


def test_where_nobody_hears_work_is_looked_for(
    pair: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    monkeypatch.setattr(one.home.journal.database, "listen", lambda *_: None)
    here = Serving(one)
    try:
        wait_for(lambda: here.work.standing)
        assert not here.work.told
        two.home.journal.commit(partial(following.dispatch, action_id="act_1", topic="shop.pay"))
        wait_for(lambda: here.delivered == ["act_1"])
        two.propose("orders.get", {"order_id": "A"})
        size = two.home.journal.head()[0]
        wait_for(lambda: here.news.size == size)
    finally:
        here.close()
