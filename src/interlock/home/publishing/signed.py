"""What this host signed or followed last, and the longest ledger it has seen: kept outside the database.

1. ``signed.json`` holds size and frontier of the tree, the checkpoint, and the chain of keys up to there. It
   is written before the checkpoint leaves this process.
2. ``mark`` holds the ledger's size after each commit, without waiting for the disk: a database put back after
   a crash is shorter than the mark even where nothing newer had been signed. Processes that write it wait
   for each other, and it only grows; a new epoch of the ledger begins it anew.
3. ``noted.json`` holds size and frontier of entries that a round found and could not sign, because another
   host has the lease: what is there then has to stay, whoever signs it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interlock.home.files import write_whole
from interlock.home.publishing.chain import Chain, Link
from interlock.ledger import Frontier
from interlock.model.errors import HomeUnusable

_SIGNED = "signed.json"
_NOTED = "noted.json"


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed or followed last.

    Attributes:
        tree: what the checkpoint names; empty where nothing was signed yet.
        note: the signed checkpoint; empty where nothing was.
        chain: of keys, as the tree's entries tell it.
        stale: how long the log was whose tiles may still lie here beyond this one; 0 where none do.
    """

    tree: Frontier
    note: str
    chain: Chain
    stale: int = 0

    @property
    def size(self) -> int:
        return self.tree.size

    @classmethod
    def read(cls, folder: Path, first: str) -> Signed:
        """What the folder says.

        Args:
            first: the verifier key of a home where nothing was signed yet.

        Raises:
            HomeUnusable: the file does not read.
        """
        path = folder / _SIGNED
        try:
            state = json.loads(path.read_bytes())
            links = tuple(Link(*link) for link in state.get("keys", [])) or (Link(first),)
            return cls(
                Frontier.from_bytes(state["size"], bytes.fromhex(state["frontier"])),
                state["checkpoint"],
                Chain(links, state.get("first", 0)),
                state.get("stale", 0),
            )
        except FileNotFoundError:
            return cls(Frontier.EMPTY, "", Chain((Link(first),), guessed=True))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HomeUnusable(
                f"{path} does not read: {error}.", fix="Restore it from its backup."
            ) from error

    def write(self, folder: Path) -> None:
        """Keep it, durably."""
        links = [[link.vkey, link.entry, link.at, link.epoch] for link in self.chain.links]
        state = {
            "size": self.size,
            "frontier": self.tree.to_bytes().hex(),
            "checkpoint": self.note,
            "keys": links,
            "first": self.chain.first,
            "stale": self.stale,
        }
        write_whole(folder / _SIGNED, json.dumps(state).encode())


def read_noted(folder: Path, epoch: int) -> Frontier:
    """What a round found and could not sign; empty where there is nothing of the kind.

    Args:
        epoch: the number of the ledger's epoch; what was noted in an earlier one does not count.

    Raises:
        HomeUnusable: the file does not read.
    """
    path = folder / _NOTED
    try:
        state = json.loads(path.read_bytes())
        tree = Frontier.from_bytes(state["size"], bytes.fromhex(state["frontier"]))
        return tree if state["epoch"] == epoch else Frontier.EMPTY
    except FileNotFoundError:
        return Frontier.EMPTY
    except (ValueError, KeyError, TypeError) as error:
        raise HomeUnusable(f"{path} does not read: {error}.", fix="Restore it from its backup.") from error


def write_noted(folder: Path, tree: Frontier, epoch: int) -> None:
    """Keep it, durably."""
    state = {"size": tree.size, "frontier": tree.to_bytes().hex(), "epoch": epoch}
    write_whole(folder / _NOTED, json.dumps(state).encode())


class Mark:
    """The file ``mark`` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "mark", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def read(self) -> int:
        """The longest ledger that was noted; 0 where none was."""
        noted = os.pread(self._file, 8, 0)
        return int.from_bytes(noted) if len(noted) == 8 else 0

    def note(self, size: int) -> None:
        """Note a size, where it is larger than what is noted."""
        with self._alone():
            if size > self.read():
                os.pwrite(self._file, size.to_bytes(8), 0)

    def begin(self, size: int) -> None:
        """Note a size, whatever is noted."""
        with self._alone():
            os.pwrite(self._file, size.to_bytes(8), 0)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
