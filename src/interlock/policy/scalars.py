"""Scalars: the smallest things a policy says, each with one spelling and an error in the author's words.

1. Nothing is coerced: ``"100"`` is no number, ``1`` is no boolean, and a decimal keeps its digits.
2. A list that limits something is never empty; an empty list of topics would match nothing, or everything.
3. Every type says in JSON Schema what it accepts, for editors; the validators here decide.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from interlock.model.canonical import plain
from interlock.model.errors import BadTopic, InvalidInput
from interlock.model.topics import TopicPattern, parse_topic
from interlock.policy.undos import PATH as VALUE_PATH

MAX_DURATION_SEC = 366 * 86_400
_DURATION = re.compile(r"([1-9][0-9]{0,7})([smhd])", re.ASCII)
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SEGMENT = r"[a-z0-9_-]+"
_STEP = rf"({_SEGMENT}|\*)"


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
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if not 0 < seconds <= MAX_DURATION_SEC:
        raise PydanticCustomError(
            "duration", "expected a duration such as 30s, 15m, 24h or 7d, at most a year"
        )
    return seconds


def _pattern(text: str) -> str:
    try:
        pattern = TopicPattern.parse(text)
    except BadTopic as error:
        raise PydanticCustomError("topic", "{why}", {"why": _why(error)}) from None
    if pattern.names and len(pattern.segments) < 2:
        raise PydanticCustomError(
            "topic", "a topic has at least two segments, so {text} never matches", {"text": repr(text)}
        )
    return text


def _topic(text: str) -> str:
    try:
        return parse_topic(text)
    except BadTopic as error:
        raise PydanticCustomError("topic", "{why}", {"why": _why(error)}) from None


def _why(error: BadTopic) -> str:
    return error.detail.partition(": ")[2]


def _host(text: str) -> str:
    """A range of addresses is one: with a length that there is, and without bits below it."""
    if "/" in text:
        try:
            ipaddress.ip_network(text.replace("[", "").replace("]", ""))
        except ValueError:
            raise PydanticCustomError(
                "range", "{text} is no range of addresses, such as 10.0.0.0/8", {"text": repr(text)}
            ) from None
    return text


def type_shorthand(value: Any) -> Any:
    """``string`` is short for ``{type: string}``."""
    return {"type": value} if isinstance(value, str) else value


Number: TypeAlias = Annotated[
    Decimal,
    PlainValidator(_number, json_schema_input_type=float),
    PlainSerializer(lambda number: plain(number), return_type=Any),
]
Amount: TypeAlias = Annotated[Number, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]
Share: TypeAlias = Annotated[
    Number, Field(ge=0, le=1), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
Sentiment: TypeAlias = Annotated[
    Number, Field(ge=-1, le=1), WithJsonSchema({"type": "number", "minimum": -1, "maximum": 1})
]
Duration: TypeAlias = Annotated[
    int,
    PlainValidator(_duration),
    PlainSerializer(lambda seconds: f"{seconds}s", return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,7}[smhd]$"}),
]
Pattern: TypeAlias = Annotated[
    str,
    AfterValidator(_pattern),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 255,
            "pattern": rf"^(\*\*?|{_STEP}(\.{_STEP}){{0,15}}\.\*\*|{_STEP}(\.{_STEP}){{1,15}})$",
        }
    ),
]
Topic: TypeAlias = Annotated[
    str,
    AfterValidator(_topic),
    WithJsonSchema({"type": "string", "maxLength": 255, "pattern": rf"^{_SEGMENT}(\.{_SEGMENT}){{1,15}}$"}),
]
ValuePath: TypeAlias = Annotated[str, Field(max_length=500, pattern=rf"^{VALUE_PATH}$")]
Id: TypeAlias = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Group: TypeAlias = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@+-]*$")]
Tag: TypeAlias = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
ArgName: TypeAlias = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
ExecutorName: TypeAlias = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Currency: TypeAlias = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Host: TypeAlias = Annotated[
    str,
    Field(
        max_length=260,
        pattern=r"^(([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
        r"|([0-9.]+|\[[0-9a-f:.]+\])/[0-9]{1,3})$",
    ),
    AfterValidator(_host),
]
ConnectionName: TypeAlias = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
FieldPath: TypeAlias = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+){0,15}$")
]
ToolName: TypeAlias = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_./-]+$")]
LevelName: TypeAlias = Annotated[str, Field(pattern=r"^level_[0-9]$")]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2_000)]
Condition: TypeAlias = Annotated[str, Field(min_length=1)]
TierNumber: TypeAlias = Annotated[int, Field(ge=1, le=4)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Seconds: TypeAlias = Annotated[int, Field(ge=1, le=MAX_DURATION_SEC)]

Groups: TypeAlias = Annotated[tuple[Group, ...], Field(strict=False, min_length=1)]
Fields: TypeAlias = Annotated[tuple[FieldPath, ...], Field(strict=False, min_length=1, max_length=32)]
Ids: TypeAlias = Annotated[tuple[Id, ...], Field(strict=False, min_length=1)]
Patterns: TypeAlias = Annotated[tuple[Pattern, ...], Field(strict=False, min_length=1)]
Tags: TypeAlias = Annotated[tuple[Tag, ...], Field(strict=False, min_length=1)]
Texts: TypeAlias = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]

DecisionName: TypeAlias = Literal["allow", "allow_with_constraints", "require_approval", "deny"]
OnTimeoutName: TypeAlias = Literal["escalate", "deny", "kill_switch", "allow"]
HandoffName: TypeAlias = Literal[
    "async_review",
    "approval",
    "priority_escalation",
    "mandatory_approval",
    "human_takeover",
    "session_block",
]
InvariantName: TypeAlias = Literal["deploy", "external-comms", "money", "delete", "privilege"]
OutputDecision: TypeAlias = Literal["allow", "redact", "quarantine"]
ArgKindName: TypeAlias = Literal["string", "integer", "number", "boolean", "decimal", "object", "array"]
FactKindName: TypeAlias = Literal["string", "integer", "number", "boolean"]
Role: TypeAlias = Literal[
    "amount", "recipient", "destination", "credential", "path", "content", "rows", "people", "cursor"
]
