"""A guarded function can ask which call it is, and for the key that makes a repeated one harmless."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import apart
from interlock import Call, Gate, current_call
from interlock.gate.claim import downstream_key

POLICY = """
interlock: 1
name: calls
actions:
  job.plain: {tier: 1, args: {book: string}, execute: {caller: {}}}
  job.later: {tier: 1, args: {book: string}, execute: {caller: {}}}
  job.apart: {tier: 1, args: {book: string}, execute: {caller: {idempotent: {retention: 1h}}}}
rules:
  - {id: apart, match: {topics: [job.apart]}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: all, match: {topics: ["job.*"]}, decision: allow}
"""


def test_each_way_of_running_knows_its_call_and_nobody_else_does(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    seen: list[Call | None] = []
    with Gate.open(tmp_path / "policy.yaml") as gate:

        @gate.guard("job.plain")
        def plain(book: str) -> None:
            seen.append(current_call())
            inner(book=book)
            seen.append(current_call())

        @gate.guard("job.later")
        async def later(book: str) -> None:
            await asyncio.sleep(0)
            seen.append(await asyncio.to_thread(current_call))

        inner: Any = gate.guard("job.apart")(apart.tells_its_call)
        assert current_call() is None
        plain(book=str(tmp_path / "book"))
        asyncio.run(later(book="b"))
        assert current_call() is None
        within, after, awaited = seen
        assert within is not None
        assert awaited is not None
        assert within == after != awaited
        for call in (within, awaited):
            assert gate.action(call.action)["state"] == "succeeded"
            assert call.key == downstream_key("default", call.action, call.revision)
        told = inner(book=str(tmp_path / "book"))
        assert told["key"] == downstream_key("default", told["action"], 1)
    first, second = apart.noted(tmp_path / "book")
    assert second == told["key"] != first
