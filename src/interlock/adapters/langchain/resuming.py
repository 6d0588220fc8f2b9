"""After a decision: the thread that waits for it goes on, in whatever process knows the graph."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from langgraph.types import Command

from interlock.adapters.langchain.call import THREAD
from interlock.client import Gate


def go_on(graph: Any, gate: Gate, action_id: str) -> Any:
    """Let the thread go on that waits for this action; what the graph returned, or None where none waits.

    For `Gate.on_decided`, a webhook, or by hand. Call it as often as you like: an action that still waits,
    and a thread that has gone on, are left alone.

    Args:
        graph: the compiled graph, with the checkpointer that the thread is kept in.

    Raises:
        NotFound: this gate's agent proposed no such action. And what the run raises.
    """
    thread = _thread(gate, action_id)
    resume = None if thread is None else _resume(graph.get_state(thread), action_id)
    return None if resume is None else graph.invoke(resume, thread)


async def go_on_async(graph: Any, gate: Gate, action_id: str) -> Any:
    """As `go_on`, for a graph that runs in this event loop."""
    thread = await asyncio.to_thread(_thread, gate, action_id)
    resume = None if thread is None else _resume(await graph.aget_state(thread), action_id)
    return None if resume is None else await graph.ainvoke(resume, thread)


def _thread(gate: Gate, action_id: str) -> dict[str, Any] | None:
    """The thread that proposed the action; None while a person has not decided."""
    if gate.action(action_id)["state"] == "held":
        return None
    kept = gate.checkpoint(action_id)
    return None if kept is None else {"configurable": {"thread_id": json.loads(kept)[THREAD]}}


def _resume(state: Any, action_id: str) -> Command[Any] | None:
    """What resumes the interrupt that names the action. The value says nothing: nobody reads it."""
    for task in state.tasks:
        for one in task.interrupts:
            if isinstance(one.value, dict) and one.value.get("action_id") == action_id:
                return Command(resume={one.id: "decided"})
    return None
