"""The journal's transaction: all or nothing, in order, and provable from the entries."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from house import POLICY, House
from interlock.journal import Tx
from interlock.ledger import Frontier, Kind, leaf_hash
from interlock.model.errors import Conflict, HomeUnusable


def note(name: str) -> Callable[[Tx], int]:
    """A transition that writes one entry."""
    return lambda tx: tx.append(Kind.KEY_REVOKED, key=name, by="test")


def recomputed(house: House) -> Frontier:
    return Frontier.EMPTY.appended(leaf_hash(body) for body in house.home.journal.entries())


def names(house: House) -> list[str]:
    return [e.split('"key":"')[1].split('"')[0] for e in house.entries() if '"key":"' in e]


def test_the_head_is_the_root_of_the_entries(house: House) -> None:
    for n in range(40):
        house.home.journal.commit(note(f"k{n}"))
    size, frontier, _ = house.home.journal.head()
    assert frontier == recomputed(house)
    assert size == len(house.entries())
    assert names(house) == [f"k{n}" for n in range(40)]


def test_a_transition_that_refuses_changes_nothing_and_its_neighbours_commit(house: House) -> None:
    journal = house.home.journal
    before = len(house.entries())

    def refuse(tx: Tx) -> None:
        raise Conflict("no")

    def write_then_refuse(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        tx.seal(b"never", None)
        raise Conflict("no")

    def write_then_break(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        raise ZeroDivisionError

    async def together() -> list[Any]:
        members = [note("a"), refuse, note("b"), write_then_refuse, note("c"), write_then_break, note("d")]
        return await asyncio.gather(*map(journal.commit_async, members), return_exceptions=True)

    answers = asyncio.run(together())
    assert [type(a) for a in answers] == [int, Conflict, int, Conflict, int, ZeroDivisionError, int]
    assert names(house) == ["a", "b", "c", "d"]
    assert [a for a in answers if isinstance(a, int)] == list(range(before, before + 4))
    assert journal.head()[1] == recomputed(house)
    assert house.sql("SELECT count(*) FROM payloads") == [(0,)]


def test_a_broken_statement_is_an_error_of_ours_and_changes_nothing(house: House) -> None:
    before = house.entries()

    def twice(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        raise sqlite3.IntegrityError("the same row twice")

    with pytest.raises(HomeUnusable):
        house.home.journal.commit(twice)
    assert house.entries() == before


def test_nothing_is_answered_before_it_is_durable(house: House) -> None:
    """Another connection sees the entry as soon as the caller does."""
    for n in range(20):
        index = house.home.journal.commit(note(f"k{n}"))
        assert house.sql("SELECT count(*) FROM entries WHERE seq = ?", index) == [(1,)]


def test_a_commit_survives_power_loss_by_its_settings(house: House) -> None:
    connection: Any = house.home.journal.engine.raw_connection()
    try:
        cursor = connection.cursor()
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    finally:
        connection.close()


def test_a_look_writes_nothing(house: House) -> None:
    before = house.entries()
    with pytest.raises(TypeError):
        house.home.journal.look(note("never"))
    assert house.entries() == before


def test_a_look_sees_one_state_while_others_write(house: House) -> None:
    journal = house.home.journal

    def twice(tx: Tx) -> tuple[int, int]:
        from sqlalchemy import func, select

        from interlock.journal import Prepared
        from interlock.journal import tables as t

        count = Prepared(select(func.count()).select_from(t.entries))
        first = tx.one(count)
        writer = threading.Thread(target=journal.commit, args=(note("meanwhile"),))
        writer.start()
        writer.join()
        second = tx.one(count)
        assert first is not None
        assert second is not None
        return first[0], second[0]

    first, second = journal.look(twice)
    assert first == second
    assert names(house) == ["meanwhile"]


def test_threads_and_tasks_share_one_journal(house: House) -> None:
    journal = house.home.journal

    async def tasks() -> list[int]:
        return await asyncio.gather(*(journal.commit_async(note(f"task{n}")) for n in range(100)))

    with ThreadPoolExecutor(9) as pool:
        from_tasks = pool.submit(asyncio.run, tasks())
        from_threads = [pool.submit(journal.commit, note(f"thread{n}")) for n in range(100)]
        indices = [*from_tasks.result(), *(future.result() for future in from_threads)]
    assert len(set(indices)) == 200
    entries = house.entries()
    assert all('"key":"t' in entries[index] for index in indices)
    assert journal.head()[1] == recomputed(house)


def test_a_task_that_was_cancelled_leaves_the_others_their_answers(house: House) -> None:
    journal = house.home.journal

    async def run() -> list[int]:
        first = asyncio.ensure_future(journal.commit_async(note("given up")))
        rest = [asyncio.ensure_future(journal.commit_async(note(f"k{n}"))) for n in range(10)]
        await asyncio.sleep(0)
        first.cancel()
        return await asyncio.gather(*rest)

    assert len(set(asyncio.run(run()))) == 10
    assert journal.head()[1] == recomputed(house)


def test_a_listener_that_fails_does_not_make_a_commit_look_undone(house: House) -> None:
    def fail(_: int) -> None:
        raise ZeroDivisionError

    house.home.journal.on_commit(fail)
    try:
        house.home.journal.commit(note("a"))
    except HomeUnusable:
        pytest.fail("the change is there, and its caller was told that it is not")
    except ZeroDivisionError:
        pass
    assert names(house) == ["a"]


def test_what_fails_after_a_neighbour_has_committed_does_not_make_that_look_undone(house: House) -> None:
    """A poisoned batch is run again one by one; a disk that fills up in between fails the rest only."""
    journal = house.home.journal
    attempts = 0

    def poison(tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        if attempts == 2:
            house.sql("PRAGMA user_version")  # the batch's first member is durable by now
            raise sqlite3.OperationalError("database or disk is full")
        raise Conflict("no")

    async def together() -> list[Any]:
        members = [note("a"), poison, note("b")]
        return await asyncio.gather(*map(journal.commit_async, members), return_exceptions=True)

    answers = asyncio.run(together())
    assert [type(a) for a in answers] == [int, HomeUnusable, int]
    assert names(house) == ["a", "b"]


def test_a_closed_journal_refuses(open_house: Callable[..., House]) -> None:
    house = open_house(name="other")
    house.home.close()
    with pytest.raises(HomeUnusable):
        house.home.journal.commit(note("never"))


def test_closing_twice_is_closing_once(open_house: Callable[..., House]) -> None:
    house = open_house(name="other")
    house.home.close()
    house.home.close()


def test_an_entry_missing_from_the_database_is_noticed_on_reading(house: House) -> None:
    for n in range(5):
        house.home.journal.commit(note(f"k{n}"))
    house.sql("DELETE FROM entries WHERE seq = 3")
    with pytest.raises(HomeUnusable):
        house.entries()


def test_a_newer_schema_is_refused(open_house: Callable[..., House]) -> None:
    house = open_house()
    house.home.close()
    house.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HomeUnusable):
        open_house(POLICY)


def test_the_migration_makes_the_tables_that_the_code_declares(house: House) -> None:
    from interlock.journal import tables

    for table in tables.metadata.sorted_tables:
        made = {
            (name, kind.upper(), bool(required or key), bool(key))
            for _, name, kind, required, _, key in house.sql(f"PRAGMA table_info({table.name})")
        }
        dialect = house.home.journal.database.dialect
        declared = {
            (c.name, c.type.compile(dialect=dialect).upper(), not c.nullable, c.primary_key)
            for c in table.columns
        }
        assert made == declared, table.name
        indexes = {row[1] for row in house.sql(f"PRAGMA index_list({table.name})") if row[3] == "c"}
        assert indexes == {index.name for index in table.indexes}


def test_what_is_asked_of_a_closed_journal_is_refused_and_never_left_waiting(house: House) -> None:
    async def ask() -> None:
        house.home.journal.close()
        with pytest.raises(HomeUnusable, match="closed"):
            await asyncio.wait_for(house.home.journal.commit_async(lambda tx: tx.now), 5)

    asyncio.run(ask())
    with pytest.raises(HomeUnusable, match="closed"):
        house.home.journal.commit(lambda tx: tx.now)


def test_what_was_queued_when_the_journal_closed_is_answered(house: House) -> None:
    async def ask() -> list[int]:
        waiting = [house.home.journal.commit_async(lambda tx: tx.now) for _ in range(5)]
        house.home.journal.close()
        return await asyncio.wait_for(asyncio.gather(*waiting), 5)

    assert len(asyncio.run(ask())) == 5


def test_an_event_loop_that_died_before_it_led_holds_up_no_other(house: House) -> None:
    journal, loop = house.home.journal, asyncio.new_event_loop()

    async def abandon() -> None:
        journal.commit_async(lambda tx: tx.now)

    loop.create_task(abandon())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    async def ask() -> int:
        return await asyncio.wait_for(journal.commit_async(lambda tx: tx.now), 5)

    assert asyncio.run(ask()) > 0


def test_a_loop_goes_on_while_another_thread_holds_the_journal(house: House) -> None:
    """The loop's own thread leads only where it would not wait; beats are counted, not timed."""
    journal, held, release = house.home.journal, threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        held.set()
        assert release.wait(10)

    async def ask() -> int:
        waiting, beats = journal.commit_async(lambda tx: tx.now), 0
        for _ in range(20):
            await asyncio.sleep(0)
            beats += not waiting.done()
        release.set()
        await asyncio.wait_for(waiting, 5)
        return beats

    thread = threading.Thread(target=journal.commit, args=(hold,))
    thread.start()
    assert held.wait(10)
    assert asyncio.run(ask()) == 20
    thread.join()
