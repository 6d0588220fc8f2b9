"""Writing the ledger as a folder of plain files, from the database's entries and not from the tiles served.

1. Every hash is computed anew, so that an export shows what the database holds now. Only of pruned entries,
   which it no longer holds, the tiles are copied.
2. A partial export says in ``first`` which entry it begins with: bundles wholly before it are not there, all
   hashes are. Without that file every entry is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from interlock.home.publishing.tiles import TileFolder
from interlock.journal import Journal
from interlock.ledger import TILE_WIDTH, TileFile, entries_path, levels_of, tile_path

_REPORT_EACH = 4_096


def begun_at(number: int) -> int:
    """The first entry of the bundle that an entry stands in."""
    return number - number % TILE_WIDTH


def export(
    journal: Journal,
    tiles: TileFolder,
    directory: Path,
    *,
    pruned: int,
    first: int,
    size: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the files below ``tile/``, and ``first`` where the export is partial.

    Args:
        pruned: entries before this number are in tiles only.
        first: the first entry to be there; it begins a bundle and is not before `pruned`.
        size: how many entries the log has in this export.
        progress: told now and then how many entries were written, and of how many.

    Raises:
        NoTiles: a hash of a pruned entry is missing. HomeUnusable: an entry is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    left_out = {entries_path(index) for index in range(pruned // TILE_WIDTH, first // TILE_WIDTH)}
    for path, content in _files(journal, tiles, pruned, size, progress):
        if path not in left_out:
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    if first:
        (directory / "first").write_text(f"{first}\n", encoding="ascii")


def _files(
    journal: Journal,
    tiles: TileFolder,
    pruned: int,
    size: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[TileFile]:
    for level in range(levels_of(pruned)):
        for index in range(pruned >> 8 * (level + 1)):
            yield tile_path(level, index), tiles.hashes(level, index, TILE_WIDTH)
    writer = tiles.writer(pruned)
    for body in journal.entries(pruned, size):
        yield from writer.add(body)
        if progress is not None and writer.size % _REPORT_EACH == 0:
            progress(writer.size, size)
    yield from writer.partials()
