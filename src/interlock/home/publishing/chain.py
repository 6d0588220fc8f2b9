"""The chain of the ledger's keys: under which name and with which key it is signed, and what said so.

1. A link is a verifier key and the entry that names it. The first one has no entry: it is the key that the
   home was made with, and what strangers pin.
2. ``ledger.key_rotated`` gives the same name a new key, ``ledger.epoch_opened`` the same key a new name. An
   entry counts only where it follows from the link before; an epoch also needs the row that carries the mark
   of this home's keys. Anything else means that somebody wrote into the database, and nothing is signed.
3. A key is never taken back into use: whoever finds an old one gains nothing by naming it again.
4. The handover of a link is a checkpoint of the log up to and including its entry, signed by the key before
   and by its own. It follows from entries and keys alone, so that every host makes the same bytes.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from interlock.journal.epochs import FIRST, Epoch
from interlock.ledger import TILE_WIDTH, Kind
from interlock.model.errors import Tampered

MARKER = b'"kind":"ledger.'
"""Stands in every entry about the ledger itself, and in no other: inside a text the quotes are escaped."""


@dataclass(frozen=True, slots=True)
class Link:
    """One key of the chain.

    Attributes:
        vkey: the verifier key.
        entry: number of the entry that names it; -1 for the first.
        at: that entry's time, in microseconds UTC.
        epoch: the number of the ledger's epoch.
    """

    vkey: str
    entry: int = -1
    at: int = 0
    epoch: int = FIRST

    @property
    def name(self) -> str:
        """The log's name while this key signs it."""
        return self.vkey.partition("+")[0]

    @property
    def key(self) -> str:
        """The public key, in base64."""
        return self.vkey.split("+", 2)[2]


@dataclass(frozen=True, slots=True)
class Chain:
    """The keys, and how far the log was pruned.

    Attributes:
        links: oldest first.
        first: entries before this number were pruned.
        guessed: this host has signed and followed nothing: the first link is what its keystore has today,
            and the entries may name the one that was first.
    """

    links: tuple[Link, ...]
    first: int = 0
    guessed: bool = False

    @property
    def current(self) -> Link:
        """The link that signs now."""
        return self.links[-1]

    def cut(self, size: int) -> Chain:
        """The chain as the first `size` entries tell it."""
        return replace(self, links=tuple(link for link in self.links if link.entry < size))

    def heed(self, number: int, body: bytes, epochs: Iterable[Epoch]) -> Chain:
        """The chain after one more entry.

        Args:
            body: an entry that has `MARKER` in it.
            epochs: the rows that carry this home's mark.

        Raises:
            Tampered: the entry does not follow from the chain.
        """
        try:
            return self._heeded(number, json.loads(body), epochs)
        except (ValueError, KeyError, TypeError) as error:
            raise Tampered(f"Entry {number} about the ledger does not read: {error!r}.") from error

    def _heeded(self, number: int, said: dict[str, Any], epochs: Iterable[Epoch]) -> Chain:
        kind = said["kind"]
        if kind == Kind.LEDGER_PRUNED:
            before = int(said["before"])
            if not 0 <= before <= number or before % TILE_WIDTH:
                raise Tampered(f"Entry {number} says that entries were pruned which cannot have been.")
            return replace(self, first=max(self.first, before))
        if kind == Kind.LEDGER_KEY_ROTATED:
            chain = self._begun(str(said["previous"]))
            return replace(chain, links=(*chain.links, chain._rotated(number, said)))
        if kind == Kind.LEDGER_EPOCH_OPENED:
            chain = self._begun(renamed(str(said["vkey"]), str(said["previous"])))
            return replace(chain, links=(*chain.links, chain._opened(number, said, epochs)))
        return self

    def _begun(self, vkey: str) -> Chain:
        """The chain with its first link as an entry tells it, where that was only guessed."""
        return replace(self, links=(Link(vkey),), guessed=False) if self.guessed else self

    def _rotated(self, number: int, said: dict[str, Any]) -> Link:
        last = self.current
        link = Link(str(said["vkey"]), number, int(said["at"]), last.epoch)
        known = {each.key for each in self.links}
        if said["previous"] != last.vkey or link.name != last.name or link.key in known:
            raise Tampered(f"Entry {number} names a signing key that does not follow from the one before.")
        return link

    def _opened(self, number: int, said: dict[str, Any], epochs: Iterable[Epoch]) -> Link:
        last = self.current
        link = Link(str(said["vkey"]), number, int(said["at"]), int(said["epoch"]))
        authentic = any(
            (each.number, each.origin, each.kept) == (link.epoch, link.name, number) for each in epochs
        )
        if not authentic or link.epoch <= last.epoch or said["previous"] != last.name or link.key != last.key:
            raise Tampered(f"Entry {number} opens an epoch of the ledger that this home did not open.")
        return link


def renamed(vkey: str, name: str) -> str:
    """The verifier key of the same public key under another name."""
    encoded = vkey.split("+", 2)[2]
    label = sha256(name.encode() + b"\n" + b64decode(encoded)).digest()[:4]
    return f"{name}+{label.hex()}+{encoded}"
