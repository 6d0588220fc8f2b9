"""The gateway behind OAuth: only an issuer's token for a client that somebody named counts, as that key."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from joserfc.jwk import RSAKey
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from house import House
from interlock.adapters.mcp.tokens import AGAIN_SEC, FRESH_SEC, STALE_SEC, Issuer, Trusted, read_trusted
from interlock.identity import KeyKind
from interlock.model.errors import HomeUnusable
from mcp_gate import LARGE, MODES, POLICY, Bank, said
from oauth_issuer import SCOPE, IssuerServer, gateway, issuing

pytestmark = pytest.mark.timeout(120)
RESOURCE = "https://gate.example/mcp"
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def server() -> Iterator[IssuerServer]:
    with issuing() as found:
        yield found


class Now:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def trusted(server: IssuerServer, **rest: Any) -> Trusted:
    given = {"audience": RESOURCE, "scope": SCOPE, "clients": {"agentcore": "key_1"}, **rest}
    return Trusted(resource=RESOURCE, issuer=server.url, **given)


def counts(issuer: Issuer, *tokens: str) -> list[bool]:
    """Whether each of the tokens shows anything, looked at one after the other."""

    async def look() -> list[bool]:
        return [await issuer.shown(token) is not None for token in tokens]

    return asyncio.run(look())


# --- tokens -----------------------------------------------------------------------------------------------


def test_a_token_of_the_issuer_for_a_known_client_stands_for_its_key(server: IssuerServer) -> None:
    shown = asyncio.run(Issuer(trusted(server)).shown(server.token()))
    assert shown is not None
    assert (shown.key, shown.scopes) == ("key_1", (SCOPE,))
    assert shown.expires_at > time.time()


@pytest.mark.parametrize(
    ("head", "claims"),
    [
        ({}, {"exp": int(time.time()) - 60}),
        ({}, {"exp": None}),
        ({}, {"nbf": int(time.time()) + 600}),
        ({}, {"aud": "https://other.example/mcp"}),
        ({}, {"aud": f"{RESOURCE}/"}),
        ({}, {"aud": None}),
        ({}, {"iss": "https://evil.example"}),
        ({}, {"iss": None}),
        ({}, {"client_id": "stranger"}),
        ({}, {"client_id": None}),
        ({}, {"client_id": ["agentcore"]}),
        ({}, {"client_id": "stranger", "azp": "agentcore"}),
        ({}, {"token_use": "id"}),
        ({"typ": "logout+jwt"}, {}),
        ({"typ": "id_token+jwt"}, {}),
        ({"kid": "k9"}, {}),
        ({"kid": None, "crit": ["exp"]}, {}),
    ],
)
def test_a_token_that_is_for_something_else_does_not_count(
    server: IssuerServer, head: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert counts(Issuer(trusted(server)), server.forged(head, **claims), server.forged()) == [False, True]


def test_no_algorithm_but_the_issuers_signs_a_token(server: IssuerServer) -> None:
    claims = jwt.decode(server.forged(), options={"verify_signature": False})
    (key,) = server.keys.values()
    pem = key.as_pem(private=False)

    def signed(algorithm: str, **head: str) -> str:
        """As an attacker does who only has what is public."""
        parts = [{"alg": algorithm, "kid": "k1", "typ": "at+jwt", **head}, claims]
        text = ".".join(_text(json.dumps(part).encode()) for part in parts)
        if not algorithm.startswith("HS"):
            return f"{text}."
        return f"{text}.{_text(hmac.digest(pem, text.encode(), hashlib.sha256))}"

    own = RSAKey.generate_key(2048, {"kid": "k1"})
    tokens = [signed("none"), signed("None"), signed("HS256"), signed("RS256"), signed("")]
    tokens += [jwt.encode(claims, own.as_pem(private=True), "RS256", {"kid": "k1"})]
    embedded = {"kid": "k1", "jwk": own.as_dict(private=False), "jku": "https://evil.example/keys"}
    tokens += [jwt.encode(claims, own.as_pem(private=True), "RS256", embedded)]
    tokens += [jwt.encode(claims, key.as_pem(private=True), "PS256", {"kid": "k1"})]
    good = server.forged()
    head, body, signature = good.split(".")
    tokens += [f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}", "", "x", "a.b.c", good + "A" * 20_000]
    tokens += [".".join([head, _text(json.dumps({**claims, "client_id": "other"}).encode()), signature])]
    assert counts(Issuer(trusted(server)), *tokens, good) == [False] * len(tokens) + [True]
    assert counts(Issuer(trusted(server, algorithms=("PS256", "ES256"))), good) == [False]


def test_a_token_without_a_scope_shows_none_and_the_scope_binds_where_there_is_no_audience(
    server: IssuerServer,
) -> None:
    issuer = Issuer(trusted(server, audience=None))
    assert counts(issuer, server.forged(exp=None), server.forged(iss=None)) == [False, False]
    for claims, scopes in (({"aud": None, "scope": "a b"}, ("a", "b")), ({"scope": None}, ())):
        shown = asyncio.run(issuer.shown(server.forged(**claims)))
        assert shown is not None
        assert shown.scopes == scopes


# --- keys -------------------------------------------------------------------------------------------------


def test_a_rotated_key_is_found_and_the_old_one_does_not_count_any_more(server: IssuerServer) -> None:
    now = Now()
    issuer = Issuer(trusted(server), now=now)
    old = server.token()
    assert counts(issuer, old) == [True]
    server.rotate("k2")
    assert counts(issuer, server.token()) == [False], "the keys were read just now"
    now.seconds += AGAIN_SEC
    assert counts(issuer, server.token(), old) == [True, False]


def test_a_key_that_was_taken_back_counts_no_longer_than_keys_stay_fresh(server: IssuerServer) -> None:
    now = Now()
    issuer = Issuer(trusted(server), now=now)
    server.rotate("k2", keep=True)
    old = server.forged()
    assert counts(issuer, old) == [True]
    server.rotate("k3")
    now.seconds += FRESH_SEC + 1
    assert counts(issuer, old) == [False]


def test_tokens_with_made_up_keys_do_not_make_the_gateway_ask_again_and_again(server: IssuerServer) -> None:
    issuer = Issuer(trusted(server), now=Now())
    assert not any(counts(issuer, *(server.forged({"kid": f"x{number}"}) for number in range(20))))
    assert server.asked == 1


def test_an_issuer_that_is_away_changes_nothing_for_a_while_and_then_nothing_counts(
    server: IssuerServer,
) -> None:
    now = Now()
    issuer = Issuer(trusted(server), now=now)
    token = server.token()
    assert counts(issuer, token) == [True]
    server.down = True
    now.seconds += FRESH_SEC + 1
    assert counts(issuer, token) == [True]
    now.seconds += STALE_SEC
    assert counts(issuer, token) == [False]
    server.down = False
    now.seconds += AGAIN_SEC
    assert counts(issuer, token) == [True]
    server.down = True
    assert counts(Issuer(trusted(server), now=now), token) == [False]


def test_an_issuer_that_says_it_is_another_is_not_believed(server: IssuerServer) -> None:
    other = trusted(server, jwks_uri=None)
    aside = Trusted(
        other.resource, server.url.replace("127.0.0.1", "localhost"), other.clients, other.audience, None
    )
    assert counts(Issuer(aside), server.forged(iss=aside.issuer)) == [False]
    given = Trusted(other.resource, aside.issuer, other.clients, other.audience, None, f"{server.url}/keys")
    assert counts(Issuer(given), server.forged(iss=aside.issuer)) == [True], "where its keys are was said"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"audience": None, "scope": None}, "every token of the issuer would count"),
        ({"issuer": "http://issuer.example"}, "issuer is an https URL"),
        ({"jwks_uri": "http://issuer.example/keys"}, "jwks_uri is an https URL"),
        ({"resource": "gate.example"}, "resource is an https URL"),
        ({"clients": {}}, "for each client"),
        ({"clients": {"a": 1}}, "for each client"),
        ({"algorithms": ["HS256"]}, "algorithms are some of"),
        ({"algorithms": ["none"]}, "algorithms are some of"),
        ({"audiences": "x"}, "there is no member audiences"),
        ({"scope": ["a"]}, "scope is a text"),
    ],
)
def test_a_file_that_would_let_others_in_is_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    given = {
        "resource": RESOURCE,
        "issuer": "https://issuer.example",
        "clients": {"a": "key_1"},
        "scope": "s",
    }
    file = tmp_path / "oauth.json"
    file.write_text(json.dumps({**given, **changes}))
    with pytest.raises(HomeUnusable, match=says):
        read_trusted(file)


# --- the gateway ------------------------------------------------------------------------------------------


@pytest.fixture
def bank(open_house: Callable[..., House], tmp_path: Path) -> Bank:
    found = Bank(open_house(POLICY), tmp_path)
    found.accept()
    return found


def listening(bank: Bank, server: IssuerServer, key_id: str) -> AbstractContextManager[str]:
    """The URL of a gateway behind the issuer, in a process of its own."""
    given = {"resource": RESOURCE, "issuer": server.url, "audience": RESOURCE, "scope": SCOPE}
    return gateway(bank.home.path, {**given, "clients": {"agentcore": key_id}})


def connected(url: str, token: str, mode: str) -> Client:
    headers = {"authorization": f"Bearer {token}"}
    client = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30)
    return Client(streamable_http_client(url, http_client=client), mode=mode)


async def listed(url: str, token: str) -> list[str]:
    async with connected(url, token, "auto") as client:
        return [each.name for each in (await client.list_tools()).tools]


def test_a_client_with_a_token_calls_as_its_key_and_a_held_call_runs_once(
    bank: Bank, server: IssuerServer
) -> None:
    key, own = bank.home.keyring.add(KeyKind.AGENT, "bot", topics=("bank.**",), by="test")

    async def use(url: str, mode: str) -> None:
        async with connected(url, server.token(), mode) as client:
            assert said(await client.call_tool("balance", {"account": "a"})) == "42"
            held = (await client.call_tool("refund", {**LARGE, "order_id": mode})).structured_content
            assert held["status"] == "held"
        await asyncio.to_thread(bank.approve, held["action"], "bot")
        async with connected(url, server.token(), mode) as client:
            found = await client.call_tool("interlock_result", {"action": held["action"]})
            assert found.structured_content == {"id": "re_1"}
        async with connected(url, own, mode) as client:
            assert said(await client.call_tool("balance", {"account": "a"})) == "42", "the key itself"

    with listening(bank, server, key.id) as url:
        for mode in MODES:
            asyncio.run(use(url, mode))
    assert len(bank.book(tool="refund")) == 2


def test_who_has_no_token_is_told_where_to_get_one_and_nothing_else(bank: Bank, server: IssuerServer) -> None:
    key, _ = bank.home.keyring.add(KeyKind.AGENT, "bot", topics=("bank.balance",), by="test")
    with listening(bank, server, key.id) as url, httpx2.Client(trust_env=False) as client:

        def answer(token: str | None, **headers: str) -> Any:
            given = {} if token is None else {"authorization": f"Bearer {token}"}
            return client.post(url, json=HELLO, headers={**ACCEPT, **given, **headers})

        refused = answer(None)
        assert refused.status_code == 401
        place = "https://gate.example/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{place}"' in refused.headers["www-authenticate"]
        found = client.get(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")).json()
        assert found["resource"] == RESOURCE
        assert [each.rstrip("/") for each in found["authorization_servers"]] == [server.url]
        assert found["scopes_supported"] == [SCOPE]
        wrong = [server.forged(exp=int(time.time()) - 60), server.forged(aud="x"), server.token("stranger")]
        assert [answer(token).status_code for token in wrong] == [401] * 3
        assert answer(server.token(scope="other")).status_code == 403
        assert answer(server.token(), host="gate.example").status_code == 400, "let in, without a session"
        assert answer(server.token(), host="evil.example").status_code == 421
        assert asyncio.run(listed(url, server.token())) == ["balance", "interlock_result", "interlock_ask"]
        bank.home.keyring.revoke(key.id, by="test")
        assert answer(server.token()).status_code == 401
    assert not bank.book()


@pytest.mark.parametrize("kind", [KeyKind.EXECUTOR, KeyKind.PERSON])
def test_a_client_acts_as_no_person_and_no_executor(bank: Bank, server: IssuerServer, kind: KeyKind) -> None:
    given: dict[str, Any] = {"person": bank.person} if kind is KeyKind.PERSON else {"topics": ("bank.**",)}
    key, _ = bank.home.keyring.add(kind, "mover", by="test", **given)
    with listening(bank, server, key.id) as url, httpx2.Client(trust_env=False) as client:
        headers = {**ACCEPT, "authorization": f"Bearer {server.token()}"}
        assert client.post(url, json=HELLO, headers=headers).status_code == 401


def test_a_file_that_names_no_key_of_the_home_starts_no_gateway(bank: Bank) -> None:
    file = bank.home.path / "oauth.json"
    given = {"resource": RESOURCE, "issuer": "https://issuer.example", "scope": SCOPE}
    file.write_text(json.dumps({**given, "clients": {"agentcore": "key_of_nobody"}}))
    command = [sys.executable, "-m", "interlock.cli", "mcp", "--home", str(bank.home.path), "--no-serve"]
    for options, says in (["--http"], "There is no key"), ([], "--oauth is for clients that come over HTTP"):
        done = subprocess.run(
            [*command, *options, "--oauth", str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        assert says in done.stderr


def _text(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
