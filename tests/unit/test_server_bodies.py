"""A body that does not arrive is given up, and whoever cancels a request is obeyed."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request
from starlette.types import Message

from interlock.model.errors import MalformedJson
from interlock.server import bodies


def request(*messages: Message) -> Request:
    """One whose body comes in these messages, and then never ends."""
    coming = list(messages)

    async def receive() -> Message:
        return coming.pop(0) if coming else await asyncio.Event().wait() or {}

    return Request({"type": "http", "headers": []}, receive)


def part(content: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_body_comes_in_parts() -> None:
    parts = request(part(b"ab", more=True), part(b"", more=True), part(b"c", more=False))
    assert asyncio.run(bodies.received(parts)) == b"abc"


def test_a_body_that_does_not_end_in_time_is_given_up_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "BODY_SEC", 0.01)

    async def late() -> int:
        with pytest.raises(MalformedJson, match="did not arrive"):
            await bodies.received(request(part(b"ab", more=True)))
        await asyncio.sleep(0.02)  # it is not cancelled a second time
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(late()) == 0


def test_a_body_that_arrived_is_not_given_up_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SEC", 0.01)

    async def early() -> bytes:
        content = await bodies.received(request(part(b"ab", more=False)))
        await asyncio.sleep(0.03)
        return content

    assert asyncio.run(early()) == b"ab"


def test_whoever_cancels_a_request_is_obeyed() -> None:
    async def cancelled() -> bool:
        task = asyncio.create_task(bodies.received(request()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled())


def test_a_caller_that_leaves_is_no_body() -> None:
    with pytest.raises(MalformedJson, match="ended early"):
        asyncio.run(bodies.received(request(part(b"ab", more=True), {"type": "http.disconnect"})))
