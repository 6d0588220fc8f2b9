"""Recomputing the tree from its entries.

1. RFC 6962, section 2.1: a leaf hashes ``0x00 ‖ entry``, a node ``0x01 ‖ left ‖ right``, nothing hashes "".
2. The hash of a list is found by pairing neighbours until one is left; an odd last one moves up unchanged.
   That is the RFC's split at the largest power of two, written from the bottom.
3. Levels of 256, as tlog-tiles has them: a full row becomes one hash of the row above. The hash of everything
   so far closes the rows from the bottom, each closed row counting as one more hash of the row above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

WIDTH = 256
NOTHING = sha256(b"").digest()


def leaf_hashes(entries: Sequence[bytes]) -> list[bytes]:
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def hashes_of(tile: bytes) -> list[bytes]:
    """The hashes that a tile holds."""
    return [tile[at : at + 32] for at in range(0, len(tile), 32)]


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """The hash of a tree whose leaves have these hashes."""
    if not hashes:
        return NOTHING
    row = list(hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)] + odd
    return row[0]


class Rows:
    """The unfinished row of each level above the leaves, while full rows of leaves come in."""

    __slots__ = ("_rows", "_taken")

    def __init__(self) -> None:
        self._taken = 0
        self._rows: list[list[bytes]] = []

    def take(self, leaves: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """Take one full row of leaf hashes.

        Returns (level, index, content) of every tile above level 0 that it completed.
        """
        if len(leaves) != WIDTH:
            raise ValueError(f"a full row has {WIDTH} hashes")
        self._taken += 1
        done: list[tuple[int, int, bytes]] = []
        carried = tree_hash(leaves)
        level, count = 1, self._taken
        while True:
            if len(self._rows) < level:
                self._rows.append([])
            row = self._rows[level - 1]
            row.append(carried)
            if len(row) < WIDTH:
                return done
            count //= WIDTH
            done.append((level, count - 1, b"".join(row)))
            carried = tree_hash(row)
            row.clear()
            level += 1

    def unfinished(self) -> list[tuple[int, int, bytes]]:
        """(level, index, content) of every partial tile above level 0."""
        return [
            (level, self._taken // WIDTH**level, b"".join(row))
            for level, row in enumerate(self._rows, 1)
            if row
        ]

    def root(self, leaves: Sequence[bytes]) -> bytes:
        """The hash of the tree of everything taken, followed by these (at most 256) leaf hashes."""
        closing = [tree_hash(leaves)] if leaves else []
        for row in self._rows:
            together = row + closing
            closing = [tree_hash(together)] if together else []
        return closing[0] if closing else NOTHING


def root_of(size: int, row: Callable[[int, int, int], Sequence[bytes]]) -> bytes:
    """The hash of the tree of the first `size` entries, from the tiles of it or of a larger one.

    Args:
        row: the first so many (last argument) hashes of the tile with this level and index.
    """
    closing: list[bytes] = []
    level = 0
    while size >> (8 * level):
        index, count = divmod(size >> (8 * level), WIDTH)
        together = [*(row(level, index, count) if count else ()), *closing]
        closing = [tree_hash(together)] if together else []
        level += 1
    return closing[0] if closing else NOTHING
