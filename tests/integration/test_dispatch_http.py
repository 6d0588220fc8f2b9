"""The http connector against real sockets: at most one request, and an honest word about its end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interlock.dispatch import http as connector_module
from interlock.dispatch.http import MAX_RESPONSE_BYTES, HttpConnector, enforceable
from interlock.dispatch.outcome import Failed, Outcome, Succeeded, Unknown
from interlock.model.canonical import canonical
from interlock.model.errors import Unavailable
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints

SECRET = "sk_live_a1b2c3d4e5f6"
ARGS = {"order_id": "A-12", "amount_usd": "1400.00", "recipient": "Zoë", "n": 2}
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


@dataclass
class Counterparty:
    """A TCP server of another process' manners: what it saw, and how it behaves."""

    behave: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                request = b""
                if self.behave is not unread:
                    request = await reader.readuntil(b"\r\n\r\n")
                    length = request.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                    request += await reader.readexactly(int(length or 0))
                    self.requests.append(request)
                await self.behave(reader, writer, request)
                await writer.drain()
        finally:
            writer.close()

    async def main(self, ready: threading.Event, stop: asyncio.Event) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self.connected(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Counterparty]:
    party, ready = Counterparty(behave, tls), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(party.main(ready, stop)))
    thread.start()
    try:
        assert ready.wait(30)
        yield party
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def answers(status: int, body: bytes = b"{}", *headers: str, kind: str = "application/json") -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", f"content-type: {kind}", *headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    return behave


def writes(raw: bytes) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(raw)

    return behave


async def unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
    """Closes as soon as somebody connects."""


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
    await asyncio.sleep(60)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """Answers 200 with its own request's head, as debugging endpoints do."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request) + request)


@dataclass(frozen=True)
class Spec:
    url: str
    method: str = "POST"
    auth: str | None = None
    no_effect: tuple[int, ...] = ()


def call(
    target: Counterparty | str,
    *,
    constraints: Constraints = NO_CONSTRAINTS,
    credential: Callable[[str], str | None] = {"payments": f"Bearer {SECRET}"}.get,
    tls: ssl.SSLContext | None = None,
    path: str = "/refunds",
    args: Any = ARGS,
    amount_usd: Decimal | None = None,
    timeout_sec: float = 5.0,
    read_only: bool = False,
    key: str = "key-1",
    **spec: Any,
) -> Outcome:
    url = target if isinstance(target, str) else f"http://127.0.0.1:{target.port}{path}"

    async def go() -> Outcome:
        return await HttpConnector(credential, tls=tls).send(
            Spec(url, **spec),
            args,
            constraints,
            key=key,
            action="act_1",
            amount_usd=amount_usd,
            timeout_sec=timeout_sec,
            read_only=read_only,
        )

    return asyncio.run(go())


def head_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what is sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_write_carries_the_canonical_bytes_and_names_its_action_and_key(method: str) -> None:
    with serving(answers(200, b'{"id": "re_1", "fee": 0.35}')) as party:
        outcome = call(party, method=method, auth="payments", path="/r/{args.order_id}?to={args.recipient}")
    (request,) = party.requests
    line, _, _ = request.partition(b"\r\n")
    assert line == f"{method} /r/A-12?to=Zo%C3%AB HTTP/1.1".encode()
    assert request.partition(b"\r\n\r\n")[2] == canonical(ARGS)
    head = head_of(request)
    assert head["content-type"] == "application/json"
    assert head["idempotency-key"] == "key-1"
    assert head["interlock-action"] == "act_1"
    assert head["authorization"] == f"Bearer {SECRET}"
    assert head["user-agent"].startswith("interlock/")
    assert outcome == Succeeded({"status": 200, "body": {"id": "re_1", "fee": 0.35}})


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_get_and_delete_carry_no_body(method: str) -> None:
    with serving(answers(200)) as party:
        call(party, method=method, path="/r/{args.order_id}")
    head, _, body = party.requests[0].partition(b"\r\n\r\n")
    assert body == b""
    assert b"content-length" not in head.lower()
    assert b"content-type" not in head.lower()


def test_environment_proxies_and_netrc_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(answers(200)) as proxy, serving(answers(200)) as party:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert isinstance(call(party), Succeeded)
    assert (proxy.connections, len(party.requests)) == (0, 1)
    assert "authorization" not in head_of(party.requests[0])


def test_each_request_has_its_own_connection_and_cookies_are_not_kept() -> None:
    with serving(answers(200, b"{}", "set-cookie: session=1", "connection: keep-alive")) as party:

        async def twice() -> None:
            connector = HttpConnector({}.get)
            for _ in range(2):
                await connector.send(
                    Spec(f"http://127.0.0.1:{party.port}/"), {}, NO_CONSTRAINTS, key="k", action="a"
                )

        asyncio.run(twice())
    assert (party.connections, len(party.requests)) == (2, 2)
    assert "cookie" not in head_of(party.requests[1])


def test_a_closed_connector_sends_nothing() -> None:
    with serving(answers(200)) as party:

        async def go() -> Outcome:
            connector = HttpConnector({}.get)
            await connector.aclose()
            return await connector.send(
                Spec(f"http://127.0.0.1:{party.port}/"), {}, NO_CONSTRAINTS, key="k", action="a"
            )

        assert asyncio.run(go()) == Failed("the connector is closed", "nothing_sent")
    assert party.connections == 0


# --- what comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "result"),
    [
        (b"", "text/plain", {"body": None}),
        (b'{"a": 1.5}', "application/problem+json; charset=utf-8", {"body": {"a": 1.5}}),
        (b"done", "text/plain", {"text": "done"}),
        (b'{"a": 1, "a": 2}', "application/json", {"text": '{"a": 1, "a": 2}'}),
        (b"[0.12345678901234567890]", "application/json", {"text": "[0.12345678901234567890]"}),
        (b"[1e99999999999999999999]", "application/json", {"text": "[1e99999999999999999999]"}),
        (b"\xff\xfe{", "application/json", {"text": "\ufffd\ufffd{"}),
        ("a\u202eb".encode(), "text/html", {"text": "a⟨U+202E⟩b"}),
        (b"x" * 5000, "text/plain", {"text": "x" * 4000 + "… (1000 more characters)"}),
    ],
)
def test_any_2xx_that_was_read_to_its_end_succeeded_whatever_its_body(
    body: bytes, kind: str, result: dict[str, Any]
) -> None:
    with serving(answers(201, body, kind=kind)) as party:
        assert call(party) == Succeeded({"status": 201, **result})


def test_a_compressed_answer_is_not_unpacked() -> None:
    with serving(answers(200, b"\x1f\x8b" + bytes(10), "content-encoding: gzip")) as party:
        outcome = call(party)
    assert isinstance(outcome, Succeeded)
    assert "not read" in str(outcome.result)
    assert head_of(party.requests[0])["accept-encoding"] == "identity"


def test_an_interim_response_is_not_the_answer() -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    with serving(writes(raw)) as party:
        assert call(party) == Succeeded({"status": 204, "body": None})


# --- failed or unknown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 422, 429])
def test_a_listed_status_proves_no_effect_and_quotes_the_answer(status: int) -> None:
    with serving(answers(status, b'{"error":\n "already refunded"}')) as party:
        outcome = call(party, no_effect=(400, 409, 422, 429))
    assert isinstance(outcome, Failed)
    # A conflict, or too many requests, says nothing about an earlier attempt with the same key.
    assert outcome.proof == ("no_effect_attempt" if status in (409, 429) else "no_effect_response")
    assert f"answered {status}" in outcome.reason
    assert "already refunded" in outcome.reason
    assert len(party.requests) == 1


def test_a_listed_status_is_proof_even_when_its_body_never_ends() -> None:
    with serving(writes(b"HTTP/1.1 409 Conflict\r\ncontent-length: 50\r\n\r\nshort")) as party:
        outcome = call(party, no_effect=(409,))
    assert isinstance(outcome, Failed)
    assert outcome.proof == "no_effect_attempt"


@pytest.mark.parametrize("status", [400, 401, 409, 429, 500, 502, 503])
def test_a_status_nobody_listed_is_unknown_and_is_not_tried_again(status: int) -> None:
    with serving(answers(status, b"no luck", kind="text/plain")) as party:
        outcome = call(party, no_effect=(404,))
    assert isinstance(outcome, Unknown)
    assert f"answered {status}: no luck" in outcome.reason
    assert len(party.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    with serving(answers(200)) as other:
        location = f"location: http://127.0.0.1:{other.port}/"
        with serving(answers(status, b"", location)) as party:
            outcome = call(party, auth="payments")
    assert isinstance(outcome, Unknown)
    assert "redirect" in outcome.reason
    assert (len(party.requests), other.connections) == (1, 0)


def test_a_redirect_with_a_broken_location_can_still_be_listed() -> None:
    with serving(answers(302, b"", "location: http://[broken")) as party:
        outcome = call(party, no_effect=(302,))
    assert isinstance(outcome, Failed)
    assert outcome.proof == "no_effect_response"


@pytest.mark.parametrize(
    "behave",
    [
        unread,
        resets,
        writes(b""),
        writes(b"HTTP/1.1 2"),
        writes(b"SSH-2.0-OpenSSH_9.9\r\n"),
        writes(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"),
        writes(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        writes(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf"),
        writes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf"),
        writes(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000),
    ],
)
def test_whatever_ends_the_exchange_after_connecting_is_unknown(behave: Behaviour) -> None:
    with serving(behave) as party:
        outcome = call(party)
    assert isinstance(outcome, Unknown)
    assert outcome.breach is None
    assert party.connections == 1


def test_the_largest_response_is_read_and_one_byte_more_is_not() -> None:
    with serving(answers(200, b"x" * MAX_RESPONSE_BYTES, kind="text/plain")) as party:
        assert isinstance(call(party), Succeeded)
    with serving(answers(200, b"x" * (MAX_RESPONSE_BYTES + 1), kind="text/plain")) as party:
        outcome = call(party)
    assert isinstance(outcome, Unknown)
    assert "larger than 1048576 bytes" in outcome.reason
    assert outcome.breach == "max_bytes"


def test_silence_after_the_request_is_unknown() -> None:
    with serving(silent) as party:
        outcome = call(party, timeout_sec=0.3)
    assert isinstance(outcome, Unknown)
    assert "no answer within 0.3 s" in outcome.reason
    assert outcome.breach is None
    assert len(party.requests) == 1


def test_what_only_reads_has_failed_where_a_write_would_be_unknown() -> None:
    for behave in (answers(500), resets, answers(200, b"x" * (2 * MAX_RESPONSE_BYTES))):
        with serving(behave) as party:
            outcome = call(party, method="GET", read_only=True)
        assert isinstance(outcome, Failed)
        assert outcome.proof == "read_only"
    with serving(answers(500)) as party:
        assert isinstance(call(party, method="GET"), Unknown)


def test_a_caller_that_gives_up_gets_no_outcome_and_the_connection_ends() -> None:
    async def watches(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
        await reader.read()
        party.hung_up.set()

    with serving(watches) as party:

        async def go() -> None:
            spec = Spec(f"http://127.0.0.1:{party.port}/")
            send = HttpConnector({}.get).send(spec, {}, NO_CONSTRAINTS, key="k", action="a")
            await asyncio.wait_for(send, 0.3)

        with pytest.raises(TimeoutError):
            asyncio.run(go())
        assert party.hung_up.wait(20)


@pytest.mark.parametrize(
    "url",
    [
        "http://no-such-host.invalid/",
        "http://" + "a" * 64 + ".example/",
        "http://xn--a/",
        "http://-\u00fc-/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://300.0.0.1/",
        "http://[::zz]/",
        "http://h/{args.missing}",
        "http://{args.order_id}/",
        "ftp://h/",
    ],
)
def test_an_address_that_leads_nowhere_proves_that_nothing_was_sent(url: str) -> None:
    outcome = call(url)
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"


def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    outcome = call(f"http://127.0.0.1:{closed_port()}/")
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"
    assert "no connection was made" in outcome.reason


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "TRACE", "GET\r\n"])
def test_other_methods_are_refused(method: str) -> None:
    with serving(answers(200)) as party:
        outcome = call(party, method=method)
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"
    assert party.connections == 0


def test_silence_of_the_transport_about_its_steps_is_never_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mute(self: object, step: str, info: object) -> None: ...

    monkeypatch.setattr(connector_module._Wire, "report", mute)
    assert isinstance(call(f"http://127.0.0.1:{closed_port()}/"), Unknown)


# --- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a self-signed certificate for 127.0.0.1, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + pem
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


def test_a_private_authority_is_trusted_where_it_is_given(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with serving(answers(200), authority[0]) as party:
        outcome = call(f"https://127.0.0.1:{party.port}/", tls=authority[1], auth="payments")
    assert outcome == Succeeded({"status": 200, "body": {}})
    assert len(party.requests) == 1


def test_an_untrusted_certificate_proves_that_nothing_was_sent(
    authority: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trust-me.pem"))
    with serving(answers(200), authority[0]) as party:
        outcome = call(f"https://127.0.0.1:{party.port}/", auth="payments")
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"
    assert "TLS was not agreed" in outcome.reason
    assert party.requests == []


def test_a_certificate_for_another_name_proves_that_nothing_was_sent(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with serving(answers(200), authority[0]) as party:
        outcome = call(f"https://localhost:{party.port}/", tls=authority[1])
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"
    assert party.requests == []


def test_a_handshake_that_hangs_has_sent_nothing_and_leaves_no_socket_open() -> None:
    received = bytearray()

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
        received.extend(await reader.read(-1))
        party.hung_up.set()

    async def go(port: int) -> tuple[Outcome, bool]:
        spec = Spec(f"https://127.0.0.1:{port}/")
        outcome = await HttpConnector({}.get).send(
            spec, ARGS, Constraints(max_runtime_sec=1), key="k", action="a"
        )
        return outcome, await asyncio.to_thread(party.hung_up.wait, 2)

    with serving(hangs) as party:
        party.connected = hangs_without_reading(party, hangs)  # type: ignore[method-assign]
        outcome, hung_up = asyncio.run(go(party.port))
    assert isinstance(outcome, Failed)
    assert (outcome.proof, outcome.breach) == ("nothing_sent", "max_runtime_sec")
    assert "no connection within 1 s" in outcome.reason
    assert hung_up
    assert b"POST" not in received


def hangs_without_reading(
    party: Counterparty, behave: Behaviour
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        party.connections += 1
        await behave(reader, writer, b"")
        writer.close()

    return connected


# --- constraints -----------------------------------------------------------------------------------------


def test_the_connector_says_which_constraints_it_enforces() -> None:
    everything = Constraints(5, ("h",), Decimal(1))
    assert enforceable(everything) == {"max_runtime_sec", "network_allowlist", "max_amount_usd"}
    assert enforceable(NO_CONSTRAINTS) == set()


@pytest.mark.parametrize("behave", [drips, silent])
def test_max_runtime_ends_an_exchange_that_keeps_dripping(behave: Behaviour) -> None:
    with serving(behave) as party:
        start = time.monotonic()
        outcome = call(party, constraints=Constraints(max_runtime_sec=1))
        assert time.monotonic() - start < 3
    assert isinstance(outcome, Unknown)
    assert outcome.breach == "max_runtime_sec"


def test_the_callers_own_timeout_is_no_breach() -> None:
    with serving(drips) as party:
        outcome = call(party, constraints=Constraints(max_runtime_sec=60), timeout_sec=0.3)
    assert isinstance(outcome, Unknown)
    assert outcome.breach is None


@pytest.mark.parametrize(("runtime", "timeout"), [(0, 5.0), (None, 0.0), (None, -1.0), (None, float("nan"))])
def test_without_time_nothing_is_opened(runtime: int | None, timeout: float) -> None:
    with serving(answers(200)) as party:
        outcome = call(party, constraints=Constraints(max_runtime_sec=runtime), timeout_sec=timeout)
    assert isinstance(outcome, Failed)
    assert outcome.breach == (None if runtime is None else "max_runtime_sec")
    assert party.connections == 0


@pytest.mark.parametrize(
    "amount", [None, Decimal("100.01"), Decimal("-100.01"), Decimal("NaN"), Decimal("Inf")]
)
def test_an_amount_over_the_limit_or_unknown_is_never_sent(amount: Decimal | None) -> None:
    with serving(answers(200)) as party:
        outcome = call(party, constraints=Constraints(max_amount_usd=Decimal(100)), amount_usd=amount)
    assert isinstance(outcome, Failed)
    assert (outcome.proof, outcome.breach) == ("nothing_sent", "max_amount_usd")
    assert party.connections == 0


def test_an_amount_at_the_limit_is_sent() -> None:
    with serving(answers(200)) as party:
        limit = Constraints(max_amount_usd=Decimal(100))
        assert isinstance(call(party, constraints=limit, amount_usd=Decimal("100.00")), Succeeded)


@pytest.mark.parametrize(
    "allowlist",
    [
        (),
        ("localhost",),
        ("*",),
        ("127.0.0.0/8",),
        ("127.0.0.1:1",),
        ("http://127.0.0.1",),
        ("127.0.0",),
        ("127.0.0.1.",),
        ("2130706433", "127.1"),
        ("",),
    ],
)
def test_a_host_that_is_not_listed_exactly_is_never_opened(allowlist: tuple[str, ...]) -> None:
    asked: list[str] = []
    with serving(answers(200)) as party:
        outcome = call(
            party,
            constraints=Constraints(network_allowlist=allowlist),
            auth="payments",
            credential=lambda name: asked.append(name) or f"Bearer {SECRET}",  # type: ignore[func-returns-value]
        )
    assert isinstance(outcome, Failed)
    assert (outcome.proof, outcome.breach) == ("nothing_sent", "network_allowlist")
    assert (party.connections, asked) == (0, [])


def test_a_listed_host_or_host_and_port_is_opened() -> None:
    with serving(answers(200)) as party:
        for entry in ("127.0.0.1", f"127.0.0.1:{party.port}"):
            outcome = call(party, constraints=Constraints(network_allowlist=("other", entry)))
            assert isinstance(outcome, Succeeded), outcome


@pytest.mark.parametrize(
    ("url", "entry", "breach"),
    [
        ("http://B\u00fccher.INVALID/", "b\u00fcCHER.invalid", None),
        ("http://b\u00fccher.invalid/", "XN--bcher-kva.invalid", None),
        ("http://a.invalid/", "a.invalid:80", None),
        ("http://a.invalid/", "a.invalid:443", "network_allowlist"),
        ("http://a.invalid:8080/", "a.invalid:80", "network_allowlist"),
        ("http://a.invalid.evil.invalid/", "a.invalid", "network_allowlist"),
        ("http://\u0430.invalid/", "a.invalid", "network_allowlist"),
        ("http://[::1]:1/", "[::1]", None),
        ("http://[::1]:1/", "[::1]:1", None),
        ("http://[::1]:1/", "[::1]:2", "network_allowlist"),
        ("http://[::1]:1/", "localhost", "network_allowlist"),
    ],
)
def test_hosts_are_compared_whole_in_their_ascii_form(url: str, entry: str, breach: str | None) -> None:
    outcome = call(url, constraints=Constraints(network_allowlist=(entry,)))
    assert isinstance(outcome, Failed)
    assert outcome.breach == breach


# --- secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, "", "Bearer x\r\nHost: evil", "Bearer \u00e9", "Bearer x ", SECRET + "\0"]
)
def test_a_missing_or_malformed_credential_is_never_sent_nor_shown(
    value: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), serving(answers(200)) as party:
        outcome = call(party, auth="payments", credential=lambda _: value)
    assert isinstance(outcome, Failed)
    assert outcome.proof == "nothing_sent"
    assert party.connections == 0
    assert not value or (value not in repr(outcome) and SECRET not in caplog.text)


def test_a_credential_store_that_cannot_be_reached_sends_nothing() -> None:
    def broken(_: str) -> str:
        raise Unavailable(f"store said {SECRET}")

    with serving(answers(200)) as party:
        outcome = call(party, auth="payments", credential=broken)
    assert isinstance(outcome, Failed)
    assert SECRET not in repr(outcome)
    assert party.connections == 0


def test_a_key_that_is_no_header_value_sends_nothing() -> None:
    with serving(answers(200)) as party:
        assert isinstance(call(party, key="a\r\nx: y"), Failed)
    assert party.connections == 0


@pytest.mark.parametrize(
    ("authorization", "hidden"),
    [(f"Bearer {SECRET}", SECRET), ("Basic dTpodW50ZXIyMTIz", "hunter2123"), (SECRET, SECRET)],
)
def test_an_echoed_credential_is_struck_out_of_every_outcome(
    authorization: str, hidden: str, caplog: pytest.LogCaptureFixture
) -> None:
    quoted = hidden.replace("_", "\\u005f").encode()
    bodies = [b'{"token": "' + quoted + b'", "' + quoted + b'": [1]}', b"x" * 290 + hidden.encode()]
    for status in (200, 409, 500):
        for body, kind in zip(bodies, ("application/json", "text/plain"), strict=True):
            with caplog.at_level(logging.DEBUG), serving(answers(status, body, kind=kind)) as party:
                outcome = call(party, auth="a", credential=lambda _: authorization, no_effect=(409,))
            shown = repr(outcome) + outcome.note
            assert hidden not in shown
            assert hidden[:8] not in shown
    with caplog.at_level(logging.DEBUG), serving(echoes) as party:
        outcome = call(party, auth="a", credential=lambda _: authorization)
    assert isinstance(outcome, Succeeded)
    assert "authorization: [credential]" in str(outcome.result).lower()
    assert authorization not in repr(outcome)
    assert authorization not in caplog.text
    assert hidden not in caplog.text


def test_neither_arguments_nor_urls_are_logged_or_repeated_in_reasons(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for behave in (answers(500, b""), resets):
        with caplog.at_level(logging.DEBUG), serving(behave) as party:
            outcome = call(party, path="/p/{args.order_id}", args={"order_id": "patient-quokka"})
        assert "quokka" not in repr(outcome)
    assert "quokka" not in caplog.text


# --- hygiene ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "behave", [answers(200), answers(200, b"x" * (2 * MAX_RESPONSE_BYTES)), drips, resets]
)
def test_no_exchange_leaves_a_socket_or_generator_behind(behave: Behaviour) -> None:
    with serving(behave) as party:
        call(party, timeout_sec=0.3)
        gc.collect()


# --- coming back later, and where a name leads -----------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 400, 999_999_999.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500])
def test_what_a_busy_service_says_about_coming_back_is_handed_on(
    status: int, said: str, seconds: float | None
) -> None:
    with serving(answers(status, b"{}", f"retry-after: {said}")) as party:
        listed, unlisted = call(party, no_effect=(429, 503)), call(party)
    expected = seconds if status != 500 else None
    assert isinstance(unlisted, Unknown)
    assert unlisted.retry_after_sec == expected
    assert not isinstance(listed, Succeeded)
    assert listed.retry_after_sec == expected
    assert isinstance(listed, Failed) is (status != 500)


def test_an_answer_of_100_mb_is_not_read_to_its_end() -> None:
    sent = 0

    async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _number in range(100):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent += 1

    with serving(floods) as party:
        outcome = call(party, timeout_sec=20)
    assert isinstance(outcome, Unknown)
    assert "larger than" in outcome.reason
    assert sent < 90


def test_a_name_is_reached_at_the_address_that_was_checked_whatever_it_leads_to_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first answer about the name is checked; a second one, which leads elsewhere, is not asked for."""
    resolve, asked = socket.getaddrinfo, []

    def rebinding(host: Any, port: Any, *args: Any, **rest: Any) -> Any:
        if host == "payments.example.com":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return resolve(host, port, *args, **rest)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with serving(answers(200)) as party:
        url = f"http://payments.example.com:{party.port}/refunds"
        listed = Constraints(network_allowlist=("payments.example.com", "127.0.0.1"))
        assert isinstance(call(url, constraints=listed), Succeeded)
        assert head_of(party.requests[0])["host"] == f"payments.example.com:{party.port}"
        assert asked == ["payments.example.com"]
        asked.clear()
        refused = call(url, constraints=Constraints(network_allowlist=("payments.example.com",)))
    assert isinstance(refused, Failed)
    assert (refused.proof, refused.breach) == ("nothing_sent", "network_allowlist")
    assert len(party.requests) == 1


def test_tls_still_asks_for_the_name_and_not_for_the_address(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """The certificate is for 127.0.0.1, where the name leads; it is not one for the name."""
    with serving(answers(200), authority[0]) as party:
        by_address = Constraints(network_allowlist=("127.0.0.1",))
        sent = call(f"https://127.0.0.1:{party.port}/", tls=authority[1], constraints=by_address)
        by_name = Constraints(network_allowlist=("localhost",))
        refused = call(f"https://localhost:{party.port}/", tls=authority[1], constraints=by_name)
    assert isinstance(sent, Succeeded)
    assert isinstance(refused, Failed)
    assert refused.proof == "nothing_sent"


def test_a_credential_that_the_service_refused_is_said() -> None:
    refused: list[str] = []

    async def go(party: Counterparty) -> None:
        connector = HttpConnector({"payments": f"Bearer {SECRET}"}.get, refused=refused.append)
        for auth in ("payments", None):
            spec = Spec(f"http://127.0.0.1:{party.port}/", auth=auth)
            await connector.send(spec, {}, NO_CONSTRAINTS, key="k", action="a")

    with serving(answers(401)) as party:
        asyncio.run(go(party))
    assert refused == ["payments"]
