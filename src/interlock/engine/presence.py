"""Presence: a file that a live process keeps locked, so that its neighbours know at once when it is dead.

A lease tells that only when it has lapsed. On one machine the kernel knows sooner: it releases a process's
locks when the process ends, whatever ended it, and not while it is merely stopped. So a service that is
killed and started anew goes on at once. Other machines see no file here and wait for the lease.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Presence:
    """The locked files of one folder, which must be on a local disk and of one machine.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def appear(self, name: str) -> None:
        """Hold the file of that name until `leave`, or until this process ends."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._held[name] = handle

    def gone(self, name: str) -> bool:
        """Whether a process of this machine held that file and is dead. False where that cannot be told."""
        if name in self._held:
            return False
        try:
            handle = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def leave(self, name: str) -> None:
        """Release a file and take it away; another process's, where that is gone."""
        (self._folder / name).unlink(missing_ok=True)
        handle = self._held.pop(name, None)
        if handle is not None:
            os.close(handle)
