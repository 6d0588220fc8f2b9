"""Claims of hosts elsewhere: a trusted host runs its own function under a claim that it asks the gate for.

1. Only an adapter's key claims, and only what its agent proposed within its topics: whoever holds an agent's
   key proposes, and gets nothing to run. To everybody else there is no such action.
2. The claim is the same as every claim (`claim.py`). Its holder is the key together with a token that the
   host made up for this one run; the journal keeps the token's hash. Whoever has both is the holder.
3. A claim that was not answered may be asked for again with the same token: while it holds, the answer is the
   same claim. With another token it is somebody else's.
4. Renewing is also the last question before the effect: it is refused where the claim holds nothing any more,
   or a kill switch covers it.
5. A report may be repeated and may be late, as every holder's (`settle.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

from interlock.gate import settle, stops
from interlock.gate.claim import (
    LEASE_US,
    LONGEST_LEASE_SEC,
    Claim,
    Claimed,
    Claiming,
    Enforces,
    authorised,
    claim_of,
)
from interlock.gate.gatekeeper import Gatekeeper
from interlock.gate.records import ActionRow, load_action
from interlock.gate.undoing import owns
from interlock.identity import Caller, KeyKind
from interlock.identity.keyring import check_live
from interlock.journal import Tx
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Forbidden, InvalidInput, NotFound, StaleClaim
from interlock.model.readings import Reading
from interlock.model.text import visible
from interlock.policy import Policy

SHORTEST_TOKEN, LONGEST_TOKEN = 16, 200


@dataclass(frozen=True, slots=True)
class Run:
    """Which run of a host is meant.

    Attributes:
        token: what the host made up for it; never kept.
    """

    action_id: str
    caller: Caller
    token: str

    def __post_init__(self) -> None:
        if not (SHORTEST_TOKEN <= len(self.token) <= LONGEST_TOKEN and self.token.isprintable()):
            raise InvalidInput(
                f"{SHORTEST_TOKEN} to {LONGEST_TOKEN} printable characters that nobody can guess",
                path="$.claim",
            )

    @property
    def holder(self) -> str:
        return f"{self.caller.key_id}/{hashlib.sha256(self.token.encode()).hexdigest()[:32]}"

    def row(self, tx: Tx) -> ActionRow:
        """The action. Raises `Forbidden`, `Unauthenticated`, `NotFound`: it is not this caller's to run."""
        check_host_key(self.caller)
        check_live(tx, self.caller.key_id)
        row = load_action(tx, self.action_id)
        if not owns(tx, self.caller, row):
            raise NotFound(f"There is no action {visible(self.action_id, 64)}.")
        return row

    def held(self, tx: Tx, epoch: int) -> ActionRow:
        """The action, where this run holds it, or did last. Raises `StaleClaim`, and as `row`."""
        row = self.row(tx)
        if row.epoch < 1 or (row.holder, row.epoch) != (self.holder, epoch):
            raise StaleClaim(f"This claim does not hold {row.id}.")
        return row


@dataclass(frozen=True, slots=True)
class Granted:
    """A claim of a host, and until when it holds without renewal (µs UTC)."""

    claim: Claim
    lease_until: int


def check_host_key(caller: Caller) -> None:
    """Raises `Forbidden` unless it is an adapter's key."""
    if caller.kind is not KeyKind.ADAPTER:
        raise Forbidden(
            "Only the key of an adapter maps tools to topics and runs what it proposed.",
            fix="Make one on the server's machine: interlock keys add --kind adapter.",
        )


def claim(gate: Gatekeeper, run: Run, *, cannot: frozenset[str], lease_sec: int | None) -> Granted:
    """Claim an action for a host's own function.

    Args:
        cannot: constraints that the host cannot hold the function to.
        lease_sec: as `Gatekeeper.claim`.

    Raises:
        Forbidden, Unauthenticated, NotFound: not with this key. Otherwise as `Gatekeeper.claim`.
    """
    lease_us = LEASE_US if lease_sec is None else min(lease_sec, LONGEST_LEASE_SEC) * 1_000_000
    granted = gate.after_reading(
        lambda policy, reading: _Granting(
            run, policy, gate.enforcing(cannot), reading, max(lease_us, LEASE_US)
        )
    )
    if isinstance(granted, Granted):
        return granted
    raise granted.refusal or NotFound(f"There is no action {visible(run.action_id, 64)}.")


@dataclass(frozen=True, slots=True)
class _Granting:
    run: Run
    policy: Policy
    enforces: Enforces
    reading: Reading | None
    lease_us: int

    def __call__(self, tx: Tx) -> Granted | Claimed:
        row = self.run.row(tx)
        if row.status is ActionState.EXECUTING and row.holder == self.run.holder:
            return self._again(tx, row)
        claimed = Claiming(
            row.id,
            self.run.holder,
            (ExecutorKind.CALLER,),
            self.policy,
            self.enforces,
            self.reading,
            self.lease_us,
        )(tx)
        return claimed if claimed.claim is None else self._granted(tx, claimed.claim)

    def _again(self, tx: Tx, row: ActionRow) -> Granted:
        """The claim that this very run has. Raises `StaleClaim` where its lease is over."""
        if row.lease_until is None or tx.now >= row.lease_until:
            raise StaleClaim(f"The lease of this claim of {row.id} is over.")
        sealed, _ = authorised(tx, row, self.enforces)
        return self._granted(tx, claim_of(row, sealed, row.decided))

    def _granted(self, tx: Tx, claimed: Claim) -> Granted:
        return Granted(claimed, load_action(tx, claimed.action_id).lease_until or 0)


def renew(gate: Gatekeeper, run: Run, epoch: int) -> int:
    """Extend the lease of a host's claim; returns until when (µs UTC).

    Raises:
        StaleClaim: it holds nothing any more. KillSwitchOn: it is to be stopped. Forbidden, NotFound.
    """

    def extend(tx: Tx) -> int:
        row = run.held(tx, epoch)
        stops.refuse_stopped(tx, row.id, row.agent, row.topic)
        return settle.extend(tx, row)

    return gate.journal.commit(extend)


def report(gate: Gatekeeper, run: Run, epoch: int, said: settle.Report) -> ActionRow:
    """Record what became of a host's run.

    Raises:
        StaleClaim: it is settled otherwise, or the claim never held it. Forbidden, NotFound.
    """
    settled = gate.journal.commit(partial(_report, run=run, epoch=epoch, said=said))
    if settled.refusal is not None:
        raise settled.refusal
    return settled.action


def _report(tx: Tx, run: Run, epoch: int, said: settle.Report) -> settle.Settled:
    return settle.reported(tx, run.held(tx, epoch), said)
