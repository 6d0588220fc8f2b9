"""``interlock policy diff``: what changed between two policies, and which actions feel it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson
from interlock.cli.report import Line, Misuse
from interlock.model.errors import InvalidInput, PolicyError

if TYPE_CHECKING:
    from interlock.authoring import Change, Diff, Witness
    from interlock.model.verdicts import Verdict
    from interlock.policy import Policy

LOOSENS = PolicyError.exit_code
SHOWN = 20

_STYLE = {"looser": "bold red", "stricter": "yellow", "other": ""}


def register(app: typer.Typer) -> None:
    app.command("diff", epilog="Example: interlock policy diff old.yaml new.yaml --fail-on-looser")(diff)


def diff(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[OLD] NEW", help="Two policies; with --home one, compared with what is in force."
        ),
    ],
    fail_on_looser: Annotated[
        bool,
        typer.Option(
            "--fail-on-looser", help="End with 3 where an answer becomes looser, or no tried action shows it."
        ),
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many actions to show.")] = SHOWN,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Compare with the policy in force in this home."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two policies: what was added, removed and changed, and actions that get another answer.

    Both are asked about actions at the boundaries of their conditions. Each action shown is an action file
    that `explain` answers in the same way; those that become looser come first.
    """
    from interlock.authoring import diff as compare
    from interlock.home import read_policy

    if len(files) != (2 if home is None else 1):
        raise Misuse(
            "Two policies are compared, or with --home one with the policy in force there.",
            fix="As in: interlock policy diff old.yaml new.yaml",
        )
    new = read_policy(files[-1])
    old = read_policy(files[0]) if home is None else in_force(home)
    found = compare(old, new)
    report.answer(diff_json(found, old, new, limit), diff_lines(found, limit), as_json=as_json)
    if fail_on_looser and not found.vouches:
        raise typer.Exit(LOOSENS)


def in_force(home: Path) -> Policy:
    """The policy in force in a home. Raises `NotFound` where there is none."""
    with installation.opened(home) as opened:
        return opened.gate.policy


def diff_json(found: Diff, old: Policy, new: Policy, limit: int) -> dict[str, Any]:
    """A comparison as JSON."""
    counts = dict.fromkeys(_STYLE, 0)
    for witness in found.witnesses:
        counts[witness.direction] += 1
    return {
        "old": old.snapshot,
        "new": new.snapshot,
        "same": not found.changes,
        "loosens": found.loosens,
        "changes": [change.to_json() for change in found.changes],
        **counts,
        "actions": [witness.to_json() for witness in found.witnesses[:limit]],
        "tried": found.tried,
        "complete": found.complete,
        "untried": list(found.untried),
        "offline": list(found.offline),
    }


def diff_lines(found: Diff, limit: int) -> Iterator[Line]:
    """A comparison in words."""
    if not found.changes:
        yield ("The two policies say the same.", "bold")
        return
    for change in found.changes:
        yield from _change(change)
    yield ""
    for topic in found.offline:
        yield (f"looser: {topic} may run under a permit that nobody redeems", _STYLE["looser"])
    if not found.witnesses:
        yield f"Of {found.tried:,} actions that were tried, none gets another answer."
    for witness in found.witnesses[:limit]:
        yield from _witness(witness)
    if len(found.witnesses) > limit:
        yield f"… and {len(found.witnesses) - limit:,} more kinds of actions; add --limit to see them"
    yield ""
    for clause in found.untried:
        yield (f"Unseen: {clause}", "yellow")
    rest = "" if found.complete else " Not every combination was tried."
    if found.loosens:
        yield (f"Something becomes looser.{rest}", "bold red")
    elif found.vouches:
        yield (f"Nothing was found that becomes looser.{rest}", "bold green")
    else:
        yield ("Nothing that was tried becomes looser, but not all that changed was tried.", "bold red")


def _change(change: Change) -> Iterator[Line]:
    marks = {"added": "+", "removed": "-", "changed": "~"}
    text = f"{marks[change.kind]} {change.what} {change.name}"
    yield (text + (" (an action becomes looser)" if change.loosens else ""), "bold")
    for key, old, new in change.keys:
        name = "" if key == change.name else f"{key}: "
        yield f"    {name}{_given(old)} → {_given(new)}"


def _given(value: Any) -> str:
    return "(not said)" if value is None else report.value(value)


def _witness(witness: Witness) -> Iterator[Line]:
    yield (f"{witness.direction}: {report.value(witness.action)}", _STYLE[witness.direction])
    more = f" ({witness.alike} of the tried actions)" if witness.alike > 1 else ""
    yield f"    {_answer(witness.old)} → {_answer(witness.new)}{more}"


def _answer(answer: Verdict | InvalidInput) -> str:
    if isinstance(answer, InvalidInput):
        return "refused as invalid"
    tier = "" if answer.tier is None else f", tier {answer.tier:d}"
    limits = "".join(
        f", {name} {report.value(limit)}" for name, limit in answer.constraints.to_json().items()
    )
    asked = f", {answer.owner}" if answer.held else ""
    lane = "" if answer.lane is None else f", {report.span(answer.lane.window_sec)}"
    return f"{answer.decision.value} by {answer.rule}{tier}{limits}{asked}{lane}"
