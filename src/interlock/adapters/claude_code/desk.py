"""The gate as a hook needs it: propose, look, claim, report. Over HTTP with an adapter's key, or in a home.

1. `Remote` speaks HTTP with the standard library: what else there is costs more than the call itself.
2. The key is read from a file that only its user reads. It is sent over TLS, or to this machine; redirects
   are not followed, proxies of the environment are not used, and no error names it.
3. An answer that is not one of this API is an error. A refusal is an error with the server's own words.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from interlock.adapters.claude_code.tools import Call
from interlock.model.canonical import canonical, parse_json, plain
from interlock.model.errors import (
    InterlockError,
    InvalidInput,
    NotClaimable,
    NotFound,
    Unauthenticated,
    Unavailable,
)

DEFAULT_URL = "http://localhost:8420"
TIMEOUT_SEC = 15.0
MAX_ANSWER = 8 << 20


CANNOT = ("max_runtime_sec", "network_allowlist")
"""Claude Code runs the tool: nothing here can hold it to these."""


class Claim(NamedTuple):
    """A claim as another process can report on it.

    Attributes:
        holder: what the report has to know, a secret of this user.
        args: what was approved.
    """

    revision: int
    epoch: int
    holder: str
    args: dict[str, Any]


class Desk(Protocol):
    """What a hook asks of the gate."""

    def propose(self, call: Call, *, call_id: str | None = None) -> dict[str, Any]:
        """The action as its proposer may see it; without a `call_id` an equal one that is still open.

        Raises:
            InterlockError: nothing was proposed.
        """
        ...

    def action(self, action_id: str) -> dict[str, Any]:
        """Raises `NotFound`."""
        ...

    def claim(self, action_id: str, lease_sec: int) -> Claim:
        """Raises `InterlockError` where it does not run."""
        ...

    def report(self, action_id: str, claim: tuple[int, int, str], outcome: str, note: str) -> None:
        """Say what became of a claim (revision, epoch, holder). Raises `InterlockError`."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Remote:
    """A gate behind HTTP.

    Args:
        url: of the server. key: an adapter's.
    """

    url: str
    key: str = field(repr=False)

    @classmethod
    def at(cls, url: str, key_file: Path) -> Remote:
        """Raises `InvalidInput`, `Unauthenticated`: the URL or the key cannot be used."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise InvalidInput("the URL of a server", path="--url")
        if parts.scheme == "http" and not _loopback(parts.hostname):
            raise InvalidInput(
                "it would carry the key unencrypted to another machine", path="--url", fix="Use https://."
            )
        return cls(url.rstrip("/"), _key(key_file))

    def propose(self, call: Call, *, call_id: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"topic": call.topic, "args": call.args, "session": call.session}
        body |= {"tags": [], "cannot": list(CANNOT)}
        if call.words:
            body["reasoning"] = call.words
        if call_id is not None:
            body["call_id"] = call_id
        return self._ask("POST", "/v1/actions", body)

    def action(self, action_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/actions/{action_id}")

    def claim(self, action_id: str, lease_sec: int) -> Claim:
        token = os.urandom(24).hex()
        body = {"claim": token, "cannot": list(CANNOT), "lease_sec": lease_sec}
        answer = self._ask("POST", f"/v1/actions/{action_id}/claim", body)
        return Claim(answer["revision"], answer["epoch"], token, answer["args"])

    def report(self, action_id: str, claim: tuple[int, int, str], outcome: str, note: str) -> None:
        _, epoch, token = claim
        body = {"claim": token, "epoch": epoch, "outcome": outcome, "note": note}
        self._ask("POST", f"/v1/actions/{action_id}/outcome", body)

    def close(self) -> None:
        """Nothing is kept open."""

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SEC)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        try:
            content = None if body is None else canonical(dict(body))
            connection.request(method, parts.path + path, content, headers)
            answer = connection.getresponse()
            text, status = answer.read(MAX_ANSWER + 1), answer.status
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.url} does not answer ({type(error).__name__}).") from None
        finally:
            connection.close()
        try:
            document = plain(parse_json(text, max_bytes=MAX_ANSWER))
        except InvalidInput:
            document = None
        if not isinstance(document, dict):
            raise Unavailable(f"What answers at {self.url} is no Interlock server (HTTP {status}).")
        if 200 <= status < 300:
            return document
        raise _refusal(document, status)


def _refusal(document: Mapping[str, Any], status: int) -> InterlockError:
    words = str(document.get("detail") or document.get("title") or f"HTTP {status}")
    match str(document.get("type", "")).removeprefix("urn:interlock:problem:"):
        case "not-found":
            return NotFound(words)
        case _ if status in (409, 410):
            return NotClaimable(words)
        case _ if status in (400, 413, 422) or status == 404:
            return InvalidInput(words.removeprefix("$: "))
        case _:
            return Unavailable(words)


def announced(home: Path) -> str:
    """The URL that a server wrote into a home, or the default."""
    try:
        url = json.loads((home / "server.json").read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_URL
    return url if isinstance(url, str) else DEFAULT_URL


def _key(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        key = file.read_bytes()[:4_096].decode("ascii").strip()
    except (OSError, ValueError):
        raise Unauthenticated(f"{file} cannot be read.") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise Unauthenticated(f"{file} can be read by others.", fix=f"Run: chmod 600 {file}")
    if not key.startswith("ilk_adapter_") or not key.isprintable() or " " in key:
        raise Unauthenticated(
            f"{file} holds no adapter's key.",
            fix="Make one: interlock keys add --kind adapter --name claude-code --topics 'claude.**'",
        )
    return key


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
