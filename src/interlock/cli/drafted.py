"""Drafts on the command line: what they are made from, and where they go.

1. A draft is checked before anybody sees it: it loads, and its tests pass.
2. Files are made all or none, and never over what is there unless that was asked for. A file that replaces
   another does so in one step.
3. What a person has to know beside the draft goes to standard error, so that standard output can be piped.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.cli import installation, report
from interlock.cli.report import Misuse
from interlock.model.errors import HomeUnusable, InvalidInput

if TYPE_CHECKING:
    from interlock.authoring.draft import Draft
    from interlock.policy import Policy


def read_text(name: str) -> str:
    """A file's text, or standard input's for ``-``. Raises `InvalidInput` where it cannot be read."""
    from interlock.authoring.foreign import MAX_TEXT

    try:
        if name == "-":
            data = sys.stdin.buffer.read(4 * MAX_TEXT + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(4 * MAX_TEXT + 1)
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"byte {error.start} is not UTF-8", path=name, fix="Save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"it cannot be read: {reason}", path=name, fix="Name a file.") from None


def checked(draft: Draft) -> tuple[str, str, Policy]:
    """The draft's policy and tests as texts, and the policy itself.

    Raises:
        PolicyError: it does not load. InvalidInput: one of its tests does not pass.
    """
    from interlock.authoring import read_cases, run_cases
    from interlock.authoring.draft import write_cases, write_policy
    from interlock.policy import parse

    text = write_policy(draft)
    policy = parse({"the draft": text})
    if not draft.cases:
        return text, "", policy
    tests = write_cases(draft)
    failed = [result for result in run_cases(read_cases({"its tests": tests}), policy) if not result.ok]
    if failed:
        raise InvalidInput(f"the test {failed[0].case.name!r} does not pass", path="the draft")
    return text, tests, policy


def make_files(files: Mapping[Path, str], *, force: bool) -> None:
    """Write all of these files, or none.

    Raises:
        Misuse: one is there already, and `force` is false.
        HomeUnusable: one cannot be written.
    """
    there = [str(file) for file in files if os.path.lexists(file)]
    if there and not force:
        raise _taken(there)
    made: list[Path] = []
    try:
        for file, text in files.items():
            if force:
                made.append(_beside(file, text))
                continue
            with file.open("x", encoding="utf-8", newline="\n") as stream:
                made.append(file)
                stream.write(text)
        for file, ready in zip(files, made, strict=True) if force else ():
            ready.replace(file)
        made.clear()
    except FileExistsError as error:  # somebody made it meanwhile
        raise _taken([str(error.filename)]) from None
    except OSError as error:
        reason = error.strerror or error
        raise HomeUnusable(f"{error.filename or 'A file'} cannot be written: {reason}.") from None
    finally:
        for file in made:
            file.unlink(missing_ok=True)


def _taken(names: Iterable[str]) -> Misuse:
    return Misuse(f"Already there: {', '.join(names)}.", fix="Name another file, or say --force.")


def _beside(file: Path, text: str) -> Path:
    """The text in a file of its own beside the one it is to replace, with the same permissions."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        Path(name).chmod(_mode(file))
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _mode(file: Path) -> int:
    """The permissions of the file that is replaced, or those a new file gets."""
    if file.exists():
        return stat.S_IMODE(file.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def deliver(draft: Draft, output: Path | None, *, force: bool, home: Path | None, as_json: bool) -> None:
    """Check a draft, then print it, or write it and its tests to files."""
    text, tests, policy = checked(draft)
    written: list[Path] = []
    if output is not None:
        files = {output: text} | ({output.with_name(f"{output.stem}.test.yaml"): tests} if tests else {})
        make_files(files, force=force)
        written = list(files)
    topics = [action.topic for action in draft.actions]
    catalogued = installation.catalogued(topics, home)
    document: dict[str, Any] = {
        "policy": text,
        "tests": tests,
        "topics": topics,
        "tiers": {action.topic: action.tier for action in draft.actions},
        "remarks": list(draft.remarks),
        "warnings": list(policy.warnings),
        "written": [str(file) for file in written],
        "in_force": catalogued,
    }
    if as_json:
        report.answer(document, (), as_json=True)
        return
    notes = [*draft.remarks, *policy.warnings]
    if catalogued is not None:
        notes.append(f"{len(catalogued)} of {len(topics)} topics are catalogued in {home}")
    report.warn(*notes)
    if written:
        report.say([f"wrote {file}" for file in written])
        report.say([(f"next: look for `review me`, then interlock policy check {output}", "dim")])
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
