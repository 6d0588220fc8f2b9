"""The functions of a gate: bound to topics or handed in, and how a call of one becomes an action.

1. Which function stands for a topic, and with which tags, is the word of the code that says so; a call's
   arguments are not.
2. A call proposes, and runs the function where the action is allowed and claimed with it. Otherwise it takes
   the way that `Gate.resume` takes: what may run is claimed and run, what has ended gives its result, and
   everything else raises.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from interlock.client.held import result_of
from interlock.client.loops import in_a_loop
from interlock.client.registry import Guarded, checked_tags, refuse_while_loading
from interlock.client.sessions import current
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import InvalidInput, NotClaimable
from interlock.model.topics import parse_topic

if TYPE_CHECKING:
    from interlock.client.backend import Backend
    from interlock.dispatch import Execution

P = ParamSpec("P")
R = TypeVar("R")
MAY_RUN = (ActionState.ALLOWED, ActionState.APPROVED, ActionState.EXECUTING)


class Functions:
    """What `Gate` knows of functions."""

    def __init__(self, backend: Backend, *, session: str | None, principal: str | None) -> None:
        self._backend = backend
        self._session = session
        self._principal = principal
        self._guarded: dict[str, Guarded] = {}
        self._registered: dict[str, tuple[str, ...]] = {}

    def guard(
        self,
        topic: str,
        *,
        tags: tuple[str, ...] = (),
        checkpoint: Callable[[], bytes | None] | None = None,
        wait: float = 0.0,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Bind a function, or a coroutine function, to a topic; its calls go through the gate.

        Args:
            topic: the tool's stable name.
            tags: risk tags for a topic that is not in the catalogue; the catalogue's own win.
            checkpoint: called at each call; the agent's state that it returns is kept with the proposal, for
                whoever goes on after a decision (`Gate.checkpoint`).
            wait: how many seconds a held call waits for its decision before it raises `Held`. It waits in
                this process alone; the request goes on waiting after it.

        The call raises `Held`, `Denied` or `Ended` where it does not run, and `InvalidInput` for arguments
        that the catalogue does not accept.
        """
        parse_topic(topic, "topic")

        def bind(function: Callable[P, R]) -> Callable[P, R]:
            if topic in self._guarded:
                raise InvalidInput(f"{topic} is bound to another function already", path="topic")
            guarded = Guarded.bind(topic, function, tags, checkpoint, wait)
            self._guarded[topic] = guarded
            if guarded.is_async:

                @functools.wraps(function)
                async def run_later(*args: P.args, **kwargs: P.kwargs) -> Any:
                    return await self._call_async(guarded, guarded.named(args, kwargs))

                return cast(Callable[P, R], run_later)

            @functools.wraps(function)
            def run(*args: P.args, **kwargs: P.kwargs) -> R:
                return cast(R, self._call(guarded, guarded.named(args, kwargs)))

            return run

        return bind

    def register(self, topic: str, *, tags: tuple[str, ...] = ()) -> None:
        """Say that trusted code maps a tool to this topic, with no function that stays: `run` gets one.

        What is proposed under it afterwards is known also outside the catalogue, where it waits for a person
        unless a rule names it; `tags` are then what the policy goes by.

        Raises:
            InvalidInput: no topic, no tags, or the topic is registered with other tags.
        """
        parse_topic(topic, "topic")
        kept = checked_tags(tags)
        known = self._tags(topic)
        if known is not None and set(known) != set(kept):
            raise InvalidInput(f"{topic} is registered with other tags already", path="tags")
        self._registered[topic] = kept

    @property
    def topics(self) -> frozenset[str]:
        """The topics that functions are bound to."""
        return frozenset(self._guarded)

    # --- inside ------------------------------------------------------------------------------------------

    def _call(self, guarded: Guarded, args: dict[str, Any], call_id: str | None = None) -> Any:
        action_id, claim = self._propose(guarded, args, call_id)
        if claim is None:
            return self._run(action_id, guarded.function)
        return _carry_out(claim, guarded.function)

    async def _call_async(self, guarded: Guarded, args: dict[str, Any], call_id: str | None = None) -> Any:
        refuse_while_loading()
        kept = None if guarded.checkpoint is None else await asyncio.to_thread(guarded.checkpoint)
        proposal = self._proposal(guarded, args, call_id, kept)
        action_id, claim = await self._backend.propose_async(proposal, guarded.function)
        if claim is None and guarded.wait > 0:
            await asyncio.to_thread(self._backend.wait, action_id, guarded.wait)
        if claim is None:
            return await self._run_async(action_id, guarded.function)
        if guarded.is_async:
            return await _carry_out_async(claim, guarded.function)
        return await asyncio.to_thread(_carry_out, claim, guarded.function)

    def _handed(self, topic: str, function: Callable[..., Any], wait: float = 0.0) -> Guarded:
        return Guarded.handed(parse_topic(topic, "topic"), function, self._tags(topic) or (), wait)

    def _propose(
        self, guarded: Guarded, args: dict[str, Any], call_id: str | None
    ) -> tuple[str, Execution | None]:
        refuse_while_loading()
        kept = None if guarded.checkpoint is None else guarded.checkpoint()
        proposal = self._proposal(guarded, args, call_id, kept)
        action_id, claim = self._backend.propose(proposal, guarded.function, registered=True, inline=True)
        if claim is None and guarded.wait > 0:
            self._backend.wait(action_id, guarded.wait)
        return action_id, claim

    def _proposal(
        self, guarded: Guarded, args: dict[str, Any], call_id: str | None, checkpoint: object
    ) -> Proposal:
        session, principal = self._belongs()
        return Proposal(
            topic=guarded.topic,
            args=args,
            principal=principal,
            session=session,
            call_id=call_id,
            checkpoint=checkpoint_bytes(checkpoint),
            tags=guarded.tags,
        )

    def _belongs(self) -> tuple[str | None, str | None]:
        """Session and principal of what is proposed now."""
        session = current(self._backend)
        return (self._session, self._principal) if session is None else (session.id, session.principal)

    def _tags(self, topic: str) -> tuple[str, ...] | None:
        """The tags that trusted code gave a topic; None for one that nobody registered."""
        guarded = self._guarded.get(topic)
        return self._registered.get(topic) if guarded is None else guarded.tags

    def _ready(self, action_id: str, function: Callable[..., Any] | None) -> Guarded | tuple[Any]:
        """The function to run for an action that may run; otherwise its result, in a tuple of one.

        An http action that may run is carried out on the way. Raises as `resume`.
        """
        refuse_while_loading()
        self._backend.catch_up()
        view = self._backend.action(action_id)
        if view["state"] in MAY_RUN:
            if ExecutorKind(view["executor"]).dispatched:
                self._backend.dispatch(action_id)
                return (result_of(self._backend.action(action_id)),)
            if view["executor"] == ExecutorKind.PERMITTED:
                raise NotClaimable(
                    f"{view['executor_name']} runs {view['topic']}, under a permit that only a server makes.",
                    fix="Run `interlock serve` on this home and ask it: POST /v1/actions/{id}/permit.",
                )
            if function is None:
                guarded = self._guarded.get(view["topic"])
            else:
                guarded = self._handed(view["topic"], function)
            if guarded is None:
                raise NotClaimable(
                    f"No function is registered for {view['topic']} in this process.",
                    fix="Resume where the function is guarded.",
                )
            guarded.check(view)
            return guarded
        return (result_of(view),)

    def _run(self, action_id: str, function: Callable[..., Any] | None) -> Any:
        ready = self._ready(action_id, function)
        if not isinstance(ready, Guarded):
            return ready[0]
        if ready.is_async:
            if in_a_loop():
                raise NotClaimable(
                    f"{ready.topic} is a coroutine function and an event loop is running.",
                    fix="Await gate.resume_async, or gate.run_async.",
                )
            return asyncio.run(self._run_async(action_id, function))
        return _carry_out(self._backend.claim(action_id, ready.function), ready.function)

    async def _run_async(self, action_id: str, function: Callable[..., Any] | None) -> Any:
        ready = await asyncio.to_thread(self._ready, action_id, function)
        if not isinstance(ready, Guarded):
            return ready[0]
        claim = await asyncio.to_thread(self._backend.claim, action_id, ready.function)
        if ready.is_async:
            return await _carry_out_async(claim, ready.function)
        return await asyncio.to_thread(_carry_out, claim, ready.function)


def _carry_out(execution: Execution, function: Callable[..., Any]) -> Any:
    from interlock.dispatch import call

    return call(execution, function)


async def _carry_out_async(execution: Execution, function: Callable[..., Any]) -> Any:
    from interlock.dispatch import call_async

    return await call_async(execution, function)


def checkpoint_bytes(checkpoint: object) -> bytes | None:
    if checkpoint is not None and not isinstance(checkpoint, bytes):
        raise InvalidInput("a checkpoint is bytes", path="$.checkpoint")
    return checkpoint
