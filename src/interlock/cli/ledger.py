"""``interlock ledger``: write an export, and check one offline.

Checking imports the room `verify` and nothing else of ours that reads or writes ledgers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import installation, proofs, report, witness
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line
from interlock.model.errors import CannotCheck, InvalidInput, LedgerInvalid

app = typer.Typer(
    name="ledger",
    help="Export the ledger, prove, check, and have it witnessed.",
    epilog="Example: interlock ledger verify export --vkey @the-key-you-kept",
)
proofs.register(app)
app.add_typer(witness.app)


@app.command("export", epilog="Example: interlock ledger export ./export")
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole ledger as a folder of plain files, with its signed checkpoint."""
    folder = home or Path(HOME)
    with installation.opened(folder) as opened:
        try:
            size = opened.publisher.export(directory, opened.witnesses.gather(patient=True))
        except OSError as error:
            raise InvalidInput(f"{directory} cannot be written: {error.strerror}", path="DIR") from None
        vkey = opened.publisher.vkey
    document = {"directory": str(directory), "size": size, "vkey": vkey}
    lines: list[Line] = [
        (f"{size} entries in {directory}", "bold"),
        f"Verifier key: {vkey}",
        f"Check it: interlock ledger verify {directory}",
    ]
    report.answer(document, lines, as_json=as_json)


@app.command("verify", epilog="Example: interlock ledger verify export --vkey @the-key-you-kept")
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An export.")],
    vkey: Annotated[
        str | None,
        typer.Option("--vkey", metavar="VKEY", help="The verifier key you trust, or @FILE that holds it."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="FILE", help="An older checkpoint you kept: the log continues it."),
    ] = None,
    policy: proofs.PolicyOption = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Take the verifier key from this home's own keystore."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an export completely and offline: every hash, the signature, and what the entries mean.

    Ends with 0 where everything holds, 3 where something does not, 6 where it cannot be checked.
    """
    from interlock.verify import verify_export

    if not directory.is_dir():
        raise CannotCheck(f"There is no export at {directory}.", fix="Name the folder of an export.")
    key = proofs.trusted_key(vkey, home)
    held = None if since is None else proofs.read(since, "--since").decode("utf-8", "replace")
    trust = None if policy is None else proofs.read(policy, "--policy")
    with _progress() as progress:
        found = verify_export(directory, vkey=key, since=held, policy=trust, progress=progress)
    document: dict[str, Any] = {
        "ok": found.ok,
        "cannot_check": found.cannot_check,
        "size": found.size,
        "root": found.root,
        "origin": found.origin,
        "problems": [{"where": problem.where, "what": problem.what} for problem in found.problems],
        "warnings": list(found.warnings),
        "kinds": found.kinds,
        "cosigned": found.cosigned,
    }
    lines: list[Line] = [(f"Warning: {warning}", "yellow") for warning in found.warnings]
    lines += [f"{problem.where}: {problem.what}" for problem in found.problems]
    if found.ok:
        lines += [f"  {number:>8} {kind}" for kind, number in found.kinds.items()]
        lines += proofs.cosigned(found.cosigned)
        lines.append((f"ok: {found.size} entries of {found.origin}, root {found.root}", "bold green"))
        code = 0
    elif found.cannot_check:
        lines.append((f"{CannotCheck.title}.", "bold yellow"))
        code = CannotCheck.exit_code
    else:
        lines.append((f"{LedgerInvalid.title}.", "bold red"))
        code = LedgerInvalid.exit_code
    report.answer(document, lines, as_json=as_json)
    raise typer.Exit(code)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error where a person watches; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("Checking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
