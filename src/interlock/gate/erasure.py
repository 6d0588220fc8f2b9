"""Erase: destroy the key of one subject, so that nothing recorded about it opens again.

1. A subject is whom an action is about: its principal, or ``agent:<name>`` where it has none. Everything
   sealed about an action (arguments, context, nonces, what was shown, notes, results) is under its subject's
   key, and so is what a session for that principal recorded.
2. Nothing is erased while an action of the subject is open: somebody waits for it, runs it, or has to find
   out what it did.
3. One transaction deletes the key, marks it as erased and appends ``subject.erased``. Afterwards the key is
   noted outside the database, and what the deleted row left in the database's files is overwritten. Where
   somebody still reads an old state that has to wait: the process that erased tries again (`scrub`).
4. Rows, hashes and entries stay: ids, topics, times, verdicts, and keyed hashes of the subject's name and of
   requests, which only this home's keys could compare with a guess.
5. A subject that is named again later gets another key. A key that a backup brings back is destroyed again
   when the home opens, whatever is open.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import bindparam, func, select, text

from interlock.gate.package import subject_of
from interlock.identity import Caller, Role
from interlock.identity.keyring import check_person
from interlock.journal import Journal, Prepared, Tx
from interlock.journal import tables as t
from interlock.journal.subjects import SERIAL_BYTES, serial_of
from interlock.ledger import Kind
from interlock.model.actions import ActionState
from interlock.model.binding import Binding
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, Erased, HomeUnusable, NotFound
from interlock.model.ids import iso

RESTORED = "restore"
"""Who erases a key that a backup brought back."""
SHOWN = 50
_IS_OPEN = "state IN ({})".format(", ".join(f"'{state.value}'" for state in ActionState if state.open))
_log = logging.getLogger(__name__)

_a, _p, _s, _e = t.actions.c, t.payloads.c, t.subjects.c, t.erasures.c
_OPEN_ACTIONS = Prepared(
    select(_a.id, _a.revision, _a.state, _a.topic)
    .select_from(t.actions.join(t.payloads, _p.seq == _a.payload + bindparam("start")))
    .where(
        _a.namespace == bindparam("ns"),
        text(_IS_OPEN),
        _p.subject == bindparam("subject_"),
    )
    .order_by(_a.id)
)
_OPEN_SINCE = Prepared(
    select(_a.id, _a.revision, _a.state, _a.topic, _a.payload)
    .where(_a.namespace == bindparam("ns"), text(_IS_OPEN), _a.payload >= bindparam("payload_"))
    .order_by(_a.id)
)
_ALL_ACTIONS = Prepared(
    select(func.count(_a.id.distinct()))
    .select_from(t.actions.join(t.payloads, _p.seq == _a.payload + bindparam("start")))
    .where(_a.namespace == bindparam("ns"), _p.subject == bindparam("subject_"))
)
_REVISIONS = Prepared(
    select(func.count())
    .select_from(t.actions.join(t.payloads, _p.seq == _a.payload + bindparam("start")))
    .where(
        _a.namespace == bindparam("ns"),
        _a.payload >= bindparam("since_"),
        _p.subject == bindparam("subject_"),
        text(f"substr(payloads.sealed, 1, {SERIAL_BYTES}) = :serial_").bindparams(bindparam("serial_")),
    )
)
_SINCE = Prepared(
    select(_a.payload).where(_a.namespace == bindparam("ns"), _a.payload >= bindparam("payload_"))
)
_SUBJECTS = Prepared(select(_s.id, _s.added_at).where(_s.namespace == bindparam("ns")).order_by(_s.added_at))
_PAYLOADS = Prepared(
    select(_p.subject, func.count())
    .where(_p.namespace == bindparam("ns"), _p.subject.is_not(None))
    .group_by(_p.subject)
)
_LATEST = Prepared(
    select(_p.subject, func.max(_a.payload))
    .select_from(t.actions.join(t.payloads, _p.seq == _a.payload + bindparam("start")))
    .where(_a.namespace == bindparam("ns"), _p.subject.is_not(None))
    .group_by(_p.subject)
)
_SEALED = Prepared(select(t.head.c.sealed).where(t.head.c.namespace == bindparam("ns")))
_ERASURES = Prepared(select(_e.subject, _e.serial, _e.at, _e.mac).where(_e.namespace == bindparam("ns")))


class ErasureReason(StrEnum):
    """Why a subject is erased; a code, because the ledger cannot be erased."""

    REQUEST = "request"
    RETENTION = "retention"
    MISTAKE = "mistake"
    OTHER = "other"


class SubjectBusy(Conflict):
    """Actions of the subject are open. `extra` lists the first of them."""

    slug = "subject-busy"
    title = "Actions of this subject are open"
    advice = (
        "Decide, withdraw, revoke or reconcile them first; each has to end before its content is destroyed."
    )


@dataclass(frozen=True, slots=True)
class OpenAction:
    id: str
    revision: int
    state: str
    topic: str

    def to_json(self) -> dict[str, Json]:
        return {"id": self.id, "revision": self.revision, "state": self.state, "topic": self.topic}


@dataclass(frozen=True, slots=True)
class Standing:
    """What erasing a subject would destroy.

    Attributes:
        subject: its id, a keyed hash.
        payloads: how many sealed payloads its key opens. actions: how many actions they belong to, those of
            an earlier key of the same subject included.
        since: when its key was made, microseconds UTC.
        open: actions that forbid it.
    """

    subject: str
    payloads: int
    actions: int
    since: int
    open: tuple[OpenAction, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "subject": self.subject,
            "erased": False,
            "payloads": self.payloads,
            "actions": self.actions,
            "since": iso(self.since),
            "open": [one.to_json() for one in self.open],
        }


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was destroyed.

    Attributes:
        subject, payloads, actions: as for `Standing`.
        clean: whether the key was looked for in the database's files afterwards and is not there. Where the
            database is a server, or somebody still reads an old state, nobody knows.
    """

    subject: str
    payloads: int
    actions: int
    clean: bool

    def to_json(self) -> dict[str, Json]:
        return {
            "subject": self.subject,
            "erased": True,
            "payloads": self.payloads,
            "actions": self.actions,
            "clean": self.clean,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A subject that has a key. `name` is None where it was not asked for, or nothing tells it."""

    subject: str
    since: int
    payloads: int
    name: str | None


@dataclass(frozen=True, slots=True)
class _Destroyed:
    serial: bytes
    wrapped: bytes
    payloads: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What was looked through before the transaction, so that nobody waits for it.

    Attributes:
        serial: of the subject's key then.
        payloads: how many of the first `sealed` payloads were sealed with it. revisions: of how many
            revisions of actions they hold what was proposed.
        clear: whether no action of the subject was open. What has ended never opens again, and what is opened
            seals something: without a later payload that is still so.
    """

    serial: bytes
    payloads: int
    revisions: int
    sealed: int
    clear: bool


@dataclass(frozen=True, slots=True)
class Erasing:
    """The transition that erases a subject."""

    subject: str
    by: str
    reason: ErasureReason | None
    caller: Caller | None
    counted: Counted

    def __call__(self, tx: Tx) -> _Destroyed:
        if self.caller is not None:
            check_person(tx, self.caller, Role.OPERATOR, Role.POLICY_ADMIN)
        counted, current = self.counted, tx.subject(self.subject)
        if current is None or current[0] != counted.serial:
            raise NotFound("The subject was erased meanwhile.")
        later = tx.sealed_with(self.subject, counted.serial, counted.sealed)
        if later or not counted.clear:
            _refuse_open(self.subject, _open(tx, self.subject))
        revisions = counted.revisions
        if later:
            revisions += _revisions(tx, self.subject, counted.serial, counted.sealed)
        return _destroy(tx, self.subject, counted.payloads + later, revisions, by=self.by, reason=self.reason)


class Eraser:
    """Erases subjects of one namespace.

    Args:
        remember: notes destroyed keys outside the database, durably.
        remembered: those that are noted.
    """

    def __init__(
        self,
        journal: Journal,
        remember: Callable[[Iterable[tuple[str, bytes]]], None],
        remembered: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        self._journal = journal
        self._remember = remember
        self._remembered = remembered
        self._left: set[bytes] = set()
        """What is looked for in the database's files, and was still there."""

    def look(self, name: str) -> Standing:
        """What erasing a subject would destroy. Raises `NotFound` where nothing is sealed about it."""
        return self._journal.look(lambda tx: _look(tx, name)[0])

    def erase(
        self, name: str, *, by: str, reason: ErasureReason | None = None, caller: Caller | None = None
    ) -> Erasure:
        """Destroy a subject's key.

        Args:
            name: the principal, or ``agent:<name>``.
            by: who, for the ledger. caller: the person who asks, where that is not whoever has this host.

        Raises:
            NotFound: nothing is sealed about it. SubjectBusy: rule 2. Forbidden: `caller` is no operator or
                policy-admin.
        """
        if caller is not None:
            caller.check_role(Role.OPERATOR, Role.POLICY_ADMIN)
        standing, counted = self._journal.look(lambda tx: _look(tx, name))
        done = self._journal.commit(Erasing(standing.subject, by, reason, caller, counted))
        clean = self._finish(standing.subject, done)
        return Erasure(standing.subject, done.payloads, standing.actions, clean)

    def again(self) -> int:
        """Destroy the keys that a backup brought back, and note what other hosts destroyed.

        Returns:
            How many had come back.
        """
        noted = self._journal.look(_erasures)
        self._remember(noted)
        listed = {(subject, bytes.fromhex(serial)) for subject, serial in self._remembered()}
        if not listed:
            return 0

        def back(tx: Tx) -> list[tuple[str, bytes]]:
            return [(s, serial) for s, serial in sorted(listed) if (tx.subject(s) or (b"", 0))[0] == serial]

        count = 0
        for subject, serial in self._journal.look(back):

            def destroy(tx: Tx, subject: str = subject, serial: bytes = serial) -> _Destroyed | None:
                current = tx.subject(subject)
                if current is None or current[0] != serial:
                    return None  # another process was faster
                payloads, revisions = tx.sealed_with(subject, serial), _revisions(tx, subject, serial)
                return _destroy(tx, subject, payloads, revisions, by=RESTORED, reason=None)

            done = self._journal.commit(destroy)
            if done is not None:
                self._finish(subject, done)
                count += 1
        if count:
            _log.warning("%d erased subjects had come back with the database and were erased again", count)
        return count

    def subjects(self, *, names: bool = False) -> list[Kept]:
        """Everybody who has a key, oldest first.

        Args:
            names: open one payload of each to tell its name.
        """

        def look(tx: Tx) -> list[Kept]:
            counts: dict[str, int] = dict(tx.all(_PAYLOADS))
            told = _names(tx) if names else {}
            return [
                Kept(subject, since, counts.get(subject, 0), told.get(subject))
                for subject, since in tx.all(_SUBJECTS)
            ]

        return self._journal.look(look)

    def _finish(self, subject: str, done: _Destroyed) -> bool:
        """What follows the commit (rule 3); whether the files were found clean."""
        self._journal.subjects.drop(subject)
        try:
            self._remember([(subject, done.serial)])
        except OSError as error:
            raise HomeUnusable(
                f"The subject is erased, but that was not noted outside the database: {error.strerror}.",
                fix="Open the home again before anybody restores a backup; it is noted then.",
            ) from error
        needle = done.wrapped[:NEEDLE]
        try:
            clean = self._journal.scrub(needle)
        except HomeUnusable as error:
            _log.error("what the erased key left in the database's files stays for now: %s", error)
            clean = False
        if not clean and self._journal.database.searchable:
            self._left.add(needle)
        return clean

    def scrub(self) -> int:
        """Look once more for erased keys that were still in the database's files, waiting for nobody.

        Returns:
            How many are still there.

        Raises:
            HomeUnusable: the database cannot be used.
        """
        for needle in tuple(self._left):
            if self._journal.scrub(needle, again=True):
                self._left.discard(needle)
                _log.info("an erased key is in none of the database's files any more")
        return len(self._left)


NEEDLE = 40
"""How much of a wrapped key is looked for: its serial, which is unique, and some of what follows."""


def _look(tx: Tx, name: str) -> tuple[Standing, Counted]:
    """A subject's standing. Raises `NotFound`."""
    subject = tx.vault.subject(tx.namespace, name if name.isprintable() else "")
    found = tx.subject(subject)
    if found is None:
        raise NotFound(
            "Nothing is sealed about a subject of that name.",
            fix="Names count letter by letter; see: interlock ledger subjects --names",
        )
    serial, since = found
    actions, sealed = tx.one(_ALL_ACTIONS, subject_=subject), tx.one(_SEALED)
    payloads = tx.sealed_with(subject, serial)
    standing = Standing(subject, payloads, 0 if actions is None else actions[0], since, _open(tx, subject))
    revisions = _revisions(tx, subject, serial)
    return standing, Counted(
        serial, payloads, revisions, 0 if sealed is None else sealed[0], not standing.open
    )


def _revisions(tx: Tx, subject: str, serial: bytes, since: int = 0) -> int:
    """How many revisions of actions that key sealed, from payload number `since` on."""
    row = tx.one(_REVISIONS, subject_=subject, serial_=serial, since_=since)
    count = 0 if row is None else int(row[0])
    pending = tx.pending(subject)
    if pending:  # of members of this batch before us: their rows are written, their payloads are not
        count += sum(payload in pending for (payload,) in tx.all(_SINCE, payload_=pending[0]))
    return count


def _destroy(
    tx: Tx, subject: str, payloads: int, revisions: int, *, by: str, reason: ErasureReason | None
) -> _Destroyed:
    """Delete the key, which sealed so many payloads of so many revisions, and say so."""
    wrapped = tx.wrapped(subject)
    if wrapped is None:
        raise NotFound("The subject was erased meanwhile.")
    serial = serial_of(wrapped)
    tx.destroy(subject, serial)
    tx.append(
        Kind.SUBJECT_ERASED,
        subject=subject,
        by=by,
        payloads=payloads,
        revisions=revisions,
        reason=None if reason is None else reason.value,
    )
    return _Destroyed(serial, wrapped, payloads)


def _open(tx: Tx, subject: str) -> tuple[OpenAction, ...]:
    rows = tx.all(_OPEN_ACTIONS, subject_=subject)
    pending = tx.pending(subject)
    if pending:  # members of this batch before us: their rows are written, their payloads are not
        rows += [row[:4] for row in tx.all(_OPEN_SINCE, payload_=pending[0]) if row[4] in pending]
    return tuple(OpenAction(*row) for row in rows)


def _refuse_open(subject: str, waiting: tuple[OpenAction, ...]) -> None:
    if waiting:
        listed = [one.to_json() for one in waiting[:SHOWN]]
        raise SubjectBusy(
            f"Open actions of this subject: {len(waiting)}; nothing was erased.",
            extra={"subject": subject, "open": listed, "count": len(waiting)},
        )


def _erasures(tx: Tx) -> list[tuple[str, bytes]]:
    """Every key that was destroyed, as the database has it. Raises `Tampered`."""
    found = []
    for subject, serial, at, mac in tx.all(_ERASURES):
        tx.vault.check(mac, "erasure", tx.namespace, subject, serial, at)
        found.append((subject, bytes.fromhex(serial)))
    return found


def _names(tx: Tx) -> dict[str, str]:
    """The name of each subject, from the newest action about it; those that were erased are left out.

    Raises:
        Tampered: a payload does not open.
    """
    found = {}
    for subject, payload in tx.all(_LATEST):
        try:
            binding = Binding.from_json(json.loads(tx.unseal(payload))["binding"])
        except Erased:
            continue
        found[subject] = subject_of(binding)
    return found
