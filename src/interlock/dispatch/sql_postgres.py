"""PostgreSQL under the `sql` connector.

1. Statements go by the extended protocol, which takes one statement: what follows a ``;`` is refused.
2. Read-only is kept three times. The session's default and the transaction are read-only; the first query of
   the transaction is ours, after which the server lets nobody make it a writing one; and that query asks
   whether the role, or one it could become, may write, own or do anything that a read-only transaction does
   not stop (`_MAY_WRITE`). A role that may is refused before the statement is sent.
3. The server ends the statement by itself shortly after its time. The end of our patience, and a kill switch,
   ask it to cancel, over a connection to the same address; what has not answered `CANCEL_SEC` later is cut
   off, which also ends a wait for a server that answers nothing. A statement that was cancelled is rolled
   back; a COMMIT that went on is heard out.
4. An answer to COMMIT other than COMMIT, or an error of a class that only a rolled back transaction has,
   means that nothing was committed.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from interlock.dispatch.limits import NotSent
from interlock.dispatch.network import Allowlist, addresses
from interlock.dispatch.rows import Answer, readable, too_many
from interlock.dispatch.sql import Bound, NotCommitted
from interlock.model.text import visible

_MAY_WRITE = """
WITH mine AS (
  SELECT oid, rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication AS high
  FROM pg_catalog.pg_roles
  WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
)
SELECT CASE
  WHEN pg_catalog.current_setting('transaction_read_only') <> 'on' THEN 'the transaction is not read-only'
  WHEN EXISTS (SELECT 1 FROM mine WHERE high) THEN 'the role administers the server'
  WHEN EXISTS (
    SELECT 1 FROM mine WHERE rolname IN (
      'pg_write_all_data', 'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files',
      'pg_signal_backend', 'pg_maintain', 'pg_checkpoint', 'pg_create_subscription'
    )
  ) THEN 'the role is member of one that acts on the server'
  WHEN EXISTS (
    SELECT 1 FROM mine, pg_catalog.pg_database AS d
    WHERE d.datname = pg_catalog.current_database()
      AND pg_catalog.has_database_privilege(mine.oid, d.oid, 'CREATE')
  ) THEN 'the role may create in the database'
  WHEN EXISTS (
    SELECT 1 FROM mine, pg_catalog.pg_namespace AS n
    WHERE n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%'
      AND pg_catalog.has_schema_privilege(mine.oid, n.oid, 'CREATE')
  ) THEN 'the role may create in a schema'
  WHEN EXISTS (
    SELECT 1 FROM mine, pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%'
      AND (
        pg_catalog.has_table_privilege(mine.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
        OR pg_catalog.has_any_column_privilege(mine.oid, c.oid, 'INSERT, UPDATE')
      )
  ) THEN 'the role may write to a table'
END
"""

CANCEL_SEC = 1.0

_ROLLED_BACK = ("23", "44", "P0")
"""Classes of errors at COMMIT that a deferred check raises: the transaction was rolled back."""
_ROLLED_BACK_CODES = ("40000", "40001", "40002", "40P01", "57014")
"""The last one: cancelled. Once a transaction is committed a cancellation is not heeded any more."""


async def connection(url: str, entries: tuple[str, ...] | None, limit: float, *, read_only: bool) -> Postgres:
    """A connection to make, where it may go. Raises `NotSent`."""
    try:
        settings: dict[str, Any] = dict(conninfo_to_dict(url))
    except psycopg.Error:
        raise NotSent("the PostgreSQL URL cannot be read") from None
    if entries is not None:
        host = str(settings.get("host") or "")
        port = str(settings.get("port") or "5432")
        if (
            "," in host
            or "," in port
            or "hostaddr" in settings
            or "service" in settings
            or not port.isdigit()
        ):
            raise NotSent("under a network allowlist a PostgreSQL URL names one host", "network_allowlist")
        if not host.startswith("/"):
            found = await addresses(host.lower(), int(port), Allowlist.of(entries), limit)
            # One host name for each address: libpq tries them in turn and still checks TLS by the name.
            settings |= {
                "hostaddr": ",".join(found),
                "host": ",".join([host] * len(found)),
                "port": ",".join([port] * len(found)),
            }
    return Postgres(settings, read_only=read_only)


class Postgres:
    """As `interlock.dispatch.sql.Database`."""

    def __init__(self, settings: dict[str, Any], *, read_only: bool) -> None:
        self._settings = settings
        self._read_only = read_only
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._stopped = False
        self._closed = threading.Event()

    def open(self, limit: float) -> None:
        ours = {"connect_timeout": max(2, math.ceil(limit)), "application_name": "interlock-sql"}
        self._connection = connection = psycopg.connect(**{**self._settings, **ours}, autocommit=True)
        if self._stopped:
            raise NotSent("there was no time left")
        mode = "READ ONLY" if self._read_only else "READ WRITE"
        connection.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION {mode}".encode())
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
            " set_config('idle_in_transaction_session_timeout', %s, false)",
            [str(int(limit * 1000) + 1000)] * 3,
        )
        connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED {mode}".encode())
        if self._read_only:
            row = connection.execute(_MAY_WRITE.encode(), prepare=True).fetchone()
            if row is None or row[0] is not None:
                raise NotSent(f"it reads through a role that only reads, and {row[0] if row else 'nothing'}")

    def run(self, bound: Bound, max_rows: int) -> Answer:
        answer = Answer()
        text, values = _query(bound)
        with self._open.cursor() as cursor:
            if self._read_only:
                rows = cursor.stream(text, values)
                first = next(rows, None)
                columns = [column.name for column in cursor.description or ()]
                answer.fill(columns, _again(first, rows), max_rows)
                return answer
            # Prepared: a statement without values would go by the simple protocol, which takes several.
            cursor.execute(text, values, prepare=True)
            if cursor.description is not None:
                answer.fill([column.name for column in cursor.description], cursor, max_rows)
            if (cursor.statusmessage or "").split(" ")[0] in ("INSERT", "UPDATE", "DELETE", "MERGE"):
                answer.changed = cursor.rowcount
                if cursor.rowcount > max_rows:
                    raise too_many(max_rows)
        if self._open.info.transaction_status is not TransactionStatus.INTRANS:
            raise psycopg.ProgrammingError("a statement does not end its own transaction")
        return answer

    def commit(self) -> None:
        try:
            said = self._open.execute(b"COMMIT").statusmessage
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if state[:2] in _ROLLED_BACK or state in _ROLLED_BACK_CODES:
                raise NotCommitted(self.words(error)) from None
            raise
        if said != "COMMIT":
            raise NotCommitted("the transaction was rolled back")

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            threading.Thread(target=self._cut, name="sql-cancel", daemon=True).start()

    def _cut(self) -> None:
        found = self._connection
        if found is None or found.closed:
            return
        until = time.monotonic() + CANCEL_SEC
        with contextlib.suppress(psycopg.Error, OSError):
            found.cancel_safe(timeout=CANCEL_SEC)
        if self._closed.wait(max(0.0, until - time.monotonic())):
            return
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(found.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed.set()
        if self._connection is not None:
            # Ends the transaction with the session. COMMIT was answered, or is not to happen.
            self._connection.close()

    def words(self, error: Exception) -> str:
        if isinstance(error, psycopg.Error) and error.diag.message_primary:
            return visible(f"{error.sqlstate} {error.diag.message_primary}", 300)
        # libpq's own words may name the host and the user, not the password.
        return readable(error)

    @property
    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        assert self._connection is not None
        return self._connection


def _query(bound: Bound) -> tuple[str, dict[str, Any] | None]:
    if not bound.values:
        return bound.parts[0], None
    parts = [part.replace("%", "%%") for part in bound.parts]
    text = parts[0] + "".join(f"%(p{index})s{part}" for index, part in enumerate(parts[1:]))
    return text, {f"p{index}": value for index, value in enumerate(bound.values)}


def _again(first: tuple[Any, ...] | None, rest: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    if first is not None:
        yield first
        yield from rest
