"""The line to a server: the key goes to one address, which has to be who it says it is."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock import Gate
from interlock.client.server import Server, carried
from interlock.model.errors import (
    Conflict,
    Forbidden,
    InterlockError,
    InvalidInput,
    NotANumber,
    Unavailable,
)

KEY = "ilk_adapter_" + "0" * 32 + "." + "A" * 43


class Stranger:
    """Answers every request alike, and remembers what it was shown."""

    def __init__(self, status: int, body: bytes, certificate: Path | None, **headers: str) -> None:
        self.keys: list[str | None] = []
        stranger = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stranger.keys.append(self.headers.get("authorization"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.url = self.url.replace("http", "https")


@contextmanager
def stranger(
    status: int = 200, body: bytes = b"{}", certificate: Path | None = None, **headers: str
) -> Iterator[Stranger]:
    made = Stranger(status, body, certificate, **headers)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for this machine that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_a_server_nobody_vouches_for_never_sees_the_key(certificate: Path) -> None:
    with stranger(certificate=certificate) as server:
        with pytest.raises(Unavailable, match="certificate"):
            Gate.connect(server.url, key=KEY)
        assert server.keys == []
        with pytest.raises(Unavailable, match="does not speak"):
            Gate.connect(server.url, key=KEY, ca=certificate)
        assert server.keys == [f"Bearer {KEY}"]
    with pytest.raises(InvalidInput, match="certificates"):
        Gate.connect("https://127.0.0.1:1", key=KEY, ca=certificate.parent / "none.pem")


def test_the_key_is_not_sent_on_by_a_redirect() -> None:
    with stranger() as other, stranger(307, location=f"{other.url}/v1/caller") as server:
        with pytest.raises(Unavailable, match="not sent on"):
            Gate.connect(server.url, key=KEY)
        assert (len(server.keys), other.keys) == (1, [])


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with stranger() as proxy, stranger() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with pytest.raises(Unavailable):
            Gate.connect(server.url, key=KEY)
        assert proxy.keys == []


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"kind": NaN}', b'{"kind":"adapter","kind":"agent"}']
)
def test_what_does_not_speak_the_api_is_said_to_be_something_else(body: bytes) -> None:
    with stranger(body=body) as server, pytest.raises(Unavailable, match="does not speak"):
        Gate.connect(server.url, key=KEY)


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [(409, "conflict", Conflict), (403, "from-the-future", Forbidden), (418, "x", Unavailable)],
)
def test_a_refusal_is_the_error_that_it_names(status: int, slug: str, kind: type[InterlockError]) -> None:
    body = f'{{"type": "urn:interlock:problem:{slug}", "title": "t", "detail": "Not now.", "fix": "Wait."}}'
    with stranger(status, body.encode()) as server:
        line = Server(server.url, KEY)
        with pytest.raises(kind, match=r"Not now. Wait."):
            line.get("/v1/caller")
        line.close()
        assert len(server.keys) == 1  # what was answered is not asked again


def test_what_is_not_answered_is_asked_again_until_patience_is_over() -> None:
    with stranger(503, b'{"type": "urn:interlock:problem:connection-lost", "detail": "Away."}') as server:
        line = Server(server.url, KEY)
        with pytest.raises(InterlockError, match="Away"):
            line.get("/v1/caller", patience=1.0)
        line.close()
        assert len(server.keys) > 2


def test_arguments_travel_as_exactly_as_they_can() -> None:
    many = Decimal("12345678901234567.89")
    sent: Any = carried({"a": Decimal("14.50"), "b": many, "c": [0.1, None, True, "x"], "d": 7})
    assert sent == {"a": 14.5, "b": "12345678901234567.89", "c": [0.1, None, True, "x"], "d": 7}
    with pytest.raises(NotANumber):
        carried({"a": float("nan")})
    with pytest.raises(InterlockError):
        carried({"a": object()})
