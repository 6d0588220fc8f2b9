"""A service that misbehaves, in a process of its own, and the book of what it was asked.

python hostile.py BOOK          prints its port, one where connecting never ends, and one that babbles

The first segment of a path says how it misbehaves: ``POST /reset`` is reset. Under ``/mcp/`` it is an MCP
server that greets as one does and misbehaves when a tool is called. What does not begin like HTTP (the client
of a database, say) is left hanging. Each line of the book is one request that arrived: its behaviour, its
key, and, once it has been answered, how many bytes were sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
MEGABYTE = 1 << 20
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
RETRY_AFTER = {
    "zero": "0",
    "past": "Wed, 21 Oct 2015 07:28:00 GMT",
    "hour": "3600",
    "negative": "-5",
    "huge": "9" * 40,
    "float": "1e1",
    "never": "Fri, 31 Dec 9999 23:59:59 GMT",
    "overflow": "Wed, 21 Oct M026 07:28:90 +9999999999",
    "garbage": "soon; please\x01",
    "none": "",
}


async def forever() -> None:
    await asyncio.sleep(3600)


async def _answer(send: Send, status: int, body: bytes = b"{}", *headers: str) -> None:
    head = [
        f"HTTP/1.1 {status} X",
        f"content-length: {len(body)}",
        "content-type: application/json",
        "connection: close",  # said, not only done: or the next request may be sent into the closing
        *headers,
    ]
    await send("\r\n".join(head).encode() + b"\r\n\r\n" + body)


async def misbehave(how: str, send: Send, writer: asyncio.StreamWriter, asked: int = 1) -> None:
    """Everything that happens after the request was read. `asked`: how often this was asked for by now."""
    match how.split("-"):
        case ["well"]:
            await _answer(send, 200)
        case ["hang", "headers"]:
            await forever()
        case ["hang", "half", "headers"]:
            await send(OK + b"content-le")
            await forever()
        case ["hang", "body"]:
            await send(OK + b"content-length: 10\r\n\r\n")
            await forever()
        case ["hang", "half", "body"]:
            await send(OK + b"content-length: 10\r\n\r\n{}")
            await forever()
        case ["trickle", "headers"]:
            for byte in OK + b"x: y\r\n" * 1000:
                await send(bytes([byte]))
                await asyncio.sleep(0.2)
        case ["trickle", "body"]:
            await send(OK + b"content-length: 1000\r\n\r\n")
            for _ in range(1000):
                await send(b" ")
                await asyncio.sleep(0.2)
        case ["close", "at", "once"]:
            return
        case ["close", "half", "headers"]:
            await send(OK + b"content-le")
        case ["close", "half", "body"]:
            await send(OK + b'content-length: 10\r\n\r\n{"ok')
        case ["close", "half", "chunk"]:
            await send(OK + b"transfer-encoding: chunked\r\n\r\n10\r\nhalf")
        case ["reset"]:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        case ["status", status]:
            await _answer(send, int(status), b'{"error": "no"}')
        case ["busy", word]:
            await _answer(send, 429, b"{}", f"retry-after: {RETRY_AFTER[word]}")
        case ["garbage"]:
            await send(bytes(range(256)) * 16)
        case ["not", "http"]:
            await send(b"220 smtp.example ESMTP\r\n")
        case ["bad", "header"]:
            await send(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n")
        case ["length", "short"]:
            await send(OK + b"content-length: 2\r\n\r\n{}" + b"HTTP/1.1 500 X\r\n\r\n")
        case ["length", "negative"]:
            await send(OK + b"content-length: -5\r\n\r\n{}")
        case ["length", "twice"]:
            await send(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x")
        case ["length", "huge"]:
            await send(OK + b"content-length: 99999999999999999999\r\n\r\n{}")
        case ["headers", "endless"]:
            await send(OK)
            while True:
                await send(b"x-more: " + b"y" * 8000 + b"\r\n")
        case ["interim", "endless"]:
            while True:
                await send(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" * 100)
        case ["flood"]:
            await send(OK + b"content-length: 104857600\r\n\r\n")
            for _ in range(100):
                await send(b"x" * MEGABYTE)
        case ["flood", "once"]:
            await misbehave("well" if asked > 1 else "flood", send, writer)
        case ["flood", "chunked"]:
            await send(OK + b"transfer-encoding: chunked\r\n\r\n")
            while True:
                await send(b"100000\r\n" + b"x" * MEGABYTE + b"\r\n")
        case ["bomb"]:
            packed = gzip.compress(bytes(100 * MEGABYTE), 9)
            head = b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
            await send(OK + head + packed)
        case ["leak"]:
            await _answer(send, 200, b"Bearer sk_live_a1b2c3d4e5f6" * 2)
        case ["nested"]:
            await _answer(send, 200, b"[" * 400_000 + b"]" * 400_000)
        case ["redirect"]:
            port = writer.get_extra_info("sockname")[1]
            await _answer(send, 307, b"", f"location: http://127.0.0.1:{port}/well")
        case ["switch"]:
            await send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
        case _:
            await _answer(send, 404)


def greeting(request: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of an MCP server to whatever comes before a tool's call; None for a notification."""
    if "id" not in request:
        return None
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] == "initialize":
        info = {"name": "hostile", "version": "1"}
        version = request["params"]["protocolVersion"]
        return answer | {
            "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        }
    return answer | {"error": {"code": -32601, "message": "no such method"}}


async def over_mcp(how: str, body: bytes, send: Send, writer: asyncio.StreamWriter) -> bool:
    """Whether it was a tool's call, to which it misbehaves."""
    try:
        request = json.loads(body)
    except ValueError:
        request = {}
    if request.get("method") != "tools/call" and not how.startswith("greet-"):
        answer = greeting(request) if "method" in request else None
        if answer is None:
            await send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            await _answer(send, 200, json.dumps(answer).encode())
        return False
    reply = {"jsonrpc": "2.0", "id": request.get("id")}
    match how.removeprefix("greet-").split("-"):
        case ["well"]:
            done = {"content": [{"type": "text", "text": "done"}], "isError": False}
            await _answer(send, 200, json.dumps(reply | {"result": done}).encode())
        case ["stream", "silent"]:
            await send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            await forever()
        case ["stream", "ends"]:
            await send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: bye\n\n")
        case ["stream", "endless"]:
            await send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            note = {
                "jsonrpc": "2.0",
                "method": "notifications/message",
                "params": {"level": "info", "data": "x"},
            }
            while True:
                await send(b"event: message\ndata: " + json.dumps(note).encode() + b"\n\n")
        case ["other", "id"]:
            await _answer(send, 200, json.dumps(reply | {"id": 4711, "result": {"content": []}}).encode())
        case ["no", "result"]:
            await _answer(send, 200, json.dumps(reply | {"result": {"content": "well"}}).encode())
        case ["both"]:
            both = {"result": {"content": []}, "error": {"code": 1, "message": "x"}}
            await _answer(send, 200, json.dumps(reply | both).encode())
        case _:
            await misbehave(how.removeprefix("greet-"), send, writer)
    return True


class Book:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **line: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self, key: str) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [line for line in map(json.loads, self.path.read_text().splitlines()) if key in line]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, book: Book) -> None:
    sent = 0

    async def send(data: bytes) -> None:
        nonlocal sent
        writer.write(data)
        await writer.drain()
        sent += len(data)

    book.write(connected=True)
    how = ""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        how = head.split(" ")[1].strip("/")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        key = fields.get("idempotency-key")
        if how.startswith("mcp/"):
            called = b'"tools/call"' in body
            if called or how.startswith("mcp/greet-"):
                book.write(asked=how, key=key, called=called)
            await over_mcp(how.removeprefix("mcp/"), body, send, writer)
        else:
            book.write(asked=how.split("/")[0], path=how, key=key, head=head)
            asked = sum(line["asked"] == how for line in book.lines("asked"))
            await misbehave(how.split("/")[0], send, writer, asked)
    book.write(sent=sent, how=how)
    writer.close()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read(1)
        writer.write(bytes(range(256)) * 64)
        await writer.drain()
    writer.close()


async def main(book: Book) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, book), "127.0.0.1", 0, limit=MEGABYTE
    )
    # Nobody accepts here, and the queue of those who wait is full.
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(deaf.getsockname())
        waiting.append(one)
    babbling = await asyncio.start_server(babble, "127.0.0.1", 0)
    ports = (server.sockets[0], deaf, babbling.sockets[0])
    print(*(one.getsockname()[1] for one in ports), flush=True)
    await server.serve_forever()


class Hostile:
    """The process, for tests."""

    def __init__(self, book: Path, port: int, deaf: int, babbles: int) -> None:
        self.book = Book(book)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.deaf_port = deaf
        self.babbles = babbles
        self.deaf = f"http://127.0.0.1:{deaf}"

    def asked(self, how: str) -> int:
        """How many requests for this arrived."""
        return sum(line["asked"] == how for line in self.book.lines("asked"))

    def sent(self, how: str) -> int:
        """Bytes it could send for this, once it has noticed that nobody reads."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            found = [line["sent"] for line in self.book.lines("sent") if line["how"] == how]
            if found:
                return int(found[-1])
            time.sleep(0.02)
        raise AssertionError(f"{how} is still being answered")


@contextlib.contextmanager
def serving(book: Path) -> Iterator[Hostile]:
    with subprocess.Popen(
        [sys.executable, __file__, str(book)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Hostile(book, *map(int, process.stdout.readline().split()))
        finally:
            process.kill()


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main(Book(Path(sys.argv[1]))))
