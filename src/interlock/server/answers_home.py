"""What the endpoints answer that are about the installation: people, permits, policy, stopping, recovery.

As in `answers.py`, a member with a default may be absent.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from interlock.gate import Scope
from interlock.identity import KeyKind, Role
from interlock.model.actions import ActionState
from interlock.server.answers import Constraints, Json

# --- permits -----------------------------------------------------------------------------------------------


class Permit(BaseModel):
    permit: str
    id: str
    action: str
    revision: int
    executor: str
    tier: int | None
    offline: bool
    expires_at: str
    args: Json


class Redeemed(BaseModel):
    action: str
    revision: int
    epoch: int
    lease_until: str
    binding: str
    constraints: Constraints
    key: str


class Jwk(BaseModel):
    model_config = {"extra": "allow"}
    kty: str
    kid: str


class KeySet(BaseModel):
    issuer: str
    keys: list[Jwk]


# --- people, policy, subjects ------------------------------------------------------------------------------


class Named(BaseModel):
    id: str
    name: str


class Enrolled(Named):
    roles: list[Role]


class PolicyOfMe(BaseModel):
    name: str
    snapshot: str
    mode: str


class Me(BaseModel):
    person: Enrolled
    solo: bool
    policy: PolicyOfMe


class SignedIn(Me):
    """`proof`: what the header `X-Interlock-Console` says in changes by the session's cookie."""

    proof: str


class Policy(BaseModel):
    name: str
    snapshot: str
    people: Literal["team", "solo"]
    warnings: list[str]


class OpenAction(BaseModel):
    id: str
    revision: int
    state: ActionState
    topic: str


class Erased(BaseModel):
    """`since` and `open` with `dry_run`, `clean` without."""

    subject: str
    erased: bool
    payloads: int
    actions: int
    clean: bool = False
    since: str = ""
    open: list[OpenAction] = Field(default_factory=list)


class AcceptedTool(BaseModel):
    hash: str
    by: str
    at: str
    definition: Json | None


class Tool(BaseModel):
    """A tool of a foreign server: `definition` is that server's own word."""

    server: str
    tool: str
    topic: str
    hash: str
    standing: Literal["new", "accepted", "changed"]
    definition: Json
    seen_at: str
    accepted: AcceptedTool | None


class Tools(BaseModel):
    tools: list[Tool]
    may: list[Named]


class ToolsAccepted(BaseModel):
    accepted: list[str]


# --- stopping, recovery, health ----------------------------------------------------------------------------


class KillSwitch(BaseModel):
    id: str
    scope: Scope
    target: str | None
    reason: str
    by: str
    drill: bool
    engaged_at: str
    rearmed_at: str | None


class Standing(KillSwitch):
    agreed: list[Named]
    needed: int


class KillSwitches(BaseModel):
    engaged: list[Standing]
    may: list[Named]
    lifted: list[KillSwitch]


class Engaged(KillSwitch):
    """`created` for a kill switch, `stop_us` for a drill."""

    running: list[str]
    created: bool = False
    stop_us: int = 0


class Rearmed(Standing):
    lifted: bool


class Head(BaseModel):
    size: int
    root: str


class NextEpoch(BaseModel):
    number: int
    origin: str
    vkey: str
    previous: str
    old_key: bool


class Dismissal(BaseModel):
    gap: str | None
    against: str | None
    agreed: list[Named]


class Doubted(BaseModel):
    action: str
    revision: int
    state: ActionState
    topic: str
    agent: str
    changed_at: str


class InDoubt(BaseModel):
    count: int
    states: dict[str, int]
    items: list[Doubted]


class Agreement(BaseModel):
    needed: int
    solo: bool
    may: list[Named]
    agreed: list[Named]


class KeyOfHome(BaseModel):
    id: str
    kind: KeyKind
    name: str
    person: str | None
    added_at: str


class Check(BaseModel):
    """Who is enrolled and which keys are valid now: look whether they should be."""

    people: list[Enrolled]
    keys: list[KeyOfHome]
    spoilt_keys: list[str]


class Recovery(BaseModel):
    """`required` alone in ordinary life."""

    required: bool
    why: str = ""
    found_at: str = ""
    gap: str = ""
    kept: int = 0
    last_at: str = ""
    seen: int = 0
    missing: int = 0
    signed: Head | None = None
    entries: Literal["same", "different", "unknown", "unsigned"] = "unknown"
    epoch: NextEpoch | None = None
    dismissal: Dismissal | None = None
    in_doubt: InDoubt | None = None
    agreement: Agreement | None = None
    check: Check | None = None


class OpenedEpoch(BaseModel):
    epoch: int
    in_doubt: int
    states: dict[str, int]


class Agreed(BaseModel):
    agreed: list[Named]
    needed: int
    opened: OpenedEpoch | None
    dismissed: bool


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready"]
    policy: str
    ledger: str
    witnesses: Literal["quorum", "missing", "contradicted"] | None = None
