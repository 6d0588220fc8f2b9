"""``interlock ledger prove``, ``verify-proof`` and ``status``: for whoever does not hold the whole log."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line, Misuse
from interlock.model.errors import CannotCheck, InvalidInput, LedgerInvalid, NotFound

if TYPE_CHECKING:
    from interlock.home import Home

MAX_FILE = 1 << 20
"""Bytes of a proof, a policy, a checkpoint or an entry that are read."""

Vkey = Annotated[
    str | None,
    typer.Option("--vkey", metavar="VKEY", help="The verifier key you trust, or @FILE that holds it."),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="A trust policy: its quorum of witnesses must have cosigned."
    ),
]


def register(app: typer.Typer) -> None:
    app.command("prove", epilog="Example: interlock ledger prove 17 -o 17.tlog-proof")(prove)
    app.command("verify-proof", epilog="Example: interlock ledger verify-proof 17.tlog-proof --vkey @key")(
        verify_proof
    )
    app.command("status", epilog="Example: interlock ledger status")(status)


def prove(
    index: Annotated[int | None, typer.Argument(metavar="[IDX]", min=0, help="An entry's number.")] = None,
    consistency: Annotated[
        tuple[int, int] | None,
        typer.Option("--consistency", metavar="A B", help="That the log of B entries continues that of A."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there; printed by default."),
    ] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an entry is in the log, or that the log only grew.

    An entry's proof is a tlog-proof file that carries the entry and the published checkpoint. The other is
    what a witness is sent; whoever checks it needs their own checkpoint of A entries.
    """
    if (index is None) == (consistency is None):
        raise Misuse(
            "Name an entry, or two sizes with --consistency.", fix="As in: interlock ledger prove 17"
        )
    with installation.opened(home or Path(HOME)) as opened:
        if index is not None:
            text, size = _inclusion(opened, index)
            document: dict[str, Any] = {"index": index, "size": size, "proof": text}
        else:
            assert consistency is not None
            text = _consistency(opened, *consistency)
            document = {"old": consistency[0], "size": consistency[1], "proof": text}
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{output} cannot be written: {error.strerror}", path="--output") from None
    if as_json or output is not None:
        what = f"Entry {index}" if index is not None else f"The log of {document['old']} entries"
        line = f"{what} in the log of {document['size']}: {output}"
        report.answer(document, [(line, "bold")], as_json=as_json)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def _inclusion(opened: Home, index: int) -> tuple[str, int]:
    """A tlog-proof and the size of its checkpoint."""
    from interlock.ledger import inclusion_path, inclusion_text, subtrees
    from interlock.verify import verify_proof as check

    note = opened.witnesses.checkpoint()
    if index >= _size(note):
        note = opened.witnesses.gather(patient=True)
    size = _size(note)
    if index >= size:
        raise NotFound(f"The log has {size} entries, and so none of number {index}.", fix="Count from 0.")
    first = opened.publisher.first
    if index < first:
        raise NotFound(
            f"Entry {index} was pruned, as all before {first}.", fix="Prove it from an export that has it."
        )
    proof = subtrees(inclusion_path(index, size), opened.publisher.leaves(0, size))
    text = inclusion_text(index, proof, note, extra=next(opened.journal.entries(index, index + 1)))
    found = check(text.encode(), vkey=opened.publisher.vkey)
    if not found.ok:
        raise LedgerInvalid(
            f"Entry {index} cannot be proved: {found.problems[0].what}.", fix="Run: interlock ledger verify."
        )
    return text, size


def _consistency(opened: Home, old: int, size: int) -> str:
    from interlock.ledger import consistency_path, consistency_text, subtrees

    if not 0 <= old <= size:
        raise InvalidInput(f"a log of {size} entries never had {old}", path="--consistency")
    published = opened.witnesses.checkpoint()
    note = published if _size(published) == size else opened.publisher.checkpoint_at(size)
    leaves = opened.publisher.leaves(0, size)
    return consistency_text(old, subtrees(consistency_path(old, size), leaves), note)


def _size(note: str) -> int:
    return int(note.split("\n", 2)[1])


def verify_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A proof.")],
    vkey: Vkey = None,
    policy: PolicyOption = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="FILE", help="Of a proof of growth: the older checkpoint you kept."),
    ] = None,
    entry: Annotated[
        Path | None,
        typer.Option("--entry", metavar="FILE", help="The entry's bytes; those in the proof by default."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Take the verifier key from this home's own keystore."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof offline: the entry or the growth, the log's signature, and the quorum of a policy.

    Ends with 0 where everything holds, 3 where something does not, 6 where it cannot be checked.
    """
    from interlock.verify import verify_proof as check

    found = check(
        read(file, "FILE"),
        vkey=trusted_key(vkey, home),
        policy=None if policy is None else read(policy, "--policy"),
        since=None if since is None else read(since, "--since").decode("utf-8", "replace"),
        entry=None if entry is None else read(entry, "--entry"),
    )
    document: dict[str, Any] = {
        "ok": found.ok,
        "cannot_check": found.cannot_check,
        "origin": found.origin,
        "size": found.size,
        "root": found.root,
        "index": found.index,
        "old": found.old,
        "entry": found.entry,
        "cosigned": found.cosigned,
        "problems": [{"where": problem.where, "what": problem.what} for problem in found.problems],
    }
    lines: list[Line] = [f"{problem.where}: {problem.what}" for problem in found.problems]
    code = 0
    if found.ok:
        what = f"entry {found.index}" if found.old is None else f"the log of {found.old} entries"
        lines += cosigned(found.cosigned)
        if found.entry is not None:
            lines.append(report.value(found.entry))
        lines.append((f"ok: {what} in the {found.size} entries of {found.origin}", "bold green"))
    elif found.cannot_check:
        lines.append((f"{CannotCheck.title}.", "bold yellow"))
        code = CannotCheck.exit_code
    else:
        lines.append((f"{LedgerInvalid.title}.", "bold red"))
        code = LedgerInvalid.exit_code
    report.answer(document, lines, as_json=as_json)
    raise typer.Exit(code)


def status(home: HomeDir = None, as_json: AsJson = False) -> None:
    """Say what is signed and published, and how it stands with the witnesses. Asks nobody."""
    with installation.opened(home or Path(HOME)) as opened:
        signed = opened.publisher.publish()
        published = opened.witnesses.checkpoint()
        standing = opened.witnesses.standing()
        vkey = opened.publisher.vkey
    quorum = "none" if not standing.configured else "reached" if standing.reached else "missing"
    document: dict[str, Any] = {
        "origin": signed.split("\n", 1)[0],
        "vkey": vkey,
        "signed": _size(signed),
        "published": _size(published),
        "quorum": quorum,
        "quorum_size": standing.quorum_size,
        "problem": standing.problem,
        "witnesses": [
            {
                "name": each.name,
                "cosigned_at": _moment(each.at),
                "error": each.error,
                "contradicts": each.contradicts,
            }
            for each in standing.witnesses
        ],
    }
    lines: list[Line] = [
        (
            f"{document['origin']}: {document['signed']} entries signed, {document['published']} published",
            "bold",
        ),
        f"Verifier key: {vkey}",
    ]
    for each in standing.witnesses:
        said = f"cosigned at {_moment(each.at)}" if each.at is not None else each.error or "not asked yet"
        lines.append(f"  {report.value(each.name)}: {said}")
    if standing.contradicted:
        lines.append(("A witness contradicts this home: find out which of them is right.", "red"))
    if standing.problem:
        lines.append((standing.problem, "red"))
    if not standing.configured:
        lines.append("No witnesses.")
    elif standing.reached:
        lines.append(("Quorum: reached", "green"))
    else:
        last = (
            "never reached" if standing.quorum_size is None else f"last with {standing.quorum_size} entries"
        )
        lines.append((f"Quorum: missing, {last}", "yellow"))
    report.answer(document, lines, as_json=as_json)


def cosigned(times: dict[str, int]) -> list[Line]:
    """One line for each witness that cosigned."""
    return [f"  cosigned by {name} at {_moment(at)}" for name, at in times.items()]


def _moment(seconds: int | None) -> str | None:
    """RFC 3339; a time beyond what the calendar has, as the number it is."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def trusted_key(vkey: str | None, home: Path | None) -> str | None:
    """The log's verifier key: as given, or that of a home's own keystore; None where neither is named."""
    if home is None:
        return None if vkey is None else key(vkey)
    if vkey is not None:
        raise Misuse("--vkey and --home both name a key.", fix="Keep one.")
    from interlock.home.keystore import Keystore

    installation.require(home)
    with installation.readable(home):
        return Keystore.open(home, fresh=False).vkey


def key(text: str, option: str = "--vkey") -> str:
    """A verifier key given as itself or as @FILE. Raises `InvalidInput` where it is none."""
    from interlock.verify.note import BadNote, split_vkey

    named = text.strip() if not text.startswith("@") else _text(Path(text[1:]), option)
    try:
        split_vkey(named)
    except BadNote as error:
        raise InvalidInput(
            f"that is no verifier key: {error}", path=option, fix="Give it whole, or as @FILE that holds it."
        ) from None
    return named


def _text(file: Path, option: str) -> str:
    return read(file, option).decode("utf-8", "replace").strip()


def read(file: Path, option: str) -> bytes:
    """A file from an option. Raises `InvalidInput` where it cannot be read or is too large."""
    try:
        with file.open("rb") as content:
            data = content.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{file} cannot be read: {reason}", path=option, fix="Name a file.") from None
    if len(data) > MAX_FILE:
        raise InvalidInput(f"{file} has more than {MAX_FILE} bytes", path=option)
    return data
