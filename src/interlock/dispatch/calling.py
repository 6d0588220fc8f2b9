"""Running a function under a claim: once, and reported. Whether the gate is in this process or behind a
server is the business of the `Execution`.

1. The function gets the arguments that were hashed and approved, with money as `Decimal`.
2. A return is a success. An exception is `in_doubt`, because nobody can say what happened before it,
   unless the function raises `NoEffect` or the topic only reads (tier 1).
3. `max_amount_usd` is checked before the call. A call in this process can be neither stopped nor fenced off:
   under `max_runtime_sec` it is made in a child process (`interlock.dispatch.child`), or the constraint is
   refused; `network_allowlist` is refused always. A kill switch ends a child; what runs in this process is
   only told, through `Leases.on_stop`.
4. What a child was doing when it was ended is `in_doubt`. Where the catalogue says that a repeated call gets
   the first answer, it is called once more, while that lasts; the breach stays on record whatever follows.
5. Directly before the call the gate is asked whether the claim still holds and no kill switch covers it: a
   process that was stopped since it claimed runs nothing, and says so.
6. While it runs, the function can ask which call it is, and for the key that makes a repeated one harmless
   (`interlock.current_call`).
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from interlock.dispatch.child import Ended, Ending, NotBegun, Place, Raised, Returned, run
from interlock.dispatch.stopping import Stopping
from interlock.gate import Report
from interlock.model.actions import ActionState
from interlock.model.calls import Call, calling
from interlock.model.canonical import canonical, plain
from interlock.model.errors import (
    ConstraintBreached,
    ConstraintUnenforceable,
    InDoubt,
    InvalidInput,
    NoEffect,
    NotClaimable,
    StaleClaim,
)
from interlock.model.verdicts import Constraints, Tier

MAX_RESULT = 1 << 20


class Execution(Protocol):
    """One claim, as whoever runs a function under it needs it."""

    @property
    def action_id(self) -> str: ...

    @property
    def revision(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def topic(self) -> str: ...

    @property
    def key(self) -> str:
        """The idempotency key for the system downstream."""
        ...

    @property
    def args(self) -> Mapping[str, Any]:
        """What was hashed and approved; declared decimals as `Decimal`."""
        ...

    @property
    def tier(self) -> Tier | None: ...

    @property
    def constraints(self) -> Constraints: ...

    @property
    def amount_usd(self) -> Decimal | None:
        """The action's amount in US dollars; None where it has none, or it is not known."""
        ...

    def kept(self) -> contextlib.AbstractContextManager[Stopping]:
        """Renew its lease until the block ends; word of a kill switch comes to what is handed out."""
        ...

    def withheld(self) -> str | None:
        """Why it may not begin any more, as a clause, also where that cannot be found out; None where it
        may."""
        ...

    async def withheld_async(self) -> str | None:
        """As `withheld`, without blocking the event loop."""
        ...

    def remembered(self) -> bool:
        """Whether a repeated call now still gets the answer of the first one."""
        ...

    def settle(self, report: Report) -> None:
        """Say what became of it. Raises `StaleClaim` where it no longer holds the action."""
        ...

    async def settle_async(self, report: Report) -> None:
        """As `settle`, without blocking the event loop."""
        ...


def call(execution: Execution, function: Callable[..., Any], *args: Any) -> Any:
    """Run a claimed function and report; returns what it returned, or raises what it raised.

    Args:
        args: leading positional arguments that are not part of the action (a bound `self`).

    Raises:
        ConstraintBreached: a constraint stopped it, before it ran or on its way. InDoubt: a kill switch
            stopped it on its way, or its process ended. ConstraintUnenforceable: it needs a process of its
            own and cannot be run there; nothing was run. NotClaimable: the claim lapsed, or a kill switch
            was engaged, before it ran.
    """
    over = _over_limit(execution)
    if over is not None:
        execution.settle(over)
        raise _breached(execution, over)
    if execution.constraints.max_runtime_sec is not None:
        return _run_apart(execution, _place(execution, function, args))
    with execution.kept():
        _check(execution)
        try:
            with calling(_call(execution)):
                result = function(*args, **execution.args)
        except BaseException as error:
            execution.settle(_raised(error, execution))
            raise
    execution.settle(_returned(result))
    return result


async def call_async(execution: Execution, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """As `call`, for a coroutine function; the gate is asked without blocking the event loop.

    A child process is ended where the coroutine is cancelled.
    """
    from asyncio import shield, to_thread

    over = _over_limit(execution)
    if over is not None:
        await execution.settle_async(over)
        raise _breached(execution, over)
    if execution.constraints.max_runtime_sec is not None:
        return await _run_apart_async(execution, await to_thread(_place, execution, function, args))
    with execution.kept():
        reason = await execution.withheld_async()
        if reason is not None:
            raise await to_thread(_not_run, execution, reason)
        try:
            with calling(_call(execution)):
                result = await function(*args, **execution.args)
        except BaseException as error:
            await shield(execution.settle_async(_raised(error, execution)))
            raise
    await shield(execution.settle_async(_returned(result)))
    return result


def _call(execution: Execution) -> Call:
    return Call(execution.action_id, execution.revision, execution.key)


# --- in a process of its own -----------------------------------------------------------------------------


def _place(execution: Execution, function: Callable[..., Any], args: tuple[Any, ...]) -> Place:
    """Where a child finds it. Settles and raises `ConstraintUnenforceable` where it finds nothing."""
    try:
        if args:
            raise ConstraintUnenforceable("A bound function cannot be run in a process of its own.")
        return Place.of(function)
    except ConstraintUnenforceable as error:
        execution.settle(Report(ActionState.FAILED, f"Nothing was run. {error.detail}"))
        raise


def _run_apart(execution: Execution, place: Place, given_up: Stopping | None = None) -> Any:
    """Rule 4, and `call` from there.

    Args:
        given_up: told when nobody waits for the result any more.
    """
    args, limit = execution.args, float(execution.constraints.max_runtime_sec or 0)
    breach = None
    with execution.kept() as stopping, (given_up or Stopping()).heard(stopping.tell):
        ending = run(place, args, limit, stopping, execution.withheld, _call(execution))
        if isinstance(ending, Ended) and ending.why == "time":
            breach = "max_runtime_sec"
            if execution.remembered():
                again = run(place, args, limit, stopping, execution.withheld, _call(execution))
                ending = ending if isinstance(again, NotBegun) else again
    if isinstance(ending, NotBegun) and ending.withheld:
        raise _not_run(execution, ending.reason)
    execution.settle(replace(_ended(ending, execution), breach=breach))
    what = execution.topic
    match ending:
        case Returned():
            return ending.value
        case Raised():
            raise ending.error
        case NotBegun():
            raise ConstraintUnenforceable(
                f"{what} was not run: {ending.reason}.",
                fix="Under max_runtime_sec it runs in a process of its own, which imports its module anew.",
            )
        case Ended(why="time"):
            raise ConstraintBreached(f"{what}: {ending.reason}. {_unless_reading(execution)}")
        case Ended():
            raise InDoubt(f"{what}: {ending.reason}. {_unless_reading(execution)}")


async def _run_apart_async(execution: Execution, place: Place) -> Any:
    from asyncio import CancelledError, get_running_loop, shield
    from concurrent.futures import ThreadPoolExecutor

    given_up, own = Stopping(), ThreadPoolExecutor(1, thread_name_prefix="child")
    # A thread of its own: children that take their time would keep the loop's threads from everybody else.
    waiting = get_running_loop().run_in_executor(own, _run_apart, execution, place, given_up)
    try:
        return await shield(waiting)
    except CancelledError:
        given_up.tell("whoever called it gave up")
        with contextlib.suppress(Exception):
            await shield(waiting)
        raise
    finally:
        own.shutdown(wait=False)


def _ended(ending: Ending, execution: Execution) -> Report:
    match ending:
        case NotBegun():
            return Report(ActionState.FAILED, f"Nothing was run: {ending.reason}.")
        case Returned(later=True):
            return _later(ending.kind)
        case Returned(kept=True):
            return Report(
                ActionState.SUCCEEDED, f"It returned a {ending.kind}, which cannot leave its process."
            )
        case Returned():
            return _returned(ending.value)
        case Raised(no_effect=str(said)):
            return Report(ActionState.FAILED, f"It reported that nothing took effect: {said}")
        case Raised():
            return _unknown(f"It raised {ending.kind}", execution)
        case Ended():
            return _unknown(f"It did not come to its end: {ending.reason}", execution)


def _unknown(what: str, execution: Execution) -> Report:
    state = ActionState.FAILED if execution.tier is Tier.READ_ONLY else ActionState.IN_DOUBT
    return Report(state, f"{what}. {_unless_reading(execution)}")


def _unless_reading(execution: Execution) -> str:
    if execution.tier is Tier.READ_ONLY:
        return "Reading changes nothing."
    return "Nobody knows how far it came."


# --- in every process ------------------------------------------------------------------------------------


def _over_limit(execution: Execution) -> Report | None:
    """What to report where the amount is over its limit."""
    limit, amount = execution.constraints.max_amount_usd, execution.amount_usd
    if limit is None or (amount is not None and abs(amount) <= limit):
        return None
    reason = f"the amount is {'unknown' if amount is None else f'${amount}'}, the limit is ${limit}"
    return Report(ActionState.FAILED, f"Nothing was run: {reason}.", breach="max_amount_usd")


def _breached(execution: Execution, over: Report) -> ConstraintBreached:
    return ConstraintBreached(f"{execution.topic} was not run: {over.note.partition(': ')[2]}")


def _check(execution: Execution) -> None:
    """Raises `NotClaimable` where nothing of the claim may begin any more (rule 5)."""
    reason = execution.withheld()
    if reason is not None:
        raise _not_run(execution, reason)


def _not_run(execution: Execution, reason: str) -> NotClaimable:
    """Report that nothing was run; what to raise. Somebody else may have said already what became of it."""
    with contextlib.suppress(StaleClaim):
        execution.settle(Report(ActionState.FAILED, f"Nothing was run: {reason}."))
    return NotClaimable(f"{execution.action_id} was not run: {reason}.")


def _raised(error: BaseException, execution: Execution) -> Report:
    what = type(error).__name__
    if isinstance(error, NoEffect):
        return Report(ActionState.FAILED, f"It reported that nothing took effect: {error}")
    if execution.tier is Tier.READ_ONLY:
        return Report(ActionState.FAILED, f"It raised {what}; reading changes nothing.")
    return Report(ActionState.IN_DOUBT, f"It raised {what} while running; nobody knows how far it came.")


def _returned(result: Any) -> Report:
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        return _later(type(result).__name__)
    try:
        value = plain(result)
        if len(canonical([value])) <= MAX_RESULT:
            return Report(ActionState.SUCCEEDED, "It returned.", value)
    except InvalidInput:
        pass  # said below, in words for a person
    return Report(
        ActionState.SUCCEEDED, f"It returned a {type(result).__name__} that is not JSON of at most 1 MiB."
    )


def _later(kind: str) -> Report:
    return Report(ActionState.IN_DOUBT, f"It returned a {kind}: whatever it does, it does later.")
