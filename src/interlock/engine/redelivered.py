"""How often a segment was taken over from a process that died: what kills its process is not begun for ever.

1. Taking over from the dead is rare, so it is there that deliveries are counted, durably, before the segment
   is delivered again. An ordinary delivery writes nothing here.
2. What ran beside the segment that killed the process is counted too: nobody can tell them apart. It ends
   well the next time, as a rule, and its count is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, select, update

from interlock.journal import Prepared, Tx, insert_into, tables

MOST = 10
"""So many deaths end a segment."""
KEEP_US = 24 * 3600 * 1_000_000

_R = tables.redelivered.c
_ADD = insert_into(tables.redelivered)
_TIMES = Prepared(select(_R.times).where(_R.namespace == bindparam("ns"), _R.key == bindparam("key_")))
_COUNT = Prepared(
    update(tables.redelivered)
    .where(_R.namespace == bindparam("ns"), _R.key == bindparam("key_"))
    .values(times=bindparam("times_"), at=bindparam("at_"))
)
_FORGET = Prepared(
    delete(tables.redelivered).where(_R.namespace == bindparam("ns"), _R.at < bindparam("before_"))
)


def count(tx: Tx, keys: Iterable[str]) -> set[str]:
    """Count one more death for each of these deliveries; those that are not to be delivered again."""
    tx.write(_FORGET, before_=tx.now - KEEP_US)
    over = set()
    for key in keys:
        row = tx.one(_TIMES, key_=key)
        times = 1 if row is None else row[0] + 1
        if row is None:
            tx.insert(_ADD, (tx.namespace, key, times, tx.now))
        else:
            tx.write(_COUNT, key_=key, times_=times, at_=tx.now)
        if times >= MOST:
            over.add(key)
    return over
