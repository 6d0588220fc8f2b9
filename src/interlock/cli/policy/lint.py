"""``interlock policy lint``: what loads, and still is not what its author can have meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.report import Line
from interlock.model.errors import PolicyError

if TYPE_CHECKING:
    from interlock.authoring import Advice

FOUND = PolicyError.exit_code
ALIKE = 2
"""Topics of which the same advice is printed in full."""


def register(app: typer.Typer) -> None:
    app.command("lint", epilog="Example: interlock policy lint policy.yaml --strict")(lint)


def lint(
    file: PolicyFile,
    strict: Annotated[bool, typer.Option("--strict", help="End with 3 where there are warnings.")] = False,
    home: ComparedHome = None,
    as_json: AsJson = False,
) -> None:
    """Look for rules that never decide, repeat each other or reach too far, and for what reviewers will miss.

    Goes beyond `check`, whose findings and warnings are not repeated. Tests beside the policy are run.
    """
    from interlock.authoring import lint as look
    from interlock.authoring import places_of, read_cases, run_cases
    from interlock.home import read_sources, read_tests
    from interlock.policy import parse

    sources = read_sources(file)
    policy = parse(sources)
    tests = read_tests(file)
    results = run_cases(read_cases(tests), policy) if tests else None
    found = look(policy, results=results, places=places_of(sources))
    warnings = sum(advice.severity == "warning" for advice in found)
    document: dict[str, Any] = {
        "ok": not warnings,
        "snapshot": policy.snapshot,
        "warnings": warnings,
        "notes": len(found) - warnings,
        "unindexed": policy.unindexed,
        "found": [advice.to_json() for advice in found],
        "in_force": installation.in_force(policy, home),
    }
    lines = list(_grouped(found))
    lines.append((_summary(warnings, len(found) - warnings), "bold yellow" if warnings else "bold green"))
    report.answer(document, lines, as_json=as_json)
    if strict and warnings:
        raise typer.Exit(FOUND)


def _grouped(found: Iterable[Advice]) -> Iterator[Line]:
    """Each piece of advice; where many topics need the same, the others of them by their names."""
    groups: dict[tuple[str, str], list[Advice]] = {}
    for advice in found:
        alone = (advice.id, advice.severity if advice.topic is not None else advice.sentence)
        groups.setdefault(alone, []).append(advice)
    for group in groups.values():
        shown = group if len(group) <= ALIKE else group[:1]
        for advice in shown:
            yield from _lines(advice)
        if len(group) > ALIKE:
            others = ", ".join(str(advice.topic) for advice in group[1:])
            yield f"  {len(group) - 1} more topics: {others}"


def _lines(advice: Advice) -> list[Line]:
    place = advice.place
    where = "" if place is None else f"{place.file}:{place.line}:{place.column}: "
    style = "yellow" if advice.severity == "warning" else ""
    head = f"{where}{advice.severity}: {advice.sentence} [{advice.id}]"
    return [(head, style), (f"  {advice.advice}", "dim")]


def _summary(warnings: int, notes: int) -> str:
    return f"{_count(warnings, 'warning')}, {_count(notes, 'note')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
