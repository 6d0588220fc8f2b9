"""What an action knows that takes another one back, and what becomes of the other.

1. Such an action is an action like any other: decided by the policy, held for people, claimed and settled
   once. Beside its arguments stands, sealed with them, which action it takes back, who asked and until when.
2. A person who asked for it does not approve it. Nobody edits it: what is taken back is what ran, and any
   other amount would be another action.
3. It does not start after the time within which it takes back: its request and its permission end then, and
   the claim asks once more.
4. When it succeeds, whoever says so, the other action becomes `rolled_back` in the same transaction, with an
   entry that names both. When it does not, the other action stays as it is.
5. Whoever asked for it, it is run by the processes of the agent whose action it takes back, and that agent is
   told what became of it.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select

from interlock.gate.package import Sealed, TakesBack
from interlock.gate.records import ActionRow, load_action, move, skipping_tampered
from interlock.identity import Caller
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.errors import Conflict, NotClaimable, NotFound, Tampered
from interlock.model.ids import iso

_AGENT = Prepared(
    select(t.actions.c.agent, t.actions.c.undoes)
    .where(t.actions.c.namespace == bindparam("ns"), t.actions.c.id == bindparam("id_"))
    .limit(1)
)


class UndoTooLate(NotClaimable):
    slug = "undo-too-late"
    title = "The time to take this back has passed"
    status = 410
    advice = "Propose what is wanted now as an action of its own."


def takes_back(tx: Tx, row: ActionRow) -> TakesBack | None:
    """What an action takes back; None for one that takes nothing back.

    Raises:
        Tampered: its row and what was sealed about it disagree. Erased: its subject was erased.
    """
    if row.undoes is None:
        return None
    found = Sealed.read(tx.unseal(row.payload), row.action_hash).takes_back
    if found is None or found.action != row.undoes:
        raise Tampered(f"What {row.id} takes back is not what was sealed about it.")
    return found


def asked_by(tx: Tx, row: ActionRow) -> str | None:
    """The person who asked for this rollback; None where an agent did, or where it is none."""
    found = takes_back(tx, row)
    return None if found is None else found.asked_by


def bounded(sealed: Sealed, time: int) -> int:
    """A deadline of an action: not later than rule 3 says. Microseconds UTC."""
    until = None if sealed.takes_back is None else sealed.takes_back.until
    return time if until is None else min(time, until)


def too_late(tx: Tx, row: ActionRow) -> UndoTooLate | None:
    """The refusal of what would start after its time, however long it may run otherwise."""
    found = takes_back(tx, row)
    if found is None or found.until is None or tx.now < found.until:
        return None
    return UndoTooLate(f"{found.action} could be taken back until {iso(found.until)}.")


def refuse_late(tx: Tx, row: ActionRow) -> None:
    """Raises `UndoTooLate`."""
    refusal = too_late(tx, row)
    if refusal is not None:
        raise refusal


def refuse_edit(row: ActionRow) -> None:
    """Raises `Conflict` for a rollback (rule 2)."""
    if row.undoes is not None:
        raise Conflict(
            f"{row.id} takes {row.undoes} back, as it ran; a rollback is not edited.",
            fix="Reject it, and propose what is wanted instead as an action of its own.",
        )


def owns(tx: Tx, caller: Caller, row: ActionRow) -> bool:
    """Whether the caller may see and run it: what it proposed, and what takes back what it proposed."""
    while not caller.owns(row.agent, row.topic):
        if row.undoes is None or not caller.proposes:
            return False
        row = load_action(tx, row.undoes)._replace(topic=row.topic)
    return True


def agent_of(tx: Tx, action_id: str) -> str | None:
    """Rule 5; None where there is no such action. Read without its mark: nothing runs because of it."""
    found, seen = tx.one(_AGENT, id_=action_id), {action_id}
    while found is not None and found[1] is not None and found[1] not in seen:
        seen.add(found[1])
        found = tx.one(_AGENT, id_=found[1])
    return None if found is None else str(found[0])


def taken_back(tx: Tx, undo: ActionRow) -> None:
    """Rule 4, for an action that was settled in this transaction.

    A record of the other action that was changed from outside does not cost the settlement of this one.
    """
    if undo.undoes is None or undo.status is not ActionState.SUCCEEDED:
        return
    with skipping_tampered(undo.undoes):
        original = load_action(tx, undo.undoes)
        if original.undone_by != undo.id or original.status is not ActionState.SUCCEEDED:
            raise Tampered(f"{original.id} is {original.state} and was not being taken back by {undo.id}.")
        move(tx, original, ActionState.ROLLED_BACK)
        tx.append(
            Kind.ACTION_ROLLED_BACK,
            action=original.id,
            revision=original.revision,
            rollback=undo.id,
        )


def rollback_shown(tx: Tx, row: ActionRow) -> dict[str, str] | None:
    """The latest rollback of an action, for views: its id and state; None where nobody asked for one.

    Raises:
        Tampered: its record was changed or deleted from outside.
    """
    if row.undone_by is None:
        return None
    try:
        latest = load_action(tx, row.undone_by)
    except NotFound:
        raise Tampered(f"{row.undone_by}, which takes {row.id} back, is missing from the journal.") from None
    return {"id": latest.id, "state": latest.state}
