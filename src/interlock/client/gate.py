"""The gate an engineer holds: guard, propose, resume.

What it stands on (`Embedded` here) is loaded when a gate is opened; this module imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from interlock.client.held import Denied, Ended, Held
from interlock.client.registry import Guarded, loading, refuse_while_loading
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import InDoubt, InvalidInput, NotClaimable
from interlock.model.money import decimal_of
from interlock.model.topics import parse_topic

if TYPE_CHECKING:
    from interlock.client.embedded import Embedded
    from interlock.gate import Claim
    from interlock.gate.telling import Event

P = ParamSpec("P")
R = TypeVar("R")
Callback = TypeVar("Callback", bound="Callable[[Event], Any]")
_MAY_RUN = (ActionState.ALLOWED, ActionState.APPROVED, ActionState.EXECUTING)


class Gate:
    """A gate. Use it as a context manager, or call `close`.

    >>> gate = Gate.open("policy.yaml")                                 # doctest: +SKIP
    >>> @gate.guard("job.payments.refund")                              # doctest: +SKIP
    ... def refund(order_id: str, amount_usd: Decimal) -> dict: ...
    """

    def __init__(self, backend: Embedded, *, session: str | None, principal: str | None) -> None:
        self._backend = backend
        self._session = session
        self._principal = principal
        self._guarded: dict[str, Guarded] = {}
        self._callbacks: list[Callable[[Event], Any]] = []

    @classmethod
    def open(
        cls,
        policy: str | Path,
        *,
        home: str | Path | None = None,
        activate: bool = False,
        agent: str = "agent",
        session: str | None = None,
        principal: str | None = None,
        database: str | None = None,
    ) -> Gate:
        """Embed the gate in this process.

        Args:
            policy: a policy file or directory.
            home: the installation's folder; ``.interlock`` beside the policy by default.
            activate: put this policy in force where another one is; recorded as an act.
            agent: the name this process proposes under.
            session, principal: the run of the agent, and on whose behalf; for every call of this gate.
            database: URL of the PostgreSQL database that holds the journal, if it is not the home's own.

        Raises:
            PolicyError: the policy does not load. PolicyNotActive: another policy is in force.
            HomeUnusable: the home cannot be used.
        """
        from interlock.client.embedded import Embedded

        folder = None if home is None else Path(home)
        backend = Embedded.open(Path(policy), folder, agent=agent, activate=activate, database=database)
        return cls(backend, session=session, principal=principal)

    # --- binding functions -------------------------------------------------------------------------------

    def guard(
        self,
        topic: str,
        *,
        tags: tuple[str, ...] = (),
        checkpoint: Callable[[], bytes | None] | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Bind a function, or a coroutine function, to a topic; its calls go through the gate.

        Args:
            topic: the tool's stable name.
            tags: risk tags for a topic that is not in the catalogue; the catalogue's own win.
            checkpoint: called at each call; the agent's state that it returns is kept with the proposal, for
                whoever goes on after a decision (`Gate.checkpoint`).

        The call raises `Held`, `Denied` or `Ended` where it does not run, and `InvalidInput` for arguments
        that the catalogue does not accept.
        """
        parse_topic(topic, "topic")

        def bind(function: Callable[P, R]) -> Callable[P, R]:
            if topic in self._guarded:
                raise InvalidInput(f"{topic} is bound to another function already", path="topic")
            guarded = Guarded.bind(topic, function, tags, checkpoint)
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

    @property
    def home(self) -> Path:
        """The installation's folder."""
        return self._backend.folder

    @property
    def topics(self) -> frozenset[str]:
        """The topics that functions are bound to."""
        return frozenset(self._guarded)

    # --- acting ------------------------------------------------------------------------------------------

    def propose(
        self,
        topic: str,
        args: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        call_id: str | None = None,
        parent_action: str | None = None,
        confidence: Decimal | float | None = None,
        reasoning: str = "",
        alternatives: tuple[str, ...] = (),
        retry_of: str | None = None,
        checkpoint: bytes | None = None,
    ) -> dict[str, Any]:
        """Propose an action and return it as its proposer may see it, whatever the verdict.

        An allowed action with an ``http`` executor is carried out before this returns; one with a guarded
        function is not: call `resume`.

        Args:
            confidence: the agent's own, 0 to 1; it can only tighten.
            retry_of: the ended action that this one tries again.
            checkpoint: the agent's state, at most 1 MiB; see `checkpoint`.

        Raises:
            InvalidInput: (a subclass) for arguments that are not acceptable.
        """
        refuse_while_loading()
        guarded = self._guarded.get(topic)
        proposal = Proposal(
            topic=topic,
            args=args,
            principal=self._principal,
            session=self._session,
            parent_action=parent_action,
            call_id=call_id,
            idempotency_key=idempotency_key,
            confidence=None if confidence is None else decimal_of(confidence, "$.confidence"),
            reasoning=reasoning,
            alternatives=alternatives,
            checkpoint=_bytes(checkpoint),
            tags=() if guarded is None else guarded.tags,
        )
        action_id, _ = self._backend.propose(
            proposal, None if guarded is None else guarded.function, inline=False, retry_of=retry_of
        )
        return self.action(action_id)

    def action(self, action_id: str) -> dict[str, Any]:
        """The action as its proposer may see it. Raises `NotFound`."""
        return self._backend.action(action_id)

    def checkpoint(self, action_id: str) -> bytes | None:
        """The state that this agent kept with its proposal; None where it kept none.

        It is there in every state of the action, until its subject is erased.

        Raises:
            NotFound: there is no such action, or another agent proposed it. Erased: it is gone.
        """
        return self._backend.checkpoint(action_id)

    def on_decided(self, callback: Callback) -> Callback:
        """Call `callback` with an `Event` whenever an action proposed through this gate was decided or ended.

        It counts for what is proposed from now on, whichever process decides. `interlock worker` calls it
        for all actions of this gate's agent, also those of processes that are gone. Callbacks are called one
        after the other, in a thread of the gate's own; one that raises is logged. At least once: an event may
        come again, with the same `number`. Use it as a decorator, or call it.

        >>> @gate.on_decided                                                # doctest: +SKIP
        ... def goes_on(event: Event) -> None: ...
        """
        self._callbacks.append(callback)
        if not loading():
            self._backend.on_decided(callback)
        return callback

    def resume(self, action_id: str) -> Any:
        """Run an approved action, or return the result it already has.

        Raises:
            Held: a person has not decided yet. Denied: it was rejected. Ended: it expired, was withdrawn or
            revoked. InDoubt: its effect is unknown. NotClaimable: its function is not registered in this
            process, or somebody is running it.
        """
        ready = self._ready(action_id)
        if not isinstance(ready, Guarded):
            return ready[0]
        if ready.is_async:
            from interlock.client.embedded import in_a_loop

            if in_a_loop():
                raise NotClaimable(
                    f"{ready.topic} is a coroutine function and an event loop is running.",
                    fix="Await gate.resume_async.",
                )
            return asyncio.run(self.resume_async(action_id))
        return self._backend.run(self._backend.claim(action_id, ready.function), ready.function)

    async def resume_async(self, action_id: str) -> Any:
        """As `resume`, inside a running event loop."""
        ready = await asyncio.to_thread(self._ready, action_id)
        if not isinstance(ready, Guarded):
            return ready[0]
        claim = await asyncio.to_thread(self._backend.claim, action_id, ready.function)
        if ready.is_async:
            return await self._backend.run_async(claim, ready.function)
        return await asyncio.to_thread(self._backend.run, claim, ready.function)

    def rollback_plan(self, action_id: str) -> dict[str, Any]:
        """What `rollback` would do, and what the policy says to it; nothing is proposed.

        Raises:
            As `rollback`.
        """
        return self._backend.rollback_plan(action_id)

    def rollback(self, action_id: str) -> dict[str, Any]:
        """Take an action back that succeeded, by the undo that the catalogue names; returns the undo.

        The undo goes through the gate: the policy may hold or deny it. Where it is allowed and runs by
        ``http``, ``sql``, ``mcp``, or as a plain function that is guarded in this process, it has run. Once
        it succeeds, the action is ``rolled_back``.

        Raises:
            NotFound: there is no such action of this agent. InDoubt, Conflict: it did not succeed, or is
            being taken back. NoUndo, UndoTooLate: it is not taken back by this (`interlock.gate`).
        """
        refuse_while_loading()
        undo = self.action(self._backend.rollback(action_id))
        guarded = self._guarded.get(undo["topic"])
        if undo["state"] in _MAY_RUN and guarded is not None and not guarded.is_async:
            self.resume(undo["id"])
        return self.action(undo["id"])

    def work(
        self,
        stop: threading.Event,
        *,
        once: bool = False,
        parallel: int = 4,
        drain_sec: float = 30.0,
        tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Run what may run and is registered here, and carry on for processes that are gone, until `stop`.

        This is what `interlock worker` does (`interlock.client.working`).

        Args:
            once: only what may run now, then return.
            parallel: how many functions run at the same time.
            drain_sec: how long functions that run may go on after `stop`.
            tell: called with what happens, as JSON values; from several threads.

        Raises:
            HomeUnusable: the home cannot be served from this process.
        """
        from interlock.client.working import Worker

        worker = Worker(self._backend, self._guarded, self._callbacks, parallel, tell)
        worker.run_once() if once else worker.run(stop, drain_sec)

    def withdraw(self, action_id: str) -> dict[str, Any]:
        """Take back what has not run yet. Raises `Conflict` where it runs or has ended."""
        self._backend.withdraw(action_id)
        return self.action(action_id)

    def close(self) -> None:
        """Sign the ledger's head and release the home."""
        self._backend.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- inside ------------------------------------------------------------------------------------------

    def _call(self, guarded: Guarded, args: dict[str, Any]) -> Any:
        action_id, claim = self._propose(guarded, args)
        if claim is None:
            return self.resume(action_id)
        return self._backend.run(claim, guarded.function)

    async def _call_async(self, guarded: Guarded, args: dict[str, Any]) -> Any:
        action_id, claim = await asyncio.to_thread(self._propose, guarded, args)
        if claim is None:
            return await self.resume_async(action_id)
        return await self._backend.run_async(claim, guarded.function)

    def _propose(self, guarded: Guarded, args: dict[str, Any]) -> tuple[str, Claim | None]:
        refuse_while_loading()
        proposal = Proposal(
            topic=guarded.topic,
            args=args,
            principal=self._principal,
            session=self._session,
            checkpoint=None if guarded.checkpoint is None else _bytes(guarded.checkpoint()),
            tags=guarded.tags,
        )
        return self._backend.propose(proposal, guarded.function, inline=True)

    def _ready(self, action_id: str) -> Guarded | tuple[Any]:
        """The function to run for an action that may run; otherwise its result, in a tuple of one.

        An http action that may run is carried out on the way. Raises as `resume`.
        """
        refuse_while_loading()
        self._backend.catch_up()
        view = self.action(action_id)
        if view["state"] in _MAY_RUN:
            if ExecutorKind(view["executor"]).dispatched:
                self._backend.dispatch(action_id)
                return (_result(self.action(action_id)),)
            if view["executor"] == ExecutorKind.PERMITTED:
                raise NotClaimable(
                    f"{view['executor_name']} runs {view['topic']}, under a permit that only a server makes.",
                    fix="Run `interlock serve` on this home and ask it: POST /v1/actions/{id}/permit.",
                )
            guarded = self._guarded.get(view["topic"])
            if guarded is None:
                raise NotClaimable(
                    f"No function is registered for {view['topic']} in this process.",
                    fix="Resume where the function is guarded.",
                )
            guarded.check(view)
            return guarded
        return (_result(view),)


def _result(view: dict[str, Any]) -> Any:
    """The result of an action that has ended well, or the exception that says where it stands."""
    match ActionState(view["state"]):
        case ActionState.SUCCEEDED:
            return view["result"]
        case ActionState.HELD:
            raise Held(view)
        case ActionState.DENIED | ActionState.REJECTED:
            raise Denied(view)
        case ActionState.IN_DOUBT:
            raise InDoubt(view["user_message"], extra={"action": view["id"]})
        case ActionState.EXECUTING:
            raise NotClaimable(view["user_message"], fix="Ask again later.")
        case _:
            raise Ended(view)


def _bytes(checkpoint: object) -> bytes | None:
    if checkpoint is not None and not isinstance(checkpoint, bytes):
        raise InvalidInput("a checkpoint is bytes", path="$.checkpoint")
    return checkpoint
