"""Which subjects were erased, remembered outside the database: a restored backup brings their keys back.

1. ``ledger/erased`` of the home has a line for each destroyed key: the subject's id (a keyed hash) and the
   key's serial. Neither tells a name.
2. A key that stands there is not used, whatever the database holds. When a home opens, the key of such a
   subject is deleted again before anything is read.
3. What other hosts erased in a shared database is copied here when the home opens. A host that was not opened
   since, and is then restored together with its own old ``ledger`` folder, does not know of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.home.files import write_whole
from interlock.model.errors import HomeUnusable

_LINE = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{16})", re.ASCII)


class ErasedKeys:
    """The list of one home. Thread-safe, and safe for several processes.

    Args:
        file: where it stands; its folder is there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._seen: tuple[int, int] | None = None

    def __call__(self, subject: str, serial: bytes) -> bool:
        """Whether this key was destroyed."""
        return (subject, serial.hex()) in self.all()

    def all(self) -> frozenset[tuple[str, str]]:
        """Ids of subjects, each with a key's serial in hex. Raises `HomeUnusable` where it does not read."""
        with self._lock:
            try:
                found = self._file.stat()
            except FileNotFoundError:
                return self._known
            if (found.st_mtime_ns, found.st_ino) != self._seen:
                self._known |= self._read()
                self._seen = (found.st_mtime_ns, found.st_ino)
            return self._known

    def add(self, erased: Iterable[tuple[str, bytes]]) -> None:
        """Remember destroyed keys, durably."""
        new = frozenset((subject, serial.hex()) for subject, serial in erased)
        if new <= self.all():
            return
        with _alone(self._file.with_suffix(".lock")):
            known = self.all() | new
            write_whole(self._file, "".join(f"{a} {b}\n" for a, b in sorted(known)).encode())

    def _read(self) -> frozenset[tuple[str, str]]:
        lines = self._file.read_text(encoding="ascii", errors="replace").splitlines()
        found = [_LINE.fullmatch(line) for line in lines]
        if not all(found):
            raise HomeUnusable(
                f"{self._file} does not read.",
                fix="Restore it from a backup: it says which subjects must stay erased.",
            )
        return frozenset((line[1], line[2]) for line in found if line is not None)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
