"""The real Claude Code behind the gate: allowed, held, edited, rejected, resumed, and hooks that die.

The model is scripted, everything else is real: Claude Code, its hooks, the home, and the person who decides
from another process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from claude_code import ClaudeCode, Turn, program, scripted
from house import House, ManualClock
from interlock.adapters.claude_code import settings
from interlock.gate import Answer, HumanDecision, ReasonCode
from interlock.identity import KeyKind, embedded_caller
from server_process import ServerProcess

CLAUDE = program()
pytestmark = pytest.mark.skipif(CLAUDE is None, reason="the Claude Agent SDK is not installed")

CALLER = embedded_caller("claude-code")
COMMAND = (sys.executable, "-m", "interlock.cli")
POLICY = """
interlock: 1
name: coding
people: solo
actions:
  claude.read: {tier: 1}
  claude.write: {tier: 2, undo: claude.write, undo_within: 5m}
  claude.bash:
    tier: 3
    args:
      command: string
      timeout: {type: integer, optional: true}
      run_in_background: {type: boolean, optional: true}
    summary: Run {args.command}
    execute: {caller: {}}
rules:
  - {id: routine, match: {topics: [claude.bash]}, when: 'args.command.startsWith("true ")', decision: allow}
  - id: others
    match: {topics: [claude.bash]}
    when: '!args.command.startsWith("true ")'
    decision: require_approval
    lane: {window: 1h, on_timeout: deny}
"""
HELD = {"command": "echo once >> ran", "description": "Note that it ran"}


def bash(use_id: str, **given: Any) -> tuple[str, str, dict[str, Any]]:
    return use_id, "Bash", given


class Place:
    """A folder where Claude Code works, its settings, and the home behind its hooks."""

    def __init__(self, folder: Path, house: House) -> None:
        self.house = house
        self.gate = ["--home", str(house.home.path)]
        self.work = folder / "work"
        self.work.mkdir()
        self.settings = folder / "settings.json"
        assert CLAUDE is not None
        self.claude = ClaudeCode(CLAUDE, self.work, self.settings)
        self.install()

    def install(self, *options: str, program: tuple[str, ...] = COMMAND, **more: Any) -> None:
        hooks = settings.hooks([*self.gate, *options], program)
        self.settings.write_text(json.dumps({"hooks": hooks, **more}))

    @property
    def ran(self) -> int:
        """How often the command of `HELD` took effect."""
        file = self.work / "ran"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def actions(self, topic: str = "claude.bash") -> list[dict[str, Any]]:
        """All actions of a topic, the oldest first, as their proposer may see them."""
        rows = self.house.sql(
            "SELECT id, min(proposed_at) FROM actions WHERE topic = ? GROUP BY id ORDER BY 2", topic
        )
        return [self.house.view(action_id, CALLER) for action_id, _ in rows]

    def decide(self, answer: Answer = Answer.APPROVE, **rest: Any) -> None:
        """A person answers the one request that waits."""
        (action,) = [each for each in self.actions() if each["state"] == "held"]
        approval = action["approval"]
        if answer is Answer.REJECT:
            rest["reason_code"] = ReasonCode.OTHER
        decision = HumanDecision(answer, approval["review_hash"], **rest)
        self.house.gate.decide(approval["id"], self.house.home.roster.named("Ana").caller, decision)


@pytest.fixture
def place(open_house: Callable[..., House], tmp_path: Path, clock: ManualClock) -> Place:
    house = open_house(POLICY, clock=clock)
    house.home.roster.first("Ana", by="test")
    return Place(tmp_path, house)


@pytest.fixture
def served(place: Place, tmp_path: Path) -> Iterator[Place]:
    """A place whose hooks ask a server, with an adapter's key."""
    _, key = place.house.home.keyring.add(KeyKind.ADAPTER, "claude-code", topics=["claude.**"], by="test")
    file = tmp_path / "adapter.key"
    file.write_text(key)
    file.chmod(0o600)
    with ServerProcess(place.house.home.path) as server:
        place.gate = ["--url", server.url, "--key-file", str(file), "--state", str(tmp_path / "state")]
        place.install()
        yield place


def test_behind_a_server_a_held_command_runs_once_after_it_was_approved_and_repeated(served: Place) -> None:
    served.install("--no-defer")

    def approved() -> list[Any]:
        assert served.ran == 0
        served.decide()
        return [bash("toolu_2", **HELD), bash("toolu_3", command="true && echo once >> ran")]

    with scripted([bash("toolu_1", **HELD)], approved) as model:
        served.claude.run(model)
    assert served.ran == 2
    assert "Held" in model.results["toolu_1"]
    assert [each["state"] for each in served.actions()] == ["succeeded", "succeeded"]


def test_behind_a_server_a_deferred_run_goes_on_once_however_many_resume_it(served: Place) -> None:
    with scripted([bash("toolu_1", **HELD)]) as model:
        session = served.claude.run(model)["session_id"]
        served.decide()
        with ThreadPoolExecutor(2) as both:
            list(both.map(served.claude.resume, [model] * 2, [session] * 2))
    assert served.ran == 1
    assert [each["state"] for each in served.actions()] == ["succeeded"]


def test_an_allowed_command_runs_and_is_reported(place: Place) -> None:
    with scripted([bash("toolu_1", command="true && echo once >> ran", description="d")]) as model:
        place.claude.run(model)
    (action,) = place.actions()
    assert (place.ran, action["state"]) == (1, "succeeded")
    assert action["args"] == {"command": "true && echo once >> ran"}


def test_a_command_that_fails_by_its_exit_code_has_run_and_may_run_again(place: Place) -> None:
    calls: list[Turn] = [[bash(f"toolu_{n}", command="true ; echo once >> ran; exit 3")] for n in (1, 2)]
    with scripted(*calls) as model:
        place.claude.run(model)
    first, second = place.actions()
    assert place.ran == 2
    assert first["state"] == second["state"] == "succeeded"
    assert "exit code 3" in first["outcome"]["note"]


def test_files_that_are_written_and_read_are_reported_as_they_were_allowed(place: Place) -> None:
    path = str(place.work / "a.txt")
    with scripted(
        [("toolu_1", "Write", {"file_path": path, "content": "x\n"})],
        [("toolu_2", "Read", {"file_path": path}), ("toolu_3", "Read", {"file_path": path})],
        [("toolu_4", "Read", {"file_path": str(place.work / "missing")})],
    ) as model:
        place.claude.run(model)
    assert (place.work / "a.txt").read_text() == "x\n"
    assert [each["state"] for each in place.actions("claude.write")] == ["succeeded"]
    assert [each["state"] for each in place.actions("claude.read")] == ["succeeded", "succeeded", "failed"]


def test_a_held_command_runs_once_after_it_was_approved_and_repeated(place: Place) -> None:
    place.install("--no-defer")

    def approved() -> list[Any]:
        assert place.ran == 0
        place.decide()
        return [bash("toolu_2", **{**HELD, "description": "Said otherwise"})]

    with scripted([bash("toolu_1", **HELD)], approved, [bash("toolu_3", **HELD)]) as model:
        place.claude.run(model)
    assert place.ran == 1
    assert "Held" in model.results["toolu_1"]
    assert "toolu_2" in model.results
    assert "Held" in model.results["toolu_3"]  # an approval is for one run
    assert [each["state"] for each in place.actions()] == ["succeeded", "held"]


def test_a_rejected_command_stays_rejected_and_the_model_reads_why(place: Place) -> None:
    place.install("--no-defer")

    def rejected() -> list[Any]:
        place.decide(Answer.REJECT, note="Not on a Friday")
        return [bash("toolu_2", **HELD)]

    with scripted([bash("toolu_1", **HELD)], rejected, [bash("toolu_3", **HELD)]) as model:
        place.claude.run(model)
    assert place.ran == 0
    assert "Not on a Friday" in model.results["toolu_2"]
    assert "Not on a Friday" in model.results["toolu_3"]
    assert [each["state"] for each in place.actions()] == ["rejected"]


def test_an_edited_command_runs_as_the_person_wrote_it_and_the_model_is_told(place: Place) -> None:
    place.install("--no-defer")

    def edited() -> list[Any]:
        place.decide(Answer.EDIT, args={"command": "echo twice > ran; echo twice >> ran"})
        place.decide()
        return [bash("toolu_2", **HELD)]

    with scripted([bash("toolu_1", **HELD)], edited) as model:
        place.claude.run(model)
    assert (place.work / "ran").read_text() == "twice\ntwice\n"
    (action,) = place.actions()
    assert (action["state"], action["revision"]) == ("succeeded", 2)
    assert "A person changed this call before it ran" in model.read


def test_a_deferred_run_goes_on_once_however_many_resume_it(place: Place) -> None:
    with scripted([bash("toolu_1", **HELD)]) as model:
        first = place.claude.run(model)
        assert first["deferred_tool_use"]["id"] == "toolu_1"
        assert place.ran == 0
        still = place.claude.resume(model, first["session_id"])
        assert (still["deferred_tool_use"]["id"], place.ran) == ("toolu_1", 0)
        place.decide()
        with ThreadPoolExecutor(2) as both:
            list(both.map(place.claude.resume, [model] * 2, [first["session_id"]] * 2))
    assert place.ran == 1
    (action,) = place.actions()
    assert action["state"] == "succeeded"


def test_of_parallel_calls_each_waits_for_its_own_decision(place: Place) -> None:
    place.install("--no-defer")
    with scripted(
        [bash("toolu_1", command="true && echo once >> ran"), bash("toolu_2", **HELD)],
    ) as model:
        place.claude.run(model)
    assert place.ran == 1
    assert sorted(each["state"] for each in place.actions()) == ["held", "succeeded"]
    assert "Held" in model.results["toolu_2"]


def test_what_ran_when_claude_code_was_killed_is_in_doubt(place: Place, clock: ManualClock) -> None:
    command = "true ; echo once >> ran; sleep 20"
    with scripted([bash("toolu_1", command=command)]) as model:
        process = place.claude.start(model)
        give_up = time.monotonic() + 60
        while not place.ran:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (action,) = place.actions()
    assert action["state"] == "executing"
    clock.forward(700)
    place.house.gate.sweep()
    assert place.actions()[0]["state"] == "in_doubt"
    assert place.ran == 1


@pytest.mark.parametrize(
    "hook",
    [
        ("sh", "-c", "kill -9 $$"),
        ("/nonexistent/interlock",),
        ("sh", "-c", "exit 1"),
        ("sh", "-c", "kill $$"),
    ],
)
def test_a_hook_that_dies_blocks_the_tool_although_a_rule_allows_it(
    place: Place, hook: tuple[str, ...]
) -> None:
    place.install(program=hook, permissions={"allow": ["Bash"]})
    with scripted([bash("toolu_1", command="true && echo once >> ran")]) as model:
        place.claude.run(model)
    assert place.ran == 0
    assert "toolu_1" in model.results


def test_without_its_home_the_hook_blocks_the_tool_although_a_rule_allows_it(place: Place) -> None:
    place.install(permissions={"allow": ["Bash"]})
    place.house.home.close()
    shutil.rmtree(place.house.home.path)
    with scripted([bash("toolu_1", command="true && echo once >> ran")]) as model:
        place.claude.run(model)
    assert place.ran == 0
    assert "There is no home" in model.results["toolu_1"]


def test_what_claude_code_itself_refuses_after_the_gate_allowed_it_is_never_said_to_have_run(
    place: Place,
) -> None:
    place.install(permissions={"deny": ["Bash(true:*)"]})
    with scripted([bash("toolu_1", command="true && echo once >> ran")]) as model:
        place.claude.run(model)
    (action,) = place.actions()
    assert place.ran == 0
    assert action["state"] == "executing"  # until its lease ends: then it is in doubt


def test_a_rule_that_asks_a_person_at_the_terminal_still_asks(place: Place) -> None:
    place.install(permissions={"ask": ["Bash(true:*)"]})
    with scripted([bash("toolu_1", command="true && echo once >> ran")]) as model:
        place.claude.run(model)
    assert place.ran == 0
    assert len(place.actions()) == 1
