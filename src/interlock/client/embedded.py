"""The gate in this process: what `Gate.open` stands on. Imported when a gate is opened, since it brings the
database, the policy and the connector along."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from interlock.client.watching import Follower, Watcher
from interlock.dispatch import Dispatcher, lacking, run_async, run_sync
from interlock.gate import Claim, Proposed, followed
from interlock.gate.resumable import Resumable, resumable
from interlock.gate.telling import Event
from interlock.home import Home, read_policy
from interlock.home.home import NAME
from interlock.identity import embedded_caller
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import ConstraintUnenforceable, NotClaimable


class Embedded:
    """A home opened by the agent's own process."""

    def __init__(self, home: Home, agent: str) -> None:
        self._home = home
        self._agent = agent
        self._caller = embedded_caller(agent)
        self._watcher = Watcher(home.journal)

    @classmethod
    def open(
        cls, policy: Path, home: Path | None, *, agent: str, activate: bool, database: str | None = None
    ) -> Embedded:
        """As `Gate.open`."""
        folder = home if home is not None else policy.parent / NAME
        loaded = read_policy(policy)
        opened = Home.open(
            folder, policy=loaded, activate=activate, by=f"embedded:{agent}", database=database
        )
        if loaded.mode == "observe":
            warnings.warn(
                f"{policy} is in observe mode: nothing is held or denied, and no promise of Interlock holds.",
                stacklevel=3,
            )
        opened.gate.sweep()
        return cls(opened, agent)

    def propose(
        self,
        proposal: Proposal,
        function: Callable[..., Any] | None,
        *,
        inline: bool,
        retry_of: str | None = None,
    ) -> tuple[str, Claim | None]:
        """The action's id, and a claim where it was allowed and `inline`; an allowed http action has run.

        Args:
            function: what this process registered for the topic, if it did.
        """
        with _held_to(function) as cannot:
            proposed = self._home.gate.propose(
                proposal,
                self._caller,
                registered=function is not None,
                inline=inline,
                dispatching=True,
                predecessor=retry_of,
                cannot=cannot,
            )
        return self._begun(proposed)

    def rollback_plan(self, action_id: str) -> dict[str, Any]:
        return self._home.gate.rollback_plan(action_id, self._caller).to_json()

    def rollback(self, action_id: str) -> str:
        """The id of the action that takes this one back; an allowed http action has run."""
        return self._begun(self._home.gate.rollback(action_id, self._caller, dispatching=True))[0]

    def _begun(self, proposed: Proposed) -> tuple[str, Claim | None]:
        """As `propose`, after the gate has recorded it."""
        row = proposed.action
        if row is None:
            raise NotClaimable("The proposal left no action.")
        self._watcher.mine(row.id)
        claim = proposed.claim
        if not ExecutorKind(row.executor).dispatched:
            return row.id, claim
        if claim is not None:
            self._with_dispatcher(lambda dispatcher: dispatcher.carry_out(claim))
        elif proposed.created and row.status is ActionState.ALLOWED:
            with suppress(NotClaimable):  # a serving process was faster
                self.dispatch(row.id)
        return row.id, None

    def catch_up(self) -> None:
        """Let deadlines and leases that have passed do what they do, since no server may be there to."""
        self._home.gate.sweep()

    def action(self, action_id: str) -> dict[str, Any]:
        """The action as its proposer may see it. Raises `NotFound`."""
        return self._home.views.action(action_id, self._caller)

    def checkpoint(self, action_id: str) -> bytes | None:
        return self._home.gate.checkpoint(action_id, self._caller).content

    def on_decided(self, callback: Callable[[Event], Any]) -> None:
        journal = self._home.journal
        if not self._watcher.asked:
            start = journal.head()[0]
            journal.commit(lambda tx: followed.begin(tx, self._agent, start))
        self._watcher.on_decided(callback)

    @property
    def folder(self) -> Path:
        return self._home.path

    def follow(self, callbacks: list[Callable[[Event], Any]]) -> Follower:
        """What tells of all of this agent's actions, in the place of what tells of this process's own."""
        self._watcher.close()
        home = self._home
        return Follower(home.journal, self._agent, home.gate.holder, callbacks, lambda: home.publisher.first)

    def resumable(self, topics: Collection[str], limit: int) -> tuple[list[Resumable], dict[str, str]]:
        """Actions of this agent that a process with functions for these topics may run now; and of each other
        topic one action's id."""
        look = partial(resumable, agent=self._agent, topics=topics, limit=limit)
        return self._home.journal.look(look)

    async def serve(self, stop: asyncio.Event, news: Callable[[], None]) -> None:
        """Serve the home until `stop`; `news()` is called when something was committed."""
        from interlock.client.serving import serve

        await serve(self._home, stop, news)

    def claim(self, action_id: str, function: Callable[..., Any]) -> Claim:
        with _held_to(function) as cannot:
            return self._home.gate.claim(action_id, ExecutorKind.CALLER, cannot=cannot)

    def run(self, claim: Claim, function: Callable[..., Any]) -> Any:
        return run_sync(self._home.gate, self._home.leases, claim, function)

    async def run_async(self, claim: Claim, function: Callable[..., Awaitable[Any]]) -> Any:
        return await run_async(self._home.gate, self._home.leases, claim, function)

    def dispatch(self, action_id: str) -> None:
        """Carry out one http action from this process; its outcome is in the journal."""
        self._with_dispatcher(lambda dispatcher: dispatcher.run(action_id))

    def _with_dispatcher(self, work: Callable[[Dispatcher], Awaitable[None]]) -> None:
        async def once() -> None:
            connector = self._home.connectors()
            try:
                await work(Dispatcher(self._home.gate, connector, self._home.leases))
            finally:
                await connector.aclose()

        if in_a_loop():
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(asyncio.run, once()).result()
        else:
            asyncio.run(once())

    def withdraw(self, action_id: str) -> None:
        self._home.gate.withdraw(action_id, self._caller)

    def close(self) -> None:
        self._watcher.close()
        self._home.close()


@contextmanager
def _held_to(function: Callable[..., Any] | None) -> Iterator[frozenset[str]]:
    """The constraints that this very function cannot be held to; a refusal for one of them says why."""
    why = None if function is None else lacking(function)
    try:
        yield frozenset() if why is None else frozenset({"max_runtime_sec"})
    except ConstraintUnenforceable as error:
        if why is not None and "max_runtime_sec" in error.extra.get("constraints", ()):
            raise why from error
        raise


def in_a_loop() -> bool:
    """Whether this thread runs an event loop, which `asyncio.run` refuses to enter again."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
