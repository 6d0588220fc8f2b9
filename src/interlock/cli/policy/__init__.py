"""``interlock policy``: what an author does with a policy, before and after it is in force.

Each command stands in a module of its own, which adds it with ``register(app)``.
"""

from __future__ import annotations

import typer

from interlock.cli.policy import (
    activate,
    check,
    compare,
    drafts,
    explain,
    lint,
    prove,
    shadow,
    simulate,
    testing,
)

app = typer.Typer(
    name="policy",
    help="Check, test, compare and activate policies, and ask what they would decide.",
    epilog="Example: interlock policy check policy.yaml",
)

check.register(app)
lint.register(app)
testing.register(app)
explain.register(app)
compare.register(app)
simulate.register(app)
shadow.register(app)
activate.register(app)
drafts.register(app)
prove.register(app)
