"""``interlock approvals watch``: what waits is shown as it comes, and answered where somebody sits there."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_command import COMMAND, environment

from server_desk import Desk, staffed


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("watch")) as desk:
        yield desk


def state(desk: Desk, action: dict[str, Any]) -> str:
    return str(desk.of("agent").get(f"/v1/actions/{action['id']}").json()["state"])


@contextlib.contextmanager
def told(desk: Desk) -> Iterator[subprocess.Popen[str]]:
    """A watch with --json, which has nobody to ask."""
    env = environment(INTERLOCK_KEY=desk.tokens["Ben"])
    process = subprocess.Popen(
        [*COMMAND, "approvals", "watch", "--json", "--url", desk.url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_requests_are_told_when_they_come_and_when_they_end(desk: Desk) -> None:
    first = desk.refund()
    with told(desk) as watch:
        assert watch.stdout is not None
        events = (json.loads(line) for line in watch.stdout)
        shown = next(events)
        assert (shown["event"], shown["approval"]["id"]) == ("held", first["approval"]["id"])
        second = desk.refund()
        assert next(events)["approval"]["id"] == second["approval"]["id"]
        for action in (first, second):
            approval = action["approval"]
            body = {"decision": "reject", "reason_code": "other", "expected_hash": approval["review_hash"]}
            done = desk.of("Cleo").post(f"/v1/approvals/{approval['id']}/decisions", json=body)
            assert done.is_success, done.text
            assert next(events) == {"event": "ended", "approval": approval["id"], "state": "rejected"}


class Terminal:
    """A person at a terminal, in front of a watch."""

    def __init__(self, desk: Desk, person: str) -> None:
        self._mine, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, "approvals", "watch", "--url", desk.url],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(INTERLOCK_KEY=desk.tokens[person]),
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def wait(self, words: str) -> str:
        """Until the terminal shows it, after what was waited for before; what it showed on the way."""
        give_up = time.monotonic() + 30
        while words not in self.seen:
            assert time.monotonic() < give_up, self.seen
            self.seen += os.read(self._mine, 65_536).decode()
        before, _, self.seen = self.seen.partition(words)
        return before

    def type(self, words: str) -> None:
        os.write(self._mine, f"{words}\n".encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._mine)


def test_a_person_at_a_terminal_answers_what_was_shown_whole(desk: Desk) -> None:
    approved, rejected, left = desk.refund("200.00"), desk.refund("201.00"), desk.refund("202.00")
    terminal = Terminal(desk, "Ben")
    try:
        for action, answers in ((approved, ["approve"]), (rejected, ["r", "wrong_amount", "Too much"])):
            terminal.wait(action["approval"]["review_hash"])
            terminal.wait("approve, reject, later, quit")
            for answer in answers:
                terminal.type(answer)
        terminal.wait(left["approval"]["review_hash"])
        terminal.wait("quit")
        terminal.type("")
        late = desk.refund("203.00")
        terminal.wait(late["approval"]["review_hash"])
        terminal.wait("quit")
        terminal.type("quit")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()
    assert [state(desk, each) for each in (approved, rejected, left, late)] == [
        "approved",
        "rejected",
        "held",
        "held",
    ]
    view = desk.of("agent").get(f"/v1/actions/{rejected['id']}").json()
    assert view["rejection"] == {"reason_code": "wrong_amount", "note": "Too much"}


def test_who_operates_the_agent_is_not_offered_to_approve(desk: Desk) -> None:
    actions = [desk.refund("204.00"), desk.refund("205.00")]
    terminal = Terminal(desk, "Ana")
    try:
        for _ in actions:
            assert not terminal.wait("reject, later, quit").endswith("approve, ")
            terminal.type("a")
    finally:
        terminal.close()
    assert [state(desk, each) for each in actions] == ["held", "held"]


def test_an_agent_s_key_watches_nothing(desk: Desk, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "approvals", "watch", "--json", "--url", desk.url],
        capture_output=True,
        env=environment(INTERLOCK_KEY=desk.tokens["agent"]),
        cwd=tmp_path,
        timeout=30,
        check=False,
    )
    assert done.returncode == 4
    assert json.loads(done.stdout)["status"] == 403
