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
from postgres import Postgres, serving


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, for the whole run."""
    with serving() as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    databases = getattr(metafunc.module, "DATABASES", None)
    if databases is not None and "database" in metafunc.fixturenames:
        metafunc.parametrize("database", databases, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database that `open_house` uses; a module's `DATABASES` names others."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def open_house(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., House]]:
    """Opens homes and closes them after the test; the same name is the same folder and the same database."""
    opened: list[Home] = []
    urls: dict[str, str] = {}

    def make(
        policy: str | None = POLICY, *, name: str = "home", clock: Clock | None = None, **rest: Any
    ) -> House:
        parsed = None if policy is None else parse({"policy.yaml": policy})
        if database == "postgres":
            if name not in urls:
                given = rest.get("database")
                urls[name] = given or request.getfixturevalue("postgres").database(len(urls))
            rest["database"] = urls[name]
        opened.append(Home.open(tmp_path / name, policy=parsed, clock=clock, **rest))
        return House(opened[-1], urls.get(name))

    yield make
    for home in opened:
        home.leases.close()
        home.journal.close()
        home.publisher.close()


@pytest.fixture
def house(open_house: Callable[..., House], clock: ManualClock) -> House:
    """A fresh home whose clock the test may move."""
    return open_house(clock=clock)
