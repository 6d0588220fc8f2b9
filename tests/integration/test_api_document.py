"""The OpenAPI document is one that clients are generated from: complete, valid, true of what is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

import api_document
from api_document import check, document
from interlock.server.document import OPERATIONS, REFERENCE

METHODS = [
    (path, method, operation)
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from references(item)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_every_operation_has_a_name_of_its_own_and_no_table_names_another() -> None:
    names = [operation["operationId"] for _, _, operation in METHODS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in names)
    assert {(method, path) for path, method, _ in METHODS} == set(OPERATIONS)


def test_every_answer_and_every_body_has_a_model_and_every_refusal_is_a_problem() -> None:
    """But for what is no JSON: a stream, texts and tiles of the ledger."""
    for path, _, operation in METHODS:
        for status, response in operation["responses"].items():
            content = response.get("content", {})
            if status in ("4XX", "5XX"):
                assert content == {"application/problem+json": {"schema": {"$ref": f"{REFERENCE}Problem"}}}, (
                    path
                )
            elif "application/json" in content and path != "/v1/events":
                assert set(content["application/json"]["schema"]) == {"$ref"}, (path, status)
        assert {"4XX", "5XX"} < set(operation["responses"])
        body = operation.get("requestBody")
        assert body is None or set(body["content"]["application/json"]["schema"]) == {"$ref"}


def test_no_model_is_empty_and_each_is_a_schema() -> None:
    schemas = document()["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("properties") or schema.get("enum"), name
    assert {found.removeprefix(REFERENCE) for found in references(document())} == set(schemas)


def answer(body: dict[str, Any], status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body, request=httpx.Request("GET", "http://localhost/v1/caller"))


def test_what_the_document_does_not_say_of_an_answer_is_found_out() -> None:
    """The check that holds the answers of all tests of the server against it."""
    right = {"kind": "agent", "name": "shop", "topics": ["*"]}
    check(answer(right))
    for wrong in ({**right, "more": 1}, {**right, "topics": "*"}, {"kind": "agent", "name": "shop"}):
        with pytest.raises(AssertionError):
            check(answer(wrong))
    with pytest.raises(AssertionError):
        check(answer({"detail": "no"}, 404))


def test_a_client_may_meet_members_that_it_does_not_know() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert schema.get("additionalProperties") is not False or name.endswith("Body"), name
    assert api_document.document()["openapi"].startswith("3.1")
