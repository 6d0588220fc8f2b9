"""Tiles on disk: the tree as files that can be served, and read back.

1. A file is written beside its place, flushed and moved there, so that nobody reads half of one. A file that
   is there with other content is replaced: what lies beyond the signed size was never promised to anybody.
2. An unfinished tile stays, at each width that was published, until the full one is there (tlog-tiles,
   "Partial Tiles"). Whoever then asks for the narrower one gets the beginning of the full one.
3. What is read here is not trusted by itself: whoever signs compares the tree with the one that was signed.
4. Pruning takes bundles of entries away, never hashes.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from interlock.home.files import write_whole
from interlock.ledger import (
    TILE_WIDTH,
    Frontier,
    TileFile,
    TileWriter,
    entries_path,
    leaf_hash,
    levels_of,
    partial_width,
    tile_path,
)
from interlock.ledger.merkle import HASH_BYTES


class NoTiles(Exception):
    """A tile that should be there is missing, or is not what it has to be."""


class TileFolder:
    """The files below ``tile/`` of a folder.

    Args:
        folder: what ``tile/`` stands in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # --- writing --------------------------------------------------------------------------------------------

    def write(self, files: Iterable[TileFile]) -> None:
        """Write files, durably, as the iterable gives them."""
        folders: set[Path] = set()
        for path, content in files:
            target = self._folder / path
            if _read(target) == content:
                continue
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = target.with_name(f"{target.name}.new")
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            folders.update(self._above(target))
        for folder in folders:
            _flush(folder)

    def _above(self, target: Path) -> Iterator[Path]:
        for folder in target.parents:
            yield folder
            if folder == self._folder:
                return

    def tidy(self, old: int, size: int) -> None:
        """Remove the unfinished tiles that were finished while the log grew from `old` to `size`."""
        for level in range(levels_of(size)):
            full = size >> 8 * (level + 1)
            for index in range(max(0, (old >> 8 * (level + 1)) - 1), full):
                self._remove_partials(tile_path(level, index))
                if level == 0:
                    self._remove_partials(entries_path(index))

    def _remove_partials(self, path: str) -> None:
        folder = self._folder / f"{path}.p"
        if folder.is_dir():
            shutil.rmtree(folder)

    def forget_bundles(self, first: int, before: int) -> None:
        """Remove the bundles of the entries from `first` to `before`; both are multiples of 256."""
        for index in range(first // TILE_WIDTH, before // TILE_WIDTH):
            (self._folder / entries_path(index)).unlink(missing_ok=True)
            self._remove_partials(entries_path(index))

    def set_aside(self, kept: int, size: int, aside: Path) -> None:
        """Copy what a log of `size` has beyond its first `kept` entries to another folder."""
        for name in self._beyond(kept, size):
            source = self._folder / name
            files = sorted(source.iterdir()) if source.is_dir() else [source] if source.exists() else []
            for file in files:
                target = aside / file.relative_to(self._folder)
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_whole(target, file.read_bytes())

    def cut(self, kept: int, size: int) -> None:
        """Remove what a log of `size` has beyond its first `kept` entries."""
        last = list(self.writer(kept).partials())
        for name in self._beyond(kept, size):
            path = self._folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.write(last)

    def _beyond(self, kept: int, size: int) -> Iterator[str]:
        """Files and folders of the tiles that are not full in a log of `kept`, up to those of `size`."""
        for level in range(levels_of(size)):
            for index in range(kept >> 8 * (level + 1), (size >> 8 * (level + 1)) + 1):
                paths = [tile_path(level, index)]
                if level == 0:
                    paths.append(entries_path(index))
                for path in paths:
                    yield path
                    yield f"{path}.p"

    # --- reading --------------------------------------------------------------------------------------------

    def whole(self, size: int) -> bool:
        """Whether the last file of each level is there for a log of that size."""
        for level in range(levels_of(size)):
            width, index = partial_width(level, size), size >> 8 * (level + 1)
            paths = [tile_path(level, index, width) if width else tile_path(level, index - 1)]
            if level == 0 and width:
                paths.append(entries_path(index, width))
            if not all((self._folder / path).exists() for path in paths):
                return False
        return True

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile. Raises `NoTiles`."""
        data = self._widest(tile_path(level, index), width)
        if len(data) < width * HASH_BYTES:
            raise NoTiles(f"{tile_path(level, index)} is too short")
        return data[: width * HASH_BYTES]

    def bundle(self, index: int, width: int) -> bytes:
        """The first `width` entries of a bundle, each after its length. Raises `NoTiles`."""
        data = self._widest(entries_path(index), width)
        end = 0
        for _ in range(width):
            end += 2 + int.from_bytes(data[end : end + 2])
        if len(data) < end or end < 2 * width:
            raise NoTiles(f"{entries_path(index)} is too short")
        return data[:end]

    def _widest(self, path: str, width: int) -> bytes:
        """The file of that width, or the narrowest wider one."""
        names = [path]
        if width < TILE_WIDTH:
            names.insert(0, f"{path}.p/{width}")
            folder = self._folder / f"{path}.p"
            try:
                wider = sorted(int(file.name) for file in folder.iterdir() if file.name.isdigit())
            except FileNotFoundError:
                wider = []
            names += [f"{path}.p/{each}" for each in wider if each > width]
        for name in names:
            data = _read(self._folder / name)
            if data is not None:
                return data
        raise NoTiles(f"{path} is missing")

    def levels(self, size: int) -> list[list[bytes]]:
        """The hashes of the unfinished tile of each level in a log of that size. Raises `NoTiles`."""
        return [
            _split(self.hashes(level, size >> 8 * (level + 1), partial_width(level, size)))
            if partial_width(level, size)
            else []
            for level in range(levels_of(size))
        ]

    def writer(self, size: int) -> TileWriter:
        """A writer that goes on after `size` entries. Raises `NoTiles`."""
        entries: list[bytes] = []
        width = partial_width(0, size)
        if width:
            data = self.bundle(size // TILE_WIDTH, width)
            while data:
                end = 2 + int.from_bytes(data[:2])
                entries.append(data[2:end])
                data = data[end:]
        levels = self.levels(size)
        if width and [leaf_hash(entry) for entry in entries] != levels[0]:
            raise NoTiles(f"{entries_path(size // TILE_WIDTH, width)} does not hold the entries of its tile")
        return TileWriter(size, levels, entries)

    def tree(self, size: int) -> Frontier:
        """The tree of the first `size` entries. Raises `NoTiles`."""
        hashes: list[bytes] = []
        for tile in reversed(self.levels(size)):
            hashes += Frontier.EMPTY.appended(tile).hashes
        return Frontier(size, tuple(hashes))

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The leaf hashes of the entries from `start` to `stop`, exclusive. Raises `NoTiles`."""
        while start < stop:
            index, skipped = divmod(start, TILE_WIDTH)
            width = min(TILE_WIDTH, skipped + stop - start)
            yield from _split(self.hashes(0, index, width))[skipped:]
            start += width - skipped


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
