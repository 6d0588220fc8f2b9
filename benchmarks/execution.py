"""Durable execution, measured: what waiting costs, how soon what was decided happens, and what a crash costs.

    uv run --group bench python benchmarks/execution.py [--json] [SECTION …]
        [--pending 1000000] [--database sqlite] [--url postgresql://…]

Sections; without one, all of them, each on both databases:

- `pending`  a million requests that wait: memory, idle CPU, inbox, decisions a second, a sweep of deadlines
- `effect`   from a person's decision over HTTP to the request that the outside system receives
- `restart`  from starting a killed server anew to its first resumed segment; what was done twice, and lost
- `takeover` from the death of one machine's process to the end of its segments on another
- `kill`     from pressing the kill switch to the last claim that succeeded, across four processes
- `peers`    the same job under LangGraph's `interrupt`: pause and resume, and 50 resumes at once

Each goal stands beside its figure. Without `--url` a PostgreSQL is started in a throwaway folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import execution_effects, execution_peers, execution_pending
from benchmarks.execution_desk import DATABASES

Section = Callable[[str, argparse.Namespace], dict[str, Any]]
SECTIONS: dict[str, Section] = {
    "pending": lambda database, o: execution_pending.measure(database, o.url, o.pending, o.idle_sec),
    "effect": lambda database, o: execution_effects.effect(database, o.url, o.rounds),
    "restart": lambda database, o: execution_effects.restart(database, o.url),
    "takeover": lambda database, o: execution_effects.takeover(database, o.url),
    "kill": lambda database, o: execution_effects.kill(database, o.url),
    "peers": lambda database, o: execution_peers.measure(database, o.url, o.rounds),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("section", nargs="*", metavar="SECTION", help="all of them by default")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--database", choices=DATABASES, help="one of them only")
    parser.add_argument("--url", help="a PostgreSQL server that runs already, for this alone")
    parser.add_argument("--pending", type=int, default=1_000_000, help="how many requests wait")
    parser.add_argument("--idle-sec", type=float, default=10.0, help="for how long an idle server is watched")
    parser.add_argument("--rounds", type=int, default=60, help="of what is timed one by one")
    options = parser.parse_args()
    if unknown := set(options.section) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    report: dict[str, Any] = {}
    for name in options.section or SECTIONS:
        for database in [options.database] if options.database else DATABASES:
            found = SECTIONS[name](database, options)
            report.setdefault(name, {})[database] = found
            if not options.json:
                print(f"{name}, {database}", flush=True)
                _tell(found)
    if options.json:
        print(json.dumps(report, indent=2))


def _tell(found: dict[str, Any], indent: str = "  ") -> None:
    for name, value in found.items():
        if isinstance(value, dict) and any(isinstance(part, dict) for part in value.values()):
            print(f"{indent}{name}")
            _tell(value, indent + "  ")
        elif isinstance(value, dict):
            print(f"{indent}{name:24} " + ", ".join(f"{key} {part}" for key, part in value.items()))
        else:
            print(f"{indent}{name:24} {value}")


if __name__ == "__main__":
    main()
