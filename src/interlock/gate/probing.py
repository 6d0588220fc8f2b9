"""Probing what is held: the reading becomes part of what a person is shown, and of the hash they decide on.

1. A request about an action with a probe is opened unread. The probe is read after that has committed,
   outside any transaction; then the reading is sealed with the package, its mark and the new review hash are
   recorded, and only from there on can the request be approved.
2. The first reading that was had is the one that is shown. What could not be read is shown as that, once, and
   read again at growing intervals while the request is held. Nothing is approved on it.
3. When to read is a row (`probe_at`): the segment that was enqueued with the request makes it fast, and the
   sweep makes it certain. Two processes that read at once do no harm; one of the readings is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from interlock.gate.claim import shown
from interlock.gate.package import Sealed, subject_of
from interlock.gate.reading import Asked, asked_of
from interlock.gate.records import (
    ActionRow,
    ApprovalRow,
    load_action,
    load_approval,
    save_approval,
    skipping_tampered,
)
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json
from interlock.model.readings import Reading

FIRST_US = 5_000_000
LONGEST_US = 300_000_000
"""The rest between two readings of what could not be read: as long as it has waited, within these bounds."""

_DUE = Prepared(
    select(t.approvals.c.id)
    .where(
        t.approvals.c.namespace == bindparam("ns"),
        text(t.TO_PROBE),
        t.approvals.c.probe_at <= bindparam("now_"),
    )
    .order_by(t.approvals.c.probe_at)
    .limit(bindparam("limit_"))
)


def due(tx: Tx, limit: int) -> list[str]:
    """Ids of held requests whose probe is to be read now, those that waited longest first."""
    return [row[0] for row in tx.all(_DUE, now_=tx.now, limit_=limit)]


def asked(tx: Tx, approval_id: str) -> Asked | None:
    """What the probe of a held request is read with; None where nothing is to be read (any more)."""
    approval = load_approval(tx, approval_id)
    row = load_action(tx, approval.action_id, approval.revision)
    if not _wanting(row, approval):
        return None
    return asked_of(row, Sealed.read(tx.unseal(row.payload), row.action_hash))


@dataclass(frozen=True, slots=True)
class Probed:
    """The transition that shows a reading; False where it is not needed any more."""

    approval_id: str
    reading: Reading

    def __call__(self, tx: Tx) -> bool:
        approval = load_approval(tx, self.approval_id)
        row = load_action(tx, approval.action_id, approval.revision)
        if not _wanting(row, approval):
            return False
        sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
        mark = self.reading.mark(sealed.nonce)
        package = shown(tx, row, approval)
        again = None
        if mark is None:
            waited = tx.now - approval.requested_at
            again = tx.now + min(LONGEST_US, max(FIRST_US, waited))
            if package.read is not None:
                save_approval(tx, approval, probe_at=again)
                return True
        now = package.with_reading(self.reading, _earlier(tx, row, approval), sealed.nonce)
        save_approval(
            tx,
            approval,
            review_hash=now.review_hash,
            package=tx.seal(now.content(), subject_of(sealed.binding)),
            reading=mark,
            probe_at=again,
        )
        tx.append(
            Kind.APPROVAL_PROBED,
            approval=approval.id,
            action=row.id,
            revision=row.revision,
            action_hash=row.action_hash,
            probe=row.probe,
            reading=mark,
            read_at=self.reading.read_at,
            review_hash=now.review_hash,
        )
        return True


def postpone(tx: Tx, approval_id: str) -> None:
    """Look later at a request that cannot be read for now: its action went in doubt, or was changed from
    outside."""
    with skipping_tampered(approval_id):
        approval = load_approval(tx, approval_id)
        if approval.state == "held" and approval.probe_at is not None:
            save_approval(tx, approval, probe_at=tx.now + LONGEST_US)


def _earlier(tx: Tx, row: ActionRow, approval: ApprovalRow) -> Json:
    """What the request that this one replaced showed of the world, about the same revision."""
    if approval.supersedes is None:
        return None
    replaced = load_approval(tx, approval.supersedes)
    if replaced.revision != row.revision or replaced.reading is None:
        return None
    return shown(tx, row, replaced).read


def _wanting(row: ActionRow, approval: ApprovalRow) -> bool:
    held = approval.state == "held" and row.status is ActionState.HELD
    return held and row.probe is not None and approval.reading is None
