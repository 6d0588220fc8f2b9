"""By how much the ledger's time is ahead of the clock, where people on this host say that it is right so.

1. A clock that was wrong for a while leaves entries from the future. Entries cannot be changed, and their
   time never runs backwards, so the ledger either waits or goes on ahead of the clock. Nobody but people
   decides that: it stands in ``ledger/clock`` of the home, outside the database, as microseconds in decimal.
2. Each host of a home decides for itself; processes that run read it when they start again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.home.database import open_database
from interlock.home.files import write_whole
from interlock.home.keystore import Keystore
from interlock.journal import Journal
from interlock.model.errors import HomeUnusable

_AHEAD = re.compile(rb"[0-9]{1,16}\n")


def ahead(folder: Path) -> int:
    """Microseconds; 0 where nobody said anything. Raises `HomeUnusable` where the file does not read."""
    file = folder / "clock"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return 0
    if not _AHEAD.fullmatch(content):
        raise HomeUnusable(f"{file} does not read.", fix="Delete it, then see: interlock ledger clock")
    return int(content)


def go_ahead(folder: Path, microseconds: int) -> None:
    """Remember it, durably."""
    write_whole(folder / "clock", f"{microseconds}\n".encode())


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    """The journal of the home at `path`, and nothing else of it: a home that opens has to write.

    Raises:
        HomeUnusable: (or a subclass) it cannot be used.
    """
    folder = path / "ledger"
    store = open_database(path, None)
    try:
        found = Journal(store, Keystore.open(path, fresh=False).vault, ahead=ahead(folder))
    except BaseException:
        store.close()
        raise
    try:
        yield found
    finally:
        found.close()
