"""Authoring: what policy authors do with policies: ask, test, compare and measure them.

1. Everything here is a function of policies, questions and texts. No file is read, no clock is asked, and
   nothing is put in force: what a tool finds is a value, and the command line prints it.
2. A tool asks the policy itself what it decides. None of them has an opinion of its own about what a rule
   means; where one speaks of what a rule never does, it says how it knows.
3. What comes from a file of an author's is read as strictly as a policy, each mistake at its line.

What belongs here: action files and tests, coverage, lint, comparison, replay, drafts. What does not: reading
a home, terminals, and whatever decides about a live action.
"""

from __future__ import annotations

from interlock.authoring.actionlog import Logged, read_line
from interlock.authoring.advice import Advice
from interlock.authoring.cases import Case, Difference, Result, read_cases, run_cases
from interlock.authoring.coverage import Branch, Coverage, coverage
from interlock.authoring.diff import Change, Diff, Witness, answer_json, compared, diff
from interlock.authoring.lint import lint
from interlock.authoring.parts import places_of
from interlock.authoring.question import Asked, asked_from, assumptions_of, question_of, read_question
from interlock.authoring.simulate import (
    REFUSED,
    Before,
    Flip,
    Group,
    Held,
    Replay,
    Simulation,
    simulate,
)

__all__ = [
    "REFUSED",
    "Advice",
    "Asked",
    "Before",
    "Branch",
    "Case",
    "Change",
    "Coverage",
    "Diff",
    "Difference",
    "Flip",
    "Group",
    "Held",
    "Logged",
    "Replay",
    "Result",
    "Simulation",
    "Witness",
    "answer_json",
    "asked_from",
    "assumptions_of",
    "compared",
    "coverage",
    "diff",
    "lint",
    "places_of",
    "question_of",
    "read_cases",
    "read_line",
    "read_question",
    "run_cases",
    "simulate",
]
