"""The gate that the frameworks' tests put before tools: embedded, and closed after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from house import House
from interlock import Gate
from interlock.client.embedded import Embedded


@pytest.fixture
def gate(house: House) -> Iterator[Gate]:
    with Gate(Embedded(house.home, "support"), session=None, principal=None) as made:
        yield made
