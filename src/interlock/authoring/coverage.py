"""Coverage: which rules and which branches of conditions the tests of a policy have exercised.

1. A rule is covered where it counted in at least one test. One that matched and was set aside by another
   rule did not count.
2. A branch is one outcome of one atom: each comparison of each condition, each part of each `match`, seen
   true and seen false. Unknown is neither; a test without the value has shown neither branch.
3. Only tests about a topic that the rule speaks about show anything about its branches. All atoms are asked,
   also where one of them had already settled the matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from interlock.authoring.cases import Result
from interlock.authoring.parts import patterns_of, rules_of
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Verdict
from interlock.policy import Policy
from interlock.policy.closures import Truth, compile_expression
from interlock.policy.document import Document, MatchSpec
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import Inputs
from interlock.policy.rules import tests_of
from interlock.policy.syntax import atoms_of, show


@dataclass(frozen=True, slots=True)
class Branch:
    """One atom, and what the tests have seen of it.

    Attributes:
        where: ``rule small-refunds``, ``raise_to of job.pay.refund``, ``rule 2 of level_1``.
    """

    where: str
    text: str
    true: bool
    false: bool

    @property
    def unseen(self) -> tuple[str, ...]:
        """The outcomes that no test has shown."""
        return tuple(name for name, seen in (("true", self.true), ("false", self.false)) if not seen)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What some tests have exercised.

    Attributes:
        counted, uncounted: ids of the author's rules, in their order.
        branches: every atom, in the order of the policy.
    """

    counted: tuple[str, ...]
    uncounted: tuple[str, ...]
    branches: tuple[Branch, ...]

    @property
    def seen(self) -> int:
        """Outcomes of atoms that were seen, of `possible`."""
        return sum(branch.true + branch.false for branch in self.branches)

    @property
    def possible(self) -> int:
        return 2 * len(self.branches)

    @property
    def percent(self) -> int:
        """Rules and branches together, in whole percent, rounded down; 100 where there is nothing to see."""
        whole = len(self.counted) + len(self.uncounted) + self.possible
        return 100 if whole == 0 else 100 * (len(self.counted) + self.seen) // whole


@dataclass(slots=True)
class _Atom:
    where: str
    text: str
    check: Callable[[Inputs], Truth]
    patterns: tuple[TopicPattern, ...]
    entry: str | None = None
    level: int | None = None
    seen: set[Truth] = field(default_factory=set)

    def ask(self, inputs: Inputs, level: int | None) -> None:
        """Note what the atom is for these inputs, where it is asked at all."""
        if self.level is not None and self.level != level:
            return
        if self.entry is not None and (inputs.entry is None or inputs.entry.pattern != self.entry):
            return
        if any(pattern.matches(inputs.topic) for pattern in self.patterns):
            self.seen.add(self.check(inputs))


def coverage(policy: Policy, results: Iterable[Result]) -> Coverage:
    """What the tests behind `results` have exercised of `policy`."""
    document = policy.document
    atoms = list(_atoms(document))
    counted: set[str] = set()
    for result in results:
        if result.question is None or not isinstance(result.found, Verdict):
            continue
        verdict = result.found
        counted.update(set(verdict.matched) - set(verdict.overridden))
        inputs = policy.inputs(result.question)
        for atom in atoms:
            atom.ask(inputs, verdict.level)
    ids = [rule.id for rule in rules_of(document)]
    return Coverage(
        tuple(rule for rule in ids if rule in counted),
        tuple(rule for rule in ids if rule not in counted),
        tuple(Branch(atom.where, atom.text, True in atom.seen, False in atom.seen) for atom in atoms),
    )


def _atoms(document: Document) -> Iterator[_Atom]:
    for rule in rules_of(document):
        yield from _of_rule(f"rule {rule.id}", rule.patterns, rule.match, rule.spec.when)
    for pattern, action in document.actions.items():
        for raised in action.raise_to or ():
            for atom in _of_condition(f"raise_to of {pattern}", (TopicPattern.parse(pattern),), raised.when):
                atom.entry = pattern
                yield atom
    for name, level in document.autonomy_levels.items():
        number = int(name.removeprefix("level_"))
        for index, spec in enumerate(level.rules, 1):
            where = f"rule {index} of {name}"
            match = spec.match or MatchSpec()
            for atom in _of_rule(where, patterns_of(match), match, spec.when):
                atom.level = number
                yield atom


def _of_rule(
    where: str, patterns: tuple[TopicPattern, ...], match: MatchSpec, when: str | None
) -> Iterator[_Atom]:
    for test in tests_of(match):
        yield _Atom(where, test.text, test.check, patterns)
    if when is not None:
        yield from _of_condition(where, patterns, when)


def _of_condition(where: str, patterns: tuple[TopicPattern, ...], when: str) -> Iterator[_Atom]:
    for atom in dict.fromkeys(atoms_of(parse_expression(when))):
        yield _Atom(where, show(atom), compile_expression(atom), patterns)
