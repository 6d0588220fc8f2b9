"""Functions of the calling process: run under a claim, once, and reported.

1. The function gets the arguments that were hashed and approved, with money as `Decimal`.
2. A return is a success. An exception is `in_doubt`, because nobody can say what happened before it,
   unless the function raises `NoEffect` or the topic only reads (tier 1).
3. `max_amount_usd` is checked before the call. A running Python call can be neither stopped nor fenced
   off, so `max_runtime_sec` and `network_allowlist` refuse the claim already.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from interlock.dispatch.lease import Leases
from interlock.gate import Claim, Gatekeeper, Report
from interlock.model.actions import ActionState
from interlock.model.canonical import Json, canonical, plain
from interlock.model.errors import ConstraintBreached, InvalidInput, NoEffect
from interlock.model.money import decimal_of
from interlock.model.verdicts import Tier
from interlock.policy import CatalogueEntry

CALLER_ENFORCES = frozenset({"max_amount_usd"})
MAX_RESULT = 1 << 20


def run_sync(gate: Gatekeeper, leases: Leases, claim: Claim, function: Callable[..., Any], *args: Any) -> Any:
    """Run a claimed function and report; returns what it returned, or raises what it raised.

    Args:
        args: leading positional arguments that are not part of the action (a bound `self`).

    Raises:
        ConstraintBreached: a constraint stopped it before it ran.
    """
    entry = _before(gate, claim)
    with leases.keep(claim):
        try:
            result = function(*args, **typed(claim.binding.args, entry))
        except BaseException as error:
            gate.settle(claim, _raised(error, claim))
            raise
    gate.settle(claim, _returned(result))
    return result


async def run_async(
    gate: Gatekeeper, leases: Leases, claim: Claim, function: Callable[..., Awaitable[Any]], *args: Any
) -> Any:
    """As `run_sync`, for a coroutine function; the journal is written without blocking the event loop."""
    from asyncio import shield, to_thread

    entry = await to_thread(_before, gate, claim)
    with leases.keep(claim):
        try:
            result = await function(*args, **typed(claim.binding.args, entry))
        except BaseException as error:
            await shield(to_thread(gate.settle, claim, _raised(error, claim)))
            raise
    await shield(to_thread(gate.settle, claim, _returned(result)))
    return result


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


def _raised(error: BaseException, claim: Claim) -> Report:
    what = type(error).__name__
    if isinstance(error, NoEffect):
        return Report(ActionState.FAILED, f"It reported that nothing took effect: {error}")
    if claim.verdict.tier is Tier.READ_ONLY:
        return Report(ActionState.FAILED, f"It raised {what}; reading changes nothing.")
    return Report(ActionState.IN_DOUBT, f"It raised {what} while running; nobody knows how far it came.")


def _returned(result: Any) -> Report:
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        return Report(
            ActionState.IN_DOUBT, f"It returned a {type(result).__name__}: whatever it does, it does later."
        )
    try:
        value = plain(result)
        if len(canonical([value])) <= MAX_RESULT:
            return Report(ActionState.SUCCEEDED, "It returned.", value)
    except InvalidInput:
        pass  # said below, in words for a person
    return Report(
        ActionState.SUCCEEDED, f"It returned a {type(result).__name__} that is not JSON of at most 1 MiB."
    )
