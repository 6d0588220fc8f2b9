"""A gate that was taken over lets silence run what it may not: the claim is refused, and the log tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from house import BOTH, House, ManualClock
from interlock.gate.records import UNANSWERED, approval_of, load_action, move, save, save_approval
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Tampered
from interlock.model.verdicts import OnTimeout, Tier
from interlock.verify import verify_export

DATABASES = BOTH
Open = Callable[..., House]


def forged(house: House, action: str, tier: Tier, end: OnTimeout) -> None:
    """Rows as a gate writes them that follows no rule: of that tier, let run by silence in such a lane."""

    def write(tx: Tx) -> None:
        row = load_action(tx, action)
        approval = approval_of(tx, row)
        assert approval is not None
        lane = row.decided.lane
        assert lane is not None
        verdict = replace(row.decided, tier=tier, lane=replace(lane, on_timeout=end))
        row = save(tx, row, row._replace(verdict=verdict.canonical().decode()))
        save_approval(tx, approval, state=UNANSWERED)
        until = tx.now + 3_600_000_000
        tx.append(
            Kind.APPROVAL_UNANSWERED,
            approval=approval.id,
            action=row.id,
            revision=row.revision,
            action_hash=row.action_hash,
            review_hash=approval.review_hash,
            expires_at=until,
        )
        move(tx, row, ActionState.ALLOWED, expires_at=until)

    house.home.journal.commit(write)


@pytest.mark.parametrize(
    ("tier", "end"),
    [
        (Tier.EXTERNAL, OnTimeout.ALLOW),
        (Tier.IRREVERSIBLE, OnTimeout.ALLOW),
        (Tier.REVERSIBLE, OnTimeout.DENY),
    ],
)
def test_what_silence_may_not_let_run_is_not_claimed_and_found_in_the_log(
    open_house: Open, clock: ManualClock, tier: Tier, end: OnTimeout, tmp_path: Path
) -> None:
    house = open_house(clock=clock)
    action = house.held()
    clock.forward(16 * 60)
    forged(house, action, tier, end)
    with pytest.raises(Tampered):
        house.gate.claim(action, ExecutorKind.CALLER)
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "export")
    report = verify_export(tmp_path / "export", vkey=house.home.publisher.vkey)
    told = [problem.what for problem in report.problems]
    assert told == ["approval.unanswered: silence let run what is of tier 3"], "as it was proposed"


def test_a_lane_that_allows_at_tier_3_only_expires(open_house: Open, clock: ManualClock) -> None:
    """Should a policy ever let such a lane through, the sweep does not."""
    house = open_house(clock=clock)
    action = house.held()

    def write(tx: Tx) -> None:
        row = load_action(tx, action)
        lane = row.decided.lane
        assert lane is not None
        verdict = replace(row.decided, lane=replace(lane, on_timeout=OnTimeout.ALLOW))
        save(tx, row, row._replace(verdict=verdict.canonical().decode()))

    house.home.journal.commit(write)
    clock.forward(15 * 60)
    house.gate.sweep()
    assert house.state(action) == "expired"
    kinds = [json.loads(entry)["kind"] for entry in house.entries()]
    assert "approval.unanswered" not in kinds
