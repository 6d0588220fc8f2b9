"""The client at standard input and output: whole lines, in order, and nobody waits for a client that does not
read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest
import uvloop

from interlock.adapters.mcp.stdio import CHUNK, Lines, Sink

Pair = tuple[int, int]


@pytest.fixture(params=["pipe", "socket"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """What can be read, and what is written to, as clients connect them."""
    if request.param == "pipe":
        ends = os.pipe()
    else:
        ours, theirs = socket.socketpair()
        ends = ours.detach(), theirs.detach()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):  # the test closed it
            os.close(end)


LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@LOOPS
def test_lines_come_whole_and_in_order_however_they_were_cut(pair: Pair, loop: object) -> None:
    read, write = pair
    text = ["ä" * 3, "", "€" * CHUNK, "b", "the last one has no end"]
    content = "\n".join(text).encode()

    def say() -> None:
        for at in range(0, len(content), 4_097):  # cuts letters as well
            os.write(write, content[at : at + 4_097])
        os.close(write)

    async def main() -> list[str]:
        lines = Lines(read)
        talking = threading.Thread(target=say)
        talking.start()
        found = [line async for line in lines]
        talking.join()
        return found

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        assert runner.run(main()) == text


@LOOPS
def test_a_client_that_does_not_read_holds_up_nobody_and_gets_every_line(pair: Pair, loop: object) -> None:
    read, write = pair
    sent = [f"{number}:" + "x" * 3_000 for number in range(200)]

    async def main() -> None:
        sink, turns = Sink(write), 0

        async def speak() -> None:
            for line in sent:
                await sink.write(line + "\n")
                await sink.flush()
            os.close(write)

        speaking = asyncio.create_task(speak())
        for _ in range(100):
            await asyncio.sleep(0.001)
            turns += 1
        assert not speaking.done(), "nobody has read yet"
        found = b""
        while part := await asyncio.to_thread(os.read, read, CHUNK):
            found += part
        await speaking
        assert found.decode().splitlines() == sent
        assert turns == 100

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(main())
