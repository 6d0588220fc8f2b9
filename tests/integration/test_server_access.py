"""Who gets in, from where, and what each may see: keys, sessions, hosts, origins, others' actions."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from interlock.identity import KeyKind
from server_desk import Desk, refused, staffed
from server_process import opened

NOBODY = "act_" + "0" * 32


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("access")) as running:
        yield running


# --- keys --------------------------------------------------------------------------------------------------


def tampered(token: str) -> dict[str, str]:
    """Authorization headers that look like a key's and are not."""
    head, _, secret = token.partition(".")
    return {
        "no scheme": token,
        "another scheme": f"Basic {token}",
        "scheme alone": "Bearer",
        "no key": "Bearer x",
        "id alone": f"Bearer {head}",
        "no secret": f"Bearer {head}.",
        "another secret": f"Bearer {head}.{'A' * 43}",
        "last character": f"Bearer {token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        "a character more": f"Bearer {token}A",
        "another kind": "Bearer " + token.replace("ilk_agent_", "ilk_person_"),
        "another id": f"Bearer ilk_agent_{'0' * 32}.{secret}",
        "upper case": f"Bearer {token.upper()}",
        "two keys": f"Bearer {token} {token}",
        "two keys, listed": f"Bearer {token}, Bearer {token}",
        "a session": f"Bearer prc_{'0' * 32}.{secret}",
        "a link": f"Bearer lnk_{'0' * 32}.{secret}",
        "huge": "Bearer " + "a" * 60_000,
    }


@pytest.mark.parametrize("how", tampered("ilk_agent_x.y"))
def test_what_is_not_a_key_opens_nothing_and_says_nothing(desk: Desk, how: str) -> None:
    authorization = tampered(desk.tokens["agent"])[how]
    before = desk.footprint()
    client = desk.client(authorization=authorization)
    body = {"topic": "desk.orders.get", "args": {"order_id": how}}
    for answer in (client.get(f"/v1/actions/{NOBODY}"), client.post("/v1/actions", json=body)):
        document = refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert desk.tokens["agent"] not in answer.text
        assert document["fix"]
    assert desk.footprint() == before


def test_two_authorization_headers_do_not_add_up(desk: Desk) -> None:
    headers = [("authorization", "Bearer x"), ("authorization", f"Bearer {desk.tokens['agent']}")]
    with httpx.Client(base_url=desk.url, headers=headers, trust_env=False) as client:
        refused(client.get(f"/v1/actions/{NOBODY}"), 401, "unauthenticated")


def test_a_revoked_an_expired_and_an_unknown_key_are_told_the_same(desk: Desk) -> None:
    with opened(desk.server.home) as inside:
        key, revoked = inside.keyring.add(KeyKind.AGENT, "gone", topics=["desk.**"], by="tests")
        _, expired = inside.keyring.add(
            KeyKind.AGENT, "brief", topics=["desk.**"], lifetime_sec=1, by="tests"
        )
        for token in (revoked, expired):
            assert desk.client(token).get(f"/v1/actions/{NOBODY}").status_code == 404
        inside.keyring.revoke(key.id, by="tests")
    time.sleep(1.0)
    unknown = "ilk_agent_" + "0" * 32 + "." + "A" * 43
    answers = [desk.client(token).get(f"/v1/actions/{NOBODY}") for token in (revoked, expired, unknown)]
    assert [a.status_code for a in answers] == [401, 401, 401]
    assert answers[0].content == answers[1].content == answers[2].content


@pytest.mark.parametrize("who", ["Ben", "executor"])
def test_only_agents_propose(desk: Desk, who: str) -> None:
    before = desk.footprint()
    body = {"topic": "desk.orders.get", "args": {"order_id": "A"}}
    refused(desk.of(who).post("/v1/actions", json=body), 403, "forbidden", "Only agent and adapter keys")
    assert desk.footprint() == before


@pytest.mark.parametrize("who", ["agent", "other-agent", "executor"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/approvals",
        "/v1/approvals?state=resolved",
        "/v1/approvals/apr_" + "0" * 32,
        "/v1/actions?state=held",
        "/v1/events",
        "/v1/policy",
    ],
)
def test_what_people_see_is_shown_to_no_other_key(desk: Desk, who: str, path: str) -> None:
    refused(desk.of(who).get(path), 403, "forbidden", "People may see this")


@pytest.mark.parametrize("who", ["other-agent", "executor"])
def test_another_callers_action_cannot_be_told_from_one_that_is_not_there(desk: Desk, who: str) -> None:
    theirs = desk.refund()["id"]
    found, missing = desk.of(who).get(f"/v1/actions/{theirs}"), desk.of(who).get(f"/v1/actions/{NOBODY}")
    refused(found, 404, "not-found")
    assert found.text.replace(theirs, NOBODY) == missing.text
    assert sorted(found.headers) == sorted(missing.headers)


def test_a_repeated_key_of_another_agent_tells_nothing_of_its_action(desk: Desk) -> None:
    mine = desk.refund()
    body = {"topic": mine["topic"], "args": mine["args"], "retry_of": mine["id"]}
    answer = desk.of("other-agent").post("/v1/actions", json=body)
    refused(answer, 422, "invalid-input", "not an action of this agent")


# --- people in a browser -----------------------------------------------------------------------------------


def browser(desk: Desk, **headers: str) -> httpx.Client:
    return desk.client(x_interlock_console="1", **headers)


def link(desk: Desk, name: str = "Ben") -> str:
    with opened(desk.server.home) as inside:
        return inside.roster.issue_link(inside.roster.named(name))


def signed_in(desk: Desk, name: str = "Ben") -> httpx.Client:
    client = browser(desk)
    answer = client.post("/v1/sign-in", json={"token": link(desk, name)})
    assert answer.status_code == 200
    client.headers["x-interlock-console"] = answer.json()["proof"]
    return client


def test_a_link_signs_in_once(desk: Desk) -> None:
    token, client = link(desk), browser(desk)
    answer = client.post("/v1/sign-in", json={"token": token})
    assert (answer.status_code, answer.json()["person"]["name"]) == (200, "Ben")
    before = desk.footprint()
    for again in (client, browser(desk)):
        refused(
            again.post("/v1/sign-in", json={"token": token}), 401, "unauthenticated", "not valid any more"
        )
    assert desk.footprint() == before
    assert client.get("/v1/me").json()["person"]["name"] == "Ben"


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(desk: Desk) -> None:
    answer = browser(desk).post("/v1/sign-in", json={"token": link(desk)})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie
    assert answer.cookies[desk.cookie] not in answer.text


@pytest.mark.parametrize(
    "token", ["", "x", "lnk_.x", "lnk_" + "0" * 32 + "." + "A" * 43, "lnk_" * 50_000, "\u0000", "ü"]
)
def test_what_is_no_link_signs_nobody_in(desk: Desk, token: str) -> None:
    before = desk.footprint()
    answer = browser(desk).post("/v1/sign-in", json={"token": token})
    refused(answer, 401, "unauthenticated")
    assert "set-cookie" not in answer.headers
    assert desk.footprint() == before


def test_keys_links_and_sessions_do_not_stand_in_for_each_other(desk: Desk) -> None:
    token, client = link(desk), signed_in(desk)
    session = client.cookies[desk.cookie]
    for wrong in (desk.tokens["Ben"], session):
        refused(browser(desk).post("/v1/sign-in", json={"token": wrong}), 401, "unauthenticated")
    for wrong in (token, session):
        refused(desk.client(wrong).get("/v1/policy"), 401, "unauthenticated")
    for wrong in (token, desk.tokens["Ben"], session[:-1] + ("A" if session[-1] != "A" else "B")):
        refused(desk.client(cookie=f"{desk.cookie}={wrong}").get("/v1/me"), 401, "unauthenticated")


def test_a_change_with_a_cookie_needs_the_consoles_header(desk: Desk) -> None:
    session = signed_in(desk).cookies[desk.cookie]
    shown = desk.refund()["approval"]
    bare = desk.client(cookie=f"{desk.cookie}={session}")
    body = {"decision": "approve", "expected_hash": shown["review_hash"]}
    before = desk.footprint()
    others = ("0", "1", desk.proof(session[:-1]), desk.proof(session).upper())
    guessing = [desk.client(cookie=f"{desk.cookie}={session}", x_interlock_console=word) for word in others]
    for client in (bare, *guessing):
        answer = client.post(f"/v1/approvals/{shown['id']}/decisions", json=body)
        refused(answer, 403, "forbidden", "console's own page")
    for path in ("/v1/sign-in", "/v1/sign-out"):
        refused(bare.post(path, json={"token": "x"}), 403, "forbidden")
    assert desk.footprint() == before
    assert bare.get("/v1/me").status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost",
        "http://localhost:1",
        "file://",
        "http://127.0.0.1.evil.example",
    ],
)
def test_a_change_from_another_origin_is_refused(desk: Desk, origin: str) -> None:
    session = signed_in(desk).cookies[desk.cookie]
    shown = desk.refund()["approval"]
    foreign = desk.client(
        cookie=f"{desk.cookie}={session}", x_interlock_console=desk.proof(session), origin=origin
    )
    before = desk.footprint()
    body = {"decision": "approve", "expected_hash": shown["review_hash"]}
    refused(foreign.post(f"/v1/approvals/{shown['id']}/decisions", json=body), 403, "forbidden")
    refused(foreign.post("/v1/sign-out"), 403, "forbidden")
    assert desk.footprint() == before


def test_a_change_from_our_own_origin_is_accepted(desk: Desk) -> None:
    client = signed_in(desk)
    shown = desk.refund()["approval"]
    answer = client.post(
        f"/v1/approvals/{shown['id']}/decisions",
        json={"decision": "approve", "expected_hash": shown["review_hash"]},
        headers={"origin": desk.url},
    )
    assert answer.json()["decided"]["by"] == "Ben"


def test_no_other_site_is_told_that_it_may_send_our_header(desk: Desk) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = desk.client().options(
        "/v1/sign-in", headers={**asked, "access-control-request-headers": "x-interlock-console"}
    )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_session_ends_when_its_person_signs_out(desk: Desk) -> None:
    client = signed_in(desk)
    session = client.cookies[desk.cookie]
    assert client.post("/v1/sign-out").status_code == 204
    kept = desk.client(cookie=f"{desk.cookie}={session}", x_interlock_console=desk.proof(session))
    for path in ("/v1/me", "/v1/approvals", "/v1/events"):
        refused(kept.get(path), 401, "unauthenticated")
    assert desk.cookie not in client.cookies
    assert kept.post("/v1/sign-out").status_code == 204


def test_me_is_whoever_the_key_or_the_session_belongs_to(desk: Desk) -> None:
    assert desk.of("Cleo").get("/v1/me").json()["person"]["name"] == "Cleo"
    refused(desk.of("agent").get("/v1/me"), 403, "forbidden")
    refused(desk.client().get("/v1/me"), 401, "unauthenticated")


def test_a_key_counts_where_a_session_comes_with_it(desk: Desk) -> None:
    cookie = f"{desk.cookie}={signed_in(desk, 'Ben').cookies[desk.cookie]}"
    both = desk.client(desk.tokens["agent"], cookie=cookie, x_interlock_console="1")
    refused(both.get("/v1/approvals"), 403, "forbidden")
    wrong = desk.client("ilk_person_x", cookie=cookie, x_interlock_console="1")
    refused(wrong.get("/v1/approvals"), 401, "unauthenticated")


def test_a_person_signs_in_without_signing_anybody_else_out(desk: Desk) -> None:
    one, two = signed_in(desk, "Ben"), signed_in(desk, "Cleo")
    assert [c.get("/v1/me").json()["person"]["name"] for c in (one, two)] == ["Ben", "Cleo"]


# --- the host ----------------------------------------------------------------------------------------------


def status_for(desk: Desk, *lines: str) -> tuple[int, bytes]:
    port = int(desk.url.rsplit(":", 1)[1])
    request = "\r\n".join(["GET /v1/policy HTTP/1.1", *lines, "Connection: close"]).encode() + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return int(received.split(b" ", 2)[1]), received


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example#@localhost",
        "localhost, evil.example",
        "10.0.0.1",
        "[",
        "[::1",
        "lócalhost",
        "anybody@localhost",
        "localhost/x",
        "localhost?x",
        "localhost:port",
        "",
    ],
)
def test_a_request_for_another_name_is_misdirected(desk: Desk, host: str) -> None:
    status, received = status_for(desk, f"Host: {host}", f"Authorization: Bearer {desk.tokens['Ben']}")
    assert status == 421, received[:300]
    assert b"urn:interlock:problem:misdirected-host" in received
    assert b"content-security-policy" in received


def test_a_request_for_no_name_or_two_is_misdirected(desk: Desk) -> None:
    assert status_for(desk)[0] == 421
    assert status_for(desk, "Host: localhost", "Host: evil.example")[0] == 421
    assert status_for(desk, "Host: localhost", "Host: localhost")[0] == 421


def test_an_upgrade_to_another_protocol_is_an_ordinary_request(desk: Desk) -> None:
    upgrade = (
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert status_for(desk, "Host: localhost", *upgrade)[0] == 401
    assert status_for(desk, "Host: evil.example", *upgrade)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8420"])
def test_this_machines_own_names_are_answered(desk: Desk, host: str) -> None:
    assert status_for(desk, f"Host: {host}")[0] == 401


# --- what is not there -------------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", ["act_" + "0" * 32, "act_x", "apr_" + "0" * 32, "%00", "%ff", "ü"])
def test_an_unknown_action_is_not_found(desk: Desk, identifier: str) -> None:
    refused(desk.of("agent").get(f"/v1/actions/{identifier}"), 404, "not-found")
    refused(desk.of("Ben").get(f"/v1/approvals/{identifier}"), 404, "not-found")


def test_a_long_unknown_id_is_not_thrown_back_in_full(desk: Desk) -> None:
    for who, path in (("agent", "/v1/actions/"), ("Ben", "/v1/approvals/"), ("agent", "/v1/")):
        answer = desk.of(who).get(path + "x" * 5_000)
        refused(answer, 404, "not-found")
        assert len(answer.content) < 1_000


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "/v1/actions/",
        "/v1/approvals/",
        "/docs",
        "/redoc",
        "/static/app.py",
        "/static/..%2fapp.py",
        "/.git/config",
    ],
)
def test_an_unknown_path_is_not_found(desk: Desk, path: str) -> None:
    refused(desk.client().get(path), 404, "not-found")


@pytest.mark.parametrize(
    "cursor",
    [
        "!!!",
        "%C2%B2",
        "gICA",
        "MQ==",
        "a" * 10_000,
        "LTEKYXByX3g=",
        "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5CmFwcl94",
    ],
)
def test_a_cursor_of_another_list_is_refused(desk: Desk, cursor: str) -> None:
    refused(desk.of("Ben").get(f"/v1/approvals?cursor={cursor}"), 422, "invalid-input", "$.cursor")


@pytest.mark.parametrize(
    "query", ["/v1/approvals?state=open", "/v1/approvals?state=", "/v1/actions?state=open", "/v1/actions"]
)
def test_an_unknown_filter_is_refused(desk: Desk, query: str) -> None:
    refused(desk.of("Ben").get(query), 422, "invalid-input", "$.state")


def test_a_list_pages_through_everything_once(desk: Desk) -> None:
    made = {desk.refund(agent="other-agent")["approval"]["id"] for _ in range(60)}
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = desk.of("Ben").get("/v1/approvals", params={"state": "held", **cursor}).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert made <= set(seen)
    assert len(seen) == len(set(seen)) == page["counts"]["held"]
