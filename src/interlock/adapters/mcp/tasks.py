"""Held calls as tasks, for clients that advertise ``io.modelcontextprotocol/tasks``.

1. A task's id is the action's id. It lives in the journal: a restart of client or gateway loses nothing.
2. Asking after a task is asking after the action; cancelling it withdraws the action, where it has not run.
3. A client that does not advertise the extension is answered as held.

Source: Model Context Protocol, extension `io.modelcontextprotocol/tasks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from pydantic import Field

from interlock.client import Gate
from interlock.model.errors import InterlockError

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MS = 2_000
TTL_MS = 7 * 86_400_000
_WORKING = frozenset({"held", "allowed", "approved", "executing", "stale"})

Tell = Callable[[Any, str], Awaitable[Any]]


class _TaskParams(types.RequestParams):
    task_id: str = Field(alias="taskId", max_length=100)


def wanted(ctx: Any) -> bool:
    """Whether the client that asks advertises tasks."""
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def task(action: Mapping[str, Any], *, kind: str = "task", result: Any = None) -> dict[str, Any]:
    """An action as a task."""
    working = action["state"] in _WORKING
    withdrawn = action["state"] == "withdrawn"
    told = {
        "resultType": kind,
        "taskId": action["id"],
        "status": "working" if working else "cancelled" if withdrawn else "completed",
        "statusMessage": action["user_message"],
        "createdAt": action["proposed_at"],
        "lastUpdatedAt": action["changed_at"],
        "ttlMs": TTL_MS,
        "pollIntervalMs": POLL_MS,
    }
    if result is not None:
        told["result"] = result
    return told


def register(server: Server[Any], tell: Tell, action: Tell, gate_of: Callable[[Any], Gate]) -> None:
    """Answer `tasks/get` and `tasks/cancel`, which the library types and does not dispatch.

    Args:
        tell: carries out what was approved, and answers as `interlock_result` does. action: the action, for
            whoever may see it.
    """

    async def found(ctx: Any, task_id: str) -> Any:
        try:
            return await action(ctx, task_id)
        except InterlockError:
            raise MCPError(code=types.INVALID_PARAMS, message="There is no such task.") from None

    async def get(ctx: Any, params: _TaskParams) -> dict[str, Any]:
        await found(ctx, params.task_id)
        answer = await tell(ctx, params.task_id)
        now = await found(ctx, params.task_id)
        if isinstance(answer, dict) or now["state"] in _WORKING:
            return task(now, kind="complete")
        raw = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        return task(now, kind="complete", result=raw)

    async def cancel(ctx: Any, params: _TaskParams) -> dict[str, Any]:
        await found(ctx, params.task_id)
        try:
            await asyncio.to_thread(gate_of(ctx).withdraw, params.task_id)
        except InterlockError as error:
            raise MCPError(code=types.INVALID_PARAMS, message=error.detail) from None
        return {"resultType": "complete"}

    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", _TaskParams, get)
    server.add_request_handler("tasks/cancel", _TaskParams, cancel)
