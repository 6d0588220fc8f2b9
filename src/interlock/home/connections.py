"""What a home says about the systems that actions reach: credentials and MCP servers, read when needed.

1. A credential is the environment variable ``INTERLOCK_CREDENTIAL_<NAME>`` or the file
   ``credentials/<name>``, which nobody else may read. Nothing of it is kept in the journal, or in memory
   longer than a call takes.
2. An MCP server that this machine starts is the file ``servers/<name>.json``, which nobody else may write.
3. Only a file is written back: whole, to the disk, and in one step.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path

from interlock.model.errors import HomeUnusable

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


class Connections:
    """The folders ``credentials`` and ``servers`` of a home.

    Raises:
        HomeUnusable: a file is open to others, or is no text.
    """

    def __init__(self, home: Path) -> None:
        self._credentials = home / "credentials"
        self._servers = home / "servers"

    def read(self, name: str) -> str | None:
        """What is kept under a credential's name; None where there is nothing."""
        if not _NAME.fullmatch(name):
            return None
        value = os.environ.get(_variable(name))
        return value if value is not None else _text(self._credentials / name, 0o077, "read", 600)

    def write(self, name: str, value: str) -> bool:
        """Replace a credential's file; False where the environment gives the value."""
        if not _NAME.fullmatch(name) or _variable(name) in os.environ:
            return False
        file = self._credentials / name
        fresh = file.with_name(f".{name}.{os.getpid()}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(value)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        folder = os.open(self._credentials, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True

    def lock(self, name: str) -> Callable[[], None] | None:
        """What gives the lock on a credential back; None while somebody else has it."""
        self._credentials.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self._credentials / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return lambda: os.close(handle)

    def server(self, name: str) -> str | None:
        """The text of an MCP server's file; None where there is none."""
        if not _NAME.fullmatch(name):
            return None
        return _text(self._servers / f"{name}.json", 0o022, "written", 644)


def _variable(name: str) -> str:
    return f"INTERLOCK_CREDENTIAL_{name.upper().replace('-', '_')}"


def _text(file: Path, closed: int, done: str, mode: int) -> str | None:
    try:
        if file.stat().st_mode & closed:
            raise HomeUnusable(f"{file} can be {done} by others.", fix=f"Run: chmod {mode} {file}")
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise HomeUnusable(f"{file} is no text in UTF-8.") from None
    except OSError as error:
        raise HomeUnusable(f"{file} cannot be read: {error.strerror}.") from None
