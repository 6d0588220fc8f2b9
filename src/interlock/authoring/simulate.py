"""Simulate: what a policy would have decided about actions that were recorded.

1. An action counts once, with what was decided about it before and what the candidate decides now. Before is
   what another policy says to the same question, or what was recorded; where nobody says, only the share that
   would be held is known.
2. *Looser* is a decision that is less severe, or the same one within wider limits, at a lower tier or with a
   milder end to silence (`direction`). Where only decisions were recorded, only decisions are compared.
3. Arguments that are refused are stricter than any decision, on either side.
4. Nothing is kept of an action but counts, and the first few that change.

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
from typing import Final, Literal, TypeAlias

from interlock.authoring.direction import Direction, direction
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy, Question

REFUSED: Final = "refused"
"""In place of a decision: the arguments are not accepted."""
Answer: TypeAlias = Decision | Literal["refused"]
Before: TypeAlias = "Verdict | Answer | None"
_ALLOW, _WITHIN, _ASK, _DENY = Decision


@dataclass(frozen=True, slots=True)
class Flip:
    """An action about which the two differ.

    Attributes:
        limits: whether the decision is the same, and its limits, its tier or its lane are not.
    """

    direction: Direction
    before: Answer
    after: Answer
    limits: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Actions with the same answer before and the same after. `before` None: nobody knows."""

    before: Answer | None
    after: Answer
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
        actions: all of them; known: those with an answer before.
        held: would be held; held_before: were held before.
        loosened, tightened: changed; limits: of these, changed only in their limits, tier or lane.
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
        add(question, before if against is None else None)
    return replay.result()


class Replay:
    """A simulation that is fed one action at a time."""

    def __init__(self, policy: Policy, *, against: Policy | None = None) -> None:
        self.policy = policy
        self.against = against
        self._groups: dict[tuple[Answer | None, Answer], int] = {}
        self._held_after: Counter[str] = Counter()
        self._held_before: Counter[str] = Counter()
        self._loosened = self._tightened = self._limits = 0
        self._rules_before = against is not None
        self._plain = against is not None and _plain(policy) and _plain(against)

    def add(self, question: Question, before: Before = None) -> Flip | None:
        """Count one action; what changed about it, if anything did.

        Args:
            before: where it is None and there is another policy, that one is asked the same question. Give
                it where that one reads the arguments otherwise, or refuses them.
        """
        now = self.policy.decision(question)
        if isinstance(before, str) and before == REFUSED:
            return self._accepted(question, now)
        old: Decision | None
        if before is None and self.against is not None:
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
            if now is _DENY or (now is _ALLOW and self._alike(question.topic)):
                return None
            return self._limits_of(question, before, was, verdict)
        return None if old is None else self._counted(old, now)

    def refuse(self, before: Before = None) -> Flip | None:
        """Count an action whose arguments the candidate does not accept: stricter than any decision."""
        old = before.decision if isinstance(before, Verdict) else before
        self._groups[old, REFUSED] = self._groups.get((old, REFUSED), 0) + 1
        if old is None or old == REFUSED:
            return None
        return self._count(Flip("stricter", old, REFUSED))

    def _accepted(self, question: Question, now: Decision) -> Flip:
        """An action whose arguments only the policy before refused."""
        self._groups[REFUSED, now] = self._groups.get((REFUSED, now), 0) + 1
        if now is _ASK:
            self._held_after[self.policy.decide(question).rule] += 1
        return self._count(Flip("looser", REFUSED, now))

    def _alike(self, topic: str) -> bool:
        """Whether both policies let what they allow on a topic happen within the same limits."""
        if self.against is None:
            return False
        return self._plain and self.policy.entry_digest(topic) == self.against.entry_digest(topic)

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
            refused=sum(n for (_, now), n in count if now == REFUSED),
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
        if isinstance(before, Verdict):
            self._rules_before = True
            return before
        if before is None and self.against is not None:
            return self.against.decide(question)
        return None

    def _limits_of(
        self, question: Question, before: Before, was: Verdict | None, verdict: Verdict | None
    ) -> Flip | None:
        """What changed about an action of which the decision is the same, where limits or a tier matter."""
        was = was or self._verdict_before(question, before)
        if was is None:
            return None
        verdict = verdict or self.policy.decide(question)
        found = direction(was, verdict)
        if found is None:
            return None
        self._limits += 1
        return self._count(Flip(found, was.decision, verdict.decision, limits=True))

    def _counted(self, old: Decision, now: Decision) -> Flip:
        return self._count(Flip("looser" if now.severity < old.severity else "stricter", old, now))

    def _count(self, flip: Flip) -> Flip:
        if flip.direction == "looser":
            self._loosened += 1
        else:
            self._tightened += 1
        return flip


def _plain(policy: Policy) -> bool:
    """Whether what it allows is limited by the catalogue alone, so that most verdicts need no comparison."""
    rules = (*policy.rules, *(rule for level in policy.levels for rule in level.rules))
    limited = any(rule.limits and rule.decision is _ALLOW for rule in rules)
    return policy.mode == "enforce" and not limited
