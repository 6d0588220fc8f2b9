"""Autonomy levels: what an agent may do on its own, as a list that is read from the top.

1. The first rule that matches decides. Where an earlier one is neither proved nor refuted, each is a possible
   outcome, and the strictest of them counts.
2. A level reads nothing that the agent reports: in a list that ends at the first match, a lower confidence
   could otherwise be the better one.
"""

from __future__ import annotations

from dataclasses import dataclass

from interlock.policy.fields import Inputs
from interlock.policy.rules import Rule


@dataclass(frozen=True, slots=True)
class Level:
    """One level: 0 supervised, 1 assisted, 2 semi-autonomous, 3 autonomous.

    Attributes:
        name: what the policy calls it.
    """

    number: int
    name: str
    rules: tuple[Rule, ...]

    def about(self, topic: str) -> tuple[Rule, ...]:
        """The rules that speak about a topic, in their order."""
        return tuple(rule for rule in self.rules if rule.speaks_about(topic))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a level says about one action.

    Attributes:
        rule: the one that counts: the strictest of those that may be the first to match.
        possible: all of those, in their order.
        settled: whether one of them is proved; otherwise the level may also say nothing.
    """

    rule: Rule
    possible: tuple[Rule, ...]
    settled: bool


def outcome(rules: tuple[Rule, ...], inputs: Inputs) -> Outcome | None:
    """What counts (rule 1 above); None where the level says nothing.

    Args:
        rules: those of one level that speak about the topic.
    """
    possible, settled = [], False
    for rule in rules:
        truth = rule.truth(inputs)
        if truth is not False:
            possible.append(rule)
        if truth is True:
            settled = True
            break
    if not possible:
        return None
    return Outcome(max(possible, key=lambda rule: rule.decision.severity), tuple(possible), settled)
