"""What replay reads of an export: its entries, the policies that decided, and the inputs they decided from.

1. The tree was verified before; here its entries are read, in order, bundle by bundle. They are hashed again,
   so that nobody puts other files there between the two readings.
2. ``policies/<hex>.json`` holds the canonical document whose SHA-256 is the name. A file that does not hash
   to its name is worse than none.
3. ``inputs.jsonl`` holds one line for each revision, in the order in which the entries open the revisions. A
   line that no entry asks for where it stands belongs to nothing, and says that the file was tampered with.
4. Both files come from whoever made the export: sizes are capped, and nothing in them is believed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from interlock.model.errors import CannotCheck, PolicyError
from interlock.replay.kernels import KERNELS, Ruling
from interlock.verify import layout
from interlock.verify.layout import BadFile, Unreadable
from interlock.verify.note import BadNote, Note
from interlock.verify.report import Findings
from interlock.verify.source import Source
from interlock.verify.tiles import Tiles
from interlock.verify.tree import WIDTH

INPUTS = "inputs.jsonl"
FIRST = "first"
MAX_POLICY = 8 << 20
MAX_LINE = 8 << 20
REMEMBERED_POLICIES = 16
_SNAPSHOT = re.compile(r"v1:([0-9a-f]{64})", re.ASCII)


class Missing(Exception):
    """Something is not at hand, or of a version that is not read here. The message is a sentence."""


class Forged(Exception):
    """The export contradicts itself. The message is a sentence."""


class Entries:
    """The entries of an export, hashed again while they are read.

    Args:
        verified: size and root that a verification found; those that the checkpoint says by default.

    Attributes:
        first: the entry with which the export begins. size: how many entries its checkpoint counts.

    Raises:
        CannotCheck: the export does not say, or is not the one that was verified.
    """

    def __init__(self, source: Source, verified: tuple[int, bytes] | None) -> None:
        try:
            checkpoint = Note.parse(source.read("checkpoint", layout.MAX_NOTE)).checkpoint()
        except layout.Missing as error:
            raise CannotCheck("The export cannot be replayed: it has no checkpoint.") from error
        except (BadFile, BadNote, Unreadable) as error:
            raise CannotCheck(f"The export cannot be replayed: {error}.") from error
        if verified not in (None, (checkpoint.size, checkpoint.root)):
            raise CannotCheck(_ANOTHER)
        self.size = checkpoint.size
        self.first = _first(source, self.size)
        self._findings = Findings()
        self._tiles = Tiles(source, checkpoint, self.first, self._findings)

    def bundles(self) -> Iterator[tuple[int, list[bytes]]]:
        """The entries from `first` on, bundle by bundle: the number of each one's first, and the entries.

        Raises:
            CannotCheck: a bundle is missing or is none, or they are not the entries of the checkpoint.
        """
        for start, entries, _ in self._tiles.bundles():
            if start + WIDTH > self.first and entries:
                yield max(start, self.first), entries[max(0, self.first - start) :]
        for problem in self._findings.problems():
            raise CannotCheck(f"The export cannot be replayed: {problem.where}: {problem.what}.")


_ANOTHER = "The export cannot be replayed: it is not the one that was verified."


def _first(source: Source, size: int) -> int:
    try:
        text = source.read(FIRST, 64).decode("ascii", "replace")
    except layout.Missing:
        return 0
    except (BadFile, Unreadable) as error:
        raise CannotCheck(f"The export cannot be replayed: {error}.") from error
    if not re.fullmatch(r"(0|[1-9][0-9]{0,15})\n", text, re.ASCII) or int(text) > size:
        raise CannotCheck("The export cannot be replayed: `first` is no number of an entry.")
    return int(text)


class Policies:
    """The policies of an export, by snapshot and kernel."""

    def __init__(self, source: Source) -> None:
        self._source = source
        # Policies follow one another; those that come back often are few.
        self._read = lru_cache(REMEMBERED_POLICIES)(self._load)

    def of(self, snapshot: object, kernel: object) -> Ruling:
        """The policy of a snapshot, under a kernel.

        Raises:
            Missing: it is not in the export, or this version cannot read it. Forged: it is another one.
        """
        found = self._read(snapshot, kernel) if type(snapshot) is str and type(kernel) is int else None
        if found is None:
            raise Forged("it names no policy")
        if isinstance(found, Missing | Forged):
            raise type(found)(
                *found.args
            )  # raised again, one and the same would grow by a traceback each time
        return found

    def _load(self, snapshot: str, kernel: int) -> Ruling | Missing | Forged:
        # What is missing is remembered too: asked for a million times, it is looked for once.
        make = KERNELS.get(kernel)
        if make is None:
            return Missing(f"this version does not know the kernel {kernel}")
        name = _SNAPSHOT.fullmatch(snapshot)
        if name is None:
            return Missing("its policy is of a form that this version does not know")
        file = f"policies/{name[1]}.json"
        try:
            document = self._source.read(file, MAX_POLICY)
        except (BadFile, Unreadable) as error:
            return Missing(f"{file}: {error}")
        if hashlib.sha256(document).hexdigest() != name[1]:
            return Forged(f"{file} is another policy than its name says")
        try:
            return make(document)
        except PolicyError as error:
            return Missing(f"{file} does not read here: {error.detail}")


class Line:
    """One line of recorded inputs.

    Attributes:
        start: where it begins in the file. erased: it says that its inputs were erased.
        value: the line as it was read.
    """

    __slots__ = ("erased", "key", "start", "value")

    def __init__(self, start: int, value: dict[str, Any]) -> None:
        self.start = start
        self.value = value
        self.key = (value.get("action"), value.get("revision"))
        self.erased = value.get("erased") is True


class Recorded:
    """The lines of ``inputs.jsonl``, taken one after the other; those taken can be read again."""

    def __init__(self, directory: Path) -> None:
        self._next: Line | None = None
        self._number = 0
        self._start = 0
        self.broken: str | None = None
        """Why the file is not read on; None while it is."""
        self._file = _opened(directory / INPUTS)
        self.there = self._file is not None
        self._advance()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def take(self, action: object, revision: object) -> Line | None:
        """The next line, if it is about this revision."""
        line = self._next
        if line is None or line.key != (action, revision):
            return None
        self._advance()
        return line

    def again(self, start: int) -> Line:
        """A line that was taken before."""
        if self._file is None:
            raise ValueError("nothing was taken from a file that is not there")
        self._file.seek(start)
        raw = self._file.readline(MAX_LINE + 1)
        self._file.seek(self._start)
        return Line(start, orjson.loads(raw))

    @property
    def left(self) -> int | None:
        """The number of the next line, from 1; None where there is none."""
        return None if self._next is None else self._number

    def _advance(self) -> None:
        self._next = None
        if self._file is None or self.broken is not None:
            return
        self._number += 1
        start = self._start
        raw = self._file.readline(MAX_LINE + 1)
        self._start = start + len(raw)
        if not raw:
            return
        if len(raw) > MAX_LINE:
            self.broken = f"line {self._number} is longer than {MAX_LINE} bytes"
            return
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict) or not raw.endswith(b"\n"):
            self.broken = f"line {self._number} is not an object of JSON on one line"
            return
        self._next = Line(start, value)


def _opened(path: Path) -> BinaryIO | None:
    """The file, or None where there is none. Raises `CannotCheck` where it cannot be read."""
    try:
        # As with every file of an export: a named pipe that somebody left here must not be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotCheck(f"{INPUTS} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise CannotCheck(f"{INPUTS} is not a regular file.")
    return os.fdopen(handle, "rb", buffering=1 << 20)
