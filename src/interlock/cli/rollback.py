"""``interlock rollback``: show what would take an action back, and ask for it, over HTTP with a person's key.

1. What it would do is shown first, and asked about where somebody can be asked; ``--dry-run`` ends there.
2. It goes through the gate: the policy decides, and where it asks for a person, that is another one.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from interlock.cli import report
from interlock.cli.approvals import HomeOfServer, KeyFile, NoKey, Url
from interlock.cli.options import AsJson
from interlock.cli.remote import connect
from interlock.cli.report import Line, Misuse, moment, value
from interlock.model.errors import InvalidInput


def register(app: typer.Typer) -> None:
    app.command("rollback", epilog="Example: interlock rollback act_0123456789abcdef0123456789abcdef")(
        rollback
    )


def rollback(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="The action to take back, by its id.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask back.")] = False,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Take an action back that succeeded, by the undo that the catalogue names.

    The undo goes through the policy as any action does, and may wait for a person: another one than asked.
    """
    del key
    path = f"/v1/actions/{_segment(action)}/rollback"
    server = connect(url, key_file, home)
    planned = server.get(path)
    with server.understood():
        lines = _planned(planned)
    if dry_run:
        report.answer(planned, lines, as_json=as_json)
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise Misuse("Nobody can be asked here.", fix="Look with --dry-run, then take it back with --yes")
        report.say(lines)
        if not typer.confirm("\nTake it back?", default=False, err=True):
            report.say(["Nothing was done."])
            raise typer.Exit(1)
    done = server.post(path, {})
    with server.understood():
        said = _done(done)
    report.answer(done, said, as_json=as_json)


def _segment(action: str) -> str:
    from interlock.model.ids import check_id

    try:
        return check_id(action, "act", "ACTION")
    except InvalidInput as error:
        raise Misuse(error.detail, fix="An action's id begins with act_") from None


_DECISIONS = {
    "allow": "runs at once",
    "allow_with_constraints": "runs at once, within limits",
    "deny": "is denied",
}


def _planned(planned: dict[str, Any]) -> list[Line]:
    undo = planned["undo"]
    decided = _DECISIONS.get(undo["decision"]) or f"waits for {value(undo['owner'])}"
    lines: list[Line] = [
        (f"Take back: {planned['title']}", "bold"),
        f"  by         {undo['title']}",
        f"  topic      {undo['topic']}",
        *(f"  {name}: {value(found)}" for name, found in sorted(undo["args"].items())),
        f"Worst case  {undo['worst_case'] or 'not described in the catalogue'}",
        f"The policy  it {decided}: {undo['reason']} (rule {undo['rule']})",
    ]
    if planned["until"] is not None:
        lines.append(f"Possible    until {moment(planned['until'])}")
    return lines


def _done(done: dict[str, Any]) -> list[Line]:
    undo, action = done["rollback"], done["action"]
    return [
        (f"{undo['state'].replace('_', ' ').capitalize()}: {undo['title']}", "bold"),
        f"  {undo['id']}",
        str(undo["user_message"]),
        f"{action['id']} is {action['state'].replace('_', ' ')}.",
    ]
