"""What a replay found.

1. Every automatic verdict of the export is counted exactly once: decided anew with the same result,
   differing, erased, judged by its logic only, or not checkable here.
2. One that differs is a failure. Of the rest, only those decided anew are good.
3. At most `MAX_TOLD` findings are told one by one; the counts are always complete.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from interlock.verify import Problem
from interlock.verify.report import shown

MAX_TOLD = 100


class Outcome(StrEnum):
    """What became of one verdict."""

    REPLAYED = "replayed"
    DIFFERING = "differing"
    ERASED = "erased"
    LOGIC_ONLY = "logic_only"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The result for one export.

    Attributes:
        verdicts: how many automatic verdicts the export holds; the sum of the five counts below.
        replayed: decided anew from recorded inputs, with the same result.
        differing: the export contradicts itself or the policy about them.
        erased: their inputs were erased, and the ledger has the erasure; their logic holds.
        logic_only: no inputs are at hand; their logic holds.
        unchecked: the policy or the kernel is not at hand, or does not read here.
        policies: how many policies decided them.
        problems: what differs, and what is wrong with the files that only replay reads.
        notes: why verdicts were not checked.
        failed: something differs.
    """

    verdicts: int
    replayed: int
    differing: int
    erased: int
    logic_only: int
    unchecked: int
    policies: int
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    failed: bool

    def holds(self, *, allow_erased: bool = False) -> bool:
        """Whether every verdict was decided anew with the same result.

        Args:
            allow_erased: whether those may be left out whose inputs were erased.
        """
        rest = self.logic_only + self.unchecked + (0 if allow_erased else self.erased)
        return not self.failed and rest == 0


@dataclass(slots=True)
class Tally:
    """Collects what one replay meets on its way."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    policies: set[str] = field(default_factory=set)
    _problems: list[Problem] = field(default_factory=list)
    _notes: list[Problem] = field(default_factory=list)
    _untold: Counter[str] = field(default_factory=Counter)

    def problem(self, where: str, what: str) -> None:
        self._tell(self._problems, "problem", where, what)

    def note(self, where: str, what: str) -> None:
        self._tell(self._notes, "note", where, what)

    def _tell(self, told: list[Problem], kind: str, where: str, what: str) -> None:
        if len(told) < MAX_TOLD:
            told.append(Problem(shown(where), what))
        else:
            self._untold[kind] += 1

    def _all(self, told: list[Problem], kind: str) -> tuple[Problem, ...]:
        more = self._untold[kind]
        return (*told, Problem("…", f"and {more} more")) if more else tuple(told)

    def report(self) -> ReplayReport:
        return ReplayReport(
            verdicts=self.counts.total(),
            replayed=self.counts[Outcome.REPLAYED],
            differing=self.counts[Outcome.DIFFERING],
            erased=self.counts[Outcome.ERASED],
            logic_only=self.counts[Outcome.LOGIC_ONLY],
            unchecked=self.counts[Outcome.UNCHECKED],
            policies=len(self.policies),
            problems=self._all(self._problems, "problem"),
            notes=self._all(self._notes, "note"),
            failed=bool(self._problems),
        )
