"""The database goes down in the middle of the work, as in a power cut, and comes back."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fault_yard import Yard, yard
from interlock.verify import verify_export
from postgres import Restartable

WAIT_SEC = 200.0
"""Longer than until what the engine put off is enqueued once more: a minute, and the sweep's pause."""
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def server() -> Iterator[Restartable]:
    folder = Path(tempfile.mkdtemp(prefix="interlock-restart-"))
    made = Restartable(folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(made: Yard, calls: int) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while made.service.calls().total() < calls:
        assert time.monotonic() < deadline, "nothing was sent"
        time.sleep(0.02)


def test_a_database_that_crashes_while_calls_are_under_way_loses_nothing_and_repeats_nothing(
    server: Restartable, tmp_path: Path
) -> None:
    with yard(tmp_path, server.url) as made:
        made.service.slow(1.5)
        made.workers.start()
        made.workers.start()
        actions = [made.propose(topic, str(n)) for n in range(8) for topic in ("shop.pay", "shop.mail")]
        for action in actions[:12]:
            made.approve(action)
        wait_for(made, 4)
        server.crash()
        time.sleep(2.0)  # what was under way is answered meanwhile, and nobody can record it
        server.start()
        for action in actions[12:]:
            made.approve(action)
        deadline = time.monotonic() + WAIT_SEC
        while set(made.states().values()) != {"succeeded"}:
            assert time.monotonic() < deadline, {p: s for p, s in made.states().items() if s != "succeeded"}
            time.sleep(0.2)
        paths = [f"/{topic}/{n}" for n in range(8) for topic in ("pay", "mail")]
        assert made.service.calls() == Counter(dict.fromkeys(paths, 1))
        made.home.publisher.export(tmp_path / "export")
        assert verify_export(tmp_path / "export", vkey=made.home.publisher.vkey).ok
