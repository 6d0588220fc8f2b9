"""An approval request in words, the riskiest first: what a reviewer reads before deciding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.cli.report import Line, change, moment, quoted, value

View = Mapping[str, Any]


def item_lines(item: View) -> list[Line]:
    """One request in a list."""
    lines: list[Line] = [
        (f"{item['title']}", "bold"),
        f"  {item['id']}  {item['state']} · {_tier(item)} · for {item['owner']} · from {item['agent']}",
    ]
    if item["decided"] is None:
        lines.append(
            f"  due {moment(item['due_at'])}, then {item['then']}"
            if item["state"] == "held"
            else "  nobody decided"
        )
    else:
        lines.append(f"  {_decided(item['decided'])}")
    return lines


def shown_lines(view: View) -> list[Line]:
    """One request with everything its review hash covers."""
    why, context, can = view["why"], view["context"], view["can"]
    lines: list[Line] = [
        *item_lines(view),
        "",
        f"Impact      {_impact(view)}",
        f"Worst case  {view['worst_case'] or 'not described in the catalogue'}",
        f"Why held    {why['reason']} (rule {why['rule']})",
    ]
    if why["triggers"]:
        lines.append(f"Triggers    {', '.join(why['triggers'])}")
    if why["missing"]:
        lines.append(f"Missing     {', '.join(why['missing'])}, taken at its worst")
    if view["again"] is not None:
        lines.append((f"Again       It was {view['again']['was']}. {view['again']['words']}", "bold yellow"))
    lines += [f"Limit       {sentence}" for sentence in view["constraint_words"]]
    lines += ["", ("What it would do", "bold")]
    for row in view["changes"]:
        if row["change"] in ("proposed", "same"):
            lines.append(f"  {row['field']}: {value(row['after'])}")
        else:
            lines.append(f"  {row['field']}: {change(row)} ({row['change']})")
        lines += [(f"    ! {warning}", "bold yellow") for warning in row["warnings"]]
    lines += _world(view)
    if view["reasoning"]:
        lines += ["", ("The agent's reasoning, written by the agent and not verified", "bold")]
        lines += quoted(view["reasoning"])
    for alternative in view["alternatives"]:
        lines += [("Alternative, in the agent's words", "bold"), *quoted(alternative)]
    named = [f"{name} {value(found)}" for name, found in context.items() if found is not None]
    if view["decided"] is not None and view["decided"]["note"]:
        lines += ["", ("The reviewer's note", "bold"), *quoted(view["decided"]["note"])]
    lines += ["", (f"Asked by    {', '.join(named)}", "dim")]
    lines.append((f"Policy      {why['policy']}", "dim"))
    lines.append((f"Review hash {view['review_hash']}", "dim"))
    if view["superseded_by"] is not None:
        lines.append(f"Replaced by {view['superseded_by']}")
    if can["why_not"]:
        lines.append((f"Note        {can['why_not']}", "yellow"))
    return lines


def _world(view: View) -> list[Line]:
    """What was read of what it rests on."""
    world = view["world"]
    if world is None or view["erased"]:
        return []
    said = {
        "unread": "not read yet",
        "read": f"read {moment(world['read_at'])}" if world["read_at"] else "read",
        "absent": "it is not there",
        "unavailable": f"it could not be read: {world['reason']}",
    }[world["state"]]
    lines: list[Line] = ["", (f"What it rests on ({said})", "bold")]
    for row in world["fields"]:
        now = value(row["now"]) if "now" in row else "not there"
        if row["changed"]:
            before = value(row["before"]) if "before" in row else "not there"
            lines.append((f"  {row['field']}: {before} → {now} (changed)", "bold yellow"))
        else:
            lines.append(f"  {row['field']}: {now}")
    if world["cursor_moved"]:
        lines.append(("    ! The place that its cursor names is not there any more.", "bold yellow"))
    return lines


def _tier(item: View) -> str:
    return str(item["tier_words"]) if item["tier"] is None else f"tier {item['tier']}, {item['tier_words']}"


def _impact(view: View) -> str:
    parts = []
    if view["money"] is not None:
        parts.append(f"{view['money']['amount']} {view['money']['currency']}")
    for name in ("rows", "people"):
        if view[name] is not None:
            parts.append(f"{value(view[name])} {name}")
    parts.append(f"undone by {view['undo']}" if view["reversible"] else "cannot be undone")
    return ", ".join(parts)


def _decided(decided: View) -> str:
    solo = ", solo" if decided["solo"] else ""
    because = f" ({decided['reason_code']})" if decided["reason_code"] else ""
    return f"{decided['decision']}{because} by {decided['by']}{solo}, {moment(decided['at'])}"
