"""Functions of the calling process, where the gate is in that process too (`interlock.dispatch.calling`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

from interlock.dispatch.calling import call, call_async
from interlock.dispatch.child import Place
from interlock.dispatch.lease import OwnLeases
from interlock.dispatch.stopping import Stopping
from interlock.gate import Claim, Gatekeeper, Report
from interlock.gate.claim import remembered_until
from interlock.model.canonical import Json
from interlock.model.errors import ConstraintUnenforceable, InvalidInput
from interlock.model.money import decimal_of
from interlock.model.verdicts import Constraints, Tier
from interlock.policy import CatalogueEntry

CALLER_ENFORCES = frozenset({"max_runtime_sec", "max_amount_usd"})
"""`max_runtime_sec` only on functions that a child process finds (`lacking`)."""


class Here:
    """An `Execution` under a claim of this process's own gate. Raises `Tampered` as `Gatekeeper.entry`."""

    def __init__(self, gate: Gatekeeper, leases: OwnLeases, claim: Claim) -> None:
        self._gate = gate
        self._leases = leases
        self._claim = claim
        entry = gate.entry(claim)
        self.action_id: str = claim.action_id
        self.revision: int = claim.revision
        self.epoch: int = claim.epoch
        self.topic: str = claim.binding.topic
        self.key: str = claim.key
        self.args: Mapping[str, Any] = typed(claim.binding.args, entry)
        self.tier: Tier | None = claim.verdict.tier
        self.constraints: Constraints = claim.verdict.constraints
        self.amount_usd = amount_usd(claim, entry)

    def kept(self) -> AbstractContextManager[Stopping]:
        return self._leases.keep(self._claim)

    def withheld(self) -> str | None:
        return self._leases.withheld(self._claim)

    async def withheld_async(self) -> str | None:
        return await self._leases.withheld_async(self._claim)

    def remembered(self) -> bool:
        if self._claim.retention_sec is None:
            return False
        until = remembered_until(self._claim.claimed_at, self._claim.retention_sec)
        return self._gate.journal.clock.now() < until

    def settle(self, report: Report) -> None:
        self._leases.settle(self._claim, report)

    async def settle_async(self, report: Report) -> None:
        await self._leases.settle_async(self._claim, report)


def run_sync(
    gate: Gatekeeper, leases: OwnLeases, claim: Claim, function: Callable[..., Any], *args: Any
) -> Any:
    """As `call`, under a claim of this process."""
    return call(Here(gate, leases, claim), function, *args)


async def run_async(
    gate: Gatekeeper, leases: OwnLeases, claim: Claim, function: Callable[..., Awaitable[Any]], *args: Any
) -> Any:
    """As `call_async`, under a claim of this process."""
    from asyncio import to_thread

    return await call_async(await to_thread(Here, gate, leases, claim), function, *args)


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
    return typed_by_name(args, decimals(entry))


def decimals(entry: CatalogueEntry | None) -> list[str]:
    """The arguments that the catalogue declares as decimals."""
    if entry is None or entry.args is None:
        return []
    return sorted(name for name, kind in entry.args.items() if kind.kind == "decimal")


def typed_by_name(args: Mapping[str, Json], names: Collection[str]) -> dict[str, Any]:
    """The arguments with these as `Decimal`."""
    return {
        name: Decimal(value) if isinstance(value, str) and name in names else value
        for name, value in args.items()
    }
