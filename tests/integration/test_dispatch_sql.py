"""The sql connector on real databases: reading that cannot write, and writing that is taken back or done."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import postgres
from interlock.dispatch.outcome import Failed, Outcome, Succeeded, Unknown
from interlock.dispatch.sql import ENFORCED, SqlConnector
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints
from interlock.policy import SqlExecute
from targets import READER, WRITER, Target, on_postgres, on_sqlite


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "sqlite":
        return on_sqlite(tmp_path)
    return on_postgres(request.getfixturevalue("target_server"))


def run(
    target: Target | str,
    statement: str | None = None,
    args: dict[str, Any] | None = None,
    *,
    query: str | None = None,
    read_only: bool | None = None,
    max_rows: int = 1_000,
    constraints: Constraints = NO_CONSTRAINTS,
    amount_usd: Decimal | None = None,
    timeout_sec: float = 10.0,
) -> Outcome:
    """One action: a `query` of the agent's own, or a reviewed `statement`."""
    reads = query is not None if read_only is None else read_only
    spec = SqlExecute("shop", statement, None if query is None else "sql", max_rows, reads)
    found = {"sql": query} if query is not None else args or {}
    url = target if isinstance(target, str) else target.reader if reads else target.writer
    send = SqlConnector({"shop": url}.get).send(
        spec, found, constraints, amount_usd=amount_usd, timeout_sec=timeout_sec
    )
    return asyncio.run(send)


def rows(outcome: Outcome) -> Any:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result


# --- reading ---------------------------------------------------------------------------------------------


def test_a_query_answers_with_columns_and_rows_and_rounds_nothing(target: Target) -> None:
    found = rows(
        run(target, query="SELECT id, id, 9007199254740993 AS big, NULL AS none FROM orders ORDER BY 1")
    )
    assert found["columns"] == ["id", "id", "big", "none"]
    assert found["rows"][0] == ["A-1", "A-1", "9007199254740993", None]
    if target.kind == "postgres":
        exact = rows(
            run(target, query="SELECT amount, 'NaN'::float8, '\\x00ff'::bytea, DATE '2026-01-02' FROM orders")
        )
        assert exact["rows"][0] == ["12.50", "nan", {"base64": "AP8="}, "2026-01-02"]


def test_a_reviewed_read_binds_its_values_and_never_pastes_them(target: Target) -> None:
    for asked, expected in (("A-1", [["A-1"]]), ("x' OR '1'='1", []), ("%s :p0 ? {0} --", [])):
        found = rows(run(target, "SELECT id FROM orders WHERE id = {args.id}", {"id": asked}, read_only=True))
        assert found.get("rows", []) == expected


WRITING = (
    "UPDATE orders SET state = 'gone'",
    "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
    "SELECT 1; DELETE FROM orders",
    "SELECT 1; COMMIT; BEGIN; DELETE FROM orders",
    "DELETE FROM orders",
    "INSERT INTO orders (id) VALUES ('X')",
    "DROP TABLE orders",
    "BEGIN",
    "COMMIT",
    "/* */ SELECT 1",
    "EXPLAIN SELECT 1",
    "",
)


@pytest.mark.parametrize("query", WRITING)
def test_a_query_that_is_none_or_would_write_has_no_effect(target: Target, query: str) -> None:
    before = target.look("SELECT * FROM orders ORDER BY id")
    outcome = run(target, query=query)
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof in ("nothing_sent", "read_only")
    assert target.look("SELECT * FROM orders ORDER BY id") == before


def test_sql_of_the_agents_own_never_runs_where_writing_is_possible(target: Target) -> None:
    outcome = run(target, query="SELECT 1", read_only=False)
    assert outcome == Failed(
        "a query of the agent's own runs on a read-only connection alone", "nothing_sent"
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM pragma_journal_mode('delete')",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT * FROM pragma_query_only(0)",
        "WITH x AS (SELECT 1) INSERT INTO orders (id) SELECT 'X' FROM x",
        "VALUES (1) ; ATTACH '/tmp/evil.db' AS evil",
    ],
)
def test_sqlite_refuses_what_is_not_reading_before_it_runs(file: Target, query: str) -> None:
    outcome = run(file, query=query)
    assert isinstance(outcome, Failed), outcome
    assert file.states() == ["open", "open"]


def test_sqlite_attaches_nothing_even_in_a_reviewed_read(file: Target, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    outcome = run(file, f"ATTACH '{other}' AS other", read_only=True)
    assert isinstance(outcome, Failed)
    assert not other.exists()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for reads in (True, False):
        outcome = run(f"sqlite:///{tmp_path}/none.db", "SELECT 1", read_only=reads)
        assert isinstance(outcome, Failed)
        assert outcome.proof == "nothing_sent"
    assert not (tmp_path / "none.db").exists()
    assert isinstance(run("sqlite:///none.db", "SELECT 1", read_only=True), Failed)


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        (f"GRANT UPDATE ON orders TO {READER}", "may write to a table"),
        (f"GRANT UPDATE (state) ON orders TO {READER}", "may write to a table"),
        ("GRANT DELETE ON orders TO PUBLIC", "may write to a table"),
        (f"GRANT CREATE ON SCHEMA public TO {READER}", "may create in a schema"),
        (f"GRANT CREATE ON DATABASE interlock_target TO {READER}", "may create in the database"),
        (f"GRANT {WRITER} TO {READER} WITH INHERIT FALSE", "may write to a table"),
        (f"GRANT pg_write_all_data TO {READER}", "acts on the server"),
        (f"GRANT pg_execute_server_program TO {READER}", "acts on the server"),
        (f"ALTER ROLE {READER} CREATEROLE", "administers the server"),
        (f"ALTER ROLE {READER} SUPERUSER", "administers the server"),
        (f"ALTER TABLE orders OWNER TO {READER}", "may write to a table"),
    ],
)
def test_a_role_that_could_write_reads_nothing(elephant: Target, grant: str, words: str) -> None:
    assert isinstance(run(elephant, query="SELECT 1"), Succeeded)
    postgres.run(elephant.admin, grant)
    outcome = run(elephant, query="SELECT 1")
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"
    assert words in outcome.reason


def test_a_read_only_transaction_holds_even_for_a_role_that_may_write(
    elephant: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.dispatch.sql_postgres._MAY_WRITE", "SELECT NULL")
    for query in (
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT nextval('numbers')",
    ):
        postgres.run(elephant.admin, "CREATE SEQUENCE IF NOT EXISTS numbers")
        postgres.run(elephant.admin, f"GRANT ALL ON SEQUENCE numbers TO {WRITER}")
        outcome = run(elephant.writer, query=query)
        assert isinstance(outcome, Failed), query
        assert outcome.proof == "read_only"
    assert elephant.states() == ["open", "open"]


# --- writing ---------------------------------------------------------------------------------------------


CLOSE = "UPDATE orders SET state = {args.state} WHERE id = {args.id}"


def test_a_statement_changes_what_it_says_and_says_how_many(target: Target) -> None:
    found = rows(run(target, CLOSE, {"id": "A-1", "state": "50% 'off'; DROP TABLE orders"}))
    assert found == {"changed": 1}
    assert target.states() == ["50% 'off'; DROP TABLE orders", "open"]
    back = rows(run(target, "DELETE FROM orders WHERE id = {args.id} RETURNING id", {"id": "A-2"}))
    assert back == {"columns": ["id"], "rows": [["A-2"]], "changed": 1}


def test_more_rows_than_reviewed_are_taken_back(target: Target) -> None:
    outcome = run(target, "UPDATE orders SET state = 'gone'", max_rows=1)
    assert outcome == Failed("shop: more than 1 rows", "not_committed", "max_rows")
    assert target.states() == ["open", "open"]


def test_an_error_of_the_statement_takes_it_back_and_proves_it(target: Target) -> None:
    outcome = run(target, "INSERT INTO orders (id) VALUES ({args.id})", {"id": "A-1"})
    assert isinstance(outcome, Failed)
    assert outcome.proof == "not_committed"
    assert len(target.states()) == 2


def test_a_commit_that_the_database_refuses_took_no_effect(target: Target) -> None:
    outcome = run(target, "INSERT INTO orders (id, parent) VALUES ('X', {args.id})", {"id": "nobody"})
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof == "not_committed"
    assert "foreign key" in outcome.reason.lower()
    assert len(target.states()) == 2


def test_a_statement_that_ends_its_own_transaction_is_refused_by_the_database(target: Target) -> None:
    for statement in ("COMMIT", "UPDATE orders SET state = 'gone'; COMMIT"):
        assert isinstance(run(target, statement), Failed)
    assert target.states() == ["open", "open"]


def test_a_missing_argument_sends_nothing(target: Target) -> None:
    outcome = run(target, CLOSE, {"id": "A-1"})
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"


def test_a_value_keeps_its_digits_and_objects_are_json(elephant: Target) -> None:
    found = rows(
        run(
            elephant,
            "UPDATE orders SET amount = {args.a}, state = {args.o} WHERE id = 'A-1' RETURNING amount, state",
            {"a": "1400.10", "o": {"b": [1]}},
        )
    )
    assert found["rows"] == [["1400.10", '{"b":[1]}']]


class Wire:
    """A wire to a PostgreSQL server. Once it has carried `when` to the server, it is cut, or deaf."""

    def __init__(self, behind: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.behind = behind
        self.when: bytes | None = None
        self.cut = False
        self.deaf = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.behind)
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pump(self, one: socket.socket, other: socket.socket, to_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if to_server and self.when is not None and self.when in data:
                    self.deaf = True
                if to_server or not self.deaf:
                    other.sendall(data)
                if self.deaf and self.cut:
                    break
            for end in (one, other):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wire(elephant: Target) -> Iterator[tuple[Wire, Target]]:
    folder = conninfo_to_dict(elephant.admin)["host"]
    party = Wire(f"{folder}/.s.PGSQL.5432")
    yield party, elephant
    party.listener.close()


def _through(party: Wire) -> str:
    return f"postgresql://{WRITER}:hunter2@127.0.0.1:{party.port}/interlock_target?sslmode=disable"


def test_a_connection_that_ends_before_commit_was_sent_had_no_effect(wire: tuple[Wire, Target]) -> None:
    party, target = wire
    party.when, party.cut = b"UPDATE orders", True
    outcome = run(_through(party), "UPDATE orders SET state = 'gone'")
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof == "not_committed"
    time.sleep(0.3)
    assert target.states() == ["open", "open"]


@pytest.mark.parametrize("cut", [True, False])
def test_a_commit_that_is_not_answered_is_in_doubt(wire: tuple[Wire, Target], cut: bool) -> None:
    party, target = wire
    party.when, party.cut = b"COMMIT\0", cut
    limit = Constraints(max_runtime_sec=2)
    outcome = run(_through(party), "UPDATE orders SET state = 'gone'", constraints=limit)
    assert isinstance(outcome, Unknown), outcome
    assert "COMMIT" in outcome.reason
    assert outcome.breach == (None if cut else "max_runtime_sec")
    time.sleep(0.3)
    assert target.states() == ["gone", "gone"]


# --- constraints -----------------------------------------------------------------------------------------


def test_it_enforces_what_it_says() -> None:
    assert {"max_runtime_sec", "network_allowlist", "max_amount_usd"} == ENFORCED


SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "postgres": "SELECT pg_sleep(30)",
}


def test_max_runtime_ends_a_query_that_keeps_running(target: Target) -> None:
    began = time.monotonic()
    outcome = run(target, query=SLOW[target.kind], constraints=Constraints(max_runtime_sec=1))
    assert isinstance(outcome, Failed)
    assert (outcome.proof, outcome.breach) == ("read_only", "max_runtime_sec")
    assert time.monotonic() - began < 8


def test_max_runtime_takes_a_write_back_that_waits_for_a_lock(file: Target) -> None:
    other = sqlite3.connect(file.admin, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcome = run(file, "UPDATE orders SET state = 'gone'", constraints=Constraints(max_runtime_sec=1))
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(outcome, Failed)
    assert outcome.breach == "max_runtime_sec"
    assert file.states() == ["open", "open"]


def test_a_server_that_falls_silent_is_given_up(wire: tuple[Wire, Target]) -> None:
    party, target = wire
    party.when = b"UPDATE orders"
    began = time.monotonic()
    outcome = run(
        _through(party), "UPDATE orders SET state = 'gone'", constraints=Constraints(max_runtime_sec=1)
    )
    assert isinstance(outcome, Failed), outcome
    assert outcome.breach == "max_runtime_sec"
    assert time.monotonic() - began < 10
    assert target.states() == ["open", "open"]


@pytest.mark.parametrize("size", [100, 100_000])
def test_rows_and_bytes_that_are_read_have_an_end(target: Target, size: int) -> None:
    wide = {"sqlite": f"hex(zeroblob({size}))", "postgres": f"repeat('0', {size})"}[target.kind]
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
    many = f"{numbers} SELECT {wide} FROM n"
    outcome = run(target, query=many, max_rows=50)
    assert isinstance(outcome, Failed)
    assert outcome.breach == ("max_rows" if size == 100 else "max_bytes")


def test_one_huge_value_is_no_answer(target: Target) -> None:
    huge = {"sqlite": "SELECT hex(zeroblob(50000000))", "postgres": "SELECT repeat('0', 100000000)"}
    outcome = run(target, query=huge[target.kind])
    assert isinstance(outcome, Failed)
    assert outcome.breach == "max_bytes"


def test_an_amount_over_the_limit_is_never_sent(target: Target) -> None:
    for amount in (None, Decimal("100.01"), Decimal("-100.01")):
        limit = Constraints(max_amount_usd=Decimal(100))
        outcome = run(target, CLOSE, {"id": "A-1", "state": "x"}, constraints=limit, amount_usd=amount)
        assert isinstance(outcome, Failed)
        assert (outcome.proof, outcome.breach) == ("nothing_sent", "max_amount_usd")
    assert target.states() == ["open", "open"]


def test_a_server_that_is_not_listed_is_not_connected_to(wire: tuple[Wire, Target]) -> None:
    party, target = wire
    url = _through(party)
    for entries, connects in (
        ((), False),
        (("other.invalid",), False),
        (("127.0.0.1:1",), False),
        (("127.0.0.1",), True),
        ((f"127.0.0.1:{party.port}",), True),
    ):
        outcome = run(url, "SELECT 1", read_only=False, constraints=Constraints(network_allowlist=entries))
        assert isinstance(outcome, Succeeded) is connects, outcome
        if isinstance(outcome, Failed):
            assert (outcome.proof, outcome.breach) == ("nothing_sent", "network_allowlist")
    # A file and a socket of this machine are no network.
    assert isinstance(run(target, query="SELECT 1", constraints=Constraints(network_allowlist=())), Succeeded)


def test_no_outcome_holds_the_password(elephant: Target) -> None:
    outcome = run(elephant, query="SELECT 'hunter2' AS said")
    assert isinstance(outcome, Succeeded)
    assert "hunter2" not in str(outcome.result)
    for url in (
        "postgresql://nobody:hunter2@127.0.0.1:1/x",
        "postgresql://nobody:hunter2@/x?host=/nowhere",
        "mysql://nobody:hunter2@127.0.0.1/x",
        "postgresql://:hunter2@[",
    ):
        refused = run(url, query="SELECT 1", timeout_sec=2)
        assert isinstance(refused, Failed)
        assert refused.proof == "nothing_sent"
        assert "hunter2" not in refused.reason


def test_a_caller_that_gives_up_ends_the_statement(elephant: Target) -> None:
    async def go() -> None:
        spec = SqlExecute(
            "shop", "UPDATE orders SET state = 'gone' WHERE pg_sleep(5) IS NOT NULL", None, 9, False
        )
        send = SqlConnector({"shop": elephant.writer}.get).send(spec, {}, NO_CONSTRAINTS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send, 0.5)

    asyncio.run(go())
    assert elephant.states() == ["open", "open"]


def test_statements_that_take_their_time_keep_nobody_else_waiting(file: Target) -> None:
    """The threads of an event loop are few, and an effect is recorded through them too."""
    other = sqlite3.connect(file.admin, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def go() -> None:
        connector = SqlConnector({"shop": file.writer}.get)
        spec = SqlExecute("shop", "UPDATE orders SET state = 'gone'", None, 9, read_only=False)
        sends = [
            asyncio.create_task(connector.send(spec, {}, NO_CONSTRAINTS, timeout_sec=60)) for _ in range(40)
        ]
        await asyncio.sleep(0.5)
        assert not any(send.done() for send in sends)
        await asyncio.wait_for(asyncio.to_thread(file.states), 20)
        other.execute("ROLLBACK")
        assert all(isinstance(outcome, Succeeded) for outcome in await asyncio.gather(*sends))

    asyncio.run(go())
    other.close()


def test_what_only_reads_is_never_committed(elephant: Target) -> None:
    """A read-only transaction still lets a function leave something for COMMIT: a notification, for one."""
    with psycopg.connect(elephant.admin, autocommit=True) as listening:
        listening.execute("LISTEN anybody")
        rows(run(elephant, "SELECT pg_notify('anybody', 'hello')::text", {}, read_only=True))
        assert list(listening.notifies(timeout=0.5)) == []
