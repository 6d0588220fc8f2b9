"""The publisher: signs the ledger's head, writes its tiles, and remembers elsewhere what it signed.

1. Before signing, it extends the tree that this host signed or followed last by the entries since, and
   compares the result with the database's head. A head that is behind, or leads elsewhere, is never signed.
2. A round writes in this order, each durably: tiles; what is about to be published (``signed.json``); the row
   that tells other hosts; the file ``checkpoint``. Whatever a crash leaves out, the next round does: all of
   it follows from the entries, the keys and what was signed.
3. One process of a host publishes at a time, by a file lock, and of several hosts one, by a lease. The others
   follow: they take the published checkpoint if the log's key signed it and their own reading of the entries
   leads to it from what they know, write the same tiles, and show the same checkpoint. A host whose lease
   went to another while it signed shows nothing of its own.
4. The mark notes the ledger's length after each commit. A database shorter than the mark or than what was
   signed was put back, and is refused, unless a new epoch of the ledger was opened: that continues the
   entries which the restored database kept, and this host compares those with its own tiles.
5. Which key signs, the entries say (`publishing/chain.py`). A host without that key signs nothing.

Source: c2sp.org/tlog-tiles, c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from interlock.home.keystore import Keystore
from interlock.home.publishing import (
    ADVICE,
    Chain,
    KeyMissing,
    NoTiles,
    Rounds,
    begun_at,
    export,
    lost_tiles,
    renamed,
    rewritten,
    said_since,
    size_of,
    take_out,
)
from interlock.journal import Journal, Tx
from interlock.ledger import Frontier, Kind, checkpoint, leaf_hash
from interlock.model.errors import Conflict, HomeUnusable, InvalidInput, RecoveryRequired

PATIENCE_SEC = 7.0
"""How long somebody waits who needs what another host has yet to publish: a lease, and a little."""


class NextEpoch(NamedTuple):
    """The names for the ledger's next epoch, as its entry and its row carry them."""

    number: int
    origin: str
    vkey: str
    previous: str


class Publisher:
    """Publishes the ledger of one home.

    Args:
        folder: the home's ``ledger`` folder.

    Attributes:
        log: the log's name in its first epoch.
        tiles: the files below ``tile/``.
    """

    def __init__(self, journal: Journal, keystore: Keystore, folder: Path) -> None:
        self._journal = journal
        self._keys = keystore
        self._rounds = Rounds(journal, keystore, folder)
        self.log = keystore.origin
        self.tiles = self._rounds.tiles
        journal.on_commit(self._rounds.mark.note)

    def close(self) -> None:
        """Release the mark's file."""
        self._rounds.mark.close()

    # --- what is known --------------------------------------------------------------------------------------

    @property
    def chain(self) -> Chain:
        """The keys that signed the log and the one that does, as far as this host has read it."""
        return self._rounds.signed().chain

    @property
    def origin(self) -> str:
        """The log's name now."""
        return self.chain.current.name

    @property
    def vkey(self) -> str:
        """The verifier key in force. Strangers need one of the chain, by another way than the export."""
        return self.chain.current.vkey

    @property
    def first(self) -> int:
        """The number of the first entry that was not pruned."""
        return self.chain.first

    def signed(self) -> tuple[int, bytes]:
        """Size and root of what this host signed or followed last; of the empty tree where nothing was."""
        tree = self._rounds.signed().tree
        return tree.size, tree.root()

    def noted(self) -> Frontier:
        """What was there when another host was to sign it; empty where this host signed or followed it."""
        noted = self._rounds.noted()
        return noted if noted.size > self.signed()[0] else Frontier.EMPTY

    def root_at(self, size: int) -> bytes:
        """The root of the tree at an earlier size, from its tiles. Raises `InvalidInput` for a later one."""
        signed = self._rounds.signed().size
        if not 0 <= size <= signed:
            raise InvalidInput(f"{signed} entries are signed, and not {size}", path="size")
        try:
            return self.tiles.tree(size).root()
        except NoTiles as error:
            raise lost_tiles(error) from error

    def marked(self) -> int:
        """The longest ledger that a process of this home has seen committed."""
        return self._rounds.mark.read()

    def next_epoch(self, kept: int) -> NextEpoch:
        """What a new epoch would be called that continues the first `kept` entries. No number that this host
        knows is used again."""
        chain = self.chain
        number, last = chain.current.epoch + 1, chain.cut(kept).current
        origin = f"{self.log}/{number}"
        return NextEpoch(number, origin, renamed(last.vkey, origin), last.name)

    def check_key(self, kept: int) -> None:
        """Raises `KeyMissing` where a new epoch after the first `kept` entries could not be signed."""
        chain = self.chain.cut(kept)
        try:
            self._rounds.handovers.signer(chain)
        except KeyMissing as error:
            raise KeyMissing(
                f"A new epoch after {kept} entries is signed with the key of then, {chain.current.vkey}.",
                fix="Put its file back into the folder keystore, or restore a newer database.",
            ) from error

    def handover(self, number: int) -> str | None:
        """The note that carries the log over to key `number` + 1 of the chain; None where it is not here."""
        return self._rounds.handovers.read(number)

    def shown(self) -> str:
        """The checkpoint that is shown to strangers, empty where none is yet."""
        return self._rounds.shown()

    def check(self) -> None:
        """Raises `RecoveryRequired` where the database is shorter than it once was."""
        noted = self._rounds.mark.read()  # first: other processes commit, and note it, all the time
        size = self._journal.head()[0]
        if size < noted and self._rounds.lease.look(self.chain.current.epoch).opened is None:
            raise RecoveryRequired(f"The database ends at entry {size}; it once had {noted}.", fix=ADVICE)

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The leaf hashes of the entries from `start` to `stop`; of pruned ones, from their tiles.

        Raises:
            HomeUnusable: one of them is in neither.
        """
        first = self.first
        try:
            yield from self.tiles.leaves(start, min(first, stop))
        except NoTiles as error:
            raise lost_tiles(error) from error
        for body in self._journal.entries(max(start, first), stop):
            yield leaf_hash(body)

    # --- publishing -----------------------------------------------------------------------------------------

    def publish(self, *, patient: bool = False) -> str:
        """Publish what grew; returns the newest published checkpoint.

        Args:
            patient: where another host publishes, wait until it has published what is there now.

        Raises:
            RecoveryRequired: the database does not continue what was signed or followed.
            HomeUnusable: (or a subclass) nothing can be signed or followed.
        """
        wanted = self._journal.head()[0] if patient else 0
        give_up = time.monotonic() + PATIENCE_SEC
        while True:
            with self._rounds.alone():
                self._rounds.round()
                note = self._rounds.shown()
            if note and (size_of(note) >= wanted or time.monotonic() > give_up):
                return note
            if time.monotonic() > give_up:
                raise HomeUnusable("Another host publishes this ledger, and has published nothing yet.")
            time.sleep(0.2)

    # --- keeping it -----------------------------------------------------------------------------------------

    def rotate(self, by: str) -> tuple[str, str]:
        """Replace the key that signs; returns the verifier keys before and after.

        Args:
            by: who, for the record.

        Raises:
            HomeUnusable: as `publish`. Conflict: it is being replaced on another host.
        """
        with self._rounds.alone():
            state = self._rounds.round()
            self._rounds.handovers.signer(state.chain)
            before = state.chain.current
            after = self._keys.next(before.name)

            def replaced(tx: Tx) -> None:
                if said_since(tx, self._journal.start, state.size, Kind.LEDGER_KEY_ROTATED):
                    raise Conflict("The key is being replaced on another host.")
                tx.append(Kind.LEDGER_KEY_ROTATED, vkey=after.vkey, previous=before.vkey, by=by)

            self._journal.commit(replaced)
        self.publish(patient=True)
        return before.vkey, after.vkey

    def prune(self, before: int, by: str) -> int:
        """Take the entries before a number out of the database, and their bundles off the disk; their hashes
        stay. Repeated, it goes on where it was interrupted.

        Args:
            before: rounded down to where a bundle begins.
            by: who, for the record.

        Returns:
            The number of the first entry that is left.

        Raises:
            InvalidInput: so many entries were not published. RecoveryRequired: they are not what was signed.
            HomeUnusable: as `publish`.
        """
        before = begun_at(before)
        with self._rounds.alone():
            state = self._rounds.round()
            if not 0 <= before <= size_of(self._rounds.shown()):
                raise InvalidInput(f"{size_of(self._rounds.shown())} entries are published", path="--before")
            if before > state.chain.first:
                self._rounds.rebuild(state)  # what will be all that is left of them
                self._journal.commit(lambda tx: tx.append(Kind.LEDGER_PRUNED, before=before, by=by))
        self.publish(patient=True)
        first = self.first
        if first < before:
            raise HomeUnusable("Another host has yet to publish this.", fix="Run the command again.")
        take_out(self._journal, first)
        return first

    # --- for strangers --------------------------------------------------------------------------------------

    def checkpoint_at(self, size: int) -> str:
        """A signed checkpoint of an earlier size, after checking that what was signed last continues it.

        Raises:
            InvalidInput: that many entries were never signed. RecoveryRequired: as `publish`.
        """
        self.publish()
        with self._rounds.alone():
            state = self._rounds.signed()
            if not 0 <= size <= state.size:
                raise InvalidInput(f"{state.size} entries are signed, and not {size}", path="size")
            tree = Frontier.EMPTY.appended(self.leaves(0, size))
            if tree.appended(self.leaves(size, state.size)) != state.tree:
                raise rewritten(state.size)
            if tree == state.tree:
                return state.note
            text = checkpoint(state.chain.current.name, size, tree.root())
            return self._rounds.handovers.signed(text, state.chain, self._journal.clock.now())

    def export(
        self,
        directory: Path,
        note: str | None = None,
        *,
        first: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write a static tree that verifiers read (C2SP layout); returns the number of entries of the log.

        Args:
            note: the signed checkpoint to export, with its cosignatures; the newest by default.
            first: leave out the bundles wholly before this entry, and those that were pruned.
            progress: told now and then how many entries were written, and of how many.

        Raises:
            InvalidInput: the directory exists and is not empty, or the log has no entry `first`.
            RecoveryRequired: as `publish`.
        """
        if directory.exists() and any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty", path="DIR", fix="Name a new directory.")
        note = self.publish(patient=True) if note is None else note
        size, chain = size_of(note), self.chain
        if first and not 0 <= first < size:
            raise InvalidInput(f"the log has {size} entries", path="--from")
        if size < chain.first:
            raise InvalidInput(f"entries before {chain.first} were pruned", path="--to")
        begin = begun_at(max(first, chain.first))
        try:
            export(
                self._journal,
                self.tiles,
                directory,
                pruned=chain.first,
                first=begin,
                size=size,
                progress=progress,
            )
        except NoTiles as error:
            raise lost_tiles(error) from error
        links = chain.cut(size)
        notes = self._rounds.handovers.all(links)
        if notes:
            (directory / "handovers").mkdir()
        for number, handover in enumerate(notes):
            (directory / "handovers" / f"{number:03d}").write_text(handover, encoding="utf-8")
        (directory / "vkey").write_text(f"{chain.current.vkey}\n", encoding="utf-8")
        (directory / "checkpoint").write_text(note, encoding="utf-8")
        return size
