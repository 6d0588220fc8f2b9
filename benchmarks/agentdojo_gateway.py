"""An agent of the MCP gateway for `agentdojo.py --through gateway`: `interlock mcp` before a suite's tools.

A suite's tools are an MCP server over HTTP in this process, where their environment is. The gateway is a
process of its own over stdio, the agent its client. What is held is answered in the home; then
`interlock_result` gives what the call came to. One gateway serves all tasks of a run.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.server.lowlevel import Server

from interlock.adapters.mcp.look import look
from interlock.adapters.mcp.servers import read_servers
from interlock.home import Home

Run = Callable[[str, dict[str, Any]], Any]


class Gateway:
    """A gateway in front of a suite's tools, and a client of it.

    Args:
        name: of the server, and so the first part of every topic. tools: AgentDojo's, by the names that they
            have here. home: the gateway's, and everybody's.
    """

    def __init__(self, name: str, tools: Mapping[str, Any], home: Path) -> None:
        self._name = name
        self._tools = tools
        self._home = home
        self.run: Run
        """Carries out a call of the task that is played now."""
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._ready: Future[Client] = Future()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        self._client = self._ready.result(120)

    def call(self, tool: str, args: Mapping[str, Any], ask: Callable[[str], None]) -> tuple[str, bool, bool]:
        """What the agent reads of a call; whether it was held; whether the gate, or a person, refused it."""
        found = self._wait(self._client.call_tool(tool, dict(args)))
        said = found.structured_content or {}
        held = said.get("status") == "held"
        if held:
            ask(said["approval"])
            found = self._wait(self._client.call_tool("interlock_result", {"action": said["action"]}))
        return " ".join(part.text for part in found.content), held, bool(found.is_error)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def _wait(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(120)

    async def _serve(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                listener = socket.create_server(("127.0.0.1", 0))
                config = uvicorn.Config(self._server().streamable_http_app(), log_level="error")
                server = uvicorn.Server(config)
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                await self._accept(listener.getsockname()[1])
                behind = ["--home", str(self._home), "--server", self._name, "--agent", "assistant"]
                options = ["-m", "interlock.cli", "mcp", *behind, "--wait", "0", "--no-serve"]
                client = Client(StdioServerParameters(command=sys.executable, args=options), cache=None)
                self._ready.set_result(await stack.enter_async_context(client))
                await self._over.wait()
            server.should_exit = True
            await serving
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    async def _accept(self, port: int) -> None:
        file = self._home / "mcp.json"
        entry = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}
        file.write_text(json.dumps({"mcpServers": {self._name: entry}}))
        file.chmod(0o600)
        home = await asyncio.to_thread(Home.open, self._home)
        try:
            found = await look(home, read_servers(self._home))
            home.tools.accept({each.known.topic: each.known.hash for each in found.tools}, by="benchmark")
        finally:
            await asyncio.to_thread(home.close)

    def _server(self) -> Server[Any]:
        async def listed(_ctx: Any, _params: Any) -> types.ListToolsResult:
            return types.ListToolsResult(
                tools=[
                    types.Tool(
                        name=name,
                        description=tool.description,
                        input_schema=tool.parameters.model_json_schema(),
                    )
                    for name, tool in self._tools.items()
                ]
            )

        async def called(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            result = self.run(params.name, dict(params.arguments or {}))
            return types.CallToolResult(content=[types.TextContent(type="text", text=str(result))])

        return Server(self._name, on_list_tools=listed, on_call_tool=called)


_standing: dict[Path, Gateway] = {}


def gateway(name: str, tools: Mapping[str, Any], home: Path) -> Gateway:
    """The gateway of a home; started with the first task."""
    if home not in _standing:
        _standing[home] = Gateway(name, tools, home)
    return _standing[home]


def finish(home: Path) -> None:
    """End the gateway of a home, where one was started."""
    if home in _standing:
        _standing.pop(home).close()
