"""An OAuth authorization server on this machine (Authlib): it publishes its keys and issues access tokens.

Clients authenticate with their secret and get JWTs (RFC 9068) by the client credentials grant.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import jwt
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import KeySet, RSAKey

SCOPE = "tools/call"
SECRETS = {"agentcore": "s3cret-of-agentcore", "stranger": "s3cret-of-stranger"}


class _Client(ClientMixin):
    def __init__(self, name: str) -> None:
        self._name = name

    def get_client_id(self) -> str:
        return self._name

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRETS[self._name]

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic" and endpoint == "token"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class _Server(AuthorizationServer):
    def query_client(self, client_id: str) -> _Client | None:
        return _Client(client_id) if client_id in SECRETS else None

    def save_token(self, token: Any, request: Any) -> None:
        """Its tokens carry everything."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        found = OAuth2Request("POST", "https://issuer/token", headers=dict(request.headers))
        length = int(request.headers.get("content-length", "0"))
        found.payload = BasicOAuth2Payload(dict(parse_qsl(request.rfile.read(length).decode())))
        return found

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any]:
        del headers
        return status, body


class IssuerServer:
    """The issuer that runs.

    Attributes:
        url: as its tokens name it. keys: by name, the newest last; all are published.
        audience: what its tokens are for. asked: how often its keys were read. down: it answers 503.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Any] = {}
        self.audience = "https://gate.example/mcp"
        self.asked = 0
        self.down = False
        self.rotate("k1")
        issuer = self

        class Generator(JWTBearerTokenGenerator):
            def get_jwks(self) -> KeySet:
                return KeySet([list(issuer.keys.values())[-1]])

            def get_audiences(self, client: Any, user: Any, scope: Any) -> str:
                return issuer.audience

        self.oauth = _Server()
        self.oauth.register_grant(ClientCredentialsGrant)
        self.oauth.register_token_generator("default", Generator(url))

    def rotate(self, name: str, *, keep: bool = False) -> None:
        """A new key signs from now on; the old ones are gone, or stay published."""
        self.keys = {**(self.keys if keep else {}), name: _made(name)}

    def public(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}

    def token(self, client: str = "agentcore", scope: str = SCOPE) -> str:
        """A token, asked for as a client does."""
        answer = httpx.post(
            f"{self.url}/token",
            data={"grant_type": "client_credentials", "scope": scope},
            auth=(client, SECRETS[client]),
            trust_env=False,
        )
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def forged(self, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token with other claims under the issuer's own key; what is None is left out."""
        (name, key), *_ = reversed(self.keys.items())
        now = int(time.time())
        given = {"iss": self.url, "aud": self.audience, "exp": now + 300, "iat": now, "scope": SCOPE}
        said = {**given, "client_id": "agentcore", **claims}
        headers = {"kid": name, "typ": "at+jwt", **(head or {})}
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            key.as_pem(private=True),
            "RS256",
            {name: value for name, value in headers.items() if value is not None},
        )


def _made(name: str) -> Any:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


@contextmanager
def issuing() -> Iterator[IssuerServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if issuer.down:
                self._say(503, {})
            elif self.path == "/.well-known/openid-configuration":
                self._say(200, {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})
            elif self.path == "/keys":
                issuer.asked += 1
                self._say(200, issuer.public())
            else:
                self._say(404, {})

        def do_POST(self) -> None:
            self._say(*issuer.oauth.create_token_response(self))

        def _say(self, status: int, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = IssuerServer(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield issuer
        finally:
            server.shutdown()


@contextmanager
def gateway(home: Path, oauth: Mapping[str, Any]) -> Iterator[str]:
    """The URL of a gateway in front of a home's bank, in a process of its own, behind an issuer."""
    file = home / "oauth.json"
    file.write_text(json.dumps(oauth))
    command = [sys.executable, "-m", "interlock.cli", "mcp", "--home", str(home), "--http", "--port", "0"]
    command += ["--no-serve", "--wait", "0", "--server", "bank", "--oauth", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "http://" in line:
                yield line.split()[-1]
                break
        else:
            raise AssertionError("it did not start")
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(20)
