"""The gateway over HTTP: who has no key of an agent or an adapter gets nothing, and a key's topics count.

A server that is reached over HTTP stands behind it as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from house import House
from interlock.identity import KeyKind
from mcp_gate import BANK, LARGE, MODES, POLICY, TOKEN, Bank, said

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def bank(open_house: Callable[..., House], tmp_path: Path) -> Bank:
    found = Bank(open_house(POLICY), tmp_path)
    found.accept()
    return found


@contextlib.contextmanager
def listening(bank: Bank) -> Iterator[str]:
    """The URL of a gateway in a process of its own."""
    command = [sys.executable, "-m", "interlock.cli", "mcp", "--home", str(bank.home.path), "--http"]
    command += ["--port", "0", "--no-serve", "--wait", "0", "--server", "bank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "http://" in line:
                yield line.split()[-1]
                break
        else:
            raise AssertionError("it did not start")
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(20)


def key(
    bank: Bank, kind: KeyKind = KeyKind.AGENT, topics: tuple[str, ...] = ("bank.**",), name: str = "bot"
) -> str:
    return bank.home.keyring.add(kind, name, topics=topics, by="test")[1]


def connected(url: str, token: str | None, mode: str, **headers: str) -> Client:
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    client = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30)
    return Client(streamable_http_client(url, http_client=client), mode=mode)


def test_both_generations_are_served_and_a_held_call_runs_once(bank: Bank) -> None:
    token = key(bank)

    async def use(url: str, mode: str) -> None:
        async with connected(url, token, mode) as client:
            assert said(await client.call_tool("balance", {"account": "a"})) == "42"
            held = (await client.call_tool("refund", {**LARGE, "order_id": mode})).structured_content
            assert held["status"] == "held"
        await asyncio.to_thread(bank.approve, held["action"], "bot")
        async with connected(url, token, mode) as client:
            found = await client.call_tool("interlock_result", {"action": held["action"]})
            assert found.structured_content == {"id": "re_1"}

    with listening(bank) as url:
        for mode in MODES:
            asyncio.run(use(url, mode))
    assert len(bank.book(tool="refund")) == 2


def test_nothing_is_told_without_a_key_that_proposes(bank: Bank) -> None:
    revoked, token = bank.home.keyring.add(KeyKind.AGENT, "gone", topics=("*",), by="test")
    bank.home.keyring.revoke(revoked.id, by="test")
    _, person = bank.home.keyring.add(KeyKind.PERSON, "Ana", by="test", person=bank.person)
    executor = key(bank, KeyKind.EXECUTOR, name="mover")
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream"}
    with listening(bank) as url, httpx2.Client(trust_env=False) as client:
        for wrong in (None, "", "Bearer x", f"Bearer {token}", f"Bearer {person}", f"Bearer {executor}"):
            headers = accept if wrong is None else {**accept, "authorization": wrong}
            assert client.post(url, json=hello, headers=headers).status_code == 401
        good = {**accept, "authorization": f"Bearer {key(bank)}"}
        assert client.post(url, json=hello, headers={**good, "host": "evil.example"}).status_code == 421
        assert (
            client.post(url, json=hello, headers={**good, "origin": "https://evil.example"}).status_code
            == 403
        )
    assert not bank.book()


@pytest.mark.parametrize("mode", MODES)
def test_a_keys_topics_are_all_that_it_sees_and_calls(bank: Bank, mode: str) -> None:
    token, other = key(bank, topics=("bank.balance",)), key(bank, name="other")

    async def use(url: str) -> None:
        async with connected(url, other, mode) as client:
            held = (await client.call_tool("refund", LARGE)).structured_content["action"]
        async with connected(url, token, mode) as client:
            names = [each.name for each in (await client.list_tools()).tools]
            assert names == ["balance", "interlock_result", "interlock_ask"]
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool("refund", {"order_id": "A", "amount_usd": 5})
            found = await client.call_tool("interlock_result", {"action": held})
            assert found.is_error  # another agent's

    with listening(bank) as url:
        asyncio.run(use(url))
    assert not bank.book(tool="refund")


def test_a_key_that_is_revoked_ends_the_session_that_it_began(bank: Bank) -> None:
    made, token = bank.home.keyring.add(KeyKind.AGENT, "bot", topics=("bank.**",), by="test")

    async def use(url: str) -> None:
        async with connected(url, token, "legacy") as client:
            await client.call_tool("balance", {"account": "a"})
            await asyncio.to_thread(lambda: bank.home.keyring.revoke(made.id, by="test"))
            with pytest.raises(MCPError):
                await client.call_tool("balance", {"account": "b"})

    with listening(bank) as url, contextlib.suppress(MCPError, ExceptionGroup):
        asyncio.run(use(url))
    assert [line["args"]["account"] for line in bank.book(tool="balance")] == ["a"]


def test_a_server_over_http_gets_its_credential_and_the_client_never_does(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    command = [sys.executable, str(BANK), "http", str(tmp_path / "web")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        headers = {"Authorization": f"Bearer {TOKEN}"}
        bank.servers.clear()
        bank.behind("bank", type="http", url=f"http://127.0.0.1:{port}/mcp", headers=headers)
        bank.accept()

        async def use(client: Client) -> Any:
            assert TOKEN not in str(await client.list_tools())
            return await client.call_tool("balance", {"account": "a"})

        assert said(bank.run(use, "auto")) == "42"
        lines = [json.loads(line) for line in (tmp_path / "web" / "book").read_text().splitlines()]
        assert {line["authorization"] for line in lines if "authorization" in line} == {f"Bearer {TOKEN}"}
        assert len([line for line in lines if line.get("tool") == "balance"]) == 1
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(10)
