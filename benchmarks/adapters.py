"""Adapters: what importing them costs, and what the gate adds to a call that it allows.

    uv run python benchmarks/adapters.py [--json] [--rounds 1000] [--imports 7] [--gateway 400]

1. An import is timed in a fresh interpreter, which imports nothing before it, in processor time, since others
   use the machine as well; those that are compared take turns. What is reported is the least of the rounds.
   An adapter stands beside the framework that it adapts: its own cost is the difference.
2. A guarded call is of tier 1 and allowed: proposed, claimed and settled in two durable transactions of a
   journal on a file. It takes turns with the bare function. The same for a tool of LangChain, gated and bare.
3. The hop of the MCP gateway is measured by `adapters_gateway`, in the same run, where `--gateway` is not 0.

The targets: `from interlock import Gate, Held` at most three times pydantic; a guarded call 1 ms at p50; the
hop adds at most 1.5 ms at p10, and no more than fastmcp's. The exit code is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from interlock import Gate

POLICY = "interlock: 1\nname: bench\nactions:\n  orders.get: {tier: 1, args: {order_id: string}}\n"
TIMED = "import time; began = time.process_time()\n{}\nprint(time.process_time() - began)"
FRAMEWORKS = {
    "langchain": "import langchain.agents.middleware, langchain_core.tools, langgraph.prebuilt",
    "openai_agents": "import agents",
    "pydantic_ai": "import pydantic_ai",
    "google_adk": "import google.adk.apps.app, google.adk.runners",
}
"""What a program that uses the framework imports anyway, by the adapter's module."""
TIMES_PYDANTIC = 3.0
GUARDED_MS = 1.0
HOP_MS = 1.5


def import_cost(rounds: int) -> dict[str, Any]:
    """Milliseconds by what is imported, and of each adapter what it adds to its framework."""
    code = {
        "pydantic": "from pydantic import BaseModel",
        "gate": "from interlock import Gate, Held",
    }
    adapters = [name for name, first in FRAMEWORKS.items() if _there(name, first)]
    for name in adapters:
        code[f"{name}, framework"] = FRAMEWORKS[name]
        code[name] = f"{FRAMEWORKS[name]}\nimport interlock.adapters.{name}"
    took: dict[str, list[float]] = {name: [] for name in code}
    for _ in range(rounds):
        for name, text in code.items():
            command = [sys.executable, "-c", TIMED.format(text)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            took[name].append(float(said.split()[-1]) * 1e3)
    least = {name: min(times) for name, times in took.items()}
    return {
        "ms": {name: round(ms, 1) for name, ms in least.items()},
        "times_pydantic": round(least["gate"] / least["pydantic"], 2),
        "own_ms": {name: round(least[name] - least[f"{name}, framework"], 1) for name in adapters},
    }


def guarded(rounds: int) -> dict[str, Any]:
    """Milliseconds of an allowed call, guarded and bare."""

    def get(order_id: str) -> str:
        return order_id

    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name, _gate(Path(name)) as gate:
        behind = gate.guard("orders.get")(get)
        return _turns(rounds, {"guarded": lambda n: behind(str(n)), "bare": lambda n: get(str(n))})


def gated_tool(rounds: int) -> dict[str, Any] | None:
    """As `guarded`, for a tool of LangChain; None where it is not installed."""
    if find_spec("langchain") is None:
        return None
    from langchain_core.tools import StructuredTool

    from interlock.adapters.langchain import gated

    def get(order_id: str) -> str:
        """Look an order up."""
        return order_id

    bare = StructuredTool.from_function(get)
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name, _gate(Path(name)) as gate:
        behind = gated(bare, gate, topic="orders.get")
        ways: dict[str, Callable[[int], Any]] = {
            "gated": lambda n: behind.invoke({"order_id": str(n)}),
            "bare": lambda n: bare.invoke({"order_id": str(n)}),
        }
        return _turns(rounds, ways)


def _gate(folder: Path) -> Gate:
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    return Gate.open(policy)


def _turns(rounds: int, ways: dict[str, Callable[[int], Any]]) -> dict[str, Any]:
    """The ways of doing a thing take turns; tenth percentile and median, without the first tenth."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way(number)
            took[name].append((time.perf_counter() - began) * 1e3)
    figures: dict[str, Any] = {}
    for name, times in took.items():
        counted = sorted(times[rounds // 10 :])
        tenth, middle = counted[len(counted) // 10], statistics.median(counted)
        figures[name] = {"p10_ms": round(tenth, 4), "p50_ms": round(middle, 4)}
    return figures


def _there(adapter: str, framework: str) -> bool:
    roots = {part.split(".")[0] for part in framework.removeprefix("import ").split(", ")}
    return all(map(find_spec, roots)) and find_spec(f"interlock.adapters.{adapter}") is not None


def run(rounds: int, imports: int, gateway: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "import": import_cost(imports),
        "guard": guarded(rounds),
        "langchain": gated_tool(rounds),
    }
    found["met"] = {
        "import": found["import"]["times_pydantic"] <= TIMES_PYDANTIC,
        "guard": found["guard"]["guarded"]["p50_ms"] <= GUARDED_MS,
    }
    if gateway:
        from benchmarks import adapters_gateway

        hop = found["gateway"] = adapters_gateway.measure(gateway)
        added = hop["added_p10_ms"]
        found["met"]["gateway"] = hop["complete"] and added["gateway"] <= min(HOP_MS, added["fastmcp"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--imports", type=int, default=7)
    parser.add_argument(
        "--gateway", type=int, default=400, help="calls through the MCP gateway; 0 leaves it out"
    )
    options = parser.parse_args()
    found = run(options.rounds, options.imports, options.gateway)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0 if all(found["met"].values()) else 1
    cost = found["import"]
    for name, ms in cost["ms"].items():
        print(f"import {name:<28} {ms:>9.1f} ms")
    print(f"the gate's is {cost['times_pydantic']} times pydantic's (at most {TIMES_PYDANTIC:g})")
    for part in ("guard", "langchain", "gateway"):
        print(f"{part:<10} {json.dumps(found.get(part))}")
    return 0 if all(found["met"].values()) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
