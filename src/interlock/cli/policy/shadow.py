"""``interlock policy shadow``: a candidate decides beside the policy in force, on live traffic."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, HomeBesidePolicy, PolicyFile, home_beside
from interlock.cli.policy.simulation import SHOWN, Changed, Gallery, Limit, Outcome, seconds
from interlock.model.errors import InvalidInput

if TYPE_CHECKING:
    from interlock.authoring import Replay
    from interlock.home.recorded import Recorded, Recording

POLL_SEC = 0.5


def register(app: typer.Typer) -> None:
    app.command(
        "shadow", epilog="Example: interlock policy shadow candidate.yaml --home .interlock --for 1h"
    )(shadow)


def shadow(
    file: PolicyFile,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="As in 10m or 4h; until Ctrl-C by default.")
    ] = None,
    limit: Limit = SHOWN,
    home: HomeBesidePolicy = None,
    as_json: AsJson = False,
) -> None:
    """Let a candidate decide beside the policy in force, on live traffic, without effect.

    Each new action on which the two differ is printed as it is proposed; the report of `simulate` follows at
    the end of the time, or at Ctrl-C. Ends with 3 where anything would have been looser.
    """
    from interlock.authoring import Replay
    from interlock.home import read_policy
    from interlock.home.recorded import Recording

    policy = read_policy(file)
    span = None if for_ is None else seconds(for_, "--for")
    with installation.opened(home_beside(file, home)) as opened:
        recording = Recording(opened.journal)
        replay, gallery = Replay(policy), Gallery(policy, limit)
        started = time.monotonic()
        position = recording.end
        report.warn(f"Watching {opened.path} beside the policy in force. Ctrl-C ends with the report.")
        with _interrupts() as interrupted:
            while not interrupted.wait(POLL_SEC if span is None else _left(started + span)):
                position = _follow(recording, position, replay, gallery, quiet=as_json)
                if span is not None and time.monotonic() >= started + span:
                    break
        _follow(recording, position, replay, gallery, quiet=as_json)
    whose = f"proposed in {report.span(int(time.monotonic() - started))}"
    Outcome(replay.result(), gallery, whose, recording.unreadable, None).print(policy, as_json=as_json)


def _left(end: float) -> float:
    """How long to wait before looking again: never beyond the end."""
    return min(POLL_SEC, max(0.0, end - time.monotonic()))


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM as an event, so that neither ends the count in the middle of an action."""
    interrupted = threading.Event()
    kept = {
        number: signal.signal(number, lambda *_: interrupted.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield interrupted
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _follow(recording: Recording, position: int, replay: Replay, gallery: Gallery, *, quiet: bool) -> int:
    """Let the candidate decide about what was proposed since; the position behind it."""
    stop = recording.end
    for _, action in recording.between(position, stop):
        found = _shadowed(action, replay, gallery)
        if found is not None and not quiet:
            report.say(found.lines())
    return stop


def _shadowed(action: Recorded, replay: Replay, gallery: Gallery) -> Changed | None:
    """What the candidate changes about one action, whose arguments it may not even accept."""
    question = action.question
    try:
        replay.policy.check_args(question.topic, question.args)
    except InvalidInput as refusal:
        flip = replay.refuse(action.decision)
        return None if flip is None else gallery.refused(flip, action.id, question.topic, refusal.detail)
    flip = replay.add(question, action.decision)
    return None if flip is None else gallery.show(flip, action.id, question)
