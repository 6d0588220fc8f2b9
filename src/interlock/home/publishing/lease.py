"""The lease: of several hosts on one database, one publishes.

1. The row `published` names the host, how long its lease lasts, and a number that grows whenever the lease
   changes hands or lapsed in between. It is compared and set inside the journal's transactions, in which
   nobody else writes, with the database's time. A lease that lasts longer than any that is taken is none.
2. A host takes the lease when there is something to sign and nobody holds it, and renews it by publishing. It
   publishes under the number it has: one that was paused meanwhile finds another number, and is refused.
3. The row also carries the newest checkpoint to the other hosts. Nobody believes it for standing there.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import bindparam, select, update

from interlock.home.files import write_whole
from interlock.journal import Journal, Prepared, Tx, insert_into, tables
from interlock.journal.epochs import Epoch, epochs, opened_after

LEASE_US = 5_000_000
"""How long a host that stops publishing keeps the others from it."""

_PUBLISHED = tables.published.c
_READ = Prepared(
    select(
        _PUBLISHED.holder,
        _PUBLISHED.epoch,
        _PUBLISHED.until,
        _PUBLISHED.checkpoint,
    ).where(_PUBLISHED.namespace == bindparam("ns"))
)
_MAKE = insert_into(tables.published)
_TAKE = Prepared(
    update(tables.published)
    .where(_PUBLISHED.namespace == bindparam("ns"))
    .values(holder=bindparam("holder_"), epoch=bindparam("epoch_"), until=bindparam("until_"))
)
_PUBLISH = Prepared(
    update(tables.published)
    .where(
        _PUBLISHED.namespace == bindparam("ns"),
        _PUBLISHED.holder == bindparam("holder_"),
        _PUBLISHED.epoch == bindparam("epoch_"),
    )
    .values(
        until=bindparam("until_"),
        size=bindparam("size_"),
        checkpoint=bindparam("checkpoint_"),
        at=bindparam("at_"),
    )
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The row, as one host sees it.

    Attributes:
        number: of the lease, for `Lease.publish`.
        mine: this host holds it. taken: another one does.
        checkpoint: the newest published one, or empty.
        epochs: the rows of the ledger's epochs after the first, authentic.
        opened: the epoch in force, where it is a later one than this host knows.
    """

    number: int
    mine: bool
    taken: bool
    checkpoint: str
    epochs: tuple[Epoch, ...]
    opened: Epoch | None


class Lease:
    """One host's side of it.

    Args:
        host: this host's name; all processes of a home share it, and take turns by a lock of their own.
    """

    def __init__(self, journal: Journal, host: str) -> None:
        self._journal = journal
        self._host = host

    def look(self, epoch: int) -> Seen:
        """What the database says now.

        Args:
            epoch: the number of the newest epoch of the ledger that this host knows.

        Raises:
            Tampered: the row of an epoch is not this home's.
        """

        def read(tx: Tx) -> Seen:
            holder, number, until, checkpoint = tx.one(_READ) or ("", 0, 0, "")
            running, mine = _runs(tx, until), holder == self._host
            return Seen(
                number,
                mine=running and mine,
                taken=running and not mine,
                checkpoint=checkpoint,
                epochs=tuple(epochs(tx)),
                opened=opened_after(tx, epoch),
            )

        return self._journal.look(read)

    def take(self) -> int | None:
        """The number of this host's lease, from now on; None where another host has it."""
        return self._journal.commit(self._take)

    def _take(self, tx: Tx) -> int | None:
        row = tx.one(_READ)
        if row is None:
            tx.insert(_MAKE, (tx.namespace, self._host, 1, tx.now + LEASE_US, 0, "", tx.now))
            return 1
        holder, number, until = row[:3]
        if _runs(tx, until):
            return int(number) if holder == self._host else None
        tx.write(_TAKE, holder_=self._host, epoch_=number + 1, until_=tx.now + LEASE_US)
        return int(number) + 1

    def publish(self, number: int, size: int, checkpoint: str) -> bool:
        """Tell the other hosts, and keep the lease; False where it was lost meanwhile."""

        def tell(tx: Tx) -> bool:
            told = tx.write(
                _PUBLISH,
                holder_=self._host,
                epoch_=number,
                until_=tx.now + LEASE_US,
                size_=size,
                checkpoint_=checkpoint,
                at_=tx.now,
            )
            return told == 1

        return self._journal.commit(tell)


def _runs(tx: Tx, until: int) -> bool:
    """Whether a lease is one that a host took: nobody takes a longer one, so that is nobody's."""
    return tx.now < until <= tx.now + LEASE_US


def host_of(folder: Path) -> str:
    """This host's name in leases: what ``host`` in the ledger's folder says, made where it is missing, and
    the machine's own name, so that a copied folder is another host."""
    path = folder / "host"
    try:
        name = path.read_text(encoding="ascii")
    except FileNotFoundError:
        name = os.urandom(16).hex()
        write_whole(path, name.encode())
    return f"{name}@{socket.gethostname()}"
