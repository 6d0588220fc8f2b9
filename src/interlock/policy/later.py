"""Sections of a policy whose behaviour comes later: typed today, so that a mistake in one is found today.

`check` says of each that it is accepted, not yet enforced.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field
from pydantic import Tag as Kind

from interlock.policy.matching import ConstraintsSpec, MatchSpec, RoutingSpec, ScopeSpec, Spec
from interlock.policy.scalars import (
    Amount,
    Condition,
    Count,
    Id,
    Ids,
    OnTimeoutName,
    OutputDecision,
    Pattern,
    Seconds,
    Share,
    Tag,
    Text,
    Texts,
    Topic,
)

# --- promotion and demotion -------------------------------------------------------------------------------


class PromotionSpec(Spec):
    """What an agent shows before it rises a level."""

    min_successful_actions: Count | None = None
    max_error_rate: Share | None = None
    review_period_days: Count | None = None
    requires_human_sign_off: bool = True


class ErrorRateSpec(Spec):
    """An error rate that costs a level."""

    error_rate_above: Share


def _demotion_kind(value: Any) -> str:
    return "\0event" if isinstance(value, str) else "\0rate"


Demotions: TypeAlias = Annotated[
    tuple[
        Annotated[
            Annotated[Literal["policy_violation", "safety_incident"], Kind("\0event")]
            | Annotated[ErrorRateSpec, Kind("\0rate")],
            Discriminator(_demotion_kind),
        ],
        ...,
    ],
    Field(strict=False, min_length=1),
]


# --- audit, output and the desk ----------------------------------------------------------------------------


class WeightsSpec(Spec):
    """How much more often than others a class of actions is sampled."""

    risk_tags: dict[Tag, Amount] | None = None
    topics: dict[Pattern, Amount] | None = None


class SamplingSpec(Spec):
    """The share of executed actions that somebody looks at."""

    rate: Share
    strategy: Literal["uniform", "stratified"] = "uniform"
    weights: WeightsSpec | None = None


class MandatorySpec(Spec):
    """What is always looked at."""

    match: MatchSpec


class AuditSpec(Spec):
    """Looking at executed actions afterwards."""

    sampling: SamplingSpec | None = None
    mandatory: Annotated[tuple[MandatorySpec, ...], Field(strict=False, min_length=1)] | None = None
    routing: RoutingSpec | None = None


class OutputRuleSpec(Spec):
    """What happens to a result before anybody receives it."""

    id: Id | None = None
    match: ScopeSpec | None = None
    detect: Ids | None = None
    fields: Texts | None = None
    decision: OutputDecision
    reason: Text | None = None


class OutputSpec(Spec):
    """Looking at results before they are delivered."""

    default: OutputDecision = "quarantine"
    rules: Annotated[tuple[OutputRuleSpec, ...], Field(strict=False)] = ()


class QueueSpec(Spec):
    """What the queue of requests should look like."""

    target_median_wait_sec: Count | None = None
    target_p95_wait_sec: Count | None = None
    max_open_requests_per_reviewer: Count | None = None
    escalate_after_sec: Count | None = None


class FatigueSpec(Spec):
    """What keeps reviewers from waving everything through."""

    auto_rebalance: bool | None = None
    cooldown_after_approvals: Count | None = None
    sampled_second_review_rate: Share | None = None


class EvidenceSpec(Spec):
    """What the record of a decision holds."""

    required_fields: Ids | None = None
    reject_if_incomplete: bool | None = None


# --- workflows --------------------------------------------------------------------------------------------


class BranchSpec(Spec):
    """Where a condition step leads where this holds."""

    when: Condition
    next: Id


class StepSpec(Spec):
    """One step of a workflow."""

    type: Literal["action", "condition", "approval"]
    topic: Topic | None = None
    depends_on: Ids | None = None
    branches: Annotated[dict[Id, BranchSpec], Field(min_length=1)] | None = None
    reason: Text | None = None
    timeout_sec: Seconds | None = None
    on_timeout: OnTimeoutName | None = None
    constraints: ConstraintsSpec | None = None


class WorkflowSpec(Spec):
    """Several actions, conditions and approvals in an order."""

    trigger: Text | None = None
    steps: Annotated[dict[Id, StepSpec], Field(min_length=1)]
