"""``interlock hook`` as a process: what goes wrong ends with exit code 2, and nothing is let run twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_command import COMMAND, environment

from house import House
from interlock.adapters.claude_code.tools import call_of, effective, topic_of
from interlock.gate import Answer, HumanDecision
from interlock.identity import KeyKind, embedded_caller
from interlock.model.errors import InvalidInput
from server_process import ServerProcess

POLICY = """
interlock: 1
name: coding
people: solo
actions:
  claude.read: {tier: 1}
  claude.web_fetch: {tier: 1, execute: {http: {method: GET, url: "http://127.0.0.1:9/"}}}
  claude.bash: {tier: 3, args: {command: string}}
  claude.mcp.shop.refund:
    tier: 3
    args: {amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
rules:
  - {id: routine, match: {topics: [claude.bash]}, when: 'args.command == "true"', decision: allow}
  - {id: small, match: {topics: [claude.mcp.shop.refund]}, when: args.amount_usd < 50, decision: allow}
  - {id: never, match: {topics: [claude.bash]}, when: 'args.command == "false"', decision: deny}
"""


def event(kind: str = "PreToolUse", **changed: Any) -> dict[str, Any]:
    whole = {
        "session_id": "s-1",
        "hook_event_name": kind,
        "tool_name": "Bash",
        "tool_input": {"command": "true"},
        "tool_use_id": "toolu_1",
    }
    return {name: value for name, value in {**whole, **changed}.items() if value is not None}


def hook(
    given: object, *options: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """One process of the hook, as Claude Code starts it."""
    return subprocess.run(
        [*COMMAND, "hook", *options],
        input=given if isinstance(given, bytes) else json.dumps(given).encode(),
        capture_output=True,
        env=environment(**(env or {})),
        timeout=60,
        check=False,
    )


def answered(done: subprocess.CompletedProcess[bytes]) -> tuple[str, str]:
    """The decision, and the words beside it."""
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)["hookSpecificOutput"]
    assert said["hookEventName"] == "PreToolUse"
    return said["permissionDecision"], said["permissionDecisionReason"]


def blocked(done: subprocess.CompletedProcess[bytes]) -> str:
    assert (done.returncode, done.stdout) == (2, b"")
    words = done.stderr.decode()
    assert words.startswith("Interlock did not let this run: ")
    assert "Traceback" not in words
    return words


@pytest.fixture
def home(open_house: Callable[..., House]) -> House:
    house = open_house(POLICY)
    house.home.roster.first("Ana", by="test")
    return house


def at(house: House) -> tuple[str, str]:
    return "--home", str(house.home.path)


# --- failing closed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"\xff",
        event("SessionStart"),
        event("PreToolUs"),
        event(hook_event_name=None),
        event(session_id=None),
        event(session_id=7),
        event(session_id="a\nb"),
        event(tool_name=None),
        event(tool_name="mcp__nothing"),
        event(tool_name="bash"),
        event(tool_input=None),
        event(tool_input="rm -rf /"),
        event(tool_use_id=None, tool_input=[]),
        event(tool_use_id=""),
        event(tool_input={"command": "true", "unknown": 1}),
        event(tool_input={"command": 7}),
        event(tool_input={"command": "x" * 2_000_000}),
    ],
)
def test_an_event_that_is_not_understood_blocks(home: House, given: object) -> None:
    blocked(hook(given, *at(home)))


@pytest.mark.parametrize(
    "options", [("--nonsense",), ("--home",), ("true",), ("--url", "x", "--key-file", "y")]
)
def test_options_that_are_not_understood_block(options: tuple[str, ...]) -> None:
    blocked(hook(event(), *options))


def test_a_home_that_is_none_blocks(tmp_path: Path) -> None:
    assert "There is no home" in blocked(hook(event(), "--home", str(tmp_path / "home")))
    assert not (tmp_path / "home" / "home.json").exists()


def key(folder: Path, text: str = "ilk_adapter_" + "0" * 32 + "." + "a" * 43, mode: int = 0o600) -> str:
    file = folder / "key"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


def test_a_key_that_others_read_and_one_that_is_no_adapter_s_block(tmp_path: Path) -> None:
    options = ("--url", "http://127.0.0.1:9", "--state", str(tmp_path / "s"), "--key-file")
    assert "can be read by others" in blocked(hook(event(), *options, key(tmp_path, mode=0o644)))
    assert "adapter" in blocked(hook(event(), *options, key(tmp_path, "ilk_person_" + "0" * 32)))
    assert "cannot be read" in blocked(hook(event(), *options, str(tmp_path / "none")))


def test_a_key_is_not_sent_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "s"), "--key-file", key(tmp_path), "--url")
    for url in ("http://192.0.2.1", "http://localhost.example.com", "ftp://localhost", "http://a@localhost"):
        blocked(hook(event(), *options, url))


@contextmanager
def answering(status: int, content: bytes, location: str | None = None) -> Iterator[str]:
    """Something that is no Interlock server."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            if location is not None:
                self.send_header("location", location)
            self.end_headers()
            self.wfile.write(content)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"state": "allowed"}'),
        (200, b'{"id": "act_1", "state": "allowed", "executor": "caller"}'),
        (500, b'{"title": "x"}'),
        (302, b"{}"),
        (401, b'{"type": "urn:interlock:problem:unauthenticated", "title": "x", "detail": "y"}'),
    ],
)
def test_a_server_that_does_not_answer_as_one_blocks(tmp_path: Path, status: int, content: bytes) -> None:
    with answering(status, content, "http://127.0.0.1:9/elsewhere") as url:
        done = hook(event(), "--state", str(tmp_path / "s"), "--key-file", key(tmp_path), "--url", url)
    assert "aaaa" not in blocked(done)


def test_no_server_and_one_that_is_silent_block(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "s"), "--key-file", key(tmp_path), "--url")
    assert "does not answer" in blocked(hook(event(), *options, "http://127.0.0.1:9"))
    short = "from interlock.adapters.claude_code import hook; hook.LIMIT_SEC = 2; "
    short += "import sys; sys.exit(hook.main(sys.argv[1:]))"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", short, *options, url],
            input=json.dumps(event()).encode(),
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert "in time" in blocked(done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_hook_that_is_told_to_end_blocks(tmp_path: Path, number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = ("--state", str(tmp_path / "s"), "--key-file", key(tmp_path), "--url", url)
        process = subprocess.Popen(
            [*COMMAND, "hook", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(event()).encode())
        process.stdin.close()
        process.stdin = None
        silent.settimeout(30)
        asking, _ = silent.accept()
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        asking.close()
    assert (process.returncode, out) == (2, b"")


def test_a_reader_that_is_gone_is_no_answer(home: House) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [*COMMAND, "hook", *at(home)],
        input=json.dumps(event()).encode(),
        stdout=writes,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=60,
        check=False,
    )
    os.close(writes)
    assert done.returncode == 2


# --- once --------------------------------------------------------------------------------------------------


def test_of_many_hooks_about_one_call_one_answers_allow(home: House) -> None:
    with ThreadPoolExecutor(4) as all_at_once:
        done = list(all_at_once.map(lambda _: hook(event(), *at(home)), range(4)))
    assert sorted(answered(each)[0] for each in done) == ["allow", "deny", "deny", "deny"]


def test_a_call_that_ran_is_not_let_run_again_and_its_outcome_is_reported_once(home: House) -> None:
    assert answered(hook(event(), *at(home)))[0] == "allow"
    said = event("PostToolUse", tool_response={}, duration_ms=3)
    for _ in range(2):
        done = hook(said, *at(home))
        assert (done.returncode, done.stdout) == (0, b"")
    decision, words = answered(hook(event(), *at(home)))
    assert decision == "deny"
    assert "has run already, once" in words
    assert answered(hook(event(tool_use_id="toolu_2"), *at(home)))[0] == "allow"


def test_what_ran_with_other_arguments_is_in_doubt(home: House) -> None:
    answered(hook(event(), *at(home)))
    said = event("PostToolUse", tool_input={"command": "rm -rf x"}, tool_response={})
    assert hook(said, *at(home)).returncode == 0
    decision, words = answered(hook(event(tool_use_id="toolu_2"), *at(home)))
    assert decision == "deny"
    assert "doubt" in words.lower()


def test_an_interrupted_command_is_in_doubt_and_an_equal_one_waits_for_a_person(home: House) -> None:
    answered(hook(event(), *at(home)))
    hook(event("PostToolUseFailure", error="Interrupted by user", is_interrupt=True), *at(home))
    assert answered(hook(event(tool_use_id="toolu_2"), *at(home)))[0] == "deny"


def test_reading_may_go_on_while_the_same_read_is_in_doubt(home: House) -> None:
    read = {"tool_name": "Read", "tool_input": {"file_path": "/x"}}
    answered(hook(event(**read), *at(home)))
    hook(event("PostToolUseFailure", error="?", is_interrupt=True, **read), *at(home))
    assert answered(hook(event(**read, tool_use_id="toolu_2"), *at(home)))[0] == "allow"


def test_a_read_that_failed_may_be_tried_again_at_once(home: House) -> None:
    read = {"tool_name": "Read", "tool_input": {"file_path": "/x"}}
    answered(hook(event(**read), *at(home)))
    hook(event("PostToolUseFailure", error="No such file", **read), *at(home))
    assert answered(hook(event(**read, tool_use_id="toolu_2"), *at(home)))[0] == "allow"


def test_that_a_request_was_taken_back_is_told_once_and_then_asked_for_anew(home: House) -> None:
    held = {"tool_input": {"command": "make"}}
    _, words = answered(hook(event(**held), *at(home)))
    action_id = words.rstrip(".").rpartition(" ")[2]
    home.gate.withdraw(action_id, embedded_caller("claude-code"))
    assert "Withdrawn" in answered(hook(event(**held, tool_use_id="toolu_2"), *at(home)))[1]
    _, words = answered(hook(event(**held, tool_use_id="toolu_3"), *at(home)))
    assert words.startswith("Held")
    assert action_id not in words


def test_a_report_nobody_asked_for_is_passed_over(home: House) -> None:
    entries = home.home.journal.head()[0]
    assert hook(event("PostToolUse", tool_response={}), *at(home)).returncode == 0
    assert home.home.journal.head()[0] == entries


def test_what_was_approved_does_not_run_once_the_policy_denies_it(home: House) -> None:
    held = {"tool_input": {"command": "make"}}
    answered(hook(event(**held), *at(home)))
    ((action_id,),) = home.sql("SELECT id FROM actions")
    approval = home.view(action_id, embedded_caller("claude-code"))["approval"]
    yes = HumanDecision(Answer.APPROVE, approval["review_hash"])
    home.gate.decide(approval["id"], home.home.roster.named("Ana").caller, yes)
    home.activate(POLICY.replace('args.command == "false"', 'args.command == "make"'))
    for use_id in ("toolu_2", "toolu_3"):
        decision, words = answered(hook(event(**held, tool_use_id=use_id), *at(home)))
        assert (decision, "Denied" in words) == ("deny", True)


def test_a_denied_call_is_denied_and_a_topic_the_gate_runs_itself_is_not_run_by_claude_code(
    home: House,
) -> None:
    decision, words = answered(hook(event(tool_input={"command": "false"}), *at(home)))
    assert (decision, "Denied" in words) == ("deny", True)
    decision, words = answered(hook(event(tool_name="WebFetch", tool_input={}, tool_use_id="2"), *at(home)))
    assert (decision, "carried out by http" in words) == ("deny", True)


def test_without_a_person_at_the_terminal_a_held_call_is_deferred_unless_told_otherwise(home: House) -> None:
    held = event(tool_input={"command": "make"})
    alone = {"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"}
    assert answered(hook(held, *at(home), env=alone))[0] == "defer"
    assert answered(hook(held, *at(home), "--no-defer", env=alone))[0] == "deny"
    assert answered(hook(held, *at(home), env={"CLAUDE_CODE_ENTRYPOINT": "cli"}))[0] == "deny"


# --- PermissionRequest -------------------------------------------------------------------------------------


def test_a_permission_that_claude_code_asks_for_is_decided_by_the_gate(home: House) -> None:
    asked = event("PermissionRequest", tool_use_id=None)
    done = hook(asked, *at(home))
    assert json.loads(done.stdout)["hookSpecificOutput"]["decision"] == {"behavior": "allow"}
    hook(event("PostToolUse", tool_response={}), *at(home))
    done = hook(event("PermissionRequest", tool_use_id=None, tool_input={"command": "make"}), *at(home))
    assert json.loads(done.stdout)["hookSpecificOutput"]["decision"]["behavior"] == "deny"


def test_a_permission_for_what_the_gate_let_run_is_left_to_the_person_at_the_terminal(home: House) -> None:
    answered(hook(event(), *at(home)))
    done = hook(event("PermissionRequest", tool_use_id=None), *at(home))
    assert (done.returncode, done.stdout) == (0, b"")


# --- tools and topics --------------------------------------------------------------------------------------


def test_no_two_tools_share_a_topic() -> None:
    names = [
        "Bash",
        "WebFetch",
        "Other",
        "other",
        "oTher",
        "mcp__a__b",
        "mcp__a__B",
        "mcp__A__b",
        "mcp__a__b__c",
    ]
    assert len({topic_of(name) for name in names}) == len(names)
    assert topic_of("mcp__git-hub__create_issue") == "claude.mcp.git-hub.create_issue"
    for name in ("bash", "web_fetch", "mcp__", "mcp__a", "mcp____b"):
        with pytest.raises(InvalidInput):
            topic_of(name)


def test_an_amount_that_was_approved_reaches_the_tool_as_the_number_it_was() -> None:
    call = call_of(event(tool_name="mcp__shop__refund", tool_input={"amount_usd": 12.5, "note": "x"}))
    assert effective(call, {"amount_usd": "12.50", "note": "x"}) == call.given
    assert effective(call, {"amount_usd": "9.00", "note": "y"}) == {"amount_usd": 9.0, "note": "y"}


def test_a_command_s_own_description_is_no_part_of_what_is_asked() -> None:
    one = call_of(event(tool_input={"command": "make", "description": "Build"}))
    assert (one.args, one.words) == ({"command": "make"}, "Build")
    assert effective(one, {"command": "make all"}) == {"command": "make all", "description": "Build"}


def test_behind_a_server_only_an_adapter_s_key_with_the_topic_lets_run(home: House, tmp_path: Path) -> None:
    with ServerProcess(home.home.path) as server:
        for topics, code in ((["claude.**"], 0), (["other.**"], 2)):
            _, token = home.home.keyring.add(KeyKind.ADAPTER, "claude-code", topics=topics, by="test")
            options = (
                "--url",
                server.url,
                "--state",
                str(tmp_path / "s"),
                "--key-file",
                key(tmp_path, token),
            )
            done = hook(event(tool_use_id=f"toolu_{code}"), *options)
            assert done.returncode == code, done.stderr
