"""The examples in the README are run, not believed; those about policies in `test_docs_policy`."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from interlock.policy import parse

ROOT = Path(__file__).parents[2]


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_readmes_policy_loads_without_warnings() -> None:
    found = blocks("README.md", "yaml")
    assert found
    for text in found:
        assert parse({"README.md": text}).warnings == ()


def test_the_readmes_gate_holds_a_large_refund_and_runs_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.yaml").write_text(blocks("README.md", "yaml")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    paid: list[Decimal] = []

    def pay(_order: str, amount: Decimal, _recipient: str) -> dict[str, str]:
        paid.append(amount)
        return {"paid": str(amount)}

    scope: dict[str, object] = {"payments": SimpleNamespace(refund=pay)}
    exec(compile(blocks("README.md", "python")[0], "README.md", "exec"), scope)  # the text under test
    printed = capsys.readouterr().out
    assert "Refund $1,400.00 to acme for order A-12" in printed
    assert "ops-approvers" in printed
    assert paid == []
    assert scope["refund"]("A-13", Decimal("20"), "acme") == {"paid": "20.00"}  # type: ignore[operator]
    assert paid == [Decimal("20.00")]
    scope["gate"].close()  # type: ignore[attr-defined]


def test_every_document_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
