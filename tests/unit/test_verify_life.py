"""What entries may follow what: permission before the claim, one claim's outcome, once."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.verify.life import Broken, Life

A, R = "aa" * 32, "bb" * 32


def of(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "namespace": "default", "action": "act_1", "revision": 1, **fields}


def proposed(decision: str, **fields: Any) -> dict[str, Any]:
    return of("action.proposed", action_hash=A, decision=decision, **fields)


ALLOWED = proposed("allow")
HELD = proposed("require_approval", approval="apr_1", review_hash=R)
APPROVE = of("approval.decided", approval="apr_1", decision="approve", action_hash=A, review_hash=R)
CLAIM = of("action.claimed", epoch=1)
DONE = of("action.settled", epoch=1, outcome="succeeded")
FAILED = of("action.settled", epoch=1, outcome="failed")
DOUBT = of("action.in_doubt", epoch=1)
RECONCILED = of("action.reconciled", outcome="succeeded")
EDIT = of("action.edited", revision=2, action_hash="cc" * 32, approval="apr_2", review_hash="dd" * 32)
APPROVE_EDIT = {
    **APPROVE,
    "revision": 2,
    "approval": "apr_2",
    "action_hash": "cc" * 32,
    "review_hash": "dd" * 32,
}
ANEW = of("action.redecided", decision="require_approval", approval="apr_3", review_hash="ee" * 32)
APPROVE_ANEW = {**APPROVE, "approval": "apr_3", "review_hash": "ee" * 32}
STALE = of("action.stale")
CONFIRMED = of("action.redecided", was="held", decision="require_approval")
LATE = of("action.late_report", epoch=1, outcome="succeeded", applied=True)
CONFLICT = {**LATE, "outcome": "failed", "applied": False}
OTHER_DONE = tuple(
    {**entry, "action": "act_2"} for entry in (ALLOWED, {**CLAIM, "epoch": 2}, {**DONE, "epoch": 2})
)


def follow(*entries: dict[str, Any]) -> None:
    life = Life()
    for entry in entries:
        life.follow(entry)


@pytest.mark.parametrize(
    "life",
    [
        (ALLOWED, CLAIM, DONE),
        (proposed("allow_with_constraints"), CLAIM, FAILED),
        (proposed("deny"),),
        (HELD, APPROVE, CLAIM, DONE),
        (HELD, {**APPROVE, "decision": "approve_with_constraints"}, {**CLAIM, "action_hash": A}, DONE),
        (HELD, {**APPROVE, "decision": "reject"}),
        (HELD, of("action.expired")),
        (HELD, of("action.withdrawn")),
        (HELD, APPROVE, of("action.revoked")),
        (ALLOWED, CLAIM, DOUBT, RECONCILED),
        (ALLOWED, CLAIM, DOUBT, FAILED),
        (ALLOWED, CLAIM, DOUBT, LATE, CONFLICT),
        (ALLOWED, CLAIM, DOUBT, RECONCILED, CONFLICT),
        (ALLOWED, CLAIM, DONE, *OTHER_DONE, {**CONFLICT, "action": "act_2", "epoch": 2}),
        (HELD, CONFIRMED, APPROVE, CONFIRMED, {**CLAIM, "approval": "apr_1"}, DONE),
        (ALLOWED, CONFIRMED, {**CLAIM, "approval": None}, DONE),
        (HELD, STALE, of("action.redecided", was="stale", decision="deny", approval=None)),
        (ALLOWED, CLAIM, {**CLAIM, "epoch": 2}, {**DONE, "epoch": 2}),
        (HELD, EDIT, APPROVE_EDIT, {**CLAIM, "revision": 2}, {**DONE, "revision": 2}),
        (HELD, {**APPROVE, "decision": "edit"}, EDIT, APPROVE_EDIT, {**CLAIM, "revision": 2}),
        (HELD, APPROVE, STALE, ANEW, APPROVE_ANEW, CLAIM, DONE),
        (ALLOWED, {**HELD, "action": "act_2"}, CLAIM, DONE),
        (ALLOWED, {**ALLOWED, "namespace": "other"}),
        (of("key.added"), of("idempotency.conflict"), of("constraint.breached")),
    ],
)
def test_a_possible_life_passes(life: tuple[dict[str, Any], ...]) -> None:
    follow(*life)


@pytest.mark.parametrize(
    ("life", "why"),
    [
        ((CLAIM,), "never proposed"),
        ((proposed("deny"), CLAIM), "without being allowed or approved"),
        ((proposed("unheard_of"), CLAIM), "without being allowed or approved"),
        ((HELD, CLAIM), "without being allowed or approved"),
        ((HELD, {**APPROVE, "decision": "reject"}, CLAIM), "without being allowed or approved"),
        ((HELD, {**APPROVE, "decision": "respond"}, CLAIM), "without being allowed or approved"),
        ((HELD, APPROVE, of("action.expired"), CLAIM), "without being allowed or approved"),
        ((ALLOWED, of("action.withdrawn"), CLAIM), "without being allowed or approved"),
        ((HELD, APPROVE, of("action.revoked"), CLAIM), "without being allowed or approved"),
        ((HELD, APPROVE, STALE, CLAIM), "without being allowed or approved"),
        ((HELD, APPROVE, STALE, ANEW, CLAIM), "without being allowed or approved"),
        ((ALLOWED, STALE, of("action.redecided", decision="allow"), CLAIM), "without being allowed"),
        ((HELD, of("action.redecided", decision="allow"), CLAIM), "without being allowed"),
        ((HELD, ANEW), "although the action was not stale"),
        ((ALLOWED, ANEW), "although the action was not stale"),
        ((HELD, of("action.expired"), ANEW), "although the action was not stale"),
        ((proposed("deny"), ANEW), "although the action was not stale"),
        ((proposed("deny"), STALE), "had ended already"),
        ((HELD, {**APPROVE, "decision": "reject"}, STALE), "had ended already"),
        ((HELD, STALE, of("action.redecided", decision="deny"), ANEW), "although the action was not stale"),
        ((HELD, STALE, ANEW, {**ANEW, "approval": "apr_4"}), "although the action was not stale"),
        ((HELD, of("action.expired"), of("action.withdrawn")), "had ended already"),
        ((HELD, of("action.expired"), {**APPROVE, "decision": "reject"}), "request had ended"),
        ((ALLOWED, {**CLAIM, "approval": "apr_9"}), "another approval"),
        ((HELD, APPROVE, {**CLAIM, "approval": None}), "another approval"),
        ((ALLOWED, LATE), "nobody holds"),
        ((ALLOWED, CLAIM, LATE), "not in doubt"),
        ((ALLOWED, CLAIM, DOUBT, {**LATE, "epoch": 2}), "nobody holds"),
        ((ALLOWED, CLAIM, DOUBT, LATE, RECONCILED), "settled before, as succeeded"),
        ((ALLOWED, CLAIM, DOUBT, RECONCILED, LATE), "settled before, as succeeded"),
        ((HELD, EDIT, {**CLAIM, "revision": 2}), "without being allowed or approved"),
        (
            (HELD, {**EDIT, "decision": "allow"}, {**CLAIM, "revision": 2}),
            "without being allowed or approved",
        ),
        ((HELD, {**ALLOWED, "revision": 2}, {**CLAIM, "revision": 2}), "without being allowed or approved"),
        ((HELD, APPROVE, EDIT, CLAIM), "not the current one"),
        ((ALLOWED, {**CLAIM, "namespace": "other"}), "never proposed"),
        ((ALLOWED, {**CLAIM, "action_hash": R}), "another action hash"),
        ((ALLOWED, CLAIM, CLAIM), "without a later epoch"),
        ((ALLOWED, {**CLAIM, "epoch": 2}, CLAIM), "without a later epoch"),
        ((ALLOWED, CLAIM, DONE, {**CLAIM, "epoch": 2}), "claimed again after it had run"),
        ((ALLOWED, CLAIM, FAILED, {**CLAIM, "epoch": 2}), "claimed again after it had run"),
        ((ALLOWED, CLAIM, DOUBT, {**CLAIM, "epoch": 2}), "claimed again after it had run"),
        ((ALLOWED, DONE), "nobody holds"),
        ((ALLOWED, DOUBT), "nobody holds"),
        ((ALLOWED, CLAIM, {**DONE, "epoch": 2}), "nobody holds"),
        ((ALLOWED, CLAIM, {**DOUBT, "epoch": 2}), "nobody holds"),
        ((ALLOWED, CLAIM, {**CLAIM, "epoch": 2}, DONE), "nobody holds"),
        ((ALLOWED, CLAIM, {**DONE, "revision": 2}), "not the current one"),
        ((ALLOWED, CLAIM, {**DONE, "action": "act_2"}), "never proposed"),
        ((ALLOWED, CLAIM, DONE, DONE), "settled before, as succeeded"),
        ((ALLOWED, CLAIM, DONE, *OTHER_DONE, OTHER_DONE[-1]), "settled before, as succeeded"),
        ((ALLOWED, CLAIM, DOUBT, DONE, RECONCILED), "settled before, as succeeded"),
        ((ALLOWED, CLAIM, DONE, DOUBT), "in doubt after it was settled"),
        ((ALLOWED, CLAIM, {**DONE, "outcome": "done"}), "as succeeded or failed"),
        ((ALLOWED, CLAIM, RECONCILED), "without having been in doubt"),
        ((ALLOWED, CLAIM, of("action.expired")), "only its outcome can follow"),
        ((ALLOWED, CLAIM, STALE), "only its outcome can follow"),
        ((ALLOWED, CLAIM, EDIT), "claimed already"),
        ((ALLOWED, CLAIM, DONE, EDIT), "claimed already"),
        ((EDIT,), "never proposed"),
        ((HELD, {**EDIT, "revision": 1}), "makes a new revision"),
        ((ALLOWED, ALLOWED), "was proposed before"),
        ((APPROVE,), "nobody requested"),
        ((HELD, {**APPROVE, "approval": "apr_9"}), "nobody requested"),
        ((HELD, APPROVE, APPROVE), "decided before"),
        ((HELD, {**APPROVE, "decision": "reject"}, APPROVE), "decided before"),
        ((HELD, {**APPROVE, "action_hash": R}), "another action hash"),
        ((HELD, {**APPROVE, "review_hash": A}), "another review hash"),
        ((HELD, {**APPROVE, "revision": 2}), "another action or revision"),
        ((HELD, {**APPROVE, "action": "act_2"}), "another action or revision"),
        ((HELD, EDIT, APPROVE), "request had ended"),
        ((HELD, STALE, APPROVE), "request had ended"),
        ((HELD, of("action.expired"), APPROVE), "request had ended"),
        ((HELD, {**HELD, "action": "act_2"}), "request was made before"),
    ],
)
def test_an_impossible_life_fails_at_its_last_entry(life: tuple[dict[str, Any], ...], why: str) -> None:
    follow(*life[:-1])
    with pytest.raises(Broken, match=why):
        follow(*life)


@pytest.mark.parametrize(
    ("before", "entry", "name"),
    [
        ((), ALLOWED, "action"),
        ((), ALLOWED, "revision"),
        ((), ALLOWED, "action_hash"),
        ((), ALLOWED, "decision"),
        ((), HELD, "review_hash"),
        ((HELD,), APPROVE, "approval"),
        ((HELD,), APPROVE, "decision"),
        ((HELD,), APPROVE, "action_hash"),
        ((HELD,), APPROVE, "review_hash"),
        ((ALLOWED,), CLAIM, "epoch"),
        ((ALLOWED, CLAIM), DONE, "epoch"),
        ((ALLOWED, CLAIM), DONE, "outcome"),
        ((ALLOWED, CLAIM), DOUBT, "epoch"),
    ],
)
@pytest.mark.parametrize("value", [None, "absent", True, [], ""])
def test_an_entry_without_a_field_that_matters_fails(
    before: tuple[dict[str, Any], ...], entry: dict[str, Any], name: str, value: Any
) -> None:
    changed = {key: item for key, item in entry.items() if key != name}
    if value != "absent":
        changed[name] = value
    with pytest.raises(Broken, match=f"lacks `{name}`"):
        follow(*before, changed)
