"""The line from a connected gate to its server.

1. The key travels over TLS, whose certificate is checked, or to this machine; anything else has to be asked
   for. It is sent to this one address: redirects are refused, proxies of the environment are not used. It
   stands in no error and no representation.
2. What is asked is such that it may be asked again: a request that was not answered is sent again, word for
   word, with growing pauses, until `patience` is over. Whatever makes repetition harmless (a key, a token, an
   epoch) is in the request.
3. What comes back is read strictly. A problem document becomes the error of this package that it names.
   Anything else that is not this API's means that no Interlock of this version is there.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from interlock.model.address import server_parts, this_machine
from interlock.model.canonical import Json, canonical, parse_json, plain
from interlock.model.errors import (
    Conflict,
    Forbidden,
    InterlockError,
    InvalidInput,
    NotFound,
    NumberOutOfRange,
    Unauthenticated,
    Unavailable,
)

MAX_ANSWER = 8 << 20
PATIENCE_SEC = 30.0
CONNECT_SEC = 5.0
ANSWER_SEC = 40.0
FIRST_PAUSE_SEC, LONGEST_PAUSE_SEC = 0.1, 3.0
_AGAIN = frozenset({502, 503, 504})
_KINDS: dict[int, type[InterlockError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Conflict,
    422: InvalidInput,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON object. `sent` is when the request was sent that got it (`time.monotonic`), `repeated` whether
    an earlier sending was not answered."""

    body: dict[str, Any]
    sent: float
    repeated: bool


class Server:
    """A server and the key to show it. Thread-safe."""

    def __init__(self, url: str, key: str, *, insecure: bool = False, ca: Path | None = None) -> None:
        parts = server_parts(url)
        if parts.scheme == "http" and not insecure and not this_machine(parts):
            raise InvalidInput(
                "http would carry the key unencrypted to another machine",
                path="url",
                fix="Use https://, a tunnel that ends on localhost, or insecure=True.",
            )
        self.url = url.rstrip("/")
        try:
            verify = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (OSError, ssl.SSLError):
            raise InvalidInput("no file of certificates", path="ca") from None
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {_checked(key)}", "content-type": "application/json"},
            timeout=httpx.Timeout(ANSWER_SEC, connect=CONNECT_SEC),
            limits=httpx.Limits(max_connections=128, max_keepalive_connections=32),
            verify=verify,
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, *, patience: float = PATIENCE_SEC, **params: str | int) -> dict[str, Any]:
        """One JSON object. Raises as `ask`."""
        return self.ask("GET", path, patience=patience, params=params).body

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE_SEC,
    ) -> Answer:
        """One JSON object. Raises as `ask`, and `InvalidInput` for what JSON cannot carry."""
        return self.ask(
            "POST", path, patience=patience, content=canonical(carried(body)), headers=dict(headers or {})
        )

    def ask(self, method: str, path: str, *, patience: float, **request: Any) -> Answer:
        """Send a request until it is answered.

        Raises:
            Unavailable: it was not answered in time, or not by this API. Whatever the server refuses with.
        """
        give_up, pause, repeated = time.monotonic() + patience, FIRST_PAUSE_SEC, False
        while True:
            sent = time.monotonic()
            try:
                response = self._http.request(method, self.url + path, **request)
                if response.status_code not in _AGAIN:
                    return Answer(self._read(response), sent, repeated)
                problem: InterlockError = self._refusal(response)
            except httpx.TransportError as error:
                problem = Unavailable(
                    f"{self.url} gave no answer ({type(error).__name__}: {error}).",
                    fix="Check the URL, and that `interlock serve` runs there.",
                )
            except RuntimeError:
                if not self._http.is_closed:
                    raise
                raise Unavailable("This gate was closed.") from None
            except httpx.HTTPError as error:
                raise Unavailable(f"{self.url} gave no whole answer ({error}).") from None
            repeated = True
            if time.monotonic() + pause >= give_up:
                raise problem
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SEC)

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_redirect:
            raise Unavailable(
                f"{self.url} sends elsewhere; the key is not sent on.", fix="Name the server itself."
            )
        if not response.is_success:
            raise self._refusal(response)
        return self._document(response)

    def _refusal(self, response: httpx.Response) -> InterlockError:
        try:
            problem = self._document(response)
        except Unavailable as error:
            return error
        slug = str(problem.get("type", "")).removeprefix("urn:interlock:problem:")
        detail, fix = problem.get("detail"), problem.get("fix", "")
        if not isinstance(detail, str) or not isinstance(fix, str):
            return self._strange()
        kind = _known().get(slug) or _KINDS.get(response.status_code, Unavailable)
        return _made(kind, detail, fix, problem)

    def _document(self, response: httpx.Response) -> dict[str, Any]:
        try:
            document = plain(parse_json(response.content, max_bytes=MAX_ANSWER))
        except InvalidInput:
            raise self._strange() from None
        if not isinstance(document, dict):
            raise self._strange()
        return document

    def _strange(self) -> Unavailable:
        return Unavailable(
            f"What answers at {self.url} does not speak this version of Interlock's API.",
            fix="Check the URL, and that client and server are of one version.",
        )

    def understood(self, answer: Mapping[str, Any], *names: str) -> None:
        """Raises `Unavailable` where an answer lacks what this version reads of it."""
        if any(name not in answer for name in names):
            raise self._strange()


def carried(value: Any) -> Json:
    """Arguments as JSON carries them: a decimal that no double is, as its digits in a string."""
    if isinstance(value, Decimal):
        try:
            return plain(value)
        except NumberOutOfRange:
            return f"{value:f}"
    if isinstance(value, Mapping):
        return {name: carried(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [carried(item) for item in value]
    return plain(value)


def _checked(key: str) -> str:
    """A key as it may be sent. Raises `Unauthenticated`, without showing it."""
    if not key:
        raise Unauthenticated(
            "There is no key.",
            fix="Make one on the server's machine with `interlock keys add --kind adapter`, and put it into "
            "INTERLOCK_KEY.",
        )
    if not key.startswith("ilk_") or not key.isascii() or not key.isprintable() or " " in key:
        raise Unauthenticated("What was given is not a key; keys begin with ilk_.")
    return key


def _known() -> dict[str, type[InterlockError]]:
    """Every kind of error by its slug."""
    found: dict[str, type[InterlockError]] = {}
    kinds = [InterlockError]
    while kinds:
        kind = kinds.pop()
        found.setdefault(kind.slug, kind)
        kinds += kind.__subclasses__()
    return found


def _made(kind: type[InterlockError], detail: str, fix: str, problem: Mapping[str, Any]) -> InterlockError:
    """The error of a problem document; its sentence is the server's, whatever its class makes of one."""
    error = kind.__new__(kind)
    extra = {
        name: value
        for name, value in problem.items()
        if name not in ("type", "title", "status", "detail", "fix")
    }
    InterlockError.__init__(error, detail, fix=fix, extra=extra)
    if isinstance(error, InvalidInput):
        error.path = str(extra.get("path", "$"))
    return error
