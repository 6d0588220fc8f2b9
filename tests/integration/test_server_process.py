"""The serving process: it starts or says why not, shares its home, and stops in good order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.home.home import announced
from server_desk import POLICY, Desk, refused, staffed
from server_process import ServerProcess, opened, running_server

STATES = ("succeeded", "failed", "in_doubt")


class Hooks:
    """A service that counts what it is asked to do, by idempotency key."""

    def __init__(self) -> None:
        hooks = self
        self.seen: Counter[str] = Counter()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                hooks.seen[self.headers["idempotency-key"]] += 1
                time.sleep(0.05)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def service() -> Iterator[Hooks]:
    running = Hooks()
    yield running
    running.close()


@pytest.fixture
def hooks(service: Hooks) -> Hooks:
    service.seen.clear()
    return service


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory, service: Hooks) -> Iterator[Desk]:
    policy = POLICY.replace(":8421", f":{service.port}")
    with staffed(tmp_path_factory.mktemp("process"), policy) as running:
        yield running


@pytest.fixture
def desk(staff: Desk) -> Desk:
    """The desk, with its server up again if an earlier test stopped it."""
    assert staff.server.process is not None
    if staff.server.process.poll() is not None:
        staff.server.start()
    return staff


def held_hook(client: httpx.Client, text: str) -> dict[str, Any]:
    made = client.post("/v1/actions", json={"topic": "desk.hooks.post", "args": {"text": text}})
    assert made.status_code == 202, made.text
    return dict(made.json())


def approve(client: httpx.Client, action: dict[str, Any]) -> None:
    body = {"decision": "approve", "expected_hash": action["approval"]["review_hash"]}
    answer = client.post(f"/v1/approvals/{action['approval']['id']}/decisions", json=body)
    assert answer.status_code == 200, answer.text


def ended(client: httpx.Client, action: dict[str, Any]) -> str:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        state: str = client.get(f"/v1/actions/{action['id']}").json()["state"]
        if state in STATES:
            return state
        time.sleep(0.05)
    raise AssertionError(f"{action['id']} never ended")


def beside(desk: Desk, server: ServerProcess) -> Desk:
    """The same desk, seen through another server of its home."""
    return Desk(server, desk.tokens, desk.people, desk.links, desk.clients)


def test_a_new_home_is_ready_with_one_call(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    with running_server(tmp_path / "home", policy, topics=("desk.**",)) as access:
        url, agent_key, person_key, link_token = access
        body = {"topic": "desk.orders.get", "args": {"order_id": "A"}}
        agent = {"authorization": f"Bearer {agent_key}"}
        person = {"authorization": f"Bearer {person_key}"}
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.post("/v1/actions", json=body, headers=agent).status_code == 201
            assert client.get("/v1/approvals", headers=person).status_code == 200
            signed = client.post(
                "/v1/sign-in", json={"token": link_token}, headers={"x-interlock-console": "1"}
            )
            assert signed.json()["person"]["name"] == "Ana"


def test_a_restart_keeps_sessions_keys_held_actions_and_the_ledger(desk: Desk) -> None:
    console = desk.client(x_interlock_console="1")
    console.post("/v1/sign-in", json={"token": desk.links["Ben"]})
    session = console.cookies[desk.cookie]
    cookie = f"{desk.cookie}={session}"
    waiting = desk.refund()
    vkey, size = console.get("/ledger/vkey").text, desk.footprint()["ledger"]
    desk.server.kill()
    desk.server.start()

    again = desk.client(x_interlock_console=desk.proof(session), cookie=cookie)
    assert again.get("/v1/me").json()["person"]["name"] == "Ben"
    assert again.get("/ledger/vkey").text == vkey
    assert desk.footprint()["ledger"] == size
    approve(again, waiting)
    assert desk.of("agent").get(f"/v1/actions/{waiting['id']}").json()["state"] == "approved"


def test_two_servers_on_one_home_share_the_work_and_do_none_of_it_twice(desk: Desk, hooks: Hooks) -> None:
    with ServerProcess(desk.server.home, desk.server.home.parent / "policy.yaml") as second:
        other = beside(desk, second)
        assert second.url != desk.url
        agents, reviewers = (desk.of("agent"), other.of("agent")), (other.of("Ben"), desk.of("Ben"))
        actions = [held_hook(agents[n % 2], f"n{n}") for n in range(12)]
        for n, action in enumerate(actions):
            approve(reviewers[n % 2], action)
        assert [ended(agents[(n + 1) % 2], action) for n, action in enumerate(actions)] == ["succeeded"] * 12
    assert len(hooks.seen) == 12
    assert set(hooks.seen.values()) == {1}


def test_what_one_server_was_killed_over_another_finishes(desk: Desk, hooks: Hooks) -> None:
    action = held_hook(desk.of("agent"), "left behind")
    desk.server.kill()
    with ServerProcess(desk.server.home) as second:
        other = beside(desk, second)
        approve(other.of("Ben"), action)
        assert ended(other.of("agent"), action) == "succeeded"
    assert list(hooks.seen.values()) == [1]


@pytest.mark.parametrize(("how", "codes"), [(signal.SIGTERM, {0}), (signal.SIGINT, {0, 130})])
def test_a_stopped_server_ends_its_streams_and_closes_its_home(
    desk: Desk, how: signal.Signals, codes: set[int]
) -> None:
    heard: list[str] = []
    begun = threading.Event()

    def listen() -> None:
        with desk.of("Ben").stream("GET", "/v1/events") as stream:
            for line in stream.iter_lines():
                heard.append(line)
                begun.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert begun.wait(30)
    assert desk.server.process is not None
    desk.server.process.send_signal(how)
    code = desk.server.process.wait(60)
    listener.join(30)
    assert not listener.is_alive()
    assert code in codes
    assert not (desk.server.home / "server.json").exists()
    signed = json.loads((desk.server.home / "ledger" / "signed.json").read_text(encoding="utf-8"))
    assert signed["size"] == desk.footprint()["ledger"]


def test_a_stopping_server_finishes_what_it_has_begun(desk: Desk, hooks: Hooks) -> None:
    actions = [held_hook(desk.of("agent"), f"n{n}") for n in range(8)]
    for action in actions:
        approve(desk.of("Ben"), action)
    assert desk.server.process is not None
    desk.server.process.terminate()
    desk.server.process.wait(60)
    assert "executing" not in desk.footprint()["actions by state"]
    desk.server.start()
    assert [ended(desk.of("agent"), action) for action in actions] == ["succeeded"] * 8
    assert sorted(hooks.seen.values()) == [1] * 8


def test_a_server_that_stays_announces_itself_again_when_another_leaves(desk: Desk) -> None:
    with ServerProcess(desk.server.home) as second:
        assert announced(desk.server.home) == second.url
    give_up = time.monotonic() + 30
    while announced(desk.server.home) != desk.url and time.monotonic() < give_up:
        time.sleep(0.05)
    assert announced(desk.server.home) == desk.url


def test_people_sign_in_through_a_proxy_that_ends_tls(tmp_path: Path) -> None:
    """The proxy says nothing about the scheme; the public URL does."""
    policy, home = tmp_path / "policy.yaml", tmp_path / "home"
    policy.write_text(POLICY, encoding="utf-8")
    with opened(home, policy) as inside:
        link = inside.roster.issue_link(inside.roster.first("Ana", by="tests"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    public = "https://interlock.example"
    with ServerProcess(home, policy, port=port, options=("--public-url", public)) as server:
        sent = {"host": "interlock.example", "x-interlock-console": "1"}
        with httpx.Client(base_url=server.url, headers=sent, trust_env=False) as proxy:
            for foreign in ("http://interlock.example", "https://interlock.example.evil.example"):
                answer = proxy.post("/v1/sign-in", json={"token": link}, headers={"origin": foreign})
                refused(answer, 403, "forbidden")
            answer = proxy.post("/v1/sign-in", json={"token": link}, headers={"origin": public})
            assert answer.status_code == 200, answer.text
            assert "secure" in answer.headers["set-cookie"].lower()


# --- not starting ------------------------------------------------------------------------------------------


def refusal(*arguments: str | Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, problem document and standard error of a server that does not start."""
    ran = subprocess.run(
        [sys.executable, "-m", "interlock.cli", "serve", *map(str, arguments), "--json"],
        capture_output=True,
        timeout=20,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return ran.returncode, json.loads(ran.stdout), ran.stderr


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY, encoding="utf-8")
    return file


def test_a_port_that_is_taken_is_said_with_seven(desk: Desk, policy: Path, tmp_path: Path) -> None:
    port = desk.url.rsplit(":", 1)[1]
    home = tmp_path / "another"
    code, problem, errors = refusal("--home", home, "--policy", policy, "--port", port)
    assert (code, problem["type"]) == (7, "urn:interlock:problem:home-unusable")
    assert port in problem["detail"]
    assert "--port" in problem["fix"]
    assert "Traceback" not in errors
    assert not home.exists()


def test_another_policy_does_not_come_into_force_by_serving_it(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("< 100", "< 5000"), encoding="utf-8")
    before = desk.footprint()
    code, problem, errors = refusal("--home", desk.server.home, "--policy", other, "--port", "0")
    assert (code, problem["type"]) == (4, "urn:interlock:problem:policy-not-active")
    assert problem["active"] != problem["file"]
    assert "Traceback" not in errors
    assert desk.footprint() == before


def test_a_policy_that_does_not_load_replaces_nothing(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("decision: deny", "decision: dney"), encoding="utf-8")
    before = desk.footprint()
    code, problem, errors = refusal(
        "--home", desk.server.home, "--policy", other, "--port", "0", "--activate"
    )
    assert (code, problem["type"]) == (3, "urn:interlock:problem:policy-invalid")
    assert "other.yaml" in problem["detail"]
    assert "Traceback" not in errors
    assert desk.footprint() == before


def test_an_activated_policy_answers_in_every_process(tmp_path: Path) -> None:
    with staffed(tmp_path) as desk:
        activated(desk, tmp_path / "tighter.yaml")


def activated(desk: Desk, tighter: Path) -> None:
    tighter.write_text(POLICY.replace("amount_usd > 5000", "amount_usd > 150"), encoding="utf-8")
    held = desk.refund("200.00")
    command = [sys.executable, "-m", "interlock.cli", "serve", "--home", str(desk.server.home)]
    command += ["--policy", str(tighter), "--port", "0", "--activate"]
    activating = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 60
        while (state := desk.of("agent").get(f"/v1/actions/{held['id']}").json()["state"]) == "held":
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert state == "denied"
        assert desk.refund("200.00")["state"] == "denied"
    finally:
        activating.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            activating.wait(10)


def test_a_home_that_others_can_write_is_not_served(policy: Path, tmp_path: Path) -> None:
    home = tmp_path / "open"
    home.mkdir()
    home.chmod(0o777)
    code, problem, _ = refusal("--home", home, "--policy", policy, "--port", "0")
    assert (code, problem["type"]) == (7, "urn:interlock:problem:home-unusable")
    assert "chmod 700" in problem["fix"]
    assert list(home.iterdir()) == []


def test_a_server_without_a_policy_says_so(tmp_path: Path) -> None:
    code, problem, errors = refusal("--home", tmp_path / "none", "--port", "0")
    assert code in (2, 5)
    assert "--policy" in problem["fix"]
    assert "Traceback" not in errors
