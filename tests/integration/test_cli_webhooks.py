"""`interlock webhooks`: made, told by a serving process, and what is given up is seen and sent again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_command import run, with_policy

from interlock.dispatch.undelivered import give_up
from interlock.engine import Delivery
from interlock.gate.telling import Event, ids_of
from interlock.home import Home, read_policy
from interlock.model.actions import ActionState
from server_desk import staffed
from server_process import opened

WAIT_SEC = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Home.open(tmp_path / ".interlock", policy=read_policy(with_policy(tmp_path))).close()
    return tmp_path


def webhooks(folder: Path, *arguments: str, code: int = 0) -> Any:
    done = run(folder, "webhooks", *arguments, "--json")
    assert done.code == code, done.out + done.err
    return done.json


def test_a_webhook_is_made_listed_rotated_and_removed(folder: Path) -> None:
    url = "https://hooks.example/tenants/zanzibar"
    made = webhooks(folder, "add", "support", "--url", url, "--agent", "bot", "--event", "action.rejected")
    assert made["secret"].startswith("whsec_")
    (listed,) = webhooks(folder, "list")["webhooks"]
    assert listed == {
        "name": "support",
        "url": "https://hooks.example/…",
        "agents": ["bot"],
        "events": ["action.rejected"],
        "problem": None,
        "undelivered": 0,
    }
    file = folder / ".interlock" / "webhooks" / "support.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    again = webhooks(folder, "rotate", "support")["secret"]
    assert json.loads(file.read_text())["secrets"] == [again, made["secret"]]
    for text in (run(folder, "webhooks", "list").out, json.dumps(webhooks(folder, "list"))):
        assert made["secret"] not in text
        assert "zanzibar" not in text
    webhooks(folder, "remove", "support")
    assert webhooks(folder, "list") == {"webhooks": []}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "Support", "--url", "https://hooks.example"), 2),
        (("add", "../up", "--url", "https://hooks.example"), 2),
        (("add", "support", "--url", "http://hooks.example"), 2),
        (("add", "support", "--url", "https://hooks.example", "--event", "action.paid"), 2),
        (("add", "support", "--url", "https://hooks.example", "--network", "inside"), 2),
        (("remove", "support"), 5),
        (("rotate", "support"), 5),
        (("again",), 2),
        (("again", "seg_1", "--all"), 2),
        (("again", "seg_1"), 5),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_file(
    folder: Path, arguments: tuple[str, ...], code: int
) -> None:
    webhooks(folder, *arguments, code=code)
    assert not list((folder / ".interlock").glob("webhooks/*"))


def test_a_second_webhook_of_one_name_is_refused(folder: Path) -> None:
    webhooks(folder, "add", "support", "--url", "https://hooks.example")
    webhooks(folder, "add", "support", "--url", "https://other.example", code=4)
    assert webhooks(folder, "list")["webhooks"][0]["url"] == "https://hooks.example/…"


def test_a_file_that_cannot_be_used_is_listed_with_its_reason(folder: Path) -> None:
    webhooks(folder, "add", "support", "--url", "https://hooks.example")
    (folder / ".interlock" / "webhooks" / "support.json").chmod(0o640)
    assert "read by others" in webhooks(folder, "list")["webhooks"][0]["problem"]


def test_what_was_given_up_is_listed_sent_again_or_let_go(folder: Path) -> None:
    home = Home.open(folder / ".interlock")
    event = Event(7, ActionState.REJECTED, f"act_{'0' * 32}", 1, 1_700_000_000_000_000)
    ids = ids_of(home.journal.vault, "default", "support", event)
    for name in ("seg_a", "seg_b"):
        lost = Delivery(name, "webhook", ids, 12, True, "exe", 1)
        home.journal.commit(lambda tx, lost=lost: give_up(tx, lost, "It answered 500."))
    home.close()
    one, other = webhooks(folder, "failed")["undelivered"]
    assert (one["id"], one["webhook"], one["type"], one["action"], one["event"], one["reason"]) == (
        "seg_a",
        "support",
        "action.rejected",
        event.action_id,
        7,
        "It answered 500.",
    )
    webhooks(folder, "again", other["id"], "--drop")
    assert webhooks(folder, "again", "--all") == {"deliveries": ["seg_a"], "dropped": False}
    assert webhooks(folder, "failed") == {"undelivered": []}
    home = Home.open(folder / ".interlock")
    with home.journal.read() as connection:
        rows = connection.exec_driver_sql("SELECT ids FROM segments").fetchall()
    home.close()
    assert [json.loads(row[0]) for row in rows] == [ids]


# --- with a server ---------------------------------------------------------------------------------------


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def hanging() -> threading.Event:
    """The service answers from when it is set; from the beginning in tests that do not ask for it."""
    return threading.Event()


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    heard: list[dict[str, Any]] = []
    answers = request.getfixturevalue("hanging") if "hanging" in request.fixturenames else None

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append({"id": self.headers["webhook-id"], **json.loads(body)})
            if answers is not None:
                answers.wait(WAIT_SEC)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], heard
    server.shutdown()
    server.server_close()


def test_a_running_server_tells_of_a_decision_that_was_made_over_http(
    tmp_path: Path, service: tuple[int, list[dict[str, Any]]]
) -> None:
    port, heard = service
    with staffed(tmp_path) as desk:
        done = run(
            tmp_path,
            *("webhooks", "add", "support", "--agent", "agent"),
            *("--url", f"http://localhost:{port}/", "--home", str(desk.server.home)),
        )
        assert done.code == 0, done.err
        other = desk.refund(agent="other-agent")
        desk.of("other-agent").post(f"/v1/actions/{other['id']}/withdraw")
        action = desk.refund(checkpoint="c3RhdGU=")
        body = {"decision": "approve", "expected_hash": action["approval"]["review_hash"]}
        desk.of("Ben").post(f"/v1/approvals/{action['approval']['id']}/decisions", json=body)
        eventually(lambda: heard)
        told = heard[0]
        assert (told["type"], told["data"]["action"]) == ("action.approved", action["id"])
        kept = desk.of("agent").get(told["data"]["checkpoint_url"].removeprefix(desk.url)).json()
        assert (kept["checkpoint"], kept["state"]) == ("c3RhdGU=", "approved")
        assert desk.of("agent").get(told["data"]["url"].removeprefix(desk.url)).json()["id"] == action["id"]
    assert len(heard) == 1


def test_what_a_killed_server_had_not_delivered_is_delivered_by_the_next_under_the_same_id(
    tmp_path: Path, service: tuple[int, list[dict[str, Any]]], hanging: threading.Event
) -> None:
    port, heard = service
    with staffed(tmp_path) as desk:
        with opened(desk.server.home) as inside:
            url = f"http://localhost:{port}/"
            inside.webhooks.add("support", url, agents=[], events=[], networks=[])
        action = desk.refund()
        desk.of("agent").post(f"/v1/actions/{action['id']}/withdraw")
        eventually(lambda: heard)
        desk.server.kill()  # it waits for the answer
        hanging.set()
        desk.server.start()
        eventually(lambda: len(heard) == 2)
    assert heard[0]["id"] == heard[1]["id"]
    assert heard[0]["data"]["event"] == heard[1]["data"]["event"]
    assert [told["data"]["action"] for told in heard] == [action["id"]] * 2
