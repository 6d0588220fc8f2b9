"""Ending a recovery: people open a new epoch without what is lost, or dismiss what was a false alarm.

1. What is lost is told as a `Gap`, and people agree to its digest: to this loss and no other. Two different
   enrolled people open the epoch, who are operators or policy-admins; where there are not two of those,
   reviewers count as well, and where there are still not two, everybody who is enrolled: nobody can be given
   a role while nothing is written. One suffices where nobody else is enrolled, whatever the policy says.
   Nobody has to where nobody is enrolled, which is an embedded home. Both are marked solo in the entry.
2. An agreement is a row with a MAC. It counts while its person is enrolled and may agree, for the gap it
   names; an agent's key agrees to nothing.
3. The epoch is opened in one transaction: its entry; then each action that was held, allowed, approved,
   executing or stale becomes `in_doubt`, because in the part that was lost it may have been approved and run;
   open permits are void; agreements are cleared; the journal is no longer stopped.
4. What had ended stays as it is. What was proposed in the lost part is not known any more.
5. A `FalseAlarm` is dismissed by the same people in the same way. Then there is an entry and a row that say
   so, the journal is no longer stopped, and everything is as it was before.

Whether the journal may be written, what was signed, and whether anything may be dismissed, is found out by
the home.
"""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, select, text, update

from interlock.gate.active import MAX_REASON
from interlock.gate.permit_rows import PermitRow, close_permit, load_permit
from interlock.gate.records import (
    UNSURE,
    ActionRow,
    append_in_doubt,
    check_epoch,
    check_seal,
    close_approval,
    save,
    skipping_tampered,
)
from interlock.identity import Caller, KeyKind, Role
from interlock.identity.keyring import check_live
from interlock.identity.people import Person, people
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.journal.dismissals import Dismissal, add_dismissal, alarm
from interlock.journal.epochs import Epoch, add_epoch
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.canonical import Json, canonical
from interlock.model.errors import Changed, Conflict, Forbidden, InvalidInput, Tampered

LISTED = 200
"""How many of the actions that will be in doubt are listed one by one."""
_PEOPLE = 2

Owed = Callable[[Tx], object]
"""What has to be recorded and could not be while the journal was stopped; runs in the opening transaction."""

_log = logging.getLogger(__name__)
_a = t.actions.c
_OPEN_STATES = text("state IN ({})".format(",".join(f"'{state.value}'" for state in UNSURE)))
_DOUBTED = Prepared(
    select(t.actions).where(_a.namespace == bindparam("ns"), _OPEN_STATES).order_by(_a.id, _a.revision)
)
_LISTED = Prepared(
    select(_a.id, _a.revision, _a.state, _a.topic, _a.agent, _a.changed_at)
    .where(_a.namespace == bindparam("ns"), _OPEN_STATES)
    .order_by(_a.id, _a.revision)
    .limit(bindparam("limit_"))
)
_COUNTED = Prepared(
    select(_a.state, func.count())
    .where(_a.namespace == bindparam("ns"), _OPEN_STATES)
    .group_by(_a.state)
    .order_by(_a.state)
)
_PERMITS = Prepared(select(t.permits).where(t.permits.c.namespace == bindparam("ns"), text(t.OPEN)))
_v = t.recovery_votes.c
_VOTES = Prepared(select(t.recovery_votes).where(_v.namespace == bindparam("ns")).order_by(_v.at, _v.person))
_DROP_VOTE = Prepared(
    delete(t.recovery_votes).where(_v.namespace == bindparam("ns"), _v.person == bindparam("person_"))
)
_DROP_VOTES = Prepared(delete(t.recovery_votes).where(_v.namespace == bindparam("ns")))
_ADD_VOTE = insert_into(t.recovery_votes)
_GO_ON = Prepared(
    update(t.head).where(t.head.c.namespace == bindparam("ns")).values(stopped=0, epoch=bindparam("number_"))
)


@dataclass(frozen=True, slots=True)
class Gap:
    """What is lost, as people are told it, and how the ledger would go on.

    Attributes:
        number, origin, vkey, previous: of the epoch to open: its number, the log's name and verifier key, and
            the name before.
        kept: entries in the database now; the epoch's own entry will have this number. root: their tree's.
        signed: entries and root of the newest checkpoint that this home knows; None where it knows none.
        seen: the largest number of entries that anybody is known to have had: this home or a witness.
    """

    number: int
    origin: str
    vkey: str
    previous: str
    kept: int
    root: bytes
    signed: tuple[int, bytes] | None
    seen: int

    def digest(self, namespace: str) -> str:
        """What people agree to, in hexadecimal."""
        document: dict[str, Json] = {
            "v": 1,
            "namespace": namespace,
            "epoch": self.number,
            "origin": self.origin,
            "vkey": self.vkey,
            "previous": self.previous,
            "kept": self.kept,
            "root": b64encode(self.root).decode(),
            "signed": self.head(),
            "seen": self.seen,
        }
        return hashlib.sha256(b"interlock/gap/v1\0" + canonical(document)).hexdigest()

    def head(self) -> dict[str, Json] | None:
        """Size and root of the newest checkpoint known, as the entry names them."""
        return _head(self.signed)


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """What people are told before they dismiss a recovery: nothing that this home knows is missing.

    Attributes:
        number, origin: of the ledger's epoch, which goes on.
        kept, root, signed, seen: as of a `Gap`.
    """

    number: int
    origin: str
    kept: int
    root: bytes
    signed: tuple[int, bytes] | None
    seen: int

    def digest(self, namespace: str) -> str:
        """What people agree to, in hexadecimal: never that of a `Gap`."""
        document: dict[str, Json] = {
            "v": 1,
            "dismiss": True,
            "namespace": namespace,
            "epoch": self.number,
            "origin": self.origin,
            "kept": self.kept,
            "root": b64encode(self.root).decode(),
            "signed": _head(self.signed),
            "seen": self.seen,
        }
        return hashlib.sha256(b"interlock/gap/v1\0" + canonical(document)).hexdigest()


Loss = Gap | FalseAlarm


def _head(signed: tuple[int, bytes] | None) -> dict[str, Json] | None:
    return None if signed is None else {"size": signed[0], "root": b64encode(signed[1]).decode()}


@dataclass(frozen=True, slots=True)
class Opened:
    """A new epoch: its number, and how many actions it put in doubt, by the state they were in."""

    number: int
    doubted: dict[str, int]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who agreed so far, in order; how many have to; and the epoch, if this opened it, or whether it
    dismissed the recovery."""

    agreed: tuple[Person, ...]
    needed: int
    opened: Opened | None = None
    dismissed: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What opening an epoch would do, and who may.

    Attributes:
        counts: actions that will be in doubt, by state. listed: the first `LISTED` of them, as id, revision,
            state, topic, agent, and when they last changed, in microseconds UTC.
        may: the people who may agree. needed: how many have to; 0 where nobody is enrolled.
        dismissing: who agreed to dismiss it instead.
    """

    counts: dict[str, int]
    listed: tuple[tuple[str, int, str, str, str, int], ...]
    may: tuple[Person, ...]
    agreed: tuple[Person, ...]
    needed: int
    solo: bool
    dismissing: tuple[Person, ...] = ()


def outlook(tx: Tx, digest: str, dismissal: str = "") -> Outlook:
    """What opening an epoch would do now. Raises `Tampered` where people's rows were changed."""
    enrolled = people(tx)
    solo = len(enrolled) == 1
    return Outlook(
        dict(tx.all(_COUNTED)),
        tuple(tx.all(_LISTED, limit_=LISTED)),
        entitled(enrolled),
        tuple(person for person, _ in _agreed(tx, enrolled, digest)),
        _needed(enrolled, solo=solo),
        solo or not enrolled,
        tuple(person for person, _ in _agreed(tx, enrolled, dismissal)),
    )


def entitled(enrolled: Sequence[Person]) -> tuple[Person, ...]:
    """Who may agree: the first of the groups of rule 1 that two people are in."""
    for roles in ({Role.OPERATOR, Role.POLICY_ADMIN}, {Role.OPERATOR, Role.POLICY_ADMIN, Role.REVIEWER}):
        found = tuple(person for person in enrolled if person.roles & roles)
        if len(found) >= _PEOPLE:
            return found
    return tuple(enrolled)


def agree(
    tx: Tx, caller: Caller, loss: Loss, expected: str, reason: str, owed: Sequence[Owed] = ()
) -> Agreement:
    """A person agrees to go on; the last one who has to opens the epoch, or dismisses the recovery.

    Args:
        expected: digest of the loss that the person was shown.
        reason: why, for everybody who reads the ledger.

    Raises:
        Forbidden: no person, or one who may not. Changed: another loss than was shown.
        Conflict: it is no false alarm.
        InvalidInput: the reason is no line of text.
    """
    if caller.kind is not KeyKind.PERSON or caller.person is None:
        raise Forbidden("People agree to this, with a person key or signed in; other keys do not.")
    check_live(tx, caller.key_id)
    check_reason(reason)
    enrolled = people(tx)
    if caller.person not in {person.id for person in entitled(enrolled)}:
        names = ", ".join(person.name for person in entitled(enrolled))
        raise Forbidden(f"This is for others here: {names}.")
    digest = loss.digest(tx.namespace)
    if expected != digest:
        raise Changed("What is lost is not what you were shown.", fix="Look again, then agree to that.")
    tx.write(_DROP_VOTE, person_=caller.person)
    columns = (tx.namespace, caller.person, digest, reason, tx.now)
    tx.insert(_ADD_VOTE, (*columns, tx.vault.mac("recovery_vote", *columns)))
    agreed = _agreed(tx, enrolled, digest)
    solo = len(enrolled) == 1
    needed = _needed(enrolled, solo=solo)
    counted = tuple(person for person, _ in agreed)
    if len(counted) < needed:
        return Agreement(counted, needed)
    said = "; ".join(dict.fromkeys(line for _, line in agreed))
    opened = _end(tx, loss, [person.id for person in counted], solo=solo, reason=said, owed=owed)
    return Agreement(counted, needed, opened, dismissed=opened is None)


def end_alone(tx: Tx, loss: Loss, expected: str, reason: str, owed: Sequence[Owed] = ()) -> Opened | None:
    """Open an epoch, or dismiss the recovery, where nobody is enrolled who could agree to it.

    Raises:
        Forbidden: somebody is. Changed, InvalidInput: as `agree`.
    """
    check_reason(reason)
    enrolled = people(tx)
    if enrolled:
        names = ", ".join(person.name for person in enrolled)
        raise Forbidden(f"People are enrolled here ({names}): they agree to this, or nobody.")
    if expected != loss.digest(tx.namespace):
        raise Changed("What is lost is not what you were shown.", fix="Look again, then agree to that.")
    return _end(tx, loss, [], solo=True, reason=reason, owed=owed)


def check_reason(reason: str) -> None:
    """Raises `InvalidInput` where it is no line that the ledger can carry."""
    if not (1 <= len(reason) <= MAX_REASON and reason.isprintable() and reason.strip()):
        raise InvalidInput(f"one line of 1 to {MAX_REASON} printable characters", path="$.reason")


def _needed(enrolled: Sequence[Person], *, solo: bool) -> int:
    return 0 if not enrolled else 1 if solo else _PEOPLE


def _agreed(tx: Tx, enrolled: Sequence[Person], digest: str) -> list[tuple[Person, str]]:
    """Who agreed to this gap and still may, oldest first, each with their reason (rule 2)."""
    may = {person.id: person for person in entitled(enrolled)}
    found = []
    for *columns, mac in tx.all(_VOTES):
        with skipping_tampered(f"the agreement of {columns[1]}"):
            tx.vault.check(mac, "recovery_vote", *columns)
            _, person, gap, reason, _ = columns
            if gap == digest and person in may:
                found.append((may[person], reason))
    return found


def _end(
    tx: Tx, loss: Loss, agreed: Sequence[str], *, solo: bool, reason: str, owed: Sequence[Owed]
) -> Opened | None:
    """Open the epoch, or dismiss the recovery; either way the journal is no longer stopped."""
    if isinstance(loss, Gap):
        opened, index = _open(tx, loss, agreed, solo=solo, reason=reason)
    else:
        opened, index = None, _dismiss(tx, loss, agreed, solo=solo, reason=reason)
    if index != loss.kept:
        raise Changed(f"The database has {index} entries, and {loss.kept} were to be kept.")
    tx.write(_DROP_VOTES)
    tx.write(_GO_ON, number_=loss.number)
    for each in owed:
        each(tx)
    return opened


def check_alarm(tx: Tx, loss: FalseAlarm) -> None:
    """Raises `Conflict` where another process of this home found missing what this one cannot know."""
    seen, signed = alarm(tx, loss.number), 0 if loss.signed is None else loss.signed[0]
    if seen > signed:
        raise Conflict(
            f"Another process of this home had {seen} entries, and only {signed} were signed here.",
            fix="Look on the host that found it: interlock ledger recover",
        )


def _dismiss(tx: Tx, loss: FalseAlarm, agreed: Sequence[str], *, solo: bool, reason: str) -> int:
    check_alarm(tx, loss)
    index = tx.append(
        Kind.LEDGER_RECOVERY_DISMISSED,
        epoch=loss.number,
        people=list(agreed),
        solo=solo,
        reason=reason,
        seen=loss.seen,
    )
    add_dismissal(tx, Dismissal(loss.number, index, loss.seen))
    return index


def _open(tx: Tx, gap: Gap, agreed: Sequence[str], *, solo: bool, reason: str) -> tuple[Opened, int]:
    index = tx.append(
        Kind.LEDGER_EPOCH_OPENED,
        epoch=gap.number,
        origin=gap.origin,
        vkey=gap.vkey,
        previous=gap.previous,
        signed=gap.head(),
        kept=gap.kept,
        people=list(agreed),
        solo=solo,
        reason=reason,
    )
    add_epoch(tx, Epoch(gap.number, gap.origin, gap.kept, tx.now))
    doubted = _doubt(tx, gap.number)
    for columns in tx.all(_PERMITS):
        with skipping_tampered(columns[1]):
            close_permit(tx, load_permit(tx, PermitRow(*columns).id), "lapsed")
    return Opened(gap.number, doubted), index


def _doubt(tx: Tx, number: int) -> dict[str, int]:
    """Put everything in doubt that may have run in the part that was lost; how many, by state.

    A record that was changed from outside stays as it is, where no claim accepts it.
    """
    counts: Counter[str] = Counter()
    for columns in tx.all(_DOUBTED):
        found = ActionRow(*columns)
        with skipping_tampered(found.id):
            row = check_epoch(tx, check_seal(tx, found))
            if row.status not in (ActionState.ALLOWED, ActionState.EXECUTING):
                try:
                    close_approval(tx, row, ActionState.IN_DOUBT.value)
                except Tampered as error:
                    _log.error("the request about %s: %s", row.id, error)
            save(tx, row, row._replace(state=ActionState.IN_DOUBT.value))
            append_in_doubt(tx, row, recovery=number)
            counts[row.state] += 1
    return dict(counts)
