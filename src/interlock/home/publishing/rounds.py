"""One turn of publishing: look at the database, sign or follow what is there, write its tiles, show it.

The rules stand in `interlock.home.publisher`; this is where they are kept.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from interlock.home.files import write_whole
from interlock.home.keystore import Keystore
from interlock.home.publishing.chain import MARKER, Chain
from interlock.home.publishing.export import begun_at
from interlock.home.publishing.handover import Handovers
from interlock.home.publishing.lease import Lease, Seen, host_of
from interlock.home.publishing.rows import least
from interlock.home.publishing.signed import Mark, Signed, read_noted, write_noted
from interlock.home.publishing.tiles import NoTiles, TileFolder
from interlock.journal import Journal
from interlock.journal.epochs import FIRST
from interlock.ledger import Frontier, TileFile, TileWriter, checkpoint, leaf_hash, signed_by
from interlock.model.errors import HomeUnusable, RecoveryRequired, Tampered

ADVICE = (
    "Nothing was claimed and nothing is signed. Restore the newest database, or move this home aside; "
    "every action that could have run since must be checked by a person."
)
"""What to do about a database that is behind."""


class Rounds:
    """What one host does in turns, whichever of its processes has the turn.

    Args:
        folder: the home's ``ledger`` folder.

    Attributes:
        mark, lease, handovers, tiles: the parts.
    """

    def __init__(self, journal: Journal, keystore: Keystore, folder: Path) -> None:
        self._journal = journal
        self._keys = keystore
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self.mark = Mark(folder)
        self.lease = Lease(journal, host_of(folder))
        self.handovers = Handovers(folder, keystore)
        self.tiles = TileFolder(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The turn: one process of this host at a time."""
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def signed(self) -> Signed:
        """What this host signed or followed last."""
        return Signed.read(self._folder, self._keys.signer.vkey)

    def shown(self) -> str:
        """The checkpoint that is shown to strangers, empty where none is yet."""
        try:
            return (self._folder / "checkpoint").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def round(self) -> Signed:
        """One turn; whoever calls is `alone`. Returns what is signed or followed now."""
        known = self.signed()
        seen = self.lease.look(known.chain.current.epoch)
        size, head, _ = self._journal.head()
        state = self._at_epoch(known, seen)
        if size < state.size:
            raise RecoveryRequired(
                f"The database ends at entry {size}; {state.size} were signed.", fix=ADVICE
            )
        if size == state.size and head != state.tree:
            raise _elsewhere(size, state.size)
        epoch = state.chain.current.epoch
        if epoch != FIRST and all(each.number != epoch for each in seen.epochs):
            raise Tampered(f"The row of the ledger's epoch {epoch} is missing from the database.")
        if seen.opened is None:
            self._continues_noted(head)
        if seen.checkpoint != state.note and size_of(seen.checkpoint) >= state.size:
            state = self._follow(state, seen, size)
        published = bool(state.note) and seen.checkpoint == state.note
        if not seen.taken and (size > state.size or not published):
            state, published = self._sign(state, head, seen)
        if published:
            self._finish(known, state)
        if state.size < size:
            # Whoever has the lease may never sign it: what is here now is what it has to be.
            write_noted(self._folder, head, state.chain.current.epoch)
        return state

    def noted(self) -> Frontier:
        """What was there and could not be signed here; never more than that."""
        return read_noted(self._folder, self.signed().chain.current.epoch)

    def _continues_noted(self, head: Frontier) -> None:
        """Raises `RecoveryRequired` where the head does not continue what could not be signed before."""
        noted = self.noted()
        if noted.size > head.size:
            raise RecoveryRequired(
                f"The database ends at entry {head.size}; it once had {noted.size}.", fix=ADVICE
            )
        entries = self._journal.entries(noted.size, head.size) if noted.size > self.signed().size else ()
        if entries and noted.appended(map(leaf_hash, entries)) != head:
            raise _elsewhere(head.size, noted.size)

    def _sign(self, state: Signed, head: Frontier, seen: Seen) -> tuple[Signed, bool]:
        """Sign the head and publish it; false where another host was faster."""
        tree, chain = self._grown(state, head.size, seen)
        if tree != head:
            raise _elsewhere(head.size, state.size)
        text = checkpoint(chain.current.name, head.size, head.root())
        self.handovers.signer(chain)  # a host without the key leaves the lease to the others
        number = seen.number if seen.mine else self.lease.take()
        if number is None:
            return state, False
        note = self.handovers.signed(text, chain, self._journal.clock.now())
        signed = self._kept(state, tree, note, chain)
        return signed, self.lease.publish(number, signed.size, signed.note)

    def _follow(self, state: Signed, seen: Seen, size: int) -> Signed:
        """Take the checkpoint that another host published; where nobody signed that, what is known stays."""
        note = seen.checkpoint
        if size_of(note) > size:
            if any(signed_by(note, link.vkey) for link in state.chain.links):
                raise RecoveryRequired(
                    f"The database ends at entry {size}; another host signed {size_of(note)}.", fix=ADVICE
                )
        else:
            tree, chain = self._grown(state, size_of(note), seen)
            if signed_by(note, chain.current.vkey):
                text = checkpoint(chain.current.name, tree.size, tree.root())
                if note[: note.rindex("\n\n") + 1] != text:
                    raise _elsewhere(tree.size, state.size)
                return self._kept(state, tree, note, chain)
        if seen.taken:
            raise HomeUnusable(
                "The published checkpoint in the database is not signed with the ledger's key.",
                fix="Whoever publishes replaces it. If it stays, find out what writes there.",
            )
        return state

    def _kept(self, before: Signed, tree: Frontier, note: str, chain: Chain) -> Signed:
        """Remember what is signed or followed now."""
        if chain.current.epoch > before.chain.current.epoch:
            self.mark.begin(tree.size)
        state = Signed(tree, note, replace(chain, guessed=False))
        state.write(self._folder)
        return state

    def _grown(self, state: Signed, size: int, seen: Seen) -> tuple[Frontier, Chain]:
        """Tree and chain at that size, from the entries; their tiles are written on the way."""
        writer, chain = self._tiled(state), state.chain

        def files() -> Iterator[TileFile]:
            nonlocal chain
            for number, body in enumerate(self._journal.entries(state.size, size), state.size):
                yield from writer.add(body)
                if MARKER in body:
                    chain = chain.heed(number, body, seen.epochs)
            yield from writer.partials()

        try:
            self.tiles.write(files())
        except Tampered as error:
            if state.size < (least(self._journal) or 0):
                raise HomeUnusable(
                    "Entries of this ledger were pruned before this host had read them.",
                    fix="Copy the folder ledger of another host of this home here, without its file host.",
                ) from error
            raise
        return writer.frontier(), chain

    def _tiled(self, state: Signed) -> TileWriter:
        """A writer after what was signed last, from its tiles; tiles that were lost are made anew."""
        try:
            writer = self.tiles.writer(state.size)
            if writer.frontier() == state.tree:
                return writer
        except NoTiles:
            pass  # made anew
        return self.rebuild(state)

    def rebuild(self, state: Signed) -> TileWriter:
        """Make the tiles of what was signed last anew, from the entries that were not pruned; a writer after
        them.

        Raises:
            RecoveryRequired: the entries are not what was signed. HomeUnusable: pruned hashes are lost.
        """
        first = state.chain.first
        try:
            writer = self.tiles.writer(first)
        except NoTiles as error:
            raise lost_tiles(error) from error

        def files() -> Iterator[TileFile]:
            for body in self._journal.entries(first, state.size):
                yield from writer.add(body)
            yield from writer.partials()

        self.tiles.write(files())
        if writer.frontier() != state.tree:
            raise rewritten(state.size)
        return writer

    def _finish(self, before: Signed, state: Signed) -> None:
        """Show what was published; and what a crash may have left undone, and what only time brings."""
        chain = state.chain
        if not self.tiles.whole(state.size):
            self.rebuild(state)
        self.tiles.tidy(min(before.size, state.size), state.size)
        self.handovers.settle(state, self.tiles, self._journal.clock.now())
        if not self._holds("first", f"{chain.first}\n"):
            self.tiles.forget_bundles(0, chain.first)
        for name, content in (
            ("first", f"{chain.first}\n"),
            ("vkey", f"{chain.current.vkey}\n"),
            ("checkpoint", state.note),
        ):
            if not self._holds(name, content):
                write_whole(self._folder / name, content.encode())

    def _holds(self, name: str, content: str) -> bool:
        path = self._folder / name
        return path.exists() and path.read_bytes() == content.encode()

    def _at_epoch(self, state: Signed, seen: Seen) -> Signed:
        """What was signed, as far as a new epoch of the ledger continues it."""
        if state.stale:
            state = self._cut(state)
        if seen.opened is None:
            return state
        known = state.chain.current.epoch
        kept = min(epoch.kept for epoch in seen.epochs if epoch.number > known)
        if kept >= state.size:
            return state
        try:
            tree = self.tiles.tree(kept)
            if tree.appended(self.tiles.leaves(kept, state.size)) != state.tree:
                raise NoTiles("what they hold is not what was signed")
            first = begun_at(least(self._journal) or 0)  # the pruning may be lost, too
            mine = self.tiles.leaves(first, kept)
            theirs = map(leaf_hash, self._journal.entries(first, kept))
            for number, (signed, found) in enumerate(zip(mine, theirs, strict=True), first):
                if signed != found:
                    raise RecoveryRequired(
                        f"The new epoch keeps {kept} entries; entry {number} is not the one that was signed.",
                        fix=ADVICE,
                    )
        except NoTiles as error:
            raise HomeUnusable(
                f"These tiles do not tell whether the new epoch continues what was signed: {error}.",
                fix="Restore the folder ledger/tile of this home.",
            ) from error
        aside, chain = self._folder / "lost" / str(known), replace(state.chain.cut(kept), first=first)
        self.tiles.set_aside(kept, state.size, aside)
        write_whole(aside / "checkpoint", state.note.encode())
        self.handovers.set_aside(state.chain, chain, aside)
        rest = Signed(tree, "", chain, stale=state.size)
        rest.write(self._folder)
        return self._cut(rest)

    def _cut(self, state: Signed) -> Signed:
        """Remove the tiles of a history that was lost."""
        self.rebuild(state)
        self.tiles.cut(state.size, state.stale)
        done = replace(state, stale=0)
        done.write(self._folder)
        return done


def size_of(note: object) -> int:
    """How many entries a checkpoint is of; -1 where it is none, or, as SQLite lets anybody write, no text."""
    if not isinstance(note, str):
        return -1
    line = note.split("\n", 2)[1:2]
    return int(line[0]) if line and line[0].isascii() and line[0].isdigit() and len(line[0]) < 19 else -1


def _elsewhere(size: int, signed: int) -> RecoveryRequired:
    return RecoveryRequired(
        f"The database's head at {size} does not continue what was signed at {signed}.", fix=ADVICE
    )


def rewritten(size: int) -> RecoveryRequired:
    """The error for a database that does not begin with what was signed."""
    return RecoveryRequired(
        f"The database's first {size} entries are not those that were signed.", fix=ADVICE
    )


def lost_tiles(error: NoTiles) -> HomeUnusable:
    """The error for hashes that are nowhere any more."""
    return HomeUnusable(
        f"Entries were pruned, and the tiles that stand for them are not here: {error}.",
        fix="Copy the folder ledger/tile of another host, or `tile` of an export, to ledger/tile.",
    )
