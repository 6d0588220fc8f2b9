"""Marks of the rows that the gate trusts."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from interlock.gate import records
from interlock.gate.records import ActionRow, ApprovalRow, DecisionRow, covered
from interlock.journal.vault import Vault

FIRST = {ActionRow: "claimed_at", ApprovalRow: "superseded_by", DecisionRow: "at"}
"""The last column of each table that homes were first made with."""
FIRST_COLUMNS = {
    ActionRow: records._ACTION_FIRST,
    ApprovalRow: records._APPROVAL_FIRST,
    DecisionRow: records._DECISION_FIRST,
}


@pytest.mark.parametrize("row", FIRST)
def test_a_row_from_before_a_column_was_there_keeps_its_mark(row: Any) -> None:
    first = row._fields.index(FIRST[row]) + 1
    old: tuple[Any, ...] = tuple(f"v{number}" for number in range(first))
    grown = (*old, *[None] * (len(row._fields) - 1 - first))
    vault = Vault(secrets.token_bytes(32), secrets.token_bytes(32))
    assert FIRST_COLUMNS[row] == first
    assert vault.mac("row", *covered(grown, FIRST_COLUMNS[row])) == vault.mac("row", *old)


def test_emptying_filling_or_moving_a_later_value_changes_what_is_covered() -> None:
    rows = [
        ("a", None, None),
        ("a", "x", None),
        ("a", None, "x"),
        ("a", "x", "x"),
        (None, None, None),
    ]
    assert len({covered(row, 1) for row in rows}) == len(rows)


def test_the_columns_of_the_first_schema_are_covered_though_they_are_empty() -> None:
    assert covered(("a", None, None), 2) == ("a", None)
