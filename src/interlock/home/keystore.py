"""The keystore: secrets of one home, in files that only its user can read, outside the database.

``keystore/vault.json`` holds the sealing key and the MAC key, ``keystore/ledger.pem`` the Ed25519 key that
signs checkpoints, ``home.json`` the home's id, which names the log.
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


@dataclass(frozen=True)
class Keystore:
    """The secrets of a home.

    Attributes:
        origin: the log's name, unique to this home; also the signer's key name.
    """

    vault: Vault
    signer: Signer
    origin: str

    @classmethod
    def open(cls, home: Path, *, fresh: bool) -> Keystore:
        """Read the keystore, or make one for a fresh home.

        Raises:
            HomeUnusable: files are missing beside an existing database, unreadable, or readable by others.
        """
        folder = home / "keystore"
        identity, vault, ledger = home / "home.json", folder / "vault.json", folder / "ledger.pem"
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
            private = load_pem_private_key(ledger.read_bytes(), None)
            if not isinstance(private, Ed25519PrivateKey):
                raise ValueError("the ledger key is not Ed25519")
            return cls(
                Vault(base64.b64decode(keys["sealing"]), base64.b64decode(keys["mac"])),
                Signer(origin, private),
                origin,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(f"The keystore in {folder} does not read: {error}.") from error


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
