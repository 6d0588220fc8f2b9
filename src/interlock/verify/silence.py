"""What comes of a request that nobody answers.

1. One owner after the other is asked, each once, while the request is open and no kill switch covers it.
2. Silence lets an action run only at tiers 1 and 2, by the hashes that were requested, after the request's
   time, and if nobody edited it and it was not stale before. That is no approval, and no answer follows it.
   Whether the home was swept all the while, so that anybody could be asked, entries do not say.
3. A lane stops only the agent that asked, in the name of its request, after the request's time. Nobody else
   names a request where they engage a kill switch.
4. What expires by its lane had no time left. One whose lane stops the agent names the kill switch.

Source: `docs/ledger.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.verify.action import Action
from interlock.verify.broken import Broken

_UNANSWERED_TIERS = frozenset({1, 2})
_ENDS = frozenset({"escalate", "deny", "kill_switch", "allow"})
_LANE = "lane:"


def take_turn(action: Action, entry: Mapping[str, Any], *, late: bool) -> None:
    """Another owner is asked. `late`: the request had no time left."""
    before, turn = action.turn, entry.get("turn")
    action.turn = before + 1 if turn is None else turn
    if action.turn <= before:
        raise Broken("somebody is asked whose turn was over")
    if late:
        raise Broken("somebody is asked after the request's time")


def check_allowed(action: Action, entry: Mapping[str, Any], *, early: bool) -> None:
    """Nobody answered, and the action may run. `early`: the request had time left."""
    if action.tier not in _UNANSWERED_TIERS:
        what = "nobody catalogued" if action.tier is None else f"is of tier {action.tier}"
        raise Broken(f"silence let run what {what}")
    if action.editors or action.held_anew:
        raise Broken("silence let run what was edited, or stale and held anew")
    if entry["action_hash"] != action.action_hash:
        raise Broken("it names another action hash than was requested")
    if entry["review_hash"] != action.review_hash:
        raise Broken("it names another review hash than was requested")
    if early:
        raise Broken("it may run unanswered before the request's time is over")


def stops(entry: Mapping[str, Any]) -> bool:
    """Whether a lane engages this kill switch."""
    lane, approval = entry["by"].startswith(_LANE), entry.get("approval")
    if lane is not (approval is not None):
        raise Broken("a lane engages a kill switch about a request, and nobody else does")
    return lane


def check_stopped(action: Action, entry: Mapping[str, Any], *, early: bool) -> None:
    """A lane stops an agent. `early`: the request had time left."""
    if entry["scope"] != "agent" or entry.get("drill") is True:
        raise Broken("a lane stops an agent, and nothing else")
    if action.about is None or entry.get("target") != action.about[0]:
        raise Broken("a lane stops the agent that asked, and this is another")
    if early:
        raise Broken("the agent was stopped before the request's time was over")


def check_end(entry: Mapping[str, Any], *, held: bool, early: bool) -> None:
    """An action expired. `held`: it waited for an answer; `early`: its request had time left."""
    end, kill = entry.get("on_timeout"), entry.get("kill")
    if end is not None and (not held or end not in _ENDS):
        raise Broken("it expired by a lane, and was not held, or by one that is not known")
    if (end == "kill_switch") is not (kill is not None):
        raise Broken("it names a kill switch, or none, against its lane")
    if early:
        raise Broken("it expired before its time was over")
