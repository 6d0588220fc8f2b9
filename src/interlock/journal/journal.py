"""The one transaction through which state changes (promise P6).

1. A transition is a function of a `Tx`. It reads its guards, refuses by raising, or writes state and appends
   ledger entries. It may run more than once (rule 4), so it depends on nothing but the database and its own
   arguments.
2. Leader and follower, without a timer: whoever gets the journal's lock commits everybody's queued
   transitions, at most `MAX_BATCH`, in arrival order, in one durable transaction. Nobody is answered before
   the commit returned. An event loop leads in its own thread while nobody else writes, and lets others join
   for as long as each of its turns brings one.
3. The ledger's head row is read inside the transaction; the entries' leaves extend its frontier; head,
   entries, payloads and state are written together or not at all.
4. A transition that raises before its first write refuses alone. One that raises after it wrote rolls the
   whole transaction back, and each member of the batch is then run by itself, so it fails alone again.
5. What is SQLite's and what is PostgreSQL's stands behind the port in `database.py`: the transaction that
   owns the head row, the durable commit, and what became of a commit whose connection was lost.
6. The time of a transaction is never before that of the last one, which stands in the head row; see
   `clock.py` for a head row that is ahead of the clock.
7. Before that it is asked whether anything may be written at all: see `halt.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from interlock.journal import schema, tables
from interlock.journal.clock import AheadClock, Clock, check_last
from interlock.journal.database import ConnectionLost, Database, Head, OutcomeUnknown
from interlock.journal.dismissals import last_dismissed
from interlock.journal.epochs import FIRST, newest_since
from interlock.journal.halt import Halt, read_frontier
from interlock.journal.hearing import Hearing
from interlock.journal.prepared import Prepared, Row, insert_into
from interlock.journal.subjects import KeyNeeded, Subjects
from interlock.journal.tables import SPAN
from interlock.journal.tx import Tx
from interlock.journal.vault import Vault
from interlock.journal.waiting import Lead, Transition, Waiting, sleeping_place
from interlock.ledger import Frontier, Kind, leaf_hash
from interlock.model.errors import (
    ClockJumped,
    Conflict,
    HomeUnusable,
    InterlockError,
    RecoveryRequired,
    Tampered,
)

MAX_BATCH = 1_000
TURNS = 16
"""For how many turns of an event loop a commit lets more join while more come."""
_log = logging.getLogger(__name__)
T = TypeVar("T")

_ADD_ENTRY, _ADD_PAYLOAD = insert_into(tables.entries), insert_into(tables.payloads)
_SET_HEAD = Prepared(
    update(tables.head)
    .where(tables.head.c.namespace == bindparam("ns"))
    .values(
        size=bindparam("size_"),
        frontier=bindparam("frontier_"),
        sealed=bindparam("sealed_"),
        at=bindparam("at_"),
    )
)


_SET_TIME = Prepared(
    update(tables.head).where(tables.head.c.namespace == bindparam("ns")).values(at=bindparam("at_"))
)


class Times(NamedTuple):
    """What the ledger's time rests on, in microseconds UTC.

    Attributes:
        last: of the last transaction, as the head row says. newest: of the newest entry, which is in the
            tree; 0 where there is none. now: what the journal's clock says.
    """

    last: int
    newest: int
    now: int


class _Poisoned(Exception):
    """A transition failed after it had written; the batch is run again one by one."""


class Journal:
    """An open journal. Thread-safe; `commit` and `commit_async` may be used together.

    Args:
        database: where it stands; the journal closes it.
        vault: seals payloads and authenticates rows.
        clock: what counts instead of the database's own clock.
        ahead: by how many microseconds the ledger's time is ahead of that clock; people said so.
        subjects: makes and unwraps subjects' keys; with the vault's own key where nobody hands one in.

    Raises:
        HomeUnusable: the database cannot be used, or its schema is newer than this code.
        Tampered: the namespace was begun with other keys.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        namespace: str = "default",
        clock: Clock | None = None,
        subjects: Subjects | None = None,
        ahead: int = 0,
    ) -> None:
        self.database = database
        self.vault = vault
        self.subjects = subjects or Subjects.of(vault)
        self.namespace = namespace
        self.clock: Clock = clock or database.clock
        if ahead:
            self.clock = AheadClock(self.clock, ahead)
        self._queue: deque[Waiting[Any]] = deque()
        self._lock = Lead(self._queue)
        self._leading: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._draining = threading.Lock()
        self._behind: WeakSet[asyncio.AbstractEventLoop] | None = None
        """While a thread leads (`_drain`): the loops that lead again when it is done."""
        self._frontier = Frontier.EMPTY
        """The last one that this process saw committed."""
        self.counted = (-1, -1)
        """Entries and payloads in the newest head row of which this process knows that it counts them."""
        self._closed = False
        self._halt = Halt(database, namespace, self._reading)
        self._listeners: list[Callable[[int], None]] = []
        self._at_work: list[Callable[[], None]] = []
        self._enqueued = False
        """Whether the transaction that is being committed enqueued work."""
        self.appended: list[Callable[[Tx, int, Kind, Mapping[str, Any]], None]] = []
        """Called with each entry that this process appends, inside its transaction: what follows from an
        entry is written with it. One that raises fails the transaction."""
        self.verified: dict[str, Row] = {}
        """Trusted rows whose MAC this process has checked, by kind: the same bytes are not checked again."""
        self._errors: tuple[type[Exception], ...] = (*database.errors, SQLAlchemyError)
        try:
            with database.alone() as connection:
                schema.upgrade(connection)
                self.start = self._begin_head(connection)
            self._halt.epoch, self._halt.begun = self.look(newest_since)
            self._halt.dismissed = self.look(last_dismissed)
        except self._errors as error:
            database.close()
            cause = getattr(error, "orig", None) or error
            raise HomeUnusable(f"The journal {database.name} cannot be opened: {cause}.") from error
        except BaseException:
            database.close()
            raise

    @classmethod
    def open_sqlite(
        cls, path: Path, vault: Vault, *, namespace: str = "default", clock: Clock | None = None
    ) -> Journal:
        """Open or create a database file; arguments and errors as for the class."""
        from interlock.journal.sqlite import SqliteDatabase

        return cls(SqliteDatabase(path), vault, namespace=namespace, clock=clock)

    @property
    def engine(self) -> Engine:
        """For reading only."""
        return self.database.reader

    def close(self) -> None:
        """Finish queued work and release the file; what is asked afterwards is refused."""
        self.subjects.close()
        self._executor.shutdown()
        with self._lock:
            if self._closed:
                return
            while self._queue:
                self._flush()
            self._closed = True
            self.database.close()

    @property
    def closed(self) -> bool:
        return self._closed

    # --- writing -----------------------------------------------------------------------------------------

    def commit(self, transition: Transition[T]) -> T:
        """Run a transition durably and return its result, or raise what it raised.

        A subject's key that it lacked is got in between, with no lock held.
        """
        while True:
            waiting = Waiting(transition)
            self._queue.append(waiting)
            try:
                return self._wait(waiting)
            except KeyNeeded as needed:
                self.subjects.provide(self.namespace, needed)

    def _wait(self, waiting: Waiting[T]) -> T:
        try:
            while not waiting.done:
                if self._lock.acquire(blocking=False):
                    try:
                        if not waiting.done:
                            self._flush()
                    finally:
                        self._lock.release()
                elif waiting.turn is None:
                    waiting.turn = sleeping_place()  # and once more: whoever left just now did not see it
                else:
                    waiting.turn.acquire()
        except BaseException:
            # Interrupted, perhaps just when it was this thread's turn to lead: nobody counts on it any more.
            waiting.turn = None
            self._lock.hand_on()
            raise
        if waiting.error is not None:
            raise waiting.error
        return waiting.result  # type: ignore[return-value]

    def commit_async(self, transition: Transition[T]) -> asyncio.Future[T]:
        """As `commit`, for tasks of an event loop: concurrent ones share transactions.

        The loop's own thread leads where nobody else is writing (a commit takes well under a millisecond);
        otherwise a thread waits for the others, and the loop goes on. `KeyNeeded` is the caller's to answer.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._queue.append(Waiting(transition, waiter))
        if loop not in self._leading:
            self._leading.add(loop)
            loop.call_soon(self._lead, loop)
        return waiter

    def on_commit(self, listener: Callable[[int], None]) -> None:
        """Call `listener(size)` after each commit of this process that grew the ledger.

        It runs before this process writes again, and on a database file before any other does, so it must be
        quick.
        """
        self._listeners.append(listener)

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener()` after each commit of this process that enqueued work. It must be quick."""
        self._at_work.append(listener)

    def listen(self, heard: Callable[[], None]) -> Hearing | None:
        """Call `heard()`, from a thread, when another process has committed in this namespace; None where the
        database does not tell. Whoever listens closes it before the journal."""
        return self.database.listen(self.namespace, heard)

    # --- recovery ----------------------------------------------------------------------------------------

    @property
    def halted(self) -> RecoveryRequired | None:
        """Why this process writes nothing, as far as it was told or has found itself."""
        return self._halt.why

    @property
    def begun(self) -> int:
        """When the ledger's epoch in force was opened, in microseconds UTC; 0 for the first."""
        return self._halt.begun

    def on_stop(self, listener: Callable[[RecoveryRequired], None]) -> None:
        """Call `listener(why)` when this process finds that nothing may be written any more.

        It must be quick, and must not write to the journal.
        """
        self._halt.listeners.append(listener)

    def stopped(self) -> bool:
        """Whether the head row says that the ledger is being recovered."""
        with self.read() as connection:
            column = tables.head.c
            found = connection.execute(select(column.stopped).where(column.namespace == self.namespace)).one()
        return bool(found.stopped)

    def halt(self, why: RecoveryRequired, *, epoch: int = FIRST, seen: int = 0) -> None:
        """Stop everybody who writes in this namespace, durably, until a later epoch is opened.

        Args:
            why: a `Told` can also be dismissed.
            epoch: the newest that this home knows of; an older one never ends the halt.
            seen: how many entries this home knows to have been there.

        Raises:
            HomeUnusable: the database cannot be written; this process is halted all the same.
        """
        with self._lock:
            try:
                self._halt.begin(why, epoch, seen)
            except self._errors as error:
                raise HomeUnusable(f"The journal could not be stopped: {error}.") from error

    def recover(self, transition: Transition[T]) -> T:
        """As `commit`, for the few transitions that run while the journal is stopped, and only then.

        Where it appends nothing and seals nothing the head row stays as it is.

        Raises:
            Conflict: nothing is stopped here. RecoveryRequired: this process knows a longer history.
        """
        waiting = Waiting(transition, recovering=True)
        self._queue.append(waiting)
        return self._wait(waiting)

    def _reading(self, cursor: Any, head: Head) -> Tx:
        return Tx(self, cursor, -1, -1, head.at)

    def _lead(self, loop: asyncio.AbstractEventLoop, seen: int = 1, turns: int = TURNS) -> None:
        """Commit what the loop's tasks have queued by now, without making the loop wait for other writers.

        Each loop schedules its own leader, so that one which ends before its leader ran holds up nobody else.
        While each turn of the loop brings more, it takes another one, at most `turns`, and waits for nobody.
        """
        if turns and len(self._queue) > seen:
            loop.call_soon(self._lead, loop, len(self._queue), turns - 1)
            return
        self._leading.discard(loop)
        if not self._queue or self._follows(loop):
            return
        if self._lock.acquire(blocking=False):
            try:
                if self._closed or self.database.free():
                    self._flush()
            finally:
                self._lock.release()
        if self._queue and not self._follows(loop, begin=True):
            try:
                self._executor.submit(self._drain)
            except RuntimeError:
                self._drain()  # the journal is closing: what is left is answered here

    def _follows(self, loop: asyncio.AbstractEventLoop, *, begin: bool = False) -> bool:
        """Whether a thread leads, and has this loop lead when it is done. With `begin`, one is about to."""
        with self._draining:
            waits = self._behind is not None
            if begin and self._behind is None:
                self._behind = WeakSet()
            if self._behind is not None:
                self._behind.add(loop)
            return waits

    def _drain(self) -> None:
        """Commit what is queued, in a thread that may wait. As soon as a write would not, the loop leads
        again: a thread that went on would compete with it for every statement."""
        try:
            with self._lock:
                self._flush()
                while self._queue and not self.database.free():
                    self._flush()
        finally:
            with self._draining:
                behind, self._behind = self._behind, None
            for loop in behind or ():
                with suppress(RuntimeError):  # it has ended, and nobody in it waits any more
                    loop.call_soon_threadsafe(self._lead, loop)

    def _flush(self) -> None:
        """Commit what is queued. The caller holds the lock."""
        batch: list[Waiting[Any]] = []
        while self._queue and len(batch) < MAX_BATCH:
            if batch and (batch[-1].recovering or self._queue[0].recovering):
                break  # it has a transaction of its own
            batch.append(self._queue.popleft())
        if not batch:
            return
        try:
            try:
                self._transact(batch)
            except _Poisoned:
                for waiting in batch:
                    waiting.result, waiting.error = None, None
                away: BaseException | None = None
                for waiting in batch:
                    if away is not None:
                        waiting.error = away  # it was not tried: the database is not asked once for each
                        continue
                    self._alone(waiting)
                    if isinstance(waiting.error, ConnectionLost):
                        away = waiting.error
        except BaseException as error:
            # The transaction as a whole failed (disk, lock, connection): nobody's change is there.
            failure = error
            if not isinstance(error, Exception):
                failure = OutcomeUnknown("The process was interrupted while it recorded this.")
            elif not isinstance(error, InterlockError):
                failure = HomeUnusable(f"The journal could not commit: {error}.")
                failure.__cause__ = error
            for waiting in batch:
                if not waiting.done:
                    waiting.error = failure
            if not isinstance(error, Exception):
                raise
        finally:
            self._deliver(batch)

    def _alone(self, waiting: Waiting[Any]) -> None:
        try:
            self._transact([waiting])
        except Exception as error:  # noqa: BLE001 (handed to whoever waits for it)
            cause = error.__cause__ if isinstance(error, _Poisoned) else error
            if isinstance(cause, self.database.errors):
                cause = HomeUnusable(f"The journal could not commit: {cause}.")
            waiting.error = cause
        waiting.done = True

    def _deliver(self, batch: list[Waiting[Any]]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Waiting[Any]]] = {}
        for waiting in batch:
            waiting.done = True
            if waiting.loop is not None:
                loops.setdefault(waiting.loop, []).append(waiting)
            elif waiting.turn is not None:
                waiting.wake()
        if not loops:
            return
        here = _running_loop()
        for loop, group in loops.items():
            if loop is here:
                _answer_all(group)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_answer_all, group)

    def _transact(self, batch: list[Waiting[Any]]) -> None:
        if self._closed:
            raise HomeUnusable("The journal is closed.")
        with self.database.turn():
            cursor, head = self.database.begin(self.namespace)
            try:
                frontier = self._halt.check(cursor, head, self._frontier, recovering=batch[0].recovering)
                grown = self._inside(cursor, head, frontier, batch)
                if grown is None:
                    self.database.rollback()
                    return
                after, frontier = grown
                self.database.commit(after)
            except BaseException:
                self.database.rollback()
                raise
            if after.sealed > head.sealed or self.counted == (head.size, head.sealed):
                self.counted = after.size, after.sealed
            if batch[0].recovering and after.size == head.size:
                return
            if not batch[0].recovering:  # what is known then is compared with the epoch that was opened
                self._frontier = frontier
            self._tell(frontier.size)

    def _tell(self, size: int) -> None:
        told = [partial(listener, size) for listener in self._listeners]
        for listener in (*told, *(self._at_work if self._enqueued else ())):
            try:
                listener()
            except Exception:  # noqa: BLE001
                # The commit stands; whoever waits for it is answered whatever a listener does.
                _log.exception("a listener failed after commit %d", size)

    def _inside(
        self, cursor: Any, head: Head, frontier: Frontier, batch: list[Waiting[Any]]
    ) -> tuple[Head, Frontier] | None:
        """Everything between BEGIN and COMMIT; the new head, or None where nothing was written."""
        now = self._time(head.at)
        if batch[0].recovering:
            now = max(now, head.at + 1)  # so that all the rest is from before it, or from after
        tx = Tx(self, cursor, head.size, head.sealed, now)
        tx.batch = [waiting.transition for waiting in batch]
        anything = False
        for tx.place, waiting in enumerate(batch):
            tx.wrote = False
            try:
                waiting.result = waiting.transition(tx)
            except InterlockError as refusal:
                if tx.wrote:
                    raise _Poisoned from refusal
                waiting.error = refusal
            except Exception as error:
                raise self._broken(error) from error
            anything = anything or tx.wrote
        self._enqueued = tx.enqueued
        if not anything:
            return None
        if not batch[0].recovering or tx.bodies or tx.payloads:
            head, frontier = self._grown(tx, head, frontier)
        try:
            tx.flush()
        except Exception as error:
            raise self._broken(error) from error
        return head, frontier

    def _grown(self, tx: Tx, head: Head, frontier: Frontier) -> tuple[Head, Frontier]:
        """The head and the frontier after a transaction, which writes them with its payloads and entries."""
        for number, payload in enumerate(tx.payloads, self.start + head.sealed):
            tx.insert(_ADD_PAYLOAD, (number, self.namespace, *payload))
        for number, body in enumerate(tx.bodies, self.start + head.size):
            tx.insert(_ADD_ENTRY, (number, self.namespace, body))
        grown = frontier.appended(map(leaf_hash, tx.bodies))
        after = Head(grown.size, grown.to_bytes(), head.sealed + len(tx.payloads), tx.now)
        tx.save(_SET_HEAD, size_=after.size, frontier_=after.frontier, sealed_=after.sealed, at_=after.at)
        return after, grown

    def _broken(self, error: Exception) -> Exception:
        """What an error inside the transaction is for all who share it."""
        if self.database.lost():
            return ConnectionLost(f"{self.database.name} went away: {error}.")
        return _Poisoned()

    def _time(self, last: int, *, writing: bool = True) -> int:
        """The transaction's time: never before the last one, and not taken from a clock that jumped.

        Raises:
            ClockBehind: `writing`, and the last one is in the future.
        """
        try:
            self.clock.check()
        except ClockJumped:
            return last
        now = self.clock.now()
        if writing:
            check_last(last, now)
        return max(last, now)

    def times(self) -> Times:
        """What the ledger's time rests on now. Raises `HomeUnusable` where the database cannot be read."""
        size, _, last = self.head()
        body = self.look(lambda tx: tx.entry(size - 1)) if size else None
        return Times(last, 0 if body is None else int(json.loads(body)["at"]), self.clock.now())

    def check_time(self) -> None:
        """Raises `ClockJumped`, `ClockBehind` where nothing is written for the clock's sake."""
        self.clock.check()
        last, _, now = self.times()
        check_last(last, now)

    def set_time(self, at: int) -> None:
        """Let the last transaction have been at `at`: people say that the head row is wrong.

        Raises:
            Conflict: an entry is later. HomeUnusable: the database cannot be written.
        """
        if at < self.times().newest:
            raise Conflict("The newest entry of the ledger is later than that.")
        try:
            with self._lock, self.database.turn():
                cursor, head = self.database.begin(self.namespace)
                try:
                    _SET_TIME.form(self.database.dialect).run(cursor, {"ns": self.namespace, "at_": at})
                    self.database.commit(head._replace(at=at))
                except BaseException:
                    self.database.rollback()
                    raise
        except self._errors as error:
            raise HomeUnusable(f"The journal {self.database.name} could not commit: {error}.") from error

    def _begin_head(self, connection: Connection) -> int:
        """Where this namespace's entries and payloads start; makes its head row where there is none."""
        head = tables.head.c
        found = connection.execute(
            select(head.start, head.mac).where(head.namespace == self.namespace)
        ).one_or_none()
        if found is not None:
            try:
                self.vault.check(found.mac, "head", self.namespace, found.start)
            except Tampered as error:
                raise Tampered(
                    f"The journal {self.database.name} was begun with other keys than this home's.",
                    fix="Use the home it belongs to, or copy that home's keystore here.",
                ) from error
            return int(found.start)
        start = SPAN * int(connection.execute(select(func.count()).select_from(tables.head)).scalar_one())
        connection.execute(
            insert(tables.head).values(
                namespace=self.namespace,
                start=start,
                size=0,
                frontier=Frontier.EMPTY.to_bytes(),
                sealed=0,
                at=0,
                mac=self.vault.mac("head", self.namespace, start),
            )
        )
        return start

    # --- reading -----------------------------------------------------------------------------------------

    def look(self, question: Transition[T]) -> T:
        """Run a transition that only reads, beside the writers, on one consistent state.

        Raises whatever the question raises; a write inside it is a `TypeError`.
        """
        try:
            with self.database.snapshot(self.namespace) as (cursor, at):
                return question(Tx(self, cursor, -1, -1, self._time(at, writing=False)))
        except self._errors as error:
            raise self._unreadable(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection inside one read transaction: all its selects see the same state.

        Raises:
            HomeUnusable: the database cannot be read.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except self._errors as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> HomeUnusable:
        cause = getattr(error, "orig", None) or error
        kind = ConnectionLost if isinstance(cause, self.database.away) else HomeUnusable
        return kind(f"The journal {self.database.name} could not be read: {cause}.")

    def scrub(self, content: bytes, *, again: bool = False) -> bool:
        """Take what deleted rows of `subjects` left behind out of the database's own files.

        Args:
            again: it was tried before; wait for nobody.

        Returns:
            True where `content` was looked for and is nowhere in them any more.

        Raises:
            HomeUnusable: the database cannot be used.
        """
        for rebuild in (False,) if again else (False, True):
            try:
                with self._lock, self.database.turn():
                    self.database.purge(tables.subjects, rebuild=rebuild, wait=not again)
            except self._errors as error:
                raise HomeUnusable(f"{self.database.name} could not be cleaned up: {error}.") from error
            if not self.database.holds(content):
                return True
        return False

    def head(self) -> tuple[int, Frontier, int]:
        """Ledger size, frontier, and the time of the last transaction in microseconds."""
        with self.read() as connection:
            row = connection.execute(
                select(tables.head.c.size, tables.head.c.frontier, tables.head.c.at).where(
                    tables.head.c.namespace == self.namespace
                )
            ).one()
        return row.size, read_frontier(row.size, row.frontier), row.at

    def entries(self, start: int = 0, stop: int | None = None, *, page: int = 4_096) -> Iterator[bytes]:
        """The ledger's entries `start` to `stop` (exclusive), in order, read page by page."""
        column = tables.entries.c
        while stop is None or start < stop:
            limit = page if stop is None else min(page, stop - start)
            with self.read() as connection:
                rows = connection.execute(
                    select(column.seq, column.body)
                    .where(
                        column.seq >= self.start + start,
                        column.seq < self.start + SPAN,
                        column.namespace == self.namespace,
                    )
                    .order_by(column.seq)
                    .limit(limit)
                ).all()
            for seq, body in rows:
                if seq != self.start + start:
                    raise Tampered(f"Ledger entry {start} is missing from the database.")
                start += 1
                yield body
            if len(rows) < limit:
                if stop is not None:
                    raise Tampered(f"Ledger entry {start} is missing from the database.")
                return


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, if it runs one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _answer_all(group: list[Waiting[Any]]) -> None:
    for waiting in group:
        waiting.answer()
