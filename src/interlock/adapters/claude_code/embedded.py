"""The gate in a home on this machine, for a hook that has no server: a slower start, the same rules."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from interlock.adapters.claude_code.desk import CANNOT, Claim
from interlock.adapters.claude_code.tools import Call
from interlock.gate import Report, settle
from interlock.gate.records import load_action
from interlock.home import Home
from interlock.identity import embedded_caller
from interlock.journal import Tx
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import NotClaimable, StaleClaim

_CANNOT = frozenset(CANNOT)


class InHome:
    """An open home, and who proposes."""

    def __init__(self, home: Home, agent: str) -> None:
        self._home = home
        self._caller = embedded_caller(agent)
        home.gate.sweep()

    @classmethod
    def open(cls, folder: Path, agent: str) -> InHome:
        """Raises `HomeUnusable` and what else keeps a home shut."""
        return cls(Home.open(folder, by=f"embedded:{agent}"), agent)

    def propose(self, call: Call, *, call_id: str | None = None) -> dict[str, Any]:
        proposal = Proposal(
            topic=call.topic, args=call.args, session=call.session, call_id=call_id, reasoning=call.words
        )
        row = self._home.gate.propose(proposal, self._caller, registered=True, cannot=_CANNOT).action
        if row is None:
            raise NotClaimable("The proposal left no action.")
        return self.action(row.id)

    def action(self, action_id: str) -> dict[str, Any]:
        return self._home.views.action(action_id, self._caller)

    def claim(self, action_id: str, lease_sec: int) -> Claim:
        claim = self._home.gate.claim(action_id, ExecutorKind.CALLER, cannot=_CANNOT, lease_sec=lease_sec)
        return Claim(claim.revision, claim.epoch, claim.holder, dict(claim.binding.args))

    def report(self, action_id: str, claim: tuple[int, int, str], outcome: str, note: str) -> None:
        said = Report(ActionState(outcome), note)
        settled = self._home.journal.commit(partial(_report, action_id=action_id, claim=claim, report=said))
        if settled.refusal is not None:
            raise settled.refusal

    def close(self) -> None:
        self._home.close()


def _report(tx: Tx, action_id: str, claim: tuple[int, int, str], report: Report) -> settle.Settled:
    """As `settle.settle`, by a process that was told who holds the claim."""
    revision, epoch, holder = claim
    row = load_action(tx, action_id, revision)
    if (row.holder, row.epoch) != (holder, epoch):
        raise StaleClaim(f"Epoch {epoch} of {row.id} was taken over; its report is not used.")
    return settle.reported(tx, row, report)
