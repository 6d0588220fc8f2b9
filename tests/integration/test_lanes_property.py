"""Whatever clock, sweeps, restarts and kill switches do: a held request does each thing once, in order.

A model of a dozen lines says from the times alone what must have become of a request; a real house goes
through the same.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from house import House, ManualClock
from interlock.gate import Scope
from interlock.gate.deadlines import PROMPT_US
from interlock.model.errors import ClockJumped

NUMBERS = itertools.count()
POLICY = """
interlock: 1
name: shop
owners: [first, second, third]
actions:
  shop.note: {tier: 2, args: {n: integer}, undo: shop.note, undo_within: 1m}
  shop.refund: {tier: 3, args: {n: integer}}
rules:
"""
RULE = """  - id: asks-{topic}
    match: {{topics: [shop.{topic}]}}
    decision: require_approval
    owner: first
    lane: {{window: {window}s, on_timeout: {end}{chain}}}
"""


@dataclass
class Model:
    """One request: whose turns there are, and what must have become of it."""

    end: str
    turns: list[tuple[str, int]]
    own: int = 0
    """Seconds that counted: those in which no kill switch covered it."""
    state: str = "held"
    owner: str = "first"
    asked: list[str] = field(default_factory=list)
    now: int = 0
    """Seconds since it was made."""
    swept: tuple[int, int] | None = None
    """From when until when sweeps came without a gap."""

    def sweep(self, *, stopped: bool) -> None:
        if self.swept is None or self.now > self.swept[1] + 90:
            self.swept = (self.now, self.now)
        elif self.now >= self.swept[1] + 15:
            self.swept = (self.swept[0], self.now)
        if self.state != "held":
            return
        total = sum(window for _, window in self.turns)
        if self.own >= total:
            prompt = (self.own - total) * 1_000_000 <= PROMPT_US
            if self.end == "allow" and prompt and self.swept[0] <= 90:
                self.state = "held" if stopped else "allowed"
            else:
                self.state = "expired"
            return
        passed = 0
        for owner, window in self.turns:
            passed += window
            if self.own < passed:
                if owner != self.owner and not stopped:
                    self.owner = owner
                    self.asked.append(owner)
                return


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 7, 29, 30, 61, 90, 91, 600, 90_000])),
        st.tuples(st.just("sweep"), st.just(0)),
        st.tuples(st.just("stop"), st.just(0)),
        st.tuples(st.just("lift"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("jump"), st.sampled_from([-3600, 3600])),
    ),
    min_size=3,
    max_size=12,
)
LANES = st.fixed_dictionaries(
    {
        "end": st.sampled_from(["escalate", "escalate", "deny", "kill_switch", "allow"]),
        "window": st.sampled_from([30, 60, 120]),
        "chain": st.lists(
            st.tuples(st.sampled_from(["second", "third"]), st.sampled_from([None, 30, 90])),
            max_size=2,
            unique_by=lambda turn: turn[0],
        ),
    }
)


def written(lane: dict[str, Any]) -> tuple[str, list[tuple[str, int]]]:
    """The lane's rules as YAML, and everybody's turn in it."""
    window, chain = lane["window"], lane["chain"] if lane["end"] == "escalate" else []
    listed = [name if own is None else f"{{owner: {name}, window: {own}s}}" for name, own in chain]
    said = f", escalate_to: [{', '.join(listed)}]" if listed else ""
    topic = "note" if lane["end"] == "allow" else "refund"
    turns = [("first", window), *((name, own or window) for name, own in chain)]
    if lane["end"] == "escalate":
        turns.append(("ops-approvers", window))
    return RULE.format(topic=topic, window=window, end=lane["end"], chain=said), turns


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lane=LANES, steps=STEPS)
@example(
    lane={"end": "escalate", "window": 120, "chain": []},
    steps=[("wait", 121), ("stop", 0), ("sweep", 0), ("lift", 0)],
)
def test_a_request_does_what_its_times_say_once_and_in_order(
    open_house: Callable[..., House], lane: dict[str, Any], steps: list[tuple[str, int]]
) -> None:
    name = f"home-{next(NUMBERS)}"
    rule, turns = written(lane)
    clock = ManualClock()
    house = open_house(POLICY + rule, name=name, clock=clock)
    topic = "shop.note" if lane["end"] == "allow" else "shop.refund"
    action = house.propose(topic, {"n": 1}).action
    assert action is not None
    model, kill = Model(lane["end"], turns), ""

    def sweep() -> None:
        # Frozen requests are looked at once a minute, those that are due as soon as they are.
        for _ in range(3):
            house.gate.sweep()
        model.sweep(stopped=bool(kill))

    for step, amount in [*steps, ("sweep", 0)]:
        match step:
            case "wait":
                clock.forward(amount)
                model.now += amount
                model.own += 0 if kill else amount
            case "sweep":
                sweep()
            case "stop" if not kill:
                kill = house.home.kill_switches.engage(Scope.TOPIC, "shop.**", "x", by="t").switch.id
            case "lift" if kill:
                house.home.kill_switches.rearm_alone(kill, "x", by="t")
                kill = ""
                clock.forward(60)  # until a frozen request is looked at again
                model.own += 60
                model.now += 60
            case "restart":
                house.home.leases.close()
                house.home.journal.close()
                house = open_house(None, name=name, clock=clock)
            case "jump":
                clock.forward(amount)
                clock.jumped = True
                with pytest.raises(ClockJumped):
                    house.gate.sweep()
                clock.forward(-amount)
                clock.jumped = False
            case _:
                pass
    entries = [json.loads(entry) for entry in house.entries()]
    mine = [entry for entry in entries if entry.get("action") == action.id]
    kinds = [entry["kind"] for entry in mine]
    assert house.state(action.id) == model.state
    assert [entry["owner"] for entry in mine if entry["kind"] == "approval.escalated"] == model.asked
    assert kinds.count("action.expired") == (model.state == "expired")
    assert kinds.count("approval.unanswered") == (model.state == "allowed")
    stopped = [entry for entry in entries if entry["kind"] == "kill.engaged" and entry["scope"] == "agent"]
    assert len(stopped) == (model.end == "kill_switch" and model.state == "expired")
