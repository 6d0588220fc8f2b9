"""The webhooks of a home: the files ``webhooks/<name>.json``, which nobody else may read.

1. A file holds where events go, the secrets that sign them, and whose and which events those are. It is
   outside the database: whoever can write there neither redirects an event nor signs one.
2. Files are looked at whenever there is something to tell, so that a webhook counts from the moment its file
   is there, in every process. Hosts that share a database each need the files.
3. A file that cannot be used is told everything, and delivers nothing: what it missed is kept as undelivered,
   with the reason, instead of being lost without a word.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from interlock.dispatch.webhooks import Endpoint, UnusableWebhook, fresh_secret
from interlock.home.files import write_whole
from interlock.model.errors import Conflict, HomeUnusable, NotFound

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_log = logging.getLogger(__name__)


class Broken(NamedTuple):
    """A webhook whose file cannot be used, and why."""

    name: str
    why: str

    def wants(self, agent: str, type: str) -> bool:
        """Rule 3."""
        del agent, type
        return True


class WebhookFiles:
    """The folder ``webhooks`` of a home. Thread-safe."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "webhooks"
        self._seen: dict[str, tuple[tuple[int, int, int], Endpoint | Broken]] = {}

    def all(self) -> Sequence[Endpoint | Broken]:
        """Every webhook there is now, by name; never raises."""
        found: dict[str, tuple[tuple[int, int, int], Endpoint | Broken]] = {}
        try:
            entries = sorted(os.scandir(self._folder), key=lambda entry: entry.name)
        except OSError:
            return ()
        for entry in entries:
            name = entry.name.removesuffix(".json")
            if name == entry.name or not _NAME.fullmatch(name):
                continue
            try:
                state = entry.stat()
            except OSError:
                continue  # it was removed just now
            stamp = (state.st_mtime_ns, state.st_size, state.st_mode)
            known = self._seen.get(name)
            found[name] = known if known and known[0] == stamp else (stamp, self._load(name))
        self._seen = found
        return [webhook for _, webhook in found.values()]

    def _load(self, name: str) -> Endpoint | Broken:
        try:
            text = self.read(name)
            if text is None:
                return Broken(name, "its file is gone")
            return Endpoint.parse(name, text)
        except (HomeUnusable, UnusableWebhook) as error:
            _log.error("%s", error)
            return Broken(name, error.detail)
        except OSError as error:
            _log.error("the webhook %s cannot be read: %s", name, error.strerror)
            return Broken(name, "its file cannot be read")

    def read(self, name: str) -> str | None:
        """The text of a webhook's file; None where there is none.

        Raises:
            HomeUnusable: others may read it, or it is no text.
        """
        file = self._file(name)
        try:
            if file.stat().st_mode & 0o077:
                raise HomeUnusable(f"{file} can be read by others.", fix=f"Run: chmod 600 {file}")
            return file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise HomeUnusable(f"{file} is no text in UTF-8.") from None

    def add(
        self, name: str, url: str, *, agents: Sequence[str], events: Sequence[str], networks: Sequence[str]
    ) -> str:
        """Make a webhook; returns its secret, which is shown this once.

        Raises:
            UnusableWebhook: a value cannot be used. Conflict: there is one of that name.
        """
        if not _NAME.fullmatch(name):
            raise UnusableWebhook("A webhook's name is lower case letters, digits and dashes, at most 40.")
        if self._file(name).exists():
            raise Conflict(
                f"There is a webhook {name} already.", fix="Remove it first, or take another name."
            )
        secret = fresh_secret()
        told = {"agents": list(agents), "events": list(events), "networks": list(networks)}
        self._write(name, {"url": url, "secrets": [secret], **told})
        return secret

    def rotate(self, name: str) -> str:
        """Sign with a new secret beside the newest one, and no longer with an older one; returns it.

        Raises:
            NotFound: there is none. UnusableWebhook, HomeUnusable: its file cannot be used.
        """
        text = self.read(name)
        if text is None:
            raise NotFound(f"There is no webhook {name}.", fix="See: interlock webhooks list")
        Endpoint.parse(name, text)
        document = json.loads(text)
        secret = fresh_secret()
        self._write(name, {**document, "secrets": [secret, document["secrets"][0]]})
        return secret

    def remove(self, name: str) -> None:
        """Raises `NotFound`. What was to be delivered to it is dropped."""
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise NotFound(f"There is no webhook {name}.", fix="See: interlock webhooks list") from None

    def _write(self, name: str, document: dict[str, object]) -> None:
        text = json.dumps(document, indent=2) + "\n"
        Endpoint.parse(name, text)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._file(name), text.encode())

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise NotFound("A webhook's name is lower case letters, digits and dashes.")
        return self._folder / f"{name}.json"
