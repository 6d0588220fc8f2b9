"""``interlock policy activate``: put a checked candidate in force, with who and why."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import installation, report, watch
from interlock.cli.options import AsJson, HomeBesidePolicy, PolicyFile, home_beside
from interlock.cli.policy.compare import SHOWN, diff_json, diff_lines
from interlock.cli.policy.testing import NOT_PASSED, result_lines
from interlock.cli.report import Line, Misuse
from interlock.model.errors import NotFound

if TYPE_CHECKING:
    from interlock.authoring import Diff, Result
    from interlock.home import Home
    from interlock.policy import Policy


def register(app: typer.Typer) -> None:
    app.command(
        "activate",
        epilog='Example: interlock policy activate policy.yaml --reason "refunds below $80 run, agreed with '
        'finance"',
    )(activate)


def activate(
    file: PolicyFile,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why, in a line; it stays in the ledger."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    skip_tests: Annotated[bool, typer.Option("--skip-tests", help="Activate without running tests.")] = False,
    home: HomeBesidePolicy = None,
    as_json: AsJson = False,
) -> None:
    """Put a policy in force in a home: load it, run its tests, show what changes, ask, and record it.

    What is open is decided again, and held or denied where the policy became stricter; nothing that is held
    is let go. A server of that home notices with its next request. Ends with 3 where a test fails.
    """
    from interlock.authoring import diff as compare
    from interlock.home import read_policy

    policy = read_policy(file)
    results = () if skip_tests else _run_tests(file, policy)
    checked = {
        "snapshot": policy.snapshot,
        "warnings": list(policy.warnings),
        "tests": len(results),
        "failed": [result.case.name for result in results if not result.ok],
    }
    lines: list[Line] = watch.warnings(policy)
    lines += result_lines(results) if results else ["No tests were run."]
    if checked["failed"]:
        document = {"ok": False, "activated": False, "by": None, "diff": None, **checked}
        report.answer(document, [*lines, ("Nothing was activated.", "bold red")], as_json=as_json)
        raise typer.Exit(NOT_PASSED)
    with installation.opened(home_beside(file, home)) as opened:
        old = _in_force(opened)
        again = old is not None and old.snapshot == policy.snapshot
        found = None if old is None or again else compare(old, policy)
        if not (yes or again):
            _confirm([*lines, *_changes(found)], as_json=as_json)
            lines = []  # they have been shown
        done = opened.gate.activate(policy, by=actor(), reason=reason)
    document = {
        "ok": True,
        "activated": done.changed,
        "by": actor() if done.changed else None,
        "diff": None if old is None or found is None else diff_json(found, old, policy, SHOWN),
        **checked,
    }
    words = "is in force now." if done.changed else "was in force already; nothing changed."
    lines += [(f"{policy.name} {words}", "bold green"), f"snapshot {policy.snapshot}"]
    report.answer(document, lines, as_json=as_json)


def actor() -> str:
    """Who activates, for the ledger: the operating system's name of this process's user."""
    import pwd

    try:
        return f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"os:uid-{os.getuid()}"


def _run_tests(file: Path, policy: Policy) -> tuple[Result, ...]:
    from interlock.authoring import read_cases, run_cases
    from interlock.home import read_tests

    sources = read_tests(file)
    return run_cases(read_cases(sources), policy) if sources else ()


def _in_force(home: Home) -> Policy | None:
    try:
        return home.gate.policy
    except NotFound:
        return None


def _changes(found: Diff | None) -> Iterator[Line]:
    if found is None:
        yield "No policy is in force in this home yet."
    else:
        yield ""
        yield from diff_lines(found, SHOWN)


def _confirm(lines: list[Line], *, as_json: bool) -> None:
    """Show what was found and ask. Raises `Misuse` where nobody can be asked; a no ends with 1."""
    if as_json or not sys.stdin.isatty():
        raise Misuse(
            "Nobody can be asked here, so nothing was activated.",
            fix="Look at `interlock policy diff NEW --home DIR`, then add --yes.",
        )
    report.say(lines, to=sys.stderr)
    if not typer.confirm("\nActivate it?", default=False, err=True):
        report.say(["Nothing was activated."], to=sys.stderr)
        raise typer.Exit(1)
