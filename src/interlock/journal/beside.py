"""Reading a database's file beside SQLite.

SQLite's locks belong to a process and a file, and the system drops all of them as soon as the process closes
any descriptor of that file (POSIX, `fcntl`). The next process that closes the database then believes that it
is the last one, and deletes the log that this one goes on writing to. So whoever wants to see the bytes opens
the file once in the life of the process, and never closes it.

Source: "How To Corrupt An SQLite Database File", section 2.2, sqlite.org.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_PIECE = 1 << 20
_lock = threading.Lock()
_kept: dict[tuple[int, int], int] = {}
"""Descriptors by device and inode: a file that took another's place is another file."""


def make(path: Path) -> None:
    """Make an empty file, for its user alone, where there is none; leave it untouched where there is one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return


def contains(path: Path, content: bytes) -> bool:
    """Whether a database's file holds these bytes. False where there is no file."""
    try:
        return _holds(_handle(path), content)
    except FileNotFoundError:
        return False


def log_contains(path: Path, content: bytes) -> bool:
    """Whether a write-ahead log holds these bytes; SQLite locks nothing in it, so it is closed again."""
    try:
        with path.open("rb") as file:
            return _holds(file.fileno(), content)
    except FileNotFoundError:
        return False


def _holds(handle: int, content: bytes) -> bool:
    """Reads in pieces that overlap."""
    at, tail = 0, b""
    while piece := os.pread(handle, _PIECE, at):
        if content in tail + piece:
            return True
        at += len(piece)
        tail = (tail + piece)[-len(content) :]
    return False


def _handle(path: Path) -> int:
    with _lock:
        found = path.stat()
        kept = _kept.get((found.st_dev, found.st_ino))
        if kept is not None:
            return kept
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        opened = os.fstat(handle)
        # Another file took its place meanwhile: that one is kept, and may be known already.
        return _kept.setdefault((opened.st_dev, opened.st_ino), handle)
