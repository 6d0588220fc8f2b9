"""Talking to a server with a person's key: where it is, which key, and what its answers mean.

1. The key comes from ``INTERLOCK_KEY`` or a file that only its owner reads, never from the command line,
   where every user of the machine sees it.
2. The key is sent over TLS, or to this machine. It is never sent on to another address by a redirect, and
   proxies of the environment are not used.
3. A folder found in the working directory is not trusted to say where a key goes: the URL that a home
   announces counts only where it is this machine, unless the home was named.
4. What comes back is read strictly. A problem document is passed on as it is, with the exit code of its type;
   anything else that is not an answer of this API means that no Interlock server is there.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from interlock.cli.options import HOME
from interlock.cli.report import Misuse
from interlock.model import errors
from interlock.model.address import server_parts, this_machine
from interlock.model.errors import HomeUnusable, InterlockError, Unauthenticated, Unavailable

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://localhost:8420"
MAX_ANSWER = 32 << 20
TIMEOUT_SEC = 40.0
CONNECT_SEC = 5.0
RECONNECT_SEC, RECONNECTS = 1.0, 60
_EXIT_CODES = {
    known.slug: known.exit_code
    for known in vars(errors).values()
    if isinstance(known, type) and issubclass(known, InterlockError)
}
_BY_STATUS = {400: 2, 404: 5, 413: 2, 422: 2, 503: 7}
_REFUSED = 4


class Refused(Exception):
    """The server's own problem document, and the exit code that belongs to it."""

    def __init__(self, problem: Mapping[str, Any], status: int) -> None:
        super().__init__(problem["title"])
        self.problem = problem
        slug = str(problem.get("type", "")).removeprefix("urn:interlock:problem:")
        self.exit_code = _EXIT_CODES.get(slug) or _BY_STATUS.get(status, _REFUSED if status < 500 else 1)


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the key to show it."""

    url: str
    key: str = field(repr=False)

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """One JSON object. Raises `Refused` for its problem documents, `Unavailable` for everything else."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """As `get`. Raises `InvalidInput` for a body that JSON cannot carry."""
        from interlock.model.canonical import canonical

        return self._ask("POST", path, content=canonical(dict(body)))

    def events(self) -> Iterator[dict[str, Any] | None]:
        """What is news for people, as it comes, and None whenever the stream was opened: look again then.

        It is opened again where it was left, until the server refuses. Raises `Refused`, `Unavailable`.
        """
        import httpx

        headers = {"authorization": f"Bearer {self.key}", "accept": "text/event-stream"}
        lost = 0
        while True:
            try:
                with (
                    httpx.Client(trust_env=False, timeout=httpx.Timeout(TIMEOUT_SEC)) as client,
                    client.stream("GET", f"{self.url}/v1/events", headers=headers) as answer,
                ):
                    if not answer.is_success:
                        answer.read()
                        self._read(answer)
                    lost = 0
                    yield None
                    for line in answer.iter_lines():
                        name, _, value = line.partition(": ")
                        if name == "id":
                            headers["last-event-id"] = value
                        elif name == "data":
                            with self.understood():
                                yield dict(json.loads(value))
            except httpx.HTTPError as error:
                lost += 1
                if lost > RECONNECTS:
                    raise Unavailable(f"{self.url} does not answer any more ({error}).") from error
            time.sleep(RECONNECT_SEC)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        import httpx

        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        timeout = httpx.Timeout(TIMEOUT_SEC, connect=CONNECT_SEC)
        try:
            with httpx.Client(trust_env=False, timeout=timeout, headers=headers) as client:
                response = client.request(method, self.url + path, **request)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.InvalidURL,
            httpx.UnsupportedProtocol,
        ) as error:
            raise Unavailable(
                f"Nothing answers at {self.url} ({error}).",
                fix="Start the server with `interlock serve`, or name another one with --url.",
            ) from error
        except httpx.HTTPError as error:
            lost = (
                "" if method == "GET" else " It may have been recorded all the same: look before repeating."
            )
            raise Unavailable(f"{self.url} gave no whole answer ({error}).{lost}") from error
        return self._read(response)

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        from interlock.model.canonical import parse_json, plain

        with self.understood():
            document = plain(parse_json(response.content, max_bytes=MAX_ANSWER))
            if not isinstance(document, dict):
                raise TypeError("not an object")
            if response.is_success:
                return document
            title, detail = document["title"], document.get("detail", "")
            if not isinstance(title, str) or not isinstance(detail, str):
                raise TypeError("not a problem document")
            raise Refused({**document, "detail": detail}, response.status_code)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Reading an answer: whatever it lacks means that this is another server, or another version."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError, errors.InvalidInput) as error:
            raise Unavailable(
                f"What answers at {self.url} does not speak this version of Interlock's API.",
                fix="Check --url, and that client and server are of one version.",
            ) from error


def connect(url: str | None, key_file: Path | None, home: Path | None) -> Server:
    """The server to ask, and the key to ask with.

    Args:
        url: as given on the command line; else ``INTERLOCK_URL``, the home's, or `DEFAULT_URL`.
        home: as given on the command line.

    Raises:
        Misuse: the URL is none, or would send the key in the clear. Unauthenticated: there is no key.
    """
    return Server(_url(url, home), _key(key_file))


def _url(given: str | None, home: Path | None) -> str:
    stated = given or os.environ.get("INTERLOCK_URL")
    url = stated or _announced(home) or DEFAULT_URL
    parts = _parts(url)
    if parts.scheme == "http" and not this_machine(parts):
        raise Misuse(
            f"{url} would carry the key unencrypted to another machine.",
            fix="Use https://, or a tunnel that ends on localhost.",
        )
    return url.rstrip("/")


def _parts(url: str) -> SplitResult:
    """The parts of a server's URL. Raises `Misuse` where it is none."""
    try:
        return server_parts(url)
    except errors.InvalidInput:
        raise Misuse(
            f"{url!r} is not the URL of a server.", fix="As in --url https://interlock.example"
        ) from None


def _announced(home: Path | None) -> str | None:
    """The URL that a home announces; from a home nobody named, only where it is this machine."""
    folder = home or Path(HOME)
    if not (folder / "server.json").exists():
        return None
    from interlock.home.home import announced

    url = announced(folder)
    if url is None or home is not None or this_machine(_parts(url)):
        return url
    raise HomeUnusable(
        f"{folder} names the server {url}, which is another machine.",
        fix="If that is your server, say so with --url, INTERLOCK_URL or --home.",
    )


def _key(file: Path | None) -> str:
    if file is not None:
        key, source = _key_in(file), str(file)
    else:
        key, source = os.environ.get("INTERLOCK_KEY", "").strip(), "INTERLOCK_KEY"
    if not key:
        raise Unauthenticated(
            f"There is no key in {source}.",
            fix="Make one with `interlock keys add --kind person`, and put it into INTERLOCK_KEY or a file "
            "for --key-file.",
        )
    if not key.startswith("ilk_") or not key.isascii() or not key.isprintable() or " " in key:
        raise Unauthenticated(f"What stands in {source} is not a key; keys begin with ilk_.")
    return key


def _key_in(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise Unauthenticated(f"{file} can be read by others.", fix=f"Run: chmod 600 {file}")
        with file.open("rb") as content:
            return content.read(4_096).decode("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Unauthenticated(f"{file} cannot be read: {reason}.") from None
