"""The client at this process's standard input and output, without a thread for each line.

1. While the protocol has them, descriptors 0 and 1 lead nowhere and to standard error: what code and children
   of this process print stands in no message.
2. A pipe is read when it has something, by the event loop. A line is written at once where the pipe takes it
   without waiting, and otherwise in a thread, so that a client that does not read holds up nobody.
3. What is neither pipe nor socket (a terminal, a file) is left to the library's own transport, as is what
   becomes of the lines.

Source: Model Context Protocol 2025-11-25 and 2026-07-28, stdio transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
from collections.abc import AsyncIterator
from typing import Any, cast

from mcp.server.stdio import stdio_server

CHUNK = 1 << 16


@contextlib.asynccontextmanager
async def standard_streams() -> AsyncIterator[tuple[Any, Any]]:
    """Read and write streams, as the library's server takes them."""
    if not (_piped(0) and _piped(1)):
        async with stdio_server() as streams:
            yield streams
        return
    heard, said = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    lines = Lines(heard)
    try:
        # The library asks for files and reads lines of the one, writes and flushes the other.
        async with stdio_server(cast(Any, lines), cast(Any, Sink(said))) as streams:
            yield streams
    finally:
        lines.close()
        os.dup2(said, 1)
        os.dup2(heard, 0)
        os.close(said)
        os.close(heard)


def _piped(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Lines:
    """The lines of a pipe, in order, until it ends. For one reader, in one event loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._loop.add_reader(descriptor, self._ready.set)
        self._parts: list[bytes] = []
        self._whole: list[bytes] = []

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        while not self._whole:
            await self._ready.wait()
            self._ready.clear()
            if not self._poll.poll(0):
                continue  # the loop says it again until somebody has read
            found = os.read(self._descriptor, CHUNK)
            if not found:
                self.close()
                self._ready.set()
                if not self._parts:
                    raise StopAsyncIteration
                found = b"\n"  # the last line has no end
            first, *rest = found.split(b"\n")
            self._parts.append(first)
            if rest:
                self._whole = [b"".join(self._parts), *rest[:-1]][::-1]
                self._parts = [rest[-1]] if rest[-1] else []
        return self._whole.pop().decode("utf-8", "replace")

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)


class Sink:
    """What takes the lines."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    async def write(self, text: str) -> None:
        line = text.encode()
        # So much is taken at once by whatever says that it is ready.
        if len(line) <= select.PIPE_BUF and any(event == select.POLLOUT for _, event in self._poll.poll(0)):
            with contextlib.suppress(BlockingIOError):
                line = line[os.write(self._descriptor, line) :]
        if line:
            await asyncio.to_thread(self._write, line)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:
                self._poll.poll()

    async def flush(self) -> None:
        """Nothing waits."""
