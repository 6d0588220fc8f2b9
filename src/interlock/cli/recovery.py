"""``interlock ledger recover``: see what a database that was put back has lost, and go on without it.

1. Without an option it changes nothing: it says what is known, from the server where a key is given, else
   from the home itself.
2. ``--agree`` is a person's agreement, over HTTP with a key, to exactly what was shown. ``--yes`` opens the
   epoch on this machine, and only where nobody is enrolled. With ``--dismiss`` either of them says that
   nothing is missing.
3. ``--key-for`` makes a person's key, as `interlock keys add` does in ordinary life, by whoever has the
   home's files. The ledger shows it, in the transaction that opens the epoch.
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
from interlock.model.errors import Conflict

_SHOWN = 20
_DISMISSED: list[Line] = [("The recovery is dismissed. Everything goes on as before.", "bold")]


def register(app: typer.Typer) -> None:
    app.command("recover", epilog="Example: interlock ledger recover --home .interlock")(recover)


def recover(
    agree: Annotated[
        bool, typer.Option("--agree", help="Agree, with your key, to exactly what is shown.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Open the new epoch here, where nobody is enrolled who could agree."),
    ] = False,
    dismiss: Annotated[
        bool,
        typer.Option("--dismiss", help="With --agree or --yes: it is a false alarm, and nothing is missing."),
    ] = False,
    key_for: Annotated[
        str | None,
        typer.Option(
            "--key-for", metavar="PERSON", help="Make a key for somebody who has none and could not agree."
        ),
    ] = None,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why: one line that everybody can read in the ledger."),
    ] = "",
    gap: Annotated[
        str | None,
        typer.Option("--gap", metavar="DIGEST", help="Digest of the loss that was reviewed, for scripts."),
    ] = None,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what is lost after a restore, and open a new epoch of the ledger without it.

    Whatever may have run in the lost part becomes in doubt, for people to find out. Two people agree, each
    with a key of their own; nothing runs until then. Put the newest database back instead, if there is one.
    Where only a witness or another host says that something is missing, they can dismiss it: nothing changes.
    """
    del key
    if key_for is not None:
        _key_for(home or Path(HOME), key_for, as_json=as_json)
        return
    if agree and yes:
        raise Misuse("--agree asks the server, --yes opens the epoch here.", fix="Leave one of them out.")
    if dismiss and not (agree or yes):
        raise Misuse("--dismiss says what is agreed to.", fix="Add --agree, or --yes without people.")
    if (agree or yes) and not reason:
        raise Misuse("An epoch is opened for a reason.", fix="As in --reason 'restored the backup of 3 May'")
    remote = agree or (not yes and bool(url or key_file or os.environ.get("INTERLOCK_KEY")))
    if remote:
        server = connect(url, key_file, home)
        shown = server.get("/v1/recovery")
        if agree:
            _agree(server, shown, reason, gap, dismiss=dismiss, as_json=as_json)
            return
        with server.understood():
            lines = _words(shown)
        report.answer(shown, lines, as_json=as_json)
        return
    _here(home or Path(HOME), reason if yes else None, gap, dismiss=dismiss, as_json=as_json)


def _here(folder: Path, reason: str | None, gap: str | None, *, dismiss: bool, as_json: bool) -> None:
    """On this machine, without a server: say what is known or, for a reason, end the recovery."""
    from interlock.home.recovery_view import described, opened

    with installation.opened(folder, recovering=True) as home:
        shown = described(home)
        if reason is None or not shown["required"]:
            report.answer(shown, _words(shown), as_json=as_json)
            return
        if dismiss:
            home.recovery.dismiss_alone(gap or _to_dismiss(shown), reason)
            report.answer({"dismissed": True}, _DISMISSED, as_json=as_json)
            return
        epoch = opened(home.recovery.open_alone(gap or shown["gap"], reason))
    report.answer(epoch, _opened_words(epoch), as_json=as_json)


def _key_for(folder: Path, name: str, *, as_json: bool) -> None:
    with installation.opened(folder, recovering=True) as home:
        person = home.roster.named(name)
        key, token = home.keyring.add_stopped("recovery", person)
    document = {"key": {"id": key.id, "person": {"id": person.id, "name": person.name}}, "token": token}
    lines: list[Line] = [f"Person key {key.id} of {person.name}. It is shown this once; keep it safe:", token]
    report.answer(document, lines, as_json=as_json)


def _to_dismiss(shown: dict[str, Any]) -> str:
    """The digest of a dismissal. Raises `Conflict` where this is no false alarm."""
    digest: str | None = shown["dismissal"]["gap"]
    if digest is None:
        raise Conflict(f"This is no false alarm: {shown['dismissal']['against']}")
    return digest


def _agree(
    server: Server, shown: dict[str, Any], reason: str, gap: str | None, *, dismiss: bool, as_json: bool
) -> None:
    with server.understood():
        lines = _words(shown)
        if not shown["required"]:
            report.answer(shown, lines, as_json=as_json)
            return
        digest = _to_dismiss(shown) if dismiss else shown["gap"]
    if gap is None:
        if not as_json:
            report.say(lines)
        if as_json or not sys.stdin.isatty():
            raise Misuse("Nobody can be asked here.", fix=f"Agree to what you reviewed with --gap {digest}")
        asked = "Go on: nothing is missing?" if dismiss else "Go on without what is missing?"
        if not typer.confirm(f"\n{asked}", default=False, err=True):
            report.say(["Nothing was agreed to."])
            raise typer.Exit(1)
    answer = server.post("/v1/recovery/agree", {"gap": gap or digest, "reason": reason, "dismiss": dismiss})
    with server.understood():
        names = ", ".join(person["name"] for person in answer["agreed"])
        words: list[Line] = [(f"Agreed: {names} ({len(answer['agreed'])} of {answer['needed']})", "bold")]
        if answer["dismissed"]:
            words += _DISMISSED
        elif answer["opened"] is None:
            same = "--agree --dismiss" if dismiss else "--agree"
            words.append(f"Another person agrees to the same: interlock ledger recover {same}")
        else:
            words += _opened_words(answer["opened"])
    report.answer(answer, words, as_json=as_json)


def _opened_words(epoch: dict[str, Any]) -> list[Line]:
    return [
        (f"Epoch {epoch['epoch']} of the ledger is open.", "bold"),
        f"In doubt: {epoch['in_doubt']}. Find out in the systems they act on, then reconcile each of them.",
    ]


def _words(shown: dict[str, Any]) -> list[Line]:
    if not shown["required"]:
        return ["The ledger needs no recovery."]
    missing = shown["missing"]
    doubt, agreement, check = shown["in_doubt"], shown["agreement"], shown["check"]
    states = ", ".join(f"{number} {state}" for state, number in doubt["states"].items())
    lines: list[Line] = [
        ("The ledger has to be recovered. Nothing is written and nothing runs.", "bold"),
        shown["why"],
        "",
        f"Here: {shown['kept']} entries, the last one of {report.moment(shown['last_at'])}",
        f"Missing entries: {missing} at least" if missing else "Missing entries: nobody can say how many",
        *_entries_words(shown["entries"]),
        f"Actions in doubt from then on: {doubt['count']}" + (f" ({states})" if states else ""),
    ]
    items = doubt["items"][:_SHOWN]
    lines += [f"  {item['action']}  {item['state']}  {item['topic']}  {item['agent']}" for item in items]
    if doubt["count"] > len(items):
        lines.append(f"  and {doubt['count'] - len(items)} more, in --json")
    lines += [
        "",
        "What was proposed after the last entry here is not known any more: ask the agents' systems.",
        "Keys and people that were revoked or removed after it are back. Check them:",
        *(f"  {p['id']}  {p['name']}: {', '.join(p['roles'])}" for p in check["people"]),
        *(f"  {k['id']}  {k['kind']} key {report.value(k['name'])}" for k in check["keys"]),
        "",
        "If there is a newer copy of the database, put it back and start anew: nothing is lost then.",
        *_agreement_words(agreement, shown["gap"]),
        *_dismissal_words(shown["dismissal"], agreement),
    ]
    if shown["epoch"]["old_key"]:
        lines.append(
            ("The new epoch is signed with a key that was replaced: rotate it at once.", "yellow"),
        )
    return lines


def _entries_words(entries: str) -> list[Line]:
    match entries:
        case "different":
            return [
                (
                    "These are other entries than those that were signed. No epoch is opened on them.",
                    "red",
                )
            ]
        case "unknown":
            return ["Whether these are the entries that were signed cannot be told: the tiles are missing."]
        case "unsigned":
            return ["Nothing here tells which entries were signed. These may be others."]
        case _:
            return ["These are the entries that were signed."]


def _agreement_words(agreement: dict[str, Any], gap: str) -> list[Line]:
    if agreement["needed"] == 0:
        return ["Nobody is enrolled here. To go on: interlock ledger recover --yes --reason TEXT"]
    may = ", ".join(person["name"] for person in agreement["may"]) or "nobody"
    agreed = ", ".join(person["name"] for person in agreement["agreed"]) or "nobody yet"
    lines: list[Line] = [
        f"To go on, {agreement['needed']} of these agree: {may}. Agreed: {agreed}.",
        f"Each with their own key: interlock ledger recover --agree --reason TEXT --gap {gap}",
    ]
    if len(agreement["may"]) < agreement["needed"]:
        lines.append(("There are too few of them: put the newest database back.", "red"))
    return lines


def _dismissal_words(dismissal: dict[str, Any], agreement: dict[str, Any]) -> list[Line]:
    if dismissal["gap"] is None:
        return []
    lines: list[Line] = [
        "",
        "Nothing that this machine knows is missing. If it was not put back as a whole, and whoever says",
        "so is wrong, dismiss it. Then nothing is in doubt, and what may have run can run again:",
    ]
    if agreement["needed"] == 0:
        return [*lines, "interlock ledger recover --yes --dismiss --reason TEXT"]
    agreed = ", ".join(person["name"] for person in dismissal["agreed"]) or "nobody yet"
    return [
        *lines,
        f"interlock ledger recover --agree --dismiss --reason TEXT --gap {dismissal['gap']}",
        f"Agreed to that: {agreed}.",
    ]
