"""`max_runtime_sec` on a Python function: it runs in a process that can be ended, or it does not run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import apart
from house import House
from interlock import Gate, Held, NoEffect
from interlock.gate import Answer, HumanDecision, Scope
from interlock.home import Home
from interlock.identity import Role
from interlock.model.errors import (
    ConstraintBreached,
    ConstraintUnenforceable,
    InDoubt,
)

POLICY = """
interlock: 1
name: apart
actions:
  pay.out:
    tier: 2
    args: {book: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    execute: {caller: {}}
    undo: pay.out
    undo_within: 1m
  job.run: {tier: 2, args: {book: string}, execute: {caller: {}}, undo: job.run, undo_within: 1m}
  job.keyed:
    tier: 2
    args: {book: string}
    execute: {caller: {idempotent: {retention: 1h}}}
    undo: job.run
    undo_within: 1m
  job.look: {tier: 1, args: {book: string}, execute: {caller: {}}}
  job.held: {tier: 3, args: {book: string}, execute: {caller: {}}}
rules:
  - id: held
    match: {topics: [job.held]}
    decision: require_approval
    owner: ops
    constraints: {max_runtime_sec: 30}
  - id: short
    match: {topics: [job.run, job.keyed, job.look]}
    decision: allow
    constraints: {max_runtime_sec: 1}
  - {id: long, match: {topics: [pay.out, job.long]}, decision: allow, constraints: {max_runtime_sec: 30}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def gate(policy: Path) -> Iterator[Gate]:
    with Gate.open(policy) as opened:
        yield opened


@pytest.fixture
def desk(gate: Gate, policy: Path) -> Iterator[House]:
    """Another process's view of the same home."""
    home = Home.open(policy.parent / ".interlock")
    yield House(home)
    home.close()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book"


def state(desk: House) -> str:
    ((found,),) = desk.sql("SELECT state FROM actions")
    return str(found)


def breaches(desk: House) -> list[str]:
    found = [json.loads(entry) for entry in desk.entries()]
    return [entry["constraint"] for entry in found if entry["kind"] == "constraint.breached"]


# --- what runs, and where ---------------------------------------------------------------------------------


def test_it_runs_in_another_process_once_with_the_approved_arguments(
    gate: Gate, desk: House, book: Path
) -> None:
    found = gate.guard("pay.out")(apart.pay)(str(book), 5.1)  # type: ignore[arg-type]
    assert found == {"pid": apart.pids(book)[0], "type": "Decimal", "amount": Decimal("5.10")}
    assert found["pid"] != os.getpid()
    assert apart.noted(book) == ["paid"]
    assert state(desk) == "succeeded"
    assert breaches(desk) == []


def test_without_that_constraint_it_runs_in_this_process(gate: Gate, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace(", constraints: {max_runtime_sec: 30}}", "}"))
    with Gate.open(other, home=tmp_path / "elsewhere") as free:
        assert free.guard("pay.out")(apart.pay)(str(tmp_path / "book"), Decimal(1))["pid"] == os.getpid()


def test_a_coroutine_function_runs_there_too(gate: Gate, desk: House, book: Path) -> None:
    guarded = gate.guard("job.run")(apart.pays_later)
    assert asyncio.run(guarded(str(book))) != os.getpid()
    assert state(desk) == "succeeded"


MODULE = """
from interlock import Gate
import apart

gate = Gate.open({policy!r})

@gate.guard("job.run")
def work(book: str) -> int:
    apart.note(book, "worked")
    return 7

class Desk:
    @staticmethod
    @gate.guard("job.look")
    def look(book: str) -> int:
        return 8
"""


def test_a_function_that_its_module_guards_is_found_behind_its_guard(
    policy: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guarded_tools.py").write_text(MODULE.format(policy=str(policy)))
    monkeypatch.syspath_prepend(tmp_path)
    import guarded_tools  # type: ignore[import-not-found]

    try:
        assert guarded_tools.work(str(book)) == 7
        assert guarded_tools.Desk.look(str(book)) == 8
        assert apart.noted(book) == ["worked"]
        assert apart.pids(book) != [os.getpid()]
    finally:
        guarded_tools.gate.close()
        del sys.modules["guarded_tools"]


def test_what_a_module_calls_when_it_is_imported_is_not_proposed_again(
    policy: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = MODULE.format(policy=str(policy)) + f"\nwork({str(book)!r})\n"
    (tmp_path / "eager_tools.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConstraintUnenforceable, match="A module is being imported"):
        __import__("eager_tools")
    assert apart.noted(book) == []
    home = Home.open(policy.parent / ".interlock")
    house = House(home)
    assert house.sql("SELECT state FROM actions") == [("failed",)]
    home.close()


# --- what overstays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [apart.overstays, apart.does_not_listen])
def test_what_overstays_is_ended_with_all_it_started_and_is_in_doubt(
    function: Callable[[str], None], gate: Gate, desk: House, book: Path
) -> None:
    with pytest.raises(ConstraintBreached, match="ended after 1 s"):
        gate.guard("job.run")(function)(str(book))
    assert state(desk) == "in_doubt"
    assert breaches(desk) == ["max_runtime_sec"]
    assert "ended" not in apart.noted(book)
    assert apart.noted(book).count("began") == 1
    assert apart.all_gone(book)


def test_what_only_reads_and_overstays_has_failed(gate: Gate, desk: House, book: Path) -> None:
    with pytest.raises(ConstraintBreached, match="changes nothing"):
        gate.guard("job.look")(apart.overstays)(str(book))
    assert state(desk) == "failed"
    assert breaches(desk) == ["max_runtime_sec"]


def test_what_may_be_repeated_is_called_once_more_and_the_breach_stays_on_record(
    gate: Gate, desk: House, book: Path
) -> None:
    assert gate.guard("job.keyed")(apart.second_time_quick)(str(book)) == "done"
    assert apart.noted(book) == ["began", "began"]
    assert state(desk) == "succeeded"
    assert breaches(desk) == ["max_runtime_sec"]


def test_what_may_be_repeated_and_always_overstays_ends_in_doubt(gate: Gate, desk: House, book: Path) -> None:
    with pytest.raises(ConstraintBreached):
        gate.guard("job.keyed")(apart.overstays)(str(book))
    assert apart.noted(book).count("began") == 2
    assert state(desk) == "in_doubt"
    assert apart.all_gone(book)


def test_a_coroutine_that_is_cancelled_takes_its_process_along(gate: Gate, desk: House, book: Path) -> None:
    guarded = gate.guard("job.held")(apart.overstays_later)
    with pytest.raises(Held) as held:
        asyncio.run(guarded(str(book)))
    _approve(desk, held.value)

    async def give_up() -> None:
        task = asyncio.ensure_future(gate.resume_async(held.value.action_id))
        while not apart.noted(book):  # noqa: ASYNC110 (what is waited for is another process)
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert apart.all_gone(book)
    assert state(desk) == "in_doubt"
    assert breaches(desk) == []


def test_a_kill_switch_ends_it(gate: Gate, desk: House, book: Path) -> None:
    guarded = gate.guard("job.held")(apart.overstays)
    with pytest.raises(Held) as held:
        guarded(str(book))
    _approve(desk, held.value)
    ended: list[BaseException] = []

    def resume() -> None:
        try:
            gate.resume(held.value.action_id)
        except InDoubt as error:
            ended.append(error)

    thread = threading.Thread(target=resume)
    thread.start()
    while not apart.noted(book):
        time.sleep(0.02)
    desk.home.kill_switches.engage(Scope.TOPIC, "job.held", "smoke", by="test")
    thread.join(20)
    assert len(ended) == 1
    assert "kill switch" in str(ended[0])
    assert apart.all_gone(book)
    assert "ended" not in apart.noted(book)
    assert state(desk) == "in_doubt"


def test_its_process_ends_with_the_process_that_waits_for_it(policy: Path, book: Path) -> None:
    script = (
        "import sys, apart\nfrom interlock import Gate\n"
        f"Gate.open({str(policy)!r}).guard('pay.out')(apart.pay)\n"
        "from interlock.dispatch.child import Place, run\nfrom interlock.dispatch.stopping import Stopping\n"
        f"run(Place.of(apart.overstays), {{'book': {str(book)!r}}}, 60.0, Stopping(), lambda: None)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": _path()}
    ) as parent:
        while len(apart.noted(book)) < 2 and parent.poll() is None:
            time.sleep(0.02)
        parent.send_signal(signal.SIGKILL)
    assert len(apart.noted(book)) == 2
    assert apart.all_gone(book)


def _path() -> str:
    return os.pathsep.join([str(Path(apart.__file__).parent), os.environ.get("PYTHONPATH", "")])


# --- what it comes back with ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "raised", "ends"),
    [
        (apart.finds_nothing, NoEffect, "failed"),
        (apart.breaks, KeyError, "in_doubt"),
        (apart.breaks_stubbornly, RuntimeError, "in_doubt"),
        (apart.dies, InDoubt, "in_doubt"),
    ],
)
def test_what_it_raises_is_raised_here_and_settled_as_it_would_be_here(
    function: Any, raised: type[Exception], ends: str, gate: Gate, desk: House, book: Path
) -> None:
    with pytest.raises(raised):
        gate.guard("job.run")(function)(str(book))
    assert state(desk) == ends
    assert len(apart.noted(book)) == 1
    assert breaches(desk) == []


def test_what_cannot_leave_its_process_is_a_success_without_a_result(
    gate: Gate, desk: House, book: Path
) -> None:
    assert gate.guard("job.run")(apart.returns_a_lock)(str(book)) is None
    assert state(desk) == "succeeded"


def test_what_would_work_later_has_not_succeeded(gate: Gate, desk: House, book: Path) -> None:
    gate.guard("job.run")(apart.returns_a_generator)(str(book))
    assert state(desk) == "in_doubt"
    assert apart.noted(book) == []


# --- what cannot run there --------------------------------------------------------------------------------


def inner() -> Callable[[str], None]:
    def closure(book: str) -> None:
        raise AssertionError("it ran")

    return closure


class Bound:
    def method(self, book: str) -> None:
        raise AssertionError("it ran")

    async def later(self, book: str) -> None:
        raise AssertionError("it ran")


def shadowed(book: str) -> None:
    raise AssertionError("it ran")


hidden = shadowed


def shadowed(book: str) -> None:  # type: ignore[no-redef]
    raise AssertionError("it ran")


@pytest.mark.parametrize("function", [lambda book: None, inner(), Bound().method, hidden])
def test_what_no_other_process_finds_is_not_proposed_at_all(
    function: Any, gate: Gate, desk: House, book: Path
) -> None:
    with pytest.raises(ConstraintUnenforceable, match="top level of a module"):
        gate.guard("job.run")(function)(str(book))
    with pytest.raises(ConstraintUnenforceable):
        gate.propose("job.run", {"book": str(book)})
    assert desk.sql("SELECT count(*) FROM actions") == [(0,)]


def test_a_bound_coroutine_is_not_run_in_this_process_instead(gate: Gate, desk: House, book: Path) -> None:
    with pytest.raises(ConstraintUnenforceable):
        asyncio.run(gate.guard("job.run")(Bound().later)(str(book)))
    assert desk.sql("SELECT count(*) FROM actions") == [(0,)]


def test_a_function_of_the_script_itself_is_refused_and_the_script_is_not_run_again(
    policy: Path, book: Path, tmp_path: Path
) -> None:
    script = tmp_path / "agent.py"
    script.write_text(
        "import apart\nfrom interlock import Gate\n"
        f"apart.note({str(book)!r}, 'script')\n"
        f"gate = Gate.open({str(policy)!r})\n"
        "@gate.guard('job.run')\ndef work(book):\n    apart.note(book, 'worked')\n"
        f"work({str(book)!r})\n"
    )
    ended = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": _path()},
        capture_output=True,
        text=True,
    )
    assert "top level of a module that is imported" in ended.stderr
    assert apart.noted(book) == ["script"]


def test_another_process_that_can_run_it_still_may(gate: Gate, desk: House, policy: Path, book: Path) -> None:
    """It is refused here before anything is claimed."""
    with Gate.open(policy) as able:
        guarded = able.guard("job.held")(apart.pays_later)
        with pytest.raises(Held) as held:
            asyncio.run(guarded(str(book)))
        _approve(desk, held.value)
        gate.guard("job.held")(lambda book: None)
        with pytest.raises(ConstraintUnenforceable):
            gate.resume(held.value.action_id)
        assert state(desk) == "approved"
        able.resume(held.value.action_id)
    assert apart.noted(book) == ["paid"]


def test_a_module_that_cannot_be_imported_again_has_run_nothing(
    gate: Gate, desk: House, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fading_tools.py"
    file.write_text("import apart\n\ndef work(book: str) -> None:\n    apart.note(book, 'worked')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import fading_tools  # type: ignore[import-not-found]

    file.write_text("raise SystemExit('not any more')\n")
    with pytest.raises(ConstraintUnenforceable, match="not any more"):
        gate.guard("job.run")(fading_tools.work)(str(book))
    assert state(desk) == "failed"
    assert apart.noted(book) == []
    del sys.modules["fading_tools"]


def _approve(desk: House, held: Held) -> None:
    person = desk.person("Ann", Role.REVIEWER).caller
    shown = desk.home.views.action(held.action_id, person)["approval"]
    desk.gate.decide(shown["id"], person, HumanDecision(Answer.APPROVE, shown["review_hash"]))
