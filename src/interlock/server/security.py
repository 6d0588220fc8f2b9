"""Who calls, from where, and what browsers may do with our pages."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.home import Home
from interlock.identity import Caller, KeyKind, Person
from interlock.model.errors import Forbidden, InterlockError, InvalidInput, Unauthenticated

CONSOLE_HEADER = "x-interlock-console"
LOCAL = ("localhost", "127.0.0.1", "::1")

_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9](?:[a-z0-9.-]{0,252})))(?::[0-9]{1,5})?", re.ASCII)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
]
_NAMES = frozenset(name for name, _ in _HEADERS)


class MisdirectedHost(InterlockError):
    """The Host header names somebody else: the request was not meant for us, or a name was rebound to us."""

    slug = "misdirected-host"
    title = "This server does not answer to that name"
    status = 421
    exit_code = 7
    advice = "Use the URL that `interlock serve` printed, or start it with --public-url."


class Perimeter:
    """ASGI middleware: refuses unknown hosts, adds the security headers, keeps answers out of caches.

    Args:
        hosts: host names without port that this server answers to, lower case.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], refuse: Callable[[InterlockError], ASGIApp]
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        app = self._app
        if len(named) != 1 or _name_in(named[0]) not in self._hosts:
            app = self._refuse(MisdirectedHost(f"The request was for {', '.join(named)[:100]!r}."))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                extra = (
                    _HEADERS
                    if _NAMES.isdisjoint(present)
                    else [(name, value) for name, value in _HEADERS if name not in present]
                )
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await app(scope, receive, guarded)


def _name_in(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None where it is not well-formed."""
    found = _HOST.fullmatch(host.lower())
    return None if found is None else found[1] or found[2]


@dataclass(frozen=True, slots=True)
class Site:
    """How browsers reach this server.

    Attributes:
        origin: scheme, host and port of its public URL; None where it is reached directly.
        cookie: the session cookie's name. Cookies do not know ports, so it names the home.
    """

    origin: str | None
    cookie: str

    @property
    def secure(self) -> bool:
        """Whether the cookie may travel over TLS only."""
        return self.origin is not None and self.origin.startswith("https://")

    def owns(self, origin: str, host: str) -> bool:
        """Whether a page of that origin is ours: the public one, or the one a local browser names itself."""
        local = _name_in(host) in LOCAL and hmac.compare_digest(origin.encode(), f"http://{host}".encode())
        public = self.origin is not None and hmac.compare_digest(origin.encode(), self.origin.encode())
        return local or public


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, as browsers write an origin.

    Raises:
        InvalidInput: it is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("expected a URL such as https://interlock.example", path="--public-url")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


async def caller_of(request: Request) -> Caller:
    """The authenticated caller: a bearer key, or a signed-in person. A problem document is worded for them.

    Raises:
        Unauthenticated: neither, or not valid. Forbidden: a change from outside our own pages.
    """
    home: Home = request.app.state.home
    token = bearer_of(request)
    caller: Caller
    if token is not None:
        caller = await run_in_threadpool(home.keyring.authenticate, token)
    else:
        caller = (await person_of(request)).caller
    request.state.caller = caller
    return caller


def bearer_of(request: Request) -> str | None:
    """The token of a bearer key; None where none came.

    Raises:
        Unauthenticated: something else came in its place.
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("Only bearer keys are accepted.")
    return token.strip()


async def person_of(request: Request) -> Person:
    """The person of a console session, or of a person key. Raises as `caller_of`."""
    home: Home = request.app.state.home
    if "authorization" in request.headers:
        caller = await people_only(request)
        return await run_in_threadpool(home.roster.named, caller.person or "")
    token = request.cookies.get(request.app.state.site.cookie)
    if token is None:
        raise Unauthenticated("No key and no session came with this request.")
    if request.method not in ("GET", "HEAD"):
        check_page(request, token)
    return await run_in_threadpool(home.roster.signed_in, token)


def check_page(request: Request, token: str) -> None:
    """A change that a browser sends with a cookie must come from our own page, which was told the proof of
    its session when it signed in.

    Raises:
        Forbidden: another origin, or no proof. Cookies do not know ports; the proof stays with the page.
    """
    home: Home = request.app.state.home
    check_origin(request, home.roster.proof(token))


def check_origin(request: Request, expected: str) -> None:
    """The custom header cannot be sent across origins without a preflight that we never answer; the origin,
    where the browser tells it, must be ours. Source: OWASP CSRF prevention, "custom request headers".

    Args:
        expected: what `CONSOLE_HEADER` has to say.
    """
    site: Site = request.app.state.site
    origin = request.headers.get("origin")
    said = request.headers.get(CONSOLE_HEADER, "")
    ours = origin is None or site.owns(origin, request.headers.get("host", ""))
    if not ours or not hmac.compare_digest(said.encode(), expected.encode()):
        raise Forbidden(
            "This change did not come from the console's own page.",
            fix="Sign in again in this browser: `interlock keys link` on the server makes a link.",
        )


async def people_only(request: Request) -> Caller:
    """A person, by session or by person key. Raises `Forbidden` for agents' keys."""
    caller = await caller_of(request)
    if caller.kind is not KeyKind.PERSON:
        raise Forbidden("People may see this, with a person key or signed in; other keys may not.")
    return caller
