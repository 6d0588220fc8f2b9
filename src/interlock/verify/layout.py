"""The files of an export: which there must be, and reading them without trusting them.

1. For a log of a given size, the files under ``tile/`` are determined, each with its exact name. Any other
   file, link or device there fails: what nobody checks should not travel with what was checked.
2. A file is read only if it is a regular file and no larger than it can rightly be.
3. A bundle is the length of each entry in two bytes, big-endian, and the entry, and ends with the last one.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from interlock.verify.tree import WIDTH

MAX_BUNDLE = WIDTH * (2 + 65_535)
MAX_TILE = WIDTH * 32
MAX_NOTE = 1 << 20
_TILE = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


class BadFile(ValueError):
    """A file is missing or is not what it has to be."""


class Unreadable(ValueError):
    """The operating system refused to read it."""


def tile_name(level: int | None, index: int, width: int) -> str:
    """The path of a tile; `level` None is a bundle of entries. `width` 256 is a full one."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    folder = "entries" if level is None else str(level)
    return f"tile/{folder}/{number}" + ("" if width == WIDTH else f".p/{width}")


def belongs(name: str, size: int) -> bool:
    """Whether a log of `size` entries has a file of this name under ``tile/``."""
    found = _TILE.fullmatch(name)
    if found is None:
        return False
    level = None if found[1] == "entries" else int(found[1])
    index = int(found[2].replace("x", "").replace("/", ""))
    full, rest = divmod(size >> (8 * (level or 0)), WIDTH)
    if index > full or (index == full and not rest):
        return False
    return name == tile_name(level, index, WIDTH if index < full else rest)


def strays(directory: Path, size: int) -> Iterator[str]:
    """Every file under ``tile/`` that a log of `size` entries does not have.

    Raises:
        Unreadable: a directory cannot be listed.
    """
    if (directory / "tile").is_symlink():
        yield "tile"
        return
    waiting = ["tile"]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(directory / folder) as listing:
                for item in listing:
                    name = f"{folder}/{item.name}"
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif not item.is_file(follow_symlinks=False) or not belongs(name, size):
                        yield name
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            yield folder
        except OSError as error:
            raise Unreadable(f"it cannot be listed: {error.strerror}") from None


def read(directory: Path, name: str, limit: int) -> bytes:
    """The content of one file.

    Raises:
        BadFile: it is missing, not a regular file, or larger than `limit` bytes.
        Unreadable: it is there, but cannot be read.
    """
    try:
        with open(directory / name, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadFile("it is not a regular file")
            content = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise BadFile("it is missing") from None
    except IsADirectoryError:
        raise BadFile("it is not a regular file") from None
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise BadFile(f"it is larger than {limit} bytes")
    return content


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe that somebody left here would wait for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


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
