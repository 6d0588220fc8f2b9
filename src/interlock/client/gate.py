"""The gate an engineer holds: guard, propose, resume.

What it stands on (`Embedded`, `Connected`) is loaded when a gate is opened; nothing heavy is imported here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from interlock.client.functions import MAY_RUN, Functions, checkpoint_bytes
from interlock.client.held import result_of
from interlock.client.registry import loading, refuse_while_loading
from interlock.client.sessions import Session
from interlock.model.actions import Proposal
from interlock.model.money import decimal_of
from interlock.model.questions import TOPIC, question_args

if TYPE_CHECKING:
    from interlock.client.backend import Backend
    from interlock.gate.telling import Event

Callback = TypeVar("Callback", bound="Callable[[Event], Any]")


class Gate(Functions):
    """A gate. Use it as a context manager, or call `close`.

    >>> gate = Gate.open("policy.yaml")                                 # doctest: +SKIP
    >>> @gate.guard("job.payments.refund")                              # doctest: +SKIP
    ... def refund(order_id: str, amount_usd: Decimal) -> dict: ...
    """

    def __init__(self, backend: Backend, *, session: str | None, principal: str | None) -> None:
        super().__init__(backend, session=session, principal=principal)
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

    @classmethod
    def connect(
        cls,
        url: str | None = None,
        *,
        key: str | None = None,
        session: str | None = None,
        principal: str | None = None,
        insecure: bool = False,
        ca: str | Path | None = None,
    ) -> Gate:
        """A gate at a server elsewhere, which holds what this process does not: policy, keys, decisions.

        Functions of this process run under claims of the server. It takes the key of an adapter; with an
        agent's key everything works but running functions.

        Args:
            url: the server's; ``INTERLOCK_URL`` by default. ``https``, or ``http`` to this machine.
            key: ``INTERLOCK_KEY`` by default. The agent's name is the key's.
            session, principal: as in `open`.
            insecure: let the key travel unencrypted to another machine.
            ca: a file of certificates to trust in the place of the system's.

        Raises:
            InvalidInput: the URL is none. Unavailable: nothing answers there, or no Interlock of this
            version. Unauthenticated: there is no key, or the server does not know it.
        """
        from interlock.client.connected import Connected

        backend = Connected.open(url, key, insecure=insecure, ca=None if ca is None else Path(ca))
        return cls(backend, session=session, principal=principal)

    @property
    def home(self) -> Path:
        """The installation's folder."""
        return self._backend.folder

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
        session, principal = self._belongs()
        proposal = Proposal(
            topic=topic,
            args=args,
            principal=principal,
            session=session,
            parent_action=parent_action,
            call_id=call_id,
            idempotency_key=idempotency_key,
            confidence=None if confidence is None else decimal_of(confidence, "$.confidence"),
            reasoning=reasoning,
            alternatives=alternatives,
            checkpoint=checkpoint_bytes(checkpoint),
            tags=self._tags(topic) or (),
        )
        action_id, _ = self._backend.propose(
            proposal,
            None if guarded is None else guarded.function,
            registered=self._tags(topic) is not None,
            inline=False,
            retry_of=retry_of,
        )
        return self.action(action_id)

    def call(
        self,
        topic: str,
        args: Mapping[str, Any],
        function: Callable[..., Any],
        *,
        call_id: str | None = None,
        wait: float = 0.0,
    ) -> Any:
        """What a guarded call does, with the function handed in for this one call: propose, run it as
        ``function(**args)`` where it is allowed, return its result.

        Args:
            call_id: the framework's id of the call. The same call again is the same action.
            wait: as in `guard`.

        Raises:
            As a guarded call.
        """
        return self._call(self._handed(topic, function, wait), dict(args), call_id)

    async def call_async(
        self,
        topic: str,
        args: Mapping[str, Any],
        function: Callable[..., Any],
        *,
        call_id: str | None = None,
        wait: float = 0.0,
    ) -> Any:
        """As `call`, inside a running event loop: coroutine functions are awaited, others run in a thread."""
        return await self._call_async(self._handed(topic, function, wait), dict(args), call_id)

    def ask(
        self,
        question: str,
        *,
        options: tuple[str, ...] = (),
        context: str = "",
        call_id: str | None = None,
        wait: float = 0.0,
        checkpoint: bytes | None = None,
    ) -> str:
        """Ask a person, instead of guessing; their answer, where there is one.

        The same question again is the same one while it waits, and the one that was answered where it comes
        with the same `call_id`. `resume` gives the answer as well, in whichever process.

        Args:
            question: what to answer, at most 2,000 characters; shown as the agent's words.
            options: at most 10 answers to choose from; any words without.
            context: what helps to answer it.
            wait: how many seconds to wait for the answer before `Held` is raised.

        Raises:
            Held: nobody has answered yet. Denied: the policy denies it, or a person rejected it. Ended: it
            expired. Conflict: under this policy nobody would be asked. InvalidInput.
        """
        args = question_args(question, tuple(options), context)
        asked = self.propose(TOPIC, args, call_id=call_id, checkpoint=checkpoint)
        if wait > 0:
            asked = self._backend.wait(asked["id"], wait)
        return str(result_of(asked))

    def session(self, *, ref: str | None = None, principal: str | None = None) -> Session:
        """Open a session: one run of this gate's agent for one principal, in which you record what the user
        said and what tools gave back. The agent does not: over a server it takes an adapter's key.

        >>> session = gate.session(ref=thread_id, principal=user)           # doctest: +SKIP
        >>> session.turn("Please refund order A-12.")                       # doctest: +SKIP
        >>> with session.calls():                                           # doctest: +SKIP
        ...     refund("A-12", Decimal("20.00"))

        Args:
            ref: your own name for it, such as the thread's id: the same name is the same session, in every
                process.
            principal: on whose behalf; the gate's own by default.

        Raises:
            Forbidden: this is the key of an agent. IdempotencyConflict: `ref` names a session for another
            principal.
        """
        whom = self._principal if principal is None else principal
        return Session(self._backend, self._backend.open_session(whom, ref)["id"], whom)

    def action(self, action_id: str) -> dict[str, Any]:
        """The action as its proposer may see it. Raises `NotFound`."""
        return self._backend.action(action_id)

    def wait(self, action_id: str, seconds: float) -> dict[str, Any]:
        """The action once a person or its deadline has decided it, or as it stands after so many seconds.

        It waits in this process alone and keeps nothing up: the request goes on waiting after it.
        """
        return self._backend.wait(action_id, seconds)

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
        return self._run(action_id, None)

    def run(self, action_id: str, function: Callable[..., Any]) -> Any:
        """As `resume`, with the function handed in for this one call instead of one that is guarded.

        It is called as ``function(**args)`` with exactly the approved arguments, declared decimals as
        `Decimal`, once; an action that has its result already is not run again. Which function stands for the
        topic is the word of trusted code, as with `guard`.

        Raises:
            As `resume`. ConstraintUnenforceable: the action has a limit that this function cannot be held to.
        """
        return self._run(action_id, function)

    async def run_async(self, action_id: str, function: Callable[..., Any]) -> Any:
        """As `run`, inside a running event loop: coroutine functions are awaited, others run in a thread."""
        return await self._run_async(action_id, function)

    async def resume_async(self, action_id: str) -> Any:
        """As `resume`, inside a running event loop."""
        return await self._run_async(action_id, None)

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
        if undo["state"] in MAY_RUN and guarded is not None and not guarded.is_async:
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
