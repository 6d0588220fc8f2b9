"""The table of entries' fields: what is published, what is documented and what is refused by it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from interlock.ledger import Kind, entry
from interlock.ledger.schemas import FIELDS, json_schema

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()
VALID = jsonschema.Draft202012Validator(SCHEMA)
HASH = "ab" * 32
CLAIMED: dict[str, Any] = {
    "action": f"act_{1:032x}",
    "revision": 1,
    "epoch": 1,
    "holder": "worker",
    "action_hash": HASH,
    "policy": f"v1:{HASH}",
    "approval": None,
    "review_hash": None,
}


def claimed(**other: Any) -> dict[str, Any]:
    fields = {name: value for name, value in {**CLAIMED, **other}.items() if value is not ...}
    value: dict[str, Any] = json.loads(entry(Kind.ACTION_CLAIMED, at=1, namespace="default", **fields))
    return value


def test_it_is_a_schema_of_its_draft_and_names_itself_without_an_address() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:interlock:ledger-entry:1"


def test_the_published_file_is_what_is_generated() -> None:
    published = (ROOT / "schemas" / "ledger-entry-1.schema.json").read_text("utf-8")
    assert published == json.dumps(SCHEMA, indent=2) + "\n", "write it again: interlock ledger schema"


def test_every_kind_has_its_fields_and_forms_have_one_meaning() -> None:
    assert set(FIELDS) == set(Kind)
    forms: dict[str, Any] = {}
    for fields in FIELDS.values():
        for field in fields.values():
            assert forms.setdefault(field.form.name, field.form.schema) == field.form.schema
            assert "." not in field.form.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"holder": ...},
        {"epoch": None},
        {"epoch": 0},
        {"epoch": "1"},
        {"action": "act_1"},
        {"action_hash": HASH.upper()},
        {"policy": HASH},
        {"revision": True},
        {"assumed": False},
        {"approval": "apr_"},
    ],
    ids=str,
)
def test_a_field_that_is_missing_or_of_another_form_does_not_match(wrong: dict[str, Any]) -> None:
    assert VALID.is_valid(claimed())
    assert not VALID.is_valid(claimed(**wrong))


def test_fields_of_later_versions_pass_and_unknown_kinds_do_not() -> None:
    assert VALID.is_valid({**claimed(), "later": 1})
    assert not VALID.is_valid({**claimed(), "kind": "action.unheard_of"})
    assert not VALID.is_valid({**claimed(), "v": 2})


# --- the documented table ---------------------------------------------------------------------------------

VALUES = {
    "allow",
    "allow_with_constraints",
    "require_approval",
    "deny",
    "approve",
    "reject",
    "edit",
    "respond",
    "succeeded",
    "failed",
    "in_doubt",
    "gate",
    "escalate",
    "kill_switch",
    "lane:",
}
"""Words that the table's cells name beside fields: the values some fields can have."""


def rows() -> dict[tuple[str, ...], str]:
    """The cells of the table: by the kinds of the row, what it says of their fields."""
    text = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    table = text[text.index("| kind | its fields") :].split("\n\n", 1)[0]
    found = {}
    for line in table.splitlines()[2:]:
        kinds, cell = (part.strip() for part in line.strip("|").split("|"))
        found[tuple(re.findall(r"`([^`]+)`", kinds))] = cell
    return found


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_documented_fields_are_those_of_the_table_kind_by_kind() -> None:
    documented = rows()
    assert sorted(kind for kinds in documented for kind in kinds) == sorted(kind.value for kind in Kind)
    for kinds, cell in documented.items():
        words = named(cell) - VALUES
        for other, says in (("action.proposed", "as proposed"), ("action.settled", "as settled")):
            if says in cell:
                words |= named(documented[other,]) - VALUES
        words -= {kind.value for kind in Kind}
        fields: set[str] = set()
        inner: set[str] = set()
        for kind in map(Kind, kinds):
            fields |= FIELDS[kind].keys()
            for field in FIELDS[kind].values():
                inner |= field.form.schema.get("properties", {}).keys()
        assert fields <= words, kinds
        assert words <= fields | inner, kinds


def test_the_verifier_asks_for_nothing_that_is_not_written() -> None:
    """Its table is its own, written from the documentation; what it needs is what the gate always writes."""
    from interlock.verify import fields

    for name, asked in fields.FIELDS.items():
        written = FIELDS[Kind(name)]
        assert {field for field, _ in asked} <= written.keys(), name
        needed = {field for field, types in asked if type(None) not in types}
        assert needed <= {field for field in written if written[field].required}, name
