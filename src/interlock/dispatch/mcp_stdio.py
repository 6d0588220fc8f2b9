"""MCP servers that this machine starts: who may be started, and how they are talked to.

1. What is started is said in the home, in ``servers/<name>.json``, by whoever keeps this machine. A policy
   only names it: a reviewed file can choose a tool, not a program.
2. Each call has a process of its own, in a session of its own. It gets `PATH`, what its file says, and the
   credentials its file names, fetched at execution; nothing else of this environment.
3. A message is a line of at most `cap` bytes; a longer one ends the conversation. What it writes to its
   standard error is thrown away.
4. Afterwards its input is closed; it has `GRACE_SEC` to leave, then it and everything it started is killed.

Source: Model Context Protocol 2025-11-25 and 2026-07-28, stdio transport.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, TypeAlias

import anyio
import mcp_types
from mcp.shared.message import SessionMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.dispatch.limits import NotSent
from interlock.model.canonical import parse_json
from interlock.model.errors import HomeUnusable, InvalidInput
from interlock.model.text import visible

GRACE_SEC = 1.0
_Variable: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


class StdioServer(BaseModel):
    """One server.

    Attributes:
        command: the program by its absolute path, and its arguments.
        cwd: where it runs; absolute.
        env: variables by name. credentials: variables whose values are credentials, by the credential's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    cwd: Annotated[str, Field(pattern="^/")] = "/"
    env: dict[_Variable, str] = Field(default={})
    credentials: dict[_Variable, str] = Field(default={})

    @classmethod
    def read(cls, name: str, text: str) -> StdioServer:
        """From the file's text. Raises `HomeUnusable`."""
        try:
            found = cls.model_validate(parse_json(text.encode()))
        except (InvalidInput, ValidationError):
            found = None
        if found is None or not found.command[0].startswith("/"):
            raise HomeUnusable(
                f"servers/{visible(name, 64)}.json does not say a command by its absolute path."
            )
        return found


class Conversation:
    """What became of the process, where the protocol does not say."""

    def __init__(self) -> None:
        self.trouble = ""
        self.too_long = False

    def over(self) -> None:
        """It said more than is read."""
        self.trouble, self.too_long = "it sent more than is read", True


@asynccontextmanager
async def started(
    server: StdioServer, secrets: Mapping[str, str], cap: int, conversation: Conversation
) -> AsyncIterator[tuple[Any, Any]]:
    """The streams of a process that was just started, as the library's client takes them.

    Raises:
        NotSent: it cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *server.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=server.cwd,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **server.env, **secrets},
            start_new_session=True,
            limit=cap,
        )
    except (OSError, ValueError) as error:
        raise NotSent(f"the server cannot be started ({type(error).__name__})") from None
    heard, hear = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    say, said = anyio.create_memory_object_stream[SessionMessage](0)
    listening = asyncio.create_task(_listen(process, heard, conversation))
    speaking = asyncio.create_task(_speak(process, said, heard))
    try:
        yield hear, say
    finally:
        for stream in (hear, say):
            stream.close()
        speaking.cancel()
        ending = asyncio.create_task(_end(process, listening))
        with anyio.CancelScope(shield=True):  # else a timeout would cancel each wait anew
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                # Whoever gave up does not wait out the grace.
                _kill(process)
                await ending
                raise
            finally:
                await asyncio.gather(listening, speaking, return_exceptions=True)
                for end in (heard, said):
                    end.close()


async def _listen(process: asyncio.subprocess.Process, heard: Any, conversation: Conversation) -> None:
    """Hand on what it says, then read on to the end: a process whose pipe is full does not end."""
    assert process.stdout is not None
    with heard:
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                conversation.over()
                _kill(process)
                break
            if not line:
                conversation.trouble = "it ended"
                return
            try:
                message: Any = SessionMessage(
                    mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                )
            except ValueError as error:
                message = error
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await heard.send(message)
    while await process.stdout.read(1 << 16):
        pass


async def _speak(process: asyncio.subprocess.Process, said: Any, heard: Any) -> None:
    assert process.stdin is not None
    try:
        async for message in said:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
    except (ConnectionError, RuntimeError):
        # Whoever waits for an answer learns that none will come.
        heard.close()


async def _end(process: asyncio.subprocess.Process, listening: asyncio.Task[None]) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError, RuntimeError):
        process.stdin.close()
    await _left(process)
    # The group outlives its leader where that left children behind.
    _kill(process)
    await _left(process)
    # A process that made itself a session of its own may hold the pipe; nobody waits for that one.
    await asyncio.wait({listening}, timeout=GRACE_SEC)
    listening.cancel()
    # asyncio has no public way to let go of such a pipe.
    transport: Any = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


async def _left(process: asyncio.subprocess.Process) -> None:
    """Wait a while until it is gone. Waiting for the process would also wait for whoever holds its pipes."""
    until = time.monotonic() + GRACE_SEC
    while process.returncode is None and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
