"""``interlock ledger show`` and ``tail``: single entries, for people who look something up."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line
from interlock.model.errors import InvalidInput, NotFound
from interlock.model.ids import iso

if TYPE_CHECKING:
    from interlock.home import Home

POLL_SEC = 1.0
_ACTION = re.compile(r"act_[0-9a-f]{32}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_ABOUT = ("action", "approval", "key", "person", "link", "passkey", "permit", "subject", "snapshot", "before")
"""Fields that say what an entry is about, the most telling first."""


def register(app: typer.Typer) -> None:
    """Add ``show`` and ``tail``."""
    app.command("show", epilog="Example: interlock ledger show 17")(show)
    app.command("tail", epilog="Example: interlock ledger tail --follow")(tail)


def show(
    what: Annotated[str, typer.Argument(metavar="IDX|ACTION", help="An entry's number, or an action's id.")],
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one entry, or all entries about an action."""
    with installation.opened(home or Path(HOME)) as opened:
        if _NUMBER.fullmatch(what):
            found = [(int(what), _entry(opened, int(what)))]
        elif _ACTION.fullmatch(what):
            found = list(_about(opened, what))
            if not found:
                raise NotFound(f"No entry names the action {what}.{_pruned(opened.publisher.first)}")
        else:
            raise InvalidInput("expected an entry's number or an action's id", path="IDX|ACTION")
    lines: list[Line] = []
    for number, entry in found:
        lines.append((f"Entry {number}: {entry['kind']}, {iso(entry['at'])}", "bold"))
        lines += [f"  {name}: {report.value(entry[name])}" for name in entry if name not in ("kind", "at")]
    document = {"entries": [{"index": number, "entry": entry} for number, entry in found]}
    report.answer(document, lines, as_json=as_json)


def tail(
    count: Annotated[int, typer.Option("-n", "--lines", min=0, max=10_000, help="How many entries.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones until Ctrl-C, looking once a second.")
    ] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries, one line each.

    With --json and --follow each line is a document of its own.
    """
    with installation.opened(home or Path(HOME)) as opened:
        size = opened.journal.head()[0]
        first = opened.publisher.first
        shown = list(_entries(opened, max(first, size - count), size))
        if as_json and not follow:
            entries = [{"index": number, "entry": entry} for number, entry in shown]
            report.answer({"size": size, "first": first, "entries": entries}, [], as_json=True)
            return
        _print(shown, as_json=as_json)
        try:
            while follow:
                time.sleep(POLL_SEC)
                grown = opened.journal.head()[0]
                _print(_entries(opened, size, grown), as_json=as_json)
                size = grown
        except KeyboardInterrupt:
            return


def _print(entries: Any, *, as_json: bool) -> None:
    if as_json:
        for number, entry in entries:
            sys.stdout.write(json.dumps({"index": number, "entry": entry}) + "\n")
        sys.stdout.flush()
    else:
        report.say(f"{number:>9}  {iso(entry['at'])}  {_line(entry)}" for number, entry in entries)


def _line(entry: dict[str, Any]) -> str:
    """What happened and to what, in one line."""
    about = next((str(entry[name]) for name in _ABOUT if entry.get(name) is not None), "")
    said = [str(entry[name]) for name in ("decision", "outcome", "topic") if entry.get(name)]
    return "  ".join([entry["kind"], about, *said]).rstrip()


def _entry(opened: Home, number: int) -> dict[str, Any]:
    size, first = opened.journal.head()[0], opened.publisher.first
    if number >= size:
        raise NotFound(f"The log has {size} entries, and so none of number {number}.", fix="Count from 0.")
    if number < first:
        raise NotFound(f"There is no entry {number} here.{_pruned(first)}")
    return next(_entries(opened, number, number + 1))[1]


def _pruned(first: int) -> str:
    return f" Entries before {first} were pruned: look in an export that has them." if first else ""


def _entries(opened: Home, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, body in enumerate(opened.journal.entries(start, stop), start):
        yield number, json.loads(body)


def _about(opened: Home, action: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Entries that name an action. In canonical bytes its id stands behind exactly this."""
    first, size = opened.publisher.first, opened.journal.head()[0]
    wanted = f'"action":"{action}"'.encode()
    for number, body in enumerate(opened.journal.entries(first, size), first):
        if wanted in body:
            yield number, json.loads(body)
