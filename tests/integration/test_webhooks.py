"""Webhooks: an agent's service is told what became of its actions, signed, and nobody else is reached."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from house import BOTH, House, ManualClock, agent
from interlock.dispatch.undelivered import again, forget, undelivered
from interlock.dispatch.webhooks import RETRY, Endpoint, NotDelivered, UnusableWebhook, Webhooks, signed
from interlock.engine import Delivery, enqueue
from interlock.engine.outbox import MOST_IDS
from interlock.gate import Answer, Report, Scope
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Conflict, HomeUnusable, InterlockError, NotFound

DATABASES = BOTH


@dataclass
class Service:
    """Somebody's web service, and what it was sent. It answers the next of `answers`, or 204."""

    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/hooks?tenant=7"


@pytest.fixture
def service() -> Iterator[Service]:
    heard = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard.requests.append((self.path, headers, body))
            status = heard.answers.pop(0) if heard.answers else 204
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"http://localhost:{heard.port}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield heard
    server.shutdown()
    server.server_close()


def add(house: House, url: str, name: str = "support", **rest: Any) -> str:
    given = {"agents": (), "events": (), "networks": (), **rest}
    return house.home.webhooks.add(name, url, **given)


def outbox(house: House) -> list[dict[str, str]]:
    """The ids of the webhook segments that wait to be taken over, in the order of the ledger."""
    rows = house.sql("SELECT ids FROM segments WHERE segment = 'webhook'")
    found = [json.loads(ids) for (ids,) in rows]
    return sorted(found, key=lambda ids: (int(ids.get("entry", -1)), ids.get("webhook", "")))


def states(house: House) -> list[str]:
    return [ids["state"] for ids in outbox(house)]


def attempt(house: House, ids: dict[str, str], number: int = 1, **rest: Any) -> None:
    """What the engine does with a segment, once."""
    delivery = Delivery(f"seg_{'0' * 32}", "webhook", ids, number, number >= RETRY.attempts, "exe", 1)
    url = rest.pop("url", "https://interlock.example")
    webhooks = Webhooks(house.home.journal, house.home.webhooks.read, lambda: url, **rest)
    try:
        asyncio.run(webhooks.deliver(delivery))
    except InterlockError as error:
        if not delivery.last:
            raise
        webhooks.give_up(delivery, error.detail)


def verified(service: Service, secret: str, number: int = -1) -> dict[str, Any]:
    """The body of a request, checked as any receiver of Standard Webhooks does."""
    _, headers, body = service.requests[number]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    expected = base64.b64encode(hmac.new(key, content.encode(), hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in headers["webhook-signature"].split(" ")
    document: dict[str, Any] = json.loads(body)
    return document


# --- what is told ----------------------------------------------------------------------------------------


def test_an_approval_is_told_with_ids_only_and_a_signature_that_holds(house: House, service: Service) -> None:
    secret = add(house, service.url)
    action = house.held(reasoning="zanzibar", checkpoint=b"zanzibar", principal="zoe@example.com")
    house.answer(action, house.person("Ann"), note="zanzibar")
    (ids,) = outbox(house)
    attempt(house, ids)
    told = verified(service, secret)
    entry = json.loads(house.entries()[int(ids["entry"])])
    assert (entry["kind"], entry["action"]) == ("approval.decided", action)
    assert told["type"] == "action.approved"
    assert told["data"] == {
        "event": int(ids["entry"]),
        "action": action,
        "revision": 1,
        "state": "approved",
        "url": f"https://interlock.example/v1/actions/{action}",
        "checkpoint_url": f"https://interlock.example/v1/actions/{action}/checkpoint",
    }
    path, headers, body = service.requests[0]
    assert path == "/hooks?tenant=7"
    assert headers["host"] == f"localhost:{service.port}"
    for word in ("zanzibar", "zoe", "acme", "A-12", "Ann", "500"):
        assert word not in body.decode() + json.dumps(headers)


def test_each_decision_end_and_outcome_is_told_and_a_proposal_is_not(
    house: House, clock: ManualClock, service: Service
) -> None:
    add(house, service.url)
    ann, bob = house.person("Ann"), house.person("Bob")
    small = {"order_id": "A-1", "amount_usd": "5.00", "recipient": "acme"}
    gate = house.gate

    def allowed(order: str) -> str:
        action = house.propose(args={**small, "order_id": order}).action
        assert action is not None
        return action.id

    def ran(state: ActionState, order: str) -> str:
        action = allowed(order)
        gate.settle(gate.claim(action, ExecutorKind.CALLER), Report(state, "said"))
        return action

    house.answer(house.held(idempotency_key="1"), ann, Answer.REJECT)
    edited = house.held(idempotency_key="2")
    house.answer(edited, ann, Answer.EDIT, args={**small, "amount_usd": "200.00"})
    house.answer(edited, bob)
    gate.withdraw(house.held(idempotency_key="3"), agent())
    gate.revoke(allowed("B"), ann.caller)
    ran(ActionState.SUCCEEDED, "C")
    ran(ActionState.FAILED, "D")
    doubtful = ran(ActionState.IN_DOUBT, "E")
    gate.reconcile(doubtful, ann.caller, ActionState.SUCCEEDED, "I looked")
    house.held(idempotency_key="4")
    clock.forward(901)
    gate.sweep()
    assert states(house) == [
        "rejected",
        "superseded",
        "approved",
        "withdrawn",
        "revoked",
        "succeeded",
        "failed",
        "in_doubt",
        "succeeded",
        "expired",
    ]
    assert all(len(ids) <= MOST_IDS for ids in outbox(house))


def test_a_claim_that_nobody_reported_is_told_as_in_doubt(
    house: House, clock: ManualClock, service: Service
) -> None:
    action = house.propose("notes.add", {}).action
    assert action is not None
    house.gate.claim(action.id, ExecutorKind.CALLER)
    add(house, service.url)
    clock.forward(16)
    house.gate.sweep()
    assert [(ids["state"], ids["action"]) for ids in outbox(house)] == [("in_doubt", action.id)]


def test_a_webhook_hears_its_agents_and_its_events_only(house: House, service: Service) -> None:
    add(house, service.url, "mine", agents=["support"], events=["action.rejected"])
    add(house, service.url, "theirs", agents=["billing"])
    ann = house.person("Ann")
    house.answer(house.held(idempotency_key="1"), ann)
    house.answer(house.held(idempotency_key="2"), ann, Answer.REJECT)
    house.gate.withdraw(house.held(caller=agent("billing")), agent("billing"))
    assert [(ids["webhook"], ids["state"]) for ids in outbox(house)] == [
        ("mine", "rejected"),
        ("theirs", "withdrawn"),
    ]


def test_without_a_webhook_nothing_is_enqueued(house: House) -> None:
    house.answer(house.held(), house.person("Ann"))
    assert outbox(house) == []


def test_what_is_refused_enqueues_nothing(house: House, service: Service) -> None:
    add(house, service.url)
    action = house.held()
    ann = house.person("Ann")
    house.home.kill_switches.engage(Scope.ALL, None, "stop", by="test")
    with pytest.raises(Conflict):
        house.answer(action, ann)
    with pytest.raises(NotFound):
        house.gate.withdraw(action, agent("other"))
    assert outbox(house) == []


# --- delivering ------------------------------------------------------------------------------------------


def test_each_attempt_has_the_same_id_and_body_and_a_signature_of_its_own_time(
    house: House, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = add(house, service.url)
    house.gate.withdraw(house.held(), agent())
    (ids,) = outbox(house)
    service.answers = [503]
    with pytest.raises(NotDelivered, match="503"):
        attempt(house, ids, 1)
    monkeypatch.setattr("interlock.dispatch.webhooks.time.time", lambda: 2_000_000_000.5)
    attempt(house, ids, 2)
    assert verified(service, secret, 0) == verified(service, secret, 1)
    (_, one, body), (_, two, again_) = service.requests
    assert (one["webhook-id"], body) == (two["webhook-id"], again_)
    assert "." not in one["webhook-id"]
    assert two["webhook-timestamp"] == "2000000000" != one["webhook-timestamp"]
    assert one["webhook-signature"] != two["webhook-signature"]


@pytest.mark.parametrize("status", [301, 302, 400, 404, 429, 500])
def test_only_2xx_ends_a_delivery_and_a_redirect_is_not_followed(
    house: House, service: Service, status: int
) -> None:
    add(house, service.url)
    house.gate.withdraw(house.held(), agent())
    service.answers = [status]
    with pytest.raises(NotDelivered, match=str(status)):
        attempt(house, outbox(house)[0])
    assert len(service.requests) == 1
    assert house.home.journal.look(lambda tx: undelivered(tx, 10)) == []


@pytest.mark.parametrize(("status", "number"), [(500, RETRY.attempts), (410, 1)])
def test_what_is_given_up_is_kept_where_people_see_it_and_can_be_sent_again(
    house: House, service: Service, status: int, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    secret = add(house, service.url)
    house.gate.withdraw(house.held(), agent())
    (ids,) = outbox(house)
    service.answers = [status]
    with caplog.at_level(logging.ERROR):
        attempt(house, ids, number)
    assert "given up" in caplog.text
    journal = house.home.journal
    (kept,) = journal.look(lambda tx: undelivered(tx, 10))
    assert (kept.webhook, kept.carried) == ("support", ids)
    assert kept.reason == f"The webhook support answered {status}."
    attempt(house, ids, number)  # delivered twice by the engine: no second row
    assert len(journal.look(lambda tx: undelivered(tx, 10))) == 1
    journal.commit(lambda tx: again(tx, kept.id))
    assert journal.look(lambda tx: undelivered(tx, 10)) == []
    attempt(house, outbox(house)[-1])
    assert verified(service, secret)["type"] == "action.withdrawn"
    with pytest.raises(NotFound):
        journal.commit(lambda tx: forget(tx, kept.id))


def test_a_segment_that_this_home_did_not_enqueue_is_never_signed(
    house: House, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    add(house, service.url)
    action = house.held()
    house.gate.withdraw(house.held(idempotency_key="x"), agent())
    (real,) = outbox(house)
    for forged in (
        {**real, "state": "approved", "action": action},
        {**real, "revision": "01"},
        {name: text for name, text in real.items() if name != "mark"},
        {**real, "state": "paid"},
        {},
    ):
        house.home.journal.commit(lambda tx, ids=forged: enqueue(tx, "webhook", ids))
        attempt(house, forged)
    assert service.requests == []
    assert caplog.text.count("dropped") == 5


def test_a_webhook_that_was_removed_is_sent_nothing(house: House, service: Service) -> None:
    add(house, service.url)
    house.gate.withdraw(house.held(), agent())
    house.home.webhooks.remove("support")
    attempt(house, outbox(house)[0])
    assert service.requests == []


def test_while_a_secret_is_replaced_both_sign(house: House, service: Service) -> None:
    old = add(house, service.url)
    new = house.home.webhooks.rotate("support")
    house.gate.withdraw(house.held(), agent())
    attempt(house, outbox(house)[0])
    assert verified(service, old) == verified(service, new)
    newest = house.home.webhooks.rotate("support")
    attempt(house, outbox(house)[0])
    assert verified(service, new) == verified(service, newest)
    with pytest.raises(AssertionError):
        verified(service, old)


# --- where it may go -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/",
        "https://[::1]:{port}/",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/",
    ],
)
def test_an_address_that_is_not_public_is_not_reached_though_the_url_names_it(
    house: House, service: Service, url: str
) -> None:
    add(house, url.format(port=service.port))
    house.gate.withdraw(house.held(), agent())
    with pytest.raises(NotDelivered, match="not public"):
        attempt(house, outbox(house)[0])
    assert service.requests == []


def test_a_listed_network_is_reached(house: House, service: Service) -> None:
    secret = add(house, f"http://127.0.0.1:{service.port}/", networks=["127.0.0.0/8"])
    house.gate.withdraw(house.held(), agent())
    attempt(house, outbox(house)[0])
    assert verified(service, secret)["type"] == "action.withdrawn"


def test_over_plain_http_a_public_address_has_to_be_listed_too(
    house: House, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leads(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", ("93.184.215.14", 80))]

    add(house, "http://hooks.internal/", networks=["10.0.0.0/8"])
    house.gate.withdraw(house.held(), agent())
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", leads)
    with pytest.raises(NotDelivered, match="no listed network"):
        attempt(house, outbox(house)[0])


def test_a_name_that_leads_inside_is_not_reached(
    house: House, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leads(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", ("127.0.0.1", service.port))]

    add(house, f"https://hooks.example:{service.port}/")
    house.gate.withdraw(house.held(), agent())
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", leads)
    with pytest.raises(NotDelivered, match="not public"):
        attempt(house, outbox(house)[0])
    assert service.requests == []


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://hooks.example/"},
        {"url": "ftp://hooks.example/"},
        {"url": "https://user:pass@hooks.example/"},
        {"url": "https://hooks.example/#part"},
        {"url": "hooks.example"},
        {"url": 7},
        {"url": "https:///"},
        {"secrets": []},
        {"secrets": ["whsec_c2hvcnQ="]},
        {"secrets": ["no prefix"]},
        {"secrets": "whsec_" + base64.b64encode(bytes(32)).decode()},
        {"secrets": ["whsec_" + base64.b64encode(bytes(65)).decode()]},
        {"agents": "support"},
        {"agents": [7]},
        {"events": ["action.paid"]},
        {"networks": ["inside"]},
        {"sercet": "x"},
    ],
)
def test_a_file_that_does_not_say_what_it_must_is_refused_without_repeating_it(
    change: dict[str, Any],
) -> None:
    good = {"url": "https://hooks.example/", "secrets": ["whsec_" + base64.b64encode(bytes(32)).decode()]}
    assert Endpoint.parse("ok", json.dumps(good)).wants("anybody", "action.approved")
    with pytest.raises(UnusableWebhook) as refused:
        Endpoint.parse("bad", json.dumps({**good, **change}))
    for secret in ("pass@", "c2hvcnQ", "whsec_A", "sercet"):
        assert secret not in str(refused.value)


def test_a_file_that_others_may_read_signs_nothing_and_what_it_missed_is_kept(
    house: House, service: Service
) -> None:
    secret = add(house, service.url)
    file = house.home.path / "webhooks" / "support.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    house.gate.withdraw(house.held(), agent())
    (ids,) = outbox(house)
    with pytest.raises(HomeUnusable, match="read by others"):
        attempt(house, ids)
    attempt(house, ids, RETRY.attempts)
    assert service.requests == []
    (kept,) = house.home.journal.look(lambda tx: undelivered(tx, 10))
    assert "read by others" in kept.reason
    file.chmod(0o600)
    attempt(house, ids)
    assert verified(service, secret)


def test_no_file_however_bad_stops_a_decision(house: House) -> None:
    folder = house.home.path / "webhooks"
    folder.mkdir()
    for name, content in (("a.json", b"{"), ("b.json", b"\xff"), ("c.txt", b""), ("Not A Name.json", b"{}")):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    (folder / "d.json").mkdir()
    (folder / "e.json").symlink_to(folder / "nowhere")
    house.answer(house.held(), house.person("Ann"))
    assert [ids["webhook"] for ids in outbox(house)] == ["a", "b", "d"]


def test_a_name_reaches_no_other_file(house: House, tmp_path: Path) -> None:
    for name in ("../keystore/home", "..", "a/b", "A", "", "x" * 41):
        with pytest.raises(NotFound):
            house.home.webhooks.read(name)


def test_the_signature_is_the_one_of_the_specification() -> None:
    """The example of the reference libraries of Standard Webhooks."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed((key,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


def test_the_secret_is_nowhere_but_in_its_file(
    open_house: Callable[..., House], service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    house = open_house()
    secret = add(house, service.url)
    house.gate.withdraw(house.held(), agent())
    service.answers = [500]
    with caplog.at_level(logging.DEBUG):
        attempt(house, outbox(house)[0], RETRY.attempts)
    assert secret not in caplog.text
    assert secret not in repr(house.home.webhooks.all())
    for file in house.home.path.rglob("*"):
        if file.is_file() and file.name != "support.json":
            assert secret.encode() not in file.read_bytes(), file
