"""Kill switches over HTTP and from the command line: who may, what they are told, and what stays stopped."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import Result, run

from interlock.identity import KeyKind, Role
from server_process import ServerProcess, opened

POLICY = """
interlock: 1
name: desk
actions:
  orders.get: {tier: 1, args: {order_id: string}}
  pay.refund: {tier: 3, args: {order_id: string}}
rules:
  - id: asks
    match: {topics: [pay.refund]}
    decision: require_approval
    lane: {window: 15m, on_timeout: deny}
"""


class Server:
    """A running server, and a key for each who calls it."""

    def __init__(self, process: ServerProcess, keys: dict[str, str]) -> None:
        self.process = process
        self.keys = keys

    def ask(self, who: str, method: str, path: str, **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[who]}"}
        return httpx.request(method, self.process.url + path, headers=headers, json=body or None, timeout=20)

    def stop(self, who: str = "Ann", **body: Any) -> dict[str, Any]:
        answer = self.ask(who, "POST", "/v1/kill-switches", **{"reason": "smoke", "scope": "all", **body})
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def lift(self, kill: str) -> None:
        for who in ("Ann", "Bob"):
            answer = self.ask(who, "POST", f"/v1/kill-switches/{kill}/rearm", reason="it was the toaster")
            assert answer.is_success, answer.text
        assert answer.json()["lifted"] is True

    def propose(self, topic: str = "orders.get") -> dict[str, Any]:
        args = {"order_id": uuid.uuid4().hex}
        found: dict[str, Any] = self.ask("support", "POST", "/v1/actions", topic=topic, args=args).json()
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("kill")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    home, keys = folder / "home", {}
    with ServerProcess(home, folder / "policy.yaml") as process:
        with opened(home) as local:
            for name, role in (("Ann", Role.OPERATOR), ("Bob", Role.POLICY_ADMIN), ("Rita", Role.REVIEWER)):
                person = local.roster.add(name, [role], by="test")
                keys[name] = local.keyring.add(KeyKind.PERSON, "laptop", person=person, by="test")[1]
            keys["support"] = local.keyring.add(KeyKind.AGENT, "support", topics=["*"], by="test")[1]
        yield Server(process, keys)


def test_what_is_stopped_over_http_is_denied_until_two_people_lift_it(server: Server) -> None:
    held = server.propose("pay.refund")
    kill = server.stop(scope="agent", target="support")
    assert (kill["created"], kill["running"]) == (True, [])
    assert server.stop(scope="agent", target="support", reason="again")["created"] is False
    refused = server.propose()
    assert (refused["state"], refused["rule"]) == ("denied", f"kill-switch:{kill['id']}")
    approval = server.ask("Rita", "GET", f"/v1/approvals/{held['approval']['id']}").json()
    assert approval["frozen"]["kill"] == kill["id"]
    assert (approval["can"]["approve"], approval["can"]["reject"], approval["can"]["edit"]) == (
        False,
        True,
        False,
    )
    assert "kill switch" in approval["can"]["why_not"]
    assert "Frozen" in server.ask("support", "GET", f"/v1/actions/{held['id']}").json()["user_message"]
    answer = server.ask(
        "Rita",
        "POST",
        f"/v1/approvals/{approval['id']}/decisions",
        decision="approve",
        expected_hash=approval["review_hash"],
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:interlock:problem:kill-switch-on")
    first = server.ask("Ann", "POST", f"/v1/kill-switches/{kill['id']}/rearm", reason="fixed").json()
    assert (first["lifted"], first["needed"], len(first["agreed"])) == (False, 2, 1)
    shown = server.ask("Rita", "GET", "/v1/kill-switches").json()
    assert [each["id"] for each in shown["engaged"]] == [kill["id"]]
    assert [person["name"] for person in shown["engaged"][0]["agreed"]] == ["Ann"]
    assert {person["name"] for person in shown["may"]} >= {"Ann", "Bob"}
    assert "Rita" not in {person["name"] for person in shown["may"]}
    server.lift(kill["id"])
    assert server.propose()["state"] == "allowed"
    approval = server.ask("Rita", "GET", f"/v1/approvals/{approval['id']}").json()
    assert approval["frozen"] is None
    lifted = server.ask("Rita", "GET", "/v1/kill-switches").json()
    assert (lifted["engaged"], lifted["lifted"][0]["id"]) == ([], kill["id"])


@pytest.mark.parametrize("who", ["Rita", "support"])
def test_neither_a_reviewer_nor_an_agent_stops_or_lifts_anything(who: str, server: Server) -> None:
    body = {"scope": "all", "reason": "smoke"}
    assert server.ask(who, "POST", "/v1/kill-switches", **body).status_code == 403
    kill = server.stop(scope="topic", target="none.*")
    rearm = server.ask(who, "POST", f"/v1/kill-switches/{kill['id']}/rearm", reason="please")
    assert rearm.status_code == 403
    server.lift(kill["id"])


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "everything"},
        {"scope": "agent"},
        {"scope": "topic", "target": "Pay"},
        {"scope": "all", "target": "support"},
        {"reason": ""},
        {"reason": "a\nb"},
        {"drill": 1},
        {"agent": "support"},
    ],
    ids=str,
)
def test_a_body_that_stops_nothing_known_is_refused(body: dict[str, Any], server: Server) -> None:
    answer = server.ask("Ann", "POST", "/v1/kill-switches", **{"scope": "all", "reason": "smoke", **body})
    assert answer.status_code == 422, answer.text
    assert server.ask("Ann", "GET", "/v1/kill-switches").json()["engaged"] == []


def test_a_drill_over_http_answers_how_long_it_took_and_is_over(server: Server) -> None:
    drill = server.stop(drill=True)
    assert drill["stop_us"] > 0
    assert drill["rearmed_at"] is not None
    assert server.propose()["state"] == "allowed"


def test_a_kill_switch_outlives_the_server(server: Server) -> None:
    kill = server.stop()
    server.process.stop()
    server.process.start()
    assert server.propose()["state"] == "denied"
    server.lift(kill["id"])
    assert server.propose()["state"] == "allowed"


def test_the_command_line_stops_and_two_people_lift_with_their_keys(server: Server, tmp_path: Path) -> None:
    def told(who: str, *arguments: str) -> Result:
        env = {"INTERLOCK_KEY": server.keys[who], "INTERLOCK_URL": server.process.url}
        return run(tmp_path, *arguments, env=env)

    assert "Stopped: the agent" in told("Ann", "kill", "--agent", "support", "--reason", "smoke").out
    assert "smoke" in told("Rita", "rearm").out
    kill = server.ask("Ann", "GET", "/v1/kill-switches").json()["engaged"][0]["id"]
    assert "1 of 2" in told("Ann", "rearm", kill, "--reason", "fixed").out
    assert told("Rita", "rearm", kill, "--reason", "fixed").code == 4
    assert "Lifted by Ann, Bob" in told("Bob", "rearm", kill, "--reason", "fixed").out
    assert "Nothing is stopped." in told("Ann", "rearm").out


def test_where_the_server_does_not_answer_it_is_stopped_through_the_files_and_that_is_said(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with opened(home, _written(tmp_path)):
        pass
    env = {"INTERLOCK_KEY": "ilk_person_" + "0" * 32 + "." + "A" * 43}
    done = run(tmp_path, "kill", "--all", "--reason", "smoke", "--home", str(home), env=env)
    assert done.code == 0, done.err
    assert "Stopped: everything" in done.out
    assert "Nothing answers" in done.err
    assert "through the files" in done.err
    named = run(
        tmp_path,
        "kill",
        "--all",
        "--reason",
        "r",
        "--home",
        str(home),
        "--url",
        "http://localhost:9",
        env=env,
    )
    assert named.code == 7, "whose home that server serves, nobody here knows"


def _written(folder: Path) -> Path:
    file = folder / "policy.yaml"
    file.write_text(POLICY, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "given",
    [
        ["kill", "--reason", "r"],
        ["kill", "--all"],
        ["kill", "--all", "--agent", "a", "--reason", "r"],
        ["rearm", "--yes"],
        ["rearm", "kil_1"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_says_too_little_or_too_much_is_refused(given: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, *given).code == 2
    assert not (tmp_path / ".interlock").exists()
