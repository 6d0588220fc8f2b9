"""The policy benchmark with tiny sizes: every engine answers, all agree, and a wrong answer ends the run."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from interlock.policy import parse

pytest.importorskip("cedarpy", reason="the peers are not installed: uv run --group bench pytest")
pytest.importorskip("agent_os.policies", reason="the peers are not installed: uv run --group bench pytest")

ROOT = Path(__file__).resolve().parents[2]
PEERS = {"cedarpy", "cel_linear", "cel_joined", "agt_evaluator", "agt_shared"}


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("benchmarks.policy")


@pytest.fixture(scope="module")
def peers(benchmark: ModuleType) -> ModuleType:
    return importlib.import_module("benchmarks.policy_peers")


@pytest.fixture(scope="module")
def tiny(benchmark: ModuleType) -> Any:
    return benchmark.Effort(actions=150, rounds=1, first_seen=50, compiled=30, linted=30, simulated=200)


@pytest.fixture(scope="module")
def measured(benchmark: ModuleType, tiny: Any) -> Any:
    return benchmark.measure((10, 100), tiny)


def test_every_engine_decides_every_action_and_all_agree(measured: Any) -> None:
    assert measured["agree"] is True
    assert [size["rules"] for size in measured["sizes"]] == [10, 100]
    for size in measured["sizes"]:
        assert size["actions"] == sum(size["decided"].values()) == 150
        assert set(size["peers"]) == PEERS
        for figures in size["peers"].values():
            assert 0 < figures["median_us"] <= figures["p99_us"]
        for row in ("decision", "with_signals", "decide", "first_seen"):
            assert 0 < size["ours"][row]["median_us"] <= size["ours"][row]["p99_us"]


def test_the_actions_meet_all_four_decisions_so_that_agreeing_means_something(measured: Any) -> None:
    decided = measured["sizes"][1]["decided"]
    assert set(decided) == {"allow", "allow_with_constraints", "require_approval", "deny"}
    assert min(decided.values()) >= 5


def test_an_engine_that_answers_one_action_otherwise_ends_the_run_with_that_action(
    benchmark: ModuleType, peers: ModuleType, tiny: Any
) -> None:
    shaped = benchmark.shape(100)
    actions = shaped.actions(150, 2)
    answers, _ = benchmark.ours(parse(shaped.sources()), actions, tiny, 0)
    for kind in peers.PEERS:
        # A rule that only this engine has.
        extra = peers.Rule("extra", "job.**", (), (), peers.Compare("rows", ">=", 0), "deny")
        engine = kind([*shaped.rules, extra])
        theirs = [engine.decide(engine.prepared(action)) for action in actions]
        assert set(theirs) == {"deny"}
        with pytest.raises(SystemExit, match=f"ours says .*, {kind.name} says deny"):
            benchmark.agree(kind.name, 100, actions, answers, theirs)


@pytest.mark.parametrize("restrictive", [True, False])
def test_a_missing_argument_never_skips_a_restriction_and_never_permits_in_any_engine(
    benchmark: ModuleType, peers: ModuleType, restrictive: bool
) -> None:
    decision = "deny" if restrictive else "allow"
    old = peers.Rule("old", "job.crm.*.read", (), (), peers.Compare("age_days", ">", 30), decision)
    args = {"amount_usd": 1, "rows": 1, "recipients": 1}
    unknown, young, aged = (
        peers.Action("job.crm.o1.read", args | age, 3, ()) for age in ({}, {"age_days": 30}, {"age_days": 31})
    )
    expected = ["deny", "require_approval", "deny"] if restrictive else ["require_approval"] * 2 + ["allow"]
    for kind in peers.PEERS:
        engine = kind([old])
        found = [engine.decide(engine.prepared(action)) for action in (unknown, young, aged)]
        assert found == expected, kind.name


@pytest.mark.parametrize(("op", "expected"), [("<", "ynn"), ("<=", "yyn"), (">", "nny"), (">=", "nyy")])
@pytest.mark.parametrize("field", ["amount_usd", "rows", "recipients", "age_days"])
def test_a_comparison_is_the_same_at_its_boundary_in_every_engine(
    benchmark: ModuleType, peers: ModuleType, field: str, op: str, expected: str
) -> None:
    rule = peers.Rule("one", "job.crm.**", (), (), peers.Compare(field, op, 100), "deny")
    others = {"amount_usd": 1, "rows": 1, "recipients": 1, "age_days": 1}
    actions = [peers.Action("job.crm.o1.read", others | {field: value}, 1, ()) for value in (99, 100, 101)]
    catalogue = {("crm", "read"): (1, ())}
    policy = parse(benchmark.Shape((rule,), ("o1",), catalogue).sources())
    answers = {"ours": [policy.decision(benchmark.question(policy, action)).value for action in actions]}
    for kind in peers.PEERS:
        engine = kind([rule])
        answers[kind.name] = [engine.decide(engine.prepared(action)) for action in actions]
    wanted = [{"y": "deny", "n": "allow"}[letter] for letter in expected]
    assert answers == dict.fromkeys(answers, wanted)


def test_the_same_seed_gives_the_same_policy_and_actions_and_another_seed_does_not(
    benchmark: ModuleType,
) -> None:
    one, same, other = benchmark.shape(50), benchmark.shape(50), benchmark.shape(50, seed=2)
    assert one.sources() == same.sources() != other.sources()
    assert one.actions(20, 7) == same.actions(20, 7) != one.actions(20, 8)


def test_new_arguments_keep_the_topics_and_leave_out_only_what_is_optional(benchmark: ModuleType) -> None:
    actions = benchmark.shape(50).actions(300, 7)
    anew = benchmark.again(actions, 8)
    assert [action.topic for action in anew] == [action.topic for action in actions]
    present = Counter(name for action in anew for name in action.args)
    assert present["amount_usd"] == present["rows"] == 300
    assert 150 < present["recipients"] < 300
    assert 150 < present["age_days"] < 300


def test_a_large_policy_loads_from_several_files_with_all_its_rules(benchmark: ModuleType) -> None:
    shaped = benchmark.shape(2_500)
    sources = shaped.sources()
    assert len(sources) == 4
    assert len(parse(sources).rules) == 2_500


def test_what_was_wanted_stands_beside_what_was_measured(measured: Any) -> None:
    found = {target["what"]: target for target in measured["targets"]}
    assert (
        found["a decision at 100 rules, µs"]["measured"]
        == (measured["sizes"][1]["ours"]["decision"]["median_us"])
    )
    for target in found.values():
        words, bound = target["wanted"].rsplit(" ", 1)
        limit = float(bound.replace(",", ""))
        met = target["measured"] >= limit if words == "at least" else target["measured"] <= limit
        assert target["met"] is met


def test_the_script_prints_one_json_document() -> None:
    command = [sys.executable, "benchmarks/policy.py", "--json", "--quick", "--ours", "--rules", "10"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["sizes"][0]["rules"] == 10
    assert report["sizes"][0]["peers"] == {}
    assert {"python", "cpus", "versions", "verdict", "compile", "lint", "simulate"} <= report.keys()
