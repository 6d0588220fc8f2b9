"""Simulate: what a policy would have decided about actions that were recorded.

1. An action counts once, with what was decided about it before and what the candidate decides now. Before is
   what another policy says to the same question, or what was recorded; where nobody says, only the share that
   would be held is known.
2. *Looser* is a decision that is less severe, or the same one within wider limits or at a lower tier. Where
   only decisions were recorded, only decisions are compared.
3. Nothing is kept of an action but counts, and the first few that change.

>>> from interlock.authoring import simulate
>>> from interlock.model.verdicts import Decision
>>> from interlock.policy import Question, parse
>>> policy = parse({"p.yaml": "interlock: 1\\nactions: {a.read: {tier: 1}, a.send: {tier: 3}}"})
>>> report = simulate([(Question("a.read", {}), None), (Question("a.send", {}), Decision.ALLOW)], policy)
>>> report.actions, report.held, report.tightened, report.loosened
(2, 1, 1, 0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy, Question

Before: TypeAlias = "Verdict | Decision | None"
Direction: TypeAlias = Literal["looser", "stricter"]
_ASK, _WITHIN = Decision.REQUIRE_APPROVAL, Decision.ALLOW_WITH_CONSTRAINTS


@dataclass(frozen=True, slots=True)
class Flip:
    """An action about which the two differ.

    Attributes:
        after: None where the candidate refuses the arguments.
        limits: whether the decision is the same, and its limits or tier are not.
    """

    direction: Direction
    before: Decision
    after: Decision | None
    limits: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Actions with the same decision before and the same after. `after` None: refused as invalid."""

    before: Decision | None
    after: Decision | None
    count: int


@dataclass(frozen=True, slots=True)
class Held:
    """How many actions wait for a person because of one rule; `before` None where nobody knows."""

    rule: str
    before: int | None
    after: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of it.

    Attributes:
        actions: all of them; known: those with a decision before.
        held: would be held; held_before: were held before.
        loosened, tightened: changed; limits: of these, changed only in their limits or tier.
        refused: actions whose arguments the candidate does not accept.
        groups: the largest first. rules: those that hold the most first.
    """

    actions: int
    known: int
    held: int
    held_before: int
    loosened: int
    tightened: int
    limits: int
    refused: int
    groups: tuple[Group, ...]
    rules: tuple[Held, ...]

    @property
    def loosens(self) -> bool:
        return self.loosened > 0


def simulate(
    pairs: Iterable[tuple[Question, Before]], policy: Policy, *, against: Policy | None = None
) -> Simulation:
    """Replay questions, each with what was decided about it before.

    Args:
        against: a policy whose answers count as what was decided before, in place of those of the pairs.
    """
    replay = Replay(policy, against=against)
    add = replay.add
    for question, before in pairs:
        add(question, before)
    return replay.result()


class Replay:
    """A simulation that is fed one action at a time."""

    def __init__(self, policy: Policy, *, against: Policy | None = None) -> None:
        self.policy = policy
        self.against = against
        self._groups: dict[tuple[Decision | None, Decision | None], int] = {}
        self._held_after: Counter[str] = Counter()
        self._held_before: Counter[str] = Counter()
        self._loosened = self._tightened = self._limits = 0
        self._rules_before = against is not None

    def add(self, question: Question, before: Before = None) -> Flip | None:
        """Count one action; what changed about it, if anything did."""
        now = self.policy.decision(question)
        old: Decision | None
        if self.against is not None:
            old = self.against.decision(question)
        else:
            old = before.decision if isinstance(before, Verdict) else before
        pair = (old, now)
        self._groups[pair] = self._groups.get(pair, 0) + 1
        was = verdict = None
        if now is _ASK:
            verdict = self.policy.decide(question)
            self._held_after[verdict.rule] += 1
        if old is _ASK:
            was = self._verdict_before(question, before)
            if was is not None:
                self._held_before[was.rule] += 1
        if old is now:
            if now is _ASK or now is _WITHIN:
                return self._limits_of(question, before, was, verdict)
            return None
        return None if old is None else self._counted(old, now)

    def refuse(self, before: Before = None) -> Flip | None:
        """Count an action whose arguments the candidate does not accept: stricter than any decision."""
        old = before.decision if isinstance(before, Verdict) else before
        self._groups[old, None] = self._groups.get((old, None), 0) + 1
        if old is None:
            return None
        self._tightened += 1
        return Flip("stricter", old, None)

    def result(self) -> Simulation:
        """Everything counted so far."""
        count = self._groups.items()
        return Simulation(
            actions=sum(self._groups.values()),
            known=sum(n for (old, _), n in count if old is not None),
            held=sum(n for (_, now), n in count if now is _ASK),
            held_before=sum(n for (old, _), n in count if old is _ASK),
            loosened=self._loosened,
            tightened=self._tightened,
            limits=self._limits,
            refused=sum(n for (_, now), n in count if now is None),
            groups=tuple(Group(old, now, n) for (old, now), n in sorted(count, key=lambda item: -item[1])),
            rules=tuple(self._rules()),
        )

    def _rules(self) -> list[Held]:
        names = {**self._held_after, **self._held_before}
        known = self._rules_before
        found = [
            Held(rule, self._held_before[rule] if known else None, self._held_after[rule]) for rule in names
        ]
        return sorted(found, key=lambda held: (-held.after, -(held.before or 0), held.rule))

    def _verdict_before(self, question: Question, before: Before) -> Verdict | None:
        if self.against is not None:
            return self.against.decide(question)
        if isinstance(before, Verdict):
            self._rules_before = True
            return before
        return None

    def _limits_of(
        self, question: Question, before: Before, was: Verdict | None, verdict: Verdict | None
    ) -> Flip | None:
        """What changed about an action of which the decision is the same, where limits or a tier matter."""
        was = was or self._verdict_before(question, before)
        if was is None:
            return None
        verdict = verdict or self.policy.decide(question)
        if was.tighter_than(verdict):
            direction: Direction = "looser"
        elif verdict.tighter_than(was):
            direction = "stricter"
        else:
            return None
        self._limits += 1
        return self._count(Flip(direction, was.decision, verdict.decision, limits=True))

    def _counted(self, old: Decision, now: Decision) -> Flip:
        return self._count(Flip("looser" if now.severity < old.severity else "stricter", old, now))

    def _count(self, flip: Flip) -> Flip:
        if flip.direction == "looser":
            self._loosened += 1
        else:
            self._tightened += 1
        return flip
