"""Runs that pause while a person decides, and go on in whatever process knows the agent."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, MutableMapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from agents import Agent, Runner, RunResult, RunState, UserError
from agents.items import ToolApprovalItem

from interlock.adapters.openai_agents.agent import GatedAgent
from interlock.adapters.openai_agents.call import Run, inside
from interlock.adapters.openai_agents.tools import GatedTool
from interlock.client import Gate, Held
from interlock.model.errors import InterlockError


class Runs:
    """Starts runs of an agent, keeps those that wait, and lets them go on.

    Args:
        agent: the agent that runs start with.
        saved: what waits, by the run's name; as confidential as what the model and its tools said.
            `SavedRuns`, or a mapping onto a database of yours.
        on_held: called with each action that begins to wait, as `Gate.action` gives it, once its run is kept.
        sessions: record what the user said and what gated tools gave back in a session of the gate, which
            their calls belong to; it takes a gate that may (`Gate.session`).
        options: what each run is given, as `Runner.run` takes it: ``session``, ``hooks``, ``run_config``, …
    """

    def __init__(
        self,
        agent: Agent[Any],
        gate: Gate,
        saved: MutableMapping[str, str],
        *,
        on_held: Callable[[dict[str, Any]], object] = lambda _: None,
        sessions: bool = False,
        **options: Any,
    ) -> None:
        self._agent, self._gate, self._saved, self._options = agent, gate, saved, options
        self._on_held, self._sessions = on_held, sessions

    async def run(self, input: Any, *, conversation: str | None = None, **options: Any) -> RunResult:
        """`Runner.run`; what waits for a person stands in the result's ``interruptions``.

        Args:
            conversation: your name for what this run continues, where `sessions` are recorded; a run of its
                own by default.

        Raises:
            InterlockError: the gate cannot answer. And what the run raises.
        """
        run = Run(secrets.token_hex(16), conversation=conversation)
        await self._open(run)
        if run.session is not None and (text := _words(input)):
            await asyncio.to_thread(run.session.turn, text)
        return await self._goes(run, input, options)

    async def go_on(self, action_id: str, **options: Any) -> RunResult | None:
        """Let the run go on that waits for this action; None where none does, or a person is asked first.

        For `Gate.on_decided` (``asyncio.run(runs.go_on(event.action_id))``), a webhook, or by hand. Call it
        as often as you like.

        Args:
            options: as in `run`. A ``context`` that is no mapping is not kept with the run: give it again.

        Raises:
            NotFound: this gate's agent proposed no such action. And as `run`.
        """
        name = await asyncio.to_thread(self._name, action_id)
        kept = None if name is None else self._saved.get(name)
        if name is None or kept is None:
            return None
        given = json.loads(kept)
        run = Run(name, given["waits"], told=set(given["waits"]), conversation=given["conversation"])
        await self._open(run)
        again = {"context_override": options.pop("context")} if "context" in options else {}
        state = await RunState.from_json(self._agent, given["state"], **again)
        if not await self._let_on(run, state):
            return None
        try:
            return await self._goes(run, state, options)
        except Held:  # since it was decided, the policy has come to ask again
            return None

    async def _goes(self, run: Run, start: Any, options: dict[str, Any]) -> RunResult:
        """Run until all that is left waits for people. Kept first, then looked at: no decision is missed."""
        try:
            while True:
                with inside(run), run.session.calls() if run.session else nullcontext():
                    result = await Runner.run(self._agent, start, **{**self._options, **options})
                if not result.interruptions:
                    self._saved.pop(run.name, None)
                    return result
                start = result.to_state()
                kept = {"waits": run.waits, "conversation": run.conversation, "state": start.to_json()}
                self._saved[run.name] = json.dumps(kept)
                while run.told != run.waits.keys():
                    call = next(iter(run.waits.keys() - run.told))
                    run.told.add(call)
                    self._on_held(await asyncio.to_thread(self._gate.action, run.waits[call]))
                if not await self._let_on(run, start):
                    return result
        except UserError as error:
            if isinstance(error.__cause__, InterlockError):
                raise error.__cause__ from None
            raise

    async def _open(self, run: Run) -> None:
        if self._sessions:
            run.session = await asyncio.to_thread(
                partial(self._gate.session, ref=run.conversation or run.name)
            )

    async def _let_on(self, run: Run, state: RunState[Any, Any]) -> bool:
        """Let those calls through to the gate that no person has to decide; whether there are any."""
        found = [item for item in state.get_interruptions() if await self._is_decided(run, item)]
        for item in found:
            state.approve(item)
            run.let_on.add(item.call_id or "")
        return bool(found)

    async def _is_decided(self, run: Run, item: ToolApprovalItem) -> bool:
        if item.call_id in run.let_on:
            return False
        action_id = run.waits.get(item.call_id or "")
        if action_id is None:  # the framework asks by itself, where it cannot read the arguments
            return _is_gated(item)
        action = await asyncio.to_thread(self._gate.action, action_id)
        return bool(action["state"] != "held")

    def _name(self, action_id: str) -> str | None:
        """The run that proposed the action; None while a person has not decided."""
        if self._gate.action(action_id)["state"] == "held":
            return None
        kept = self._gate.checkpoint(action_id)
        return None if kept is None else kept.decode()


def _words(input: Any) -> str:
    """What the user says with an input: all of it, or the last of its messages where it is the user's."""
    if isinstance(input, str):
        return input
    last = input[-1] if isinstance(input, list) and input else None
    content = last.get("content") if isinstance(last, dict) and last.get("role") == "user" else None
    if isinstance(content, list):
        content = "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _is_gated(item: ToolApprovalItem) -> bool:
    """Whether a call leads to the gate, so that letting it through decides nothing."""
    if getattr(item.raw_item, "type", None) != "function_call":
        return False
    agent, name = item.agent, item.tool_name or ""
    found = next((tool for tool in agent.tools if tool.name == name), None)
    return isinstance(found, GatedTool) or (isinstance(agent, GatedAgent) and agent.gates(name, found))
