"""Permits at the gate: minted for what may run, redeemed as its claim, reported by whoever ran it.

1. Minting is not claiming. It checks everything a claim checks, writes the permit's row and entry, and only
   after the commit is the token signed. Nobody gets a permit that is not in the ledger.
2. Redeeming is claiming: the same checks as every claim, again, in the transaction that turns the permit from
   open to redeemed. Of any number of attempts one gets the bytes to run; all others are refused, the
   executor's own repetition included, because nobody can know how far the first one came.
3. Only the executor that the action hash names redeems, renews and reports, with a key whose topics cover it.
4. An offline permit (tiers 1 and 2) may be used without asking; `permit_rows` says what that does to its
   action. Its run is claimed and settled when it is reported, and its time counts from when it was permitted.
   Unreported a minute after its end, it is assumed to have run, and is in doubt.
5. Tokens are checked by signature before the journal is asked anything; they are neither kept nor logged.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import bindparam, select, text

from interlock.gate import settle, stops
from interlock.gate.before import keep_before
from interlock.gate.claim import (
    LEASE_US,
    Claim,
    Enforces,
    authorised,
    begin,
    check_state,
    claim_of,
    passed,
    start,
)
from interlock.gate.minting import Minted, Minting, check_host
from interlock.gate.package import Sealed
from interlock.gate.permit_rows import (
    GRACE_US,
    PermitInvalid,
    PermitLapsed,
    PermitNotRedeemed,
    PermitRedeemed,
    PermitRow,
    close_permit,
    load_permit,
    outstanding,
    refuse_outstanding,
)
from interlock.gate.reading import check as check_reading
from interlock.gate.records import (
    ActionRow,
    append_in_doubt,
    approval_of,
    load_action,
    move,
    save,
    skipping_tampered,
)
from interlock.identity import Caller
from interlock.identity.keyring import check_live
from interlock.journal import Prepared, Tx
from interlock.journal import tables as t
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.canonical import Json
from interlock.model.errors import Expired, NotClaimable, NotFound, StaleClaim, Tampered
from interlock.model.ids import iso
from interlock.model.readings import Reading
from interlock.model.text import visible
from interlock.permit import Claims, PermitError, PermitKey, PublicKeys, jwks, mint, verify
from interlock.policy import Policy

if TYPE_CHECKING:
    from interlock.gate.gatekeeper import Gatekeeper

ENFORCED = frozenset({"max_runtime_sec", "network_allowlist", "max_amount_usd"})
"""Every constraint is handed to the host, which enforces it. The amount is checked here as well."""
_ENFORCES: Enforces = {ExecutorKind.PERMITTED: ENFORCED}

_OVER = Prepared(
    select(t.permits)
    .where(
        t.permits.c.namespace == bindparam("ns"), text(t.OPEN), t.permits.c.expires_at <= bindparam("until_")
    )
    .order_by(t.permits.c.expires_at)
    .limit(bindparam("limit_"))
)


class PermitKeys(Protocol):
    """The keys of a home's permits; home hands them over."""

    def current(self) -> PermitKey:
        """The key that signs now."""
        ...

    def known(self) -> PublicKeys:
        """Every key that signed permits whose runs may still be reported."""
        ...

    def published(self) -> PublicKeys:
        """The keys that tools accept now: the current one, and the one before for a while."""
        ...


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed permit, and what it is for."""

    token: str
    permit: PermitRow
    args: Mapping[str, Json]
    tier: int


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The claim of a redeemed permit, and until when it holds (µs UTC)."""

    claim: Claim
    lease_until: int


class Permits:
    """The permits of one namespace. Thread-safe.

    Args:
        issuer: the home's name in its permits.
    """

    def __init__(self, gate: Gatekeeper, keys: PermitKeys, issuer: str) -> None:
        self._gate = gate
        self._keys = keys
        self.issuer = issuer

    def mint(self, action_id: str, caller: Caller, *, offline: bool = False) -> Issued:
        """Mint a permit for an action that may run. For its proposer and its executor.

        Args:
            offline: whether it may be used without redeeming it: where the catalogue's entry says so, at
                tiers 1 and 2. While one is open, asking again answers the same permit. While `MAX_OPEN`
                others of the action are open, asking again answers the newest of them.

        Raises:
            NotFound, NotClaimable, InDoubt, Expired, ConstraintBreached, PermitOutstanding, Tampered,
            ClockJumped: there is no permit.
        """
        key = self._keys.current()
        minted = self._gate.under_policy(
            lambda policy: Minting(action_id, caller, offline, policy, _ENFORCES, key.kid)
        )
        if not isinstance(minted, Minted):
            raise minted
        claims = minted.claims(self.issuer)
        return Issued(mint(claims, key), minted.permit, minted.sealed.binding.args, claims.tier)

    def redeem(self, token: str, caller: Caller) -> Redeemed:
        """Claim the action of a permit.

        Raises:
            KillSwitchOn, PermitInvalid, PermitLapsed, PermitRedeemed, PermitOutstanding, Forbidden,
            OutOfScope, NotClaimable, ProbeUnavailable, Drifted, InDoubt, Expired, Tampered, ClockJumped:
            nothing may run.
        """
        claims = self._read(token, caller)
        redeemed = self._gate.after_reading(
            lambda policy, reading: Redeeming(claims, caller, policy, reading)
        )
        if not isinstance(redeemed, Redeemed):
            raise redeemed
        return redeemed

    def renew(self, action_id: str, token: str, caller: Caller) -> int:
        """Extend the lease of a redeemed permit that is being worked on; returns until when (µs UTC).

        Raises:
            StaleClaim: it holds nothing any more. KillSwitchOn: it is to be stopped. PermitInvalid,
            Forbidden, OutOfScope, NotFound.
        """
        claims = self._read(token, caller)
        return self._gate.journal.commit(partial(_renew, action_id=action_id, claims=claims, caller=caller))

    def report(self, action_id: str, token: str, caller: Caller, report: settle.Report) -> ActionRow:
        """Record what became of a run under a permit; for an unredeemed offline permit, that it ran.

        Raises:
            StaleClaim: it is settled otherwise, or holds nothing. PermitNotRedeemed, PermitInvalid,
            Forbidden, OutOfScope, NotFound.
        """
        claims = self._read(token, caller)
        settled = self._gate.journal.commit(
            partial(_report, action_id=action_id, claims=claims, caller=caller, report=report)
        )
        if settled.refusal is not None:
            raise settled.refusal
        return settled.action

    def key_set(self) -> dict[str, object]:
        """The public keys, as `/.well-known/jwks.json` has them, and whose they are."""
        return {"issuer": self.issuer, **jwks(self._keys.published().values())}

    def _read(self, token: str, caller: Caller) -> Claims:
        """What a token says; its time is compared in the transaction, with the permit's row."""
        try:
            claims = verify(token, self._keys.known(), issuer=self.issuer)
        except PermitError as error:
            raise PermitInvalid(error.detail, extra={"reason": error.slug}) from None
        caller.check_executor(claims.executor)
        return claims


def _known(tx: Tx, claims: Claims, caller: Caller) -> PermitRow:
    """The row of a permit that this caller may use.

    Raises:
        Unauthenticated, OutOfScope: not with this key. PermitInvalid: the row is about something else.
        Tampered: it is missing, or was changed.
    """
    check_live(tx, caller.key_id)
    permit = load_permit(tx, claims.permit)
    said = (claims.action, claims.revision, claims.executor, claims.offline, claims.entry, claims.expires_at)
    if said != (
        permit.action_id,
        permit.revision,
        permit.executor,
        bool(permit.offline),
        permit.entry,
        permit.expires_at // 1_000_000,
    ):
        raise PermitInvalid("The permit does not say what was recorded when it was minted.")
    caller.check_scope(load_action(tx, permit.action_id, permit.revision).topic)
    return permit


@dataclass(frozen=True, slots=True)
class Redeeming:
    """The transition that claims under a permit: the claim, or the refusal that was recorded instead."""

    claims: Claims
    caller: Caller
    policy: Policy
    reading: Reading | None = None

    def __call__(self, tx: Tx) -> Redeemed | Expired:
        permit = _known(tx, self.claims, self.caller)
        row = load_action(tx, permit.action_id)
        self._check_open(tx, permit, row)
        same = hmac.compare_digest(row.action_hash, self.claims.action_hash)
        if row.revision != permit.revision or not same:
            raise NotClaimable(f"{row.id} became revision {row.revision}; this permit is for an earlier one.")
        check_state(row)
        stops.refuse_stopped(tx, row.id, row.agent, row.topic)
        tx.clock.check()
        if outstanding(row) != permit.id:
            refuse_outstanding(row)
            if permit.offline:
                raise Tampered(f"{row.id} does not know of {permit.id}, which may run it offline.")
        over = passed(tx, row, self.policy.snapshot)
        if over is not None:
            return over
        sealed, approval = authorised(tx, row, _ENFORCES)
        check_host(self.policy, row, sealed)
        read = check_reading(tx, row, sealed, approval, self.reading)
        started, claim = begin(
            tx,
            row,
            sealed,
            row.decided,
            holder=permit.id,
            approval=approval,
            lease_us=LEASE_US,
            permit=permit.id,
            **read,
        )
        save(tx, row, started)
        if read and self.reading is not None:
            keep_before(tx, started, sealed, self.reading)
        close_permit(tx, permit, "redeemed")
        return Redeemed(claim, started.lease_until or 0)

    def _check_open(self, tx: Tx, permit: PermitRow, row: ActionRow) -> None:
        if permit.state == "lapsed" or (permit.state == "open" and tx.now >= permit.expires_at):
            raise PermitLapsed(f"{permit.id} could be redeemed until {iso(permit.expires_at)}.")
        if permit.state == "open":
            return
        running: dict[str, Json] = {}
        if row.status is ActionState.EXECUTING and row.holder == permit.id:
            running = {"epoch": row.epoch, "lease_until": iso(row.lease_until or 0)}
        raise PermitRedeemed(f"{permit.id} is {permit.state}.", extra={"state": row.state, **running})


def _renew(tx: Tx, action_id: str, claims: Claims, caller: Caller) -> int:
    permit, row = _of(tx, action_id, claims, caller)
    if permit.state != "redeemed" or row.holder != permit.id:
        raise StaleClaim(f"{permit.id} holds nothing.")
    stops.refuse_stopped(tx, row.id, row.agent, row.topic)
    sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
    if not settle.renew(tx, claim_of(row, sealed, row.decided)):
        raise StaleClaim(f"{row.id} is {row.state}; its lease is over.")
    return load_action(tx, row.id, row.revision).lease_until or 0


def _report(tx: Tx, action_id: str, claims: Claims, caller: Caller, report: settle.Report) -> settle.Settled:
    permit, row = _of(tx, action_id, claims, caller)
    if permit.state == "open" and not permit.offline:
        raise PermitNotRedeemed(f"{permit.id} was not redeemed, so nothing can have run under it.")
    ran = row.epoch > 0 or (permit.state == "open" and outstanding(row) == permit.id)
    if row.holder != permit.id or not ran:
        # Without a claim it was put in doubt because the ledger was recovered, which voided the permit.
        raise StaleClaim(f"{permit.id} does not hold {row.id}; the report is not used.")
    if permit.state == "open":
        row = save(tx, row, _ran_offline(tx, row, permit))
        close_permit(tx, permit, "reported")
    return settle.reported(tx, row, report)


def _of(tx: Tx, action_id: str, claims: Claims, caller: Caller) -> tuple[PermitRow, ActionRow]:
    if claims.action != action_id:
        raise NotFound(f"The permit is not for {visible(action_id, 64)}.")
    permit = _known(tx, claims, caller)
    return permit, load_action(tx, permit.action_id, permit.revision)


def lapse(tx: Tx, limit: int) -> int:
    """Close permits whose time is over; an offline one that nobody reported is assumed to have run.

    Returns how many were closed.
    """
    tx.clock.check()
    count = 0
    for found in tx.all(_OVER, until_=tx.now - GRACE_US, limit_=limit):
        with skipping_tampered(found[1]):
            permit = load_permit(tx, found[1])
            row = load_action(tx, permit.action_id, permit.revision)
            if outstanding(row) == permit.id:
                _assume(tx, row, permit)
            close_permit(tx, permit, "lapsed")
            count += 1
    return count


def _assume(tx: Tx, row: ActionRow, permit: PermitRow) -> None:
    ran = save(tx, row, _ran_offline(tx, row, permit, assumed=True))
    move(tx, ran, ActionState.IN_DOUBT)
    append_in_doubt(tx, ran)


def _ran_offline(tx: Tx, row: ActionRow, permit: PermitRow, **under: Json) -> ActionRow:
    """The row of what ran without asking: since it was permitted, for all anybody knows, and under the
    approval with which its permit was minted; what that rests on was checked then."""
    approval = approval_of(tx, row) if row.decided.held else None
    began = permit.minted_at
    return start(
        tx,
        row,
        holder=permit.id,
        approval=approval,
        lease_us=LEASE_US,
        began=began,
        permit=permit.id,
        **under,
    )
