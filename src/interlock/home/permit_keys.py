"""The keys that sign a home's permits: files of the keystore, replaceable while servers run.

1. ``keystore/permit.pem`` is the Ed25519 key that signs now, made when a server first starts.
   ``keystore/permit-former.json`` names the public keys before it, newest first, and when each was replaced.
2. A replaced key is published for another ten minutes, five times as long as any permit it signed lives. For
   reports of long runs the gate itself knows the last `KNOWN` keys.
3. A process notices a replacement by the files, before it signs or checks the next permit.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from interlock.home.files import write_whole
from interlock.journal import Clock
from interlock.model.errors import HomeUnusable
from interlock.permit import PermitKey, PublicKeys, thumbprint

PUBLISHED_US = 600_000_000
KNOWN = 16
_Former = list[tuple[Ed25519PublicKey, int]]


class PermitKeyFiles:
    """The permit keys in a keystore folder. Thread-safe.

    Args:
        clock: tells when a key was replaced, and how long ago.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._file = folder / "permit.pem"
        self._former_file = folder / "permit-former.json"
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self._key: PermitKey | None = None
        self._former: _Former = []

    def current(self) -> PermitKey:
        """The key that signs now; made where there is none. Raises `HomeUnusable`."""
        return self._read()[0]

    def known(self) -> PublicKeys:
        """The current key and the last `KNOWN` before it, by thumbprint."""
        key, former = self._read()
        return {key.kid: key.public, **{thumbprint(public): public for public, _ in former}}

    def published(self) -> PublicKeys:
        """The current key, and those that were replaced less than ten minutes ago."""
        key, former = self._read()
        since = self._clock.now() - PUBLISHED_US
        recent = {thumbprint(public): public for public, at in former if at > since}
        return {key.kid: key.public, **recent}

    def rotate(self) -> PermitKey:
        """Replace the key. What it signed stays valid until it expires.

        The old key's name is written down before the new key takes its place, so that a crash loses neither.
        """
        with self._lock:
            key, former = self._load()
            former = [(key.public, self._clock.now()), *(f for f in former if f[0] != key.public)][:KNOWN]
            listed = [{"x": _text(public), "replaced_at": at} for public, at in former]
            write_whole(self._former_file, json.dumps(listed).encode())
            write_whole(self._file, _pem(Ed25519PrivateKey.generate()))
            return self._load()[0]

    def _read(self) -> tuple[PermitKey, _Former]:
        with self._lock:
            if self._key is None or self._stamp() != self._seen:
                return self._load()
            return self._key, self._former

    def _load(self) -> tuple[PermitKey, _Former]:
        """Read both files anew. The caller holds the lock."""
        if not self._file.exists():
            self._make()
        self._seen = self._stamp()
        try:
            if self._file.stat().st_mode & 0o077:
                raise HomeUnusable(f"{self._file} can be read by others.", fix=f"Run: chmod 600 {self._file}")
            private = load_pem_private_key(self._file.read_bytes(), None)
            if not isinstance(private, Ed25519PrivateKey):
                raise ValueError("the permit key is not Ed25519")
            self._former = self._read_former()
            self._key = PermitKey(private)
        except (ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(f"The permit keys in {self._file.parent} do not read: {error}.") from error
        return self._key, self._former

    def _read_former(self) -> _Former:
        try:
            listed = json.loads(self._former_file.read_bytes())
        except FileNotFoundError:
            return []
        return [
            (Ed25519PublicKey.from_public_bytes(base64.b64decode(item["x"])), int(item["replaced_at"]))
            for item in listed
        ]

    def _make(self) -> None:
        """The first key. Of several processes that make one, the first one's counts."""
        own = self._file.with_name(f"permit-{os.getpid()}-{threading.get_ident()}.pem")
        write_whole(own, _pem(Ed25519PrivateKey.generate()))
        try:
            os.link(own, self._file)
        except FileExistsError:
            return
        finally:
            own.unlink()

    def _stamp(self) -> tuple[object, ...]:
        """What changes when a file is replaced."""
        stamps: list[object] = []
        for file in (self._file, self._former_file):
            try:
                found = file.stat()
            except FileNotFoundError:
                stamps.append(None)
            else:
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_mode))
        return tuple(stamps)


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _text(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()
