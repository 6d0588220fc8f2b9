"""The closing account: counts, the audit, and the ledger, read when the server has stopped."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.demo import audit
from interlock.demo.stage import Stage
from interlock.home import Home
from interlock.verify import verify_export


@dataclass(frozen=True, slots=True)
class Account:
    """How a demonstration ended.

    Attributes:
        actions: `proposed`, and how many revisions are in each state.
        held_share: actions that ever waited for a person, of those proposed; 0 to 1.
        repeats: requests that the shop answered from memory instead of doing them again.
        off: what does not add up, in sentences; empty when all is well.
    """

    actions: dict[str, int]
    held_share: float
    findings: audit.Findings
    ledger_ok: bool
    ledger_size: int
    kills: int
    repeats: int
    seconds: float
    off: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.off

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "actions": self.actions,
            "held_share": round(self.held_share, 4),
            "double_executions": len(self.findings.double),
            "lost": len(self.findings.lost),
            "unaccounted": len(self.findings.unaccounted),
            "altered": len(self.findings.altered),
            "ledger": {"ok": self.ledger_ok, "size": self.ledger_size},
            "kills": self.kills,
            "repeats": self.repeats,
            "seconds": round(self.seconds, 1),
            "off": list(self.off),
        }


def close(stage: Stage, acknowledged: Iterable[str], seconds: float, off: Iterable[str]) -> Account:
    """Stop the server and count.

    Args:
        acknowledged: ids of actions that the agent was told were recorded.
        off: what went wrong before.
    """
    stage.server.stop()
    books = stage.shop.books()
    home = Home.open(stage.folder)
    try:
        recorded, held = audit.read(home), audit.ever_held(home)
        findings = audit.compare(
            audit.effects_of(books), recorded, acknowledged, namespace=home.journal.namespace
        )
        with tempfile.TemporaryDirectory(prefix="interlock-demo-") as folder:
            home.publisher.export(Path(folder) / "ledger")
            ledger = verify_export(Path(folder) / "ledger", vkey=home.publisher.vkey)
    finally:
        home.close()
    broken = [f"the ledger does not verify: {problem.where}: {problem.what}" for problem in ledger.problems]
    proposed = len({one.action for one in recorded})
    return Account(
        actions={"proposed": proposed, **dict(sorted(Counter(one.state.value for one in recorded).items()))},
        held_share=len(held) / max(proposed, 1),
        findings=findings,
        ledger_ok=ledger.ok,
        ledger_size=ledger.size,
        kills=stage.server.kills,
        repeats=books["repeats"],
        seconds=seconds,
        off=(*off, *findings.all, *broken),
    )
