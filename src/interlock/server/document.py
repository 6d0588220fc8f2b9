"""The OpenAPI document, made for generators of clients: names, answers and refusals of every endpoint.

1. Each operation has a name that is unique and stays, and the model of each of its answers. They stand in one
   table; a test compares it with the routes, and the server's answers with the models.
2. Every operation may answer with a problem document, whatever the status.
3. Bodies and models are components, under their own names. No default is told: what has one may be left
   out, and generators take a member with a default for one that is always there.

Source: OpenAPI 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from interlock.server import answers as a
from interlock.server import answers_home as h

REFERENCE = "#/components/schemas/"
_ANSWERED = {200: "Answered", 201: "Made", 202: "Held for a person", 204: "Done"}
_PROBLEM = {
    "description": "A problem document; docs/errors.md lists the kinds",
    "content": {"application/problem+json": {"schema": {"$ref": f"{REFERENCE}Problem"}}},
}
_SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of `interlock keys add`"},
}


_HEADERS = {
    "proposeAction": {"Idempotency-Key": "Belongs to one request of one agent for ever"},
    "askQuestion": {"Idempotency-Key": "Belongs to one request of one agent for ever"},
    "streamEvents": {"Last-Event-ID": "The index of the last entry that was seen"},
    "signIn": {"X-Interlock-Console": "1"},
    "signOut": {"X-Interlock-Console": "The session's proof"},
}


class Operation(NamedTuple):
    """The name, and what is answered by status; None where that is no JSON."""

    name: str
    answers: Mapping[int, type[BaseModel] | None]
    public: bool = False


def _made(name: str, model: type[BaseModel]) -> Operation:
    """One that makes something, or finds that it was made before."""
    return Operation(name, {201: model, 200: model})


def _proposed(name: str) -> Operation:
    return Operation(name, {201: a.Action, 202: a.Action, 200: a.Action})


def _one(name: str, model: type[BaseModel] | None, *, public: bool = False) -> Operation:
    return Operation(name, {200: model}, public)


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("get", "/v1/caller"): _one("getCaller", a.CallerOf),
    ("post", "/v1/actions"): _proposed("proposeAction"),
    ("get", "/v1/actions"): _one("listActions", a.Actions),
    ("post", "/v1/actions/ready"): _one("listReadyActions", a.Ready),
    ("get", "/v1/actions/{action_id}"): _one("getAction", a.Action),
    ("get", "/v1/actions/{action_id}/checkpoint"): _one("getCheckpoint", a.KeptState),
    ("post", "/v1/actions/{action_id}/claim"): _one("claimAction", a.Claimed),
    ("post", "/v1/actions/{action_id}/renew"): _one("renewLease", a.Lease),
    ("post", "/v1/actions/{action_id}/outcome"): _one("reportOutcome", a.Reported),
    ("post", "/v1/actions/{action_id}/withdraw"): _one("withdrawAction", a.Action),
    ("post", "/v1/actions/{action_id}/revoke"): _one("revokeAction", a.Action),
    ("post", "/v1/actions/{action_id}/reconcile"): _one("reconcileAction", a.Action),
    ("get", "/v1/actions/{action_id}/rollback"): _one("planRollback", a.RollbackPlan),
    ("post", "/v1/actions/{action_id}/rollback"): Operation("rollBack", {201: a.Rollback, 202: a.Rollback}),
    ("post", "/v1/actions/{action_id}/permit"): Operation("mintPermit", {201: h.Permit}),
    ("post", "/v1/permits/redeem"): _one("redeemPermit", h.Redeemed),
    ("post", "/v1/sessions"): _made("openSession", a.Session),
    ("post", "/v1/sessions/{session_id}/turns"): _made("recordTurn", a.RecordOfSession),
    ("post", "/v1/sessions/{session_id}/results"): _made("recordResult", a.RecordOfSession),
    ("post", "/v1/sessions/{session_id}/end"): _one("endSession", a.Session),
    ("post", "/v1/questions"): _proposed("askQuestion"),
    ("get", "/v1/approvals"): _one("listApprovals", a.Approvals),
    ("get", "/v1/approvals/{approval_id}"): _one("getApproval", a.Approval),
    ("post", "/v1/approvals/{approval_id}/decisions"): _one("decide", a.Approval),
    ("post", "/v1/subjects/erase"): _one("eraseSubject", h.Erased),
    ("get", "/v1/events"): _one("streamEvents", None),
    ("get", "/v1/news"): _one("getNews", a.NewsPage),
    ("post", "/v1/news/place"): _one("takePlace", a.Place),
    ("post", "/v1/sign-in"): _one("signIn", h.SignedIn, public=True),
    ("post", "/v1/sign-out"): Operation("signOut", {204: None}),
    ("get", "/v1/me"): _one("getMe", h.Me),
    ("get", "/v1/policy"): _one("getPolicy", h.Policy),
    ("get", "/v1/tools"): _one("listTools", h.Tools),
    ("post", "/v1/tools/accept"): _one("acceptTools", h.ToolsAccepted),
    ("get", "/v1/recovery"): _one("getRecovery", h.Recovery),
    ("post", "/v1/recovery/agree"): _one("agreeToRecovery", h.Agreed),
    ("get", "/v1/kill-switches"): _one("listKillSwitches", h.KillSwitches),
    ("post", "/v1/kill-switches"): _made("engageKillSwitch", h.Engaged),
    ("post", "/v1/kill-switches/{kill_id}/rearm"): _one("rearmKillSwitch", h.Rearmed),
    ("get", "/ledger/checkpoint"): _one("getLedgerCheckpoint", None, public=True),
    ("get", "/ledger/vkey"): _one("getLedgerKey", None, public=True),
    ("get", "/ledger/first"): _one("getLedgerFirst", None, public=True),
    ("get", "/ledger/handovers/{number}"): _one("getLedgerHandover", None, public=True),
    ("get", "/ledger/tile/{path}"): _one("getLedgerTile", None),
    ("get", "/ledger/policies/{name}"): _one("getLedgerPolicy", None),
    ("get", "/.well-known/jwks.json"): _one("getKeySet", h.KeySet, public=True),
    ("get", "/healthz"): _one("getHealth", h.Health, public=True),
    ("get", "/readyz"): _one("getReadiness", h.Readiness, public=True),
}


def described(app: FastAPI) -> dict[str, Any]:
    """The document of an application; made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas: dict[str, Any] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            known = OPERATIONS[method, path.replace(":path", "")]
            operation["operationId"] = known.name
            del operation["summary"]
            headers = _HEADERS.get(known.name, {})
            operation.setdefault("parameters", []).extend(_header(*header) for header in headers.items())
            operation["security"] = [] if known.public else [{"key": []}]
            operation["responses"] = _responses(known, operation["responses"])
            body = operation.get("requestBody")
            if body is not None:
                content = body["content"]["application/json"]
                schemas[content["schema"]["title"]] = content["schema"]
                content["schema"] = {"$ref": REFERENCE + content["schema"]["title"]}
    models: set[type[BaseModel]] = {a.Problem}
    for known in OPERATIONS.values():
        models.update(model for model in known.answers.values() if model is not None)
    named = sorted(models, key=lambda model: model.__name__)
    _, answered = models_json_schema(
        [(model, "validation") for model in named], ref_template=REFERENCE + "{model}"
    )
    schemas |= answered["$defs"]
    document["components"] = {
        "schemas": {name: _plain(schema) for name, schema in sorted(schemas.items())},
        "securitySchemes": _SECURITY,
    }
    return document


def _header(name: str, words: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": words, "schema": {"type": "string"}}


def _responses(known: Operation, generated: Mapping[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in known.answers.items():
        if model is None:
            responses[str(status)] = generated[str(status)]
        else:
            schema = {"$ref": REFERENCE + model.__name__}
            responses[str(status)] = {
                "description": _ANSWERED[status],
                "content": {"application/json": {"schema": schema}},
            }
    return {**responses, "4XX": _PROBLEM, "5XX": _PROBLEM}


def _plain(schema: Any) -> Any:
    """The schema without titles, which only repeat names, and without defaults."""
    if isinstance(schema, dict):
        return {
            name: {key: _plain(value) for key, value in part.items()}
            if name == "properties"
            else _plain(part)
            for name, part in schema.items()
            if name != "default" and (name != "title" or not isinstance(part, str))
        }
    return [_plain(item) for item in schema] if isinstance(schema, list) else schema
