"""What a command prints: one JSON document, or lines for a person.

1. Everything a person reads goes through `say`, which writes unseen characters out: control characters,
   bidirectional marks and invisible letters of an agent's text arrive as ``⟨U+202E⟩``.
2. A value inside a line is shown as JSON (`value`), so that a line break in it cannot begin a line of ours.
   Whole paragraphs of somebody else's words stand behind a bar (`quoted`).
3. JSON is written in ASCII. Errors go to standard error for people, to standard output with ``--json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import IO, Any, ClassVar, TypeAlias

from interlock.model.errors import InterlockError
from interlock.model.text import visible

Line: TypeAlias = "str | tuple[str, str]"
"""A line, or a line and its style (in Rich's words: ``bold``, ``dim``, ``red``)."""

LIMIT = 20_000
"""Characters of one line that are shown."""


class Misuse(InterlockError):
    """The command line does not say what to do."""

    slug: ClassVar[str] = "usage"
    title: ClassVar[str] = "The command is not used like this"
    status: ClassVar[int] = 400
    exit_code: ClassVar[int] = 2


def answer(document: Mapping[str, Any], lines: Iterable[Line], *, as_json: bool) -> None:
    """Print a command's result."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()
    else:
        say(lines)


def say(lines: Iterable[Line], *, to: IO[str] | None = None) -> None:
    """Print lines for a person, with unseen characters written out."""
    from rich.console import Console
    from rich.text import Text

    stream = sys.stdout if to is None else to
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    for line in lines:
        text, style = (line, "") if isinstance(line, str) else line
        console.print(Text(visible(text, LIMIT), style))
    stream.flush()


def warn(*sentences: str) -> None:
    """Say something beside the result; never on standard output."""
    say(((f"Note: {sentence}", "yellow") for sentence in sentences), to=sys.stderr)


def failure(problem: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a problem document of RFC 9457."""
    if as_json:
        answer(problem, (), as_json=True)
        return
    lines: list[Line] = [(f"{problem['title']}.", "bold red"), str(problem["detail"])]
    lines += difference(problem)
    if problem.get("fix"):
        lines.append((str(problem["fix"]), "dim"))
    say(lines, to=sys.stderr)


def difference(problem: Mapping[str, Any]) -> list[Line]:
    """What changed since the caller looked, where a problem says so."""
    rows, current = problem.get("difference"), problem.get("current")
    lines: list[Line] = []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            lines.append(f"  {row.get('field')}: {change(row)}")
    if isinstance(current, dict):
        lines.append(f"Now pending: {current.get('approval')} with review hash {current.get('review_hash')}")
    return lines


def change(row: Mapping[str, Any]) -> str:
    """One row of a change table in words."""
    if "before" not in row:
        return value(row.get("after"))
    return f"{value(row['before'])} → {value(row['after']) if 'after' in row else '(removed)'}"


def value(found: Any) -> str:
    """A value on one line."""
    return json.dumps(found, ensure_ascii=False)


def quoted(text: str) -> list[Line]:
    """Somebody else's paragraphs, each line behind a bar."""
    return [f"  │ {line}" for line in text.splitlines()]


def moment(text: str) -> str:
    """An RFC 3339 time in local time, with how far away it is; the text itself where it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    if at.tzinfo is None:
        return text
    seconds = int((at - datetime.now(UTC)).total_seconds())
    distance = f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %z} ({distance})"


def span(seconds: int) -> str:
    """A length of time in the one or two units that matter."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
