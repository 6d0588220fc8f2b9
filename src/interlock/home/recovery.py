"""Recovery: what a home does when its database lacks what was signed, noted or witnessed before.

1. A home compares the database with what stands outside of it, when it is opened and as long as it runs: what
   was signed or followed last, the mark, which database it was, and what witnesses have cosigned. A database
   that is behind, or leads elsewhere, may have lost claims: whatever it calls allowed may have run.
2. What is found is kept in ``ledger/recovery.json``, durably, and in the database, so that every host stops.
   Neither of them alone ends it.
3. It ends where a later epoch stands in the database (`gate/recovery.py`): the publisher follows it and hands
   the log over, then the file is moved to ``ledger/recovered/``. Or where the newest database was put back:
   one that has everything that is known to have been there. A home that was only told to stop cannot know.
4. ``ledger/database.json`` names the database server's identity and timeline. One that changed is believed
   only where what is kept outside shows that nothing is missing.
5. A database with other entries than those that were signed is no older state. No epoch is opened on it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

from interlock.gate import recovery as gate
from interlock.gate.recovery import Agreement, Gap, Opened, Outlook, Owed
from interlock.home.files import write_whole
from interlock.home.publisher import Publisher
from interlock.home.publishing import NoTiles
from interlock.identity import Caller
from interlock.identity.keyring import record_stopped
from interlock.journal import Journal
from interlock.journal.epochs import Epoch, newest, opened_after
from interlock.journal.halt import Outlived, Stopped
from interlock.ledger import Frontier, leaf_hash
from interlock.model.errors import Conflict, HomeUnusable, RecoveryRequired

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """What ``recovery.json`` says.

    Attributes:
        why: a sentence. found_at: microseconds UTC.
        epoch: the newest epoch known when it was found; a later one ends it.
        seen: how many entries somebody is known to have had.
        told: this home was only told, by the database, and knows of nothing that is missing.
        signed, kept: entries and root (hexadecimal) of what was signed, and of what the database had then.
    """

    why: str
    found_at: int
    epoch: int
    seen: int
    told: bool
    signed: tuple[int, str]
    kept: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known while a home is in recovery.

    Attributes:
        found_at, last_at: when it was found, and the time of the newest entry there; microseconds UTC.
        digest: of the gap, which people agree to.
        same: whether the entries that are there are the ones that were signed; None where nothing tells.
    """

    why: str
    found_at: int
    last_at: int
    gap: Gap
    digest: str
    same: bool | None
    outlook: Outlook


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
        self._file = folder / "recovery.json"
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
        record = self._read()
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
        if record is not None and self._opened_after(record.epoch) is None:
            restored = not record.told and size >= record.seen
            if not restored:
                raise RecoveryRequired(record.why)
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
            self._journal.halt(self._required, epoch=record.epoch)
        except HomeUnusable as error:
            _log.error("the other hosts could not be stopped: %s", error)
        _log.critical("nothing is written any more: %s", self._required)

    def contradicted(self, sentence: str, size: int) -> None:
        """A witness has cosigned `size` entries, and not of this history: this whole machine was put back."""
        if self._required is None:
            self.begin(RecoveryRequired(sentence), seen=size)

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
        if self._required is None and not self._file.exists():
            self._same_database()
            return False
        record = self._read()
        if record is None or self._opened_after(record.epoch) is not None:
            self._follow(record)
            return False
        self.begin(RecoveryRequired(record.why))  # somebody put the flag back
        return True

    # --- ending -------------------------------------------------------------------------------------------

    def situation(self) -> Situation:
        """What is known. Raises `Conflict` where nothing is being recovered."""
        record = self._standing()
        gap = self._gap(record)
        if self._compared is None or self._compared[0] != gap.root:
            self._compared = gap.root, self._same(gap.kept)  # it reads the whole log: once for many who look
        digest = gap.digest(self._journal.namespace)
        return Situation(
            record.why,
            record.found_at,
            self._journal.head()[2],
            gap,
            digest,
            self._compared[1],
            self._journal.look(partial(gate.outlook, digest=digest)),
        )

    def agree(self, caller: Caller, expected: str, reason: str) -> Agreement:
        """A person agrees to what is lost; the last one who has to opens the epoch.

        Raises:
            Conflict: nothing is being recovered. RecoveryRequired: no epoch can be opened on this database.
            Forbidden, Changed, InvalidInput: as `gate.recovery.agree`.
        """
        record, gap = self._openable()
        agreement = self._journal.recover(
            partial(gate.agree, caller=caller, gap=gap, expected=expected, reason=reason, owed=self._owed())
        )
        if agreement.opened is not None:
            self._follow(record)
        return agreement

    def open_alone(self, expected: str, reason: str) -> Opened:
        """Open the epoch where nobody is enrolled; raises as `agree`."""
        record, gap = self._openable()
        opened = self._journal.recover(
            partial(gate.open_alone, gap=gap, expected=expected, reason=reason, owed=self._owed())
        )
        self._follow(record)
        return opened

    def _owed(self) -> tuple[Owed, ...]:
        """What was done while the ledger was stopped, to be recorded now."""
        return (partial(record_stopped, since=self._journal.head()[2]), *self.owed)

    def _standing(self) -> Record:
        record = self._read()
        if record is None or self._required is None:
            raise Conflict("The ledger is not being recovered.")
        return record

    def _openable(self) -> tuple[Record, Gap]:
        record = self._standing()
        gap = self._gap(record)
        same = self._same(gap.kept)
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

    def _same(self, kept: int) -> bool | None:
        """Whether the database's first entries are those that were signed, as far as can be told (rule 5)."""
        size, root = self._publisher.signed()
        first = min(self._publisher.first, kept)
        try:
            if kept >= size:
                return Frontier.EMPTY.appended(self._publisher.leaves(0, size)).root() == root
            tiles = self._publisher.tiles
            tree = tiles.tree(kept)
            if tree.appended(tiles.leaves(kept, size)).root() != root:
                return None  # these tiles are not what was signed
            theirs = map(leaf_hash, self._journal.entries(first, kept))
            return all(map(eq, tiles.leaves(first, kept), theirs))
        except NoTiles:
            return None

    def _follow(self, record: Record | None) -> None:
        """Sign on in the new epoch, and put the record away."""
        self._journal.commit(lambda _tx: None)  # it may write again: the epoch stands
        self._publisher.publish()
        self._same_database()
        if record is not None:
            self._end(record)
        self._required = None
        _log.warning("the ledger goes on as %s", self._publisher.origin)
        for each in self.afterwards:
            each()

    def _opened_after(self, number: int) -> Epoch | None:
        return self._journal.look(partial(opened_after, number=number))

    # --- files --------------------------------------------------------------------------------------------

    def _refusal(self, record: Record) -> RecoveryRequired:
        fix = (
            "Put the newest database back, or open a new epoch of the ledger; see: "
            f"interlock ledger recover --home {self._folder.parent}"
        )
        return RecoveryRequired(record.why, fix=fix, extra={"kept": record.kept[0], "seen": record.seen})

    def _note(self, why: RecoveryRequired, seen: int) -> Record:
        """Write the record, or add to the one that is there."""
        signed, root = self._publisher.signed()
        try:
            size, tree, _ = self._journal.head()
        except HomeUnusable:
            size, tree = 0, Frontier.EMPTY  # it is away; what is known has to be kept all the same
        found = Record(
            why.detail,
            self._journal.clock.now(),
            self._publisher.chain.current.epoch,
            max(seen, signed, self._publisher.marked()),
            isinstance(why, Stopped),
            (signed, root.hex()),
            (size, tree.root().hex()),
        )
        with self._alone():
            record = self._read()
            if record is not None:
                found = replace(
                    record,
                    epoch=max(record.epoch, found.epoch),
                    seen=max(record.seen, found.seen),
                    told=record.told and found.told,
                )
            if found != record:
                write_whole(self._file, json.dumps(asdict(found)).encode())
            return found

    def _read(self) -> Record | None:
        try:
            said: dict[str, Any] = json.loads(self._file.read_bytes())
            said["signed"], said["kept"] = tuple(said["signed"]), tuple(said["kept"])
            return Record(**said)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(
                f"{self._file} does not read: {error}.", fix="Restore it from its backup."
            ) from error

    def _end(self, record: Record) -> None:
        """Put the record away; another process of this home may have been faster."""
        aside = self._folder / "recovered"
        aside.mkdir(mode=0o700, exist_ok=True)
        with self._alone():
            if self._read() != record:
                return
            number = sum(1 for _ in aside.iterdir()) + 1
            self._file.rename(aside / f"{number:03}.json")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self._folder / "recovering", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
