"""Reading a log over HTTP: a static tree, or a server's ``/ledger/``.

1. Nothing is sent but GET requests to the one origin that the auditor named. A redirect is followed within
   that origin, `MAX_REDIRECTS` times, and nowhere else: the key that opens the entries goes along.
2. Every answer is read up to the size that it can rightly have, and for `PATIENCE` seconds; compressed
   answers are refused. A web page is no file of a log.
3. A partial tile that became full may be gone (tlog-tiles): then the full one is read, and of that the
   beginning.
4. What a server refuses or delays says nothing about the log: that is `Unreadable`. What it says it does not
   have is `Missing`. Errors of its own and lost connections are tried again a few times.
5. Several files are fetched at once, a bounded number ahead of the one that is being checked.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import httpx

from interlock.verify.layout import (
    MAX_BUNDLE,
    MAX_TILE,
    BadFile,
    Missing,
    Unreadable,
    beginning,
    tile_name,
)
from interlock.verify.report import shown
from interlock.verify.tree import WIDTH

T = TypeVar("T")

MAX_REDIRECTS = 3
PATIENCE = 60.0
"""Seconds for one file."""
_TRIES = 3
_AT_ONCE = 8
_AHEAD = 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({429, 500, 502, 503, 504})


class BadUrl(ValueError):
    """Not a URL of a log. The message is a sentence."""


class Remote:
    """A log that a server holds. Close it, or use it in ``with``.

    Args:
        url: the prefix of ``checkpoint`` and ``tile/``, as ``https://host/ledger``.
        token: sent as ``Authorization: Bearer`` where entries are not public.
        transport: what carries the requests; the network by default.
        patience: seconds for one file.

    Raises:
        BadUrl: it is no http or https URL, or carries a password, a query or a fragment.
    """

    endless = True

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        try:
            base = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise BadUrl("it is no URL") from None
        if base.scheme not in ("http", "https") or not base.host or not 0 < (base.port or 80) < 65_536:
            raise BadUrl("it does not begin with http:// or https:// and a host")
        if base.userinfo or base.query or base.fragment:
            raise BadUrl("it carries a password, a query or a fragment")
        self._base = base.copy_with(path=f"{base.path.rstrip('/')}/")
        self._patience = patience
        headers = {"Accept-Encoding": "identity", "User-Agent": "interlock-ledger-verify"}
        if token is not None:
            if not token.isascii() or not token.isprintable() or " " in token:
                raise BadUrl("the key for it is no key")
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            headers=headers,
            transport=transport,
            timeout=httpx.Timeout(min(20.0, patience)),
            limits=httpx.Limits(max_connections=_AT_ONCE),
            follow_redirects=False,
        )

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self, name: str, limit: int) -> bytes:
        until = time.monotonic() + self._patience
        for left in reversed(range(_TRIES)):
            try:
                return self._get(self._base.join(name), limit, until)
            except _TryAgain as error:
                if not left or time.monotonic() > until:
                    raise Unreadable(str(error)) from None
                time.sleep(0.2 * (_TRIES - left))
        raise AssertionError("unreachable")

    def _get(self, url: httpx.URL, limit: int, until: float) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                with self._client.stream("GET", url) as response:
                    if response.status_code not in _REDIRECTS:
                        return self._content(response, limit, until)
                    url = self._elsewhere(url, response.headers.get("Location", ""))
            except httpx.TimeoutException:
                raise _TryAgain("the server did not answer in time") from None
            except httpx.TransportError as error:
                raise _TryAgain(f"the connection failed: {shown(str(error))}") from None
            except httpx.HTTPError as error:
                raise Unreadable(f"the server's answer is no HTTP: {shown(str(error))}") from None
        raise Unreadable("the server redirects without end")

    def _elsewhere(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            to = url.join(location)
        except (httpx.InvalidURL, ValueError):
            raise Unreadable("the server redirects to what is no URL") from None
        if not location or (to.scheme, to.host, to.port) != (
            self._base.scheme,
            self._base.host,
            self._base.port,
        ):
            raise Unreadable("the server redirects elsewhere, which is not followed")
        return to

    def _content(self, response: httpx.Response, limit: int, until: float) -> bytes:
        status = response.status_code
        if status in (404, 410):
            raise Missing
        if status in _AGAIN:
            raise _TryAgain(f"the server answered {status}")
        if status in (401, 403):
            raise Unreadable(f"the server answered {status}: it shows this to callers with a key only")
        if status != 200:
            raise Unreadable(f"the server answered {status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Unreadable("the server answered in compressed form, which was not asked for")
        if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
            raise Unreadable("the server answered with a web page")
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > limit:
                raise BadFile(f"it is larger than {limit} bytes")
            if time.monotonic() > until:
                raise Unreadable("the server sends it too slowly")
        return bytes(content)

    def tile(self, level: int | None, index: int, width: int) -> bytes:
        limit = MAX_BUNDLE if level is None else MAX_TILE
        try:
            return self.read(tile_name(level, index, width), limit)
        except Missing:
            if width == WIDTH:
                raise
        full = self.read(tile_name(level, index, WIDTH), limit)
        if level is None:
            return beginning(full, width)
        if len(full) != MAX_TILE:
            raise BadFile(f"it has {len(full)} bytes and should have {MAX_TILE}")
        return full[: width * 32]

    def listed(self, _folder: str) -> Sequence[str] | None:
        return None

    def strays(self, _size: int, _first: int) -> Iterable[str]:
        return ()

    def ahead(self, fetch: Callable[[int], T], indexes: Iterable[int]) -> Iterator[T]:
        waiting: deque[Future[T]] = deque()
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ledger-verify")
        try:
            for index in indexes:
                waiting.append(pool.submit(fetch, index))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _TryAgain(Exception):
    """The same request may be answered better in a moment. The message is a sentence."""
