"""``interlock ledger verify``: check an export, or a log that a server holds.

1. Checking imports the room `verify` and nothing else of ours that reads or writes ledgers. Only ``--replay``
   goes on, after a verification that held, with the room `replay`.
2. 0: everything holds. 3: something does not. 6: it cannot be checked. Nothing is said to hold in part.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import progress, proofs, report
from interlock.cli.options import AsJson
from interlock.cli.replayed import AllowErasedOption, ReplayOption, replayed
from interlock.cli.report import Line, Misuse
from interlock.model.errors import CannotCheck, LedgerInvalid

if TYPE_CHECKING:
    from interlock.verify import Report, Succession

_LISTED = 20
"""How many numbers of entries are named for a person; the document names all."""


def register(app: typer.Typer) -> None:
    """Add ``verify``."""
    app.command("verify", epilog="Example: interlock ledger verify export --vkey @the-key-you-kept")(verify)


def verify(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|URL", help="The folder of an export, or a log's URL, as https://host/ledger"
        ),
    ],
    vkey: Annotated[
        str | None,
        typer.Option("--vkey", metavar="VKEY", help="The verifier key you trust, or @FILE that holds it."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="FILE", help="An older checkpoint you kept: the log continues it."),
    ] = None,
    policy: proofs.PolicyOption = None,
    roster: Annotated[
        Path | None,
        typer.Option("--roster", metavar="FILE", help="The passkeys you trust: no others count."),
    ] = None,
    start: Annotated[
        int | None,
        typer.Option("--from", metavar="N", min=0, help="It is enough to have the entries from N on."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="For a URL: a person's key, where entries need one."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Take the verifier key from this home's own keystore."),
    ] = None,
    replay: ReplayOption = False,
    allow_erased: AllowErasedOption = False,
    as_json: AsJson = False,
) -> None:
    """Check a log completely: every hash, the signatures, and what the entries mean.

    A folder is checked offline. Ends with 0 where everything holds, 3 where something does not, 6 where it
    cannot be checked.
    """
    remote = source.startswith(("http://", "https://"))
    if remote and replay:
        raise Misuse("--replay reads an export.", fix="Run: interlock ledger export DIR --inputs.")
    if key_file is not None and not remote:
        raise Misuse("--key-file is for a URL.", fix="Leave it out.")
    if allow_erased and not replay:
        raise Misuse("--allow-erased is for --replay.", fix="Leave it out, or add --replay.")
    found = _verified(
        source,
        key_file,
        vkey=proofs.trusted_key(vkey, home),
        since=None if since is None else proofs.read(since, "--since").decode("utf-8", "replace"),
        policy=None if policy is None else proofs.read(policy, "--policy"),
        roster=None if roster is None else proofs.read(roster, "--roster"),
        start=start,
    )
    document, lines, code = _told(found)
    if replay and found.ok:
        with progress.bar("Replaying") as told:
            document["replay"], more, code = replayed(Path(source), told, found, allow_erased=allow_erased)
        lines += more
    elif replay:
        lines.append("Nothing was replayed: only a ledger that verifies can be.")
    report.answer(document, lines, as_json=as_json)
    raise typer.Exit(code)


def _verified(source: str, key_file: Path | None, **options: Any) -> Report:
    from interlock.verify import BadUrl, Remote, verify_export

    if not source.startswith(("http://", "https://")):
        if not Path(source).is_dir():
            raise CannotCheck(
                f"There is no export at {source}.", fix="Name the folder of an export, or a URL."
            )
        with progress.bar("Checking") as told:
            return verify_export(Path(source), progress=told, **options)
    try:
        with Remote(source, token=_token(source, key_file)) as log, progress.bar("Checking") as told:
            return verify_export(log, progress=told, **options)
    except BadUrl as error:
        raise Misuse(f"This is not the URL of a log: {error}.", fix="As in https://host/ledger") from None


def _token(url: str, key_file: Path | None) -> str | None:
    """The key to show. None is shown unless it is asked for: a URL may be anybody's."""
    if key_file is None:
        return None
    from interlock.cli import remote

    return remote.connect(url, key_file, None).key


def _told(found: Report) -> tuple[dict[str, Any], list[Line], int]:
    """The report as a document, in words, and as an exit code."""
    epochs, rotations = (
        [each for each in found.successions if (each.epoch is not None) is new] for new in (True, False)
    )
    document: dict[str, Any] = {
        "ok": found.ok,
        "cannot_check": found.cannot_check,
        "size": found.size,
        "first": found.first,
        "root": found.root,
        "origin": found.origin,
        "vkey": found.vkey,
        "problems": [{"where": problem.where, "what": problem.what} for problem in found.problems],
        "warnings": list(found.warnings),
        "kinds": found.kinds,
        "cosigned": found.cosigned,
        "solo": list(found.solo),
        "tightened": list(found.tightened),
        "assertions": found.assertions,
        "permits": found.permits,
        "rotations": [
            {"entry": each.entry, "at": _moment(each), "vkey": each.vkey, "previous": each.previous}
            for each in rotations
        ],
        "epochs": [_epoch(each) for each in epochs],
        "erased": found.erased,
        "pruned": found.pruned,
        "policies": found.policies,
    }
    lines: list[Line] = [(f"Warning: {warning}", "yellow") for warning in found.warnings]
    lines += [f"{problem.where}: {problem.what}" for problem in found.problems]
    if found.ok:
        lines += _holds(found, epochs, rotations)
        return document, lines, 0
    if found.cannot_check:
        return document, [*lines, (f"{CannotCheck.title}.", "bold yellow")], CannotCheck.exit_code
    return document, [*lines, (f"{LedgerInvalid.title}.", "bold red")], LedgerInvalid.exit_code


def _holds(found: Report, epochs: list[Succession], rotations: list[Succession]) -> list[Line]:
    lines: list[Line] = [f"  {number:>8} {kind}" for kind, number in found.kinds.items()]
    if found.solo:
        lines.append(f"{len(found.solo)} answers were given alone: {_numbers(found.solo)}")
    if found.tightened:
        many = len(found.tightened)
        lines.append(
            f"{many} approvals of an edit by its editor, called tighter: {_numbers(found.tightened)}"
        )
    if found.assertions:
        lines.append(f"{found.assertions} answers carry a passkey's signature; each verifies")
    if found.permits["minted"]:
        lines.append("Permits: " + ", ".join(f"{count} {name}" for name, count in found.permits.items()))
    if found.erased:
        lines.append(f"{found.erased} times the key of a subject's content was destroyed")
    lines += [f"entry {each.entry}: the key was rotated at {_moment(each)}" for each in rotations[:_LISTED]]
    if len(rotations) > _LISTED:
        lines.append(f"and {len(rotations) - _LISTED} more rotations of the key")
    for each in epochs:
        people = ", ".join(each.people) or "nobody enrolled"
        alone = " (solo)" if each.solo else ""
        lines.append(
            f"entry {each.entry}: epoch {each.epoch} was opened at {_moment(each)} by {people}{alone}"
        )
        signed = each.signed_size or 0
        if signed > each.kept:
            lines.append(
                f"  what had been signed beyond it was given up: entries {each.kept} to {signed - 1}"
            )
    lines += proofs.cosigned(found.cosigned)
    lines.append((f"ok: {found.size} entries of {found.origin}, root {found.root}", "bold green"))
    return lines


def _epoch(each: Succession) -> dict[str, Any]:
    return {
        "epoch": each.epoch,
        "entry": each.entry,
        "at": _moment(each),
        "origin": each.origin,
        "previous": each.before,
        "vkey": each.vkey,
        "kept": each.kept,
        "signed": each.signed_size,
        "people": list(each.people),
        "solo": each.solo,
    }


def _numbers(entries: tuple[int, ...]) -> str:
    told = ", ".join(map(str, entries[:_LISTED]))
    return f"entries {told}" + (f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else "")


def _moment(each: Succession) -> str:
    try:
        moment = datetime.fromtimestamp(each.at / 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(each.at)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
