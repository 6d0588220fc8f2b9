"""What the pages about guarantees name is there: tests, pages, anchors; each promise has its attack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = tuple(
    f"{name}.md"
    for name in ("guarantees", "deploy", "waiting", "kill-switch", "connectors", "resuming", "performance")
)
PROMISES = ("P3", "P4", "P5", "P6", "P7", "P9")
NAME = re.compile(r"`(test_[a-z0-9_]+)`")


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def defined() -> set[str]:
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        found.add(file.stem)
        source = file.read_text(encoding="utf-8")
        found |= set(re.findall(r"^(?:async )?def (test_[a-z0-9_]+)\(", source, re.MULTILINE))
    return found


def section(promise: str) -> str:
    _, found, rest = text("guarantees.md").partition(f"\n## {promise}. ")
    assert found, promise
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = set(NAME.findall(text(page)))
    assert named - defined() == set()


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_about_execution_is_attacked_by_tests_that_are_named(promise: str) -> None:
    rows = [line for line in section(promise).splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert rows
    for row in rows:
        assert NAME.search(row), row


def test_every_file_that_the_table_of_promises_names_is_there() -> None:
    table = text("architecture.md").partition("## Promises")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (P[0-9]+) \| .+ \| (.*) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == [f"P{number}" for number in range(1, 11)]
    for name, attacked in rows:
        files = re.findall(r"`(tests/[^`]+)`", attacked)
        assert files or name == "P10"
        for file in files:
            assert list(ROOT.glob(file.rstrip("/"))), file


def anchors(page: Path) -> set[str]:
    """As a forge makes them from headings, and those written by hand."""
    source = page.read_text(encoding="utf-8")
    made = set(re.findall(r'<a id="([^"]+)">', source))
    for heading in re.findall(r"^#+ (.+)$", source, re.MULTILINE):
        made.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return made


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", text(page)):
        name, _, anchor = target.partition("#")
        file = (DOCS / name).resolve() if name else DOCS / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
