"""What wraps subjects' keys in this home: the keystore's own key, or a command that asks a key service.

1. ``INTERLOCK_KEY_WRAP`` says which: nothing or ``file`` for the keystore, ``command:/absolute/path`` for a
   command. The home does not remember it, because a folder must not be able to say what is executed.
2. Keys that the keystore wrapped before go on opening where a command is named; new ones are wrapped by the
   command.
3. The command is run once for each call, without a shell and with this process's environment. It reads one
   JSON object: ``{"v": 1, "operation": "wrap", "key": …, "aad": …}`` or ``{"v": 1, "operation": "unwrap",
   "wrapped": …, "aad": …}``, everything in base64, and answers ``{"wrapped": …}`` or ``{"key": …}`` with exit
   code 0. What it wraps it must bind to `aad` (an encryption context). Exit code 3 says that these bytes were
   not wrapped with this `aad`. Any other end, no answer within `TIMEOUT_SEC` included, means that there is no
   answer now: nothing is sealed or opened, and for `PAUSE_SEC` it is not asked again.
4. The command gets keys in the clear, so nobody else may change what it is. Before each call everything on
   the way to it is looked at, symbolic links included: each belongs to this process's user or to root, and
   nobody else can write to it, but into a folder whose sticky bit keeps them from what is not theirs.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.journal import KeyFile, KeysUnavailable, KeyWrap, Subjects, Vault
from interlock.model.errors import HomeUnusable, Tampered
from interlock.model.text import visible

VARIABLE = "INTERLOCK_KEY_WRAP"
TIMEOUT_SEC = 5.0
PAUSE_SEC = 1.0
REFUSED = 3
MAX_LINKS = 40
MAX_ANSWER = 4_096
_log = logging.getLogger(__name__)


class CommandWrap:
    """A command that wraps and unwraps (rule 3). Thread-safe.

    Raises:
        HomeUnusable: there is no such command, or others may change it.
    """

    tag = 2
    name = "the wrapping command"
    remote = True

    def __init__(self, path: Path, *, timeout_sec: float = TIMEOUT_SEC) -> None:
        self._path = path
        self._timeout_sec = timeout_sec
        self._lock = threading.Lock()
        self._pause_until = 0.0
        _check(path)

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        return self._ask("wrap", "key", key, "wrapped", aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        return self._ask("unwrap", "wrapped", wrapped, "key", aad)

    def _ask(self, operation: str, given: str, content: bytes, wanted: str, aad: bytes) -> bytes:
        with self._lock:
            if time.monotonic() < self._pause_until:
                raise KeysUnavailable(f"{self.name.capitalize()} failed a moment ago.")
        _check(self._path)
        question = {"v": 1, "operation": operation, given: _encoded(content), "aad": _encoded(aad)}
        try:
            code, answer = self._run(json.dumps(question).encode())
            if code == REFUSED:
                raise Tampered(f"{self.name.capitalize()} says that a subject's key is not what it wrapped.")
            if code != 0:
                raise KeysUnavailable(f"{self.name.capitalize()} ended with {code}.")
            return _read(answer, wanted)
        except KeysUnavailable:
            with self._lock:
                self._pause_until = time.monotonic() + PAUSE_SEC
            raise

    def _run(self, question: bytes) -> tuple[int, bytes]:
        """Exit code and output. Raises `KeysUnavailable` where it does not run or does not end."""
        try:
            process = subprocess.Popen(  # noqa: S603 (the operator named it, and there is no shell)
                [str(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise KeysUnavailable(f"{self.name.capitalize()} does not run: {error.strerror}.") from error
        with process:
            try:
                output, complaint = process.communicate(question, timeout=self._timeout_sec)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # what it started holds our pipes too
                raise KeysUnavailable(f"{self.name.capitalize()} gave no answer in time.") from None
        if process.returncode != 0 and complaint:
            _log.error("%s: %s", self._path, visible(complaint[:500].decode("utf-8", "replace")))
        return process.returncode, output


def _check(path: Path) -> None:
    if not path.is_absolute() or not path.is_file() or not os.access(path, os.X_OK):
        raise HomeUnusable(f"{VARIABLE} names {path}, which is no command.", fix="Give its absolute path.")
    for place, found in _way(path):
        if found.st_uid not in (0, os.geteuid()):
            raise HomeUnusable(
                f"{place}, on the way to {path}, belongs to another user.",
                fix=f"Keep the command where only root or this user writes; or run: chown root {place}",
            )
        link, folder = stat.S_ISLNK(found.st_mode), stat.S_ISDIR(found.st_mode)
        if not link and found.st_mode & 0o022 and not (folder and found.st_mode & stat.S_ISVTX):
            raise HomeUnusable(f"{place} can be changed by others.", fix=f"Run: chmod go-w {place}")


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything that decides what an absolute path names: folders, links, what they lead through, the file.

    Raises:
        HomeUnusable: it leads nowhere.
    """
    place, rest, links = Path("/"), list(path.parts[1:]), 0
    try:
        yield place, place.lstat()
        while rest:
            part = rest.pop(0)
            if part == "..":
                place = place.parent  # no link is left in it
                continue
            found = (place / part).lstat()
            yield place / part, found
            if not stat.S_ISLNK(found.st_mode):
                place /= part
                continue
            links += 1
            target = (place / part).readlink()
            if links > MAX_LINKS:
                raise OSError
            if target.is_absolute():
                place = Path("/")
            rest = [*target.parts[target.is_absolute() :], *rest]
    except OSError:
        raise HomeUnusable(f"{VARIABLE} names {path}, which leads nowhere.") from None


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read(answer: bytes, wanted: str) -> bytes:
    """The one value of an answer. Raises `KeysUnavailable` where it is none."""
    try:
        if len(answer) > MAX_ANSWER:
            raise ValueError
        document: Any = json.loads(answer)
        return base64.b64decode(document[wanted], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise KeysUnavailable(f"The wrapping command's answer holds no {wanted} in base64.") from None


def subjects(
    vault: Vault,
    erased: Callable[[str, bytes], bool],
    environment: Mapping[str, str] = os.environ,
) -> Subjects:
    """The keys of a home's subjects, wrapped as the environment says.

    Args:
        erased: whether the key of that subject and serial was destroyed.

    Raises:
        HomeUnusable: the environment names something that cannot be used.
    """
    file = KeyFile(vault.wrapping_key())
    named = environment.get(VARIABLE, "").strip()
    kind, _, place = named.partition(":")
    if named in ("", "file"):
        return Subjects(file, erased=erased)
    if kind != "command" or not place:
        raise HomeUnusable(f"{VARIABLE} is {named!r}.", fix="Write command:/absolute/path, or nothing.")
    command: KeyWrap = CommandWrap(Path(place))
    return Subjects(command, file, erased=erased)
