"""What a thread's user said and its tools gave back, recorded in a session of the thread.

1. A thread is one session, for the gate's principal, in every process. Its tools' calls belong to it.
2. A turn of the user is the last message that a run begins with, where it is a human one that no middleware
   wrote. Human messages further up are not taken for the user's words: middleware writes summaries of what
   tools said in that form.
3. A result is what the model is about to read, whichever tool it is from. A graph that is executed again
   records again what it reads again.
4. A session that cannot be recorded in ends the run: nothing goes on unrecorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage

from interlock.adapters.langchain.call import place_of
from interlock.client import Gate
from interlock.client.sessions import Session

MOST = 1_000


class Recording:
    """The sessions of a gate's threads; of the last `MOST` it remembers which is which."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._sessions: dict[str, Session] = {}

    def of(self, runtime: Any) -> Session | None:
        """The session of the thread that runs here; None where nothing keeps one."""
        place = place_of(runtime)
        if place is None:
            return None
        thread = str(place.thread_id)
        found = self._sessions.get(thread)
        if found is None:
            found = self._sessions[thread] = self._gate.session(ref=thread)
            if len(self._sessions) > MOST:
                del self._sessions[next(iter(self._sessions))]
        return found

    async def of_async(self, runtime: Any) -> Session | None:
        return await asyncio.to_thread(self.of, runtime)

    def turn(self, state: Mapping[str, Any], runtime: Any) -> None:
        """Record what a run begins with."""
        last = (state.get("messages") or [None])[-1]
        session = self.of(runtime)
        if (
            session is not None
            and isinstance(last, HumanMessage)
            and "lc_source" not in last.additional_kwargs
        ):
            session.turn(last.text, ref=last.id)

    def result(self, session: Session, tool: str, topic: str, answer: Any) -> None:
        """Record what a tool answered."""
        if isinstance(answer, ToolMessage):
            failed = answer.status == "error"
            call_id = answer.tool_call_id
            session.result(tool, answer.content, topic=topic, call_id=call_id, failed=failed)
