"""What the hook remembers between its processes: which action a tool call belongs to, and its claim.

1. A folder that only its user reads. Its files hold no value of an argument and no key: sessions, calls and
   wishes are hashes, beside the action's id and its claim.
2. It is no authority. Losing it costs reports (what ran is in doubt) and sends a repeated call through the
   policy again; the claim is at the gate.
3. Sessions that nobody touched for `KEEP_DAYS` are removed when a new one begins.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interlock.adapters.claude_code.tools import Call
from interlock.model.canonical import canonical

KEEP_DAYS = 30


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of one call, or of one wish (a session's tool and arguments).

    Attributes:
        epoch: of the claim that was answered with "allow"; 0 before.
        holder: what a report on that claim has to know.
        ran, names: hash and names of the arguments that the tool was let to run with.
        told: whether the model was told how it ended.
    """

    action: str
    tier: int | None = None
    revision: int = 1
    epoch: int = 0
    holder: str = ""
    ran: str = ""
    names: tuple[str, ...] = ()
    told: bool = False


class Memory:
    """The remembered calls of one session. Raises `OSError` where the folder cannot be used."""

    def __init__(self, folder: Path, session: str) -> None:
        self._folder = folder / _hash(session)
        if not self._folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _clear(folder)
            self._folder.mkdir(mode=0o700, exist_ok=True)

    def of_call(self, call: Call) -> Kept | None:
        """What this very call is bound to."""
        return None if call.use_id is None else self._read(f"call-{_hash(call.use_id)}")

    def of_wish(self, call: Call) -> Kept | None:
        """What the last call with the same tool and arguments was bound to."""
        return self._read(_wish(call))

    def keep(self, call: Call, kept: Kept) -> None:
        """Remember it for this call and for its wish."""
        self._write(_wish(call), kept)
        if call.use_id is not None:
            self._write(f"call-{_hash(call.use_id)}", kept)

    def _read(self, name: str) -> Kept | None:
        try:
            found: dict[str, Any] = json.loads((self._folder / name).read_bytes())
        except FileNotFoundError:
            return None
        return Kept(**{**found, "names": tuple(found["names"])})

    def _write(self, name: str, kept: Kept) -> None:
        beside = self._folder / f"{name}.{os.getpid()}"
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(kept), file)
        beside.replace(self._folder / name)


def printed(value: object) -> str:
    """A hash by which arguments are compared."""
    return hashlib.sha256(canonical(value)).hexdigest()  # type: ignore[arg-type]


def _wish(call: Call) -> str:
    return f"wish-{_hash(call.topic, printed(call.args))}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _clear(folder: Path) -> None:
    oldest = time.time() - KEEP_DAYS * 86_400
    for session in folder.iterdir():
        if session.is_dir() and session.stat().st_mtime < oldest:
            shutil.rmtree(session, ignore_errors=True)
