"""``interlock worker``: runs what was approved, with the functions of somebody's own program."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import report
from interlock.cli.options import AsJson
from interlock.cli.report import Misuse

if TYPE_CHECKING:
    from interlock.client import Gate

DRAIN_SEC = 30.0
_EXAMPLE = "As in: interlock worker shop.agent:gate"


def register(app: typer.Typer) -> None:
    app.command("worker", epilog="Example: interlock worker shop.agent:gate")(worker)


def worker(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:GATE", help="A module, and the name of its gate in it.")
    ],
    once: Annotated[
        bool, typer.Option("--once", help="Run what may run now, tell what is to be told, and end.")
    ] = False,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, max=64, help="How many functions run at the same time.")
    ] = 4,
    drain: Annotated[
        float,
        typer.Option("--drain", min=0, metavar="SECONDS", help="How long what runs may go on after SIGTERM."),
    ] = DRAIN_SEC,
    app_dir: Annotated[
        Path, typer.Option("--app-dir", metavar="DIR", help="Where modules are looked for first.")
    ] = Path(),
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="The home it has to be; the gate says which one it is."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run what people approved for the guarded functions of a program, in the place of processes that ended.

    The module is imported; it opens its gate and guards its functions, as it does in the agent's own process.
    Each action runs once, however many workers there are. Runs until SIGTERM or Ctrl-C. With --json each
    event is one JSON document on a line of its own.
    """
    gate = load(target, app_dir)
    if home is not None and home.resolve() != gate.home.resolve():
        gate.close()
        raise Misuse(f"{target} stands on {gate.home}, and not on {home}.")
    said = threading.Lock()

    def tell(event: dict[str, Any]) -> None:
        with said:
            if as_json:
                sys.stdout.write(json.dumps(event) + "\n")
                sys.stdout.flush()
            else:
                report.say([_sentence(event)])

    stop = threading.Event()
    before = {sign: signal.signal(sign, lambda *_: stop.set()) for sign in (signal.SIGTERM, signal.SIGINT)}
    try:
        with gate:
            tell({"event": "ready", "pid": os.getpid(), "topics": sorted(gate.topics)})
            gate.work(stop, once=once, parallel=parallel, drain_sec=drain, tell=tell)
        tell({"event": "stopped"})
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def load(target: str, folder: Path) -> Gate:
    """The gate that ``MODULE:GATE`` names.

    Raises:
        Misuse: there is none. What the module itself raises of ours is passed on.
    """
    from interlock.client import Gate
    from interlock.model.errors import InterlockError

    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise Misuse(f"{target!r} names no module and gate.", fix=_EXAMPLE)
    sys.path.insert(0, str(folder.resolve()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise Misuse(f"{module_name} needs {error.name}, which is not installed here.") from error
        raise Misuse(
            f"There is no module {module_name} in {folder.resolve()}, nor installed.",
            fix="Run it where the module is, or name the folder with --app-dir.",
        ) from None
    except InterlockError:
        raise
    except Exception as error:  # noqa: BLE001 (somebody else's program may raise whatever it likes)
        traceback.print_exc()
        raise Misuse(f"Importing {module_name} ended with {type(error).__name__}; see above.") from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise Misuse(f"{module_name} has nothing named {path}.", fix=_EXAMPLE) from None
    if not isinstance(found, Gate):
        raise Misuse(f"{target} is a {type(found).__name__}, and no gate.", fix=_EXAMPLE)
    return found


def _sentence(event: dict[str, Any]) -> report.Line:
    match event["event"]:
        case "ready":
            topics = ", ".join(event["topics"]) or "nothing: no function is guarded"
            return f"Works for {topics}, as process {event['pid']}.", "bold"
        case "running":
            return f"{event['action']} runs: {event['topic']}."
        case "ended":
            return f"{event['action']} ended: {event['state']}."
        case "refused":
            return f"{event['action']} was not run: {event['detail']}"
        case "left":
            return f"{event['topic']} is left to others: no function is guarded for it here.", "yellow"
        case "abandoned":
            return f"{event['action']} still runs, and ends with this process: it will be in doubt.", "red"
        case "draining":
            return f"Stops: {len(event['running'])} still run."
        case _:
            return "Stopped."
