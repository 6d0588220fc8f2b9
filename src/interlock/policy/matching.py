"""What several sections of a policy share: strictness, which actions are meant, and limits.

1. Models are strict and frozen, and an unknown key is an error.
2. A list that limits something is never empty, except `network_allowlist`, where empty means: nowhere.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from interlock.policy.scalars import Amount, Count, Group, Host, Patterns, Share, Tags


class Spec(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class MatchSpec(Spec):
    """What an action must look like; all of it together."""

    topics: Patterns | None = None
    risk_tags: Tags | None = None
    all_risk_tags: Tags | None = None
    confidence_below: Share | None = None
    anomaly_score_above: Share | None = None
    retry_count_above: Count | None = None
    amount_usd_above: Amount | None = None
    affected_users_above: Count | None = None
    first_time_action: bool | None = None


class ScopeSpec(Spec):
    """Which actions a trigger or an output rule looks at; all of it together."""

    topics: Patterns | None = None
    risk_tags: Tags | None = None
    all_risk_tags: Tags | None = None


class ConstraintsSpec(Spec):
    """Limits under which an action runs. Those of several rules hold together."""

    max_runtime_sec: Annotated[int, Field(ge=1)] | None = None
    network_allowlist: Annotated[tuple[Host, ...], Field(strict=False)] | None = None
    max_amount_usd: Amount | None = None


class RoutingSpec(Spec):
    """Who is asked about a class of actions."""

    financial_actions: Group | None = None
    security_actions: Group | None = None
    default: Group | None = None
