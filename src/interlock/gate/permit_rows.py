"""The rows of permits, and what an open offline permit does to its action.

1. A row carries a mark over all its columns; one that was changed or deleted from outside is an attack.
2. An offline permit lets its executor run without asking. So while one is open, nobody can say that its
   action did not run: it is neither withdrawn, revoked, expired nor re-decided, no other permit of it counts,
   and it ends as reported, or in doubt. The action's own sealed row names the permit, so that deleting the
   permit's row gains nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from interlock.gate.records import ActionRow
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.actions import ActionState
from interlock.model.errors import Conflict, Expired, Forbidden, NotClaimable, Tampered
from interlock.model.ids import iso

GRACE_US = 60_000_000
"""How long after its end an offline permit may still be reported before its run is assumed."""


class PermitInvalid(Forbidden):
    slug = "permit-invalid"
    title = "This is no valid permit"
    advice = "Hand on the permit exactly as the gate answered it, with the key of the executor it names."


class PermitLapsed(Expired):
    slug = "permit-expired"
    title = "The permit has expired"
    advice = "Ask for a new one: POST /v1/actions/{id}/permit."


class PermitRedeemed(Conflict):
    slug = "permit-redeemed"
    title = "The permit was used before"
    advice = (
        "A permit counts once. If the answer to the first use was lost, nothing may run: report in_doubt."
    )


class PermitNotRedeemed(Conflict):
    slug = "permit-not-redeemed"
    title = "The permit was never redeemed"
    advice = "Nothing may run under this permit before it is redeemed: POST /v1/permits/redeem."


class OfflineRefused(NotClaimable):
    slug = "offline-refused"
    title = "This is redeemed at the gate before it runs"
    advice = "Ask for a permit without `offline`, and let the tool redeem it."


class PermitOutstanding(Conflict):
    slug = "permit-outstanding"
    title = "An offline permit may still run this"
    advice = (
        "Wait for the executor's report; without one the action is in doubt a minute after the permit ends."
    )


class PermitRow(NamedTuple):
    """One permit. Times are microseconds UTC, on whole seconds.

    Attributes:
        executor: the name of who may run it.
        state: `open`, `redeemed`, `reported` (run offline) or `lapsed`.
        offline: 1 where it may be used without redeeming.
        entry: ledger index of its `permit.minted`.
    """

    namespace: str
    id: str
    action_id: str
    revision: int
    executor: str
    state: str
    offline: int
    entry: int
    minted_at: int
    expires_at: int
    mac: bytes = b""

    def marked(self, tx: Tx) -> PermitRow:
        return self._replace(mac=tx.vault.mac("permit", *self[:-1]))


MAX_OPEN = 8
"""How many permits of one action can be open at a time: asking once more answers the newest of them."""

_ADD = insert_into(t.permits)
_OPEN_OF = Prepared(
    select(t.permits)
    .where(
        t.permits.c.namespace == bindparam("ns"),
        t.permits.c.action_id == bindparam("action_"),
        t.permits.c.revision == bindparam("revision_"),
        text(t.OPEN),
        t.permits.c.offline == 0,
        t.permits.c.expires_at > bindparam("now_"),
    )
    .order_by(t.permits.c.entry.desc())
    .limit(bindparam("limit_"))
)
_ONE = Prepared(
    select(t.permits).where(t.permits.c.namespace == bindparam("ns"), t.permits.c.id == bindparam("id_"))
)
_SAVE = Prepared(
    update(t.permits)
    .where(
        t.permits.c.namespace == bindparam("ns"),
        t.permits.c.id == bindparam("id_"),
        t.permits.c.state == bindparam("was_"),
    )
    .values(state=bindparam("state_"), mac=bindparam("mac_"))
)


def add_permit(tx: Tx, row: PermitRow) -> PermitRow:
    row = row.marked(tx)
    tx.insert(_ADD, row)
    return row


def open_permits(tx: Tx, row: ActionRow) -> list[PermitRow]:
    """The permits under which an action can still be redeemed, newest first; at most `MAX_OPEN`.

    Raises:
        Tampered: a row was changed from outside.
    """
    found = tx.all(_OPEN_OF, action_=row.id, revision_=row.revision, now_=tx.now, limit_=MAX_OPEN)
    return [load_permit(tx, columns[1]) for columns in found]


def load_permit(tx: Tx, permit_id: str) -> PermitRow:
    """Raises `Tampered` where the row is missing or was changed: permits are never deleted."""
    found = tx.one(_ONE, id_=permit_id)
    if found is None:
        raise Tampered(f"The permit {permit_id} is missing from the journal.")
    row = PermitRow(*found)
    tx.vault.check(row.mac, "permit", *row[:-1])
    return row


def close_permit(tx: Tx, row: PermitRow, state: str) -> PermitRow:
    """Let an open permit be redeemed, reported or lapsed; a compare-and-set."""
    closed = row._replace(state=state).marked(tx)
    if row.state != "open" or tx.write(_SAVE, id_=row.id, was_="open", state_=state, mac_=closed.mac) != 1:
        raise PermitRedeemed(f"The permit {row.id} is {row.state}.")
    return closed


def outstanding(row: ActionRow) -> str | None:
    """The permit that may run this action offline, if there is one."""
    return row.holder if row.status in (ActionState.ALLOWED, ActionState.APPROVED) else None


def refuse_outstanding(row: ActionRow) -> None:
    """Raises `PermitOutstanding` where an offline permit may run the action."""
    permit = outstanding(row)
    if permit is not None:
        until = iso(row.lease_until or 0)
        raise PermitOutstanding(
            f"{permit} lets the executor of {row.id} run it until {until} without asking.",
            extra={"permit": permit, "until": until},
        )
