"""A draft from ESCALATE.md, a file that says in words which of an agent's actions people approve.

1. The file is Markdown whose sections hold YAML without fences. Quoted lines (``>``) and fences are left
   aside, ``#`` lines are YAML's own comments, and each section's documents are read as strictly as a policy.
   A file is one of these if it has ``## TRIGGERS`` with ``always_escalate``; anything else is refused.
2. Every trigger becomes a rule that asks for approval of what carries the trigger's tags, however its words
   are joined (``deleteData``, ``delete-data``). A trigger nobody knows becomes a rule on a tag of its own
   name. Tags that nobody declared are unknown, and a rule that restricts matches what it cannot refute.
3. ``auto_approve`` permits nothing here: tiers do. Marks inside a trigger that would waive it are shown, not
   followed.
4. ``approval_timeout_minutes`` and ``on_timeout`` become the lane of all these rules. Silence never
   approves: an ``on_timeout`` that proceeds becomes deny, and the draft says so. The hand-off to a kill
   switch stops the agent that asked, not everything.
5. No setting is dropped in silence. Beside `always_escalate`, where a trigger may have slipped out of the
   list, one that nobody knows is refused, and so is a trigger anywhere else; other unknown ones are named.
6. Channels, contents of notifications and the audit file are shown in comments. Who is told is configured
   elsewhere; what a reviewer sees and what is recorded always is all of it.

Source: ESCALATE.md, specification 1.0 (2026, MIT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from interlock.authoring import names
from interlock.authoring.draft import Draft, DraftCase, DraftRule, Noted, one_line
from interlock.model.errors import PolicyError
from interlock.policy.findings import Finding, Place, nearest, raise_for
from interlock.policy.source import read

LANE = "escalate-md"
_HEADING = re.compile(r"##[ \t]+([A-Za-z][A-Za-z _-]*?)[ \t]*#*")
_SEPARATOR = re.compile(r"---[ \t]*")
_BY_TAGS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "deploy_to_production": (("deploy", "prod"), "Production deployments are approved by a person"),
    "send_external_communication": (
        ("external-comms",),
        "Messages to people outside are approved by a person",
    ),
    "financial_transaction": (("money",), "Payments and transfers are approved by a person"),
    "delete_data": (("delete",), "Deleting data is approved by a person"),
    "privilege_change": (("privilege",), "Changing who may do what is approved by a person"),
    "new_third_party_integration": (("integration",), "Connecting a new service is approved by a person"),
}
_COST = "cost_exceeds_usd"
_IN_TRIGGERS = frozenset({"always_escalate", "auto_approve"})
_SETTINGS = _IN_TRIGGERS | {
    "channels",
    "approval_methods",
    "approval_timeout_minutes",
    "on_timeout",
    "on_denial",
    "on_approval",
    "require_reason_on_denial",
}
_NO_SETTINGS = frozenset({"METADATA"})
"""Sections that say nothing about what is asked."""
_ENDS = {
    "escalate_to_killswitch": "kill_switch",
    "escalate": "escalate",
    "deny": "deny",
    "halt": "deny",
    "halt_and_log": "deny",
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """What the file says, section by section merged, and where each key stands. `unknown`: read by nobody."""

    file: str
    values: Mapping[str, Any]
    places: Mapping[str, Place]
    unknown: tuple[str, ...]


def draft_from_escalate(file: str, text: str) -> Draft:
    """The draft of a policy that asks when the file says so.

    Args:
        file: its name, for findings.

    Raises:
        PolicyError: it is no ESCALATE.md, or a section cannot be read; each finding at its line.
    """
    protocol = read_protocol(file, text)
    findings: list[Finding] = []
    remarks: list[str] = []
    lane = _lane(protocol, findings, remarks)
    triggers = list(_triggers(protocol, findings, remarks))
    raise_for(findings)
    for key in protocol.unknown:
        guess = nearest(key, _SETTINGS)
        meant = f"; did you mean {guess}?" if guess else ""
        remarks.append(f"the setting {one_line(key, 60)!r} is not followed: nobody here knows it{meant}")
    rules = tuple(rule for rule, _ in triggers)
    waits = "A request waits this long for a person; kill_switch stops the agent that asked, and only that."
    return Draft(
        name=names.segment(file.rpartition("/")[2].partition(".")[0])[:100] or LANE,
        heading=(
            f"Drafted from {one_line(file, 200)}. It says which actions people approve, not which tools "
            "there are. Catalogue yours under `actions`, with the risk_tags these rules ask for (interlock "
            "policy import mcp, openapi or python drafts that).",
            *_told(protocol.values),
        ),
        rules=rules,
        sections={"lanes": {LANE: Noted(lane, (waits,))}},
        cases=tuple(case for _, case in triggers if case is not None),
        remarks=tuple(remarks),
    )


# --- reading ----------------------------------------------------------------------------------------------


def read_protocol(file: str, text: str) -> Protocol:
    """All settings of the file. Raises `PolicyError` with what is wrong."""
    findings: list[Finding] = []
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    sections: dict[str, str] = {}
    for section, line, body in _sections(text):
        padded = "\n" * line + "\n".join(body)
        tree = read(file, padded, findings) if any(_says_something(row) for row in body) else None
        if tree is None:
            continue
        if not isinstance(tree.data, dict):
            findings.append(Finding(tree.places.value(()), "expected settings such as `always_escalate:`"))
            continue
        for key, value in tree.data.items():
            place = tree.places.key((key,))
            if key in values:
                findings.append(Finding(place, f"the setting {key!r} stands twice"))
            values[key], places[key], sections[key] = value, place, section
    raise_for(findings)
    headings = {found[1].upper() for row in text.splitlines() if (found := _HEADING.fullmatch(row))}
    if "always_escalate" not in values or "TRIGGERS" not in headings:
        raise PolicyError(
            f"{file} is no ESCALATE.md: no section `## TRIGGERS` says `always_escalate`.",
            fix="Name a file in that format.",
        )
    return Protocol(file, values, places, tuple(_unknown(sections, places)))


def _unknown(sections: Mapping[str, str], places: Mapping[str, Place]) -> Iterator[str]:
    """The settings that nobody reads. Raises `PolicyError` where one of them may be a trigger."""
    findings: list[Finding] = []
    for key, section in sections.items():
        word = _word(key)
        if word in _BY_TAGS or word == _COST or (section == "TRIGGERS" and key not in _IN_TRIGGERS):
            what = f"{one_line(key, 60)!r} stands beside `always_escalate` and asks nobody; list it there"
            findings.append(Finding(places[key], what))
        elif key not in _SETTINGS and section not in _NO_SETTINGS:
            yield key
    raise_for(findings)


def _says_something(row: str) -> bool:
    return bool(row.strip()) and not row.lstrip().startswith("#")


def _word(name: str) -> str:
    """A name as the format writes it: small letters, words joined by underscores."""
    return "_".join(names.words(name))


def _sections(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """The documents under each second-level heading: the heading, the number of lines before, the lines."""
    rows = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    start, section = 0, ""
    body: list[str] = []
    for index, row in enumerate(rows):
        heading = _HEADING.fullmatch(row)
        if heading or _SEPARATOR.fullmatch(row):
            if section:
                yield section, start, body
            start, body, section = index + 1, [], heading[1].upper() if heading else section
        elif row.startswith((">", "```")):
            body.append("")
        else:
            body.append(row)
    if section:
        yield section, start, body


# --- drafting ---------------------------------------------------------------------------------------------


def _triggers(
    protocol: Protocol, findings: list[Finding], remarks: list[str]
) -> Iterator[tuple[DraftRule, DraftCase | None]]:
    place = protocol.places["always_escalate"]
    listed = protocol.values["always_escalate"]
    if not isinstance(listed, list) or not listed:
        findings.append(Finding(place, "`always_escalate` lists at least one trigger"))
        return
    seen: set[str] = set()
    for item in listed:
        name, detail = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (item, None)
        if not isinstance(name, str) or not names.words(name):
            findings.append(
                Finding(place, "a trigger is a word such as delete_data, or cost_exceeds_usd: 100.00")
            )
            continue
        rule_id = "-".join(names.words(name))
        if rule_id in seen:
            findings.append(Finding(place, f"the trigger {one_line(name, 60)!r} is listed twice"))
            continue
        seen.add(rule_id)
        if _word(name) == _COST:
            if not isinstance(detail, int | Decimal) or isinstance(detail, bool) or detail < 0:
                findings.append(Finding(place, f"{_COST} says an amount in dollars, such as 100.00"))
                continue
            yield _rule(rule_id, {"amount_usd_above": detail}, f"More than ${detail} in one action"), None
            continue
        if detail is not None:
            remarks.append(
                f"what stands beside the trigger {one_line(name, 60)!r} is not followed: it always asks"
            )
        yield _tagged(name, rule_id)


def _tagged(name: str, rule_id: str) -> tuple[DraftRule, DraftCase]:
    known = _BY_TAGS.get(_word(name))
    tags, reason = known or ((rule_id[:100],), f"The protocol lists {rule_id}")
    reviews = () if known else (f"nobody knows this trigger; tag with {tags[0]} what it means",)
    case = DraftCase(
        f"{' and '.join(tags)} waits for a person",
        {"topic": f"agent.{names.segment(name)[:100]}", "risk_tags": list(tags)},
        {"decision": "require_approval", "rule": rule_id},
    )
    return _rule(rule_id, {"all_risk_tags": list(tags)}, reason, reviews), case


def _rule(rule_id: str, match: Mapping[str, Any], reason: str, reviews: tuple[str, ...] = ()) -> DraftRule:
    return DraftRule(rule_id[:100], "require_approval", reason, match, {"lane": LANE}, reviews)


def _lane(protocol: Protocol, findings: list[Finding], remarks: list[str]) -> dict[str, Any]:
    minutes = protocol.values.get("approval_timeout_minutes", 30)
    if type(minutes) is not int or not 1 <= minutes <= 366 * 24 * 60:
        place = protocol.places["approval_timeout_minutes"]
        findings.append(Finding(place, "approval_timeout_minutes is a whole number of minutes"))
    stated = protocol.values.get("on_timeout", "escalate_to_killswitch")
    end = _ENDS.get(stated) if isinstance(stated, str) else None
    if end is None:
        end = "deny"
        remarks.append(f"on_timeout {one_line(str(stated), 60)!r} became deny: silence approves nothing")
    return {"window": f"{minutes}m", "on_timeout": end}


def _told(values: Mapping[str, Any]) -> Iterator[str]:
    """What the file says about everything that is configured elsewhere, for the heading."""
    channels = values.get("channels")
    if isinstance(channels, list) and channels:
        listed = "; ".join(_channel(channel) for channel in channels[:10])
        yield f"Channels it names, to be configured where notifications are: {listed}."
    permitted = values.get("auto_approve")
    if isinstance(permitted, list) and permitted:
        listed = ", ".join(one_line(str(item), 60) for item in permitted[:10])
        yield f"What it approves by itself ({listed}) runs without asking where its action has tier 1 or 2."
    if "approval_methods" in values:
        yield "People answer in the console or with their key; a reply to a message decides nothing here."


def _channel(channel: Any) -> str:
    if not isinstance(channel, dict):
        return one_line(str(channel), 60)
    kind = one_line(str(channel.get("type", "a channel")), 30)
    minutes = channel.get("timeout_minutes")
    return f"{kind} for {minutes} minutes" if isinstance(minutes, int) else kind
