"""Where an export is read from, without trusting it.

1. A source has two kinds of files: plain ones, read by name, and tiles, read by place.
2. From a folder, a file is read only if it is a regular file and no larger than it can rightly be.
3. What a folder holds beyond what a log of that size has is told by `strays`; a server's files cannot be
   listed, and what it is not asked for proves nothing. It can go on for ever (`endless`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from interlock.verify.layout import MAX_BUNDLE, MAX_TILE, BadFile, Missing, Unreadable, belongs, tile_name

T = TypeVar("T")


class Source(Protocol):
    """An export that can be read. Every method may raise `BadFile` and `Unreadable`.

    Attributes:
        endless: whether it is somebody else who decides how much there is to read.
    """

    @property
    def endless(self) -> bool: ...

    def read(self, name: str, limit: int) -> bytes:
        """A plain file of at most `limit` bytes. Raises `Missing` where there is none."""

    def tile(self, level: int | None, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile, or entries of a bundle (`level` None)."""

    def listed(self, folder: str, /) -> Sequence[str] | None:
        """The names in a folder, sorted; None where there is nothing, or where it cannot be listed."""

    def strays(self, size: int, first: int, /) -> Iterable[str]:
        """Every file under ``tile/`` that this export does not have."""

    def ahead(self, fetch: Callable[[int], T], indexes: Iterable[int]) -> Iterator[T]:
        """What `fetch` gives for each index, in order; several may be fetched at once."""


class Folder:
    """An export in a folder."""

    endless = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str, limit: int) -> bytes:
        try:
            with open(self._directory / name, "rb", opener=_open) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise BadFile("it is not a regular file")
                content = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing from None
        except IsADirectoryError:
            raise BadFile("it is not a regular file") from None
        except OSError as error:
            raise Unreadable(f"it cannot be read: {error.strerror}") from None
        if len(content) > limit:
            raise BadFile(f"it is larger than {limit} bytes")
        return content

    def tile(self, level: int | None, index: int, width: int) -> bytes:
        return self.read(tile_name(level, index, width), MAX_BUNDLE if level is None else MAX_TILE)

    def listed(self, folder: str) -> Sequence[str] | None:
        try:
            return sorted(item.name for item in (self._directory / folder).iterdir())
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise BadFile("it is not a folder") from None
        except OSError as error:
            raise Unreadable(f"it cannot be listed: {error.strerror}") from None

    def strays(self, size: int, first: int) -> Iterator[str]:
        if (self._directory / "tile").is_symlink():
            yield "tile"
            return
        waiting = ["tile"]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self._directory / folder) as listing:
                    for item in listing:
                        name = f"{folder}/{item.name}"
                        if item.is_dir(follow_symlinks=False):
                            waiting.append(name)
                        elif not item.is_file(follow_symlinks=False) or not belongs(name, size, first):
                            yield name
            except FileNotFoundError:
                continue
            except NotADirectoryError:
                yield folder
            except OSError as error:
                raise Unreadable(f"it cannot be listed: {error.strerror}") from None

    def ahead(self, fetch: Callable[[int], T], indexes: Iterable[int]) -> Iterator[T]:
        return map(fetch, indexes)


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe that somebody left here would wait for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
