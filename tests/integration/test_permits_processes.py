"""Permits between real processes: a server, the example's tool, an agent; and whoever tries it twice."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from interlock.home import Home
from interlock.identity import KeyKind
from server_process import ServerProcess, opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "permitted_tool.py"
HOST = "shop-host"
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    execute: {permitted: {executor: shop-host}}
  notes.add:
    tier: 2
    args: {text: string}
    execute: {permitted: {executor: shop-host, offline: true}}
    undo: notes.drop
    undo_within: 1m
  notes.list: {tier: 1, args: {text: string}, execute: {permitted: {executor: shop-host}}}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m, execute: {caller: {}}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
"""


class Shop(NamedTuple):
    """A running server on a home with an agent, two executors and a person."""

    home: Path
    url: str
    agent: httpx.Client
    host: httpx.Client
    other: httpx.Client
    person: httpx.Client
    host_key: str

    def propose(self, topic: str = "pay.refund", **args: Any) -> dict[str, Any]:
        known = {"order_id": "A-12", "amount_usd": "5.00"} if topic == "pay.refund" else {"text": "hello"}
        answer = self.agent.post("/v1/actions", json={"topic": topic, "args": {**known, **args}})
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    def permit(self, action: str, **body: Any) -> dict[str, Any]:
        answer = self.agent.post(f"/v1/actions/{action}/permit", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def state(self, action: str) -> str:
        state: str = self.agent.get(f"/v1/actions/{action}").json()["state"]
        return state


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    policy, home = folder / "policy.yaml", folder / "home"
    policy.write_text(POLICY, encoding="utf-8")
    with opened(home, policy) as inside:
        keys = {
            "agent": inside.keyring.add(KeyKind.AGENT, "support", topics=["*"], by="tests")[1],
            "host": inside.keyring.add(KeyKind.EXECUTOR, HOST, topics=["*"], by="tests")[1],
            "other": inside.keyring.add(KeyKind.EXECUTOR, "other-host", topics=["*"], by="tests")[1],
            "person": inside.keyring.add(
                KeyKind.PERSON, "Ana", person=inside.roster.first("Ana", by="tests"), by="tests"
            )[1],
        }
    with ServerProcess(home, policy) as server:
        clients = {
            name: httpx.Client(
                base_url=server.url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
            )
            for name, key in keys.items()
        }
        yield Shop(home, server.url, host_key=keys["host"], **clients)
        for client in clients.values():
            client.close()


class Tool:
    """The example, in a process of its own."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self._folder = folder
        key = folder / "executor.key"
        key.write_text(shop.host_key, encoding="utf-8")
        issuer = httpx.get(f"{shop.url}/.well-known/jwks.json", trust_env=False).json()["issuer"]
        self._command = [sys.executable, str(EXAMPLE), "--gate", shop.url, "--issuer", issuer]
        self._command += ["--name", HOST, "--key-file", str(key), "--state", str(folder), "--port", "0"]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://"), "the example did not start"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def call(self, topic: str, token: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(
            f"{self.url}/{topic}",
            content=content,
            headers={"Interlock-Permit": token},
            trust_env=False,
            timeout=30,
        )

    def effects(self) -> list[str]:
        connection = sqlite3.connect(self._folder / "effects.db")
        try:
            return [key for (key,) in connection.execute("SELECT key FROM effects")]
        finally:
            connection.close()


@pytest.fixture
def tool(shop: Shop, tmp_path: Path) -> Iterator[Tool]:
    running = Tool(shop, tmp_path)
    yield running
    running.stop()


def slug(answer: httpx.Response) -> str:
    found: str = answer.json()["type"]
    return found.removeprefix("urn:interlock:problem:")


# --- the example ------------------------------------------------------------------------------------------


def test_a_tier_3_tool_redeems_runs_and_reports(shop: Shop, tool: Tool) -> None:
    action = shop.propose(order_id="first")["id"]
    permit = shop.permit(action)
    answer = tool.call("pay.refund", permit["permit"], permit["args"])
    assert answer.status_code == 200, answer.text
    view = shop.agent.get(f"/v1/actions/{action}").json()
    assert (view["state"], view["result"]["done"]) == ("succeeded", "pay.refund")
    assert view["executor_name"] == HOST
    again = tool.call("pay.refund", permit["permit"], permit["args"])
    assert again.status_code == 409
    assert len(tool.effects()) == 1


def test_a_tier_2_tool_checks_offline_and_reports(shop: Shop, tool: Tool) -> None:
    action = shop.propose("notes.add", text="offline")["id"]
    permit = shop.permit(action, offline=True)
    assert tool.call("notes.add", permit["permit"], permit["args"]).status_code == 200
    assert shop.state(action) == "succeeded"
    again = tool.call("notes.add", permit["permit"], permit["args"])
    assert (again.status_code, again.json()["type"]) == (403, "replayed")
    tool.stop()
    tool.start()
    again = tool.call("notes.add", permit["permit"], permit["args"])
    assert (again.status_code, again.json()["type"]) == (403, "replayed")
    assert len(tool.effects()) == 1


@pytest.mark.parametrize("topic", ["notes.list", "pay.refund"])
def test_an_agent_that_asks_for_offline_is_told_to_have_it_redeemed(shop: Shop, topic: str) -> None:
    action = shop.propose(topic, text="mine") if topic == "notes.list" else shop.propose()
    for client in (shop.agent, shop.host):
        answer = client.post(f"/v1/actions/{action['id']}/permit", json={"offline": True})
        assert (answer.status_code, slug(answer)) == (409, "offline-refused")
        assert "without `offline`" in answer.json()["fix"]
    assert not shop.permit(action["id"])["offline"]


def test_a_tool_runs_no_other_bytes_and_no_other_topic(shop: Shop, tool: Tool) -> None:
    action = shop.propose("notes.add", text="exact")["id"]
    token = shop.permit(action, offline=True)["permit"]
    for topic, body, why in (
        ("notes.add", {"text": "else"}, "wrong-action"),
        ("notes.add", b'{"text": "exact", "text": "exact"}', "bad-arguments"),
        ("pay.refund", {"text": "exact"}, "wrong-action"),
        ("notes.add", b"", "bad-arguments"),
    ):
        answer = tool.call(topic, token, body)
        assert (answer.status_code, answer.json()["type"]) == (403, why)
    assert tool.call("notes.add", token[:-4] + "AAAA", {"text": "exact"}).status_code == 403
    assert tool.effects() == []
    assert tool.call("notes.add", token, {"text": "exact"}).status_code == 200


def test_a_tool_asks_for_the_keys_again_after_a_rotation(shop: Shop, tool: Tool) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "interlock.cli",
            "keys",
            "rotate-permit-key",
            "--home",
            str(shop.home),
            "--json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rotated = json.loads(done.stdout)
    keys = [key["kid"] for key in shop.agent.get("/.well-known/jwks.json").json()["keys"]]
    assert keys[:2] == [rotated["kid"], rotated["previous"]]
    permit = shop.permit(shop.propose("notes.add", text="rotated")["id"], offline=True)
    assert tool.call("notes.add", permit["permit"], permit["args"]).status_code == 200


def test_a_tool_that_died_while_it_ran_reports_doubt_when_it_is_back(
    shop: Shop, tool: Tool, tmp_path: Path
) -> None:
    permit = shop.permit(shop.propose(order_id="died")["id"])
    redeemed = shop.host.post("/v1/permits/redeem", json={"permit": permit["permit"]})
    assert redeemed.status_code == 200
    tool.stop()
    with sqlite3.connect(tmp_path / "effects.db") as connection:
        connection.execute("INSERT INTO unreported VALUES (?, ?)", (permit["action"], permit["permit"]))
    connection.close()
    tool.start()
    assert shop.state(permit["action"]) == "in_doubt"


def test_a_revoked_action_is_stopped_at_the_redeeming_tool(shop: Shop, tool: Tool) -> None:
    action = shop.propose(order_id="revoked")["id"]
    permit = shop.permit(action)
    assert shop.person.post(f"/v1/actions/{action}/revoke").status_code == 200
    assert tool.call("pay.refund", permit["permit"], permit["args"]).status_code == 409
    assert tool.effects() == []
    assert shop.state(action) == "revoked"


# --- the endpoints ----------------------------------------------------------------------------------------


def test_what_a_redemption_answers_is_what_was_hashed_and_the_run_is_reported_once(shop: Shop) -> None:
    permit = shop.permit(shop.propose(order_id="direct")["id"])
    answer = shop.host.post("/v1/permits/redeem", json={"permit": permit["permit"]})
    redeemed = answer.json()
    assert json.loads(redeemed["binding"])["args"] == permit["args"]
    assert redeemed["epoch"] == 1
    path = f"/v1/actions/{permit['action']}"
    renewed = shop.host.post(f"{path}/renew", json={"permit": permit["permit"]})
    assert renewed.json()["lease_until"] >= redeemed["lease_until"]
    lost = shop.host.post("/v1/permits/redeem", json={"permit": permit["permit"]})
    assert (lost.status_code, slug(lost), lost.json()["epoch"]) == (409, "permit-redeemed", 1)
    report = {"permit": permit["permit"], "outcome": "succeeded", "note": "Done.", "result": {"rate": 0.5}}
    assert shop.host.post(f"{path}/outcome", json=report).json()["state"] == "succeeded"
    assert shop.agent.get(path).json()["result"] == {"rate": 0.5}
    conflicting = shop.host.post(f"{path}/outcome", json={**report, "outcome": "failed"})
    assert (conflicting.status_code, slug(conflicting)) == (409, "stale-claim")


@pytest.mark.parametrize("who", ["other", "agent", "person"])
def test_nobody_but_the_named_executor_uses_a_permit(shop: Shop, who: str) -> None:
    permit = shop.permit(shop.propose(order_id=f"not for {who}")["id"])
    client: httpx.Client = getattr(shop, who)
    path = f"/v1/actions/{permit['action']}"
    report = {"permit": permit["permit"], "outcome": "succeeded", "note": "Done."}
    answers = [
        client.post("/v1/permits/redeem", json={"permit": permit["permit"]}),
        client.post(f"{path}/renew", json={"permit": permit["permit"]}),
        client.post(f"{path}/outcome", json=report),
    ]
    assert {(answer.status_code, slug(answer)) for answer in answers} == {(403, "forbidden")}
    if who != "agent":
        assert client.post(f"{path}/permit", json={}).status_code == 404
    assert shop.state(permit["action"]) == "allowed"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"permit": "x", "outcome": "denied", "note": "n"}, 422, "wrong-type"),
        ({"permit": "x", "outcome": "failed", "note": ""}, 422, "invalid-input"),
        ({"permit": "x", "outcome": "failed", "note": "n" * 5000}, 422, "invalid-input"),
        ({"permit": 7, "outcome": "failed", "note": "n"}, 422, "wrong-type"),
        ({"outcome": "failed", "note": "n"}, 422, "missing-field"),
        ({"permit": "x", "outcome": "failed", "note": "n"}, 403, "permit-invalid"),
    ],
)
def test_a_report_is_read_strictly(shop: Shop, body: Any, status: int, kind: str) -> None:
    answer = shop.host.post(f"/v1/actions/act_{'0' * 32}/outcome", json=body)
    assert (answer.status_code, slug(answer)) == (status, kind)


def test_the_key_set_is_public_and_holds_no_private_part(shop: Shop) -> None:
    answer = httpx.get(f"{shop.url}/.well-known/jwks.json", trust_env=False)
    assert answer.status_code == 200
    for key in answer.json()["keys"]:
        assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}


def test_no_permit_stands_in_the_log_or_the_database(shop: Shop) -> None:
    permit = shop.permit(shop.propose(order_id="logged")["id"])
    shop.host.post("/v1/permits/redeem", json={"permit": permit["permit"]})
    shop.host.post("/v1/permits/redeem", json={"permit": permit["permit"][:-3] + "xyz"})
    signature = permit["permit"].split(".")[2][:40].encode()
    for file in shop.home.rglob("*"):
        assert not file.is_file() or signature not in file.read_bytes(), file


# --- races ------------------------------------------------------------------------------------------------


def test_of_a_server_and_a_second_process_one_redeems(shop: Shop) -> None:
    """32 requests to the server, and 8 threads of another process on the same database."""
    permit = shop.permit(shop.propose(order_id="race")["id"])
    with opened(shop.home) as inside, ThreadPoolExecutor(40) as pool:
        beside = [pool.submit(_redeem_inside, inside, shop.host_key, permit["permit"]) for _ in range(8)]
        asked = [
            pool.submit(shop.host.post, "/v1/permits/redeem", json={"permit": permit["permit"]})
            for _ in range(32)
        ]
        won = sum(task.result() for task in beside) + sum(task.result().status_code == 200 for task in asked)
        claims = [
            entry
            for entry in map(json.loads, inside.journal.entries())
            if entry["kind"] == "action.claimed" and entry["permit"] == permit["id"]
        ]
    assert won == len(claims) == 1


def _redeem_inside(home: Home, key: str, token: str) -> bool:
    from interlock.gate.permit_rows import PermitRedeemed

    try:
        home.permits.redeem(token, home.keyring.authenticate(key))
    except PermitRedeemed:
        return False
    return True
