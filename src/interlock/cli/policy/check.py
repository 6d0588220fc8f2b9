"""``interlock policy check``: load a policy, and say everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.report import Line
from interlock.model.errors import PolicyError

if TYPE_CHECKING:
    from interlock.policy.rules import Rule

NOT_LOADED = PolicyError.exit_code


def register(app: typer.Typer) -> None:
    app.command("check", epilog="Example: interlock policy check policy.yaml")(check)


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
        "mode": policy.mode,
        "invariants": [_built_in(rule) for rule in policy.invariants],
        "triggers": [_built_in(rule) for rule in policy.triggers],
        "in_force": installation.in_force(policy, home),
    }
    topics, rules = document["topics"], document["rules"]
    lines: list[Line] = [(f"warning: {warning}", "yellow") for warning in policy.warnings]
    lines += [
        ("ok", "bold green"),
        f"snapshot {policy.snapshot}",
        f"{topics} catalogued {'topic' if topics == 1 else 'topics'}, {rules} "
        f"{'rule' if rules == 1 else 'rules'}, people: {policy.people}",
        "always ask a person: tier 4, "
        + (", ".join(rule.id.partition(":")[2] for rule in policy.invariants) or "and no invariant"),
        f"triggers: {', '.join(rule.id.partition(':')[2] for rule in policy.triggers) or 'none'}",
    ]
    if home is not None:
        lines.append(f"{'in force' if document['in_force'] else 'not in force'} in {home}")
    report.answer(document, lines, as_json=as_json)


def _built_in(rule: Rule) -> dict[str, str | None]:
    """A built-in rule and when it counts."""
    return {"id": rule.id, "when": " and ".join(test.text for test in rule.tests), "reason": rule.reason}


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
        "mode": None,
        "invariants": [],
        "triggers": [],
        "in_force": None,
    }
    lines: list[Line] = [error.detail]
    count = len(findings) + int(error.extra.get("more") or 0)
    lines.append((f"{count} {'finding' if count == 1 else 'findings'}; the policy does not load", "bold red"))
    report.answer(document, lines, as_json=as_json)
