"""How the state of the world is told to whoever decides: what was read, what was read before, and why again.

1. Agents are told none of it: what a probe reads is read with the gate's credentials, not with theirs.
2. Every field that is compared is told, what changed first; hidden characters are written out.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.gate.records import ActionRow, ApprovalRow
from interlock.gate.wording import View, mapping
from interlock.model.canonical import Json, canonical
from interlock.model.ids import iso
from interlock.model.text import visible

_AGAIN = {
    "policy": "The policy became stricter after this was decided.",
    "probe": "The policy now asks for a reading that nobody had made when this was decided.",
    "world": "What this rests on changed after it was decided. Look at what is different.",
}


def again(context: Mapping[str, Json]) -> View | None:
    """Why it is decided once more, and where it stood; None where it was not decided before."""
    found = mapping(context.get("again"))
    if not found:
        return None
    because = str(found["because"])
    return {"because": because, "was": found["was"], "words": _AGAIN[because]}


def world(row: ActionRow, context: Mapping[str, Json]) -> View | None:
    """What was read of the world; None where nothing is to be read."""
    probe = mapping(context.get("probe"))
    if row.probe is None and not probe:
        return None
    reading = mapping(probe.get("reading"))
    if not reading:
        return {"state": "unread", "read_at": None, "reason": None, "cursor_moved": False, "fields": []}
    read_at, reason = reading["read_at"], reading["reason"]
    state = "absent" if reading["absent"] else "read"
    return {
        "state": state if reason is None else "unavailable",
        "read_at": iso(read_at) if isinstance(read_at, int) else None,
        "reason": None if reason is None else visible(str(reason), 600),
        "cursor_moved": reading["moved"] is True,
        "fields": _fields(reading, mapping(probe.get("before"))),
    }


def _fields(reading: Mapping[str, Json], before: Mapping[str, Json]) -> list[View]:
    now, then = mapping(reading["values"]), mapping(before.get("values"))
    rows: list[View] = []
    for name in {*now, *then}:
        found: View = {"field": name, "changed": False}
        if name in now:
            found["now"] = _text(now[name])
        if before:
            found["changed"] = name not in now or name not in then or not _same(now[name], then[name])
            if name in then:
                found["before"] = _text(then[name])
        rows.append(found)
    return sorted(rows, key=lambda row: (not row["changed"], row["field"]))


def _same(one: Json, other: Json) -> bool:
    return canonical([one]) == canonical([other])


def _text(value: Json) -> str:
    text = value if isinstance(value, str) else canonical(value).decode()
    return visible(text, len(text))


def why_not_approve(row: ActionRow, approval: ApprovalRow, context: Mapping[str, Json]) -> str | None:
    """Why nobody can approve it yet, as far as it rests on the world."""
    if row.probe is None or approval.reading is not None:
        return None
    if mapping(context.get("probe")):
        return "What it rests on could not be read; it is tried again until the request ends."
    return "What it rests on is being read."
