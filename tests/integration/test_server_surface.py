"""What every answer has in common: its headers, its manners towards strangers, and what it never says."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from interlock.server import create_app
from interlock.server.security import CONTENT_SECURITY_POLICY
from server_desk import Desk, refused, staffed
from server_process import opened

PUBLIC = {
    "/healthz",
    "/readyz",
    "/ledger/checkpoint",
    "/ledger/first",
    "/ledger/vkey",
    "/.well-known/jwks.json",
}
PUBLIC_FILES = {"/ledger/handovers/{number}", "/ledger/tile/{path}"}
BROWSER_ONLY = {("post", "/v1/sign-in"), ("post", "/v1/sign-out")}
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SECRET = "zanzibar"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("surface")) as running:
        yield running


def documented(desk: Desk) -> list[tuple[str, str]]:
    """Every method and path that the server says it has, with ids that lead nowhere."""
    paths = desk.client().get("/openapi.json").json()["paths"]
    return [
        (method, re.sub(r"\{(\w+?)_id\}", lambda found: f"{found[1][:3]}_{'0' * 32}", path))
        for path, methods in paths.items()
        for method in methods
    ]


# --- headers -----------------------------------------------------------------------------------------------


def protected(answer: httpx.Response) -> None:
    for name, value in HEADERS.items():
        assert answer.headers.get(name) == value, (answer.request.url, answer.status_code, name)
    assert answer.headers.get("cache-control") in ("no-store", "no-cache"), answer.request.url
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/a/apr_x", 200),
        ("GET", "/sign-in", 200),
        ("GET", "/static/main.js", 200),
        ("GET", "/static/style.css", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/ledger/checkpoint", 200),
        ("GET", "/ledger/vkey", 200),
        ("GET", "/nothing", 404),
        ("GET", "/static/nothing", 404),
        ("GET", "/v1/me", 401),
        ("POST", "/v1/sign-in", 403),
        ("DELETE", "/v1/actions", 405),
    ],
)
def test_a_strangers_answer_carries_the_security_headers(
    desk: Desk, method: str, path: str, status: int
) -> None:
    answer = desk.client().request(method, path)
    assert answer.status_code == status
    protected(answer)


def test_every_kind_of_answer_carries_the_security_headers(desk: Desk) -> None:
    agent, person = desk.of("agent"), desk.of("Ben")
    action = desk.refund()
    answers = [
        agent.post("/v1/actions", json={"topic": "desk.orders.get", "args": {"order_id": "A"}}),
        agent.get(f"/v1/actions/{action['id']}"),
        agent.post("/v1/actions", content=b"{"),
        agent.post("/v1/actions", content=b" " * (2 << 20)),
        agent.get("/v1/approvals"),
        person.get("/v1/approvals"),
        person.get("/v1/approvals?state=x"),
        person.post(f"/v1/approvals/{action['approval']['id']}/decisions", json={"decision": "approve"}),
        desk.client(host="evil.example").get("/"),
    ]
    with person.stream("GET", "/v1/events") as stream:
        answers.append(stream)
    assert {a.status_code for a in answers} == {200, 201, 400, 403, 413, 421, 422}
    for answer in answers:
        protected(answer)


def test_an_unexpected_failure_is_told_with_the_same_headers_and_no_details(desk: Desk) -> None:
    """A row that no code of ours could have written: whatever the server runs into, it keeps its manners."""
    link = f"lnk_{'0' * 32}"
    with contextlib.closing(sqlite3.connect(desk.server.home / "journal.db", isolation_level=None)) as db:
        db.execute("insert into links values ('default', ?, 'per_x', 'text', 1, null, 'text')", (link,))
        answer = desk.client(x_interlock_console="1").post(
            "/v1/sign-in", json={"token": f"{link}.{'A' * 43}"}
        )
        db.execute("delete from links where id = ?", (link,))
    assert answer.status_code in (500, 503)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "compare_digest" not in answer.text
    protected(answer)
    assert desk.client().get("/healthz").status_code == 200


def test_no_page_runs_what_stands_in_it(desk: Desk) -> None:
    page = desk.client().get("/").text
    assert "<style" not in page
    assert " style=" not in page
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)


# --- the documented routes ---------------------------------------------------------------------------------


def test_every_route_is_in_the_openapi_document(desk: Desk) -> None:
    with opened(desk.server.home) as home:
        app = create_app(home)
        served = {
            (method.lower(), route.path)
            for route in app.routes
            for method in getattr(route, "methods", None) or ()
            if method != "HEAD" and getattr(route, "include_in_schema", False)
        }
    paths = desk.client().get("/openapi.json").json()["paths"]
    assert served <= {(method, path) for path, methods in paths.items() for method in methods}


def test_every_documented_route_turns_a_stranger_away(desk: Desk) -> None:
    before = desk.footprint()
    for method, path in documented(desk):
        answer = desk.client().request(method, path, content=b"{}" if method == "post" else None)
        if path in PUBLIC:
            assert answer.status_code == 200, path
        elif path in PUBLIC_FILES:
            refused(answer, 404, "not-found")
        elif (method, path) in BROWSER_ONLY:
            refused(answer, 403, "forbidden")
        else:
            refused(answer, 401, "unauthenticated")
    assert desk.footprint() == before


BODIES: list[bytes] = [
    b"",
    b"{}",
    b"[]",
    b"\x00",
    b'{"topic":{},"args":7,"decision":[],"token":{},"outcome":0}',
]


@pytest.mark.parametrize("who", ["agent", "other-agent", "executor", "Ana", "a browser"])
def test_no_documented_route_fails_on_nonsense(desk: Desk, who: str) -> None:
    if who == "a browser":
        client = desk.client(x_interlock_console="1")
        with opened(desk.server.home) as inside:
            token = inside.roster.issue_link(inside.roster.named("Ben"))
        client.headers["x-interlock-console"] = client.post("/v1/sign-in", json={"token": token}).json()[
            "proof"
        ]
    else:
        client = desk.of(who)
    before, logged = desk.footprint(), len(desk.server.log.read_text())
    for method, path in documented(desk):
        if path in ("/v1/events", "/v1/sign-out"):
            continue
        for target in (path, path.replace("0" * 32, "%00'\"<script>"), f"{path}?state=%00&cursor=%ff"):
            for body in BODIES if method == "post" else [None]:
                answer = client.request(method, target, content=body)
                assert answer.status_code < 500, (method, target, body, answer.text)
                if answer.status_code >= 400:
                    document = answer.json()
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert document["status"] == answer.status_code
                    assert document["title"]
    assert desk.footprint() == before
    assert desk.server.log.read_text()[logged:] == ""


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND"])
def test_no_other_method_does_anything(desk: Desk, method: str) -> None:
    before = desk.footprint()
    for _, path in documented(desk):
        answer = desk.of("Ben").request(method, path)
        refused(answer, 405, "method-not-allowed", method)
        assert answer.headers["allow"]
    assert desk.footprint() == before


def test_the_ledgers_checkpoint_names_the_key_that_anybody_may_have(desk: Desk) -> None:
    """It is signed every second, so it may lag behind the ledger by that, and never be ahead of it."""
    vkey = desk.client().get("/ledger/vkey").text.strip()
    until = time.monotonic() + 30
    while True:
        origin, size, *_ = desk.client().get("/ledger/checkpoint").text.splitlines()
        assert vkey.startswith(f"{origin}+")
        written = desk.footprint()["ledger"]
        assert int(size) <= written
        if int(size) == written:
            return
        assert time.monotonic() < until, f"the checkpoint stays at {size} of {written} entries"
        time.sleep(0.1)


# --- what is never said ------------------------------------------------------------------------------------


def test_neither_answers_nor_logs_tell_secrets(desk: Desk) -> None:
    """Arguments, reasoning, notes, keys, links and sessions go where they belong and nowhere else."""
    said: list[str] = []

    def ask(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
        answer = client.request(method, path, **request)
        said.append(answer.text)
        return answer

    agent, other, person = desk.of("agent"), desk.of("other-agent"), desk.of("Ben")
    body = {
        "topic": "desk.hooks.post",
        "args": {"text": SECRET},
        "reasoning": f"{SECRET} made me",
        "session": SECRET,
        "principal": SECRET,
    }
    held = agent.post("/v1/actions", json=body).json()
    approval = held["approval"]
    decisions = f"/v1/approvals/{approval['id']}/decisions"
    yes = {"decision": "approve", "expected_hash": approval["review_hash"], "note": SECRET}
    with opened(desk.server.home) as inside:
        link = inside.roster.issue_link(inside.roster.named("Cleo"))
    console = desk.client(x_interlock_console="1")
    ask(console, "POST", "/v1/sign-in", json={"token": link})
    session = console.cookies[desk.cookie]

    ask(other, "GET", f"/v1/actions/{held['id']}")
    ask(other, "POST", "/v1/actions", json=body | {"retry_of": held["id"]})
    ask(agent, "POST", "/v1/actions", json=body | {"args": {"txet": SECRET}})
    ask(agent, "POST", "/v1/actions", json=body | {"args": {"text": [SECRET]}})
    ask(
        agent,
        "POST",
        "/v1/actions",
        json=body | {"topic": "desk.refunds.create", "args": {"order_id": SECRET}},
    )
    ask(
        agent,
        "POST",
        "/v1/actions",
        content=f'{{"topic":"desk.hooks.post","args":{{"text":"{SECRET}"'.encode(),
    )
    ask(agent, "POST", decisions, json=yes)
    ask(person, "POST", decisions, json=yes | {"expected_hash": SECRET})
    ask(person, "GET", "/v1/policy")
    ask(desk.client(link), "GET", "/v1/me")
    ask(desk.client(desk.tokens["agent"][:-1]), "GET", f"/v1/actions/{held['id']}")
    ask(console, "POST", "/v1/sign-in", json={"token": link})
    ask(console, "GET", "/v1/me")
    decided = person.post(decisions, json=yes)
    assert decided.status_code == 200
    for path in ("/ledger/checkpoint", "/readyz", "/openapi.json"):
        ask(desk.client(), "GET", path)

    tokens = [*desk.tokens.values(), link, session, *(t.partition(".")[2] for t in desk.tokens.values())]
    for text in said:
        assert SECRET not in text, text
    for text in [*said, decided.text, desk.server.log.read_text()]:
        for token in tokens:
            assert token not in text
    assert SECRET not in desk.server.log.read_text()


def test_nothing_in_the_home_is_readable_by_others(desk: Desk) -> None:
    home = desk.server.home
    assert home.stat().st_mode & 0o077 == 0
    kept = [*(home / "keystore").rglob("*"), home / "keystore", home / "journal.db"]
    assert [str(path) for path in kept if path.is_file() and path.stat().st_mode & 0o077] == []


def test_the_database_holds_no_argument_no_note_and_no_token(desk: Desk) -> None:
    desk.refund(reasoning=SECRET, principal="principal-zanzibar")
    stored = b"".join(path.read_bytes() for path in desk.server.home.glob("journal.db*"))
    for token in desk.tokens.values():
        assert token.partition(".")[2].encode() not in stored
    assert SECRET.encode() not in stored


def test_the_console_is_told_apart_from_the_api(desk: Desk) -> None:
    answer = desk.client().get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert desk.client().get("/v1").status_code == 404
