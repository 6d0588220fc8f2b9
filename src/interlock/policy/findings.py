"""Findings: everything wrong with a policy, each at its line, collected and raised together.

1. A path is the way to a value in the document: ``("rules", 3, "match", "topics")``. It is looked up in
   `Places`; a path that stands nowhere is reported at the nearest value that holds it.
2. Loading collects findings and goes on as far as it can, so that an author corrects a file once. Of very
   many, the first `MAX_FINDINGS` are shown and the rest are counted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from interlock.model.errors import PolicyError

Path: TypeAlias = "tuple[str | int, ...]"

MAX_FINDINGS = 100
ENOUGH = 1_000
"""With so many, nothing further is looked for."""
MAX_SHOWN = 100
"""Characters of one word or value that a finding repeats."""
_MANY = 2_000


class Place(NamedTuple):
    """Where something stands. Line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(slots=True)
class Places:
    """Where each key and each value of a document stands. `fallback` stands for the document itself."""

    fallback: Place
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)

    def key(self, path: Path) -> Place:
        return self.keys.get(path) or self.value(path)

    def value(self, path: Path) -> Place:
        while path:
            if path in self.values:
                return self.values[path]
            path = path[:-1]
        return self.values.get((), self.fallback)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `rule` is the id of the rule it stands in, where it stands in one."""

    place: Place
    message: str
    suggestion: str | None = None
    rule: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{self.place.file}:{self.place.line}:{self.place.column}: {self.message}{hint}"

    def to_json(self) -> dict[str, str | int | None]:
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "message": self.message,
            "suggestion": self.suggestion,
            "rule": self.rule,
        }


def raise_for(findings: Iterable[Finding]) -> None:
    """Raise `PolicyError` with them in the order a reader meets them, if there are any.

    `extra` holds the first `MAX_FINDINGS` as JSON in `findings`, and in `more` how many were left out.
    """
    ordered = sorted(set(findings), key=lambda f: (f.place.file, f.place.line, f.place.column, f.message))
    if not ordered:
        return
    shown, more = ordered[:MAX_FINDINGS], max(len(ordered) - MAX_FINDINGS, 0)
    lines = [*map(str, shown), *([f"and {more} more"] if more else [])]
    raise PolicyError(
        "\n".join(lines), extra={"findings": [finding.to_json() for finding in shown], "more": more}
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that this one was probably meant to be.

    Where very many are known, only those that start alike are compared.
    """
    if len(word) > 255:
        return None
    words = sorted(set(known) - {word})
    if len(words) > _MANY:
        words = [other for other in words if other[:3] == word[:3]][:_MANY]
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return found[0] if found else None


def quoted(word: str) -> str:
    """A word in quotes, cut where it is long."""
    return repr(word if len(word) <= MAX_SHOWN else f"{word[:MAX_SHOWN]}…")
