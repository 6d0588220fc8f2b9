"""Recovery: what a home does when its database lacks what was signed, noted or witnessed before.

1. A home compares the database with what stands outside of it, when it is opened and as long as it runs: what
   was signed or followed last, the mark, which database it was, and what witnesses have cosigned. A database
   that is behind, or leads elsewhere, may have lost claims: whatever it calls allowed may have run.
2. What is found is kept in ``ledger/recovery.json``, durably, and in the database, so that every host stops.
   Neither of them alone ends it.
3. It ends where a later epoch stands in the database (`gate/recovery.py`): the publisher follows it and hands
   the log over, then the file is moved to ``ledger/recovered/``. Or where the newest database was put back:
   one that has everything that is known to have been there. A home that was only told to stop cannot know.
   Or where people dismissed it as a false alarm: the database has all that this home has signed and noted,
   and only somebody else says that something is missing. What witnesses say at a size that was dismissed
   stops nothing any more.
4. ``ledger/database.json`` names the database server's identity and timeline. One that changed is believed
   only where what is kept outside shows that nothing is missing.
5. A database with other entries than those that were signed is no older state. Every entry that is there is
   compared, and the database's own tree with the one that was signed. No epoch is opened where that differs,
   where it cannot be told, or where the key that would sign is not here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interlock.gate import recovery as gate
from interlock.gate.recovery import Agreement, FalseAlarm, Gap, Loss, Opened, Outlook, Owed
from interlock.home.files import write_whole
from interlock.home.publisher import Publisher
from interlock.home.recovery_compared import same
from interlock.home.recovery_record import Record, Records
from interlock.identity import Caller
from interlock.identity.keyring import record_stopped
from interlock.journal import Journal
from interlock.journal.dismissals import NEVER, dismissals, last_dismissed
from interlock.journal.epochs import newest, opened_after
from interlock.journal.halt import Outlived, Stopped, Told
from interlock.journal.tables import SPAN
from interlock.ledger import Frontier
from interlock.model.errors import Conflict, HomeUnusable, RecoveryRequired

_log = logging.getLogger(__name__)


class Contradicted(Told):
    """A witness says so."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known while a home is in recovery.

    Attributes:
        found_at, last_at: when it was found, and the time of the newest entry there; microseconds UTC.
        digest: of the gap, which people agree to.
        same: whether the entries that are there are the ones that were signed; None where nothing tells.
        dismissal: digest of the false alarm that people may dismiss instead; None where they may not.
        against: why they may not; or empty.
        old_key: the new epoch would be signed with a key that was replaced in the part that is lost.
    """

    why: str
    found_at: int
    last_at: int
    gap: Gap
    digest: str
    same: bool | None
    outlook: Outlook
    dismissal: str | None
    against: str
    old_key: bool


class Recovery:
    """The recovery of one home.

    Args:
        folder: the home's ``ledger`` folder.

    Attributes:
        owed: what runs in the opening transaction, after everything else (see `gate/recovery.py`).
        afterwards: called when this process goes on in a new epoch.
    """

    def __init__(self, journal: Journal, publisher: Publisher, folder: Path) -> None:
        self._journal = journal
        self._publisher = publisher
        self._folder = folder
        self._records = Records(folder)
        self._required: RecoveryRequired | None = None
        self._compared: tuple[bytes, bool | None] | None = None
        """The root of the entries that were last compared with what was signed, and the answer."""
        self.owed: list[Owed] = []
        self.afterwards: list[Callable[[], object]] = []
        journal.on_stop(self._noticed)

    @property
    def required(self) -> RecoveryRequired | None:
        """Why nothing is written, as far as this process knows; None in ordinary life."""
        return self._required

    # --- finding out --------------------------------------------------------------------------------------

    def compare(self) -> RecoveryRequired | None:
        """When a home is opened: compare, and begin or end recovery; why it is required, or None.

        Raises:
            HomeUnusable: what is kept outside the database does not read, or the database cannot be asked.
        """
        self._publisher.signed()
        record = self._records.read()
        try:
            self._continues(record)
        except RecoveryRequired as why:
            self.begin(why)
            return self._required
        if record is not None:
            self._end(record)
        return None

    def _continues(self, record: Record | None) -> None:
        """Raises `RecoveryRequired` unless the database continues all that is known (rules 1, 3 and 4)."""
        size = self._journal.head()[0]
        if self._journal.stopped():
            raise Stopped("The database says that its ledger is being recovered.")
        if record is not None and not self._over(record):
            restored = not record.told and size >= record.seen
            if not restored:
                raise self._refusal(record)
        self._same_database()
        self._publisher.check()
        self._publisher.publish()

    def _same_database(self) -> None:
        path = self._folder / "database.json"
        identity = self._journal.database.identity()
        if identity is None:
            return
        try:
            known = json.loads(path.read_bytes())["identity"]
        except FileNotFoundError:
            known = None
        except (ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(
                f"{path} does not read: {error}.", fix="Restore it from its backup."
            ) from error
        if known == identity:
            return
        if known is not None:
            if not self._publisher.marked() and not self._publisher.signed()[0]:
                raise RecoveryRequired(
                    "The database is another one than before, and nothing here tells what it should have."
                )
            self._publisher.check()
            self._publisher.publish()
            _log.warning("the database changed from %s to %s, and is not behind", known, identity)
        write_whole(path, json.dumps({"identity": identity}).encode())

    def begin(self, why: RecoveryRequired, *, seen: int = 0) -> None:
        """Stop every host, durably, until a new epoch is opened.

        Args:
            seen: how many entries somebody else is known to have had.
        """
        if isinstance(why, Outlived):
            self._required = why  # the others go on: this process alone is behind
            _log.critical("this process writes nothing any more: %s", why)
            return
        record = self._note(why, seen)
        self._required = self._refusal(record)
        try:
            seen = max(self._publisher.signed()[0], self._publisher.marked())
            self._journal.halt(self._required, epoch=record.epoch, seen=seen)
        except HomeUnusable as error:
            _log.error("the other hosts could not be stopped: %s", error)
        _log.critical("nothing is written any more: %s", self._required)

    def contradicted(self, sentence: str, size: int) -> None:
        """A witness has cosigned `size` entries, and not of this history: this whole machine was put back.
        Unless people said before that this is a false alarm."""
        if isinstance(self._required, Outlived):
            return
        size = min(size, SPAN)  # more entries than any log has
        if size not in self._dismissed():
            self.begin(Contradicted(sentence), seen=size)

    def _dismissed(self) -> set[int]:
        """The numbers of entries that people dismissed in the epoch in force."""
        epoch = self._journal.look(newest)
        found = {each.seen for each in self._journal.look(dismissals) if each.epoch == epoch}
        return found | self._records.dismissed(epoch)

    def _noticed(self, why: RecoveryRequired) -> None:
        """The journal found it, or was told; it stopped everybody already."""
        record = self._note(why, 0)
        if self._required is None:
            self._required = self._refusal(record)
            _log.critical("nothing is written any more: %s", self._required)

    def stands(self) -> bool:
        """While it runs: whether recovery goes on; ends it here where an epoch was opened meanwhile.

        Raises:
            RecoveryRequired: it has to begin: another database may lack something.
            HomeUnusable: the database cannot be asked, or is not what was signed.
        """
        if isinstance(self._required, Outlived):
            return True
        if self._journal.stopped():
            if self._required is None:
                self.begin(Stopped("The database says that its ledger is being recovered."))
            return True
        if self._required is None and not self._records:
            self._same_database()
            return False
        record = self._records.read()
        if record is None or self._over(record):
            self._follow(record)
            return False
        self.begin(self._refusal(record))  # somebody put the flag back
        return True

    # --- ending -------------------------------------------------------------------------------------------

    def situation(self) -> Situation:
        """What is known. Raises `Conflict` where nothing is being recovered."""
        record = self._standing()
        gap = self._gap(record)
        if self._compared is None or self._compared[0] != gap.root:
            self._compared = gap.root, self._same(gap)  # it reads the whole log: once for many who look
        digest = gap.digest(self._journal.namespace)
        alarm = self._false_alarm(gap)
        against = self._against(record, alarm, self._compared[1])
        dismissal = None if against else alarm.digest(self._journal.namespace)
        chain = self._publisher.chain
        return Situation(
            record.why,
            record.found_at,
            self._journal.head()[2],
            gap,
            digest,
            self._compared[1],
            self._journal.look(partial(gate.outlook, digest=digest, dismissal=dismissal or "")),
            dismissal,
            against,
            chain.cut(gap.kept).current.key != chain.current.key,
        )

    def agree(self, caller: Caller, expected: str, reason: str, *, dismiss: bool = False) -> Agreement:
        """A person agrees to go on; the last one who has to opens the epoch, or dismisses the recovery.

        Raises:
            Conflict: nothing is being recovered, or it is no false alarm. RecoveryRequired: no epoch can be
                opened on this database. Forbidden, Changed, InvalidInput: as `gate.recovery.agree`.
        """
        record, loss = self._dismissible() if dismiss else self._openable()
        agreement = self._journal.recover(
            partial(gate.agree, caller=caller, loss=loss, expected=expected, reason=reason, owed=self._owed())
        )
        if agreement.opened is not None or agreement.dismissed:
            self._follow(record)
        return agreement

    def open_alone(self, expected: str, reason: str) -> Opened:
        """Open the epoch where nobody is enrolled; raises as `agree`."""
        record, gap = self._openable()
        opened = self._end_alone(gap, expected, reason)
        assert opened is not None
        self._follow(record)
        return opened

    def dismiss_alone(self, expected: str, reason: str) -> None:
        """Dismiss the recovery where nobody is enrolled; raises as `agree`."""
        record, alarm = self._dismissible()
        self._end_alone(alarm, expected, reason)
        self._follow(record)

    def _end_alone(self, loss: Loss, expected: str, reason: str) -> Opened | None:
        return self._journal.recover(
            partial(gate.end_alone, loss=loss, expected=expected, reason=reason, owed=self._owed())
        )

    def _owed(self) -> tuple[Owed, ...]:
        """What was done while the ledger was stopped, to be recorded now."""
        times = self._journal.times()
        return (partial(record_stopped, since=times.newest or times.last), *self.owed)

    def _standing(self) -> Record:
        record = self._records.read()
        if record is None or self._required is None:
            raise Conflict("The ledger is not being recovered.")
        return record

    def _openable(self) -> tuple[Record, Gap]:
        record = self._standing()
        gap = self._gap(record)
        self._publisher.check_key(gap.kept)
        same = self._same(gap)
        if same is None:
            raise RecoveryRequired(
                "Nothing here tells whether the database holds the entries that were signed.",
                fix=f"Restore the folder {self._folder / 'tile'}, or recover on another host.",
            )
        if not same:
            raise RecoveryRequired(
                "The database holds other entries than those that were signed; no epoch continues it.",
                fix="Restore an unaltered backup. See: interlock ledger recover",
            )
        return record, gap

    def _dismissible(self) -> tuple[Record, FalseAlarm]:
        record = self._standing()
        gap = self._gap(record)
        alarm = self._false_alarm(gap)
        against = self._against(record, alarm, self._same(gap))
        if against:
            raise Conflict(f"This is no false alarm: {against}", fix="Look: interlock ledger recover")
        return record, alarm

    def _against(self, record: Record, alarm: FalseAlarm, same: bool | None) -> str:
        """Why this is not to be dismissed; empty where only somebody else says that something is missing."""
        known = max(self._publisher.marked(), 0 if alarm.signed is None else alarm.signed[0])
        if record.own:
            return "this home itself knows of entries that the database has not."
        if alarm.signed is None:
            return "nothing was signed here that would tell what the database should have."
        if alarm.kept < known:
            return f"the database ends at entry {alarm.kept}; it once had {known}."
        if not same:
            return "nothing here shows that the database holds the entries that were signed."
        try:
            self._journal.look(partial(gate.check_alarm, loss=alarm))
        except Conflict as error:
            return error.detail
        return ""

    def _false_alarm(self, gap: Gap) -> FalseAlarm:
        number = self._journal.look(newest)
        return FalseAlarm(number, self._publisher.origin, gap.kept, gap.root, gap.signed, gap.seen)

    def _gap(self, record: Record) -> Gap:
        size, tree, _ = self._journal.head()
        opening = self._publisher.next_epoch(size)
        if opening.number <= max(record.epoch, self._journal.look(newest)):
            raise HomeUnusable(
                f"This host does not know the ledger's epoch {record.epoch}.",
                fix="Recover it on a host that had signed or followed it.",
            )
        signed = self._publisher.signed()
        return Gap(
            opening.number,
            opening.origin,
            opening.vkey,
            opening.previous,
            size,
            tree.root(),
            signed if signed[0] else None,
            record.seen,
        )

    def _same(self, gap: Gap) -> bool | None:
        """Whether the entries that are there are those that were signed (rule 5)."""
        return same(self._journal, self._publisher, gap.kept, gap.root)

    def _follow(self, record: Record | None) -> None:
        """Sign on, and put the record away."""
        if record is not None and not self._opened(record):
            self._publisher.check()  # it was dismissed: as ever, nothing may be missing
        self._journal.commit(lambda _tx: None)  # it may write again
        self._publisher.publish()
        self._same_database()
        if record is not None:
            self._end(record)
        self._required = None
        _log.warning("the ledger goes on as %s", self._publisher.origin)
        for each in self.afterwards:
            each()

    def _over(self, record: Record) -> bool:
        """Whether people ended it, in a way that counts for this home (rule 3)."""
        return self._opened(record) or self._was_dismissed(record)

    def _opened(self, record: Record) -> bool:
        return self._journal.look(partial(opened_after, number=record.epoch)) is not None

    def _was_dismissed(self, record: Record) -> bool:
        return not record.own and self._journal.look(last_dismissed) > record.dismissed

    # --- files --------------------------------------------------------------------------------------------

    def _refusal(self, record: Record) -> RecoveryRequired:
        fix = (
            "Put the newest database back, or open a new epoch of the ledger; see: "
            f"interlock ledger recover --home {self._folder.parent}"
        )
        kind = RecoveryRequired if record.own else Stopped if record.told else Contradicted
        return kind(record.why, fix=fix, extra={"kept": record.kept[0], "seen": record.seen})

    def _note(self, why: RecoveryRequired, seen: int) -> Record:
        """Write the record, or add to the one that is there."""
        signed, root = self._publisher.signed()
        try:
            size, tree, _ = self._journal.head()
        except HomeUnusable:
            size, tree = 0, Frontier.EMPTY  # it is away; what is known has to be kept all the same
        epoch = self._publisher.chain.current.epoch
        try:
            # What stands in the ledger by now ends nothing, though its row should turn up only later.
            dismissed = max(self._journal.look(last_dismissed), (epoch, size - 1))
        except HomeUnusable:
            dismissed = NEVER
        found = Record(
            why.detail,
            self._journal.clock.now(),
            epoch,
            max(seen, signed, self._publisher.marked()),
            isinstance(why, Stopped),
            not isinstance(why, Told),
            (signed, root.hex()),
            (size, tree.root().hex()),
            dismissed,
            (seen,) if isinstance(why, Contradicted) and seen else (),
        )
        return self._records.note(found)

    def _end(self, record: Record) -> None:
        """Put the record away, with the dismissal that ended it, if one did."""
        dismissed = not self._opened(record) and self._was_dismissed(record)
        self._records.end(record, self._journal.look(last_dismissed) if dismissed else None)
