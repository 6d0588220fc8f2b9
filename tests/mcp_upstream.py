"""An MCP server for the tests, over stdio or Streamable HTTP, and a book of what took effect.

python mcp_upstream.py stdio BOOK
python mcp_upstream.py http BOOK        prints its port
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

BOOK = Path(sys.argv[2])


def write(**line: Any) -> None:
    with BOOK.open("a") as book:
        book.write(json.dumps(line) + "\n")


def text(said: str, **rest: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=said)], **rest)


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    # Nobody calls this on the way: a schema that no result fits would turn a success into an error.
    write(listed=True)
    schema = {"type": "object", "required": ["never"]}
    return types.ListToolsResult(
        tools=[types.Tool(name="refund", input_schema={"type": "object"}, output_schema=schema)]
    )


async def call_tool(ctx: Any, params: Any) -> Any:
    args = params.arguments or {}
    write(
        tool=params.name,
        args=args,
        meta={k: v for k, v in (ctx.meta or {}).items() if k.startswith("interlock/")},
    )
    match params.name:
        case "refund":
            return text("refunded", structured_content={"id": "re_1", "amount": args.get("amount_usd")})
        case "refuses":
            return text("there is no such order", is_error=True)
        case "protests":
            raise MCPError(code=args["code"], message="no")
        case "hangs":
            await asyncio.sleep(60)
        case "dies":
            os._exit(3)
        case "floods":
            return text("x" * 100_000_000)
        case "large":
            return text("x" * 2_000_000)
        case "garbage":
            sys.stdout.write("not json\n" + "{]\n" * 10)
            sys.stdout.flush()
            return text("after the noise")
        case "echoes":
            return text(f"{os.environ.get('TOKEN')} {sorted(os.environ)} {os.getppid()} {os.getpid()}")
        case "asks":
            ask = types.ElicitRequestFormParams(
                message="sure?", requested_schema={"type": "object", "properties": {}}
            )
            return types.InputRequiredResult(input_requests={"sure": types.ElicitRequest(params=ask)})
        case "forks":
            child = await asyncio.create_subprocess_exec("sleep", "60", stdout=asyncio.subprocess.DEVNULL)
            return text(str(child.pid))
    return text("unknown tool", is_error=True)


server = Server("upstream", on_list_tools=list_tools, on_call_tool=call_tool)


async def over_stdio() -> None:
    async with stdio_server() as (read, send):
        await server.run(read, send, server.create_initialization_options())


def over_http() -> None:
    inner = server.streamable_http_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            write(host=headers.get("host"), authorization=headers.get("authorization"))
        await inner(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        asyncio.run(over_stdio())
    else:
        over_http()
