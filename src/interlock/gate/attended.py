"""Attended: since when this home has been swept without a gap. While nobody sweeps, nobody is asked (P7).

1. One row says between which two moments sweeps came no more than `GAP_US` apart. A sweep that comes in time
   prolongs it, at most every `EVERY_US`; one that comes later begins anew.
2. It carries a mark. A row that is missing, or that somebody changed or put back to an earlier one, begins
   anew with the next sweep: that makes silence count for less, and never for more.
3. On a clock that disagrees with elapsed time nothing is swept, so nothing is prolonged.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.errors import Tampered

GAP_US = 90_000_000
"""How far apart two sweeps may be for whoever waited in between to have been heard."""
EVERY_US = 15_000_000
_log = logging.getLogger(__name__)

_a = t.attended.c
_ROW = Prepared(select(t.attended).where(_a.namespace == bindparam("ns")))
_ADD = insert_into(t.attended)
_SET = Prepared(
    update(t.attended)
    .where(_a.namespace == bindparam("ns"))
    .values(since=bindparam("since_"), until=bindparam("until_"), mac=bindparam("mac_"))
)


class _Span(NamedTuple):
    namespace: str
    since: int
    until: int
    mac: bytes = b""


def attend(tx: Tx) -> None:
    """Record that a sweep is being made. Call it at the beginning of each."""
    row = tx.one(_ROW)
    found = _checked(tx, row)
    if found is not None and tx.now < found.until + EVERY_US:
        return
    since = tx.now if found is None or tx.now > found.until + GAP_US else found.since
    span = _Span(tx.namespace, since, tx.now)
    mac = tx.vault.mac("attended", *span[:-1])
    if row is None:
        tx.insert(_ADD, span._replace(mac=mac))
    else:
        tx.write(_SET, since_=since, until_=tx.now, mac_=mac)


def attended(tx: Tx, since: int) -> bool:
    """Whether the home was swept from `since`, in microseconds UTC, until this sweep, which is recorded."""
    found = _checked(tx, tx.one(_ROW))
    return found is not None and found.since <= since + GAP_US


def _checked(tx: Tx, row: tuple[object, ...] | None) -> _Span | None:
    """The row, where this home wrote it (rule 2)."""
    if row is None:
        return None
    found = _Span(*row)  # type: ignore[arg-type]
    try:
        tx.vault.check(found.mac, "attended", *found[:-1])
    except Tampered as error:
        _log.error("since when this home has been swept: %s", error)
        return None
    return found
