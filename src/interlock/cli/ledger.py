"""``interlock ledger``: its commands, each group in a module of its own, and here the one that exports."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import (
    erasure,
    installation,
    ledger_clock,
    ledger_keep,
    ledger_read,
    ledger_schema,
    ledger_verify,
    progress,
    proofs,
    recovery,
    report,
    witness,
)
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line
from interlock.model.errors import InvalidInput

app = typer.Typer(
    name="ledger",
    help="Export the ledger, prove, check, keep, and have it witnessed.",
    epilog="Example: interlock ledger verify export --vkey @the-key-you-kept",
)
proofs.register(app)
ledger_verify.register(app)
ledger_read.register(app)
ledger_keep.register(app)
ledger_clock.register(app)
ledger_schema.register(app)
erasure.register(app)
recovery.register(app)
app.add_typer(witness.app)


@app.command("export", epilog="Example: interlock ledger export ./export")
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    first: Annotated[
        int, typer.Option("--from", metavar="N", min=0, help="Leave out the bundles wholly before entry N.")
    ] = 0,
    size: Annotated[
        int | None,
        typer.Option("--to", metavar="M", min=0, help="The log as it was at M entries, signed anew."),
    ] = None,
    inputs: Annotated[
        bool,
        typer.Option("--inputs", help="Also what each verdict was made from. Personal data, in plain text!"),
    ] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the ledger as a folder of plain files, with its signed checkpoint."""
    from interlock.home.evidence import write_inputs, write_policies

    with installation.opened(home or Path(HOME)) as opened:
        publisher = opened.publisher
        note = opened.witnesses.gather(patient=True) if size is None else publisher.checkpoint_at(size)
        try:
            with progress.bar("Writing") as told:
                size = publisher.export(directory, note, first=first, progress=told)
            policies = write_policies(opened.journal, directory)
            begin = int(_first(directory))
            if inputs:
                with progress.bar("Writing inputs") as told:
                    found = write_inputs(opened.journal, directory, first=begin, size=size, progress=told)
        except OSError as error:
            raise InvalidInput(f"{directory} cannot be written: {error.strerror}", path="DIR") from None
        vkey = publisher.vkey
    document: dict[str, Any] = {
        "directory": str(directory),
        "size": size,
        "first": begin,
        "vkey": vkey,
        "policies": policies,
    }
    partial = f" --from {begin}" if begin else ""
    lines: list[Line] = [(f"{size - begin} entries in {directory}", "bold")]
    if begin:
        lines.append(f"It begins with entry {begin}; of those before, it has the hashes.")
    if inputs:
        document["inputs"] = asdict(found)
        lines.append(
            f"Inputs of {found.written} revisions, {found.erased} erased, {found.unreadable} unreadable:"
            " personal data in plain text."
        )
    lines += [f"Verifier key: {vkey}", f"Check it: interlock ledger verify {directory}{partial}"]
    report.answer(document, lines, as_json=as_json)


def _first(directory: Path) -> str:
    """What an export says it begins with."""
    path = directory / "first"
    return path.read_text(encoding="ascii") if path.exists() else "0"
