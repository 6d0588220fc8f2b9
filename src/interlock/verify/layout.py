"""The files of an export: which there must be, how they are named, and what a bundle is.

1. For a log of a given size, the files under ``tile/`` are determined, each with its exact name. Any other
   file, link or device there fails: what nobody checks should not travel with what was checked.
2. Of an export that begins later (`first`), the bundles wholly before that entry are not there; every tile of
   hashes is.
3. A bundle is the length of each entry in two bytes, big-endian, and the entry, and ends with the last one.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import re

from interlock.verify.tree import WIDTH

MAX_BUNDLE = WIDTH * (2 + 65_535)
MAX_TILE = WIDTH * 32
MAX_NOTE = 1 << 20
_TILE = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


class BadFile(ValueError):
    """A file is missing or is not what it has to be."""


class Missing(BadFile):
    """There is no such file."""

    def __init__(self) -> None:
        super().__init__("it is missing")


class Unreadable(ValueError):
    """It could not be read: the system, the network or the server refused."""


def tile_name(level: int | None, index: int, width: int) -> str:
    """The path of a tile; `level` None is a bundle of entries. `width` 256 is a full one."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    folder = "entries" if level is None else str(level)
    return f"tile/{folder}/{number}" + ("" if width == WIDTH else f".p/{width}")


def belongs(name: str, size: int, first: int = 0) -> bool:
    """Whether the export of a log of `size` entries that begins with entry `first` has a file of this name
    under ``tile/``."""
    found = _TILE.fullmatch(name)
    if found is None:
        return False
    level = None if found[1] == "entries" else int(found[1])
    index = int(found[2].replace("x", "").replace("/", ""))
    full, rest = divmod(size >> (8 * (level or 0)), WIDTH)
    if index > full or (index == full and not rest) or (level is None and index < first // WIDTH):
        return False
    return name == tile_name(level, index, WIDTH if index < full else rest)


def split_bundle(raw: bytes, count: int) -> list[bytes]:
    """The `count` entries of a bundle. Raises `BadFile` unless the bundle is exactly these."""
    entries: list[bytes] = []
    position, end = 0, len(raw)
    for number in range(count):
        start = position + 2
        position = start + int.from_bytes(raw[position:start], "big")
        if start > end or position > end:
            raise BadFile(f"it ends within entry {number + 1} of {count}")
        entries.append(raw[start:position])
    if position != end:
        raise BadFile(f"{end - position} bytes follow the last of its {count} entries")
    return entries


def beginning(raw: bytes, count: int) -> bytes:
    """The first `count` entries of a bundle of more, as a bundle. Raises `BadFile` where it has fewer."""
    position = 0
    for number in range(count):
        start = position + 2
        position = start + int.from_bytes(raw[position:start], "big")
        if start > len(raw) or position > len(raw):
            raise BadFile(f"it ends within entry {number + 1}")
    return raw[:position]
