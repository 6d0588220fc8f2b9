"""Policy: what each proposed action may do, decided by reviewed files and nothing else.

1. Text in, verdict out. This room does no I/O and knows no clock, no randomness and no store; a `Policy` is
   an immutable value named by the SHA-256 of its canonical form.
2. A policy loads completely or not at all. Unknown keys, wrong types, unenforceable constraints and
   everything this version does not enforce yet are errors, each at its line with what was probably meant.
3. Restrictive rules match unless proved false, permissive ones only if proved true. Nothing an agent
   reports loosens anything. Tier 4 never runs without a person.

What belongs here: reading, checking, compiling and evaluating policies, what the catalogue says about
arguments, and the form in which a question is recorded. What does not: state, people, time, execution.
"""

from __future__ import annotations

from interlock.policy.catalogue import (
    ArgType,
    CatalogueEntry,
    RaiseTo,
)
from interlock.policy.decide import Policy, Question
from interlock.policy.executes import (
    CallerExecute,
    DispatchedExecute,
    HttpExecute,
    McpExecute,
    PermittedExecute,
    SqlExecute,
)
from interlock.policy.explain import Explanation, Match, Raised
from interlock.policy.holding import held_after_edit, held_as_drifted, held_as_stale
from interlock.policy.inputs import commitment, document_of, question_of
from interlock.policy.load import parse
from interlock.policy.probes import Probe
from interlock.policy.rules import BASELINE
from interlock.policy.undos import Undo

__all__ = [
    "BASELINE",
    "ArgType",
    "CallerExecute",
    "CatalogueEntry",
    "DispatchedExecute",
    "Explanation",
    "HttpExecute",
    "Match",
    "McpExecute",
    "PermittedExecute",
    "Policy",
    "Probe",
    "Question",
    "RaiseTo",
    "Raised",
    "SqlExecute",
    "Undo",
    "commitment",
    "document_of",
    "held_after_edit",
    "held_as_drifted",
    "held_as_stale",
    "parse",
    "question_of",
]
