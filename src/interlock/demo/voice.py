"""What the demonstration says, to a person at a terminal."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Voice:
    """Prints headings, timed lines and plain lines.

    Args:
        aside: speak on stderr, because stdout is for one JSON document.
    """

    def __init__(self, *, aside: bool) -> None:
        self._console = Console(stderr=aside, highlight=False, markup=False, emoji=False)

    @property
    def is_heard(self) -> bool:
        """Whether a person sits at the terminal."""
        return self._console.is_terminal

    def head(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def say(self, text: str, *, style: str = "") -> None:
        """Something that happens now."""
        self._row(f"{datetime.now().astimezone():%H:%M:%S}", Text(text, style=style))

    def item(self, label: str, text: str) -> None:
        """One line of a list; labels of up to five letters stand in one column."""
        self._row(label.ljust(5), Text(text))

    def plain(self, text: str) -> None:
        self._console.print(Text(text))

    def copied(self, text: str) -> None:
        """Something to copy: on a line of its own, never broken."""
        self._console.print(Text(f"    {text}", style="bold"), soft_wrap=True)

    def gap(self) -> None:
        self._console.print()

    def _row(self, left: str, right: Text) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(f"  {left}", right)
        self._console.print(grid)
