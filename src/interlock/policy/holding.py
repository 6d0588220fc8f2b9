"""Holding for a person what the policy alone would let pass; the verdict says why.

1. An edit is held whatever the policy says about the new arguments, because a person asked for it.
2. What a stricter policy made stale is never run on by that: where the new verdict still permits it within
   narrower bounds, a person decides on those.
3. A verdict that restricts stands. Otherwise owner and lane are those of the verdict before, since the one
   that permits names nobody who would answer. In neither case does silence let it run: a lane that allowed
   that escalates instead.
4. What rests on a world that has changed is decided by a person, whatever the policy would let pass.

All are part of the kernel: replay expects them, words included.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.model.verdicts import Decision, Lane, OnTimeout, Verdict

_DAY = 86_400


def held_after_edit(verdict: Verdict, was: Verdict) -> Verdict:
    """The verdict about edited arguments, held (rule 1); `was` is the one about the arguments before."""
    return _held(verdict, was, "Edited by a person, so a person approves the edit.")


def held_as_stale(verdict: Verdict, was: Verdict) -> Verdict:
    """The stricter verdict about an action that was decided as `was`, held (rule 2)."""
    return _held(verdict, was, f"The policy became stricter: {verdict.reason}")


def held_as_drifted(verdict: Verdict, was: Verdict) -> Verdict:
    """The verdict about an action that was decided as `was` in a world that has changed, held (rule 4)."""
    return _held(verdict, was, "What this rests on has changed, so a person decides.")


def _held(verdict: Verdict, was: Verdict, reason: str) -> Verdict:
    if verdict.decision.restrictive:
        if verdict.lane is None or verdict.lane.on_timeout is not OnTimeout.ALLOW:
            return verdict
        return replace(verdict, lane=_answered(verdict.lane))
    lane = _answered(was.lane or Lane(_DAY, OnTimeout.DENY))
    return replace(verdict, decision=Decision.REQUIRE_APPROVAL, lane=lane, owner=was.owner, reason=reason)


def _answered(lane: Lane) -> Lane:
    """The lane, where silence lets nothing run; the same one where it did not."""
    return replace(lane, on_timeout=OnTimeout.ESCALATE) if lane.on_timeout is OnTimeout.ALLOW else lane
