"""Drafting from OpenAPI: methods, arguments the connector can carry, and addresses the policy allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authored import sound
from interlock.authoring.draft import Draft, DraftAction, write_policy
from interlock.authoring.foreign import MAX_DEPTH, read_any
from interlock.authoring.import_openapi import draft_from_openapi
from interlock.model.errors import InvalidInput
from interlock.policy import HttpExecute

SHOP = """
openapi: 3.1.0
info: {title: Shop API, version: 1.0.0}
servers: [{url: "https://{host}/v1/", variables: {host: {default: shop.example}}}]
security: [{bearer: []}]
paths:
  /orders/{order_id}:
    parameters: [{$ref: "#/components/parameters/OrderId"}]
    get:
      operationId: getOrder
      summary: Look it up
      parameters: [{name: expand, in: query, schema: {type: string}}]
    delete: {summary: }
  /refunds:
    post:
      operationId: createRefund
      tags: [payments]
      requestBody:
        content: {application/json; charset=utf-8: {schema: {$ref: "#/components/schemas/Refund"}}}
  /search:
    get:
      operationId: search
      security: []
      parameters: [{name: q, in: query, required: true, schema: {type: string}}]
components:
  securitySchemes: {bearer: {type: http, scheme: bearer}}
  parameters: {OrderId: {name: order_id, in: path, required: true, schema: {type: string}}}
  schemas:
    Refund:
      allOf:
        - {type: object, required: [amount], properties: {amount: {type: number}}}
        - {properties: {order_id: {type: [string, "null"]}}}
"""


def drafted(paths: Any, **more: Any) -> Draft:
    whole = {
        "openapi": "3.0.4",
        "info": {"title": "t"},
        "servers": [{"url": "https://a.example"}],
        "paths": paths,
    }
    return draft_from_openapi(json.dumps({**whole, **more}))


def only(path: str, method: str, operation: Any, **more: Any) -> DraftAction:
    (action,) = drafted({path: {method: operation}}, **more).actions
    return action


def test_an_api_becomes_a_sound_policy() -> None:
    draft = draft_from_openapi(SHOP)
    policy = sound(draft)
    assert {action.topic: action.tier for action in draft.actions} == {
        "shop_api.get_order": 1,
        "shop_api.delete_orders_order_id": 4,
        "shop_api.create_refund": 3,
        "shop_api.search": 1,
    }
    order = policy.entry("shop_api.get_order")
    assert order is not None
    assert order.execute == HttpExecute("GET", "https://shop.example/v1/orders/{args.order_id}", "shop_api")
    refund = policy.entry("shop_api.create_refund")
    assert refund is not None
    assert refund.roles["amount"] == "amount"
    assert refund.args is not None
    assert refund.args["order_id"].optional
    search = policy.entry("shop_api.search")
    assert search is not None
    assert search.execute == HttpExecute("GET", "https://shop.example/v1/search?q={args.q}")


def test_descriptions_stand_in_comments() -> None:
    assert "# | Look it up" in write_policy(draft_from_openapi(SHOP))


def test_json_and_yaml_say_the_same() -> None:
    as_json = json.dumps(read_any(SHOP), default=str)
    assert write_policy(draft_from_openapi(as_json)) == write_policy(draft_from_openapi(SHOP))


@pytest.mark.parametrize(
    ("method", "name", "tier"),
    [
        ("get", "getThing", 1),
        ("head", "thing", 1),
        ("post", "search", 3),
        ("put", "thing", 3),
        ("patch", "thing", 3),
        ("delete", "thing", 4),
        ("get", "deleteThing", 4),
        ("get", "sendMail", 4),
        ("post", "updateRoles", 4),
        ("get", "listSecrets", 3),
    ],
)
def test_the_method_has_a_tier_and_words_can_only_raise_it(method: str, name: str, tier: int) -> None:
    assert only("/x", method, {"operationId": name}).tier == tier


def test_the_name_of_an_operation_without_one_is_its_method_and_path() -> None:
    assert only("/a-b/{c}/d", "post", {}).topic == "t.post_a_b_c_d"


def test_operations_of_one_topic_are_all_left_out_and_named() -> None:
    draft = drafted({"/a": {"get": {"operationId": "x"}, "put": {"operationId": "X"}}, "/b": {"get": {}}})
    assert [action.topic for action in draft.actions] == ["t.get_b"]
    assert len(draft.remarks) == 2


@pytest.mark.parametrize(
    ("url", "path", "parameters"),
    [
        ("/v1", "/x", []),
        ("ftp://a.example", "/x", []),
        ("https://user:pw@a.example", "/x", []),
        ("https://{tenant}.a.example", "/x", []),
        ("https://a.example", "/x/{id}.json", [{"name": "id", "in": "path"}]),
        ("https://a.example", "/x/{id}", []),
        ("https://a.example", "/x/../y", []),
        ("https://a.example", "/x y", []),
    ],
)
def test_an_address_that_a_policy_would_refuse_leaves_it_without_execute(
    url: str, path: str, parameters: list[Any]
) -> None:
    draft = drafted({path: {"get": {"operationId": "get", "parameters": parameters}}}, servers=[{"url": url}])
    (action,) = draft.actions
    assert action.execute is None
    assert any("nothing executes it" in review for review in action.reviews)
    sound(draft)


def test_what_the_connector_cannot_carry_leaves_it_without_execute() -> None:
    header = {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "string"}}
    listed = {"name": "ids", "in": "query", "required": True, "schema": {"type": "array"}}
    for parameter in (header, listed):
        assert only("/x", "get", {"parameters": [parameter]}).execute is None
    upload = only("/x", "post", {"requestBody": {"content": {"multipart/form-data": {}}}})
    assert upload.execute is None
    assert upload.args is None


def test_a_credential_that_does_not_travel_in_authorization_leaves_it_without_execute() -> None:
    schemes = {"key": {"type": "apiKey", "in": "query", "name": "k"}, "token": {"type": "http"}}
    components = {"securitySchemes": schemes}
    assert only("/x", "get", {"security": [{"key": []}]}, components=components).execute is None
    either = only("/x", "get", {"security": [{"key": []}, {"token": []}]}, components=components)
    assert either.execute is not None
    assert either.execute["http"]["auth"] == "t"
    free = only("/x", "get", {"security": [{"token": []}, {}]}, components=components)
    assert free.execute is not None
    assert "auth" not in free.execute["http"]


def test_optional_parameters_that_would_not_be_sent_are_not_declared() -> None:
    optional = {"name": "limit", "in": "query", "schema": {"type": "integer"}}
    action = only("/x", "get", {"parameters": [optional]})
    assert action.args == ()
    assert any("limit" in review for review in action.reviews)


def test_path_parameters_are_needed_and_travel_in_the_body_too() -> None:
    body = {
        "content": {"application/json": {"schema": {"type": "object", "properties": {"id": {}, "note": {}}}}}
    }
    path = {"name": "id", "in": "path", "schema": {"type": "string"}}
    action = only("/x/{id}", "put", {"parameters": [path], "requestBody": body})
    assert [(arg.name, arg.optional) for arg in action.args or ()] == [("id", False), ("note", True)]
    assert any("the body carries id as well" in review for review in action.reviews)


def test_a_path_that_names_what_may_be_missing_leaves_it_without_execute() -> None:
    body = {"content": {"application/json": {"schema": {"properties": {"id": {"type": "string"}}}}}}
    draft = drafted({"/x/{id}": {"post": {"requestBody": body}}})
    sound(draft)
    assert draft.actions[0].execute is None


@pytest.mark.parametrize(
    "operation",
    [
        {"parameters": [{"name": "amount", "in": "query", "required": True, "schema": {"type": "number"}}]},
        {
            "requestBody": {
                "content": {"application/json": {"schema": {"properties": {"amount": {"type": "number"}}}}}
            }
        },
    ],
)
def test_arguments_of_one_name_and_two_types_are_left_undeclared(operation: dict[str, Any]) -> None:
    path = {"name": "amount", "in": "path", "schema": {"type": "boolean"}}
    operation = {**operation, "parameters": [path, *operation.get("parameters", [])]}
    draft = drafted({"/x/{amount}": {"put": operation}})
    (action,) = draft.actions
    assert (action.args, action.roles, action.execute) == (None, {}, None)
    assert any("several arguments are named amount" in review for review in action.reviews)
    sound(draft)


SCHEMAS = st.sampled_from(["string", "number", "boolean", "array"]).map(lambda kind: {"type": kind})
NAMES = st.sampled_from(["amount", "id", "to", "body"])
PARAMETERS = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "in": st.sampled_from(["path", "query", "header"]),
            "required": st.booleans(),
            "schema": SCHEMAS,
        }
    ),
    max_size=4,
)


@given(st.sampled_from(["get", "post", "put", "delete"]), PARAMETERS, st.dictionaries(NAMES, SCHEMAS))
@settings(max_examples=60, deadline=None)
def test_whatever_an_operation_takes_becomes_a_sound_policy(
    method: str, parameters: list[Any], properties: dict[str, Any]
) -> None:
    body = {"content": {"application/json": {"schema": {"properties": properties}}}}
    operation = {"parameters": parameters, "requestBody": body}
    sound(drafted({"/x/{id}": {method: operation}}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("7", "expected an OpenAPI"),
        ("swagger: '2.0'", "swagger 2"),
        ("openapi: 2.1.0", "expected OpenAPI 3"),
        ("openapi: 3.0.0", "describes no operation"),
        ("openapi: 3.0.0\npaths: {/x: {trace: {}, parameters: 7}}", "describes no operation"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: !!python/object:os.system x", "tags"),
        ("a: 1\na: 2", "stands twice"),
        ("<<: {a: 1}", "merge keys"),
        ("? [a]\n: b", "plain word"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: [", "neither JSON nor YAML"),
        ('a: "\\U00110000"', "no"),
        ("a: " + "[" * 300 + "]" * 300, "nested deeper"),
        ('{"openapi": "3.0.0", "paths": {"/x": {"get": 7}}}', "describes no operation"),
        ("{", "line 1"),
    ],
)
def test_what_is_no_description_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        draft_from_openapi(text)


def test_foreign_files_are_read_generously_but_not_without_bounds() -> None:
    assert read_any("a:\nb: ~\nc: 0x10\nd: 1.50\ne: 'yes'\nf: 2026-01-01\ng: true\n") == {
        "a": None,
        "b": None,
        "c": "0x10",
        "d": read_any("1.50"),
        "e": "yes",
        "f": "2026-01-01",
        "g": True,
    }
    assert read_any('\ufeff{"a": 99999999999999999999}')["a"] > 2**53
    deep = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    assert read_any(deep) == json.loads(deep)
    with pytest.raises(InvalidInput):
        read_any('{"a": NaN}')
