"""Minting: from an action that may run to what its permit says.

1. Who may ask: the agent or adapter that proposed the action, and the executor that is to run it. Neither
   learns more by asking than it could see anyway; to everybody else there is no such action.
2. The policy in force has to name the same executor as the action hash does. A host that the policy no longer
   names gets no further permit, and redeems none.
3. A permit ends after `MAX_LIFETIME_SEC`, or with the allow or approval where that is earlier.
4. An offline permit is no choice of who asks: the catalogue's entry has to say `offline`, and the tier that
   was decided has to be 1 or 2.
5. At most one offline permit of an action is open, and its sealed row names it; of others at most `MAX_OPEN`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from interlock.gate import stops
from interlock.gate.claim import (
    Enforces,
    authorised,
    check_executor_kind,
    check_state,
    downstream_key,
    passed,
)
from interlock.gate.package import Sealed
from interlock.gate.permit_rows import (
    MAX_OPEN,
    OfflineRefused,
    PermitRow,
    add_permit,
    load_permit,
    open_permits,
    outstanding,
    refuse_outstanding,
)
from interlock.gate.records import ActionRow, load_action, save
from interlock.gate.undoing import owns
from interlock.identity import Caller, KeyKind
from interlock.identity.keyring import check_live
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.model.actions import ExecutorKind
from interlock.model.canonical import canonical
from interlock.model.errors import (
    ConstraintBreached,
    Expired,
    Forbidden,
    NotClaimable,
    NotFound,
    OutOfScope,
    TooLarge,
)
from interlock.model.ids import new_id
from interlock.model.text import visible
from interlock.permit import MAX_LIFETIME_SEC, Claims
from interlock.permit.claims import OFFLINE_TIERS
from interlock.policy import PermittedExecute, Policy

MAX_CONSTRAINTS = 4_096
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Minted:
    """A permit that is recorded, ready to be signed.

    Attributes:
        policy: under which it was minted, as its entry says; another one may have confirmed the action since.
    """

    permit: PermitRow
    action: ActionRow
    sealed: Sealed
    policy: str

    def claims(self, issuer: str) -> Claims:
        """What the token says."""
        permit, row, binding = self.permit, self.action, self.sealed.binding
        verdict = row.decided
        return Claims(
            issuer=issuer,
            executor=permit.executor,
            action=row.id,
            permit=permit.id,
            issued_at=permit.minted_at // _SECOND,
            expires_at=permit.expires_at // _SECOND,
            action_hash=row.action_hash,
            nonce=self.sealed.nonce,
            namespace=binding.namespace,
            topic=binding.topic,
            agent=binding.agent,
            principal=binding.principal,
            parent_action=binding.parent_action,
            session=binding.session,
            revision=binding.revision,
            policy=self.policy,
            entry=permit.entry,
            tier=int(verdict.tier or 4),
            offline=bool(permit.offline),
            constraints=verdict.constraints.to_json(),
            key=downstream_key(row.namespace, row.id, row.revision),
        )


@dataclass(frozen=True, slots=True)
class Minting:
    """The transition that mints a permit under `policy`; `kid` names the key that will sign it.

    Its result is the permit, or the refusal that was recorded instead.
    """

    action_id: str
    caller: Caller
    offline: bool
    policy: Policy
    enforces: Enforces
    kid: str

    def __call__(self, tx: Tx) -> Minted | Expired:
        check_live(tx, self.caller.key_id)
        row = load_action(tx, self.action_id)
        self._check_caller(tx, row)
        check_state(row)
        stops.refuse_stopped(tx, row.id, row.agent, row.topic)
        tx.clock.check()
        open_one = outstanding(row)
        if open_one is not None:
            return self._again(tx, row, open_one)
        over = passed(tx, row, self.policy.snapshot)
        if over is not None:
            return over
        sealed, _ = authorised(tx, row, self.enforces)
        host = check_host(self.policy, row, sealed)
        if not self.offline:
            usable = open_permits(tx, row)
            if len(usable) >= MAX_OPEN:
                return Minted(usable[0], row, sealed, _policy_of(tx, usable[0], row))
        return self._mint(tx, row, sealed, host)

    def _check_caller(self, tx: Tx, row: ActionRow) -> None:
        if not owns(tx, self.caller, row):
            try:
                if self.caller.kind is not KeyKind.EXECUTOR or row.executor != ExecutorKind.PERMITTED.value:
                    raise Forbidden("Only the executor of an action, and its proposer, ask for its permit.")
                self.caller.check_scope(row.topic)
                sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
                self.caller.check_executor(executor_of(sealed))
            except (Forbidden, OutOfScope):
                raise NotFound(f"There is no action {visible(self.action_id, 64)}.") from None
        check_executor_kind(row, ExecutorKind.PERMITTED)

    def _again(self, tx: Tx, row: ActionRow, permit_id: str) -> Minted:
        """The open offline permit once more, for whoever lost the answer, while it would still be minted.

        Raises `PermitOutstanding`, and as `_mint`.
        """
        permit = load_permit(tx, permit_id)
        current = row.snapshot == self.policy.snapshot and tx.now < permit.expires_at
        if not (self.offline and current and permit.state == "open"):
            refuse_outstanding(row)
        sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
        _check_offline(row, check_host(self.policy, row, sealed))
        return Minted(permit, row, sealed, _policy_of(tx, permit, row))

    def _mint(self, tx: Tx, row: ActionRow, sealed: Sealed, host: PermittedExecute) -> Minted:
        if self.offline:
            _check_offline(row, host)
        if len(canonical(row.decided.constraints.to_json())) > MAX_CONSTRAINTS:
            raise TooLarge(
                "the constraints do not fit into a permit", fix="Shorten the allowlist in a reviewed policy."
            )
        begins = tx.now // _SECOND
        ends = min(begins + MAX_LIFETIME_SEC, (row.expires_at or 0) // _SECOND)
        if ends <= begins:
            raise NotClaimable(f"{row.id} may run for less than a second more.", fix="Propose it again.")
        permit_id = new_id("prm")
        entry = tx.append(
            Kind.PERMIT_MINTED,
            permit=permit_id,
            action=row.id,
            revision=row.revision,
            action_hash=row.action_hash,
            executor=host.executor,
            policy=row.snapshot,
            expires_at=ends * _SECOND,
            offline=self.offline,
            kid=self.kid,
            key=self.caller.key_id,
        )
        permit = add_permit(
            tx,
            PermitRow(
                namespace=tx.namespace,
                id=permit_id,
                action_id=row.id,
                revision=row.revision,
                executor=host.executor,
                state="open",
                offline=int(self.offline),
                entry=entry,
                minted_at=begins * _SECOND,
                expires_at=ends * _SECOND,
            ),
        )
        if self.offline:
            row = save(tx, row, row._replace(holder=permit.id, lease_until=permit.expires_at))
        return Minted(permit, row, sealed, row.snapshot)


def _policy_of(tx: Tx, permit: PermitRow, row: ActionRow) -> str:
    """The policy under which a permit was minted. Entries are not pruned before their permits have ended."""
    body = tx.entry(permit.entry)
    return row.snapshot if body is None else str(json.loads(body)["policy"])


def executor_of(sealed: Sealed) -> str:
    """The name of a permitted action's executor, as its hash covers it."""
    return str(sealed.binding.executor.get("name"))


def _check_offline(row: ActionRow, host: PermittedExecute) -> None:
    """Raises `OfflineRefused` where nobody reviewed that this may run without redeeming (rule 4)."""
    tier = row.decided.tier
    if tier not in OFFLINE_TIERS:
        raise OfflineRefused(f"Tier {tier or 4} is redeemed at the gate before it runs.")
    if row.probe is not None:
        raise OfflineRefused(f"What {row.id} rests on is read before it runs; its permit is redeemed first.")
    if not host.offline:
        raise OfflineRefused(
            f"The policy in force does not let {row.topic} run offline.",
            fix="Ask for a permit without `offline`; or let people review `offline: true` in the catalogue.",
        )


def check_host(policy: Policy, row: ActionRow, sealed: Sealed) -> PermittedExecute:
    """How the catalogue executes this, where the policy in force still lets its executor run it.

    Raises:
        NotClaimable: the policy names another executor by now. ConstraintBreached: the amount is above the
            limit, or unknown.
    """
    name = executor_of(sealed)
    entry = policy.entry(row.topic)
    host = None if entry is None else entry.execute
    if entry is None or not isinstance(host, PermittedExecute) or host.executor != name:
        raise NotClaimable(
            f"The policy in force no longer lets {name} execute {row.topic}.", fix="Propose it again."
        )
    limit = row.decided.constraints.max_amount_usd
    amount = entry.amount_usd(sealed.binding.args)
    if limit is not None and (amount is None or amount > limit):
        raise ConstraintBreached(f"{row.topic} is limited to ${limit}; its amount is above that, or unknown.")
    return host
