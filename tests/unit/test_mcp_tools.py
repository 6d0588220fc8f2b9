"""Approved arguments on their way to a tool's server: exact numbers in the JSON that its schema names."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from interlock.adapters.mcp.tools import wire
from interlock.model.errors import InvalidInput

AMOUNT = Decimal("1400.50")
NUMBER: dict[str, Any] = {"type": "number"}


def sent(form: Any, value: Any = AMOUNT) -> Any:
    return wire({"amount": value}, {"type": "object", "properties": {"amount": form}})["amount"]


@pytest.mark.parametrize(
    "form",
    [
        NUMBER,
        {"type": ["number", "null"]},
        {"anyOf": [NUMBER, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, {"anyOf": [NUMBER]}]},
    ],
)
def test_a_number_goes_out_as_the_number_that_the_schema_names_also_where_it_is_optional(form: Any) -> None:
    assert sent(form) == 1400.5
    assert isinstance(sent(form), float)


@pytest.mark.parametrize("form", [None, {}, {"type": "string"}, {"anyOf": [NUMBER, {"type": "string"}]}, "x"])
def test_where_the_schema_takes_text_or_names_nothing_it_is_exact_text(form: Any) -> None:
    assert sent(form) == "1400.50"


def test_what_cannot_be_said_exactly_is_not_sent() -> None:
    with pytest.raises(InvalidInput):
        sent({"anyOf": [{"type": "integer"}, {"type": "null"}]})
    with pytest.raises(InvalidInput):
        sent(NUMBER, Decimal("0.1000000000000000000000001"))


def test_what_is_no_exact_number_is_left_alone() -> None:
    assert sent({"anyOf": [NUMBER, {"type": "null"}]}, None) is None
