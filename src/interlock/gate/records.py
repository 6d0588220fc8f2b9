"""The rows of an action's life, and the only statements that write them.

1. `ActionRow` and `ApprovalRow` mirror their tables column by column.
2. An action row carries a seal over everything a claim trusts. `save` recomputes it; `load_action` checks it:
   a row changed from outside raises `Tampered` and nothing runs. So does one that was left as it was when an
   epoch of the ledger was opened, which puts everything in doubt that may have run.
3. `move` is the only way a state changes, and refuses what the state machine does not allow.
4. A change writes the columns that differ, over the row that was read and no other: it compares the mark,
   which covers every column.
5. One record that was changed or deleted from outside keeps no others waiting: whoever goes through many
   passes it over (`skipping_tampered`), and it stays as it is, where no claim accepts it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Table, bindparam, select, update

from interlock.journal import Prepared, Row, Tx, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, NotFound, Tampered
from interlock.model.text import visible
from interlock.model.verdicts import Verdict

UNANSWERED = "unanswered"
"""The state of a request that nobody answered, and whose lane let the action run."""
_AHEAD = "requests"
_log = logging.getLogger(__name__)

_ACTION_FIRST, _APPROVAL_FIRST, _DECISION_FIRST = 24, 15, 10
"""How many columns the tables had that homes were first made with."""

UNSURE = (
    ActionState.HELD,
    ActionState.ALLOWED,
    ActionState.APPROVED,
    ActionState.EXECUTING,
    ActionState.STALE,
)
"""The states that a new epoch of the ledger turns into `in_doubt`. The state machine of ordinary life knows
only the step from executing."""


def covered(columns: tuple[Any, ...], first: int) -> tuple[Any, ...]:
    """What a row's mark covers: the columns of the first schema, and later ones up to the last with a value.

    So a row that was written before a column was there keeps its mark. Emptying a column that had a value, or
    filling one that had none, changes what is covered, and how much.
    """
    end = len(columns)
    while end > first and columns[end - 1] is None:
        end -= 1
    return columns[:end]


@lru_cache(maxsize=1024)
def _decided(text: str) -> Verdict:
    """Verdicts are immutable, and most actions of one rule have the same: a list reads each once."""
    return Verdict.from_json(json.loads(text))


class ActionRow(NamedTuple):
    """One revision of one action. Times are microseconds UTC.

    Attributes:
        verdict: canonical JSON of the verdict in force.
        snapshot: policy under which the verdict was last confirmed.
        catalogue: digest of the catalogue entry it was decided with.
        payload: number of the sealed binding, nonce, signals and words. output: of the latest report.
        fingerprint: keyed hash of what was asked; equal requests of one agent share it.
        retention_sec: how long the executor answers a repeated key with the first answer; None if never.
        expires_at: when an allowed or approved action stops being claimable.
        epoch: number of claims so far; `holder` and `lease_until` belong to the latest. Of an action that is
            allowed or approved they name the permit that may run it offline, and until when.
        claimed_at: time of the first claim.
        output_hash: the commitment to the output (`kept.py`), as the ledger has it.
        probe: digest of the probe that has to be read before it runs; None where there is none.
        undoes: id of the action that this one takes back. undone_by: of the latest that takes, or was to
            take, this one back.
    """

    namespace: str
    id: str
    revision: int
    state: str
    topic: str
    agent: str
    key_id: str | None
    executor: str
    verdict: str
    snapshot: str
    catalogue: str
    action_hash: str
    payload: int
    output: int | None
    fingerprint: str
    predecessor: str | None
    retention_sec: int | None
    proposed_at: int
    changed_at: int
    expires_at: int | None
    epoch: int
    holder: str | None
    lease_until: int | None
    claimed_at: int | None
    output_hash: str | None = None
    probe: str | None = None
    undoes: str | None = None
    undone_by: str | None = None
    seal: bytes = b""

    @property
    def status(self) -> ActionState:
        return ActionState(self.state)

    @property
    def decided(self) -> Verdict:
        return _decided(self.verdict)


class ApprovalRow(NamedTuple):
    """One approval request. `due_at` is the next moment the deadline does something, `expires_at` the last.

    Attributes:
        owner: who is asked now. escalated: how many turns came before (`Lane.turns`).
        package: number of the sealed package that the reviewer is shown.
        editor: the person who requested this revision by editing, who may not approve it alone.
        reading: mark of the reading that is shown; None where none was needed, or none was had yet.
        probe_at: when the probe is to be read (again); None where it need not be.
    """

    namespace: str
    id: str
    action_id: str
    revision: int
    state: str
    review_hash: str
    package: int
    owner: str
    requested_at: int
    due_at: int
    expires_at: int
    escalated: int
    editor: str | None
    supersedes: str | None
    superseded_by: str | None
    reading: str | None = None
    probe_at: int | None = None
    mac: bytes = b""

    def marked(self, tx: Tx) -> ApprovalRow:
        return self._replace(mac=tx.vault.mac("approval", *covered(self[:-1], _APPROVAL_FIRST)))

    def check(self, tx: Tx) -> ApprovalRow:
        """Raises `Tampered` unless this home wrote the row."""
        tx.vault.check(self.mac, "approval", *covered(self[:-1], _APPROVAL_FIRST))
        return self


class DecisionRow(NamedTuple):
    """A person's answer. `note` is the number of the sealed note, `note_hash` the commitment to it
    (`kept.py`); `solo` is 1 where `people: solo` stood in for separation of duties."""

    namespace: str
    id: str
    approval_id: str
    person: str
    decision: str
    review_hash: str
    reason_code: str | None
    note: int | None
    solo: int
    at: int
    note_hash: str | None = None
    mac: bytes = b""

    def marked(self, tx: Tx) -> DecisionRow:
        return self._replace(mac=tx.vault.mac("decision", *covered(self[:-1], _DECISION_FIRST)))

    def check(self, tx: Tx) -> DecisionRow:
        """Raises `Tampered` unless this home wrote the decision."""
        tx.vault.check(self.mac, "decision", *covered(self[:-1], _DECISION_FIRST))
        return self


class _Saving(NamedTuple):
    """An update of the `changed` columns, of the row whose `keys`, its mark among them, are as they were."""

    statement: Prepared
    keys: tuple[str, ...]
    changed: tuple[str, ...]


@lru_cache(maxsize=256)
def _saving(table: Table, keys: tuple[str, ...], changed: tuple[str, ...]) -> _Saving:
    same = [table.c.namespace == bindparam("ns"), *(table.c[key] == bindparam(f"was_{key}") for key in keys)]
    statement = update(table).where(*same).values({name: bindparam(name) for name in changed})
    return _Saving(Prepared(statement), keys, changed)


_CHANGING = (
    "state",
    "verdict",
    "snapshot",
    "catalogue",
    "output",
    "changed_at",
    "expires_at",
    "epoch",
    "holder",
    "lease_until",
    "claimed_at",
    "output_hash",
    "probe",
    "retention_sec",
    "undone_by",
    "seal",
)
"""The columns of an action that its life changes; the rest is fixed when it is proposed."""

_ADD_ACTION = insert_into(t.actions)
_ACTION = Prepared(
    select(t.actions)
    .where(t.actions.c.namespace == bindparam("ns"), t.actions.c.id == bindparam("id_"))
    .order_by(t.actions.c.revision.desc())
    .limit(1)
)
_REVISION = Prepared(
    select(t.actions).where(
        t.actions.c.namespace == bindparam("ns"),
        t.actions.c.id == bindparam("id_"),
        t.actions.c.revision == bindparam("revision_"),
    )
)
_ADD_APPROVAL = insert_into(t.approvals)
_APPROVAL = Prepared(
    select(t.approvals).where(
        t.approvals.c.namespace == bindparam("ns"), t.approvals.c.id == bindparam("id_")
    )
)
_package, _payload = t.payloads.alias("package"), t.payloads.alias("payload")
AHEAD = 32
"""How many requests are read at once, for as many decisions that share a transaction."""
_requests = (
    select(
        t.approvals,
        t.actions,
        _package.c.sealed,
        _package.c.subject,
        _payload.c.sealed,
        _payload.c.subject,
    )
    .select_from(
        t.approvals.outerjoin(
            t.actions,
            (t.actions.c.namespace == t.approvals.c.namespace)
            & (t.actions.c.id == t.approvals.c.action_id)
            & (t.actions.c.revision == t.approvals.c.revision),
        )
        .outerjoin(
            _package,
            (_package.c.seq == bindparam("start", type_=BigInteger) + t.approvals.c.package)
            & (_package.c.namespace == t.approvals.c.namespace),
        )
        .outerjoin(
            _payload,
            (_payload.c.seq == bindparam("start", type_=BigInteger) + t.actions.c.payload)
            & (_payload.c.namespace == t.approvals.c.namespace),
        )
    )
    .where(t.approvals.c.namespace == bindparam("ns"))
)
_REQUESTS = {
    count: Prepared(_requests.where(t.approvals.c.id.in_([bindparam(f"id_{n}") for n in range(count)])))
    for count in (1, 4, AHEAD)
}
"""By how many ids they take; the last may be repeated."""
_APPROVAL_OF = Prepared(
    select(t.approvals)
    .where(
        t.approvals.c.namespace == bindparam("ns"),
        t.approvals.c.action_id == bindparam("id_"),
        t.approvals.c.revision == bindparam("revision_"),
    )
    .order_by(t.approvals.c.superseded_by.is_not(None), t.approvals.c.requested_at.desc(), t.approvals.c.id)
)
_ADD_DECISION = insert_into(t.decisions)
_DECISIONS = Prepared(
    select(t.decisions)
    .where(t.decisions.c.namespace == bindparam("ns"), t.decisions.c.approval_id == bindparam("id_"))
    .order_by(t.decisions.c.at, t.decisions.c.id)
)


@contextmanager
def skipping_tampered(what: str) -> Iterator[None]:
    """Log that `what` was changed or deleted from outside, and go on (rule 5)."""
    try:
        yield
    except (Tampered, NotFound) as error:
        _log.error("%s: %s", what, error)


def sealed(tx: Tx, row: ActionRow) -> ActionRow:
    """The row with its seal, which covers every other column."""
    columns = row[:-1]
    return ActionRow._make((*columns, tx.vault.mac("action", *covered(columns, _ACTION_FIRST))))


def check_seal(tx: Tx, row: ActionRow) -> ActionRow:
    """The row. Raises `Tampered` where it was changed from outside."""
    tx.vault.check(row.seal, "action", *covered(row[:-1], _ACTION_FIRST))
    return row


def check_epoch(tx: Tx, row: ActionRow) -> ActionRow:
    """The row. Raises `Tampered` where it was hidden while the ledger's epoch in force was opened."""
    if row.changed_at < tx.begun and row.status in UNSURE:
        raise Tampered(f"The action {row.id} was hidden when the ledger was recovered; it may have run.")
    return row


def checked(tx: Tx, row: ActionRow) -> ActionRow:
    """The row, which was read by its table's columns. Raises `Tampered`."""
    return check_epoch(tx, check_seal(tx, row))


def add_action(tx: Tx, row: ActionRow) -> ActionRow:
    row = sealed(tx, row)
    tx.insert(_ADD_ACTION, row)
    return row


def load_action(tx: Tx, action_id: str, revision: int | None = None) -> ActionRow:
    """The latest revision, or the one asked for.

    Raises:
        NotFound: no such action. Tampered: its seal does not match.
    """
    if revision is None:
        found = tx.one(_ACTION, id_=action_id)
    else:
        found = tx.one(_REVISION, id_=action_id, revision_=revision)
    if found is None:
        raise NotFound(f"There is no action {visible(action_id, 64)}.")
    return checked(tx, ActionRow(*found))


def save(tx: Tx, was: ActionRow, now: ActionRow) -> ActionRow:
    """Write a changed row over the one that was read (rule 4)."""
    return _put(tx, was, now._replace(changed_at=tx.now))


def name_undo(tx: Tx, row: ActionRow, undo_id: str) -> ActionRow:
    """Note on an action which one is to take it back. Nothing of its own changes, nor when it last did."""
    return _put(tx, row, row._replace(undone_by=undo_id))


def _put(tx: Tx, was: ActionRow, now: ActionRow) -> ActionRow:
    row = sealed(tx, now)
    changed = tuple(name for name in _CHANGING if getattr(was, name) != getattr(row, name))
    if changed:
        _save(tx, _saving(t.actions, ("id", "revision", "seal"), changed), was, row)
    return row


def _save(tx: Tx, saving: _Saving, was: ActionRow | ApprovalRow, row: ActionRow | ApprovalRow) -> None:
    tx.save(
        saving.statement,
        was.id,
        was.revision,
        **{f"was_{key}": getattr(was, key) for key in saving.keys},
        **{name: getattr(row, name) for name in saving.changed},
    )


def move(tx: Tx, row: ActionRow, state: ActionState, **changes: Any) -> ActionRow:
    """Change the state along the state machine.

    Raises:
        Conflict: the state machine has no such step.
    """
    if state not in row.status.successors:
        raise Conflict(f"The action {row.id} is {row.state}; it cannot become {state.value}.")
    return save(tx, row, row._replace(state=state.value, **changes))


def append_in_doubt(tx: Tx, row: ActionRow, **more: Json) -> None:
    """Record that nobody knows what an action did, where no report says so."""
    tx.append(
        Kind.ACTION_IN_DOUBT,
        action=row.id,
        revision=row.revision,
        epoch=row.epoch,
        outcome=ActionState.IN_DOUBT.value,
        action_hash=row.action_hash,
        output=None,
        applied=True,
        **more,
    )


def add_approval(tx: Tx, row: ApprovalRow) -> ApprovalRow:
    row = row.marked(tx)
    tx.insert(_ADD_APPROVAL, row)
    return row


def load_approval(tx: Tx, approval_id: str) -> ApprovalRow:
    """Raises `NotFound`, and `Tampered` where it was changed from outside."""
    found = tx.one(_APPROVAL, id_=approval_id)
    if found is None:
        raise NotFound(f"There is no approval request {visible(approval_id, 64)}.")
    return ApprovalRow(*found).check(tx)


def load_request(tx: Tx, approval_id: str, coming: Iterable[str] = ()) -> tuple[ApprovalRow, ActionRow]:
    """A request and the revision it is about; what is sealed of both need not be read again.

    Args:
        coming: the requests that are loaded next in this transaction, where nothing in between writes them:
            they are read with this one.

    Raises:
        As `load_approval` and `load_action`.
    """
    ahead: dict[str, Row] = tx.memo.setdefault(_AHEAD, {})
    if approval_id not in ahead:
        _read_requests(tx, list(dict.fromkeys((approval_id, *islice(coming, AHEAD - 1)))), ahead)
    found = ahead.pop(approval_id, None)
    if found is None:
        raise NotFound(f"There is no approval request {visible(approval_id, 64)}.")
    end = len(ApprovalRow._fields)
    approval = ApprovalRow(*found[:end]).check(tx)
    if found[end] is None:
        raise NotFound(f"There is no action {visible(approval.action_id, 64)}.")
    row = checked(tx, ActionRow(*found[end:-4]))
    for number, sealed, subject in ((approval.package, *found[-4:-2]), (row.payload, *found[-2:])):
        if sealed is not None:
            tx.hand(number, sealed, subject)
    return approval, row


def _read_requests(tx: Tx, ids: list[str], found: dict[str, Row]) -> None:
    count = next(count for count in _REQUESTS if count >= len(ids))
    ids += ids[-1:] * (count - len(ids))
    place = ApprovalRow._fields.index("id")
    for row in tx.all(_REQUESTS[count], **{f"id_{n}": each for n, each in enumerate(ids)}):
        found[row[place]] = row


def approval_of(tx: Tx, row: ActionRow) -> ApprovalRow | None:
    """The latest approval request about this revision."""
    found = tx.one(_APPROVAL_OF, id_=row.id, revision_=row.revision)
    return None if found is None else ApprovalRow(*found).check(tx)


def save_approval(tx: Tx, was: ApprovalRow, **changes: Any) -> ApprovalRow:
    """Write the changes over the row that was read (rule 4)."""
    tx.memo.get(_AHEAD, {}).pop(was.id, None)
    row = was._replace(**changes).marked(tx)
    _save(tx, _saving(t.approvals, ("id", "mac"), (*changes, "mac")), was, row)
    return row


def close_approval(tx: Tx, action: ActionRow, state: str) -> ApprovalRow | None:
    """End the open request about this revision, if there is one, in the same way as its action."""
    approval = approval_of(tx, action)
    if approval is None or approval.state not in ("held", "approved", UNANSWERED):
        return None
    return save_approval(tx, approval, state=state)


def add_decision(tx: Tx, row: DecisionRow) -> DecisionRow:
    row = row.marked(tx)
    tx.insert(_ADD_DECISION, row)
    return row


def decisions_on(tx: Tx, approval_id: str) -> list[DecisionRow]:
    """Every decision on a request, oldest first. Raises `Tampered`."""
    return [DecisionRow(*found).check(tx) for found in tx.all(_DECISIONS, id_=approval_id)]
