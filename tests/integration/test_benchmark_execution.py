"""The benchmarks of execution measure the product: what they seed is what the gate would have written."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.execution_desk")
    finally:
        sys.path.remove(str(ROOT))


def test_what_is_seeded_can_be_decided_claimed_and_swept(desk: ModuleType) -> None:
    from interlock.model.actions import ExecutorKind

    with desk.installed("sqlite", None) as installation:
        before = installation.home.journal.head()[0]
        installation.seed("bench.refunds.create", desk.BATCH + 1, "seeded")
        waiting = installation.waiting("bench.refunds.create", 10_000)
        assert len(waiting) == desk.BATCH + 1
        assert installation.home.journal.head()[0] == before + desk.BATCH + 1
        approval, review_hash, action = waiting[0]
        installation.approve(approval, review_hash)
        claim = installation.home.gate.claim(action, ExecutorKind.CALLER)
        assert claim.binding.args["amount_usd"] == "1400.00"
        assert installation.home.gate.sweep() == 0
        page = installation.home.views.approvals("held", None)
        assert not any("alarm" in item for item in page["items"])


def test_a_script_of_that_folder_still_finds_the_librarys_http() -> None:
    code = "import http.client, runpy; print(http.client.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True
    )
    assert "benchmarks" not in done.stdout


@pytest.mark.parametrize(("section", "counted"), [("takeover", "segments"), ("restart", "orders")])
def test_a_section_reports_what_it_found_beside_what_is_wanted(section: str, counted: str) -> None:
    command = [sys.executable, "benchmarks/execution.py", section, "--database", "sqlite", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=200)
    found = json.loads(done.stdout)[section]["sqlite"]
    assert found[counted] > 0
    assert set(found) >= {"wanted", "met"}


def test_a_section_that_is_none_is_refused() -> None:
    command = [sys.executable, "benchmarks/execution.py", "sleep"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "sleep" in done.stderr) == (2, True)
