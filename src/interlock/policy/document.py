"""The document: what may stand in a policy, as strict, frozen models.

1. Unknown keys are errors. The keys are those of the published examples this project implements.
2. Sections whose behaviour comes later are typed all the same, so that a mistake in one is found today;
   `check` says that they are accepted, not yet enforced.
3. `normal` is the normalised document as JSON values: shorthands written out, durations in seconds,
   defaults left out. It is itself a policy document, and its canonical bytes are what a snapshot names.
   The one list that may be empty is `network_allowlist`, where empty means: nowhere.

This module knows shapes (`scalars` the smallest, `matching` the shared, `later` those of later capabilities).
What the parts mean to each other is `check`'s business.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Discriminator, Field
from pydantic import Tag as Kind

from interlock.model.canonical import Json
from interlock.policy.later import (
    AuditSpec,
    Demotions,
    EvidenceSpec,
    FatigueSpec,
    OutputSpec,
    PromotionSpec,
    QueueSpec,
    WorkflowSpec,
)
from interlock.policy.matching import ConstraintsSpec as ConstraintsSpec
from interlock.policy.matching import MatchSpec as MatchSpec
from interlock.policy.matching import RoutingSpec as RoutingSpec
from interlock.policy.matching import ScopeSpec as ScopeSpec
from interlock.policy.matching import Spec as Spec
from interlock.policy.scalars import (
    Amount,
    Condition,
    Currency,
    FactKindName,
    FieldPath,
    Fields,
    Groups,
    Id,
    Ids,
    InvariantName,
    LevelName,
    Pattern,
    Role,
    Tags,
    Text,
    Topic,
    ValuePath,
    type_shorthand,
)
from interlock.policy.scalars import ArgKindName as ArgKindName
from interlock.policy.scalars import ArgName as ArgName
from interlock.policy.scalars import ConnectionName as ConnectionName
from interlock.policy.scalars import Count as Count
from interlock.policy.scalars import DecisionName as DecisionName
from interlock.policy.scalars import Duration as Duration
from interlock.policy.scalars import ExecutorName as ExecutorName
from interlock.policy.scalars import Group as Group
from interlock.policy.scalars import HandoffName as HandoffName
from interlock.policy.scalars import OnTimeoutName as OnTimeoutName
from interlock.policy.scalars import Sentiment as Sentiment
from interlock.policy.scalars import Share as Share
from interlock.policy.scalars import Tag as Tag
from interlock.policy.scalars import TierNumber as TierNumber
from interlock.policy.scalars import ToolName as ToolName

MAX_TURNS = 10
"""How many owners one lane asks in turn, beside the first and the last."""
DEFAULT_OWNERS = ("security-approvers", "finance-approvers", "ops-approvers")


# --- the catalogue ----------------------------------------------------------------------------------------


class RaiseSpec(Spec):
    """A higher tier, unless a condition is proved false."""

    tier: TierNumber
    when: Condition


class ArgSpec(Spec):
    """The declared type of one argument."""

    type: ArgKindName
    optional: bool = False
    scale: Annotated[int, Field(ge=0, le=9)] | None = None
    currency: Currency | None = None
    max_length: Annotated[int, Field(ge=1)] | None = None


class IdempotentSpec(Spec):
    """How long a repeated key is answered with the first answer."""

    retention: Duration


class HttpSpec(Spec):
    """Run by any serving process: one request."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    url: Text
    auth: Id | None = None
    idempotent: IdempotentSpec | None = None
    no_effect: Annotated[tuple[Annotated[int, Field(ge=300, le=599)], ...], Field(strict=False)] = ()


class SqlSpec(Spec):
    """Run by any serving process: one statement in one transaction."""

    database: ConnectionName
    statement: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    query: ArgName | None = None
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = 1_000


class McpSpec(Spec):
    """Run by any serving process: one call of one tool of an MCP server."""

    url: Text | None = None
    server: ConnectionName | None = None
    tool: ToolName
    auth: ConnectionName | None = None
    idempotent: IdempotentSpec | None = None
    no_effect: Annotated[tuple[Annotated[int, Field(ge=-99_999, le=99_999)], ...], Field(strict=False)] = ()
    error_is_no_effect: bool = False


class CallerSpec(Spec):
    """Run by the process that guards the function."""

    idempotent: IdempotentSpec | None = None


class PermittedSpec(Spec):
    """Run by a trusted host elsewhere, under a permit that it redeems at the gate first."""

    executor: ExecutorName
    offline: bool = False


class ExecuteSpec(Spec):
    """How an action runs: one of the five."""

    http: HttpSpec | None = None
    sql: SqlSpec | None = None
    mcp: McpSpec | None = None
    caller: CallerSpec | None = None
    permitted: PermittedSpec | None = None


class HttpProbeSpec(Spec):
    """One GET."""

    method: Literal["GET"] = "GET"
    url: Text
    auth: Id | None = None
    absent: Annotated[tuple[Literal[404, 410], ...], Field(strict=False)] = ()
    compare: Fields
    cursor: FieldPath | None = None


class SqlProbeSpec(Spec):
    """One query for at most one row, through a connection that the database itself keeps read-only."""

    database: ConnectionName
    statement: Annotated[str, Field(min_length=1, max_length=20_000)]
    compare: Fields
    cursor: FieldPath | None = None


class McpProbeSpec(Spec):
    """One tool of an MCP server that reviewers vouch for."""

    url: Text | None = None
    server: ConnectionName | None = None
    tool: ToolName
    auth: ConnectionName | None = None
    args: dict[ArgName, ArgName] | None = None
    compare: Fields
    cursor: FieldPath | None = None


class ProbeSpec(Spec):
    """How to read what the action rests on: one of the three."""

    http: HttpProbeSpec | None = None
    sql: SqlProbeSpec | None = None
    mcp: McpProbeSpec | None = None


_SHORT_ARG = BeforeValidator(type_shorthand, json_schema_input_type=ArgKindName | ArgSpec)


class UndoSpec(Spec):
    """How an action is taken back, where the undo's arguments are not simply those of the same names."""

    topic: Topic
    args: dict[ArgName, ValuePath]


def _undo_kind(value: Any) -> str:
    return "\0topic" if isinstance(value, str) else "\0undo"


class ActionSpec(Spec):
    """What people reviewed about one topic, or about every topic a pattern matches."""

    tier: TierNumber
    raise_to: Annotated[tuple[RaiseSpec, ...], Field(strict=False, min_length=1)] | None = None
    risk_tags: Tags | None = None
    args: dict[ArgName, Annotated[ArgSpec, _SHORT_ARG]] | None = None
    roles: dict[Role, ArgName] | None = None
    summary: Text | None = None
    worst_case: Text | None = None
    constraints: ConstraintsSpec | None = None
    execute: ExecuteSpec | None = None
    probe: ProbeSpec | None = None
    undo: (
        Annotated[
            Annotated[Topic, Kind("\0topic")] | Annotated[UndoSpec, Kind("\0undo")],
            Discriminator(_undo_kind),
        ]
        | None
    ) = None
    undo_within: Duration | None = None


# --- the rules --------------------------------------------------------------------------------------------


class TurnSpec(Spec):
    """Who is asked next, for another time than the lane's window."""

    owner: Group
    window: Duration


def _turn_kind(value: Any) -> str:
    return "\0owner" if isinstance(value, str) else "\0turn"


class LaneSpec(Spec):
    """The time box of a request."""

    window: Duration
    on_timeout: OnTimeoutName
    valid: Duration = 3_600
    escalate_to: (
        Annotated[
            tuple[
                Annotated[
                    Annotated[Group, Kind("\0owner")] | Annotated[TurnSpec, Kind("\0turn")],
                    Discriminator(_turn_kind),
                ],
                ...,
            ],
            Field(strict=False, min_length=1, max_length=MAX_TURNS),
        ]
        | None
    ) = None


def _lane_kind(value: Any) -> str:
    return "\0name" if isinstance(value, str) else "\0lane"


class RuleSpec(Spec):
    """One rule. Of all that match the strictest decision counts."""

    id: Id | None = None
    match: MatchSpec | None = None
    when: Condition | None = None
    decision: DecisionName
    reason: Text | None = None
    constraints: ConstraintsSpec | None = None
    owner: Group | None = None
    lane: (
        Annotated[
            Annotated[Id, Kind("\0name")] | Annotated[LaneSpec, Kind("\0lane")], Discriminator(_lane_kind)
        ]
        | None
    ) = None
    overrides: Ids | None = None
    locked: bool = False


# --- triggers, invariants, facts --------------------------------------------------------------------------


class TriggerSpec(Spec):
    """A reason to escalate."""

    enabled: bool = True
    match: ScopeSpec | None = None
    owner: Group | None = None
    handoff: HandoffName | None = None
    context: Ids | None = None
    metric: Text | None = None


class ConfidenceTrigger(TriggerSpec):
    """The agent's own confidence, less the discount, is below the floor."""

    floor: Share | None = None
    discount: Share = Decimal(0)


class RiskTierTrigger(TriggerSpec):
    """The action is of one of these tiers."""

    tiers: Annotated[tuple[TierNumber, ...], Field(strict=False, min_length=1)] = (4,)


class FrustrationTrigger(TriggerSpec):
    """The person is frustrated, or the agent has failed repeatedly."""

    sentiment_below: Sentiment = Decimal("-0.5")
    retry_count_above: Count = 2


class SlaTrigger(TriggerSpec):
    """What was promised is due within this time."""

    within: Duration = 900


class IrreversibilityTrigger(TriggerSpec):
    """A tier-2 action that cannot be taken back within five minutes."""


class AnomalyTrigger(TriggerSpec):
    """The input is anomalous, or looks injected."""

    above: Share = Decimal("0.8")
    injection_above: Share = Decimal("0.5")


class TriggersSpec(Spec):
    """The six reasons to escalate; what is not said keeps the defaults of the published matrix."""

    confidence: ConfidenceTrigger = ConfidenceTrigger()
    risk_tier: RiskTierTrigger = RiskTierTrigger()
    frustration: FrustrationTrigger = FrustrationTrigger()
    sla: SlaTrigger = SlaTrigger()
    irreversibility: IrreversibilityTrigger = IrreversibilityTrigger()
    anomaly: AnomalyTrigger = AnomalyTrigger()


class InvariantsSpec(Spec):
    """What always needs a person, whatever the rules say."""

    disabled: Annotated[tuple[InvariantName, ...], Field(strict=False, min_length=1)] | None = None
    money_above_usd: Amount = Decimal(100)
    money_above: dict[Currency, Amount] = Field(default={})


class FactSpec(Spec):
    """Something that trusted code looks up before a decision."""

    type: FactKindName
    source: Literal["adapter", "probe", "counter"] = "adapter"


_SHORT_FACT = BeforeValidator(type_shorthand, json_schema_input_type=FactKindName | FactSpec)


# --- autonomy levels --------------------------------------------------------------------------------------


class LevelRuleSpec(Spec):
    """One rule of a level. The first that matches decides."""

    match: MatchSpec | None = None
    when: Condition | None = None
    decision: DecisionName
    reason: Text | None = None
    constraints: ConstraintsSpec | None = None


class LevelSpec(Spec):
    """What an agent of this level may do on its own."""

    name: Text | None = None
    rules: Annotated[tuple[LevelRuleSpec, ...], Field(strict=False, min_length=1)]


# --- the whole --------------------------------------------------------------------------------------------


class Document(Spec):
    """A whole policy. `interlock` is the version of the meaning, not of this policy."""

    interlock: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=200)] = "policy"
    mode: Literal["enforce", "observe"] = "enforce"
    people: Literal["team", "solo"] = "team"
    default_decision: Literal["require_approval", "deny"] = "require_approval"
    owners: Groups = DEFAULT_OWNERS
    facts: dict[ArgName, Annotated[FactSpec, _SHORT_FACT]] = Field(default={})
    actions: dict[Pattern, ActionSpec] = Field(default={})
    lanes: dict[Id, LaneSpec] = Field(default={})
    rules: Annotated[tuple[RuleSpec, ...], Field(strict=False)] = ()
    triggers: TriggersSpec = TriggersSpec()
    invariants: InvariantsSpec = InvariantsSpec()
    autonomy_levels: dict[LevelName, LevelSpec] = Field(default={})
    promotion_criteria: PromotionSpec | None = None
    demotion_triggers: Demotions | None = None
    audit: AuditSpec | None = None
    output: OutputSpec | None = None
    approval_queue_policy: QueueSpec | None = None
    routing: RoutingSpec | None = None
    fatigue_controls: FatigueSpec | None = None
    evidence_contract: EvidenceSpec | None = None
    workflows: dict[Id, WorkflowSpec] = Field(default={})

    def rule_id(self, index: int) -> str:
        return self.rules[index].id or f"rules[{index}]"

    def normal(self) -> dict[str, Json]:
        return cast("dict[str, Json]", self.model_dump(exclude_defaults=True))
