"""``interlock ledger verify --replay``: what a replay found, as a document, in words, and as an exit code.

1. 3 where a verdict differs from what the policy gives for the recorded inputs.
2. 6 where nothing differs, but some verdicts were not decided anew: no inputs, no policy, an unknown kernel.
   Erased inputs count among these, unless ``--allow-erased`` accepts them.
3. 0 only where every verdict was decided anew, or was accepted as erased; what was accepted is said.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from interlock.cli.report import Line
from interlock.model.errors import CannotCheck, LedgerInvalid

if TYPE_CHECKING:
    from interlock.verify import Report

ReplayOption: TypeAlias = Annotated[
    bool, typer.Option("--replay", help="Also decide every automatic verdict anew, from recorded inputs.")
]
AllowErasedOption: TypeAlias = Annotated[
    bool,
    typer.Option("--allow-erased", help="With --replay: accept verdicts whose inputs were erased, as such."),
]

_MEANING = {
    "replayed": "decided anew, with the same result",
    "erased": "not decided anew: the inputs were erased; the logic holds",
    "logic_only": "not decided anew: their inputs are not at hand; the logic holds",
    "unchecked": "cannot be checked here",
    "differing": "differ from what the policy gives",
}


def replayed(
    directory: Path,
    progress: Callable[[int, int], None] | None,
    verified: Report,
    *,
    allow_erased: bool,
) -> tuple[dict[str, Any], list[Line], int]:
    """Replay an export that was verified: the document, the lines for a person, and the exit code.

    Args:
        verified: what the verification found.

    Raises:
        CannotCheck: what is to be replayed cannot be read.
    """
    from interlock.replay import replay

    found = replay(directory, progress, verified=(verified.size, b64decode(verified.root)))
    holds = found.holds(allow_erased=allow_erased)
    counts = {name: getattr(found, name) for name in _MEANING}
    document: dict[str, Any] = {
        "ok": holds,
        "verdicts": found.verdicts,
        **counts,
        "policies": found.policies,
        "problems": [{"where": problem.where, "what": problem.what} for problem in found.problems],
        "notes": [{"where": note.where, "what": note.what} for note in found.notes],
    }
    lines: list[Line] = [f"{problem.where}: {problem.what}" for problem in (*found.problems, *found.notes)]
    lines.append(f"{found.verdicts} automatic verdicts under {found.policies} policies:")
    lines += [f"  {count:>8} {_MEANING[name]}" for name, count in counts.items() if count]
    if found.failed:
        lines.append(("The ledger's verdicts are not those of its policies.", "bold red"))
        return document, lines, LedgerInvalid.exit_code
    if not holds:
        lines.append(("Not every verdict could be decided anew.", "bold yellow"))
        return document, lines, CannotCheck.exit_code
    accepted = f", {found.erased} accepted as erased" if found.erased else ""
    lines.append((f"replayed: {found.replayed} of {found.verdicts} verdicts{accepted}", "bold green"))
    return document, lines, 0
