"""The active policy: a row, an act and an entry; never a side effect of a file that changed.

1. Which snapshot is in force is read inside every transaction that proposes, decides or claims.
2. A transaction that was prepared under another snapshot raises `PolicyMoved`; its caller loads the new
   policy and asks again. Nothing is decided under a policy that is not in force.
3. A policy that does not load never gets here: activation takes a loaded one.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select

from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.errors import Conflict, HomeUnusable, InvalidInput, PolicyNotActive, Tampered
from interlock.policy import Policy

MAX_REASON = 500

_ACTIVE = Prepared(select(t.active_policy).where(t.active_policy.c.namespace == bindparam("ns")))
_CLEAR = Prepared(delete(t.active_policy).where(t.active_policy.c.namespace == bindparam("ns")))
_SET = insert_into(t.active_policy)
_DOCUMENT = Prepared(
    select(t.policies.c.document).where(
        t.policies.c.namespace == bindparam("ns"), t.policies.c.snapshot == bindparam("snapshot_")
    )
)
_ANY = Prepared(select(t.policies.c.snapshot).where(t.policies.c.namespace == bindparam("ns")).limit(1))
_ADD = insert_into(t.policies)


class PolicyMoved(Conflict):
    """The snapshot in force is another one than the transition was prepared under."""

    slug = "policy-moved"
    title = "Another policy came into force meanwhile"
    advice = "Ask again; the policy in force now answers."

    def __init__(self, snapshot: str) -> None:
        super().__init__(f"The policy in force is {snapshot or 'none'}.")
        self.snapshot = snapshot


def active_snapshot(tx: Tx) -> str | None:
    """The snapshot in force, or None before the first activation. Raises `Tampered`."""
    if "active" in tx.memo:
        snapshot: str | None = tx.memo["active"]
        return snapshot
    row = tx.one(_ACTIVE)
    if row is None:
        tx.memo["active"] = None
        return None
    _, snapshot, at, by, reason, mac = row
    if tx.verified.get("active_policy") != row:
        tx.vault.check(mac, "active_policy", tx.namespace, snapshot, at, by, reason)
        tx.verified["active_policy"] = row
    tx.memo["active"] = snapshot
    return snapshot


def require_snapshot(tx: Tx, expected: str) -> None:
    """Raises `PolicyMoved` unless `expected` is in force."""
    active = active_snapshot(tx)
    if active != expected:
        raise PolicyMoved(active or "")


def load_policy(tx: Tx, snapshot: str) -> Policy:
    """The policy of a snapshot that was active once.

    Raises:
        HomeUnusable: the stored document is missing or does not hash to its snapshot.
    """
    row = tx.one(_DOCUMENT, snapshot_=snapshot)
    if row is None:
        raise HomeUnusable(f"The policy {snapshot} is not in the journal.")
    policy = Policy.from_canonical(row[0])
    if policy.snapshot != snapshot:
        raise HomeUnusable(f"The stored policy {snapshot} hashes to {policy.snapshot}.")
    return policy


def activate(tx: Tx, policy: Policy, *, by: str, reason: str, replacing: bool = True) -> bool:
    """Put a policy in force; an entry. False where it is in force already.

    Args:
        reason: why, for everybody who reads the ledger: `MAX_REASON` printable characters at most.
        replacing: whether another policy may be replaced; otherwise only a home's first one is accepted.

    Raises:
        PolicyNotActive: another policy is in force. Tampered: the row that says which is gone. InvalidInput:
            the reason is no line of text.
    """
    if not (1 <= len(reason) <= MAX_REASON and reason.isprintable() and reason.strip()):
        raise InvalidInput(f"one line of 1 to {MAX_REASON} printable characters", path="$.reason")
    previous = active_snapshot(tx)
    if previous == policy.snapshot:
        return False
    if previous is None and tx.one(_ANY) is not None:
        raise Tampered("The journal knows policies, but the row that says which is in force is missing.")
    if previous is not None and not replacing:
        raise PolicyNotActive(
            f"The file's policy is {policy.snapshot[:15]}…, the one in force is {previous[:15]}….",
            extra={"file": policy.snapshot, "active": previous},
        )
    tx.clock.check()
    if tx.one(_DOCUMENT, snapshot_=policy.snapshot) is None:
        tx.write(_ADD, snapshot=policy.snapshot, document=policy.canonical(), first_seen=tx.now)
    tx.write(_CLEAR)
    tx.write(
        _SET,
        snapshot=policy.snapshot,
        activated_at=tx.now,
        activated_by=by,
        reason=reason,
        mac=tx.vault.mac("active_policy", tx.namespace, policy.snapshot, tx.now, by, reason),
    )
    tx.append(Kind.POLICY_ACTIVATED, snapshot=policy.snapshot, previous=previous, by=by, reason=reason)
    tx.memo["active"] = policy.snapshot
    return True
