"""``interlock ledger schema``: what entries look like, for other programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.options import AsJson

SameHome = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Taken as everywhere; nothing here depends on it."),
]


def register(app: typer.Typer) -> None:
    app.command("schema", epilog="Example: interlock ledger schema > entry.schema.json")(schema)


def schema(_home: SameHome = None, _as_json: AsJson = False) -> None:
    """Print the JSON Schema of a ledger entry, for other programs."""
    from interlock.ledger.schemas import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    sys.stdout.flush()
