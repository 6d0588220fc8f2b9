"""The wire: one bounded HTTP transport for the libraries that bring a client of their own.

1. An answer is read up to a number of bytes, all answers of one transport together; then reading stops with
   an error, whatever the server still wants to send.
2. A compressed answer is an error: it was not asked for, and could grow past that number when it is unpacked.
3. A redirect is an error, and so is an address other than the one the transport was made for.
4. Where addresses are given, the connection goes to the first of them that takes one, and stays with it. The
   Host header and the name TLS checks stay.
5. The environment names no proxy and no certificates.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import httpx2

CONNECT_SEC = 5.0
"""How long an address is tried that is not the last."""


class TooLong(Exception):
    """The server sent more than was asked to be read."""


class Compressed(TooLong):
    """The server sent something packed, which could be unpacked to any length."""


class Redirected(Exception):
    """The server pointed elsewhere."""


class Bounded(httpx2.AsyncBaseTransport):
    """A transport to one origin.

    Args:
        url: where to; only its scheme, host and port count.
        cap: bytes of answers that are read.
        addresses: where to connect, in this order; none: where the name leads.
        refused: called where the server answers 401.
        over: called where it sends more than is read.
        tls: trust anchors, for a private authority; by default the public ones.
    """

    def __init__(
        self,
        url: str,
        cap: int,
        *,
        addresses: tuple[str, ...] = (),
        refused: Callable[[], None] | None = None,
        over: Callable[[], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = _origin(httpx2.URL(url))
        self._left = cap
        self._addresses = addresses
        self._refused = refused
        self._over = over
        self._inner = httpx2.AsyncHTTPTransport(verify=True if tls is None else tls, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises `TooLong`, `Compressed` and `Redirected` beside httpx2's own errors."""
        if _origin(request.url) != self._origin:
            raise Redirected
        request.headers["accept-encoding"] = "identity"
        response = await self._connected(request)
        if response.status_code == 401 and self._refused is not None:
            self._refused()
        if 300 <= response.status_code < 400 and response.status_code != 304:
            await response.aclose()
            raise Redirected
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            await response.aclose()
            raise Compressed
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Counted(response.stream, self)
        return response

    async def _connected(self, request: httpx2.Request) -> httpx2.Response:
        for address in self._addresses[:-1]:
            try:
                response = await self._inner.handle_async_request(_pinned(request, address, CONNECT_SEC))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue  # nothing was sent
            self._addresses = (address,)
            return response
        pinned = _pinned(request, self._addresses[-1]) if self._addresses else request
        return await self._inner.handle_async_request(pinned)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def read(self, size: int) -> None:
        """Count bytes of an answer. Raises `TooLong`."""
        self._left -= size
        if self._left < 0:
            if self._over is not None:
                self._over()
            raise TooLong


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, owner: Bounded) -> None:
        self._inner = inner
        self._owner = owner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._owner.read(len(chunk))
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pinned(request: httpx2.Request, address: str, connect_sec: float | None = None) -> httpx2.Request:
    extensions = dict(request.extensions)
    if request.url.scheme == "https":
        extensions["sni_hostname"] = request.url.host
    if connect_sec is not None:
        extensions["timeout"] = {**extensions.get("timeout", {}), "connect": connect_sec}
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
