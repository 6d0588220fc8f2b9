"""``interlock policy prove``: the promises hold for all actions, or here is one that breaks them."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.policy.simulation import seconds
from interlock.cli.report import Line
from interlock.model.errors import PolicyError

if TYPE_CHECKING:
    from interlock.authoring.prove import Counterexample, Report, Result
    from interlock.model.verdicts import Verdict

REFUTED = PolicyError.exit_code
UNDECIDED = 4
_STYLES = {"proved": "green", "refuted": "bold red", "undecided": "yellow"}
_MOST_REASONS = 5


def register(app: typer.Typer) -> None:
    app.command(
        "prove", epilog="Example: interlock policy prove policy.yaml --never 'args.amount_usd > 500'"
    )(prove)


def prove(
    file: PolicyFile,
    never: Annotated[
        list[str] | None,
        typer.Option(
            "--never",
            metavar="CONDITION",
            help="Also prove that nothing this is true of runs without a person. May be given several times.",
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="What is not settled by then is undecided.")
    ] = "30s",
    home: ComparedHome = None,
    as_json: AsJson = False,
) -> None:
    """Prove for every action there can be that the policy keeps its promises, or show one that breaks them.

    Ends with 0 where all is proved, with 3 where something is refuted, with 4 where something is undecided.
    """
    from interlock.authoring.prove import prove as settle
    from interlock.home import read_policy

    policy = read_policy(file)
    end = time.monotonic() + seconds(timeout, "--timeout")
    with _progress(quiet=as_json) as progress:
        found = settle(policy, never or (), left=lambda: end - time.monotonic(), progress=progress)
    document: dict[str, Any] = {
        "ok": found.outcome == "proved",
        "outcome": found.outcome.value,
        "snapshot": policy.snapshot,
        "mode": policy.mode,
        "kinds_of_topics": found.classes,
        "claims": [_result(result) for result in found.results],
        "in_force": installation.in_force(policy, home),
    }
    report.answer(document, _lines(found, file, observed=policy.mode == "observe"), as_json=as_json)
    if found.outcome == "refuted":
        raise typer.Exit(REFUTED)
    if found.outcome == "undecided":
        raise typer.Exit(UNDECIDED)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where a person watches; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("Proving", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# --- JSON -------------------------------------------------------------------------------------------------


def _result(result: Result) -> dict[str, Any]:
    return {
        "claim": result.claim.name,
        "sentence": result.claim.sentence,
        "outcome": result.outcome.value,
        "reasons": list(result.reasons),
        "counterexamples": [_counterexample(each) for each in result.counterexamples],
        "more": result.more,
        "vacuous": result.vacuous,
    }


def _counterexample(found: Counterexample) -> dict[str, Any]:
    return {
        "action": found.action,
        "verdict": found.verdict.to_json(),
        "with_full_confidence": None if found.best is None else found.best.to_json(),
    }


# --- words ------------------------------------------------------------------------------------------------


def _lines(found: Report, file: Path, *, observed: bool) -> Iterator[Line]:
    if observed:
        yield "OBSERVE MODE: nothing is enforced but kill switches", "bold red"
    for result in found.results:
        yield f"{result.outcome.value:9}  {result.claim.sentence}", _STYLES[result.outcome.value]
        if result.vacuous:
            yield "           because no action was found of which it is true"
        for reason in result.reasons[:_MOST_REASONS]:
            yield f"           {reason}"
        if len(result.reasons) > _MOST_REASONS:
            yield f"           … and {len(result.reasons) - _MOST_REASONS} more reasons"
        for each in result.counterexamples:
            yield from _shown(each, file)
        if result.more:
            yield "           No further kinds of topics were looked at for this one."
    kinds = "one kind" if found.classes == 1 else f"{found.classes} kinds"
    counted = {outcome: sum(r.outcome == outcome for r in found.results) for outcome in _STYLES}
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counted.items() if count)
    yield "", ""
    yield f"{summary}; the policy tells {kinds} of topics apart", _STYLES[found.outcome.value]


def _shown(found: Counterexample, file: Path) -> Iterator[Line]:
    action = json.dumps(found.action)
    yield f"           {_decides(found.verdict)}"
    if found.best is not None:
        yield f"           and with confidence 1: {_decides(found.best)}"
    command = f"interlock policy explain {shlex.quote(str(file))} --action -"
    yield f"             echo {shlex.quote(action)} | {command}", "dim"


def _decides(verdict: Verdict) -> str:
    silence = verdict.lane is not None and verdict.lane.on_timeout == "allow"
    end = ", and where nobody answers it runs" if silence else ""
    return f"{verdict.decision.value} by {verdict.rule}{end}"
