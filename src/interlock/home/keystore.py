"""The keystore: secrets of one home, in files that only its user can read, outside the database.

1. ``keystore/vault.json`` holds the sealing key and the MAC key, ``home.json`` the home's id, which names the
   log.
2. ``keystore/ledger.pem`` is the Ed25519 key that signs checkpoints. While it is being replaced there are two
   files: ``ledger-next.pem``, made before anybody is told of it, then ``ledger-<public key>.pem``, the one
   before, which signs beside the new one for a while. Which of them signs, the ledger's own entries say; the
   files' names are for people.
3. At no moment of a replacement is a key in no file.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from interlock.home.files import write_whole
from interlock.journal.vault import KEY_BYTES, Vault
from interlock.ledger import Signer
from interlock.model.errors import HomeUnusable
from interlock.model.ids import new_id

_CURRENT, _NEXT = "ledger.pem", "ledger-next.pem"


@dataclass(frozen=True)
class Keystore:
    """The secrets of a home.

    Attributes:
        signer: signs with the current key, under the name of the log's first epoch.
        origin: that name, unique to this home.
        folder: where the files are.
    """

    vault: Vault
    signer: Signer
    origin: str
    folder: Path

    @classmethod
    def open(cls, home: Path, *, fresh: bool) -> Keystore:
        """Read the keystore, or make one for a fresh home.

        Raises:
            HomeUnusable: files are missing beside an existing database, unreadable, or readable by others.
        """
        folder = home / "keystore"
        identity, vault, ledger = home / "home.json", folder / "vault.json", folder / _CURRENT
        if fresh:
            folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_dir() and folder.stat().st_mode & 0o077:
            raise HomeUnusable(f"{folder} is open to others.", fix=f"Run: chmod 700 {folder}")
        if fresh:
            _create(identity, json.dumps({"id": new_id("hom")}).encode())
            _create(vault, _new_vault())
            _create(ledger, _new_signing_key())
        for path in (identity, vault, ledger):
            _check(path)
        try:
            keys = json.loads(vault.read_bytes())
            origin = f"interlock.local/{json.loads(identity.read_bytes())['id'][4:20]}"
            return cls(
                Vault(base64.b64decode(keys["sealing"]), base64.b64decode(keys["mac"])),
                Signer(origin, _private(ledger)),
                origin,
                folder,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(f"The keystore in {folder} does not read: {error}.") from error

    # --- the keys that sign ---------------------------------------------------------------------------------

    @property
    def vkey(self) -> str:
        """The verifier key in force, as the publisher noted it; without a note, that of the first name."""
        try:
            return (self.folder.parent / "ledger" / "vkey").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return self.signer.vkey

    def signing(self, vkey: str) -> Signer | None:
        """What signs for a verifier key; None where its private key is not here.

        Raises:
            HomeUnusable: a key file does not read, or others can read it.
        """
        name = vkey.partition("+")[0]
        for path in self._files():
            signer = Signer(name, self._key(path))
            if signer.vkey == vkey:
                return signer
        return None

    def next(self, name: str) -> Signer:
        """The key that is to follow, made where there is none yet."""
        path = self.folder / _NEXT
        _create(path, _new_signing_key())
        return Signer(name, self._key(path))

    def promote(self, vkey: str) -> None:
        """Make the key the current one, and keep the one before under its own name; repeated, it changes
        nothing."""
        name, current = vkey.partition("+")[0], self.folder / _CURRENT
        before = Signer(name, self._key(current))
        if before.vkey == vkey:
            if self._same(current, _NEXT):
                (self.folder / _NEXT).unlink()
            return
        for path in self._files():
            if Signer(name, self._key(path)).vkey == vkey:
                write_whole(self._kept(before.vkey), current.read_bytes())
                write_whole(current, path.read_bytes())
                path.unlink()
                return

    def forget(self, vkey: str) -> None:
        """Delete the private key of a verifier key that is no longer the current one."""
        path = self._kept(vkey)
        if path.exists() and Signer(vkey.partition("+")[0], self._key(path)).vkey == vkey:
            path.unlink()

    def _kept(self, vkey: str) -> Path:
        """Where a former key lies: by its key, whatever its name was."""
        return self.folder / f"ledger-{base64.b64decode(vkey.split('+', 2)[2])[1:9].hex()}.pem"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("ledger*.pem"), key=lambda path: (path.name != _CURRENT, path.name))

    def _same(self, path: Path, other: str) -> bool:
        try:
            return path.read_bytes() == (self.folder / other).read_bytes()
        except FileNotFoundError:
            return False

    def _key(self, path: Path) -> Ed25519PrivateKey:
        _check(path)
        try:
            return _private(path)
        except ValueError as error:
            raise HomeUnusable(f"{path} does not read: {error}.") from error


def _private(path: Path) -> Ed25519PrivateKey:
    private = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the ledger key is not Ed25519")
    return private


def _new_vault() -> bytes:
    keys = {name: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() for name in ("sealing", "mac")}
    return json.dumps(keys).encode()


def _new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _create(path: Path, content: bytes) -> None:
    """Write a new secret; keep the one that is there."""
    if not path.exists():
        write_whole(path, content)


def _check(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise HomeUnusable(
            f"{path} is missing beside an existing database.",
            fix="Restore it from its backup; without it nothing sealed can be opened or proved.",
        ) from None
    if mode & 0o077:
        raise HomeUnusable(f"{path} can be read by others.", fix=f"Run: chmod 600 {path}")
