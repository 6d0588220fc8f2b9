"""The gate for programs that live in an event loop: the surface of `Gate`, awaited.

1. It is the same gate: each method is `Gate`'s, called in a thread of this gate's own, so that no other
   work of the program's threads waits for it. Rules, errors and meanings stand there.
2. A guarded function is a coroutine function here; what is handed in may also be a plain one, which runs in a
   thread. What a call records is committed by the loop's own thread where nobody else writes to a journal
   at hand (`Journal.commit_async`), and by another one elsewhere. `wait` keeps one of `THREADS` threads
   while it waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from interlock.client.gate import Callback, Gate
from interlock.client.sessions import Session
from interlock.model.errors import InvalidInput

THREADS = 64
P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    method: Callable[Concatenate[Gate, P], R],
) -> Callable[Concatenate[AsyncGate, P], Coroutine[Any, Any, R]]:
    """A method of `Gate` as one of `AsyncGate`."""

    @functools.wraps(method)
    async def later(self: AsyncGate, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.elsewhere(functools.partial(method, self.gate, *args, **kwargs))

    return later


class AsyncGate:
    """A gate whose methods are awaited. Use it as an asynchronous context manager, or await `close`.

    >>> gate = AsyncGate(Gate.open("policy.yaml"))                      # doctest: +SKIP
    >>> @gate.guard("job.payments.refund")                              # doctest: +SKIP
    ... async def refund(order_id: str, amount_usd: Decimal) -> dict: ...

    Args:
        gate: what it stands on; both may be used.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="async-gate")

    @classmethod
    async def open(cls, *args: Any, **kwargs: Any) -> AsyncGate:
        """As `Gate.open`."""
        return cls(await asyncio.to_thread(functools.partial(Gate.open, *args, **kwargs)))

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> AsyncGate:
        """As `Gate.connect`."""
        return cls(await asyncio.to_thread(functools.partial(Gate.connect, *args, **kwargs)))

    def guard(
        self,
        topic: str,
        *,
        tags: tuple[str, ...] = (),
        checkpoint: Callable[[], bytes | None] | None = None,
        wait: float = 0.0,
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """As `Gate.guard`, for coroutine functions. Raises `InvalidInput` for another."""
        bind = self.gate.guard(topic, tags=tags, checkpoint=checkpoint, wait=wait)

        def bound(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            if not asyncio.iscoroutinefunction(function):
                raise InvalidInput(
                    f"{topic} is bound to a function that is not awaited",
                    path="topic",
                    fix="Guard an `async def`, or use `Gate`.",
                )
            return bind(function)

        return bound

    def register(self, topic: str, *, tags: tuple[str, ...] = ()) -> None:
        """As `Gate.register`."""
        self.gate.register(topic, tags=tags)

    def on_decided(self, callback: Callback) -> Callback:
        """As `Gate.on_decided`; callbacks are called in the gate's thread, coroutine functions in a loop of
        their own."""
        return self.gate.on_decided(callback)

    async def session(self, *, ref: str | None = None, principal: str | None = None) -> AsyncSession:
        """As `Gate.session`."""
        opening = functools.partial(self.gate.session, ref=ref, principal=principal)
        return AsyncSession(self, await self.elsewhere(opening))

    propose = _awaited(Gate.propose)
    ask = _awaited(Gate.ask)
    action = _awaited(Gate.action)
    wait = _awaited(Gate.wait)
    checkpoint = _awaited(Gate.checkpoint)
    withdraw = _awaited(Gate.withdraw)
    rollback_plan = _awaited(Gate.rollback_plan)
    rollback = _awaited(Gate.rollback)
    close = _awaited(Gate.close)

    async def call(
        self,
        topic: str,
        args: dict[str, Any],
        function: Callable[..., Any],
        *,
        call_id: str | None = None,
        wait: float = 0.0,
    ) -> Any:
        """As `Gate.call`."""
        return await self.gate.call_async(topic, args, function, call_id=call_id, wait=wait)

    async def resume(self, action_id: str) -> Any:
        """As `Gate.resume`."""
        return await self.gate.resume_async(action_id)

    async def run(self, action_id: str, function: Callable[..., Any]) -> Any:
        """As `Gate.run`."""
        return await self.gate.run_async(action_id, function)

    async def elsewhere(self, work: Callable[[], R]) -> R:
        """What blocks, in a thread of this gate's, in the caller's context."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)

    async def __aenter__(self) -> AsyncGate:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        self._threads.shutdown(wait=False)


class AsyncSession:
    """A session whose methods are awaited; rules and meanings stand at `Session`."""

    def __init__(self, gate: AsyncGate, session: Session) -> None:
        self._gate = gate
        self._session = session

    @property
    def id(self) -> str:
        return self._session.id

    def calls(self) -> AbstractContextManager[Session]:
        """As `Session.calls`; a plain ``with``."""
        return self._session.calls()

    async def turn(self, text: str, **rest: Any) -> int:
        """As `Session.turn`."""
        return await self._gate.elsewhere(functools.partial(self._session.turn, text, **rest))

    async def result(self, tool: str, content: Any, **rest: Any) -> int:
        """As `Session.result`."""
        return await self._gate.elsewhere(functools.partial(self._session.result, tool, content, **rest))

    async def end(self) -> None:
        """As `Session.end`."""
        await self._gate.elsewhere(self._session.end)
