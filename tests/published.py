"""Published logs, for the tests of publishers: what is signed, the files beside it, and new entries."""

from __future__ import annotations

from pathlib import Path

from house import House


def size_in(note: str) -> int:
    return int(note.split("\n")[1])


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``tile/``."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "tile").rglob("*")
        if path.is_file()
    }


def grow(house: House, number: int) -> int:
    """Add that many entries; how many the log has then."""
    start = house.home.journal.head()[0]
    for each in range(number):
        house.propose("notes.add", {"n": start + each})
    return house.home.journal.head()[0]


def ledger_of(house: House) -> Path:
    return house.home.path / "ledger"
