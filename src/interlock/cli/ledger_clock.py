"""``interlock ledger clock``: what to do when the ledger's time and the machine's clock disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line

_LATEST = 2**53 - 1


def register(app: typer.Typer) -> None:
    """Add ``clock``."""
    app.command("clock", epilog="Example: interlock ledger clock --accept")(clock)


def clock(
    accept: Annotated[
        bool, typer.Option("--accept", help="The machine's clock is right: go on from the newest entry.")
    ] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the ledger's time, and go on where it is ahead of the clock.

    Nothing is written while the last recorded time is more than a minute ahead: set the clock if it is wrong,
    or wait until it has caught up. Otherwise --accept goes on. Where only the database's head row is ahead,
    it is put back to the newest entry. Where entries are, they stay, and the ledger's time stays ahead of the
    clock by as much, for good: every deadline counts from there.
    """
    from interlock.home import ledger_time
    from interlock.journal.clock import TOLERANCE_US

    path = home or Path(HOME)
    installation.require(path)
    with installation.readable(path), ledger_time.journal(path) as journal:
        last, newest, now = journal.times()
        told: dict[str, Any] = {"last": last, "newest": newest, "clock": now, "accepted": False, "ahead": 0}
        lines: list[Line] = [
            f"Last recorded time: {_said(last)}",
            f"Newest entry:       {_said(newest)}",
            f"Clock:              {_said(now)}",
        ]
        if last <= now + TOLERANCE_US:
            lines.append(("The ledger's time is in order.", "bold"))
        elif not accept:
            lines.append(("Nothing is written: the last recorded time is ahead of the clock.", "bold"))
            lines.append(
                "Set the clock if it is wrong, or wait. If it is right: interlock ledger clock --accept"
            )
        else:
            further = max(0, newest - now)
            if further:
                total = ledger_time.ahead(path / "ledger") + further
                ledger_time.go_ahead(path / "ledger", total)
                told["ahead"] = total
                lines.append(
                    f"The ledger's time is ahead of the clock by {total / 1e6:.0f} seconds from now on."
                )
                lines.append("Restart the servers of this home. Other hosts of it need this command too.")
            else:
                lines.append("The head row was put back to the newest entry: no entry is ahead of the clock.")
            journal.set_time(newest)
            told["accepted"] = True
        report.answer(told, lines, as_json=as_json)


def _said(at: int) -> str:
    from interlock.model.ids import iso

    if not at:
        return "none"
    return iso(at) if 0 < at <= _LATEST else f"{at} microseconds"
