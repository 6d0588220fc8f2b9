"""``interlock ledger rotate-key`` and ``prune``: what whoever keeps a ledger for years has to do."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, progress, report
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line, Misuse
from interlock.model.errors import InvalidInput, LedgerInvalid, NotFound

if TYPE_CHECKING:
    from interlock.home import Home

DAY_US = 24 * 3600 * 1_000_000
KEPT_DAYS = 183
"""Entries younger than this are not pruned unless somebody insists."""
_DAYS = re.compile(r"([1-9][0-9]{0,4})d", re.ASCII)


def register(app: typer.Typer) -> None:
    """Add ``rotate-key`` and ``prune``."""
    app.command("rotate-key", epilog="Example: interlock ledger rotate-key")(rotate_key)
    app.command("prune", epilog="Example: interlock ledger prune --older-than 400d --export ./export")(prune)


def rotate_key(home: HomeDir = None, as_json: AsJson = False) -> None:
    """Replace the key that signs the ledger. May be done while a server runs.

    For seven days both keys sign; then the old one is deleted. Whoever pinned the old verifier key goes on
    with it: the log carries a note by which the old key hands over to the new one.
    """
    with installation.opened(home or Path(HOME)) as opened:
        before, after = opened.publisher.rotate(installation.here())
    lines: list[Line] = [
        ("The ledger is signed with a new key.", "bold"),
        f"Verifier key: {after}",
        f"Before: {before}",
        "Back up the folder keystore now. Other hosts of this home sign nothing until it is copied to them.",
    ]
    report.answer({"vkey": after, "previous": before}, lines, as_json=as_json)


def prune(
    before: Annotated[
        int | None, typer.Option("--before", metavar="N", min=0, help="Take out the entries before this one.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="DAYS", help="Take out what is older, as in 400d.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="DIR", help="An export that has them. It is verified first."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--yes-i-keep-them", help="Instead of --export: you have them elsewhere.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also entries younger than six months.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Take old entries out of the database. Their hashes stay, so that the log goes on and can be proved.

    Only whole bundles of 256 entries are taken out, and only published ones. Without an export that has them
    nobody can ever read them again.
    """
    if (before is None) == (older_than is None):
        raise Misuse("Say which entries.", fix="As in: interlock ledger prune --older-than 400d --export DIR")
    if (export is None) != keep:
        raise Misuse(
            "Entries that are pruned are in no database any more.",
            fix="Name an export that has them with --export DIR, or say --yes-i-keep-them.",
        )
    with installation.opened(home or Path(HOME)) as opened:
        first = opened.publisher.first
        until = _wanted(opened, before, older_than)
        until -= until % 256
        if until <= first:
            taken = opened.publisher.prune(first, installation.here()) if first else 0
            lines: list[Line] = [f"Nothing to take out: the first entry is {taken} already."]
            report.answer({"first": taken, "pruned": 0}, lines, as_json=as_json)
            return
        _old_enough(opened, until, force=force)
        if export is not None:
            _exported(opened, export, first, until)
        if not yes and not typer.confirm(f"Take {until - first} entries out of the database?", err=True):
            raise typer.Exit(2)
        taken = opened.publisher.prune(until, installation.here())
    lines = [
        (f"{taken - first} entries were taken out; the first one here is {taken}.", "bold"),
        "The space is used again by what follows; the database file does not shrink by itself.",
    ]
    report.answer({"first": taken, "pruned": taken - first}, lines, as_json=as_json)


def _wanted(opened: Home, before: int | None, older_than: str | None) -> int:
    """The number of the first entry to keep."""
    if before is not None:
        return before
    assert older_than is not None
    days = _DAYS.fullmatch(older_than)
    if days is None:
        raise InvalidInput("expected a number of days such as 400d", path="--older-than")
    oldest = time.time_ns() // 1000 - int(days[1]) * DAY_US
    low, high = opened.publisher.first, opened.publisher.signed()[0]
    while low < high:
        middle = (low + high) // 2
        if _at(opened, middle) < oldest:
            low = middle + 1
        else:
            high = middle
    return low


def _at(opened: Home, number: int) -> int:
    entry: dict[str, Any] = json.loads(next(opened.journal.entries(number, number + 1)))
    return int(entry["at"])


def _old_enough(opened: Home, until: int, *, force: bool) -> None:
    size = opened.journal.head()[0]
    if until > size:
        raise NotFound(f"The log has {size} entries.", fix="Name one of them with --before.")
    age = time.time_ns() // 1000 - _at(opened, until - 1)
    if age < KEPT_DAYS * DAY_US and not force:
        raise InvalidInput(
            f"entry {until - 1} is {max(age, 0) // DAY_US} days old; what is younger than {KEPT_DAYS} stays",
            path="--before",
            fix="Prune less, or say --force.",
        )


def _exported(opened: Home, directory: Path, first: int, until: int) -> None:
    """Raises `LedgerInvalid` unless the export holds, and holds every entry that is to be taken out."""
    from interlock.verify import verify_export

    with progress.bar("Checking the export") as told:
        found = verify_export(directory, vkey=opened.publisher.vkey, start=first or None, progress=told)
    if not found.ok:
        what = f"{found.problems[0].where}: {found.problems[0].what}" if found.problems else "it has nothing"
        raise LedgerInvalid(f"The export {directory} does not hold: {what}.", fix="Make a new export.")
    if found.size < until or found.first > first:
        raise LedgerInvalid(
            f"The export {directory} has the entries {found.first} to {found.size}, and not all from {first}"
            f" to {until}.",
            fix="Make a new export.",
        )
    root = b64encode(opened.publisher.root_at(found.size)).decode()
    if root != found.root:
        raise LedgerInvalid(f"The export {directory} is of another log.", fix="Make a new export.")
