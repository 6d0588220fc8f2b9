"""A witness's folder: ``key.json`` (name and private key), ``logs`` (verifier keys, one a line), ``seen.db``.

1. The folder and the key are private to their OS user; a key that others can read is refused.
2. Name and key are made together, once. A name without a key, or another name for the same key, would break
   what a cosignature means.
3. A line of ``logs`` is a log's verifier key; empty lines and those that begin with ``#`` are passed over.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.ledger import Cosigner
from interlock.model.errors import HomeUnusable, InvalidInput
from interlock.verify.note import BadNote, Key, UnknownAlgorithm
from interlock.witness.store import Store


class Folder:
    """An open witness's folder.

    Attributes:
        cosigner: its key. store: its memory. logs: by origin, the keys that may sign for it.
    """

    def __init__(self, path: Path, cosigner: Cosigner) -> None:
        self.path = path
        self.cosigner = cosigner
        self.store = Store(path / "seen.db")
        self.logs: dict[str, list[Key]] = {}
        for vkey in self._listed():
            self._know(vkey)

    @classmethod
    def open(cls, path: Path, *, name: str | None = None, create: bool = True) -> Folder:
        """Open a folder, making it and its key where there is none.

        Args:
            name: of the key, by convention a URL without its scheme; made up where nobody says.
            create: make what is missing.

        Raises:
            HomeUnusable: it cannot be used, or has another name. InvalidInput: the name is not acceptable.
        """
        file = path / "key.json"
        if create and not file.exists():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            chosen = f"interlock.local/witness/{secrets.token_hex(8)}" if name is None else name
            _make_key(file, chosen)
        cosigner = _read_key(file)
        if name is not None and name != cosigner.name:
            raise HomeUnusable(
                f"The witness in {path} is {cosigner.name}, and a key keeps its name.",
                fix="Leave out the name, or use another folder.",
            )
        return cls(path, cosigner)

    def add_logs(self, vkeys: Iterable[str]) -> None:
        """Know these logs from now on.

        Raises:
            InvalidInput: one of them is not a verifier key that is known here.
        """
        new = [vkey for vkey in dict.fromkeys(vkeys) if vkey not in self._listed()]
        for vkey in new:
            try:
                Key.parse(vkey)
            except (BadNote, UnknownAlgorithm) as error:
                raise InvalidInput(str(error), path="--log", fix="Name the log's verifier key.") from None
        if not new:
            return
        with (self.path / "logs").open("a", encoding="utf-8") as file:
            file.writelines(f"{vkey}\n" for vkey in new)
            file.flush()
            os.fsync(file.fileno())
        for vkey in new:
            self._know(vkey)

    def _know(self, vkey: str) -> None:
        try:
            key = Key.parse(vkey)
        except (BadNote, UnknownAlgorithm) as error:
            raise HomeUnusable(f"{self.path / 'logs'} holds a line that is no usable key: {error}.") from None
        self.logs.setdefault(key.name, []).append(key)

    def _listed(self) -> list[str]:
        try:
            lines = (self.path / "logs").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise HomeUnusable(f"{self.path / 'logs'} cannot be read: {error}.") from error
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _make_key(file: Path, name: str) -> None:
    """Write a new key; where another process was faster, its key stands."""
    key = Ed25519PrivateKey.generate()
    try:
        Cosigner(name, key)
    except ValueError as error:
        raise InvalidInput(
            str(error), path="--name", fix="A URL without its scheme, as in w.example/1."
        ) from None
    content = json.dumps({"name": name, "key": base64.b64encode(key.private_bytes_raw()).decode()})
    temporary = file.with_suffix(f".{os.getpid()}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(temporary)
    finally:
        temporary.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_key(file: Path) -> Cosigner:
    try:
        if (file.stat().st_mode | file.parent.stat().st_mode) & 0o022 or file.stat().st_mode & 0o077:
            raise HomeUnusable(
                f"{file} is open to others.", fix=f"Run: chmod 700 {file.parent}; chmod 600 {file}"
            )
        held = json.loads(file.read_bytes())
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(held["key"], validate=True))
        return Cosigner(held["name"], private)
    except FileNotFoundError:
        raise HomeUnusable(
            f"There is no witness in {file.parent}.", fix="Start one: interlock ledger witness --home DIR."
        ) from None
    except OSError as error:
        raise HomeUnusable(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HomeUnusable(f"{file} does not read: {error}.") from error
