"""What the ledger's documentation computes and names is so: hashes, and the tests that do it for real."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("ledger.md", "ledger-operations.md")
PAGE = (ROOT / "docs" / "ledger.md").read_text("utf-8")


def test_every_test_that_the_documentation_names_is_there() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_[a-z0-9_]+)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= defined, named - defined


def test_the_documented_commitment_is_that_of_the_documented_inputs() -> None:
    [document] = re.findall(r'^    (\{"args":.*"v":1\})$', PAGE, re.MULTILINE)
    [told] = re.findall(r"the commitment is `([0-9a-f]{64})`", PAGE)
    assert told == sha256(b"interlock/inputs/v1\0" + bytes(range(32)) + document.encode()).hexdigest()


def test_every_prefix_of_a_hash_is_documented_and_no_other() -> None:
    """But for that of a loss, which stands in no entry."""
    sources = "\n".join(file.read_text("utf-8") for file in (ROOT / "src" / "interlock").rglob("*.py"))
    used = set(re.findall(r'b"(interlock/[a-z-]+/v[0-9]+)\\0"', sources))
    assert set(re.findall(r'"(interlock/[a-z-]+/v[0-9]+)"', PAGE)) == used - {"interlock/gap/v1"}


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_stands_on_both_pages(page: str) -> None:
    other = (ROOT / "docs" / next(name for name in PAGES if name != page)).read_text("utf-8")
    prose = re.sub(r"```.*?```", "", (ROOT / "docs" / page).read_text("utf-8"), flags=re.DOTALL)
    there = " ".join(other.split())
    sentences = [" ".join(text.split()) for text in re.split(r"(?<=[.:;|])\s+", prose)]
    assert [text for text in sentences if len(text) > 50 and text in there] == []
