"""The journal on PostgreSQL: durable or refused, one writer at a time, honest about a lost commit."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from house import House
from interlock.journal import ClockBehind, ConnectionLost, Journal, OutcomeUnknown, Tx, Vault, tables
from interlock.journal import postgres as backend
from interlock.journal.database import Head
from interlock.journal.postgres import PostgresDatabase, described, remembered
from interlock.ledger import Frontier, Kind, leaf_hash
from interlock.model.actions import ExecutorKind
from interlock.model.errors import (
    ClockJumped,
    Conflict,
    HomeUnusable,
    InvalidInput,
    RecoveryRequired,
    Tampered,
)
from postgres import Postgres
from waiting import wait_for

VAULT = Vault(bytes(32), bytes(32))
Make = Callable[..., Journal]


def note(name: str = "k") -> Callable[[Tx], int]:
    return lambda tx: tx.append(Kind.KEY_REVOKED, key=name, by="test")


def whole(journal: Journal) -> bool:
    """Whether the head is the root of the entries."""
    return journal.head()[1] == Frontier.EMPTY.appended(leaf_hash(body) for body in journal.entries())


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database(0)


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    opened: list[Journal] = []

    def one(**rest: Any) -> Journal:
        opened.append(Journal(PostgresDatabase(url), rest.pop("vault", VAULT), **rest))
        return opened[-1]

    yield one
    for journal in opened:
        journal.close()


# --- opening ----------------------------------------------------------------------------------------------


def test_the_migration_makes_the_tables_that_the_code_declares(make: Make) -> None:
    with make().engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": tables.metadata})
        assert compare_metadata(context, tables.metadata) == []


def test_every_text_is_compared_by_its_bytes(make: Make, postgres: Postgres, url: str) -> None:
    make()
    found = postgres.run(
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'text'",
        url=url,
    )
    assert found == [("C",)]


def test_several_openers_of_an_empty_database_make_one_journal(make: Make) -> None:
    with ThreadPoolExecutor(4) as pool:
        journals = list(pool.map(lambda _: make(), range(4)))
    assert {journal.start for journal in journals} == {0}
    assert [journal.commit(note()) for journal in journals] == [0, 1, 2, 3]


def test_namespaces_of_one_database_are_ledgers_of_their_own(make: Make) -> None:
    one, two = make(), make(namespace="two")
    assert [one.commit(note()), two.commit(note()), one.commit(note())] == [0, 0, 1]
    assert whole(one)
    assert whole(two)


def test_another_homes_keys_do_not_open_a_journal(make: Make) -> None:
    make()
    with pytest.raises(Tampered, match="other keys"):
        make(vault=Vault(bytes(32), b"x" * 32))


@pytest.mark.parametrize(
    "setting", ["synchronous_commit=off", "default_transaction_read_only=on"], ids=["async", "readonly"]
)
def test_a_session_that_is_not_durable_is_refused(url: str, setting: str) -> None:
    loose = make_conninfo("", **conninfo_to_dict(url), options=f"-c {setting}")
    with pytest.raises(HomeUnusable):
        Journal(PostgresDatabase(loose), VAULT)


@contextmanager
def set_to(postgres: Postgres, setting: str, value: str) -> Iterator[None]:
    """A setting of the whole server, as its administrator changes it while we run."""

    def reload(expected: str) -> None:
        postgres.run("SELECT pg_reload_conf()")
        wait_for(lambda: postgres.run(f"SHOW {setting}") == [(expected,)])

    postgres.run(f"ALTER SYSTEM SET {setting} = {value}")
    try:
        reload(value)
        yield
    finally:
        postgres.run(f"ALTER SYSTEM RESET {setting}")
        reload("on")


def test_a_server_without_fsync_is_refused_and_so_is_one_that_loses_it(
    make: Make, postgres: Postgres, url: str
) -> None:
    journal = make()
    journal.commit(note())
    with set_to(postgres, "fsync", "off"):
        with pytest.raises(HomeUnusable, match="fsync"):
            PostgresDatabase(url)
        with pytest.raises(HomeUnusable, match="fsync"):
            journal.commit(note("never"))
    assert journal.commit(note()) == 1


def test_a_default_that_is_loosened_later_does_not_reach_an_open_journal(
    make: Make, postgres: Postgres, url: str
) -> None:
    journal = make()
    database: Any = journal.database
    with set_to(postgres, "synchronous_commit", "off"):
        journal.commit(note())
        assert database.writer().execute("SHOW synchronous_commit").fetchone() == ("on",)
        with pytest.raises(HomeUnusable, match="synchronous_commit"):
            PostgresDatabase(url)


PASSWORDS = [
    "postgresql://u:pa@ss/word@h/db",
    "postgresql://u:ss/word@h/db",
    "postgresql://u:hush?ss/word@h/db",
    "postgresql://u:hush@127.0.0.1:1/none",
    "host=127.0.0.1 port=1 password=hush",
    "host=h password='hush",
]


@pytest.mark.parametrize("text", PASSWORDS)
def test_no_message_shows_a_password(text: str) -> None:
    with pytest.raises(HomeUnusable) as refused:
        PostgresDatabase(text)
    for secret in ("hush", "ss/word", "pa@"):
        assert secret not in f"{refused.value}{refused.value.__cause__}"


def test_what_is_remembered_of_a_url_has_no_secret() -> None:
    text = "postgresql://u:hush@h:5/db?sslmode=require&sslpassword=hush"
    assert "hush" not in remembered(text) + described(text)
    assert conninfo_to_dict(remembered(text)) == {
        "user": "u",
        "host": "h",
        "port": "5",
        "dbname": "db",
        "sslmode": "require",
    }


# --- transactions -----------------------------------------------------------------------------------------


def test_a_transition_that_refuses_changes_nothing_and_its_neighbours_commit(make: Make) -> None:
    journal = make()

    def refuse(tx: Tx) -> None:
        raise Conflict("no")

    def write_then_refuse(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        tx.seal(b"never", None)
        raise Conflict("no")

    def break_the_statement(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        tx._cursor.execute("SELECT 1/0", [])

    async def together() -> list[Any]:
        members = [note(), refuse, note(), write_then_refuse, note(), break_the_statement, note()]
        return await asyncio.gather(*map(journal.commit_async, members), return_exceptions=True)

    answers = asyncio.run(together())
    assert [type(a) for a in answers] == [int, Conflict, int, Conflict, int, HomeUnusable, int]
    assert [a for a in answers if isinstance(a, int)] == [0, 1, 2, 3]
    assert whole(journal)
    assert not any(b"never" in body for body in journal.entries())


def test_a_failure_that_a_transition_hides_is_never_acknowledged(make: Make) -> None:
    """The server undoes such a transaction and answers COMMIT without an error."""
    journal = make()

    def hide(tx: Tx) -> int:
        with pytest.raises(psycopg.Error):
            tx._cursor.execute("SELECT 1/0", [])
        return 1

    def hide_and_write(tx: Tx) -> int:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        return hide(tx)

    with pytest.raises(HomeUnusable):
        journal.commit(hide_and_write)
    assert journal.commit(note()) == 0


def test_a_commit_that_the_server_answers_with_rollback_is_a_failure(make: Make) -> None:
    journal = make()
    database: Any = journal.database
    cursor, head = database.begin("default")
    with pytest.raises(psycopg.Error):
        cursor.execute("SELECT 1/0", [])
    with pytest.raises(HomeUnusable, match="ROLLBACK"):
        database.commit(head)


def test_a_text_that_the_database_cannot_hold_is_the_callers_mistake(
    open_house: Callable[..., House], url: str
) -> None:
    house = open_house(database=url)
    with pytest.raises(InvalidInput):
        house.view("act_\0")
    with pytest.raises(InvalidInput):
        house.gate.claim("act_\0", ExecutorKind.CALLER)
    assert house.state(house.held()) == "held"


def test_a_look_sees_one_state_while_others_write(make: Make) -> None:
    journal, other = make(), make()

    def twice(tx: Tx) -> tuple[Any, Any]:
        def size() -> Any:
            tx._cursor.execute("SELECT size FROM head", None)
            return tx._cursor.fetchone()

        before = size()
        other.commit(note())
        return before, size()

    assert journal.look(twice) == ((0,), (0,))
    assert journal.head()[0] == 1


def test_a_look_cannot_write(make: Make) -> None:
    with pytest.raises(HomeUnusable, match="read-only"):
        make().look(lambda tx: tx._cursor.execute("DELETE FROM head", None))


def test_two_journals_on_one_database_append_in_turn(make: Make) -> None:
    one, two = make(), make()

    def many(journal: Journal) -> list[int]:
        return [journal.commit(note()) for _ in range(100)]

    with ThreadPoolExecutor(4) as pool:
        found = [index for done in pool.map(many, [one, two, one, two]) for index in done]
    assert sorted(found) == list(range(400))
    assert whole(one)


def test_a_closed_journal_refuses_and_closing_twice_is_closing_once(make: Make) -> None:
    journal = make()
    journal.close()
    journal.close()
    with pytest.raises(HomeUnusable, match="closed"):
        journal.commit(note())


# --- time -------------------------------------------------------------------------------------------------


def test_time_is_the_databases_and_never_runs_backwards(make: Make, postgres: Postgres, url: str) -> None:
    journal = make()
    ((database_now,),) = postgres.run("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    first = journal.commit(lambda tx: (tx.append(Kind.KEY_REVOKED, key="a", by="t"), tx.now)[1])
    assert abs(first - database_now) < 5_000_000
    soon = first + 50_000_000
    postgres.run("UPDATE head SET at = %s", soon, url=url)
    assert journal.commit(lambda tx: tx.now) == soon
    postgres.run("UPDATE head SET at = %s", first + 3_600_000_000, url=url)
    with pytest.raises(ClockBehind):  # nobody's clock said that
        journal.commit(lambda tx: tx.now)


def test_a_databases_clock_that_jumps_claims_nothing() -> None:
    from interlock.journal.clock import DatabaseClock

    clock = DatabaseClock()
    clock.observe(1_800_000_000_000_000)
    clock.check()
    assert abs(clock.now() - 1_800_000_000_000_000) < 5_000_000
    clock.observe(1_800_000_000_000_000 + 61_000_000)
    with pytest.raises(ClockJumped):
        clock.check()


# --- connections that are lost ----------------------------------------------------------------------------


def test_connections_that_were_cut_while_idle_are_made_anew(make: Make, postgres: Postgres, url: str) -> None:
    journal = make()
    journal.commit(note())
    journal.look(lambda tx: tx.now)
    assert postgres.end_sessions(url) >= 2
    assert journal.commit(note()) == 1
    assert postgres.end_sessions(url) >= 1
    assert journal.look(lambda tx: tx.now) > 0
    assert journal.head()[0] == 2


def test_a_connection_cut_inside_a_transaction_leaves_nothing_and_says_so(
    make: Make, postgres: Postgres, url: str
) -> None:
    journal = make()

    def cut(tx: Tx) -> int:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        postgres.end_sessions(url)
        tx._cursor.execute("SELECT 1", [])
        return 1

    async def together() -> list[Any]:
        members = [note(), cut, note()]
        return await asyncio.gather(*map(journal.commit_async, members), return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(together())] == [ConnectionLost] * 3
    assert journal.head()[0] == 0
    assert journal.commit(note()) == 0


def test_a_database_that_goes_away_while_a_batch_is_run_again_is_asked_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, url: str
) -> None:
    journal, tries = make(), []

    def away(**_: object) -> None:
        tries.append(1)
        raise psycopg.OperationalError("no route to the host")

    def poison(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        if not tries:
            monkeypatch.setattr(journal.database, "_connect", away)
            tries.append(0)
            raise Conflict("no")
        raise AssertionError("it cannot be run without a database")

    def cut(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="never", by="test")
        if tries:
            postgres.end_sessions(url)
            tx._cursor.execute("SELECT 1", [])

    async def together() -> list[Any]:
        members = [cut, poison, *[note("never")] * 20]
        return await asyncio.gather(*map(journal.commit_async, members), return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(together())] == [ConnectionLost] * 22
    assert sum(tries) <= 2
    monkeypatch.undo()
    assert journal.head()[0] == 0


class Losing:
    """A database whose next commit is cut just before it reaches the server, or just after it did.

    It stands in for the network only: the statements are the real ones, on the real server.
    """

    def __init__(self, journal: Journal, meanwhile: Callable[[], object], *, committed: bool) -> None:
        self._database: Any = journal.database
        self._commit = self._database.commit
        self._meanwhile = meanwhile
        self._committed = committed
        self._database.commit = self.commit
        self.statusmessage = ""

    def commit(self, grown: Head) -> None:
        self._cursor, self._database._cursor = self._database._cursor, self
        self._database.commit = self._commit
        self._commit(grown)

    def execute(self, statement: str) -> None:
        if self._committed:
            self._cursor.execute(statement)
        self._meanwhile()
        raise psycopg.OperationalError("the connection is gone")


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("others", [0, 3], ids=["quiet", "others went on"])
def test_a_commit_whose_connection_is_lost_is_reported_as_what_it_was(
    make: Make, postgres: Postgres, url: str, committed: bool, others: int
) -> None:
    journal, other = make(), make()

    def meanwhile() -> None:
        postgres.end_sessions(url)
        for _ in range(others):
            other.commit(note("other"))

    Losing(journal, meanwhile, committed=committed)
    if committed:
        assert journal.commit(note("mine")) == 0
    else:
        with pytest.raises(ConnectionLost):
            journal.commit(note("mine"))
    bodies = list(journal.entries())
    assert len([body for body in bodies if b'"mine"' in body]) == committed
    assert len(bodies) == committed + others
    assert journal.commit(note()) == len(bodies)
    assert whole(journal)


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_that_writes_no_entry_is_settled_too(
    make: Make, postgres: Postgres, url: str, committed: bool
) -> None:
    journal = make()
    Losing(journal, lambda: postgres.end_sessions(url), committed=committed)
    if committed:
        assert journal.commit(lambda tx: tx.seal(b"x", None)) == 0
    else:
        with pytest.raises(ConnectionLost):
            journal.commit(lambda tx: tx.seal(b"x", None))
    assert postgres.run("SELECT count(*) FROM payloads", url=url) == [(int(committed),)]


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_that_nobody_can_settle_is_neither_done_nor_failed(
    make: Make, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    journal = make()
    monkeypatch.setattr(backend, "SETTLE_SEC", 0.3)

    def away(**_: object) -> None:
        raise psycopg.OperationalError("no route to the host")

    Losing(journal, lambda: monkeypatch.setattr(journal.database, "_connect", away), committed=committed)
    with pytest.raises(OutcomeUnknown):
        journal.commit(note())
    with pytest.raises(ConnectionLost):
        journal.commit(note("never"))
    monkeypatch.undo()
    assert journal.commit(note()) == committed
    assert whole(journal)


def test_a_server_that_lost_the_commit_in_a_failover_is_not_believed(
    make: Make, postgres: Postgres, url: str
) -> None:
    """Another transaction may have got the same number there: the head row has to agree."""
    journal = make()
    journal.commit(note())
    before = postgres.run("SELECT size, frontier, at FROM head", url=url)[0]

    def back() -> None:
        postgres.end_sessions(url)
        postgres.run("UPDATE head SET size = %s, frontier = %s, at = %s", *before, url=url)

    Losing(journal, back, committed=True)
    with pytest.raises(OutcomeUnknown):
        journal.commit(note())


def test_cut_at_any_moment_every_answer_is_true(make: Make, postgres: Postgres, url: str) -> None:
    """Sessions are ended at random under load: what was acknowledged is there, what was refused is not."""
    journal, done = make(), threading.Event()
    acknowledged: dict[str, int] = {}
    refused: set[str] = set()
    moments = random.Random(11)

    def cut() -> None:
        while not done.wait(moments.uniform(0.001, 0.04)):
            postgres.end_sessions(url)

    async def task(number: int) -> None:
        end, count = time.monotonic() + 2.5, 0
        while time.monotonic() < end:
            key, count = f"{number}-{count}", count + 1
            try:
                acknowledged[key] = await journal.commit_async(note(key))
            except OutcomeUnknown:
                raise
            except HomeUnusable:
                refused.add(key)

    async def tasks() -> None:
        await asyncio.gather(*map(task, range(16)))

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        asyncio.run(tasks())
    finally:
        done.set()
        cutter.join()
    keys = [json.loads(body)["key"] for body in journal.entries()]
    assert acknowledged
    assert refused
    assert keys == sorted(acknowledged, key=lambda key: acknowledged[key])
    assert list(map(acknowledged.__getitem__, keys)) == list(range(len(keys)))
    assert whole(journal)


def test_a_session_that_hangs_in_its_commit_is_waited_for(make: Make, postgres: Postgres, url: str) -> None:
    """The lost session still holds the head row: what it does is known once it has ended, not before."""
    journal, database = make(), PostgresDatabase(url)
    journal.commit(note())
    _, head = database.begin("default")
    transaction = database._transaction
    held = database._writer
    assert held is not None
    held.execute("UPDATE head SET at = at + 1")
    database._writer = None  # the network took it; the server does not know yet
    threading.Timer(0.5, lambda: held.execute("COMMIT")).start()
    database._transaction = transaction
    began = time.monotonic()
    assert database._happened(head._replace(at=head.at + 1)) is True
    assert time.monotonic() - began > 0.3
    database.close()
    held.close()


def test_a_database_that_went_back_is_not_written_on(make: Make, postgres: Postgres, url: str) -> None:
    journal, other = make(), make()
    journal.commit(note())
    before = postgres.run("SELECT size, frontier FROM head", url=url)[0]
    journal.commit(note())
    postgres.run("UPDATE head SET size = %s, frontier = %s", *before, url=url)
    postgres.run("DELETE FROM entries WHERE seq = 1", url=url)
    with pytest.raises(RecoveryRequired):
        journal.commit(note("never"))
    with pytest.raises(RecoveryRequired):
        other.commit(note("another history"))
    with pytest.raises(RecoveryRequired):
        journal.commit(note("never"))


def test_a_process_that_stops_inside_a_transaction_holds_nobody_up_for_ever(
    make: Make, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(backend, "IDLE_SEC", 1)
    stopped = PostgresDatabase(url)
    monkeypatch.undo()
    journal = make()
    stopped.begin("default")
    began = time.monotonic()
    assert journal.commit(note()) == 0
    assert time.monotonic() - began > 0.5
    with pytest.raises(ConnectionLost):
        stopped.commit(Head(1, b"", 0, 0))
    stopped.close()
