"""What is kept of a recovery outside the database: ``recovery.json``, and ``recovered/`` when it is over.

1. One record at a time, whatever else is found meanwhile: numbers only grow, and what this home knows itself
   outweighs what it was told.
2. Records that are over are kept as they were, with how they ended, and numbered.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from interlock.home.files import write_whole
from interlock.journal.dismissals import Place
from interlock.model.errors import HomeUnusable

_DISMISSED = "dismissed"
_CLAIMED = 64
"""How many of the sizes that witnesses named a record keeps."""


@dataclass(frozen=True, slots=True)
class Record:
    """What ``recovery.json`` says.

    Attributes:
        why: a sentence. found_at: microseconds UTC.
        epoch: the newest epoch known when it was found; a later one ends it.
        seen: how many entries somebody is known to have had.
        told: this home was only told, by the database, and knows of nothing that is missing.
        own: this home itself knows of something that is missing; then nobody can dismiss it.
        signed, kept: entries and root (hexadecimal) of what was signed, and of what the database had then.
        dismissed: the end of the ledger when it was found; a dismissal that stands further on ends it.
        claimed: the numbers of entries that witnesses named.
        ended: how it ended, in ``recovered/``.
    """

    why: str
    found_at: int
    epoch: int
    seen: int
    told: bool
    own: bool
    signed: tuple[int, str]
    kept: tuple[int, str]
    dismissed: Place
    claimed: tuple[int, ...] = ()
    ended: str = ""

    def joined(self, found: Record) -> Record:
        """This record, with what was found since (rule 1)."""
        return replace(
            self,
            epoch=max(self.epoch, found.epoch),
            seen=max(self.seen, found.seen),
            told=self.told and found.told,
            own=self.own or found.own,
            claimed=tuple(sorted({*self.claimed, *found.claimed}))[-_CLAIMED:],
        )


class Records:
    """The records of one home. Several processes may use them.

    Args:
        folder: the home's ``ledger`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "recovery.json"

    def __bool__(self) -> bool:
        """Whether a recovery goes on, as far as the file says."""
        return self._file.exists()

    def read(self) -> Record | None:
        """The record; None where there is none. Raises `HomeUnusable` where it does not read."""
        return _read(self._file)

    def note(self, found: Record) -> Record:
        """Write the record, or add to the one that is there; returns what is there then."""
        with self._alone():
            record = self.read()
            if record is not None:
                found = record.joined(found)
            if found != record:
                write_whole(self._file, json.dumps(asdict(found)).encode())
            return found

    def end(self, record: Record, dismissed: Place | None) -> None:
        """Put the record away; another process of this home may have been faster.

        Args:
            dismissed: the dismissal that ended it, if one did.
        """
        aside = self._folder / "recovered"
        aside.mkdir(mode=0o700, exist_ok=True)
        with self._alone():
            if self.read() != record:
                return
            path = aside / f"{sum(1 for _ in aside.glob('*.json')) + 1:03}.json"
            if dismissed is None:
                self._file.rename(path)
                return
            over = replace(record, dismissed=dismissed, ended=_DISMISSED)
            write_whole(path, json.dumps(asdict(over)).encode())
            self._file.unlink()

    def dismissed(self, epoch: int) -> set[int]:
        """The numbers of entries that witnesses named, and people dismissed in that epoch of the ledger."""
        found: set[int] = set()
        for path in sorted((self._folder / "recovered").glob("*.json")):
            record = _read(path)
            if record is not None and record.ended == _DISMISSED and record.dismissed[0] == epoch:
                found.update(record.claimed)
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self._folder / "recovering", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _read(path: Path) -> Record | None:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        for name in ("signed", "kept", "dismissed", "claimed"):
            said[name] = tuple(said[name])
        return Record(**said)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise HomeUnusable(f"{path} does not read: {error}.", fix="Restore it from its backup.") from error
