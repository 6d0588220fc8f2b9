"""``interlock policy``: check a policy, and ask it what it would do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.report import Line
from interlock.model.errors import InvalidInput, PolicyError
from interlock.model.verdicts import DEFAULT_OWNER, OnTimeout

if TYPE_CHECKING:
    from interlock.policy import Explanation, Match

app = typer.Typer(
    name="policy",
    help="Check a policy, and ask what it would decide.",
    epilog="Example: interlock policy check policy.yaml",
)

NOT_LOADED = PolicyError.exit_code


@app.command("check", epilog="Example: interlock policy check policy.yaml")
def check(file: PolicyFile, home: ComparedHome = None, as_json: AsJson = False) -> None:
    """Load a policy and print everything that is wrong with it, each at its line.

    Ends with 0 where it loads, with 3 where it does not. Nothing is put in force.
    """
    from interlock.home import read_policy

    try:
        policy = read_policy(file)
    except PolicyError as error:
        _refuse(file, error, as_json=as_json)
        raise typer.Exit(NOT_LOADED) from None
    document: dict[str, Any] = {
        "ok": True,
        "snapshot": policy.snapshot,
        "findings": [],
        "warnings": list(policy.warnings),
        "topics": len(policy.catalogue.entries),
        "rules": len(policy.rules),
        "in_force": installation.in_force(policy, home),
    }
    lines: list[Line] = [(f"warning: {warning}", "yellow") for warning in policy.warnings]
    lines += [
        ("ok", "bold green"),
        f"snapshot {policy.snapshot}",
        f"{document['topics']} catalogued topics, {document['rules']} rules, people: {policy.people}",
    ]
    if home is not None:
        lines.append(f"{'in force' if document['in_force'] else 'not in force'} in {home}")
    report.answer(document, lines, as_json=as_json)


def _refuse(file: Path, error: PolicyError, *, as_json: bool) -> None:
    """Print the findings; what kept the file from being read at all is the only one, then."""
    unread = {"file": str(file), "line": 1, "column": 1, "message": error.detail}
    findings = error.extra.get("findings") or [{**unread, "suggestion": None, "rule": None}]
    document = {
        "ok": False,
        "snapshot": None,
        "findings": findings,
        "warnings": [],
        "topics": 0,
        "rules": 0,
        "in_force": None,
    }
    lines: list[Line] = [error.detail]
    count = len(findings)
    lines.append((f"{count} {'finding' if count == 1 else 'findings'}; the policy does not load", "bold red"))
    report.answer(document, lines, as_json=as_json)


@app.command(
    "explain",
    epilog='Example: echo \'{"topic": "support.refunds.create", "amount_usd": 120}\' '
    "| interlock policy explain policy.yaml --action -",
)
def explain(
    file: PolicyFile,
    action: Annotated[
        str, typer.Option("--action", metavar="A.json", help="The action as JSON; - reads standard input.")
    ],
    home: ComparedHome = None,
    as_json: AsJson = False,
) -> None:
    """Say what a policy would decide about an action, and which rule, why, and on what assumptions.

    The action names its "topic" and may give "args", and as assumptions "risk_tags", "tier" and signals
    ("confidence", "retry_count", "anomaly_score", "first_time_action", "affected_users"), flat or in
    "signals", and "amount_usd". What is not given is said.
    """
    from interlock.cli.question import read_question
    from interlock.home import read_policy

    policy = read_policy(file)
    question, assumptions = read_question(_action_text(action), policy)
    explanation = policy.explain(question)
    document: dict[str, Any] = {
        **explanation.verdict.to_json(),
        "matched": [_match(match) for match in explanation.matches],
        "passed_over": [_match(match) for match in explanation.passed_over],
        "values": dict(explanation.values),
        "assumptions": assumptions,
        "in_force": installation.in_force(policy, home),
    }
    report.answer(document, _explained(explanation, assumptions), as_json=as_json)


def _action_text(name: str) -> bytes:
    """The action file's bytes, one more than are ever accepted at most."""
    from interlock.model.canonical import MAX_BYTES

    if name == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(
            f"{name} cannot be read: {reason}", path="--action", fix="Name a JSON file, or - for stdin."
        ) from None


def _match(match: Match) -> dict[str, Any]:
    return {
        "rule": match.rule,
        "decision": match.decision.value,
        "proved": match.proved,
        "why": match.why,
    }


def _end(on_timeout: OnTimeout, owner: str) -> str:
    """What the end of the window does."""
    if on_timeout is OnTimeout.ESCALATE and owner != DEFAULT_OWNER:
        return f"{DEFAULT_OWNER} are asked for as long again, then it expires"
    return "expires, not run"


def _explained(explanation: Explanation, assumptions: list[str]) -> list[Line]:
    verdict = explanation.verdict
    tier = "outside the catalogue" if verdict.tier is None else f"tier {verdict.tier:d}, {verdict.tier.words}"
    lines: list[Line] = [
        (verdict.decision.value, "bold"),
        f"  {verdict.reason}",
        f"  rule {verdict.rule} · {tier} · owner {verdict.owner}",
    ]
    if verdict.lane is not None:
        lane = verdict.lane
        lines.append(
            f"  waits {report.span(lane.window_sec)}, then {_end(lane.on_timeout, verdict.owner)}; "
            f"once approved, runs within {report.span(lane.valid_sec)}"
        )
    if verdict.triggers:
        lines.append(f"  triggers: {', '.join(verdict.triggers)}")
    for name, limit in verdict.constraints.to_json().items():
        lines.append(f"  constraint: {name} {report.value(limit)}")
    if explanation.matches:
        lines += ["", ("Rules that matched", "bold")]
        lines += [
            f"  {m.rule}: {m.decision.value}, {'proved' if m.proved else 'not refuted'}: {m.why}"
            for m in explanation.matches
        ]
    if explanation.passed_over:
        lines += ["", ("Rules that did not", "bold")]
        lines += [
            f"  {m.rule}: {m.decision.value}, {'refuted' if m.proved else 'not proved'}: {m.why}"
            for m in explanation.passed_over
        ]
    if verdict.missing:
        lines += ["", f"Missing, and taken at its worst: {', '.join(verdict.missing)}"]
    lines += ["", ("Assumed", "bold"), *(f"  {sentence}" for sentence in assumptions)]
    return [*lines, "", (f"policy {verdict.snapshot}", "dim")]
