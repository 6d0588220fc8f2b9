"""``interlock policy simulate``: replay what was proposed through a candidate, without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, HomeBesidePolicy, PolicyFile, home_beside
from interlock.cli.policy.simulation import SHOWN, Gallery, Limit, Outcome, period, progress, seconds
from interlock.cli.report import Misuse
from interlock.model.errors import InvalidInput

if TYPE_CHECKING:
    from interlock.authoring import Before, Logged, Replay
    from interlock.policy import Policy, Question


def register(app: typer.Typer) -> None:
    app.command(
        "simulate", epilog="Example: interlock policy simulate candidate.yaml --home .interlock --since 7d"
    )(simulate)


def simulate(
    file: PolicyFile,
    actions: Annotated[
        Path | None,
        typer.Option("--actions", metavar="FILE", help="Actions as lines of JSON, in place of a home's."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OLD", help="Compare with this policy's answers."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only a home's actions of the last 7d, 12h.")
    ] = None,
    limit: Limit = SHOWN,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count lines that cannot be read, and go on.")
    ] = False,
    home: HomeBesidePolicy = None,
    as_json: AsJson = False,
) -> None:
    """Replay recorded actions through a policy: what it would have held, and what it decides otherwise.

    A home's actions are compared with the policy in force there. Lines of JSON are action files as `explain`
    reads them, compared with their "decided", if they have one. Ends with 3 where anything becomes looser,
    and with 5 where no action was replayed.
    """
    from interlock.home import read_policy

    policy = read_policy(file)
    old = None if against is None else read_policy(against)
    if actions is None:
        if skip_bad:
            raise Misuse(
                "--skip-bad is for --actions.", fix="A home's unreadable actions are always counted."
            )
        folder = home_beside(file, home)
        outcome = _from_home(policy, old, folder, since, limit, as_json=as_json)
    elif home is not None or since is not None:
        raise Misuse(
            "--actions names a file; --home and --since are about a home.", fix="Give one of the two."
        )
    else:
        outcome = _from_lines(policy, old, actions, limit, skip_bad=skip_bad, as_json=as_json)
    outcome.print(policy, as_json=as_json)


def _from_home(
    policy: Policy, old: Policy | None, folder: Path, since: str | None, limit: int, *, as_json: bool
) -> Outcome:
    from interlock.authoring import Replay
    from interlock.home.recorded import Recording

    span = None if since is None else seconds(since, "--since")
    with installation.opened(folder) as opened:
        against = opened.gate.policy if old is None else old
        recording = Recording(opened.journal)
        stop = recording.end
        start = 0
        if span is not None:
            start = recording.first_since(opened.journal.clock.now() - span * 1_000_000)
        replay, gallery = Replay(policy, against=against), Gallery(policy, limit)
        with progress("Replaying", stop - start, quiet=as_json) as advance:
            for index, action in recording.between(start, stop):
                _replay(replay, gallery, action.question, action.id)
                advance(index - start)
    whose = "ever proposed" if span is None else f"of the last {period(span)}"
    return Outcome(replay.result(), gallery, whose, recording.unreadable, against.snapshot)


def _replay(replay: Replay, gallery: Gallery, question: Question, name: str) -> None:
    """One recorded action, whose arguments one of the two may not accept any more."""
    from interlock.authoring import REFUSED

    policy, against = replay.policy, replay.against
    assert against is not None
    before: Before = None
    if policy.entry_digest(question.topic) != against.entry_digest(question.topic):
        try:
            before = against.decide(_accepted(against, question))
        except InvalidInput:
            before = REFUSED
        try:
            question = _accepted(policy, question)
        except InvalidInput as refusal:
            flip = replay.refuse(before)
            if flip is not None:
                gallery.refused(flip, name, question.topic, refusal.detail)
            return
    flip = replay.add(question, before)
    if flip is not None and not gallery.full(flip):
        gallery.show(flip, name, question)


def _accepted(policy: Policy, question: Question) -> Question:
    """The question with its arguments as a policy takes them. Raises `InvalidInput` where it does not."""
    return replace(question, args=policy.check_args(question.topic, question.args))


def _from_lines(
    policy: Policy, old: Policy | None, file: Path, limit: int, *, skip_bad: bool, as_json: bool
) -> Outcome:
    from interlock.authoring import Replay

    replay, gallery = Replay(policy, against=old), Gallery(policy, limit)
    bad: list[int] = []
    try:
        with progress("Replaying", file.stat().st_size, quiet=as_json) as advance:
            for name, logged, text in _lines(file, policy, bad if skip_bad else None, advance):
                before = logged.decided if old is None else _before(logged, text, policy, old)
                if logged.question is not None:
                    flip = replay.add(logged.question, before)
                    if flip is not None and not gallery.full(flip):
                        gallery.show(flip, name, logged.question)
                    continue
                flip = replay.refuse(before)
                if flip is not None and logged.refusal is not None:
                    gallery.refused(flip, name, logged.topic, logged.refusal.detail)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", path="--actions") from None
    if bad:
        shown = ", ".join(map(str, bad[:SHOWN])) + (", …" if len(bad) > SHOWN else "")
        report.warn(f"{len(bad)} {'line' if len(bad) == 1 else 'lines'} could not be read: {shown}")
    against = None if old is None else old.snapshot
    return Outcome(replay.result(), gallery, f"in {file}", len(bad), against)


def _lines(
    file: Path, policy: Policy, bad: list[int] | None, advance: Callable[[int], None]
) -> Iterator[tuple[str, Logged, bytes]]:
    """The actions of a file, each with its name and its text.

    Args:
        bad: takes the numbers of the lines that cannot be read; without it, the first is an error.
    """
    from interlock.authoring import read_line
    from interlock.model.canonical import MAX_BYTES

    done = 0
    with file.open("rb") as lines:
        for number in count(1):
            text = lines.readline(MAX_BYTES + 2)
            if not text:
                return
            done += len(text)
            advance(done)
            if not text.strip():
                continue
            try:
                logged = read_line(text.rstrip(b"\r\n"), policy)
            except InvalidInput as error:
                if bad is None:
                    raise InvalidInput(
                        f"line {number}: {error.detail}",
                        path=str(file),
                        fix="Correct the line, or count what cannot be read with --skip-bad.",
                    ) from None
                bad.append(number)
                while text and not text.endswith(b"\n"):
                    text = lines.readline(MAX_BYTES)
                    done += len(text)
                continue
            yield logged.id or f"line {number}", logged, text


def _before(logged: Logged, text: bytes, policy: Policy, old: Policy) -> Before:
    """What another policy says to a line that it reads in its own way; None where it reads it alike."""
    from interlock.authoring import REFUSED, read_line

    if logged.question is not None and policy.entry_digest(logged.topic) == old.entry_digest(logged.topic):
        return None
    try:
        question = read_line(text.rstrip(b"\r\n"), old).question
    except InvalidInput:
        question = None
    return REFUSED if question is None else old.decide(question)
