"""``interlock policy test``: run a policy's tests, and say what they have not exercised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.report import Line
from interlock.model.errors import InvalidInput, NotFound, PolicyError

if TYPE_CHECKING:
    from interlock.authoring import Coverage, Result

NOT_PASSED = PolicyError.exit_code


def register(app: typer.Typer) -> None:
    app.command("test", epilog="Example: interlock policy test policy.yaml --coverage-below 90")(run)


def run(
    file: PolicyFile,
    tests: Annotated[
        Path | None,
        typer.Option(
            "--tests",
            metavar="FILE",
            help="A test file, or a directory of them; the policy's own by default, as in policy.test.yaml.",
        ),
    ] = None,
    coverage_below: Annotated[
        int | None,
        typer.Option(
            "--coverage-below", metavar="PERCENT", min=1, max=100, help="Also end with 3 below this coverage."
        ),
    ] = None,
    home: ComparedHome = None,
    as_json: AsJson = False,
) -> None:
    """Run a policy's tests, then list the rules and branches that no test has exercised.

    A test states an action and what the policy should say about it. Ends with 3 where one of them fails.
    """
    from interlock.authoring import coverage, read_cases, run_cases
    from interlock.home import read_policy, read_tests

    policy = read_policy(file)
    sources = read_tests(tests or file)
    if not sources:
        raise NotFound(
            f"There are no tests of {file}.",
            fix=f"Write some as {file.stem}.test.yaml beside it, or name a file with --tests.",
        )
    results = run_cases(read_cases(sources), policy)
    covered = coverage(policy, results)
    failed = sum(not result.ok for result in results)
    enough = coverage_below is None or covered.percent >= coverage_below
    document: dict[str, Any] = {
        "ok": not failed and enough,
        "snapshot": policy.snapshot,
        "passed": len(results) - failed,
        "failed": failed,
        "tests": [_result(result) for result in results],
        "coverage": _coverage(covered),
        "in_force": installation.in_force(policy, home),
    }
    lines = [*result_lines(results), *_coverage_lines(covered)]
    if not enough:
        lines.append((f"That is below {coverage_below} %.", "bold red"))
    report.answer(document, lines, as_json=as_json)
    if failed or not enough:
        raise typer.Exit(NOT_PASSED)


def _result(result: Result) -> dict[str, Any]:
    found, place = result.found, result.case.place
    return {
        "name": result.case.name,
        "ok": result.ok,
        "file": place.file,
        "line": place.line,
        "differences": [
            {"what": d.what, "expected": d.expected, "found": d.found} for d in result.differences
        ],
        "verdict": None if isinstance(found, InvalidInput) else found.to_json(),
        "refused": found.detail if isinstance(found, InvalidInput) else None,
        "unused": list(result.unused),
    }


def _coverage(covered: Coverage) -> dict[str, Any]:
    return {
        "percent": covered.percent,
        "counted": list(covered.counted),
        "uncounted": list(covered.uncounted),
        "branches": [
            {"where": b.where, "text": b.text, "true": b.true, "false": b.false} for b in covered.branches
        ],
    }


def result_lines(results: Iterable[Result]) -> list[Line]:
    """Every test that failed with what was expected and found, what had no effect, and how many passed."""
    lines: list[Line] = []
    passed = count = 0
    for result in results:
        count += 1
        passed += result.ok
        name, place = result.case.name, result.case.place
        lines += [
            (f"note: {name} ({place.file}:{place.line}): {sentence}", "yellow") for sentence in result.unused
        ]
        if result.ok:
            continue
        lines.append((f"failed: {name} ({place.file}:{place.line})", "bold red"))
        lines += [
            f"  {d.what}: expected {report.value(d.expected)}, found {report.value(d.found)}"
            for d in result.differences
        ]
        found = result.found
        if isinstance(found, InvalidInput):
            lines.append(f"  refused: {found.detail}")
        else:
            lines.append(f"  the policy says {found.decision.value} by {found.rule}: {found.reason}")
    style = "bold green" if passed == count else "bold red"
    return [*lines, (f"{passed} of {count} tests passed", style)]


def _coverage_lines(covered: Coverage) -> Iterator[Line]:
    rules = len(covered.counted) + len(covered.uncounted)
    yield (
        f"coverage {covered.percent} %: {len(covered.counted)} of {rules} rules counted, "
        f"{covered.seen} of {covered.possible} branches seen"
    )
    if covered.uncounted:
        yield f"  never counted: {', '.join(covered.uncounted)}"
    for branch in covered.branches:
        if branch.unseen:
            yield f"  never {' or '.join(branch.unseen)}: {branch.text} in {branch.where}"
