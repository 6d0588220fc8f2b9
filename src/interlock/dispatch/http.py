"""The `http` connector: one request for one action, and what became of it.

1. One call of `HttpConnector.send` makes at most one request. Nothing is retried and no redirect is followed;
   a 3xx is an answer like any other.
2. POST, PUT and PATCH carry the canonical bytes of the arguments. GET and DELETE carry no body.
3. `Failed` needs a proof. Nothing was sent: the transport reported only steps of connecting (name, TCP, TLS)
   before it stopped. No effect: the catalogue lists the status; 409, 425, 429 and 503 then speak of this
   attempt alone. Read only: the caller says that the catalogue does. A 2xx that was read to its end is
   `Succeeded`; all else is `Unknown`. What a 429 or 503 says under Retry-After is handed on.
4. Each request has a connection of its own. On a kept one, a server's closing may cross our request, and then
   nobody can tell whether it was read.
5. Constraints are checked before a credential is fetched. The clock of `max_runtime_sec` runs from the start
   of connecting to the last byte; an answer longer than `MAX_RESPONSE_BYTES` is a breach of `max_bytes`.
   Under a `network_allowlist` the connection goes to an address that was checked
   (`interlock.dispatch.network`); the next one is tried only where nothing left for the last.
6. The environment is not trusted: no proxy, certificate file or `.netrc` from it. No cookie is kept.
7. Whoever sends may name a last question (`halted`): it is asked when the connection stands and no byte of
   the request has left, and a reason for an answer ends the exchange there.
8. The credential is fetched last, used for one header, and struck out of whatever the server echoes. No URL,
   argument or exception text of the exchange enters an outcome.

Sources: RFC 9110 (methods, status codes, Retry-After), RFC 6585 (429), RFC 8785 (body), the Idempotency-Key
header as payment services read it (the bare key).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

import httpx

from interlock.dispatch.credentials import Credential, Refused, authorization
from interlock.dispatch.limits import NotSent, check_limits, time_limit
from interlock.dispatch.network import Allowlist, addresses
from interlock.dispatch.outcome import Failed, Outcome, Proof, Succeeded, Unknown, secrets_of, strike_out
from interlock.dispatch.stopping import Halted
from interlock.dispatch.template import render_url
from interlock.model.canonical import Json, canonical, parse_json, plain
from interlock.model.errors import InvalidInput
from interlock.model.text import visible
from interlock.model.verdicts import Constraints

MAX_RESPONSE_BYTES = 1 << 20
MAX_EXCERPT = 300
LONG = 1 << 15

ENFORCED = frozenset({"max_runtime_sec", "network_allowlist", "max_amount_usd"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_METHODS = _WITH_BODY | {"GET", "DELETE"}
_PORTS = {"http": 80, "https": 443}
_HEADER_VALUE = re.compile(r"[!-~]+(?: +[!-~]+)*", re.ASCII)
_THIS_ATTEMPT = frozenset({409, 425, 429, 503})
"""Listed as without effect, these speak of the request that was just made: a service answers so before it
looks whether it knows the key."""
_COME_BACK = frozenset({429, 503})
_CONNECTING = "connection."
_AGENT = f"interlock/{version('interlock')}"


class HttpSpec(Protocol):
    """What a catalogue entry says about calling out over HTTP.

    Attributes:
        method: GET, POST, PUT, PATCH or DELETE.
        url: a template as `interlock.dispatch.template` reads it.
        auth: name of the credential whose value is the whole Authorization header; None sends none.
        no_effect: status codes that prove that nothing took effect.
    """

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def auth(self) -> str | None: ...
    @property
    def no_effect(self) -> tuple[int, ...]: ...


def enforceable(constraints: Constraints) -> frozenset[str]:
    """Those of the constraints in force that this connector enforces, by their policy keys."""
    return ENFORCED.intersection(constraints.named)


class HttpConnector:
    """Carries out actions over HTTP. Safe to share between tasks, threads and event loops.

    Args:
        credential: the Authorization header's whole value for a credential's name, asked for at each
            execution (`interlock.dispatch.credentials`).
        refused: told the name of a credential that a service answered 401 to.
        tls: trust anchors and client certificates, for services with a private authority; by default the
            public authorities that httpx ships.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        refused: Refused | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._credential = credential
        self._refused = refused
        self._tls = tls
        self._closed = False

    async def send(
        self,
        spec: HttpSpec,
        args: Mapping[str, Json],
        constraints: Constraints,
        *,
        key: str | None,
        action: str,
        amount_usd: Decimal | None = None,
        timeout_sec: float = 30.0,
        read_only: bool = False,
        halted: Halted | None = None,
    ) -> Outcome:
        """Make the request and say what became of it.

        Args:
            args: canonical JSON values, as they were hashed and approved.
            key: sent as Idempotency-Key; derived by the caller from namespace, action id and revision. None
                for what only reads and has to be answered afresh.
            action: sent as Interlock-Action, the action's id.
            amount_usd: the action's amount for `max_amount_usd`; None where it has none or is not in USD.
            timeout_sec: seconds from the start of connecting to the last byte; `max_runtime_sec` applies
                as well, whichever ends first.
            halted: asked just before the first byte of the request; a reason keeps it here.
            read_only: whether the catalogue says that the action has no effect (tier 1). What would be
                `Unknown` is then `Failed`.

        Raises:
            asyncio.CancelledError: the caller gave up. The request may have left: treat it as `Unknown`.
            Exception: whatever `credential` raises that is not an `InterlockError`; nothing was sent.
        """
        breach: str | None = None
        try:
            if self._closed:
                raise NotSent("the connector is closed")
            limit, breach = time_limit(constraints, timeout_sec)
            request, secrets = await self._prepare(spec, args, constraints, amount_usd, key, action)
            exchange = await _reach(request, self._trust(), limit, constraints.network_allowlist, halted)
        except NotSent as stop:
            return Failed(stop.reason, "nothing_sent", stop.breach)
        except InvalidInput as error:
            return Failed(error.detail, "nothing_sent")

        unauthorised = exchange.response is not None and exchange.response.status_code == 401
        if unauthorised and self._refused is not None and spec.auth is not None:
            self._refused(spec.auth)
        broken = "max_bytes" if exchange.over else breach if exchange.expired else None
        judged = partial(_judge, exchange, request.url, spec.no_effect, secrets, broken)
        # A long answer takes a while to read, which is nothing to keep everybody else waiting for.
        long = len(exchange.body or b"") > LONG
        outcome = await asyncio.to_thread(judged) if long else judged()
        if read_only and isinstance(outcome, Unknown):
            return Failed(outcome.reason, "read_only", outcome.breach, outcome.retry_after_sec)
        return outcome

    async def aclose(self) -> None:
        """Refuse what comes from now on. There is nothing else to close: no connection outlives a send."""
        self._closed = True

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        return self._tls

    async def _prepare(
        self,
        spec: HttpSpec,
        args: Mapping[str, Json],
        constraints: Constraints,
        amount_usd: Decimal | None,
        key: str | None,
        action: str,
    ) -> tuple[httpx.Request, tuple[str, ...]]:
        """The request and the texts to strike out of answers; `NotSent` or `InvalidInput` otherwise."""
        if spec.method not in _METHODS:
            raise NotSent(
                f"the method {visible(spec.method, 20)} is not one of {', '.join(sorted(_METHODS))}"
            )
        url = _parse(render_url(spec.url, args))
        _check(constraints, url, amount_usd)
        headers = {
            "accept": "application/json, */*;q=0.1",
            # A compressed answer could grow past the cap after it was read.
            "accept-encoding": "identity",
            "connection": "close",
            "user-agent": _AGENT,
            "interlock-action": action,
        }
        if key is not None:
            headers["idempotency-key"] = key
        body = None
        if spec.method in _WITH_BODY:
            body = canonical(dict(args))
            headers["content-type"] = "application/json"
        secrets: tuple[str, ...] = ()
        if spec.auth is not None:
            headers["authorization"] = value = await authorization(self._credential, spec.auth)
            secrets = secrets_of(value)
        for name, value in headers.items():
            # h11 would repeat the value in its error and httpcore would log it.
            if not _HEADER_VALUE.fullmatch(value):
                raise NotSent(f"the value for the header {name} is not printable ASCII")
        return httpx.Request(spec.method, url, headers=headers, content=body), secrets


def _parse(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        # Asking for the host decodes punycode, which httpx puts off until after parsing.
        if url.host and 0 < _port(url) < 65536:
            return url
    except (httpx.InvalidURL, UnicodeError):
        pass
    raise NotSent("the catalogue's URL has no valid host or port")


# --- constraints -----------------------------------------------------------------------------------------


def _check(constraints: Constraints, url: httpx.URL, amount_usd: Decimal | None) -> None:
    check_limits(constraints, ENFORCED, amount_usd, "over HTTP")
    if constraints.network_allowlist is not None:
        Allowlist.of(constraints.network_allowlist).check_host(url.raw_host.decode("ascii"), _port(url))


def _port(url: httpx.URL) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port


# --- the exchange ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Wire:
    """What the transport says it is doing (httpx's ``trace`` request extension).

    The claim that nothing left is made from what was seen, not from an exception's type: at least one step
    was reported and each was a step of connecting. Steps this code does not know count as sending, and so
    does silence.
    """

    halted: Halted | None = None
    stopped: str | None = None
    steps: list[str] = field(default_factory=list)
    socket: Any = None

    async def report(self, step: str, info: Mapping[str, Any]) -> None:
        if self.halted is not None and not step.startswith(_CONNECTING):
            ask, self.halted = self.halted, None
            self.stopped = await ask()
        if self.stopped is not None:
            if "closed" not in step:  # hanging up sends nothing
                raise _Stopped(self.stopped)
            return
        self.steps.append(step)
        if step == "connection.connect_tcp.complete":
            self.socket = info["return_value"]

    @property
    def nothing_left(self) -> bool:
        return bool(self.steps) and all(step.startswith(_CONNECTING) for step in self.steps)

    @property
    def in_tls(self) -> bool:
        return self.steps[-1].startswith("connection.start_tls")

    async def hang_up(self) -> None:
        """Close the socket: httpcore leaves it open where a TLS handshake is cancelled."""
        if self.socket is not None:
            await self.socket.aclose()


class _Stopped(Exception):
    """The last question before the first byte was answered with a reason not to send it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _Exchange:
    """How far it came. `body` is None until it was read to its end; `trouble` is what ended it before."""

    response: httpx.Response | None = None
    body: bytes | None = None
    trouble: str = ""
    expired: bool = False
    over: bool = False
    nothing_left: bool = False


async def _reach(
    request: httpx.Request,
    tls: ssl.SSLContext,
    limit: float,
    entries: tuple[str, ...] | None,
    halted: Halted | None,
) -> _Exchange:
    """The exchange, under an allowlist with an address that it permits. Raises `NotSent`."""
    if entries is None:
        return await _exchange(request, tls, limit, halted)
    started = time.monotonic()
    host = request.url.raw_host.decode("ascii")
    seen = _Exchange()
    for address in await addresses(host, _port(request.url), Allowlist.of(entries), limit):
        left = limit - (time.monotonic() - started)
        if left <= 0:
            break
        seen = await _exchange(_pinned(request, host, address), tls, left, halted)
        if seen.expired or not seen.nothing_left:
            return seen
    if not seen.trouble:
        raise NotSent(f"{host}: no connection within {limit:g} s")
    return seen


def _pinned(request: httpx.Request, host: str, address: str) -> httpx.Request:
    """The same request to an address. The Host header and the name that TLS checks stay."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={"sni_hostname": host.strip("[]")} if request.url.scheme == "https" else {},
    )


async def _exchange(
    request: httpx.Request, tls: ssl.SSLContext, limit: float, halted: Halted | None
) -> _Exchange:
    """One request on one fresh connection, within `limit` seconds."""
    wire, seen, clock = _Wire(halted), _Exchange(), asyncio.timeout(limit)
    request.extensions["trace"] = wire.report
    limits = httpx.Limits(max_keepalive_connections=0)
    try:
        # The transport, not httpx's client: a client logs URLs, keeps cookies and parses redirects.
        async with clock, httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits) as transport:
            seen.response = await transport.handle_async_request(request)
            await _read(seen.response, seen)
    # Whatever a transport raises (httpx's errors, a bare ssl.SSLError, an ExceptionGroup), one question is
    # left: may a byte have gone out? Each answer is an outcome that names the trouble.
    except Exception as error:  # noqa: BLE001
        if seen.body is None:
            seen.expired, seen.nothing_left = clock.expired(), wire.nothing_left
            seen.trouble = _late(seen, limit) if seen.expired else _trouble(error, wire)
    finally:
        await wire.hang_up()
    return seen


async def _read(response: httpx.Response, seen: _Exchange) -> None:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            seen.trouble, seen.over = f"sent a response larger than {MAX_RESPONSE_BYTES} bytes", True
            break
    else:
        seen.body = bytes(body)
    await response.aclose()


def _late(seen: _Exchange, limit: float) -> str:
    what = "connection" if seen.nothing_left else "answer" if seen.response is None else "end of the answer"
    return f"no {what} within {limit:g} s"


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.RemoteProtocolError, "the server closed the connection early or did not answer in HTTP"),
    (httpx.NetworkError, "the connection broke"),
    (ssl.SSLError, "the server ended the TLS session"),
)


def _trouble(error: Exception, wire: _Wire) -> str:
    if isinstance(error, _Stopped):
        return error.reason
    if wire.nothing_left:
        # Nothing of the request is in the text of an error from connecting.
        step = "TLS was not agreed" if wire.in_tls else "no connection was made"
        return f"{step} ({visible(str(error), 200)})"
    return next(
        (words for kind, words in _WORDS if isinstance(error, kind)),
        f"the exchange stopped with {type(error).__name__}",
    )


# --- the judgement ---------------------------------------------------------------------------------------


def _judge(
    exchange: _Exchange,
    url: httpx.URL,
    no_effect: tuple[int, ...],
    secrets: tuple[str, ...],
    breach: str | None,
) -> Outcome:
    """Rule 3 of this module. `breach` is the constraint that ended the exchange, if one did."""
    where, trouble, response = url.netloc.decode("ascii"), exchange.trouble, exchange.response
    if exchange.nothing_left:
        return Failed(f"{where}: {trouble}", "nothing_sent", breach)
    if response is None:
        return Unknown(f"{where}: {trouble}, after the request may have left", breach)
    status = response.status_code
    reason, wait = f"{where} answered {status}", _retry_after(response)
    content = None if exchange.body is None else _content(response, exchange.body, secrets)
    if status in no_effect:
        # The status is the proof; what came or did not come after it only explains.
        proof: Proof = "no_effect_attempt" if status in _THIS_ATTEMPT else "no_effect_response"
        return Failed(reason + _excerpt(content), proof, breach, wait)
    if content is None:
        return Unknown(f"{reason}, then {trouble}", breach)
    if 200 <= status < 300:
        return Succeeded({"status": status, **content})
    if 300 <= status < 400:
        return Unknown(f"{reason}, a redirect, which is never followed")
    return Unknown(reason + _excerpt(content), retry_after_sec=wait)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by the Retry-After header of a 429 or 503: a number, or a date by this clock."""
    said = response.headers.get("retry-after", "").strip()
    if response.status_code not in _COME_BACK or not said:
        return None
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        until = parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _content(response: httpx.Response, body: bytes, secrets: tuple[str, ...]) -> dict[str, Json]:
    """``{"body": …}`` for strict JSON or no body at all, ``{"text": …}`` for anything else."""
    if not body:
        return {"body": None}
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return {"text": f"({len(body)} encoded bytes that nobody asked for; not read)"}
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media.endswith(("/json", "+json")):
        try:
            return {"body": strike_out(plain(parse_json(body, max_bytes=MAX_RESPONSE_BYTES)), secrets)}
        except (InvalidInput, ArithmeticError):
            # It took effect whatever the server's JSON is worth: shown as text, then. ArithmeticError is
            # decimal's, for an exponent beyond all bounds.
            pass
    return {"text": visible(str(strike_out(body.decode("utf-8", "replace"), secrets)))}


def _excerpt(content: Mapping[str, Json] | None) -> str:
    """The start of what the server said, on one line, to follow a reason."""
    if content is None or content.get("body", "") is None:
        return ""
    text = content["text"] if "text" in content else canonical(content["body"]).decode()
    return f": {visible(' '.join(str(text).split()), MAX_EXCERPT)}"
