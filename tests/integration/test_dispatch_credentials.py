"""Credentials against a real token endpoint and real files: fetched late, renewed in time, never shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from interlock.dispatch.credentials import MAX_ANSWER, REFUSED_SEC, Credentials, authorization
from interlock.dispatch.limits import NotSent
from interlock.home.connections import Connections
from interlock.model.errors import HomeUnusable, InterlockError, Unavailable

CLIENT, SECRET = "interlock", "s3cr3t-of-the-client"


class Endpoint:
    """A token endpoint that keeps the rules of RFC 6749: who asks, for what, and each refresh token once."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.heads: list[str] = []
        self.life: Any = 3600
        self.refresh = "refresh-0"
        self.rotates = False
        self.raw: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.lock = threading.Lock()
        self.slow = 0.0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                time.sleep(endpoint.slow)
                with endpoint.lock:
                    endpoint.asked.append(form)
                    endpoint.heads.append(str(self.headers))
                    if endpoint.raw is not None:
                        endpoint.raw(self)
                        return
                    status, answer = endpoint.answer(form, self.headers.get("authorization", ""))
                self.reply(status, json.dumps(answer).encode())

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, form: dict[str, str], head: str) -> tuple[int, dict[str, Any]]:
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        posted = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        if head != basic and not posted:
            return 401, {"error": "invalid_client", "error_description": f"not {SECRET}"}
        found: dict[str, Any] = {"access_token": f"at-{len(self.asked)}", "token_type": "Bearer"}
        if self.life is not None:
            found["expires_in"] = self.life
        if form["grant_type"] == "refresh_token":
            if form.get("refresh_token") != self.refresh:
                return 400, {"error": "invalid_grant", "error_description": "spent"}
            if self.rotates:
                self.refresh = found["refresh_token"] = f"refresh-{len(self.asked)}"
        return 200, found


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()
    yield found
    found.server.shutdown()
    found.server.server_close()


class Watch:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.watch = Watch()
        self.credentials = Credentials(Connections(home), now=self.watch)
        (home / "credentials").mkdir(mode=0o700)

    def keep(self, name: str, value: str) -> None:
        file = self.home / "credentials" / name
        file.touch(mode=0o600)
        file.write_text(value)

    def oauth(self, endpoint: Endpoint, name: str = "crm", **rest: Any) -> None:
        recipe = {"token_url": endpoint.url, "client_id": CLIENT, "client_secret": SECRET, **rest}
        self.keep(name, json.dumps({"oauth2": recipe}))

    def get(self, name: str = "crm") -> str | None:
        return asyncio.run(self.credentials(name))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_plain_value_is_itself_and_is_read_each_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.keep("crm", "Bearer one\n")
    assert desk.get() == "Bearer one"
    desk.keep("crm", "Bearer two\n")
    assert desk.get() == "Bearer two"
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_CRM", "Bearer three")
    assert desk.get() == "Bearer three"
    assert desk.get("other") is None
    assert desk.get("../crm") is None


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
def test_the_clients_own_credentials_are_exchanged(desk: Desk, endpoint: Endpoint, way: str) -> None:
    desk.oauth(endpoint, scope="refunds", client_auth=way)
    assert desk.get() == "Bearer at-1"
    assert endpoint.asked[0]["grant_type"] == "client_credentials"
    assert endpoint.asked[0]["scope"] == "refunds"


def test_a_token_is_used_until_shortly_before_its_end(desk: Desk, endpoint: Endpoint) -> None:
    desk.oauth(endpoint)
    assert [desk.get(), desk.get()] == ["Bearer at-1"] * 2
    desk.watch.now += 3600 - 61
    assert desk.get() == "Bearer at-1"
    desk.watch.now += 2
    assert desk.get() == "Bearer at-2"
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize("life", [None, "soon", True, 0, -5])
def test_a_token_whose_end_is_not_said_or_nonsense_is_not_used_for_ever(
    desk: Desk, endpoint: Endpoint, life: Any
) -> None:
    endpoint.life = life
    desk.oauth(endpoint)
    with contextlib.suppress(Unavailable):
        desk.get()
    desk.watch.now += 301
    count = len(endpoint.asked)
    with contextlib.suppress(Unavailable):
        desk.get()
    assert len(endpoint.asked) == count + 1


def test_a_token_that_the_tool_refused_is_not_used_again(desk: Desk, endpoint: Endpoint) -> None:
    desk.oauth(endpoint)
    assert desk.get() == "Bearer at-1"
    desk.watch.now += REFUSED_SEC
    desk.credentials.refused("crm")
    assert desk.get() == "Bearer at-2"


def test_a_tool_that_refuses_every_token_does_not_have_one_asked_for_each_action(
    desk: Desk, endpoint: Endpoint
) -> None:
    desk.oauth(endpoint)
    for _ in range(10):
        desk.get()
        desk.credentials.refused("crm")
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("life", [10**400, 1e300])
def test_an_end_that_no_number_holds_costs_no_action_and_is_not_believed(
    desk: Desk, endpoint: Endpoint, life: Any
) -> None:
    endpoint.life = life
    desk.oauth(endpoint)
    assert desk.get() == "Bearer at-1"
    desk.watch.now += 24 * 3600
    assert desk.get() == "Bearer at-2"


def test_a_changed_recipe_is_not_answered_with_the_old_token(desk: Desk, endpoint: Endpoint) -> None:
    desk.oauth(endpoint)
    desk.get()
    desk.oauth(endpoint, scope="less")
    assert desk.get() == "Bearer at-2"


def test_a_refresh_token_that_is_replaced_is_written_back_before_its_token_is_used(
    desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.rotates = True
    desk.oauth(endpoint, grant="refresh_token", refresh_token="refresh-0")
    assert desk.get() == "Bearer at-1"
    file = desk.home / "credentials" / "crm"
    assert json.loads(file.read_text())["oauth2"]["refresh_token"] == "refresh-1"
    assert file.stat().st_mode & 0o777 == 0o600
    # Another process starts from what was written.
    other = Credentials(Connections(desk.home))
    assert asyncio.run(other("crm")) == "Bearer at-2"
    assert [asked["refresh_token"] for asked in endpoint.asked] == ["refresh-0", "refresh-1"]


def test_a_replaced_refresh_token_that_cannot_be_written_back_is_said(
    desk: Desk, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.rotates = True
    recipe = {
        "token_url": endpoint.url,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "grant": "refresh_token",
        "refresh_token": "refresh-0",
    }
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_CRM", json.dumps({"oauth2": recipe}))
    with pytest.raises(HomeUnusable, match="cannot be written back"):
        desk.get()


def test_a_replaced_refresh_token_outlives_a_full_disk(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.rotates = True
    desk.oauth(endpoint, grant="refresh_token", refresh_token="refresh-0")
    file = desk.home / "credentials" / "crm"
    file.with_name(f".crm.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(NotSent, match="home-unusable"):
        asyncio.run(authorization(desk.credentials, "crm"))
    assert json.loads(file.read_text())["oauth2"]["refresh_token"] == "refresh-0"
    assert desk.get() == "Bearer at-2", "the disk has room again"
    assert [asked["refresh_token"] for asked in endpoint.asked] == ["refresh-0", "refresh-1"]
    assert json.loads(file.read_text())["oauth2"]["refresh_token"] == "refresh-2"


def test_whatever_keeps_a_credential_from_being_read_nothing_was_sent(desk: Desk) -> None:
    def failing(name: str) -> str:
        raise OverflowError("a store of somebody's")

    (desk.home / "credentials" / "folder").mkdir(mode=0o700)
    for credential, name in ((desk.credentials, "folder"), (failing, "crm")):
        with pytest.raises(NotSent, match="cannot be read"):
            asyncio.run(authorization(credential, name))


def test_many_askers_of_several_processes_spend_a_refresh_token_once(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.rotates, endpoint.slow = True, 0.05
    desk.oauth(endpoint, grant="refresh_token", refresh_token="refresh-0")
    each = [Credentials(Connections(desk.home)) for _ in range(4)]

    async def several(credentials: Credentials) -> set[str | None]:
        return set(await asyncio.gather(*(credentials("crm") for _ in range(5))))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: asyncio.run(several(one)), each))
    assert all(len(tokens) == 1 for tokens in found)
    spent = [asked["refresh_token"] for asked in endpoint.asked]
    assert len(spent) == len(set(spent)) == 4
    # What another process replaced does not end the token of this one.
    for credentials, tokens in zip(each, found, strict=True):
        assert asyncio.run(several(credentials)) == tokens
    assert len(endpoint.asked) == 4


def test_an_asker_that_gives_up_leaves_no_lock_behind(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.slow = 0.5
    desk.oauth(endpoint)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(desk.credentials("crm"), 0.1)

    asyncio.run(impatient())
    endpoint.slow = 0.0
    assert desk.get() is not None


Reply = Callable[[BaseHTTPRequestHandler], None]


def _redirects(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(307)
    handler.send_header("location", "http://127.0.0.1:9/steal")
    handler.send_header("content-length", "0")
    handler.end_headers()


def _raw(
    body: bytes, status: int = 200, kind: str = "application/json"
) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    return reply


@pytest.mark.parametrize(
    "raw",
    [
        _redirects,
        _raw(b"x" * (MAX_ANSWER + 1)),
        _raw(b'{"access_token": "' + b"a" * MAX_ANSWER + b'", "token_type": "bearer"}'),
        _raw(b"not json"),
        _raw(b"[]"),
        _raw(b"{}"),
        _raw(b'"text"'),
        _raw(b'{"access_token": "a b", "token_type": "bearer"}'),
        _raw(b'{"access_token": "a\\r\\nx-evil: 1", "token_type": "bearer"}'),
        _raw(b'{"access_token": 7, "token_type": "bearer"}'),
        _raw(b'{"access_token": "abc", "token_type": "mac"}'),
        _raw(b'{"access_token": "abc"}'),
        _raw(b'{"error": {"deep": "s3cr3t-of-the-client"}}', 400),
        _raw(b"", 500),
        _raw(b"busy", 503, "text/plain"),
    ],
)
def test_an_endpoint_that_answers_with_anything_else_gives_no_token(
    desk: Desk, endpoint: Endpoint, raw: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    endpoint.raw = raw
    desk.oauth(endpoint)
    with pytest.raises(Unavailable) as refused:
        desk.get()
    assert SECRET not in str(refused.value)


def test_the_code_of_a_refusal_is_told_and_nothing_else(desk: Desk, endpoint: Endpoint) -> None:
    desk.oauth(endpoint, client_secret="wrong")
    with pytest.raises(Unavailable) as refused:
        desk.get()
    assert "invalid_client" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "{}",
        '{"oauth2": {}}',
        '{"oauth2": {"token_url": "http://idp.example.com/t", "client_id": "a", "client_secret": "b"}}',
        '{"oauth2": {"token_url": "https://u:p@i.c/t", "client_id": "a", "client_secret": "b"}}',
        '{"oauth2": {"token_url": "http://127.0.0.1.evil.com/t", "client_id": "a", "client_secret": "b"}}',
        '{"oauth2": {"token_url": "https://idp.example.com/t", "client_id": "a"}}',
        '{"oauth2": {"token_url": "https://idp.example.com/t", "client_id": "a", "grant": "refresh_token"}}',
        '{"oauth2": {"token_url": "https://i.c/t", "client_id": "a", "client_secret": "b", "grant": "pw"}}',
        '{"oauth2": {"token_url": "https://i.c/t", "client_id": "a", "client_secret": "b", "v": false}}',
        '{"oauth2": {"token_url": "https://i.c/t", "client_id": "a", "client_secret": "b"}, "x": "hunter2"}',
    ],
)
def test_a_recipe_that_is_not_understood_is_no_credential_and_is_not_repeated(desk: Desk, value: str) -> None:
    desk.keep("crm", value)
    with pytest.raises(HomeUnusable) as refused:
        desk.get()
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_others_read_is_refused(desk: Desk) -> None:
    desk.keep("crm", "Bearer x")
    (desk.home / "credentials" / "crm").chmod(0o644)
    with pytest.raises(HomeUnusable, match="chmod 600"):
        desk.get()


def test_the_environments_proxies_do_not_see_the_secret(
    desk: Desk, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    desk.oauth(endpoint)
    assert desk.get() == "Bearer at-1"


def test_no_secret_and_no_token_is_logged(
    desk: Desk, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.rotates = True
    desk.oauth(endpoint, grant="refresh_token", refresh_token="refresh-0")
    desk.get()
    for secret in (SECRET, "at-1", "refresh-0", "refresh-1"):
        assert secret not in caplog.text


def test_a_call_that_needs_a_credential_is_not_made_without_one(desk: Desk, endpoint: Endpoint) -> None:
    for value, words in ((None, "not configured"), ("{", "home-unusable")):
        if value is not None:
            desk.keep("crm", value)
        with pytest.raises(NotSent, match=words):
            asyncio.run(authorization(desk.credentials, "crm"))
    endpoint.raw = _raw(b"", 500)
    desk.oauth(endpoint)
    with pytest.raises(NotSent, match="unavailable"):
        asyncio.run(authorization(desk.credentials, "crm"))
    assert issubclass(Unavailable, InterlockError)
