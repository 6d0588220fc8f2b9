"""The document: what may stand in a policy file, as strict, frozen models.

1. Unknown keys are errors. Nothing is coerced: ``"100"`` is no number and ``1`` is no boolean.
2. A list that limits something is never empty; an empty list of topics would match nothing, or everything.
   The one exception is `network_allowlist`, where empty means: nowhere.
3. `normal` is the normalised document as JSON values: shorthands written out, durations in seconds,
   defaults left out. It is itself a policy document, and its canonical bytes are what a snapshot names.

This module knows shapes. What the parts mean to each other is `check`'s business.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
)
from pydantic_core import PydanticCustomError

from interlock.model.canonical import Json, plain
from interlock.model.errors import BadTopic, InvalidInput
from interlock.model.topics import TopicPattern, parse_topic

DEFAULT_OWNERS = ("security-approvers", "finance-approvers", "ops-approvers")
MAX_DURATION_SEC = 366 * 86_400
_DURATION = re.compile(r"([1-9][0-9]{0,7})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Spec(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


# --- leaves -----------------------------------------------------------------------------------------------


def _number(value: Any) -> Decimal:
    if type(value) is not int and type(value) is not Decimal:
        raise PydanticCustomError("number", "expected a number such as 0.7 or 100, unquoted")
    try:
        plain(value)
    except InvalidInput:
        raise PydanticCustomError("number", "a number with more digits than a double carries") from None
    return Decimal(value)


def _duration(value: Any) -> int:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= MAX_DURATION_SEC:
        raise PydanticCustomError(
            "duration", "expected a duration such as 30s, 15m, 24h or 7d, at most a year"
        )
    return seconds


def _pattern(text: str) -> str:
    try:
        pattern = TopicPattern.parse(text)
    except BadTopic as error:
        raise PydanticCustomError("topic", "{why}", {"why": error.detail.partition(": ")[2]}) from None
    if pattern.names and len(pattern.segments) < 2:
        raise PydanticCustomError(
            "topic", "a topic has at least two segments, so {text} never matches", {"text": repr(text)}
        )
    return text


def _topic(text: str) -> str:
    try:
        return parse_topic(text)
    except BadTopic as error:
        raise PydanticCustomError("topic", "{why}", {"why": error.detail.partition(": ")[2]}) from None


def _shorthand(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def _raw(value: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("mapping", "expected a mapping")
    try:
        return plain(value)
    except InvalidInput as error:
        raise PydanticCustomError("number", "{why}", {"why": error.detail}) from None


Number: TypeAlias = Annotated[
    Decimal, PlainValidator(_number), PlainSerializer(lambda number: plain(number), return_type=Any)
]
Amount: TypeAlias = Annotated[Number, Field(ge=0)]
Share: TypeAlias = Annotated[Number, Field(ge=0, le=1)]
Duration: TypeAlias = Annotated[
    int, PlainValidator(_duration), PlainSerializer(lambda seconds: f"{seconds}s", return_type=str)
]
Pattern: TypeAlias = Annotated[str, AfterValidator(_pattern)]
Topic: TypeAlias = Annotated[str, AfterValidator(_topic)]
Id: TypeAlias = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Group: TypeAlias = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@+-]*$")]
Tag: TypeAlias = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
ArgName: TypeAlias = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Host: TypeAlias = Annotated[
    str,
    Field(max_length=260, pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$"),
]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2_000)]
TierNumber: TypeAlias = Annotated[int, Field(ge=1, le=4)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Patterns: TypeAlias = Annotated[tuple[Pattern, ...], Field(strict=False, min_length=1)]
Tags: TypeAlias = Annotated[tuple[Tag, ...], Field(strict=False, min_length=1)]
Role: TypeAlias = Literal[
    "amount", "recipient", "destination", "credential", "path", "content", "rows", "people", "cursor"
]


# --- the catalogue ----------------------------------------------------------------------------------------


class ConstraintsSpec(Spec):
    max_runtime_sec: Annotated[int, Field(ge=1)] | None = None
    network_allowlist: Annotated[tuple[Host, ...], Field(strict=False)] | None = None
    max_amount_usd: Amount | None = None


class RaiseSpec(Spec):
    tier: TierNumber
    when: Text


class ArgSpec(Spec):
    type: Literal["string", "integer", "number", "boolean", "decimal", "object", "array"]
    optional: bool = False
    scale: Annotated[int, Field(ge=0, le=9)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    max_length: Annotated[int, Field(ge=1)] | None = None


class IdempotentSpec(Spec):
    retention: Duration


class HttpSpec(Spec):
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    url: Text
    auth: Id | None = None
    idempotent: IdempotentSpec | None = None
    no_effect: Annotated[tuple[Annotated[int, Field(ge=300, le=599)], ...], Field(strict=False)] = ()


class CallerSpec(Spec):
    idempotent: IdempotentSpec | None = None


class ExecuteSpec(Spec):
    http: HttpSpec | None = None
    caller: CallerSpec | None = None


class ActionSpec(Spec):
    tier: TierNumber
    raise_to: Annotated[tuple[RaiseSpec, ...], Field(strict=False, min_length=1)] | None = None
    risk_tags: Tags | None = None
    args: dict[ArgName, Annotated[ArgSpec, BeforeValidator(_shorthand)]] | None = None
    roles: dict[Role, ArgName] | None = None
    summary: Text | None = None
    worst_case: Text | None = None
    constraints: ConstraintsSpec | None = None
    execute: ExecuteSpec | None = None
    probe: Annotated[Any, PlainValidator(_raw)] = None
    undo: Topic | None = None
    undo_within: Duration | None = None


# --- the rules --------------------------------------------------------------------------------------------


class MatchSpec(Spec):
    topics: Patterns | None = None
    risk_tags: Tags | None = None
    all_risk_tags: Tags | None = None
    confidence_below: Share | None = None
    anomaly_score_above: Share | None = None
    retry_count_above: Count | None = None
    amount_usd_above: Amount | None = None
    affected_users_above: Count | None = None
    first_time_action: bool | None = None


class LaneSpec(Spec):
    window: Duration
    on_timeout: Literal["deny", "escalate"]
    valid: Duration = 3_600


class RuleSpec(Spec):
    id: Id | None = None
    match: MatchSpec | None = None
    when: Annotated[str, Field(min_length=1)] | None = None
    decision: Literal["allow", "allow_with_constraints", "require_approval", "deny"]
    reason: Text | None = None
    constraints: ConstraintsSpec | None = None
    owner: Group | None = None
    lane: LaneSpec | None = None


class Document(Spec):
    """A whole policy. `interlock` is the version of the meaning, not of this policy."""

    interlock: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=200)] = "policy"
    people: Literal["team", "solo"] = "team"
    default_decision: Literal["require_approval", "deny"] = "require_approval"
    owners: Annotated[tuple[Group, ...], Field(strict=False, min_length=1)] = DEFAULT_OWNERS
    actions: dict[Pattern, ActionSpec] = Field(default={})
    rules: Annotated[tuple[RuleSpec, ...], Field(strict=False)] = ()

    def rule_id(self, index: int) -> str:
        return self.rules[index].id or f"rules[{index}]"

    def normal(self) -> dict[str, Json]:
        return cast("dict[str, Json]", self.model_dump(exclude_defaults=True))
