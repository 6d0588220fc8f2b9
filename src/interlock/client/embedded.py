"""The gate in this process: what `Gate.open` stands on. Imported when a gate is opened, since it brings the
database, the policy and the connector along."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from interlock.dispatch import Dispatcher, run_async, run_sync
from interlock.gate import Claim
from interlock.home import Home, read_policy
from interlock.home.home import NAME
from interlock.identity import embedded_caller
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import NotClaimable


class Embedded:
    """A home opened by the agent's own process."""

    def __init__(self, home: Home, agent: str) -> None:
        self._home = home
        self._caller = embedded_caller(agent)

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
        self, proposal: Proposal, *, registered: bool, inline: bool, retry_of: str | None = None
    ) -> tuple[str, Claim | None]:
        """The action's id, and a claim where it was allowed and `inline`; an allowed http action has run."""
        proposed = self._home.gate.propose(
            proposal, self._caller, registered=registered, inline=inline, predecessor=retry_of
        )
        row = proposed.action
        if row is None:
            raise NotClaimable("The proposal left no action.")
        if proposed.created and ExecutorKind(row.executor).dispatched and row.status is ActionState.ALLOWED:
            self.dispatch(row.id)
        return row.id, proposed.claim

    def catch_up(self) -> None:
        """Let deadlines and leases that have passed do what they do, since no server may be there to."""
        self._home.gate.sweep()

    def action(self, action_id: str) -> dict[str, Any]:
        """The action as its proposer may see it. Raises `NotFound`."""
        return self._home.views.action(action_id, self._caller)

    def claim(self, action_id: str) -> Claim:
        return self._home.gate.claim(action_id, ExecutorKind.CALLER)

    def run(self, claim: Claim, function: Callable[..., Any]) -> Any:
        return run_sync(self._home.gate, self._home.leases, claim, function)

    async def run_async(self, claim: Claim, function: Callable[..., Awaitable[Any]]) -> Any:
        return await run_async(self._home.gate, self._home.leases, claim, function)

    def dispatch(self, action_id: str) -> None:
        """Carry out one http action from this process; its outcome is in the journal."""

        async def once() -> None:
            connector = self._home.connectors()
            try:
                await Dispatcher(self._home.gate, connector, self._home.leases).run(action_id)
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
        self._home.close()


def in_a_loop() -> bool:
    """Whether this thread runs an event loop, which `asyncio.run` refuses to enter again."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
