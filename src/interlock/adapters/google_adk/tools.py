"""One tool behind a gate: its `run_async` leads through it, whoever calls it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from google.adk.tools.base_tool import BaseTool
from google.adk.tools.function_tool import FunctionTool
from google.adk.tools.tool_context import ToolContext

from interlock.adapters.calls import Topics
from interlock.adapters.google_adk.call import Call
from interlock.client import Gate, Held
from interlock.client.sessions import Session
from interlock.model.errors import Conflict, InterlockError, InvalidInput, NoEffect, NotClaimable
from interlock.model.questions import TOPIC

POLL_SEC = 0.25
_BEHIND = "_interlock_behind"


@dataclass(frozen=True, slots=True)
class Behind:
    """Behind which gate a tool stands, as what.

    Attributes:
        fixed: trusted code put this one tool there; otherwise a plugin did, for a call of its own runner.
    """

    gate: Gate
    topic: str
    fixed: bool


@dataclass(frozen=True, slots=True)
class Through:
    """A plugin's run: behind what a tool stands in it, and the session that its calls belong to. Runners with
    gates of their own may share a tool."""

    behind: Callable[[BaseTool], Behind]
    session: Session | None


THROUGH: ContextVar[Through | None] = ContextVar("interlock_adk_through", default=None)


def gated(
    tool: BaseTool | Callable[..., Any],
    gate: Gate,
    *,
    topic: str | None = None,
    tags: tuple[str, ...] = (),
) -> BaseTool:
    """A copy of the tool that stands behind the gate, also where no plugin does.

    Args:
        tool: a tool, or a function that becomes one.
        topic: ``tools.<name>`` where none is given.
        tags: risk tags for a topic that is not in the catalogue; the catalogue's own win.

    Raises:
        BadTopic: this is no topic. InvalidInput: the topic has other tags already, or the tool is gated.
    """
    inner = copy.copy(tool) if isinstance(tool, BaseTool) else FunctionTool(tool)
    if (there := behind(inner)) is not None:
        raise InvalidInput(f"{inner.name} is gated already, as {there.topic}", path="tool")
    named = Topics({} if topic is None else {inner.name: topic}).of(inner.name)
    gate.register(named, tags=tags)
    put(inner, Behind(gate, named, fixed=True))
    return inner


def question_tool(gate: Gate) -> BaseTool:
    """A tool with which the agent asks a person instead of guessing; it pauses as a held call does."""

    async def ask_a_person(
        question: str,  # noqa: ARG001 (the gate reads them)
        options: Sequence[str] = (),  # noqa: ARG001
        context: str = "",  # noqa: ARG001
    ) -> str:
        """Ask a person what you cannot know or may not decide, instead of guessing.

        Args:
            question: one question, in plain words.
            options: the answers to choose from; none where any words will do.
            context: what helps to answer it.
        """
        raise NotClaimable("A question is answered by a person; nothing of it runs.")

    return gated(ask_a_person, gate, topic=TOPIC)


def behind(tool: BaseTool) -> Behind | None:
    """Behind which gate a tool stands; None for one that does not."""
    return vars(tool).get(_BEHIND)


def put(tool: BaseTool, there: Behind) -> None:
    """Let the tool's own `run_async` lead through the gate from now on."""
    inner = tool.run_async

    async def run_async(*, args: dict[str, Any], tool_context: ToolContext) -> Any:
        through = THROUGH.get()
        now = there if there.fixed or through is None else through.behind(tool)
        session = None if through is None else through.session
        with nullcontext() if session is None else session.calls():
            return await _run(Call(tool, args, tool_context), now, inner, tool_context)

    vars(tool).update({"run_async": run_async, _BEHIND: there})


async def _run(call: Call, there: Behind, inner: Callable[..., Awaitable[Any]], context: ToolContext) -> Any:
    gate, aside = there.gate, asyncio.to_thread

    async def function(**approved: Any) -> Any:
        return call.keep(await inner(args=call.handed(approved), tool_context=context))

    try:
        call.check()
        call.action = await aside(gate.propose, there.topic, call.args, **call.named)
        action_id = call.action["id"]
        if call.declined:
            with suppress(Conflict):  # it has run, or has ended; what is so is said
                await aside(gate.withdraw, action_id)
        while True:
            try:
                kept = await gate.run_async(action_id, function)
            except NotClaimable:
                if (await aside(gate.action, action_id))["state"] not in ("executing", "succeeded"):
                    raise
                await asyncio.sleep(POLL_SEC)  # another run of the same call is at it
            else:
                if call.action["approval"] is not None or not call.ran:
                    call.action = await aside(gate.action, action_id)
                return call.answer(kept)
    except Held as held:
        return call.pause(held)
    except (InterlockError, NoEffect) as error:
        return call.said(error)
