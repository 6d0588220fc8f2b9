"""Running the demonstration from beginning to end, and ending it in good order whatever happens."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import httpx

from interlock.demo.agent import Agent
from interlock.demo.closing import Account, close
from interlock.demo.errors import DemoFailed
from interlock.demo.performance import Performance
from interlock.demo.rehearsal import Rehearsal
from interlock.demo.stage import MARKER, Stage, check_port, free_port, own_folder
from interlock.demo.voice import Voice

FOLDER = Path("interlock-demo")


def main(*, home: Path | None, port: int, once: bool, as_json: bool) -> int:
    """Run the demonstration; returns the exit code, 0 when everything added up.

    Args:
        home: a folder for it; new, empty, or one that a demo made before. By default ``./interlock-demo``.
        port: where the console listens; 0 takes a free one.
        once: play the person too, kill the server on the way, and end with the account.
        as_json: print the account as one JSON document on stdout, and everything else on stderr.

    Raises:
        PortTaken, NotOurFolder: nothing was started. DemoFailed: it could not be set up.
    """
    folder, voice = home or FOLDER, Voice(aside=as_json)
    port = port or free_port()
    check_port(port)
    if (folder / MARKER).is_file():
        voice.plain(f"{folder} is from an earlier demo; it is removed and made anew.")
    with _terminating(), own_folder(folder):
        account = _rehearse(folder, port, voice) if once else _perform(folder, port, voice)
    if as_json:
        sys.stdout.write(json.dumps(account.to_json()) + "\n")
    elif once:
        _tell(account, voice)
    return 0 if account.ok else 1


def _rehearse(folder: Path, port: int, voice: Voice) -> Account:
    started = time.monotonic()
    with Stage(folder, port, rehearsal=True) as stage, _agent(stage) as agent:
        voice.say(f"Shop on {stage.shop.url}, gate on {stage.server.url}.")
        rehearsal = Rehearsal(stage, agent, voice)
        try:
            rehearsal.run()
        except (DemoFailed, httpx.HTTPError) as error:
            rehearsal.off.append(str(error))
        return close(stage, agent.acknowledged, time.monotonic() - started, rehearsal.off)


def _perform(folder: Path, port: int, voice: Voice) -> Account:
    started = time.monotonic()
    with Stage(folder, port, rehearsal=False) as stage, _agent(stage) as agent:
        performance = Performance(stage, agent, voice)
        try:
            performance.run()
            if sys.stdin.isatty() and voice.is_heard:
                voice.say("Everything is decided. The console stays open until you press Enter.")
                sys.stdin.readline()
        except KeyboardInterrupt:
            voice.gap()
        account = close(stage, agent.acknowledged, time.monotonic() - started, ())
        performance.sum_up(account)
        return account


@contextlib.contextmanager
def _agent(stage: Stage) -> Iterator[Agent]:
    agent = Agent(stage.server.url, stage.agent_key)
    try:
        yield agent
    finally:
        agent.close()


@contextlib.contextmanager
def _terminating() -> Iterator[None]:
    """A request to terminate unwinds like Ctrl-C does, so that nothing is left running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(account: Account, voice: Voice) -> None:
    voice.head("Ok." if account.ok else "Something is off.")
    for name, value in account.to_json().items():
        if name not in ("ok", "off"):
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            voice.item(name.replace("_", " "), str(shown))
    for sentence in account.off:
        voice.say(f"This must not be: {sentence}.", style="bold red")
