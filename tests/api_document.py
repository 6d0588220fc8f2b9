"""Holds what a server answers against the OpenAPI document: no member lacks, is of another type, or unknown.

The document lets unknown members pass, since later versions add some; here they do not.
"""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import httpx
import jsonschema

from interlock.home import Home
from interlock.server import create_app


@functools.cache
def document() -> dict[str, Any]:
    """The document of this version."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home.open(Path(folder) / "home")
        try:
            return dict(create_app(home).openapi())
        finally:
            home.close()


@functools.cache
def _strict() -> dict[str, Any]:
    return dict(_closed(document()["components"]))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


@functools.cache
def _routes() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    found = [
        (
            re.compile(
                re.sub(r"\\\{path\\\}", ".+", re.sub(r"\\\{(?!path)\w+\\\}", "[^/]+", re.escape(path)))
            ),
            methods,
        )
        for path, methods in document()["paths"].items()
    ]
    return sorted(found, key=lambda route: "[^/]+" in route[0].pattern)


@functools.cache
def _validator(reference: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": reference, "components": _strict()})


def check(answer: httpx.Response) -> None:
    """Fail unless the answer is one that the document describes; pages and streams of events pass."""
    path, method = answer.request.url.path, answer.request.method.lower()
    operation = next((methods.get(method) for pattern, methods in _routes() if pattern.fullmatch(path)), None)
    kind = answer.headers.get("content-type", "").split(";")[0]
    if operation is None or kind not in ("application/json", "application/problem+json"):
        return
    if not answer.read():
        return
    responses = operation["responses"]
    told = responses.get(str(answer.status_code)) or responses[f"{answer.status_code // 100}XX"]
    if kind not in told["content"]:
        raise AssertionError(f"{method} {path}: {answer.status_code} of {kind} is not documented")
    schema = told["content"][kind]["schema"]
    if "$ref" not in schema:
        return
    for error in _validator(schema["$ref"]).iter_errors(answer.json()):
        raise AssertionError(f"{method} {path}: {schema['$ref']} {error.json_path}: {error.message[:400]}")
