"""The `sql` connector: one statement in one transaction, and what became of it.

1. A statement is reviewed text; arguments are bound, never pasted. SQL that an argument brings runs on a
   read-only connection alone.
2. Tier 1 runs where the database itself refuses to write: SQLite opened read-only, and everything but reading
   refused while the statement is compiled; PostgreSQL in a read-only transaction, by a role that may not
   write anyhow, which is looked up each time, before the statement.
3. `Failed` needs a proof, and a transaction gives one: until COMMIT was sent, nothing took effect. A COMMIT
   that was refused took nothing into effect either; one that was not answered is `Unknown`.
4. More rows than the catalogue's `max_rows`, read or changed, or more than `MAX_BYTES` of answer, take the
   statement back.
5. Each action has a connection of its own, closed afterwards: what a statement does to its session ends with
   it. The clock of `max_runtime_sec` runs from connecting to the answer to COMMIT; its end cancels the
   statement and then cuts the connection. A kill switch does the same; where COMMIT was sent already, it is
   waited for a moment longer.
6. Under a `network_allowlist` a server is reached at an address that was checked
   (`interlock.dispatch.network`). A file and a Unix socket are no network.

Sources: the documentation of SQLite (URI filenames, sqlite3_set_authorizer) and of PostgreSQL (SET
TRANSACTION, predefined roles, error codes).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from interlock.dispatch.credentials import Credential, authorization
from interlock.dispatch.limits import NotSent, check_limits, time_limit
from interlock.dispatch.outcome import Failed, Outcome, Proof, Succeeded, Unknown, strike_out
from interlock.dispatch.rows import Answer, CapExceeded
from interlock.dispatch.stopping import Halted, Stopping
from interlock.model.canonical import Json, canonical
from interlock.model.errors import InterlockError, MissingField
from interlock.model.verdicts import Constraints
from interlock.policy import SqlExecute

ENFORCED = frozenset({"max_runtime_sec", "network_allowlist", "max_amount_usd"})

_FIELD = re.compile(r"\{args\.([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_QUERY = re.compile(r"[\s(]*(SELECT|WITH|VALUES)\b", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bound:
    """A statement and its values. In `text` a value stands as ``{0}``, ``{1}``, …

    Attributes:
        parts: the text around the values; one more than there are values.
    """

    parts: tuple[str, ...]
    values: tuple[str | int | float | bool | None, ...]


class Database(Protocol):
    """One connection for one statement. Used by one thread, but for `stop`."""

    def open(self, limit: float) -> None:
        """Connect and begin a transaction, maybe read-only. Raises `NotSent` and the driver's errors."""

    def run(self, bound: Bound, max_rows: int) -> Answer:
        """Run the statement, within the transaction. Raises `CapExceeded` and the driver's errors."""

    def commit(self) -> None:
        """Raises `NotCommitted` where the database said no, the driver's errors where it said nothing."""

    def stop(self) -> None:
        """Cancel what it does, and cut it off where that does not help. From any thread; returns at once."""

    def close(self) -> None:
        """Roll back what is open, and close. Never raises."""

    def words(self, error: Exception) -> str:
        """What the database said, as a clause without a secret."""


class NotCommitted(Exception):
    """The database answered that it did not commit."""


class SqlConnector:
    """Carries out actions in databases. Safe to share between tasks, threads and event loops.

    Args:
        credential: the URL of a database by its name: ``sqlite:////absolute/path`` or ``postgresql://…``.
    """

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def send(
        self,
        spec: SqlExecute,
        args: Mapping[str, Json],
        constraints: Constraints,
        *,
        amount_usd: Decimal | None = None,
        timeout_sec: float = 30.0,
        halted: Halted | None = None,
        stopping: Stopping | None = None,
    ) -> Outcome:
        """Run the statement and say what became of it. Arguments as in `HttpConnector.send`.

        Args:
            stopping: told when a kill switch covers the action; the statement is cancelled then.

        Raises:
            asyncio.CancelledError: the caller gave up; the connection is cut. Treat it as `Unknown`.
        """
        try:
            limit, breach = time_limit(constraints, timeout_sec)
            check_limits(constraints, ENFORCED, amount_usd, "over SQL")
            bound = bind(spec, args)
            url = await authorization(self._credential, spec.database)
            database = await _database(url, spec, constraints.network_allowlist, limit)
        except NotSent as stop:
            return Failed(stop.reason, "nothing_sent", stop.breach)
        except InterlockError as error:
            return Failed(error.detail, "nothing_sent")

        work = _Work(spec, database, _asked(halted, limit))
        with (stopping or Stopping()).heard(work.stop):
            return _struck(await self._follow(work, bound, limit, breach), url)

    async def _follow(self, work: _Work, bound: Bound, limit: float, breach: str | None) -> Outcome:
        began = time.monotonic()
        # A thread of its own: statements that take their time must not use up those everybody shares.
        own = ThreadPoolExecutor(1, thread_name_prefix="sql")
        running = asyncio.ensure_future(
            asyncio.get_running_loop().run_in_executor(own, work.run, bound, limit)
        )
        own.shutdown(wait=False)
        try:
            done, _ = await asyncio.wait({running}, timeout=limit)
            if not done:
                work.expired = True
                work.database.stop()
            outcome = await asyncio.shield(running)
        except asyncio.CancelledError:
            work.database.stop()
            raise
        # A driver may end its own wait for a connection at the same moment.
        expired = work.expired or time.monotonic() - began >= limit
        if isinstance(outcome, Succeeded) or not (expired or work.stopped):
            return outcome
        if work.stopped:
            return _cut(outcome, f"{work.where}: {work.stopped}")
        return _cut(outcome, f"{work.where}: no answer within {limit:g} s", breach)


class _Work:
    """What the thread does. `expired` is set by whoever keeps the time, `stopped` says why it is to stop."""

    def __init__(self, spec: SqlExecute, database: Database, halted: Callable[[], str | None]) -> None:
        self._spec = spec
        self._halted = halted
        self.database = database
        self.where = spec.database
        self.expired = False
        self.stopped = ""

    def stop(self, why: str) -> None:
        self.stopped = why
        self.database.stop()

    def run(self, bound: Bound, limit: float) -> Outcome:
        database, where = self.database, self.where
        try:
            # Whatever a driver raises, one question is left: may COMMIT have been heard? Each answer is an
            # outcome that names the trouble.
            try:
                database.open(limit)
            except NotSent as stop:
                return Failed(stop.reason, "nothing_sent", stop.breach)
            except Exception as error:  # noqa: BLE001
                return Failed(f"{where}: no connection was made ({database.words(error)})", "nothing_sent")
            try:
                answer = database.run(bound, self._spec.max_rows)
            except CapExceeded as cap:
                return Failed(f"{where}: {cap}", self._taken_back, cap.breach)
            except Exception as error:  # noqa: BLE001
                return Failed(f"{where}: {database.words(error)}", self._taken_back)
            if self._spec.read_only:
                return Succeeded(answer.to_json())  # never committed: a function may do more than it reads
            # Nothing has taken effect so far, and a lock may have been awaited: the last question comes here.
            reason = self._halted()
            if reason is None and (self.expired or self.stopped):
                reason = "there was no time left to commit"
            if reason is not None:
                return Failed(f"{where}: {reason}", self._taken_back)
            try:
                database.commit()
            except NotCommitted as error:
                return Failed(f"{where}: {error}", self._taken_back)
            except Exception as error:  # noqa: BLE001
                return Unknown(f"{where}: COMMIT was not answered ({database.words(error)})")
            return Succeeded(answer.to_json())
        finally:
            database.close()

    @property
    def _taken_back(self) -> Proof:
        return "read_only" if self._spec.read_only else "not_committed"


def _asked(halted: Halted | None, limit: float) -> Callable[[], str | None]:
    """The question, for a thread to ask of the loop that runs now."""
    loop = asyncio.get_running_loop()

    async def ask() -> str | None:
        return None if halted is None else await halted()

    def answer() -> str | None:
        try:
            return asyncio.run_coroutine_threadsafe(ask(), loop).result(limit)
        except (TimeoutError, RuntimeError, CancelledError):
            return "the gate could not be asked"

    return answer


def bind(spec: SqlExecute, args: Mapping[str, Json]) -> Bound:
    """The statement with its values apart.

    Raises:
        NotSent: an argument holds no query that only reads. MissingField: the statement needs an argument.
    """
    if spec.statement is None:
        query = args.get(spec.query or "")
        if not isinstance(query, str) or not _QUERY.match(query) or "\0" in query:
            raise NotSent("a query starts with SELECT, WITH or VALUES")
        if not spec.read_only:
            raise NotSent("a query of the agent's own runs on a read-only connection alone")
        return Bound((query,), ())
    pieces = _FIELD.split(spec.statement)
    for name in pieces[1::2]:
        if name not in args:
            raise MissingField("the statement needs this argument", path=f"$.args.{name}")
    return Bound(tuple(pieces[::2]), tuple(_value(args[name]) for name in pieces[1::2]))


def _value(value: Json) -> str | int | float | bool | None:
    """Objects and arrays are bound as their canonical JSON."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return canonical(value).decode()


async def _database(url: str, spec: SqlExecute, entries: tuple[str, ...] | None, limit: float) -> Database:
    """The connection to make, at an address that was checked. Raises `NotSent`."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from interlock.dispatch.sql_sqlite import Sqlite

        return Sqlite(url, read_only=spec.read_only)
    if scheme in ("postgresql", "postgres"):
        try:
            from interlock.dispatch.sql_postgres import connection
        except ImportError:
            raise NotSent(
                "PostgreSQL needs interlock's extra `postgres`, which is not installed here"
            ) from None
        return await connection(url, entries, limit, read_only=spec.read_only)
    raise NotSent(f"the credential {spec.database} is no URL of an SQLite or PostgreSQL database")


def _cut(outcome: Outcome, said: str, breach: str | None = None) -> Outcome:
    """The outcome of a statement that was cancelled or cut off, with why."""
    match outcome:
        case Failed(proof=proof):
            return Failed(said, proof, breach)
        case Unknown():
            return Unknown(f"{said}, after COMMIT was sent", breach)
        case _:
            return outcome


def _struck(outcome: Outcome, url: str) -> Outcome:
    """The outcome without the password of the URL, should the database repeat it."""
    found = re.match(r"[a-z]+://[^:/@]*:([^@]+)@", url)
    secrets = (found[1],) if found else ()
    if not secrets:
        return outcome
    match outcome:
        case Succeeded(result=result):
            return Succeeded(strike_out(result, secrets))
        case Failed():
            reason = str(strike_out(outcome.reason, secrets))
            return Failed(reason, outcome.proof, outcome.breach)
        case Unknown():
            return Unknown(str(strike_out(outcome.reason, secrets)), outcome.breach)
