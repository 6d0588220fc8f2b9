"""The publisher: signs the ledger's head, and remembers outside the database what it signed.

1. Before signing, it extends the tree it signed last by the entries since, and compares the result with the
   database's head. A head that is behind, or leads elsewhere, is never signed.
2. Each commit's ledger size is noted outside the database as well, without waiting for the disk: a database
   put back after a crash is shorter than that mark even where nothing newer had been signed.
3. What was signed (size, frontier, checkpoint) stands in ``ledger/`` of the home, written atomically. It is
   what tells a restored or rewritten database from the real one.
4. One process publishes at a time, by a file lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.home.files import write_whole
from interlock.journal import Journal
from interlock.ledger import Frontier, Signer, TileFile, TileWriter, checkpoint, leaf_hash
from interlock.model.errors import InvalidInput, RecoveryRequired

_ADVICE = (
    "Nothing was claimed and nothing is signed. Restore the newest database, or move this home aside; "
    "every action that could have run since must be checked by a person."
)


class Publisher:
    """Signs checkpoints for one home.

    Args:
        folder: the home's ``ledger`` folder.
    """

    def __init__(self, journal: Journal, signer: Signer, origin: str, folder: Path) -> None:
        self._journal = journal
        self._signer = signer
        self.origin = origin
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self._mark = os.open(folder / "mark", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        journal.on_commit(self._note)

    def close(self) -> None:
        """Release the mark's file."""
        os.close(self._mark)

    def check(self) -> None:
        """Raises `RecoveryRequired` where the database is shorter than it once was."""
        noted = os.pread(self._mark, 8, 0)
        size = self._journal.head()[0]
        if len(noted) == 8 and size < int.from_bytes(noted):
            raise RecoveryRequired(
                f"The database ends at entry {size}; it once had {int.from_bytes(noted)}.", fix=_ADVICE
            )

    def _note(self, size: int) -> None:
        os.pwrite(self._mark, size.to_bytes(8), 0)

    def publish(self) -> str:
        """Sign the head if it grew; returns the newest signed checkpoint.

        Raises:
            RecoveryRequired: the database does not continue what was signed.
        """
        with self._alone():
            signed, frontier = self._last()
            size, head, _ = self._journal.head()
            if signed is not None and frontier == head:
                return signed
            if size < frontier.size:
                raise RecoveryRequired(
                    f"The database ends at entry {size}; {frontier.size} were signed.", fix=_ADVICE
                )
            grown = frontier.appended(leaf_hash(body) for body in self._journal.entries(frontier.size, size))
            if grown != head:
                raise RecoveryRequired(
                    f"The database's head at {size} does not continue what was signed at {frontier.size}.",
                    fix=_ADVICE,
                )
            note = self._signer.sign(checkpoint(self.origin, head.size, head.root()))
            state = {"size": size, "frontier": head.to_bytes().hex(), "checkpoint": note}
            write_whole(self._folder / "signed.json", json.dumps(state).encode())
            write_whole(self._folder / "checkpoint", note.encode())
            return note

    def checkpoint_at(self, size: int) -> str:
        """A signed checkpoint of an earlier size, after checking that what was signed last continues it.

        Raises:
            InvalidInput: that many entries were never signed. RecoveryRequired: as `publish`.
        """
        self.publish()
        with self._alone():
            note, signed = self._last()
            if not 0 <= size <= signed.size:
                raise InvalidInput(f"{signed.size} entries are signed, and not {size}", path="size")
            tree = Frontier.EMPTY.appended(leaf_hash(body) for body in self._journal.entries(0, size))
            rest = (leaf_hash(body) for body in self._journal.entries(size, signed.size))
            if tree.appended(rest) != signed:
                raise RecoveryRequired(
                    f"The database's first {signed.size} entries are not those that were signed.", fix=_ADVICE
                )
            if note is not None and tree == signed:
                return note
            return self._signer.sign(checkpoint(self.origin, size, tree.root()))

    def export(self, directory: Path, note: str | None = None) -> int:
        """Write a static tree that verifiers read (C2SP layout); returns the number of entries.

        Args:
            note: the signed checkpoint to export, with its cosignatures; the newest by default.

        Raises:
            InvalidInput: the directory exists and is not empty.
            RecoveryRequired: as `publish`.
        """
        if directory.exists() and any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty", path="DIR", fix="Name a new directory.")
        note = self.publish() if note is None else note
        size = int(note.split("\n", 2)[1])
        directory.mkdir(parents=True, exist_ok=True)
        writer = TileWriter()
        for body in self._journal.entries(0, size):
            _write(directory, writer.add(body))
        _write(directory, writer.partials())
        (directory / "vkey").write_text(self._signer.vkey + "\n", encoding="utf-8")
        (directory / "checkpoint").write_text(note, encoding="utf-8")
        return size

    @property
    def vkey(self) -> str:
        """The verifier key strangers need; give it to them by another way than the export."""
        return self._signer.vkey

    def _last(self) -> tuple[str | None, Frontier]:
        try:
            state = json.loads((self._folder / "signed.json").read_bytes())
            return state["checkpoint"], Frontier.from_bytes(state["size"], bytes.fromhex(state["frontier"]))
        except FileNotFoundError:
            return None, Frontier.EMPTY
        except (ValueError, KeyError, TypeError) as error:
            raise RecoveryRequired(
                f"{self._folder / 'signed.json'} does not read: {error}.", fix="Restore it from its backup."
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _write(directory: Path, files: Iterable[TileFile]) -> None:
    for path, content in files:
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
