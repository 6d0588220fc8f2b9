"""Reading a log's entries in order, with every hash checked on the way.

1. Every entry is hashed anew. Every tile of every level is compared with what its entries give, and the root
   of all with the checkpoint.
2. Where the export begins later, the leaf hashes of what is not there come from the tiles of level 0. That
   these are right shows at the levels above, and at the root.
3. The root of the first so many entries is computed from tiles, after they have been compared.

Source: RFC 6962, section 2.1; c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.verify import layout
from interlock.verify.layout import BadFile, Unreadable, tile_name
from interlock.verify.note import Checkpoint
from interlock.verify.report import Findings
from interlock.verify.source import Source
from interlock.verify.tree import WIDTH, Rows, hashes_of, leaf_hashes, root_of

_Content = bytes | BadFile | Unreadable
"""What a file holds, or why it could not be read."""


class Tiles:
    """The tiles and bundles of an export of one size.

    Args:
        first: the entry that the export begins with.
    """

    def __init__(self, source: Source, checkpoint: Checkpoint, first: int, findings: Findings) -> None:
        self._source = source
        self._size = checkpoint.size
        self._root = checkpoint.root
        self._first = first
        self._findings = findings

    def bundles(self) -> Iterator[tuple[int, list[bytes], int]]:
        """For each bundle: the number of its first entry, its entries (none where these are left out), and
        how many of the log's entries are done with it.

        It ends early where something cannot be read. What is wrong goes to the findings.
        """
        rows = Rows()
        hashes: list[bytes] = []
        indexes = range(-(-self._size // WIDTH))
        for index, (bundle, tile) in zip(indexes, self._source.ahead(self._fetch, indexes), strict=True):
            width = self._width(0, index)
            entries = [] if bundle is None else self._split(index, width, bundle)
            if entries is None:
                return
            if bundle is None:
                known = self._leaves(index, width, tile)
                if known is None:
                    return
                hashes = known
            else:
                hashes = leaf_hashes(entries)
                self._compare(0, index, b"".join(hashes), tile)
            yield index * WIDTH, entries, index * WIDTH + width
            if width == WIDTH:
                self._compare_all(rows.take(hashes))
                hashes = []
        self._compare_all(rows.unfinished())
        if rows.root(hashes) != self._root:
            self._findings.failed("checkpoint", "its root is not that of the entries")

    def root_of(self, size: int) -> bytes:
        """The root of the first entries. Raises `BadFile` and `Unreadable` where a tile cannot be read."""
        return root_of(size, self._row)

    def _row(self, level: int, index: int, count: int) -> list[bytes]:
        return hashes_of(self._source.tile(level, index, self._width(level, index)))[:count]

    def _width(self, level: int, index: int) -> int:
        return min(WIDTH, (self._size >> (8 * level)) - index * WIDTH)

    def _fetch(self, index: int) -> tuple[_Content | None, _Content]:
        """A bundle, None where the export begins after it, and its tile of hashes."""
        bundle = self._content(None, index) if index >= self._first // WIDTH else None
        return bundle, self._content(0, index)

    def _content(self, level: int | None, index: int) -> _Content:
        try:
            return self._source.tile(level, index, self._width(level or 0, index))
        except (BadFile, Unreadable) as error:
            return error

    def _split(self, index: int, width: int, bundle: _Content) -> list[bytes] | None:
        name = tile_name(None, index, width)
        raw = self._got(name, bundle)
        try:
            return None if raw is None else layout.split_bundle(raw, width)
        except BadFile as error:
            self._findings.failed(name, str(error))
            return None

    def _leaves(self, index: int, width: int, tile: _Content) -> list[bytes] | None:
        name = tile_name(0, index, width)
        content = self._got(name, tile)
        if content is None or not self._has_length(name, content, width * 32):
            return None
        return hashes_of(content)

    def _compare_all(self, tiles: list[tuple[int, int, bytes]]) -> None:
        for level, index, expected in tiles:
            self._compare(level, index, expected, self._content(level, index))

    def _compare(self, level: int, index: int, expected: bytes, tile: _Content) -> None:
        if tile == expected:
            return
        name = tile_name(level, index, len(expected) // 32)
        content = self._got(name, tile)
        if content is None or not self._has_length(name, content, len(expected)):
            return
        at = next(i for i in range(len(expected)) if content[i] != expected[i]) // 32
        first = (index * WIDTH + at) * WIDTH**level
        what = f"entry {first}" if level == 0 else f"entries {first} to {first + WIDTH**level - 1}"
        self._findings.failed(name, f"hash {at} is not that of {what}")

    def _has_length(self, name: str, content: bytes, length: int) -> bool:
        if len(content) == length:
            return True
        self._findings.failed(name, f"it has {len(content)} bytes and should have {length}")
        return False

    def _got(self, name: str, content: _Content) -> bytes | None:
        """The content; None where there is none, which is told."""
        if isinstance(content, bytes):
            return content
        if isinstance(content, Unreadable):
            self._findings.unchecked(name, str(content))
        else:
            self._findings.failed(name, str(content))
        return None
