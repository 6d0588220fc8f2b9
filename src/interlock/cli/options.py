"""Options that several commands share, and where a home is when nobody says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HOME = ".interlock"

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
HomeDir = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The installation's folder; ./.interlock by default."),
]
HomeBesidePolicy = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="The installation's folder; .interlock beside the policy by default."
    ),
]
ComparedHome = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Also say whether this policy is in force in that home."),
]
PolicyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A policy file, or a directory of .yaml files.")
]


def home_beside(policy: Path | None, home: Path | None) -> Path:
    """The home: as given, else `HOME` beside the policy, else in the working directory."""
    if home is not None:
        return home
    return Path(HOME) if policy is None else policy.parent / HOME
