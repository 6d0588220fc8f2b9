"""The backend on DBOS Transact: its queue tables stand in the journal's own database.

1. Nothing here imports the package until `start` is called.
2. One DBOS runs in a process: its own state is global. A second one is refused, where DBOS itself would
   silently go on with the first.
3. A segment's attempt is one DBOS workflow without steps, under an id made of both: starting it again changes
   nothing. Each kind of segment has a queue of its own, and a process listens to the queues it has handlers
   for, so that nobody begins what it cannot run.
4. The outbox row is deleted and the workflow inserted in one transaction.
5. Taking over uses the public API: list what is PENDING, resume it on its queue. An execution that lost its
   workflow cannot record an outcome for it: DBOS compares a token of the delivery.
6. Arguments are JSON, and only JSON is read. DBOS reads pickles where a row says that it holds one,
   whatever serializer was chosen; whoever can write the database could so run code in this process. Here
   that reader is replaced by one that refuses.
7. A kind with a share has a partitioned queue: whom a segment goes towards is its partition, told when it is
   queued, from the policy that this process follows then.
8. The version under which work is queued is pinned: what one release queued the next one runs.
9. A queue's thread looks when somebody rings, and seldom otherwise (`attention`). DBOS by itself goes by the
   clock, and reads the queue's own row before each look. It waits where it would read that row, and the row
   is read once: each process goes by what it registered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Connection, Engine, delete, select

from interlock.engine.attention import Attention
from interlock.engine.outbox import check_ids
from interlock.engine.port import Begun, Carried, Delivering, GivenUp, Ids, Segment
from interlock.engine.postgres import open_engine as open_postgres
from interlock.engine.sqlite import Turn
from interlock.engine.sqlite import open_engine as open_sqlite
from interlock.journal import Journal, tables
from interlock.model.errors import HomeUnusable, InvalidInput

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

WORKFLOW = "interlock.segment"
VERSION = "interlock-1"
LOOK_SEC = 0.02
"""What DBOS waits before each look by itself."""
KEEP_SEC = 3600.0
"""How long what ended well stays in DBOS's tables."""
PAGE = 500
MOST = 10_000
"""More than all processes together run at a time."""
_ID = re.compile(r"seg_[0-9a-f]{32}", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_log = logging.getLogger(__name__)
_running = threading.Lock()
"""Held while this process runs DBOS."""


class DbosBackend:
    """See `interlock.engine.port.Backend`.

    Args:
        journal: whose database and namespace.
        url: of its PostgreSQL database; None where the journal is a file.
    """

    def __init__(self, journal: Journal, url: str | None = None) -> None:
        self._namespace = journal.namespace
        self._app = _application(journal.namespace)
        self._turn: Turn | None = None
        if url is not None:
            self._engine: Engine = open_postgres(url)
        else:
            file = journal.engine.url.database
            if file is None:
                raise HomeUnusable("The journal stands in a server, and the engine was not told where.")
            self._engine, self._turn = open_sqlite(Path(file))
        self._made: DBOSClient | None = None
        self._kinds: dict[str, Segment] = {}
        self._attention = Attention({})
        self._holding = False

    # --- running -----------------------------------------------------------------------------------------

    def start(self, executor: str, segments: Collection[Segment], deliver: Delivering) -> None:
        _quieten()
        try:
            from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
        except ModuleNotFoundError as error:
            raise HomeUnusable(
                f"Durable execution needs {error.name}, which is not installed.",
                fix="Install interlock with all of its dependencies.",
            ) from None
        if not _running.acquire(blocking=False):
            raise HomeUnusable("Another home is served by this process already.")
        self._holding = True
        self._kinds = {kind.name: kind for kind in segments}
        attention = Attention({self._queue(kind.name): kind.poll_sec for kind in segments})
        self._attention = attention
        _refuse_pickles()
        try:
            running = DBOS(
                config={
                    "name": self._app,
                    "system_database_engine": self._engine,
                    "executor_id": executor,
                    "application_version": VERSION,
                    "serializer": DBOSPortableJSONSerializer(),
                    "log_level": "WARNING",
                    "use_listen_notify": False,
                    "notification_listener_polling_interval_sec": 0.25,
                    "scheduler_polling_interval_sec": 3600.0,
                }
            )

            async def segment(id: str, segment: str, ids: dict[str, str], attempt: int) -> None:
                try:
                    await deliver(DBOS.workflow_id or "", id, segment, ids, attempt)
                finally:
                    attention.ring([self._queue(segment)])  # there is room for another one

            DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(segment)
            DBOS.listen_queues([self._queue(kind.name) for kind in segments])
            DBOS.launch()
            _never_back_off(running._sys_db)
            for kind in segments:
                DBOS.register_queue(
                    self._queue(kind.name),
                    worker_concurrency=kind.parallel,
                    partition_worker_concurrency=None if kind.share is None else kind.share.most,
                    polling_interval_sec=LOOK_SEC,
                    on_conflict="always_update",
                )
            _look_when_rung(running._sys_db, attention)
            if self._made is None:
                self._made = DBOSClient(
                    system_database_engine=self._engine,
                    serializer=DBOSPortableJSONSerializer(),
                    application_name=self._app,
                    retry_connection_errors=False,
                )
        except Exception as error:
            self.stop()
            cause = getattr(error, "orig", None) or error
            raise HomeUnusable(f"Durable execution cannot start: {cause}.") from error

    def stop(self) -> None:
        if not self._holding:
            return
        from dbos import DBOS

        self._attention.end()
        DBOS.destroy(destroy_registry=True)
        self._holding = False
        _running.release()

    def close(self) -> None:
        if self._made is not None:
            self._made.destroy()
        self._engine.dispose()
        if self._turn is not None:
            self._turn.close()

    # --- queueing ----------------------------------------------------------------------------------------

    def accept(self, segments: Collection[Segment], limit: int) -> int:
        t = tables.segments
        mine = (t.c.namespace == self._namespace, t.c.segment.in_([kind.name for kind in segments]))
        with self._engine.connect() as connection:  # reading alone passes no turnstile
            if connection.execute(select(t.c.id).where(*mine).limit(1)).first() is None:
                return 0
        first = select(t.c.id).where(*mine).order_by(t.c.id).limit(limit).with_for_update(skip_locked=True)
        taken = (
            delete(t)
            .where(t.c.namespace == self._namespace, t.c.id.in_(first))
            .returning(t.c.id, t.c.segment, t.c.ids)
        )
        with self._engine.begin() as connection:
            rows = connection.execute(taken).all()
            for id, segment, ids in sorted(rows, key=lambda row: str(row[0])):
                self._enqueue(connection, id, segment, ids)
        self._attention.ring({self._queue(segment) for _, segment, _ in rows})
        return len(rows)

    def _enqueue(self, connection: Connection, id: str, segment: str, ids: str) -> None:
        try:
            if _ID.fullmatch(id) is None:
                raise InvalidInput("a segment's id is none of ours", path="$.id")
            carried = check_ids(json.loads(ids))
        except (ValueError, TypeError, RecursionError, InvalidInput):
            _log.error("a row of the outbox was not written by us, and is dropped: %.64r", id)
            return
        self._client.enqueue_in_transaction(
            connection, self._options(id, segment, carried, 1), id, segment, dict(carried), 1
        )

    def again(self, id: str, segment: str, ids: Ids, attempt: int, rest_sec: float) -> None:
        options = self._options(id, segment, ids, attempt)
        options["delay_seconds"] = rest_sec
        self._client.enqueue(options, id, segment, dict(ids), attempt)

    def _options(self, id: str, segment: str, ids: Ids, attempt: int) -> EnqueueOptions:
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": self._queue(segment),
            "workflow_id": f"{id}-{attempt}",
            "app_version": VERSION,
        }
        share = self._kinds[segment].share
        if share is not None:
            # A partitioned queue hands out nothing that has no partition.
            options["queue_partition_key"] = share.towards(ids) or "-"
        return options

    # --- taking over -------------------------------------------------------------------------------------

    def begun(self, executor: str | None = None) -> list[Begun]:
        found = self._client.list_workflows(
            status="PENDING",
            name=WORKFLOW,
            application_name=self._app,
            load_input=False,
            load_output=False,
            executor_id=executor,
            limit=MOST if executor is None else PAGE,
        )
        prefix = self._queue("")
        return [
            Begun(one.workflow_id, one.queue_name.removeprefix(prefix), one.executor_id or "")
            for one in found
            if one.queue_name is not None and one.queue_name.startswith(prefix)
        ]

    def resume(self, begun: Collection[Begun]) -> None:
        queues: dict[str, list[str]] = {}
        for one in begun:
            queues.setdefault(self._queue(one.segment), []).append(one.key)
        for queue, keys in queues.items():
            self._client.resume_workflows(keys, queue_name=queue)
        self._attention.ring(queues)

    def carried(self, begun: Begun) -> Carried | None:
        found = self._client.list_workflows(
            workflow_ids=[begun.key], application_name=self._app, load_output=False
        )
        try:
            id, _, ids, attempt = found[0].input["args"]  # type: ignore[index]
            return Carried(str(id), check_ids(ids), int(attempt))
        except (LookupError, TypeError, ValueError, InvalidInput):
            return None

    def give_up(self, begun: Collection[Begun]) -> None:
        self._client.cancel_workflows([one.key for one in begun])

    def forget(self) -> int:
        before = datetime.fromtimestamp(time.time() - KEEP_SEC, UTC).isoformat()
        found = self._client.list_workflows(
            status="SUCCESS",
            name=WORKFLOW,
            application_name=self._app,
            completed_before=before,
            load_input=False,
            load_output=False,
            limit=PAGE,
        )
        if found:
            self._client.delete_workflows([one.workflow_id for one in found])
        return len(found)

    @property
    def _client(self) -> DBOSClient:
        if self._made is None:
            raise HomeUnusable("Durable execution was not started.")
        return self._made

    def _queue(self, segment: str) -> str:
        return f"{self._app}.{segment}"


def _application(namespace: str) -> str:
    """DBOS's name for us: other namespaces, and other users of one database, are others."""
    if _NAMESPACE.fullmatch(namespace):
        return f"interlock-{namespace}"
    return f"interlock-{hashlib.sha256(namespace.encode()).hexdigest()[:32]}"


def _quieten() -> None:
    """Let DBOS log as everything else does, and not once more what the engine has logged."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # where there is none, it writes to the console by itself
        logger.addFilter(lambda record: not (record.exc_info and record.exc_info[0] is GivenUp))


def _never_back_off(database: Any) -> None:
    """A queue that another process reads at the same moment is read again at the next poll.

    DBOS would wait twice as long after each such conflict, and up to two minutes: among several workers that
    is how long a decision would wait for its effect.
    """
    is_locked, is_conflict = database.is_lock_conflict, database.is_serialization_conflict
    database.is_lock_conflict = lambda error: is_locked(error) or is_conflict(error)


def _look_when_rung(database: Any, attention: Attention) -> None:
    """Rule 9, from now on: the queues are registered by then."""
    read = database.get_queue
    known: dict[str, Any] = {}

    def get_queue(name: str, **given: Any) -> Any:
        attention.wait(name)
        queue = known.get(name) or read(name, **given)
        if queue is not None:
            known[name] = queue
        return queue

    database.get_queue = get_queue


def _refuse_pickles() -> None:
    """Rule 6, for every place in the process that would read one."""
    from dbos._serialization import DefaultSerializer

    def refuse(_serializer: Any, _text: str) -> NoReturn:
        raise ValueError("a row holds a pickle; nothing of ours does")

    DefaultSerializer.deserialize = refuse  # type: ignore[method-assign, assignment]
