"""What the endpoints about actions answer, as models: they describe the API, and nothing is read or written
through them. What the others answer stands in `answers_home.py`.

A member without a default is in every answer; one with a default may be absent. Later versions add members.
Tests hold the server's answers against these models, both ways.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from interlock.gate import Answer, ReasonCode
from interlock.identity import KeyKind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.sessions import RecordKind, SessionState
from interlock.model.verdicts import Decision, OnTimeout

Json = dict[str, Any]
RequestState = Literal[
    "held",
    "approved",
    "rejected",
    "answered",
    "superseded",
    "stale",
    "expired",
    "withdrawn",
    "revoked",
    "in_doubt",
    "unanswered",
]


class Problem(BaseModel):
    """A refusal (RFC 9457). `type` ends with its name; `path` is where a value stands that is not acceptable.
    Some kinds add members."""

    model_config = {"extra": "allow"}
    type: str
    title: str
    status: int
    detail: str
    fix: str = ""
    path: str = ""


# --- actions -----------------------------------------------------------------------------------------------


class Constraints(BaseModel):
    max_runtime_sec: int = 0
    network_allowlist: list[str] = Field(default_factory=list)
    max_amount_usd: str = ""


class Frozen(BaseModel):
    """The kill switch that keeps a request from being approved, and from ending."""

    kill: str
    since: str


class ApprovalOfAction(BaseModel):
    id: str
    state: RequestState
    review_hash: str
    owner: str
    due_at: str
    then: str
    url: str | None
    frozen: Frozen | None


class Outcome(BaseModel):
    state: ActionState
    at: str
    note: str


class Rejection(BaseModel):
    reason_code: ReasonCode | None
    note: str | None


class Response(BaseModel):
    response: str | None
    note: str | None


class Edited(BaseModel):
    """One argument that a person changed; a value is absent where there was none."""

    field: str
    before: Any = None
    after: Any = None


class SessionOfAction(BaseModel):
    """`issued`: it is one of the gate's sessions, and not a word of the proposer's own."""

    id: str
    issued: bool


class RollbackOfAction(BaseModel):
    id: str
    state: ActionState


class Claimed(BaseModel):
    """What may run, once: the canonical text `binding`, of which `args` is a part."""

    action: str
    revision: int
    epoch: int
    lease_until: str
    binding: str
    args: Json
    decimals: list[str]
    tier: int | None
    constraints: Constraints
    amount_usd: str | None
    key: str
    remembered_sec: int


class Action(BaseModel):
    """An action, as its proposer and people see it."""

    id: str
    revision: int
    state: ActionState
    topic: str
    agent: str
    title: str
    args: Json
    erased: bool
    session: SessionOfAction | None
    tier: int | None
    decision: Decision
    rule: str
    reason: str
    triggers: list[str]
    handoff: str | None
    observed: str | None
    tags: list[str]
    constraints: Constraints
    owner: str
    policy: str
    action_hash: str
    executor: ExecutorKind
    executor_name: str | None
    proposed_at: str
    changed_at: str
    expires_at: str | None
    predecessor: str | None
    undoes: str | None
    rollback: RollbackOfAction | None
    approval: ApprovalOfAction | None
    outcome: Outcome | None
    result: Any
    user_message: str
    edited: list[Edited] = Field(default_factory=list)
    rejection: Rejection | None = None
    answer: Response | None = None
    claim: Claimed | None = None


class Tampered(BaseModel):
    """What stands in a list in the place of a record that was changed from outside."""

    id: str
    revision: int
    state: Literal["tampered"]
    title: str
    topic: str
    agent: str
    tier: None
    tier_words: str
    reason: str
    user_message: str


class Actions(BaseModel):
    items: list[Action | Tampered]
    next: str | None


class KeptState(BaseModel):
    id: str
    state: ActionState
    checkpoint: str | None


class Undo(BaseModel):
    topic: str
    args: Json
    title: str
    worst_case: str | None
    executor: ExecutorKind
    tier: int | None
    decision: Decision
    rule: str
    reason: str
    owner: str | None


class RollbackPlan(BaseModel):
    action: str
    title: str
    undo: Undo
    until: str | None
    policy: str


class Rollback(BaseModel):
    rollback: Action
    action: Action


# --- running -----------------------------------------------------------------------------------------------


class Lease(BaseModel):
    action: str
    lease_until: str


class Reported(BaseModel):
    action: str
    revision: int
    state: ActionState
    epoch: int


class ReadyAction(BaseModel):
    id: str
    revision: int
    topic: str


class Ready(BaseModel):
    """`others`: of each other topic that something waits for, one action."""

    items: list[ReadyAction]
    others: dict[str, str]


# --- callers, sessions, news -------------------------------------------------------------------------------


class CallerOf(BaseModel):
    kind: KeyKind
    name: str | None
    topics: list[str]


class Session(BaseModel):
    id: str
    agent: str
    state: SessionState
    records: int
    opened_at: str
    ended_at: str | None


class RecordOfSession(BaseModel):
    session: str
    number: int
    kind: RecordKind
    at: str


class NewsItem(BaseModel):
    number: int
    type: str
    state: ActionState
    action: str
    revision: int
    at: int


class NewsPage(BaseModel):
    items: list[NewsItem]
    next: int


class Place(BaseModel):
    yours: bool
    position: int | None
    since: int | None


# --- approval requests -------------------------------------------------------------------------------------


class Money(BaseModel):
    amount: str
    currency: str


class Decided(BaseModel):
    decision: Answer
    by: str
    at: str
    solo: bool
    reason_code: ReasonCode | None
    note: str | None
    response: str | None = None


class ApprovalItem(BaseModel):
    id: str
    state: RequestState
    action_id: str
    revision: int
    topic: str
    agent: str
    title: str
    tier: int | None
    tier_words: str
    owner: str
    requested_at: str
    due_at: str
    escalates_at: str | None
    escalates_to: list[str]
    on_timeout: OnTimeout
    then: str
    frozen: Frozen | None
    money: Money | None
    rows: Any
    people: Any
    reversible: bool
    undo: str | None
    reason: str
    decided: Decided | None


class TamperedRequest(Tampered):
    action_id: str
    owner: str
    requested_at: str | None
    due_at: str | None
    escalates_at: None
    escalates_to: list[str]
    on_timeout: OnTimeout
    then: str
    frozen: None
    money: None
    rows: None
    people: None
    reversible: bool
    undo: None
    decided: None


class Approvals(BaseModel):
    items: list[ApprovalItem | TamperedRequest]
    next: str | None
    counts: dict[str, int]
    more: list[str]
    next_deadline: str | None
    order: str


class Why(BaseModel):
    rule: str
    reason: str
    triggers: list[str]
    handoff: str | None
    informed: list[str]
    overridden: list[str]
    policy: str
    missing: list[str]


class Change(BaseModel):
    field: str
    role: str | None
    type: str
    warnings: list[str]
    change: Literal["proposed", "added", "removed", "changed", "same"]
    before: Any = None
    after: Any = None


class Context(BaseModel):
    session: str | None
    principal: str | None
    parent_action: str | None
    agent: str | None


class Can(BaseModel):
    approve: bool
    reject: bool
    edit: bool
    respond: bool
    why_not: str | None


class TakesBack(BaseModel):
    action: str
    title: str
    asked_by: str | None
    until: str | None


class Again(BaseModel):
    because: Literal["policy", "probe", "world"]
    was: str
    words: str


class WorldField(BaseModel):
    field: str
    changed: bool
    now: str = ""
    before: str = ""


class World(BaseModel):
    state: Literal["unread", "read", "absent", "unavailable"]
    read_at: str | None
    reason: str | None
    cursor_moved: bool
    fields: list[WorldField]


class Position(BaseModel):
    index: int | None
    of: int
    more: bool
    previous: str | None
    next: str | None


class Approval(ApprovalItem):
    """Everything a reviewer is shown. A decision names `review_hash`."""

    erased: bool
    review_hash: str
    action_hash: str
    worst_case: str | None
    why: Why
    constraints: Constraints
    constraint_words: list[str]
    changes: list[Change]
    args: Json
    reasoning: str
    alternatives: list[str]
    context: Context
    can: Can
    takes_back: TakesBack | None
    again: Again | None
    world: World | None
    superseded_by: str | None
    supersedes: str | None
    edited_by: str | None
    editor_is_you: bool
    action: Action
    position: Position
