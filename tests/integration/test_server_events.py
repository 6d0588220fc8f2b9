"""Live news: what a reviewer's screen missed is what it gets, and only while it may."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from interlock.home import Home
from interlock.identity import KeyKind
from interlock.model.actions import Proposal
from interlock.server.events import PAGE
from server_desk import Desk, refused, staffed
from server_process import opened


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("events")) as running:
        yield running


@contextlib.contextmanager
def listening(client: httpx.Client, last: int | None = None) -> Iterator[Iterator[str]]:
    """The lines of a stream that has begun."""
    headers = {} if last is None else {"last-event-id": str(last)}
    with client.stream("GET", "/v1/events", headers=headers, timeout=10) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines).startswith("retry: ")
        yield lines


def take(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    """The next events; each one's id is its ledger index."""
    found: list[dict[str, Any]] = []
    identifier = ""
    while len(found) < count:
        line = next(lines)
        if line.startswith("id: "):
            identifier = line.removeprefix("id: ")
        elif line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            assert str(event["index"]) == identifier
            found.append(event)
    return found


def size(desk: Desk) -> int:
    length: int = desk.footprint()["ledger"]
    return length


@pytest.mark.parametrize("last", ["-1", "1.5", "abc", "9" * 16, "0x10", "1 2", "²"])
def test_a_last_event_id_that_is_none_is_refused(desk: Desk, last: str) -> None:
    client = desk.of("Ben")
    request = client.build_request("GET", "/v1/events", headers=[("last-event-id", last.encode())])
    refused(client.send(request), 422, "invalid-input", "Last-Event-ID")


@pytest.mark.parametrize("who", ["agent", "other-agent", "executor"])
def test_other_keys_hear_nothing(desk: Desk, who: str) -> None:
    refused(desk.of(who).get("/v1/events"), 403, "forbidden")


def test_nobody_hears_anything_without_a_key(desk: Desk) -> None:
    refused(desk.client().get("/v1/events"), 401, "unauthenticated")


def test_a_proposal_and_its_decision_are_heard_at_once(desk: Desk) -> None:
    with listening(desk.of("Ben")) as lines:
        action = desk.refund()
        proposed = take(lines, 1)[0]
        body = {"decision": "approve", "expected_hash": action["approval"]["review_hash"]}
        desk.of("Cleo").post(f"/v1/approvals/{action['approval']['id']}/decisions", json=body)
        decided = take(lines, 1)[0]
    assert (proposed["kind"], proposed["action"]) == ("action.proposed", action["id"])
    assert proposed["approval"] == decided["approval"] == action["approval"]["id"]
    assert (decided["kind"], decided["state"]) == ("approval.decided", "approve")
    assert decided["index"] > proposed["index"]


def test_who_comes_back_gets_exactly_what_was_missed(desk: Desk) -> None:
    with listening(desk.of("Ben")) as lines:
        desk.refund()
        last = take(lines, 1)[0]["index"]
    missed = [desk.refund()["id"] for _ in range(5)]
    with listening(desk.of("Ben"), last) as lines:
        caught_up = take(lines, 5)
        new = desk.refund()["id"]
        live = take(lines, 1)
    assert [event["action"] for event in caught_up] == missed
    assert [event["index"] for event in caught_up + live] == list(range(last + 1, last + 7))
    assert live[0]["action"] == new


def test_who_was_away_for_longer_than_a_page_misses_nothing(desk: Desk) -> None:
    async def busy(home: Home) -> None:
        caller = home.keyring.authenticate(desk.tokens["agent"])
        orders = (Proposal("desk.orders.get", {"order_id": f"{n}"}) for n in range(PAGE + 20))
        await asyncio.gather(*(home.gate.propose_async(order, caller) for order in orders))

    with opened(desk.server.home) as inside:
        asyncio.run(busy(inside))
    total = size(desk)
    with listening(desk.of("Ben"), 0) as lines:
        heard = take(lines, total - 1)
    assert total > PAGE
    assert [event["index"] for event in heard] == list(range(1, total))


def test_two_readers_hear_the_same(desk: Desk) -> None:
    with listening(desk.of("Ben")) as one, listening(desk.of("Cleo")) as two:
        desk.refund()
        assert take(one, 1) == take(two, 1)


def test_what_another_process_commits_is_heard_too(desk: Desk) -> None:
    with listening(desk.of("Ben")) as lines, opened(desk.server.home) as inside:
        key, _ = inside.keyring.add(KeyKind.AGENT, "elsewhere", topics=["desk.**"], by="tests")
        assert take(lines, 1)[0]["kind"] == "key.added"
        inside.keyring.revoke(key.id, by="tests")


def test_news_carry_no_arguments_no_names_and_no_tokens(desk: Desk) -> None:
    start = size(desk) - 1
    action = desk.refund(reasoning="because-of-zanzibar", session="session-zanzibar")
    with listening(desk.of("Ben"), start) as lines:
        events = take(lines, 1)
    assert set(events[0]) == {"index", "kind", "action", "approval", "state", "at"}
    text = json.dumps(events)
    for secret in ("zanzibar", action["args"]["order_id"], "acme", "Ben"):
        assert secret not in text


def test_a_stream_ends_when_its_session_does(desk: Desk) -> None:
    with opened(desk.server.home) as inside:
        token = inside.roster.issue_link(inside.roster.named("Ben"))
    client = desk.client(x_interlock_console="1")
    client.post("/v1/sign-in", json={"token": token})
    with listening(client) as lines:
        desk.refund()
        take(lines, 1)
        session = client.cookies[desk.cookie]
        desk.client(x_interlock_console=desk.proof(session), cookie=f"{desk.cookie}={session}").post(
            "/v1/sign-out"
        )
        desk.refund()
        assert [line for line in lines if line.startswith("data: ")] == []


def test_a_stream_ends_when_its_key_is_revoked(desk: Desk) -> None:
    with opened(desk.server.home) as inside:
        person = inside.roster.named("Ben")
        key, token = inside.keyring.add(KeyKind.PERSON, "lost laptop", person=person, by="tests")
        with listening(desk.client(token)) as lines:
            inside.keyring.revoke(key.id, by="tests")
            assert [line for line in lines if line.startswith("data: ")] == []
