"""A policy's files: what belongs to it, and what only looks as if it did."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.home import read_policy
from interlock.model.errors import PolicyError

ALLOW = "interlock: 1\nactions: {a.b: {tier: 3}}\nrules: [{match: {topics: [a.b]}, decision: allow}]\n"
DENY = "interlock: 1\nrules: [{id: no, match: {topics: [a.b]}, decision: deny}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "allow.yaml").write_text(ALLOW)
    return tmp_path


def test_every_file_of_a_directory_counts_and_tests_do_not(folder: Path) -> None:
    (folder / "deny.yml").write_text(DENY)
    (folder / "allow.test.yaml").write_text("tests: []\n")
    (folder / "README.md").write_text("words")
    (folder / "traffic.jsonl").write_text("{}\n")
    (folder / ".interlock").mkdir()
    assert [rule.id for rule in read_policy(folder).rules] == ["rules[0]", "no"]


@pytest.mark.parametrize(
    "name",
    ["deny.YAML", "deny.Yml", "deny.JSON", "deny.test.json", "deny.json5", "more/deny.yaml", "x.yaml/deny"],
)
def test_a_rule_that_would_silently_not_be_there_is_an_error(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(DENY)
    with pytest.raises(PolicyError, match=r"not (be )?read"):
        read_policy(folder)


def test_a_pipe_is_no_policy_and_nobody_waits_for_one(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    with pytest.raises(PolicyError, match="no ordinary file"):
        read_policy(folder)
