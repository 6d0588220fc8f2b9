"""Sessions: what a user said to an agent and what its tools gave back, as trusted code recorded it.

1. A session is one agent's run for one principal. Its id is the gate's. Adapters open it, record in it and
   end it, or the process that embeds the gate; the key of an agent does none of that, and a session of
   another agent is not there.
2. What is recorded is a turn of the user or a result of a tool, each once: numbered, sealed under the
   session's subject (so that erasing the subject erases it), in a marked row with the commitment to it, which
   the ledger's entry carries. A record is added and never changed.
3. A host may name a session, or a record, with a `ref` of its own. The same name again is the same one, also
   after its answer was lost; with something else in it, it is refused. Names are kept as keyed hashes.
4. A record has at most `MAX_CONTENT` bytes, a session `MAX_RECORDS` records and `MAX_SESSION` bytes. Nothing
   is cut here: a host that has to leave something out says so (`cut`).
5. A proposal that names a session is made by the session's agent for its principal while the session is
   active, or refused. Every id of the form ``ses_…`` counts as one; other text in that place is the
   proposer's own word, and proves nothing.
"""

from __future__ import annotations

import os

from interlock.gate import session_rows as rows
from interlock.gate.records import load_action
from interlock.gate.session_rows import Recorded, RecordRow, SessionRow
from interlock.identity import Caller, KeyKind
from interlock.identity.keyring import check_live
from interlock.journal import Journal, Tx
from interlock.ledger import Kind
from interlock.model.canonical import Json, canonical, plain
from interlock.model.errors import (
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    TooLarge,
)
from interlock.model.ids import check_id, iso, new_id
from interlock.model.sessions import MAX_CONTENT, Result, SessionState, Turn, is_issued
from interlock.model.topics import parse_topic

MAX_SESSION = 16 << 20
MAX_RECORDS = 10_000
MAX_NAME = 200


class SessionRefused(Forbidden):
    """A proposal names a session that was not opened for it, or that has ended; which of them is not told."""

    slug = "session-refused"
    title = "The session is not open for this agent and principal"
    advice = "Open one with an adapter's key (POST /v1/sessions), and propose for its principal."


class Sessions:
    """The sessions of one namespace."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def open(
        self, caller: Caller, *, principal: str | None = None, ref: str | None = None
    ) -> tuple[dict[str, Json], bool]:
        """A session of this caller's agent, and whether it is a new one.

        Args:
            principal: on whose behalf the agent runs.
            ref: the host's own name for it, such as its thread's id.

        Raises:
            Forbidden, Unauthenticated: this key opens none. IdempotencyConflict: `ref` names another
            principal's. InvalidInput.
        """
        _check_name(principal, "principal")
        _check_name(ref, "ref")

        def step(tx: Tx) -> tuple[dict[str, Json], bool]:
            agent = _host(tx, caller)
            about = _about(agent, principal)
            tx.meet(about)
            who = _principal(tx, principal)
            name = None if ref is None else tx.vault.mac("session-name", agent, ref).hex()
            row = None if name is None else rows.find_named(tx, name)
            if row is not None:
                if (row.agent, row.principal) != (agent, who):
                    raise IdempotencyConflict("This name belongs to a session for another principal.")
                return _view(row), False
            sealed = rows.seal(tx, canonical({"principal": principal, "ref": ref}), about)
            row = rows.add(
                tx,
                SessionRow(
                    namespace=tx.namespace,
                    id=new_id("ses"),
                    agent=agent,
                    principal=who,
                    name=name,
                    state=SessionState.ACTIVE.value,
                    payload=sealed.number,
                    hash=sealed.commitment,
                    records=0,
                    size=0,
                    opened_at=tx.now,
                    ended_at=None,
                ),
            )
            tx.append(Kind.SESSION_OPENED, session=row.id, agent=agent, key=caller.key_id, content=row.hash)
            return _view(row), True

        return self._journal.commit(step)

    def record(
        self, session_id: str, caller: Caller, what: Turn | Result, *, ref: str | None = None
    ) -> tuple[dict[str, Json], bool]:
        """Record a turn or a result; its place in the session, and whether it is new.

        Args:
            ref: the host's own name for it, such as its message's id.

        Raises:
            NotFound: there is no such session, or no such action, of this agent. Conflict: it has ended, or
            is full. IdempotencyConflict: `ref` names another record. TooLarge, InvalidInput, Forbidden.
        """
        check_id(session_id, "ses", "$.session")
        _check_name(ref, "ref")
        if isinstance(what, Result):
            _check_name(what.tool, "tool")
            if what.topic is not None:
                parse_topic(what.topic, "$.topic")
            _check_name(what.call_id, "call_id")
            _check_name(what.source, "source", 2_000)
            if what.action_id is not None:
                check_id(what.action_id, "act", "$.action_id")
        content = canonical(plain(what.to_json()))
        if len(content) > MAX_CONTENT:
            raise TooLarge(
                f"{len(content)} bytes; a record of a session has at most {MAX_CONTENT}",
                fix="Leave out the end, and say so with `cut`.",
            )

        def step(tx: Tx) -> tuple[dict[str, Json], bool]:
            row = _owned(tx, session_id, caller)
            name = tx.vault.mac("session-record", row.id, ref or os.urandom(16).hex()).hex()
            known = None if ref is None else rows.find_record(tx, row.id, name)
            if known is not None:
                if not _same(tx, known, what, content):
                    raise IdempotencyConflict("This name belongs to another record of the session.")
                return _place(known), False
            if row.state != SessionState.ACTIVE:
                raise Conflict(f"The session {row.id} has ended.", fix="Open another one.")
            if row.records >= MAX_RECORDS or row.size + len(content) > MAX_SESSION:
                raise Conflict(f"The session {row.id} is full.", fix="End it, and open another one.")
            if what.action_id is not None and load_action(tx, what.action_id).agent != row.agent:
                raise NotFound(f"There is no action {what.action_id}.")
            sealed = rows.seal_beside(tx, row, content)
            record = rows.add_record(
                tx,
                RecordRow(
                    namespace=tx.namespace,
                    session=row.id,
                    number=row.records + 1,
                    kind=what.kind.value,
                    name=name,
                    action_id=what.action_id,
                    payload=sealed.number,
                    hash=sealed.commitment,
                    at=tx.now,
                ),
            )
            rows.save(tx, row._replace(records=record.number, size=row.size + len(content)))
            tx.append(
                Kind.SESSION_RECORDED,
                session=row.id,
                number=record.number,
                what=record.kind,
                content=record.hash,
                action=record.action_id,
                key=caller.key_id,
            )
            return _place(record), True

        return self._journal.commit(step)

    def end(self, session_id: str, caller: Caller) -> dict[str, Json]:
        """End it: nothing more is recorded or proposed in it; what is open goes on. Again, nothing happens.

        Raises:
            NotFound, Forbidden: it is not this caller's.
        """
        check_id(session_id, "ses", "$.session")

        def step(tx: Tx) -> dict[str, Json]:
            row = _owned(tx, session_id, caller)
            if row.state == SessionState.CLOSED:
                return _view(row)
            row = rows.save(tx, row._replace(state=SessionState.CLOSED.value, ended_at=tx.now))
            tx.append(Kind.SESSION_ENDED, session=row.id, key=caller.key_id)
            return _view(row)

        return self._journal.commit(step)

    def records(self, session_id: str) -> list[Recorded]:
        """Everything that was recorded, in order. Raises `NotFound`, `Tampered`."""
        return self._journal.look(lambda tx: list(rows.read(tx, rows.load(tx, session_id))))


def check_proposed(tx: Tx, session: str | None, agent: str, principal: str | None) -> None:
    """Rule 5. Raises `SessionRefused`."""
    if session is None or not is_issued(session):
        return
    row = rows.find(tx, session)
    whose = None if row is None else (row.agent, row.principal, row.state)
    if whose != (agent, _principal(tx, principal), SessionState.ACTIVE):
        raise SessionRefused(f"There is no open session {session} for this agent and principal.")


def _host(tx: Tx, caller: Caller) -> str:
    """The agent's name, where the caller is trusted code that runs it (rule 1)."""
    here = caller.key_id is None and caller.kind is KeyKind.AGENT  # without a key it is this very process
    if caller.agent is None or not (here or caller.kind is KeyKind.ADAPTER):
        raise Forbidden(
            "Only the key of an adapter opens sessions and records in them.",
            fix="Make one on the server's machine: interlock keys add --kind adapter.",
        )
    check_live(tx, caller.key_id)
    return caller.agent


def _about(agent: str, principal: str | None) -> str:
    """The subject of a session, as `package.subject_of` names an action's."""
    return f"agent:{agent}" if principal is None else principal


def _principal(tx: Tx, principal: str | None) -> str | None:
    return None if principal is None else tx.vault.mac("session-principal", principal).hex()


def _check_name(value: str | None, field: str, most: int = MAX_NAME) -> None:
    if value is not None and not (1 <= len(value) <= most and value.isprintable()):
        raise InvalidInput(f"1 to {most} printable characters", path=f"$.{field}")


def _owned(tx: Tx, session_id: str, caller: Caller) -> SessionRow:
    agent = _host(tx, caller)
    row = rows.load(tx, session_id)
    if row.agent != agent:
        raise rows.missing(session_id)
    return row


def _same(tx: Tx, row: RecordRow, what: Turn | Result, content: bytes) -> bool:
    """Whether that is what a record holds; of one that was erased nobody can tell, and nothing is added."""
    known = rows.content_of(tx, row)
    return known is None or (row.kind, row.action_id, known) == (what.kind, what.action_id, content)


def _view(row: SessionRow) -> dict[str, Json]:
    return {
        "id": row.id,
        "agent": row.agent,
        "state": row.state,
        "records": row.records,
        "opened_at": iso(row.opened_at),
        "ended_at": None if row.ended_at is None else iso(row.ended_at),
    }


def _place(row: RecordRow) -> dict[str, Json]:
    return {"session": row.session, "number": row.number, "kind": row.kind, "at": iso(row.at)}
