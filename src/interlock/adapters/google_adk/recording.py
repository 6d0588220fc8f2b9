"""What a session's user said and its tools gave back, recorded in a session of the gate.

1. A session of ADK is one session of the gate, for the gate's principal, in every process. Its tools' calls
   belong to it, and so do those of agents that run as tools in it.
2. A turn of the user is the text of the message that a run begins with. What one agent hands to another that
   runs as a tool are not the user's words.
3. A result is what a tool gave, whichever tool it is; a call that waits has none.
4. A session that cannot be recorded in ends the run: nothing goes on unrecorded.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from google.adk.agents.invocation_context import InvocationContext
from google.genai import types

from interlock.adapters.calls import call_id
from interlock.adapters.google_adk.call import HELD, WITHIN
from interlock.client import Gate
from interlock.client.sessions import Session

MOST = 1_000
_OUTER: ContextVar[Session | None] = ContextVar("interlock_adk_session", default=None)
"""The session in which an agent runs as a tool."""


class Recording:
    """The sessions of a gate's ADK sessions; of the last `MOST` it remembers which is which."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._sessions: dict[str, Session] = {}

    async def of(self, context: InvocationContext) -> Session:
        """The session in which this runs."""
        if WITHIN.get() and (outer := _OUTER.get()) is not None:
            return outer
        ref = call_id(context.app_name, context.user_id, context.session.id)
        found = self._sessions.get(ref)
        if found is None:
            found = self._sessions[ref] = await asyncio.to_thread(lambda: self._gate.session(ref=ref))
            if len(self._sessions) > MOST:
                del self._sessions[next(iter(self._sessions))]
        return found

    async def enter(self, context: InvocationContext) -> None:
        """What runs inside of this call belongs to its session."""
        _OUTER.set(await self.of(context))

    async def turn(self, context: InvocationContext, message: types.Content) -> None:
        """Record what the user says."""
        text = "\n".join(part.text for part in message.parts or () if part.text)
        if text and not WITHIN.get():
            session = await self.of(context)
            await asyncio.to_thread(session.turn, text, ref=context.invocation_id)

    async def result(self, context: InvocationContext, tool: str, topic: str, call: str, answer: Any) -> None:
        """Record what a tool gave back."""
        said = answer if isinstance(answer, dict) else {}
        if said.get("status") != HELD:
            session, failed = await self.of(context), "error" in said
            await asyncio.to_thread(
                lambda: session.result(tool, answer, topic=topic, call_id=call, failed=failed)
            )
