"""Request bodies: read once, at most 1 MiB and a checkpoint, strictly, into a closed model.

A long one takes a while to parse and to decide on: that happens in two threads beside the event loop, which
meanwhile answers everybody else, those with a kill switch first of all.
"""

from __future__ import annotations

import asyncio
import base64
import difflib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from interlock.gate import Answer, ReasonCode, checkpoints
from interlock.model.canonical import MAX_BYTES, parse_json
from interlock.model.errors import (
    InvalidInput,
    MalformedJson,
    MissingField,
    TooLarge,
    UnknownField,
    WrongType,
)
from interlock.model.money import decimal_of

BODY_SEC = 30
LONG = 1 << 15
"""Bytes of the longest body that is parsed in the event loop's own thread."""
APART = ThreadPoolExecutor(2, thread_name_prefix="long-bodies")
OPAQUE_CHARS = 4 * (checkpoints.MAX_BYTES // 3 + 2)
"""A little more than the largest checkpoint takes, so that one that is too large is told so."""
M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Confidence = Annotated[Any, BeforeValidator(lambda v: None if v is None else decimal_of(v, "$.confidence"))]


def _opaque(value: Any) -> bytes | None:
    """Bytes from base64 as RFC 4648, section 4, writes it: padded, in one line."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise WrongType("a string of base64", path="$.checkpoint")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise InvalidInput("this is no base64", path="$.checkpoint") from None


Opaque = Annotated[Any, BeforeValidator(_opaque)]
"""`bytes`, or None."""


Tags = Annotated[list[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,99}$")]], Field(max_length=50)]
Limit = Literal["max_runtime_sec", "max_amount_usd", "network_allowlist"]


class ProposeBody(Body):
    """What an agent asks for. It can name neither tags, tier, observed signals nor an outcome.

    `tags`, `cannot` and `claim` are for an adapter's key: trusted code maps a tool to the topic, with these
    tags, cannot hold it to these constraints, and claims it at once where it is allowed.
    """

    topic: str
    args: dict[str, Any]
    principal: str | None = None
    session: str | None = None
    parent_action: str | None = None
    call_id: str | None = None
    confidence: Confidence = Field(default=None, json_schema_extra={"type": "number"})
    reasoning: str = ""
    alternatives: list[str] = Field(default_factory=list, max_length=20)
    retry_of: str | None = None
    attempt: str | None = None
    tags: Tags | None = None
    cannot: list[Limit] = Field(default_factory=list, max_length=3)
    claim: str | None = Field(default=None, repr=False)
    checkpoint: Opaque = Field(default=None, repr=False, json_schema_extra={"type": "string"})


class DecideBody(Body):
    """A person's answer; `expected_hash` is the review hash of what was shown."""

    decision: Annotated[Answer, Field(strict=False)]
    expected_hash: str
    reason_code: Annotated[ReasonCode | None, Field(strict=False)] = None
    note: str = ""
    args: dict[str, Any] | None = None
    response: str | None = None


class ReconcileBody(Body):
    outcome: Literal["succeeded", "failed"]
    note: str


class SignInBody(Body):
    token: str


async def read(request: Request, model: type[M], *, opaque: str | None = None) -> M:
    """The body as a model; arguments as for `received`.

    Raises:
        TooLarge, MalformedJson and its kin, UnknownField, MissingField, WrongType.
    """
    raw = await received(request, opaque=opaque)
    parsing = partial(parsed, raw, model, opaque=opaque)
    if len(raw) <= LONG:
        return parsing()
    return await asyncio.get_running_loop().run_in_executor(APART, parsing)


async def received(request: Request, *, opaque: str | None = None) -> bytes:
    """The body's bytes.

    Args:
        opaque: a member of base64 that comes on top of what a body may hold.

    Raises:
        TooLarge: it is more. MalformedJson: it ends early, or does not arrive in time.
    """
    raw = bytearray()
    most = MAX_BYTES
    task, late = asyncio.current_task(), False
    assert task is not None

    def give_up() -> None:
        nonlocal late
        late = True
        task.cancel()

    # What `asyncio.timeout` does, at a fifth of its cost; every proposal passes here.
    timer = asyncio.get_running_loop().call_later(BODY_SEC, give_up)
    try:
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise MalformedJson("the body ended early")
            raw += message.get("body", b"")
            more = message.get("more_body", False)
            if len(raw) > most:
                if most > MAX_BYTES or opaque is None or f'"{opaque}"'.encode() not in raw:
                    raise TooLarge(f"more than {most} bytes")
                most += OPAQUE_CHARS
    except asyncio.CancelledError:
        if late and not task.uncancel():
            raise MalformedJson(f"the body did not arrive within {BODY_SEC} seconds") from None
        raise
    finally:
        timer.cancel()
    return bytes(raw)


def parsed(raw: bytes, model: type[M], *, opaque: str | None = None) -> M:
    """A body's bytes as a model; arguments as for `received`.

    Raises:
        TooLarge, MalformedJson and its kin, UnknownField, MissingField, WrongType.
    """
    value = parse_json(raw, max_bytes=MAX_BYTES if opaque is None else MAX_BYTES + OPAQUE_CHARS)
    if not isinstance(value, dict):
        raise WrongType("the body is a JSON object")
    carried = None if opaque is None else value.get(opaque)
    if len(raw) - (len(carried) if isinstance(carried, str) else 0) > MAX_BYTES:
        raise TooLarge(f"more than {MAX_BYTES} bytes beside `{opaque}`")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explain(error.errors(include_url=False)[0], model) from None


def explain(finding: Mapping[str, Any], model: type[BaseModel]) -> InvalidInput:
    """One of pydantic's findings as our error, with the path and what was probably meant."""
    where = finding["loc"]
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    match finding["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(where[-1]), list(model.model_fields), 1)
            return UnknownField(
                "this field is not known" + (f"; did you mean {near[0]}?" if near else ""), path=path
            )
        case "missing":
            return MissingField("this field is required", path=path)
        case kind if kind.endswith("_type") or kind in ("enum", "literal_error"):
            return WrongType(finding["msg"][0].lower() + finding["msg"][1:], path=path)
        case _:
            return InvalidInput(finding["msg"][0].lower() + finding["msg"][1:], path=path)


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a body that `read` parses."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    for name, part in list(schema.get("properties", {}).items()):
        schema["properties"][name] = _inline(part, definitions)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inline(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            return definitions[part["$ref"].rsplit("/", 1)[1]]
        return {key: _inline(value, definitions) for key, value in part.items()}
    return [_inline(item, definitions) for item in part] if isinstance(part, list) else part
