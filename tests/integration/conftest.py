"""What several files act on: a service that misbehaves, and two databases of somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile import Hostile, serving
from postgres import Postgres
from postgres import serving as serving_postgres
from targets import Target, on_postgres, on_sqlite


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """A service that misbehaves, and the book of what it was asked."""
    with serving(tmp_path_factory.mktemp("hostile") / "book") as found:
        yield found


@pytest.fixture(scope="module")
def target_server() -> Iterator[Postgres]:
    """A PostgreSQL that holds no journal: its roles and sessions are the target's alone."""
    with serving_postgres() as server:
        yield server


@pytest.fixture
def elephant(target_server: Postgres) -> Target:
    return on_postgres(target_server)


@pytest.fixture
def file(tmp_path: Path) -> Target:
    return on_sqlite(tmp_path)
