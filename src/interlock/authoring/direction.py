"""Direction: whether one verdict is looser than another.

1. *Looser* is a decision that is less severe, a lower tier, or limits that something no longer has to keep
   (`Verdict.tighter_than`). Where both deny, nothing else matters.
2. Where both wait for a person, it is also looser that silence ends milder: ``kill_switch``, ``deny``,
   ``escalate``, ``allow``, in this order; and where silence allows, that there is less time to look.
3. What is looser in one respect is looser, whatever else became stricter.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from interlock.model.verdicts import Decision, Lane, OnTimeout, Verdict

Direction: TypeAlias = Literal["looser", "stricter"]


def direction(old: Verdict, new: Verdict) -> Direction | None:
    """How `new` differs from `old` in what is let happen; None where it does not."""
    if old.decision is Decision.DENY and new.decision is Decision.DENY:
        return None
    if old.tighter_than(new) or _guards(old.lane, new.lane):
        return "looser"
    if new.tighter_than(old) or _guards(new.lane, old.lane):
        return "stricter"
    return None


def _guards(one: Lane | None, other: Lane | None) -> bool:
    """Whether silence lets less happen in one lane than in the other."""
    if one is None or other is None:
        return False
    if one.on_timeout is not other.on_timeout:
        return one.on_timeout.severity > other.on_timeout.severity
    return one.on_timeout is OnTimeout.ALLOW and one.window_sec > other.window_sec
