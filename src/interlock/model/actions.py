"""Actions: what an agent proposes, who executes it, and the states it can be in.

1. An action is immutable. Edited means a new revision of the same action id; the old one is `superseded`.
2. `ActionState.successors` is the whole state machine (design, "The life of an action"); the gate room
   changes a state through it and nothing else does.
3. Who executes is fixed when the action is proposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from interlock.model.canonical import Json


class ActionState(StrEnum):
    DENIED = "denied"
    ALLOWED = "allowed"
    HELD = "held"
    APPROVED = "approved"
    EXECUTING = "executing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    ANSWERED = "answered"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    STALE = "stale"
    ROLLED_BACK = "rolled_back"

    @property
    def successors(self) -> frozenset[ActionState]:
        return _NEXT.get(self, frozenset())

    @property
    def open(self) -> bool:
        """Whether it has not ended; a retry without a key or call id attaches to these only.

        What succeeded has ended: that another action may take it back leaves nothing of it to wait for.
        """
        return bool(self.successors) and self is not ActionState.SUCCEEDED


_S = ActionState
_NEXT: dict[ActionState, frozenset[ActionState]] = {
    _S.ALLOWED: frozenset({_S.EXECUTING, _S.EXPIRED, _S.WITHDRAWN, _S.REVOKED, _S.STALE}),
    _S.HELD: frozenset(
        {
            _S.APPROVED,
            _S.ALLOWED,  # by silence, where a lane of tier 1 or 2 says so
            _S.REJECTED,
            _S.ANSWERED,  # a question
            _S.SUPERSEDED,
            _S.EXPIRED,
            _S.WITHDRAWN,
            _S.REVOKED,
            _S.STALE,
        }
    ),
    _S.APPROVED: frozenset({_S.EXECUTING, _S.EXPIRED, _S.WITHDRAWN, _S.REVOKED, _S.STALE}),
    _S.STALE: frozenset({_S.DENIED, _S.HELD}),
    _S.EXECUTING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.IN_DOUBT}),
    _S.IN_DOUBT: frozenset({_S.SUCCEEDED, _S.FAILED}),
    _S.SUCCEEDED: frozenset({_S.ROLLED_BACK}),
}


class ExecutorKind(StrEnum):
    """`http`, `sql`, `mcp`: any serving process calls out. `caller`: the process that registered the function
    runs it. `permitted`: a named executor elsewhere runs it, under a permit that it redeems. `question`:
    nobody runs it; a person answers it."""

    HTTP = "http"
    SQL = "sql"
    MCP = "mcp"
    CALLER = "caller"
    PERMITTED = "permitted"
    QUESTION = "question"

    @property
    def dispatched(self) -> bool:
        """Whether any serving process carries it out by itself."""
        return self in DISPATCHED


DISPATCHED = frozenset({ExecutorKind.HTTP, ExecutorKind.SQL, ExecutorKind.MCP})


@dataclass(frozen=True, slots=True)
class Signals:
    """Inputs beside the arguments. Observed ones always have a value, the baseline; reported ones may lack.

    Attributes:
        confidence: reported by the agent, 0 to 1; None when it reported none. All others are observed by
            trusted code.
        anomaly_score, injection_score: suspicion, 0 to 1.
        sentiment: of the person the agent talks to, -1 (angry) to 1.
        affected_users: None where nobody counted.
        deadline_sec: seconds left of what was promised; None where nothing was.
        duplicate_of: id of an equal action that is open or ran recently.
    """

    confidence: Decimal | None = None
    retry_count: int = 0
    anomaly_score: Decimal = Decimal(0)
    affected_users: int | None = None
    first_time_action: bool = False
    first_time_recipient: bool = False
    sentiment: Decimal = Decimal(0)
    injection_score: Decimal = Decimal(0)
    deadline_sec: int | None = None
    duplicate_of: str | None = None

    def to_json(self) -> dict[str, Json]:
        return {
            "confidence": None if self.confidence is None else str(self.confidence),
            "retry_count": self.retry_count,
            "anomaly_score": str(self.anomaly_score),
            "affected_users": self.affected_users,
            "first_time_action": self.first_time_action,
            "first_time_recipient": self.first_time_recipient,
            "sentiment": str(self.sentiment),
            "injection_score": str(self.injection_score),
            "deadline_sec": self.deadline_sec,
            "duplicate_of": self.duplicate_of,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signals:
        exact = ("confidence", "anomaly_score", "sentiment", "injection_score")
        fields: dict[str, Any] = {
            name: Decimal(found) if name in exact and found is not None else found
            for name, found in value.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a caller asks for, as it came through the boundary: nothing in it is trusted.

    Attributes:
        args: parsed JSON values (`Decimal` for fractional numbers).
        principal: on whose behalf.
        session: the run of the agent this belongs to.
        parent_action: the action that led to this one.
        call_id: the framework's id of this tool call; identifies a retry.
        idempotency_key: the caller's key; scoped to namespace and agent.
        attempt: names one sending of a request that has neither key nor call id, so that it can be sent again
            where no answer came, also after the action has ended.
        reasoning, alternatives: the agent's own words, shown as such.
        checkpoint: opaque state that only the resuming agent gets back; no part of what identifies the
            request.
    """

    topic: str
    args: Mapping[str, Any]
    principal: str | None = None
    session: str | None = None
    parent_action: str | None = None
    call_id: str | None = None
    idempotency_key: str | None = None
    attempt: str | None = None
    confidence: Decimal | None = None
    reasoning: str = ""
    alternatives: tuple[str, ...] = ()
    checkpoint: bytes | None = field(default=None, repr=False)
    tags: tuple[str, ...] = field(default=())
    """Tags from the trusted registration of a topic outside the catalogue; an agent's key cannot set them."""
