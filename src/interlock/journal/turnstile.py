"""Several processes, one SQLite file, nobody starves.

SQLite's own lock is taken by whoever polls first, so a busy writer can keep another process out for
seconds. Before a write transaction each process passes two `flock` locks beside the database: take A, take B,
release A, write, release B. A process that waits for B holds A, so it is next; everybody else queues at A.

Inside one process the caller already holds the journal's own lock.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Turnstile:
    """A context manager around one write transaction. Not reentrant."""

    def __init__(self, database: Path) -> None:
        self._waiting = _open(database.with_name(f"{database.name}-turn-a"))
        self._writing = _open(database.with_name(f"{database.name}-turn-b"))

    def __enter__(self) -> None:
        fcntl.flock(self._waiting, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._writing, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._waiting, fcntl.LOCK_UN)

    def free(self) -> bool:
        """Whether nobody waits or writes at this moment: entering would probably not wait."""
        for lock in (self._waiting, self._writing):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            fcntl.flock(lock, fcntl.LOCK_UN)
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._writing, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._waiting)
        os.close(self._writing)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
