"""The gate in this process: what `Gate.open` stands on. Imported when a gate is opened, since it brings the
database, the policy and the connector along."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from interlock.client.loops import in_a_loop
from interlock.client.watching import POLL_SEC, Follower, Watcher
from interlock.dispatch import Dispatcher, Execution, lacking
from interlock.dispatch.caller import Here
from interlock.gate import Claim, Proposed, followed
from interlock.gate.resumable import Resumable, resumable
from interlock.gate.telling import Event
from interlock.home import Home, read_policy
from interlock.home.home import NAME
from interlock.identity import embedded_caller
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import ConstraintUnenforceable, NotClaimable
from interlock.model.sessions import Result, Turn


class Embedded:
    """A home opened by the agent's own process."""

    def __init__(self, home: Home, agent: str) -> None:
        self._home = home
        self._agent = agent
        self._caller = embedded_caller(agent)
        self._watcher = Watcher(home.journal)
        self._commits: int | None = None
        self._grown = threading.Condition()

    def _grew(self, _size: int) -> None:
        with self._grown:
            self._commits = (self._commits or 0) + 1
            self._grown.notify_all()

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
        registered: bool,
        inline: bool,
        retry_of: str | None = None,
    ) -> tuple[str, Execution | None]:
        with _held_to(function, registered) as cannot:
            proposed = self._home.gate.propose(
                proposal,
                self._caller,
                registered=registered,
                inline=inline,
                dispatching=True,
                predecessor=retry_of,
                cannot=cannot,
            )
        return self._begun(proposed)

    async def propose_async(
        self, proposal: Proposal, function: Callable[..., Any] | None
    ) -> tuple[str, Execution | None]:
        with _held_to(function, True) as cannot:
            proposed = await self._home.gate.propose_async(
                proposal, self._caller, registered=True, inline=True, dispatching=True, cannot=cannot
            )
        row = proposed.action
        if row is not None and ExecutorKind(row.executor).dispatched:
            return await asyncio.to_thread(self._begun, proposed)  # it is carried out before this returns
        return self._begun(proposed)

    def rollback_plan(self, action_id: str) -> dict[str, Any]:
        return self._home.gate.rollback_plan(action_id, self._caller).to_json()

    def rollback(self, action_id: str) -> str:
        return self._begun(self._home.gate.rollback(action_id, self._caller, dispatching=True))[0]

    def _begun(self, proposed: Proposed) -> tuple[str, Execution | None]:
        """As `propose`, after the gate has recorded it."""
        row = proposed.action
        if row is None:
            raise NotClaimable("The proposal left no action.")
        self._watcher.mine(row.id)
        claim = proposed.claim
        if not ExecutorKind(row.executor).dispatched:
            return row.id, None if claim is None else self._here(claim)
        if claim is not None:
            self._with_dispatcher(lambda dispatcher: dispatcher.carry_out(claim))
        elif proposed.created and row.status is ActionState.ALLOWED:
            with suppress(NotClaimable):  # a serving process was faster
                self.dispatch(row.id)
        return row.id, None

    def catch_up(self) -> None:
        self._home.gate.sweep()

    def action(self, action_id: str) -> dict[str, Any]:
        return self._home.views.action(action_id, self._caller)

    def wait(self, action_id: str, seconds: float) -> dict[str, Any]:
        until = time.monotonic() + seconds
        with self._grown:
            if self._commits is None:  # nobody has waited before
                self._commits = 0
                self._home.journal.on_commit(self._grew)
        while True:
            commits, view = self._commits, self.action(action_id)
            left = until - time.monotonic()
            if view["state"] != ActionState.HELD or left <= 0:
                return view
            with self._grown:  # what other processes commit is not told here
                self._grown.wait_for(lambda seen=commits: self._commits != seen, min(left, POLL_SEC))  # type: ignore[misc]

    def checkpoint(self, action_id: str) -> bytes | None:
        return self._home.gate.checkpoint(action_id, self._caller).content

    def open_session(self, principal: str | None, ref: str | None) -> dict[str, Any]:
        return self._home.sessions.open(self._caller, principal=principal, ref=ref)[0]

    def record(self, session_id: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        said = dict(body)
        ref = said.pop("ref")
        record = Turn(**said) if what == "turns" else Result(action_id=said.pop("action"), **said)
        return self._home.sessions.record(session_id, self._caller, record, ref=ref)[0]

    def end_session(self, session_id: str) -> None:
        self._home.sessions.end(session_id, self._caller)

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
        self._watcher.close()
        home = self._home
        return Follower(home.journal, self._agent, home.gate.holder, callbacks, lambda: home.publisher.first)

    def resumable(self, topics: Collection[str], limit: int) -> tuple[list[Resumable], dict[str, str]]:
        look = partial(resumable, agent=self._agent, topics=topics, limit=limit)
        return self._home.journal.look(look)

    async def serve(self, stop: asyncio.Event, news: Callable[[], None]) -> None:
        from interlock.client.serving import serve

        await serve(self._home, stop, news)

    def claim(self, action_id: str, function: Callable[..., Any]) -> Execution:
        with _held_to(function) as cannot:
            return self._here(self._home.gate.claim(action_id, ExecutorKind.CALLER, cannot=cannot))

    def _here(self, claim: Claim) -> Here:
        return Here(self._home.gate, self._home.leases, claim)

    def dispatch(self, action_id: str) -> None:
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
def _held_to(function: Callable[..., Any] | None, registered: bool = False) -> Iterator[frozenset[str]]:
    """The constraints that this very function cannot be held to; a refusal for one of them says why.

    A topic that is registered without a function is run by one that a framework hands in at that time, and
    that no fresh process finds.
    """
    why = None if function is None else lacking(function)
    anonymous = registered and function is None
    try:
        yield frozenset() if why is None and not anonymous else frozenset({"max_runtime_sec"})
    except ConstraintUnenforceable as error:
        if why is not None and "max_runtime_sec" in error.extra.get("constraints", ()):
            raise why from error
        raise
