"""The benchmark of the adapters runs, and has a figure for everything that it says it measures."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytest.importorskip("langchain", reason="not installed: uv run --group frameworks pytest")


def test_every_part_has_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))
    found = importlib.import_module("benchmarks.adapters").run(rounds=20, imports=1, gateway=0)
    assert {"pydantic", "gate", "langchain"} <= found["import"]["ms"].keys()
    assert "langchain" in found["import"]["own_ms"]
    for part, names in (("guard", {"guarded", "bare"}), ("langchain", {"gated", "bare"})):
        assert found[part].keys() == names
        assert all(one["p50_ms"] > 0 for one in found[part].values())
    assert found["met"].keys() == {"import", "guard"}
