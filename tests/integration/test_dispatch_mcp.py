"""The mcp connector and a real server of the official library, in its own process, over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from interlock.dispatch.mcp import ENFORCED, McpConnector
from interlock.dispatch.outcome import Failed, Outcome, Succeeded, Unknown
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints
from interlock.policy import McpExecute

SECRET = "sk_live_a1b2c3d4e5f6"
UPSTREAM = Path(__file__).parents[1] / "mcp_upstream.py"
ARGS = {"order_id": "A-12", "amount_usd": "1400.00"}


class Upstream:
    """A server and its book."""

    def __init__(self, book: Path, port: int | None = None) -> None:
        self.book = book
        self.port = port
        self.url = None if port is None else f"http://127.0.0.1:{port}/mcp"

    def file(self, **more: Any) -> str:
        command = [sys.executable, str(UPSTREAM), "stdio", str(self.book)]
        env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        return json.dumps({"command": command, "env": env, **more})

    def lines(self, key: str) -> list[dict[str, Any]]:
        if not self.book.exists():
            return []
        return [line for line in map(json.loads, self.book.read_text().splitlines()) if key in line]


@contextlib.contextmanager
def serving(book: Path) -> Iterator[Upstream]:
    with subprocess.Popen(
        [sys.executable, str(UPSTREAM), "http", str(book)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Upstream(book, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with serving(tmp_path_factory.mktemp("mcp") / "book") as upstream:
        yield upstream


@pytest.fixture(params=["stdio", "http"])
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> Upstream:
    if request.param == "stdio":
        return Upstream(tmp_path / "book")
    found: Upstream = request.getfixturevalue("running")
    found.book.unlink(missing_ok=True)
    return found


@pytest.fixture
def http(running: Upstream) -> Upstream:
    running.book.unlink(missing_ok=True)
    return running


def call(
    upstream: Upstream | str,
    tool: str = "refund",
    args: Any = ARGS,
    *,
    constraints: Constraints = NO_CONSTRAINTS,
    amount_usd: Decimal | None = None,
    timeout_sec: float = 20.0,
    read_only: bool = False,
    file: str | None = None,
    credential: Any = {"crm": f"Bearer {SECRET}"}.get,
    **spec: Any,
) -> Outcome:
    url = upstream if isinstance(upstream, str) else upstream.url
    text = file if isinstance(upstream, str) or file is not None else upstream.file()
    connector = McpConnector(credential, {"crm": text}.get)
    what = McpExecute(url, None if url is not None else "crm", tool, **spec)
    send = connector.send(
        what,
        args,
        constraints,
        key="key-1",
        action="act_1",
        amount_usd=amount_usd,
        timeout_sec=timeout_sec,
        read_only=read_only,
    )
    return asyncio.run(send)


# --- what is called --------------------------------------------------------------------------------------


def test_the_tool_gets_the_approved_arguments_once_with_key_and_action(upstream: Upstream) -> None:
    outcome = call(upstream)
    assert isinstance(outcome, Succeeded), outcome
    assert isinstance(outcome.result, dict)
    assert outcome.result == {
        "content": [{"type": "text", "text": "refunded"}],
        "structuredContent": {"id": "re_1", "amount": "1400.00"},
        "isError": False,
    }
    (seen,) = upstream.lines("tool")
    assert seen == {
        "tool": "refund",
        "args": ARGS,
        "meta": {"interlock/idempotency-key": "key-1", "interlock/action": "act_1"},
    }
    if upstream.url is None:  # over HTTP the server's own library lists them, to check headers
        # Asking for schemas after the effect could only turn a success into something else.
        assert upstream.lines("listed") == []


def test_the_credential_goes_to_the_server_and_nowhere_else(http: Upstream) -> None:
    assert isinstance(call(http, auth="crm"), Succeeded)
    assert {line["authorization"] for line in http.lines("host")} == {f"Bearer {SECRET}"}


def test_a_started_server_gets_its_own_variables_and_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    upstream = Upstream(tmp_path / "book")
    outcome = call(upstream, "echoes", file=upstream.file(credentials={"TOKEN": "crm"}))
    assert isinstance(outcome, Succeeded)
    said = str(outcome.result)
    assert "[credential]" in said
    assert SECRET not in said
    assert "AWS_SECRET_ACCESS_KEY" not in said
    assert "HOME" not in said


def test_what_a_started_server_leaves_behind_is_killed(tmp_path: Path) -> None:
    outcome = call(Upstream(tmp_path / "book"), "forks")
    assert isinstance(outcome, Succeeded)
    assert isinstance(outcome.result, dict)
    child = int(outcome.result["content"][0]["text"])  # type: ignore[index,call-overload]
    until = time.monotonic() + 30
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(child)


def _processes(upstream: Upstream) -> int:
    """How many run a server that writes into this book."""
    found = subprocess.run(["pgrep", "-f", str(upstream.book)], capture_output=True, check=False)
    return len(found.stdout.split())


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# --- what became of it -----------------------------------------------------------------------------------


def test_an_error_result_is_in_doubt_unless_the_catalogue_says_that_it_proves_no_effect(
    http: Upstream,
) -> None:
    doubt = call(http, "refuses")
    assert isinstance(doubt, Unknown)
    assert "there is no such order" in doubt.reason
    proved = call(http, "refuses", error_is_no_effect=True)
    assert isinstance(proved, Failed)
    assert proved.proof == "no_effect_response"


def test_a_protocol_error_is_in_doubt_unless_its_code_is_listed(http: Upstream) -> None:
    assert isinstance(call(http, "protests", {"code": -32602}), Unknown)
    assert isinstance(call(http, "protests", {"code": 4711}, no_effect=(-32602,)), Unknown)
    proved = call(http, "protests", {"code": -32602}, no_effect=(-32602,))
    assert isinstance(proved, Failed)
    assert proved.proof == "no_effect_response"


def test_silence_after_the_call_is_unknown(upstream: Upstream) -> None:
    patience = 1 if upstream.url else 8  # a process has to start first
    outcome = call(upstream, "hangs", constraints=Constraints(max_runtime_sec=patience))
    assert isinstance(outcome, Unknown)
    assert outcome.breach == "max_runtime_sec"
    assert f"no answer within {patience} s" in outcome.reason
    assert _processes(upstream) == (1 if upstream.url else 0)


def test_silence_of_what_only_reads_has_failed(http: Upstream) -> None:
    read = call(http, "hangs", timeout_sec=1, read_only=True)
    assert isinstance(read, Failed)
    assert (read.proof, read.breach) == ("read_only", None)


def test_a_server_that_dies_during_the_call_is_unknown(tmp_path: Path) -> None:
    outcome = call(Upstream(tmp_path / "book"), "dies", error_is_no_effect=True, no_effect=(-32602,))
    assert isinstance(outcome, Unknown), outcome
    with serving(tmp_path / "other") as other:
        over_http = call(other, "dies", error_is_no_effect=True, no_effect=(-32602,))
    assert isinstance(over_http, Unknown), over_http


def test_an_answer_of_100_mb_is_not_read_to_its_end(upstream: Upstream) -> None:
    outcome = call(upstream, "floods", timeout_sec=60)
    assert isinstance(outcome, Unknown), outcome
    assert "within" not in outcome.reason
    assert outcome.breach == "max_bytes"


def test_a_result_larger_than_what_is_kept_is_unknown(http: Upstream) -> None:
    outcome = call(http, "large")
    assert isinstance(outcome, Unknown), outcome
    assert "larger than" in outcome.reason
    assert outcome.breach == "max_bytes"


def test_noise_on_the_wire_is_not_an_answer(tmp_path: Path) -> None:
    outcome = call(Upstream(tmp_path / "book"), "garbage", timeout_sec=10)
    assert isinstance(outcome, Succeeded | Unknown)


def test_a_server_that_wants_more_input_gets_none(http: Upstream) -> None:
    outcome = call(http, "asks")
    assert isinstance(outcome, Unknown), outcome


# --- nothing was sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "",
        "[]",
        '{"command": []}',
        '{"command": ["sh"]}',
        '{"command": ["/bin/sh"], "shell": true}',
        '{"command": ["/nowhere/at/all"]}',
        '{"command": ["/bin/true"]}',
        '{"command": ["/bin/cat", "/dev/zero"]}',
        '{"command": ["/bin/cat"], "cwd": "here"}',
        '{"command": ["/bin/cat"], "env": {"A=B": "x"}}',
    ],
)
def test_a_server_that_cannot_be_started_was_sent_nothing(file: str, tmp_path: Path) -> None:
    outcome = call(Upstream(tmp_path / "book"), file=file, timeout_sec=8)
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof == "nothing_sent"


def test_a_server_that_nobody_configured_is_not_started() -> None:
    connector = McpConnector({}.get, {}.get)
    spec = McpExecute(None, "crm", "refund")
    outcome = asyncio.run(connector.send(spec, {}, NO_CONSTRAINTS, key="k", action="a"))
    assert outcome == Failed("the server crm is not configured here", "nothing_sent")


def test_an_address_that_leads_nowhere_and_a_credential_that_is_missing_send_nothing(http: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nowhere = call(f"http://127.0.0.1:{port}/mcp")
    assert isinstance(nowhere, Failed), nowhere
    assert nowhere.proof == "nothing_sent"
    missing = call(http, auth="other")
    assert missing == Failed("the credential other is not configured here", "nothing_sent")
    assert http.lines("tool") == []


def _answering(answer: bytes) -> tuple[socket.socket, int, list[bytes]]:
    """A server that gives everybody the same answer."""
    listener, seen = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near, contextlib.suppress(OSError):
                seen.append(near.recv(65536))
                near.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listener, listener.getsockname()[1], seen


@pytest.mark.parametrize("status", ["301 Moved", "307 Moved", "308 Moved"])
def test_a_redirect_is_not_followed(http: Upstream, status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nlocation: {http.url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    listener, port, _ = _answering(head.encode())
    with listener:
        outcome = call(f"http://127.0.0.1:{port}/mcp", auth="crm")
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof == "nothing_sent"
    assert http.lines("host") == []


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_server_that_refuses_the_greeting_was_sent_nothing(status: int) -> None:
    answer = f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    listener, port, _ = _answering(answer.encode())
    with listener:
        outcome = call(f"http://127.0.0.1:{port}/mcp")
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof == "nothing_sent"


# --- constraints -----------------------------------------------------------------------------------------


def test_it_enforces_what_it_says() -> None:
    assert {"max_runtime_sec", "network_allowlist", "max_amount_usd"} == ENFORCED


def test_a_host_that_is_not_listed_is_never_opened_and_a_started_server_never_started(
    http: Upstream, tmp_path: Path
) -> None:
    for entries, sent in (((), False), (("localhost",), False), (("127.0.0.1",), True)):
        outcome = call(http, constraints=Constraints(network_allowlist=entries))
        assert isinstance(outcome, Succeeded) is sent, outcome
        if isinstance(outcome, Failed):
            assert (outcome.proof, outcome.breach) == ("nothing_sent", "network_allowlist")
    assert len(http.lines("tool")) == 1
    local = Upstream(tmp_path / "book")
    outcome = call(local, constraints=Constraints(network_allowlist=("127.0.0.1",)))
    assert isinstance(outcome, Failed)
    assert outcome.breach == "network_allowlist"
    assert local.lines("tool") == []


def test_a_listed_name_is_reached_at_the_address_that_was_checked_and_keeps_its_name(http: Upstream) -> None:
    outcome = call(
        f"http://localhost:{http.port}/mcp", constraints=Constraints(network_allowlist=("localhost",))
    )
    assert isinstance(outcome, Succeeded), outcome
    assert {line["host"] for line in http.lines("host")} == {f"localhost:{http.port}"}


def test_of_several_addresses_the_first_that_takes_a_connection_is_used(
    http: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leads(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, http.port)) for address in ("127.0.0.2", "127.0.0.3", "127.0.0.1")]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", leads)
    outcome = call(
        f"http://localhost:{http.port}/mcp", constraints=Constraints(network_allowlist=("localhost",))
    )
    assert isinstance(outcome, Succeeded), outcome


def test_an_amount_over_the_limit_is_never_sent(http: Upstream) -> None:
    limit = Constraints(max_amount_usd=Decimal(100))
    for amount in (None, Decimal("100.01")):
        outcome = call(http, constraints=limit, amount_usd=amount)
        assert isinstance(outcome, Failed)
        assert (outcome.proof, outcome.breach) == ("nothing_sent", "max_amount_usd")
    assert http.lines("tool") == []


def test_a_caller_that_gives_up_leaves_no_process_behind(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "book")

    async def go() -> None:
        connector = McpConnector({}.get, {"crm": upstream.file()}.get)
        spec = McpExecute(None, "crm", "hangs")
        send = connector.send(spec, {}, NO_CONSTRAINTS, key="k", action="a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send, 4)

    asyncio.run(go())
    assert len(upstream.lines("tool")) == 1
    assert _processes(upstream) == 0


def test_neither_arguments_nor_secrets_are_logged(http: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert isinstance(call(http, auth="crm"), Succeeded)
    for word in (SECRET, "A-12", "1400.00", "key-1"):
        assert word not in caplog.text
