"""Nobody in a process touches a database's file beside SQLite: that would drop the process's locks on it.

The next process that closes the database would then take itself for the last one and delete the log that this
one goes on writing to: acknowledged entries would be in no file any more.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from erasing import erase, refunded

from house import House
from interlock.home import Home
from interlock.journal import beside

PASSER_BY = """
import sys
from pathlib import Path
from interlock.home import Home

home = Home.open(Path(sys.argv[1]))
print(home.journal.head()[0])
home.close()
"""


def seen_by_another(house: House) -> int:
    """How many entries a process sees that opens the home and closes it again."""
    command = [sys.executable, "-c", PASSER_BY, str(house.home.path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def lost_files(house: House) -> list[str]:
    """Files of its database that this process has open and nobody else can find."""
    names = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [name for name in names if name.startswith(str(house.home.path)) and name.endswith("(deleted)")]


def nothing(_: House) -> None:
    """As a process that never looks at the file."""


def erased(house: House) -> None:
    assert erase(house).clean


def opened_again(house: House) -> None:
    Home.open(house.home.path).close()


def searched(house: House) -> None:
    house.home.journal.database.holds(b"not there at all")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("meanwhile", [nothing, erased, opened_again, searched])
def test_what_was_acknowledged_outlives_a_passer_by(house: House, meanwhile: Callable[[House], None]) -> None:
    refunded(house)
    meanwhile(house)
    before = seen_by_another(house)
    assert before == house.home.journal.head()[0]
    assert lost_files(house) == []
    refunded(house, order="A-2")
    after = house.home.journal.head()[0]
    assert after > before
    assert seen_by_another(house) == after


def test_what_lies_across_two_pieces_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_PIECE", 16)
    file = tmp_path / "file"
    file.write_bytes(b"." * 10 + b"0123456789" + b"." * 30)
    assert beside.contains(file, b"0123456789")
    assert not beside.contains(file, b"1234567890")
    assert not beside.contains(tmp_path / "none", b"0")


def test_a_file_that_took_anothers_place_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"first")
    assert beside.contains(file, b"first")
    other = tmp_path / "other"
    other.write_bytes(b"second")
    other.replace(file)
    assert beside.contains(file, b"second")
    assert not beside.contains(file, b"first")


def test_a_file_that_is_there_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "file"
    beside.make(file)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"kept")
    beside.make(file)
    assert file.read_bytes() == b"kept"
