"""Handing the log over from one key to the next, and what becomes of the keys.

1. The handover to link N+1 of the chain is ``handovers/NNN``: a checkpoint of the log up to and including the
   entry that names the link, under its name, signed by the key before and by its own. Whoever pinned the
   first key walks from one to the next.
2. A replaced key signs beside its successor for `OVERLAP_US` from the entry on, so that nobody who has yet to
   walk is left with checkpoints they cannot check. Then its private key is deleted, not before the handover
   is on disk.
3. Every step follows from the chain and the files, and is done again where a crash left it out.
"""

from __future__ import annotations

from pathlib import Path

from interlock.home.files import write_whole
from interlock.home.keystore import Keystore
from interlock.home.publishing.chain import Chain
from interlock.home.publishing.signed import Signed
from interlock.home.publishing.tiles import NoTiles, TileFolder
from interlock.ledger import Signer, checkpoint
from interlock.model.errors import HomeUnusable

OVERLAP_US = 7 * 24 * 3600 * 1_000_000
"""How long a replaced key signs beside its successor."""


class KeyMissing(HomeUnusable):
    """The key that signs the ledger now is not in this host's keystore."""

    slug = "signing-key-missing"
    title = "This host has not the key that signs the ledger"
    advice = "Copy the folder keystore from the host where the key was replaced."


class Handovers:
    """The folder ``handovers`` of a home's ledger, and the keys of its keystore."""

    def __init__(self, folder: Path, keys: Keystore) -> None:
        self._folder = folder / "handovers"
        self._keys = keys

    def read(self, number: int) -> str | None:
        """The handover to link `number` + 1; None where it is not here."""
        try:
            return self._path(number).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def all(self, chain: Chain) -> list[str]:
        """Every handover of a chain.

        Raises:
            HomeUnusable: one is not here; it was made on another host.
        """
        notes = [self.read(number) for number in range(len(chain.links) - 1)]
        if None in notes:
            raise HomeUnusable(
                f"{self._path(notes.index(None))} is missing: who pinned an older key could not go on.",
                fix="Copy the folder ledger/handovers from the host where the key was replaced.",
            )
        return [note for note in notes if note is not None]

    def signed(self, text: str, chain: Chain, now: int) -> str:
        """A checkpoint's text with the signatures it has to carry now.

        Args:
            now: microseconds UTC.

        Raises:
            KeyMissing: the key in force is not here.
        """
        signers = [self.signer(chain)]
        for link, after in zip(chain.links, chain.links[1:], strict=False):
            if link.name == chain.current.name and link.key != after.key and now <= after.at + OVERLAP_US:
                former = self._keys.signing(link.vkey)
                signers += [former] if former is not None else []
        return _together(text, *signers)

    def signer(self, chain: Chain) -> Signer:
        """The key in force. Raises `KeyMissing`."""
        found = self._keys.signing(chain.current.vkey)
        if found is None:
            raise KeyMissing(f"The ledger is signed with {chain.current.vkey}.")
        return found

    def settle(self, state: Signed, tiles: TileFolder, now: int) -> None:
        """Write what handovers are missing, put the key files in order, and delete keys whose time is up."""
        chain = state.chain
        if len(chain.links) == 1:
            return
        for number in range(len(chain.links) - 1):
            if not self._path(number).exists():
                self._write(number, state, tiles)
        if self._keys.signing(chain.current.vkey) is None:
            return
        self._keys.promote(chain.current.vkey)
        for number, after in enumerate(chain.links[1:]):
            link = chain.links[number]
            if link.key != after.key and now > after.at + OVERLAP_US and self._path(number).exists():
                self._keys.forget(link.vkey)

    def set_aside(self, chain: Chain, kept: Chain, aside: Path) -> None:
        """Move the handovers of a chain that are not those of a shorter one to another folder."""
        for number in range(len(kept.links) - 1, len(chain.links) - 1):
            if self._path(number).exists():
                (aside / "handovers").mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path(number).replace(aside / "handovers" / self._path(number).name)

    def _write(self, number: int, state: Signed, tiles: TileFolder) -> None:
        """Make a handover, where both keys are here."""
        link = state.chain.links[number + 1]
        old, new = (self._keys.signing(each.vkey) for each in state.chain.links[number : number + 2])
        if old is None or new is None:
            return  # it was made on another host; who needs it is told so
        try:
            tree = tiles.tree(link.entry + 1)
            rest = tiles.leaves(tree.size, state.size)
            if tree.appended(rest) != state.tree:
                raise HomeUnusable(
                    "The tiles of this home are not those of the tree that was signed.",
                    fix="Move the folder ledger/tile aside; it is made anew from the entries.",
                )
        except NoTiles as error:
            raise HomeUnusable(f"The handover to a new key cannot be made: {error}.") from error
        self._folder.mkdir(mode=0o700, exist_ok=True)
        text = checkpoint(link.name, tree.size, tree.root())
        write_whole(self._path(number), _together(text, old, new).encode())

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:03d}"


def _together(text: str, *signers: Signer) -> str:
    """A note with one signature line for each signer."""
    lines = (signer.sign(text).removeprefix(f"{text}\n") for signer in signers)
    return f"{text}\n{''.join(lines)}"
