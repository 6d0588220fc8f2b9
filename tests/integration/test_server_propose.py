"""`POST /v1/actions` answers what was recorded, to whoever is let in at that moment, and holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette import types as asgi

from house import BOTH, POLICY, House
from interlock.gate import Proposed
from interlock.gate.stops import Scope
from interlock.identity import Caller, KeyKind
from interlock.identity import keyring as keys
from interlock.model.actions import Proposal
from interlock.model.errors import Unauthenticated
from interlock.model.topics import TopicPattern
from interlock.server import create_app
from interlock.server.bodies import APART, LONG
from server_process import ServerProcess

DATABASES = BOTH
TEXT = (
    POLICY.replace(
        "rules:\n",
        """\
  far.fetch:
    tier: 1
    args: {n: string}
    execute: {http: {method: GET, url: "http://127.0.0.1:9/{args.n}"}}
  till.book:
    tier: 2
    args: {n: string}
    undo: till.book
    undo_within: 5m
    execute: {permitted: {executor: till}}
rules:
  - id: cap
    match: {topics: [till.book]}
    decision: allow_with_constraints
    constraints: {max_runtime_sec: 5}
""",
    )
    + """\
  - {id: free, match: {topics: [free.say]}, decision: allow}
  - {id: no, match: {topics: [bad.thing]}, decision: deny, reason: "Not here — ever."}
"""
)


@contextmanager
def served(house: House, folder: Path) -> Iterator[tuple[httpx.Client, str]]:
    """A server of this home in a process of its own, an agent's client, and the id of the agent's key."""
    key, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=("*",), by="test")
    file = folder / "policy.yaml"
    file.write_text(TEXT, encoding="utf-8")
    options = () if house.url is None else ("--database", house.url)
    with (
        ServerProcess(house.home.path, file, options=options) as server,
        httpx.Client(
            base_url=server.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=30
        ) as client,
    ):
        server.ready()
        yield client, key.id


ASKED: dict[str, tuple[dict[str, Any], int, str]] = {
    "allowed": ({"topic": "notes.add", "args": {"text": "ä \u202e\n", "n": 1}}, 201, "allowed"),
    "allowed, by rule": (
        {"topic": "pay.refund", "args": {"order_id": "1", "amount_usd": "12.50", "recipient": "a"}},
        201,
        "allowed",
    ),
    "numbers": (
        {
            "topic": "free.say",
            "args": {"a": 1.0, "b": -0.0, "c": 1e15, "d": [0.1, 5e-7, {"é": 2.5}], "z": None, "y": True},
            "confidence": 0.5,
            "reasoning": "why",
            "principal": "somebody",
            "session": "s",
        },
        201,
        "allowed",
    ),
    "denied": ({"topic": "bad.thing", "args": {"x": "<b>"}}, 201, "denied"),
    "held": (
        {"topic": "pay.refund", "args": {"order_id": "1", "amount_usd": "500.00", "recipient": "a"}},
        202,
        "held",
    ),
    "constrained, permitted": ({"topic": "till.book", "args": {"n": "1"}}, 201, "allowed"),
    "dispatched": ({"topic": "far.fetch", "args": {"n": "1"}}, 201, "failed"),
    "long": ({"topic": "free.say", "args": {"text": ["x" * 900] * 100}}, 201, "allowed"),
}


def test_the_answer_is_what_is_told_about_the_action_afterwards(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(TEXT)
    with served(house, tmp_path) as (client, _):
        for name, (body, status, state) in ASKED.items():
            for attempt in range(2):  # the second caller is one that the process remembers
                args = {**body["args"], **({"n": str(attempt)} if "n" in body["args"] else {})}
                asked = {**body, "args": args, "call_id": f"{name}{attempt}"}
                answer = client.post("/v1/actions", json=asked)
                assert answer.status_code == status, (name, answer.text)
                assert answer.json()["state"] == state, name
                again = client.get(f"/v1/actions/{answer.json()['id']}")
                assert answer.json() == again.json(), name
                assert answer.headers["content-type"] == again.headers["content-type"]
        body = {**ASKED["allowed"][0], "call_id": "allowed0"}
        body["args"] = {**body["args"], "n": "0"}
        repeated = client.post("/v1/actions", json=body)
        assert repeated.status_code == 200
        assert repeated.json() == client.get(f"/v1/actions/{repeated.json()['id']}").json()
        house.home.kill_switches.engage(Scope.ALL, None, "smoke", by="test")
        stopped = client.post("/v1/actions", json={"topic": "notes.add", "args": {"n": "other"}})
        assert (stopped.status_code, stopped.json()["state"]) == (201, "denied")
        assert stopped.json() == client.get(f"/v1/actions/{stopped.json()['id']}").json()


def test_a_key_revoked_by_another_process_proposes_nothing_more_and_learns_nothing(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(TEXT)
    with served(house, tmp_path) as (client, key):
        body = {"topic": "notes.add", "args": {"n": 1}}
        for _ in range(3):
            assert client.post("/v1/actions", json=body).is_success
        house.home.keyring.revoke(key, by="test")
        before = house.entries()
        for refused in (body, {"topic": "no.such", "args": {}}, {"args": 1}, {"topic": 1}):
            answer = client.post("/v1/actions", json=refused)
            assert answer.status_code == 401, answer.text
            assert answer.json()["type"] == "urn:interlock:problem:unauthenticated"
        assert house.entries() == before


def test_what_a_live_key_may_not_propose_is_refused_as_ever(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house(TEXT)
    with served(house, tmp_path) as (client, _):
        for _ in range(2):
            assert client.post("/v1/actions", json={"topic": "no.such", "args": {}}).status_code == 404
            assert client.post("/v1/actions", content=b"{").status_code == 400
            assert client.post("/v1/actions", json={"topic": "notes.add", "args": {}}).is_success
        assert client.delete("/v1/actions").status_code == 405
        assert client.get("/v1/actions?state=held").status_code == 403


def remembered(house: House, **given: Any) -> tuple[str, str, Caller]:
    """A fresh key's id, its token, and its caller as a process remembers it."""
    key, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=("*",), by="test", **given)
    house.home.keyring.authenticate(token)
    caller = house.home.keyring.remembered(token)
    assert caller is not None
    return key.id, token, caller


def test_a_remembered_caller_is_refused_in_the_transaction_once_its_key_is_revoked(house: House) -> None:
    key, token, caller = remembered(house)
    house.propose("notes.add", {"n": 1}, caller=caller)
    house.home.keyring.revoke(key, by="test")
    with pytest.raises(Unauthenticated):
        house.propose("notes.add", {"n": 2}, caller=caller)
    with pytest.raises(Unauthenticated):
        house.home.keyring.authenticate(token)
    assert house.home.keyring.remembered(token) is None


def test_a_revocation_in_the_same_batch_stops_what_comes_after_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _, caller = remembered(house)

    journal = house.home.journal
    revoking: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(journal, "commit", revoking.append)
        house.home.keyring.revoke(key, by="test")

    async def revoke() -> None:
        await journal.commit_async(revoking[0])

    async def together() -> list[Any]:
        # Each queues its transition when its task begins, before the first one's leader has run.
        steps = (
            house.gate.propose_async(Proposal("notes.add", {"n": 1}), caller),
            revoke(),
            house.gate.propose_async(Proposal("notes.add", {"n": 2}), caller),
        )
        return await asyncio.gather(*map(asyncio.ensure_future, steps), return_exceptions=True)

    allowed, _, refused = asyncio.run(together())
    assert isinstance(allowed, Proposed)
    assert isinstance(refused, Unauthenticated)


def test_a_caller_recognised_by_another_row_is_refused(house: House) -> None:
    """A key's row never changes but by its revocation: another one is somebody else's doing."""
    key, _, _ = remembered(house)
    stranger = Caller(
        KeyKind.AGENT, key, agent="support", topics=(TopicPattern.parse("*"),), mark=b"of another row"
    )
    with pytest.raises(Unauthenticated):
        house.propose("notes.add", {}, caller=stranger)


def test_people_and_executors_are_never_remembered(house: House) -> None:
    person = house.person("Ana")
    for kind, given in ((KeyKind.PERSON, {"person": person}), (KeyKind.EXECUTOR, {"topics": ("*",)})):
        _, token = house.home.keyring.add(kind, "till", by="test", **given)
        house.home.keyring.authenticate(token)
        assert house.home.keyring.remembered(token) is None


def test_only_so_many_callers_are_remembered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REMEMBERED", 2)
    tokens = [remembered(house)[1] for _ in range(3)]
    assert [house.home.keyring.remembered(token) is None for token in tokens] == [True, False, False]


def test_a_long_body_waits_for_its_own_threads_and_a_short_one_for_none(house: House) -> None:
    """Both threads are taken: long bodies wait, and everybody else is answered."""
    token = remembered(house)[1]
    app = create_app(house.home)

    async def asked() -> tuple[int, bool, int]:
        release = threading.Event()
        taken = [APART.submit(release.wait, 30) for _ in range(2)]
        headers = {"authorization": f"Bearer {token}", "host": "localhost"}
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
            ) as client,
        ):
            args = {"text": "x" * (LONG + 1)}
            long = asyncio.ensure_future(
                client.post("/v1/actions", json={"topic": "notes.add", "args": args})
            )
            for number in range(3):
                short = await client.post("/v1/actions", json={"topic": "notes.add", "args": {"n": number}})
            waited = not long.done()
            release.set()
            answer = await long
        assert all(each.result() for each in taken)
        return short.status_code, waited, answer.status_code

    assert asyncio.run(asked()) == (201, True, 201)


class Traced:
    """The application as a framework that traces calls it, route and all."""

    def __init__(self, app: asgi.ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await self.app({**scope, "fastapi.telemetry": None}, receive, send)


def test_whoever_is_traced_gets_the_same_answers(house: House) -> None:
    token = remembered(house)[1]
    app = create_app(house.home)
    asked: list[tuple[str, bytes]] = [
        (token, b'{"topic": "notes.add", "args": {"n": 1}}'),
        (token, b'{"topic": "notes.add", "args": {"n": 1}, "tier": 1}'),
        (token, b'{"topic": "notes.add", "args": {"n": NaN}}'),
        (token, b'{"topic": "other.thing", "args": {}}'),
        (token, b"[]"),
        ("ilk_agent_" + "0" * 32 + "." + "x" * 43, b'{"topic": "notes.add", "args": {"n": 1}}'),
        ("no key", b"{}"),
    ]

    async def answers(way: asgi.ASGIApp) -> list[tuple[int, str | None, Any]]:
        told = []
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(way, raise_app_exceptions=False), base_url="http://localhost"
        ) as client:
            for key, body in asked:
                headers = {"authorization": f"Bearer {key}"}
                answer = await client.post("/v1/actions", content=body, headers=headers)
                told.append((answer.status_code, answer.headers.get("content-type"), answer.json()))
        return told

    async def both() -> tuple[Any, Any]:
        async with app.router.lifespan_context(app):
            return await answers(app), await answers(Traced(app))

    straight, traced = asyncio.run(both())
    assert [status for status, _, _ in straight] == [201, 422, 422, 404, 422, 401, 401]
    # The second time it is a repetition, and the answer is read.
    assert [status for status, _, _ in traced] == [200, *(status for status, _, _ in straight[1:])]
    assert [rest for _, *rest in traced] == [rest for _, *rest in straight]
