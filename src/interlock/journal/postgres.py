"""PostgreSQL: several processes on several machines, one head row.

1. A write transaction is READ COMMITTED and begins with the head row FOR UPDATE. Whoever owns that row is the
   namespace's only writer; every later statement sees all that was committed before it got the row. One lock,
   taken first, leaves nothing to deadlock.
2. A server that acknowledges what it has not flushed is refused, when it is opened and in every transaction
   (`fsync`, `synchronous_commit`); the session pins the latter, so that a changed default does not loosen it.
3. A transaction that is idle for `IDLE_SEC`, because its process was stopped or its machine is gone, is ended
   by the server, so that nobody holds the head row for ever.
4. A connection lost before COMMIT was sent undid everything. One lost while it was under way is settled
   by asking: the head row FOR UPDATE waits until the lost session's transaction has ended, `pg_xact_status`
   says how, and the head row must have reached what the transaction left. Both are needed: after a failover
   to a standby that had not everything, the same transaction number may be another's.
5. Rows are looked up by their keys. The planner is told so: of tables whose statistics it does not have yet
   it would read all, and go on doing that in statements that it has prepared.
6. Text with U+0000 is refused as input: PostgreSQL cannot store it.

Source: PostgreSQL documentation, "Explicit Locking", "Transaction ID and Snapshot Information Functions",
"Asynchronous Commit".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper
from sqlalchemy import Connection, Dialect, Table, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from interlock.journal.clock import DatabaseClock
from interlock.journal.database import ConnectionLost, Head, OutcomeUnknown
from interlock.journal.hearing import Hearing, Listening
from interlock.journal.postgres_reading import Readers
from interlock.journal.postgres_rows import Rows, adapt, at_once
from interlock.journal.prepared import Prepared, Row
from interlock.model.errors import HomeUnusable, InvalidInput

OLDEST = 140_000
"""The oldest server version that is supported, as `server_version_num` counts."""
LOCK_SEC = 30
IDLE_SEC = 10
SETTLE_SEC = 20.0
"""How long a lost commit is asked about before it is unknown."""
_MIGRATING = 0x696E7465726C6F63
"""The advisory lock of `alone`: "interloc" in ASCII."""

_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "interlock",
    "client_encoding": "utf8",
}
_SESSION = """
    SELECT current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery(),
           current_setting('server_encoding'), current_setting('server_version_num')::int,
           set_config('synchronous_commit', current_setting('synchronous_commit'), false),
           set_config('lock_timeout', %(lock)s, false),
           set_config('idle_in_transaction_session_timeout', %(idle)s, false),
           set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
           set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false),
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
"""
# The row is locked before the outer select reads the clock: what was waited for is not in the past.
_LOCK_HEAD = """
    WITH locked AS MATERIALIZED (
        SELECT size, frontier, sealed, at, stopped, epoch FROM head WHERE namespace = %s FOR UPDATE
    )
    SELECT size, frontier, sealed, at, stopped, epoch,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
           current_setting('fsync'), pg_current_xact_id()::text
    FROM locked
"""
# A restored or promoted server goes on under another timeline, a new one under another system identifier.
_IDENTITY = """
    SELECT (SELECT system_identifier FROM pg_control_system())::text,
           substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
           (SELECT oid FROM pg_database WHERE datname = current_database())::text
"""
_LOOK_AT_HEAD = """
    SELECT at, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM head WHERE namespace = {}
"""


class PostgresDatabase:
    """A PostgreSQL database.

    Args:
        url: ``postgresql://user@host/name``, or libpq's ``key=value`` form. A password may also come from
            libpq's environment or password file.

    Raises:
        HomeUnusable: the URL does not read, the server cannot be reached, or it is not durable.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    away: tuple[type[Exception], ...] = (psycopg.OperationalError, psycopg.InterfaceError)
    searchable = False

    def __init__(self, url: str) -> None:
        self._info = _parsed(url)
        self.url: str | None = url
        self.name = described(url)
        self.clock = DatabaseClock()
        self.reader = create_engine(
            "postgresql+psycopg://",
            creator=self._reading,
            paramstyle="format",
            pool_pre_ping=True,
            use_native_hstore=False,
        )
        self.dialect: Dialect = self.reader.dialect
        self._readers = Readers(lambda: self._connect(autocommit=True))
        self._writer: psycopg.Connection[Row] | None = None
        self._cursor: psycopg.Cursor[Row] | None = None
        self._namespace = ""
        self._transaction = ""
        self._many: dict[Prepared, Rows] = {}
        try:
            self.writer()
        except psycopg.Error as error:
            raise HomeUnusable(f"The database {self.name} cannot be reached: {_said(error)}.") from error

    # --- connections -------------------------------------------------------------------------------------

    def _connect(self, *, autocommit: bool) -> psycopg.Connection[Row]:
        connection = psycopg.connect(**{**_DEFAULTS, **self._info}, autocommit=True)
        try:
            row = connection.execute(_SESSION, {"lock": f"{LOCK_SEC}s", "idle": f"{IDLE_SEC}s"}).fetchone()
            assert row is not None
            fsync, synchronous, standby, encoding, version = row[:5]
            self._check(fsync, synchronous, standby, encoding, version)
            self.clock.observe(row[-1])
            connection.adapters.register_dumper(int, Int8BinaryDumper)
            adapt(connection)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, fsync: str, synchronous: str, standby: bool, encoding: str, version: int) -> None:
        if version < OLDEST:
            raise HomeUnusable(f"The database {self.name} runs PostgreSQL {version // 10_000}; 14 is needed.")
        if encoding != "UTF8":
            raise HomeUnusable(
                f"The database {self.name} is encoded in {encoding}.", fix="Create one with ENCODING 'UTF8'."
            )
        if fsync != "on" or synchronous == "off":
            setting = "fsync" if fsync != "on" else "synchronous_commit"
            raise HomeUnusable(
                f"The database {self.name} runs with {setting} off: it acknowledges what a crash would lose.",
                fix=f"Turn {setting} on for this database and user.",
            )
        if standby:
            raise HomeUnusable(f"The database {self.name} is a standby; only the primary can be written.")

    def _reading(self) -> psycopg.Connection[Row]:
        """A connection whose every transaction is one snapshot and writes nothing."""
        connection = self._connect(autocommit=False)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection

    def writer(self) -> psycopg.Connection[Row]:
        """The connection that writes, made anew where it was lost."""
        if self._writer is None or self._writer.closed:
            self._drop()
            self._writer = self._connect(autocommit=True)
            self._cursor = self._writer.cursor(binary=True)
        return self._writer

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = self._cursor = None

    def exists(self) -> bool:
        row = self.writer().execute("SELECT to_regclass('head') IS NOT NULL").fetchone()
        if row is None or not row[0]:
            return False
        return self.writer().execute("SELECT FROM head LIMIT 1").fetchone() is not None

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: self._connect(autocommit=False),
            poolclass=NullPool,
            use_native_hstore=False,
        )
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
            yield connection

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def identity(self) -> str | None:
        try:
            connection: Any = self.reader.raw_connection()
        except (psycopg.Error, SQLAlchemyError) as error:
            raise ConnectionLost(f"The database {self.name} cannot be reached: {_said(error)}.") from error
        try:
            return "/".join(connection.cursor().execute(_IDENTITY).fetchone())
        except psycopg.errors.InsufficientPrivilege:
            return None
        except psycopg.Error as error:
            raise ConnectionLost(f"The database {self.name} cannot be asked: {_said(error)}.") from error
        finally:
            connection.close()

    def free(self) -> bool:
        return False  # there is a network in between

    # --- writing -----------------------------------------------------------------------------------------

    def begin(self, namespace: str) -> tuple[Any, Head]:
        try:
            try:
                row = self._locked(namespace)
            except psycopg.OperationalError:
                if not self.lost():
                    raise
                row = self._locked(namespace)  # the connection went while nobody used it
        except psycopg.errors.LockNotAvailable as error:
            self.rollback()
            raise HomeUnusable(
                f"Another process has held the ledger in {self.name} for {LOCK_SEC} s."
            ) from error
        except psycopg.Error as error:
            kind = ConnectionLost if self.lost() else HomeUnusable
            self.rollback()
            raise kind(f"The database {self.name} cannot be used: {_said(error)}.") from error
        if row is None:
            self.rollback()
            raise HomeUnusable(f"The namespace {namespace} has no ledger in {self.name}.")
        *head, now, fsync, self._transaction = row
        self._namespace = namespace
        if fsync != "on":
            self.rollback()
            raise HomeUnusable(f"The database {self.name} was switched to fsync=off; nothing is recorded.")
        self.clock.observe(now)
        return _Cursor(self._cursor), Head(*head)

    def _locked(self, namespace: str) -> Row | None:
        self.writer()
        assert self._cursor is not None
        self._cursor.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        return self._cursor.execute(_LOCK_HEAD, [namespace]).fetchone()

    def write(self, statements: Sequence[tuple[Prepared, list[Row]]]) -> list[int]:
        assert self._cursor is not None
        for statement, _ in statements:
            if statement not in self._many:
                self._many[statement] = Rows(statement, self.dialect)
        _Cursor(self._cursor).execute(*at_once([(self._many[one], rows) for one, rows in statements]))
        counts = self._cursor.fetchone() or ()
        return [
            len(rows) if count is None else count for count, (_, rows) in zip(counts, statements, strict=True)
        ]

    def commit(self, grown: Head) -> None:
        assert self._cursor is not None
        try:
            self._cursor.execute("COMMIT")
            done = self._cursor.statusmessage
        except Exception as error:
            # Whatever went wrong, and wherever: the commit may stand, and only the database knows.
            self._drop()
            if self._happened(grown):
                return
            raise ConnectionLost(f"{self.name} did not commit: {_said(error)}.") from error
        except BaseException:
            self._drop()
            raise
        if done != "COMMIT":
            # A statement had failed and somebody went on: the server undid the transaction without an error.
            raise HomeUnusable(f"{self.name} answered COMMIT with {done}: nothing was recorded.")

    def _happened(self, grown: Head) -> bool:
        """Whether the transaction whose commit was lost is there (rule 4). Raises `OutcomeUnknown`."""
        deadline = time.monotonic() + SETTLE_SEC
        while True:
            try:
                row = self._locked(self._namespace)
                ended = self._ended() if row is not None else None
            except (psycopg.Error, HomeUnusable) as error:
                self._drop()
                if time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                raise OutcomeUnknown(f"{self.name} was lost while it committed, and stays away.") from error
            self.rollback()
            break
        if ended == "aborted":
            return False
        if ended == "committed" and row is not None and _reached(Head(*row[:6]), grown):
            return True
        raise OutcomeUnknown(f"{self.name} came back in a state that does not tell whether it committed.")

    def _ended(self) -> str | None:
        row = self.writer().execute("SELECT pg_xact_status(%s::xid8)", [self._transaction]).fetchone()
        return None if row is None else row[0]

    def rollback(self) -> None:
        try:
            if self._writer is not None and self._writer.info.transaction_status != pq.TransactionStatus.IDLE:
                self._writer.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def lost(self) -> bool:
        return self._writer is None or self._writer.closed

    # --- reading -----------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self, namespace: str) -> Iterator[tuple[Any, int]]:
        question = sql.SQL(_LOOK_AT_HEAD).format(sql.Literal(namespace))
        with self._readers.begin(question) as (cursor, row):
            if row is None:
                raise HomeUnusable(f"The namespace {namespace} has no ledger in {self.name}.")
            self.clock.observe(row[1])
            yield _Cursor(cursor), row[0]

    def purge(self, table: Table, *, rebuild: bool, wait: bool = True) -> None:  # noqa: ARG002
        """Writes the table into a new file, which leaves no dead rows; the old file's blocks, the write-ahead
        log and its archives are the server's."""
        if not rebuild:
            return
        connection = self._connect(autocommit=True)
        try:
            connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(table.name)))
        except psycopg.Error as error:
            raise HomeUnusable(
                f"The table {table.name} in {self.name} could not be vacuumed: {_said(error)}.",
                fix=f"The row is gone; have the table's owner run: VACUUM (FULL) {table.name}",
            ) from error
        finally:
            connection.close()

    def holds(self, content: bytes) -> bool:  # noqa: ARG002 (the server's files are not ours to read)
        return True

    def listen(self, namespace: str, heard: Callable[[], None]) -> Hearing | None:
        return Listening(self._hearing, self._writing_process, namespace, heard)

    def _hearing(self) -> psycopg.Connection[Row]:
        info = {**_DEFAULTS, "application_name": "interlock-hearing", **self._info}
        return psycopg.connect(**info, autocommit=True)

    def _writing_process(self) -> int:
        writer = self._writer
        return 0 if writer is None or writer.closed else writer.info.backend_pid

    def close(self) -> None:
        self._drop()
        self._readers.close()
        self.reader.dispose()


class _Cursor:
    """A cursor that refuses, as a caller's mistake, the values that this database cannot hold."""

    __slots__ = ("_cursor", "fetchall", "fetchone")

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.fetchone = cursor.fetchone
        self.fetchall = cursor.fetchall

    def execute(self, statement: str, params: Any) -> None:
        try:
            self._cursor.execute(statement, params)
        except (psycopg.DataError, OverflowError) as error:
            if isinstance(error, psycopg.Error) and error.sqlstate is not None:
                raise
            # It never reached the server: the transaction goes on.
            raise InvalidInput("a text holds U+0000, or a number has more than 64 bits", path="$") from error

    @property
    def rowcount(self) -> int:
        count: int = self._cursor.rowcount
        return count


def described(url: str) -> str:
    """Where a database is, without its user, password or options."""
    info = _parsed(url)
    port = f":{info['port']}" if info.get("port") else ""
    name = info.get("dbname") or info.get("user", "")
    return f"postgresql://{info.get('host') or 'localhost'}{port}/{name}"


def remembered(url: str) -> str:
    """The connection string without its secrets."""
    info = {name: value for name, value in _parsed(url).items() if name not in ("password", "sslpassword")}
    return psycopg.conninfo.make_conninfo("", **info)


def _parsed(url: str) -> Mapping[str, Any]:
    unread = HomeUnusable(
        "The database URL does not read.",
        fix="Write postgresql://USER@HOST/NAME; percent-encode what is special in a password.",
    )
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        place, _, name = rest.partition("?")[0].partition("/")
        if place.count("@") > 1 or "@" in name:
            raise unread  # libpq would take a part of the password for a host or a name, and show it
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:
        raise unread from None  # what libpq says about it may quote the password


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _reached(head: Head, grown: Head) -> bool:
    """Whether a head may be `grown`, or one that later transactions made of it."""
    if head.size == grown.size and head.frontier != grown.frontier:
        return False
    return head.size >= grown.size and head.sealed >= grown.sealed and head.at >= grown.at
