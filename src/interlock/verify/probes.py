"""Probes: what rests on the state of the world runs only as it was shown, and just after it was read.

1. An entry that opens an action says by which probe it has to be read. A reading of what is held is recorded
   once, together with the review hash that covers it: the one to be answered from there on.
2. Nothing with a probe is approved, or let run by silence, without a reading that was had.
3. A first claim carries a reading that is at most `FRESH` old; after an approval, the one that was shown.
4. What is stale because the world changed may run, but reads otherwise than was shown; the request that
   follows shows that reading, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.verify.action import Action
from interlock.verify.broken import Broken

FRESH = 5_000_000
"""Microseconds for which a reading counts."""
_REASONS = frozenset({"probe", "world"})


def shown(action: Action, entry: Mapping[str, Any]) -> None:
    """A reading becomes part of what the open request shows."""
    expected, before = action.probe, action.reading
    action.reading, action.review_hash = entry.get("reading"), entry["review_hash"]
    if expected is None:
        raise Broken("it was read although no probe was asked for")
    if entry["probe"] != expected:
        raise Broken("it was read by another probe than was asked for")
    if entry["action_hash"] != action.action_hash:
        raise Broken("the reading names another action hash than was requested")
    if before is not None:
        raise Broken("it had been read and shown before")
    if entry["read_at"] > entry["at"]:
        raise Broken("it was recorded before it was read")


def check_permission(action: Action) -> None:
    """Rule 2. Raises `Broken`."""
    if action.probe is not None and action.reading is None:
        raise Broken("what it rests on had not been read")


def check_claim(action: Action, entry: Mapping[str, Any], *, again: bool) -> None:
    """Rule 3. Raises `Broken`."""
    reading = entry.get("reading")
    if action.probe is None:
        if reading is not None:
            raise Broken("it was claimed on a reading that no probe was asked for")
        return
    if again:
        return  # What was sent before may itself be the change.
    if reading is None:
        raise Broken("it was claimed without reading what it rests on")
    read_at = entry.get("read_at")
    if read_at is None or not 0 <= entry["at"] - read_at <= FRESH:
        raise Broken(f"it was claimed on a reading that is not of the {FRESH // 1_000_000} seconds before")
    if action.approval is not None and reading != action.reading:
        raise Broken("it was claimed although what it rests on is not as it was shown")


def stale(action: Action, entry: Mapping[str, Any], *, could_run: bool, approved: bool) -> None:
    """Rule 4. `could_run`, `approved`: before the entry. Raises `Broken`."""
    because, before, reading = entry.get("because"), action.reading, entry.get("reading")
    action.reading = reading
    if because is None:
        return
    if because not in _REASONS:
        raise Broken("it does not say why in a form that is known")
    if because != "world":
        return
    if not could_run or action.probe is None or reading is None:
        raise Broken("the world made stale what no reading was asked for, or could not run")
    if approved and reading == before:
        raise Broken("it was made stale although it reads as it was shown")


def anew(action: Action, entry: Mapping[str, Any]) -> None:
    """What is requested anew shows the reading that made it stale, or none. Raises `Broken`."""
    before, reading = action.reading, entry.get("reading")
    action.probe, action.reading = entry.get("probe"), reading
    if reading is not None and reading != before:
        raise Broken("the new request shows another reading than made the action stale")
