"""``interlock doctor``: what bypasses the gate on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import report
from interlock.cli.options import HOME, AsJson
from interlock.cli.report import Line

FOUND = 1


def register(app: typer.Typer) -> None:
    app.command("doctor", epilog="Example: interlock doctor --json")(doctor)


def doctor(
    work: Annotated[
        Path, typer.Option("--work", metavar="DIR", help="The folder in which the agent works.")
    ] = Path(),
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The gate's server; else the one that the home announces."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="The gate's home; ./.interlock by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what bypasses the gate: tool servers, missing hooks, allow rules, credentials.

    Start it as the agent would be started: same user, folder and environment. Ends with 1 where it finds a
    bypass. It looks where it knows to look; that it finds nothing is no proof.
    """
    from interlock.adapters.bypasses import examine, here
    from interlock.adapters.claude_code.desk import announced

    folder = home or Path(HOME)
    found = examine(here(work, (url or announced(folder),), folder))
    ways = [each for each in found if each.bypass]
    document = {"bypassed": bool(ways), "findings": [each.to_json() for each in found]}
    lines: list[Line] = []
    for each in found:
        lines += [
            (each.says, "bold red" if each.bypass else "yellow"),
            f"  {each.where}",
            (f"  {each.fix}", "dim"),
        ]
    count = "1 way" if len(ways) == 1 else f"{len(ways)} ways"
    lines.append((f"{count} around the gate." if ways else "Nothing known bypasses the gate here.", "bold"))
    report.answer(document, lines, as_json=as_json)
    raise typer.Exit(FOUND if ways else 0)
