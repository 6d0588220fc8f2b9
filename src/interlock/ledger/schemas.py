"""The fields of every kind of entry, in one table; and the JSON Schema that is made of it for strangers.

1. A field is required, or it is optional: then it is null or absent where it does not apply. What it holds is
   one of the forms below; no form admits free text of an agent or of a person, but for the reasons that
   administrators write for everybody who reads the ledger.
2. The table says what this version writes. A test holds every entry that the gate writes against it, and
   `docs/ledger.md` too. Nothing is checked while an entry is written: there every microsecond is waited for.
3. Fields are only ever added, so the published schema lets unknown ones pass, and unknown kinds do not match.
   What entries mean one after the other no schema says: that is what a verifier is for.

Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from interlock.ledger.entries import KERNEL, VERSION, Kind
from interlock.model.canonical import MAX_INT

ID = "urn:interlock:ledger-entry:1"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """What a field holds: a name for documents, and the JSON Schema of its values."""

    name: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind. An optional one may be null or absent."""

    form: Form
    required: bool = True


def _pattern(name: str, pattern: str, description: str) -> Form:
    return Form(name, {"type": "string", "pattern": f"^{pattern}$", "description": description})


def _id(prefix: str, of: str) -> Form:
    return _pattern(f"{of}-id", f"{prefix}_[0-9a-f]{{32}}", f"the id of a {of}")


def _one_of(name: str, *values: str) -> Form:
    return Form(name, {"enum": list(values)})


def _whole(name: str, least: int, description: str, most: int = MAX_INT) -> Form:
    return Form(name, {"type": "integer", "minimum": least, "maximum": most, "description": description})


_ACTION = _id("act", "action")
_APPROVAL = _id("apr", "approval")
_PERSON = _id("per", "person")
_KEY = _id("key", "key")
_LINK = _id("lnk", "link")
_PERMIT = _id("prm", "permit")
_KILL = _id("kil", "kill-switch")
_SESSION = _id("ses", "session")
_PASSKEY = _pattern("passkey-id", "[a-z]{3}_[0-9a-f]{32}", "the id of a passkey")
_HASH = _pattern("hash", "[0-9a-f]{64}", "a SHA-256, or a keyed hash of 32 bytes, in hex")
_SNAPSHOT = _pattern("snapshot", "v1:[0-9a-f]{64}", "the digest of a policy's canonical document")
_BYTES = _pattern("base64url", "[A-Za-z0-9_-]+", "bytes, base64url without padding")
_BASE64 = _pattern("base64", "[A-Za-z0-9+/]+={0,2}", "bytes, base64")
_ORIGIN = _pattern("origin", "[^\\s+]+", "the name of a log")
_VKEY = _pattern("vkey", "[^\\s+]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]+={0,2}", "a verifier key of a signed note")
_NAME = Form(
    "name",
    {"type": "string", "minLength": 1, "description": "a name that an administrator or the code chose"},
)
_LINE = Form(
    "line", {"type": "string", "minLength": 1, "description": "one line for everybody who reads the ledger"}
)
_NAMES = Form("names", {"type": "array", "items": _NAME.schema})
_ACTIONS = Form("actions", {"type": "array", "items": _ACTION.schema, "uniqueItems": True})
_PEOPLE = Form("people", {"type": "array", "items": _PERSON.schema, "uniqueItems": True})
_GATE = _one_of("gate", "gate")
_RECORDED = _one_of("recorded", "turn", "result")
_NUMBER = _whole("number", 1, "the number of a record of a session, from 1")
_TRUTH = Form("bool", {"type": "boolean"})
_TRUE = Form("true", {"const": True})
_TIME = _whole("time", 0, "microseconds since 1970, UTC")
_COUNT = _whole("count", 0, "how many, from 0")
_REVISION = _whole("revision", 1, "the number of a revision, from 1")
_EPOCH = _whole("epoch", 1, "the number of a claim or of a ledger's epoch, from 1")
_TURN = _whole("turn", 1, "the number of an owner's turn to answer, from 1 for the second owner")
_TIER = _whole("tier", 1, "a risk tier, 1 to 4", 4)
_DECISION = _one_of("decision", "allow", "allow_with_constraints", "require_approval", "deny")
_ANSWER = _one_of("answer", "approve", "reject", "edit", "respond")
_OUTCOME = _one_of("outcome", "succeeded", "failed")
_DOUBT = _one_of("doubt", "in_doubt")
_STATE = _one_of("state", "held", "allowed", "approved", "executing", "stale", "in_doubt")
_ENDED = _one_of(
    "ended",
    "denied",
    "succeeded",
    "failed",
    "in_doubt",
    "rejected",
    "superseded",
    "expired",
    "withdrawn",
    "revoked",
    "rolled_back",
)
_SILENCE = _one_of("silence", "escalate", "deny", "kill_switch", "allow")
_SCOPE = _one_of("scope", "all", "agent", "topic")
_KEY_KIND = _one_of("key-kind", "agent", "adapter", "executor", "person")
_ROLES = Form(
    "roles",
    {
        "type": "array",
        "items": {"enum": ["reviewer", "operator", "policy-admin", "auditor"]},
        "minItems": 1,
        "uniqueItems": True,
    },
)


def _object(name: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Form:
    rest = optional or {}
    return Form(
        name,
        {
            "type": "object",
            "properties": {**required, **{key: _or_null(schema) for key, schema in rest.items()}},
            "required": list(required),
        },
    )


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_ASSERTION = _object(
    "assertion",
    {
        "passkey": _PASSKEY.schema,
        "authenticator_data": _BYTES.schema,
        "client_data": _BYTES.schema,
        "signature": _BYTES.schema,
    },
)
_SIGNED_ANSWER = _object(
    "signed-answer",
    {"action_hash": _HASH.schema, "nonce": _BYTES.schema},
    {"constraints": {"type": "object"}, "reason": _HASH.schema},
)
_HEAD = _object("head", {"size": _COUNT.schema, "root": _BASE64.schema})


def _kind(*optional: Mapping[str, Form], **required: Form) -> Mapping[str, Field]:
    fields = {name: Field(form) for name, form in required.items()}
    for more in optional:
        fields |= {name: Field(form, required=False) for name, form in more.items()}
    return MappingProxyType(fields)


_REVISED = {"action": _ACTION, "revision": _REVISION}
_RAN = {**_REVISED, "epoch": _EPOCH}
_VERDICT = {"decision": _DECISION, "rule": _NAME, "policy": _SNAPSHOT, "verdict": _HASH, "owner": _NAME}
_PERHAPS_VERDICT = {"tier": _TIER, "inputs": _HASH, "observed": _DECISION, "held_by": _GATE}
_PROPOSED = {
    **_REVISED,
    **_VERDICT,
    "action_hash": _HASH,
    "topic": _NAME,
    "agent": _NAME,
    "executor": _NAME,
}
_READ = {"reading": _HASH, "read_at": _TIME}
_HELD = {"approval": _APPROVAL, "review_hash": _HASH}
_PERHAPS_PROPOSED = {
    **_PERHAPS_VERDICT,
    **_HELD,
    "key": _KEY,
    "expires_at": _TIME,
    "predecessor": _ACTION,
    "request": _HASH,
    "step_up": _TRUE,
    "probe": _HASH,
    "undoes": _ACTION,
    "asked_by": _PERSON,
}

FIELDS: Mapping[Kind, Mapping[str, Field]] = MappingProxyType(
    {
        Kind.POLICY_ACTIVATED: _kind({"previous": _SNAPSHOT, "reason": _LINE}, snapshot=_SNAPSHOT, by=_NAME),
        Kind.ACTION_PROPOSED: _kind(_PERHAPS_PROPOSED, **_PROPOSED),
        Kind.ACTION_EDITED: _kind(_PERHAPS_PROPOSED, **_PROPOSED, supersedes=_APPROVAL, person=_PERSON),
        Kind.ACTION_REDECIDED: _kind(
            {
                **_PERHAPS_VERDICT,
                **_HELD,
                **_READ,
                "action_hash": _HASH,
                "step_up": _TRUE,
                "expires_at": _TIME,
                "probe": _HASH,
            },
            **_REVISED,
            **_VERDICT,
            was=_STATE,
        ),
        Kind.ACTION_STALE: _kind(
            {**_PERHAPS_VERDICT, "because": _one_of("because", "probe", "world"), **_READ},
            **_REVISED,
            **_VERDICT,
            was=_STATE,
        ),
        Kind.APPROVAL_DECIDED: _kind(
            {
                "key": _KEY,
                "reason_code": _NAME,
                "assertion": _ASSERTION,
                "answer": _SIGNED_ANSWER,
                "tightened": _TRUE,
                "response": _HASH,
            },
            **_REVISED,
            approval=_APPROVAL,
            action_hash=_HASH,
            review_hash=_HASH,
            decision=_ANSWER,
            person=_PERSON,
            solo=_TRUTH,
        ),
        Kind.APPROVAL_ESCALATED: _kind(
            {"turn": _TURN, "until": _TIME, "passed_over": _NAMES},
            **_REVISED,
            approval=_APPROVAL,
            owner=_NAME,
        ),
        Kind.APPROVAL_UNANSWERED: _kind(
            **_REVISED, approval=_APPROVAL, action_hash=_HASH, review_hash=_HASH, expires_at=_TIME
        ),
        Kind.APPROVAL_PROBED: _kind(
            {"reading": _HASH},
            **_REVISED,
            **_HELD,
            action_hash=_HASH,
            probe=_HASH,
            read_at=_TIME,
        ),
        Kind.ACTION_CLAIMED: _kind(
            {**_HELD, **_READ, "permit": _PERMIT, "assumed": _TRUE},
            **_RAN,
            holder=_NAME,
            action_hash=_HASH,
            policy=_SNAPSHOT,
        ),
        Kind.ACTION_SETTLED: _kind(**_RAN, outcome=_OUTCOME, action_hash=_HASH, output=_HASH, applied=_TRUTH),
        Kind.ACTION_IN_DOUBT: _kind(
            {"output": _HASH, "recovery": _EPOCH},
            **{**_RAN, "epoch": _COUNT},
            outcome=_DOUBT,
            action_hash=_HASH,
            applied=_TRUTH,
        ),
        Kind.ACTION_RECONCILED: _kind(
            {"key": _KEY}, **{**_RAN, "epoch": _COUNT}, outcome=_OUTCOME, person=_PERSON, note=_HASH
        ),
        Kind.ACTION_LATE_REPORT: _kind(
            {"action_hash": _HASH, "output": _HASH, "settled": _ENDED},
            **_RAN,
            outcome=_one_of("reported", "succeeded", "failed", "in_doubt"),
            applied=_TRUTH,
        ),
        Kind.ACTION_ROLLED_BACK: _kind(**_REVISED, rollback=_ACTION),
        Kind.ACTION_EXPIRED: _kind(
            {"approval": _APPROVAL, "on_timeout": _SILENCE, "kill": _KILL}, **_REVISED, was=_STATE
        ),
        Kind.ACTION_WITHDRAWN: _kind({"key": _KEY}, **_REVISED, was=_STATE, agent=_NAME),
        Kind.ACTION_REVOKED: _kind({"key": _KEY}, **_REVISED, was=_STATE, person=_PERSON),
        Kind.CONSTRAINT_BREACHED: _kind(**_RAN, constraint=_NAME),
        Kind.IDEMPOTENCY_CONFLICT: _kind({"key": _KEY}, action=_ACTION, agent=_NAME),
        Kind.KEY_ADDED: _kind({"person": _PERSON}, key=_KEY, key_kind=_KEY_KIND, topics=_NAMES, by=_NAME),
        Kind.KEY_REVOKED: _kind(key=_KEY, by=_NAME),
        Kind.PERSON_ADDED: _kind(person=_PERSON, roles=_ROLES, by=_NAME),
        Kind.PERSON_REMOVED: _kind(person=_PERSON, by=_NAME),
        Kind.LINK_ISSUED: _kind(link=_LINK, person=_PERSON),
        Kind.LINK_REDEEMED: _kind(link=_LINK, person=_PERSON),
        Kind.PASSKEY_ADDED: _kind(
            passkey=_PASSKEY, person=_PERSON, by=_NAME, credential=_BYTES, public_key=_BASE64, rp_id=_NAME
        ),
        Kind.PASSKEY_REVOKED: _kind(passkey=_PASSKEY, person=_PERSON, by=_NAME),
        Kind.PERMIT_MINTED: _kind(
            {"key": _KEY},
            **_REVISED,
            permit=_PERMIT,
            action_hash=_HASH,
            executor=_NAME,
            policy=_SNAPSHOT,
            expires_at=_TIME,
            offline=_TRUTH,
            kid=_BYTES,
        ),
        Kind.SESSION_OPENED: _kind({"key": _KEY}, session=_SESSION, agent=_NAME, content=_HASH),
        Kind.SESSION_RECORDED: _kind(
            {"key": _KEY, "action": _ACTION},
            session=_SESSION,
            number=_NUMBER,
            what=_RECORDED,
            content=_HASH,
        ),
        Kind.SESSION_ENDED: _kind({"key": _KEY}, session=_SESSION),
        Kind.TOOL_ACCEPTED: _kind({"previous": _HASH}, topic=_NAME, tool=_HASH, by=_NAME),
        Kind.KILL_ENGAGED: _kind(
            {"target": _NAME, "key": _KEY, "drill": _TRUE, "approval": _APPROVAL},
            kill=_KILL,
            scope=_SCOPE,
            reason=_LINE,
            by=_NAME,
            running=_COUNT,
            actions=_ACTIONS,
        ),
        Kind.KILL_REARMED: _kind(
            {"key": _KEY}, kill=_KILL, people=_PEOPLE, solo=_TRUTH, reason=_LINE, by=_NAME
        ),
        Kind.KILL_DRILL: _kind(kill=_KILL, by=_NAME, stop_us=_COUNT, running=_COUNT),
        Kind.SUBJECT_ERASED: _kind(
            {"reason": _NAME, "revisions": _COUNT}, subject=_HASH, by=_NAME, payloads=_COUNT
        ),
        Kind.LEDGER_KEY_ROTATED: _kind(vkey=_VKEY, previous=_VKEY, by=_NAME),
        Kind.LEDGER_EPOCH_OPENED: _kind(
            {"signed": _HEAD},
            epoch=_whole("later-epoch", 2, "the number of a ledger's epoch, from 2"),
            origin=_ORIGIN,
            vkey=_VKEY,
            previous=_ORIGIN,
            kept=_COUNT,
            people=_PEOPLE,
            solo=_TRUTH,
            reason=_LINE,
        ),
        Kind.LEDGER_RECOVERY_DISMISSED: _kind(
            epoch=_EPOCH, people=_PEOPLE, solo=_TRUTH, reason=_LINE, seen=_COUNT
        ),
        Kind.LEDGER_PRUNED: _kind(before=_COUNT, by=_NAME),
    }
)
"""Which fields each kind has, beside the five that every entry has."""


def json_schema() -> Schema:
    """The schema of one entry, as JSON values. Kinds have a dot in their names, and forms have none."""
    forms = {field.form.name: field.form.schema for fields in FIELDS.values() for field in fields.values()}
    kinds = {kind.value: _schema_of(kind, fields) for kind, fields in FIELDS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "Interlock ledger entry",
        "description": "One leaf of the ledger, in the canonical form of RFC 8785.",
        "type": "object",
        "properties": {
            "v": {"const": VERSION, "description": "version of this format"},
            "kernel": {"const": KERNEL, "description": "version of the rules it happened under"},
            "kind": {"enum": list(kinds), "description": "what happened"},
            "at": {
                **_TIME.schema,
                "description": "microseconds since 1970, UTC; never before the last one's",
            },
            "namespace": {"type": "string", "minLength": 1, "description": "the tenant it belongs to"},
        },
        "required": ["v", "kernel", "kind", "at", "namespace"],
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "$defs": {**kinds, **dict(sorted(forms.items()))},
    }


def _schema_of(kind: Kind, fields: Mapping[str, Field]) -> Schema:
    return {
        "properties": {
            "kind": {"const": kind.value},
            **{name: _reference(field) for name, field in fields.items()},
        },
        "required": ["kind", *(name for name, field in fields.items() if field.required)],
    }


def _reference(field: Field) -> Schema:
    form = {"$ref": f"#/$defs/{field.form.name}"}
    return form if field.required else _or_null(form)
