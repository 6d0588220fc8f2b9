"""When nothing may be written: the two rules that a transaction meets before it begins its work.

1. A head that is behind what this process has seen committed, or differs from it, is never written on: the
   database was put back, or another one stands in its place. Whoever finds that stops everybody (rule 2), and
   writes nothing itself until it is started anew.
2. While the head row says `stopped`, or this process was told so, nothing is written but what recovery
   itself writes. Only a later epoch that stands in the tree ends it, or rule 4: putting the row's flag back
   does not.
3. A later epoch that kept less than this process has seen committed ends it for others, and not for it.
4. A process that was only told (`Told`) also goes on where people dismissed the recovery since: the newest
   dismissal that counts (`dismissals.py`) is a later one than it knew when it stopped. A process that misses
   something itself does not. It leaves an alarm beside the flag.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, update

from interlock.journal import tables
from interlock.journal.database import Database, Head
from interlock.journal.dismissals import (
    ADD_ALARM,
    DROP_ALARM,
    NEVER,
    Place,
    alarm,
    alarm_row,
    last_dismissed,
)
from interlock.journal.epochs import FIRST, Epoch, newest_since, opened_after
from interlock.journal.prepared import Prepared
from interlock.journal.tx import Tx
from interlock.ledger import Frontier
from interlock.model.errors import Conflict, HomeUnusable, RecoveryRequired

SEE = "See what is known, and how it ends: interlock ledger recover"

_STOP = Prepared(update(tables.head).where(tables.head.c.namespace == bindparam("ns")).values(stopped=1))
_log = logging.getLogger(__name__)


class Told(RecoveryRequired):
    """Somebody else says that something is missing. Nothing that this home knows itself is."""


class Stopped(Told):
    """The head row says so: another process found out why."""


class Outlived(RecoveryRequired):
    """A later epoch kept less than this process knows: others go on, and it does not (rule 3)."""


class Halt:
    """Whether one journal may write. Used only by whoever holds the journal's lock, but for `why`.

    Args:
        reading: a `Tx` on the open write transaction, for reading.

    Attributes:
        why: what this process was told, or found; None while it may write.
        epoch: the newest that this process knew when it opened or was stopped: a later one ends rule 2.
        begun: when that epoch was opened, in microseconds UTC; 0 for the first.
        dismissed: a dismissal that stands further on in the ledger ends rule 2 for whoever was told: the end
            of the ledger when this process opened or was stopped.
        listeners: called with `why` when this process finds that it may not write.
    """

    def __init__(self, database: Database, namespace: str, reading: Callable[[Any, Head], Tx]) -> None:
        self._database = database
        self._namespace = namespace
        self._reading = reading
        self.why: RecoveryRequired | None = None
        self.epoch = FIRST
        self.begun = 0
        self.dismissed: Place = NEVER
        self.listeners: list[Callable[[RecoveryRequired], None]] = []

    def begin(self, why: RecoveryRequired, epoch: int, seen: int) -> None:
        """Stop every process of the namespace, durably. Where that fails, this one is halted all the same.

        Args:
            seen: how many entries this home knows to have been there, for the alarm of rule 4.
        """
        self.why = why
        self.epoch = max(self.epoch, epoch)
        with self._database.turn():
            cursor, head = self._database.begin(self._namespace)
            try:
                self._remember(cursor, head)
                self._stop(cursor, head, seen)
            except BaseException:
                self._database.rollback()
                raise

    def check(self, cursor: Any, head: Head, known: Frontier, *, recovering: bool) -> Frontier:
        """The frontier to write on.

        Args:
            known: what this process saw committed last.
            recovering: it is recovery's own transaction.

        Raises:
            RecoveryRequired: nothing may be written; everybody is stopped.
            Conflict: `recovering`, and nothing is stopped.
        """
        if head.epoch != self.epoch:
            self._moved(opened_after(self._reading(cursor, head), self.epoch), known)
        if isinstance(self.why, Told) and not head.stopped and not recovering:
            self._lift(self._reading(cursor, head))
        try:
            frontier = self._continued(head, known)
        except RecoveryRequired as error:
            raise self._found(cursor, head, error, known.size) from None
        if recovering:
            if head.stopped or self.why is not None:
                return frontier
            raise Conflict("The ledger is not being recovered.")
        if head.stopped:
            stopped = Stopped(
                f"The ledger in {self._database.name} is stopped: it does not continue what was signed.",
                fix=SEE,
            )
            raise self._found(cursor, head, self.why or stopped)
        if self.why is not None:
            raise self._found(cursor, head, self.why)  # somebody put the flag back
        return frontier

    def _moved(self, epoch: Epoch | None, known: Frontier) -> None:
        """Go on in a later epoch. Raises `RecoveryRequired` where rule 3 forbids it."""
        if epoch is None:
            return
        if epoch.kept < known.size:
            raise Outlived(
                f"A new epoch of the ledger kept {epoch.kept} entries; this process knows a longer history.",
                fix="Start this process anew.",
            )
        self.epoch, self.begun, self.why = epoch.number, epoch.opened_at, None

    def _lift(self, tx: Tx) -> None:
        """Go on where people dismissed the recovery since (rule 4)."""
        last = last_dismissed(tx)
        if last > self.dismissed:
            self.dismissed, self.why = last, None

    def _remember(self, cursor: Any, head: Head) -> None:
        """Note what is there when this process stops: only later epochs and dismissals end it."""
        tx = self._reading(cursor, head)
        number, begun = newest_since(tx)
        if number > self.epoch:
            self.epoch, self.begun = number, begun
        # Whatever stands in the ledger by now ends nothing, though its row should turn up only later.
        self.dismissed = max(self.dismissed, last_dismissed(tx), (self.epoch, head.size - 1))

    def _continued(self, head: Head, known: Frontier) -> Frontier:
        """Raises `RecoveryRequired` where rule 1 forbids to write on this head."""
        if head.size > known.size:
            return read_frontier(head.size, head.frontier)
        if head.size < known.size or head.frontier != known.to_bytes():
            raise RecoveryRequired(
                f"The ledger in {self._database.name} ends at entry {head.size}; it does not continue what"
                f" this process recorded up to entry {known.size}.",
                fix=f"The database was put back or replaced. Start this process anew. {SEE}",
            )
        return known

    def _found(self, cursor: Any, head: Head, why: RecoveryRequired, seen: int = 0) -> RecoveryRequired:
        """Remember why, stop everybody, tell; returns what to raise."""
        if self.why is None:
            self._remember(cursor, head)
        self.why = why
        self._stop(cursor, head, seen)
        for listener in self.listeners:
            try:
                listener(why)
            except Exception:  # noqa: BLE001
                # Nothing is written, whatever a listener does.
                _log.exception("a listener failed after the journal was stopped")
        return why

    def _stop(self, cursor: Any, head: Head, seen: int) -> None:
        """End the transaction with the head row's flag set, with the alarm of rule 4, and nothing else."""
        tx, dialect = self._reading(cursor, head), self._database.dialect
        alarmed = not isinstance(self.why, Told) and seen > alarm(tx, self.epoch)
        if head.stopped and not alarmed:
            self._database.rollback()
            return
        if alarmed:
            DROP_ALARM.form(dialect).run(cursor, {"ns": self._namespace, "epoch_": self.epoch})
            ADD_ALARM.form(dialect).run_row(cursor, alarm_row(tx.vault, self._namespace, self.epoch, seen))
        _STOP.form(dialect).run(cursor, {"ns": self._namespace})
        self._database.commit(head)


def read_frontier(size: int, content: bytes) -> Frontier:
    """A head row's frontier. Raises `HomeUnusable` where it is none."""
    try:
        return Frontier.from_bytes(size, content)
    except ValueError as error:
        raise HomeUnusable(f"The ledger's head row does not read: {error}.") from error
