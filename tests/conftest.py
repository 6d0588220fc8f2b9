"""Fixtures that several files share; what they hand out is in `house.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from house import POLICY, House, ManualClock
from interlock.home import Home
from interlock.journal import Clock
from interlock.policy import parse


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Opens homes and closes them after the test; the same name is the same folder."""
    opened: list[Home] = []

    def make(
        policy: str | None = POLICY, *, name: str = "home", clock: Clock | None = None, **rest: Any
    ) -> House:
        parsed = None if policy is None else parse({"policy.yaml": policy})
        opened.append(Home.open(tmp_path / name, policy=parsed, clock=clock, **rest))
        return House(opened[-1])

    yield make
    for home in opened:
        home.leases.close()
        home.journal.close()


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    """A fresh home whose clock the test may move."""
    return open_house(clock=clock)
