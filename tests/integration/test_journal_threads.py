"""Many threads and event loops at one journal: all are answered, and those who wait share a transaction."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import FrameType

import pytest

from interlock.journal import Journal, Tx, Vault
from interlock.journal.journal import TURNS
from interlock.ledger import Frontier, Kind, leaf_hash
from interlock.model.errors import HomeUnusable
from waiting import wait_for

WAIT = 30.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open_sqlite(tmp_path / "journal.db", Vault(bytes(32), bytes(32)))
    yield opened
    opened.close()


def append(tx: Tx) -> int:
    return tx.append(Kind.KEY_REVOKED, key="k", by="test")


class Slow:
    """A transition that holds the journal until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, tx: Tx) -> int:
        self.begun.set()
        assert self.go.wait(WAIT)
        return append(tx)


def sound(journal: Journal, size: int) -> None:
    assert journal.head()[0] == size
    assert journal.head()[1] == Frontier.EMPTY.appended(map(leaf_hash, journal.entries()))


def test_threads_and_tasks_together_are_each_answered_once(journal: Journal) -> None:
    async def tasks() -> list[int]:
        async def task() -> list[int]:
            return [await journal.commit_async(append) for _ in range(20)]

        return [index for found in await asyncio.gather(*(task() for _ in range(20))) for index in found]

    def thread() -> list[int]:
        return [journal.commit(append) for _ in range(20)]

    with ThreadPoolExecutor(26) as pool:
        running = [pool.submit(thread) for _ in range(24)] + [
            pool.submit(lambda: asyncio.run(tasks())) for _ in range(2)
        ]
        found = [index for each in running for index in each.result(WAIT)]
    assert sorted(found) == list(range(24 * 20 + 2 * 400))
    sound(journal, len(found))


def test_threads_that_wait_share_the_next_transaction(journal: Journal) -> None:
    slow, sizes = Slow(), list[int]()
    journal.on_commit(sizes.append)
    with ThreadPoolExecutor(65) as pool:
        first = pool.submit(journal.commit, slow)
        assert slow.begun.wait(WAIT)
        rest = [pool.submit(journal.commit, append) for _ in range(64)]
        wait_for(lambda: len(journal._queue) == 64)
        slow.go.set()
        assert first.result(WAIT) == 0
        assert sorted(each.result(WAIT) for each in rest) == list(range(1, 65))
    assert sizes == [1, 65]


def test_a_thread_that_is_interrupted_while_it_waits_keeps_nobody_waiting(journal: Journal) -> None:
    """Its transition was asked for and may still happen; the others' do."""

    class Interrupted(BaseException):
        pass

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise Interrupted

    slow = Slow()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(journal.commit, slow)
            assert slow.begun.wait(WAIT)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                journal.commit(append)
            rest = [pool.submit(journal.commit, append) for _ in range(6)]
            wait_for(lambda: len(journal._queue) == 7)
            slow.go.set()
            assert {first.result(WAIT), *(each.result(WAIT) for each in rest)} == {0, 2, 3, 4, 5, 6, 7}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    sound(journal, 8)


def test_a_loop_that_ended_before_it_committed_holds_up_no_thread(journal: Journal) -> None:
    slow = Slow()

    async def ask_and_leave() -> None:
        journal.commit_async(append)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(journal.commit, slow)
        assert slow.begun.wait(WAIT)
        pool.submit(asyncio.run, ask_and_leave()).result(WAIT)
        rest = [pool.submit(journal.commit, append) for _ in range(2)]
        slow.go.set()
        assert first.result(WAIT) == 0
        assert sorted(each.result(WAIT) for each in rest) == [2, 3]
    sound(journal, 4)


async def one_each_turn(journal: Journal, count: int) -> list[int]:
    """Two transitions at once, and in each turn of the loop another one: the numbers of their entries."""

    async def in_turn(turn: int) -> int:
        for _ in range(turn):
            await asyncio.sleep(0)
        return await journal.commit_async(append)

    return await asyncio.gather(in_turn(0), *map(in_turn, range(count - 1)))


def test_what_comes_turn_after_turn_shares_a_transaction(journal: Journal) -> None:
    sizes = list[int]()
    journal.on_commit(sizes.append)
    assert sorted(asyncio.run(one_each_turn(journal, TURNS))) == list(range(TURNS))
    assert sizes == [TURNS]


def test_a_stream_without_an_end_is_committed_all_the_same(journal: Journal) -> None:
    sizes = list[int]()
    journal.on_commit(sizes.append)
    assert len(asyncio.run(one_each_turn(journal, 10 * TURNS))) == 10 * TURNS
    assert max(now - before for before, now in pairwise([0, *sizes])) <= TURNS + 3
    sound(journal, 10 * TURNS)


def test_one_alone_waits_for_nobody(journal: Journal) -> None:
    async def alone() -> tuple[int, bool]:
        commit = journal.commit_async(append)
        await asyncio.sleep(0)
        return journal.head()[0], commit.done()

    assert asyncio.run(alone()) == (1, True)


def test_a_thread_leads_for_a_loop_while_others_write_and_no_longer(journal: Journal) -> None:
    slow, waiting = Slow(), Slow()

    def who(tx: Tx) -> int:
        append(tx)
        return threading.get_ident()

    async def tasks() -> list[int]:
        ours = journal.commit_async(waiting)
        await asyncio.sleep(0.05)
        slow.go.set()
        assert await asyncio.to_thread(waiting.begun.wait, WAIT)  # so the loop itself did not wait
        late = [journal.commit_async(who) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting.go.set()
        assert await ours == 1
        return await asyncio.gather(*late)

    async def led() -> list[bool]:
        found = await asyncio.wait_for(tasks(), WAIT)
        return [thread == threading.get_ident() for thread in found]

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(journal.commit, slow)
        assert slow.begun.wait(WAIT)
        assert asyncio.run(led()) == [True] * 3
        assert first.result(WAIT) == 0
    sound(journal, 5)


def test_whoever_waits_while_the_journal_closes_is_answered(journal: Journal) -> None:
    slow = Slow()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(journal.commit, slow)
        assert slow.begun.wait(WAIT)
        rest = [pool.submit(journal.commit, append) for _ in range(3)]
        wait_for(lambda: len(journal._queue) == 3)
        closing = pool.submit(journal.close)
        slow.go.set()
        assert first.result(WAIT) == 0
        closing.result(WAIT)
        assert sorted(each.result(WAIT) for each in rest) == [1, 2, 3]
        with pytest.raises(HomeUnusable):
            pool.submit(journal.commit, append).result(WAIT)
