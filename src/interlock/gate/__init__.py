"""The life of an action: the only code that changes its state.

1. `model.actions.ActionState.successors` is the state machine; `records.move` is its one gate.
2. Each step is a transition in one durable transaction with its guard and its ledger entry (P6): propose,
   decide, claim, settle, reconcile, withdraw, revoke, expire, re-decide, erase, stop, rearm.
3. Nothing here knows HTTP, connectors or frameworks, and nothing here acts on the world.
"""

from interlock.gate.claim import Claim
from interlock.gate.decide import Answer, Decided, HumanDecision, ReasonCode
from interlock.gate.erasure import Eraser, Erasure, ErasureReason, Standing
from interlock.gate.gatekeeper import Gatekeeper
from interlock.gate.opening import Proposed
from interlock.gate.permits import ENFORCED as PERMITTED_ENFORCES
from interlock.gate.permits import Permits
from interlock.gate.sessions import Sessions
from interlock.gate.settle import Report
from interlock.gate.stopping import KillSwitches
from interlock.gate.stops import KillSwitchOn, Scope
from interlock.gate.tools import AcceptedTool, AcceptedTools
from interlock.gate.views import Views

__all__ = [
    "PERMITTED_ENFORCES",
    "AcceptedTool",
    "AcceptedTools",
    "Answer",
    "Claim",
    "Decided",
    "Eraser",
    "Erasure",
    "ErasureReason",
    "Gatekeeper",
    "HumanDecision",
    "KillSwitchOn",
    "KillSwitches",
    "Permits",
    "Proposed",
    "ReasonCode",
    "Report",
    "Scope",
    "Sessions",
    "Standing",
    "Views",
]
