"""How things are said: to agents in a sentence or two, to reviewers field by field.

1. Pure functions of what was read; nothing here decides or reads.
2. What is hidden is made visible, and what is decided on is shown whole.
3. The change table puts the riskiest field first, never the alphabet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.gate.decide import difference
from interlock.gate.package import Package
from interlock.gate.records import ActionRow, ApprovalRow
from interlock.model.actions import ActionState
from interlock.model.canonical import Json
from interlock.model.errors import InterlockError
from interlock.model.ids import iso, minute
from interlock.model.text import lookalikes, visible
from interlock.model.verdicts import Constraints, OnTimeout

View = dict[str, Any]
LATEST = 253_402_300_799_000_000
"""The last moment that a date can tell, in microseconds UTC."""
ERASED = "Erased"
"""The title of what was erased, and what stands for its notes."""
_RISK_ORDER = ("amount", "recipient", "destination", "credential", "people", "rows", "path", "content")


def message(view: View, home: str | None) -> str:
    """One or two sentences an agent can pass on to its user."""
    at = f" --home {home}" if home else ""
    title, approval = view["title"], view["approval"]
    match ActionState(view["state"]):
        case ActionState.HELD:
            where = (
                f"Decide at {approval['url']}"
                if approval["url"]
                else f"Decide in the console (interlock serve{at}) or with: "
                f"interlock approvals show {approval['id']}{at}"
            )
            if approval["frozen"] is not None:
                return (
                    f"Frozen: a kill switch is on. “{title}” waits for {approval['owner']}; its deadline "
                    f"pauses. {where}."
                )
            return (
                f"Held: “{title}” waits for {approval['owner']} until {approval['due_at']}; then it "
                f"{approval['then']}. {where}."
            )
        case ActionState.ALLOWED | ActionState.APPROVED as state if view["executor_name"] is not None:
            return (
                f"{state.capitalize()}: “{title}” may run until {view['expires_at']}; "
                f"{view['executor_name']} runs it under a permit."
            )
        case ActionState.APPROVED:
            return f"Approved: “{title}” may run until {view['expires_at']}."
        case ActionState.DENIED:
            return f"Denied: “{title}”. {view['reason']} Do not retry it unchanged."
        case ActionState.REJECTED:
            rejection = view.get("rejection") or {}
            why = ", ".join(x for x in (rejection.get("reason_code"), rejection.get("note")) if x)
            return f"Rejected by a person: “{title}” ({why or 'no reason given'}). It did not run."
        case ActionState.ANSWERED:
            answer = view.get("answer") or {}
            return f"Answered by a person: {answer.get('response') or ERASED}"
        case ActionState.EXPIRED:
            return f"Expired: “{title}” was not decided, or not run, in time. It did not run."
        case ActionState.IN_DOUBT:
            return f"In doubt: “{title}” may have run; a person finds out what it did. Do not retry."
        case ActionState.FAILED:
            note = view["outcome"]["note"] if view["outcome"] else ""
            return f"Failed without effect: “{title}”. {note}".strip()
        case ActionState.SUCCEEDED:
            return f"Done: “{title}”."
        case ActionState.ROLLED_BACK:
            return f"Rolled back: “{title}” ran, and {view['rollback']['id']} took it back."
        case ActionState.EXECUTING:
            return f"Running: “{title}”."
        case ActionState.SUPERSEDED:
            return f"A person changed “{title}”; a newer revision stands in its place."
        case _:
            return f"{view['state'].replace('_', ' ').capitalize()}: “{title}”. It did not run."


def erased_package(row: ActionRow, approval: ApprovalRow) -> Package:
    """What is left to show of a request whose content was erased."""
    gone: dict[str, Json] = dict.fromkeys(
        ("before", "money", "worst_case", "undo", "principal", "session", "parent_action")
    )
    return Package(
        row.action_hash,
        row.decided,
        row.catalogue,
        ERASED,
        {**gone, "topic": row.topic, "args": {}, "roles": {}, "types": {}, "agent": row.agent, "words": {}},
        approval.expires_at,
    )


def alarm(identifier: str, revision: int, error: InterlockError) -> View:
    """What a list shows in place of a record that does not carry our mark.

    Nothing of such a record is believed, not even that its cells hold what their columns do.
    """
    return {
        "id": _cell(identifier),
        "revision": revision if isinstance(revision, int) else 0,
        "state": "tampered",
        "title": "This record was changed from outside; nothing about it can run",
        "topic": "",
        "agent": "",
        "tier": None,
        "tier_words": "unknown",
        "reason": error.detail,
        "user_message": error.detail,
    }


def alarm_request(approval: ApprovalRow, error: InterlockError) -> View:
    """As `alarm`, in place of a request."""
    return {
        **alarm(approval.id, approval.revision, error),
        "action_id": _cell(approval.action_id),
        "owner": _cell(approval.owner),
        "requested_at": moment(approval.requested_at),
        "due_at": moment(approval.expires_at),
        "escalates_at": None,
        "escalates_to": [],
        "on_timeout": "deny",
        "then": "stays refused",
        "frozen": None,
        "money": None,
        "rows": None,
        "people": None,
        "reversible": False,
        "undo": None,
        "decided": None,
    }


def moment(microseconds: Any) -> str | None:
    """A time that nobody has checked; None where it is none."""
    known = isinstance(microseconds, int) and 0 <= microseconds <= LATEST
    return iso(microseconds) if known else None


def _cell(value: Any) -> str:
    """A name that nobody has checked."""
    return visible(value, 200) if isinstance(value, str) else ""


def constraint_words(constraints: Constraints) -> list[str]:
    """Each constraint as a sentence for a reviewer."""
    words = []
    if constraints.max_amount_usd is not None:
        words.append(f"At most ${constraints.max_amount_usd:,.2f}.")
    if constraints.max_runtime_sec is not None:
        words.append(f"Stopped after {constraints.max_runtime_sec} seconds.")
    if constraints.network_allowlist is not None:
        hosts = ", ".join(constraints.network_allowlist)
        words.append(f"May only reach {hosts}." if hosts else "May reach nothing on the network.")
    return words


def then(approval: ApprovalRow, end: OnTimeout, coming: Sequence[str]) -> str:
    """What the deadline does, as the end of a sentence; `coming`: who is asked before that, in order."""
    ends = _ENDS.get(end, "expires, not run")
    return f"{ends}; from {minute(approval.due_at)} {coming[0]} are asked" if coming else ends


_ENDS = {
    OnTimeout.KILL_SWITCH: "expires, not run, and its agent is stopped",
    OnTimeout.ALLOW: "runs, unanswered",
}


def changes(context: Mapping[str, Json]) -> list[View]:
    """The change table, riskiest field first, with what is easily overlooked spelled out."""
    args, before = mapping(context["args"]), context["before"]
    roles = {str(name): role for role, name in mapping(context["roles"]).items()}
    types = mapping(context["types"])
    rows: list[View] = []
    known = mapping(before) if before is not None else {}
    changed = {row["field"] for row in difference(known, args) if isinstance(row, dict)}
    for name in {*args, *known}:
        row: View = {
            "field": name,
            "role": roles.get(name),
            "type": types.get(name) or type(args.get(name, known.get(name))).__name__,
            "warnings": _warnings(args.get(name)),
        }
        if before is None:
            row["change"] = "proposed"
        elif name not in known:
            row["change"] = "added"
        elif name not in args:
            row["change"] = "removed"
        else:
            row["change"] = "changed" if name in changed else "same"
        if name in known:
            row["before"] = shown_text(known[name])
        if name in args:
            row["after"] = shown_text(args[name])
        rows.append(row)
    return sorted(rows, key=lambda row: (_rank(row["role"]), row["change"] == "same", row["field"]))


def _rank(role: str | None) -> int:
    return _RISK_ORDER.index(role) if role in _RISK_ORDER else len(_RISK_ORDER)


def _warnings(value: Json) -> list[str]:
    texts = _texts(value)
    names = dict.fromkeys(name for text in texts for name in lookalikes(text))
    found = [f"Contains {name.capitalize()}, which looks like a Latin letter." for name in names]
    if any(visible(text, len(text)) != text for text in texts):
        found.append("Contains invisible or control characters, shown as ⟨U+…⟩.")
    return found


def _texts(value: Json) -> list[str]:
    """Every string in a value, names of members included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for name, item in value.items() for text in (name, *_texts(item))]
    return [text for item in listing(value) for text in _texts(item)]


def shown_text(value: Json) -> Json:
    """Whole, since it is decided on, with what is unseen written out."""
    return visible(value, len(value)) if isinstance(value, str) else value


def role_value(context: Mapping[str, Json], role: str) -> Json:
    name = mapping(context["roles"]).get(role)
    return None if name is None else mapping(context["args"]).get(str(name))


def mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def listing(value: Json) -> list[Json]:
    return list(value) if isinstance(value, list | tuple) else []


def words(context: Mapping[str, Json]) -> Mapping[str, Json]:
    return mapping(context["words"])
