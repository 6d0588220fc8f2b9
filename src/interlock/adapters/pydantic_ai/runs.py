"""Runs that end with what waits while a person decides, and go on in whatever process knows the agent."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Collection, MutableMapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from pydantic_ai import AgentRunResult, DeferredToolRequests, DeferredToolResults, ModelMessagesTypeAdapter
from pydantic_ai.agent import AbstractAgent

from interlock.adapters.pydantic_ai.call import Run, inside, may_defer
from interlock.client import Gate
from interlock.client.sessions import Session


class Runs:
    """Starts runs of an agent, keeps those that wait, and lets them go on.

    Args:
        saved: what waits, by the run's name; as confidential as what the model and its tools said.
            `SavedRuns`, or a mapping onto a database of yours.
        sessions: record what the user said and what gated tools gave back in a session of the gate, which
            their calls belong to; it takes a gate that may (`Gate.session`).
        options: what each run is given, as `Agent.run` takes it: ``deps``, ``model``, ``usage_limits``, …
    """

    def __init__(
        self,
        agent: AbstractAgent[Any, Any],
        gate: Gate,
        saved: MutableMapping[str, str],
        *,
        sessions: bool = False,
        **options: Any,
    ) -> None:
        self._agent, self._gate, self._saved, self._options = agent, gate, saved, options
        self._sessions = sessions

    async def run(
        self, prompt: Any = None, *, conversation: str | None = None, **options: Any
    ) -> AgentRunResult[Any]:
        """`Agent.run`; where a person decides first, the result's output is `DeferredToolRequests`.

        Args:
            conversation: your name for what this run continues, where `sessions` are recorded; a run of its
                own by default.

        Raises:
            InterlockError: the gate cannot answer. And what the run raises.
        """
        name = secrets.token_hex(16)
        session = await self._session(conversation or name)
        if session is not None and (text := _words(prompt)):
            await asyncio.to_thread(session.turn, text)
        return await self._goes(name, conversation, session, {**options, "user_prompt": prompt})

    async def go_on(self, action_id: str, **options: Any) -> AgentRunResult[Any] | None:
        """Let the run go on that waits for this action; None where none does, or a person is asked first.

        For `Gate.on_decided` (``asyncio.run(runs.go_on(event.action_id))``), a webhook, or by hand. Call it
        as often as you like.

        Args:
            options: as in `run`; ``deps`` are not kept with the run.

        Raises:
            NotFound: this gate's agent proposed no such action. And as `run`.
        """
        name = await asyncio.to_thread(self._name, action_id)
        kept = None if name is None else self._saved.get(name)
        if name is None or kept is None:
            return None
        given = json.loads(kept)
        if not await self._decided(given["waits"].values()):
            return None
        history = ModelMessagesTypeAdapter.validate_json(given["messages"])
        session = await self._session(given["conversation"] or name)
        again = {**options, **_again(history, given["waits"])}
        return await self._goes(name, given["conversation"], session, again)

    async def _session(self, ref: str) -> Session | None:
        return await asyncio.to_thread(partial(self._gate.session, ref=ref)) if self._sessions else None

    async def _goes(
        self, name: str, conversation: str | None, session: Session | None, options: dict[str, Any]
    ) -> AgentRunResult[Any]:
        """Run until all that is left waits for people. Kept first, then looked at: no decision is missed."""
        given = {**self._options, **options}
        given["output_type"] = _with_deferred(given.get("output_type") or self._agent.output_type)
        while True:
            run = Run(name, secrets.token_hex(16), session)
            with inside(run), session.calls() if session else nullcontext():
                result = await self._agent.run(**{**given, "run_id": run.run_id})
            waits = _waits(result.output)
            if not waits:
                self._saved.pop(name, None)
                return result
            messages = result.all_messages_json().decode()
            kept = {"waits": waits, "conversation": conversation, "messages": messages}
            self._saved[name] = json.dumps(kept)
            if not await self._decided(waits.values()):
                return result
            given |= _again(result.all_messages(), waits)

    async def _decided(self, actions: Collection[str]) -> bool:
        """Whether there are any that no person has to decide any more."""
        for action_id in actions:
            if (await asyncio.to_thread(self._gate.action, action_id))["state"] != "held":
                return True
        return False

    def _name(self, action_id: str) -> str | None:
        """The run that proposed the action; None while a person has not decided."""
        if self._gate.action(action_id)["state"] == "held":
            return None
        kept = self._gate.checkpoint(action_id)
        return None if kept is None else kept.decode()


def _words(prompt: Any) -> str:
    """What the user says with a prompt, without what is no text."""
    parts = [prompt] if isinstance(prompt, str) else prompt if isinstance(prompt, list | tuple) else ()
    return "\n".join(part for part in parts if isinstance(part, str))


def _again(history: Any, waits: Collection[str]) -> dict[str, Any]:
    """What lets every call that waited through to the gate, which says what became of it."""
    results = DeferredToolResults(approvals=dict.fromkeys(waits, True))
    return {"user_prompt": None, "message_history": history, "deferred_tool_results": results}


def _waits(output: Any) -> dict[str, str]:
    """The action of each call that waits, where the gate is all that the run waits for."""
    if not isinstance(output, DeferredToolRequests) or output.calls:
        return {}
    found = {call.tool_call_id: output.metadata.get(call.tool_call_id, {}) for call in output.approvals}
    if any(one.get("type") != "interlock" for one in found.values()):
        return {}
    return {name: one["action_id"] for name, one in found.items()}


def _with_deferred(output_type: Any) -> Any:
    if may_defer(output_type):
        return output_type
    return [*(output_type if isinstance(output_type, list | tuple) else [output_type]), DeferredToolRequests]
