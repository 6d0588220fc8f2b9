"""The policy kernel beside its peers: one random policy in every engine, all asked about the same actions.

    uv run --group bench python benchmarks/policy.py [--json] [--rules 10,100,1000,10000] [--quick] [--ours]

1. Per number of rules every engine decides the same 1,000 actions, and the run fails where two of them
   disagree (`benchmarks/policy_shape.py` has the policy, `benchmarks/policy_peers.py` the peers).
2. Each decision is timed alone; what reading the clock costs is subtracted. Figures are microseconds: the
   median and the 99th percentile.
3. Ours: `decision` is the decision alone and `decide` the full verdict, about topics asked about before, with
   arguments never seen before and no signals; `with_signals` is `decision` where every action brings what
   its agent reported. `first_seen` is `decision` about a topic never asked about before: what it costs
   without the memo.
4. `verdict`, at 100 rules: from arguments as they come out of JSON to the verdict with its reasons, that is
   checking and canonicalising the arguments, the question, and `decide`; and `encoded`, until the verdict's
   canonical bytes.
5. `compile`: 10,000 rules, from the files' text, from the stored canonical form, and from a validated
   document. `lint`: 1,000 rules. `simulate`: how many actions a second a candidate of 100 rules replays,
   against recorded decisions. Of each the best of three runs.
6. `targets` says what was wanted, what was measured, and whether it was reached.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.policy_shape import Action, Shape, again, shape
from interlock.authoring import lint, simulate
from interlock.model.actions import Signals
from interlock.policy import Policy, Question, parse
from interlock.policy.findings import Place, Places

RULES = (10, 100, 1_000, 10_000)
ACTIONS = 1_000
US = 1_000  # nanoseconds
_clock = time.perf_counter_ns


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        actions: how many every engine decides.
        rounds: how often ours decides about them anew, with new arguments.
        first_seen: topics that are decided about for the first time.
        compiled, linted: rules.
        simulated: actions.
    """

    actions: int = ACTIONS
    rounds: int = 20
    first_seen: int = 2_000
    compiled: int = 10_000
    linted: int = 1_000
    simulated: int = 100_000


FULL = Effort()
QUICK = Effort(actions=200, rounds=5, first_seen=500, compiled=1_000, linted=200, simulated=10_000)


# --- time -------------------------------------------------------------------------------------------------


def _reading_the_clock() -> int:
    readings = []
    for _ in range(20_000):
        started = _clock()
        readings.append(_clock() - started)
    return int(statistics.median(readings))


def timed(decide: Callable[[Any], Any], asked: Iterable[Any]) -> tuple[list[Any], list[int]]:
    """The answers, and what each took in nanoseconds."""
    answers, taken, clock = [], [], _clock
    for one in asked:
        started = clock()
        answer = decide(one)
        taken.append(clock() - started)
        answers.append(answer)
    return answers, taken


def microseconds(taken: Sequence[int], clock: int) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        "median_us": round(max(statistics.median(ordered) - clock, 0) / US, 2),
        "p99_us": round(max(ordered[int(len(ordered) * 0.99)] - clock, 0) / US, 2),
    }


def _seconds(work: Callable[[], object], runs: int = 3) -> float:
    """The best of a few runs: a busy neighbour only adds."""
    taken = []
    for _ in range(runs):
        gc.collect()
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return round(min(taken), 3)


# --- ours -------------------------------------------------------------------------------------------------


def question(policy: Policy, action: Action) -> Question:
    return Question(action.topic, policy.check_args(action.topic, action.decoded))


def reporting(asked: Sequence[Question]) -> list[Question]:
    """The same questions, each with signals of its own: the agent's confidence, nothing unusual observed."""
    draw = random.Random(4)
    return [
        replace(one, signals=Signals(confidence=Decimal(draw.randrange(100)).scaleb(-2))) for one in asked
    ]


def ours(
    policy: Policy, actions: list[Action], effort: Effort, clock: int
) -> tuple[list[str], dict[str, Any]]:
    """Our answers about the actions, and our figures."""
    answers = [policy.decision(question(policy, action)).value for action in actions]
    if answers != [policy.decide(question(policy, action)).decision.value for action in actions]:
        raise SystemExit("decision and decide disagree")
    fresh = [question(policy, a) for seed in range(effort.rounds) for a in again(actions, seed)]
    return answers, {
        "decision": microseconds(timed(policy.decision, fresh)[1], clock),
        "with_signals": microseconds(timed(policy.decision, reporting(fresh))[1], clock),
        "decide": microseconds(timed(policy.decide, fresh)[1], clock),
    }


def first_seen(policy: Policy, shaped: Shape, effort: Effort, clock: int) -> dict[str, float]:
    """Decisions about topics that a policy has never been asked about; the policy is made anew as needed."""
    taken: list[int] = []
    seed = 0
    while len(taken) < effort.first_seen:
        seed += 1
        actions = {action.topic: action for action in shaped.actions(2 * effort.first_seen, seed)}
        asked = [question(policy, action) for action in list(actions.values())[: effort.first_seen]]
        taken += timed(Policy.from_canonical(policy.canonical()).decision, asked)[1]
    return microseconds(taken, clock)


def verdicts(effort: Effort, clock: int) -> dict[str, Any]:
    """From decoded arguments to the verdict, at 100 rules."""
    shaped = shape(100)
    policy = parse(shaped.sources())
    actions = shaped.actions(effort.actions, 3)

    def decided(proposed: tuple[str, dict[str, Any]]) -> Any:
        topic, args = proposed
        return policy.decide(Question(topic, policy.check_args(topic, args)))

    def proposed(seed: int) -> list[tuple[str, dict[str, Any]]]:
        return [(a.topic, a.decoded) for n in range(effort.rounds) for a in again(actions, seed + n)]

    timed(decided, proposed(1_000))
    return {
        "rules": 100,
        "decoded_to_verdict": microseconds(timed(decided, proposed(2_000))[1], clock),
        "encoded": microseconds(timed(lambda p: decided(p).canonical(), proposed(3_000))[1], clock),
    }


def compiling(effort: Effort) -> dict[str, Any]:
    sources = shape(effort.compiled).sources()
    policy = parse(sources)
    stored, document, places = policy.canonical(), policy.document, Places(Place("benchmark", 1, 1))
    return {
        "rules": effort.compiled,
        "characters": sum(map(len, sources.values())),
        "from_text_sec": _seconds(lambda: parse(sources)),
        "from_stored_sec": _seconds(lambda: Policy.from_canonical(stored)),
        "from_document_sec": _seconds(lambda: Policy.build(document, places)),
    }


def linting(effort: Effort) -> dict[str, Any]:
    policy = parse(shape(effort.linted).sources())
    return {"rules": effort.linted, "sec": _seconds(lambda: lint(policy))}


def simulating(effort: Effort) -> dict[str, Any]:
    """A candidate replays actions whose decisions under another policy are known."""
    shaped = shape(100)
    old, candidate = parse(shaped.sources()), parse(shape(100, seed=2).sources())
    actions = shaped.actions(effort.simulated, 5)
    recorded = [(asked, old.decision(asked)) for asked in (question(old, action) for action in actions)]
    seconds = _seconds(lambda: simulate(recorded, candidate))
    return {"rules": 100, "actions": len(recorded), "actions_per_second": round(len(recorded) / seconds)}


# --- all of them ------------------------------------------------------------------------------------------


def compare(rules: int, effort: Effort, clock: int, *, peers: bool) -> dict[str, Any]:
    """One size: every engine's answers, which must agree, and its figures."""
    shaped = shape(rules)
    actions = shaped.actions(effort.actions, 2)
    policy = parse(shaped.sources())
    answers, figures = ours(policy, actions, effort, clock)
    figures["first_seen"] = first_seen(policy, shaped, effort, clock)
    found: dict[str, Any] = {
        "rules": rules,
        "actions": len(actions),
        "decided": dict(sorted(Counter(answers).items())),
        "ours": figures,
        "peers": {},
    }
    if peers:
        from benchmarks.policy_peers import PEERS, CedarOnce

        for kind in PEERS:
            started = time.perf_counter()
            peer = kind(shaped.rules)
            building = time.perf_counter() - started
            asked = [peer.prepared(action) for action in actions]
            peer.decide(asked[0])
            theirs, taken = timed(peer.decide, asked)
            agree(kind.name, rules, actions, answers, theirs)
            row: dict[str, Any] = {**microseconds(taken, clock), "build_sec": round(building, 3)}
            if isinstance(peer, CedarOnce):
                started = time.perf_counter()
                together = peer.in_batch(asked)
                row["in_batch_us"] = round((time.perf_counter() - started) / len(asked) * 1e6, 2)
                agree(f"{kind.name} in a batch", rules, actions, answers, together)
            row["times_ours"] = round(row["median_us"] / figures["decision"]["median_us"], 1)
            found["peers"][kind.name] = row
    return found


def agree(name: str, rules: int, actions: list[Action], ours: list[str], theirs: list[str]) -> None:
    for action, mine, other in zip(actions, ours, theirs, strict=True):
        if mine != other:
            raise SystemExit(f"{rules} rules, {action}: ours says {mine}, {name} says {other}")


def measure(sizes: Sequence[int] = RULES, effort: Effort = FULL, *, peers: bool = True) -> dict[str, Any]:
    clock = _reading_the_clock()
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {name: version(name) for name in _packages(peers)},
        "forms": _forms() if peers else {},
        "agree": True,
        "sizes": [compare(rules, effort, clock, peers=peers) for rules in sizes],
        "verdict": verdicts(effort, clock),
        "compile": compiling(effort),
        "lint": linting(effort),
        "simulate": simulating(effort),
    }
    return {**report, "targets": targets(report)}


def targets(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What was wanted of this run, and what came of it. What was not measured at its size is left out."""
    sizes = {size["rules"]: size for size in report["sizes"]}
    found = []

    def wanted(what: str, bound: float, measured: float, *, at_least: bool = False) -> None:
        met = measured >= bound if at_least else measured <= bound
        words = f"{'at least' if at_least else 'at most'} {bound:,}"
        found.append({"what": what, "wanted": words, "measured": measured, "met": met})

    if 100 in sizes:
        figures = sizes[100]["ours"]
        decision = figures["decision"]["median_us"]
        wanted("a decision at 100 rules, µs", 1.5, decision)
        if 10_000 in sizes:
            large = sizes[10_000]["ours"]["decision"]["median_us"]
            wanted("a decision at 10,000 rules, times that at 100", 2, round(large / decision, 2))
        wanted("a decision without the memo at 100 rules, µs", 6, figures["first_seen"]["median_us"])
    wanted("a verdict from a decoded action, µs", 15, report["verdict"]["decoded_to_verdict"]["median_us"])
    if 1_000 in sizes and sizes[1_000]["peers"]:
        least = min(peer["times_ours"] for peer in sizes[1_000]["peers"].values())
        wanted("times faster than the fastest peer at 1,000 rules", 50, least, at_least=True)
    compiled = report["compile"]
    wanted(f"compiling {compiled['rules']:,} rules from text, seconds", 2, compiled["from_text_sec"])
    wanted(f"lint of {report['lint']['rules']:,} rules, seconds", 5, report["lint"]["sec"])
    per_second = report["simulate"]["actions_per_second"]
    wanted("actions simulated a second", 50_000, per_second, at_least=True)
    return found


def _packages(peers: bool) -> list[str]:
    if not peers:
        return ["interlock"]
    from benchmarks.policy_peers import PEERS

    return ["interlock", *dict.fromkeys(peer.package for peer in PEERS)]


def _forms() -> dict[str, str]:
    from benchmarks.policy_peers import PEERS

    return {peer.name: peer.how for peer in PEERS}


def table(report: dict[str, Any]) -> str:
    """The figures as a table: median microseconds a decision."""
    sizes = report["sizes"]
    rows = [["µs a decision, median", *(f"{size['rules']:,} rules" for size in sizes)]]
    for name in ("decision", "with_signals", "decide", "first_seen"):
        rows.append([f"ours: {name}", *(f"{size['ours'][name]['median_us']:,}" for size in sizes)])
    for name in sizes[0]["peers"]:
        cells = (size["peers"][name] for size in sizes)
        rows.append([name, *(f"{cell['median_us']:,} (×{cell['times_ours']:,})" for cell in cells)])
    return "\n".join(f"{row[0]:26}" + "".join(f"{cell:>24}" for cell in row[1:]) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rules", default=",".join(map(str, RULES)), help="numbers of rules, with commas")
    parser.add_argument("--quick", action="store_true", help="fewer actions and smaller policies")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    sizes = [int(size) for size in options.rules.split(",")]
    report = measure(sizes, QUICK if options.quick else FULL, peers=not options.ours)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(table(report))
    print()
    for target in report["targets"]:
        reached = "reached" if target["met"] else "not reached"
        print(f"{target['what']:58} {target['measured']:>12,}   wanted {target['wanted']}: {reached}")


if __name__ == "__main__":
    main()
