"""What the host of an adapter is told about a claim that it was granted."""

from __future__ import annotations

from typing import Any

from interlock.dispatch.caller import amount_usd, decimals
from interlock.gate import Claim
from interlock.gate.claim import remembered_until
from interlock.home import Home
from interlock.model.ids import iso


def granted_view(home: Home, claim: Claim, lease_until: int) -> dict[str, Any]:
    """The claim as JSON values: what may run, once, is `binding`.

    Args:
        lease_until: microseconds UTC.
    """
    entry = home.gate.entry(claim)
    amount = amount_usd(claim, entry)
    tier, kept = claim.verdict.tier, claim.retention_sec
    remembered = 0 if kept is None else remembered_until(claim.claimed_at, kept)
    return {
        "action": claim.action_id,
        "revision": claim.revision,
        "epoch": claim.epoch,
        "lease_until": iso(lease_until),
        "binding": claim.binding.canonical().decode(),
        "args": claim.binding.args,
        "decimals": decimals(entry),
        "tier": None if tier is None else int(tier),
        "constraints": claim.verdict.constraints.to_json(),
        "amount_usd": None if amount is None else f"{amount:f}",
        "key": claim.key,
        "remembered_sec": max(0, (remembered - home.journal.clock.now()) // 1_000_000),
    }
