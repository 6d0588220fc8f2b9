"""The JSON Schema: complete, published as it is generated, and of the loader's opinion about shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import test_policy_files as files
from pydantic import BaseModel

from interlock.model.errors import PolicyError
from interlock.policy import document, later, matching, parse
from interlock.policy.document import Document
from interlock.policy.findings import Finding
from interlock.policy.schema import json_schema
from interlock.policy.schema_words import WORDS, words
from interlock.policy.source import read

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
WRITTEN = [*sorted((ROOT / "policies").rglob("policy.yaml")), ROOT / "src/interlock/demo/policy.yaml"]


def fits(text: str, name: str = "policy.yaml") -> bool:
    findings: list[Finding] = []
    tree = read(name, text, findings)
    assert tree is not None, findings
    return VALIDATOR.is_valid(tree.data)


def models() -> Iterator[type[BaseModel]]:
    for module in (matching, later, document):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, matching.Spec) and value is not matching.Spec:
                yield value


def test_it_is_a_schema_of_its_draft_and_names_itself_without_an_address() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:interlock:policy:1"


def test_the_published_file_is_what_is_generated() -> None:
    published = (ROOT / "schemas" / "policy-1.schema.json").read_text("utf-8")
    assert published == json.dumps(SCHEMA, indent=2) + "\n", "write it again: interlock policy schema"


def test_every_key_of_every_model_has_words_and_no_words_are_about_nothing() -> None:
    described: set[str] = set()
    for model in models():
        bases = tuple(base.__name__ for base in model.__mro__[1:])
        for field in model.model_fields:
            assert words(model.__name__, bases, field), f"{model.__name__}.{field}"
            described |= {f"{name}.{field}" for name in (model.__name__, *bases, "*")}
    assert not set(WORDS) - described
    for name, part in SCHEMA["$defs"].items():
        assert part["description"], name
        for key, value in part["properties"].items():
            assert value["description"], f"{name}.{key}"


def test_every_key_of_the_document_stands_in_it_and_nothing_else_may() -> None:
    policy = SCHEMA["$defs"]["PolicyFile"]
    assert set(policy["properties"]) == {*Document.model_fields, "version"}
    for name, part in SCHEMA["$defs"].items():
        assert part["additionalProperties"] is False, name

    def mappings(part: Any) -> Iterator[Any]:
        if isinstance(part, dict):
            if part.get("type") == "object":
                yield part
            for value in part.values():
                yield from mappings(value)
        elif isinstance(part, list):
            for value in part:
                yield from mappings(value)

    inner = [part for part in mappings(SCHEMA["$defs"]) if "patternProperties" in part]
    assert inner
    assert all(part["additionalProperties"] is False for part in inner)
    assert '"null"' not in json.dumps(SCHEMA)


@pytest.mark.parametrize("path", WRITTEN, ids=[f"{path.parent.name}/{path.name}" for path in WRITTEN])
def test_policies_that_exist_fit(path: Path) -> None:
    assert fits(path.read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(files.PUBLISHED))
def test_the_published_examples_fit(name: str) -> None:
    assert fits(files.PUBLISHED[name], name)


@pytest.mark.parametrize(
    "text",
    [
        "interlock: 1\n",
        "version: v1\n",
        "interlock: 1\nactions: {a.b: {tier: 1, args: {x: string, y: {type: decimal, scale: 2}}}}\n",
        "interlock: 1\nactions: {'a.**': {tier: 4}, '*.b': {tier: 3}}\n",
        "interlock: 1\nrules: [{match: {topics: ['*', 'a.**', '**']}, decision: deny}]\n",
        "interlock: 1\nrules: [{decision: require_approval, lane: fast}]\n",
        "interlock: 1\nrules: [{decision: require_approval, lane: {window: 5m, on_timeout: kill_switch}}]\n",
        "interlock: 1\nfacts: {n: integer, m: {type: string, source: probe}}\n",
        "routing: {default: desk}\n",
        "name: w\nsteps: {a: {type: approval}}\n",
    ],
)
def test_what_is_well_formed_fits(text: str) -> None:
    assert fits(text)


@pytest.mark.parametrize(
    "text",
    [
        "name: x\n",
        "{}\n",
        "interlock: 2\n",
        "version: v2\n",
        "interlock: 1\nnmae: x\n",
        "interlock: 1\npeople: everyone\n",
        "interlock: 1\ndefault_decision: allow\n",
        "interlock: 1\nactions: {job: {tier: 1}}\n",
        "interlock: 1\nactions: {a.B: {tier: 1}}\n",
        "interlock: 1\nactions: {a.**.b: {tier: 1}}\n",
        "interlock: 1\nactions: {a.b: {}}\n",
        "interlock: 1\nactions: {a.b: {tier: 5}}\n",
        "interlock: 1\nactions: {a.b: {tier: 1, args: {x: strng}}}\n",
        "interlock: 1\nactions: {a.b: {tier: 1, args: {1x: string}}}\n",
        "interlock: 1\nactions: {a.b: {tier: 1, roles: {boss: x}}}\n",
        "interlock: 1\nactions: {a.b: {tier: 1, undo: 'a.*'}}\n",
        "interlock: 1\nactions: {a.b: {tier: 1, undo: a.c, undo_within: 5}}\n",
        "interlock: 1\nrules: [{decision: alow}]\n",
        "interlock: 1\nrules: [{match: {topics: []}, decision: deny}]\n",
        "interlock: 1\nrules: [{match: {confidence_below: 1.5}, decision: deny}]\n",
        "interlock: 1\nrules: [{match: {amount_usd_above: '5'}, decision: deny}]\n",
        "interlock: 1\nrules: [{decision: require_approval, lane: {window: 5m}}]\n",
        "interlock: 1\nautonomy_levels: {level_x: {rules: [{decision: deny}]}}\n",
        "interlock: 1\ntriggers: {sla: {within: 15}}\n",
        "interlock: 1\ndemotion_triggers: [boredom]\n",
        "routing: {default: desk}\nname: x\n",
        "steps: {a: {type: approval}}\n",
        "name: w\nrules: []\nsteps: {a: {type: approval}}\n",
        "name: w\nsteps: {a: {type: nap}}\n",
    ],
)
def test_what_does_not_load_for_its_shape_does_not_fit(text: str) -> None:
    assert not fits(text)
    with pytest.raises(PolicyError):
        parse({"policy.yaml": text})
