"""The rows of sessions: what they hold, and the only statements that read and write them.

1. A row carries a mark over everything else in it; one that was changed from outside raises `Tampered`.
2. A session's row counts its records, so that one that is missing is found out when they are read.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from interlock.gate.kept import SALT_BYTES, commitment
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.errors import Erased, NotFound, Tampered
from interlock.model.sessions import RecordKind
from interlock.model.text import visible

_s, _r = t.sessions.c, t.session_records.c
_ADD = insert_into(t.sessions)
_ADD_RECORD = insert_into(t.session_records)
_ONE = Prepared(select(t.sessions).where(_s.namespace == bindparam("ns"), _s.id == bindparam("id_")))
_NAMED = Prepared(select(t.sessions).where(_s.namespace == bindparam("ns"), _s.name == bindparam("name_")))
_SAVE = Prepared(
    update(t.sessions)
    .where(_s.namespace == bindparam("ns"), _s.id == bindparam("id_"))
    .values({name: bindparam(name) for name in ("state", "records", "size", "ended_at", "mac")})
)
_RECORD = Prepared(
    select(t.session_records).where(
        _r.namespace == bindparam("ns"), _r.session == bindparam("id_"), _r.name == bindparam("name_")
    )
)
_RECORDS = Prepared(
    select(t.session_records)
    .where(_r.namespace == bindparam("ns"), _r.session == bindparam("id_"))
    .order_by(_r.number)
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record: its number from 1, when (microseconds UTC), and what; None where that was erased."""

    number: int
    at: int
    kind: RecordKind
    action_id: str | None
    content: dict[str, Any] | None


class SessionRow(NamedTuple):
    """`principal` and `name` are keyed hashes; `payload` is the number of what is sealed of both."""

    namespace: str
    id: str
    agent: str
    principal: str | None
    name: str | None
    state: str
    payload: int
    hash: str
    records: int
    size: int
    opened_at: int
    ended_at: int | None
    mac: bytes = b""


class RecordRow(NamedTuple):
    namespace: str
    session: str
    number: int
    kind: str
    name: str
    action_id: str | None
    payload: int
    hash: str
    at: int
    mac: bytes = b""


def add(tx: Tx, row: SessionRow) -> SessionRow:
    row = _marked(tx, row)
    tx.insert(_ADD, row)
    return row


def find(tx: Tx, session_id: str) -> SessionRow | None:
    """Raises `Tampered`."""
    found = tx.one(_ONE, id_=session_id)
    return None if found is None else _checked(tx, SessionRow(*found))


def find_named(tx: Tx, name: str) -> SessionRow | None:
    """The session of which the host's word has this hash. Raises `Tampered`."""
    found = tx.one(_NAMED, name_=name)
    return None if found is None else _checked(tx, SessionRow(*found))


def load(tx: Tx, session_id: str) -> SessionRow:
    """Raises `NotFound`, `Tampered`."""
    row = find(tx, session_id)
    if row is None:
        raise missing(session_id)
    return row


def add_record(tx: Tx, row: RecordRow) -> RecordRow:
    row = row._replace(mac=tx.vault.mac("session_record", *row[:-1]))
    tx.insert(_ADD_RECORD, row)
    return row


def find_record(tx: Tx, session_id: str, name: str) -> RecordRow | None:
    """The record of which the host's word has this hash. Raises `Tampered`."""
    found = tx.one(_RECORD, id_=session_id, name_=name)
    return None if found is None else _checked_record(tx, RecordRow(*found))


def missing(session_id: str) -> NotFound:
    return NotFound(f"There is no session {visible(session_id, 64)}.")


class SealedRecord(NamedTuple):
    """The number of what was sealed, and the commitment to it."""

    number: int
    commitment: str


def seal(tx: Tx, content: bytes, about: str) -> SealedRecord:
    """Seal what belongs to a session that is being opened."""
    salted = os.urandom(SALT_BYTES) + content
    return SealedRecord(tx.seal(salted, about), commitment(salted))


def seal_beside(tx: Tx, row: SessionRow, content: bytes) -> SealedRecord:
    """Seal what belongs to a session, about whomever the session is about."""
    salted = os.urandom(SALT_BYTES) + content
    return SealedRecord(tx.seal_beside(salted, row.payload), commitment(salted))


def _marked(tx: Tx, row: SessionRow) -> SessionRow:
    return row._replace(mac=tx.vault.mac("session", *row[:-1]))


def save(tx: Tx, row: SessionRow) -> SessionRow:
    """Write what a session's life changes."""
    row = _marked(tx, row)
    tx.write(
        _SAVE,
        id_=row.id,
        state=row.state,
        records=row.records,
        size=row.size,
        ended_at=row.ended_at,
        mac=row.mac,
    )
    return row


def _checked(tx: Tx, row: SessionRow) -> SessionRow:
    tx.vault.check(row.mac, "session", *row[:-1])
    return row


def _checked_record(tx: Tx, row: RecordRow) -> RecordRow:
    tx.vault.check(row.mac, "session_record", *row[:-1])
    return row


def content_of(tx: Tx, row: RecordRow) -> bytes | None:
    """What was recorded; None where it was erased. Raises `Tampered`."""
    try:
        salted = tx.unseal(row.payload)
    except Erased:
        return None
    if not hmac.compare_digest(commitment(salted).encode(), row.hash.encode()):
        raise Tampered(f"Record {row.number} of {row.session} is not what was recorded.")
    return salted[SALT_BYTES:]


def read(tx: Tx, session: SessionRow) -> Iterator[Recorded]:
    rows = [_checked_record(tx, RecordRow(*row)) for row in tx.all(_RECORDS, id_=session.id)]
    if [row.number for row in rows] != list(range(1, session.records + 1)):
        raise Tampered(f"Records of {session.id} are missing.")
    for row in rows:
        content = content_of(tx, row)
        yield Recorded(
            row.number,
            row.at,
            RecordKind(row.kind),
            row.action_id,
            None if content is None else json.loads(content),
        )
