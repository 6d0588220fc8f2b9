"""Before-states: what the probe read for the claim that ran an action, kept for taking the action back.

1. It is recorded in the transaction of the claim, from the reading that the claim was given on. So it is
   there before anything is sent, and what could not be read does not run (`reading.py`).
2. The values are sealed under the action's subject and go when the subject is erased. Their mark stands in
   the entry of the claim; what opens later is compared with it.
3. What is claimed again is not read again, so the first reading stays: another one might show what the first
   attempt left behind.
"""

from __future__ import annotations

import hmac
import json
from typing import NamedTuple

from sqlalchemy import bindparam, select

from interlock.gate.package import Sealed, subject_of
from interlock.gate.records import ActionRow
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.canonical import canonical
from interlock.model.errors import Tampered
from interlock.model.readings import Reading

_b = t.before_states.c
_ADD = insert_into(t.before_states)
_FIND = Prepared(
    select(t.before_states).where(
        _b.namespace == bindparam("ns"),
        _b.action_id == bindparam("action_"),
        _b.revision == bindparam("revision_"),
    )
)


class _Row(NamedTuple):
    namespace: str
    action_id: str
    revision: int
    payload: int
    reading: str
    mac: bytes = b""


def keep_before(tx: Tx, row: ActionRow, sealed: Sealed, reading: Reading) -> None:
    """Record what a first claim was given on, in its transaction."""
    mark = reading.mark(sealed.nonce)
    if mark is None:
        raise ValueError("what could not be read is no before-state")
    number = tx.seal(canonical(reading.to_json()), subject_of(sealed.binding))
    found = _Row(tx.namespace, row.id, row.revision, number, mark)
    tx.insert(_ADD, found._replace(mac=tx.vault.mac("before", *found[:-1])))


def before_of(tx: Tx, row: ActionRow, sealed: Sealed) -> Reading | None:
    """What was read before a revision ran; None where nothing was. Raises `Tampered`, `Erased`."""
    columns = tx.one(_FIND, action_=row.id, revision_=row.revision)
    if columns is None:
        return None
    found = _Row(*columns)
    tx.vault.check(found.mac, "before", *found[:-1])
    reading = Reading.from_json(json.loads(tx.unseal(found.payload)))
    mark = reading.mark(sealed.nonce) or ""
    if not hmac.compare_digest(mark.encode(), found.reading.encode()):
        raise Tampered(f"What is sealed as the state before {row.id} is not what was read.")
    return reading
