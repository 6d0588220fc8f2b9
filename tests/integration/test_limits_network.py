"""Addresses in disguise: what a listed host leads to is looked at, however it is written."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from interlock.dispatch.http import HttpConnector
from interlock.dispatch.mcp import McpConnector
from interlock.dispatch.outcome import Failed, Outcome
from interlock.dispatch.sql import SqlConnector
from interlock.model.verdicts import Constraints
from interlock.policy import HttpExecute, McpExecute, SqlExecute

NONE: dict[str, str] = {}
"""No credentials and no servers."""


class Listener:
    """Counts who connects, and hangs up."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connected = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            self.connected += 1
            near.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.socket.close()


def send(kind: str, host: str, port: int, *entries: str) -> Outcome:
    limits = Constraints(network_allowlist=entries or (host,), max_runtime_sec=10)
    if kind == "http":
        spec = HttpExecute("POST", f"http://{host}:{port}/x")
        return asyncio.run(HttpConnector(NONE.get).send(spec, {}, limits, key="k", action="a"))
    if kind == "mcp":
        upstream = McpExecute(f"http://{host}:{port}/mcp", None, "send")
        return asyncio.run(McpConnector(NONE.get, NONE.get).send(upstream, {}, limits, key="k", action="a"))
    statement = SqlExecute("shop", "DELETE FROM orders", None, 5, read_only=False)
    url = f"postgresql://someone@{host}:{port}/x?sslmode=disable"
    return asyncio.run(SqlConnector({"shop": url}.get).send(statement, {}, limits))


@pytest.mark.parametrize("kind", ["http", "mcp", "sql"])
@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1", "0", "localhost.", "127.0.0.1."]
)
def test_a_number_that_is_loopback_is_loopback_in_every_spelling(
    kind: str, host: str, listener: Listener
) -> None:
    outcome = send(kind, host, listener.port)
    assert isinstance(outcome, Failed), outcome
    assert outcome.proof == "nothing_sent"
    assert listener.connected == 0


@pytest.mark.parametrize("kind", ["http", "mcp"])
@pytest.mark.parametrize(
    "host", ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::]", "0.0.0.0", "127.0.0.1"]
)
def test_an_address_is_reached_only_where_that_address_is_listed(
    kind: str, host: str, listener: Listener
) -> None:
    for entries in (("api.example.com",), ("10.0.0.0/8",), ("localhost",), (f"{host}:1",)):
        outcome = send(kind, host, listener.port, *entries)
        assert isinstance(outcome, Failed), outcome
        assert outcome.breach == "network_allowlist"
    assert listener.connected == 0


@pytest.mark.parametrize("kind", ["http", "mcp", "sql"])
@pytest.mark.parametrize(
    "leads",
    [
        ("127.0.0.1",),
        ("0.0.0.0",),
        ("::ffff:127.0.0.1",),
        ("::ffff:10.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("fe80::1%eth0",),
        ("8.8.8.8", "127.0.0.1"),
    ],
)
def test_a_name_that_leads_inside_is_not_connected_to(
    kind: str, leads: tuple[str, ...], listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, port: int, *args: object, **rest: object) -> list[object]:
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in leads
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = send(kind, "api.example.com", listener.port)
    assert isinstance(outcome, Failed), outcome
    assert (outcome.proof, outcome.breach) == ("nothing_sent", "network_allowlist")
    assert listener.connected == 0


@pytest.mark.parametrize("kind", ["http", "mcp", "sql"])
def test_a_name_that_leads_elsewhere_a_moment_later_was_asked_once(
    kind: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is inside the listed range; every later one is the cloud's metadata service."""
    asked: list[str] = []

    def resolve(host: str, port: int, *args: object, **rest: object) -> list[object]:
        asked.append(host)
        leads = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    send(kind, "api.example.com", listener.port, "api.example.com", "127.0.0.0/8")
    named = [host for host in asked if "api" in str(host)]
    assert len(named) == 1
    assert listener.connected >= 1
