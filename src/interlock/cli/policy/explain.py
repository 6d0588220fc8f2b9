"""``interlock policy explain``: ask a policy what it would do, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.report import Line
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Lane, OnTimeout

if TYPE_CHECKING:
    from interlock.policy import Explanation, Match


def register(app: typer.Typer) -> None:
    app.command(
        "explain",
        epilog='Example: echo \'{"topic": "support.refunds.create", "amount_usd": 120}\' '
        "| interlock policy explain policy.yaml --action -",
    )(explain)


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
    (flat or in "signals"), "facts", "provenance", "level", "stopped" and "amount_usd". What is not given is
    said.
    """
    from interlock.authoring import read_question
    from interlock.home import read_policy

    policy = read_policy(file)
    question, assumptions = read_question(_action_text(action), policy)
    explanation = policy.explain(question)
    document: dict[str, Any] = {
        **explanation.verdict.to_json(),
        "raised": [
            {"tier": int(raised.tier), "found": raised.found, "why": raised.why}
            for raised in explanation.raised
        ],
        "matched": [_match(match) for match in explanation.matches],
        "level_rules": [_match(match) for match in explanation.level],
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
        "found": match.found,
        "proved": match.found in ("proved", "refuted"),
        "why": match.why,
    }


def _end(lane: Lane, owner: str) -> str:
    """What the end of the window does."""
    _, *turns = lane.turns(owner)
    asked = [f"{turn.owner} for {report.span(turn.window_sec)}" for turn in turns]
    ends = _ENDS.get(lane.on_timeout, "expires, not run")
    return f"asks {', then '.join(asked)}; then {ends}" if asked else ends


_ENDS = {
    OnTimeout.KILL_SWITCH: "expires, not run, and its agent is stopped",
    OnTimeout.ALLOW: "runs, unanswered",
}


def _explained(explanation: Explanation, assumptions: list[str]) -> list[Line]:
    verdict = explanation.verdict
    tier = "outside the catalogue" if verdict.tier is None else f"tier {verdict.tier:d}, {verdict.tier.words}"
    decided = verdict.decision.value
    if verdict.observed is not None:
        decided += f" (observe mode, not enforced; it would be {verdict.observed.value})"
    level = "" if verdict.level is None else f" · level {verdict.level}"
    lines: list[Line] = [
        (decided, "bold"),
        f"  {verdict.reason}",
        f"  rule {verdict.rule} · {tier}{level} · owner {verdict.owner}",
    ]
    if verdict.informed:
        lines.append(f"  also told: {', '.join(verdict.informed)}")
    if verdict.lane is not None:
        lane = verdict.lane
        lines.append(
            f"  waits {report.span(lane.window_sec)}, then {_end(lane, verdict.owner)}; "
            f"once approved, runs within {report.span(lane.valid_sec)}"
        )
    if verdict.triggers:
        handoff = "" if verdict.handoff is None else f"; handed over as {verdict.handoff}"
        lines.append(f"  triggers: {', '.join(verdict.triggers)}{handoff}")
    for name, limit in verdict.constraints.to_json().items():
        lines.append(f"  constraint: {name} {report.value(limit)}")
    if explanation.raised:
        lines += ["", ("What may raise the tier", "bold")]
        lines += [f"  tier {r.tier:d}: {r.found}: {r.why}" for r in explanation.raised]
    for heading, found in (
        ("Rules that matched", explanation.matches),
        (f"Rules of level {verdict.level} that may decide", explanation.level),
        ("Rules that did not", explanation.passed_over),
    ):
        if found:
            lines += ["", (heading, "bold")]
            lines += [f"  {m.rule}: {m.decision.value}, {m.found}: {m.why}" for m in found]
    if verdict.missing:
        lines += ["", f"Missing, and taken at its worst: {', '.join(verdict.missing)}"]
    lines += ["", ("Assumed", "bold"), *(f"  {sentence}" for sentence in assumptions)]
    return [*lines, "", (f"policy {verdict.snapshot}", "dim")]
