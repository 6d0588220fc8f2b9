"""``interlock ledger erase`` and ``subjects``: destroy the key of everything recorded about somebody.

1. What would be destroyed is shown and asked about first; with --yes it is not. Nothing brings it back.
2. Where a server runs, it is asked, with a person's key. Whoever has the home's files may also erase there,
   with --local; the ledger then names this operating-system user.
3. A subject is named exactly: the principal of its actions, or ``agent:NAME`` for what an agent did on
   nobody's behalf.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.approvals import KeyFile, NoKey, Url
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.remote import Server, connect
from interlock.cli.report import Line, Misuse

_REASONS = "request, retention, mistake or other"


def register(app: typer.Typer) -> None:
    app.command("erase", epilog="Example: interlock ledger erase ana@example.com --reason request")(erase)
    app.command("subjects", epilog="Example: interlock ledger subjects --names")(subjects)


def erase(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="A principal, or agent:NAME; letter by letter.")
    ],
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="CODE", help=f"{_REASONS.capitalize()}; in the ledger.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="PERSON", help="Where no server is asked: who wanted it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Erase in the home itself, though a server of it runs.")
    ] = False,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the key under which everything about a subject is sealed, and record that it was done.

    Refused while an action of the subject is open. The ledger goes on to verify. Copies of the database that
    were made before still open, with the keystore.
    """
    del key
    _known(reason)
    folder = home or Path(HOME)
    if not local and (url is not None or _served(folder)):
        if by is not None:
            raise Misuse("A server records whose key was used.", fix="Leave --by out, or add --local.")
        server = connect(url, key_file, home)
        found = _ask_server(server, subject, reason, dry_run=True)
        with server.understood():
            _confirm(found, yes=yes, as_json=as_json)
            done = _ask_server(server, subject, reason, dry_run=False)
            lines = _done(done)
    else:
        done = _erase_here(folder, subject, reason, by, yes=yes, as_json=as_json)
        lines = _done(done)
    report.answer(done, lines, as_json=as_json)


def subjects(
    names: Annotated[
        bool, typer.Option("--names", help="Open one payload of each, to tell whom it is about.")
    ] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """List the subjects that have a key: since when, and how much is sealed about each."""
    from interlock.model.ids import iso

    with installation.opened(home or Path(HOME)) as opened:
        found = opened.eraser.subjects(names=names)
    items: list[dict[str, Any]] = [
        {"subject": one.subject, "since": iso(one.since), "payloads": one.payloads}
        | ({"name": one.name} if names else {})
        for one in found
    ]
    lines: list[Line] = [(f"Subjects: {len(items)}", "bold")]
    for item in items:
        name = f"  {report.value(item['name'])}" if names else ""
        lines.append(f"  {item['subject'][:16]}…{name}  {item['payloads']} payloads since {item['since']}")
    report.answer({"subjects": items}, lines, as_json=as_json)


def _known(reason: str | None) -> None:
    from interlock.gate import ErasureReason

    if reason is not None and reason not in list(ErasureReason):
        raise Misuse(f"{reason!r} is no reason.", fix=f"One of {_REASONS}.")


def _served(folder: Path) -> bool:
    """Whether somebody named a server, or one announced itself in the home."""
    from interlock.home.home import announced

    return bool(os.environ.get("INTERLOCK_URL")) or announced(folder) is not None


def _ask_server(server: Server, subject: str, reason: str | None, *, dry_run: bool) -> dict[str, Any]:
    return server.post("/v1/subjects/erase", {"subject": subject, "reason": reason, "dry_run": dry_run})


def _erase_here(
    folder: Path, subject: str, reason: str | None, by: str | None, *, yes: bool, as_json: bool
) -> dict[str, Any]:
    from interlock.gate import ErasureReason

    with installation.opened(folder) as opened:
        who = installation.here()
        if by is not None:
            who = f"{who} for {opened.roster.named(by).id}"
        found: dict[str, Any] = opened.eraser.look(subject).to_json()
        _confirm(found, yes=yes, as_json=as_json)
        code = None if reason is None else ErasureReason(reason)
        return opened.eraser.erase(subject, by=who, reason=code).to_json()


def _confirm(found: dict[str, Any], *, yes: bool, as_json: bool) -> None:
    """Show what would be destroyed, and ask. Raises `Misuse` where nobody can be asked; a no ends with 1."""
    waiting = found["open"]
    lines: list[Line] = [
        (f"{found['payloads']} payloads of {found['actions']} actions, since {found['since']}", "bold"),
        f"subject {found['subject']}",
    ]
    lines += [(f"  open: {one['id']} is {one['state']}, {one['topic']}", "yellow") for one in waiting[:20]]
    if len(waiting) > 20:
        lines.append((f"  and {len(waiting) - 20} more", "yellow"))
    if not as_json:
        report.say(lines, to=sys.stderr)
    if yes or waiting:
        return  # while something is open, the gate refuses
    if as_json or not sys.stdin.isatty():
        raise Misuse("Nobody can be asked here, so nothing was erased.", fix="Look at it, then add --yes.")
    if not typer.confirm("\nDestroy all of it, for good?", default=False, err=True):
        report.say(["Nothing was erased."], to=sys.stderr)
        raise typer.Exit(1)


def _done(done: dict[str, Any]) -> list[Line]:
    lines: list[Line] = [(f"Erased: {done['payloads']} payloads of {done['actions']} actions.", "bold green")]
    if not done["clean"]:
        lines.append(
            "The key's row is gone. What is left of it in the database's own files goes with a checkpoint and"
            " a vacuum; see docs/ledger-operations.md."
        )
    lines.append("Backups made before still hold it: they are erased again when they are restored here.")
    return lines
