"""What all checks share: where findings go, what was left out, and how a condition is checked.

1. A finding stands at the value it is about, with the id of its rule, or in words with where it stands.
2. Nothing is blamed for what `structure` left out: a name that is only missing because its definition does
   not fit is no second finding.
3. Checking ends after `ENOUGH` findings, and guesses at what was meant are made for the first of them only.
4. A warning is said once for everything that it is about, however much that is. Of very many, the first
   `MAX_WARNINGS` are kept and the rest are counted; what loosens comes first, so that no flood hides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock.model.errors import BadTopic
from interlock.model.topics import TopicPattern
from interlock.policy.document import Document
from interlock.policy.expressions import Expr, ExpressionError, fields_of, parse_expression
from interlock.policy.fields import REPORTED, RULE_ROOTS, Kind
from interlock.policy.findings import ENOUGH, MAX_FINDINGS, Finding, Path, Places, nearest
from interlock.policy.reach import Met
from interlock.policy.structure import whereabouts
from interlock.policy.typecheck import Scope, check_types

NOT_OBSERVED = frozenset(
    {
        "affected_users",
        "anomaly_score",
        "deadline_sec",
        "duplicate_of",
        "first_time_action",
        "first_time_recipient",
        "injection_score",
        "retry_count",
        "sentiment",
    }
)
"""Signals that nothing observes in this version; they stay at their baseline."""
MAX_WARNINGS = 200

CONFIDENCE = tuple(REPORTED.split("."))


class Enough(Exception):
    """So much is wrong that checking ends."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A condition, and the paths of the fields it reads."""

    expr: Expr
    read: tuple[tuple[str, ...], ...]

    @property
    def reported(self) -> bool:
        """Whether it reads what the agent reports about itself."""
        return CONFIDENCE in self.read


class Report:
    """Findings and warnings about one document.

    Attributes:
        loosened: the warnings about guards that this policy switches off, narrows or goes around.
        missing: paths of what was left out of the document because it does not fit.
        facts: the kind of each declared fact. read_facts: those that some condition reads.
        lost_patterns: of the actions that were left out; None stands for one that cannot be read, or many.
    """

    def __init__(self, document: Document, places: Places, missing: frozenset[Path]) -> None:
        self.document = document
        self.places = places
        self.missing = missing
        self.findings: list[Finding] = []
        self.loosened: list[str] = []
        self.noted: list[str] = []
        self.facts = {name: _kind(spec.type) for name, spec in document.facts.items()}
        self.read_facts: set[str] = set()
        self.lost_patterns = _patterns(str(path[1]) for path in missing if path[0] == "actions" and path[1:])

    def add(self, path: Path, message: str, suggestion: str | None = None, *, key: bool = False) -> None:
        """A finding at a value, or at its key."""
        if len(self.findings) >= ENOUGH:
            raise Enough
        place = self.places.key(path) if key else self.places.value(path)
        rule = None
        if path[0] == "rules" and len(path) > 1 and isinstance(path[1], int):
            rule = self.document.rule_id(path[1])
        elif path[0] != "actions":
            message = f"{whereabouts(path, {})}: {message}"
        self.findings.append(Finding(place, message, suggestion, rule))

    def warn(self, sentence: str) -> None:
        """A warning about what stands on paper only, or surprises."""
        self.noted.append(sentence)

    def loosens(self, sentence: str) -> None:
        """A warning about a guard that this policy switches off, narrows or goes around."""
        self.loosened.append(sentence)

    @property
    def warnings(self) -> list[str]:
        """Each once, what loosens first; at most `MAX_WARNINGS`, and how many more there are."""
        found = list(dict.fromkeys([*self.loosened, *self.noted]))
        more = len(found) - MAX_WARNINGS
        return [*found[:MAX_WARNINGS], f"and {more} more warnings"] if more > 0 else found

    def left_out(self, *path: str | int) -> bool:
        return path in self.missing or path[:1] in self.missing

    def meant(self, word: str, known: Iterable[str]) -> str | None:
        return nearest(word, known) if len(self.findings) < MAX_FINDINGS else None

    def condition(
        self,
        path: Path,
        text: str,
        entries: Met | tuple[()] = (),
        *,
        whose: str,
        roots: frozenset[str] = RULE_ROOTS,
    ) -> Asked | None:
        """The condition at a path, checked against the entries it may speak about; None where unreadable.

        Args:
            whose: the rule or action, as warnings call it.
        """
        try:
            expr = parse_expression(text)
        except ExpressionError as error:
            self.add(path, str(error))
            return None
        read = tuple(field.path for field in fields_of(expr))
        facts = dict.fromkeys(steps[1] for steps in read if steps[0] == "facts" and len(steps) > 1)
        self.read_facts.update(facts)
        if not any(self.left_out("facts", name) for name in facts):
            for problem in check_types(expr, Scope(entries, self.facts, roots)):
                self.add(path, problem.message, problem.suggestion)
        for steps in read:
            name = ".".join(steps)
            if steps[0] in ("facts", "provenance"):
                self.warn(f"{whose}: {name} is accepted, not yet supplied: it counts as unknown")
            elif steps[0] == "signals" and name != REPORTED:
                self.not_observed(whose, steps[-1])
        return Asked(expr, read)

    def not_observed(self, whose: str, signal: str) -> None:
        if signal in NOT_OBSERVED:
            self.warn(f"{whose}: {signal} is accepted, not yet observed: it stays at its baseline")


def _patterns(keys: Iterable[str]) -> tuple[TopicPattern | None, ...]:
    found: list[TopicPattern | None] = []
    for key in keys:
        try:
            found.append(TopicPattern.parse(key))
        except BadTopic:
            return (None,)
        if len(found) > _FEW:
            return (None,)
    return tuple(found)


_FEW = 20


def _kind(fact: str) -> Kind:
    return "number" if fact in ("integer", "number") else "boolean" if fact == "boolean" else "string"


MAX_CYCLES = 20


def cycles(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Cycles of a graph, at most `MAX_CYCLES`; at least one where there is any. Edges to nowhere are ignored.

    Depth first, with a list of what is open instead of recursion; linear in the graph.
    """
    found: list[list[str]] = []
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        path, ways, place = [start], [iter(edges[start])], {start: 0}
        while path:
            other = next(ways[-1], None)
            if other is None:
                ways.pop()
                node = path.pop()
                del place[node]
                done.add(node)
            elif other in place:
                found.append(path[place[other] :])
                if len(found) == MAX_CYCLES:
                    return found
            elif other in edges and other not in done:
                place[other] = len(path)
                path.append(other)
                ways.append(iter(edges[other]))
    return found


def around(cycle: Sequence[str]) -> str:
    """A cycle in words: ``a → b → a``."""
    shown = [*cycle[:8], *(["…"] if len(cycle) > 8 else []), cycle[0]]
    return " → ".join(shown)
