"""What the MCP gateway adds to an allowed, read-only call, beside a proxy that decides nothing.

    uv run python benchmarks/adapters_gateway.py [--calls 400] [--json]

One client process calls the same tool of the same small server in three ways, over stdio, in turn: directly,
through `interlock mcp` (the call is proposed, claimed and settled in a durable journal of its own), and
through a fastmcp proxy. Milliseconds by way: the tenth percentile and the median, and what each adds to the
direct call. The exit code is 1 where the gateway's books do not have every call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from interlock.adapters.mcp.look import look
from interlock.adapters.mcp.servers import read_servers
from interlock.demo import audit
from interlock.home import Home
from interlock.policy import parse

BANK = Path(__file__).resolve().parents[1] / "tests" / "mcp_bank.py"
POLICY = "interlock: 1\nname: bench\nactions:\n  bank.balance: {tier: 1, args: {account: string}}\n"
PROXY = """
import sys
from fastmcp.server import create_proxy
create_proxy({"mcpServers": {"bank": {"command": sys.argv[1], "args": sys.argv[2:]}}}).run(show_banner=False)
"""
WARM = 20


def _home(folder: Path, server: list[str]) -> Path:
    home = folder / "home"
    opened = Home.open(home, policy=parse({"policy.yaml": POLICY}), by="bench")
    try:
        file = home / "mcp.json"
        entry = {"command": server[0], "args": server[1:]}
        file.write_text(json.dumps({"mcpServers": {"bank": entry}}))
        file.chmod(0o600)
        found = asyncio.run(look(opened, read_servers(home)))
        opened.tools.accept({each.known.topic: each.known.hash for each in found.tools}, by="bench")
    finally:
        opened.close()
    return home


async def _measure(ways: dict[str, list[str]], calls: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    async with AsyncExitStack() as stack:
        clients = {}
        for name, (command, *args) in ways.items():
            server = StdioServerParameters(command=command, args=args)
            client = await stack.enter_async_context(Client(server, cache=None))
            # Whatever a proxy calls it.
            tools = [each.name for each in (await client.list_tools()).tools]
            clients[name] = client, next(each for each in tools if each.endswith("balance"))
        for number in range(calls + WARM):
            for name, (client, tool) in clients.items():
                began = time.perf_counter()
                found = await client.call_tool(tool, {"account": f"a-{number}"})
                if number >= WARM:
                    took[name].append((time.perf_counter() - began) * 1e3)
                assert not found.is_error, found
    return took


def measure(calls: int) -> dict[str, Any]:
    """Measure, in one run. `complete` says whether the journal has every call as succeeded."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        folder = Path(name)
        (folder / "proxy.py").write_text(PROXY)
        server = [sys.executable, str(BANK), "stdio", str(folder)]
        home = _home(folder, server)
        gateway = ["-m", "interlock.cli", "mcp", "--home", str(home), "--server", "bank", "--no-serve"]
        ways = {
            "direct": server,
            "gateway": [sys.executable, *gateway],
            "fastmcp": [sys.executable, str(folder / "proxy.py"), *server],
        }
        took = asyncio.run(_measure(ways, calls))
        opened = Home.open(home, by="bench")
        states = Counter(one.state.value for one in audit.read(opened))
        opened.close()
    p10 = {way: statistics.quantiles(each, n=10)[0] for way, each in took.items()}
    median = {way: statistics.median(each) for way, each in took.items()}
    return {
        "calls": calls,
        "p10_ms": {way: round(found, 3) for way, found in p10.items()},
        "median_ms": {way: round(found, 3) for way, found in median.items()},
        "added_p10_ms": {way: round(p10[way] - p10["direct"], 3) for way in ("gateway", "fastmcp")},
        "added_median_ms": {way: round(median[way] - median["direct"], 3) for way in ("gateway", "fastmcp")},
        "complete": states == {"succeeded": calls + WARM},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.calls)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for way, p10 in found["p10_ms"].items():
            print(f"{way:8} p10 {p10:8.3f} ms   median {found['median_ms'][way]:8.3f} ms")
        print(f"added p10, ms: {found['added_p10_ms']}; complete: {found['complete']}")
    return 0 if found["complete"] else 1


if __name__ == "__main__":
    sys.exit(main())
