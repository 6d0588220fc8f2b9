"""Tiles: the paths and contents that tlog-tiles prescribes."""

from __future__ import annotations

from hashlib import sha256

import pytest

from interlock.ledger import EMPTY_ROOT, Frontier, TileWriter, entries_path, leaf_hash, tile_path


def written(size: int) -> tuple[TileWriter, dict[str, bytes]]:
    writer = TileWriter()
    files: dict[str, bytes] = {}
    for number in range(size):
        files.update(writer.add(b"entry %d" % number))
    files.update(writer.partials())
    return writer, files


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (tile_path(0, 0), "tile/0/000"),
        (tile_path(1, 999), "tile/1/999"),
        (tile_path(0, 1000), "tile/0/x001/000"),
        (tile_path(0, 1_234_067), "tile/0/x001/x234/067"),
        (tile_path(0, 1234, 7), "tile/0/x001/234.p/7"),
        (tile_path(63, 0, 255), "tile/63/000.p/255"),
        (entries_path(1234, 1), "tile/entries/x001/234.p/1"),
        (entries_path(0), "tile/entries/000"),
    ],
)
def test_paths_are_those_of_the_specification(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)]
)
def test_a_tile_that_cannot_be_has_no_path(level: int, index: int, width: int) -> None:
    with pytest.raises(ValueError):
        tile_path(level, index, width)


def test_the_specifications_example_of_seventy_thousand_entries() -> None:
    writer, files = written(70_000)
    by_folder: dict[str, set[str]] = {}
    for path in files:
        _, folder, number = path.split("/", 2)
        by_folder.setdefault(folder, set()).add(number)
    leaves = {f"{number:03d}" for number in range(273)} | {"273.p/112"}
    assert by_folder == {"entries": leaves, "0": leaves, "1": {"000", "001.p/17"}, "2": {"000.p/1"}}
    assert {len(files[f"tile/0/{number}"]) for number in leaves} == {8192, 112 * 32}
    assert writer.frontier() == Frontier.EMPTY.appended(leaf_hash(b"entry %d" % n) for n in range(70_000))


def test_a_full_row_of_256_has_a_partial_row_of_one_above_it() -> None:
    _, files = written(256)
    assert set(files) == {"tile/entries/000", "tile/0/000", "tile/1/000.p/1"}
    assert (
        files["tile/1/000.p/1"]
        == Frontier.EMPTY.appended(leaf_hash(b"entry %d" % n) for n in range(256)).root()
    )


def test_a_bundle_is_length_and_entry_after_one_another() -> None:
    writer = TileWriter()
    assert writer.add(b"first") == []
    writer.add(b"")
    files = dict(writer.partials())
    assert files["tile/entries/000.p/2"] == b"\x00\x05first\x00\x00"
    assert files["tile/0/000.p/2"] == sha256(b"\x00first").digest() + sha256(b"\x00").digest()


def test_partials_are_a_look_not_an_end() -> None:
    writer = TileWriter()
    writer.add(b"a")
    assert set(dict(writer.partials())) == {"tile/entries/000.p/1", "tile/0/000.p/1"}
    writer.add(b"b")
    assert set(dict(writer.partials())) == {"tile/entries/000.p/2", "tile/0/000.p/2"}
    assert writer.size == 2


def test_an_empty_log_has_no_tiles() -> None:
    writer, files = written(0)
    assert files == {}
    assert writer.frontier().root() == EMPTY_ROOT


def test_an_entry_too_long_for_its_length_field_is_refused() -> None:
    writer = TileWriter()
    writer.add(b"x" * 65_535)
    with pytest.raises(ValueError, match="65536"):
        writer.add(b"x" * 65_536)
    assert writer.size == 1
