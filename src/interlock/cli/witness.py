"""``interlock ledger witness``: cosign other people's checkpoints.

A witness needs nothing of a gate: no home, no policy, no database of ours. It has a folder of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import proofs, report
from interlock.cli.options import AsJson
from interlock.cli.report import Line

FOLDER = ".interlock-witness"

WitnessDir = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The witness's own folder; ./.interlock-witness by default."),
]

app = typer.Typer(
    name="witness",
    help="Cosign checkpoints of logs that only grow.",
    epilog="Example: interlock ledger witness --log @the-log-s-vkey",
    invoke_without_command=True,
)


@app.callback()
def run(
    context: typer.Context,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log", metavar="VKEY", help="A log's verifier key, or @FILE; kept for later. Repeatable."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Of a new witness: a URL without its scheme."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="TCP port; 0 takes a free one.")
    ] = 8421,
    home: WitnessDir = None,
    as_json: AsJson = False,
) -> None:
    """Serve a witness: POST /add-checkpoint, as c2sp.org/tlog-witness has it.

    Runs until SIGTERM or Ctrl-C. The first start makes the witness's key. Run it where whoever runs the log
    has no access.
    """
    context.obj = home
    if context.invoked_subcommand is not None:
        return
    from interlock.witness import Folder, serve

    folder = Folder.open(home or Path(FOLDER), name=name)
    folder.add_logs(proofs.key(each, "--log") for each in log or ())

    def ready(url: str) -> None:
        document: dict[str, Any] = {
            "url": url,
            "name": folder.cosigner.name,
            "vkey": folder.cosigner.vkey,
            "logs": sorted(folder.logs),
            "pid": os.getpid(),
        }
        lines: list[Line] = [
            (f"The witness {document['name']} listens on {url}", "bold"),
            f"Verifier key: {document['vkey']}",
            *(f"  knows the log {origin}" for origin in document["logs"]),
        ]
        if not folder.logs:
            lines.append(("It knows no log yet; start it with --log.", "yellow"))
        report.answer(document, lines, as_json=as_json)

    serve(folder, host=host, port=port, on_ready=ready)


@app.command("keys", epilog="Example: interlock ledger witness keys")
def keys(context: typer.Context, home: WitnessDir = None, as_json: AsJson = False) -> None:
    """Print the witness's verifier key, for trust policies."""
    from interlock.witness import Folder

    folder = Folder.open(home or context.obj or Path(FOLDER), create=False)
    vkey = folder.cosigner.vkey
    document = {"name": folder.cosigner.name, "vkey": vkey, "logs": sorted(folder.logs)}
    report.answer(document, [vkey], as_json=as_json)
