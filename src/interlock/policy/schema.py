"""The JSON Schema of a policy file, for editors and other programs, made from the models that load it.

1. It says what the models say: every key, every type, nothing else allowed. What only `check` knows (that a
   name is declared, that a condition is well typed) it cannot say; what it refuses does not load.
2. A file is one of three: a policy, which says ``interlock: 1`` or ``version: v1``; a workflow, which has
   ``steps``; the desk's sections by themselves.

Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from interlock.model.canonical import plain as plain_number
from interlock.policy.document import Document
from interlock.policy.later import WorkflowSpec
from interlock.policy.merge import DESK
from interlock.policy.scalars import SECONDS
from interlock.policy.schema_words import words

ID = "urn:interlock:policy:1"
_VERSION = {"const": "v1", "description": "The same as interlock: 1, as published examples spell it."}


def json_schema() -> dict[str, Any]:
    """The schema of one policy file, as JSON values."""
    _, found = models_json_schema([(Document, "validation")], ref_template="#/$defs/{model}")
    models = {model.__name__: model for model in _models(Document)}
    parts = {name: _plain(part) for name, part in found["$defs"].items()}
    for name, part in parts.items():
        _describe(part, models[name])
    policy, workflow = parts.pop(Document.__name__), parts[WorkflowSpec.__name__]
    steps = workflow["properties"]
    schema: dict[str, Any] = _renamed(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": ID,
            "title": "Interlock policy",
            "description": "What each action of an agent may do, and who is asked about it.",
            "type": "object",
            "if": {"required": ["steps"]},
            "then": {"$ref": "#/$defs/WorkflowFile"},
            "else": {"$ref": "#/$defs/PolicyFile"},
            "$defs": {
                "PolicyFile": _policy_file(policy),
                "WorkflowFile": _workflow_file(policy, steps),
                **dict(sorted(parts.items())),
            },
        }
    )
    return schema


def _policy_file(policy: dict[str, Any]) -> dict[str, Any]:
    properties = policy["properties"]
    rest = {key: value for key, value in policy.items() if key != "required"}  # `interlock`, or `version`
    return {
        **rest,
        "title": "Policy",
        "properties": {"interlock": properties["interlock"], "version": _VERSION, **properties},
        "anyOf": [
            {"required": ["interlock"]},
            {"required": ["version"]},
            {"propertyNames": {"enum": sorted(DESK)}, "minProperties": 1},
        ],
    }


def _workflow_file(policy: dict[str, Any], steps: dict[str, Any]) -> dict[str, Any]:
    name = {**policy["properties"]["workflows"]["propertyNames"], "type": "string"}
    pattern = next(iter(policy["properties"]["workflows"]["patternProperties"]))
    return {
        "title": "Workflow",
        "description": "A workflow in a file of its own. Not yet enforced.",
        "type": "object",
        "properties": {
            "interlock": policy["properties"]["interlock"],
            "version": _VERSION,
            "name": {**name, "pattern": pattern, "description": "What the workflow is called."},
            **steps,
        },
        "required": ["name", "steps"],
        "additionalProperties": False,
    }


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and every model in its fields."""
    found: set[type[BaseModel]] = set()
    waiting: list[Any] = [model]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in found:
                found.add(kind)
                waiting += [info.annotation for info in kind.model_fields.values()]
        else:
            waiting += getattr(kind, "__args__", ())
    return found


def _plain(part: Any) -> Any:
    """A part of the generated schema without what no file can say, and without made-up titles."""
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    options = [option for option in part.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:  # null is no value here; a key that says nothing is left out
        part = {**{key: value for key, value in part.items() if key != "anyOf"}, **options[0]}
    kept = {
        key: {name: _plain(item) for name, item in value.items()}
        if key in ("properties", "patternProperties")
        else _plain(value)
        for key, value in part.items()
        if key != "title" and not (key == "default" and (value is None or isinstance(value, dict | list)))
    }
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    if "default" in kept:
        kept["default"] = _spelt(kept["default"], kept.get("type"))
    return kept


def _spelt(default: Any, kind: Any) -> Any:
    """A default as a file would say it: numbers are generated as text, and durations as seconds."""
    if kind == "number":
        return plain_number(Decimal(default))
    if kind == "string" and isinstance(default, int):
        unit = next(unit for unit in ("d", "h", "m", "s") if default % SECONDS[unit] == 0)
        return f"{default // SECONDS[unit]}{unit}"
    return default


def _describe(part: dict[str, Any], model: type[BaseModel]) -> None:
    part["title"] = _name(model.__name__)
    bases = tuple(base.__name__ for base in model.__mro__[1:])
    for field, schema in part["properties"].items():
        sentence = words(model.__name__, bases, field)
        if sentence is not None:
            schema["description"] = sentence


def _name(model: str) -> str:
    return model.removesuffix("Spec")


def _renamed(part: Any) -> Any:
    """The same with the models' names in references and definitions as authors would say them."""
    if isinstance(part, list):
        return [_renamed(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {_name(name): _renamed(item) for name, item in value.items()}
        if key == "$defs"
        else f"#/$defs/{_name(value.removeprefix('#/$defs/'))}"
        if key == "$ref"
        else _renamed(value)
        for key, value in part.items()
    }
