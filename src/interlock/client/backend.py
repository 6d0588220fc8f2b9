"""What a `Gate` stands on: the gate in this process (`Embedded`), or a server elsewhere (`Connected`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from interlock.dispatch import Execution
    from interlock.gate.resumable import Resumable
    from interlock.gate.telling import Event
    from interlock.model.actions import Proposal

Callback = Callable[["Event"], Any]


class Following(Protocol):
    """Tells callbacks of all of one agent's actions, in the place of processes that are gone."""

    def start(self) -> None: ...

    def catch_up(self) -> None:
        """Tell what there is now, in this thread, and give the place back."""
        ...

    def close(self, seconds: float | None = None) -> bool:
        """End after the event that is being told; False where that took longer."""
        ...


class Backend(Protocol):
    @property
    def folder(self) -> Path:
        """The installation's folder. Raises `HomeUnusable` where that is not on this machine."""
        ...

    def propose(
        self,
        proposal: Proposal,
        function: Callable[..., Any] | None,
        *,
        registered: bool,
        inline: bool,
        retry_of: str | None = None,
    ) -> tuple[str, Execution | None]:
        """The action's id, and its execution where it was allowed and `inline`; one that is dispatched and
        allowed has run.

        Args:
            function: what this process guards for the topic, if it does.
            registered: whether trusted code of this process registered the topic.
        """
        ...

    async def propose_async(
        self, proposal: Proposal, function: Callable[..., Any] | None
    ) -> tuple[str, Execution | None]:
        """As `propose`, registered and inline, without blocking the event loop."""
        ...

    def action(self, action_id: str) -> dict[str, Any]:
        """The action as its proposer may see it. Raises `NotFound`."""
        ...

    def wait(self, action_id: str, seconds: float) -> dict[str, Any]:
        """The action once it is not held any more, or after so many seconds."""
        ...

    def checkpoint(self, action_id: str) -> bytes | None: ...

    def claim(self, action_id: str, function: Callable[..., Any]) -> Execution:
        """The right to run an action once, with this function. Raises `NotClaimable` and its kin."""
        ...

    def dispatch(self, action_id: str) -> None:
        """Have one dispatched action carried out; its outcome is in its view afterwards."""
        ...

    def withdraw(self, action_id: str) -> None: ...

    def rollback_plan(self, action_id: str) -> dict[str, Any]: ...

    def rollback(self, action_id: str) -> str:
        """The id of the action that takes this one back; a dispatched one that is allowed has run."""
        ...

    def catch_up(self) -> None:
        """Let deadlines and leases that have passed do what they do, where no server does that."""
        ...

    def open_session(self, principal: str | None, ref: str | None) -> dict[str, Any]:
        """The session of that name, or a new one."""
        ...

    def record(self, session_id: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record in a session: `what` is ``turns`` or ``results``, `body` as that endpoint has it."""
        ...

    def end_session(self, session_id: str) -> None: ...

    def on_decided(self, callback: Callback) -> None: ...

    def follow(self, callbacks: list[Callback]) -> Following:
        """What tells of all of this agent's actions, in the place of what tells of this process's own."""
        ...

    def resumable(self, topics: Collection[str], limit: int) -> tuple[list[Resumable], dict[str, str]]:
        """Actions of this agent that a process with functions for these topics may run now; and of each other
        topic one action's id."""
        ...

    async def serve(self, stop: asyncio.Event, news: Callable[[], None]) -> None:
        """Do what serves the home, until `stop`; `news()` is called when something was committed."""
        ...

    def close(self) -> None: ...
