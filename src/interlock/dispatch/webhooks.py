"""Webhooks: an agent's own service is told what became of its actions, signed, until it has understood.

1. The body is thin: the event's type and time, ids, the state, and where to ask for the rest, which takes the
   agent's key.
2. It is signed as Standard Webhooks says: ``webhook-id`` is the same for each attempt at one event,
   ``webhook-timestamp`` is the attempt's, ``webhook-signature`` is ``v1,`` and the HMAC-SHA256 over id, time
   and the exact body; one for each secret, while a secret is being replaced.
3. Only what the gate enqueued is signed: a segment without its mark is dropped.
4. A webhook reaches the host of its URL and no other: the name is resolved once, each address has to be
   public or in a listed network, and the connection goes to an address that was checked. No redirect is
   followed, no proxy used, no cookie kept. Plain HTTP goes to ``localhost`` or into listed networks only.
5. 2xx ends the delivery, whatever else the answer holds: it is not read. All else fails the attempt, and the
   engine tries again for more than a day. After the last attempt, where its process died time and again, and
   at once after 410, it is written down as undelivered, where people see it.
6. A receiver that takes its time keeps at most `SHARE` of a process's places; the others do not wait for it.

Sources: Standard Webhooks 1.0.0; RFC 2104 (HMAC); RFC 4648 section 4 (base64); RFC 9110 (410).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import httpx

from interlock.dispatch.limits import NotSent
from interlock.dispatch.network import Allowlist, addresses
from interlock.dispatch.undelivered import give_up
from interlock.engine import Delivery, Retry, Segment, Share
from interlock.gate.telling import TYPES, WEBHOOK, Event, told_by
from interlock.journal import Journal
from interlock.model.canonical import canonical, parse_json
from interlock.model.errors import InterlockError, InvalidInput
from interlock.model.ids import iso

TIMEOUT_SEC = 20.0
RETRY = Retry(attempts=12, first_sec=5.0, factor=4.0, longest_sec=6 * 3600.0)
"""The last attempt is made about 31 hours after the first."""
PARALLEL = 32
SHARE = 8
GONE = 410
SECRET_BYTES = 32
_LEAST, _MOST = 24, 64
_PREFIX = "whsec_"
_PORTS = {"http": 80, "https": 443}
_MEMBERS = frozenset({"url", "secrets", "agents", "events", "networks"})
_SENDER = f"interlock/{version('interlock')}"
_log = logging.getLogger(__name__)


class UnusableWebhook(InterlockError):
    """A webhook's file, URL or secret cannot be used."""

    slug = "webhook-unusable"
    title = "This webhook cannot be used"
    status = 422
    exit_code = 2
    advice = "Make it anew with `interlock webhooks add`."


class NotDelivered(InterlockError):
    """One attempt at a webhook failed; the engine makes another one."""

    slug = "webhook-not-delivered"
    title = "The webhook was not delivered"
    status = 502
    exit_code = 7
    advice = "It is tried again by itself; see `interlock webhooks failed`."

    def __init__(self, detail: str, *, final: bool = False) -> None:
        super().__init__(detail)
        self.final = final


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook as its file describes it.

    Attributes:
        secrets: the newest first; each signs.
        agents: whose events; all agents' where it is empty. events: which types; all where it is empty.
        networks: ranges of addresses that are not public, and may be reached all the same.
    """

    name: str
    url: httpx.URL
    secrets: tuple[bytes, ...] = field(repr=False)
    agents: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, text: str) -> Endpoint:
        """Raises `UnusableWebhook`, without a word of what the text holds."""
        try:
            value: Any = parse_json(text)
            if not isinstance(value, dict) or not value.keys() <= _MEMBERS:
                raise ValueError("it is an object of url, secrets, agents, events and networks")
            lists = {key: _strings(value.get(key, []), key) for key in _MEMBERS - {"url"}}
            unknown = lists["events"] - set(TYPES) if isinstance(lists["events"], frozenset) else set()
            if unknown:
                raise ValueError("an event is one of " + ", ".join(TYPES))
            networks = tuple(sorted(lists["networks"]))
            url = _url(value.get("url"), networks)
            secrets = tuple(_key(one) for one in value.get("secrets", []))
            if not 1 <= len(secrets) <= 2:
                raise ValueError("it has one secret, or two while one is being replaced")
        except (ValueError, InvalidInput) as error:
            said = error.detail if isinstance(error, InvalidInput) else str(error)
            raise UnusableWebhook(f"The webhook {name}: {said}.") from None
        return cls(name, url, secrets, lists["agents"], lists["events"], networks)

    def wants(self, agent: str, type: str) -> bool:
        """Whether it is told events of this type about this agent's actions."""
        return (not self.agents or agent in self.agents) and (not self.events or type in self.events)

    @property
    def port(self) -> int:
        return _PORTS[self.url.scheme] if self.url.port is None else self.url.port

    @property
    def allowlist(self) -> Allowlist:
        """The one host, and where it may lead. That the URL writes an address does not list that address."""
        host = self.url.raw_host.decode("ascii")
        return Allowlist(
            frozenset({(host, self.port)}),
            Allowlist.of(self.networks).ranges,
            listed_only=self.url.scheme == "http",  # what anybody on the way can read stays among the listed
        )


def fresh_secret() -> str:
    """A new signing secret, as it is shown to people."""
    return _PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def _key(text: Any) -> bytes:
    """The key in a secret's text. Raises `ValueError`."""
    wrong = ValueError(f"a secret is {_PREFIX} and {_LEAST} to {_MOST} bytes in base64")
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        raise wrong
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise wrong from None
    if not _LEAST <= len(key) <= _MOST:
        raise wrong
    return key


def _strings(value: Any, name: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"{name} is a list of texts")
    return frozenset(value)


def _url(text: Any, networks: tuple[str, ...]) -> httpx.URL:
    """The URL of an endpoint. Raises `ValueError`."""
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError("a network is a range of addresses such as 10.0.0.0/8") from None
    try:
        url = httpx.URL(text if isinstance(text, str) else "")
        host = url.host
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("its URL is none") from None
    if url.scheme not in _PORTS or not host or url.userinfo or url.fragment or url.port == 0:
        raise ValueError("its URL is http or https, with a host, and without a user or a fragment")
    if url.scheme == "http" and not networks and host != "localhost":
        raise ValueError("plain http goes to localhost or into a listed network; use https")
    return url


# --- signing ---------------------------------------------------------------------------------------------


def body_of(event: Event, console: str | None) -> bytes:
    """What is sent about an event.

    Args:
        console: the base URL of the server, for links.
    """
    where = None if console is None else f"{console}/v1/actions/{event.action_id}"
    return canonical(
        {
            "type": event.type,
            "timestamp": iso(event.at),
            "data": {
                "event": event.number,
                "action": event.action_id,
                "revision": event.revision,
                "state": event.state.value,
                "url": where,
                "checkpoint_url": None if where is None else f"{where}/checkpoint",
            },
        }
    )


def signed(secrets: tuple[bytes, ...], id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    content = f"{id}.{timestamp}.".encode() + body
    marks = (hmac.digest(key, content, hashlib.sha256) for key in secrets)
    return " ".join(f"v1,{base64.b64encode(mark).decode()}" for mark in marks)


def message_id(mark: str) -> str:
    """The id of one event for one webhook: the same for each attempt, and whoever enqueued it twice."""
    return f"msg_{hashlib.sha256(mark.encode()).hexdigest()[:32]}"


# --- delivering ------------------------------------------------------------------------------------------


class Webhooks:
    """Delivers events; the handler of the segments that `interlock.gate.telling` enqueues.

    Args:
        read: the text of a webhook's file; None where it was removed.
        console: the base URL of the server, where one is known.
        tls: trust anchors, for a private authority; by default the public ones.
    """

    def __init__(
        self,
        journal: Journal,
        read: Callable[[str], str | None],
        console: Callable[[], str | None],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._journal = journal
        self._read = read
        self._console = console
        self._tls = tls

    @property
    def segment(self) -> Segment:
        return Segment(
            WEBHOOK,
            self.deliver,
            RETRY,
            timeout_sec=3 * TIMEOUT_SEC,
            parallel=PARALLEL,
            poll_sec=0.3,
            share=Share(SHARE, lambda ids: ids.get("webhook", "")),
            given_up=self.give_up,
        )

    async def deliver(self, delivery: Delivery) -> None:
        """One attempt. Raises `NotDelivered` and `UnusableWebhook` where another one is to follow."""
        told = told_by(self._journal.vault, self._journal.namespace, delivery.ids)
        if told is None:
            _log.error("%s is no webhook that this home enqueued; it is dropped", delivery.id)
            return
        name, event = told
        try:
            text = self._read(name)
            if text is None:
                _log.info(
                    "the webhook %s was removed; %s of %s is not sent", name, event.type, event.action_id
                )
                return
            await self._send(Endpoint.parse(name, text), event, message_id(delivery.ids["mark"]))
        except NotDelivered as error:
            if not error.final:
                raise
            await asyncio.shield(asyncio.to_thread(self.give_up, delivery, error.detail))

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """Write it down as undelivered; the engine has this called when it makes no other attempt."""
        told = told_by(self._journal.vault, self._journal.namespace, delivery.ids)
        if told is not None:
            _log.error("%s of %s is given up: %s", told[1].type, told[1].action_id, reason)
            self._journal.commit(partial(give_up, delivery=delivery, reason=reason))

    async def _send(self, endpoint: Endpoint, event: Event, id: str) -> None:
        at, body = int(time.time()), body_of(event, self._console())
        headers = {
            "content-type": "application/json",
            "user-agent": _SENDER,
            "accept-encoding": "identity",
            "connection": "close",
            "webhook-id": id,
            "webhook-timestamp": str(at),
            "webhook-signature": signed(endpoint.secrets, id, at, body),
        }
        request = httpx.Request("POST", endpoint.url, headers=headers, content=body)
        try:
            async with asyncio.timeout(TIMEOUT_SEC):
                status = await self._reach(endpoint, request)
        except NotSent as error:
            raise NotDelivered(f"The webhook {endpoint.name}: {error.reason}.") from None
        except TimeoutError:
            raise NotDelivered(
                f"The webhook {endpoint.name} did not answer within {TIMEOUT_SEC:g} s."
            ) from None
        if not 200 <= status < 300:
            raise NotDelivered(f"The webhook {endpoint.name} answered {status}.", final=status == GONE)

    async def _reach(self, endpoint: Endpoint, request: httpx.Request) -> int:
        """The answer's status. Raises `NotSent` where there is none."""
        host = endpoint.url.raw_host.decode("ascii")
        trouble = "no connection was made"
        for address in await addresses(host, endpoint.port, endpoint.allowlist, TIMEOUT_SEC):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                content=request.content,
                extensions={"sni_hostname": host.strip("[]")} if request.url.scheme == "https" else {},
            )
            limits = httpx.Limits(max_keepalive_connections=0)
            try:
                # The transport, not httpx's client: a client logs URLs, keeps cookies and follows redirects.
                async with httpx.AsyncHTTPTransport(
                    verify=self._trust(), trust_env=False, limits=limits
                ) as transport:
                    answer = await transport.handle_async_request(pinned)
                    await answer.aclose()
                    return answer.status_code
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except (httpx.HTTPError, ssl.SSLError) as error:
                trouble = f"the exchange ended with {type(error).__name__}"
                break
        raise NotSent(trouble)

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        return self._tls
