"""Tiles: the ledger as plain files that any reader of tlog-tiles can fetch and check.

1. A tile holds up to 256 hashes. Level 0 holds leaf hashes; each hash of a higher level is the tree hash of
   one full tile below. Only the last tile of a level is partial, and a partial tile is not hashed upwards.
2. An entry bundle holds the entries of the level-0 tile of the same index, each after its length as two
   bytes, big-endian.
3. Paths count in groups of three digits, all but the last marked with ``x``, so that no directory grows past
   a thousand names and no file shares its name with a directory: 1234067 is ``x001/x234/067``; a partial
   tile of 7 adds ``.p/7``.
4. An export is ``checkpoint``, ``vkey`` and the files named here, exactly those its size calls for.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from interlock.ledger.entries import MAX_ENTRY
from interlock.ledger.merkle import Frontier, leaf_hash

TILE_WIDTH = 256
MAX_LEVEL = 63

TileFile: TypeAlias = "tuple[str, bytes]"
"""A path relative to the export's directory, with ``/`` between segments, and the file's content."""


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Where a tile of hashes lies: ``tile/0/x001/234.p/7``.

    Args:
        level: 0 for leaf hashes, at most 63.
        index: of the tile within its level, from 0.
        width: how many hashes it holds, 1 to 256.

    Raises:
        ValueError: one of them is out of range.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"a level is 0 to {MAX_LEVEL}, not {level}")
    return f"tile/{level}/{_numbered(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Where a bundle of entries lies: ``tile/entries/x001/234``. Arguments and errors as for `tile_path`."""
    return f"tile/entries/{_numbered(index, width)}"


def partial_width(level: int, size: int) -> int:
    """How many hashes the unfinished tile of a level holds in a log of that size; 0 where there is none."""
    return (size >> 8 * level) % TILE_WIDTH


def levels_of(size: int) -> int:
    """How many levels of tiles a log of that size has."""
    return (size.bit_length() + 7) // 8


def _numbered(index: int, width: int) -> str:
    if index < 0:
        raise ValueError(f"an index counts from 0, not {index}")
    if not 1 <= width <= TILE_WIDTH:
        raise ValueError(f"a tile is 1 to {TILE_WIDTH} wide, not {width}")
    index, last = divmod(index, 1000)
    path = f"{last:03d}"
    while index:
        index, group = divmod(index, 1000)
        path = f"x{group:03d}/{path}"
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


class TileWriter:
    """Turns a stream of entries into tiles and bundles; holds at most one unfinished tile for each level.

    Feed every entry from number `size` on to `add` and write each file it returns; then write `partials`.

    Args:
        size: how many entries were added before.
        levels: the hashes of each level's unfinished tile at that size, from level 0 up.
        bundle: the entries of the unfinished bundle.

    Raises:
        ValueError: they are not as many as the size calls for.
    """

    __slots__ = ("_bundle", "_levels", "_size")

    def __init__(
        self, size: int = 0, levels: Sequence[Sequence[bytes]] = (), bundle: Sequence[bytes] = ()
    ) -> None:
        if len(bundle) != partial_width(0, size):
            raise ValueError(f"{len(bundle)} entries in the unfinished bundle of a log of {size}")
        for level in range(max(len(levels), levels_of(size))):
            held = len(levels[level]) if level < len(levels) else 0
            if held != partial_width(level, size):
                raise ValueError(f"{held} hashes in the unfinished tile of level {level} of a log of {size}")
        self._size = size
        self._bundle = [part for entry in bundle for part in (len(entry).to_bytes(2, "big"), entry)]
        self._levels = [list(hashes) for hashes in levels]

    @property
    def size(self) -> int:
        """How many entries were added."""
        return self._size

    def add(self, entry: bytes) -> list[TileFile]:
        """Take the next entry. Returns the files that it completed: none, or a bundle and its tiles.

        Raises:
            ValueError: the entry does not fit a bundle.
        """
        if len(entry) > MAX_ENTRY:
            raise ValueError(f"an entry of {len(entry)} bytes; at most {MAX_ENTRY} fit a bundle")
        files: list[TileFile] = []
        self._bundle += (len(entry).to_bytes(2, "big"), entry)
        self._size += 1
        if self._size % TILE_WIDTH == 0:
            files.append((entries_path(self._size // TILE_WIDTH - 1), b"".join(self._bundle)))
            self._bundle.clear()
        self._push(0, leaf_hash(entry), files)
        return files

    def _push(self, level: int, root: bytes, files: list[TileFile]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        tile = self._levels[level]
        tile.append(root)
        if len(tile) == TILE_WIDTH:
            index = self._size // TILE_WIDTH ** (level + 1) - 1
            files.append((tile_path(level, index), b"".join(tile)))
            above = Frontier.EMPTY.appended(tile).root()
            tile.clear()
            self._push(level + 1, above, files)

    def partials(self) -> Iterator[TileFile]:
        """The unfinished bundle and tiles at this size. More entries may be added afterwards."""
        if self._bundle:
            width = self._size % TILE_WIDTH
            yield entries_path(self._size // TILE_WIDTH, width), b"".join(self._bundle)
        for level, tile in enumerate(self._levels):
            if tile:
                index = self._size // TILE_WIDTH ** (level + 1)
                yield tile_path(level, index, len(tile)), b"".join(tile)

    def frontier(self) -> Frontier:
        """The tree over what was added: its root is what the checkpoint beside these files has to name."""
        hashes: list[bytes] = []
        for tile in reversed(self._levels):
            hashes += Frontier.EMPTY.appended(tile).hashes
        return Frontier(self._size, tuple(hashes))
