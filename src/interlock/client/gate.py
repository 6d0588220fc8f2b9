"""The gate an engineer holds: guard, propose, resume.

What it stands on (`Embedded` here) is loaded when a gate is opened; this module imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from interlock.client.held import Denied, Ended, Held
from interlock.client.registry import Guarded
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import InDoubt, InvalidInput, NotClaimable
from interlock.model.money import decimal_of
from interlock.model.topics import parse_topic

if TYPE_CHECKING:
    from interlock.client.embedded import Embedded
    from interlock.gate import Claim

P = ParamSpec("P")
R = TypeVar("R")
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

    def guard(self, topic: str, *, tags: tuple[str, ...] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Bind a function, or a coroutine function, to a topic; its calls go through the gate.

        Args:
            topic: the tool's stable name.
            tags: risk tags for a topic that is not in the catalogue; the catalogue's own win.

        The call raises `Held`, `Denied` or `Ended` where it does not run, and `InvalidInput` for arguments
        that the catalogue does not accept.
        """
        parse_topic(topic, "topic")

        def bind(function: Callable[P, R]) -> Callable[P, R]:
            if topic in self._guarded:
                raise InvalidInput(f"{topic} is bound to another function already", path="topic")
            guarded = Guarded.bind(topic, function, tags)
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
    ) -> dict[str, Any]:
        """Propose an action and return it as its proposer may see it, whatever the verdict.

        An allowed action with an ``http`` executor is carried out before this returns; one with a guarded
        function is not: call `resume`.

        Args:
            confidence: the agent's own, 0 to 1; it can only tighten.
            retry_of: the ended action that this one tries again.

        Raises:
            InvalidInput: (a subclass) for arguments that are not acceptable.
        """
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
            tags=() if guarded is None else guarded.tags,
        )
        action_id, _ = self._backend.propose(
            proposal, registered=guarded is not None, inline=False, retry_of=retry_of
        )
        return self.action(action_id)

    def action(self, action_id: str) -> dict[str, Any]:
        """The action as its proposer may see it. Raises `NotFound`."""
        return self._backend.action(action_id)

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
        return self._backend.run(self._backend.claim(action_id), ready.function)

    async def resume_async(self, action_id: str) -> Any:
        """As `resume`, inside a running event loop."""
        ready = await asyncio.to_thread(self._ready, action_id)
        if not isinstance(ready, Guarded):
            return ready[0]
        claim = await asyncio.to_thread(self._backend.claim, action_id)
        if ready.is_async:
            return await self._backend.run_async(claim, ready.function)
        return await asyncio.to_thread(self._backend.run, claim, ready.function)

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
        proposal = Proposal(
            topic=guarded.topic,
            args=args,
            principal=self._principal,
            session=self._session,
            tags=guarded.tags,
        )
        return self._backend.propose(proposal, registered=True, inline=True)

    def _ready(self, action_id: str) -> Guarded | tuple[Any]:
        """The function to run for an action that may run; otherwise its result, in a tuple of one.

        An http action that may run is carried out on the way. Raises as `resume`.
        """
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
