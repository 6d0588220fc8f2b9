"""A bar on standard error where a person watches; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = "Callable[[int, int], None] | None"
"""Told how much is done, and of how much; None where nobody watches."""


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """Show how far something is, while it runs."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(file=sys.stderr), transient=True) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
