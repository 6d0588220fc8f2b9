"""Functions of the calling process: run under a claim, once, and reported.

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
from functools import partial
from typing import Any

from interlock.dispatch.child import Ended, Ending, NotBegun, Place, Raised, Returned, run
from interlock.dispatch.lease import Leases
from interlock.dispatch.stopping import Stopping
from interlock.gate import Claim, Gatekeeper, Report
from interlock.gate.claim import remembered_until
from interlock.model.actions import ActionState
from interlock.model.calls import Call, calling
from interlock.model.canonical import Json, canonical, plain
from interlock.model.errors import (
    ConstraintBreached,
    ConstraintUnenforceable,
    InDoubt,
    InvalidInput,
    NoEffect,
    NotClaimable,
    StaleClaim,
)
from interlock.model.money import decimal_of
from interlock.model.verdicts import Tier
from interlock.policy import CatalogueEntry

CALLER_ENFORCES = frozenset({"max_runtime_sec", "max_amount_usd"})
"""`max_runtime_sec` only on functions that a child process finds (`lacking`)."""
MAX_RESULT = 1 << 20


def run_sync(gate: Gatekeeper, leases: Leases, claim: Claim, function: Callable[..., Any], *args: Any) -> Any:
    """Run a claimed function and report; returns what it returned, or raises what it raised.

    Args:
        args: leading positional arguments that are not part of the action (a bound `self`).

    Raises:
        ConstraintBreached: a constraint stopped it, before it ran or on its way. InDoubt: a kill switch
            stopped it on its way, or its process ended. ConstraintUnenforceable: it needs a process of its
            own and cannot be run there; nothing was run. NotClaimable: the claim lapsed, or a kill switch
            was engaged, before it ran.
    """
    entry = _before(gate, claim)
    limit = claim.verdict.constraints.max_runtime_sec
    if limit is not None:
        return _run_apart(gate, leases, claim, _place(gate, claim, function, args), typed_args(claim, entry))
    with leases.keep(claim):
        _check(gate, leases, claim)
        try:
            with calling(_call(claim)):
                result = function(*args, **typed_args(claim, entry))
        except BaseException as error:
            leases.settle(claim, _raised(error, claim))
            raise
    leases.settle(claim, _returned(result))
    return result


async def run_async(
    gate: Gatekeeper, leases: Leases, claim: Claim, function: Callable[..., Awaitable[Any]], *args: Any
) -> Any:
    """As `run_sync`, for a coroutine function; the journal is written without blocking the event loop.

    A child process is ended where the coroutine is cancelled.
    """
    from asyncio import shield, to_thread

    entry = await to_thread(_before, gate, claim)
    if claim.verdict.constraints.max_runtime_sec is not None:
        place = await to_thread(_place, gate, claim, function, args)
        return await _run_apart_async(gate, leases, claim, place, typed_args(claim, entry))
    with leases.keep(claim):
        await to_thread(_check, gate, leases, claim)
        try:
            with calling(_call(claim)):
                result = await function(*args, **typed_args(claim, entry))
        except BaseException as error:
            await shield(to_thread(leases.settle, claim, _raised(error, claim)))
            raise
    await shield(to_thread(leases.settle, claim, _returned(result)))
    return result


def lacking(function: Callable[..., Any]) -> ConstraintUnenforceable | None:
    """Why `max_runtime_sec` cannot be enforced on a function; None where it can."""
    try:
        Place.of(function)
    except ConstraintUnenforceable as error:
        return error
    return None


def amount_usd(claim: Claim, entry: CatalogueEntry | None) -> Decimal | None:
    """The action's amount in US dollars, if it has one."""
    if entry is None:
        try:
            return decimal_of(claim.binding.args.get("amount_usd"))
        except InvalidInput:
            return None
    money = entry.money(claim.binding.args)
    return Decimal(money[0]) if money is not None and money[1] == "USD" else None


def typed(args: Mapping[str, Json], entry: CatalogueEntry | None) -> dict[str, Any]:
    """The arguments as the function expects them: declared decimals as `Decimal`."""
    if entry is None or entry.args is None:
        return dict(args)
    return {
        name: Decimal(value)
        if isinstance(value, str) and name in entry.args and entry.args[name].kind == "decimal"
        else value
        for name, value in args.items()
    }


def typed_args(claim: Claim, entry: CatalogueEntry | None) -> dict[str, Any]:
    return typed(claim.binding.args, entry)


# --- in a process of its own -----------------------------------------------------------------------------


def _place(gate: Gatekeeper, claim: Claim, function: Callable[..., Any], args: tuple[Any, ...]) -> Place:
    """Where a child finds it. Settles and raises `ConstraintUnenforceable` where it finds nothing."""
    try:
        if args:
            raise ConstraintUnenforceable("A bound function cannot be run in a process of its own.")
        return Place.of(function)
    except ConstraintUnenforceable as error:
        gate.settle(claim, Report(ActionState.FAILED, f"Nothing was run. {error.detail}"))
        raise


def _run_apart(
    gate: Gatekeeper,
    leases: Leases,
    claim: Claim,
    place: Place,
    args: Mapping[str, Any],
    given_up: Stopping | None = None,
) -> Any:
    """Rule 4, and `run_sync` from there.

    Args:
        given_up: told when nobody waits for the result any more.
    """
    limit = float(claim.verdict.constraints.max_runtime_sec or 0)
    breach = None
    with leases.keep(claim) as stopping, (given_up or Stopping()).heard(stopping.tell):
        ask = partial(leases.withheld, claim)
        ending = run(place, args, limit, stopping, ask, _call(claim))
        if isinstance(ending, Ended) and ending.why == "time":
            breach = "max_runtime_sec"
            if _remembered(gate, claim):
                again = run(place, args, limit, stopping, ask, _call(claim))
                ending = ending if isinstance(again, NotBegun) else again
    if isinstance(ending, NotBegun) and ending.withheld:
        raise _not_run(gate, claim, ending.reason)
    leases.settle(claim, replace(_ended(ending, claim), breach=breach))
    what = claim.binding.topic
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
            raise ConstraintBreached(f"{what}: {ending.reason}. {_unless_reading(claim)}")
        case Ended():
            raise InDoubt(f"{what}: {ending.reason}. {_unless_reading(claim)}")


async def _run_apart_async(
    gate: Gatekeeper, leases: Leases, claim: Claim, place: Place, args: Mapping[str, Any]
) -> Any:
    from asyncio import CancelledError, get_running_loop, shield
    from concurrent.futures import ThreadPoolExecutor

    given_up, own = Stopping(), ThreadPoolExecutor(1, thread_name_prefix="child")
    # A thread of its own: children that take their time would keep the loop's threads from everybody else.
    waiting = get_running_loop().run_in_executor(own, _run_apart, gate, leases, claim, place, args, given_up)
    try:
        return await shield(waiting)
    except CancelledError:
        given_up.tell("whoever called it gave up")
        with contextlib.suppress(Exception):
            await shield(waiting)
        raise
    finally:
        own.shutdown(wait=False)


def _remembered(gate: Gatekeeper, claim: Claim) -> bool:
    """Whether a call now still gets the answer of the first one."""
    if claim.retention_sec is None:
        return False
    return gate.journal.clock.now() < remembered_until(claim.claimed_at, claim.retention_sec)


def _ended(ending: Ending, claim: Claim) -> Report:
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
            return _unknown(f"It raised {ending.kind}", claim)
        case Ended():
            return _unknown(f"It did not come to its end: {ending.reason}", claim)


def _unknown(what: str, claim: Claim) -> Report:
    state = ActionState.FAILED if claim.verdict.tier is Tier.READ_ONLY else ActionState.IN_DOUBT
    return Report(state, f"{what}. {_unless_reading(claim)}")


def _unless_reading(claim: Claim) -> str:
    if claim.verdict.tier is Tier.READ_ONLY:
        return "Reading changes nothing."
    return "Nobody knows how far it came."


# --- in every process ------------------------------------------------------------------------------------


def _call(claim: Claim) -> Call:
    return Call(claim.action_id, claim.revision, claim.key)


def _before(gate: Gatekeeper, claim: Claim) -> CatalogueEntry | None:
    entry = gate.entry(claim)
    limit = claim.verdict.constraints.max_amount_usd
    if limit is not None:
        amount = amount_usd(claim, entry)
        if amount is None or abs(amount) > limit:
            reason = f"the amount is {'unknown' if amount is None else f'${amount}'}, the limit is ${limit}"
            gate.settle(
                claim,
                Report(ActionState.FAILED, f"Nothing was run: {reason}.", breach="max_amount_usd"),
            )
            raise ConstraintBreached(f"{claim.binding.topic} was not run: {reason}.")
    return entry


def _check(gate: Gatekeeper, leases: Leases, claim: Claim) -> None:
    """Raises `NotClaimable` where nothing of the claim may begin any more (rule 5)."""
    reason = leases.withheld(claim)
    if reason is not None:
        raise _not_run(gate, claim, reason)


def _not_run(gate: Gatekeeper, claim: Claim, reason: str) -> NotClaimable:
    """Report that nothing was run; what to raise. Somebody else may have said already what became of it."""
    with contextlib.suppress(StaleClaim):
        gate.settle(claim, Report(ActionState.FAILED, f"Nothing was run: {reason}."))
    return NotClaimable(f"{claim.action_id} was not run: {reason}.")


def _raised(error: BaseException, claim: Claim) -> Report:
    what = type(error).__name__
    if isinstance(error, NoEffect):
        return Report(ActionState.FAILED, f"It reported that nothing took effect: {error}")
    if claim.verdict.tier is Tier.READ_ONLY:
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
